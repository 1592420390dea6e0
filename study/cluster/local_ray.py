"""A Ray that is started on this machine for this machine alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

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
