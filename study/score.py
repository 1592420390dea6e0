"""Scores of a dataset's texts: the job that makes them, and how they are read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3masking.data.table import TextData
from l3masking.precision import Precision
from l3masking.scoring.scoring import TokenScores, score_texts
from l3masking.scoring.settings import TOKEN_BUDGETS, ScoringConfig
from study.artefacts import Job, Piece, Shard, finished_parts
from study.plan.inputs import DataSource, EncoderSource, held_data, held_encoder
from study.space.spec import Resources, plain
from study.store.record import MadeWith
from study.store.whole_files import content_key

SCORE_SCHEMA = 1  # of a score folder; part of its key. Another cut into shards needs another number
SHARD_TEXTS = 64  # distinct texts in a shard: seconds to minutes of work, and the most that a killed worker loses
SCORE_COLUMNS = ("input_ids", "positions", "words", "log_likelihood")


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """The masked-LM texts of one dataset, to be scored by one encoder under one setting."""

    encoder: EncoderSource
    data: DataSource
    scoring: ScoringConfig
    precision: Precision
    entropy: bool = False  # whether the entropy of each prediction is kept too

    room = "scores"
    suffix = "parquet"

    @property
    def key(self) -> str:
        """Everything that may change a score; two studies may share a folder of scores."""
        identity = {
            "schema": SCORE_SCHEMA,
            "revision": self.encoder.revision,
            "data_hash": self.data.data_hash,
            "scoring": plain(self.scoring),
            "precision": self.precision,
        }
        return content_key(identity | ({"entropy": True} if self.entropy else {}))

    @property
    def name(self) -> str:
        return f"scoring {self.encoder.name} on {self.data.name}"

    def needs(self) -> Sequence[Job]:
        return ()

    def shards(self) -> list[Shard]:
        return shards(held_data(self.data))

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path]) -> Piece:
        """Score the texts of one shard."""
        scores = score_texts(
            held_encoder(self.encoder, resources.device),
            shard.content,
            self.scoring,
            precision=self.precision,
            token_budget=resources.token_budget,
            entropy=self.entropy,
        )
        return Piece(part_bytes(shard.content, scores), sum(len(score.positions) for score in scores))

    def facts(self, resources: Resources) -> dict[str, Any]:
        budget = resources.token_budget or TOKEN_BUDGETS[resources.device]
        made: MadeWith = {"token_budget": budget, "gpu": resources.gpu, "threads": resources.threads}
        return {"scoring": plain(self.scoring), "made_with": made}


def shards(data: TextData) -> list[Shard]:
    """The distinct texts, longest first, cut into shards: the costly ones come first and fill the workers."""
    ordered = sorted(dict.fromkeys(data.mlm_texts), key=lambda text: (-len(text), text))
    parts = [tuple(ordered[start : start + SHARD_TEXTS]) for start in range(0, len(ordered), SHARD_TEXTS)]
    return [Shard(number, texts) for number, texts in enumerate(parts)]


def part_bytes(texts: Sequence[str], scores: Sequence[TokenScores]) -> bytes:
    """One Parquet file: a row per text with its ids, eligible positions, word numbers and log-likelihoods."""
    names = SCORE_COLUMNS if all(score.entropy is None for score in scores) else (*SCORE_COLUMNS, "entropy")
    columns = {name: [getattr(score, name) for score in scores] for name in names}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts), **columns}), buffer)
    return buffer.getvalue()


def read_scores(folder: Path, texts: Sequence[str]) -> list[TokenScores]:
    """Scores of `texts`, one each, from a finished folder. FileNotFoundError where it is unfinished or damaged."""
    by_text: dict[str, TokenScores] = {}
    for path in finished_parts(folder):
        table = pq.read_table(path)
        columns = [table.column(column).to_pylist() for column in SCORE_COLUMNS]
        entropies = table.column("entropy").to_pylist() if "entropy" in table.column_names else [None] * len(table)
        texts_here = table.column("text").to_pylist()
        for text, entropy, ids, positions, words, values in zip(texts_here, entropies, *columns, strict=True):
            by_text[text] = TokenScores(
                input_ids=np.asarray(ids, dtype=np.int64),
                positions=np.asarray(positions, dtype=np.int64),
                words=np.asarray(words, dtype=np.int64),
                log_likelihood=np.asarray(values, dtype=np.float32),
                entropy=None if entropy is None else np.asarray(entropy, dtype=np.float32),
            )
    return [by_text[text] for text in texts]
