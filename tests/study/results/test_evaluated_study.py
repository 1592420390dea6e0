"""A study whose dataset has an evaluation set, from its space file to the answers of `compare`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from small_study import SPACE, NoMirror, Said, command, records, resolved_text, write_rows, write_study
from small_task import rows

from l3masking.metrics import METRICS
from study.plan.resolved import planned
from study.report.publish import write_tables
from study.results.answers import answer
from study.results.truth import true_labels

TEXTS = 10
LABEL_MAP = {"first": "first", "second": "rest", "third": "rest"}
WORDS = SPACE["datasets"]["words"] | {"evaluation_sets": {"other": {"test": "other.jsonl", "label_map": LABEL_MAP}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """Folder of the files, with the study in out/, and what the run said."""
    folder = tmp_path_factory.mktemp("evaluated-study")
    texts, labels = rows(TEXTS, 9)
    write_rows(folder / "other.jsonl", texts, [LABEL_MAP[label] for label in labels])
    space = write_study(folder, datasets={"words": WORDS}, methods=["stl", "rtm"])
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", space, "--out", folder / "out")
    assert said.code == 0, said.err
    return folder, said


def test_the_run_ends_with_the_table(made: tuple[Path, Said]):
    folder, said = made
    assert "Out of distribution: words, accuracy" in said.out
    assert "other of words (first, rest)" in " ".join(said.out.split())
    assert "evaluations.csv" in said.out
    read = json.loads((folder / "out/tables/results.json").read_text())
    assert {(cell["evaluations"]["other"]["n"], cell["evaluations"]["other"]["texts"]) for cell in read} == {(2, TEXTS)}


def test_cells_hold_what_the_records_hold(made: tuple[Path, Said]):
    folder, _ = made
    results, _ = write_tables(folder / "out")
    truth = true_labels(planned(folder / "out"), ["words"]).sets["other"]["words"]
    assert len(records(folder / "out")) == 8
    for record in records(folder / "out").values():
        place = record["method"], record["objective"]
        [cell] = [cell for cell in results.cells if (cell.method, cell.objective) == place]
        value = METRICS[record["objective"]](record["evaluations"]["other"]["predictions"], truth.labels, 2)
        assert cell.evaluations["other"].values[record["seed"]] == pytest.approx(value, abs=1e-12)
        assert cell.evaluations["other"].merged


def test_compare_asks_on_the_set_too(made: tuple[Path, Said]):
    folder, _ = made
    found = answer(folder / "out")
    assert found.notes == []
    assert [(c.objective, c.measure, c.n, c.family) for c in found.on_sets] == [
        (objective, measure, 2, 4) for objective in ("accuracy", "macro_f1") for measure in ("value", "gap")
    ]
    for entry in found.on_sets:
        low, high = entry.joint_low, entry.joint_high
        assert low is not None
        assert high is not None
        assert low <= (entry.difference or 0) <= high
    text = command("compare", folder / "out").out
    for part in ("RTM against STL, accuracy on evaluation sets", "RTM against STL, accuracy, generalisation gap"):
        assert part in text
    read = json.loads(command("compare", folder / "out", "--format", "json", "--baseline", "stl").out)
    assert len(read["evaluation_comparisons"]) == 4


def test_a_set_that_has_changed_is_not_resampled(made: tuple[Path, Said], tmp_path: Path):
    folder, _ = made
    shutil.copytree(folder, tmp_path / "data")
    root = tmp_path / "data" / "out"
    text = resolved_text(root)
    (root / "resolved.yaml").write_text(text.replace(str(folder), str(tmp_path / "data")))
    before = answer(root)
    write_rows(tmp_path / "data" / "other.jsonl", ["red", "cat"], ["first", "rest"])
    assert answer(root) == before  # the study keeps the labels of the set as it was
    shutil.rmtree(root / "data")
    write_rows(tmp_path / "data" / "other.jsonl", ["red", "cat"], ["first", "rest"])
    found = answer(root)
    assert found.notes == ["words, other: no interval over test texts: its content has changed since the study ran"]
    assert found.comparisons == before.comparisons
    assert {entry.joint_low for entry in found.on_sets} == {None}
    assert [entry.p for entry in found.on_sets] == [entry.p for entry in before.on_sets]


def test_labels_are_those_of_the_set(made: tuple[Path, Said]):
    folder, _ = made
    truth = true_labels(planned(folder / "out"), ["words"]).sets["other"]["words"]
    _, labels = rows(TEXTS, 9)
    assert truth.num_classes == 2
    assert np.array_equal(truth.labels, [0 if label == "first" else 1 for label in labels])


def test_explain_names_the_set(made: tuple[Path, Said]):
    folder, _ = made
    key, record = next(iter(records(folder / "out").items()))
    value = record["evaluations"]["other"]["metrics"]["accuracy"]
    assert f"\n  on other    accuracy {100 * value:.2f} %, " in command("explain", folder / "out", key).out
