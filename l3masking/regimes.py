"""From an arm and its inputs to a prepared training: the only place where a training is assembled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking import rng
from l3masking.data.table import Split, TextData
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError, check_choice
from l3masking.masking.policies.base import (
    CORPUS,
    ENTROPY,
    IMPORTANCE,
    LIKELIHOOD,
    CorpusPolicy,
    Policy,
    PolicyText,
    check_weights,
)
from l3masking.masking.probabilities import calibrate
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS, Finetune, Method
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import EncodedText, encode_as, encode_texts
from l3masking.training.evaluation import Task
from l3masking.training.loop import Outcome, Trajectory, fine_tune
from l3masking.training.settings import FinetuneConfig
from l3masking.training.steps import Auxiliary, Examples


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """The data of one arm as token ids."""

    task: Task
    mlm: Sequence[EncodedText] | None  # the masked-LM texts; None for an arm that masks nothing


@dataclass(frozen=True, eq=False, kw_only=True)
class Training:
    """One training of an arm, ready to run. The encoder stays vanilla."""

    encoder: Encoder
    task: Task
    config: FinetuneConfig
    seed: int
    auxiliary: Auxiliary | None  # the masked-LM texts with their mask probabilities; None: no auxiliary task
    weighting: str  # of WEIGHTINGS
    masks: dict[str, float] | None  # summary of the mask probabilities; None without an auxiliary task

    def run(
        self, objectives: Sequence[str], on_evaluation: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Outcome]:
        """Train, and return an outcome per objective; see `fine_tune`."""
        return fine_tune(
            self.encoder,
            self.task,
            self.config,
            seed=self.seed,
            objectives=objectives,
            auxiliary=self.auxiliary,
            weighting=self.weighting,
            on_evaluation=on_evaluation,
        )

    def trajectory(self) -> Trajectory:
        """The same training before its first update."""
        return Trajectory(self.encoder, self.task, self.config, self.seed, self.auxiliary, self.weighting)


def encode_inputs(
    method: Method, encoder: Encoder, data: TextData, scoring: ScoringConfig, *, with_test: bool = True
) -> Inputs:
    """What `method` reads of `data`, as token ids. Without `with_test` the test split is not touched."""
    task = encode_task(encoder, data, scoring, with_test=with_test)
    return Inputs(task=task, mlm=encode_as(scoring, encoder.tokenizer, data.mlm_texts) if method.masks else None)


def prepare(
    method: Method,
    encoder: Encoder,
    inputs: Inputs,
    *,
    masking: MaskingConfig,
    config: FinetuneConfig,
    seed: int,
    scores: Sequence[TokenScores] | None = None,
    importance: Sequence[NDArray[np.float64]] | None = None,
) -> Training:
    """The last stage of one arm with one seed, on the encoder that the stages before it gave.

    scores, importance: as in `mask_texts`, for arms that need them.
    """
    stage = method.last
    assert isinstance(stage, Finetune)
    auxiliary, masks = None, None
    if stage.policy is not None:
        assert inputs.mlm is not None, "inputs encoded for an arm that masks nothing"
        drawn = mask_texts(
            method.policy(stage.policy),
            inputs.mlm,
            masking,
            seed=seed,
            scores=scores,
            importance=importance,
            name=stage.policy,
        )
        ids = [text.input_ids for text in inputs.mlm]
        auxiliary = Auxiliary(ids, _rows(inputs.mlm, drawn), masking, _group_rows(inputs.mlm, drawn))
        masks = summarise(drawn, masking.mean)
    return Training(
        encoder=encoder,
        task=inputs.task,
        config=config,
        seed=seed,
        auxiliary=auxiliary,
        weighting=stage.weighting,
        masks=masks,
    )


def mask_texts(
    policy: Policy,
    texts: Sequence[EncodedText],
    masking: MaskingConfig,
    *,
    seed: int,
    scores: Sequence[TokenScores] | None = None,
    importance: Sequence[NDArray[np.float64]] | None = None,
    name: str = "",
) -> list[Masks]:
    """Mask probabilities of each text under a policy. `name`: what messages call it.

    scores: one per text, for policies that need the likelihood or entropy of tokens. importance: [n] per text in
    [0, 1], for policies that need it. Raises InputError if something is missing or belongs to other texts, and where a
    policy gives weights that are no weights.
    """
    seen = [_seen(policy, index, text, scores, importance, len(texts)) for index, text in enumerate(texts)]
    if CORPUS in policy.needs:
        policy = cast(CorpusPolicy, policy).fitted(seen)
    generator = rng.stream(seed, "policy")
    return [_masks(policy, name, index, text, masking, generator) for index, text in enumerate(seen)]


class Masks(NamedTuple):
    """What is drawn from for one text of n eligible tokens."""

    probabilities: NDArray[np.float64]  # [n] in [0, 1]
    groups: NDArray[np.int64] | None  # [n], tokens of one number are drawn together; None: each by itself


def _seen(
    policy: Policy,
    index: int,
    text: EncodedText,
    scores: Sequence[TokenScores] | None,
    importance: Sequence[NDArray[np.float64]] | None,
    count: int,
) -> PolicyText:
    """What the policy sees of one text."""
    likelihood = entropy = important = None
    if policy.needs & {LIKELIHOOD, ENTROPY}:
        if scores is None:
            raise InputError("this masking policy needs token scores: score the texts first")
        if len(scores) != count:
            raise InputError(f"{len(scores)} scores for {count} masked-LM texts: score these texts again")
        score = scores[index]
        if not np.array_equal(score.input_ids, text.input_ids):
            raise InputError(f"the scores of text {index} belong to other token ids: score these texts again")
        likelihood = np.exp(score.log_likelihood.astype(np.float64))
        if ENTROPY in policy.needs:
            if score.entropy is None:
                raise InputError("this masking policy needs the entropy of tokens: score the texts with entropy=True")
            entropy = score.entropy.astype(np.float64)
    if IMPORTANCE in policy.needs:
        if importance is None or len(importance) != count or len(importance[index]) != len(text.positions):
            raise InputError("this masking policy needs the importance of each token: compute it for these texts first")
        important = importance[index]
    return PolicyText(
        input_ids=text.input_ids,
        positions=text.positions,
        words=text.words,
        likelihood=likelihood,
        entropy=entropy,
        importance=important,
    )


def _masks(
    policy: Policy, name: str, index: int, text: PolicyText, masking: MaskingConfig, generator: torch.Generator
) -> Masks:
    """Calibrated weights of one text."""
    weights = policy.weights(text, masking, generator)
    check_weights(weights, len(text.positions), f"masking policy {name}, text {index}")
    probabilities = calibrate(
        weights.values,
        mean=masking.mean,
        redistribute=masking.redistribute,
        floor=masking.floor,
        groups=weights.groups,
    )
    return Masks(probabilities, weights.groups)


def _rows(texts: Sequence[EncodedText], masks: Sequence[Masks]) -> list[NDArray[np.float64]]:
    """[T] per text: the probability of each input id, 0 where it is not eligible."""
    rows = [np.zeros(len(text.input_ids)) for text in texts]
    for row, text, mask in zip(rows, texts, masks, strict=True):
        row[text.positions] = mask.probabilities
    return rows


def _group_rows(texts: Sequence[EncodedText], masks: Sequence[Masks]) -> list[NDArray[np.int64]] | None:
    """[T] per text: for each input id the position that draws for it; None where each draws for itself."""
    if all(mask.groups is None for mask in masks):
        return None
    rows = [np.arange(len(text.input_ids)) for text in texts]
    for row, text, mask in zip(rows, texts, masks, strict=True):
        if mask.groups is not None and len(mask.groups):
            _, first, member = np.unique(mask.groups, return_index=True, return_inverse=True)
            row[text.positions] = text.positions[first[member]]
    return rows


def summarise(masks: Sequence[Masks], mean: float) -> dict[str, float]:
    """What a record says about its mask probabilities."""
    values = [mask.probabilities for mask in masks]
    every = np.concatenate([np.zeros(0), *values])
    if not len(every):
        return {"mean": 0.0, "largest_deviation": 0.0, "max": 0.0, "share_capped": 0.0}
    return {
        "mean": float(every.mean()),
        "largest_deviation": max(abs(float(text.mean()) - mean) for text in values if len(text)),
        "max": float(every.max()),
        "share_capped": float(np.mean(every >= 1)),
    }


def encode_task(encoder: Encoder, data: TextData, scoring: ScoringConfig, *, with_test: bool = True) -> Task:
    """The task's splits as token ids, truncated as in scoring; without `with_test` the test split is not touched."""

    def examples(split: Split) -> Examples:
        encoded = encode_texts(
            encoder.tokenizer, split.texts, max_length=scoring.max_length, whitespace=scoring.whitespace
        )
        return Examples([text.input_ids for text in encoded], torch.tensor(split.labels, dtype=torch.long))

    encoder.check_length(scoring.max_length)
    test = examples(data.test) if with_test else None
    return Task(examples(data.train), examples(data.validation), test, len(data.labels))


def run_method(
    name: str,
    encoder: Encoder,
    data: TextData,
    *,
    scoring: ScoringConfig,
    masking: MaskingConfig,
    config: FinetuneConfig,
    seed: int,
    objectives: Sequence[str],
    scores: Sequence[TokenScores] | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] | None = None,
    with_test: bool = True,
) -> tuple[dict[str, Outcome], dict[str, float] | None]:
    """Train one arm of METHODS. Returns an outcome per objective, and the summary of the masks (or None).

    scores: of `data.mlm_texts`, one per text, for arms that need them. `encoder` stays as it was. with_test False: the
    test split is not read, and the outcomes have no test values.
    """
    check_choice("method", name, METHODS)
    method = METHODS[name]
    inputs = encode_inputs(method, encoder, data, scoring, with_test=with_test)
    training = prepare(method, encoder, inputs, masking=masking, config=config, seed=seed, scores=scores)
    return training.run(objectives, on_evaluation), training.masks
