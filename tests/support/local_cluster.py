"""A Ray cluster of this machine, as a user would start it by `ray start`, with ports, token and folders of its own.

Its processes are known by a mark in their environment, and ended by their ids; other Rays are not touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from unittest import mock

import psutil
import requests

BIN = Path(sys.executable).parent
PATIENCE = 180.0  # seconds for a start, on a machine that is busy


MARK = "L3STUDY_TEST_NODE"  # environment variable of every process of a node: folder of the cluster, number


@dataclass
class LocalCluster:
    """A head node, and what is needed to speak to it."""

    folder: Path  # of its logs and sockets
    port: int  # of the head
    address: str  # of its dashboard
    environment: dict[str, str]  # for processes that use it, and for itself
    nodes: list[int] = field(default_factory=list)  # their numbers; 0 is the head

    def add_node(self, cpus: int, **environment: str) -> int:
        """One more node on this machine, with a folder of its own: in a common one it would unpack over the head's."""
        number = max(self.nodes) + 1
        words = [f"--address=127.0.0.1:{self.port}", f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1"]
        _start(self, number, *words, f"--temp-dir={self.folder}/n{number}", **environment)
        wait_for(lambda: self.alive() == len(self.nodes), "a further node")
        return number

    def remove_node(self, number: int) -> None:
        """As a machine that is switched off."""
        _kill(self, number)
        self.nodes.remove(number)

    def alive(self) -> int:
        """Nodes that the head takes for alive. Its dashboard is asked: a driver takes seconds to start.

        Not by Ray's own client: a process that has used Ray without a token sends none any more.
        """
        found = requests.get(f"{self.address}/api/v0/nodes", headers=self.headers, timeout=30).json()
        return sum(node["state"] == "ALIVE" for node in found["data"]["result"]["result"])

    @property
    def headers(self) -> dict[str, str]:
        """Of a request to its dashboard."""
        path = self.environment.get("RAY_AUTH_TOKEN_PATH")
        return {"Authorization": f"Bearer {Path(path).read_text()}"} if path else {}

    def run(self, *words: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command with the cluster's token available, to its end."""
        return subprocess.run(
            list(map(str, words)),
            cwd=cwd or self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )

    @contextlib.contextmanager
    def start(self, *words: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
        """The same, not waited for; it is killed if it still runs at the end."""
        process = subprocess.Popen(
            list(map(str, words)),
            cwd=cwd,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(true: object, what: str) -> None:
    """Ask until it is so."""
    until = time.monotonic() + PATIENCE
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until, f"{what} did not come within {PATIENCE:.0f} s"
        time.sleep(0.5)


@contextlib.contextmanager
def local_cluster(cpus: int, *, guarded: bool = True) -> Iterator[LocalCluster]:
    """A running head; `guarded`: it asks for a token. Its folder is short, as sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="l3ray-"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "PATH": f"{BIN}:{os.environ['PATH']}",  # the job's `python` is looked for there
        "RAY_AUTH_MODE": "token" if guarded else "disabled",
        "RAY_worker_niceness": "0",  # as in conftest.py
        "RAY_USAGE_STATS_ENABLED": "0",
        "L3STUDY_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    if guarded:
        (folder / "token").write_text("0123456789abcdef" * 4)
        (folder / "token").chmod(0o600)
        environment["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
    dashboard = free_port()
    cluster = LocalCluster(folder, free_port(), f"http://127.0.0.1:{dashboard}", environment)
    try:
        _start(
            cluster,
            0,
            "--head",
            f"--port={cluster.port}",
            f"--dashboard-port={dashboard}",
            "--dashboard-host=127.0.0.1",
            "--include-dashboard=true",
            f"--num-cpus={cpus}",
            f"--temp-dir={folder}/r",
            "--node-ip-address=127.0.0.1",
            f"--ray-client-server-port={free_port()}",
        )
        wait_for(lambda: _answers(cluster), "the dashboard")
        with mock.patch.dict(os.environ, environment, clear=True):
            yield cluster
    finally:
        for number in reversed(cluster.nodes):
            _kill(cluster, number)
        for _ in range(5):  # the dead may have written while it was emptied
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.5)


def _start(cluster: LocalCluster, number: int, *words: str, **environment: str) -> None:
    cluster.nodes.append(number)
    log: IO[bytes]
    with open(cluster.folder / f"node-{number}.log", "wb") as log:
        code = subprocess.call(
            [
                str(BIN / "ray"),
                "start",
                *words,
                "--object-store-memory=100000000",
                "--disable-usage-stats",
                f"--dashboard-agent-listen-port={free_port()}",
                f"--metrics-export-port={free_port()}",
            ],
            env=cluster.environment | environment | {MARK: f"{cluster.folder} {number}"},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
    assert code == 0, (cluster.folder / f"node-{number}.log").read_text()


def _answers(cluster: LocalCluster) -> bool:
    from l3masking.errors import EnvironmentFault
    from study.cluster.access import reach

    with contextlib.suppress(EnvironmentFault), mock.patch.dict(os.environ, cluster.environment, clear=True):
        return reach(cluster.address, timeout=5).ray_version is not None
    return False


def _kill(cluster: LocalCluster, number: int) -> None:
    """End every process of a node, workers and drivers too, and those that begin meanwhile."""
    until = time.monotonic() + 30
    while ours := _marked(f"{cluster.folder} {number}"):
        assert time.monotonic() < until, f"these do not end: {ours}"
        for process in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.2)


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has just ended, or is somebody else's
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
