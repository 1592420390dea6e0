"""How much room a finished study takes: records, scores, the MLflow mirror, and models where they are kept.

The sizes per record, token and evaluation were measured on finished studies (each constant says which); a test holds
them against one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3masking.encoders.hub import TOKENIZER_FILES, WEIGHT_FILES
from l3masking.encoders.table import EncoderSpec
from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD
from l3masking.stages import Adapt
from study.estimate.sizes import DataSize, training_size
from study.plan.trials import Trial, corpus_of
from study.space.relevant import OF_CLASSIFIER
from study.space.spec import Generated, StudySpec
from study.store.briefs import Brief, all_brief
from study.store.record import Record
from study.store.store import content_key
from study.toyworld.world import find_world

# of the quickstart's records, 2026-11-20
RECORD_BYTES = 2200  # bytes: settings, identity, test values, run
POINT = {False: 212, True: 277}  # bytes of an evaluation: without and with a masking task
# of texts of ACL-ARC, Ohsumed and IMDb under max_length 128: 13.8, 16.4 and 17.2; the text itself is among them
SCORED_TOKEN = 17  # bytes of a scored token in its Parquet file
# of the quickstart's and two smaller studies' mlflow.db, tables of the empty database included
DATABASE, RUN, RUN_POINT = 980_000, 17_000, 2_000  # bytes: empty, of a seed run, of an evaluation


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes of the whole study when all of it is done, at most; a part is None if it cannot be told."""

    records: int
    scores: int | None
    mlflow: int
    models: int | None  # 0 where none are kept
    importance: int | None = 0  # classifiers, scoring networks, and a number per token
    adapted: int | None = 0  # weights after masked-LM training: those of all, or of the trainings under way
    basis: str  # in words

    @property
    def total(self) -> int:
        """Of the parts that are known."""
        parts = self.records, self.scores, self.mlflow, self.models, self.importance, self.adapted
        return sum(part or 0 for part in parts)


def disk_space(
    spec: StudySpec,
    trials: Sequence[Trial],
    records: Iterable[Record | Brief],
    sizes: Mapping[str, DataSize],
) -> Disk:
    """Room of all `trials`, done or not. `records`: finished ones, which say how many evaluations there are."""
    points = {record.key: record.points for record in all_brief(records)}
    made, evaluations, vague = 0, 0, 0
    seen: dict[tuple[Any, ...], int | None] = {}
    for trial in trials:
        size = sizes[trial.dataset]
        if (*trial.cell,) not in seen:
            seen[*trial.cell,] = training_size(trial, size).evaluations_at_most
        most, masks = seen[*trial.cell,], trial.arm.masks
        digits = 2 if (size.classes or 100) <= 10 else 3  # of a predicted class, with its comma
        for key in trial.keys.values():
            looks = points.get(key, most)
            vague += looks is None or size.test is None
            evaluations += looks or 0
            made += RECORD_BYTES + POINT[masks] * (looks or 0) + digits * (size.test or 0)
    count = sum(len(trial.keys) for trial in trials)
    scores = _scores(trials, sizes)
    models = _models(spec, trials) if spec.resources.save_models else 0
    importance, adapted = _importance(spec, trials, sizes), _adapted(spec, trials)
    notes = ["at most, by sizes measured per record, evaluation and token"]
    notes += [f"{vague} records of unknown length"] if vague else []
    notes += ["scores of unknown length"] if scores is None else []
    notes += ["models of unknown size"] if None in (models, importance, adapted) else []
    return Disk(
        records=made,
        scores=scores,
        mlflow=DATABASE + RUN * count + RUN_POINT * evaluations,
        models=models,
        importance=importance,
        adapted=adapted,
        basis="; ".join(notes),
    )


