"""The profile of parts of speech of a study: its scores and texts under masking policies, tagged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l3masking.analysis.columns import MaskColumn, mask_columns
from l3masking.analysis.pos_profile import MIN_COUNT, tag_profile
from l3masking.analysis.tagging import Tagger, TokenTagger
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError
from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD, Policy
from l3masking.masking.policies.table import POLICIES
from l3masking.methods import METHODS
from l3masking.scoring.places import token_places
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.words import encode_as
from study.adapted import importance_of_texts
from study.assign import Assigner
from study.plan.grid import make_plan
from study.plan.inputs import held_data, held_encoder
from study.plan.resolved import Resolved, planned
from study.plan.trials import Trial
from study.report.tag_tables import ProfileColumn, TagTable
from study.score import held_scores
from study.space.arms import PolicyFile
from study.space.spec import StudySpec
from study.space.validation import nearest
from study.store.places import Place, is_url


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """What is to be profiled of a study."""

    place: Place  # where the study lies: a folder or a URL
    encoders: Sequence[str] = ()  # names of the study; empty: all
    datasets: Sequence[str] = ()  # the same
    policies: Sequence[str] = ("l3",)  # of POLICIES or of the study
    weightings: Sequence[str] = ("complement", "surprisal")  # for policies that read the likelihood of tokens
    min_count: int = MIN_COUNT  # tokens that a tag must have, at least 1
    own: Mapping[str, PolicyFile] = field(default_factory=dict)  # policy files that may be run, by name


def profile_study(request: ProfileRequest, root: Path, tagger: Tagger, words: str) -> list[TagTable]:
    """A table for each dataset, with all of its encoders beside each other. `root`: the study's folder for reading.

    Settings are those of the plain rows. Nothing is scored or trained: InputError, with the command that does it, where
    a policy needs what the study does not have.
    """
    resolved = planned(root)
    spec = resolved.spec
    columns = mask_columns(find_policies(request.policies, _run_by(request, spec)), request.weightings)
    pairs = [(pair.dataset, pair.encoder) for pair in spec.pairs]
    for kind, wanted, number in (("dataset", request.datasets, 0), ("encoder", request.encoders, 1)):
        for name in wanted:
            if name not in (known := list(dict.fromkeys(pair[number] for pair in pairs))):
                raise InputError(f"--{kind} {name}: no {kind} of this study; {nearest(name, known)}")
    chosen = [
        (dataset, encoder)
        for dataset, encoder in pairs
        if dataset in (request.datasets or [dataset]) and encoder in (request.encoders or [encoder])
    ]
    if not chosen:
        raise InputError(f"{request.place}: no pair of these encoders and datasets is in this study")
    reader = _Reader(request, resolved)
    tables = []
    for dataset in dict.fromkeys(dataset for dataset, _ in chosen):
        tags = TokenTagger(tagger)
        found = [
            one for of, encoder in chosen if of == dataset for one in reader.columns(encoder, dataset, columns, tags)
        ]
        tables.append(
            TagTable(
                dataset=dataset,
                tagger=tagger.name,
                words=words,
                texts=reader.num_texts,
                wanted=spec.masking.mean,
                min_count=request.min_count,
                columns=tuple(found),
            )
        )
    return tables


def _run_by(request: ProfileRequest, spec: StudySpec) -> dict[str, PolicyFile]:
    """The policy files that may be run. InputError where one of the study's is not among them, or is another there."""
    for name in (name for name in request.policies if name in spec.policies):
        mine, kept = request.own.get(name), spec.policies[name].policy()
        if mine is None:
            raise InputError(
                f"--policy {name}: a policy file of the study, which is run only where you name the space file that "
                "names it: give --space SPACE"
            )
        made = mine.policy()
        if (made.content_hash, made.settings) != (kept.content_hash, kept.settings):
            raise InputError(f"--policy {name}: that of --space is not the one that the study was made with")
    return {name: own for name, own in request.own.items() if name in spec.policies}


