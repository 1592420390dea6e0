"""Trials on a Ray of this machine and one after the other: the same results, whatever stops, dies or lies around.

The tests share one Ray, which starts in a folder with another checkout and with files that are named as packages.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import psutil
import pytest
import ray.cloudpickle
from ray import tune
from second_checkout import second_checkout, with_traps
from small_study import NoMirror, Said, command, marks, records, results, tables, write_rows, write_study
from small_task import rows

from study import schedule
from study.artefacts import Piece, Shard, Work, parts
from study.gpu import GpuLost
from study.plan.inputs import identify, sources
from study.score import ScoreJob
from study.space.reader import read_space
from study.space.spec import Resources
from study.version import code_folder
from study.work.pulse import RemotePulse
from study.work.stopping import Stopped
from study.work.workers import ArtefactWorker, execute_on_ray

pytestmark = pytest.mark.slow

PROMPT = 20.0  # seconds from the request to stop to the exit code, on two cores

DOOMED = ("mtl_static", 1)  # method and seed whose process dies whenever it is tried
METHODS = ["stl", "rtm", "l3masking", "mtl_static"]
CANARY = "hf_CANARY0123456789abcdef"  # in the environment of the driver and of all that it starts


def fated(config: dict[str, Any], assignments: Any, overseer: Any) -> None:
    """In the place of schedule._trainable, in the workers: notes process, place and program; kills the doomed one.

    The first training in its final stage takes its next step when it has been told to end.
    """
    given = assignments[config["index"]]
    folder = given.root / "processes"
    folder.mkdir(exist_ok=True)
    note = folder / f"{given.trial.method}-{given.trial.seed}-{time.time_ns()}"
    note.write_text(f"{os.getpid()}\n{Path.cwd()}\n{Path(schedule.__file__).parents[1]}")
    if (given.trial.method, given.trial.seed) == DOOMED:
        os.kill(os.getpid(), signal.SIGKILL)
    flight = given.root / "in-flight"

    def beat(self: Any, stage: str) -> bool:
        if list((given.root / "records").glob("[!.]*.json")) and not flight.exists():
            flight.write_text(given.trial.trajectory)
            while not step(self, stage):
                time.sleep(0.01)
        return step(self, stage)

    with mock.patch.object(RemotePulse, "beat", beat):
        original(config, assignments, overseer)


original, step = schedule._trainable, RemotePulse.beat


class Terminates(NoMirror):
    """Sends SIGTERM to the driver when a trial is finished and another one is in flight."""

    root: Path
    sent = 0.0

    def add(self, record: Any) -> None:
        if not Terminates.sent:
            Terminates.sent = time.monotonic()
            threading.Thread(target=self.terminate).start()

    def terminate(self) -> None:
        until(lambda: (self.root / "in-flight").exists())
        Terminates.sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)


def until(true: Callable[[], bool]) -> None:
    """Wait."""
    limit = time.monotonic() + 100
    while not true():
        assert time.monotonic() < limit, "it takes too long"
        time.sleep(0.02)


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
    seconds: float  # from SIGTERM to the exit code
    waiting: list[Path]  # checkpoints after the stop
    after_stop: dict[str, tuple[int, int]]
    finished: Said


@pytest.fixture(scope="module")
def on_ray(working_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> OnRay:
    """A study of eight trials on Ray: stopped by SIGTERM with one worker, continued with two, one trial doomed."""
    folder = tmp_path_factory.mktemp("on-ray")
    space, root = write_study(folder, methods=METHODS, resources={"workers": 1}), folder / "out"
    with mock.patch("study.score.SHARD_TEXTS", 8), mock.patch("study.schedule._trainable", fated):
        Terminates.root = root
        with mock.patch("study.run.Mirror", Terminates):
            stopped = command("run", space, "--out", root)
        seconds, after_stop = time.monotonic() - Terminates.sent, marks(root)
        waiting = sorted(root.glob("checkpoints/*/*/*.json"))
        with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.work.ray_tune.CRASHES", 1):
            finished = command("run", space, "--out", root, "--set", "resources.workers=2")
    return OnRay(root, stopped, seconds, waiting, after_stop, finished)


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


def test_a_stop_under_ray_is_prompt_and_the_training_in_flight_goes_on(on_ray: OnRay) -> None:
    """Its record equals that of the serial run, as all do."""
    assert on_ray.seconds < PROMPT
    (checkpoint,) = on_ray.waiting
    trajectory = (on_ray.root / "in-flight").read_text()
    assert checkpoint.parent.parent.name == trajectory
    resumed = {record["trajectory"]: record["run"].get("resumed") for record in records(on_ray.root).values()}
    assert resumed == {one: 1 if one == trajectory else None for one in resumed}
    assert not list(on_ray.root.glob("checkpoints/*"))


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


def never_ends(config: dict[str, Any], assignments: Any, overseer: Any) -> None:
    """In the place of schedule._trainable, in the workers: comes to no step."""
    given = assignments[config["index"]]
    with RemotePulse(overseer, given.name):
        Path(given.notes).write_text(str(os.getpid()))
        time.sleep(1000)


def test_a_training_that_comes_to_no_step_is_killed_after_a_stop(
    working_directory: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(schedule, "_trainable", never_ends)
    notes = tmp_path / "pid"
    given = [SimpleNamespace(name=name, resources=Resources(workers=1), notes=notes) for name in "ab"]
    monkeypatch.setattr(schedule, "finished", lambda given: False)
    sent: list[float] = []

    def interrupt() -> None:
        until(notes.exists)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Stopped, match="2 trainings left"):
        schedule.run_on_ray(given, SimpleNamespace(started=lambda given: None))  # type: ignore[arg-type]
    assert time.monotonic() - sent[0] < PROMPT
    assert "a: did not end in time, and was killed" in caplog.text
    pid = int(notes.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())


def dies_when_it_is_used_again(config: dict[str, Any], assignments: Any, overseer: Any) -> None:
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


class Fated:
    """A job of which some shards meet something when they are first made; it notes who makes which."""

    key, name, suffix, may_fail = "k", "making numbers", "txt", False

    def __init__(self, notes: Path, fates: dict[int, str]) -> None:
        self.notes, self.fates = notes, fates

    def make(self, shard: Shard, resources: Resources, folders: Any, step: Any) -> Piece:
        fate = self.fates.get(shard.number) if f"{shard.number} " not in self.read() else None
        with self.notes.open("a") as notes:
            notes.write(f"{shard.number} {os.getpid()}\n")
        if fate == "gpu":
            raise RuntimeError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`")
        if fate is not None:
            time.sleep(0.3)  # Ray sends what the process has said so far
            os.kill(os.getpid(), getattr(signal, fate))
        for _ in range(3):
            time.sleep(0.1)
            step()
        return Piece(f"{shard.number}\n".encode(), 1)

    def read(self) -> str:
        return self.notes.read_text()


def gone(pid: int) -> None:
    """Wait until a process has ended, although it was stopped."""
    until = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, "the stopped process is still there"
            time.sleep(0.1)


def test_scoring_workers_that_hang_die_or_lose_their_gpu_are_replaced(
    working_directory: Path, tmp_path: Path, caplog
) -> None:
    (tmp_path / "notes").touch()
    job: Any = Fated(tmp_path / "notes", {2: "SIGSTOP", 5: "gpu", 7: "SIGKILL"})
    resources = Resources(workers=2, patience_minutes=0.05)
    works = (Work(job, tmp_path / "parts", {}, resources, Shard(number, ())) for number in range(10))
    assert sorted(done.number for done in execute_on_ray(works, 10)) == list(range(10))
    assert {number: path.read_text() for number, path in parts(tmp_path / "parts")} == {
        number: f"{number}\n" for number in range(10)
    }
    tries = [line.split() for line in job.read().splitlines()]
    assert Counter(number for number, _ in tries) == {str(n): 2 if n in job.fates else 1 for n in range(10)}
    for number in job.fates:  # a process that has met its fate makes nothing any more
        (pid,) = {next(pid for made, pid in tries if made == str(number))}
        assert [made for made, by in tries if by == pid][-1] == str(number)
    gone(int(next(pid for number, pid in tries if number == "2")))
    said = sorted(record.getMessage() for record in caplog.records if record.name == "study.work.crew")
    assert [line.split(" (")[0] for line in said] == [
        "making numbers: a worker died",
        "making numbers: a worker lost its GPU",
        said[2],
    ]
    assert said[2].startswith("making numbers: a worker made no progress for ")
    assert said[2].endswith(" s at shard 2; another one goes on")


def meets_its_fate(config: dict[str, Any], assignments: Any, overseer: Any) -> None:
    """In the place of schedule._trainable, in the workers: one training hangs once, one loses its GPU each time."""
    given = assignments[config["index"]]
    with open(given.notes, "a") as notes:
        notes.write(f"{given.name} {os.getpid()}\n")
    first = Path(given.notes).read_text().count(f"{given.name} ") == 1
    with RemotePulse(overseer, f"training {given.name}") as pulse:
        for _ in range(15):
            pulse.beat("training")
            time.sleep(0.1)
        if given.fate == "gpu":
            raise GpuLost("CUDA error: an assert")
        if first and given.fate == "hang":
            time.sleep(0.2)  # Ray sends the last beat
            os.kill(os.getpid(), signal.SIGSTOP)
    tune.report({"reason": ""})


def test_a_training_that_hangs_or_loses_its_gpu_gets_another_process(
    working_directory: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(schedule, "_trainable", meets_its_fate)
    monkeypatch.setattr("study.work.ray_tune.CRASHES", 1)
    told: list[Any] = []
    dead: list[Any] = []
    monkeypatch.setattr(schedule, "died", lambda given, *why: dead.append((given.name, *why)))
    notes, resources = tmp_path / "notes", Resources(workers=2, patience_minutes=0.05)
    given: list[Any] = [
        SimpleNamespace(name=name, resources=resources, notes=notes, fate=fate)
        for name, fate in {"a": "hang", "b": "gpu"}.items()
    ]
    listener = SimpleNamespace(
        started=lambda given: None, ended=lambda given, reason: told.append((given.name, reason))
    )
    schedule.run_on_ray(given, listener)  # type: ignore[arg-type]
    reason = "it lost its GPU (CUDA error: an assert), 2 times"
    assert sorted(told) == [("a", None), ("b", reason)]
    assert dead == [("b", reason, 2)]
    tries = [line.split() for line in notes.read_text().splitlines()]
    assert sorted(name for name, _ in tries) == ["a", "a", "b", "b"]
    pids = {name: [pid for of, pid in tries if of == name] for name in "ab"}
    assert pids["a"][0] != pids["a"][1]
    assert pids["b"][0] not in (pids["b"][1], pids["a"][1]), "a process without a GPU is never used again"
    gone(int(pids["a"][0]))
    (said,) = (record.getMessage() for record in caplog.records if record.name == "study.work.hangs")
    assert re.fullmatch(r"training a: no progress for \d+ s at step \d+ of training; its process is ended", said)


KILLS = 10


class Slowed:
    """A scoring job whose workers note what they are at, and wait a moment so that they can be killed there."""

    def __init__(self, job: Any, notes: Path) -> None:
        self.job, self.notes = job, notes
        self.key, self.name, self.suffix, self.may_fail = job.key, job.name, job.suffix, job.may_fail

    def make(self, shard: Shard, resources: Resources, folders: Any, step: Any) -> Piece:
        with self.notes.open("a") as notes:
            notes.write(f"{shard.number} {os.getpid()}\n")
        time.sleep(0.5)
        return self.job.make(shard, resources, folders, step)  # type: ignore[no-any-return]


# long: test_scoring_workers_that_hang_die_or_lose_their_gpu_are_replaced kills one; here KILLS, with real scores
@pytest.mark.long
def test_kills_while_scoring_lose_and_change_nothing(working_directory: Path, tmp_path: Path) -> None:
    space = write_study(tmp_path)
    write_rows(tmp_path / "train.jsonl", *rows(60, seed=4))
    spec = read_space(space)
    encoder, data = sources(spec, identify(spec, lambda line: None), "tiny", "words")
    job = ScoreJob(encoder=encoder, data=data, scoring=spec.scoring, precision=spec.precision)
    resources, notes = Resources(workers=2), tmp_path / "notes"
    notes.touch()
    draw, killed, told = random.Random(5), [], []
    with mock.patch("study.score.SHARD_TEXTS", 2):
        shards = list(job.shards(range(job.num_shards())))
        for work in (Work(job, tmp_path / "serial", {}, resources, shard) for shard in shards):
            ArtefactWorker(resources).make(work)
    slowed: Any = Slowed(job, notes)
    over = threading.Event()

    def kill() -> None:
        """Again and again one that has just begun a shard, none twice."""
        while len(killed) < KILLS and not over.wait(0.05 + 0.4 * draw.random()):
            begun = [int(line.split()[1]) for line in notes.read_text().splitlines()][-1:]
            for pid in set(begun) - set(killed):
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with mock.patch("study.work.crew.RETRIES", KILLS):  # a shard may be met by several of so many kills
            works = (Work(slowed, tmp_path / "killed", {}, resources, shard) for shard in shards)
            told = [done.number for done in execute_on_ray(works, len(shards))]
    finally:
        over.set()
        thread.join()
    assert sorted(told) == list(range(len(shards)))
    assert len(killed) == KILLS, "all kills fell into the scoring"
    found = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("serial", "killed")]
    assert found[0] == found[1]
    tries = Counter(line.split()[0] for line in notes.read_text().splitlines())
    assert sum(tries.values()) <= len(shards) + 2 * KILLS, (
        "at most the shard under way, and one whose end was not told yet"
    )


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
