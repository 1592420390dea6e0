"""Jobs: what is submitted, how logs are followed over broken connections, exit codes, stops. Without a cluster."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from small_study import command, write_study

from l3masking.errors import EnvironmentFault, InputError
from study.cluster import jobs as cluster
from study.cluster.access import Access
from study.cluster.job_files import ENV_VARS
from study.cluster.jobs import Submission, describe_job, exit_code, follow, stop, submit


class Status(str):
    """As Ray's."""

    def is_terminal(self) -> bool:
        return self in ("STOPPED", "SUCCEEDED", "FAILED")


def info(status: str, code: int | None = None, kind: str | None = None, **more: Any) -> SimpleNamespace:
    given = {"message": None, "start_time": 1_790_000_000_000, "end_time": 1_790_000_090_000, "metadata": {}}
    given |= {"runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}} | more
    return SimpleNamespace(status=Status(status), driver_exit_code=code, error_type=kind, **given)


class Client:
    """In the place of Ray's client: a log that grows, and connections that break as they are told to."""

    def __init__(self) -> None:
        self.submitted: dict[str, Any] = {}
        self.log = ""
        self.tails: list[tuple[str, Exception | None]] = []  # of each connection: what it brings, how it ends
        self.infos: list[Any] = []  # of each question; an exception is raised; the last one stays
        self.stopped: list[str] = []

    def submit_job(self, **given: Any) -> str:
        self.submitted = given
        return given["submission_id"]

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        text, error = self.tails.pop(0)
        for line in text.splitlines(keepends=True):
            yield line
        if error is not None:
            raise error

    def get_job_info(self, job: str) -> Any:
        found = self.infos.pop(0) if len(self.infos) > 1 else self.infos[0]
        if isinstance(found, Exception):
            raise found
        return found

    def get_job_logs(self, job: str) -> str:
        return self.log

    def stop_job(self, job: str) -> bool:
        self.stopped.append(job)
        return True


@pytest.fixture
def client(monkeypatch) -> Client:
    """What stands behind every address."""
    made = Client()
    monkeypatch.setattr(cluster, "_client", lambda access: contextlib.nullcontext(made))
    monkeypatch.setattr(cluster, "POLL", 0.0)
    guard(monkeypatch)
    return made


def guard(monkeypatch, guarded: bool = True, host: str = "head") -> None:
    access = Access(address=f"http://{host}:8265", guarded=guarded, headers={}, ray_version="2.60.0")
    monkeypatch.setattr(cluster, "reach", lambda address: access)


def submission(folder: Path, **more: Any) -> Submission:
    given = {"address": "head", "out": "/shared/small", "working_dir": folder}
    return Submission(space=write_study(folder / "my spaces"), **(given | more))


def test_what_is_submitted_is_what_was_said(client: Client, tmp_path: Path) -> None:
    warned: list[str] = []
    given = submission(
        tmp_path,
        sets=["train.max_epochs=3", "description=it's a $HOME `test`"],
        only=["method=stl"],
        limit=2,
        tracking_uri="http://mlflow:5000",
    )
    job = submit(given, warned.append)
    assert warned == []
    assert re.fullmatch(r"small-\d{8}-\d{6}-[0-9a-f]{4}", job)
    words = shlex.split(client.submitted["entrypoint"])
    assert words[:5] == ["python", "-m", "study", "run", "my spaces/small.yaml"]
    assert words[5:] == [
        *("--out", "/shared/small", "--set", "train.max_epochs=3", "--set", "description=it's a $HOME `test`"),
        *("--only", "method=stl", "--limit", "2", "--tracking-uri", "http://mlflow:5000"),
    ]
    environment = client.submitted["runtime_env"]
    assert environment["working_dir"] == str(tmp_path)
    commit = environment["env_vars"].pop("L3STUDY_COMMIT")
    assert re.fullmatch("[0-9a-f]{16}", environment["env_vars"].pop("L3STUDY_CODE"))
    assert environment["env_vars"] == ENV_VARS
    assert client.submitted["metadata"].keys() == {"study", "space", "commit", "out"}
    assert client.submitted["metadata"]["study"] == "small"
    assert client.submitted["metadata"]["commit"] == commit
    other = submit(given, warned.append)
    assert other != job, "Ray answers an id that it has seen with an error"


def test_no_secret_travels_with_a_job(client: Client, tmp_path: Path, monkeypatch) -> None:
    """S9: what is submitted can be read by all who reach the Jobs API."""
    for name in ("HF_TOKEN", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hf_CANARY0123456789")
    submit(submission(tmp_path), print)
    assert client.submitted["runtime_env"]
    assert "CANARY" not in json.dumps(client.submitted, default=str)


def test_the_metadata_tell_spaces_apart(client: Client, tmp_path: Path) -> None:
    hashes = []
    for sets in ((), ("seeds=3",), ()):
        submit(submission(tmp_path, sets=sets), print)
        hashes.append(client.submitted["metadata"]["space"])
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_wrong_space_or_folder_is_refused_before_anything_is_asked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "reach", lambda address: pytest.fail("asked"))
    with pytest.raises(InputError, match="seeds"):
        submit(submission(tmp_path, sets=["seeds=many"]), print)
    with pytest.raises(InputError, match="is deleted with it"):
        submit(submission(tmp_path, out="studies/small"), print)
    with pytest.raises(InputError, match="lies outside of"):
        submit(submission(tmp_path, working_dir=tmp_path / "my spaces" / "encoder"), print)


def test_a_cluster_that_runs_anybodys_code_is_refused(client: Client, tmp_path: Path, monkeypatch) -> None:
    guard(monkeypatch, guarded=False)
    warned: list[str] = []
    with pytest.raises(EnvironmentFault, match=r"asks for no token and runs the code .*--insecure-cluster"):
        submit(submission(tmp_path), warned.append)
    assert client.submitted == {}
    submit(submission(tmp_path, insecure=True), warned.append)
    guard(monkeypatch, guarded=False, host="127.0.0.1")
    submit(submission(tmp_path), warned.append)
    assert shlex.split(client.submitted["entrypoint"])[-1] == "--insecure-cluster", "its run was accepted with it"
    assert len(warned) == 2
    assert all("asks for no token: anybody who reaches it may run code there" in line for line in warned)


ENDS = {
    "all done": (info("SUCCEEDED", 0), 0),
    "some failed": (info("FAILED", 1, "JOB_ENTRYPOINT_COMMAND_ERROR"), 1),
    "wrong usage": (info("FAILED", 2, "JOB_ENTRYPOINT_COMMAND_ERROR"), 2),
    "environment": (info("FAILED", 3, "JOB_ENTRYPOINT_COMMAND_ERROR"), 3),
    "stopped by itself": (info("FAILED", 75, "JOB_ENTRYPOINT_COMMAND_ERROR"), 75),
    "stopped": (info("STOPPED"), 75),
    "killed": (info("FAILED", -9, "JOB_ENTRYPOINT_COMMAND_ERROR"), 75),
    "killed behind a shell": (info("FAILED", 137, "JOB_ENTRYPOINT_COMMAND_ERROR"), 75),
    "its node was lost": (info("FAILED", None, "JOB_SUPERVISOR_ACTOR_DIED"), 75),
    "packages could not be installed": (info("FAILED", None, "RUNTIME_ENV_SETUP_FAILURE"), 3),
    "no node for it": (info("FAILED", None, "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"), 3),
    "another program's code": (info("FAILED", 42, "JOB_ENTRYPOINT_COMMAND_ERROR"), 70),
    "a defect": (info("FAILED", 70, "JOB_ENTRYPOINT_COMMAND_ERROR"), 70),
    "no python there": (info("FAILED", 127, "JOB_ENTRYPOINT_COMMAND_ERROR"), 3),
    "nobody knows": (info("FAILED"), 70),
}


@pytest.mark.parametrize("end", ENDS)
def test_exit_codes(end: str) -> None:
    found, code = ENDS[end]
    assert exit_code(found) == code


def test_every_way_in_which_ray_says_a_job_failed_has_a_code() -> None:
    from ray.job_submission import JobErrorType

    codes = {kind.value: exit_code(info("FAILED", None, kind.value)) for kind in JobErrorType}
    assert codes.pop("JOB_ENTRYPOINT_COMMAND_ERROR") == 70
    assert codes.pop("JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE") == 70
    assert codes.pop("JOB_SUPERVISOR_ACTOR_DIED") == 75
    assert set(codes.values()) == {3}, codes


def test_a_log_is_shown_once_whatever_breaks(client: Client) -> None:
    """The third connection begins again at the first line; the last lines come after the last connection."""
    lines = [f"line {number}\n" for number in range(9)]
    client.log = "".join(lines)
    client.tails = [
        ("", None),  # the job is not there yet
        ("".join(lines[:3]), aiohttp.ClientConnectionError("reset")),
        ("".join(lines[:5]), RuntimeError("WebSocket connection closed unexpectedly")),
        ("".join(lines[:4]), ConnectionResetError("peer")),
        ("".join(lines[:8]), None),
    ]
    running = info("RUNNING")
    client.infos = [info("PENDING"), running, running, ConnectionError("away"), info("FAILED", 2)]
    shown: list[str] = []
    client.tails.append(("".join(lines[:8]), None))
    assert follow("job", "head", shown.append) == 2
    assert "".join(shown) == client.log


def test_a_cluster_that_stays_away_is_given_up(client: Client, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "LOST", 0.0)
    client.tails = [("", None)]
    client.infos = [ConnectionError("no route to host")]
    with pytest.raises(ConnectionError):
        follow("job", "head", print)


def test_a_stop_waits_until_the_job_has_ended(client: Client) -> None:
    said: list[str] = []
    client.infos = [info("RUNNING"), info("RUNNING"), info("RUNNING"), info("STOPPED")]
    assert stop("job", "head", said.append)
    assert client.stopped == ["job"]
    assert said == ["stopping job job: it has 120 s to write its tables", "job job: STOPPED"]
    said.clear()
    assert stop("job", "head", said.append)
    assert client.stopped == ["job"], "it had ended before"
    assert said == ["job job had already ended: STOPPED"]


def test_a_job_that_does_not_stop_is_named(client: Client, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "GRACE", -3.0)
    client.infos = [info("RUNNING", runtime_env=None)]
    said: list[str] = []
    assert not stop("job", "head", said.append)
    assert said[-1] == "job job is RUNNING still; check again with `l3study status job --address head`"


def test_a_job_is_described(client: Client, monkeypatch) -> None:
    client.log = "begun\ntrainings: 3/18, about 40 s left\n\n"
    client.infos = [info("FAILED", 1, metadata={"study": "small", "out": "/shared/small", "commit": ""})]
    said = describe_job("small-1", "head").splitlines()
    assert said == [
        "job small-1: FAILED, started 2026-09-21 14:13:20 UTC, 1.5 min",
        "study small",
        "out /shared/small",
        "last: trainings: 3/18, about 40 s left",
        "exit code 1",
    ]
    client.infos = [info("RUNNING", end_time=None)]
    assert "exit code" not in describe_job("small-1", "head")
    client.infos = [info("FAILED", None, "RUNTIME_ENV_SETUP_FAILURE", message="Traceback\npip: no such package\n")]
    assert "message: pip: no such package" in describe_job("small-1", "head")
    assert "exit code 3" in describe_job("small-1", "head")


def test_the_verbs(client: Client, tmp_path: Path, monkeypatch) -> None:
    space = write_study(tmp_path)
    client.log = "a line\n"
    client.tails = [("a line\n", None)]
    client.infos = [info("STOPPED")]
    options = ("--address", "head", "--out", "/shared/x", "--working-dir", tmp_path)
    said = command("submit", space, *options)
    job = client.submitted["submission_id"]
    assert said.code == 75, said.err
    assert said.out.splitlines() == [
        f"job {job}",
        f"follow it with l3study logs {job} --address head",
        f"stop it with   l3study stop {job} --address head",
        "a line",
    ]
    assert command("submit", space, *options, "--no-wait").code == 0
    client.tails = [("a line\n", None)]
    assert command("logs", job, "--address", "head").out == "a line\n"
    said = command("stop", job, "--address", "head")
    assert (said.code, said.out) == (0, f"job {job} had already ended: STOPPED\n")
    said = command("submit", space, "--address", "head")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "--out (none): a job's own folder is deleted with it" in said.err

    def leave(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "follow", leave)
    said = command("logs", job)
    assert said.code == 75
    assert f"stopped following the log; job {job} continues" in said.err


def test_rays_client_goes_to_the_address_that_was_given(monkeypatch) -> None:
    """Its own variables would go before it; they are back afterwards. What it raises is one line."""
    import os

    import ray.job_submission
    import requests
    from ray.exceptions import AuthenticationError

    seen: list[Any] = []

    class Fake:
        def __init__(self, address: str, headers: dict[str, str]) -> None:
            seen.append((address, headers, os.environ.get("RAY_ADDRESS"), os.environ.get("RAY_API_SERVER_ADDRESS")))

    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Fake)
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:8265")
    access = Access(address="http://head:8265", guarded=True, headers={"A": "b"}, ray_version=None)
    raised: list[tuple[Exception, type[Exception], str]] = [
        (RuntimeError("Request failed with status code 404: Job x does not exist."), InputError, "has no such job"),
        (RuntimeError("Request failed with status code 500: so"), EnvironmentFault, "head:8265: Request failed"),
        (AuthenticationError("who are you\nreally"), EnvironmentFault, "head:8265: .*who are you"),
        (requests.exceptions.ConnectionError("gone"), EnvironmentFault, "head:8265: gone"),
        (EnvironmentFault("our own"), EnvironmentFault, "^our own$"),
    ]
    for error, kind, text in raised:
        with pytest.raises(kind, match=text), cluster._client(access):
            raise error
    assert seen == [("http://head:8265", {"A": "b"}, None, None)] * len(raised)
    assert os.environ["RAY_ADDRESS"] == "elsewhere:6379"
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://elsewhere:8265"

    class Absent(Fake):
        def __init__(self, *_: object, **__: object) -> None:
            raise ConnectionError("Failed to connect to Ray at address: http://head:8265.")

    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Absent)
    with pytest.raises(EnvironmentFault, match="Failed to connect"), cluster._client(access):
        pass
