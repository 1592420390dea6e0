"""From a trial of a plan to what a process needs to run it. Small and plain, so that it travels to any worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from l3masking.masking.policies.base import ENTROPY
from study.artefacts import Job
from study.plan.inputs import sources
from study.plan.searches import Search
from study.plan.trials import Identities, Trial
from study.score import ScoreJob
from study.space.search_section import SEARCH_FOLDER
from study.space.spec import StudySpec, configs
from study.store.places import Place, inside, open_store
from study.trial import Assignment


@dataclass(frozen=True, kw_only=True)
class Assigner:
    """Makes the assignments of one run."""

    spec: StudySpec
    identities: Identities
    root: Place  # where the study lies
    commit: str | None  # of this program's checkout, where it is one

    def jobs(self, trial: Trial) -> list[Job]:
        """The artefacts that a trial needs."""
        score = self.score_job(trial)
        return [] if score is None else [score]

    def score_job(self, trial: Trial) -> ScoreJob | None:
        """The scores that a trial needs, or None."""
        if not trial.arm.needs_scores:
            return None
        encoder, data = sources(self.spec, self.identities, trial.encoder, trial.dataset)
        setting = configs(trial.settings)
        return ScoreJob(
            encoder=encoder,
            data=data,
            scoring=setting.scoring,
            precision=setting.finetune.precision,
            entropy=ENTROPY in trial.arm.needs,
        )

    def of_grid(self, trial: Trial) -> Assignment:
        """A trial of the grid."""
        encoder, data = sources(self.spec, self.identities, trial.encoder, trial.dataset)
        job = self.score_job(trial)
        return Assignment(
            study=self.spec.name,
            trial=trial,
            encoder=encoder,
            data=data,
            root=self.root,
            scores=open_store(self.root).artefact_place(job.room, job.key) if job else None,
            resources=self.spec.resources_of(trial.encoder, trial.dataset),
            commit=self.commit,
        )

    def of_search(self, search: Search, values: Mapping[str, Any], seed: int) -> Assignment:
        """A training of a search: it sees no test split, keeps no model, and its record lies apart."""
        plain = self.of_grid(search.trial(self.identities, values, seed))
        resources = dataclasses.replace(plain.resources, save_models=False)
        return dataclasses.replace(plain, root=inside(self.root, SEARCH_FOLDER), resources=resources, with_test=False)
