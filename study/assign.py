"""From a trial of a plan to what a process needs to run it. Small and plain, so that it travels to any worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from study.artefacts import Artefact
from study.assignment import Assignment
from study.plan.inputs import CorpusSource, DataSource, EncoderSource, corpus_source, sources
from study.plan.needs import Need, artefacts_of, classifier_config
from study.plan.searches import Search
from study.plan.trials import Identities, Trial, corpus_of
from study.score import ScoreJob, TextSources
from study.space.search_section import SEARCH_FOLDER
from study.space.spec import StudySpec, configs
from study.store.places import Place, inside, open_store


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
        data, corpus = self.sources(trial)[1], self.corpus(trial)
        found: dict[tuple[str, str], Artefact] = {}
        for need in artefacts_of(trial, data.spec):
            source = data if need.corpus is None else corpus
            assert source is not None, "a need of a corpus that the trial does not name"
            found[need.kind, source.content_hash] = self._job(need, source, trial)
        return found

    def _job(self, need: Need, source: TextSources, trial: Trial) -> Artefact:
        """The job that makes what a stage needs to know of some texts."""
        setting, (encoder, data) = configs(trial.settings), self.sources(trial)
        if need.kind == "scores":
            return ScoreJob(
                encoder=encoder,
                data=source.scored() if isinstance(source, DataSource) else source,
                scoring=setting.scoring,
                precision=setting.finetune.precision,
                entropy=need.settings["entropy"],
            )
        from study.importance import ClassifierJob, HeuristicJob, NetworkJob, PredictionJob  # they load torch

        classifier = ClassifierJob(
            encoder=encoder,
            data=data,
            scoring=setting.scoring,
            finetune=classifier_config(setting),
            seed=setting.selective.classifier_seed,
        )
        heuristic = HeuristicJob(classifier=classifier, selective=setting.selective)
        if need.kind == "heuristic":
            return heuristic
        return PredictionJob(network=NetworkJob(heuristic=heuristic), texts=source)

    def sources(self, trial: Trial) -> tuple[EncoderSource, DataSource]:
        """The pinned encoder and dataset of a trial."""
        return sources(self.spec, self.identities, trial.encoder, trial.dataset, trial.seed)

    def encoders(self, trials: Iterable[Trial]) -> list[EncoderSource]:
        """The pinned encoders of some trials, each once."""
        return list(dict.fromkeys(self.sources(trial)[0] for trial in trials))

    def corpus(self, trial: Trial) -> CorpusSource | None:
        """The corpus that a trial reads before fine-tuning, or None."""
        name = corpus_of(trial.arm, trial.settings)
        return None if name is None else corpus_source(self.spec, self.identities, name)

    def of_grid(self, trial: Trial) -> Assignment:
        """A trial of the grid."""
        encoder, data = self.sources(trial)
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
