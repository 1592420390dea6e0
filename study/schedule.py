"""Trials that are left, run under Ray Tune or one after the other.

Tune only schedules. What is finished is decided by the records, so its own state is never read back. Importing this
imports no torch: under Ray, the driver has no use for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from l3masking.errors import EnvironmentFault, Interrupted
from study.assignment import Assignment
from study.cluster.access import guard_token
from study.cluster.local_ray import ending_with, on_loopback, raylet
from study.cluster.nodes import check_code, search_path
from study.cluster.ray_address import VARIABLE, joined
from study.gpu import GpuLost
from study.space.spec import Resources
from study.store.places import open_store
from study.work.pulse import NO_PULSE, Pulse, RemotePulse
from study.work.stopping import Stopped, in_this_process, uninterrupted
from study.work.workers import worker_slots


class Listener(Protocol):
    """Is told what becomes of trials."""

    def started(self, assignment: Assignment) -> None:
        """A trial has begun, perhaps not for the first time."""
        ...

    def ended(self, assignment: Assignment, reason: str | None) -> None:
        """A trial has ended, and why it failed (None: it did not)."""
        ...


def execute(assignment: Assignment, pulse: Pulse = NO_PULSE) -> str | None:
    """As `study.trial.execute`, which is imported where something is trained."""
    from study import trial

    return trial.execute(assignment, pulse)


def died(assignment: Assignment, reason: str, times: int) -> None:
    """As `study.trial.died`."""
    from study import trial

    trial.died(assignment, reason, times)


def run_serially(assignments: Sequence[Assignment], listener: Listener) -> None:
    """One trial after the other, in this process. Raises Stopped on SIGTERM or Ctrl-C, GpuLost after such a failure."""
    with in_this_process() as flag:
        for assignment in assignments:
            flag.check()
            listener.started(assignment)
            try:
                listener.ended(assignment, execute(assignment, flag))
            except GpuLost as lost:  # nor can this process train the next one
                reason = f"it lost its GPU ({lost.said})"
                died(assignment, reason, 1)
                listener.ended(assignment, reason)
                raise


@contextmanager
def ray_session(insecure: bool = False) -> Iterator[None]:
    """Join the Ray cluster that RAY_ADDRESS names, or start one for this machine alone; leave it at the end.

    EnvironmentFault if there is none to join, none can be started, or its workers would import other code than this.
    insecure: whether a cluster on another machine is joined that runs the code of anybody.
    """
    address = joined(insecure=insecure)
    import ray

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"address": address} if address else {"address": "local", "include_dashboard": False}
    if address is None:
        guard_token()  # before Ray writes one that everybody may read
    try:
        with uninterrupted(), nullcontext() if address else on_loopback():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, job_config=search_path(address), **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"{VARIABLE}={os.environ[VARIABLE]}: cannot be joined" if address else "Ray does not start here"
        raise EnvironmentFault(f"{what} ({said}); `l3study doctor` looks for the cause") from error
    except SystemExit as end:
        raise KeyboardInterrupt from end  # SIGTERM, for which Ray has its own handler while it starts
    try:
        with nullcontext() if address else ending_with(raylet()):
            check_code()
            yield
    finally:
        ray.shutdown()


QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials write by absolute paths
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files beside the records
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without a GPU share sees no GPU
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C stops a run as SIGTERM does
    "TOKENIZERS_PARALLELISM": "false",
}


def run_on_ray(assignments: Sequence[Assignment], listener: Listener) -> None:
    """All trials, in the given order as slots come free. Raises Stopped on SIGTERM or Ctrl-C.

    A trial that raises has written its own failure. A process that dies is retried CRASHES times and then reported.
    Some deaths end a whole Tuner (Ray's memory monitor, a lost node) or leave one trial behind (between two trials),
    and nobody says for which trial. What ran then is run again behind all others. Where a Tuner has ended twice while a
    trial ran, the third one runs such trials one at a time: the trial that ends it has failed, and it alone.
    """
    from study.work.ray_tune import ROUNDS

    ends = dict.fromkeys(range(len(assignments)), 0)  # of trials that are left: Tuners that ended while they ran
    while ends:
        least = min(ends.values())
        group = [index for index, times in ends.items() if times == least]
        left, running, broken = _round([assignments[index] for index in group], listener, alone=least == ROUNDS - 1)
        ends = {index: times for index, times in ends.items() if index not in group or group.index(index) in left}
        if left and broken is None:  # Tune returns early only where it was asked to
            raise Stopped(f"stopped with {len(ends)} training{'s' * (len(ends) > 1)} left")
        for index in (group[place] for place in running or left):
            ends[index] += 1
            if ends[index] == ROUNDS:
                del ends[index]
                reason = f"{broken}: Ray Tune ended {ROUNDS} times while this trial ran"
                died(assignments[index], reason, ROUNDS)
                listener.ended(assignments[index], reason)


def _round(
    assignments: Sequence[Assignment], listener: Listener, *, alone: bool
) -> tuple[set[int], set[int], str | None]:
    """One Tuner over all of `assignments`; alone: one trial at a time.

    Returns the indices of those without an end, which of them had begun, and why another Tuner is to run them.
    """
    from ray import tune

    from study.work.ray_tune import run_tuner

    begun = set[int]()
    takes = [assignment.resources for assignment in assignments]  # the trials themselves need not travel with this
    left = set(range(len(assignments)))
    broken = run_tuner(
        "trials",
        _trainable,
        takes,
        "index",
        _watch(assignments, left, begun, listener),
        at_once=1 if alone else most_slots(takes),
        shared={"assignments": list(assignments)},
        param_space={"index": tune.grid_search(sorted(left))},
    )
    for index in begun & left if broken is None else ():  # Tune was stopped, and these have ended since
        if finished(assignments[index]):
            left.discard(index)
            listener.ended(assignments[index], None)
    return left, begun & left, broken


def finished(assignment: Assignment) -> bool:
    """Whether every objective of a trial has its record."""
    store = open_store(assignment.root)
    return all(store.read(key) is not None for key in assignment.trial.keys.values())


def _watch(assignments: Sequence[Assignment], left: set[int], begun: set[int], listener: Listener) -> Any:
    """Tells the listener of trials, takes those that have ended out of `left`, and puts into `begun` what has begun."""
    from study.work.ray_tune import CRASHES, Watch

    def begin(trial: Any) -> None:
        begun.add(trial.config["index"])
        listener.started(assignments[trial.config["index"]])

    def end(trial: Any, reason: str | None) -> None:
        left.discard(trial.config["index"])
        listener.ended(assignments[trial.config["index"]], reason)

    def failed(trial: Any, reason: str) -> None:
        died(assignments[trial.config["index"]], reason, CRASHES + 1)
        end(trial, reason)

    return Watch(
        len(assignments),
        returned=lambda trial: end(trial, trial.last_result.get("reason") or None),
        failed=failed,
        begun=begin,
    )


def most_slots(takes: Iterable[Resources]) -> int:
    """How many trials run at a time where trials of several sizes are mixed: as many as fit of the smallest."""
    return max(worker_slots(resources) for resources in dict.fromkeys(takes))


def _trainable(config: dict[str, Any], assignments: Sequence[Assignment], overseer: Any) -> None:
    from ray import tune

    from study.work.ray_tune import STOPPED_RESULT

    assignment = assignments[config["index"]]
    try:
        with RemotePulse(overseer, assignment.trial.name) as pulse:
            reason = execute(assignment, pulse)
    except Interrupted:
        tune.report(STOPPED_RESULT)
    else:
        tune.report({"failed": reason is not None, "reason": reason or ""})
