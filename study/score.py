"""Scores of a dataset's texts on disk, and the workers that make them.

A job's texts are cut into shards by the texts alone, never by the number of workers. Each shard becomes one Parquet
part, written whole by the worker that scored it and named by its content; the manifest is written last, and a score
folder without one is unfinished. What is there already is never scored again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from l3masking.data.table import TextData
from l3masking.errors import EnvironmentFault
from l3masking.precision import Precision
from l3masking.scoring.scoring import TokenScores, score_texts
from l3masking.scoring.settings import TOKEN_BUDGETS, ScoringConfig
from study.gpu import limit_share
from study.plan.inputs import DataSource, EncoderSource, held_data, held_encoder
from study.space.spec import Resources, plain
from study.store.places import Place, fetched, put
from study.store.record import MadeWith, ScoreManifest
from study.store.whole_files import canonical, content_key

SCORE_SCHEMA = 1  # of a score folder; part of its key. Another cut into shards needs another number
SHARD_TEXTS = 64  # distinct texts in a shard: seconds to minutes of work, and the most that a killed worker loses
PART_NAME = re.compile(r"part-(\d{5})-([0-9a-f]{32})\.parquet")
RESTARTS = 3  # of a scoring worker that died, and so often is a shard tried again
SCORE_COLUMNS = ("input_ids", "positions", "words", "log_likelihood")


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """The masked-LM texts of one dataset, to be scored by one encoder under one setting."""

    encoder: EncoderSource
    data: DataSource
    scoring: ScoringConfig
    precision: Precision

    @property
    def key(self) -> str:
        """Everything that may change a score; two studies may share a folder of scores."""
        return content_key(
            {
                "schema": SCORE_SCHEMA,
                "revision": self.encoder.revision,
                "data_hash": self.data.data_hash,
                "scoring": plain(self.scoring),
                "precision": self.precision,
            }
        )


class Shard(NamedTuple):
    """A part of a job's work."""

    number: int
    texts: tuple[str, ...]


class Done(NamedTuple):
    """What a worker says of a finished shard."""

    number: int
    tokens: int
    seconds: float


def shards(data: TextData) -> list[Shard]:
    """The distinct texts, longest first, cut into shards: the costly ones come first and fill the workers."""
    ordered = sorted(dict.fromkeys(data.mlm_texts), key=lambda text: (-len(text), text))
    parts = [tuple(ordered[start : start + SHARD_TEXTS]) for start in range(0, len(ordered), SHARD_TEXTS)]
    return [Shard(number, texts) for number, texts in enumerate(parts)]


class ScoringWorker:
    """Scores shards of one job and writes their parts. A plain class: Ray makes actors of it, a serial run calls it."""

    def __init__(self, job: ScoreJob, place: Place, resources: Resources) -> None:
        torch.set_num_threads(resources.threads)
        limit_share(resources.gpu)
        self.job, self.place, self.resources = job, place, resources

    def score(self, shard: Shard) -> Done:
        """Score one shard and write its part."""
        started = time.perf_counter()
        scores = score_texts(
            held_encoder(self.job.encoder, self.resources.device),
            shard.texts,
            self.job.scoring,
            precision=self.job.precision,
            token_budget=self.resources.token_budget,
        )
        content = part_bytes(shard.texts, scores)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        put(self.place, f"part-{shard.number:05d}-{digest}.parquet", content)
        tokens = sum(len(score.positions) for score in scores)
        return Done(shard.number, tokens, time.perf_counter() - started)


def part_bytes(texts: Sequence[str], scores: Sequence[TokenScores]) -> bytes:
    """One Parquet file: a row per text with its ids, eligible positions, word numbers and log-likelihoods."""
    columns = {name: [getattr(score, name) for score in scores] for name in SCORE_COLUMNS}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts), **columns}), buffer)
    return buffer.getvalue()


