"""How far a study is: every trial in one state, who is at work, the time left, and watching."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from small_study import command
from terminals import screen, under_terminal

import study.status.status as module
from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.resolved import read_resolved
from study.status.progress import PROGRESS_FILE, Counts, Progress, read_view
from study.status.status import driver_line, look, status_lines, totals_line, watch, work_lines
from study.store.store import Store


@pytest.fixture
def root(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of a finished study of two seeds of three methods."""
    shutil.copytree(finished_study / "out", tmp_path / "out")
    (tmp_path / "out" / PROGRESS_FILE).unlink(missing_ok=True)
    return tmp_path / "out"


def plan(root: Path) -> list:
    return make_plan(*read_resolved(root))


def forget(root: Path, trial) -> None:
    for key in trial.keys.values():
        (root / "records" / f"{key}.json").unlink()


def fail(root: Path, trial, objective: str, attempts: int = 2) -> None:
    who = {name: getattr(trial, name) for name in ("encoder", "dataset", "method", "variant", "mask_mean", "seed")}
    failure = {"key": trial.keys[objective], "objective": objective, "reason": "it broke", "traceback": "where"}
    Store(root).fail({**who, **failure, "attempts": attempts})


@pytest.fixture
def at_work(root: Path):
    """Of six trials two are done, one has failed, two are running and one waits; this process is the driver."""
    stl, rtm, l3, stl1, rtm1, l31 = plan(root)
    for trial in (l3, stl1, rtm1, l31):
        forget(root, trial)
    fail(root, l3, "accuracy")
    fail(root, stl1, "macro_f1")
    progress = Progress(root, every=0.01)
    progress.expect([stl, rtm, l3, stl1, rtm1, l31], set())
    progress.started(stl1)
    progress.started(rtm1)
    progress.stage("trainings", 3, 6)
    while (view := read_view(root)) is None or view.stage is None:
        time.sleep(0.01)
    yield root
    progress.close("finished")


def test_each_trial_is_in_one_state(at_work: Path) -> None:
    standing = look(at_work)
    assert standing.totals == Counts(2, 2, 1, 1)
    assert list(standing.counts.values()) == [Counts(1, 1, 0, 0), Counts(1, 1, 0, 0), Counts(0, 0, 1, 1)]
    assert [failure["objective"] for failure in standing.failures] == ["accuracy"], "the other one is tried again now"
    assert standing.alive
    text = "\n".join(status_lines(standing, at_work))
    assert "\ntrials: 2 done, 2 running" not in text
    assert "\ntrials: 2 done, 1 failed, 2 running, 1 waiting; about " in text
    assert f"(process {os.getpid()} on " in text
    assert "), trainings 3/6, last update " in text
    assert text.count("\nrunning tiny / words / ") == 2
    assert "FAILED tiny / words / l3masking / seed 0 / accuracy: it broke (2 attempts)" in text
    assert text.endswith("\nthe same `l3study run` tries them again")


def test_the_time_left_counts_what_runs(at_work: Path) -> None:
    """Two of the rtm kind take as long as the one that is finished; l3masking is scaled from it."""
    view = read_view(at_work)
    seconds = {r["trajectory"]: r["run"]["seconds"] for r in Store(at_work).records()}
    stl, rtm = (seconds[trial.trajectory] for trial in plan(at_work)[:2])
    began = max(entry.since for entry in view.running)
    now = look(at_work, now=began)
    slots = 2
    assert view.most == slots
    later = look(at_work, now=began + 10_000)
    assert now.summary.estimate_seconds == pytest.approx(two_places(stl, rtm, rtm, rtm), abs=0.1)
    assert later.summary.estimate_seconds == pytest.approx(rtm), "what is over its time is taken to end now"
    assert [elapsed for _, elapsed, _ in later.running] == pytest.approx([10_000, 10_000], abs=5)


def two_places(first: float, second: float, *waiting: float) -> float:
    ends = [first, second]
    for seconds in waiting:
        ends[ends.index(min(ends))] += seconds
    return max(ends)