def find_policies(names: Sequence[str], own: Mapping[str, PolicyFile]) -> dict[str, Policy]:
    """Policies by name: those of the program, and the files that a space names. InputError for an unknown one."""
    found: dict[str, Policy] = {}
    for name in names:
        if name not in POLICIES and name not in own:
            raise InputError(f"--policy {name}: no masking policy; {nearest(name, [*POLICIES, *own])}")
        found[name] = own[name].policy() if name in own else POLICIES[name]
    if not found:
        raise InputError("--policy: name at least one masking policy, such as l3")
    return found


class _Reader:
    """Reads what a study holds of one encoder and dataset at a time."""

    def __init__(self, request: ProfileRequest, resolved: Resolved) -> None:
        self.request, self.spec = request, resolved.spec
        root: Place = request.place if is_url(request.place) else Path(request.place)
        self.assigner = Assigner(spec=resolved.spec, identities=resolved.identities, root=root, commit=None)
        self.trials = make_plan(*resolved)
        self.num_texts = 0  # of the dataset that was read last

    def columns(
        self, encoder: str, dataset: str, columns: Sequence[MaskColumn], tagger: TokenTagger
    ) -> list[ProfileColumn]:
        """The profiles of one encoder on one dataset."""
        trials = [t for t in self.trials if (t.encoder, t.dataset, t.variant) == (encoder, dataset, None)]
        needs = {need for column in columns for need in column.policy.needs}
        source, data_source = self.assigner.sources(trials[0])
        data, scoring = held_data(data_source), self.spec.scoring
        scores = self._scores(trials, needs) if needs & {LIKELIHOOD, ENTROPY} else None
        loaded = held_encoder(source, "cpu")
        importance = self._importance(trials, loaded) if IMPORTANCE in needs else None
        self.num_texts = len(data.mlm_texts)
        encoded = encode_as(scoring, loaded.tokenizer, data.mlm_texts)
        tags = [tagger.tags(places) for places in token_places(scoring, loaded.tokenizer, data.mlm_texts)]
        found = []
        for column in columns:
            masks = column.masks(encoded, self.spec.masking, scores=scores, importance=importance)
            values = (mask.probabilities[text.positions] for text, mask in zip(encoded, masks, strict=True))
            profile = tag_profile(values, tags, wanted=self.spec.masking.mean, min_count=self.request.min_count)
            found.append(ProfileColumn(encoder, column.name, column.weighting, column.label, profile))
        return found

    def _scores(self, trials: Iterable[Trial], needs: set[str]) -> list[TokenScores]:
        """The scores of a dataset's texts that the arms of the study share."""
        what = "entropy" if ENTROPY in needs else "scores"
        for trial in trials:
            place = self.assigner.of_grid(trial).needed.get(("scores", str(trial.data_hash)))
            if place is None or (ENTROPY in needs and ENTROPY not in trial.arm.needs):
                continue
            _, data = self.assigner.sources(trial)
            try:
                return held_scores(place, data)
            except FileNotFoundError as error:
                raise self._missing(
                    f"the scores of {trial.encoder} on {trial.dataset} are not finished", "run"
                ) from error
        arm = "l3masking" if what == "scores" else "an arm with policy entropy"
        methods = ", ".join(self.spec.methods)
        raise self._missing(f"no arm of this study ({methods}) makes {what}: add {arm} to `methods` of its space file")

    def _importance(self, trials: Iterable[Trial], encoder: Encoder) -> list[NDArray[np.float64]]:
        """The importance of the tokens of a dataset's texts that the arms of the study share."""
        for trial in trials:
            assignment = self.assigner.of_grid(trial)
            kinds = {kind for kind, content in assignment.needed if content == trial.data_hash}
            if not kinds & {"heuristic", "prediction"}:
                continue
            try:
                return list(importance_of_texts(assignment, assignment.data, encoder))
            except FileNotFoundError as error:
                raise self._missing(
                    f"the importance of tokens for {trial.encoder} on {trial.dataset} is not finished", "run"
                ) from error
        arms = ", ".join(name for name, arm in METHODS.items() if arm.needs_importance)
        raise self._missing(f"no arm of this study computes the importance of tokens: add one of {arms} to `methods`")

    def _missing(self, said: str, then: str = "then run") -> InputError:
        place = self.request.place
        return InputError(f"{place}: {said}; {then} `l3study score SPACE --out {place}` with the study's space file")