def score_job(
    job: ScoreJob,
    place: Place,
    resources: Resources,
    execute: Callable[[ScoreJob, Place, Resources, Sequence[Shard]], Iterable[Done]],
    report: Callable[[str, int, int], None],
) -> None:
    """Score what is missing of a job at `place`, a folder or a URL.

    `execute`: runs shards and yields what is done; `report`: (name, done, all).
    """
    wanted = shards(held_data(job.data))
    name = f"{job.encoder.name} on {job.data.name}"
    folder = fetched(place)
    found = dict(parts(folder))
    missing = [shard for shard in wanted if shard.number not in found]
    for finished, _ in enumerate(execute(job, place, resources, missing), len(wanted) - len(missing) + 1):
        report(name, finished, len(wanted))
    found |= dict(parts(fetched(place))) if missing else {}
    lost = [shard.number for shard in wanted if shard.number not in found]
    if lost:
        raise EnvironmentFault(
            f"{place}: {len(lost)} of {len(wanted)} scored parts are not here; where nodes have a folder each of this "
            "name, give --out a folder that all of them share, or a URL"
        )
    for path in set(folder.glob("part-*.parquet")) - set(found.values()):
        path.unlink()  # damaged, or of another cut
    names = [found[shard.number].name for shard in wanted]
    manifest = _manifest(folder)
    if missing or manifest is None or manifest["parts"] != names:
        budget = resources.token_budget or TOKEN_BUDGETS[resources.device]
        made: MadeWith = {"token_budget": budget, "gpu": resources.gpu, "threads": resources.threads}
        manifest = {"key": job.key, "parts": names, "scoring": plain(job.scoring), "made_with": made}
        put(place, "manifest.json", canonical(manifest))


def execute_serially(job: ScoreJob, place: Place, resources: Resources, missing: Sequence[Shard]) -> Iterator[Done]:
    """One shard after the other, in this process."""
    if missing:
        worker = ScoringWorker(job, place, resources)
        yield from map(worker.score, missing)


def execute_on_ray(job: ScoreJob, place: Place, resources: Resources, missing: Sequence[Shard]) -> Iterator[Done]:
    """One actor per GPU share or CPU slot, two shards in flight each. Actors that die are restarted, shards retried."""
    import ray

    if not missing:
        return
    options = {"num_cpus": resources.cpu, "num_gpus": resources.gpu}
    options |= {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
    count = min(worker_slots(resources), len(missing))
    actors = [ray.remote(ScoringWorker).options(**options).remote(job, place, resources) for _ in range(count)]
    waiting = list(missing)
    running = {}
    for actor in actors * 2:
        if waiting:
            running[actor.score.remote(waiting.pop(0))] = actor
    while running:
        ready, _ = ray.wait(list(running), num_returns=1)
        actor = running.pop(ready[0])
        try:
            done = ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:  # what the worker raised; Ray's own text is the whole traceback
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            raise EnvironmentFault(
                f"scoring {job.encoder.name} on {job.data.name}: a worker died {RESTARTS + 1} times (out of memory, or "
                "killed): lower resources.workers or resources.token_budget; what is scored stays"
            ) from error
        if waiting:
            running[actor.score.remote(waiting.pop(0))] = actor
        yield done
    for actor in actors:
        ray.kill(actor)


def worker_slots(resources: Resources) -> int:
    """How many workers or trials of this size the Ray cluster holds at a time. EnvironmentFault where none fits."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = sum(
        min(
            int(node.get("CPU", 0) // resources.cpu),
            int(node.get("GPU", 0) // resources.gpu) if resources.gpu else sys.maxsize,
        )
        for node in nodes
    )
    if fits < 1:
        held = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise EnvironmentFault(
            f"resources: no node holds cpu {resources.cpu:g} and gpu {resources.gpu:g} (there: {held}): ask for less"
        )
    return min(fits, resources.workers or fits)


def parts(folder: Path) -> Iterator[tuple[int, Path]]:
    """The parts of a folder whose content is what their name says; others count as not there."""
    for path in sorted(folder.glob("part-*.parquet")):
        match = PART_NAME.fullmatch(path.name)
        if match and hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() == match[2]:
            yield int(match[1]), path


def _manifest(folder: Path) -> ScoreManifest | None:
    """The manifest of a folder; None if it is missing or damaged."""
    try:
        value = json.loads((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(value, dict) and isinstance(value.get("parts"), list)
    return cast(ScoreManifest, value) if whole else None


def read_scores(folder: Path, texts: Sequence[str]) -> list[TokenScores]:
    """Scores of `texts`, one each, from a finished folder. FileNotFoundError where it is unfinished or damaged."""
    manifest = _manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder} holds no finished scores: run the study again to finish them")
    by_text: dict[str, TokenScores] = {}
    found = {path.name: path for _, path in parts(folder)}
    for name in manifest["parts"]:
        if name not in found:
            raise FileNotFoundError(f"{folder / name} is missing or damaged: run the study again to score it again")
        table = pq.read_table(found[name])
        columns = [table.column(column).to_pylist() for column in SCORE_COLUMNS]
        for text, ids, positions, words, values in zip(table.column("text").to_pylist(), *columns, strict=True):
            by_text[text] = TokenScores(
                input_ids=np.asarray(ids, dtype=np.int64),
                positions=np.asarray(positions, dtype=np.int64),
                words=np.asarray(words, dtype=np.int64),
                log_likelihood=np.asarray(values, dtype=np.float32),
            )
    return [by_text[text] for text in texts]
