"""The settings of Selective Masking. Reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import InputError, check_choice

Criterion = Literal["abs", "signed"]
Unit = Literal["sentence", "document"]


@dataclass(frozen=True, kw_only=True)
class SelectiveConfig:
    """Which tokens are important, and how many of them are masked. Values of the released code where it has one."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    delta: float = 0.05  # how near P(true label) must come to that of the whole unit, in (0, 1]
    criterion: Criterion = "abs"  # as in the paper; signed: as in the released code
    unit: Unit = "sentence"  # what is tested token by token: sentences, or whole texts
    stop_words: bool = True  # stop words are never important
    top_share: float = 1.0  # of the units that are classified correctly, the most confident ones, in (0, 1]
    classifier_seed: int = 0  # of the fine-tuning that gives the classifier, >= 0
    network: bool = False  # importance from a token classifier that was trained on what the heuristic found
    network_epochs: int = 10  # passes over the training texts, >= 1
    network_batch: int = 64  # texts per update, >= 1
    network_lr: float = 1e-5  # peak learning rate, linear up and down, > 0
    network_warmup: float = 0.1  # share of the updates in which it rises, in [0, 1]
    network_decay: float = 0.01  # weight decay; none on biases and normalisation layers; >= 0
    class_weight: float = 3.0  # of important tokens in the loss of the network, where others have 1; > 0
    max_rate: float = 0.15  # most masks in a sentence, as a share of its tokens, in (0, 1]; at least one token

    def __post_init__(self) -> None:
        check_choice("selective.criterion", self.criterion, Criterion)
        check_choice("selective.unit", self.unit, Unit)
        for name in ("delta", "top_share", "max_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"selective.{name} is {getattr(self, name)}: above 0 and at most 1")
        for name in ("network_epochs", "network_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"selective.{name} is {getattr(self, name)}: at least 1")
        for name in ("network_lr", "class_weight"):
            if not getattr(self, name) > 0:
                raise InputError(f"selective.{name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.network_warmup <= 1:
            raise InputError(f"selective.network_warmup is {self.network_warmup}: a share of the updates, in [0, 1]")
        if not self.network_decay >= 0:
            raise InputError(f"selective.network_decay is {self.network_decay}: it must not be negative")
        if self.classifier_seed < 0:
            raise InputError(f"selective.classifier_seed is {self.classifier_seed}: 0 or more")
