"""`l3study ui`: MLflow's page of a study, on the loopback interface, as a browser shows it; and how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from browser import find_browser, see
from mlflow_store import QUIET, clean_environment, empty_database
from small_study import PROJECT, command
from tracked_study import write_study

from l3masking.errors import EnvironmentFault, InputError
from study.tracking import ui as mlflow_server
from study.tracking.feed import STALE
from study.tracking.ui import free_port
from study.tracking.views import CELLS, SHARED

pytestmark = [QUIET, pytest.mark.slow]

CELL_NAMES = [
    f"{encoder}/acl-arc/{method}"
    for encoder in ("bert-base", "scibert")
    for method in ("stl", "rtm/mean=0.15", "l3masking/mean=0.15", "l3masking/best/mean=0.3")
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small finished study with its MLflow database, made by `sync`."""
    folder = tmp_path_factory.mktemp("shown") / "study"
    write_study(folder, searched=True, failing=[2])
    empty_database(folder)
    with pytest.MonkeyPatch.context() as patch:
        clean_environment(patch)
        said = command("sync", folder)
    assert said.code == 0, said.err
    assert said.out.endswith(f"l3study ui {folder}\n")
    return folder


class Ui:
    """`l3study ui` in a process of its own."""

    def __init__(self, root: Path, port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "study", "ui", str(root), "--port", str(port), "--no-open"],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.said = []
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        self.links = dict(re.split(r"\s{2,}", line) for line in self.said if "  http://" in line)

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit code and last updates."""
        self.process.send_signal(number)
        rest = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(60), rest


@pytest.fixture(scope="module")
def ui(root):
    """One for all tests that only look; its port was taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 5600))
        taken.listen()
        shown = Ui(root, 5600)
    yield shown
    if shown.process.poll() is None:
        shown.end()


