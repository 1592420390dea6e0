"""What the names of a space stand for: the one place where encoders and datasets are found and loaded.

A source is pinned by the driver (Hub commit, content hash) and loaded by any process: it is small, frozen and plain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from l3masking.data.corpus import CorpusFacts, CorpusSpec, corpus_units, look_at
from l3masking.data.table import DataSpec, EvaluationSpec, TextData, load_data
from l3masking.data.textdata import SPLITS
from l3masking.encoders.hub import check_length, is_cached, read_facts, resolve_revision
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import EnvironmentFault, InputError, Unavailable
from study.plan.trials import Identities
from study.plan.united import DataIdentity, UnitedSource, evaluation_hashes, facts_by_seed, facts_of, seeds_of
from study.space.spec import Generated, StudySpec
from study.toyworld.extras import build_extras, find_extras
from study.toyworld.world import build_world, find_world

if TYPE_CHECKING:
    from l3masking.encoders.load import Encoder

LookAtData = Callable[[TextData, Mapping[str, str]], None]
PREFETCH = "run `l3study prefetch SPACE` on a machine with a network, with the same L3STUDY_CACHE and HF_HOME"


@contextmanager
def advised() -> Iterator[None]:
    """Says what a user does about an encoder or dataset that is unavailable: l3masking knows no verbs."""
    try:
        yield
    except Unavailable as error:
        raise Unavailable(f"{error}; {PREFETCH}") from error.__cause__


@dataclass(frozen=True, kw_only=True)
class EncoderSource:
    """An encoder by name, pinned to a revision."""

    name: str
    spec: EncoderSpec | Generated
    revision: str  # Hub commit, or hash of a folder

    def __hash__(self) -> int:
        return hash((self.name, self.revision))

    def is_fetched(self) -> bool:
        """Whether all of it is on this machine."""
        spec = concrete_encoder(self.spec)
        return spec.hub is None or is_cached(spec.hub, self.revision)

    def hold(self, device: str) -> Encoder:
        """As `load`; it stays in memory, as `held_encoder` says."""
        return held_encoder(self, device)

    @advised()
    def load(self, device: str) -> Encoder:
        """The vanilla encoder in float32. InputError where a folder has changed since it was pinned."""
        import torch  # a plan needs sources and never loads one

        from l3masking.encoders.load import load_encoder

        spec = concrete_encoder(self.spec)
        if spec.hub is not None:
            spec = dataclasses.replace(spec, revision=self.revision)
        encoder = load_encoder(spec, device=device, dtype=torch.float32)
        if encoder.revision != self.revision:
            raise InputError(f"encoder {self.name}: {spec.place} has changed since the study was planned; run it again")
        return encoder


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A dataset by name, pinned to its content."""

    name: str
    spec: DataSpec | Generated
    data_hash: str
    evaluations: Mapping[str, str] = field(default_factory=dict)  # evaluation set -> content hash
    united: str | None = None  # hash of the texts that are masked under any seed, where splits are cut anew with each

    def scored(self) -> DataSource | UnitedSource:
        """Whose texts are scored for it: its own, or those of all splits of which it is one."""
        if self.united is None or isinstance(self.spec, Generated):
            return self
        return UnitedSource(name=self.name, spec=self.spec, content_hash=self.united)

    @property
    def content_hash(self) -> str:
        """As a corpus has it."""
        return self.data_hash

    def __hash__(self) -> int:
        return hash((self.name, self.data_hash))

    @advised()
    def load(self) -> TextData:
        """The dataset. InputError where its content has changed since it was pinned."""
        data = load_data(concrete_data(self.spec), name=self.name)
        if data.content_hash != self.data_hash or evaluation_hashes(data) != self.evaluations:
            raise InputError(f"dataset {self.name}: its content has changed since the study was planned; run it again")
        return data


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """A corpus by name, pinned to its content."""

    name: str
    spec: CorpusSpec | Generated
    content_hash: str
    units: int  # of text

    def __hash__(self) -> int:
        return hash((self.name, self.content_hash))

    def read(self) -> Iterator[str]:
        """Its units, streamed. InputError where its content has changed since it was pinned."""
        check_corpus(self)
        return corpus_units(concrete_corpus(self.spec))


