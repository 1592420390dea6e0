"""The arms of a study as plain data: one entry of METHODS holds all that is known of an arm.

Tables, figures, MLflow, comparisons, the plan, the key of a trial, the estimates and the docs read this table; no other
module names an arm. Importing it imports neither torch nor transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from l3masking.encoders.families import family_of
from l3masking.errors import InputError
from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD, Policy
from l3masking.masking.policies.table import POLICIES
from l3masking.stages import AS_MANY_RANDOM, IMPORTANT, META_GRADIENTS, SELECTIONS, Adapt, Finetune, MaskTune, Stage


@dataclass(frozen=True, kw_only=True)
class Method:
    """One arm: how it is shown, what it is compared with, and what it does."""

    label: str  # in tables and figures
    summary: str  # one sentence without its full stop
    source: str  # publication, and what of it
    stages: tuple[Stage, ...]  # in order: any number of Adapt, then the one that gives the tested model
    controls: tuple[str, ...] = ("rtm", "stl")  # the arms that it is compared with, in order
    color: str = "#56434f"  # in figures; Okabe and Ito's palette, which colour-blind readers can tell apart
    own_policies: Mapping[str, Policy] = field(default_factory=dict)  # those that its stages name beside POLICIES

    def __post_init__(self) -> None:
        if not self.stages or any(isinstance(stage, Adapt) != (stage is not self.stages[-1]) for stage in self.stages):
            names = ", ".join(stage.name for stage in self.stages)
            raise InputError(f"arm {self.label}: stages [{names}]: only `adapt` stages come before the last one")

    @property
    def last(self) -> Finetune | MaskTune:
        """The stage that gives the tested model."""
        stage = self.stages[-1]
        assert not isinstance(stage, Adapt)
        return stage

    @property
    def adapts(self) -> tuple[Adapt, ...]:
        """The stages before it."""
        return tuple(stage for stage in self.stages if isinstance(stage, Adapt))

    @property
    def masks(self) -> bool:
        """Whether masked language modelling runs beside the task; then `train.sampling: auto` is `random`."""
        return isinstance(self.last, Finetune) and self.last.policy is not None

    @property
    def learns_weights(self) -> bool:  # whether from validation labels, while training
        return isinstance(self.last, Finetune) and self.masks and self.last.weighting == "meta"

    @property
    def tunes_masks(self) -> bool:  # whether it is a form of Mask-tuning
        return isinstance(self.last, MaskTune)

    @property
    def policies(self) -> tuple[str, ...]:
        """The masking policies of all stages, in order; no SELECTIONS among them."""
        names = [stage.policy for stage in self.stages]
        return tuple(name for name in names if name is not None and name not in SELECTIONS)

    @property
    def selects(self) -> bool:
        """Whether a stage masks the tokens that a classifier finds important."""
        return any(stage.policy in SELECTIONS for stage in self.adapts)

    def policy(self, name: str) -> Policy:
        """The masking policy that a stage names."""
        return self.own_policies[name] if name in self.own_policies else POLICIES[name]

    def needs_of(self, stage: Stage) -> frozenset[str]:
        """What the masking of one stage needs, of NEEDS."""
        if stage.policy in SELECTIONS:
            return frozenset({IMPORTANCE})
        return frozenset() if stage.policy is None else self.policy(stage.policy).needs

    @property
    def needs(self) -> frozenset[str]:
        """What the masking of all stages needs."""
        return frozenset(need for stage in self.stages for need in self.needs_of(stage))

    @property
    def needs_scores(self) -> bool:
        """Whether the texts are scored under the vanilla encoder first."""
        return bool(self.needs & {LIKELIHOOD, ENTROPY})

    @property
    def needs_importance(self) -> bool:
        """Whether a fine-tuned classifier tells first which tokens matter."""
        return IMPORTANCE in self.needs

    @property
    def rewrites(self) -> bool:
        """Whether `scoring.normalise` changes the texts that it masks: not where they are those of a classifier too."""
        return (self.masks or bool(self.adapts)) and not (self.tunes_masks or self.needs_importance)

    def check_encoder(self, model_type: str, encoder: str) -> None:
        """Raise InputError where the arm has no meaning for an encoder of transformers' `model_type`."""
        if family_of(model_type).decodes and (self.adapts or self.masks or self.needs_scores or self.needs_importance):
            raise InputError(
                f"arm {self.label}: {encoder} is a {model_type} model, which is used for fine-tuning alone and for "
                "Mask-tuning, and gives no scores: take the arm out, or another encoder"
            )

    def check_units(self, dataset: str) -> None:
        """Raise InputError where the arm has no meaning for a dataset whose masked-LM texts are not those of train."""
        if self.tunes_masks and self.needs_of(self.last):
            raise InputError(
                f"arm {self.label}: it masks the texts of train by their scores, and {dataset} names other texts under "
                "`mlm`, which are scored instead: leave `mlm` out, or take the arm out"
            )

    def alone(self) -> Method:
        """The same arm without its auxiliary task."""
        return dataclasses.replace(self, stages=(*self.adapts, Finetune()))

    def unscored(self) -> Method:
        """The last stage with equal mask probabilities: its updates cost the same, and it needs nothing else."""
        last = self.last if self.last.policy is None else dataclasses.replace(self.last, policy="uniform")
        last = dataclasses.replace(last, update_factor=1) if isinstance(last, Finetune) else last
        return dataclasses.replace(self, stages=(last,))


