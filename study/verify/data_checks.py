"""data/<hash>.json: whether its labels are those that it was counted from, and give what the records say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from study.store.data_facts import DATA_FOLDER, FACTS_SCHEMA, DataFacts, SplitFacts
from study.store.record import Record
from study.store.seal import DamagedError, verified
from study.store.whole_files import KEY
from study.verify.record_checks import JudgedSet, TrueLabels, judged, value_problem
from study.verify.schema_checks import layout_problems
from study.verify.untouched import Untouched
from study.verify.verification import Verification


@dataclass
class KnownLabels:
    """The labels that a study keeps, and which records they do not fit."""

    files: dict[str, DataFacts] = field(default_factory=dict)  # data hash -> a whole file
    damaged: set[str] = field(default_factory=set)  # data hashes of the others
    truths: dict[tuple[str, str | None], TrueLabels] = field(default_factory=dict)  # data hash and set -> its labels
    without: int = 0  # values of records of which no labels are kept
    fits: Counter[str] = field(default_factory=Counter)  # data hash -> values of records that its labels give
    misfits: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # data hash -> record and problem


def read_labels(folder: Untouched, verdict: Verification) -> KnownLabels:
    """Read all files in data/, and say which are damaged or disagree with themselves."""
    known = KnownLabels()
    for name in folder.names(DATA_FOLDER):
        stem = name.rpartition("/")[2].removesuffix(".json")
        if not KEY.fullmatch(stem) or not name.endswith(".json"):
            verdict.note(f"{name}: not a data file by its name, and not read")
            continue
        verdict.checked["data files"] += 1
        try:
            known.files[stem] = _opened(folder, name, stem)
        except DamagedError as damage:
            known.damaged.add(stem)
            verdict.wrong(name, str(damage))
    return known


def _opened(folder: Untouched, name: str, stem: str) -> DataFacts:
    value = folder.read_json(name)
    schema = value.get("schema")
    if schema != FACTS_SCHEMA:
        newer = isinstance(schema, int) and schema > FACTS_SCHEMA
        more = ": a newer l3study wrote it, which can check it" if newer else ""
        raise DamagedError(f"schema {schema!r}, this program reads {FACTS_SCHEMA}{more}")
    problem = next(layout_problems(value, DataFacts), None)
    if problem is not None:
        raise DamagedError(f"{problem}: not the layout of a data file")
    if not verified(value):
        raise DamagedError("its checksum does not match its content")
    if value["data_hash"] != stem:
        raise DamagedError(f"is of the data {value['data_hash']}: it is another file under this name")
    facts: DataFacts = value  # type: ignore[assignment]  # its layout was checked
    for where, split in {**facts["splits"], **facts["evaluations"]}.items():
        if where != "train" and (found := _disagreement(split)):
            raise DamagedError(f"{where}: {found}")
    return facts


def _disagreement(split: SplitFacts) -> str | None:
    labels, classes = split["labels"], split["classes"]
    if labels and not 0 <= min(labels) <= max(labels) < len(classes):
        return f"a label is none of its {len(classes)} classes"
    if len(labels) != split["audit"]["rows"]:
        return f"{len(labels)} labels for {split['audit']['rows']} rows"
    counted = Counter(classes[label] for label in labels)
    if counted != Counter({name: rows for name, rows in split["audit"]["labels"].items() if rows}):
        return "its labels are not as many of each class as it counts: a label was changed"
    return None


def check_values(name: str, record: Record, known: KnownLabels) -> None:
    """Hold the predictions and values of a record, the file `name`, against the labels; note what does not fit."""
    data_hash = record["data_hash"]
    for one in judged(record):
        truth = _truth(one, record, known)
        if truth is None:
            known.without += data_hash not in known.damaged
        elif (problem := value_problem(one, truth)) is not None:
            known.misfits.setdefault(data_hash, []).append((name, problem))
        else:
            known.fits[data_hash] += 1


def _truth(one: JudgedSet, record: Record, known: KnownLabels) -> TrueLabels | None:
    facts = known.files.get(record["data_hash"])
    if facts is None:
        return None
    place = record["data_hash"], one.content
    if place in known.truths:
        return known.truths[place]
    split = facts["splits"].get("test") if one.content is None else facts["evaluations"].get(one.content)
    if split is None:
        return None
    made = TrueLabels(np.asarray(split["labels"], dtype=np.int64), split["classes"])
    return known.truths.setdefault(place, made)


def say_misfits(known: KnownLabels, verdict: Verification) -> None:
    """One line where a data file fits no record, which is then itself to blame; else one for each record."""
    for data_hash, found in known.misfits.items():
        if len(found) > 1 and not known.fits[data_hash]:
            file, first = f"{DATA_FOLDER}/{data_hash}.json", found[0][1]
            verdict.wrong(file, f"its labels fit none of the {len(found)} values in the records ({first})")
            continue
        for name, problem in found:
            verdict.wrong(name, problem)
    if known.without:
        verdict.note(f"{known.without} values of records were not computed again: the study keeps no labels of them")
