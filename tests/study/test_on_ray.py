"""Trials on a Ray of this machine and one after the other: the same results, whatever stops, dies or lies around.

The tests share one Ray, which starts in a folder with another checkout and with files that are named as packages.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import psutil
import pytest
import ray.cloudpickle
from ray import tune
from second_checkout import second_checkout, with_traps
from small_study import NoMirror, Said, command, marks, records, results, tables, write_study

from study import schedule
from study.space.spec import Resources
from study.version import code_folder

pytestmark = pytest.mark.slow

DOOMED = ("mtl_static", 1)  # method and seed whose process dies whenever it is tried
METHODS = ["stl", "rtm", "l3masking", "mtl_static"]
CANARY = "hf_CANARY0123456789abcdef"  # in the environment of the driver and of all that it starts


def fated(config: dict[str, Any], assignments: Any) -> None:
    """In the place of schedule._trainable, in the workers: notes process, place and program; kills the doomed one."""
    given = assignments[config["index"]]
    folder = given.root / "processes"
    folder.mkdir(exist_ok=True)
    note = folder / f"{given.trial.method}-{given.trial.seed}-{time.time_ns()}"
    note.write_text(f"{os.getpid()}\n{Path.cwd()}\n{Path(schedule.__file__).parents[1]}")
    if (given.trial.method, given.trial.seed) == DOOMED:
        os.kill(os.getpid(), signal.SIGKILL)
    original(config, assignments)


original = schedule._trainable


class Terminates(NoMirror):
    """Sends SIGTERM to the driver when the first trial is finished."""

    sent = False

    def add(self, record: Any) -> None:
        if not Terminates.sent:
            Terminates.sent = True
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Ray starts: nothing of it is to be imported. All runs of this file work in the one session."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    folder = with_traps(second_checkout(tmp_path_factory.mktemp("working-directory")))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"):
            patch.setenv(name, CANARY)
        patch.chdir(folder)
        with schedule.ray_session():
            patch.setattr("study.executor.ray_session", contextlib.nullcontext)
            yield folder
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class OnRay(NamedTuple):
    root: Path
    stopped: Said
    after_stop: dict[str, tuple[int, int]]
    finished: Said


@pytest.fixture(scope="module")
def on_ray(working_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> OnRay:
    """A study of eight trials on Ray: stopped by SIGTERM with one worker, continued with two, one trial doomed."""
    folder = tmp_path_factory.mktemp("on-ray")
    space, root = write_study(folder, methods=METHODS, resources={"workers": 1}), folder / "out"
    with mock.patch("study.score.SHARD_TEXTS", 8), mock.patch("study.schedule._trainable", fated):
        with mock.patch("study.run.Mirror", Terminates):
            stopped = command("run", space, "--out", root)
        after_stop = marks(root)
        with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.ray_tune.CRASHES", 1):
            finished = command("run", space, "--out", root, "--set", "resources.workers=2")
    return OnRay(root, stopped, after_stop, finished)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study in this process, undisturbed."""
    folder = tmp_path_factory.mktemp("serial")
    with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.score.SHARD_TEXTS", 8):
        said = command("run", write_study(folder, methods=METHODS), "--out", folder / "out")
    assert said.code == 0, said.err
    return folder / "out"


