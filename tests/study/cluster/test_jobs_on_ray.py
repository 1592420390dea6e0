"""Studies on a real Ray cluster of this machine: `ray start`, the Jobs API, stops in the middle, a node that dies."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from local_cluster import LocalCluster, local_cluster, wait_for
from mlflow_store import empty_database, runs_of
from small_study import NoMirror, command, marks, records, results, write_study

from study.cluster.access import reach
from study.doctor.findings import Patient
from study.doctor.ray_cluster import cluster as look_at_cluster
from study.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PROJECT = Path(__file__).resolve().parents[3]
TRAVELS = ("study", "l3masking", "search_spaces")
SEEDS = 5
PROMPT = 20.0  # seconds from `l3study stop` to the end of the job, on two cores with nothing else to do


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A head with one processor, which asks for a token."""
    with local_cluster(1) as made:
        yield made


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has: a checkout of the project, and a space with its data in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in TRAVELS:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("runtime_env.yaml", ".rayignore", ".gitignore"):
        shutil.copy(PROJECT / name, folder / name)
    write_study(folder / "spaces", resources=None, seeds=SEEDS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The results of the same study in this process."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with mock.patch("study.run.Mirror", NoMirror):
        space = checkout / "spaces" / "small.yaml"
        said = command("run", space, "--out", out, "--set", "resources.executor=serial")
    assert said.code == 0, said.err
    return {key: results(record) for key, record in records(out).items()}


def submitted(cluster: LocalCluster, checkout: Path, out: object) -> str:
    """The id of a job that is not waited for."""
    space = checkout / "spaces" / "small.yaml"
    words = ("--address", cluster.address, "--out", out, "--working-dir", checkout, "--no-wait")
    said = command("submit", space, *words)
    assert said.code == 0, said.err
    return said.out.split()[1]


def more_records(root: Path, than: int) -> Callable[[], bool]:
    return lambda: len(names(root)) > than


def names(root: Path) -> set[str]:
    return {path.stem for path in (root / "records").glob("[!.]*.json")}


def whole(root: Path) -> int:
    """Records in a folder; all of them verify. A worker whose driver has just died may still write one."""
    before = names(root)
    verified = {record["key"] for record in Store(root).records()}
    assert before <= verified <= names(root)
    assert not (root / "quarantine").exists()
    assert not (root / "conflicts").exists()
    return len(verified)


def by_ray(cluster: LocalCluster, checkout: Path, *words: str, options: tuple[str, ...] = ()) -> str:
    """What Ray's own command says of a job with the small study, as the README submits one."""
    ray = ("ray", "job", "submit", "--address", cluster.address, *options)
    where = ("--working-dir", ".", "--runtime-env", "runtime_env.yaml")
    run = ("python", "-m", "study", "run", "spaces/small.yaml", *words)
    done = cluster.run(*ray, *where, "--", *run, cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stopped(cluster: LocalCluster, job: str, root: Path, total: int) -> int:
    """`l3study stop` ends the job after its first record; how many are in its folder."""
    address = ("--address", cluster.address)
    wait_for(more_records(root, 0), "a first record")
    running = command("status", job, *address)
    assert running.code == 0, running.err
    assert f"job {job}: RUNNING" in running.out
    began = time.monotonic()
    said = command("stop", job, *address)
    seconds, load = time.monotonic() - began, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert (said.code, said.out.splitlines()[-1]) == (0, f"job {job}: STOPPED"), said.err
    print(f"l3study stop: {seconds:.1f} s, with {load:.1f} processes for each core")
    assert seconds < PROMPT * load
    there = whole(root)
    assert 0 < there < total
    assert (root / "tables" / "results.md").is_file(), "a stop leaves time for the tables"
    said = command("logs", job, *address)
    assert said.code == 75, said.out
    assert "the same command continues" in said.out.splitlines()[-1]
    ended = command("status", job, *address)
    assert "STOPPED" in ended.out
    assert "exit code 75" in ended.out
    return there


# long: the next test shows a job that Ray's own command submits; this one goes to its end in the folder of the job
@pytest.mark.long
def test_the_command_of_the_readme(cluster: LocalCluster, checkout: Path) -> None:
    """Nothing but Ray's own command; the study goes where the job is unpacked, and says what that means."""
    said = by_ray(cluster, checkout, "--limit", "2")
    assert "this folder belongs to the job and is deleted with it" in said
    assert f"Records: 4 of {6 * SEEDS}" in said
    assert "\r" not in said


def test_stopped_and_continued_to_the_same_end_though_a_node_dies(
    cluster: LocalCluster, checkout: Path, undisturbed: dict, tmp_path: Path
) -> None:
    """Two nodes share nothing but a URL; what the second one has finished is there, what it has not runs elsewhere.

    The job that is stopped was submitted by Ray's own command, the one that continues by `l3study submit`.
    """
    there, cache = tmp_path / "there", tmp_path / "cache of the second node"
    url = f"file://{there}"
    empty_database(there)  # as the program makes it, and sooner
    job = "submitted-by-ray"
    by_ray(cluster, checkout, "--out", url, options=("--no-wait", "--submission-id", job))
    stopped(cluster, job, there, len(undisturbed))
    kept = marks(there)
    node = cluster.add_node(1, L3STUDY_CACHE=str(cache))
    words = ("spaces/small.yaml", "--address", cluster.address, "--out", url)
    with cluster.start(sys.executable, "-m", "study", "submit", *words, cwd=checkout) as follower:
        wait_for(lambda: list(cache.glob("copies/**/records/*.json")), "a record of the second node")
        cluster.remove_node(node)
        assert len(records(there)) < len(undisturbed)
        out, err = follower.communicate(timeout=540)
    assert follower.returncode == 0, out + err
    assert out.count("Running entrypoint") == 1
    assert f"Records: {len(undisturbed)} of {len(undisturbed)}; 0 failed" in out
    assert {key: results(record) for key, record in records(there).items()} == undisturbed
    assert whole(there) == len(undisturbed)
    now = marks(there)
    assert {name: now[name] for name in kept} == kept
    assert sum(role == "seed" for role, _ in runs_of(there, "small")) == len(undisturbed)


# long: the test before shows a job that is stopped and continued; here in a shared folder, and by `ray job stop` too
@pytest.mark.long
def test_stopped_twice_and_continued_to_the_same_end(
    cluster: LocalCluster, checkout: Path, undisturbed: dict, tmp_path: Path
) -> None:
    """By `l3study stop` and by `ray job stop`: what is recorded stays, and the third submit ends it."""
    out, address = tmp_path / "out", ("--address", cluster.address)
    first = stopped(cluster, submitted(cluster, checkout, out), out, len(undisturbed))
    kept = marks(out)

    job = submitted(cluster, checkout, out)
    wait_for(more_records(out, first), "a record of the second job")
    done = cluster.run("ray", "job", "stop", *address, job)
    assert done.returncode == 0, done.stdout + done.stderr
    second = whole(out)
    assert first < second <= len(undisturbed)

    job = submitted(cluster, checkout, out)
    said = command("logs", job, *address)
    assert said.code == 0, said.out
    assert f"Records: {len(undisturbed)} of {len(undisturbed)}; 0 failed" in said.out
    assert {key: results(record) for key, record in records(out).items()} == undisturbed
    now = marks(out)
    assert {name: now[name] for name in kept} == kept


def test_a_job_that_is_refused_ends_with_the_code_of_that(
    cluster: LocalCluster, checkout: Path, tmp_path: Path
) -> None:
    words = ("--address", cluster.address, "--out", tmp_path / "out", "--working-dir", checkout)
    said = command("submit", checkout / "spaces" / "small.yaml", *words, "--only", "method=stk")
    assert said.code == 2, said.out
    assert "\r" not in said.out
    assert "l3study: --only 'method=stk': no trial has this method; nearest: stl" in said.out
    said = command("stop", "no-such-job", "--address", cluster.address)
    assert (said.code, "has no such job" in said.err) == (2, True), said.err


def test_the_doctor_finds_nothing_wrong_with_a_guarded_cluster(cluster: LocalCluster) -> None:
    assert reach(cluster.address).guarded
    states = {finding.state for finding in look_at_cluster(Patient(out=Path("x"), address=cluster.address))}
    assert states == {"ok"}


# long: doctor/test_checks.py and test_access.py show the same of answers that are made up; here Ray itself gives them
@pytest.mark.long
def test_the_doctor_warns_of_an_open_cluster() -> None:
    with local_cluster(0, guarded=False) as opened:
        assert not reach(opened.address).guarded
        found = list(look_at_cluster(Patient(out=Path("x"), address=opened.address)))
        assert [finding.state for finding in found] == ["warn", "ok"]
        assert "answers without a token" in found[0].text
