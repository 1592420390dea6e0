"""The program as a package: source distribution, wheel, an installation away from the checkout, version, citation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import study.cli.options as options
from study.version import program_version

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SPACES = sorted(file.name for file in (ROOT / "search_spaces").glob("*.yaml"))
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
WITNESS = """
import os, sys
from study.cli.app import main
try:
    main()
finally:
    ours = {m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in ("study", "l3masking") and m.__file__}
    away = sorted(file for file in ours if not file.startswith(os.environ["PYTHONPATH"] + os.sep))
    print(f"{len(ours)} modules, away: {away}", file=sys.stderr)
"""


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program that must succeed, in `cwd`, without settings of this project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("L3STUDY_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution. Built from a copy: setuptools leaves folders beside what it builds."""
    folder = tmp_path_factory.mktemp("sdist")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("the files of the project are listed by git, and this is no checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    run("-c", BUILD_SDIST, folder, cwd=folder / "source")
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run("-m", "pip", "wheel", *offline, "--wheel-dir", folder, sdist, cwd=folder)
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel is installed, apart from the environment of the tests."""
    target = tmp_path_factory.mktemp("installed") / "packages"
    offline = ("--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile")
    run("-m", "pip", "install", *offline, "--target", target, wheel, cwd=target.parent)
    return target


def test_the_source_distribution_has_the_spaces_and_no_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {f"search_spaces/{name}" for name in SPACES}
    assert names >= {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "setup.py", "pyproject.toml"}
    assert not [name for name in names if name.startswith("tests")]


def test_the_wheel_has_the_code_and_the_spaces_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    code = {
        file.relative_to(ROOT).as_posix()
        for package in ("l3masking", "study")
        for file in (ROOT / package).rglob("*.py")
    }
    data = {f"study/search_spaces/{name}" for name in SPACES}
    assert {name for name in names if ".dist-info/" not in name} == code | data


@pytest.mark.parametrize("words", [("-c", WITNESS), ("-m", "study")], ids=["l3study", "python -m study"])
def test_an_installation_plans_the_quickstart_in_an_empty_folder(installed: Path, tmp_path: Path, words) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = {"PYTHONPATH": str(installed), "L3STUDY_CACHE": str(tmp_path / "cache")}
    done = run(*words, "plan", "quickstart", "--json", cwd=empty, **settings)
    found = json.loads(done.stdout)
    assert (found["name"], found["done"]) == ("quickstart", 0)
    assert found["records"] == found["left"] > 0
    assert not list(empty.iterdir())
    if "-c" in words:
        assert done.stderr.endswith("away: []\n"), done.stderr
        assert int(done.stderr.split()[0]) > 20


def test_the_script_of_an_installation_knows_its_version_and_every_shipped_space(
    installed: Path, tmp_path: Path
) -> None:
    script = installed / "bin" / "l3study"
    done = run(script, "--version", cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.stdout == f"l3study {PROJECT['version']}\n"
    ask = "from study.version import program_commit; from study.cli.options import shipped_spaces as s; "
    ask += "print(program_commit(), *sorted(file.name for file in s().iterdir()))"
    done = run("-W", "error", "-c", ask, cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.stdout.split() == ["None", *SPACES], "outside a checkout there is no commit, and no warning of it"
    assert done.stderr == ""


def test_a_checkout_reads_its_own_spaces() -> None:
    assert options.shipped_spaces() == ROOT / "search_spaces"
    assert program_version() == PROJECT["version"]


def test_the_citation_agrees_with_the_project() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["title"] == "L3Masking Study"
    assert cited["version"] == PROJECT["version"]
    assert cited["license"] == PROJECT["license"]
    assert (ROOT / "LICENSE").read_text().startswith(f"{cited['license']} License\n")
    assert cited["authors"] == [{"name": "The L3Masking Study maintainers"}]
    papers = {(paper["authors"][0]["family-names"], paper["year"]) for paper in cited["references"]}
    assert papers == {("Kimura", 2024), ("Gu", 2020), ("Kauf", 2023), ("Dery", 2022)}
    assert all(paper["title"] and paper["type"] == "conference-paper" for paper in cited["references"])


def test_the_changelog_names_the_version_and_what_is_not_released() -> None:
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line.startswith("## ")
    ]
    assert headings[0] == "## Unreleased"
    assert headings[1].startswith(f"## {PROJECT['version']} - ")
