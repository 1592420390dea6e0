"""Text-classification data: one way to load any dataset, those known by name included, checked, with a content hash.

Texts are kept as they are; white space is the encoder side's affair (scoring.whitespace). Labels are sorted from train.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from l3masking.data.content import text_lines, unpack
from l3masking.data.eval_sets import evaluation_set
from l3masking.data.files import format_of, matching
from l3masking.data.known import DATASETS
from l3masking.data.labels import stripped
from l3masking.data.rows import Columns, Rows, read_rows
from l3masking.data.sources import HubPart, cache_folder, read_file, read_hub, read_url
from l3masking.data.spec import DataSpec, EvaluationSpec, Tables
from l3masking.data.splits import Parts, cut_rows, same_text
from l3masking.data.textdata import SPLITS, EvaluationSet, Split, TextData, assemble, classes, refuse_blank, row_notes
from l3masking.errors import InputError
from l3masking.rng import stream

__all__ = ["DATASETS", "DataSpec", "EvaluationSet", "EvaluationSpec", "Split", "TextData", "assemble", "load_data"]

CUT_SHARE = 0.1  # of the rows of train, for a split that is missing and whose size nobody gave


def load_data(
    spec: DataSpec, *, name: str, folder: Path | None = None, cache: Path | None = None, offline: bool = False
) -> TextData:
    """Read, check, cut and hash one dataset.

    `folder` is where relative paths start (none: the working directory), `cache` where downloads are kept (none:
    `sources.cache_folder()`); `offline` forbids the network. Raises InputError for wrong data, naming file and line,
    Unavailable for data that are in no cache and cannot be fetched, EnvironmentFault for a cache that can't be used.
    """
    where = folder or Path(), cache or cache_folder(), offline
    reader = _Reader(spec, spec.columns, *where)
    read = {part: reader.rows(part) for part in SPLITS if getattr(spec, part) is not None}
    strip_notes = _strip_labels(read) if spec.label_strip else []
    for part, rows in read.items():
        _check_rows(spec, part, rows, f"dataset {name}")
    classes(name, read["train"].labels)
    notes = reader.notes + strip_notes + _cut_missing(spec, name, read)
    mlm_texts = None if spec.mlm == "instance" else reader.units()
    parts = Parts(read["train"], read["validation"], read["test"])
    data = assemble(parts, name=name, mlm_texts=mlm_texts, rule=spec.overlap, expected=spec.expected, notes=notes)
    return _with_evaluations(spec, data, where) if spec.evaluation_sets else data


def _with_evaluations(spec: DataSpec, data: TextData, where: tuple[Path, Path, bool]) -> TextData:
    """The dataset with its evaluation sets, and what is to be noted of them."""
    found: dict[str, EvaluationSet] = {}
    notes: list[str] = []
    seen = {part: {same_text(text) for text in getattr(data, part).texts} for part in ("train", "validation")}
    for name, one in spec.evaluation_sets.items():
        place = f"evaluation set {name}"
        reader = _Reader(one, spec.columns_of(one), *where)
        read = {"test": reader.rows("test")}
        notes += [f"{place}: {note}" for note in reader.notes + (_strip_labels(read) if spec.label_strip else [])]
        _check_rows(one, "test", read["test"], f"dataset {data.name}: {place}")
        found[name] = evaluation_set(read["test"], data.labels, one.label_map, f"dataset {data.name}: {place}")
        texts = found[name].texts
        notes += row_notes(place, texts, found[name].absent)
        for part, known in seen.items():
            if shared := sum(same_text(text) in known for text in texts):
                notes.append(f"{place}: {shared} of {len(texts)} texts also occur in {part}; they are kept")
    return dataclasses.replace(data, evaluations=found, notes=(*data.notes, *notes))


def _check_rows(spec: Tables, part: str, rows: Rows, place: str) -> None:
    wanted, found = spec.rows.get(part), len(rows.texts)
    if wanted is not None and found != wanted:
        raise InputError(f"{place}: {part} has {found} rows, not the {wanted} of `rows`: correct one of the two")


class _Reader:
    """Reads the sources of one spec and notes what is not pinned."""

    def __init__(self, spec: Tables, columns: Columns, folder: Path, cache: Path, offline: bool) -> None:
        self.spec, self.columns, self.folder, self.cache, self.offline = spec, columns, folder, cache, offline
        self.notes: list[str] = []

    def rows(self, part: str) -> Rows:
        """The rows of a split, of one file or several, or of the Hub."""
        spec = self.spec
        if spec.hub is not None:
            return self._hub_rows(spec.hub, spec.sources(part)[0])
        rows, places = Rows([], []), []
        for content, place in self._contents(part):
            more = read_rows(content, place, format_of(place), self.columns)
            rows.texts.extend(more.texts)
            rows.labels.extend(more.labels)
            places.append(place)
        refuse_blank(rows.texts, _listed(places))
        return rows

    def units(self) -> list[str]:
        """Non-blank lines of the files that `mlm` names; the published code reads its text files the same way."""
        units: list[str] = []
        places = []
        for content, place in self._contents("mlm"):
            units += text_lines(content, place, self.columns.text)
            places.append(place)
        refuse_blank(units, _listed(places))
        return units

    def _hub_rows(self, hub: str, split: str) -> Rows:
        spec = self.spec
        hub_part = HubPart(hub, spec.revision, spec.subset, split)
        rows, commit = read_hub(hub_part, self.columns, self.cache, self.offline)
        refuse_blank(rows.texts, f"Hub dataset {hub}, split {split}")
        note = f"Hub dataset {hub} is not pinned; it was read with revision: {commit}"
        if commit != spec.revision and note not in self.notes:
            self.notes.append(note)
        return rows

    def _contents(self, part: str) -> Iterator[tuple[bytes, str]]:
        """(content, place) of each file that a part of the spec names, unpacked."""
        for place, blob in self._places(part):
            if place.startswith("https://"):
                assert blob is not None, "the spec refuses an address without a blob id"
                content = read_url(place, blob, self.cache, self.offline)
            else:
                content = read_file(Path(place), blob)
            yield unpack(content, place, place), place

    def _places(self, part: str) -> list[tuple[str, str | None]]:
        """Addresses and file names with their blob ids, patterns written out."""
        places: list[tuple[str, str | None]] = []
        for source, blob in zip(self.spec.sources(part), self.spec.pins(part), strict=True):
            if source.startswith("https://"):
                places.append((source, blob))
                continue
            found = matching(source, self.folder)
            if found is not None and blob is not None:
                raise InputError(f"blobs.{part} pins one file, and {source} is a pattern: list its files and their ids")
            paths = [self.folder / os.path.expanduser(source)] if found is None else found
            places += [(str(path), blob) for path in paths]
        counts = Counter(place if "://" in place else os.path.abspath(place) for place, _ in places)
        twice = [place for place, count in counts.items() if count > 1]
        if twice:
            raise InputError(f"{part} names {twice[0]} more than once: its rows would count as often; name it once")
        return places


def _listed(places: Sequence[str]) -> str:
    return ", ".join(places[:3]) + (f" and {len(places) - 3} more files" if len(places) > 3 else "")


def _strip_labels(read: dict[str, Rows]) -> list[str]:
    """Strip the labels in `read`; one note per split in which that changed any."""
    notes = []
    for part, rows in read.items():
        read[part] = Rows(rows.texts, [stripped(label) for label in rows.labels])
        if changed := sum(old != new for old, new in zip(rows.labels, read[part].labels, strict=True)):
            notes.append(f"{part}: label_strip changed the labels of {changed} of {len(rows.labels)} rows")
    return notes


def _cut_missing(spec: DataSpec, name: str, read: dict[str, Rows]) -> list[str]:
    """Cut what `read` lacks out of its train, test first; both sizes are shares of the file. One note per cut."""
    notes = []
    seed, in_file = spec.split_seed, len(read["train"].texts)
    if isinstance(seed, str):
        raise InputError(f"dataset {name}: split_seed is {seed}: read the cut of one seed, `spec.of_seed(seed)`")
    for part in ("test", "validation"):
        if part in read:
            continue
        share = getattr(spec, f"{part}_share") or CUT_SHARE
        wanted = getattr(spec, f"{part}_rows") or max(1, round(share * in_file))
        try:
            read["train"], read[part] = cut_rows(read["train"], wanted, stream(seed, "split", part))
        except InputError as error:
            raise InputError(f"dataset {name}: no {part} file, and {error}; give one, or another {part}_rows") from None
        notes.append(f"{part}: {wanted} of the {in_file} rows of train, stratified, split_seed {seed}")
    return notes
