"""Importance of tokens as artefacts: a classifier, what the heuristic finds with it, a scoring network, what that says.

Each is a job that reads the one before. All lie in importance/<key>/ of the study.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from l3masking.data.pairs import Text, as_text, num_characters, parts_of
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import packed, unpacked
from l3masking.methods import CLASSIFIER
from l3masking.regimes import run_method
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as
from l3masking.selective.classifier import Classifier, importance_of
from l3masking.selective.network import predict, train_network
from l3masking.selective.settings import SelectiveConfig
from l3masking.training.checkpoint import OnlyTells
from l3masking.training.settings import FinetuneConfig
from study.artefacts import Artefact, Piece, Shard, Step, finished_parts
from study.plan.inputs import DataSource, EncoderSource, held_data, held_encoder
from study.plan.needs import OF_HEURISTIC, of_network
from study.score import TextSources, count_shards, cut_texts, parquet
from study.space.relevant import as_keyed
from study.space.spec import Resources, plain
from study.store.whole_files import content_key

SCHEMA_OF_IMPORTANCE = 1  # of these folders; part of every key
SHARD_TEXTS_LABELLED = 128  # labelled texts in a shard: enough units for full batches


class OfImportance(ABC):
    """What these jobs have in common."""

    room: ClassVar[str] = "importance"
    may_fail: ClassVar[bool] = True
    kind: ClassVar[str]

    @abstractmethod
    def own(self) -> dict[str, Any]:
        """All that may change the result; of other jobs that it needs, their keys."""

    @property
    def key(self) -> str:
        """The hash of all that may change the result."""
        return content_key({"schema": SCHEMA_OF_IMPORTANCE, "kind": self.kind, **self.own()})

    def facts(self, resources: Resources) -> dict[str, Any]:
        """What the manifest says beside the parts."""
        return {"kind": self.kind}


class OnePiece(OfImportance):
    """A job whose work is one shard."""

    def num_shards(self) -> int:
        return 1

    def shards(self, numbers: Sequence[int]) -> Iterator[Shard]:
        return (Shard(number, ()) for number in numbers)


@dataclass(frozen=True, kw_only=True)
class ClassifierJob(OnePiece):
    """Plain fine-tuning with a seed of its own: the classifier that the heuristic asks."""

    encoder: EncoderSource
    data: DataSource
    scoring: ScoringConfig
    finetune: FinetuneConfig
    seed: int

    suffix: ClassVar[str] = "safetensors"
    kind: ClassVar[str] = "classifier"

    def own(self) -> dict[str, Any]:
        return {
            "revision": self.encoder.revision,
            "data_hash": self.data.data_hash,
            "scoring": {"max_length": self.scoring.max_length, "whitespace": self.scoring.whitespace},
            "finetune": {name: value for name, value in as_keyed(plain(self.finetune)).items() if name != "meta"},
            "seed": self.seed,
        }

    @property
    def name(self) -> str:
        return f"classifier of {self.encoder.name} on {self.data.name}"

    def needs(self) -> Sequence[Artefact]:
        return ()

    def loaded(self, device: str) -> Encoder:
        """The encoder, with the pass that fine-tuning takes; all that is made from the classifier takes it too."""
        return held_encoder(self.encoder, device).through(self.finetune.model.forward)

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path], step: Step) -> Piece:
        """Train it, and keep the weights with the best validation accuracy. Its epochs are passes over train."""
        data = held_data(self.data)
        outcomes, _ = run_method(
            CLASSIFIER,
            self.loaded(resources.device),
            dataclasses.replace(data, mlm_texts=data.train.texts),
            scoring=self.scoring,
            config=self.finetune,
            seed=self.seed,
            objectives=("accuracy",),
            with_test=False,
            keeper=OnlyTells(step),
        )
        return Piece(packed(outcomes["accuracy"].weights), 0)

    def facts(self, resources: Resources) -> dict[str, Any]:
        return super().facts(resources) | {"seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class HeuristicJob(OfImportance):
    """Importance of the tokens of the training texts, by the sequential heuristic."""

    classifier: ClassifierJob
    selective: SelectiveConfig

    suffix: ClassVar[str] = "parquet"
    kind: ClassVar[str] = "heuristic"

    def own(self) -> dict[str, Any]:
        return {"of": self.classifier.key} | {name: getattr(self.selective, name) for name in OF_HEURISTIC}

    @property
    def name(self) -> str:
        return f"important tokens for {self.classifier.encoder.name} on {self.classifier.data.name}"

    def needs(self) -> Sequence[Artefact]:
        return (self.classifier,)

    def _labelled(self) -> list[tuple[Text, int]]:
        """The distinct labelled texts, longest first."""
        train = held_data(self.classifier.data).train
        labelled = dict.fromkeys(zip(train.texts, train.labels, strict=True))
        return sorted(labelled, key=lambda one: (-num_characters(one[0]), parts_of(one[0]), one[1]))

    def num_shards(self) -> int:
        return -(-len(self._labelled()) // SHARD_TEXTS_LABELLED)

    def shards(self, numbers: Sequence[int]) -> Iterator[Shard]:
        labelled, size = self._labelled(), SHARD_TEXTS_LABELLED
        for number in numbers:
            yield Shard(number, tuple(labelled[number * size : (number + 1) * size]))

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path], step: Step) -> Piece:
        """Test the tokens of some labelled texts."""
        source = self.classifier
        classifier = held_classifier(source, folders[source.key], resources.device, resources.token_budget)
        texts, labels = [text for text, _ in shard.content], [label for _, label in shard.content]
        encoded = encode_as(source.scoring, classifier.model.encoder.tokenizer, texts)
        found = importance_of(classifier, encoded, labels, self.selective, lambda units: step())
        columns = {
            "text": texts,
            "label": labels,
            "input_ids": [text.input_ids for text in encoded],
            "important": [one.important for one in found],
            "gain": [one.gain for one in found],
            "tested": [one.tested for one in found],
            "units": [one.units for one in found],
        }
        return Piece(parquet(columns), sum(len(text.positions) for text in encoded))

    def facts(self, resources: Resources) -> dict[str, Any]:
        return super().facts(resources) | {"selective": plain(self.selective)}


@dataclass(frozen=True, kw_only=True)
class NetworkJob(OnePiece):
    """The scoring network, trained on what the heuristic found."""

    heuristic: HeuristicJob

    suffix: ClassVar[str] = "safetensors"
    kind: ClassVar[str] = "network"

    def own(self) -> dict[str, Any]:
        return {"of": self.heuristic.key} | of_network(plain(self.heuristic.selective))

    @property
    def name(self) -> str:
        source = self.heuristic.classifier
        return f"scoring network of {source.encoder.name} on {source.data.name}"

    def needs(self) -> Sequence[Artefact]:
        return (self.heuristic,)

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path], step: Step) -> Piece:
        """Train it on all labelled texts."""
        source, found = self.heuristic.classifier, read_heuristic(folders[self.heuristic.key])
        encoder, train = source.loaded(resources.device), held_data(source.data).train
        texts = list(dict.fromkeys(zip(train.texts, train.labels, strict=True)))  # in the order of the file
        network = train_network(
            encoder,
            encode_as(source.scoring, encoder.tokenizer, [text for text, _ in texts]),
            [found[pair].important for pair in texts],
            self.heuristic.selective,
            seed=source.seed,
            precision=source.finetune.precision,
            progress=step,
        )
        return Piece(packed(network.weights, {"epoch": str(network.epoch), "f1": repr(network.f1)}), 0)


@dataclass(frozen=True, kw_only=True)
class PredictionJob(OfImportance):
    """What the scoring network says of the tokens of texts without labels."""

    network: NetworkJob
    texts: TextSources

    suffix: ClassVar[str] = "parquet"
    kind: ClassVar[str] = "prediction"

    def own(self) -> dict[str, Any]:
        return {"of": self.network.key, "texts": self.texts.content_hash}

    @property
    def name(self) -> str:
        return f"importance of {self.texts.name} for {self.network.heuristic.classifier.data.name}"

    def needs(self) -> Sequence[Artefact]:
        return (self.network,)

    def num_shards(self) -> int:
        return count_shards(self.texts)

    def shards(self, numbers: Sequence[int]) -> Iterator[Shard]:
        return cut_texts(self.texts, numbers)

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path], step: Step) -> Piece:
        """Ask the network about some texts."""
        source, folder = self.network.heuristic.classifier, folders[self.network.key]
        encoder, weights = source.loaded(resources.device), unpacked(finished_parts(folder)[0].read_bytes())
        encoded = encode_as(source.scoring, encoder.tokenizer, shard.content)
        precision, budget = source.finetune.precision, resources.token_budget
        chances = predict(encoder, weights, encoded, precision=precision, token_budget=budget, progress=step)
        columns = {
            "text": list(shard.content),
            "input_ids": [text.input_ids for text in encoded],
            "importance": list(chances),
        }
        return Piece(parquet(columns), sum(len(text.positions) for text in encoded))

    def facts(self, resources: Resources) -> dict[str, Any]:
        return super().facts(resources) | {"texts": self.texts.name}


class Found(NamedTuple):
    """What the heuristic found in one labelled text with n eligible tokens."""

    important: NDArray[np.bool_]  # [n]
    gain: NDArray[np.float32]  # [n] in [0, 1]


@lru_cache(maxsize=1)
def held_classifier(job: ClassifierJob, folder: Path, device: str, token_budget: int | None) -> Classifier:
    """A finished classifier; the last one stays in memory."""
    weights = unpacked(finished_parts(folder)[0].read_bytes())
    return Classifier(
        job.loaded(device),
        weights,
        len(held_data(job.data).labels),
        precision=job.finetune.precision,
        token_budget=token_budget,
    )


def read_heuristic(folder: Path) -> dict[tuple[Text, int], Found]:
    """What was found, by text and label. FileNotFoundError where it is unfinished or damaged."""
    found: dict[tuple[Text, int], Found] = {}
    for path in finished_parts(folder):
        table = pq.read_table(path, columns=["text", "label", "important", "gain"]).to_pydict()
        for text, label, important, gain in zip(*table.values(), strict=True):
            found[as_text(text), label] = Found(np.asarray(important, dtype=bool), np.asarray(gain, dtype=np.float32))
    return found


def stream_predictions(folder: Path) -> Iterator[tuple[Text, NDArray[np.float32]]]:
    """(text, importance [n]) in the order of the job's shards, a part at a time."""
    for path in finished_parts(folder):
        table = pq.read_table(path, columns=["text", "importance"]).to_pydict()
        for text, values in zip(*table.values(), strict=True):
            yield as_text(text), np.asarray(values, dtype=np.float32)