def test_serial_and_ray_give_equal_records_with_one_worker_or_two(on_ray: OnRay, serial: Path) -> None:
    """Everything but `run`. The first trial ran beside no other, the rest two at a time, in used processes too."""
    mine, theirs = records(on_ray.root), records(serial)
    doomed = {key for key, record in theirs.items() if (record["method"], record["seed"]) == DOOMED}
    assert len(doomed) == 2
    assert len(theirs) == 16
    assert mine.keys() == theirs.keys() - doomed
    assert {key: results(record) for key, record in mine.items()} == {
        key: results(record) for key, record in theirs.items() if key not in doomed
    }
    scores = [
        {path.relative_to(root): path.read_bytes() for path in root.glob("scores/*/*")}
        for root in (on_ray.root, serial)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 4


def test_neither_another_checkout_nor_a_file_of_the_working_directory_is_imported(
    on_ray: OnRay, working_directory: Path
) -> None:
    """The test before shows it of the scoring actors too: the other checkout gives other scores."""
    for note in (on_ray.root / "processes").iterdir():
        assert note.read_text().split("\n")[1:] == [str(working_directory), str(code_folder())]


def test_processes_are_used_again(on_ray: OnRay) -> None:
    tried = {path.name: path.read_text().split()[0] for path in (on_ray.root / "processes").iterdir()}
    finished = {name: pid for name, pid in tried.items() if not name.startswith(f"{DOOMED[0]}-{DOOMED[1]}-")}
    assert len(finished) >= 7
    assert max(Counter(finished.values()).values()) >= 2


def test_sigterm_under_ray_is_75_and_nothing_finished_runs_again(on_ray: OnRay) -> None:
    assert on_ray.stopped.code == 75, on_ray.stopped.err
    assert "the same command continues" in on_ray.stopped.out
    assert 2 <= len(on_ray.after_stop) < 14
    now = marks(on_ray.root)
    assert {name: now[name] for name in on_ray.after_stop} == on_ray.after_stop


def test_a_trial_whose_process_dies_fails_alone(on_ray: OnRay) -> None:
    from study.store.store import Store

    assert on_ray.finished.code == 1, on_ray.finished.err
    assert (
        "FAILED tiny / words / mtl_static / seed 1: its process died (out of memory, or killed), 2 times"
        in on_ray.finished.out
    )
    failures = Store(on_ray.root).failures()
    assert {(f["method"], f["seed"], f["objective"], f["attempts"]) for f in failures} == {
        (*DOOMED, "accuracy", 2),
        (*DOOMED, "macro_f1", 2),
    }
    assert all("its process died" in failure["reason"] for failure in failures)
    attempts = list((on_ray.root / "processes").glob(f"{DOOMED[0]}-{DOOMED[1]}-*"))
    assert len(attempts) == 2
    assert b"n=1/2" in tables(on_ray.root)["results.md"]


def dies_when_it_is_used_again(config: dict[str, Any], assignments: Any) -> None:
    """In the place of schedule._trainable, in the workers: the first trial returns, then its process waits to die."""
    from ray.train._internal.session import _TrainSession

    given = assignments[config["index"]]
    with open(given.notes, "a") as notes:
        notes.write(f"{given.name} {os.getpid()}\n")
    if Path(given.notes).read_text().count("\n") == 1:
        _TrainSession.reset = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    tune.report({"reason": ""})


def test_a_process_that_dies_between_two_trials_costs_none(
    working_directory: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(schedule, "_trainable", dies_when_it_is_used_again)
    told: list[Any] = []
    monkeypatch.setattr(schedule, "died", lambda given, *why: told.append((given.name, *why)))
    notes = tmp_path / "notes"
    given = [SimpleNamespace(name=name, resources=Resources(workers=1), notes=notes) for name in "abc"]
    listener = SimpleNamespace(
        started=lambda given: None, ended=lambda given, reason: told.append((given.name, reason))
    )
    schedule.run_on_ray(given, listener)  # type: ignore[arg-type]
    assert sorted(told) == [("a", None), ("b", None), ("c", None)]
    tries = [line.split() for line in notes.read_text().splitlines()]
    assert sorted(name for name, _ in tries) == ["a", "b", "c"], "each ran once"
    assert len({pid for _, pid in tries}) >= 2, "the first process did die"


def listeners() -> list[tuple[str, int]]:
    """Address and port of all sockets on which this process and those that it started listen."""
    found = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has just ended
            for one in process.net_connections("tcp"):
                if one.status == psutil.CONN_LISTEN:
                    found.add((one.laddr.ip, one.laddr.port))
    return sorted(found)


def test_nothing_listens_beyond_loopback(on_ray: OnRay) -> None:
    """S3, S-e: with the workers of the runs above there."""
    found = listeners()
    print(f"{len(found)} listeners")
    assert len(found) >= 6, "of Ray's head, its agents and this driver"
    assert {ip for ip, _ in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


QUESTIONS = (
    *("NodeInfoGcsService/CheckAlive", "NodeInfoGcsService/GetAllNodeInfo", "InternalKVGcsService/InternalKVKeys"),
    *("JobInfoGcsService/AddJob", "ActorInfoGcsService/GetAllActorInfo", "NodeManagerService/RequestWorkerLease"),
    *(
        "NodeManagerService/GetNodeStats",
        "CoreWorkerService/PushTask",
        "CoreWorkerService/Exit",
        "CoreWorkerService/KillActor",
    ),
)


def test_nobody_without_the_token_is_answered(on_ray: OnRay, tmp_path: Path) -> None:
    """S1, S-d: of each port the Jobs API and questions of Ray's own, without a token."""
    import grpc

    mark, answered, asked = tmp_path / "it-ran", [], 0
    job, kind = json.dumps({"entrypoint": f"touch {mark}"}).encode(), {"Content-Type": "application/json"}
    for _, port in listeners():
        for path in ("/api/jobs/", "/api/job_agent/jobs/"):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", job, kind)
            with contextlib.suppress(OSError, http.client.HTTPException):  # refused, or no HTTP
                urllib.request.urlopen(request, timeout=5)
                answered.append((port, path))
            asked += 1
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            for question in QUESTIONS:
                with contextlib.suppress(grpc.RpcError):
                    channel.unary_unary(f"/ray.rpc.{question}")(b"", timeout=2)
                    answered.append((port, question))
                asked += 1
    print(f"{asked} requests without a token, {len(answered)} answered")
    assert answered == []
    assert not mark.exists()
    assert ray.get(ray.remote(num_cpus=0)(lambda: "done").remote()) == "done", "with the token all is well"


def test_a_secret_of_the_environment_is_found_nowhere(on_ray: OnRay, capfd: pytest.CaptureFixture[str]) -> None:
    """S9, S-a: in all that a study leaves, its mirror too, in what was said, and in the logs and files of Ray."""
    assert ray.get(ray.remote(num_cpus=0)(lambda: os.environ.get("HF_TOKEN")).remote()) == CANARY, "workers have it"
    said = [
        on_ray.stopped,
        on_ray.finished,
        command("sync", on_ray.root),
        command("doctor"),
        command("status", on_ray.root),
    ]
    assert said[2].code == 0, said[2].err
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [path for place in (on_ray.root.parent, session) for path in place.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {
        "mlflow.db",
        "report.html",
        "resolved.yaml",
        "raylet.out",
        "gcs_server.out",
        "runtime_env_agent.log",
    } <= names
    secret = CANARY.encode()
    hits = [path for path in files if secret in path.read_bytes()]
    assert hits == []
    assert not [text for text in (*(part for one in said for part in one[1:]), *capfd.readouterr()) if CANARY in text]
    with capfd.disabled():
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes, {len(hits)} hits")
    (session / "logs" / "planted").write_bytes(secret)
    assert [path for path in session.rglob("planted") if secret in path.read_bytes()], "one that is there is found"
