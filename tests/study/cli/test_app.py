"""The command line: help with examples, one line for each mistake, exit codes, and output that a log can hold."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_study import NoMirror, command, marks, start, tables, write_rows, write_space
from typer.testing import CliRunner

import study.run
from study.cli import app as cli
from study.cli.options import find_space
from study.store.store import Store

VERBS = [
    *("run", "score", "search", "plan", "status", "explain", "export", "compare", "verify", "power", "ui", "sync"),
    *("export-model", "predict"),
    *("prefetch", "doctor", "submit", "stop", "logs"),
    *("data", "methods", "policies", "check-policy", "pos", "inspect"),
]
PLAN_KEYS = {"cells", "trajectories", "records", "done", "left", "search_trials", "estimate_seconds"}


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", NoMirror)


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study."""
    shutil.copytree(finished_study, tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_an_example_in_its_help(verb: str) -> None:
    said = CliRunner().invoke(cli.app, [verb, "--help"])
    assert said.exit_code == 0
    assert f"Example: l3study {verb} " in said.stdout


def test_help_names_every_verb() -> None:
    said = CliRunner().invoke(cli.app, ["--help"])
    assert said.exit_code == 0
    assert all(f" {verb} " in said.stdout for verb in VERBS)
    names = {command.callback.__name__ for command in cli.app.registered_commands}  # type: ignore[union-attr]
    assert {name.replace("_", "-") for name in names} == set(VERBS)


def refused(folder: Path, *words: object, verb: str = "run") -> str:
    """The one line that a refused command says."""
    said = command(verb, folder / "small.yaml", "--out", folder / "elsewhere", *words)
    assert said.code == 2, said.out + said.err
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("l3study: ")
    assert "Traceback" not in said.out + said.err
    return said.err


MISTAKES = {
    "typo": ("masking: {maen: 0.2}", ["small.yaml: masking.maen", "mean"]),
    "section": ("maskin: {mean: 0.2}", ["small.yaml: maskin", "masking"]),
    "encoder": ("pairs: [{encoder: tinny, dataset: words}]", ["pairs[0].encoder", "tinny", "nearest: tiny"]),
    "dataset": ("pairs: [{encoder: tiny, dataset: word}]", ["pairs[0].dataset", "nearest: words"]),
    "method": ("methods: [stl, l3_masking]", ["methods[1]", "l3_masking", "l3masking"]),
    "mean above 1": ("masking: {mean: 1.5}", ["masking.mean", "1.5", "1"]),
    "mean below 0": ("masking: {mean: -0.1}", ["masking.mean", "-0.1", "0"]),
    "text for a number": ("masking: {mean: much}", ["masking.mean", "a number"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_space_file_is_refused_with_place_and_mend(here: Path, mistake: str) -> None:
    import yaml

    text, wanted = MISTAKES[mistake]
    write_space(here / "small.yaml", **yaml.safe_load(text))
    line = refused(here)
    assert [part for part in wanted if part not in line] == []
    assert not (here / "elsewhere").exists()


def test_a_wrong_word_on_the_command_line_is_refused(here: Path) -> None:
    assert "--set: masking.mean is 1.5" in refused(here, "--set", "masking.mean=1.5")
    assert "--set: optim.lrr" in refused(here, "--set", "optim.lrr=1")
    assert "--only 'method=stk': no trial has this method; nearest: stl" in refused(here, "--only", "method=stk")
    assert "--limit 0" in refused(here, "--limit", "0")


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_data_that_cannot_be_used_is_refused_before_anything_is_computed(here: Path, verb: str) -> None:
    (here / "test.jsonl").rename(here / "away")
    line = refused(here, verb=verb)
    assert str(here / "test.jsonl") in line
    write_rows(here / "test.jsonl", ["red", "cat"], ["first", "fourth"])
    line = refused(here, verb=verb)
    assert "words: test has labels that train lacks: 'fourth' (1 row)" in line
    (here / "test.jsonl").write_text('{"body": "red", "label": "first"}\n')
    line = refused(here, verb=verb)
    assert "test.jsonl" in line
    assert "no column `text`; the columns there are: 'body', 'label'" in line
    (here / "away").rename(here / "test.jsonl")
    write_rows(here / "train.jsonl", ["red", "cat"], ["first", "first"])
    assert "every row of train has the label 'first'; two classes are needed" in refused(here, verb=verb)


def test_an_encoder_folder_that_is_not_there_is_refused(here: Path) -> None:
    write_space(here / "small.yaml", encoders={"tiny": {"path": "gone"}})
    assert f"encoder folder {here / 'gone'} does not exist: correct `path`" in refused(here)
    (here / "gone").mkdir()
    for verb in ("run", "plan"):
        assert f"encoder folder {here / 'gone'} has no config.json: give the folder" in refused(here, verb=verb)


def test_a_refused_filter_leaves_the_study_as_it_is(here: Path) -> None:
    before = (here / "out" / "resolved.yaml").read_bytes()
    words = ("--out", here / "out", "--set", "seeds=1", "--only", "seed=1")
    assert command("run", here / "small.yaml", *words).code == 2
    assert (here / "out" / "resolved.yaml").read_bytes() == before


def test_a_search_that_is_not_declared_is_refused(here: Path) -> None:
    assert "small.yaml: no `search` is declared, so there is nothing to search" in refused(here, verb="search")


def test_an_unknown_space_name_is_refused_with_the_known_ones(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("plan", "quickstrat")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "no space of this name; nearest: quickstart" in said.err
    said = command("plan", "small.yaml")
    assert (said.code, said.err.count("\n")) == (2, 1)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    for verb in ("status", "export"):
        said = command(verb, tmp_path)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "no study here" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["status", "explain", "export", "compare", "ui", "sync", "compare --against"])
def test_a_url_without_a_study_is_refused_by_its_own_name(tmp_path: Path, monkeypatch, finished_study, verb) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "there").mkdir()
    url = f"file://{tmp_path}/there"
    name, *option = verb.split()
    words = [finished_study / "out", *option, url] if option else [url, *["abcd"] * (verb == "explain")]
    said = command(name, *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith(f"l3study: {url}: no ")
    assert str(tmp_path / "cache") not in said.err


def test_an_unknown_format_is_refused(here: Path) -> None:
    said = command("export", here / "out", "--format", "md,xls")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "xls" in said.err


def test_wrong_usage_is_2(tmp_path: Path) -> None:
    assert command("run").code == 2
    assert command("walk", tmp_path).code == 2
    assert command("run", "quickstart", "--limit", "many").code == 2


def test_debug_shows_the_traceback_and_keeps_the_exit_code(here: Path) -> None:
    said = command("--debug", "run", here / "small.yaml", "--set", "masking.mean=2")
    assert said.code == 2
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith("l3study: --set: masking.mean is 2")


@pytest.fixture
def nowhere(monkeypatch, tmp_path: Path) -> None:
    """No cache and no network: even a look-up of an address fails the test."""
    import huggingface_hub.constants

    def reached(*_: object, **__: object) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(socket.socket, "connect", reached)
    monkeypatch.setattr(socket, "getaddrinfo", reached)


@pytest.mark.parametrize("verb", ["run", "prefetch", "score"])
def test_offline_and_not_cached_is_3_and_names_the_mend(here: Path, nowhere, verb: str) -> None:
    write_space(here / "small.yaml", encoders={"far": {"hub": "google-bert/bert-base-uncased"}})
    began = time.monotonic()
    out = [] if verb == "prefetch" else ["--out", here / "elsewhere"]
    said = command(verb, here / "small.yaml", *out)
    assert said.code == 3, said.err
    assert said.err.count("\n") == 1
    assert "google-bert/bert-base-uncased" in said.err
    assert "l3study prefetch" in said.err
    assert time.monotonic() - began < 20


def test_plan_works_offline_and_counts_what_is_not_at_hand(here: Path, nowhere) -> None:
    write_space(here / "small.yaml", encoders={"far": {"hub": "google-bert/bert-base-uncased"}})
    said = command("plan", here / "small.yaml", "--json")
    assert said.code == 0, said.err
    summary = json.loads(said.out)
    assert summary.keys() >= PLAN_KEYS
    numbers = {key: summary[key] for key in PLAN_KEYS}
    assert numbers == {
        "cells": 3,
        "trajectories": 6,
        "records": 12,
        "done": 0,
        "left": 12,
        "search_trials": 0,
        "estimate_seconds": None,
    }
    assert summary["unknown"] == ["encoder far"]


def test_plan_counts_what_is_done_and_computes_nothing(here: Path, monkeypatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    monkeypatch.setattr("l3masking.encoders.load.load_encoder", lambda *_, **__: pytest.fail("loaded an encoder"))
    said = command("plan", here / "small.yaml", "--out", here / "out", "--set", "seeds=3", "--json")
    summary = json.loads(said.out)
    assert (summary["records"], summary["done"], summary["left"]) == (18, 12, 6)
    assert summary["estimate_seconds"] > 0
    said = command("plan", here / "small.yaml", "--out", here / "out", "--only", "method=stl")
    assert "1 cell, 2 trainings, 4 records\ndone 4, left 0" in said.out
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_plan_names_what_has_changed(here: Path) -> None:
    said = command("plan", here / "small.yaml", "--out", here / "out", "--set", "optim.lr=1e-3")
    assert said.code == 0
    assert (
        "changed since the last run: optim.lr; new trainings for these, old records stay:\n  tiny / words / stl"
        in said.out
    )


def test_status_shows_progress_and_failures_with_reasons(here: Path) -> None:
    path = next(path for path in (here / "out" / "records").iterdir() if json.loads(path.read_text())["seed"] == 1)
    record = json.loads(path.read_text())
    path.unlink()
    names = ("key", "encoder", "dataset", "method", "variant", "mask_mean", "objective", "seed")
    failure = {name: record[name] for name in names}
    Store(here / "out").fail(failure | {"reason": "the cat sat on it", "traceback": "", "attempts": 1})
    said = command("status", here / "out")
    assert said.code == 0, said.err
    assert "done 11, left 1, estimated time" in said.out
    assert f"FAILED tiny / words / {record['method']} / seed 1 / {record['objective']}: the cat sat on it" in said.out
    assert said.out.splitlines()[-1] == "the same `l3study run` tries them again"


def test_export_writes_the_tables_again_byte_for_byte(here: Path) -> None:
    before, records = tables(here / "out"), marks(here / "out")
    assert before.keys() >= {"results.md", "results.tex", "results.csv", "results.json"}
    shutil.rmtree(here / "out" / "tables")
    said = command("export", here / "out", "--format", "md, json")
    assert said.code == 0, said.err
    assert tables(here / "out") == {name: text for name, text in before.items() if name.endswith((".json", ".md"))}
    assert all(Path(line).is_file() for line in said.out.splitlines())
    assert command("export", here / "out").code == 0
    assert tables(here / "out") == before
    assert marks(here / "out") == records
    cell = json.loads(before["results.json"])[0]
    assert cell.keys() >= {"encoder", "dataset", "method", "variant", "mask_mean", "objective", "n", "failed", "mean"}
    assert cell.keys() >= {"std", "ci_low", "ci_high", "epochs_to_best_mean", "epochs_to_stop_mean"}


def test_prefetch_says_what_is_at_hand(here: Path) -> None:
    said = command("prefetch", here / "small.yaml")
    assert said.code == 0, said.err
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["encoder tiny", "dataset words"]


def test_empty_texts_are_kept(here: Path) -> None:
    rows = [json.loads(line) for line in (here / "train.jsonl").read_text().splitlines()]
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    write_rows(here / "train.jsonl", ["", "  ", *texts], ["first", "second", *labels])
    said = command("run", here / "small.yaml", "--out", here / "new", "--only", "method=l3masking", "--limit", "1")
    assert said.code == 0, said.err
    assert "dataset words: train: 2 empty texts, kept" in said.out
    record = json.loads(next((here / "new" / "records").iterdir()).read_text())
    assert record["overlap"]["train_rows"] == 26
    assert record["mask_probability"]["largest_deviation"] < 1e-6


def test_as_a_module_from_another_folder_a_bare_name_is_found(tmp_path: Path) -> None:
    process = start("plan", "quickstart", "--json", cwd=tmp_path, L3STUDY_CACHE=str(tmp_path / "cache"))
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert json.loads(out)["name"] == "quickstart"
    assert json.loads(out)["done"] == 0
    assert "\r" not in out + err
    assert err == ""
    assert os.listdir(tmp_path) in ([], ["cache"])


def test_help_is_quick_to_come() -> None:
    """No torch, no ray: the verbs import what they need."""
    code = (
        "import sys, study.cli; print(sorted({'torch', 'ray', 'transformers', 'mlflow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["run", "score", "search", "plan", "prefetch", "doctor", "submit"])
def test_the_space_of_an_example_exists(verb: str) -> None:
    words = next(c.epilog for c in cli.app.registered_commands if (c.name or c.callback.__name__) == verb).split()
    assert find_space(words[words.index(verb) + 1]).is_file()


def test_debug_may_stand_behind_the_verb(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["l3study", "plan", str(tmp_path / "nothing.yaml"), "--debug"])
    monkeypatch.setenv("L3STUDY_DEBUG", "")
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_the_file_system_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "tables")

    monkeypatch.setattr("study.plan.resolved.opened_study", Path)
    monkeypatch.setattr("study.report.publish.write_tables", full)
    monkeypatch.setattr("sys.argv", ["l3study", "export", str(tmp_path)])
    monkeypatch.setenv("L3STUDY_DEBUG", "")
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 3
    assert capsys.readouterr().err == (
        "l3study: tables: No space left on device; check that the folder exists, that its permissions allow this, and "
        "that the disk has space\n"
    )


def test_a_file_that_cannot_be_written_is_named_as_the_user_named_it(monkeypatch, capsys) -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", f"/proc/.model.{'0a' * 16}.tmp")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setenv("L3STUDY_DEBUG", "")
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 3
    assert capsys.readouterr().err.startswith("l3study: /proc/model: No such file or directory; check that the folder")
