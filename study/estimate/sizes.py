"""How large the trainings of a study are, before anything is computed: texts, updates, evaluations, tokens.

What is not available is counted from the numbers that its table entry or space file expects: a plan needs no network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from l3masking.data.corpus import CorpusSpec
from l3masking.data.table import DataSpec, load_data
from l3masking.data.textdata import SPLITS, TextData
from l3masking.errors import EnvironmentFault
from l3masking.methods import Method
from l3masking.training.settings import AdaptConfig, TrainConfig
from study.plan.inputs import concrete_data, read_corpora
from study.plan.trials import Identities, Trial, corpus_of_stage
from study.space.spec import Generated, StudySpec
from study.toyworld.extras import ExtrasConfig
from study.toyworld.task import TaskConfig


class CorpusSize(NamedTuple):
    """Units of a corpus, and who says so."""

    units: int | None  # 1 or more; None if nobody knows yet
    basis: str  # in words

    def __str__(self) -> str:
        return self.basis if self.units is None else f"{self.units} units, {self.basis}"


UNKNOWN_CORPUS = CorpusSize(None, "of unknown length")


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """Texts that trainings on a dataset read; None if nobody knows yet."""

    train: int | None = None  # texts, 1 or more
    validation: int | None = None  # the same
    test: int | None = None  # the same
    mlm: int | None = None  # units of the masking task, 1 or more
    classes: int | None = None  # 2 or more
    counted: bool = False  # in the data themselves; False: as expected
    evaluations: Mapping[str, int | None] = field(default_factory=dict)  # texts of each evaluation set
    corpora: Mapping[str, CorpusSize] = field(default_factory=dict)  # those that the study reads

    @property
    def texts(self) -> int | None:
        """Of all splits."""
        return None if None in self._splits else sum(size for size in self._splits if size is not None)

    @property
    def unknown_sets(self) -> tuple[str, ...]:
        """Evaluation sets of unknown length."""
        return tuple(name for name, texts in self.evaluations.items() if texts is None)

    @property
    def evaluation_texts(self) -> int:
        """Of all evaluation sets whose length is known."""
        return sum(texts or 0 for texts in self.evaluations.values())

    def texts_of(self, corpus: str | None) -> int | None:
        """Texts of a corpus, or (None) masked-LM texts of the dataset."""
        return self.mlm if corpus is None else self.corpora.get(corpus, UNKNOWN_CORPUS).units

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
    adapt_updates: int | None = 0  # of masked-LM training before the main stage, at most


def passes(arm: Method, before: float | None = None) -> float:
    """Gradients per micro-step, which is what an arm's training costs: primary, masking, validation (META-TARTAN).

    An arm with several updates for each update of the others has those of all of them.
    `before`: texts of its masked-LM training before that, as a share of those of the main stage (`share_before`); if it
    is not known, each such stage counts as one more. The dev head and the passes' unequal lengths are left out, so
    that it is a rough scale.
    """
    own = (1 + (arm.masks or arm.tunes_masks) + arm.learns_weights) * arm.last.update_factor
    return own + (len(arm.adapts) if before is None else before)


def longest_first(trials: Sequence[Trial]) -> list[Trial]:
    """Trials by what they cost, so that no long one is left alone at the end: passes per step × epochs.

    Of equal ones those of a pair come together, so that a process keeps the encoder and the data that it holds.
    """
    pairs = {pair: place for place, pair in enumerate(dict.fromkeys((t.encoder, t.dataset) for t in trials))}

    def order(trial: Trial) -> tuple[float, int, int]:
        cost = passes(trial.arm) * trial.settings["train"]["max_epochs"]
        return -float(cost), pairs[trial.encoder, trial.dataset], trial.seed

    return sorted(trials, key=order)


def expected_size(spec: DataSpec | Generated) -> DataSize:
    """What is expected of a dataset, without looking at it."""
    if isinstance(spec, Generated):
        task = TaskConfig()
        return DataSize(
            train=task.train,
            validation=task.validation,
            test=task.test,
            mlm=task.train,
            classes=len(task.labels),
            evaluations={"shifted": task.test} if spec.generated == "toyworld-shifted" else {},
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
        evaluations={name: one.rows.get("test") for name, one in spec.evaluation_sets.items()},
    )


def expected_corpus(spec: CorpusSpec | Generated) -> CorpusSize:
    """What is expected of a corpus, without looking at it."""
    if isinstance(spec, Generated):
        return CorpusSize(ExtrasConfig().corpus, "as generated")
    return UNKNOWN_CORPUS if spec.most is None else CorpusSize(spec.most, "at most, as `most` says")


def counted_size(data: TextData) -> DataSize:
    """The size of a dataset that is loaded."""
    return DataSize(
        train=len(data.train),
        validation=len(data.validation),
        test=len(data.test),
        mlm=len(data.mlm_texts),
        classes=len(data.labels),
        counted=True,
        evaluations={name: len(one.texts) for name, one in data.evaluations.items()},
    )


def data_sizes(spec: StudySpec, identities: Identities | None = None, *, load: bool = True) -> dict[str, DataSize]:
    """The size of each dataset of a study, by its name, and with it of all corpora that the study reads.

    With `identities`, data that are available and of which not all is expected are counted, without a network, unless
    `load` is False; the units of a corpus were counted when it was identified.
    """
    counted = identities.corpus_units if identities else {}
    corpora = {
        name: CorpusSize(counted[name], "counted") if name in counted else expected_corpus(spec.corpora[name])
        for name in read_corpora(spec)
    }
    sizes = {}
    for name, entry in spec.datasets.items():
        size = expected_size(entry)
        vague = None in (size.texts, size.mlm, size.classes, *size.evaluations.values())
        if vague and load and identities is not None and name in identities.datasets:
            with suppress(EnvironmentFault):
                size = counted_size(load_data(concrete_data(entry), name=name, offline=True))
        sizes[name] = dataclasses.replace(size, corpora=corpora)
    return sizes


def training_size(trial: Trial, data: DataSize) -> TrainingSize:
    """How long one training may become."""
    settings = trial.settings
    train = TrainConfig(**settings["train"])
    factor, driver = trial.arm.last.update_factor, data.mlm
    if driver is None:
        return TrainingSize(
            updates_per_epoch=None,
            updates_at_most=None,
            evaluations_at_most=None,
            tokens_per_epoch_at_most=None,
            adapt_updates=_adapt_updates(trial, data),
        )
    epoch = train.updates_per_epoch(driver)
    updates = train.planned_updates(driver) * factor
    every = settings["evaluate"]["every"] * (epoch if settings["evaluate"]["unit"] == "epochs" else 1) * factor
    texts = epoch * factor * train.accumulate * min(train.batch, driver) * (2 if trial.arm.masks else 1)
    return TrainingSize(
        updates_per_epoch=epoch * factor,
        updates_at_most=updates,
        evaluations_at_most=math.ceil(updates / every),
        tokens_per_epoch_at_most=texts * settings["scoring"]["max_length"],
        adapt_updates=_adapt_updates(trial, data),
    )


def _adapt_updates(trial: Trial, data: DataSize) -> int | None:
    """Optimizer steps before the main stage, at most; None if neither their number nor that of the texts is known."""
    total = 0
    for corpus, config in _adaptations(trial):
        texts = data.texts_of(corpus)
        updates = config.updates if texts is None else config.planned_updates(config.trained_on(texts))
        if updates is None:
            return None
        total += updates
    return total


def _adaptations(trial: Trial) -> Iterator[tuple[str | None, AdaptConfig]]:
    """The corpus (None: the dataset's own texts) and the settings of each `adapt` stage."""
    for stage in trial.arm.adapts:
        yield corpus_of_stage(stage, trial.settings), AdaptConfig(**trial.settings["adapt"])


def share_before(trial: Trial, data: DataSize) -> float | None:
    """Texts of masked-LM training before the main stage, as a share of those of that stage; None if not known."""
    size, train = training_size(trial, data), trial.settings["train"]
    if not trial.arm.adapts or size.adapt_updates is None or size.updates_at_most is None:
        return None
    adapt = trial.settings["adapt"]
    texts = size.adapt_updates * adapt["batch"] * adapt["accumulate"]
    return texts / (size.updates_at_most * train["batch"] * train["accumulate"])


def basis_before(trial: Trial, data: DataSize) -> str:
    """What the length of masked-LM training before the main stage is taken from, in words; empty without any."""
    found = []
    for corpus, config in _adaptations(trial):
        texts = data.texts_of(corpus)
        whole = dataclasses.replace(config, updates=None)
        if config.updates is not None and (
            texts is None or config.updates <= whole.planned_updates(whole.trained_on(texts))
        ):
            found.append(f"{config.updates} updates, as `adapt.updates` says")
        else:
            size = data.corpora.get(corpus, UNKNOWN_CORPUS) if corpus else None
            of = f"corpus {corpus} ({size})" if size else "the dataset's texts"
            found.append(f"{config.epochs} epoch{'s' * (config.epochs != 1)} of {of}")
    return f"masked-LM training before it: {', then '.join(found)}" if found else ""
