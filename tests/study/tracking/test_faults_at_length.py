"""Faults of MLflow's store at full length: 20 s without a server, 30 s behind a lock, eight studies at a cold start."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import driven_mirror
import pytest
from driven_mirror import LONGEST_WAIT, Driver, Made, awaited, seeds_in
from late_servers import Proxy
from mlflow_store import QUIET, contents, empty_database
from tracking_server import TrackingServer

from study.tracking.ui import free_port

# long: test_faults.py and test_outage.py show the same for a moment, test_mirror.py the cold start with two threads
pytestmark = [QUIET, pytest.mark.long]


@pytest.mark.parametrize("fault", ["away", "slow"])
def test_twenty_seconds_without_a_server_lose_and_double_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """With the times as they are shipped. Where it is slow, the server has done what its late answers are about."""
    empty_database(tmp_path / "server")
    server = TrackingServer(tmp_path / "server", free_port(5800))
    server.start()
    proxy = Proxy(server.uri)
    try:
        with proxy.serving():
            driver = Driver(made, tmp_path / "study", proxy.uri)
            driver.trials_end(1)
            awaited(lambda: seeds_in(server.folder / "mlflow.db") == 1)
            if fault == "away":
                server.kill()
            else:
                proxy.late.set()
            driver.trials_end_over(20)
            assert driver.mirror.reason is not None
            if fault == "away":
                server.start()
            proxy.late.clear()
            awaited(lambda: driver.mirror.reason is None)
            assert driver.finish() is None
        held = contents(server.uri, "tracked")
    finally:
        server.kill()
    print(f"longest wait {driver.longest:.4f} s, {proxy.lost} answers came too late")
    assert (proxy.lost > 0) == (fault == "slow")
    assert held == made.held
    assert driver.longest < LONGEST_WAIT


def test_a_database_that_is_locked_for_thirty_seconds(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "study"
    empty_database(root)
    driver = Driver(made, root)
    driver.trials_end(1)
    awaited(lambda: seeds_in(root / "mlflow.db") == 1)
    holder = sqlite3.connect(root / "mlflow.db", isolation_level=None, timeout=30)
    holder.execute("begin exclusive")
    driver.trials_end_over(30)
    assert driver.mirror.reason is not None
    holder.close()
    awaited(lambda: driver.mirror.reason is None)
    assert driver.finish() is None
    print(f"longest wait {driver.longest:.4f} s")
    assert contents(root, "tracked") == made.held
    assert driver.longest < LONGEST_WAIT


def test_eight_studies_that_start_on_a_cold_database_are_all_whole(made: Made, tmp_path: Path) -> None:
    database = tmp_path / "shared" / "mlflow.db"
    code = (
        "import sys; from driven_mirror import *; from study.plan.resolved import planned; root = Path(sys.argv[1]); "
        "mirror = sync_of(root, planned(root), sys.argv[2], sys.argv[3]); "
        "sys.exit(mirror.reason)"
    )
    here = [str(Path(driven_mirror.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
    roots = [shutil.copytree(made.root, tmp_path / f"study{number}") for number in range(8)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, root, f"sqlite:///{database}", f"study{number}"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, root in enumerate(roots)
    ]
    said = [(process.communicate(timeout=500)[1], process.returncode) for process in started]
    assert [code for _, code in said] == [0] * 8, said
    wanted = without_names(made.held, "tracked")
    for number in range(8):
        assert without_names(contents(f"sqlite:///{database}", f"study{number}"), f"study{number}") == wanted


def without_names(held: dict[tuple[str, str], Any], name: str) -> str:
    """With the study's own name taken out."""
    return repr(sorted(held.items())).replace(name, "NAME")
