"""Trials that are left, run under Ray Tune or one after the other.

Tune only schedules. What is finished is decided by the records, so its own state is never read back.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from study.distant.access import guard_token
from study.score import worker_slots
from study.spec import Resources
from study.trial import Assignment, died, execute

log = logging.getLogger(__name__)

CRASHES = 2  # a trial whose process died (out of memory, a signal) is started again so many times
ROUNDS = 3  # Tuners, where one breaks off


class Stopped(Exception):
    """The run was asked to stop; what is left is left for the next run."""


class Listener(Protocol):
    """Is told what becomes of trials."""

    def started(self, assignment: Assignment) -> None:
        """A trial has begun, perhaps not for the first time."""
        ...

    def ended(self, assignment: Assignment, reason: str | None) -> None:
        """A trial has ended, and why it failed (None: it did not)."""
        ...


def run_serially(assignments: Sequence[Assignment], listener: Listener) -> None:
    """One trial after the other, in this process."""
    for assignment in assignments:
        listener.started(assignment)
        listener.ended(assignment, execute(assignment))


@contextmanager
def ray_session() -> Iterator[None]:
    """Join the Ray cluster that RAY_ADDRESS names, or start one on this machine; leave it at the end."""
    import ray

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    local: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "include_dashboard": False}
    if local:
        guard_token()  # before Ray writes one that everybody may read
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


def run_on_ray(assignments: Sequence[Assignment], listener: Listener) -> None:
    """All trials, in the given order as slots come free. Raises Stopped on SIGTERM or Ctrl-C.

    A trial that raises has written its own failure. A process that dies is retried CRASHES times and then reported.
    Some deaths (Ray's memory monitor, a lost node) end a whole Tuner: the trials without an end get a new one, ROUNDS
    times in all, and are then reported as failed too.
    """
    waiting = list(assignments)
    broken: str | None = None
    for _ in range(ROUNDS):
        if not waiting:
            return
        watch = _watcher(waiting, listener)
        broken = _round(waiting, watch)
        waiting = [waiting[index] for index in sorted(watch.unfinished)]
        if waiting and broken is None:  # Tune returns early only where it was asked to
            raise Stopped(f"stopped with {len(waiting)} trials left")
    for assignment in waiting:
        reason = f"Ray Tune ended {ROUNDS} times before this trial did: {broken}"
        died(assignment, reason, ROUNDS)
        listener.ended(assignment, reason)


def _round(assignments: Sequence[Assignment], watch: Any) -> str | None:
    """One Tuner over all of `assignments`; why it broke, or None where it returned."""
    from ray import tune

    takes = [assignment.resources for assignment in assignments]  # the trials themselves need not travel with this

    def bundle(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        own = takes[config["index"]]
        return tune.PlacementGroupFactory([{"CPU": own.cpu, "GPU": own.gpu}])

    trainable = tune.with_resources(tune.with_parameters(_trainable, assignments=list(assignments)), bundle)
    with tempfile.TemporaryDirectory(prefix="l3study-tune-") as scratch, stop_on_sigterm():
        return fit(
            tune.Tuner(
                trainable,
                param_space={"index": tune.grid_search(list(range(len(assignments))))},
                tune_config=tune.TuneConfig(max_concurrent_trials=most_slots(takes), reuse_actors=True),
                run_config=run_config("trials", scratch, watch),
            )
        )


def run_config(name: str, scratch: str, watch: Any) -> Any:
    """A Tune run that keeps nothing and says nothing; a process that dies is started again CRASHES times."""
    from ray import tune

    return tune.RunConfig(
        name=name,
        storage_path=scratch,
        verbose=0,
        failure_config=tune.FailureConfig(max_failures=CRASHES),
        callbacks=[watch],
    )


def fit(tuner: Any) -> str | None:
    """Run a Tuner to its end, which says nothing of its trials; why it broke off, or None."""
    import ray
    from ray import tune

    try:
        tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("Ray Tune ended early: %s", reason)
        return reason
    return None


def most_slots(takes: Iterable[Resources]) -> int:
    """How many trials run at a time where trials of several sizes are mixed: as many as fit of the smallest."""
    return max(worker_slots(resources) for resources in dict.fromkeys(takes))


def _trainable(config: dict[str, Any], assignments: Sequence[Assignment]) -> None:
    from ray import tune

    reason = execute(assignments[config["index"]])
    tune.report({"failed": reason is not None, "reason": reason or ""})


def _watcher(assignments: Sequence[Assignment], listener: Listener) -> Any:
    import ray
    from ray import tune

    class Watch(tune.Callback):
        """Tells the driver of every trial that begins and ends."""

        def __init__(self) -> None:
            self.unfinished = set(range(len(assignments)))

        def __reduce__(self) -> tuple[Any, ...]:
            # Tune pickles its callbacks for a restore that never happens; this one has a thread
            return tune.Callback, ()

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            listener.started(assignments[trial.config["index"]])

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
                listener.ended(assignments[index], reason)

    return Watch()


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
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
