"""A loaded text-classification dataset: sorted labels, splits, masking texts, content hash, overlap counts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from l3masking.data.labels import WITHHELD, alike_notes, twin, withheld
from l3masking.data.pairs import Text, is_blank_text, is_half_blank, parts_of
from l3masking.data.splits import Overlap, Parts, count_overlap, drop_overlap, same_text
from l3masking.errors import InputError

SPLITS = ("train", "validation", "test")
CLASS_LIMIT = 10_000  # of a dataset


@dataclass(frozen=True)
class Split:
    """n texts and their labels as indices into `TextData.labels`."""

    texts: tuple[Text, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """n further texts on which the selected model is judged, and what its classes are there.

    A set may have fewer classes than the task: several of the task's may stand for one of the set.
    """

    texts: tuple[Text, ...]
    labels: tuple[int, ...]  # [n] indices into `classes`
    classes: tuple[str, ...]  # sorted
    of_class: tuple[int, ...]  # [C] index into `classes` of each class of the task

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes of which the set has no text. Such a class counts 0 in macro F1."""
        return tuple(absent_classes(self.labels, self.classes))

    @property
    def content_hash(self) -> str:
        """32 hex digits over all that may change a value on this set."""
        named = [self.classes[label] for label in self.labels]
        return hash_of([self.classes, [str(number) for number in self.of_class], self.texts, named])


@dataclass(frozen=True, kw_only=True)
class TextData:
    """A loaded dataset of C >= 2 classes."""

    name: str
    labels: tuple[str, ...]  # [C] sorted; of train, so that no evaluation split can add or reorder a class
    train: Split
    validation: Split
    test: Split
    mlm_texts: tuple[Text, ...]  # units of the masking task
    content_hash: str  # 32 hex digits over labels, splits and mlm_texts, in order; the name is no part of it
    evaluations: Mapping[str, EvaluationSet] = field(default_factory=dict)  # by name; no part of content_hash
    overlap: dict[str, int]  # counts before anything is dropped (splits.count_overlap), and dropped_<split>
    notes: tuple[str, ...]  # what a reader of the results must know, one line each


def assemble(
    parts: Parts,
    *,
    name: str,
    mlm_texts: Sequence[Text] | None = None,
    rule: Overlap = "keep",
    expected: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
) -> TextData:
    """TextData from three splits in memory: overlap counted and dropped as `rule` says, labels checked, all hashed.

    `mlm_texts` none: the texts of train. Raises InputError for an empty split or one whose texts are all blank, for
    fewer than two classes in train, and for a label of an evaluation split that train lacks.
    """
    counts = count_overlap(parts)
    kept = drop_overlap(parts, rule)
    for part, before, after in zip(SPLITS, parts, kept, strict=True):
        counts[f"dropped_{part}"] = len(before.texts) - len(after.texts)
        if not after.texts:
            raise InputError(f"dataset {name}: {part} has no row left (overlap: {rule})")
        refuse_blank(after.texts, f"dataset {name}: {part}")
    labels = classes(name, kept.train.labels)
    for part in ("validation", "test"):
        _check_known(name, part, getattr(kept, part).labels, labels, rule)
    index = {label: number for number, label in enumerate(labels)}
    splits = [Split(tuple(rows.texts), tuple(index[label] for label in rows.labels)) for rows in kept]
    units = splits[0].texts if mlm_texts is None else tuple(mlm_texts)
    if mlm_texts is not None and rule == "drop_from_train":
        evaluated = {same_text(text) for rows in kept[1:] for text in rows.texts}
        units = tuple(unit for unit in units if same_text(unit) not in evaluated)
        counts["dropped_mlm"] = len(mlm_texts) - len(units)
    if not units:
        raise InputError(f"dataset {name}: mlm has no text left (overlap: {rule})")
    refuse_blank(units, f"dataset {name}: mlm")
    said = [*notes, *alike_notes(kept.train.labels, "train")]
    said += [*_overlap_notes(counts, rule), *_content_notes(splits, labels, expected or {})]
    return TextData(
        name=name,
        labels=labels,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        mlm_texts=units,
        content_hash=_content_hash(labels, splits, units),
        overlap=counts,
        notes=tuple(said),
    )


def refuse_blank(texts: Sequence[Text], place: str) -> None:
    """Raise InputError where every text is blank; single blank texts among others are allowed."""
    if all(map(is_blank_text, texts)):
        count = "the only text" if len(texts) == 1 else f"each of the {len(texts)} texts"
        raise InputError(
            f"{place}: {count} is blank (empty, white space or invisible characters), so nothing can be scored or "
            "masked; check the file, and the column that `text` names"
        )