KIMURA = "Kimura, Komamizu and Hatano 2024"
GU = '"Train No Evil", Gu et al. 2020'

METHODS: dict[str, Method] = {  # to add an arm: one entry
    "stl": Method(
        label="STL",
        summary="Fine-tuning on the task alone",
        source=f"single-task learning, the first baseline of {KIMURA}",
        stages=(Finetune(),),
        controls=(),
        color="#6b6b6b",
    ),
    "stl_matched": Method(
        label="STL matched",
        summary="STL with as many gradients as the arms that learn task weights: three updates for each of theirs",
        source="a control of this project: what the further computation alone contributes",
        stages=(Finetune(update_factor=META_GRADIENTS),),
        controls=("stl", "rtm", "l3masking"),
        color="#a0a0a0",
    ),
    "rtm": Method(
        label="RTM",
        summary="Masked language modelling beside the task, with tokens masked at random",
        source=f"random token masking, the second baseline of {KIMURA}; META-TARTAN: Dery et al. 2023",
        stages=(Finetune(policy="uniform", weighting="meta"),),
        controls=("stl", "rtm_static"),
        color="#0072b2",
    ),
    "l3masking": Method(
        label="L3Masking",
        summary="Masked language modelling beside the task: the less likely the vanilla model finds a token, the more "
        "often it is masked",
        source=f"{KIMURA}, section 3; META-TARTAN: Dery et al. 2023",
        stages=(Finetune(policy="l3", weighting="meta"),),
        controls=("rtm", "stl", "l3_shuffled", "mtl_static"),
        color="#d55e00",
    ),
    "mtl_static": Method(
        label="MTL static",
        summary="L3Masking with equal task weights, which use no validation labels",
        source="a control of this project: what the learned task weights contribute",
        stages=(Finetune(policy="l3", weighting="static"),),
        controls=("rtm_static", "stl"),
        color="#009e73",
    ),
    "rtm_static": Method(
        label="RTM static",
        summary="RTM with equal task weights, which use no validation labels",
        source="a control of this project: what the learned task weights contribute without L3Masking",
        stages=(Finetune(policy="uniform", weighting="static"),),
        controls=("stl",),
        color="#332288",
    ),
    "l3_shuffled": Method(
        label="L3 shuffled",
        summary="L3Masking with the mask probabilities of each text permuted, so that they meet the wrong tokens",
        source="a control of this project: what the choice of tokens contributes",
        stages=(Finetune(policy="l3_shuffled", weighting="meta"),),
        controls=("rtm",),
        color="#cc79a7",
    ),
    "tapt": Method(
        label="TAPT",
        summary="Masked language modelling on the task's own text first, with random masks, then fine-tuning",
        source="task-adaptive pre-training: Gururangan et al. 2020",
        stages=(Adapt(policy="uniform"), Finetune()),
        controls=("stl",),
        color="#56b4e9",
    ),
    "tapt_l3": Method(
        label="TAPT-L3",
        summary="TAPT in which the tokens that the vanilla model finds unlikely are masked more often",
        source=f"this project: the masks of {KIMURA} in task-adaptive pre-training",
        stages=(Adapt(policy="l3"), Finetune()),
        controls=("tapt", "stl"),
        color="#e69f00",
    ),
    "dapt": Method(
        label="DAPT",
        summary="Masked language modelling on a corpus of the domain first, then fine-tuning",
        source="domain-adaptive pre-training: Gururangan et al. 2020",
        stages=(Adapt(policy="uniform", text="corpus"), Finetune()),
        controls=("stl", "tapt"),
        color="#004d73",
    ),
    "selective": Method(
        label="Selective",
        summary="Masked language modelling first on the tokens that a fine-tuned classifier finds important, then "
        "fine-tuning",
        source=f"Selective Masking, {GU}",
        stages=(Adapt(policy=IMPORTANT, text="either"), Finetune()),
        controls=("selective_random", "stl"),
        color="#7b3294",
    ),
    "selective_random": Method(
        label="Selective random",
        summary="The stages of Selective with as many masks in each sentence, at random places",
        source=f"the control of {GU}",
        stages=(Adapt(policy=AS_MANY_RANDOM, text="either"), Finetune()),
        controls=("stl",),
        color="#b08bc4",
    ),
    "mtl_selective": Method(
        label="MTL selective",
        summary="RTM with the importance of a token for a fine-tuned classifier as its weight, at the same mean",
        source=f"this project: the importance of {GU} in the training of {KIMURA}",
        stages=(Finetune(policy="importance", weighting="meta"),),
        controls=("rtm", "l3masking"),
        color="#8c510a",
    ),
    "mask_tuning": Method(
        label="Mask-tuning",
        summary="Each update masks a few tokens at random, predicts them, and classifies the text with the predictions "
        "filled in, under the joint loss",
        source="Mask-tuning: Towards Improving Pre-trained Language Models' Generalization",
        stages=(MaskTune(),),
        controls=("stl", "mask_tuning_no_mlm"),
        color="#b2182b",
    ),
    "mask_tuning_l3": Method(
        label="Mask-tuning L3",
        summary="Mask-tuning of the tokens that the vanilla model finds unlikely",
        source=f"this project: the masks of {KIMURA} in Mask-tuning",
        stages=(MaskTune(policy="l3"),),
        controls=("mask_tuning", "stl"),
        color="#d6604d",
    ),
    "mask_tuning_no_mlm": Method(
        label="Mask-tuning, no MLM",
        summary="Mask-tuning without the masked-LM loss: classification of the perturbed text alone",
        source="the first ablation of Mask-tuning",
        stages=(MaskTune(mlm_loss=False),),
        controls=("stl",),
        color="#f4a582",
    ),
    "mask_tuning_two_rounds": Method(
        label="Mask-tuning, two rounds",
        summary="Mask-tuning in two rounds: the masked LM first, then fine-tuning on the perturbed texts",
        source="the second ablation of Mask-tuning",
        stages=(MaskTune(rounds=2),),
        controls=("mask_tuning", "stl"),
        color="#92654c",
    ),
}
DEFAULT = ("stl", "rtm", "l3masking")  # what a study compares where it says nothing else
QUESTIONS = (("l3masking", "rtm"), ("l3masking", "stl"), ("rtm", "stl"))  # of Kimura et al. 2024, in order
OTHER_TOKENS = ("l3masking", "l3_shuffled")  # arms that mask equally often, and other tokens
CLASSIFIER = "stl"  # the arm whose model tells which tokens matter
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
    """The labels of some arms in the order of METHODS, such as "STL, TAPT and MTL static"."""
    chosen = set(names)
    *before, last = [method.label for name, method in METHODS.items() if name in chosen]
    return f"{', '.join(before)} and {last}" if before else last
