"""One training, named by a key: found, told, and repeated by the very command that is told."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path

import pytest
from small_study import NoMirror, command, records, results, write_space, write_study

import study.run
from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.resolved import read_resolved
from study.space.reader import read_space
from study.status.explain import POINTS, _curve, explain, settings_lines
from study.status.progress import Progress, read_view
from study.status.repeat import differences, repeat_command, written
from study.store.store import Store


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", NoMirror)


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study, in a folder of another name."""
    shutil.copytree(finished_study, tmp_path / "here")
    return tmp_path / "here"


def trial_of(root: Path, method: str, seed: int):
    trials = make_plan(*read_resolved(root))
    return next(trial for trial in trials if (trial.method, trial.seed) == (method, seed))


def told_command(text: str) -> list[str]:
    """The words of the command that an explanation ends with, without `l3study`."""
    words = shlex.split(text.splitlines()[-1])
    assert words[:2] == ["l3study", "run"]
    return words[1:]


def test_a_finished_training_with_all_that_is_known(finished_study: Path) -> None:
    root = finished_study / "out"
    trial = trial_of(root, "l3masking", 1)
    record = records(root)[trial.keys["accuracy"]]
    text = explain(root, trial.trajectory)
    lines = text.splitlines()
    assert lines[0] == "tiny / words / l3masking"
    assert lines[1] == "state     done"
    assert f"training  {trial.trajectory}" in lines
    assert "seed      1" in lines
    assert f"encoder   tiny at {record['revision']}" in lines
    assert f"data      words with content {record['data_hash']}" in lines
    for objective, key in trial.keys.items():
        assert f"{objective}: {key}" in lines
        assert f"  file        {root / 'records' / key}.json" in lines
    assert f"accuracy {100 * record['test']['accuracy']:.2f} %" in text
    assert f"({record['updates']} updates)" in text
    assert f"on {record['run']['host']} (" in text
    assert f"torch {record['run']['versions']['torch']}" in text
    assert "attempt 1" in text
    head, tail = text.split("settings at their defaults:")
    assert "  optim.lr 0.005 (default 0.0001)" in head.split("settings that differ")[1]
    assert "masking: " in tail
    assert "mean 0.15" in tail


def test_a_key_of_a_record_shows_that_record_alone(finished_study: Path) -> None:
    root = finished_study / "out"
    keys = trial_of(root, "stl", 0).keys
    text = explain(root, keys["macro_f1"])
    assert f"macro_f1: {keys['macro_f1']}" in text
    assert keys["accuracy"] not in text


def test_a_beginning_is_enough_where_it_is_the_only_one(finished_study: Path) -> None:
    root = finished_study / "out"
    trial = trial_of(root, "rtm", 0)
    assert explain(root, trial.trajectory[:12].upper()) == explain(root, trial.trajectory)
    with pytest.raises(InputError, match="expected 4 to 32 hexadecimal digits"):
        explain(root, trial.trajectory[:3])
    with pytest.raises(InputError, match="expected 4 to 32 hexadecimal digits"):
        explain(root, "../../secrets")
    wrong = trial.trajectory[:10] + ("0" if trial.trajectory[10] != "0" else "1") + trial.trajectory[11:]
    with pytest.raises(InputError, match=f"nearest: {trial.trajectory}"):
        explain(root, wrong)


def test_several_keys_that_begin_alike_are_named(here: Path) -> None:
    root = here / "out"
    trial = trial_of(root, "rtm", 0)
    twin = trial.trajectory[:31] + ("0" if trial.trajectory[31] != "0" else "1")
    Store(root).fail({"key": twin, "reason": "x", "seed": 3, "encoder": "e", "attempts": 1})
    with pytest.raises(InputError) as error:
        explain(root, trial.trajectory[:8])
    assert trial.trajectory in str(error.value)
    assert twin in str(error.value)
    assert "give more digits" in str(error.value)


