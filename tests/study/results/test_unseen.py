"""The part of test that train does not hold: which rows are left, what the values are there, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_cells import cell
from small_study import command, records

from l3masking.metrics import METRICS
from study.plan.grid import make_plan
from study.plan.resolved import planned
from study.results.answers import answer
from study.results.gather import Results, gather
from study.results.texts import Truth
from study.results.unseen import Unseen, on_rows, unseen_part
from study.store.data_facts import DataFacts, read_facts, write_facts
from study.store.store import Store


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study's folder: three methods, two objectives, two seeds, 12 test texts."""
    shutil.copytree(finished_study / "out", tmp_path / "out")
    return tmp_path / "out"


def plant(root: Path, rows: list[int], **changes: Any) -> DataFacts:
    """Say that train holds these test rows. `changes`: further fields of the test split."""
    facts = read_facts(root, planned(root).identities.datasets["words"])
    assert facts is not None
    facts["splits"]["test"]["in_train"] = {"folded": rows, "exact": []}
    facts["splits"]["test"] |= changes  # type: ignore[typeddict-item]
    write_facts(root, facts)
    return facts


def looked(root: Path) -> tuple[Results, Unseen]:
    resolved = planned(root)
    results = gather(Store(root), resolved.spec, make_plan(*resolved))
    return results, unseen_part(results, resolved, root)


def test_splits_of_each_seed_have_no_unseen_part_in_common(here: Path) -> None:
    plant(here, [0])
    resolved = planned(here)
    cut = {"validation": None, "validation_rows": 5, "split_seed": "per_seed"}
    datasets = {"words": dataclasses.replace(resolved.spec.datasets["words"], **cut)}
    anew = resolved._replace(spec=dataclasses.replace(resolved.spec, datasets=datasets))
    results = gather(Store(here), resolved.spec, make_plan(*resolved))
    found = unseen_part(results, anew, here)
    assert (found.parts, found.results.cells) == ({}, [])
    assert found.notes == ["words: no unseen part: each seed has its own splits, and with them its own unseen part"]


def test_a_margin_named_after_the_results_is_said(here: Path) -> None:
    plant(here, [0])
    for unseen in (False, True):
        (said,) = [n for n in answer(here, unseen=unseen, margin=0.02).notes if "margin" in n]
        assert said.startswith("The margin of 2 points was named with --margin, not declared in the space")
        assert not any("margin" in note for note in answer(here, unseen=unseen).notes)


def test_values_are_those_of_the_rows_that_are_left(here: Path) -> None:
    facts = plant(here, [0, 3, 4, 11])
    labels = facts["splits"]["test"]["labels"]
    left = [row for row in range(12) if row not in (0, 3, 4, 11)]
    results, found = looked(here)
    assert found.parts == {"words": (8, 12)}
    assert found.truths["words"].labels.tolist() == [labels[row] for row in left]
    assert found.notes[0] == (
        "words: unseen part of test: 8 of 12 texts, those that train does not hold (texts count as one whatever their "
        "case and white space)"
    )
    assert len(found.results.cells) == len(results.cells) == 6
    for record in records(here).values():
        place = record["method"], record["objective"]
        [own] = [one for one in found.results.cells if (one.method, one.objective) == place]
        predicted = [record["test_predictions"][row] for row in left]
        value = METRICS[record["objective"]](predicted, [labels[row] for row in left], 3)
        assert own.values[record["seed"]] == pytest.approx(value, abs=1e-12)
        assert (own.test_texts, own.n, own.wanted, own.evaluations) == (8, 2, 2, {})
        assert own.mean == pytest.approx(np.mean(list(own.values.values())), abs=1e-12)
        assert found.results.predictions[own.key][record["seed"]].tolist() == predicted
    assert (found.results.comparisons, found.results.set_comparisons, found.results.set_predictions) == ([], [], {})


def test_only_the_seen_rows_may_make_the_difference() -> None:
    """One row is right on seen texts alone: on the others it is no better."""
    truth = Truth(np.array([0, 1, 0, 1, 1]), 2)
    always, lucky = np.zeros(5, dtype=int), np.array([0, 1, 0, 0, 0])
    rows = np.array([2, 3, 4])
    first, second = (cell(name, values={0: 0.0}) for name in ("l3masking", "rtm"))
    left = Truth(truth.labels[rows], 2)
    values = [on_rows(one, {0: row[rows]}, left).mean for one, row in ((first, lucky), (second, always))]
    assert values[0] == values[1] == pytest.approx(1 / 3, abs=1e-12)


def test_a_class_without_an_unseen_text_is_named(here: Path) -> None:
    facts = plant(here, [])
    labels = facts["splits"]["test"]["labels"]
    plant(here, [row for row, label in enumerate(labels) if label == 2])
    _, found = looked(here)
    assert "words: no unseen text of third: such a class counts 0 in macro F1" in found.notes


def test_nothing_unseen_nothing_seen_and_no_facts_are_said(here: Path) -> None:
    plant(here, list(range(12)))
    found = answer(here, unseen=True)
    assert (found.comparisons, found.unseen) == ([], {"words": (0, 12)})
    assert found.notes == ["words: train holds every one of its 12 test texts, so that no unseen part is left"]
    plant(here, [])
    found = answer(here, unseen=True)
    assert found.notes[0] == "words: train holds none of its 12 test texts, so that the unseen part is all of them"
    usual = answer(here).comparisons
    assert [(one.question, one.difference, one.p) for one in found.comparisons] == [
        (one.question, one.difference, one.p) for one in usual
    ]
    shutil.rmtree(here / "data")
    found = answer(here, unseen=True)
    assert (found.comparisons, found.unseen) == ([], {})
    assert found.notes == [
        "words: no unseen part: this study keeps no list of the test texts that train holds; run it again, which "
        "trains nothing anew"
    ]


def test_labels_that_do_not_give_the_recorded_values_are_not_used(here: Path) -> None:
    one = next(iter(records(here).values()))  # which would be right everywhere
    plant(here, [0], labels=one["test_predictions"])
    _, found = looked(here)
    assert (found.results.cells, found.results.predictions, found.truths, found.parts) == ([], {}, {}, {})
    assert found.notes[-1] == "words: left out: the kept labels do not give the recorded test values"
    assert answer(here, unseen=True).comparisons == []


def test_compare_resamples_the_unseen_texts_alone(here: Path) -> None:
    plant(here, [0, 3, 4, 11])
    found = answer(here, unseen=True)
    assert len(found.comparisons) == 6
    assert {entry.test_texts for entry in found.comparisons} == {8}
    assert not [note for note in found.notes if "no interval" in note]
    assert all(entry.joint_low is not None for entry in found.comparisons)
    assert answer(here, unseen=True) == found


def test_the_verb_says_what_it_compares(here: Path) -> None:
    plant(here, [0, 3, 4, 11])
    said = command("compare", here, "--unseen")
    assert said.code == 0, said.err
    assert said.out.startswith("These comparisons are on the unseen part of test alone")
    assert "unseen part of test: 8 of 12 texts" in " ".join(said.out.split())
    read = json.loads(command("compare", here, "--unseen", "--format", "json").out)
    assert read["unseen"] == {"words": {"rows": 8, "of": 12}}
    assert "unseen" not in json.loads(command("compare", here, "--format", "json").out)
    said = command("compare", here, "--unseen", "--against", "paper")
    assert (said.code, said.out) == (2, "")
    assert "--unseen computes this study's test values again: it does not go with --against" in said.err
