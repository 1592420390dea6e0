"""From an arm and its inputs to a prepared training: the only place where a training is assembled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking.data.table import EvaluationSet, Split, TextData
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError, check_choice
from l3masking.masking.applied import MaskedText, histogram, mask_texts, summarise
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS, Method
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import EncodedText, encode_as, encode_texts
from l3masking.stages import Finetune, MaskTune
from l3masking.training.checkpoint import NO_KEEPER, Keeper
from l3masking.training.evaluation import FurtherSet, Task
from l3masking.training.filling import MaskTuning
from l3masking.training.loop import fine_tune
from l3masking.training.optim import Pace
from l3masking.training.outcome import Outcome
from l3masking.training.settings import FinetuneConfig, MaskTuningConfig
from l3masking.training.steps import Auxiliary, Examples
from l3masking.training.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """The data of one arm as token ids."""

    task: Task
    mlm: Sequence[EncodedText] | None  # what the last stage masks: masked-LM texts, or train's; None: nothing
    epoch_texts: int | None = None  # masked-LM texts of the dataset, whose passes are epochs; None: those that are read
    max_length: int = ScoringConfig.max_length  # most ids of a text


@dataclass(frozen=True, eq=False, kw_only=True)
class Training:
    """One training of an arm, ready to run. The encoder stays vanilla."""

    encoder: Encoder
    task: Task
    config: FinetuneConfig
    seed: int
    auxiliary: Auxiliary | None  # the masked-LM texts with their mask probabilities; None: no auxiliary task
    weighting: str  # of WEIGHTINGS
    masks: dict[str, float] | None  # summary of the mask probabilities; None if nothing is masked
    tuning: MaskTuning | None = None  # None: no Mask-tuning
    pace: Pace | None = None  # what an epoch is; None: a pass over the texts of the auxiliary task, or of train
    mask_histogram: list[int] | None = None  # of the mask probabilities, see `histogram`; None if nothing is masked

    def run(
        self,
        objectives: Sequence[str],
        on_evaluation: Callable[[dict[str, Any]], None] | None = None,
        keeper: Keeper = NO_KEEPER,
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
            tuning=self.tuning,
            pace=self.pace,
            on_evaluation=on_evaluation,
            keeper=keeper,
        )

    def trajectory(self) -> Trajectory:
        """The same training before its first update."""
        return Trajectory(
            self.encoder, self.task, self.config, self.seed, self.auxiliary, self.weighting, self.tuning, self.pace
        )


def encode_inputs(
    method: Method, encoder: Encoder, data: TextData, scoring: ScoringConfig, *, with_test: bool = True
) -> Inputs:
    """What `method` reads of `data`, as token ids. Without `with_test` test and evaluation sets are not touched.

    An epoch is a pass over the masked-LM texts of `data` for every method, so that all of them plan as many updates.
    Raises InputError where the arm has no meaning for the encoder, or `scoring.max_length` exceeds its positions.
    """
    method.check_encoder(encoder.model_type, "this encoder")
    task = encode_task(encoder, data, scoring, with_test=with_test)
    texts = data.mlm_texts if method.masks else data.train.texts if method.tunes_masks else None
    masked = scoring if method.rewrites else dataclasses.replace(scoring, normalise="none")
    mlm = None if texts is None else encode_as(masked, encoder.tokenizer, texts)
    return Inputs(task=task, mlm=mlm, epoch_texts=len(data.mlm_texts), max_length=scoring.max_length)


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
    tuning: MaskTuningConfig | None = None,
) -> Training:
    """The last stage of one arm with one seed, on the encoder that the stages before it gave.

    scores, importance: as in `mask_texts`, for arms that need them. tuning: for Mask-tuning; default: its own.
    """
    stage, tuning = method.last, tuning or MaskTuningConfig()
    if isinstance(stage, MaskTune):
        masking = dataclasses.replace(masking, mean=tuning.rate, floor=0.0)
    texts = inputs.mlm or ()
    rows: list[MaskedText] = []
    if stage.policy is not None:
        assert inputs.mlm is not None, "inputs encoded for an arm that masks nothing"
        found = mask_texts(
            method.policy(stage.policy),
            texts,
            masking,
            seed=seed,
            scores=scores,
            importance=importance,
            name=stage.policy,
        )
        rows = list(found)
    encoder = encoder.through(config.model.forward)
    plain = Training(
        encoder=encoder.with_padding(inputs.max_length) if config.model.attend_padding else encoder,
        task=inputs.task,
        config=config,
        seed=seed,
        auxiliary=None,
        weighting="static",
        masks=summarise(texts, rows, masking.mean) if rows else None,
        pace=Pace(inputs.epoch_texts, stage.update_factor),
        mask_histogram=histogram(texts, rows) if rows else None,
    )
    if isinstance(stage, Finetune):
        auxiliary = Auxiliary.of(rows, masking) if rows else None
        return dataclasses.replace(plain, auxiliary=auxiliary, weighting=stage.weighting)
    if any(row.leaders is not None for row in rows):
        raise InputError(
            f"arm {method.label}: policy {stage.policy} masks groups of tokens together, but Mask-tuning masks an "
            "exact number of tokens: take a policy without groups, such as uniform"
        )
    weights = [_never_zero(text, row) for text, row in zip(texts, rows, strict=True)]
    perturbs = MaskTuning(config=tuning, weights=weights, mlm_loss=stage.mlm_loss, rounds=stage.rounds)
    return dataclasses.replace(plain, tuning=perturbs)


def _never_zero(text: EncodedText, row: MaskedText) -> NDArray[np.float64]:
    """[T] probabilities in which every eligible token counts, if only where no other is left."""
    weights = row.probabilities.copy()
    weights[text.positions] = np.maximum(weights[text.positions], np.finfo(np.float32).tiny)
    return weights


def encode_task(encoder: Encoder, data: TextData, scoring: ScoringConfig, *, with_test: bool = True) -> Task:
    """The task's texts as token ids, truncated as in scoring; without `with_test` neither test nor evaluation sets."""

    def examples(split: Split | EvaluationSet) -> Examples:
        encoded = encode_texts(
            encoder.tokenizer, split.texts, max_length=scoring.max_length, whitespace=scoring.whitespace
        )
        return Examples([text.input_ids for text in encoded], torch.tensor(split.labels, dtype=torch.long))

    encoder.check_length(scoring.max_length)
    train, validation, test = examples(data.train), examples(data.validation), None
    further: dict[str, FurtherSet] = {}
    if with_test:
        test = examples(data.test)
        for name, one in data.evaluations.items():
            further[name] = FurtherSet(examples(one), len(one.classes), torch.tensor(one.of_class))
    return Task(train, validation, test, len(data.labels), further)


