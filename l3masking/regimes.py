"""The methods that are compared: which masks, and which task weights. One entry is one arm of a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking import rng
from l3masking.data import Split, TextData
from l3masking.encoders import Encoder
from l3masking.errors import InputError
from l3masking.evaluation import Task
from l3masking.finetune import FinetuneConfig, Outcome, fine_tune
from l3masking.masking import POLICIES, MaskingConfig
from l3masking.scoring import ScoringConfig, TokenScores
from l3masking.steps import Auxiliary, Examples
from l3masking.words import encode_texts


@dataclass(frozen=True, kw_only=True)
class Method:
    """One arm. `policy`: a name of POLICIES, or None for no auxiliary task. `weighting`: a name of WEIGHTINGS."""

    label: str  # in tables
    policy: str | None
    weighting: str

    @property
    def needs_scores(self) -> bool:
        return self.policy is not None and POLICIES[self.policy].needs_scores


@dataclass(frozen=True, eq=False, kw_only=True)
class Masks:
    """Mask probability per input id of every masked-LM text, and what they add up to."""

    auxiliary: Auxiliary
    summary: dict[str, float]  # mean, largest distance of a text's mean from it, max, share of tokens at 1


def mask_texts(
    method: Method,
    encoder: Encoder,
    texts: Sequence[str],
    scores: Sequence[TokenScores] | None,
    scoring: ScoringConfig,
    masking: MaskingConfig,
    *,
    seed: int,
) -> Masks:
    """Mask probabilities of the masked-LM texts under the method's policy. `scores`: one per text, where needed."""
    assert method.policy is not None
    policy = POLICIES[method.policy]
    if policy.needs_scores and scores is None:
        raise InputError(f"method with policy {method.policy!r} needs token scores: score the texts first")
    if policy.needs_scores and scores is not None and len(scores) != len(texts):
        raise InputError(f"{len(scores)} scores for {len(texts)} masked-LM texts: score these texts anew")
    encoded = scoring.encode(encoder, texts)
    generator = rng.stream(seed, "policy")
    rows: list[NDArray[np.float64]] = []
    values: list[NDArray[np.float64]] = []
    for index, text in enumerate(encoded):
        likelihood = None
        if policy.needs_scores and scores is not None:
            score = scores[index]
            if not np.array_equal(score.input_ids, text.input_ids):
                raise InputError(f"the scores of text {index} belong to other token ids: score these texts anew")
            likelihood = np.exp(score.log_likelihood.astype(np.float64))
        values.append(policy.probabilities(len(text.positions), likelihood, masking, generator))
        row = np.zeros(len(text.input_ids))
        row[text.positions] = values[-1]
        rows.append(row)
    return Masks(
        auxiliary=Auxiliary([text.input_ids for text in encoded], rows, masking),
        summary=summarise(values, masking.mean),
    )


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
    """Fine-tune with one method of METHODS. Returns an outcome per objective, and the summary of the masks (or None).

    scores: of `data.mlm_texts`, one per text, for methods that need them. `encoder` stays as it was. with_test False:
    the test split is not read, and the outcomes have no test values.
    """
    method = METHODS[name]
    task = encode_task(encoder, data, scoring, with_test=with_test)
    masks = None
    if method.policy is not None:
        masks = mask_texts(method, encoder, data.mlm_texts, scores, scoring, masking, seed=seed)
    outcomes = fine_tune(
        encoder,
        task,
        config,
        seed=seed,
        objectives=objectives,
        auxiliary=masks.auxiliary if masks else None,
        weighting=method.weighting,
        on_evaluation=on_evaluation,
    )
    return outcomes, masks.summary if masks else None


# To add a method: one entry. `mtl_static` and `l3_shuffled` are controls: equal task weights that see no validation
# labels, and L3Masking's probabilities on the wrong tokens of the same text.
METHODS: dict[str, Method] = {
    "stl": Method(label="STL", policy=None, weighting="static"),
    "rtm": Method(label="RTM", policy="uniform", weighting="meta"),
    "l3masking": Method(label="L3Masking", policy="l3", weighting="meta"),
    "mtl_static": Method(label="MTL static", policy="l3", weighting="static"),
    "l3_shuffled": Method(label="L3 shuffled", policy="l3_shuffled", weighting="meta"),
}
