"""A study as a whole: idempotent, extended, changed, narrowed, killed and stopped; the records decide."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import (
    NoMirror,
    command,
    marks,
    records,
    resolved_text,
    results,
    start,
    tables,
    write_rows,
    write_space,
)

import study.executor
import study.run
from study.estimate.sizes import longest_first
from study.plan.grid import make_plan
from study.plan.inputs import identify
from study.plan.resolved import read_resolved
from study.space.reader import read_space
from study.store.store import Store
from study.tracking.mirror import END_SECONDS, STOP_SECONDS
from study.work.stopping import AtOnce
from study.work.workers import ArtefactWorker

WAIT = 90.0  # seconds until a started process must have come so far, on a busy machine


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study."""
    shutil.copytree(finished_study, tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def fresh(here: Path) -> Path:
    """The same without what a run left."""
    shutil.rmtree(here / "out")
    return here


@pytest.fixture
def mirror(monkeypatch) -> NoMirror:
    """Stands for MLflow."""
    made = NoMirror()
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: made)
    return made


def run(folder: Path, *words: object):
    return command("run", folder / "small.yaml", "--out", folder / "out", *words)


def test_a_run_leaves_every_record_and_writes_the_study_down(finished_study: Path) -> None:
    root = finished_study / "out"
    spec = read_space(finished_study / "small.yaml")
    trials = make_plan(spec, identify(spec, print))
    assert records(root).keys() == {key for trial in trials for key in trial.keys.values()}
    assert len(records(root)) == 3 * 2 * 2
    assert (root / "space.yaml").read_bytes() == (finished_study / "small.yaml").read_bytes()
    resolved = read_resolved(root)
    assert resolved is not None
    assert (resolved.spec.seeds, resolved.identities) == ((0, 1), identify(spec, print))
    cells = json.loads((root / "tables" / "results.json").read_text())
    assert [(c["method"], c["objective"], c["n"], c["failed"]) for c in cells] == [
        (method, objective, 2, 0) for method in ("stl", "rtm", "l3masking") for objective in ("accuracy", "macro_f1")
    ]
    for cell in cells:
        values = [
            r["test"][r["objective"]]
            for r in records(root).values()
            if (r["method"], r["objective"]) == (cell["method"], cell["objective"])
        ]
        assert cell["mean"] == pytest.approx(sum(values) / 2)


def test_the_same_command_again_trains_and_writes_nothing_new(
    finished_study: Path, here: Path, mirror, monkeypatch
) -> None:
    root = here / "out"
    before, exported, resolved = marks(root), tables(root), resolved_text(root)
    monkeypatch.setattr(study.executor, "run_serially", lambda given, listener: given and pytest.fail("trained again"))
    monkeypatch.setattr(ArtefactWorker, "make", lambda *_: pytest.fail("scored again"))
    said = run(here)
    assert said.code == 0, said.err
    assert "6 trainings chosen of 6, 0 left to run" in said.out
    assert "0/0" not in said.out
    assert marks(root) == before
    assert tables(root) == exported
    # the study has moved: its paths differ, and where lines are broken; nothing else
    moved = resolved.replace(str(finished_study), str(here))
    assert resolved_text(root).split() == moved.split()
    assert "changed since" not in said.out


def test_further_seeds_run_only_the_new_trials(here: Path, mirror) -> None:
    before = marks(here / "out")
    said = run(here, "--set", "seeds=3", "--set", "methods=[stl, rtm]")
    assert said.code == 0, said.err
    assert "6 trainings chosen of 6, 2 left to run" in said.out
    assert "changed since" not in said.out
    now = marks(here / "out")
    assert {name: now[name] for name in before} == before
    new = [record for key, record in records(here / "out").items() if f"{key}.json" not in before]
    assert sorted((r["method"], r["seed"], r["objective"]) for r in new) == [
        (method, 2, objective) for method in ("rtm", "stl") for objective in ("accuracy", "macro_f1")
    ]
    assert sorted(mirror.told) == sorted(record["key"] for record in new)


