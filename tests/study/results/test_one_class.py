"""Rows that predict one class everywhere are named; a study without records is said to have none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from result_cells import cell
from small_study import command
from stored_studies import STORED

from study.results.one_class import one_class_notes


@pytest.mark.parametrize(
    ("models", "named"),
    [
        ([[1, 1, 1], [0, 0, 0]], True),
        ([[1, 1, 1], [0, 1, 0]], False),
        ([[1, 1, 1]], False),  # one seed may be bad luck
        ([[1], [0]], False),  # one text has no other class
        ([], False),
    ],
)
def test_a_row_is_named_where_each_of_its_models_predicts_one_class(models: list[list[int]], named: bool) -> None:
    one = cell()
    predictions = {one.key: {seed: np.array(model, dtype=np.uint8) for seed, model in enumerate(models)}}
    notes = one_class_notes([one], predictions)
    assert len(notes) == named
    who = f"all 2 models of {one.key.name} chosen by {one.objective}"
    assert all(note == f"One class is predicted for every test text by {who}." for note in notes)


def test_compare_says_so_and_names_a_study_without_records(tmp_path: Path) -> None:
    root = Path(shutil.copytree(STORED / "1", tmp_path / "study"))
    said = command("compare", root)
    assert said.code == 0
    note = "One class is predicted for every test text by all 2 models of tiny/words/l3masking chosen by accuracy."
    assert note in said.out
    assert note in json.loads(command("compare", root, "--format", "json").out)["notes"]
    assert command("export", root).code == 0
    assert note in (root / "report.html").read_text().partition("Before you rely on it")[2][:1000]
    shutil.rmtree(root / "records")
    said = command("compare", root)
    line = f"{root}: nothing to compare: the study has no records yet; `l3study status {root}` says what runs\n"
    assert (said.code, said.out, said.err) == (0, line, "")
