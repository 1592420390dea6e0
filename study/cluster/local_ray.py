"""A Ray that is started on this machine for this machine alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from study.exit_codes import ENVIRONMENT_FAULT
from study.repeating import repeated

LOOK_SECONDS = 0.5
JOINABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's variable: whether other machines may join


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that is started inside listens on the loopback interface alone, and so do the workers that it starts later.

    Ray does so by itself on Windows and macOS, unless other machines are to join; this asks for the same here. Without
    it, all of Ray's listeners but the dashboard are on every interface, whatever address its node is given.
    """
    from ray._private import ray_constants

    given, constant = os.environ.get(JOINABLE), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[JOINABLE] = "0"  # for the processes of Ray; the constant, read on import, is for this one
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if given is None:
            del os.environ[JOINABLE]
        else:
            os.environ[JOINABLE] = given


def raylet() -> subprocess.Popen[bytes]:
    """The raylet that this process has started. Ray must run."""
    from ray._private import worker

    return worker._global_node.all_processes["raylet"][0].process  # type: ignore[no-any-return,union-attr]


def ending_with(process: subprocess.Popen[bytes]) -> contextlib.AbstractContextManager[None]:
    """Where the raylet dies inside, this process ends in one line with ENVIRONMENT_FAULT.

    Ray would end it ten seconds later, from C++, after pages of text and with the exit code of failed trainings.
    """

    def look() -> None:
        if process.poll() is not None:
            print(
                f"l3study: Ray's raylet (process {process.pid}) died: killed, or out of memory; "
                "finished trainings stay, the same command continues",
                file=sys.stderr,
                flush=True,
            )
            os._exit(ENVIRONMENT_FAULT)

    return repeated(look, LOOK_SECONDS, "watches-raylet")
