"""How much room a finished study takes: records, scores, the MLflow mirror, and models where they are kept.

The sizes per record, token and evaluation were measured on finished studies (each constant says which); a test holds
them against one.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from l3masking.encoders.hub import TOKENIZER_FILES, WEIGHT_FILES
from l3masking.encoders.table import EncoderSpec
from l3masking.training.settings import KEPT_CHECKPOINTS
from l3masking.whole import free_space
from study.estimate.shared import TableRoom, adapted_encoders, artefacts_read, tables, with_what_they_need
from study.estimate.sizes import DataSize, data_sizes, training_size
from study.plan.trials import Trial
from study.space.spec import Generated, StudySpec
from study.store.briefs import Brief, all_brief
from study.store.packed import packed_bytes
from study.store.record import Record
from study.toyworld.world import find_world

# of the quickstart's records, 2026-11-20
RECORD_BYTES = 2200  # bytes: settings, identity, test values, run
POINT = {False: 212, True: 277}  # bytes of an evaluation: without and with a masking task
HISTOGRAM_BYTES = 250  # bytes of the mask probabilities, for an arm that masks in its last stage, 2026-12-01
# of small studies' records with two evaluation sets, 2026-12-01: 164 to 207
SET_BYTES = 190  # bytes of an evaluation set, apart from the predictions
# of the quickstart's and two smaller studies' mlflow.db, tables of the empty database included
DATABASE, RUN, RUN_POINT = 980_000, 17_000, 2_000  # bytes: empty, of a seed run, of an evaluation
PARTS = ("records", "scores", "importance", "classifiers", "adapted", "checkpoints", "mlflow", "models")  # of a Disk


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes of the whole study when all of it is done, at most; a part is None if nothing of it can be told."""

    records: int
    scores: int | None
    mlflow: int
    models: int | None  # 0 where none are kept
    importance: int | None = 0  # a number per token
    classifiers: int | None = 0  # that tell importance, and scoring networks
    adapted: int | None = 0  # weights after masked-LM training: those of all, or of the trainings under way
    checkpoints: int | None = 0  # of the trainings under way
    basis: str  # in words

    @property
    def total(self) -> int:
        """Of the parts that are known."""
        return sum(getattr(self, part) or 0 for part in PARTS)


def disk_space(
    spec: StudySpec,
    trials: Sequence[Trial],
    records: Iterable[Record | Brief],
    sizes: Mapping[str, DataSize],
) -> Disk:
    """Room of all `trials`, done or not. `records`: finished ones, which say how many evaluations there are."""
    made, evaluations, vague = _records(trials, all_brief(records), sizes)
    needs = with_what_they_need(artefacts_read(spec, trials))
    scores = tables([need for need in needs if need.kind == "scores"], sizes)
    importance = tables([need for need in needs if need.kind in ("heuristic", "prediction")], sizes)
    weights = _weights(spec, trials)
    classifiers = _sum(weights[need.encoder] for need in needs if need.kind in ("classifier", "network"))
    adapted = _adapted(spec, trials, weights)
    checkpoints = _checkpoints(spec, trials, weights)
    kept = Counter({trial.encoder: 0 for trial in trials})
    for trial in trials if spec.resources.save_models else ():
        kept[trial.encoder] += len(trial.keys)
    models = _sum(_times(weights[name], count) for name, count in kept.items())
    notes = ["at most, by sizes measured per record, evaluation and token"]
    notes += [f"{vague} records of unknown length"] if vague else []
    notes += _unknown_sets(trials, sizes)
    notes += [
        note for name, found in (("scores", scores), ("importance", importance)) if (note := _unknown(name, found))
    ]
    notes += ["models of unknown size"] if None in (models, classifiers, adapted, checkpoints) else []
    return Disk(
        records=made,
        scores=scores.size,
        mlflow=DATABASE + RUN * sum(len(trial.keys) for trial in trials) + RUN_POINT * evaluations,
        models=models,
        importance=importance.size,
        classifiers=classifiers,
        adapted=adapted,
        checkpoints=checkpoints,
        basis="; ".join(notes),
    )


def lacking_space(root: Path, spec: StudySpec, left: Sequence[Trial]) -> str | None:
    """A warning if what the trials that are left may need is not free on the disk of `root`. Reads no data."""
    need = disk_space(spec, left, [], data_sizes(spec, load=False)).total if left else 0
    return space_warning(root, need)


def space_warning(root: Path, need: int) -> str | None:
    """A warning if `need` bytes are not free on the disk of `root`."""
    free = free_space(root)
    if need <= free:
        return None
    return f"warning: {root}: up to {shown(need)} more may be needed, {shown(free)} are free; make room, or use --out"