def test_a_changed_setting_is_named_runs_anew_and_keeps_the_old(here: Path, mirror) -> None:
    before = marks(here / "out")
    said = run(here, "--set", "masking.mean=0.3", "--only", "method=rtm", "--limit", "1")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("changed since the last run: masking.mean;"))
    assert lines[at + 1 : at + 3] == ["  tiny / words / rtm", "  tiny / words / l3masking"]
    assert at < next(n for n, line in enumerate(lines) if line.startswith("done "))
    now = marks(here / "out")
    assert {name: now[name] for name in before} == before
    assert len(now) == len(before) + 2
    cells = json.loads((here / "out" / "tables" / "results.json").read_text())
    assert {(c["method"], c["mask_mean"], c["n"]) for c in cells} == {
        ("stl", None, 2),
        ("rtm", 0.3, 1),
        ("l3masking", 0.3, 0),
    }


def test_changed_data_runs_everything_anew(here: Path, mirror) -> None:
    write_rows(here / "test.jsonl", ["red", "cat", "oak", ""], ["first", "second", "third", "first"])
    said = run(here, "--only", "method=stl", "--limit", "1")
    assert said.code == 0, said.err
    assert "changed since the last run: identities.datasets.words" in said.out
    assert "dataset words: test: 1 empty texts, kept" in said.out
    assert len(records(here / "out")) == 12 + 2


def test_a_narrowed_run_shows_what_is_missing_and_is_completed_to_the_same_tables(
    fresh: Path, finished_study: Path, mirror
) -> None:
    said = run(fresh, "--only", "method=stl,method=l3masking", "--only", "seed=1")
    assert said.code == 0, said.err
    assert len(records(fresh / "out")) == 4
    shown = tables(fresh / "out")["results.md"].decode()
    assert "n=1/2" in shown
    assert "not run (0/2)" in shown
    assert run(fresh, "--limit", "1").code == 0
    assert len(records(fresh / "out")) == 6
    assert run(fresh).code == 0
    assert tables(fresh / "out") == tables(finished_study / "out")
    assert [results(r) for r in records(fresh / "out").values()] == [
        results(r) for r in records(finished_study / "out").values()
    ]


def test_a_failed_trial_is_shown_tried_again_and_costs_itself_alone(fresh: Path, mirror) -> None:
    write_space(fresh / "small.yaml", methods=["stl"], variants={"wild": {"optim.lr": 1e30, "optim.head_lr": 1e30}})
    for attempt in (1, 2):
        said = run(fresh)
        assert said.code == 1, said.err
        assert "2 trials failed: see `l3study status" in said.out
        assert "FAILED tiny / words / stl / wild / seed 0: NonFiniteLoss: not finite" in said.out
        assert {r["variant"] for r in records(fresh / "out").values()} == {None}
        assert len(records(fresh / "out")) == 4
        failures = Store(fresh / "out").failures()
        assert [failure["attempts"] for failure in failures] == [attempt] * 4
        cells = json.loads((fresh / "out" / "tables" / "results.json").read_text())
        assert [(c["variant"], c["n"], c["failed"], c["mean"] is None) for c in cells] == [
            (None, 2, 0, False),
            (None, 2, 0, False),
            ("wild", 0, 2, True),
            ("wild", 0, 2, True),
        ]
    assert "4 trainings chosen of 4, 2 left to run" in said.out
    assert set(mirror.told) >= {failure["key"] for failure in failures}
    said = command("status", fresh / "out")
    assert said.code == 0
    assert said.out.count("FAILED tiny / words / stl / wild / seed 1 / accuracy: NonFiniteLoss: not finite") == 1


def test_a_damaged_record_is_computed_again(here: Path, mirror) -> None:
    victim = sorted((here / "out" / "records").iterdir())[5]
    whole = results(json.loads(victim.read_text()))
    victim.write_bytes(victim.read_bytes()[:-40])
    before = {name: mark for name, mark in marks(here / "out").items() if name != victim.name}
    said = run(here)
    assert said.code == 0, said.err
    assert results(json.loads(victim.read_text())) == whole
    assert (here / "out" / "quarantine" / victim.name).is_file()
    now = marks(here / "out")
    assert {name: now[name] for name in before} == before
    assert f"warning: {victim}" in said.err


