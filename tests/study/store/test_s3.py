"""Studies at s3://: a real S3 protocol, spoken by s3fs to a moto server on loopback that these tests start."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import s3fs
from small_records import KEY, record
from small_study import NoMirror, command, records, results, tables, write_study

import study.run
import study.trial
from l3masking.errors import EnvironmentFault, InputError
from study.checkpoints import StageCheckpoints
from study.store import lease, remote, remote_store
from study.store.remote import Remote, copy_of
from study.store.remote_store import RemoteStore
from study.store.store import NondeterminismWarning, QuarantineWarning, Store, content_key

PROJECT = Path(__file__).resolve().parents[3]
WAIT = 120.0  # seconds until a started process must have come so far, on a busy machine
BEAT, PATIENCE = 0.1, 25.0  # a newcomer waits 2.5 s
BUCKET = "studies"
DRIVER = """
import contextlib, sys, threading, time
from pathlib import Path
from unittest import mock
import study.run, study.trial
from small_study import NoMirror

def replace(name, value):
    mock.patch(name, value).start()

real = study.trial.run_trial
replace("study.run.Mirror", NoMirror)
replace("study.store.lease.socket.gethostname", lambda: "elsewhere")
{changes}
replace("study.trial.run_trial", run_trial)
from study.cli.app import main
main()
"""
STUCK = f"""
replace("study.store.lease.LEASE_BEAT", {BEAT})
begun = []
def run_trial(*words, **more):
    begun.append(1)
    if len(begun) > 2:
        threading.Event().wait()
    return real(*words, **more)
"""
KILLED = f"""
import os, signal
replace("study.store.lease.LEASE_BEAT", {BEAT})

def beat(self, make):
    if list(self._folder.glob("*.json")):
        os.kill(os.getpid(), signal.SIGKILL)

replace("study.checkpoints.StageCheckpoints.beat", beat)
run_trial = real
"""
TOGETHER = """
replace("study.store.remote_store.lease", lambda remote: contextlib.nullcontext())
from test_s3 import met
run_trial = met(real, Path(sys.argv.pop()), "a")
"""
UPLOAD = """
import asyncio, sys
from pathlib import Path
import s3fs
from study.store.remote import Remote
real = s3fs.S3FileSystem._call_s3

async def call(self, method, *words, **more):
    if method == "upload_part" and more["PartNumber"] > 1:
        await asyncio.sleep(1000)
    return await real(self, method, *words, **more)

s3fs.S3FileSystem._call_s3 = call
Remote(sys.argv[1]).write_file("models/x/model.safetensors", Path(sys.argv[2]))
"""


def met(run_trial: Callable[..., Any], folder: Path, name: str) -> Callable[..., Any]:
    """The same for one of two drivers; none begins a training before the other one does."""

    def waiting(*words: Any, **more: Any) -> Any:
        (folder / name).touch()
        limit = time.monotonic() + WAIT
        while len(list(folder.iterdir())) < 2:
            assert time.monotonic() < limit, "the other driver never came"
            time.sleep(0.01)
        return run_trial(*words, **more)

    return waiting


class OneByOne:
    """S3 decides about a key in one step. moto looks and writes in two, so requests are answered one by one."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app, self._lock = app, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with self._lock:
            return list(self._app(environ, start_response))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = OneByOne(DomainDispatcherApplication(create_backend_app))
    serving = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.fixture(autouse=True)
def files(server: str, monkeypatch) -> Iterator[Any]:
    """The file system of s3fs, with a bucket; what it needs is in the environment, as users give it."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    made = s3fs.S3FileSystem()
    if not made.exists(BUCKET):
        made.mkdir(BUCKET)
    yield made
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def url() -> str:
    """An empty place."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/small"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch) -> Callable[[str], None]:
    """From here on, this process is that machine: it has a cache, and so copies, of its own."""
    return lambda name: monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / name))


