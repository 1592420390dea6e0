"""MLflow's UI for one study's database, on the loopback interface of this machine alone.

MLflow's server asks nobody for a password, so it is never bound to another address; from elsewhere it is reached
through ssh (`ssh -L 5000:127.0.0.1:5000 HOST`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from l3masking.errors import EnvironmentFault, InputError
from study.store.whole_files import Place
from study.surroundings import spare_loopback
from study.tracking.advice import known_fix
from study.tracking.database import DATABASE, prepare_database, relocate, resolve_uri
from study.tracking.views import CELLS, SHARED, link

HOST = "127.0.0.1"
PORTS_TRIED = 20
"""Ports that are tried, from the one asked for upwards."""
START_SECONDS = 300.0
"""How long the server may take to answer: its imports take seconds, and minutes on a machine full of trials."""
STOP_SECONDS = 10.0
"""How long it may take to stop before it is killed."""


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: IO[bytes], folder: Path) -> None:
        self.process, self.port = process, port
        self._output, self._folder = output, folder

    @property
    def address(self) -> str:
        """Of its root."""
        return f"http://{HOST}:{self.port}/"

    def links(self) -> dict[str, str]:
        """Name -> link of each view of the study; the plain page of its runs where a database has no views yet."""
        experiments = self._ask("api/2.0/mlflow/experiments/search", {"max_results": 100})["experiments"]
        for found in experiments:
            tags = {tag["key"]: tag["value"] for tag in found.get("tags", ())}
            if f"{SHARED}{CELLS}" in tags:
                keys = sorted(key.removeprefix(SHARED) for key in tags if key.startswith(SHARED))  # cells first
                names = {key: json.loads(tags[f"{SHARED}{key}"])["name"] for key in keys}
                return {names[key]: self.address + link(found["experiment_id"], key) for key in keys}
        return {"Experiments": f"{self.address}#/experiments"}

    def wait(self) -> None:
        """Until the server ends, which it does not do by itself: EnvironmentFault with its last line."""
        self.process.wait()
        last = self._last_line()
        fix = known_fix(last, self._folder, resolve_uri(self._folder, None))
        raise EnvironmentFault(f"MLflow's server has ended: {last}{f'; {fix}' if fix else ''}")

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def _await(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.process.poll() is not None:
                self.wait()
            if time.monotonic() > end:
                raise EnvironmentFault(f"MLflow's server gave no answer in {START_SECONDS:g} s: {self._last_line()}")
            time.sleep(0.2)

    def _ask(self, path: str, question: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(question).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except (ValueError, http.client.HTTPException) as error:
            raise EnvironmentFault(f"{self.address}: MLflow's server gives no answer that can be read") from error

    def _last_line(self) -> str:
        self._output.seek(0)
        lines = [line for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"


@contextlib.contextmanager
def serve(folder: Path, port: int, place: Place) -> Iterator[Server]:
    """MLflow's UI on the database of the study in `folder`, on `port` or the next free one, until the block ends.

    The server and all its children form a process group of their own, which is ended as a whole. InputError without a
    usable database, EnvironmentFault where the server cannot run. place: what the user calls the folder.
    """
    _check(folder, place)
    spare_loopback()
    port = free_port(port)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command(folder, port),
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        server = Server(process, port, output, folder.resolve())
        try:
            server._await()
            yield server
        finally:
            _stop(process)


def command(folder: Path, port: int) -> list[str]:
    """What starts the server: loopback only, and only for requests that were addressed to it there."""
    hosts = ",".join((f"{HOST}:{port}", f"localhost:{port}"))
    serving = ["--backend-store-uri", resolve_uri(folder, None), "--workers", "1"]
    place = ["--host", HOST, "--port", str(port), "--allowed-hosts", hosts]
    return [sys.executable, "-m", "mlflow", "server", *serving, *place]


def environment() -> dict[str, str]:
    """The user's, without MLflow's own variables: those speak of other servers. No telemetry, no job runner."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return plain | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port(port: int) -> int:
    """The first port from `port` on that nobody uses; InputError for a number that is none."""
    if not 1 <= port <= 65535:
        raise InputError(f"--port {port}: expected a number from 1 to 65535")
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: a closed one may linger
            try:
                probe.bind((HOST, candidate))
            except OSError:
                continue
            return candidate
    raise EnvironmentFault(
        f"--port {port}: no free port from there on ({PORTS_TRIED} tried); choose another with --port"
    )


def _check(folder: Path, place: Place) -> None:
    """Raise unless there is a database that MLflow can open; and tell it where its artifacts are by now."""
    path = folder.resolve() / DATABASE
    fix = f"`l3study sync {place}` makes it from the records"
    if not path.is_file():
        raise InputError(f"{place}: no {DATABASE} there; {fix}")
    try:
        prepare_database(path, replace=False)
        relocate(path, (path.parent / "mlartifacts").as_uri())
    except sqlite3.OperationalError as error:
        raise EnvironmentFault(f"{path}: {error}; try again when nothing else works on it") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: {error}; move it away, and {fix}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group: asked first, then killed; children that outlive their parent too."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