def classes(name: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, sorted. Raises InputError where there is only one, or more than CLASS_LIMIT."""
    found = tuple(sorted(set(labels)))
    if len(found) < 2:
        raise InputError(f"dataset {name}: every row of train has the label {found[0]!r}; two classes are needed")
    if len(found) > CLASS_LIMIT:
        raise InputError(
            f"dataset {name}: train has {len(found)} classes, and {CLASS_LIMIT} are the most; name the column of the "
            "classes as `label`"
        )
    return found


def _check_known(name: str, part: str, labels: Sequence[str], known: Sequence[str], rule: Overlap) -> None:
    there = set(known)
    unknown = {label: count for label, count in sorted(Counter(labels).items()) if label not in there}
    if set(labels) == {WITHHELD} & unknown.keys():
        raise InputError(withheld(f"dataset {name}: {part}"))
    if unknown:
        shown = ", ".join(f"{label!r} ({count} row{'s' * (count != 1)})" for label, count in list(unknown.items())[:10])
        cause = " after overlap: drop_from_train" if rule == "drop_from_train" else ""
        hints = list(filter(None, (twin(label, known) for label in unknown)))[:3]
        raise InputError(
            f"dataset {name}: {part} has labels that train lacks{cause}: "
            + "; ".join([shown, f"train has {', '.join(known[:30])}", *hints])
        )


def _content_hash(labels: Sequence[str], splits: Sequence[Split], units: Sequence[Text]) -> str:
    columns: list[Sequence[Text]] = [labels, units]
    for split in splits:
        columns += [split.texts, [labels[label] for label in split.labels]]
    return hash_of(columns)


def hash_of(columns: Sequence[Sequence[Text]]) -> str:
    """32 hex digits over columns of texts, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        digest.update(b"%d\n" % len(column))
        for value in column:
            if not isinstance(value, str):
                digest.update(b"pair ")
            for part in parts_of(value):
                encoded = part.encode()
                digest.update(b"%d:" % len(encoded) + encoded)  # the length keeps ("ab", "c") apart from ("a", "bc")
    return digest.hexdigest()


def _overlap_notes(counts: Mapping[str, int], rule: Overlap) -> list[str]:
    notes = []
    for part in ("validation", "test"):
        shared, rows = counts[f"{part}_in_train"], counts[f"{part}_rows"]
        if shared:
            then = {
                "keep": "also occur in train",
                "drop_from_train": "also occurred in train, and train lost these rows",
                "drop_from_eval": f"also occur in train, and {part} lost these rows",
            }[rule]
            notes.append(f"overlap: {shared} of {rows} {part} texts ({shared / rows:.1%}) {then} (overlap: {rule})")
    if counts["train_repeated"]:
        repeated, rows, torn = counts["train_repeated"], counts["train_rows"], counts["train_conflicting"]
        notes.append(f"train: {repeated} of {rows} rows repeat an earlier text; {torn} texts have more than one label")
    return notes


def _content_notes(splits: Sequence[Split], labels: Sequence[str], expected: Mapping[str, int]) -> list[str]:
    notes = []
    found = {"classes": len(labels)}
    for part, split in zip(SPLITS, splits, strict=True):
        found[part] = len(split)
        notes += row_notes(part, split.texts, absent_classes(split.labels, labels))
    wrong = [f"{key} {found[key]} instead of {number}" for key, number in expected.items() if found[key] != number]
    return notes + ([f"not the expected numbers: {', '.join(wrong)}"] if wrong else [])


def row_notes(place: str, texts: Sequence[Text], absent: Sequence[str]) -> list[str]:
    """What is to be noted of the rows of a split or an evaluation set; `absent`: the classes without a row."""
    notes = []
    if empty := sum(map(is_blank_text, texts)):
        notes.append(f"{place}: {empty} empty texts, kept")
    if half := sum(map(is_half_blank, texts)):
        notes.append(f"{place}: in {half} of {len(texts)} pairs one text is empty and the other is not; they are kept")
    if absent:
        notes.append(f"{place}: no row of {', '.join(absent[:10])}")
    return notes


def absent_classes(labels: Sequence[int], names: Sequence[str]) -> list[str]:
    """The names of the classes that do not occur among the labels, which are indices into the names."""
    there = set(labels)
    return [name for number, name in enumerate(names) if number not in there]