def test_a_failed_training_shows_why_and_how_often(here: Path) -> None:
    root = here / "out"
    trial = trial_of(root, "rtm", 1)
    who = {name: getattr(trial, name) for name in ("encoder", "dataset", "method", "variant", "mask_mean", "seed")}
    for objective, key in trial.keys.items():
        (root / "records" / f"{key}.json").unlink()
        trace = "Traceback:\n  somewhere\nValueError: no"
        more = {"objective": objective, "reason": "ValueError: no", "traceback": trace, "attempts": 3}
        Store(root).fail({"key": key, **who, **more})
    text = explain(root, trial.keys["accuracy"])
    assert "state     failed: ValueError: no; the next `l3study run` tries it again" in text
    assert "  attempts    3" in text
    assert "      somewhere\n" in text
    assert str(root / "failures" / f"{trial.keys['accuracy']}.json") in text
    assert told_command(text)[1:4] == [str(root / "space.yaml"), "--out", str(root)]


def test_a_training_that_waits_and_one_that_runs(here: Path) -> None:
    root = here / "out"
    trial = trial_of(root, "stl", 1)
    for key in trial.keys.values():
        (root / "records" / f"{key}.json").unlink()
    assert "\nstate     waiting\n" in explain(root, trial.trajectory)
    assert explain(root, trial.trajectory).count("no record yet") == 2
    progress = Progress(root, every=0.01)
    progress.started(trial)
    while (view := read_view(root)) is None or not view.running:
        time.sleep(0.01)
    assert "\nstate     running for " in explain(root, trial.trajectory)
    progress.close("finished")


def test_the_told_command_repeats_the_training_alone(here: Path) -> None:
    """The space was read elsewhere, and changed by --set: both are in the command. Nothing else is trained."""
    root = here / "new"
    sets = ["--set", "optim.lr=0.004", "--set", "variants={hot: {masking.mean: 0.3}}", "--set", "resources.threads=1"]
    assert command("run", here / "small.yaml", "--out", root, *sets, "--only", "seed=1,method=rtm").code == 0
    trials = make_plan(*read_resolved(root))
    trial = next(trial for trial in trials if (trial.variant, trial.seed) == ("hot", 1))
    before = records(root)
    text = explain(root, trial.trajectory)
    assert "to repeat it alone:" in text
    words = told_command(text)
    assert words[words.index("--out") + 1] == str(root) + "-again"
    assert words[-2:] == ["--only", "encoder=tiny,dataset=words,method=rtm,variant=hot,seed=1"]
    assert "optim.lr=0.004" in words
    assert not any(word.startswith(("train.", "seeds", "pairs")) for word in words), "only what differs is said"
    said = command(*words)
    assert said.code == 0, said.err
    again = records(here / "new-again")
    assert set(again) == set(trial.keys.values())
    assert {key: results(again[key]) for key in again} == {key: results(before[key]) for key in again}


def test_a_training_of_earlier_settings_is_found_and_repeated(here: Path) -> None:
    root = here / "out"
    old = trial_of(root, "l3masking", 0)
    before = records(root)
    changes = ["--set", "optim.lr=0.001", "--set", "seeds=[0]", "--only", "method=stl"]
    assert command("run", here / "small.yaml", "--out", root, *changes).code == 0
    text = explain(root, old.trajectory)
    assert "of a search or of earlier settings: not in the plan" in text
    assert text.count("\n  file ") == 2, "both objectives"
    words = told_command(text)
    assert "optim.lr=0.005" in words
    assert command(*words).code == 0
    again = records(here / "out-again")
    assert {key: results(again[key]) for key in again} == {key: results(before[key]) for key in old.keys.values()}


def test_what_no_run_repeats_is_said(here: Path) -> None:
    root = here / "out"
    trial = trial_of(root, "stl", 0)
    record = {**records(root)[trial.keys["accuracy"]], "key": "f" * 32, "trajectory": "e" * 32, "seed": 1_000_000}
    del record["checksum"], record["test"], record["test_predictions"]
    Store(root / "search").commit(record)
    text = explain(root, "eeee")
    assert "state     done, of a search or of earlier settings: not in the plan" in text
    assert "not looked at: it belongs to a search" in text
    assert "no `l3study run` repeats it alone" in text
    assert str(root / "search" / "records") in text


