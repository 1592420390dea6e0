"""Text-classification data: the table of known datasets, and one way to load any of them, checked, with a content hash.

Texts are kept as they are; white space is the encoder side's affair (scoring.whitespace). Labels are sorted from train.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, get_args

from l3masking.errors import InputError
from l3masking.rng import stream
from l3masking.rows import FORMATS, Rows, decode, read_rows
from l3masking.sources import HubPart, cache_folder, check_hub_id, read_file, read_hub, read_url
from l3masking.splits import Overlap, Parts, cut_rows
from l3masking.textdata import SPLITS, Split, TextData, assemble, classes

__all__ = ["DATASETS", "DataSpec", "Split", "TextData", "assemble", "load_data"]

CUT_SHARE = 0.1  # of the rows of train, for a split that is missing and whose size nobody gave


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where labelled texts lie and how they are split. Relative paths start at the space file's folder."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    train: str  # a file (.jsonl, .json, .csv, .parquet), an https address with its blob id, or with `hub` a split name
    validation: str | None = None  # the same; none: cut from train
    test: str | None = None  # the same; none: cut from train
    hub: str | None = None  # Hub dataset id, owner/name
    revision: str | None = None  # of the Hub id: a commit; none, a branch or a tag: resolved, and said in the notes
    subset: str | None = None  # configuration of the Hub dataset, where it has several
    text: str = "text"  # column of the texts
    label: str = "label"  # column of the labels: strings or whole numbers
    mlm: str = "instance"  # texts of the masking task: "instance", those of train; or a file with one unit per line
    overlap: Overlap = "keep"  # texts in train and an evaluation split: keep | drop_from_train | drop_from_eval
    validation_share: float | None = None  # cut for validation, as a share of train's rows, in (0, 1)
    validation_rows: int | None = None  # the same as a number of rows, 1 or more
    test_share: float | None = None  # cut for test, before validation, as a share of train's rows, in (0, 1)
    test_rows: int | None = None  # the same as a number of rows, 1 or more
    split_seed: int = 0  # of the cuts, 0 or more
    blobs: dict[str, str] = field(default_factory=dict)  # git blob ids of the files: train, validation, test, mlm
    rows: dict[str, int] = field(default_factory=dict)  # rows of the files; another number is refused
    expected: dict[str, int] = field(default_factory=dict)  # train, validation, test (after cuts), classes; else noted

    def __post_init__(self) -> None:
        self._check_sources()
        self._check_cuts()
        if self.text == self.label:
            raise InputError(f"`text` and `label` both name the column {self.text!r}: they are two columns")
        if self.overlap not in get_args(Overlap):
            raise InputError(f"overlap is {self.overlap!r}: one of {', '.join(get_args(Overlap))}")
        _check_keys("blobs", self.blobs, (*SPLITS, "mlm"))
        _check_keys("rows", self.rows, SPLITS)
        _check_keys("expected", self.expected, (*SPLITS, "classes"))
        for name, given in (("blobs", self.blobs), ("rows", self.rows)):
            for part in given:
                if getattr(self, part) in (None, "instance"):
                    raise InputError(f"{name}.{part} describes a file, and `{part}` names none: remove it or name one")
        for part, blob in self.blobs.items():
            if self.hub is not None and part != "mlm":
                raise InputError(f"blobs.{part} pins a file, and {part} is a split of the Hub: pin it with `revision`")
            if not re.fullmatch("[0-9a-f]{40}", blob):
                raise InputError(f"blobs.{part} is {blob!r}: a git blob id has 40 hex digits (git hash-object FILE)")

    def _check_sources(self) -> None:
        if self.hub is not None:
            check_hub_id(self.hub, "`train`, `validation` and `test`, without `hub`")
        if self.hub is None and (self.revision is not None or self.subset is not None):
            raise InputError("`revision` and `subset` go with `hub`; files are pinned by `blobs`")
        for part in SPLITS:
            source = getattr(self, part)
            if source is None or self.hub is not None:
                continue
            if Path(source).suffix.lower() not in FORMATS:
                raise InputError(f"{part} is {source!r}: files end in {', '.join(FORMATS)} (a split name needs `hub`)")
        for part in (*SPLITS, "mlm"):
            source = getattr(self, part)
            if source is not None and source.startswith("http://"):
                raise InputError(f"{part} is {source!r}: only https addresses are read")
            if source is not None and source.startswith("https://") and part not in self.blobs:
                raise InputError(f"{part} is {source!r}: an address needs its git blob id under blobs.{part}")

    def _check_cuts(self) -> None:
        for part in ("validation", "test"):
            share, rows = getattr(self, f"{part}_share"), getattr(self, f"{part}_rows")
            given = [name for name, value in ((f"{part}_share", share), (f"{part}_rows", rows)) if value is not None]
            if given and getattr(self, part) is not None:
                raise InputError(f"{given[0]} would do nothing, as `{part}` is given: remove one of the two")
            if len(given) == 2:
                raise InputError(f"{given[0]} and {given[1]} both give a size: remove one of the two")
            if share is not None and not 0 < share < 1:
                raise InputError(f"{part}_share is {share}: above 0 and below 1")
            if rows is not None and (isinstance(rows, bool) or rows < 1):
                raise InputError(f"{part}_rows is {rows}: 1 or more")
        if isinstance(self.split_seed, bool) or self.split_seed < 0:
            raise InputError(f"split_seed is {self.split_seed}: a whole number, 0 or more")


def load_data(
    spec: DataSpec, *, name: str, folder: Path | None = None, cache: Path | None = None, offline: bool = False
) -> TextData:
    """Read, check, cut and hash one dataset.

    `folder` is where relative paths start (none: the working directory), `cache` where downloads are kept (none:
    `sources.cache_folder()`); `offline` forbids the network. Raises InputError for wrong data, naming file and line,
    and EnvironmentFault for data that cannot be reached.
    """
    reader = _Reader(spec, folder or Path(), cache or cache_folder(), offline)
    read = {part: reader.rows(part) for part in SPLITS if getattr(spec, part) is not None}
    for part, wanted in spec.rows.items():
        if part in read and len(read[part].texts) != wanted:
            found = len(read[part].texts)
            raise InputError(
                f"dataset {name}: {part} has {found} rows, not the {wanted} of `rows`: mend one of the two"
            )
    classes(name, read["train"].labels)
    notes = reader.notes + _cut_missing(spec, name, read)
    mlm_texts = None if spec.mlm == "instance" else reader.units()
    parts = Parts(read["train"], read["validation"], read["test"])
    return assemble(parts, name=name, mlm_texts=mlm_texts, rule=spec.overlap, expected=spec.expected, notes=notes)


class _Reader:
    """Reads the sources of one spec and notes what is not pinned."""

    def __init__(self, spec: DataSpec, folder: Path, cache: Path, offline: bool) -> None:
        self.spec, self.folder, self.cache, self.offline = spec, folder, cache, offline
        self.notes: list[str] = []

    def rows(self, part: str) -> Rows:
        spec, source = self.spec, getattr(self.spec, part)
        if spec.hub is None:
            content, place = self._content(part)
            return read_rows(content, place, Path(source).suffix.lower(), spec.text, spec.label)
        hub_part = HubPart(spec.hub, spec.revision, spec.subset, source)
        rows, commit = read_hub(hub_part, spec.text, spec.label, self.cache, self.offline)
        note = f"Hub dataset {spec.hub} is not pinned; it was read with revision: {commit}"
        if commit != spec.revision and note not in self.notes:
            self.notes.append(note)
        return rows

    def units(self) -> list[str]:
        """Non-blank lines of the file that `mlm` names; the published code reads its text files the same way."""
        content, place = self._content("mlm")
        units = [line.rstrip("\r") for line in decode(content, place).split("\n") if line.strip()]
        if not units:
            raise InputError(f"{place} holds no line of text: `mlm` needs one unit per line, or say mlm: instance")
        return units

    def _content(self, part: str) -> tuple[bytes, str]:
        source, blob = getattr(self.spec, part), self.spec.blobs.get(part)
        if source.startswith("https://"):
            return read_url(source, self.spec.blobs[part], self.cache, self.offline), source
        path = self.folder / Path(source).expanduser()
        return read_file(path, blob), str(path)


def _cut_missing(spec: DataSpec, name: str, read: dict[str, Rows]) -> list[str]:
    """Cut what `read` lacks out of its train, test first; both sizes are shares of the file. One note per cut."""
    notes = []
    in_file = len(read["train"].texts)
    for part in ("test", "validation"):
        if part in read:
            continue
        share = getattr(spec, f"{part}_share") or CUT_SHARE
        wanted = getattr(spec, f"{part}_rows") or max(1, round(share * in_file))
        try:
            read["train"], read[part] = cut_rows(read["train"], wanted, stream(spec.split_seed, "split", part))
        except InputError as error:
            raise InputError(f"dataset {name}: no {part} file, and {error}; give one, or another {part}_rows") from None
        notes.append(f"{part}: {wanted} of the {in_file} rows of train, stratified, split_seed {spec.split_seed}")
    return notes


def _check_keys(name: str, given: Mapping[str, object], allowed: Sequence[str]) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise InputError(f"{name}.{key} is not known: {', '.join(allowed)}")
        if name != "blobs" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name}.{key} is {value!r}: a whole number, 1 or more")


def _published(folder: str, part: str) -> str:
    commit = "d27540e9a1351e7799c2516fe2666b00119af764"
    return f"https://raw.githubusercontent.com/usk-Kimura/L3Masking/{commit}/datasets/{folder}/{part}.jsonl"


# The files of the L3Masking paper's repository. `rows` holds what was counted in the files, `expected` the rest of the
# paper's Table 1.
DATASETS: dict[str, DataSpec] = {
    "acl-arc": DataSpec(
        train=_published("citation_intent", "train"),
        validation=_published("citation_intent", "dev"),
        test=_published("citation_intent", "test"),
        blobs={
            "train": "8512714acd060233236eadc65e53f4c1518e5c57",
            "validation": "466f09d3f89066d2013ce6257c4771f75a35a632",
            "test": "43091b4281e5282149ef329c634c67e82a51fe11",
        },
        rows={"train": 1688, "validation": 114, "test": 139},
        expected={"train": 1688, "validation": 114, "test": 139, "classes": 6},
    ),
    # Table 1 gives 4,043 for validation, the size of test: a misprint, or a dev file that is test. Its content (blob
    # 7b4d7dd72a137edae2b4477c6de8b29c0397d124) was never seen here, so validation is cut from train: 335 rows, what is
    # left of the usual 3,357 training documents besides the 3,022 of this file. Train has 2,687 then, where Table 1
    # says 3,022.
    "ohsumed": DataSpec(
        train=_published("OHS", "train"),
        test=_published("OHS", "test"),
        validation_rows=335,
        blobs={
            "train": "42e515e2b80e7136206d8a14bfd0bd9cf0a6c17d",
            "test": "aaa8a32afd1420056a55e386510f47559bc115fc",
        },
        rows={"train": 3022},
        expected={"train": 2687, "validation": 335, "test": 4043, "classes": 23},
    ),
    # Validation and test are the official 25,000 test reviews, split 10/90; train is the official one, whole.
    "imdb": DataSpec(
        train=_published("IMDb", "train"),
        validation=_published("IMDb", "dev"),
        test=_published("IMDb", "test"),
        blobs={
            "train": "dff0c0bb8d3c049576dd8394536fedb6673bc8dd",
            "validation": "9989de0851a3030b77fa81fbb85943a2fb5d3746",
            "test": "c48f40c6d889b62af38e0f8ed3c6da2924ac91cc",
        },
        rows={"validation": 2500},
        expected={"train": 25000, "validation": 2500, "test": 22500, "classes": 2},
    ),
}
