"""How large the trainings of a study are, before anything is computed: texts, updates, evaluations, tokens.

What is not available is counted from the numbers that its table entry or space file expects: a plan needs no network.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

from l3masking.data.table import DataSpec, load_data
from l3masking.data.textdata import SPLITS, TextData
from l3masking.errors import EnvironmentFault
from l3masking.methods import Method
from l3masking.training.settings import AdaptConfig, TrainConfig
from study.plan.inputs import concrete_data
from study.plan.trials import Identities, Trial, corpus_of
from study.space.spec import Generated, StudySpec
from study.toyworld.task import TaskConfig


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """Texts of a dataset; None if nobody knows yet."""

    train: int | None = None  # texts, 1 or more
    validation: int | None = None  # the same
    test: int | None = None  # the same
    mlm: int | None = None  # units of the masking task, 1 or more
    classes: int | None = None  # 2 or more
    counted: bool = False  # in the data themselves; False: as expected

    @property
    def texts(self) -> int | None:
        """Of all splits."""
        return None if None in self._splits else sum(size for size in self._splits if size is not None)

    @property
    def _splits(self) -> tuple[int | None, ...]:
        return self.train, self.validation, self.test


@dataclass(frozen=True, kw_only=True)
class TrainingSize:
    """One training: how many updates and looks at the validation data it may have; None if nobody knows yet."""

    updates_per_epoch: int | None  # optimizer steps, 1 or more
    updates_at_most: int | None  # main stage, where early stopping never strikes
    evaluations_at_most: int | None  # main stage, the same
    tokens_per_epoch_at_most: int | None  # ids of the primary and the masked texts of an epoch, at `max_length` each
    adapt_updates: int | None = 0  # of masked-LM training before the main stage


def passes(arm: Method) -> int:
    """Gradients per micro-step, which is what an arm's training costs: primary, masking, validation (META-TARTAN).

    Masked-LM training before it counts as one more. The dev head and the passes' unequal lengths are left out, so that
    it is a rough scale.
    """
    return 1 + (arm.masks or arm.tunes_masks) + arm.learns_weights + len(arm.adapts)


def expected_size(spec: DataSpec | Generated) -> DataSize:
    """What is expected of a dataset, without looking at it."""
    if isinstance(spec, Generated):
        task = TaskConfig()
        return DataSize(
            train=task.train, validation=task.validation, test=task.test, mlm=task.train, classes=len(task.labels)
        )
    known = {part: spec.expected.get(part, None if part == "train" else spec.rows.get(part)) for part in SPLITS}
    if known["train"] is None and spec.validation is not None and spec.test is not None and spec.overlap == "keep":
        known["train"] = spec.rows.get("train")  # nothing is cut from it
    for part in ("validation", "test"):
        if known[part] is None and getattr(spec, part) is None:
            known[part] = getattr(spec, f"{part}_rows")
    mlm = known["train"] if spec.mlm == "instance" else None
    return DataSize(
        train=known["train"],
        validation=known["validation"],
        test=known["test"],
        mlm=mlm,
        classes=spec.expected.get("classes"),
    )


def counted_size(data: TextData) -> DataSize:
    """The size of a dataset that is loaded."""
    return DataSize(
        train=len(data.train),
        validation=len(data.validation),
        test=len(data.test),
        mlm=len(data.mlm_texts),
        classes=len(data.labels),
        counted=True,
    )


def data_sizes(spec: StudySpec, identities: Identities | None = None) -> dict[str, DataSize]:
    """The size of each dataset of a study, by its name.

    With `identities`, data that are available and of which not all is expected are counted, without a network.
    """
    sizes = {}
    for name, entry in spec.datasets.items():
        sizes[name] = expected_size(entry)
        if None in (sizes[name].texts, sizes[name].mlm, sizes[name].classes) and identities is not None:
            with suppress(EnvironmentFault):
                if name in identities.datasets:
                    sizes[name] = counted_size(load_data(concrete_data(entry), name=name, offline=True))
    return sizes


def training_size(trial: Trial, data: DataSize) -> TrainingSize:
    """How long one training may become."""
    settings = trial.settings
    train = TrainConfig(**settings["train"])
    masks = trial.arm.masks
    driver = data.mlm if masks else data.train
    if driver is None:
        return TrainingSize(
            updates_per_epoch=None, updates_at_most=None, evaluations_at_most=None, tokens_per_epoch_at_most=None
        )
    epoch = train.updates_per_epoch(driver)
    updates = epoch * train.max_epochs
    every = settings["evaluate"]["every"] * (epoch if settings["evaluate"]["unit"] == "epochs" else 1)
    texts = epoch * train.accumulate * min(train.batch, driver) * (2 if masks else 1)
    return TrainingSize(
        updates_per_epoch=epoch,
        updates_at_most=updates,
        evaluations_at_most=math.ceil(updates / every),
        tokens_per_epoch_at_most=texts * settings["scoring"]["max_length"],
        adapt_updates=_adapt_updates(trial, data),
    )


def _adapt_updates(trial: Trial, data: DataSize) -> int | None:
    """Optimizer steps before the main stage; None where nobody knows the number of texts."""
    if not trial.arm.adapts:
        return 0
    config = AdaptConfig(**trial.settings["adapt"])
    if corpus_of(trial.arm, trial.settings) is not None:
        return config.updates
    if data.mlm is None:
        return None
    held = int(data.mlm * config.dev_share)
    return len(trial.arm.adapts) * config.planned_updates(data.mlm - held)
