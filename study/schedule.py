"""Trials that are left, run under Ray Tune or one after the other.

Tune only schedules. What is finished is decided by the records, so its own state is never read back.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from l3masking.errors import EnvironmentFault
from study.assignment import Assignment
from study.cluster.access import guard_token
from study.cluster.local_ray import on_loopback
from study.cluster.nodes import check_code, search_path
from study.cluster.ray_address import VARIABLE, joined
from study.space.spec import Resources
from study.trial import died, execute
from study.workers import worker_slots


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
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with nullcontext() if address else on_loopback():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, job_config=search_path(address), **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"{VARIABLE}={os.environ[VARIABLE]}: cannot be joined" if address else "Ray does not start here"
        raise EnvironmentFault(f"{what} ({said}); `l3study doctor` looks for the cause") from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, which ends the process
    try:
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
    "TOKENIZERS_PARALLELISM": "false",
}


def run_on_ray(assignments: Sequence[Assignment], listener: Listener) -> None:
    """All trials, in the given order as slots come free. Raises Stopped on SIGTERM or Ctrl-C.

    A trial that raises has written its own failure. A process that dies is retried CRASHES times and then reported.
    Some deaths end a whole Tuner (Ray's memory monitor, a lost node) or leave one trial behind (between two trials):
    what has no end gets a new one, ROUNDS times in all, and is then reported as failed too.
    """
    from study.ray_tune import ROUNDS

    waiting = list(assignments)
    broken: str | None = None
    for _ in range(ROUNDS):
        if not waiting:
            return
        left, broken = _round(waiting, listener)
        waiting = [waiting[index] for index in sorted(left)]
        if waiting and broken is None:  # Tune returns early only where it was asked to
            raise Stopped(f"stopped with {len(waiting)} trials left")
    for assignment in waiting:
        reason = f"Ray Tune ended {ROUNDS} times before this trial did: {broken}"
        died(assignment, reason, ROUNDS)
        listener.ended(assignment, reason)


def _round(assignments: Sequence[Assignment], listener: Listener) -> tuple[set[int], str | None]:
    """One Tuner over all of `assignments`: the indices of those without an end, and why another is to run them."""
    from ray import tune

    from study.ray_tune import run_tuner

    takes = [assignment.resources for assignment in assignments]  # the trials themselves need not travel with this
    left = set(range(len(assignments)))
    broken = run_tuner(
        "trials",
        tune.with_parameters(_trainable, assignments=list(assignments)),
        takes,
        "index",
        _watch(assignments, left, listener),
        at_once=most_slots(takes),
        param_space={"index": tune.grid_search(sorted(left))},
    )
    return left, broken


def _watch(assignments: Sequence[Assignment], left: set[int], listener: Listener) -> Any:
    """Tells the listener of trials, and takes those that have ended out of `left`."""
    from study.ray_tune import CRASHES, Watch

    def begun(trial: Any) -> None:
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
        begun=begun,
    )


def most_slots(takes: Iterable[Resources]) -> int:
    """How many trials run at a time where trials of several sizes are mixed: as many as fit of the smallest."""
    return max(worker_slots(resources) for resources in dict.fromkeys(takes))


def _trainable(config: dict[str, Any], assignments: Sequence[Assignment]) -> None:
    from ray import tune

    reason = execute(assignments[config["index"]])
    tune.report({"failed": reason is not None, "reason": reason or ""})
