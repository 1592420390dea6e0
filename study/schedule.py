"""Trials that are left, run under Ray Tune or one after the other.

Tune only schedules. What is finished is decided by the records, so its own state is never read back.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from study.score import worker_slots
from study.spec import Resources
from study.trial import Assignment, died, execute

log = logging.getLogger(__name__)

Finished = Callable[[Assignment, str | None], None]  # a trial that has ended, and why it failed (None: it did not)
CRASHES = 2  # a trial whose process died (out of memory, a signal) is started again so many times
ROUNDS = 3  # Tuners, where one breaks off


class Stopped(Exception):
    """The run was asked to stop; what is left is left for the next run."""


def run_serially(assignments: Sequence[Assignment], finished: Finished) -> None:
    """One trial after the other, in this process."""
    for assignment in assignments:
        finished(assignment, execute(assignment))


@contextmanager
def ray_session() -> Iterator[None]:
    """Join the Ray cluster that RAY_ADDRESS names, or start one on this machine; leave it at the end."""
    import ray

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    local: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "include_dashboard": False}
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(logging_level=logging.ERROR, log_to_driver=False, **local)
    signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, which ends the process
    try:
        yield
    finally:
        ray.shutdown()


QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials write by absolute paths
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files beside the records
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without a GPU share sees no GPU
    "RAY_AIR_NEW_OUTPUT": "0",
    "TOKENIZERS_PARALLELISM": "false",
}


def run_on_ray(assignments: Sequence[Assignment], resources: Resources, finished: Finished) -> None:
    """All trials, in the given order as slots come free. Raises Stopped on SIGTERM or Ctrl-C.

    A trial that raises has written its own failure. A process that dies is retried CRASHES times and then reported.
    Some deaths (Ray's memory monitor, a lost node) end a whole Tuner: the trials without an end get a new one, ROUNDS
    times in all, and are then reported as failed too.
    """
    waiting = list(assignments)
    for _ in range(ROUNDS):
        watch = _watcher(waiting, finished)
        broken = _fit(waiting, resources, watch)
        waiting = [waiting[index] for index in sorted(watch.unfinished)]
        if waiting and broken is None:  # Tune returns early only where it was asked to
            raise Stopped(f"stopped with {len(waiting)} trials left")
    for assignment in waiting:
        reason = f"Ray Tune ended {ROUNDS} times before this trial did: {broken}"
        died(assignment, reason, ROUNDS)
        finished(assignment, reason)


def _fit(assignments: Sequence[Assignment], resources: Resources, watch: Any) -> str | None:
    """One Tuner over all of `assignments`; why it broke, or None where it returned."""
    import ray
    from ray import tune

    if not assignments:
        return None
    trainable = tune.with_resources(
        tune.with_parameters(_trainable, assignments=list(assignments)), {"cpu": resources.cpu, "gpu": resources.gpu}
    )
    with tempfile.TemporaryDirectory(prefix="l3study-tune-") as scratch, _stop_on_sigterm():
        tuner = tune.Tuner(
            trainable,
            param_space={"index": tune.grid_search(list(range(len(assignments))))},
            tune_config=tune.TuneConfig(max_concurrent_trials=worker_slots(resources), reuse_actors=True),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=CRASHES),
                callbacks=[watch],
            ),
        )
        try:
            tuner.fit()
        except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("Ray Tune ended early: %s", reason)
            return reason
    return None


def _trainable(config: dict[str, Any], assignments: Sequence[Assignment]) -> None:
    from ray import tune

    reason = execute(assignments[config["index"]])
    tune.report({"failed": reason is not None, "reason": reason or ""})


def _watcher(assignments: Sequence[Assignment], finished: Finished) -> Any:
    import ray
    from ray import tune

    class Watch(tune.Callback):
        """Tells the driver of every trial that has ended."""

        def __init__(self) -> None:
            self.unfinished = set(range(len(assignments)))

        def __reduce__(self) -> tuple[Any, ...]:
            # Tune pickles its callbacks for a restore that never happens; this one has a thread
            return tune.Callback, ()

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self._end(trial, trial.last_result.get("reason") or None)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            error = trial.get_pickled_error()  # a process that cannot even start its trial raises; else it died
            raised = isinstance(error, ray.exceptions.RayTaskError)
            what = repr(error.cause).splitlines()[0] if raised else "its process died (out of memory, or killed)"
            reason = f"{what}, {CRASHES + 1} times"
            died(assignments[trial.config["index"]], reason, CRASHES + 1)
            self._end(trial, reason)

        def _end(self, trial: Any, reason: str | None) -> None:
            index = trial.config["index"]
            if index in self.unfinished:
                self.unfinished.discard(index)
                finished(assignments[index], reason)

    return Watch()


@contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """SIGTERM becomes SIGUSR1, which Tune takes as "save and return"; the second one stops at once.

    Until Tune has put its own handler there, SIGUSR1 stops at once too: by default it would kill. Tune leaves its
    handlers behind, of which the one for Ctrl-C would swallow a Ctrl-C after the trials.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        os.kill(os.getpid(), signal.SIGUSR1)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGUSR1, signal.default_int_handler)
    signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
