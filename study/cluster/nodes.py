"""Whether every node of a Ray cluster sees the place of a study: asked before hours of work go where nobody looks."""

from __future__ import annotations

import time
from pathlib import Path

from l3masking.errors import EnvironmentFault
from l3masking.whole import temporary_name
from study.store.places import Place, is_url

PATIENCE = 10.0  # seconds until a network file system must have shown a new file
START = 300.0  # seconds that a node has to start a process, its runtime environment included
MARK = ".lease"  # what a URL holds while a run goes on


def check_shared(place: Place) -> None:
    """Raise EnvironmentFault where a node that may run trials does not see `place`. Ray must be connected.

    For a URL: where a node cannot read it, for want of a package or of rights.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    nodes = [node for node in nodes if node["NodeID"] != ray.get_runtime_context().get_node_id()]
    if not nodes:
        return
    mark = None if is_url(place) else Path(place) / temporary_name("seen")
    try:
        if mark is not None:
            mark.touch()
        look = ray.remote(num_cpus=0, max_retries=0)(sees)
        there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
        asked = [look.options(scheduling_strategy=node).remote(str(mark or place)) for node in there]
        seen = ray.get(asked, timeout=START)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
        said = str(error).strip().splitlines()
        raise EnvironmentFault(
            f"{place}: a node cannot be asked whether it sees it: {said[-1] if said else error!r}"
        ) from error
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)
    blind = sorted({node["NodeManagerAddress"] for node, sight in zip(nodes, seen, strict=True) if not sight})
    if blind:
        raise EnvironmentFault(
            f"{place}: not seen by the nodes {', '.join(blind)}; give --out a folder that all nodes share, or a URL "
            "such as s3://bucket/studies/name"
        )


def sees(place: str) -> bool:
    """Whether this process sees a file, or can read a URL that a run holds."""
    if is_url(place):
        from study.store.remote import Remote

        return Remote(place).read(MARK) is not None
    until = time.monotonic() + PATIENCE
    while not Path(place).exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True
