"""The stages that an arm is made of, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import InputError, check_choice

META_GRADIENTS = 3  # of a micro-step of META-TARTAN: of the task, the masked LM and a validation batch
TaskWeighting = Literal["static", "meta"]  # the names of WEIGHTINGS, which needs torch


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Masked-LM training before fine-tuning: from an encoder to an encoder. Settings: section `adapt`."""

    name: ClassVar[str] = "adapt"

    policy: str  # of POLICIES: what sets the mask probabilities; or of SELECTIONS
    text: Literal["task", "corpus", "either"] = "task"  # either: the corpus that `adapt.corpus` names, else the task's


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """Classification, alone or with masked language modelling as an auxiliary task."""

    name: ClassVar[str] = "finetune"

    policy: str | None = None  # of POLICIES: what sets the mask probabilities; None: no auxiliary task
    weighting: TaskWeighting = "static"  # equal task weights, or learned ones (META-TARTAN)
    update_factor: int = 1  # planned updates and distance of evaluations, as a multiple of those of other arms; >= 1

    def __post_init__(self) -> None:
        if self.update_factor < 1:
            raise InputError(f"finetune.update_factor of an arm is {self.update_factor}: at least 1")
        check_choice("finetune.weighting of an arm", self.weighting, TaskWeighting)


@dataclass(frozen=True, kw_only=True)
class MaskTune:
    """Mask-tuning: mask, predict, classify the text with the predictions in it. Settings: section `mask_tuning`."""

    name: ClassVar[str] = "mask_tune"
    update_factor: ClassVar[int] = 1  # as in Finetune

    policy: str = "uniform"  # of POLICIES: which tokens are masked
    mlm_loss: bool = True  # False: the classification loss alone
    rounds: Literal[1, 2] = 1  # 2: train the masked LM, perturb the texts once, then fine-tune on them


Stage = Adapt | Finetune | MaskTune  # what an arm does in one step
SELECTIONS = IMPORTANT, AS_MANY_RANDOM = (
    "important",
    "as_many_random",
)  # masks of `adapt`: the important tokens, or as many at random places
