"""The settings of one dataset: where its texts and labels are, how they are split, and what its files are pinned to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import ClassVar, Literal, get_args

from l3masking.data.content import WRITE_PLAIN
from l3masking.data.files import FILE_FORMATS, PACKED, format_of
from l3masking.data.rows import Columns
from l3masking.data.splits import Overlap
from l3masking.data.textdata import SPLITS
from l3masking.errors import InputError
from l3masking.hub_ids import check_hub_id

PER_SEED = "per_seed"
NAME_OF_SET = r"(?!\.)[A-Za-z0-9._-]{1,64}"


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Files or Hub splits of labelled rows, as both specs below have them. PARTS are the fields that name some."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    PARTS: ClassVar[tuple[str, ...]]
    UNITS: ClassVar[tuple[str, ...]] = ()  # those that name plain text

    hub: str | None = None  # Hub dataset id, owner/name
    revision: str | None = None  # of the Hub id: a commit; none, a branch or a tag: resolved and noted
    subset: str | None = None  # configuration of the Hub dataset, where it has several
    # git blob ids of the files as they are, compressed or not; a list for a list; a pattern has none
    blobs: dict[str, str | tuple[str, ...]] = field(default_factory=dict)  # by the field that names the files
    rows: dict[str, int] = field(default_factory=dict)  # rows of a split's files together; another number is refused

    def __post_init__(self) -> None:
        for part in (*self.PARTS, *self.UNITS):
            if isinstance(given := getattr(self, part), list):
                object.__setattr__(self, part, tuple(given))
        self._check_sources()
        _check_keys("blobs", self.blobs, (*self.PARTS, *self.UNITS))
        _check_keys("rows", self.rows, self.PARTS)
        for name, given in (("blobs", self.blobs), ("rows", self.rows)):
            for part in given:
                if getattr(self, part) in (None, "instance"):
                    raise InputError(f"{name}.{part} describes a file, and `{part}` names none: remove it or name one")
        for part in self.blobs:
            if self.hub is not None and part not in self.UNITS:
                raise InputError(f"blobs.{part} pins a file, and {part} is a split of the Hub: pin it with `revision`")
            self._check_blobs(part)

    def sources(self, part: str) -> tuple[str, ...]:
        """What a field such as train names, one or several; empty where it names nothing."""
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
            named = ", ".join(f"`{part}`" for part in self.PARTS)
            check_hub_id(self.hub, f"{' and '.join(named.rsplit(', ', 1))}, without `hub`")
        if self.hub is None and (self.revision is not None or self.subset is not None):
            raise InputError("`revision` and `subset` go with `hub`; files are pinned by `blobs`")
        for part in (*self.PARTS, *self.UNITS):
            self._check_part(part)

    def _check_part(self, part: str) -> None:
        given, sources, plain = getattr(self, part), self.sources(part), part in self.UNITS
        if isinstance(given, tuple) and not (given and all(isinstance(source, str) for source in given)):
            raise InputError(f"{part} is {list(given)!r}: a list names one file or more, each as text")
        if not plain and self.hub is not None:
            if isinstance(given, tuple):
                raise InputError(f"{part} is {list(given)!r}: with `hub` it is the name of one split")
            return
        for source, blob in zip(sources, self.pins(part), strict=False):
            if source.startswith("http://"):
                raise InputError(f"{part} is {source!r}: only https addresses are read")
            if source.startswith("https://") and blob is None:
                raise InputError(f"{part} is {source!r}: an address needs its git blob id under blobs.{part}")
            if not plain and format_of(source) not in FILE_FORMATS:
                known = f"{', '.join(FILE_FORMATS)}, with or without {PACKED}"
                raise InputError(f"{part} is {source!r}: files end in {known} (a split name needs `hub`)")
            if plain and format_of(source) in FILE_FORMATS:
                raise InputError(f"{part} is {source!r}, a table by its name: plain text is read there; {WRITE_PLAIN}")
            if plain and source == "instance" and len(sources) > 1:
                raise InputError(f"{part} is {list(sources)!r}: `instance` stands alone, or files are named")


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec(Tables):
    """A further labelled set, read once with the selected model, and what the classes of the task are there."""

    PARTS: ClassVar[tuple[str, ...]] = ("test",)

    test: str | tuple[str, ...]  # as in a dataset
    text: str | None = None  # column of the texts; none: the same name as in the dataset
    text_pair: str | None = None  # column of the second texts; none: the same name as in the dataset
    label: str | None = None  # column of the labels; none: the same name as in the dataset
    # label of train -> label of the set; several may stand for one (three-way to two-way); empty: the same labels
    label_map: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataSpec(Tables):
    """Where labelled texts lie and how they are split. Relative paths start at the space file's folder."""

    PARTS: ClassVar[tuple[str, ...]] = SPLITS
    UNITS: ClassVar[tuple[str, ...]] = ("mlm",)

    # a file (.jsonl, .json, .csv, .tsv, .parquet, each also .gz), a pattern such as train-*.jsonl (its files sorted by
    # path), an https address with its blob id, or a list of these, read one after the other; with `hub` a split name
    train: str | tuple[str, ...]  # all of them are one split
    validation: str | tuple[str, ...] | None = None  # the same; none: cut from train
    test: str | tuple[str, ...] | None = None  # the same; none: cut from train
    text: str = "text"  # column of the texts
    text_pair: str | None = None  # column of the second texts, where a text is a pair such as premise and hypothesis
    label: str = "label"  # column of the labels: strings, booleans ("true", "false") or whole numbers (1.0 is "1")
    label_strip: bool = False  # labels without invisible characters and outer white space, in Unicode form NFC
    # texts of the masking task: "instance", those of train; or plain text files with one unit per line, given as above
    mlm: str | tuple[str, ...] = "instance"  # .gz is read, too
    overlap: Overlap = "keep"  # texts in train and an evaluation split: keep | drop_from_train | drop_from_eval
    validation_share: float | None = None  # cut for validation, as a share of train's rows, in (0, 1)
    validation_rows: int | None = None  # the same as a number of rows, 1 or more
    test_share: float | None = None  # cut for test, before validation, as a share of train's rows, in (0, 1)
    test_rows: int | None = None  # the same as a number of rows, 1 or more
    split_seed: int | Literal["per_seed"] = 0  # of the cuts, 0 or more; per_seed: the seed of each training
    expected: dict[str, int] = field(default_factory=dict)  # train, validation, test (after cuts), classes; else noted
    evaluation_sets: dict[str, EvaluationSpec] = field(default_factory=dict)  # by name; out-of-distribution texts, say

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_cuts()
        _check_columns("", self.columns)
        if self.overlap not in get_args(Overlap):
            raise InputError(f"overlap is {self.overlap!r}: one of {', '.join(get_args(Overlap))}")
        _check_keys("expected", self.expected, (*SPLITS, "classes"))
        for name, given in self.evaluation_sets.items():
            if not re.fullmatch(NAME_OF_SET, name):
                raise InputError(
                    f"evaluation_sets.{name} is no name: 1 to 64 of A-Z a-z 0-9 . _ - without a dot in front"
                )
            if given.text_pair is not None and self.text_pair is None:
                raise InputError(
                    f"evaluation_sets.{name}.text_pair is {given.text_pair!r}, and the dataset has single texts: "
                    "give `text_pair` to both or to none"
                )
            _check_columns(f"evaluation_sets.{name}: ", self.columns_of(given))

    @property
    def cut(self) -> tuple[str, ...]:
        """The evaluation splits that are cut from train."""
        return tuple(part for part in ("validation", "test") if getattr(self, part) is None)

    @property
    def per_seed(self) -> bool:
        """Whether each training seed has cuts of its own."""
        return self.split_seed == PER_SEED

    def of_seed(self, seed: int) -> DataSpec:
        """The dataset as trainings with `seed` read it; itself where all seeds share one cut."""
        return replace(self, split_seed=seed) if self.per_seed else self

    @property
    def columns(self) -> Columns:
        """The columns of its own splits."""
        return Columns(self.text, self.label, self.text_pair)

    def columns_of(self, given: EvaluationSpec) -> Columns:
        """The columns of an evaluation set: those that it does not name are called as in the splits."""
        return Columns(given.text or self.text, given.label or self.label, given.text_pair or self.text_pair)

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
        if self.per_seed:
            if not self.cut:
                raise InputError(
                    f"split_seed is {PER_SEED}, and validation and test are both given, so that nothing is cut: leave "
                    "split_seed out, or one of the two"
                )
        elif not isinstance(self.split_seed, int) or isinstance(self.split_seed, bool) or self.split_seed < 0:
            raise InputError(f"split_seed is {self.split_seed}: a whole number, 0 or more, or {PER_SEED}")


def _check_columns(place: str, columns: Columns) -> None:
    given = {"text": columns.text, "text_pair": columns.pair, "label": columns.label}
    for first, second in combinations(given, 2):
        if given[first] is not None and given[first] == given[second]:
            column = given[first]
            raise InputError(f"{place}`{first}` and `{second}` both name the column {column!r}: they are two columns")


def _check_keys(name: str, given: Mapping[str, object], allowed: Sequence[str]) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise InputError(f"{name}.{key} is not known: {', '.join(allowed)}")
        if name != "blobs" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name}.{key} is {value!r}: a whole number, 1 or more")
