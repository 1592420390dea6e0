"""All searches of a study in one Ray Tune run: Optuna suggests, workers train, weak settings are given up."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from l3masking.errors import EnvironmentFault
from study.schedule import CRASHES, ROUNDS, Stopped, fit, most_slots, run_config, stop_on_sigterm
from study.spec import Resources

if TYPE_CHECKING:
    from study.search import Stage, Tried


class Screen(FIFOScheduler):
    """Runs settings as they come and stops those that the searcher calls weak."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        """Stop or go on, after one more training of a setting."""
        weak = self._stage.explorer.judge(trial.trial_id, result)
        return TrialScheduler.STOP if weak else TrialScheduler.CONTINUE

    def __reduce__(self) -> tuple[Any, ...]:
        return FIFOScheduler, ()  # Tune pickles it for a restore that never happens


def tune_searches(stage: Stage, resources: Sequence[Resources], tried: Tried) -> None:
    """Try what is left of all searches, as many settings at a time as fit.

    `resources`: what a trial of each search takes. Where a death ends the whole of Ray Tune, the journal says what is
    left, ROUNDS times in all. Raises Stopped on SIGTERM or Ctrl-C, EnvironmentFault after the last round.
    """
    broken: str | None = None
    for _ in range(ROUNDS):
        broken = _round(stage, resources, tried)
        if broken is None:
            return
        stage.reopen()
    raise EnvironmentFault(f"the search: Ray Tune ended {ROUNDS} times ({broken}); the same command goes on with it")


def _round(stage: Stage, resources: Sequence[Resources], tried: Tried) -> str | None:
    """One Tuner over what is left; why it broke off, or None where it returned."""
    total = stage.explorer.total
    if not total:
        return None
    watch = _watcher(stage, tried)
    searches, assign = stage.searches, stage.assign

    def bundle(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        own = resources[config["search"]]
        return tune.PlacementGroupFactory([{"CPU": own.cpu, "GPU": own.gpu}])

    trainable = tune.with_resources(tune.with_parameters(_trainable, searches=searches, assign=assign), bundle)
    with tempfile.TemporaryDirectory(prefix="l3study-search-") as scratch, stop_on_sigterm():
        broken = fit(
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=stage.explorer,
                    scheduler=Screen(stage),
                    num_samples=total,
                    max_concurrent_trials=most_slots(resources),
                    reuse_actors=True,
                ),
                run_config=run_config("search", scratch, watch),
            )
        )
    if broken is None and watch.ended < total:
        raise Stopped(f"stopped with {total - watch.ended} settings of searches left")
    return broken


def _trainable(config: dict[str, Any], searches: Sequence[Any], assign: Any) -> None:
    from study.search import trainings

    for result in trainings(searches[config["search"]], config["values"], assign):
        tune.report({"failed": "", **result})


def _watcher(stage: Stage, tried: Tried) -> Any:
    class Watch(tune.Callback):
        """Tells the driver of every setting that has ended."""

        def __init__(self) -> None:
            self.ended = 0

        def __reduce__(self) -> tuple[Any, ...]:
            return tune.Callback, ()

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self._end(trial.config, trial.last_result, None)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            error = trial.get_pickled_error()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._end(trial.config, trial.last_result or {}, f"its process ended {CRASHES + 1} times: {reason}")

        def _end(self, config: Mapping[str, Any], result: Mapping[str, Any], reason: str | None) -> None:
            self.ended += 1
            tried(stage.attempt(config, result, reason))

    return Watch()
