"""All searches of a study in one Ray Tune run: Optuna suggests, workers train, weak settings are given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from l3masking.errors import EnvironmentFault, Interrupted
from study.schedule import most_slots
from study.space.spec import Resources
from study.work.pulse import RemotePulse
from study.work.ray_tune import ROUNDS, STOPPED_RESULT, Watch, run_tuner
from study.work.stopping import Stopped

if TYPE_CHECKING:
    from study.search.stage import SearchStage, Tried


class Screen(FIFOScheduler):
    """Runs settings as they come and stops those that the searcher calls weak."""

    def __init__(self, stage: SearchStage) -> None:
        super().__init__()
        self._stage = stage

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        """Stop or go on, after one more training of a setting."""
        weak = self._stage.explorer.judge(trial.trial_id, result)
        return TrialScheduler.STOP if weak else TrialScheduler.CONTINUE

    def __reduce__(self) -> tuple[Any, ...]:
        return FIFOScheduler, ()  # Tune pickles it for a restore that never happens


def tune_searches(stage: SearchStage, resources: Sequence[Resources], tried: Tried) -> None:
    """Try what is left of all searches, as many settings at a time as fit.

    `resources`: what a trial of each search takes. If a dead process ends the whole of Ray Tune or leaves a setting
    unfinished, another Tuner does what is left by the journal, ROUNDS in all. Raises Stopped on SIGTERM or Ctrl-C,
    EnvironmentFault after the last round.
    """
    broken: str | None = None
    for _ in range(ROUNDS):
        broken = _round(stage, resources, tried)
        if broken is None:
            return
        stage.reopen()
    raise EnvironmentFault(f"the search: Ray Tune ended {ROUNDS} times ({broken}); the same command continues it")


def _round(stage: SearchStage, resources: Sequence[Resources], tried: Tried) -> str | None:
    """One Tuner over what is left; why another has to follow, or None if all settings have ended."""
    total = stage.explorer.total
    if not total:
        return None
    watch = Watch(
        total,
        returned=lambda trial: tried(stage.attempt(trial.config, trial.last_result)),
        failed=lambda trial, reason: tried(stage.attempt(trial.config, trial.last_result or {}, reason)),
    )
    broken = run_tuner(
        "search",
        _trainable,
        resources,
        "search",
        watch,
        at_once=most_slots(resources),
        shared={"searches": stage.searches, "assign": stage.assign},
        search_alg=stage.explorer,
        scheduler=Screen(stage),
        num_samples=total,
    )
    if broken is None and len(watch.ended) < total:
        raise Stopped(f"stopped with {total - len(watch.ended)} settings of searches left")
    return broken


def _trainable(config: dict[str, Any], searches: Sequence[Any], assign: Any, overseer: Any) -> None:
    from study.search.stage import trainings

    search = searches[config["search"]]
    try:
        with RemotePulse(overseer, f"{search.name}, {config['values']}") as pulse:
            for result in trainings(search, config["values"], assign, pulse):
                tune.report({"failed": "", **result})
    except Interrupted:  # no training more: the searcher takes nothing from it, and the setting stays open
        tune.report({"failed": "", "value": 0.0, "seeds": 0, **STOPPED_RESULT})
