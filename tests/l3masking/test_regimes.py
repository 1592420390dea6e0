"""The arms: their masks, what they refuse, and what they share."""

from __future__ import annotations

import dataclasses
from unittest import mock

import numpy as np
import pytest
import torch
from small_task import SCORING, data, encoder, one_thread, run, scores, settings

from l3masking import regimes
from l3masking.data.table import TextData
from l3masking.errors import InputError
from l3masking.masking.applied import HISTOGRAM_BINS, histogram, placed, summarise
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.probabilities import mask_probabilities
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import Inputs, Training, encode_inputs, encode_task, prepare, run_method
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as
from l3masking.stages import SELECTIONS, Finetune
from l3masking.training.flat_gradients import FlatGradients
from l3masking.training.optim import MainStage
from l3masking.training.settings import MetaConfig
from l3masking.training.task_weights import WEIGHTINGS
from l3masking.training.trajectory import Trajectory

# name -> policy of each stage, weighting of the last (None: Mask-tuning), what masking needs: one line per entry
ARMS = {
    "stl": ((None,), "static", ""),
    "stl_matched": ((None,), "static", ""),
    "rtm": (("uniform",), "meta", ""),
    "l3masking": (("l3",), "meta", "likelihood"),
    "mtl_static": (("l3",), "static", "likelihood"),
    "rtm_static": (("uniform",), "static", ""),
    "l3_shuffled": (("l3_shuffled",), "meta", "likelihood"),
    "tapt": (("uniform", None), "static", ""),
    "tapt_l3": (("l3", None), "static", "likelihood"),
    "dapt": (("uniform", None), "static", ""),
    "selective": (("important", None), "static", "importance"),
    "selective_random": (("as_many_random", None), "static", "importance"),
    "mtl_selective": (("importance",), "meta", "importance"),
    "mask_tuning": (("uniform",), None, ""),
    "mask_tuning_l3": (("l3",), None, "likelihood"),
    "mask_tuning_no_mlm": (("uniform",), None, ""),
    "mask_tuning_two_rounds": (("uniform",), None, ""),
}
MASKED = sorted(name for name, method in METHODS.items() if method.masks)
SCORED = sorted(name for name in MASKED if METHODS[name].needs_scores)
TEXTS = [*data().mlm_texts[:20], "", "red"]


def masks(name: str, masking: MaskingConfig, *, seed: int = 0, texts: list[str] = TEXTS, given=None) -> Training:
    if given is None and METHODS[name].needs_scores:
        given = scores(texts)
    return prepared(name, texts, given, SCORING, masking, seed=seed)


def prepared(name: str, texts: list[str], given, scoring: ScoringConfig, masking: MaskingConfig, *, seed: int = 0):
    made = encoder()
    inputs = Inputs(task=encode_task(made, data(), scoring), mlm=encode_as(scoring, made.tokenizer, texts))
    importance = [np.linspace(0, 1, len(text.positions)) for text in inputs.mlm]
    needed = importance if METHODS[name].needs_importance else None
    return prepare(
        METHODS[name],
        made,
        inputs,
        masking=masking,
        config=settings(),
        seed=seed,
        scores=given,
        importance=needed,
    )


def test_every_method_has_its_line_here() -> None:
    assert {
        name: (tuple(s.policy for s in m.stages), getattr(m.last, "weighting", None), ",".join(sorted(m.needs)))
        for name, m in METHODS.items()
    } == ARMS


@pytest.mark.parametrize("name", sorted(ARMS))
def test_a_method_names_what_exists(name: str) -> None:
    method = METHODS[name]
    assert set(method.policies) <= POLICIES.keys()
    assert all(stage.policy in {*POLICIES, *SELECTIONS} for stage in method.adapts)
    if isinstance(method.last, Finetune):
        weighting = method.last.weighting
        assert method.learns_weights == (
            method.masks and WEIGHTINGS[weighting](2, MetaConfig(), torch.device("cpu")).learns
        )
        assert method.masks == (method.last.policy is not None)
    else:
        assert method.tunes_masks
        assert not method.masks
    assert set(method.controls) <= METHODS.keys() - {name}


TIED = ["stl", "rtm", "l3masking", "tapt", "mask_tuning", "mask_tuning_two_rounds"]