@lru_cache(maxsize=4)
def check_corpus(source: CorpusSource) -> None:
    """Read a corpus once in each process, and compare it with what was pinned."""
    if look_at(concrete_corpus(source.spec), source.name).content_hash != source.content_hash:
        raise InputError(f"corpus {source.name}: its content has changed since the study was planned; run it again")


@lru_cache(maxsize=1)
def held_encoder(source: EncoderSource, device: str) -> Encoder:
    """As `load`; the last one stays in memory, for the next trial of this process. Nobody may change it."""
    return source.load(device)


@lru_cache(maxsize=1)
def held_data(source: DataSource) -> TextData:
    """As `load`; the last one stays in memory."""
    return source.load()


def concrete_encoder(spec: EncoderSpec | Generated) -> EncoderSpec:
    """A generated encoder is made here, once per machine."""
    return EncoderSpec(path=str(build_world().encoder_folder)) if isinstance(spec, Generated) else spec


def concrete_data(spec: DataSpec | Generated, seed: int = 0) -> DataSpec:
    """A generated dataset is made here, once per machine. Where each seed has its own cuts, those of `seed`."""
    if isinstance(spec, Generated):
        files = build_extras().decoy if spec.generated == "toyworld-decoy" else build_world().data_files
        train, validation, test = (str(files[part]) for part in SPLITS)
        shifted = spec.generated == "toyworld-shifted"
        sets = {"shifted": EvaluationSpec(test=str(build_extras().shifted))} if shifted else {}
        return DataSpec(train=train, validation=validation, test=test, evaluation_sets=sets)
    return spec.of_seed(seed)


def concrete_corpus(spec: CorpusSpec | Generated) -> CorpusSpec:
    """A generated corpus is made here, once per machine."""
    return CorpusSpec(files=str(build_extras().corpus)) if isinstance(spec, Generated) else spec


def corpus_source(spec: StudySpec, identities: Identities, name: str) -> CorpusSource:
    """The pinned source of one corpus."""
    return CorpusSource(
        name=name,
        spec=spec.corpora[name],
        content_hash=identities.corpora[name],
        units=identities.corpus_units[name],
    )


@advised()
def identify(spec: StudySpec, say: Callable[[str], None], look: LookAtData | None = None) -> Identities:
    """Pin everything that the pairs of a study name. Fetches what is missing; Unavailable where it can't.

    `say` is told what a reader of the results must know of the data: overlap, empty texts, what is not pinned. `look`
    is given each dataset while it is in memory, and the revisions of all encoders.
    """
    encoders: dict[str, str] = {}
    longest = max(spec.variant(variant).scoring.max_length for variant in (None, *spec.variants))
    for name in dict.fromkeys(pair.encoder for pair in spec.pairs):
        encoder = concrete_encoder(spec.encoders[name])
        encoders[name] = resolve_revision(encoder)
        facts = read_facts(encoder, encoders[name])
        check_length(longest, facts.position_limit, f"encoder {name}")
        for method in spec.methods:
            spec.arm(method).check_encoder(facts.model_type, f"encoder {name}")
    found = {}
    for name in dict.fromkeys(pair.dataset for pair in spec.pairs):
        data, found[name] = _look_at_data(spec, name)
        if look is not None:
            look(data, encoders)
        if found[name].splits:
            say(f"dataset {name}: split_seed per_seed: each seed has its own cuts; these notes are on those of seed 0")
        for note in data.notes:
            say(f"dataset {name}: {note}")
        if data.mlm_texts != data.train.texts:
            for method in spec.methods:
                spec.arm(method).check_units(f"dataset {name}")
    corpora = {name: look_at(concrete_corpus(spec.corpora[name]), name) for name in read_corpora(spec)}
    return _identities(encoders, found, corpora)


