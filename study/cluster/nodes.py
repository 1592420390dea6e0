"""Whether every node of a Ray cluster sees the place of a study and runs its code: asked before hours of work."""

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

NODE_PATIENCE = 10.0  # seconds until a network file system must have shown a new file
START = 300.0  # seconds that a node has to start a process, its runtime environment included
LEASE_MARK = ".lease"  # what a URL holds while a run goes on


def search_path(address: str | None) -> Any:
    """The part of Ray's configuration of a job that lets workers import the packages that this process has imported.

    Ray puts the working directory first in every worker's path: a checkout or a file named as a module there would be
    imported in place of what this process runs. For a job with a working directory of its own, and for Ray Client, Ray
    has another way, which stays.
    """
    from ray.job_config import JobConfig

    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ or (address or "").startswith(CLIENT):
        return None
    folder = str(code_folder())
    installed = folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}  # in the path of workers too
    return JobConfig(_client_job=True, _py_driver_sys_path=[] if installed else [folder])


def check_code() -> None:
    """Raise EnvironmentFault if a node's workers import other code than this process. Ray must be connected."""
    import ray
    from ray import cloudpickle

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    mine, here = code_hash(code_folder()), code_folder()
    cloudpickle.register_pickle_by_value(version)  # what a worker imports under that name is what is in question
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
    """What a function returns on each of these nodes. EnvironmentFault, which begins with `fault`, if one fails."""
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
    """Raise EnvironmentFault where a node that may run trials does not see `place`. Ray must be connected.

    For a URL: where a node cannot read it, for want of a package or of rights.
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
    """Whether this process sees a file, or can read a URL that a run holds."""
    if is_url(place):
        from study.store.remote import Remote

        return Remote(place).read(LEASE_MARK) is not None
    until = time.monotonic() + NODE_PATIENCE
    while not Path(place).exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True
