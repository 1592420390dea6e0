"""From a trial of a plan to what a process needs to run it. Small and plain, so that it travels to any worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD
from l3masking.stages import Adapt
from study.artefacts import Artefact
from study.assignment import Assignment
from study.importance import ClassifierJob, HeuristicJob, NetworkJob, PredictionJob
from study.plan.inputs import CorpusSource, DataSource, EncoderSource, corpus_source, held_data, sources
from study.plan.searches import Search
from study.plan.trials import Identities, Trial, corpus_of
from study.score import ScoreJob, TextSources
from study.space.search_section import SEARCH_FOLDER
from study.space.spec import Configs, StudySpec, configs
from study.store.places import Place, inside, open_store


@lru_cache(maxsize=64)
def _masks_labelled(source: DataSource) -> bool:
    """Whether the masked-LM texts of a dataset are its training texts, whose labels are known."""
    data = held_data(source)
    return data.mlm_texts == data.train.texts


@dataclass(frozen=True, kw_only=True)
class Assigner:
    """Makes the assignments of one run."""

    spec: StudySpec
    identities: Identities
    root: Place  # where the study lies
    commit: str | None  # of this program's checkout, where it is one
    lost: Mapping[str, str] = field(default_factory=dict)  # key of an artefact -> why it could not be made

    def jobs(self, trial: Trial) -> dict[tuple[str, str], Artefact]:
        """The artefacts that a trial reads, by kind and the content hash of their texts."""
        setting, arm = configs(trial.settings), trial.arm
        encoder, data = sources(self.spec, self.identities, trial.encoder, trial.dataset)
        corpus = self.corpus(trial)
        found: dict[tuple[str, str], Artefact] = {}
        for stage in arm.stages:
            source = corpus if corpus and isinstance(stage, Adapt) and stage.text != "task" else data
            needs = arm.needs_of(stage)
            if needs & {LIKELIHOOD, ENTROPY}:
                entropy = ENTROPY in needs or any(ENTROPY in arm.needs_of(other) for other in arm.stages)
                found["scores", source.content_hash] = ScoreJob(
                    encoder=encoder,
                    data=source,
                    scoring=setting.scoring,
                    precision=setting.finetune.precision,
                    entropy=entropy,
                )
            if IMPORTANCE in needs:
                kind, job = self.importance(encoder, data, source, setting)
                found[kind, source.content_hash] = job
        return found

    def importance(
        self, encoder: EncoderSource, data: DataSource, source: TextSources, setting: Configs
    ) -> tuple[str, Artefact]:
        """The importance of tokens in some texts: by the heuristic where they are the labelled ones themselves."""
        classifier = ClassifierJob(
            encoder=encoder,
            data=data,
            scoring=setting.scoring,
            finetune=setting.finetune,
            seed=setting.selective.classifier_seed,
        )
        heuristic = HeuristicJob(classifier=classifier, selective=setting.selective)
        if source is data and _masks_labelled(data) and not setting.selective.network:
            return "heuristic", heuristic
        return "prediction", PredictionJob(network=NetworkJob(heuristic=heuristic), texts=source)

    def corpus(self, trial: Trial) -> CorpusSource | None:
        """The corpus that a trial reads before fine-tuning, or None."""
        name = corpus_of(trial.arm, trial.settings)
        return None if name is None else corpus_source(self.spec, self.identities, name)

    def of_grid(self, trial: Trial) -> Assignment:
        """A trial of the grid."""
        encoder, data = sources(self.spec, self.identities, trial.encoder, trial.dataset)
        place, jobs = open_store(self.root).artefact_place, self.jobs(trial)
        return Assignment(
            study=self.spec.name,
            trial=trial,
            encoder=encoder,
            data=data,
            root=self.root,
            needed={name: place(job.room, job.key) for name, job in jobs.items()},
            lost=next((self.lost[job.key] for job in jobs.values() if job.key in self.lost), None),
            corpus=self.corpus(trial),
            keep_adapted=self.spec.resources.keep_adapted,
            resources=self.spec.resources_of(trial.encoder, trial.dataset),
            commit=self.commit,
        )

    def of_search(self, search: Search, values: Mapping[str, Any], seed: int) -> Assignment:
        """A training of a search: it sees no test split, keeps no model, and its record lies apart."""
        plain = self.of_grid(search.trial(self.identities, values, seed))
        resources = dataclasses.replace(plain.resources, save_models=False)
        return dataclasses.replace(plain, root=inside(self.root, SEARCH_FOLDER), resources=resources, with_test=False)
