"""Scores of a dataset's texts: the job that makes them, and how they are read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3masking.data.pairs import Text, as_text, num_characters, parts_of
from l3masking.encoders.families import family_of
from l3masking.encoders.hub import read_facts
from l3masking.precision import Precision
from l3masking.scoring.settings import MOST_TOKENS, ScoringConfig
from study.artefacts import Artefact, Piece, Shard, Step, finished_parts
from study.plan.inputs import CorpusSource, DataSource, EncoderSource, concrete_encoder, held_data, held_encoder
from study.plan.needs import score_key
from study.plan.united import UnitedSource
from study.space.spec import Resources, plain
from study.store.places import Place, fetched
from study.store.record import MadeWith

if TYPE_CHECKING:
    from l3masking.scoring.scoring import TokenScores

CORPUS_SHARD = 1024  # units of a corpus in a shard
TextSources = DataSource | CorpusSource  # what has texts to be masked
ScoredSources = TextSources | UnitedSource  # what has texts to be scored
SHARD_TEXTS = 64  # distinct texts in a shard: seconds to minutes of work, and the most that a killed worker loses
SCORE_COLUMNS = ("input_ids", "positions", "words", "log_likelihood")


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """The masked-LM texts of one dataset or a corpus, to be scored by one encoder under one setting."""

    encoder: EncoderSource
    data: ScoredSources
    scoring: ScoringConfig
    precision: Precision
    entropy: bool = False  # whether the entropy of each prediction is kept too

    room: ClassVar[str] = "scores"
    suffix: ClassVar[str] = "parquet"
    may_fail: ClassVar[bool] = False  # what cannot be scored is wrong for every arm

    @property
    def key(self) -> str:
        """Everything that may change a score; two studies may share a folder of scores."""
        how = plain(self.scoring)
        return score_key(self.encoder.revision, self.data.content_hash, how, self.precision, entropy=self.entropy)

    @property
    def name(self) -> str:
        return f"scoring {self.encoder.name} on {self.data.name}"

    def needs(self) -> Sequence[Artefact]:
        return ()

    def num_shards(self) -> int:
        return count_shards(self.data)

    def shards(self, numbers: Sequence[int]) -> Iterator[Shard]:
        return cut_texts(self.data, numbers)

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path], step: Step) -> Piece:
        """Score the texts of one shard."""
        from l3masking.scoring.scoring import score_texts  # torch, which a driver does not need

        scores = score_texts(
            held_encoder(self.encoder, resources.device),
            shard.content,
            self.scoring,
            precision=self.precision,
            token_budget=resources.token_budget,
            entropy=self.entropy,
            progress=lambda tokens: step(),
        )
        return Piece(part_bytes(shard.content, scores), sum(len(score.positions) for score in scores))

    def facts(self, resources: Resources) -> dict[str, Any]:
        budget = resources.token_budget or MOST_TOKENS[resources.device]
        made: MadeWith = {"token_budget": budget, "gpu": resources.num_gpus, "threads": resources.threads}
        model_type = read_facts(concrete_encoder(self.encoder.spec), self.encoder.revision).model_type
        scoring_pass = family_of(model_type).scoring_pass
        return {"scoring": plain(self.scoring), "scoring_pass": scoring_pass, "made_with": made}


def count_shards(source: ScoredSources) -> int:
    """Shards of the texts of a source."""
    if isinstance(source, CorpusSource):
        return -(-source.units // CORPUS_SHARD)
    return -(-len(distinct_texts(source)) // SHARD_TEXTS)


def cut_texts(source: ScoredSources, numbers: Sequence[int]) -> Iterator[Shard]:
    """Some shards of the texts of a source, in order. A corpus is streamed, in its own order."""
    if isinstance(source, CorpusSource):
        wanted = set(numbers)
        for number, part in enumerate(batched(source.read(), CORPUS_SHARD)):
            if number in wanted:
                yield Shard(number, part)
        return
    texts = distinct_texts(source)
    for number in numbers:
        yield Shard(number, tuple(texts[number * SHARD_TEXTS : (number + 1) * SHARD_TEXTS]))


def batched(texts: Iterable[Text], size: int) -> Iterator[tuple[Text, ...]]:
    """Texts in groups of `size`, the last one smaller."""
    stream = iter(texts)
    while part := tuple(islice(stream, size)):
        yield part


def distinct_texts(source: DataSource | UnitedSource) -> list[Text]:
    """The distinct masked-LM texts, longest first: the costly ones come first and fill the workers."""
    texts = source.texts() if isinstance(source, UnitedSource) else held_data(source).mlm_texts
    return sorted(dict.fromkeys(texts), key=lambda text: (-num_characters(text), parts_of(text)))


def part_bytes(texts: Sequence[Text], scores: Sequence[TokenScores]) -> bytes:
    """One Parquet file: a row per text with its ids, eligible positions, word numbers and log-likelihoods."""
    names = SCORE_COLUMNS if all(score.entropy is None for score in scores) else (*SCORE_COLUMNS, "entropy")
    columns = {name: [getattr(score, name) for score in scores] for name in names}
    return parquet({"text": list(texts), **columns})


def parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """One Parquet file of some columns."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    return buffer.getvalue()


def read_scores(folder: Path, texts: Sequence[Text]) -> list[TokenScores]:
    """Scores of `texts`, one each, from a finished folder. FileNotFoundError where it is unfinished or damaged."""
    by_text = dict(_scored_texts(folder))
    return [by_text[text] for text in texts]


@lru_cache(maxsize=1)
def held_scores(place: Place, data: DataSource) -> list[TokenScores]:
    """Scores of a dataset's masked-LM texts; the last ones stay in memory."""
    return read_scores(fetched(place), held_data(data).mlm_texts)


def stream_scores(folder: Path) -> Iterator[TokenScores]:
    """Scores of all texts of a finished folder, in the order of its shards, a part at a time."""
    return (scores for _, scores in _scored_texts(folder))


def _scored_texts(folder: Path) -> Iterator[tuple[Text, TokenScores]]:
    from l3masking.scoring.scoring import TokenScores

    for path in finished_parts(folder):
        table = pq.read_table(path)
        columns = [table.column(column).to_pylist() for column in SCORE_COLUMNS]
        entropies = table.column("entropy").to_pylist() if "entropy" in table.column_names else [None] * len(table)
        texts = table.column("text").to_pylist()
        for text, entropy, ids, positions, words, values in zip(texts, entropies, *columns, strict=True):
            yield (
                as_text(text),
                TokenScores(
                    input_ids=np.asarray(ids, dtype=np.int64),
                    positions=np.asarray(positions, dtype=np.int64),
                    words=np.asarray(words, dtype=np.int64),
                    log_likelihood=np.asarray(values, dtype=np.float32),
                    entropy=None if entropy is None else np.asarray(entropy, dtype=np.float32),
                ),
            )
