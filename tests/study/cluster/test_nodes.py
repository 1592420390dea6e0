"""Whether nodes see the place of a study. The cluster is made up; a real one asks in test_jobs_on_ray.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from l3masking.errors import EnvironmentFault
from study import version
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
    monkeypatch.setattr(nodes, "NODE_PATIENCE", 0.0)
    return state


def test_nodes_that_run_other_code_are_named(asked: dict[str, Any], monkeypatch) -> None:
    mine = str(version.code_folder()), version.code_hash(version.code_folder())
    state: dict[str, Any] = {"1": ([mine[0]] * 2, mine[1]), "2": (["/another/node/of/a/job"] * 2, mine[1]), "4": None}

    def answers(fault: str, nodes: Any, question: Any, *words: object) -> list[Any]:
        return [state[node["NodeID"][0]] for node in nodes]

    monkeypatch.setattr(nodes, "ask_nodes", answers)
    for folders, code in ((["/other", "/other"], "0" * 16), (["/other", "nowhere"], "mixed")):
        state["4"] = folders, code
        with pytest.raises(EnvironmentFault) as fault:
            nodes.check_code()
        there = " and ".join(dict.fromkeys(folders))
        assert str(fault.value).startswith(
            f"workers on 10.0.0.4 import l3masking and study from {there} (code {code}), "
            f"but this program is {mine[0]} (code {mine[1]}); install the same version"
        )
    state["4"] = ["/shared", "/shared"], mine[1]
    nodes.check_code()


def test_the_question_which_code_runs_travels_by_value(asked: dict[str, Any], monkeypatch) -> None:
    """Another program under our name need not have it: here it is answered where none is."""
    import pickle

    from ray import cloudpickle

    sent: list[bytes] = []

    def answers(fault: str, nodes: Any, question: Any, *words: object) -> list[Any]:
        sent.append(cloudpickle.dumps(question))
        code = (
            "import sys; sys.path.insert(0, sys.argv[2]); import pickle\n"
            "print(pickle.loads(bytes.fromhex(sys.argv[1]))()); print('study' in sys.modules)"
        )
        words = ("-P", "-S", "-c", code, sent[0].hex(), str(Path(ray.__file__).parent.parent))
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        state = done.stdout.split("\n")
        assert state[1] == "False"
        return [eval(state[0])] * len(nodes)

    monkeypatch.setattr(nodes, "ask_nodes", answers)
    with pytest.raises(EnvironmentFault, match=r"from nowhere \(code mixed\)"):
        nodes.check_code()
    assert b"nowhere" in sent[0]
    assert pickle.loads(cloudpickle.dumps(version.imported_code)) is version.imported_code  # by name again


def test_workers_have_our_packages_and_not_the_working_directory_in_their_path(monkeypatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    ours = str(version.code_folder())
    for address in (None, "head:6379"):
        config = nodes.search_path(address)
        assert config._py_driver_sys_path == [ours]
        assert config._client_job  # Ray's name for: do not add the working directory
    monkeypatch.setattr(nodes.sysconfig, "get_path", lambda name: ours)
    assert nodes.search_path(None)._py_driver_sys_path == [], "a wheel is in their path as it is"
    assert nodes.search_path("ray://head:10001") is None
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert nodes.search_path("head:6379") is None


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
    monkeypatch.setattr(nodes, "NODE_PATIENCE", 30.0)
    monkeypatch.setattr(nodes.time, "sleep", lambda seconds: (tmp_path / "mark").touch())
    assert sees(str(tmp_path / "mark"))
    monkeypatch.setattr(nodes, "NODE_PATIENCE", 0.0)
    assert not sees(str(tmp_path / "other"))
