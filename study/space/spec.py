"""What a study is: the frozen dataclasses a space file is read into, and the settings they resolve to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from l3masking.data.corpus import CorpusSpec
from l3masking.data.table import DataSpec
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import InputError
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import DEFAULT, METHODS, Method
from l3masking.precision import Precision
from l3masking.scoring.settings import ScoringConfig
from l3masking.selective.settings import SelectiveConfig
from l3masking.training.settings import (
    AdaptConfig,
    EvaluateConfig,
    FinalConfig,
    FinetuneConfig,
    MaskTuningConfig,
    MetaConfig,
    ModelConfig,
    OptimConfig,
    StopConfig,
    TrainConfig,
)
from study.space.arms import ArmSpec, PolicyFile
from study.space.compare_section import CompareConfig
from study.space.report_section import ReportConfig
from study.space.search_section import FIRST_SEED, SearchConfig
from study.space.validation import build, nearest
from study.space.yaml import Problem

SECTIONS: dict[str, type] = {  # of a space file; together with `precision`, all that may change a result
    "scoring": ScoringConfig,
    "masking": MaskingConfig,
    "optim": OptimConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "stop": StopConfig,
    "final": FinalConfig,
    "meta": MetaConfig,
    "model": ModelConfig,
    "adapt": AdaptConfig,
    "selective": SelectiveConfig,
    "mask_tuning": MaskTuningConfig,
}
SEED_LIMIT = FIRST_SEED  # seeds from here on belong to searches
GpuShare = float | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class Generated:
    """An encoder, dataset or corpus that the project makes itself."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # the embedded default; of datasets also: with an evaluation set of another style, or the task with decoys
    generated: Literal["toyworld", "toyworld-shifted", "toyworld-decoy"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One encoder on one dataset, by their names, and what its trials take where that differs from `resources`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    encoder: str
    dataset: str
    gpu: GpuShare | None = None  # as in resources
    cpu: float | None = None  # as in resources


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What may change speed or place and never a result; no part of any key."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # GPUs per trial and scoring worker: a fraction in [0, 1], or a whole number; auto: measured at the start of a run
    gpu: GpuShare = 0.0
    cpu: float = 1.0  # CPUs that a trial reserves, > 0
    threads: int = 1  # threads that a trial on the CPU computes with, >= 1; other bits with another number
    workers: int | None = None  # scoring workers and trials at a time, >= 1; none: as many as fit
    token_budget: int | None = None  # tokens in a scoring batch, >= 1; none: what suits the device and its free memory
    cuda_graphs: bool = True  # on a GPU, record a pass of training once for each shape, and replay it
    save_models: bool = False  # keep each tested model in models/<key>/, as transformers reads it
    keep_adapted: bool = False  # keep the weights after masked-LM training in adapted/<key>/
    checkpoint_minutes: float | None = 5.0  # least time between two checkpoints, >= 0; none: no checkpoints
    patience_minutes: float | None = 30.0  # without progress until a worker is ended, > 0; none: it is never
    executor: Literal["ray", "serial"] = "ray"  # serial: one after the other in this process

    @property
    def device(self) -> str:
        """Where scoring and training run, as torch calls it."""
        return "cuda" if self.gpu else "cpu"

    @property
    def num_gpus(self) -> float:
        """GPUs per trial, where they are known: a run replaces `auto` before it uses any."""
        assert self.gpu != "auto", "a run has to choose the share first"
        return self.gpu

    def __post_init__(self) -> None:
        gpu = self.gpu
        if gpu != "auto" and not (0 <= gpu <= 1 or (gpu > 1 and gpu == int(gpu))):
            raise InputError(f"resources.gpu is {gpu}: a fraction in [0, 1], a whole number, or auto")
        if not self.cpu > 0:
            raise InputError(f"resources.cpu is {self.cpu}: it must be above 0")
        for name in ("threads", "workers", "token_budget"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"resources.{name} is {value}: at least 1")
        minutes = self.checkpoint_minutes
        if minutes is not None and not 0 <= minutes < math.inf:
            raise InputError(f"resources.checkpoint_minutes is {minutes}: 0 or more, or null for no checkpoints")
        patience = self.patience_minutes
        if patience is not None and not 0 < patience < math.inf:
            raise InputError(f"resources.patience_minutes is {patience}: above 0, or null for no limit")


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A whole study. Names are looked up, presets merged, paths absolute: nothing depends on where the file lies."""

    name: str  # of the study and its folder: 1 to 64 of A-Z a-z 0-9 . _ -, no dot in front
    description: str = ""
    encoders: Mapping[str, EncoderSpec | Generated]  # declared in the file, and those of ENCODERS that pairs name
    datasets: Mapping[str, DataSpec | Generated]  # the same, of DATASETS
    pairs: tuple[Pair, ...]  # default: each declared encoder with each declared dataset
    methods: tuple[str, ...] = DEFAULT  # of METHODS or `arms`
    arms: Mapping[str, ArmSpec] = field(default_factory=dict)  # further arms, declared in the file
    policies: Mapping[str, PolicyFile] = field(default_factory=dict)  # masking policies of files, for `arms`
    corpora: Mapping[str, CorpusSpec | Generated] = field(default_factory=dict)  # texts for `adapt.corpus`
    objectives: tuple[str, ...] = ("accuracy", "macro_f1")  # of METRICS
    seeds: tuple[int, ...] = tuple(range(10))  # in [0, SEED_LIMIT)
    preset: str = "default"  # of PRESETS; its values are in the sections already
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    final: FinalConfig = field(default_factory=FinalConfig)
    meta: MetaConfig = field(default_factory=MetaConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    selective: SelectiveConfig = field(default_factory=SelectiveConfig)
    mask_tuning: MaskTuningConfig = field(default_factory=MaskTuningConfig)
    precision: Precision = "float32"  # of scoring and training
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> {dotted key: value}
    search: SearchConfig | None = None  # a stage before the grid
    compare: CompareConfig = field(default_factory=CompareConfig)  # the confirmatory family; no part of any key
    report: ReportConfig = field(default_factory=ReportConfig)  # how results are shown; no part of any key
    resources: Resources = field(default_factory=Resources)

    def arm(self, name: str) -> Method:
        """What the name of an arm stands for in this study."""
        return self.arms[name].method(name, self.policies) if name in self.arms else METHODS[name]

    @property
    def finetune(self) -> FinetuneConfig:
        """The settings of training."""
        return configs(self.settings()).finetune

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a result, as plain nested values."""
        return {name: plain(getattr(self, name)) for name in SECTIONS} | {"precision": self.precision}

    def variant(self, name: str | None) -> StudySpec:
        """This study under the overrides of one variant; itself for None. InputError for an unknown name."""
        if name is None:
            return self
        if name not in self.variants:
            raise InputError(f"variants.{name}: no such variant; {nearest(name, self.variants)}")
        problems: list[Problem] = []
        changed = overridden(self.settings(), self.variants[name], f"variants.{name}", problems)
        if problems:
            raise InputError("; ".join(f"{problem.path}: {problem.text}" for problem in problems))
        return dataclasses.replace(self, **changed)

    def resources_of(self, encoder: str, dataset: str) -> Resources:
        """What the trials of one pair take."""
        pair = next(pair for pair in self.pairs if (pair.encoder, pair.dataset) == (encoder, dataset))
        own = {name: value for name in ("gpu", "cpu") if (value := getattr(pair, name)) is not None}
        return dataclasses.replace(self.resources, **own)

    def with_gpus(self, chosen: Mapping[tuple[str, str], float]) -> StudySpec:
        """This study where the pairs of `chosen`, by encoder and dataset, take these GPUs."""
        pairs = [dataclasses.replace(p, gpu=chosen.get((p.encoder, p.dataset), p.gpu)) for p in self.pairs]
        return dataclasses.replace(self, pairs=tuple(pairs))

    @property
    def search_objective(self) -> str:
        """The validation metric that a search maximises."""
        return (self.search.objective if self.search else None) or self.objectives[0]

    @property
    def search_methods(self) -> tuple[str, ...]:
        """The methods whose best setting is searched; empty without a search."""
        if self.search is None:
            return ()
        masking = tuple(name for name in self.methods if self.arm(name).masks)
        return self.search.methods if self.search.methods is not None else masking

    def resolved(self) -> dict[str, Any]:
        """The study with every default written out, as plain values; reading it again gives an equal study."""
        return {item.name: plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


class Configs(NamedTuple):
    """Settings as the components take them."""

    scoring: ScoringConfig
    masking: MaskingConfig
    finetune: FinetuneConfig
    adapt: AdaptConfig
    selective: SelectiveConfig
    mask_tuning: MaskTuningConfig


def configs(settings: Mapping[str, Any]) -> Configs:
    """The dataclasses of nested settings, as a trial or a record holds them; what is left out is at its default."""
    problems: list[Problem] = []
    built: dict[str, Any] = {name: build(cls, settings.get(name, {}), name, problems) for name, cls in SECTIONS.items()}
    if problems:
        raise InputError("; ".join(f"{problem.path}: {problem.text}" for problem in problems))
    apart = [built.pop(name) for name in ("adapt", "selective", "mask_tuning")]
    scoring, masking = built.pop("scoring"), built.pop("masking")
    finetune = FinetuneConfig(**built, precision=settings.get("precision", "float32"))
    return Configs(scoring, masking, finetune, *apart)


def overridden(
    settings: Mapping[str, Any], overrides: Mapping[str, Any], path: str, problems: list[Problem]
) -> dict[str, Any]:
    """The sections (and `precision`) that dotted `overrides` change, built anew; what is wrong goes to `problems`."""
    known = [f"{name}.{item.name}" for name, cls in SECTIONS.items() for item in dataclasses.fields(cls)]
    wanted: dict[str, Any] = {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        if key == "precision":
            if value not in get_args(Precision):
                problems.append(Problem(f"{path}.{key}", f"not known; {nearest(str(value), get_args(Precision))}"))
            wanted[key] = value
        elif key in known:
            wanted.setdefault(section, dict(settings[section]))[name] = value
        else:
            problems.append(Problem(f"{path}.{key}", f"unknown key; {nearest(key, [*known, 'precision'])}"))
    return {
        name: value if name == "precision" else build(SECTIONS[name], value, f"{path}.{name}", problems)
        for name, value in wanted.items()
    }


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries and tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value
