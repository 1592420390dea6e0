"""What every run of Ray Tune has in common here: it keeps nothing, says nothing, and SIGTERM ends it.

Importing this imports Ray Tune.
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

import ray
from ray import tune
from ray.tune.execution import class_cache

from study.space.spec import Resources

log = logging.getLogger(__name__)

CRASHES = 2  # a trial whose process died (out of memory, a signal) is started again so many times
ROUNDS = 3  # Tuners, where one leaves trials behind
EARLY = "a process died between two trials"

Heard = Callable[[Any], None]  # a trial of Ray Tune


class Watch(tune.Callback):
    """Tells of each trial that begins, and once how it ended: it returned, or its process died CRASHES + 1 times.

    A process that dies while Tune makes it ready for its next trial is counted by Ray 2.60 against that trial twice in
    one step: first the trial is queued again, then, as it is not running, ended for good. Such a trial has neither
    returned nor failed: it is in `early`, for another Tuner.
    """

    def __init__(
        self, total: int, *, returned: Heard, failed: Callable[[Any, str], None], begun: Heard | None = None
    ) -> None:
        self.total = total
        self.ended: set[str] = set()  # ids of trials
        self.early: set[str] = set()
        self._queued_again: dict[str, int] = {}  # id -> the last step in which it was
        self._returned, self._failed, self._begun = returned, failed, begun

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for a restore that never happens; what these call has a thread
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Perhaps not for the first time."""
        if self._begun is not None:
            self._begun(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune may say it twice."""
        if trial.trial_id not in self.ended:
            self.ended.add(trial.trial_id)
            self._returned(trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A death after which the trial is to be started again."""
        self._queued_again[trial.trial_id] = iteration

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The last death, or one that was counted twice."""
        if self._queued_again.get(trial.trial_id) == iteration:
            self.early.add(trial.trial_id)
            return
        error = trial.get_pickled_error()  # a process that cannot even start its trial raises; else it died
        raised = isinstance(error, ray.exceptions.RayTaskError)
        what = repr(error.cause).splitlines()[0] if raised else "its process died (out of memory, or killed)"
        self.ended.add(trial.trial_id)
        self._failed(trial, f"{what}, {CRASHES + 1} times")


def sized(trainable: Any, takes: Sequence[Resources], entry: str) -> Any:
    """`trainable`, where a trial takes what `takes` has at the index in `entry` of its configuration."""

    def bundle(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        own = takes[config[entry]]
        return tune.PlacementGroupFactory([{"CPU": own.cpu, "GPU": own.gpu}])

    return tune.with_resources(trainable, bundle)


def run_tuner(
    name: str,
    trainable: Any,
    takes: Sequence[Resources],
    entry: str,
    watch: Watch,
    *,
    at_once: int,
    param_space: dict[str, Any] | None = None,
    **how: Any,
) -> str | None:
    """One Tuner from beginning to end; returns what `fit` returns. It keeps nothing and prints nothing.

    SIGTERM asks it to stop; a process that dies is started again CRASHES times. takes, entry: as in `sized`.
    at_once: trials that run at a time. how: further fields of Ray's TuneConfig.
    """
    with tempfile.TemporaryDirectory(prefix=f"l3study-{name}-") as scratch, stop_on_sigterm(), keep_credentials():
        tuner = tune.Tuner(
            sized(trainable, takes, entry),
            param_space=param_space,
            tune_config=tune.TuneConfig(max_concurrent_trials=at_once, reuse_actors=True, **how),
            run_config=tune.RunConfig(
                name=name,
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=CRASHES),
                callbacks=[watch],
            ),
        )
        return fit(tuner, watch)


def fit(tuner: tune.Tuner, watch: Watch) -> str | None:
    """Run a Tuner to its end; why another is to go on with the trials that have no end, or None.

    None: every trial has ended, or Tune was asked to stop.
    """
    try:
        tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[-1 if lines[0].startswith("Traceback") else 0]
        log.warning("Ray Tune ended early: %s", reason)
        return reason
    return EARLY if watch.early and len(watch.ended) + len(watch.early) == watch.total else None


@contextmanager
def keep_credentials() -> Iterator[None]:
    """Ray Tune does not put the AWS credentials of this process into the runtime environments of trials.

    Ray logs those, and shows them to everybody who reaches its API. Workers have the environment of their node.
    """
    sent = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in sent if not name.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = sent


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