@pytest.fixture
def on(url: str, machine) -> Callable[[str], RemoteStore]:
    """The store of the study, as a fresh process of a machine opens it."""

    def opened(name: str) -> RemoteStore:
        machine(name)
        return RemoteStore(url)

    return opened


def driver(changes: str, *words: object) -> subprocess.Popen[str]:
    """`l3study WORDS` in a process of its own, on a machine of another name."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(changes=changes), *map(str, words)],
        cwd=PROJECT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "tests" / "support", Path(__file__).parent))),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Return when it is so; the process must be alive until then."""
    limit = time.monotonic() + WAIT
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "it takes too long"
        time.sleep(0.05)


def inside_the_server() -> Any:
    """What moto keeps in memory."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def at(url: str, folder: Path) -> Path:
    """A folder with everything that lies at a URL."""
    there = Remote(url)
    for name, content in there.read_all(list(there.names())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_files_are_written_read_listed_created_and_removed(url: str, tmp_path: Path) -> None:
    there = Remote(f"{url} [1] with%20signs")
    assert there.names() == {}
    assert there.read("records/a.json") is None
    there.write("records/a.json", b"one")
    (tmp_path / "local").write_bytes(b"three")
    there.write_file("tables/b.md", tmp_path / "local")
    assert not there.create("records/a.json", b"another")
    assert there.create("records/a.json", b"one"), "the answer to a request that was repeated"
    assert there.create("records/c.json", b"c")
    assert Remote(there.url).names() == {"records/a.json": 3, "records/c.json": 1, "tables/b.md": 5}
    wanted = ["records/a.json", "records/gone.json", "tables/b.md"]
    assert dict(there.read_all(wanted)) == {"records/a.json": b"one", "tables/b.md": b"three"}
    there.remove("records/a.json")
    there.remove("records/a.json")
    assert Remote(there.url).names("records") == {"records/c.json": 1}


def test_more_files_than_one_listing_shows(url: str) -> None:
    """S3 lists a thousand names at a time."""
    base = url.removeprefix(f"s3://{BUCKET}/")
    for number in range(1003):
        inside_the_server().put_object(BUCKET, f"{base}/records/{number:04d}.json", b"x")
    names = Remote(url).names("records")
    assert len(names) == 1003
    assert dict(Remote(url).read_all(list(names)[:200])) == dict.fromkeys(list(names)[:200], b"x")


def test_faults_of_the_place_are_named(url: str, monkeypatch, machine) -> None:
    machine("a")
    monkeypatch.setattr(remote, "WAITS", ())
    assert Remote("s3://no-such-bucket/small").names() == {}
    with pytest.raises(
        EnvironmentFault, match="s3://no-such-bucket/small: there is no such place to write to; make it"
    ):
        Remote("s3://no-such-bucket/small").write("a", b"x")
    with pytest.raises(EnvironmentFault, match="there is no such place to write to"):
        Remote("s3://no-such-bucket/small").create("a", b"x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    s3fs.S3FileSystem.clear_instance_cache()
    said = command("status", url)
    assert said.code == 3
    assert said.err == f"l3study: {url}: cannot list there (NoCredentialsError: Unable to locate credentials)\n"


def test_the_first_record_stays_and_a_different_twin_is_kept_apart(url: str, on) -> None:
    on("a").commit(record(host="a"))
    name, first = f"records/{KEY}.json", Remote(url).read(f"records/{KEY}.json")
    on("b").commit(record(host="a", run={"seconds": 9.0, "host": "b"}))  # equal results: nothing to say
    assert Remote(url).read(name) == first
    with pytest.warns(NondeterminismWarning, match="differs in test"):
        on("c").commit(record(accuracy=0.5, host="a"))
    assert Remote(url).read(name) == first
    (conflict,) = Remote(url).names("conflicts")
    assert json.loads(Remote(url).read(conflict) or b"")["test"]["accuracy"] == 0.5
    for other in "abcd":
        assert (on(other).read(KEY) or {})["test"]["accuracy"] == 0.75


@pytest.mark.parametrize("accuracy", [0.75, 0.5])
def test_a_record_that_came_between_looking_and_putting_stays(url: str, on, monkeypatch, accuracy: float) -> None:
    """Both writers have seen that there is none. The slower one learns from S3 that it came second."""
    slow, real = on("slow"), Remote.create

    def overtaken(self: Remote, name: str, content: bytes) -> bool:
        monkeypatch.setattr(Remote, "create", real)
        on("fast").commit(record(accuracy=0.75, run={"seconds": 1.0, "host": "fast"}))
        return real(self, name, content)

    monkeypatch.setattr(Remote, "create", overtaken)
    alarm = contextlib.nullcontext() if accuracy == 0.75 else pytest.warns(NondeterminismWarning)
    with alarm:
        slow.commit(record(accuracy=accuracy))
    there = json.loads(Remote(url).read(f"records/{KEY}.json") or b"")
    assert (there["test"]["accuracy"], there["run"]["host"]) == (0.75, "fast")
    assert slow.read(KEY) == on("fast").read(KEY) == there
    conflicts = [json.loads(content) for _, content in Remote(url).read_all(list(Remote(url).names("conflicts")))]
    assert [conflict["test"]["accuracy"] for conflict in conflicts] == ([] if accuracy == 0.75 else [0.5])


def test_writers_at_the_same_time_leave_one_whole_record_of_each_key(url: str, on) -> None:
    keys = [content_key(number) for number in range(8)]
    stores = [on(f"writer {number}") for number in range(4)]
    start = threading.Barrier(len(stores))
    faults: list[Exception] = []

    def write(number: int) -> None:
        try:
            for key in keys:
                start.wait(WAIT)
                stores[number].commit(record(key, run={"seconds": float(number), "host": f"h{number}"}))
        except Exception as fault:
            faults.append(fault)
            start.abort()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(len(stores))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert faults == []
    assert set(Remote(url).names()) == {f"records/{key}.json" for key in keys}
    reader = on("reader")
    with reader.lock():
        assert {found["key"]: found["run"]["host"] for found in reader.records()}.keys() == set(keys)
        for store in stores:
            assert store.records() == reader.records()


def test_an_upload_that_was_cut_off_is_no_record(url: str, server: str, on) -> None:
    """A PUT whose sender died. S3 drops it; a store that kept the part would be caught by the record's checksum."""
    name = f"records/{KEY}.json"
    on("a").commit(record())
    whole = Remote(url).read(name) or b""
    Remote(url).remove(name)
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sender:
        head = f"PUT {url.removeprefix('s3:/')}/{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(whole)}\r\n\r\n"
        sender.sendall(head.encode() + whole[: len(whole) // 2])
    time.sleep(0.3)
    b = on("b")
    assert not b.has(KEY)
    with contextlib.ExitStack() as expected:
        if Remote(url).read(name) is not None:  # moto keeps it
            expected.enter_context(pytest.warns(QuarantineWarning))
        with b.lock():
            assert b.records() == []
    b.commit(record())
    assert Remote(url).read(name) == whole
    assert on("c").has(KEY)


def test_a_killed_upload_of_a_large_file_never_shows(url: str, tmp_path: Path) -> None:
    """Large files travel in parts; the sender is killed after the first one. What was there before stays."""
    Remote(url).write("models/x/model.safetensors", b"before")
    with open(tmp_path / "model", "wb") as model:
        model.truncate(101 * 2**20)  # s3fs sends more than 100 MiB in parts of 50
    sender = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, url, tmp_path / "model"], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )

    def begun() -> bool:
        uploads = inside_the_server().buckets[BUCKET].multiparts.values()
        return any(
            upload.parts for upload in uploads if upload.key_name.startswith(url.removeprefix(f"s3://{BUCKET}/"))
        )

    try:
        wait_until(begun, sender)
    finally:
        sender.kill()
        sender.communicate()
    assert sender.returncode == -signal.SIGKILL
    assert Remote(url).names() == {"models/x/model.safetensors": 6}
    assert Remote(url).read("models/x/model.safetensors") == b"before"


