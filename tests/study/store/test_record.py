"""The schema of the files: docs/records.md lists exactly its fields, and what a study writes has exactly these."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ForwardRef, NotRequired, get_args, get_origin, is_typeddict

import pyarrow.parquet as pq
import pytest
from small_study import assignments, write_study

from l3masking.data.audit import InTrain, Lengths, Shared, SplitAudit, TokenLengths
from study.plan.trials import Trial
from study.report.comparisons import FOLLOWING
from study.results.comparison import Comparison, Side
from study.results.generalisation import Generalisation
from study.score import SCORE_COLUMNS
from study.store import record as schema
from study.store.data_facts import DataFacts, SplitFacts, Tokenized
from study.store.record import (
    Adaptation,
    CurvePoint,
    EvaluationResult,
    Failure,
    FinalStage,
    Kept,
    MadeWith,
    MaskProbabilities,
    NewRecord,
    Probabilities,
    Record,
    Run,
    ScoreManifest,
    part,
)
from study.store.store import Store
from study.trial import died, execute

PAGE = Path(__file__).resolve().parents[3] / "docs" / "records.md"
SECTIONS: dict[str, type] = {  # heading of the page -> type
    "Record": Record,
    "test_probabilities": Probabilities,
    "evaluations": EvaluationResult,
    "curve": CurvePoint,
    "final_stage": FinalStage,
    "mask_probability": MaskProbabilities,
    "adaptation": Adaptation,
    "run": Run,
    "Failure": Failure,
    "Data file": DataFacts,
    "encoders": Tokenized,
    "splits": SplitFacts,
    "in_train": InTrain,
    "audit": SplitAudit,
    "words": Lengths,
    "shared": Shared,
    "tokens": TokenLengths,
    "Score manifest": ScoreManifest,
    "made_with": MadeWith,
}
JSON = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list", dict: "object"}
JSON |= {Mapping: "object", NoneType: "null"}

OF_A_SEARCH = frozenset({"test", "test_predictions", "test_probabilities"})  # what its records lack
OF_SOME_DATASETS = frozenset({"evaluations"})  # what the records of other datasets, and of a search, lack
OF_NEWER = frozenset({"checksum"})  # what files of an earlier version lack
OF_CONTINUED = frozenset({"resumed", "micro_batch"})  # what `run` lacks where nothing ended, nor memory was short
OF_SOME_ARMS = frozenset({"adaptation"})  # what the records of other arms lack
OF_RETRIED = frozenset({"retried_in_float32"})  # what the records of trainings lack that did not diverge under bf16
OF_KEPT_MODELS = frozenset({"weights"})  # what `run` lacks if the model is not kept


def documented() -> dict[str, dict[str, list[str]]]:
    """Heading -> field -> type, range and meaning, as the page has them."""
    found: dict[str, dict[str, list[str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if title := re.fullmatch(r"##+ `?(.+?)`?", line):
            heading = title[1]
        elif row := re.match(r"\| `(\w+)` \|", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert row[1] not in found.setdefault(heading, {}), f"{heading}: {row[1]} is there twice"
            found[heading][row[1]] = cells[1:]
    return found


def json_type(hint: Any) -> str:
    """The word that the page uses for a field of this type."""
    if get_origin(hint) is NotRequired:
        (hint,) = get_args(hint)
    if isinstance(hint, ForwardRef):  # numpy's array is named in quotes; the file holds a list
        hint = list
    if isinstance(hint, UnionType):
        return " or ".join(json_type(choice) for choice in get_args(hint))
    return "object" if is_typeddict(hint) else JSON[get_origin(hint) or hint]


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_lists_exactly_the_fields_and_their_types(heading: str) -> None:
    rows = documented()[heading]
    assert {name: cells[0] for name, cells in rows.items()} == {
        name: json_type(hint) for name, hint in SECTIONS[heading].__annotations__.items()
    }
    assert all(len(cells) == 3 and cells[2] for cells in rows.values())


def test_every_table_of_the_page_is_compared() -> None:
    exports = {
        *("Evaluation sets in the tables", "Comparisons in the tables", "Sides of a comparison", "Settings table"),
    }
    assert documented().keys() == {*SECTIONS, "Score part", *exports}
    assert list(documented()["Comparisons in the tables"]) == [
        *(f.name for f in dataclasses.fields(Comparison)),
        *FOLLOWING,
    ]
    assert list(documented()["Sides of a comparison"]) == [f.name for f in dataclasses.fields(Side)]
    assert list(documented()["Score part"]) == ["text", *SCORE_COLUMNS]
    exported = [field.name for field in dataclasses.fields(Generalisation)]
    assert list(documented()["Evaluation sets in the tables"]) == exported


def test_the_page_says_what_a_search_lacks() -> None:
    absent = {name for name, cells in documented()["Record"].items() if "absent in a search" in cells[2]}
    older = {"epochs_to_first_best", "mask_histogram", "planned_updates"}  # which older records lack
    assert absent == OF_A_SEARCH | OF_SOME_DATASETS == Record.__optional_keys__ - OF_SOME_ARMS - OF_RETRIED - older
    optional = {heading: kind.__optional_keys__ for heading, kind in SECTIONS.items() if kind.__optional_keys__}
    assert optional == {
        "Record": Record.__optional_keys__,
        "evaluations": {"probabilities"},
        "run": OF_KEPT_MODELS | OF_CONTINUED | OF_NEWER,
        "Failure": OF_NEWER,
        "Data file": OF_NEWER,
        "Score manifest": OF_NEWER,
    }


def test_every_field_has_a_comment() -> None:
    lines = inspect.getsource(schema).splitlines()
    fields = [
        statement
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    ]
    assert len(fields) > 50
    bare = [ast.unparse(f) for f in fields if "#" not in lines[f.lineno - 1] + lines[f.lineno - 2].lstrip()[:1]]
    assert not bare


def fits(value: object, words: str) -> bool:
    """Whether a JSON value is of one of the types that the page names."""
    kinds = {
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "list": isinstance(value, list),
        "object": isinstance(value, dict),
        "null": value is None,
    }
    return any(kinds[word] for word in words.split(" or "))


def check(value: Mapping[str, Any], heading: str, *, without: frozenset[str] = frozenset()) -> None:
    """The fields are those of the page, each of the type that it names."""
    rows = documented()[heading]
    assert value.keys() == rows.keys() - without, heading
    assert not [name for name in value if not fits(value[name], rows[name][0])], heading


def check_record(record: Mapping[str, Any], *, without: frozenset[str] = frozenset()) -> None:
    """The same for a record and all that is inside it."""
    check(record, "Record", without=without | ((OF_SOME_ARMS | OF_SOME_DATASETS | OF_RETRIED) - record.keys()))
    check(record["run"], "run", without=(OF_KEPT_MODELS | OF_CONTINUED) - record["run"].keys())
    for name in ("final_stage", *({*OF_SOME_ARMS, "test_probabilities"} & record.keys())):
        check(record[name], name)
    for point in record["curve"]:
        check(point, "curve")
    for result in record.get("evaluations", {}).values():
        check(result, "evaluations")
    if record["mask_probability"] is not None:
        check(record["mask_probability"], "mask_probability")


def test_records_of_a_run_have_exactly_these_fields(finished_study: Path) -> None:
    files = sorted((finished_study / "out" / "records").glob("*.json"))
    records = [json.loads(file.read_bytes()) for file in files]
    for record in records:
        check_record(record)
    assert {record["mask_probability"] is None for record in records} == {True, False}


def test_score_folders_of_a_run_have_exactly_these_fields(finished_study: Path) -> None:
    (manifest,) = (finished_study / "out" / "scores").glob("*/manifest.json")
    value = json.loads(manifest.read_bytes())
    check(value, "Score manifest")
    check(value["made_with"], "made_with")
    assert value["key"] == manifest.parent.name
    for name in value["parts"]:
        assert pq.read_schema(manifest.parent / name).names == list(documented()["Score part"])


def test_the_data_file_of_a_run_has_exactly_these_fields(finished_study: Path) -> None:
    (file,) = (finished_study / "out" / "data").iterdir()
    facts = json.loads(file.read_bytes())
    check(facts, "Data file")
    assert facts["data_hash"] == file.stem
    check(facts["encoders"]["tiny"], "encoders")
    for split in facts["splits"].values():
        check(split, "splits")
        check(split["in_train"], "in_train")
        check(split["audit"], "audit")
        check(split["tokens"]["tiny"], "tokens")
        for lengths in (split["audit"]["words"], split["tokens"]["tiny"]["ids"]):
            check(lengths, "words")
        for shared in split["audit"]["shared"].values():
            check(shared, "shared")


def test_records_of_a_search_and_failures_have_exactly_these_fields(tmp_path: Path) -> None:
    space = write_study(tmp_path, methods=["stl"], seeds=1)
    (one,) = assignments(space, tmp_path / "out")
    trial: Trial = one.trial
    store = Store(tmp_path / "out")
    died(one, "killed", 1)
    for key in trial.keys.values():
        check(json.loads((store.root / "failures" / f"{key}.json").read_bytes()), "Failure")
    assert execute(dataclasses.replace(one, with_test=False)) is None
    for key in trial.keys.values():
        record = json.loads((store.root / "records" / f"{key}.json").read_bytes())
        check_record(record, without=OF_A_SEARCH)


def test_part_takes_the_declared_fields_alone() -> None:
    record: Any = {"key": "k", "seed": 1, "curve": [1], "run": {}, "checksum": "c"}
    assert part(record, Kept) == {"key": "k", "seed": 1, "run": {}}
    assert part(record, NewRecord) == {"key": "k", "seed": 1, "run": {}, "curve": [1]}