def ask(address, path, question=None, **headers):
    request = urllib.request.Request(
        f"{address}{path}",
        None if question is None else json.dumps(question).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class EndedServer:
    port = 5000

    def links(self):
        return {"Cells": "http://127.0.0.1:5000"}

    def wait(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("own", "said"), [(True, True), (False, False)])
def test_only_the_shown_database_is_called_behind(tmp_path, monkeypatch, own, said):
    monkeypatch.setattr("study.tracking.ui.serve", lambda *_: contextlib.nullcontext(EndedServer()))
    (tmp_path / "resolved.yaml").touch()
    store = f"sqlite:///{tmp_path}/mlflow.db" if own else "http://elsewhere:5000"
    (tmp_path / STALE).write_text(f"{store} the server does not answer\n")
    assert ("the mirror is behind" in command("ui", tmp_path, "--no-open").out) == said


def refused(address, path, question=None, **headers):
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(address, path, question, **headers)
    error.value.close()
    return error.value.code


def address_of(ui):
    return next(iter(ui.links.values())).partition("#")[0]


def test_the_links_lead_to_views_that_are_there_with_the_runs_they_promise(ui):
    named = ["Cells: mean over the seeds", "Seeds: selected by accuracy", "Seeds: selected by macro F1", "Search"]
    assert sorted(ui.links) == sorted(named)
    assert next(iter(ui.links)) == named[0]
    address = address_of(ui)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    for shown in ui.links.values():
        experiment, key = re.search(r"experiments/(\d+)/runs\?.*viewStateShareKey=([\w-]+)$", shown).groups()
        found = ask(address, f"api/2.0/mlflow/experiments/get?experiment_id={experiment}")["experiment"]
        tags = {tag["key"]: tag["value"] for tag in found["tags"]}
        view = json.loads(json.loads(tags[f"{SHARED}{key}"])["state"])
        order = [f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"]
        question = {"experiment_ids": [experiment], "filter": view["searchFilter"], "order_by": order}
        runs = ask(address, "api/2.0/mlflow/runs/search", question | {"max_results": 500})["runs"]
        if key == CELLS:
            assert {run["info"]["run_name"] for run in runs} > set(CELL_NAMES[:-1])
            values = [
                {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}["test_accuracy_mean"]
                for run in runs
            ]
            assert values == sorted(values, reverse=True)
        assert runs, key


def test_it_answers_nobody_but_this_machine(ui):
    address = address_of(ui)
    port = int(re.search(r":(\d+)/", address).group(1))
    get, search = "api/2.0/mlflow/experiments/get?experiment_id=0", "api/2.0/mlflow/experiments/search"
    for host in ("evil.example", f"10.0.0.3:{port}", f"192.168.1.2:{port}"):
        assert refused(address, get, Host=host) == 403
    assert refused(address, search, {"max_results": 1}, Origin="http://evil.example") == 403
    assert ask(address, get, Host=f"localhost:{port}")["experiment"]["experiment_id"] == "0"
    with socket.socket() as probe:
        probe.settimeout(5)
        assert probe.connect_ex(("127.0.0.2", port)) != 0  # of this machine too, but not the one it is bound to


def test_a_browser_shows_cells_columns_and_charts(ui):
    if find_browser() is None:
        pytest.skip("no Chromium on this machine")
    cells, rows = (
        ui.links["Cells: mean over the seeds"],
        "document.querySelectorAll('.ag-center-cols-container .ag-row')",
    )
    text = see(cells, f"{rows}.length >= 6 && document.body.innerText.includes('test_accuracy_mean')")
    for name in CELL_NAMES[:3]:
        assert name in text
    for column in ("test_accuracy_mean", "test_accuracy_std", "test_accuracy_n"):
        assert column in text
    assert "seed 0" not in text
    assert "matching runs" in text
    plots = "document.querySelectorAll('.js-plotly-plot').length >= 3"  # those in sight
    text = see(f"{cells}&compareRunsMode=CHART", plots, size=(1600, 2400))
    assert "Parallel Coordinates" in text
    assert "test_accuracy_mean" in text
    assert "No data" not in text
    text = see(ui.links["Seeds: selected by accuracy"], f"{rows}.length >= 6 && /Group:/.test(document.body.innerText)")
    assert "Group by: cell" in text
    assert re.search(r"Group: \S+/acl-arc/\S+", text)


def test_ctrl_c_ends_it_and_all_its_children(root):
    shown = Ui(root, 5640)
    children = _descendants(shown.process.pid)
    assert len(children) >= 2  # mlflow and uvicorn
    assert shown.end() == (0, "ended\n")
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def _descendants(pid):
    """Process ids below `pid`."""
    below = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            below += [int(child), *_descendants(child)]
    return below


def test_a_taken_port_gives_way_to_the_next(ui):
    assert "port 5600 is taken: using 5601" in ui.said
    assert address_of(ui) == "http://127.0.0.1:5601/"


def test_sigterm_ends_it_too(ui):
    """The last test that needs this one."""
    assert ui.end(signal.SIGTERM)[0] == 0


def test_ports_that_cannot_be_had_are_told_in_a_line(monkeypatch):
    with pytest.raises(InputError, match="--port 70000: expected"):
        free_port(70000)
    monkeypatch.setattr(mlflow_server, "PORTS_TRIED", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EnvironmentFault, match="no free port"):
            free_port(taken.getsockname()[1])


def test_without_a_database_it_says_how_to_make_one(tmp_path):
    said = command("ui", tmp_path)
    assert said.code == 2
    assert f"l3study sync {tmp_path}" in said.err
    (tmp_path / "mlflow.db").write_text("this is no database, and long enough to have a header: " * 20)
    said = command("ui", tmp_path)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "move it away" in said.err


def test_a_locked_database_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("study.tracking.database.BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(empty_database(tmp_path), isolation_level=None)
    holder.execute("begin exclusive")
    try:
        said = command("ui", tmp_path)
    finally:
        holder.close()
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "locked" in said.err


def test_a_server_that_cannot_start_says_why(root, monkeypatch):
    monkeypatch.setattr(
        mlflow_server, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('no such thing')"]
    )
    said = command("ui", root, "--no-open")
    assert (said.code, said.err) == (3, "l3study: MLflow's server has ended: no such thing\n")


def test_the_users_own_mlflow_variables_do_not_reach_the_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    kept = {name for name in mlflow_server.environment() if name.startswith("MLFLOW_")}
    assert kept == {"MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"}
    assert mlflow_server.environment()["PATH"] == os.environ["PATH"]
