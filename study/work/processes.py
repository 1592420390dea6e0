"""Processes on the nodes of a Ray cluster, and how one is killed that answers nobody."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

LOW_MEMORY = "running low on memory"  # what Ray says of a process that its memory monitor has ended, in a page
RAN_LOW = "out of memory (the node ran low, and Ray ended a process on it)"


class NodeProcess(NamedTuple):
    """A process of Ray, wherever it is."""

    node: str  # as Ray names it
    pid: int
    created: float  # seconds since the epoch: another process may get its number later


def this_process() -> NodeProcess:
    """The one that asks. Ray must be connected."""
    import psutil
    import ray

    return NodeProcess(ray.get_runtime_context().get_node_id(), os.getpid(), psutil.Process().create_time())


def kill_process(process: NodeProcess) -> None:
    """SIGKILL from a task on its node, not waited for. Ray's own kill asks the process, which a stopped one ignores."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(process.node, soft=False)
    ray.remote(num_cpus=0, max_retries=0)(_kill).options(scheduling_strategy=there).remote(process.pid, process.created)


def _kill(pid: int, created: float) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.create_time() == created:
            process.kill()
