"""The settings of one dataset: where its texts and labels are, how they are split, and what its files are pinned to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, get_args

from l3masking.data.content import WRITE_PLAIN
from l3masking.data.files import FILE_FORMATS, PACKED, format_of
from l3masking.data.splits import Overlap
from l3masking.data.textdata import SPLITS
from l3masking.errors import InputError
from l3masking.hub_ids import check_hub_id


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where labelled texts lie and how they are split. Relative paths start at the space file's folder."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # a file (.jsonl, .json, .csv, .tsv, .parquet, each also .gz), a pattern such as train-*.jsonl (its files sorted by
    # path), an https address with its blob id, or a list of these, read one after the other; with `hub` a split name
    train: str | tuple[str, ...]  # all of them are one split
    validation: str | tuple[str, ...] | None = None  # the same; none: cut from train
    test: str | tuple[str, ...] | None = None  # the same; none: cut from train
    hub: str | None = None  # Hub dataset id, owner/name
    revision: str | None = None  # of the Hub id: a commit; none, a branch or a tag: resolved, and said in the notes
    subset: str | None = None  # configuration of the Hub dataset, where it has several
    text: str = "text"  # column of the texts
    label: str = "label"  # column of the labels: strings, booleans ("true", "false") or whole numbers (1.0 is "1")
    label_strip: bool = False  # labels without invisible characters and outer white space, in Unicode form NFC
    # texts of the masking task: "instance", those of train; or plain text files with one unit per line, given as above
    mlm: str | tuple[str, ...] = "instance"  # .gz is read, too
    overlap: Overlap = "keep"  # texts in train and an evaluation split: keep | drop_from_train | drop_from_eval
    validation_share: float | None = None  # cut for validation, as a share of train's rows, in (0, 1)
    validation_rows: int | None = None  # the same as a number of rows, 1 or more
    test_share: float | None = None  # cut for test, before validation, as a share of train's rows, in (0, 1)
    test_rows: int | None = None  # the same as a number of rows, 1 or more
    split_seed: int = 0  # of the cuts, 0 or more
    # git blob ids of the files as they are, compressed or not; by train, validation, test, mlm; a list for a list
    blobs: dict[str, str | tuple[str, ...]] = field(default_factory=dict)  # the files; a pattern has none
    rows: dict[str, int] = field(default_factory=dict)  # rows of a split's files together; another number is refused
    expected: dict[str, int] = field(default_factory=dict)  # train, validation, test (after cuts), classes; else noted

    def __post_init__(self) -> None:
        for part in (*SPLITS, "mlm"):
            if isinstance(given := getattr(self, part), list):
                object.__setattr__(self, part, tuple(given))
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
        for part in self.blobs:
            if self.hub is not None and part != "mlm":
                raise InputError(f"blobs.{part} pins a file, and {part} is a split of the Hub: pin it with `revision`")
            self._check_blobs(part)

    def sources(self, part: str) -> tuple[str, ...]:
        """What train, validation, test or mlm names, one or several; empty where it names nothing."""
        given = getattr(self, part)
        return () if given is None else (given,) if isinstance(given, str) else given

    def pins(self, part: str) -> tuple[str | None, ...]:
        """The blob ids of `sources`, None if there is none."""
        given = self.blobs.get(part)
        if given is None:
            return (None,) * len(self.sources(part))
        return (given,) if isinstance(given, str) else tuple(given)

    def _check_blobs(self, part: str) -> None:
        given, source = self.blobs[part], getattr(self, part)
        if isinstance(given, str) != isinstance(source, str) or len(self.pins(part)) != len(self.sources(part)):
            raise InputError(f"blobs.{part} is {given!r}: give one id for a file, and for a list a list as long as it")
        for blob in self.pins(part):
            if not isinstance(blob, str) or not re.fullmatch("[0-9a-f]{40}", blob):
                raise InputError(f"blobs.{part} is {blob!r}: a git blob id has 40 hex digits (git hash-object FILE)")

    def _check_sources(self) -> None:
        if self.hub is not None:
            check_hub_id(self.hub, "`train`, `validation` and `test`, without `hub`")
        if self.hub is None and (self.revision is not None or self.subset is not None):
            raise InputError("`revision` and `subset` go with `hub`; files are pinned by `blobs`")
        for part in (*SPLITS, "mlm"):
            self._check_part(part)

    def _check_part(self, part: str) -> None:
        given, sources = getattr(self, part), self.sources(part)
        if isinstance(given, tuple) and not (given and all(isinstance(source, str) for source in given)):
            raise InputError(f"{part} is {list(given)!r}: a list names one file or more, each as text")
        if part != "mlm" and self.hub is not None:
            if isinstance(given, tuple):
                raise InputError(f"{part} is {list(given)!r}: with `hub` it is the name of one split")
            return
        for source, blob in zip(sources, self.pins(part), strict=False):
            if source.startswith("http://"):
                raise InputError(f"{part} is {source!r}: only https addresses are read")
            if source.startswith("https://") and blob is None:
                raise InputError(f"{part} is {source!r}: an address needs its git blob id under blobs.{part}")
            if part != "mlm" and format_of(source) not in FILE_FORMATS:
                known = f"{', '.join(FILE_FORMATS)}, with or without {PACKED}"
                raise InputError(f"{part} is {source!r}: files end in {known} (a split name needs `hub`)")
            if part == "mlm" and format_of(source) in FILE_FORMATS:
                raise InputError(f"mlm is {source!r}, a table by its name: plain text is read there; {WRITE_PLAIN}")
            if part == "mlm" and source == "instance" and len(sources) > 1:
                raise InputError(f"mlm is {list(sources)!r}: `instance` stands alone, or files are named")

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


def _check_keys(name: str, given: Mapping[str, object], allowed: Sequence[str]) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise InputError(f"{name}.{key} is not known: {', '.join(allowed)}")
        if name != "blobs" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name}.{key} is {value!r}: a whole number, 1 or more")
