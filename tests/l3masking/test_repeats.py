"""What repeats to the bit: the same seed anywhere, a solo objective, arms that differ in nothing."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from short_runs import NOISY, SHORT, auxiliary, same, states, task
from small_task import data, digest, encoder, one_thread, run, settings, summary

from l3masking import rng
from l3masking.training.settings import FinalConfig
from l3masking.training.trajectory import Trajectory


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def test_the_given_encoder_stays_vanilla_and_in_eval_mode() -> None:
    before = states(encoder().model)
    run("l3masking", SHORT, seed=8)
    assert same(before, states(encoder().model))
    assert not encoder().model.training
    assert all(parameter.grad is None for parameter in encoder().model.parameters())


def test_no_global_generator_is_touched() -> None:
    random.seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    run("l3_shuffled", settings(max_epochs=1))
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_the_same_seed_repeats_to_the_bit_and_another_does_not(short) -> None:
    torch.manual_seed(99)
    again, other = run("l3masking", SHORT), run("l3masking", SHORT, seed=1)
    assert digest(again) == digest(short)
    assert digest(other) != digest(short)


def test_another_process_with_another_hash_seed_repeats_to_the_bit(short) -> None:
    code = "from small_task import *\nwith one_thread():\n    print(digest(run('l3masking', settings(max_epochs=3))))"
    root, environment = Path(__file__).resolve().parents[2], {**os.environ, "PYTHONHASHSEED": "4321"}
    paths = [str(root / "tests" / "support"), str(root), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == digest(short)


def test_l3masking_with_equal_scores_is_rtm_to_the_bit() -> None:
    assert digest(run("l3masking", SHORT, equal_scores=True)) == digest(run("rtm", SHORT))


def test_all_methods_share_the_head_and_those_that_mask_the_order() -> None:
    heads, orders = [], []
    for weighting, units in (("static", None), ("meta", auxiliary()), ("meta", auxiliary(0.5))):
        made = Trajectory(encoder(), task(), SHORT, 5, units, weighting)
        heads.append(states(made.model.classifier))
        if units is not None:
            orders.append([(next(made.stepper._primary), next(made.stepper._mlm)) for _ in range(9)])
    assert same(heads[0], heads[1])
    assert same(heads[0], heads[2])
    assert orders[0] == orders[1]
    assert not same(heads[0], states(Trajectory(encoder(), task(), SHORT, 6, None, "static").model.classifier))


@pytest.mark.parametrize("method", ["stl", "l3masking"])
def test_a_solo_objective_equals_the_shared_trajectory(method: str) -> None:
    """On a seed under which the two objectives stop at different updates."""
    final = FinalConfig(lr=2e-3, max_epochs=3, patience=2)
    config = settings(batch=4, max_epochs=9, lr=1e-2, every=2, patience=3, final=final)
    runs = ((seed, run(method, config, seed=seed, source=NOISY)) for seed in range(8))
    seed, shared = next((s, both) for s, both in runs if both["accuracy"].updates != both["macro_f1"].updates)
    for objective in ("accuracy", "macro_f1"):
        solo = run(method, config, seed=seed, source=NOISY, objectives=[objective])
        assert summary(solo[objective]) == summary(shared[objective])
        assert same(solo[objective].weights, shared[objective].weights)


def test_the_order_of_the_objectives_does_not_matter(short) -> None:
    assert digest(run("l3masking", SHORT, objectives=["macro_f1", "accuracy"])) == digest(short)


def test_nothing_but_the_test_values_depends_on_the_test_split(short) -> None:
    other = dataclasses.replace(data(), test=data().validation)
    for objective, outcome in run("l3masking", SHORT, source=other).items():
        mine, theirs = summary(outcome), summary(short[objective])
        assert mine.pop("test_predictions") != theirs.pop("test_predictions")
        assert mine.pop("test_probabilities") != theirs.pop("test_probabilities")
        assert mine.pop("test").keys() == theirs.pop("test").keys()
        assert mine == theirs
        assert same(outcome.weights, short[objective].weights)


def test_streams_of_a_run_have_different_seeds() -> None:
    names = [("head",), ("order", "primary"), ("order", "mlm"), ("mask",), ("dev-batch",), ("dev-sample", 1)]
    assert len({rng.stream_seed(0, *name) for name in names}) == len(names)
