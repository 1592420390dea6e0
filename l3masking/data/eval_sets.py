"""Further labelled sets on which a selected model is judged: what the classes of the task are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from l3masking.data.labels import WITHHELD, twin, withheld
from l3masking.data.rows import Rows
from l3masking.data.textdata import EvaluationSet
from l3masking.errors import InputError


def evaluation_set(rows: Rows, labels: Sequence[str], label_map: Mapping[str, str], place: str) -> EvaluationSet:
    """An evaluation set of a task with these labels.

    label_map: what each label of the task is called in the set; several may share a name; empty: the same names.
    Raises InputError, which begins with `place`, for a map that misses a label of the task or names another one, for
    fewer than two classes, and for a label of the set that no label of the task stands for.
    """
    names = dict(label_map) or {label: label for label in labels}
    _check_map(names, labels, set(rows.labels), place)
    classes = tuple(sorted(set(names.values())))
    unknown = {label: count for label, count in sorted(Counter(rows.labels).items()) if label not in classes}
    if set(rows.labels) == {WITHHELD} & unknown.keys():
        raise InputError(withheld(place))
    if unknown:
        shown = ", ".join(f"{label!r} ({count} row{'s' * (count != 1)})" for label, count in list(unknown.items())[:10])
        hints = [] if label_map else list(filter(None, (twin(label, classes) for label in unknown)))[:3]
        advice = "name them in `label_map`" if label_map else "say what the labels of train are here in `label_map`"
        line = f"{place} has labels that stand for no label of train: {shown}; known here are {', '.join(classes[:30])}"
        raise InputError("; ".join([line, *hints, advice]))
    index = {name: number for number, name in enumerate(classes)}
    return EvaluationSet(
        texts=tuple(rows.texts),
        labels=tuple(index[label] for label in rows.labels),
        classes=classes,
        of_class=tuple(index[names[label]] for label in labels),
    )


def _check_map(names: Mapping[str, str], labels: Sequence[str], in_set: set[str], place: str) -> None:
    missing = [label for label in labels if label not in names]
    unknown = [label for label in names if label not in labels]
    if unknown and set(names) >= in_set and set(names.values()) <= set(labels):
        raise InputError(f"{place}: label_map is the wrong way round; write label of train: label of the set")
    if unknown:
        known = ", ".join(labels[:30])
        raise InputError(f"{place}: label_map names {unknown[0]!r}, which train does not have; its labels are {known}")
    if missing:
        shown = ", ".join(map(repr, missing[:10]))
        raise InputError(f"{place}: label_map misses {shown}; say what each label of train is called in the set")
    if len(set(names.values())) < 2:
        raise InputError(f"{place}: label_map gives every label of train the same name, so nothing can be told apart")