def run_method(
    name: str,
    encoder: Encoder,
    data: TextData,
    *,
    scoring: ScoringConfig,
    masking: MaskingConfig | None = None,
    config: FinetuneConfig,
    seed: int,
    objectives: Sequence[str],
    scores: Sequence[TokenScores] | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] | None = None,
    with_test: bool = True,
    keeper: Keeper = NO_KEEPER,
) -> tuple[dict[str, Outcome], dict[str, float] | None]:
    """Train one arm of METHODS. Returns an outcome per objective, and the summary of the masks (or None).

    scores: of `data.mlm_texts`, one per text, for arms that need them. `encoder` stays as it was. with_test False: the
    test split is not read, and the outcomes have no test values. keeper: as in `fine_tune`. Raises InputError for an
    arm with `adapt` stages: a study makes the encoder and the masks that they need.
    """
    check_choice("method", name, METHODS)
    method = METHODS[name]
    method.check_encoder(encoder.model_type, "this encoder")
    if method.adapts:
        raise InputError(f"method {name} trains the encoder before fine-tuning: run it in a study")
    inputs = encode_inputs(method, encoder, data, scoring, with_test=with_test)
    training = prepare(
        method, encoder, inputs, masking=masking or MaskingConfig(), config=config, seed=seed, scores=scores
    )
    return training.run(objectives, on_evaluation, keeper), training.masks
