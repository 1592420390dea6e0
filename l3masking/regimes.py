"""From an arm and its inputs to a prepared training: the only place where a training is assembled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking import rng
from l3masking.data.table import Split, TextData
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError, check_choice
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS, Method
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
) -> Training:
    """The training of one arm with one seed. `scores`: one per masked-LM text, for arms that need them."""
    stage = method.finetune
    auxiliary, masks = None, None
    if stage.policy is not None:
        assert inputs.mlm is not None, "inputs encoded for an arm that masks nothing"
        values = mask_texts(stage.policy, inputs.mlm, scores, masking, seed=seed)
        auxiliary = Auxiliary([text.input_ids for text in inputs.mlm], _rows(inputs.mlm, values), masking)
        masks = summarise(values, masking.mean)
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
    name: str,
    texts: Sequence[EncodedText],
    scores: Sequence[TokenScores] | None,
    masking: MaskingConfig,
    *,
    seed: int,
) -> list[NDArray[np.float64]]:
    """Mask probabilities under the policy `name`: [n] per text, one for each eligible position.

    scores: one per text, for policies that need them. Raises InputError if they are missing or of other texts.
    """
    check_choice("masking policy", name, POLICIES)
    policy = POLICIES[name]
    if policy.needs_scores and scores is None:
        raise InputError(f"policy {name!r} needs token scores: score the texts first")
    if policy.needs_scores and scores is not None and len(scores) != len(texts):
        raise InputError(f"{len(scores)} scores for {len(texts)} masked-LM texts: score these texts again")
    generator = rng.stream(seed, "policy")
    values: list[NDArray[np.float64]] = []
    for index, text in enumerate(texts):
        likelihood = None
        if policy.needs_scores and scores is not None:
            score = scores[index]
            if not np.array_equal(score.input_ids, text.input_ids):
                raise InputError(f"the scores of text {index} belong to other token ids: score these texts again")
            likelihood = np.exp(score.log_likelihood.astype(np.float64))
        values.append(policy.probabilities(len(text.positions), likelihood, masking, generator))
    return values


def _rows(texts: Sequence[EncodedText], values: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """[T] per text: the probability of each input id, 0 where it is not eligible."""
    rows = [np.zeros(len(text.input_ids)) for text in texts]
    for row, text, value in zip(rows, texts, values, strict=True):
        row[text.positions] = value
    return rows


def summarise(values: Sequence[NDArray[np.float64]], mean: float) -> dict[str, float]:
    """What a record says about its mask probabilities."""
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