def _records(trials: Iterable[Trial], finished: Iterable[Brief], sizes: Mapping[str, DataSize]) -> tuple[int, int, int]:
    """Bytes of all records, the evaluations that they hold, and how many are longer than was counted here."""
    points = {record.key: record.points for record in finished}
    made, evaluations, vague = 0, 0, 0
    seen: dict[tuple[str, str, str, str | None], int | None] = {}
    for trial in trials:
        size = sizes[trial.dataset]
        if trial.cell not in seen:
            seen[trial.cell] = training_size(trial, size).evaluations_at_most
        fixed = RECORD_BYTES + SET_BYTES * len(size.evaluations) + _predicted(size)
        for key in trial.keys.values():
            looks = points.get(key, seen[trial.cell])
            vague += looks is None or size.test is None or size.classes is None
            evaluations += looks or 0
            made += fixed + POINT[trial.arm.masks] * (looks or 0)
            made += HISTOGRAM_BYTES if trial.arm.last.policy is not None else 0
    return made, evaluations, vague


def _predicted(size: DataSize) -> int:
    """Bytes of the predicted classes and of the probabilities of all classes, on test and on the evaluation sets."""
    classes = size.classes or 100
    digits = 2 if classes <= 10 else 3  # of a predicted class, with its comma
    texts = [size.test or 0, *(count or 0 for count in size.evaluations.values())]
    return sum(digits * count + packed_bytes(count, classes) for count in texts)  # sets have no more classes


def _unknown_sets(trials: Iterable[Trial], sizes: Mapping[str, DataSize]) -> list[str]:
    """A note on evaluation sets whose predictions are not counted."""
    datasets = dict.fromkeys(trial.dataset for trial in trials)
    names = dict.fromkeys(name for dataset in datasets for name in sizes[dataset].unknown_sets)
    return [f"without the predictions on {', '.join(names)}: of unknown length"] if names else []


def _unknown(name: str, found: TableRoom) -> str:
    """A note on tables that are not counted; empty if all are."""
    if not found.vague:
        return ""
    return f"{name} of unknown length" if found.size is None else f"{found.vague} tables of {name} of unknown length"


def _weights(spec: StudySpec, trials: Iterable[Trial]) -> dict[str, int | None]:
    """Bytes of each encoder of the trials; None if it is not here."""
    revisions = {trial.encoder: trial.revision for trial in trials}
    return {name: encoder_bytes(spec.encoders[name], revision) for name, revision in revisions.items()}


def _adapted(spec: StudySpec, trials: Sequence[Trial], weights: Mapping[str, int | None]) -> int | None:
    """Weights after masked-LM training: all where they are kept, else the largest ones, one for each slot of a CPU."""
    found = [weights[name] for name in adapted_encoders(trials)]
    if not spec.resources.keep_adapted and None not in found:
        found = sorted(found, key=lambda size: -(size or 0))[: spec.resources.workers or os.cpu_count() or 1]
    return _sum(found)


def _checkpoints(spec: StudySpec, trials: Sequence[Trial], weights: Mapping[str, int | None]) -> int | None:
    """Those of the largest trainings, one for each slot of a CPU, while each writes one beside those that it keeps.

    Each holds the weights, two moments, and of each objective the best weights of the main and of the final stage.
    """
    if spec.resources.checkpoint_minutes is None:
        return 0
    found = [_times(weights[trial.encoder], (KEPT_CHECKPOINTS + 1) * (3 + 2 * len(trial.keys))) for trial in trials]
    if None not in found:
        found = sorted(found, key=lambda size: -(size or 0))[: spec.resources.workers or os.cpu_count() or 1]
    return _sum(found)


def _sum(parts: Iterable[int | None]) -> int | None:
    """None if a part is."""
    known = list(parts)
    return None if None in known else sum(part or 0 for part in known)


def _times(size: int | None, count: int) -> int | None:
    return 0 if not count else None if size is None else size * count


def encoder_bytes(spec: EncoderSpec | Generated, revision: str | None) -> int | None:
    """Bytes of an encoder's weights and tokenizer on this machine; None if it is not here."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(spec, Generated):
        world = find_world()
        spec = EncoderSpec(path=str(world.encoder_folder)) if world else spec
    if isinstance(spec, Generated) or revision is None:
        return None
    found = []
    for names in (WEIGHT_FILES, TOKENIZER_FILES):
        if spec.path is not None:
            paths = [Path(spec.path) / name for name in names]
        else:
            cached = (try_to_load_from_cache(str(spec.hub), name, revision=revision) for name in names)
            paths = [Path(path) for path in cached if isinstance(path, str)]
        there = [path.stat().st_size for path in paths if path.is_file()]
        if not there:
            return None
        found.append(there[0])
    return sum(found)


def shown(size: float) -> str:
    """ "3.1 MB": bytes in decimal units, as file managers count."""
    if size < 1000:
        return f"{size:.0f} B"
    exponent = min(4, int(math.log10(size) // 3))
    return f"{size / 1000**exponent:.1f} {('', 'kB', 'MB', 'GB', 'TB')[exponent]}"