def test_a_driver_that_is_gone_is_not_running(at_work: Path) -> None:
    value = json.loads((at_work / PROGRESS_FILE).read_text())
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = at_work.with_name("copy")
    shutil.copytree(at_work, folder)
    (folder / PROGRESS_FILE).write_text(json.dumps(value | {"pid": process.pid}))
    standing = look(folder)
    assert standing.totals == Counts(2, 0, 2, 2)
    assert driver_line(standing).startswith(f"not running: process {process.pid} on ")
    assert driver_line(standing).endswith("the same `l3study run` continues")
    assert totals_line(standing) == "trials: 2 done, 2 failed, 0 running, 2 waiting"


def test_a_folder_without_a_driver(root: Path) -> None:
    standing = look(root)
    assert driver_line(standing) == "not running: no run found in this folder"
    assert totals_line(standing) == "trials: 6 done, 0 failed, 0 running, 0 waiting"
    Progress(root).close("stopped")
    assert "not running: the last run (process " in driver_line(look(root))
    assert ") stopped, last update " in driver_line(look(root))


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"resolved\.yaml is missing"):
        look(tmp_path)
    said = command("status", tmp_path)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert command("status", tmp_path, "--watch").code == 2


def test_the_verb_prints_it_once(at_work: Path) -> None:
    said = command("status", at_work)
    assert said.code == 0, said.err
    assert "done 4, left 8, estimated time" in said.out
    assert "1 failed" in said.out
    assert "\r" not in said.out
    assert "\x1b" not in said.out


def test_an_address_asks_the_cluster(monkeypatch, tmp_path: Path) -> None:
    import types

    cluster = types.ModuleType("study.cluster.jobs")
    cluster.describe_job = lambda job, address: f"job {job} at {address}: RUNNING"
    monkeypatch.setitem(sys.modules, "study.cluster.jobs", cluster)
    said = command("status", "study-17", "--address", "http://127.0.0.1:8265")
    assert said.out == "job study-17 at http://127.0.0.1:8265: RUNNING\n"


def test_watching_ends_with_the_run(at_work: Path, monkeypatch, capsys) -> None:
    """A line now and then where there is no terminal; in the end all of it."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:  # each look has two
            value = json.loads((at_work / PROGRESS_FILE).read_text())
            (at_work / PROGRESS_FILE).write_text(json.dumps(value | {"state": "finished", "running": []}))

    monkeypatch.setattr(Progress, "_write", lambda self: None)
    watch(at_work, Console(file=StringIO()), sleep=sleep)
    lines = capsys.readouterr().out.splitlines()
    assert [line[8:36] for line in lines[:2]] == [" trials: 2 done, 1 failed, 2"] * 2
    assert lines[2].startswith("study small: 3 cells")
    assert pauses[0::2] == [module.PLAIN_EVERY] * 2
    assert all(0 <= pause < module.PLAIN_EVERY for pause in pauses[1::2])


WATCHED = """
import sys
import study.status.status
study.status.status.REDRAW = 0.05
from study.cli.app import main
sys.argv = ["l3study", "status", {root!r}, "--watch"]
main()
"""


def test_a_terminal_is_drawn_anew_until_the_run_ends(root: Path) -> None:
    """The driver is another process, which is killed at its work."""
    trials, columns = plan(root), 40
    forget(root, trials[5])
    progress = Progress(root)
    progress.expect(trials, set())
    progress.started(trials[5])
    progress.close("running")
    driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    value = json.loads((root / PROGRESS_FILE).read_text())
    (root / PROGRESS_FILE).write_text(json.dumps(value | {"pid": driver.pid, "born": None}))

    def heard(said: str) -> None:
        if said.count("running for") == 3:
            driver.kill()

    try:
        said, code = under_terminal(WATCHED.format(root=str(root)), columns=columns, heard=heard)
    finally:
        driver.kill()
        driver.wait()
    assert code == 0, said
    lines = screen(said, columns)
    assert max(map(len, lines)) <= columns
    assert sum(line.startswith("cell") for line in lines) == 1
    assert sum(line.startswith("not running") for line in lines) == 1
    assert sum(line.startswith("trials: 5 done, 0 failed, 0 running, 1") for line in lines) == 1
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1


def test_a_picture_fits_its_terminal(at_work: Path) -> None:
    standing = look(at_work)
    console = Console(file=StringIO(), width=50, height=9, force_terminal=True, color_system=None)
    console.print(module.picture(standing, console))
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 9
    assert max(map(len, lines)) <= 50
    assert work_lines(standing)[0][:30] == next(line for line in lines if line.startswith("running for"))[:30]