def test_of_two_newcomers_one_gets_the_lease(url: str, monkeypatch) -> None:
    """Both find the place free; the second to write is refused by S3, sees the first one live, and goes."""
    monkeypatch.setattr(lease, "LEASE_BEAT", BEAT)
    monkeypatch.setattr(lease, "LEASE_BEATS", PATIENCE)
    start, done, ends = threading.Barrier(2), threading.Event(), []

    def come() -> None:
        start.wait(WAIT)
        try:
            with lease.lease(Remote(url)):
                ends.append("got it")
                done.wait(WAIT)
        except InputError as refused:
            ends.append(str(refused))
            done.set()

    newcomers = [threading.Thread(target=come) for _ in "ab"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for newcomer in newcomers:
            newcomer.start()
        for newcomer in newcomers:
            newcomer.join()
    assert any("may still be working on this study" in str(one.message) for one in said)
    assert ends[0] == "got it"
    assert f"{url}: another run works on this study" in ends[1]
    assert Remote(url).read(lease.LEASE_FILE) is None


@pytest.mark.slow
def test_a_killed_study_keeps_others_away_while_it_lives_and_goes_on_elsewhere(
    finished_study: Path, url: str, tmp_path: Path, machine, monkeypatch
) -> None:
    monkeypatch.setattr(study.run, "Mirror", NoMirror)
    monkeypatch.setattr(lease, "LEASE_BEAT", BEAT)
    monkeypatch.setattr(lease, "LEASE_BEATS", PATIENCE)
    space, whole = write_study(tmp_path / "here"), finished_study / "out"
    machine("a")
    first = driver(STUCK, "run", space, "--out", url)
    try:
        wait_until(lambda: len(Remote(url).names("records")) >= 4, first)
        before = dict(Remote(url).read_all(list(Remote(url).names("records"))))
        machine("b")
        said = command("run", space, "--out", url)
        assert said.code == 2
        assert said.err.splitlines()[-1] == (
            f"l3study: {url}: another run works on this study (process {first.pid} on elsewhere); wait for it, or "
            "choose another --out"
        )
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    assert Remote(url).read(lease.LEASE_FILE) is not None
    said = command("run", space, "--out", url)
    assert said.code == 0, said.err
    assert "4 left to run" in said.out
    assert Remote(url).read(lease.LEASE_FILE) is None
    there = at(url, tmp_path / "there")
    assert {key: results(found) for key, found in records(there).items()} == {
        key: results(found) for key, found in records(whole).items()
    }
    assert tables(there) == tables(whole)
    assert {name: (there / name).read_bytes() for name in before} == before, "a record was written again"
    assert not (there / "conflicts").exists()


@pytest.mark.slow
def test_trainings_that_are_killed_or_stopped_between_evaluations_go_on_on_other_machines(
    finished_study: Path, url: str, tmp_path: Path, machine, monkeypatch
) -> None:
    """Two trainings, three machines: the first training is killed on one, the second stopped on the next."""
    monkeypatch.setattr(study.run, "Mirror", NoMirror)
    monkeypatch.setattr(lease, "LEASE_BEAT", BEAT)
    monkeypatch.setattr(lease, "LEASE_BEATS", PATIENCE)
    space = write_study(tmp_path / "here", methods=["rtm"])
    words = ("run", space, "--out", url, "--set", "resources.checkpoint_minutes=0")

    def waiting() -> list[str]:
        """Trainings with a checkpoint at the URL."""
        return sorted({name.split("/")[1] for name in Remote(url).names("checkpoints") if name.endswith(".json")})

    machine("a")
    first = driver(KILLED, *words)
    out, err = first.communicate(timeout=WAIT)
    assert first.returncode == -signal.SIGKILL, out + err
    (killed,) = waiting()
    assert Remote(url).names("records") == {}
    machine("b")
    real = StageCheckpoints.beat

    def beat(keeper: StageCheckpoints, make: Any) -> None:
        if killed not in keeper._folder.parts and list(keeper._folder.glob("*.json")):
            os.kill(os.getpid(), signal.SIGTERM)
        real(keeper, make)

    with mock.patch.object(StageCheckpoints, "beat", beat):
        said = command(*words)
    assert said.code == 75, said.err
    (stopped,) = waiting()
    assert stopped != killed
    machine("c")
    said = command(*words)
    assert said.code == 0, said.err
    assert waiting() == []
    assert Remote(url).names("checkpoints") == {}
    there = records(at(url, tmp_path / "there"))
    whole = records(finished_study / "out")
    assert {key: results(found) for key, found in there.items()} == {
        key: results(found) for key, found in whole.items() if found["method"] == "rtm"
    }
    assert {found["trajectory"] for found in there.values()} == {killed, stopped}
    assert [found["run"]["resumed"] for found in there.values()] == [1] * 4


@pytest.mark.slow
def test_two_drivers_without_a_lease_lose_and_tear_nothing(
    finished_study: Path, url: str, tmp_path: Path, machine, monkeypatch
) -> None:
    space, ready = write_study(tmp_path / "here", methods=["rtm"]), tmp_path / "ready"
    ready.mkdir()
    machine("a")
    other = driver(TOGETHER, "run", space, "--out", url, ready)
    monkeypatch.setattr(study.run, "Mirror", NoMirror)
    monkeypatch.setattr(remote_store, "lease", lambda remote: contextlib.nullcontext())
    monkeypatch.setattr("study.trial.run_trial", met(study.trial.run_trial, ready, "b"))
    machine("b")
    try:
        said = command("run", space, "--out", url)
        out, err = other.communicate(timeout=WAIT)
    finally:
        other.kill()
        other.communicate()
    assert (said.code, other.returncode) == (0, 0), said.err + err
    assert "2 left to run" in said.out
    assert "2 left to run" in out
    there = at(url, tmp_path / "there")
    whole = {key: results(found) for key, found in records(finished_study / "out").items() if found["method"] == "rtm"}
    assert {key: results(found) for key, found in records(there).items()} == whole
    assert len(whole) == 4
    assert len(Store(there).records()) == 4
    assert not (there / "conflicts").exists()
    for name in "ab":
        machine(name)
        assert {found["key"]: found for found in Store(copy_of(url)).records()} == records(there)


@pytest.mark.slow
def test_the_verbs_take_the_url(finished_study: Path, url: str, tmp_path: Path, machine) -> None:
    whole, there = finished_study / "out", Remote(url)
    for path in sorted(whole.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(whole).parts):
            there.write_file(path.relative_to(whole).as_posix(), path)
    machine("b")
    said = command("status", url)
    assert (said.code, "done 12, left 0" in said.out) == (0, True), said
    said = command("plan", finished_study / "small.yaml", "--out", url, "--json")
    assert (json.loads(said.out)["done"], json.loads(said.out)["left"]) == (12, 0)
    before = there.names()
    said = command("export", url, "--format", "md")
    assert [Path(line).read_bytes() for line in said.out.splitlines() if line.endswith("results.md")] == [
        tables(whole)["results.md"]
    ]
    said = command("compare", url)
    assert (said.code, "L3Masking" in said.out) == (0, True), said
    assert there.names() == before, "a reader wrote"
    said = command("sync", url)
    assert said.code == 0, said
    assert {name.split("/")[0] for name in there.names().keys() - before.keys()} == {"mlflow.db", "mlartifacts"}
