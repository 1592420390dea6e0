"""A study as a job on a Ray cluster: submitted, followed, looked at and stopped through the Jobs API.

A job is one `python -m study run ...` on the head node. Ray calls it SUCCEEDED, FAILED or STOPPED; here it ends with
the study's own exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3masking.errors import EnvironmentFault, InputError
from study.cluster.access import NO_TOKEN, Access, reach
from study.cluster.job_files import check_files, files_of, lasting, read_environment, space_in
from study.exit_codes import DEFECT, DONE, ENVIRONMENT_FAULT, EXIT_CODES, STOPPED
from study.store.whole_files import content_key
from study.version import COMMIT_VARIABLE, travelling_code

# suffixes of Ray's error types
NOT_STARTED = ("SETUP_FAILURE", "START_TIMEOUT", "START_FAILURE", "START_ERROR", "UNSCHEDULABLE")
NO_COMMAND = (126, 127)  # a shell's codes for a command that it cannot run or find: here `python`
LOST = 120.0  # seconds that a cluster may be unreachable while a job is followed
POLL = 1.0  # seconds between two queries of a job's state
GRACE = 30.0  # seconds that a stop may take beyond the job's own wait time
RAY_WAITS = 3  # seconds that Ray waits for a job to stop, by default


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A study to run, and where to run it."""

    space: Path  # in the working directory
    address: str  # of the cluster's dashboard
    out: str | None  # an absolute folder that all nodes share, or a URL; there is no default
    sets: Sequence[str] = ()
    only: Sequence[str] = ()
    limit: int | None = None
    tracking_uri: str | None = None
    runtime_env: Path | None = None  # none: runtime_env.yaml of the working directory
    working_dir: Path = Path()  # uploaded to the cluster
    insecure: bool = False  # whether a cluster without a token is accepted


def submit(submission: Submission, warn: Callable[[str], None]) -> str:
    """Submit a study to a cluster; returns the id of the job. `warn` gets what a user should know.

    Raises InputError for a space, a folder or an environment that cannot work there, EnvironmentFault for a cluster
    that cannot be reached or that runs anybody's code.
    """
    from study.space.reader import read_space

    folder = submission.working_dir.resolve()
    out, space = lasting(submission.out), space_in(folder, submission.space)
    spec = read_space(submission.space, submission.sets)
    environment = read_environment(submission.runtime_env, folder)
    check_files(folder, submission.space, files_of(spec.resolved()), warn)
    access = reach(submission.address)
    _check_guarded(access, submission.insecure, warn)
    now, code = datetime.datetime.now(datetime.UTC), travelling_code(folder)
    with _client(access) as client:
        job: str = client.submit_job(
            entrypoint=shlex.join(["python", "-m", "study", "run", space, "--out", out, *_options(submission, access)]),
            submission_id=f"{spec.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
            runtime_env={
                **environment,
                "working_dir": str(folder),
                "env_vars": {**(environment.get("env_vars") or {}), **code},
            },
            metadata={
                "study": spec.name,
                "space": content_key(
                    {"file": submission.space.read_text(encoding="utf-8"), "sets": list(submission.sets)}
                ),
                "commit": code[COMMIT_VARIABLE],
                "out": out,
            },
        )
    return job


def _check_guarded(access: Access, insecure: bool, warn: Callable[[str], None]) -> None:
    if access.guarded:
        return
    if not access.local and not insecure:
        raise EnvironmentFault(
            f"{access.address} asks for no token and runs the code of anybody who reaches it; {NO_TOKEN}, or say "
            "--insecure-cluster"
        )
    warn(f"{access.address} asks for no token: anybody who reaches it may run code there; {NO_TOKEN}")


def _options(submission: Submission, access: Access) -> Iterator[str]:
    for name, values in (("--set", submission.sets), ("--only", submission.only)):
        for value in values:
            yield from (name, value)
    if submission.limit is not None:
        yield from ("--limit", str(submission.limit))
    if submission.tracking_uri is not None:
        yield from ("--tracking-uri", submission.tracking_uri)
    if not access.guarded:  # which was accepted
        yield "--insecure-cluster"


def follow(job: str, address: str, write: Callable[[str], object]) -> int:
    """Pass a job's log to `write` from its beginning until the job ends; returns the exit code.

    Reconnects if the connection breaks; raises EnvironmentFault if the cluster stays unreachable.
    """
    access, shown, heard = reach(address), 0, time.monotonic()
    with _client(access) as client:
        while True:
            try:
                shown = asyncio.run(_tail(client, job, shown, write))
                info = client.get_job_info(job)
                heard = time.monotonic()
                if info.status.is_terminal():
                    write(client.get_job_logs(job)[shown:])
                    return exit_code(info)
            except OSError:  # also of requests
                if time.monotonic() - heard > LOST:
                    raise
            time.sleep(POLL)


