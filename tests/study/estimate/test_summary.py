"""What a plan amounts to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from plans import KNOWN, records_of, space

from study.estimate.summary import describe, summarize
from study.plan.grid import make_plan, narrow
from study.plan.trials import Identities
from study.space.reader import read_space

SPACES = Path(__file__).parents[3] / "search_spaces"
COUNTS = ("cells", "trajectories", "records", "done", "left", "search_trials", "estimate_seconds")


def test_summary() -> None:
    spec = space(resources={"gpu": 0.5})
    trials = make_plan(spec, KNOWN)
    records = [*records_of(trials[0], 10, points=4), *records_of(trials[1], 20, ("accuracy",))]
    summary = summarize(spec, trials, records)
    plain = json.loads(json.dumps(summary.as_dict()))
    assert {name: plain[name] for name in COUNTS} == {
        "cells": 3,
        "trajectories": 6,
        "records": 12,
        "done": 3,
        "left": 9,
        "search_trials": 0,
        "estimate_seconds": 10 + 2 * 20 + 2 * 20,  # stl; rtm, once more for the other objective; l3masking as rtm
    }
    assert plain["gpu_hours"] == pytest.approx(90 * 0.5 / 3600)
    assert plain["resources"] == dataclasses.asdict(spec.resources)
    assert plain["unknown"] == []
    stl, rtm, l3 = plain["per_cell"]
    assert (stl["done"], stl["records"], stl["left"], stl["seconds"]) == (2, 4, 1, 10)
    assert (rtm["done"], rtm["left"], rtm["mask_mean"]) == (1, 2, 0.15)
    assert stl["texts"] == {"train": 1688, "validation": 114, "test": 139, "mlm": 1688}
    assert (stl["updates_per_epoch"], stl["updates_at_most"]) == (13, 1950)
    assert l3["basis"].startswith("1 finished training of rtm, × 1 ")
    assert plain["disk_bytes"] == sum(plain["disk"][part] for part in ("records", "scores", "mlflow", "models"))
    assert plain["first"] == [trials[1].trajectory, *(trial.trajectory for trial in trials[2:6])]
    text = describe(summary)
    assert "3 cells, 6 trainings, 12 records" in text
    assert "done 3, left 9, estimated time 90 s, 0.0 GPU-hours\n" in text
    assert f"next: {trials[1].trajectory[:12]}, " in text
    rows = [line.split() for line in text.splitlines()]
    assert ["bert-base", "acl-arc", "stl", "-", "2", "2/4", "0.5/1/1", "1688", "13", "10", "s"] in rows
    assert ["bert-base", "acl-arc", "l3masking", "0.15", "2", "0/4", "0.5/1/1", "1688", "13", "20", "s"] in rows


def test_what_is_not_at_hand_is_named_and_counted() -> None:
    spec = space()
    trials = make_plan(spec, Identities(encoders=KNOWN.encoders))
    summary = summarize(spec, trials, [])
    assert (summary.records, summary.done, summary.left) == (12, 0, 12)
    assert summary.unknown == ("dataset acl-arc",)
    assert summary.first == (), "its keys will be others"
    assert "not available, counted as left: dataset acl-arc" in describe(summary)
    assert "estimated time unknown" in describe(summary)


def test_pairs_may_take_their_own_share_of_a_gpu() -> None:
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc", "gpu": 0.5}, {"encoder": "scibert", "dataset": "acl-arc"}]
    spec = space(pairs=pairs, seeds=1, methods=["stl"], resources={"gpu": 0.25, "cpu": 2})
    trials = make_plan(spec, KNOWN)
    records = [*records_of(trials[0], 3600, ("accuracy",)), *records_of(trials[1], 3600, ("accuracy",))]
    summary = summarize(spec, trials, records)
    assert [(cell.gpu, cell.cpu, cell.threads) for cell in summary.per_cell] == [(0.5, 2, 1), (0.25, 2, 1)]
    assert summary.gpu_hours == pytest.approx(0.75)


def test_a_share_that_a_run_measures_is_shown_as_such() -> None:
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc", "gpu": 0.5}, {"encoder": "scibert", "dataset": "acl-arc"}]
    spec = space(pairs=pairs, seeds=1, methods=["stl"], resources={"gpu": "auto"})
    trials = make_plan(spec, KNOWN)
    records = [*records_of(trials[0], 3600, ("accuracy",)), *records_of(trials[1], 3600, ("accuracy",))]
    summary = summarize(spec, trials, records)
    assert "resources of a trial: gpu auto (measured at the start of a run), cpu 1.0" in describe(summary)
    assert [line.split()[6] for line in describe(summary).splitlines()[-2:]] == ["0.5/1/1", "auto/1/1"]
    assert summary.gpu_hours == pytest.approx(1.5), "of a whole GPU, as long as nothing is measured"


def test_a_cell_whose_setting_is_still_searched_says_so() -> None:
    search = {"parameters": {"masking.mean": {"uniform": [0.05, 0.6]}}, "methods": ["rtm"]}
    spec = space(search=search, seeds=1, methods=["rtm"])
    summary = summarize(spec, make_plan(spec, KNOWN), [])
    assert summary.search_trials == 20
    assert [(cell.variant, cell.pending, cell.mask_mean) for cell in summary.per_cell] == [
        (None, False, 0.15),
        ("best", True, None),
    ]
    assert "rtm @ best" in describe(summary)
    assert "searched" in describe(summary)
    assert "4 records, 20 settings to search" in describe(summary)
    assert len(summary.first) == 1, "the key of the other one is still to come"
    assert summary.basis.endswith("trainings alone, without scoring and searches")


def test_each_search_counts_with_the_settings_that_it_tries() -> None:
    grid = {"masking.mean": {"choice": [0.1, 0.2, 0.3]}}
    for search, settings in (
        ({"parameters": {"masking.mean": {"uniform": [0.05, 0.6]}}, "trials": 7}, 7),
        ({"parameters": grid, "sampler": "grid", "trials": 20}, 3),
    ):
        pairs = [{"encoder": encoder, "dataset": "acl-arc"} for encoder in ("bert-base", "scibert")]
        spec = space(search=search, pairs=pairs, seeds=4)
        trials = make_plan(spec, KNOWN)
        assert summarize(spec, trials, []).search_trials == 2 * 2 * settings, "two pairs, two methods that mask"
        assert summarize(spec, narrow(trials, ["encoder=scibert", "method=rtm"]), []).search_trials == settings
        assert summarize(spec, narrow(trials, ["variant=plain"]), []).search_trials == 0


def test_free_room_is_told_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    spec = space()
    text = describe(summarize(spec, make_plan(spec, KNOWN), []), root=tmp_path / "a" / "b")
    assert "; free: " in text
    assert not (tmp_path / "a").exists()


# The spaces that come with the project -------------------------------------------------------------------------------


def test_the_papers_grid_is_counted_without_data_models_and_network() -> None:
    spec = read_space(SPACES / "paper.yaml")
    trials = make_plan(spec, Identities())
    summary = summarize(spec, trials, [])
    assert (summary.cells, summary.trajectories, summary.records) == (24, 240, 480)
    assert (summary.done, summary.left, summary.search_trials) == (0, 480, 0)
    assert {(cell.encoder, cell.dataset) for cell in summary.per_cell} == {
        *((e, d) for e in ("bert-base", "roberta-base") for d in ("acl-arc", "ohsumed", "imdb")),
        ("scibert", "acl-arc"),
        ("clinicalbert", "ohsumed"),
    }
    assert {cell.method for cell in summary.per_cell} == {"stl", "rtm", "l3masking"}
    assert {cell.gpu for cell in summary.per_cell} == {0.25}
    assert {cell.seeds for cell in summary.per_cell} == {10}
    assert spec.search is None
    assert (spec.precision, spec.preset) == ("bf16", "default")
    assert {(trial.mask_mean, trial.settings["scoring"]["max_length"]) for trial in trials} == {
        (None, 128),
        (0.15, 128),
    }
    updates = {cell.dataset: cell.updates_per_epoch for cell in summary.per_cell}
    assert updates == {"acl-arc": 13, "ohsumed": 20, "imdb": 195}
    assert len(summary.unknown) == 7
    assert summary.disk["scores"] is not None


def test_the_smoke_space_is_small() -> None:
    spec = read_space(SPACES / "smoke.yaml")
    summary = summarize(spec, make_plan(spec, Identities()), [])
    assert (summary.cells, summary.records) == (3, 3)
    assert sum(cell.updates_at_most for cell in summary.per_cell) < 100