def until(true: Callable[[], bool], process) -> None:
    """Wait, as long as the process lives."""
    end = time.monotonic() + WAIT
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        # long: test_study_kills.py shows drivers that are killed; here in a process that was not forked
        pytest.param(signal.SIGKILL, -9, id="SIGKILL", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 75, id="SIGTERM"),
    ],
)
def test_a_run_that_is_killed_or_stopped_is_continued_by_the_same_command(
    fresh: Path, finished_study: Path, mirror, number: int, code: int
) -> None:
    root, draw = fresh / "out", random.Random(int(number))
    process = start("run", "small.yaml", "--out", "out", cwd=fresh)
    wanted = draw.randint(1, 4)
    until(lambda: len(list(root.glob("records/*.json"))) >= wanted, process)
    time.sleep(draw.random() * 0.06)
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == code, err
    if code == 75:
        assert out.splitlines()[-1].endswith("the same command continues")
        assert (root / "tables" / "results.json").is_file()
    assert "\r" not in out + err
    before = marks(root)
    assert wanted <= len(before) < 12
    assert Store(root).failures() == []
    said = run(fresh)
    assert said.code == 0, said.err
    assert f"{6 - len(before) // 2} left to run" in said.out
    now = marks(root)
    assert {name: now[name] for name in before} == before
    assert {k: results(r) for k, r in records(root).items()} == {
        k: results(r) for k, r in records(finished_study / "out").items()
    }
    assert tables(root) == tables(finished_study / "out")
    assert not [path for path in root.rglob(".*.tmp") if path.is_file()]


def test_an_interrupt_while_training_still_writes_tables(fresh: Path, mirror, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study.executor, "run_serially", interrupted)
    said = run(fresh)
    assert said.code == 75
    assert (fresh / "out" / "tables" / "results.md").is_file()
    assert mirror.waits == STOP_SECONDS < END_SECONDS
    monkeypatch.setattr("study.report.publish.gather", interrupted)
    said = run(fresh)
    assert (said.code, said.out.splitlines()[-1]) == (75, "stopped: the same command continues")
    assert said.err == ""


def test_a_second_signal_ends_a_run_without_tables(fresh: Path, mirror, monkeypatch) -> None:
    def asked_twice(*_: object, **__: object) -> None:
        raise AtOnce

    monkeypatch.setattr(study.executor, "run_serially", asked_twice)
    said = run(fresh)
    assert (said.code, said.out.splitlines()[-1], said.err) == (75, "stopped: the same command continues", "")
    assert not (fresh / "out" / "tables").exists()


def test_the_second_of_two_runs_is_refused(here: Path, mirror) -> None:
    with Store(here / "out").lock():
        said = run(here)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert str(here / "out") in said.err
    assert "another run works on this study" in said.err
    assert run(here).code == 0


def test_score_alone_scores_and_trains_nothing(fresh: Path, finished_study: Path, mirror) -> None:
    said = command("score", fresh / "small.yaml", "--out", fresh / "out")
    assert said.code == 0, said.err
    assert not (fresh / "out" / "records").exists()
    made = {path.name: path.read_bytes() for path in fresh.glob("out/scores/*/*")}
    assert made == {path.name: path.read_bytes() for path in finished_study.glob("out/scores/*/*")}
    assert "manifest.json" in made
    assert f"\nscores   {fresh / 'out' / 'scores'}\n" in said.out
    assert "not run" not in said.out


# One of MLflow 3.17's own migrations uses a loader that SQLAlchemy 2.1 deprecates; it runs when a database is made.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_mlflow_holds_the_study_its_cells_and_its_seeds(here: Path) -> None:
    said = run(here)
    assert said.code == 0, said.err
    assert "mirror is behind" not in said.out
    with contextlib.closing(sqlite3.connect(here / "out" / "mlflow.db")) as database:
        runs = dict(database.execute("select run_uuid, status from runs").fetchall())
        parents = dict(database.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'").fetchall())
    assert set(runs.values()) == {"FINISHED"}
    cells = {run for run, parent in parents.items() if parent not in parents}
    assert len(runs) == 1 + len(parents)
    assert len(cells) == 3
    assert len(parents) - len(cells) == 12


def test_what_costs_most_comes_first_and_seeds_keep_their_order(finished_study: Path) -> None:
    spec = read_space(finished_study / "small.yaml", ["methods=[stl, mtl_static, rtm]"])
    ordered = longest_first(make_plan(spec, identify(spec, print)))
    wanted = [(method, seed) for method in ("rtm", "mtl_static", "stl") for seed in (0, 1)]
    assert [(trial.method, trial.seed) for trial in ordered] == wanted