async def _tail(client: Any, job: str, shown: int, write: Callable[[str], object]) -> int:
    """Write a log from character `shown` on; returns its length so far when the connection ends."""
    import aiohttp

    seen = 0
    try:
        async for text in client.tail_job_logs(job):
            seen += len(text)
            if seen > shown:
                write(text[-(seen - shown) :])
                shown = seen
    except (aiohttp.ClientError, RuntimeError):  # the caller asks for the state of the job next
        return shown
    return shown


def exit_code(info: Any) -> int:
    """The exit code of an ended job as `l3study run` would have given it.

    STOPPED if it was stopped, killed, or lost with its node: the same command continues. ENVIRONMENT_FAULT if it could
    not start. DEFECT for a code that is none of the study's, and if Ray does not say what happened.
    """
    status, kind, code = str(info.status), str(info.error_type or ""), info.driver_exit_code
    if status == "SUCCEEDED":
        return DONE
    if status == "STOPPED" or kind.endswith("DIED") or (code is not None and (code < 0 or code > 128)):
        return STOPPED
    if kind.endswith(NOT_STARTED) or code in NO_COMMAND:
        return ENVIRONMENT_FAULT
    return code if code and code in EXIT_CODES else DEFECT


def stop(job: str, address: str, say: Callable[[str], None]) -> bool:
    """Ask a job to stop and wait for it: it ends running trials and writes its tables. Returns whether it ended."""
    with _client(reach(address)) as client:
        info = client.get_job_info(job)
        if info.status.is_terminal():
            say(f"job {job} had already ended: {info.status}")
            return True
        client.stop_job(job)
        variables = (info.runtime_env or {}).get("env_vars") or {}
        wait = float(variables.get("RAY_JOB_STOP_WAIT_TIME_S", RAY_WAITS)) + GRACE
        say(f"stopping job {job}: it has {wait - GRACE:.0f} s to write its tables")
        until = time.monotonic() + wait
        while not (info := client.get_job_info(job)).status.is_terminal():
            if time.monotonic() > until:
                say(f"job {job} is {info.status} still; check again with `l3study status {job} --address {address}`")
                return False
            time.sleep(POLL)
    say(f"job {job}: {info.status}")
    return True


def describe_job(job: str, address: str) -> str:
    """A few lines about a job: its state, its times, the last line of its log, and its exit code."""
    with _client(reach(address)) as client:
        info = client.get_job_info(job)
        said = [line for line in client.get_job_logs(job).splitlines() if line.strip()]
    metadata = info.metadata or {}
    lines = [f"job {job}: {info.status}{_times(info)}"]
    lines += [f"{name} {metadata[name]}" for name in ("study", "out", "commit") if metadata.get(name)]
    if str(info.status) == "FAILED" and info.driver_exit_code is None and info.message:
        lines.append(f"message: {info.message.strip().splitlines()[-1]}")
    if said:
        lines.append(f"last: {said[-1].strip()}")
    if info.status.is_terminal():
        lines.append(f"exit code {exit_code(info)}")
    return "\n".join(lines)


def _times(info: Any) -> str:
    if not info.start_time:
        return ""
    since = datetime.datetime.fromtimestamp(info.start_time / 1000, datetime.UTC)
    end = info.end_time or time.time() * 1000
    return f", started {since:%Y-%m-%d %H:%M:%S} UTC, {(end - info.start_time) / 60000:.1f} min"


@contextlib.contextmanager
def _client(access: Access) -> Iterator[Any]:
    """Ray's client for this address; its errors become ours. Needs the package ray[default]."""
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
        logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)  # they log five lines about uploads
    kept = {
        name: os.environ.pop(name, None) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    }  # they take precedence over our address
    try:
        client = JobSubmissionClient(access.address, headers=dict(access.headers))
    except (OSError, RuntimeError) as error:
        raise EnvironmentFault(f"{access.address}: {_first(error)}") from error
    finally:
        os.environ.update({name: value for name, value in kept.items() if value is not None})
    try:
        yield client
    except requests.exceptions.RequestException as error:
        raise EnvironmentFault(f"{access.address}: {_first(error)}") from error
    except (AuthenticationError, RuntimeError) as error:
        if isinstance(error, EnvironmentFault):
            raise
        if "404" in str(error):
            raise InputError(f"{access.address} has no such job; `ray job list` names those that it has") from error
        raise EnvironmentFault(f"{access.address}: {_first(error)}") from error


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
