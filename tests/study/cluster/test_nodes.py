"""Whether nodes see the place of a study. The cluster is made up; a real one asks in test_jobs_on_ray.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from l3masking.errors import EnvironmentFault
from study.cluster import nodes
from study.cluster.nodes import check_shared, sees
from study.store.remote import Remote

Answers = Callable[[str], bool]


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name * 56, "NodeManagerAddress": f"10.0.0.{name}", "Alive": alive, "Resources": resources}


@pytest.fixture
def asked(monkeypatch) -> dict[str, Any]:
    """A cluster of a driver's node 1 and three others; which were asked, and what each of them answers."""
    state: dict[str, Any] = {"nodes": [], "answers": {}, "paths": []}
    there = [node("1", CPU=2), node("2", CPU=2), node("3", alive=False, CPU=2), node("4", CPU=1), node("5", memory=1)]

    def remote(**options: Any) -> Callable[[Answers], Any]:
        def options_of(scheduling_strategy: Any) -> Any:
            def call(place: str) -> bool:
                name = scheduling_strategy.node_id[0]
                state["nodes"].append(name)
                state["paths"].append(place)
                answer = state["answers"].get(name, sees)
                return answer(place)

            return SimpleNamespace(remote=call)

        return lambda function: SimpleNamespace(options=options_of)

    monkeypatch.setattr(ray, "nodes", lambda: there)
    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "get", lambda answers, timeout: answers)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "1" * 56))
    monkeypatch.setattr(nodes, "PATIENCE", 0.0)
    return state


def test_every_node_that_may_run_trials_is_asked(asked: dict[str, Any], tmp_path: Path) -> None:
    check_shared(tmp_path)
    assert asked["nodes"] == ["2", "4"]
    assert all(Path(path).parent == tmp_path for path in asked["paths"])
    assert list(tmp_path.iterdir()) == []


def test_nodes_that_do_not_see_it_are_named(asked: dict[str, Any], tmp_path: Path) -> None:
    asked["answers"] = {"4": lambda place: False}
    with pytest.raises(
        EnvironmentFault, match=r"not seen by the nodes 10\.0\.0\.4; give --out a folder that all"
    ) as fault:
        check_shared(tmp_path)
    assert str(tmp_path) in str(fault.value)
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_be_asked_is_a_fault(asked: dict[str, Any], tmp_path: Path, monkeypatch) -> None:
    def broken(answers: object, timeout: float) -> None:
        raise ray.exceptions.RayError("...\nModuleNotFoundError: No module named 'study'")

    monkeypatch.setattr(ray, "get", broken)
    with pytest.raises(EnvironmentFault, match=r"cannot be asked whether it sees it: .*No module named 'study'"):
        check_shared(tmp_path)


def test_one_node_alone_is_not_asked(asked: dict[str, Any], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [node("1", CPU=2)])
    check_shared(tmp_path / "not even there")
    assert asked["nodes"] == []


def test_a_url_is_seen_by_what_a_run_keeps_there(asked: dict[str, Any], tmp_path: Path) -> None:
    url = f"file://{tmp_path}/there"
    with pytest.raises(EnvironmentFault, match="not seen by the nodes"):
        check_shared(url)
    Remote(url).write(".lease", b"{}")
    check_shared(url)
    assert asked["paths"][-2:] == [url, url]


def test_a_slow_file_system_has_some_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 30.0)
    monkeypatch.setattr(nodes.time, "sleep", lambda seconds: (tmp_path / "mark").touch())
    assert sees(str(tmp_path / "mark"))
    monkeypatch.setattr(nodes, "PATIENCE", 0.0)
    assert not sees(str(tmp_path / "other"))
