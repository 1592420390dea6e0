"""The settings of one dataset: where its texts and labels are, how they are split, and what its files are pinned to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, get_args

from l3masking.data.rows import FORMATS
from l3masking.data.splits import Overlap
from l3masking.data.textdata import SPLITS
from l3masking.errors import InputError


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
    label_strip: bool = False  # labels without invisible characters and outer white space, in Unicode form NFC
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
        if self.hub is not None and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.hub, re.ASCII):
            raise InputError(f"hub is {self.hub!r}: a Hub dataset id is owner/name")
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


def _check_keys(name: str, given: Mapping[str, object], allowed: Sequence[str]) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise InputError(f"{name}.{key} is not known: {', '.join(allowed)}")
        if name != "blobs" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name}.{key} is {value!r}: a whole number, 1 or more")