def _look_at_data(spec: StudySpec, name: str, *, offline: bool = False) -> tuple[TextData, DataIdentity]:
    """A dataset of a study, and what names it. Of splits that are cut anew with each seed: those of seed 0."""
    entry = spec.datasets[name]
    if isinstance(entry, DataSpec) and entry.per_seed:
        return facts_by_seed(entry, name, seeds_of(spec), offline=offline)
    data = load_data(concrete_data(entry), name=name, offline=offline)
    return data, facts_of(data)


def read_corpora(spec: StudySpec) -> list[str]:
    """The corpora that an arm of the study reads, under any variant."""
    named = [
        spec.variant(variant).adapt.corpus
        for variant in (None, *spec.variants)
        if any(stage.text != "task" for method in spec.methods for stage in spec.arm(method).adapts)
    ]
    return [name for name in dict.fromkeys(named) if name is not None]


def _identities(
    encoders: Mapping[str, str],
    data: Mapping[str, DataIdentity],
    corpora: Mapping[str, CorpusFacts],
) -> Identities:
    return Identities(
        encoders=encoders,
        datasets={name: one.content_hash for name, one in data.items()},
        evaluations={name: one.evaluations for name, one in data.items() if one.evaluations},
        mlm_units={name: one.mlm_units for name, one in data.items() if one.mlm_units is not None},
        splits={name: one.splits for name, one in data.items() if one.splits},
        united={name: one.united for name, one in data.items() if one.united is not None},
        corpora={name: facts.content_hash for name, facts in corpora.items()},
        corpus_units={name: facts.units for name, facts in corpora.items()},
    )


def identify_at_hand(spec: StudySpec) -> Identities:
    """As `identify`, without a network and without making anything; what is not available is left out."""
    encoders: dict[str, str] = {}
    found: dict[str, DataIdentity] = {}
    for pair in spec.pairs:
        encoder, data = spec.encoders[pair.encoder], spec.datasets[pair.dataset]
        if pair.encoder not in encoders and is_made(encoder):
            with suppress(EnvironmentFault):
                encoders[pair.encoder] = resolve_revision(concrete_encoder(encoder), offline=True)
        if pair.dataset not in found and is_made(data):
            with suppress(EnvironmentFault):
                found[pair.dataset] = _look_at_data(spec, pair.dataset, offline=True)[1]
    facts: dict[str, CorpusFacts] = {}
    for name in read_corpora(spec):
        corpus = spec.corpora[name]
        if find_extras() is not None if isinstance(corpus, Generated) else corpus.hub is None:
            facts[name] = look_at(concrete_corpus(corpus), name)
    return _identities(encoders, found, facts)


def is_made(spec: EncoderSpec | DataSpec | Generated) -> bool:
    """False for a generated encoder or dataset that would have to be made first."""
    if not isinstance(spec, Generated):
        return True
    return (find_world() if spec.generated == "toyworld" else find_extras()) is not None


def sources(
    spec: StudySpec, identities: Identities, encoder: str, dataset: str, seed: int = 0
) -> tuple[EncoderSource, DataSource]:
    """The pinned sources of one pair. Where each seed has its own cuts, with those of `seed`."""
    entry, data_hash = spec.datasets[dataset], identities.data_hash(dataset, seed)
    assert data_hash is not None, "a dataset is read only where it is available"
    return (
        EncoderSource(name=encoder, spec=spec.encoders[encoder], revision=identities.encoders[encoder]),
        DataSource(
            name=dataset,
            spec=entry.of_seed(seed) if isinstance(entry, DataSpec) else entry,
            data_hash=data_hash,
            evaluations=identities.evaluations.get(dataset, {}),
            united=identities.united.get(dataset),
        ),
    )


def prefetch(spec: StudySpec) -> list[str]:
    """Fetch all that a run of this study needs and load it once; a line for each thing. For offline machines."""
    lines: list[str] = []
    identities = identify(spec, lines.append)
    for name, revision in identities.encoders.items():
        EncoderSource(name=name, spec=spec.encoders[name], revision=revision).load("cpu")
    lines += [f"encoder {name}: {revision}" for name, revision in identities.encoders.items()]
    return lines + [f"dataset {name}: {content}" for name, content in identities.datasets.items()]
