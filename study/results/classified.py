"""Which classes the rows of a study get right, and how well they know when they do, from its records and true labels.

Everything is taken for each seed by itself, on the test split and on each evaluation set, and then over the seeds of a
cell. Values are fractions. Records are looked at one by one, so that probabilities of one record alone are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.plan.trials import Trial
from study.results.aggregate import Cell, CellKey
from study.results.per_class import Calibrated, calibration, class_scores, confusion_matrix
from study.results.spread import spread
from study.results.truth import Truths
from study.store.packed import unpacked
from study.store.record import Probabilities, Record

TEST_SPLIT = "test"
AGREES = 1e-9  # between the accuracy of a record and the one that the labels give


class Judgement(NamedTuple):
    """One trained model on one set of texts."""

    confusion: NDArray[np.int64]  # [C, C] texts: true class by predicted class
    calibration: Calibrated | None  # None if the record holds no probabilities


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class in one cell. Means and sample standard deviations over seeds; std is None for one seed."""

    evaluation: str  # TEST_SPLIT, or the name of an evaluation set
    label: str
    support: int  # texts of the class in the set
    n: int  # seeds
    precision_mean: float | None
    precision_std: float | None
    recall_mean: float | None
    recall_std: float | None
    f1_mean: float | None
    f1_std: float | None


@dataclass(frozen=True, kw_only=True)
class ConfusionRow:
    """How often texts of one class are predicted as another, or as itself; at least once in all seeds together."""

    evaluation: str
    true: str
    predicted: str
    n: int  # seeds
    count: int  # texts, summed over the seeds
    mean: float  # texts, mean over the seeds
    share: float  # of the texts of the true class, in [0, 1]


@dataclass(frozen=True, kw_only=True)
class CalibrationRow:
    """Calibrated in one cell. Means and sample standard deviations over seeds."""

    evaluation: str
    texts: int
    n: int  # seeds whose record holds probabilities
    accuracy_mean: float | None
    confidence_mean: float | None
    ece_mean: float | None
    ece_std: float | None
    adaptive_ece_mean: float | None
    adaptive_ece_std: float | None
    brier_mean: float | None
    brier_std: float | None


class Classified:
    """What the records of a plan say of classes. `add` each record once, in any order."""

    def __init__(self, truths: Truths, trials: Iterable[Trial]) -> None:
        self._truths = truths
        self._keys: dict[
            CellKey, dict[int, str]
        ] = {}  # cell -> seed -> key of its record, whatever its variant was then
        for trial in trials:
            for objective, key in trial.keys.items():
                row = trial.encoder, trial.dataset, trial.method, trial.variant, trial.mask_mean
                self._keys.setdefault(CellKey(*row, objective), {})[trial.seed] = key
        self._labels: dict[tuple[str, str], Sequence[str]] = {}  # key of a record, set -> names of the set's classes
        self._found: dict[tuple[str, str], Judgement] = {}
        self._wrong: dict[str, None] = {}

    def add(self, record: Record) -> None:
        """Take in a record; one of a search, or of a dataset without labels, adds nothing."""
        dataset = record["dataset"]
        if "test_predictions" in record and "test" in record and dataset in self._truths.test:
            packed = record.get("test_probabilities")
            self._judge(record, TEST_SPLIT, record["labels"], record["test_predictions"], record["test"], packed)
        for name, result in record.get("evaluations", {}).items():
            if dataset in self._truths.sets.get(name, {}):
                packed = result.get("probabilities")
                self._judge(record, name, result["labels"], result["predictions"], result["metrics"], packed)

    @property
    def notes(self) -> list[str]:
        """Why something is left out, in lines."""
        missing = [f"{name}: left out, no labels: {reason}" for name, reason in self._truths.missing.items()]
        return [*missing, *self._wrong]

    def classes(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, ClassRow]]:
        """A row for each class, set and cell, in the order of `cells`."""
        for cell, name, labels, seeds in self._judged(cells):
            scores = [class_scores(one.confusion) for one in seeds]
            for place, label in enumerate(labels):
                precision, recall, f1 = (
                    spread(float(getattr(one, part)[place]) for one in scores) for part in ("precision", "recall", "f1")
                )
                yield (
                    cell,
                    ClassRow(
                        evaluation=name,
                        label=label,
                        support=int(scores[0].support[place]),
                        n=len(seeds),
                        precision_mean=precision.mean,
                        precision_std=precision.std,
                        recall_mean=recall.mean,
                        recall_std=recall.std,
                        f1_mean=f1.mean,
                        f1_std=f1.std,
                    ),
                )

    def confusion(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, ConfusionRow]]:
        """A row for each pair of true and predicted class that occurs, for each set and cell."""
        for cell, name, labels, seeds in self._judged(cells):
            total = np.sum([one.confusion for one in seeds], axis=0)
            for true, predicted in zip(*np.nonzero(total), strict=True):
                count = int(total[true, predicted])
                yield (
                    cell,
                    ConfusionRow(
                        evaluation=name,
                        true=labels[true],
                        predicted=labels[predicted],
                        n=len(seeds),
                        count=count,
                        mean=count / len(seeds),
                        share=count / int(total[true].sum()),
                    ),
                )

    def calibration(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, CalibrationRow]]:
        """A row for each set and cell with probabilities."""
        for cell, name, _, seeds in self._judged(cells):
            found = [one.calibration for one in seeds if one.calibration is not None]
            if not found:
                continue
            parts = {part: spread(getattr(one, part) for one in found) for part in Calibrated._fields}
            yield (
                cell,
                CalibrationRow(
                    evaluation=name,
                    texts=int(seeds[0].confusion.sum()),
                    n=len(found),
                    accuracy_mean=parts["accuracy"].mean,
                    confidence_mean=parts["confidence"].mean,
                    ece_mean=parts["ece"].mean,
                    ece_std=parts["ece"].std,
                    adaptive_ece_mean=parts["adaptive_ece"].mean,
                    adaptive_ece_std=parts["adaptive_ece"].std,
                    brier_mean=parts["brier"].mean,
                    brier_std=parts["brier"].std,
                ),
            )

    def _judge(
        self,
        record: Record,
        name: str,
        names: Sequence[str],
        predicted: Sequence[int] | NDArray[np.integer],
        metrics: Mapping[str, float],
        packed: Probabilities | None,
    ) -> None:
        truths = self._truths.test if name == TEST_SPLIT else self._truths.sets[name]
        labels, predictions = truths[record["dataset"]].labels, np.asarray(predicted, dtype=np.int64)
        alike = len(labels) == len(predictions)
        if not alike or abs(float(np.mean(labels == predictions)) - metrics["accuracy"]) > AGREES:
            where = record["dataset"] if name == TEST_SPLIT else f"{record['dataset']}, {name}"
            self._wrong[f"{where}: left out, the labels do not give the recorded accuracy of each record"] = None
            return
        place = record["key"], name
        self._labels[place] = names
        calibrated = None if packed is None else calibration(unpacked(packed), predictions, labels)
        self._found[place] = Judgement(confusion_matrix(predictions, labels, len(names)), calibrated)

    def _judged(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, str, Sequence[str], list[Judgement]]]:
        for cell in cells:
            for name in (TEST_SPLIT, *cell.evaluations):
                places = [(key, name) for _, key in sorted(self._keys.get(cell.key, {}).items())]
                found = [place for place in places if place in self._found]
                if found:
                    yield cell, name, self._labels[found[0]], [self._found[place] for place in found]
