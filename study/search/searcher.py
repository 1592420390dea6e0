"""Several Optuna searches behind one searcher, so that Ray Tune keeps a whole cluster busy with all of them at once.

Each search is a separate Optuna study in the journal, used through Ray's OptunaSearch. A setting is tried with one
training per seed; its value is their mean. Settings that were running when a run ended, and settings that failed, are
tried again. Trainings with a record are not repeated. Importing this imports Ray Tune and Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from l3masking.rng import stream_seed
from study.plan.searches import Search
from study.space.search_section import Distribution, SearchConfig

TRIED = (TrialState.COMPLETE, TrialState.PRUNED)


class Explorer(Searcher):
    """Suggests settings of all searches in turn. A suggestion is {"search": index, "values": {dotted key: value}}."""

    def __init__(self, searches: Sequence[Search], storage: Any) -> None:
        super().__init__()
        self.searches = list(searches)
        self.studies = [prepare(search, storage) for search in searches]
        self.left = [search.config.settings - tried(s) for search, s in zip(searches, self.studies, strict=True)]
        self._inner = [self._asker(index, storage) for index in range(len(searches))]
        self._of_trial: dict[str, int] = {}
        self._reached: dict[str, int] = {}  # trainings that a trial has reported
        self._weak: set[str] = set()
        self._turn = 0

    def _asker(self, index: int, storage: Any) -> OptunaSearch:
        search = self.searches[index]
        return OptunaSearch(
            space={name: distribution_of(part) for name, part in search.config.parameters.items()},
            metric="value",
            mode="max",
            sampler=sampler_of(search, 0),
            study_name=search.name,
            storage=storage,
        )

    @property
    def total(self) -> int:
        """The number of settings left to try."""
        return sum(max(0, count) for count in self.left)

    def suggest(self, trial_id: str) -> Any:
        """The next setting of the search whose turn it is."""
        for offset in range(len(self.searches)):
            index = (self._turn + offset) % len(self.searches)
            if self.left[index] > 0:
                self._turn = index + 1
                self.left[index] -= 1
                self._of_trial[trial_id] = index
                return {"search": index, "values": self._new_values(index, trial_id)}
        return Searcher.FINISHED

    def _new_values(self, index: int, trial_id: str) -> dict[str, Any]:
        """The setting that Optuna suggests; if it has been tried, the nearest one that has not."""
        config, study, inner = self.searches[index].config, self.studies[index], self._inner[index]
        asked_before = {str(values_of(config, trial)) for trial in study.get_trials(deepcopy=False)}
        inner._ot_study.sampler = sampler_of(self.searches[index], len(asked_before))
        values = config.clean(inner.suggest(trial_id))
        asked = inner._ot_trials[trial_id]
        trials = study.get_trials(deepcopy=False)
        there = [values_of(config, trial) for trial in trials if trial.number != asked.number]
        if values not in there or "fixed_params" in trials[asked.number].system_attrs:
            return values
        untried = [point for point in config.points() if point not in there]
        if not untried:
            return values
        asked.set_user_attr("note", "tried before: its nearest untried neighbour takes its place")
        study.tell(asked, state=TrialState.FAIL)
        study.enqueue_trial(min(untried, key=lambda point: distance(config, point, values)))
        del inner._ot_trials[trial_id]
        return config.clean(inner.suggest(trial_id))

    def judge(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Take the mean over the trainings so far; True if the setting is weak and should be given up."""
        index, reached = self._of_trial[trial_id], result["seeds"]
        if result.get("failed") or reached <= self._reached.get(trial_id, 0):
            return False  # a process that died starts again, and its first trainings were judged already
        self._reached[trial_id] = reached
        self._inner[index].on_trial_result(trial_id, {"value": result["value"], "training_iteration": reached})
        trials = self.studies[index].get_trials(deepcopy=False)
        number = self._inner[index]._ot_trials[trial_id].number
        if weak(self.searches[index].config, trials, number, reached):
            self._weak.add(trial_id)
        return trial_id in self._weak

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        """Do nothing: `judge` has taken the result."""

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Tell Optuna how a setting ended: with its mean, given up as weak, or failed (also if its value is no number).

        Any other setting was stopped together with the run. It stays open, and the next run tries it again.
        """
        index = self._of_trial[trial_id]
        failed = error or not result or bool(result.get("failed")) or not math.isfinite(result["value"])
        whole = not failed and result is not None and result["seeds"] >= self.searches[index].config.seeds
        if failed or whole or trial_id in self._weak:
            self._inner[index].on_trial_complete(trial_id, result if whole else None, error=failed)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: the journal holds the state, and Ray's own is never read back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Searcher, ()  # Tune pickles its parts for a restore that never happens


def prepare(search: Search, storage: Any) -> optuna.Study:
    """The Optuna study of a search, created if missing; what an ended run left unfinished is first in its queue."""
    study = optuna.create_study(storage=storage, study_name=search.name, direction="maximize", load_if_exists=True)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    settled = [values_of(search.config, trial) for trial in trials if trial.state in (*TRIED, TrialState.WAITING)]
    again = [values_of(search.config, trial) for trial in trials if trial.state == TrialState.FAIL]
    if search.config.sampler == "grid":
        again += search.config.points()[: search.config.settings]
    for values in again:
        if values and values not in settled:
            settled.append(values)
            study.enqueue_trial(values)
    return study


def values_of(config: SearchConfig, trial: FrozenTrial) -> dict[str, Any]:
    """The setting of a running or waiting trial; empty if the trial was interrupted before it got one."""
    return config.clean(trial.params or trial.system_attrs.get("fixed_params", {}))


def distance(config: SearchConfig, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The distance of two settings: the sum of their differences, each as a share of its parameter's range."""
    return sum(part.distance(one[name], other[name]) for name, part in config.parameters.items())


