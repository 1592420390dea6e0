"""calibration.json: what a short measurement says of each kind of training of a study, kept for later plans."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l3masking.training.settings import TrainConfig
from study.estimate.sizes import DataSize, training_size
from study.plan.trials import Trial
from study.space.spec import Resources
from study.store.hints import read_hint
from study.store.whole_files import canonical, content_key, write_atomic

TIMING_FILE = "calibration.json"
TIMING_SCHEMA = 1  # of the file; another one is as good as none


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one kind of training took, with nothing beside it."""

    update_seconds: float  # one update of the main stage, >= 0
    plain_update_seconds: float  # one update of classification alone, as in the final stage, >= 0
    evaluation_seconds: float  # of one validation text, >= 0
    scoring_seconds: float | None  # of one text; None for a method that needs no scores
    updates: int  # of the main stage that were measured, after as many for warm-up
    host: str
    device: str  # of the processor or GPU


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measurements by kind of training, and where they hold."""

    resources: Callable[[str, str], Resources]  # of an encoder and a dataset: device and threads tell kinds apart
    entries: Mapping[str, Measured] = field(default_factory=dict)  # `key` -> what was measured

    def key(self, trial: Trial) -> str:
        """Everything but the seed that may change what a training of `trial` costs."""
        resources = self.resources(trial.encoder, trial.dataset)
        return content_key(
            {
                "revision": trial.revision,
                "data_hash": trial.whole_hash or trial.data_hash,
                "method": trial.method,
                "settings": trial.settings,
                "threads": resources.threads,
                "on_gpu": resources.device == "cuda",
            }
        )

    def measured(self, trial: Trial) -> Measured | None:
        """What was measured of trainings like `trial`."""
        known = trial.revision is not None and trial.data_hash is not None
        return self.entries.get(self.key(trial)) if known else None

    def seconds(self, trial: Trial, size: DataSize) -> float | None:
        """One training where nothing stops it early: all updates, all looks at validation, all final epochs, test.

        Evaluation sets are read once for each objective; those of unknown length are left out. None if the kind was not
        measured, or another number of texts is not known.
        """
        found, most = self.measured(trial), training_size(trial, size)
        if found is None or most.updates_at_most is None or most.evaluations_at_most is None:
            return None
        if size.train is None or size.validation is None or size.test is None or most.adapt_updates is None:
            return None
        look = size.validation * found.evaluation_seconds
        main = most.updates_at_most * found.update_seconds + most.evaluations_at_most * look
        read = size.test + size.evaluation_texts
        final, end = trial.settings["final"], look + read * found.evaluation_seconds
        if final["enabled"]:
            epoch = TrainConfig(**trial.settings["train"]).updates_per_epoch(size.train)
            end += final["max_epochs"] * (epoch * found.plain_update_seconds + look)
        before = most.adapt_updates * found.plain_update_seconds
        if before:  # an update of classification alone does the same passes over its own number of texts
            train, adapt = trial.settings["train"], trial.settings["adapt"]
            before *= (adapt["batch"] * adapt["accumulate"]) / (train["batch"] * train["accumulate"])
        return before + main + len(trial.objectives) * end

    def scoring_seconds(self, trial: Trial, texts: int | None) -> float | None:
        """Scoring so many texts as `trial` needs it, by one worker; None if it was not measured, or for None."""
        found = self.measured(trial)
        if found is None or found.scoring_seconds is None or texts is None:
            return None
        return texts * found.scoring_seconds


def read_calibration(root: Path, resources: Callable[[str, str], Resources]) -> Calibration | None:
    """What an earlier calibration left in a study's folder; None if there is none that can be read."""

    def made(value: Any) -> Calibration | None:
        if value["schema"] != TIMING_SCHEMA:
            return None
        entries = {str(key): _measured(entry) for key, entry in value["entries"].items()}
        return Calibration(resources=resources, entries=entries)

    return read_hint(root / TIMING_FILE, made)


def write_calibration(root: Path, calibration: Calibration) -> None:
    """Write `root`/calibration.json, with what was measured earlier of other kinds."""
    before = read_calibration(root, calibration.resources)
    entries = {**(before.entries if before else {}), **calibration.entries}
    value = {"schema": TIMING_SCHEMA, "entries": {key: vars(entry) for key, entry in entries.items()}}
    write_atomic(root / TIMING_FILE, canonical(value))


def _measured(entry: Mapping[str, Any]) -> Measured:
    """ValueError for a number that is none."""
    made = Measured(**entry)
    numbers = (made.update_seconds, made.plain_update_seconds, made.evaluation_seconds, made.scoring_seconds or 0.0)
    if not all(isinstance(n, int | float) and math.isfinite(n) and n >= 0 for n in numbers):
        raise ValueError("not a time")
    return made
