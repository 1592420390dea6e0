"""What every run of Ray Tune has in common here: it keeps nothing, says nothing, and heeds a stop.

Importing this imports Ray Tune.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache

from study.gpu import GpuLost
from study.space.spec import Resources
from study.work.hangs import hangs_ended
from study.work.processes import LOW_MEMORY, RAN_LOW
from study.work.pulse import remote_overseer
from study.work.stopping import under_tune

log = logging.getLogger(__name__)

CRASHES = 2  # a trial whose process died (out of memory, a signal) is started again so many times
ROUNDS = 3  # Tuners, where one leaves trials behind
EARLY = "a process died between two trials, or with its node"
STOPPED_RESULT = {"stopped": True}  # what a trial reports that was told to end, beside what its searcher reads

Heard = Callable[[Any], None]  # a trial of Ray Tune


class Watch(tune.Callback):
    """Tells of each trial that begins, and once how it ended: it returned, or its process died CRASHES + 1 times.

    A process that dies while Tune makes it ready for its next trial is counted by Ray 2.60 against that trial twice in
    one step: first the trial is queued again, then, as it is not running, ended for good. Such a trial has neither
    returned nor failed: it is in `early`, for another Tuner. A trial whose process was lost with its node is there too:
    the trial is not at fault.
    """

    def __init__(
        self, total: int, *, returned: Heard, failed: Callable[[Any, str], None], begun: Heard | None = None
    ) -> None:
        self.total = total
        self.ended: set[str] = set()  # ids of trials
        self.early: set[str] = set()
        self.actors: dict[str, Any] = {}  # actor id -> handle of each that has begun a trial
        self._actor_of: dict[str, str] = {}  # id of a trial -> that of its last actor
        self._queued_again: dict[str, int] = {}  # id -> the last step in which it was
        self._blameless: set[str] = set()  # ids of trials that lost a process with its node
        self._returned, self._failed, self._begun = returned, failed, begun
        self.why_killed: Callable[[str], str | None] = lambda actor_id: None  # see `hangs_ended`

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for a restore that never happens; what these call has a thread
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Perhaps not for the first time."""
        actor = trial.temporary_state.ray_actor
        self._actor_of[trial.trial_id] = who = actor._actor_id.hex()
        self.actors[who] = actor
        if self._begun is not None:
            self._begun(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune may say it twice. A trial that was told to end has no end here."""
        if trial.trial_id not in self.ended and not (trial.last_result or {}).get("stopped"):
            self.ended.add(trial.trial_id)
            self._returned(trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A death after which the trial is to be started again."""
        if self._lost_with_node(trial, self._hang(trial)):
            self._blameless.add(trial.trial_id)
        self._queued_again[trial.trial_id] = iteration

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The last death, or one that was counted twice."""
        hang = self._hang(trial)
        blameless = trial.trial_id in self._blameless or self._lost_with_node(trial, hang)
        if blameless or self._queued_again.get(trial.trial_id) == iteration:
            self.early.add(trial.trial_id)
            return
        self.ended.add(trial.trial_id)
        self._failed(trial, f"{hang or _cause(error_of(trial))}, {CRASHES + 1} times")

    def _hang(self, trial: Any) -> str | None:
        """Why the last actor of a trial was killed from here."""
        return self.why_killed(self._actor_of.get(trial.trial_id, ""))

    def _lost_with_node(self, trial: Any, hang: str | None) -> bool:
        """Whether a process did not die by itself: Ray cannot tell, as nothing of its node answers."""
        return hang is None and isinstance(error_of(trial), ray.exceptions.ActorUnavailableError)


def error_of(trial: Any) -> Exception | None:
    """What Tune has kept of the last death of a trial. Its own way to that reads a copy which is not made yet."""
    path = trial.pickled_error_file
    if path is None:
        return None
    with open(path, "rb") as file:
        return ray.cloudpickle.load(file)  # type: ignore[no-any-return]


def _cause(error: Any) -> str:
    """Of the end of a process: it died, has lost its GPU, or could not even start its trial."""
    if not isinstance(error, ray.exceptions.RayTaskError):
        return "its process died (out of memory, or killed)"
    lost = isinstance(error.cause, GpuLost)
    return f"it lost its GPU ({error.cause.said})" if lost else repr(error.cause).splitlines()[0]


def sized(trainable: Any, takes: Sequence[Resources], entry: str) -> Any:
    """`trainable`, where a trial takes what `takes` has at the index in `entry` of its configuration."""

    def bundle(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        own = takes[config[entry]]
        return tune.PlacementGroupFactory([{"CPU": own.cpu, "GPU": own.num_gpus}])

    return tune.with_resources(trainable, bundle)


def run_tuner(
    name: str,
    trainable: Any,
    takes: Sequence[Resources],
    entry: str,
    watch: Watch,
    *,
    at_once: int,
    shared: Mapping[str, Any],
    param_space: dict[str, Any] | None = None,
    **how: Any,
) -> str | None:
    """One Tuner from beginning to end; returns what `fit` returns. It keeps nothing and prints nothing.

    SIGTERM and Ctrl-C ask it to stop; a process that dies or hangs is started again CRASHES times. takes, entry: as in
    `sized`. at_once: trials that run at a time. shared: arguments of `trainable` that are the same for all trials; one
    more, `overseer`, is for a RemotePulse. how: further fields of Ray's TuneConfig.
    """
    with (
        tempfile.TemporaryDirectory(prefix=f"l3study-{name}-") as scratch,
        keep_credentials(),
        silent(),
        remote_overseer() as overseer,
        hangs_ended(overseer, takes[0].patience_minutes) as watch.why_killed,
        under_tune(overseer, watch.actors),
    ):
        tuner = tune.Tuner(
            sized(tune.with_parameters(trainable, overseer=overseer, **shared), takes, entry),
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
    return None  # it was asked to stop, and left before it had tidied up


def fit(tuner: tune.Tuner, watch: Watch) -> str | None:
    """Run a Tuner to its end; why another is to go on with the trials that have no end, or None.

    None: every trial has ended, or Tune was asked to stop.
    """
    try:
        tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[-1 if lines[0].startswith("Traceback") else 0]
        if LOW_MEMORY in str(error):
            reason = RAN_LOW
        log.warning("Ray Tune ended early: %s", reason)
        return reason
    return EARLY if watch.early and len(watch.ended) + len(watch.early) == watch.total else None


@contextmanager
def silent() -> Iterator[None]:
    """Ray Tune does not list the trials that a stop has left, by ids of its own: how many there are is said here."""
    logger = logging.getLogger("ray.tune.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


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