def trajectory(name: str, source: TextData, **changes) -> Trajectory:
    method, made = METHODS[name], encoder()
    inputs = encode_inputs(method, made, source, SCORING)
    given = scores(source.mlm_texts) if method.needs_scores and method.masks else None
    config = settings(unit="epochs", every=1, **changes)
    return prepare(method, made, inputs, masking=MaskingConfig(), config=config, seed=0, scores=given).trajectory()


@pytest.mark.parametrize("times", [1, 3])
def test_all_arms_of_a_dataset_plan_the_same_updates_and_evaluations(times: int) -> None:
    source = dataclasses.replace(data(), mlm_texts=data().train.texts * times)
    spans = {
        name: MainStage(made.total, made.warmup, made.every) for name in TIED if (made := trajectory(name, source))
    }
    assert set(spans.values()) == {MainStage(12 * 3 * times, int(0.06 * 12 * 3 * times), 3 * times)}


def test_stl_matched_has_as_many_gradients_as_the_arms_that_learn_task_weights() -> None:
    """Counted: calls of FlatGradients.of in one update of each."""
    counts = {}
    for name in ("stl_matched", "rtm", "l3masking"):
        made = trajectory(name, data())
        with mock.patch.object(FlatGradients, "of", autospec=True, side_effect=FlatGradients.of) as counted:
            made.stepper.window(1)
        counts[name] = counted.call_count * made.total
        assert made.every == 3 * METHODS[name].last.update_factor
    assert len(set(counts.values())) == 1
    assert METHODS["stl_matched"].unscored() == METHODS["stl_matched"].alone(), "an update is measured as it is"


def test_stl_matched_is_evaluated_as_often_as_stl() -> None:
    plain, matched = (
        run(name, settings(max_epochs=2, every=2), objectives=["accuracy"]) for name in ("stl", "stl_matched")
    )
    plain, matched = plain["accuracy"], matched["accuracy"]
    assert (matched.updates, matched.planned_updates) == (3 * plain.updates, 3 * plain.planned_updates) == (18, 18)
    assert [point["update"] for point in matched.curve] == [3 * point["update"] for point in plain.curve]


def test_labels_tell_methods_apart() -> None:
    assert len({method.label for method in METHODS.values()}) == len(METHODS)


@pytest.mark.parametrize("mean", [0.15, 0.6, 0.0, 1.0])
@pytest.mark.parametrize("name", MASKED)
def test_the_mean_of_every_text_is_the_wanted_one(name: str, mean: float) -> None:
    made = masks(name, MaskingConfig(mean=mean))
    special = {0, 2, 3}  # [PAD], [CLS], [SEP]
    for ids, row in zip(made.auxiliary.input_ids, made.auxiliary.probabilities, strict=True):
        assert len(ids) == len(row)
        eligible = ~np.isin(ids, list(special))
        assert (row[~eligible] == 0).all()
        assert ((row >= 0) & (row <= 1)).all()
        if eligible.any():
            assert abs(row[eligible].mean() - mean) < 1e-6
    assert abs(made.masks["mean"] - mean) < 1e-6
    assert made.masks["largest_deviation"] < 1e-6
    assert not any(made.auxiliary.probabilities[-2])  # the empty text


def test_the_probabilities_are_those_of_the_text_s_own_scores() -> None:
    made, given = masks("l3masking", MaskingConfig(mean=0.2)), scores(TEXTS)
    for row, score in zip(made.auxiliary.probabilities, given, strict=True):
        expected = mask_probabilities(np.exp(score.log_likelihood.astype(float)), mean=0.2)
        assert row[score.positions].tolist() == expected.tolist()


