"""The arms of a study as plain data: one entry of METHODS holds all that is known of an arm.

Tables, figures, MLflow, comparisons, the plan, the key of a trial, the estimates and the docs read this table; no other
module names an arm. Importing it imports neither torch nor transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import check_choice
from l3masking.masking.policies.table import POLICIES

TaskWeighting = Literal["static", "meta"]  # the names of WEIGHTINGS, which needs torch


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """Classification, alone or with masked language modelling as an auxiliary task."""

    name: ClassVar[str] = "finetune"

    policy: str | None = None  # of POLICIES: what sets the mask probabilities; None: no auxiliary task
    weighting: TaskWeighting = "static"  # equal task weights, or learned ones (META-TARTAN)

    def __post_init__(self) -> None:
        check_choice("finetune.weighting of an arm", self.weighting, TaskWeighting)


Stage = Finetune  # what an arm does in one step, from an encoder to an encoder or to a tested model


@dataclass(frozen=True, kw_only=True)
class Method:
    """One arm: how it is shown, what it is compared with, and what it does."""

    label: str  # in tables and figures
    summary: str  # one sentence without its full stop
    source: str  # publication, and what of it
    stages: tuple[Stage, ...]  # in the order in which they run
    controls: tuple[str, ...] = ("rtm", "stl")  # the arms that it is compared with, in order
    color: str = "#56434f"  # in figures; Okabe and Ito's palette, which colour-blind readers can tell apart

    @property
    def finetune(self) -> Finetune:
        """The stage that gives the tested model."""
        return self.stages[-1]

    @property
    def masks(self) -> bool:
        """Whether masked language modelling runs beside the task, which then steers the order of batches."""
        return self.finetune.policy is not None

    @property
    def learns_weights(self) -> bool:
        """Whether task weights are learned from validation labels while training."""
        return self.masks and self.finetune.weighting == "meta"

    @property
    def needs_scores(self) -> bool:
        """Whether mask probabilities follow the pseudo-likelihood of the tokens."""
        return self.finetune.policy is not None and POLICIES[self.finetune.policy].needs_scores

    def alone(self) -> Method:
        """The same arm without its auxiliary task."""
        return dataclasses.replace(self, stages=(*self.stages[:-1], Finetune()))

    def unscored(self) -> Method:
        """The same training with equal mask probabilities: it costs the same and needs no scores."""
        if not self.needs_scores:
            return self
        return dataclasses.replace(
            self, stages=(*self.stages[:-1], dataclasses.replace(self.finetune, policy="uniform"))
        )


KIMURA = "Kimura, Komamizu and Hatano 2024"

# To add an arm: one entry here.
METHODS: dict[str, Method] = {
    "stl": Method(
        label="STL",
        summary="Fine-tuning on the task alone",
        source=f"single-task learning, the first baseline of {KIMURA}",
        stages=(Finetune(),),
        controls=(),
        color="#6b6b6b",
    ),
    "rtm": Method(
        label="RTM",
        summary="Masked language modelling beside the task, with tokens masked at random",
        source=f"random token masking, the second baseline of {KIMURA}; META-TARTAN: Dery et al. 2023",
        stages=(Finetune(policy="uniform", weighting="meta"),),
        controls=("stl", "mtl_static"),
        color="#0072b2",
    ),
    "l3masking": Method(
        label="L3Masking",
        summary="Masked language modelling beside the task: the less likely the vanilla model finds a token, the more "
        "often it is masked",
        source=f"{KIMURA}, section 3; META-TARTAN: Dery et al. 2023",
        stages=(Finetune(policy="l3", weighting="meta"),),
        controls=("rtm", "stl", "l3_shuffled"),
        color="#d55e00",
    ),
    "mtl_static": Method(
        label="MTL static",
        summary="L3Masking with equal task weights, which use no validation labels",
        source="a control of this project: what the learned task weights contribute",
        stages=(Finetune(policy="l3", weighting="static"),),
        controls=("stl",),
        color="#009e73",
    ),
    "l3_shuffled": Method(
        label="L3 shuffled",
        summary="L3Masking with the mask probabilities of each text permuted, so that they meet the wrong tokens",
        source="a control of this project: what the choice of tokens contributes",
        stages=(Finetune(policy="l3_shuffled", weighting="meta"),),
        controls=("rtm",),
        color="#cc79a7",
    ),
}
DEFAULT = ("stl", "rtm", "l3masking")  # what a study compares where it says nothing else
QUESTIONS = (("l3masking", "rtm"), ("l3masking", "stl"), ("rtm", "stl"))  # of Kimura et al. 2024, in order
REFERENCE = "rtm"  # tables mark the arms that are decisively better than this one


def label_of(name: str) -> str:
    """How tables call an arm; the name itself where it is not in METHODS, such as an arm of a later version."""
    return METHODS[name].label if name in METHODS else name


def controls_of(name: str) -> tuple[str, ...]:
    """The arms that an arm is compared with; those of Method by default for an arm that is not in METHODS."""
    return METHODS[name].controls if name in METHODS else Method.controls


def color_of(name: str) -> str:
    """The colour of an arm in figures; that of an unknown arm is the default."""
    return METHODS[name].color if name in METHODS else Method.color


def labels_of(names: Iterable[str]) -> str:
    """The labels of some arms in the order of METHODS, such as "STL and MTL static"."""
    chosen = set(names)
    return " and ".join(method.label for name, method in METHODS.items() if name in chosen)