def test_a_copied_space_that_cannot_be_read_any_more(here: Path) -> None:
    root = here / "out"
    (root / "space.yaml").write_text("name: [")
    assert "no `l3study run` repeats it alone" in explain(root, trial_of(root, "stl", 0).trajectory)


def test_the_verb(here: Path) -> None:
    root = here / "out"
    key = trial_of(root, "stl", 0).trajectory
    said = command("explain", root, key[:10])
    assert said.code == 0, said.err
    assert said.out.splitlines()[1] == "state     done"
    said = command("explain", root, "0" * 32)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert command("explain", here, key).code == 2


# Parts ----------------------------------------------------------------------------------------------------------------


def test_a_long_curve_is_told_in_a_few_lines() -> None:
    point = {"epoch": 1.0, "train_loss": {"primary": 0.5, "mlm": 2.0}, "validation": {"accuracy": 0.5}}
    for count in (1, 7, 8, 9, 100, 975):
        lines = _curve([{**point, "update": 30 * n} for n in range(1, count + 1)], "accuracy")
        assert lines[0] == f"  curve       {count} evaluations"
        assert 1 <= len(lines) - 1 <= POINTS + 1
        updates = [int(re.search(r"update +(\d+)", line)[1]) for line in lines[1:]]
        assert updates == sorted(set(updates))
        assert updates[-1] == 30 * count, "the last one is among them"
    assert _curve([], "accuracy") == ["  curve       0 evaluations"]


def test_settings_that_differ_come_first(tmp_path: Path) -> None:
    spec = read_space(write_space(tmp_path / "a.yaml", precision="bf16"))
    lines = settings_lines(spec.settings())
    middle = lines.index("settings at their defaults:")
    assert "  precision bf16 (default float32)" in lines[:middle]
    assert "  train.batch 8 (default 64)" in lines[:middle]
    assert any(line.startswith("  stop: ") for line in lines[middle:])
    assert not any("precision" in line for line in lines[middle:])


@pytest.mark.parametrize("value", ["plain", "1e-5", "true", "a: b", "", "x=y, z", 0.1, 1e-5, None, True, [1, "a"], {}])
def test_values_survive_the_command_line(value, tmp_path: Path) -> None:
    from study.space.yaml import parse_yaml

    assert parse_yaml(written(value), "") == (value, [])


def test_differences_make_one_study_the_other(tmp_path: Path) -> None:
    one = write_study(tmp_path / "one")
    two = write_study(
        tmp_path / "two",
        name="other",
        seeds=[3, 5],
        methods=["rtm", "stl"],
        objectives=["macro_f1"],
        optim={"lr": 1e-5, "betas": [0.9, 0.95]},
        preset="paper",
        precision="bf16",
        variants={"hot": {"masking.mean": 0.3}, "wide": {"scoring.max_length": 20}},
        search={"parameters": {"masking.mean": {"uniform": [0.1, 0.5], "step": 0.1}}},
        resources={"cpu": 2, "gpu": 0.25},
        pairs=[{"encoder": "tiny", "dataset": "words", "gpu": 0.5}],
    )
    for first, second in ((one, two), (two, one)):
        wanted = read_space(second)
        assert read_space(first, differences(read_space(first), wanted)) == wanted
    assert differences(read_space(one), read_space(one)) == []


def test_a_command_that_would_train_something_else_is_never_told(here: Path) -> None:
    root = here / "out"
    resolved, trial = read_resolved(root), trial_of(root, "stl", 0)
    who = {name: getattr(trial, name) for name in ("encoder", "dataset", "method", "variant", "seed")}
    assert repeat_command(root, resolved, who, trial.trajectory, trial.settings, root) is not None
    assert repeat_command(root, resolved, who, "0" * 32, trial.settings, root) is None
    assert repeat_command(root, resolved, {**who, "dataset": "gone"}, trial.trajectory, trial.settings, root) is None