def _scores(trials: Iterable[Trial], sizes: Mapping[str, DataSize]) -> int | None:
    """All score folders: one for each encoder, dataset and way of scoring."""
    held: dict[int, str] = {}
    folders: dict[tuple[str, str, str], int | None] = {}
    for trial in trials:
        if trial.arm.needs_scores:
            how = held.get(id(trial.settings))
            if how is None:
                how = held[id(trial.settings)] = content_key([trial.settings["scoring"], trial.settings["precision"]])
            texts, length = sizes[trial.dataset].mlm, trial.settings["scoring"]["max_length"]
            folders[trial.encoder, trial.dataset, how] = None if texts is None else texts * length * SCORED_TOKEN
    known = [size for size in folders.values() if size is not None]
    return None if len(known) < len(folders) else sum(known)


def shared_work(trials: Iterable[Trial]) -> dict[str, int]:
    """What trials share, by kind: how many of each are made once for all of them."""
    found: dict[str, set[str]] = {}
    cells: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in trials:
        cells.setdefault((*trial.cell,), []).append(trial)
    for trial, *others in cells.values():  # they differ in the seed alone
        settings, place = trial.settings, [trial.encoder, trial.dataset]
        corpus = corpus_of(trial.arm, settings)
        for stage in trial.arm.stages:
            needs = trial.arm.needs_of(stage)
            texts = [place, corpus if isinstance(stage, Adapt) and stage.text != "task" else None]
            if needs & {LIKELIHOOD, ENTROPY}:
                how = [settings["scoring"], settings["precision"], ENTROPY in trial.arm.needs]
                found.setdefault("scores", set()).add(content_key([texts, how]))
            if IMPORTANCE in needs:
                how = [settings[name] for name in (*OF_CLASSIFIER, "precision")]
                how.append({name: value for name, value in settings["selective"].items() if name != "max_rate"})
                found.setdefault("importance", set()).add(content_key([texts, how]))
        if trial.arm.adapts:
            read = [settings[name] for name in ("adapt", "masking") if name in settings]
            stages = [stage.policy for stage in trial.arm.adapts]
            key = content_key([place, stages, read])
            found.setdefault("adapted encoders", set()).update(f"{key}-{one.seed}" for one in (trial, *others))
    return {kind: len(keys) for kind, keys in found.items()}


def _importance(spec: StudySpec, trials: Sequence[Trial], sizes: Mapping[str, DataSize]) -> int | None:
    """A classifier for each encoder and dataset, a scoring network where one is trained, and a number per token."""
    total = 0
    for encoder, dataset, network, length in dict.fromkeys(
        (t.encoder, t.dataset, t.settings["selective"]["network"], t.settings["scoring"]["max_length"])
        for t in trials
        if t.arm.needs_importance
    ):
        revision = next(trial.revision for trial in trials if trial.encoder == encoder)
        size, texts = encoder_bytes(spec.encoders[encoder], revision), sizes[dataset].train
        if size is None or texts is None:
            return None
        total += size * (1 + network) + texts * length * SCORED_TOKEN
    return total


def _adapted(spec: StudySpec, trials: Sequence[Trial]) -> int | None:
    """Weights after masked-LM training: of each training where they are kept, else of one for each slot of a CPU."""
    own = [trial for trial in trials if trial.arm.adapts]
    count = len(own) if spec.resources.keep_adapted else min(len(own), spec.resources.workers or os.cpu_count() or 1)
    largest = 0
    for name in dict.fromkeys(trial.encoder for trial in own):
        size = encoder_bytes(spec.encoders[name], next(t.revision for t in own if t.encoder == name))
        if size is None:
            return None
        largest = max(largest, size)
    return count * largest


def _models(spec: StudySpec, trials: Sequence[Trial]) -> int | None:
    """A model per record, each as large as its encoder; None if one is not available."""
    total = 0
    for name in dict.fromkeys(trial.encoder for trial in trials):
        own = [trial for trial in trials if trial.encoder == name]
        size = encoder_bytes(spec.encoders[name], own[0].revision)
        if size is None:
            return None
        total += size * sum(len(trial.keys) for trial in own)
    return total


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