def tried(study: optuna.Study) -> int:
    """The settings that have a value or were given up as weak."""
    return len(study.get_trials(deepcopy=False, states=TRIED))


def trainings_of(study: optuna.Study) -> int:
    """The trainings of these settings: fewer than settings times seeds where some were given up."""
    return sum(len(trial.intermediate_values) for trial in study.get_trials(deepcopy=False, states=TRIED))


def weak(config: SearchConfig, trials: Sequence[FrozenTrial], number: int, reached: int) -> bool:
    """Whether trial `number`, after `reached` trainings, is below the median of the others after as many.

    The median stopping rule (Golovin et al. 2017), applied from `screen` trainings on if there are enough others.
    """
    if config.screen is None or not config.screen <= reached < config.seeds:
        return False
    values = {trial.number: trial.intermediate_values.get(reached) for trial in trials}
    own = values.pop(number, None)
    others = [value for value in values.values() if value is not None]
    return own is not None and len(others) >= config.screen_after and own < median(others)


def distribution_of(given: Distribution) -> optuna.distributions.BaseDistribution:
    """The parameter as an Optuna distribution."""
    distributions = optuna.distributions
    if given.choice is not None:
        return distributions.CategoricalDistribution(given.choice)
    if given.integer is not None:
        first, last, gap = *given.integer, int(given.step or 1)
        return distributions.IntDistribution(first, first + (last - first) // gap * gap, step=gap)
    if given.loguniform is not None:
        return distributions.FloatDistribution(*given.loguniform, log=True)
    values = given.values()
    low, top = given.bounds
    return distributions.FloatDistribution(low, top if values is None else values[-1], step=given.step)


def sampler_of(search: Search, settings_so_far: int) -> optuna.samplers.BaseSampler:
    """A separate sampler for each setting, so that an interrupted search continues as if it had not stopped."""
    seed = stream_seed(search.config.sampler_seed, "search", search.key, settings_so_far) % 2**32
    if search.config.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if search.config.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
    return optuna.samplers.RandomSampler(seed=seed)  # every point of a grid is in the queue
