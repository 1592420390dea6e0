"""The settings of fine-tuning, one frozen dataclass per component. Reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from l3masking.encoders.families import ForwardPass
from l3masking.errors import InputError, check_choice
from l3masking.precision import Precision
from l3masking.training.presets import PRESETS as PRESETS

EvaluationUnit = Literal["updates", "epochs"]
CosineScope = Literal["encoder", "reference"]
DevMode = Literal["eval", "train", "once"]
Sampling = Literal["auto", "random", "shuffle"]
OnNonFinite = Literal["fail", "retry_float32"]
Fill = Literal["argmax", "sample", "top_k"]

KEPT_CHECKPOINTS = 2  # of a training: the newest, and the one before it in case the newest is damaged


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Batches of the main stage."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    batch: int = 64  # texts per micro-step and task, >= 1
    accumulate: int = 2  # micro-steps per update, >= 1
    max_epochs: int = 150  # passes over the dataset's masked-LM texts (`mlm`; by default those of train), >= 1
    max_updates: int | None = None  # updates of the main stage at most, >= 1; none: as many as the epochs hold
    # parts of like length into which a batch is cut before padding, for the pass that pads; moves rounding and dropout
    length_buckets: int = 1
    # batches of the task: independent draws, shuffled passes, or auto: draws beside the masked LM, else passes
    sampling: Sampling = "auto"
    # a training under bf16 whose loss becomes NaN or infinite fails, or is made again once, all of it in float32
    on_nonfinite: OnNonFinite = "fail"

    def __post_init__(self) -> None:
        check_choice("train.sampling", self.sampling, Sampling)
        check_choice("train.on_nonfinite", self.on_nonfinite, OnNonFinite)
        for name in ("batch", "accumulate", "max_epochs", "max_updates", "length_buckets"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"train.{name} is {value}: at least 1")

    def updates_per_epoch(self, num_texts: int) -> int:
        return max(1, num_texts // (self.batch * self.accumulate))

    def planned_updates(self, num_texts: int) -> int:
        """Updates of the main stage where nothing stops it early; its learning rate falls to 0 at the last one."""
        whole = self.updates_per_epoch(num_texts) * self.max_epochs
        return whole if self.max_updates is None else min(whole, self.max_updates)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW of the main stage, with linear warm-up and linear decay to 0 (values of the released code)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    lr: float = 1e-4  # peak learning rate of body and LM head, > 0
    head_lr: float = 1e-3  # peak learning rate of the classification head, > 0
    decay: float = 0.01  # weight decay of body and LM head; none on biases and normalisation layers
    head_decay: float = 0.1  # weight decay of the classification head, everything in it
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    warmup: float = 0.06  # share of all planned updates, in [0, 1]
    clip: float = 1.0  # largest gradient norm, body with LM head and classification head apart; > 0

    def __post_init__(self) -> None:
        for name in ("lr", "head_lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"optim.{name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"optim.warmup is {self.warmup}: a share of the updates, in [0, 1]")
        for name in ("decay", "head_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"optim.{name} is {getattr(self, name)}: it must not be negative")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optim.betas is {self.betas}: two numbers in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How often the validation data are looked at."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    every: int = 30  # >= 1
    unit: EvaluationUnit = "updates"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"evaluate.every is {self.every}: at least 1")
        check_choice("evaluate.unit", self.unit, EvaluationUnit)


@dataclass(frozen=True, kw_only=True)
class StopConfig:
    """Early stopping: when the best of the last `patience` evaluations lies strictly below the best of all."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    patience: int = 20  # evaluations, >= 1
    count_warmup: bool = True  # whether evaluations during warm-up count

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise InputError(f"stop.patience is {self.patience}: at least 1 evaluation")


@dataclass(frozen=True, kw_only=True)
class FinalConfig:
    """The classification-only stage at the end (released code; not in the paper)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = True
    lr: float = 5e-6  # constant, > 0
    decay: float = 0.01  # none on biases and normalisation layers; >= 0
    max_epochs: int = 10  # >= 1
    patience: int = 3  # epochs without a better validation value, >= 1

    def __post_init__(self) -> None:
        for name in ("lr", "max_epochs", "patience"):
            if not getattr(self, name) > 0:
                raise InputError(f"final.{name} is {getattr(self, name)}: it must be above 0")
        if not self.decay >= 0:
            raise InputError(f"final.decay is {self.decay}: it must not be negative")


@dataclass(frozen=True, kw_only=True)
class MetaConfig:
    """META-TARTAN's own settings (values of the released run script)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    lr: float = 1e-2  # step of the task logits, >= 0
    head_lr: float = 1e-3  # AdamW of the dev head, > 0
    head_decay: float = 0.1  # weight decay of the dev head, >= 0
    head_sample: int = 32  # validation texts the dev head is fitted to, >= 1
    head_iterations: int = 10  # most steps of that fit, >= 1
    head_tolerance: float = 1e-3  # the fit ends when its loss (nats) changes by less
    cos_scope: CosineScope = "encoder"  # reference: |g_mlm| counts the LM head too
    # dropout in dev-head fit and dev gradient: none; active, drawn anew in each step of the fit; or active, with the
    # features of the fit drawn once for all of its steps (what versions before 2026-12 called `train`)
    dev_mode: DevMode = "eval"

    def __post_init__(self) -> None:
        for name in ("head_sample", "head_iterations"):
            if getattr(self, name) < 1:
                raise InputError(f"meta.{name} is {getattr(self, name)}: at least 1")
        if not (self.lr >= 0 and self.head_lr > 0):
            raise InputError(f"meta.lr is {self.lr} and meta.head_lr {self.head_lr}: not negative, and above 0")
        if not self.head_decay >= 0:
            raise InputError(f"meta.head_decay is {self.head_decay}: it must not be negative")
        check_choice("meta.cos_scope", self.cos_scope, CosineScope)
        check_choice("meta.dev_mode", self.dev_mode, DevMode)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What is put on top of the encoder, what it sees of padding, and which forward pass it takes."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    dropout: float = 0.1  # of the classification head, in [0, 1); the encoder keeps its own
    attend_padding: bool = False  # whether each text is padded to `scoring.max_length` and the padding attended to
    # fast: texts of a batch lie end to end, without padding, where the encoder's type has such a pass; own: the model's
    # own pass on padded batches, as before 2026-12. Values and gradients are equal up to rounding, dropout draws differ
    forward: ForwardPass = "fast"

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}: it lies in [0, 1)")
        check_choice("model.forward", self.forward, ForwardPass)


@dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """Masked-LM training before fine-tuning (continual pre-training).

    Learning rate, warm-up, 100 epochs and 256 texts per update are those of task-adaptive pre-training in Gururangan et
    al. 2020; the weights with the lowest masked-LM loss on held-out texts are kept, as in "Train No Evil".
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    corpus: str | None = None  # name in `corpora`; none: the masked-LM texts of the dataset
    epochs: int = 100  # passes over the texts, >= 1
    updates: int | None = None  # at most, >= 1; none: as many as the epochs hold
    batch: int = 64  # texts per micro-step, >= 1
    accumulate: int = 4  # micro-steps per update, >= 1
    lr: float = 1e-4  # peak learning rate, linear up and down, > 0
    warmup: float = 0.06  # share of the updates in which it rises, in [0, 1]
    decay: float = 0.01  # weight decay; none on biases and normalisation layers; >= 0
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW, each in [0, 1)
    eps: float = 1e-6  # of AdamW, > 0
    clip: float = 1.0  # largest gradient norm, > 0
    static: bool = False  # each text is masked once, as in "Train No Evil"; else anew in every pass
    dev_share: float = 0.1  # of the texts, held out: their loss chooses the weights; 0: the last weights; in [0, 0.5]

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate", "updates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"adapt.{name} is {value}: at least 1")
        for name in ("lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"adapt.{name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"adapt.warmup is {self.warmup}: a share of the updates, in [0, 1]")
        if not self.decay >= 0:
            raise InputError(f"adapt.decay is {self.decay}: it must not be negative")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"adapt.betas is {self.betas}: two numbers in [0, 1)")
        if not 0 <= self.dev_share <= 0.5:
            raise InputError(f"adapt.dev_share is {self.dev_share}: a share of the texts, in [0, 0.5]")

    @property
    def held_every(self) -> int:
        """Each text of such a number is held out; 0: none is."""
        return round(1 / self.dev_share) if self.dev_share else 0

    def trained_on(self, num_texts: int) -> int:
        """Texts that are not held out, of `num_texts`."""
        return num_texts - (num_texts // self.held_every if self.held_every else 0)

    def planned_updates(self, num_texts: int) -> int:
        """Optimiser steps over `num_texts` training texts."""
        whole = self.epochs * max(1, num_texts // (self.batch * self.accumulate))
        return whole if self.updates is None else min(whole, self.updates)


@dataclass(frozen=True, kw_only=True)
class MaskTuningConfig:
    """Mask-tuning. alpha and rate are the paper's for single texts; what it leaves open is said at each field."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    alpha: float = 0.6  # weight of the masked-LM loss; the classification loss has 1 - alpha; in [0, 1]
    rate: float = 0.05  # masked tokens of each text, as a share of those that may be masked, in (0, 1]
    least: int = 1  # masked tokens of a text at least, >= 1 (open in the paper)
    fill: Fill = "argmax"  # the likeliest token, one drawn from the prediction, or from its likeliest (open)
    top_k: int = 10  # tokens that `fill: top_k` draws from, >= 1
    forbid_original: bool = False  # whether the true token may not be filled in
    eval_fill: bool = False  # whether the prediction pass runs without dropout (open)

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise InputError(f"mask_tuning.alpha is {self.alpha}: it lies in [0, 1]")
        if not 0 < self.rate <= 1:
            raise InputError(f"mask_tuning.rate is {self.rate}: above 0 and at most 1")
        for name in ("least", "top_k"):
            if getattr(self, name) < 1:
                raise InputError(f"mask_tuning.{name} is {getattr(self, name)}: at least 1")
        check_choice("mask_tuning.fill", self.fill, Fill)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything about training that may change a result, one section per component."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    final: FinalConfig = field(default_factory=FinalConfig)
    meta: MetaConfig = field(default_factory=MetaConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, Precision)