def test_shuffling_keeps_each_text_s_probabilities_and_moves_them() -> None:
    plain, shuffled = (masks(name, MaskingConfig()).auxiliary.probabilities for name in ("l3masking", "l3_shuffled"))
    assert all(np.allclose(sorted(a), sorted(b), atol=1e-14) for a, b in zip(plain, shuffled, strict=True))
    assert sum(not np.array_equal(a, b) for a, b in zip(plain, shuffled, strict=True)) >= 18
    again, other = (masks("l3_shuffled", MaskingConfig(), seed=s).auxiliary.probabilities for s in (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(shuffled, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(shuffled, other, strict=True))


def test_the_seed_moves_no_unshuffled_probability() -> None:
    for name in ("rtm", "l3masking", "mtl_static"):
        a, b = (masks(name, MaskingConfig(), seed=seed).auxiliary.probabilities for seed in (0, 1))
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", SCORED)
def test_missing_scores_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="score the texts first"):
        prepared(name, TEXTS, None, SCORING, MaskingConfig())


@pytest.mark.parametrize("given", [scores(TEXTS)[:-1], scores([*TEXTS, "red"])], ids=["fewer", "more"])
def test_another_number_of_scores_is_refused(given: list) -> None:
    with pytest.raises(InputError, match=r"the scores of text 21 belong to other|more scores than masked-LM texts"):
        masks("l3masking", MaskingConfig(), given=given)


def test_scores_of_other_ids_are_refused_with_the_text_s_number() -> None:
    given = scores(TEXTS)
    given[3], given[4] = given[4], given[3]
    with pytest.raises(InputError, match="the scores of text 3 belong to other token ids"):
        masks("l3masking", MaskingConfig(), given=given)


def test_scores_under_another_length_are_refused() -> None:
    short = dataclasses.replace(SCORING, max_length=6)
    with pytest.raises(InputError, match="belong to other token ids"):
        prepared("l3masking", TEXTS, scores(TEXTS), short, MaskingConfig())


def test_the_task_is_encoded_and_cut_as_the_scores_are() -> None:
    short = ScoringConfig(max_length=6)
    task = encode_task(encoder(), data(), short)
    assert task.num_classes == 3
    for split, part in ((task.train, data().train), (task.validation, data().validation), (task.test, data().test)):
        assert split.labels.tolist() == list(part.labels)
        assert max(map(len, split.input_ids)) == 6
        assert all((row[0], row[-1]) == (2, 3) for row in split.input_ids)  # [CLS] ... [SEP], also where cut


def test_a_length_beyond_the_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="this encoder has 24 positions"):
        encode_task(encoder(), data(), ScoringConfig(max_length=25))


def test_a_summary_by_hand() -> None:
    texts = encode_as(SCORING, encoder().tokenizer, ["red cat", "", "oak"])
    values = [np.array([1.0, 0.2]), np.zeros(0), np.array([0.3])]
    rows = [placed(text.input_ids, text.positions, value) for text, value in zip(texts, values, strict=True)]
    summary = summarise(texts, rows, 0.5)
    assert summary == pytest.approx({"mean": 0.5, "largest_deviation": 0.2, "max": 1.0, "share_capped": 1 / 3})
    nothing = {"mean": 0.0, "largest_deviation": 0.0, "max": 0.0, "share_capped": 0.0}
    assert summarise(texts[1:2], rows[1:2], 0.5) == nothing
    counts = histogram(texts, rows)
    assert len(counts) == HISTOGRAM_BINS == 100
    assert {b: count for b, count in enumerate(counts) if count} == {20: 1, 30: 1, 99: 1}, "a bin holds its lower end"
    assert histogram(texts[1:2], rows[1:2]) == [0] * HISTOGRAM_BINS


def test_plain_fine_tuning_has_no_masks() -> None:
    with one_thread():
        outcomes, summary = run_method(
            "stl",
            encoder(),
            data(),
            scoring=SCORING,
            masking=MaskingConfig(),
            config=settings(max_epochs=1),
            seed=0,
            objectives=["accuracy"],
        )
    assert summary is None
    assert set(outcomes["accuracy"].curve[0]["task_weights"]) == {"primary"}
    assert outcomes["accuracy"].mlm_passes == 0.0


def test_an_arm_that_trains_the_encoder_first_is_refused_before_anything_is_encoded(monkeypatch) -> None:
    monkeypatch.setattr(regimes, "encode_inputs", lambda *_, **__: pytest.fail("encoded"))
    with pytest.raises(InputError, match="method tapt trains the encoder before fine-tuning: run it in a study"):
        run_method("tapt", encoder(), data(), scoring=SCORING, config=settings(), seed=0, objectives=["accuracy"])
