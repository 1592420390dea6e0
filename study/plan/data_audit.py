"""The audit of a study's datasets: made where they are loaded, and kept in the study's folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from l3masking.data.audit import Looked, TokenLengths, audit, token_lengths
from l3masking.data.pairs import Text
from l3masking.data.table import TextData, load_data
from l3masking.data.textdata import SPLITS
from l3masking.encoders.hub import load_tokenizer, resolve_revision
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import EnvironmentFault, InputError
from l3masking.scoring.settings import Whitespace
from study.plan.inputs import advised, concrete_data, concrete_encoder, evaluation_hashes, is_made
from study.space.spec import StudySpec
from study.store.data_facts import FACTS_SCHEMA, DataFacts, SplitFacts, Tokenized, read_facts, write_facts

NOT_MADE = "its generated texts are not on this machine; a run makes them"


@dataclass(frozen=True, kw_only=True)
class IdCounter:
    """Counts the ids of texts by the tokenizer of an encoder, which is loaded when something is counted."""

    spec: EncoderSpec
    revision: str
    max_length: int
    whitespace: Whitespace
    offline: bool

    @property
    def how(self) -> Tokenized:
        """All that its counts depend on."""
        return Tokenized(revision=self.revision, max_length=self.max_length, whitespace=self.whitespace)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.spec, self.revision, offline=self.offline)

    def lengths(self, texts: Sequence[Text]) -> TokenLengths:
        """Of the texts of a split. InputError or EnvironmentFault where the tokenizer cannot be had."""
        from l3masking.scoring.text_lengths import count_ids  # a run that has counted before needs none of it

        def count(chosen: Sequence[Text]) -> list[int]:
            return count_ids(self._tokenizer, chosen, whitespace=self.whitespace)

        return token_lengths(texts, count, self.max_length)


class Audited(NamedTuple):
    """A dataset as `audited` finds it."""

    name: str
    facts: DataFacts | None  # None: it is not available
    evaluations: Mapping[str, str]  # evaluation set -> its content hash
    fault: InputError | EnvironmentFault | None  # why it is not available


class FactsKeeper:
    """Looks at the datasets that a run loads, and writes what it has seen into the study's folder."""

    def __init__(self, root: Path, spec: StudySpec) -> None:
        self.root, self.spec = root, spec
        self._counters: dict[str, IdCounter] = {}
        self._found: dict[str, DataFacts] = {}  # by content hash: two names may stand for one content

    def look(self, data: TextData, encoders: Mapping[str, str]) -> None:
        """Audit one dataset. `encoders`: the revision of each encoder of the study."""
        for name, revision in encoders.items():
            if name not in self._counters:
                self._counters[name] = id_counter(self.spec, name, revision, offline=False)
        own = {name: self._counters[name] for name in encoders_of(self.spec, data.name) if name in self._counters}
        seen = self._found.get(data.content_hash)
        facts = facts_of(data, own, seen or read_facts(self.root, data.content_hash))
        if seen is not None:
            add_facts(seen, facts)
        self._found[data.content_hash] = seen or facts

    def write(self) -> None:
        """Write data/<content hash>.json of each dataset that was looked at."""
        for facts in self._found.values():
            write_facts(self.root, facts)


def audited(spec: StudySpec, names: Iterable[str]) -> Iterator[Audited]:
    """Audit datasets of a study without a network and without making anything, one after the other."""
    counters: dict[str, IdCounter] = {}
    for name in names:
        if not is_made(spec.datasets[name]):
            yield Audited(name, None, {}, EnvironmentFault(NOT_MADE))
            continue
        for encoder in encoders_of(spec, name):
            if encoder not in counters and is_made(spec.encoders[encoder]):
                with suppress(InputError, EnvironmentFault):
                    revision = resolve_revision(concrete_encoder(spec.encoders[encoder]), offline=True)
                    counters[encoder] = id_counter(spec, encoder, revision, offline=True)
        try:
            with advised():
                data = load_data(concrete_data(spec.datasets[name]), name=name, offline=True)
        except (InputError, EnvironmentFault) as fault:
            yield Audited(name, None, {}, fault)
            continue
        own = {encoder: counters[encoder] for encoder in encoders_of(spec, name) if encoder in counters}
        yield Audited(name, facts_of(data, own), evaluation_hashes(data), None)


def encoders_of(spec: StudySpec, dataset: str) -> list[str]:
    """The encoders that a study trains on a dataset."""
    return list(dict.fromkeys(pair.encoder for pair in spec.pairs if pair.dataset == dataset))


def id_counter(spec: StudySpec, name: str, revision: str, *, offline: bool) -> IdCounter:
    """The counter of an encoder under the study's own settings of scoring, which training reads too."""
    scoring = spec.variant(None).scoring
    return IdCounter(
        spec=concrete_encoder(spec.encoders[name]),
        revision=revision,
        max_length=scoring.max_length,
        whitespace=scoring.whitespace,
        offline=offline,
    )


def facts_of(data: TextData, counters: Mapping[str, IdCounter], known: DataFacts | None = None) -> DataFacts:
    """All that is kept of a dataset. An encoder whose tokenizer is not available is left out.

    `known`: facts of the same content, whose token counts are taken over where they were made alike.
    """
    found, hashes = audit(data), evaluation_hashes(data)
    splits = {part: _split_facts(found.splits[part], data.labels, getattr(data, part).labels) for part in SPLITS}
    splits["train"]["labels"] = []  # nobody is judged on them
    sets = {
        hashes[name]: _split_facts(found.evaluations[name], one.classes, one.labels)
        for name, one in data.evaluations.items()
    }
    facts = DataFacts(
        schema=FACTS_SCHEMA,
        data_hash=data.content_hash,
        pairs=found.pairs,
        overlap=dict(data.overlap),
        notes=list(data.notes),
        encoders={},
        splits=splits,
        evaluations=sets,
    )
    texts = [(splits[part], known and known["splits"][part], getattr(data, part).texts) for part in SPLITS]
    texts += [
        (sets[hashes[name]], known and known["evaluations"].get(hashes[name]), one.texts)
        for name, one in data.evaluations.items()
    ]
    for encoder, counter in counters.items():
        alike = known is not None and known["encoders"].get(encoder) == counter.how
        with suppress(InputError, EnvironmentFault):
            lengths = [
                before["tokens"][encoder]
                if alike and before and encoder in before["tokens"]
                else counter.lengths(part_texts)
                for _, before, part_texts in texts
            ]
            facts["encoders"][encoder] = counter.how
            for (split, _, _), length in zip(texts, lengths, strict=True):
                split["tokens"][encoder] = length
    return facts


def add_facts(to: DataFacts, more: DataFacts) -> None:
    """Add those of another dataset of the same content, which may have other evaluation sets and encoders."""
    to["notes"] = list(dict.fromkeys([*to["notes"], *more["notes"]]))
    to["encoders"] |= more["encoders"]
    for part, split in to["splits"].items():
        split["tokens"] |= more["splits"][part]["tokens"]
    to["evaluations"] |= more["evaluations"]


def _split_facts(looked: Looked, classes: Sequence[str], labels: Sequence[int]) -> SplitFacts:
    return SplitFacts(
        classes=list(classes), labels=list(labels), in_train=looked.in_train, audit=looked.audit, tokens={}
    )
