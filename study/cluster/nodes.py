"""Check that every node of a Ray cluster sees the place of a study and runs its code, before hours of work."""

from __future__ import annotations

import os
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from l3masking.errors import EnvironmentFault
from l3masking.whole import temporary_name
from study import version
from study.cluster.ray_address import CLIENT
from study.store.places import Place, is_url
from study.version import OWN_PACKAGES, code_folder, code_hash

NODE_PATIENCE = 10.0  # seconds within which a network file system must show a new file
START = 300.0  # seconds for a node to start a process, including its runtime environment
LEASE_MARK = ".lease"  # exists at a URL while a run is going on


def search_path(address: str | None) -> Any:
    """The part of Ray's job configuration that makes workers import the same packages as this process.

    Ray puts the working directory first in every worker's path, so that a checkout or a file there could be imported
    instead of the code of this process. A job with its own working directory and Ray Client keep Ray's own way.
    """
    from ray.job_config import JobConfig

    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ or (address or "").startswith(CLIENT):
        return None
    folder = str(code_folder())
    installed = folder in {
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }  # workers have it in their path
    return JobConfig(_client_job=True, _py_driver_sys_path=[] if installed else [folder])


def check_code() -> None:
    """Raise EnvironmentFault if a node's workers import other code than this process. Ray must be connected."""
    import ray
    from ray import cloudpickle

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    mine, here = code_hash(code_folder()), code_folder()
    cloudpickle.register_pickle_by_value(version)  # a worker may import other code under this name
    try:
        found = ask_nodes("a node cannot be asked what code it runs", nodes, version.imported_code)
    finally:
        cloudpickle.unregister_pickle_by_value(version)
    for node, (folders, code) in zip(nodes, found, strict=True):
        if code != mine:
            there = " and ".join(dict.fromkeys(folders))
            raise EnvironmentFault(
                f"workers on {node['NodeManagerAddress']} import {' and '.join(OWN_PACKAGES)} from {there} (code "
                f"{code}), but this program is {here} (code {mine}); install the same version on all nodes, and remove "
                "other copies from PYTHONPATH"
            )


def ask_nodes(fault: str, nodes: Sequence[Any], question: Callable[..., Any], *words: object) -> list[Any]:
    """The results of a function on these nodes. Raises EnvironmentFault, which begins with `fault`, if one fails."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = ray.remote(num_cpus=0, max_retries=0)(question)
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    try:
        return ray.get([asked.options(scheduling_strategy=node).remote(*words) for node in there], timeout=START)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
        said = str(error).strip().splitlines()
        raise EnvironmentFault(f"{fault}: {said[-1] if said else error!r}") from error


def check_shared(place: Place) -> None:
    """Raise EnvironmentFault if a node that may run trials does not see `place`. Ray must be connected.

    A node does not see a URL if it cannot read it, because a package or a permission is missing.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    nodes = [node for node in nodes if node["NodeID"] != ray.get_runtime_context().get_node_id()]
    if not nodes:
        return
    mark = None if is_url(place) else Path(place) / temporary_name("seen")
    try:
        if mark is not None:
            mark.touch()
        fault = f"{place}: a node cannot be asked whether it sees it"
        seen = ask_nodes(fault, nodes, sees, str(mark or place))
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
    """Whether this process sees a file, or can read a URL with a run's lease."""
    if is_url(place):
        from study.store.remote import Remote

        return Remote(place).read(LEASE_MARK) is not None
    until = time.monotonic() + NODE_PATIENCE
    while not Path(place).exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True
