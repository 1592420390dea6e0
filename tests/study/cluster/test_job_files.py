"""What goes along with a job: the shipped files agree with the rest of the project, and little else travels."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_study import command, write_study

from l3masking.errors import InputError
from study.cluster.job_files import (
    ENV_VARS,
    check_files,
    files_of,
    lasting,
    read_environment,
    space_in,
    travelling,
    vanishes,
)
from study.schedule import QUIET
from study.space.reader import read_space

PROJECT = Path(__file__).resolve().parents[3]
PLAIN, WITH_PIP = (yaml.safe_load((PROJECT / f"runtime_env{kind}.yaml").read_text()) for kind in ("", ".pip"))


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=! ;]", requirement)[0].lower().replace("-", "_")


def test_the_two_environments_differ_in_the_packages_alone() -> None:
    assert PLAIN == {"env_vars": ENV_VARS}
    assert WITH_PIP.keys() == {"env_vars", "pip"}
    assert WITH_PIP["env_vars"] == ENV_VARS
    assert {name: QUIET[name] for name in QUIET.keys() & ENV_VARS} == {
        name: ENV_VARS[name] for name in QUIET.keys() & ENV_VARS
    }
    assert all(isinstance(value, str) for value in ENV_VARS.values())
    assert ENV_VARS["RAY_JOB_STOP_SIGNAL"] in ("SIGINT", "SIGTERM")  # others are refused by Ray


def test_the_packages_are_those_of_the_project_in_the_pinned_versions() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    listed = dict(requirement.split("==") for requirement in WITH_PIP["pip"])
    pinned = dict(line.split("==") for line in (PROJECT / "constraints.txt").read_text().split() if "==" in line)
    assert listed.items() <= pinned.items()
    needed = {name_of(requirement) for requirement in project["dependencies"]} - {"ray"}  # the cluster's own
    assert {name_of(name) for name in listed} == needed


def test_the_shipped_files_name_no_secret_and_no_host() -> None:
    for name in ("runtime_env.yaml", "runtime_env.pip.yaml", ".rayignore"):
        text = (PROJECT / name).read_text()
        assert not re.search(r"https?://|index-url|extra-index", text)
    assert read_environment(PROJECT / "runtime_env.yaml", PROJECT) == PLAIN
    assert read_environment(PROJECT / "runtime_env.pip.yaml", PROJECT) == WITH_PIP


def test_the_code_travels_and_nothing_large_does(tmp_path: Path) -> None:
    """As Ray lists the working directory, which here is this checkout with whatever lies in it."""
    files = {path.relative_to(PROJECT) for path in travelling(PROJECT)}
    for folder in ("l3masking", "study", "search_spaces"):
        there = {path.relative_to(PROJECT) for path in (PROJECT / folder).rglob("*") if path.suffix in (".py", ".yaml")}
        assert there
        assert there <= files
    assert Path("runtime_env.yaml") in files
    kept = {path.parts[0] for path in files}
    assert not kept & {
        "tests",
        "studies",
        ".venv",
        ".git",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
    }
    assert not [path for path in files if "__pycache__" in path.parts]
    assert sum((PROJECT / path).stat().st_size for path in files) < 5_000_000  # Ray refuses 512 MiB


def test_results_and_environments_stay_behind(tmp_path: Path) -> None:
    (tmp_path / ".rayignore").write_bytes((PROJECT / ".rayignore").read_bytes())
    stay = ["studies/a/records/x.json", ".venv/lib/x.py", ".git/HEAD", "tests/test_x.py", "mlflow.db", "a/b/mlruns/1"]
    go = ["study/cli.py", "data/train.jsonl", "spaces/x.yaml", "notes.txt"]
    for name in (*stay, *go):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert {path.relative_to(tmp_path).as_posix() for path in travelling(tmp_path)} == {*go, ".rayignore"}


def test_a_space_lies_in_the_working_directory(tmp_path: Path) -> None:
    space = write_study(tmp_path / "spaces of mine")
    assert space_in(tmp_path, space) == "spaces of mine/small.yaml"
    with pytest.raises(InputError, match=r"small\.yaml: lies outside of .*, which is all that travels to the cluster"):
        space_in(tmp_path / "spaces of mine" / "encoder", space)


def test_files_that_stay_behind_are_named_before_anything_is_sent(tmp_path: Path) -> None:
    space = write_study(tmp_path)
    needed = files_of(read_space(space).resolved())
    assert {Path(path).name for path in needed} == {"encoder", "train.jsonl", "validation.jsonl", "test.jsonl"}
    warned: list[str] = []
    check_files(tmp_path, space, needed, warned.append)
    assert warned == []
    (tmp_path / ".gitignore").write_text("*.jsonl\n")
    with pytest.raises(InputError, match=r"t.*\.jsonl: \.gitignore or \.rayignore keeps it from travelling"):
        check_files(tmp_path, space, needed, warned.append)
    (tmp_path / ".gitignore").write_text("*.yaml\n")
    with pytest.raises(InputError, match=r"small\.yaml: \.gitignore"):
        check_files(tmp_path, space, needed, warned.append)
    (tmp_path / ".gitignore").unlink()
    check_files(tmp_path, space, [*needed, "/data/shared/train.jsonl"], warned.append)
    assert warned == ["/data/shared/train.jsonl does not travel with the job: every node needs it under this very path"]


def test_files_of_lists_and_patterns_travel_too(tmp_path: Path) -> None:
    folder = tmp_path / "work [1]"
    space = write_study(folder)
    for name in ("a-0.jsonl", "a-1.jsonl", "b.jsonl"):
        (folder / name).write_bytes((folder / "train.jsonl").read_bytes())
    spec = read_space(space, ["datasets.words.train=[b.jsonl, 'a-*.jsonl']"])
    needed = files_of(spec.resolved())
    assert {str(folder / "b.jsonl"), str(tmp_path / "work [[]1]" / "a-*.jsonl")} <= set(needed)
    warned: list[str] = []
    check_files(folder, space, needed, warned.append)
    assert warned == []
    for kept in ("b.jsonl", "a-1.jsonl"):
        (folder / ".gitignore").write_text(f"{kept}\n")
        with pytest.raises(InputError, match=rf"{kept}: \.gitignore or \.rayignore keeps it from travelling"):
            check_files(folder, space, needed, warned.append)
    (folder / ".gitignore").unlink()
    (tmp_path / "outside-1.jsonl").write_text("")
    for outside in ("outside-1.jsonl", "nothing-*.jsonl"):
        check_files(folder, space, [str(tmp_path / outside.replace("1", "?"))], warned.append)
        assert warned.pop().startswith(f"{tmp_path / outside} does not travel with the job")


def test_results_go_where_they_last() -> None:
    assert lasting("/shared/studies/x") == "/shared/studies/x"
    assert lasting("s3://bucket/x/") == "s3://bucket/x"
    for wrong in (None, "studies/x"):
        with pytest.raises(InputError, match="a job's own folder is deleted with it; give an absolute folder"):
            lasting(wrong)


ENVIRONMENTS: dict[str, tuple[Any, str]] = {
    "a token": ({"env_vars": {"HF_TOKEN": "x"}}, "env_vars.HF_TOKEN looks like a secret"),
    "a password": ({"env_vars": {"MLFLOW_TRACKING_PASSWORD": "x"}}, "looks like a secret"),
    "a token under another name": ({"env_vars": {"WHATEVER": "hf_abcdefghijklmnop"}}, "looks like a secret"),
    "a number": ({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": 120}}, r"is 120; put it in quotes"),
    "a list": (["env_vars"], "expected keys and values"),
    "a list of variables": ({"env_vars": ["A=1"]}, "expected keys and values"),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_that_are_refused(name: str, tmp_path: Path) -> None:
    value, said = ENVIRONMENTS[name]
    (tmp_path / "env.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(InputError, match=said) as refused:
        read_environment(tmp_path / "env.yaml", tmp_path)
    assert "abcdefghijklmnop" not in str(refused.value)
    assert "env.yaml" in str(refused.value)


def test_where_the_environment_comes_from(tmp_path: Path) -> None:
    assert read_environment(None, tmp_path) == {"env_vars": ENV_VARS}
    (tmp_path / "runtime_env.yaml").write_text("env_vars: {A: 'b'}\npip: [x]\n")
    assert read_environment(None, tmp_path) == {"env_vars": {"A": "b"}, "pip": ["x"]}
    (tmp_path / "other.yaml").write_text("env_vars:\n")
    assert read_environment(tmp_path / "other.yaml", tmp_path) == {"env_vars": None}
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_environment(tmp_path / "none.yaml", tmp_path)


def test_the_folder_of_a_job_goes_with_it_and_a_study_there_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert not vanishes(None)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert vanishes(None)
    assert vanishes("out")
    assert not vanishes(tmp_path / "out")
    assert not vanishes("s3://bucket/out")
    said = command("run", space, "--only", "method=stk")
    assert said.code == 2
    assert "warning: this folder belongs to the job and is deleted with it: give --out a folder" in said.out
