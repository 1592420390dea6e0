"""A node of the cluster is gone in the middle of a training: it continues on another one, from its checkpoint."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import ray
from ray.cluster_utils import Cluster
from small_study import NoMirror, command, records, results, write_study

from study import schedule
from study.checkpoints import StageCheckpoints
from study.store.places import CHECKPOINTS
from study.store.store import Store

# long: test_jobs_on_ray.py loses a node too; here its training continues from its checkpoint
pytestmark = pytest.mark.long
SPACE: dict[str, Any] = {"methods": ["stl"], "seeds": 2, "train": {"batch": 8, "accumulate": 1, "max_epochs": 8}}
SIZE = {"num_cpus": 1, "object_store_memory": 100_000_000}
WAIT = 200.0  # seconds, on a busy machine


def slowed(config: dict[str, Any], assignments: Any, **more: Any) -> None:
    """In the place of schedule._trainable, in the workers: notes where it runs, and takes its time for each step."""
    beat = StageCheckpoints.beat

    def slow(self: StageCheckpoints, make: Any) -> None:
        time.sleep(0.2)
        beat(self, make)

    given = assignments[config["index"]]
    with (given.root / "starts").open("a") as notes:
        notes.write(f"{given.trial.seed} {given.trial.trajectory} {ray.get_runtime_context().get_node_id()}\n")
    with mock.patch.object(StageCheckpoints, "beat", slow):
        original(config, assignments, **more)


original = schedule._trainable


def starts(root: Path) -> list[list[str]]:
    """Seed, trajectory and node of each start."""
    path = root / "starts"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of one processor each; this process is a driver on the first one."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    made = Cluster(initialize_head=True, head_node_args=SIZE | {"include_dashboard": False})
    try:
        ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_training_that_is_lost_with_its_node_continues_on_another(cluster: Cluster, tmp_path: Path) -> None:
    """Tune itself retries nothing here: the loss is not counted as a death of the training's own."""
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", write_study(tmp_path / "serial", **SPACE), "--out", tmp_path / "serial/out")
    assert said.code == 0, said.err
    node, root = cluster.add_node(**SIZE), tmp_path / "out"
    lost: list[str] = []

    def take_away() -> None:
        """Once a training there has a checkpoint."""
        until = time.monotonic() + WAIT
        while time.monotonic() < until and not lost:
            there = [path for _, path, where in starts(root) if where == node.node_id]
            lost.extend(path for path in there if list((root / CHECKPOINTS / path).glob("**/*.safetensors")))
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=take_away)
    thread.start()
    space = write_study(tmp_path, **SPACE, resources={"executor": "ray", "checkpoint_minutes": 0})
    with (
        mock.patch("study.executor.ray_session", contextlib.nullcontext),
        mock.patch("study.schedule._trainable", slowed),
        mock.patch("study.work.ray_tune.CRASHES", 0),
        mock.patch("study.run.Mirror", NoMirror),
    ):
        said = command("run", space, "--out", root)
    thread.join()
    assert said.code == 0, said.out + said.err
    assert len(lost) == 1
    nodes = {path: [where for _, of, where in starts(root) if of == path] for _, path, _ in starts(root)}
    assert {path: len(where) for path, where in nodes.items()} == {path: 1 + (path in lost) for path in nodes}
    assert nodes[lost[0]][0] == node.node_id != nodes[lost[0]][1]
    mine, theirs = records(root), records(tmp_path / "serial/out")
    assert {key: results(record) for key, record in mine.items()} == {
        key: results(record) for key, record in theirs.items()
    }
    for record in mine.values():
        assert record["run"].get("resumed", 0) == (record["trajectory"] in lost)
        assert record["run"]["attempts"] == 1
    assert Store(root).failures() == []
