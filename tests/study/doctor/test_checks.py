"""What the doctor finds: each thing well and unwell, offline, quickly, and without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from small_study import command, write_space, write_study

from l3masking.errors import EnvironmentFault
from study.cluster import access
from study.cluster.access import Access
from study.doctor import machine as doctor_machine
from study.doctor import ray_cluster as doctor_ray
from study.doctor import storage as doctor_places
from study.doctor.checks import all_checks, describe, examine, place_of
from study.doctor.findings import Diagnosis, Patient
from study.space.reader import read_space


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(out=tmp_path / "studies" / "small")


def of_space(tmp_path: Path, **changes: object) -> Patient:
    space = write_study(tmp_path / "space", **changes)
    return Patient(spec=read_space(space), out=tmp_path / "studies" / "small")


def only(findings: Iterator[Diagnosis]) -> Diagnosis:
    (found,) = findings
    return found


def test_all_of_it_offline_in_time_and_without_a_trace(tmp_path: Path, monkeypatch) -> None:
    """No connection is even tried: HF_HUB_OFFLINE is set, and no cluster asked about."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    space = write_study(tmp_path / "space")
    before = sorted(tmp_path.rglob("*"))
    began = time.monotonic()
    said = command("doctor", space, "--json")
    assert time.monotonic() - began < 15
    assert said.code == 0, said.out + said.err
    findings = json.loads(said.out)
    assert {finding["name"] for finding in findings} >= {
        "packages",
        "processor",
        "bf16",
        "gpus",
        "token",
        "ports",
        "files",
        "folder",
        "hub",
    }
    assert {finding["state"] for finding in findings} <= {"ok", "warn"}
    at_hand = {finding["name"]: finding["text"] for finding in findings}
    assert "tiny (folder-" in at_hand["encoders"]
    assert "words (" in at_hand["datasets"]
    assert sorted(tmp_path.rglob("*")) == before
    plain = command("doctor")
    assert plain.code == 0
    assert all(line[:4].strip() in ("ok", "warn") for line in plain.out.splitlines())
    assert len(plain.out.splitlines()) >= 10


def test_a_failing_check_is_a_line_and_the_exit_code(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("doctor", "--address", "127.0.0.1:1")
    assert said.code == 3
    (line,) = [line for line in said.out.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL  cluster: http://127.0.0.1:1: no Ray dashboard answers")
    assert said.err == ""

    def broken(patient: Patient) -> Iterator[Diagnosis]:
        yield Diagnosis(name="first", state="ok", text="so far")
        raise EnvironmentFault("the cat sat on it")

    found = list(examine(Patient(out=tmp_path), [broken]))
    assert [describe(finding) for finding in found] == ["ok    first: so far", "FAIL  broken: the cat sat on it"]


def test_every_check_of_the_modules_is_made() -> None:
    made = {check.__name__ for check in all_checks()}
    for module in (doctor_machine, doctor_places, doctor_ray):
        there = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__annotations__", {}).get("patient") == "Patient"
        ]
        assert there
        assert set(there) <= made


def test_packages(patient: Patient, monkeypatch) -> None:
    assert only(doctor_machine.packages(patient)).state == "ok"
    wanted = ["torch>=99", "nothing-of-this-name", "rich", 'numpy>=99; python_version < "3"']
    monkeypatch.setattr(doctor_machine, "requirements", lambda: (">=99", wanted))
    found = only(doctor_machine.packages(patient))
    assert found.state == "FAIL"
    assert "Python 3." in found.text
    assert "torch 2." in found.text
    assert "nothing-of-this-name missing" in found.text
    assert "rich" not in found.text
    assert "numpy" not in found.text
    monkeypatch.setattr(doctor_machine, "requirements", lambda: ("", []))
    assert only(doctor_machine.packages(patient)).state == "warn"


def test_requirements_come_from_the_checkout_or_the_installation(tmp_path: Path, monkeypatch) -> None:
    python, wanted = doctor_machine.requirements()
    assert python == ">=3.11"
    assert any(name.startswith("ray[default,tune]") for name in wanted)
    (tmp_path / "study" / "doctor").mkdir(parents=True)
    monkeypatch.setattr(doctor_machine, "__file__", str(tmp_path / "study" / "doctor" / "machine.py"))
    (tmp_path / "some_study-1.dist-info").mkdir()
    lines = [
        "Metadata-Version: 2.1",
        "Name: some-study",
        "Version: 1",
        "Requires-Python: >=3.9",
        "Requires-Dist: rich>=1",
    ]
    (tmp_path / "some_study-1.dist-info" / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor_machine, "DISTRIBUTION", "some-study")
    assert doctor_machine.requirements() == (">=3.9", ["rich>=1"])
    monkeypatch.setattr(doctor_machine, "DISTRIBUTION", "not-installed-anywhere")
    assert doctor_machine.requirements() == ("", [])


def test_processor(tmp_path: Path, monkeypatch) -> None:
    assert only(doctor_machine.processor(of_space(tmp_path))).state in ("ok", "warn")
    monkeypatch.setattr(doctor_machine, "usable_cores", lambda: 4.0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 2**30, total=9 * 2**30))
    assert only(doctor_machine.processor(of_space(tmp_path))).state == "ok"
    for asked, state in (({"threads": 5}, "warn"), ({"cpu": 5}, "FAIL"), ({"cpu": 4, "threads": 4}, "ok")):
        found = only(doctor_machine.processor(of_space(tmp_path, resources=asked)))
        assert found.state == state
        assert ("resources.cpu=4" in found.fix) == (state != "ok")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30, total=9 * 2**30))
    assert only(doctor_machine.processor(of_space(tmp_path))).state == "warn"


def test_a_container_has_its_share_of_the_cores(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(doctor_machine, "CGROUP", tmp_path / "cpu.max")
    assert doctor_machine.usable_cores() == 8
    for said, cores in (("max 100000\n", 8), ("150000 100000\n", 1.5), ("1600000 100000\n", 8), ("what\n", 8)):
        (tmp_path / "cpu.max").write_text(said)
        assert doctor_machine.usable_cores() == cores


@pytest.mark.parametrize(
    ("half", "precision", "gpu", "state", "fix"),
    [
        (4.0, "bf16", 0, "warn", "precision: float32, or a GPU"),
        (4.0, "bf16", 1, "ok", ""),
        (4.0, "float32", 0, "ok", ""),
        (0.8, "float32", 0, "ok", ""),  # a little faster: a whole training is not
        (0.5, "bf16", 0, "ok", ""),
        (0.5, "float32", 0, "ok", doctor_machine.SET_BF16),
        (0.5, "float32", 1, "ok", ""),  # trials run on the GPU
    ],
)
def test_bf16(tmp_path: Path, monkeypatch, half: float, precision: str, gpu: int, state: str, fix: str) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: half}
    monkeypatch.setattr(doctor_machine, "multiplication_seconds", seconds.__getitem__)
    found = only(doctor_machine.bf16(of_space(tmp_path, precision=precision, resources={"gpu": gpu})))
    assert (found.state, found.fix) == (state, fix)
    assert f"in bf16 is {1 / half:.2g} times as fast as in float32" in found.text
    assert found.text.endswith(": keep precision: float32") == (precision == "float32" and half > 1 / 1.5)


def test_bf16_without_a_study_is_advised_by_measurement(patient: Patient, monkeypatch) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: 0.5}
    monkeypatch.setattr(doctor_machine, "multiplication_seconds", seconds.__getitem__)
    for capabilities, said in (
        ({"avx512_bf16": True, "amx_bf16": True, "avx2": True}, "has bf16 instructions (avx512_bf16, amx_bf16); a"),
        ({"bf16": True, "neon": True}, "has bf16 instructions (bf16); a"),
        ({"avx512_bf16": False, "avx2": True}, "has no bf16 instructions; a"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda capabilities=capabilities: capabilities)
        found = only(doctor_machine.bf16(patient))
        assert said in found.text
        assert found.fix == doctor_machine.SET_BF16


def test_the_measurement_measures_and_leaves_the_threads_alone() -> None:
    before = torch.get_num_threads()
    assert 0 < doctor_machine.multiplication_seconds(torch.float32) < 5
    assert torch.get_num_threads() == before


def test_gpus(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert only(doctor_machine.gpus(of_space(tmp_path))).state == "ok"
    needy = of_space(tmp_path, resources={"gpu": 0.25})
    assert only(doctor_machine.gpus(needy)).state == "FAIL"
    elsewhere = Patient(spec=needy.spec, out=needy.out, address="head:8265")
    assert only(doctor_machine.gpus(elsewhere)).state == "ok"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    device = SimpleNamespace(name="A Large One", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    found = list(doctor_machine.gpus(needy))
    assert [(one.state, one.fix) for one in found] == [("ok", "")] * 2
    assert found[1].text.startswith("1: A Large One, 80.0 GiB, without bf16"), "what is only emulated is slow"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    found = list(doctor_machine.gpus(needy))
    assert all("with bf16" in one.text for one in found)
    assert [one.fix for one in found] == [doctor_machine.SET_BF16] * 2
    half = of_space(tmp_path, resources={"gpu": 0.25}, precision="bf16")
    assert [one.fix for one in doctor_machine.gpus(half)] == [""] * 2
    for graphs, said in ((True, "; trainings with CUDA graphs"), (False, "; trainings without CUDA graphs")):
        given = of_space(tmp_path, resources={"gpu": 0.25, "cuda_graphs": graphs})
        assert all(one.text.endswith(said) for one in doctor_machine.gpus(given))
    assert [found.state for found in doctor_machine.gpus(of_space(tmp_path))] == ["ok", "ok", "warn"]


def test_token(tmp_path: Path, patient: Patient, monkeypatch) -> None:
    found = only(doctor_ray.token(patient))
    assert (found.state, "none yet" in found.text) == ("ok", True)
    access.guard_token()
    assert only(doctor_ray.token(patient)).state == "ok"
    access.token_path().chmod(0o644)
    found = only(doctor_ray.token(patient))
    assert (found.state, found.fix) == ("warn", f"chmod 600 {access.token_path()}")
    assert (access.token() or "x") not in found.text
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert only(doctor_ray.token(patient)).state == "warn"


def test_listeners(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine, socket.create_server(("0.0.0.0", 0)) as open_to_all:
        found = doctor_ray.reachable_ports()
        assert open_to_all.getsockname()[1] in found
        assert mine.getsockname()[1] not in found
        text = only(doctor_ray.listeners(patient)).text
    assert text.startswith("what `run` and `ui` start listens on this machine's loopback interface alone; other")


def test_one_of_a_kind_is_no_plural(tmp_path: Path, monkeypatch) -> None:
    for ports, said in (([80], "on 1 port: 80"), ([80, 443], "on 2 ports: 80, 443")):
        monkeypatch.setattr(doctor_ray, "reachable_ports", lambda ports=ports: ports)
        assert only(doctor_ray.listeners(Patient(out=tmp_path))).text.endswith(said)
    for cores, asked in ((1, {"cpu": 2, "threads": 1}), (2, {"cpu": 3, "threads": 3})):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(doctor_machine, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        text = only(doctor_machine.processor(of_space(tmp_path, resources=asked))).text
        many = "s" * (cores > 1)
        assert text.startswith(f"{cores} of {cores} core{many}, ")
        assert f"torch starts with {cores} thread{many};" in text
        assert text.endswith(f"and {asked['threads']} thread{many}")


@pytest.mark.parametrize(("mask", "states"), [(0o077, ["ok"]), (0o022, ["ok"]), (0o002, ["ok"]), (0, ["warn", "ok"])])
def test_shared_files(patient: Patient, tmp_path: Path, monkeypatch, mask: int, states: list[str]) -> None:
    before = os.umask(mask)
    try:
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "mine" / "ray"))
        (tmp_path / "mine").mkdir(mode=0o700)
        found = list(doctor_ray.shared_files(patient))
        assert os.umask(mask) == mask, "it is left as it was"
    finally:
        os.umask(before)
    assert [one.state for one in found] == states
    can = "can" if mask != 0o077 else "cannot"
    assert f"umask {mask:03o}: other users of this machine {can} read results" in found[0].text
    assert "do not reach the sockets of Ray" in found[-1].text


def test_sockets_of_ray_that_all_reach_have_a_fix(patient: Patient, monkeypatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere/ray")
    assert "RAY_TMPDIR" in only(doctor_ray.shared_files(patient)).fix


def test_cluster(patient: Patient, monkeypatch) -> None:
    assert only(doctor_ray.cluster(patient)).state == "ok"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1024")
    with pytest.raises(EnvironmentFault, match="no Ray head answers"):
        only(doctor_ray.cluster(patient))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr("study.cluster.ray_address._answers", lambda *_: None)
    assert "RAY_ADDRESS=head:6379" in only(doctor_ray.cluster(patient)).text
    there = Patient(out=patient.out, address="head:8265")
    here = doctor_machine.version_of("ray")

    def states(**answer: object) -> list[str]:
        given = {"address": "http://head:8265", "guarded": True, "headers": {}, "ray_version": here} | answer
        monkeypatch.setattr(access, "reach", lambda *_: Access(**given))
        return [found.state for found in doctor_ray.cluster(there)]

    assert states() == ["ok", "ok"]
    assert states(guarded=False) == ["FAIL", "ok"]
    assert states(guarded=False, address="http://127.0.0.1:8265") == ["warn", "ok"]
    assert states(ray_version="2.40.0") == ["ok", "warn"]


def test_folder(tmp_path: Path, patient: Patient, monkeypatch) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = only(doctor_places.folder(patient))
    assert found.state == "ok", found
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.setattr(doctor_places, "file_system", lambda path: "nfs4")
    found = only(doctor_places.folder(patient))
    assert (found.state, "--tracking-uri" in found.fix) == ("warn", True)
    monkeypatch.setattr(doctor_places, "file_system", lambda path: "ext4")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20, total=2**40))
    assert "make room" in only(doctor_places.folder(patient)).fix

    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    (found,) = examine(patient, [doctor_places.folder])
    assert found.state == "FAIL"
    assert "has no hard links, which records need" in found.text
    assert sorted(tmp_path.rglob("*")) == before


def test_a_url_is_tried(tmp_path: Path) -> None:
    (found,) = examine(Patient(out=f"file://{tmp_path}/there"), [doctor_places.folder])
    assert found.state == "ok", found
    assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]
    (found,) = examine(Patient(out="nonesuch://there/x"), [doctor_places.folder])
    assert (found.state, "nonesuch" in found.text) == ("FAIL", True)


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path, monkeypatch) -> None:
    mounts = f"dev / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\nfast {tmp_path}/a\\040b lustre rw 0 0\nodd\n"
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(doctor_places, "MOUNTS", tmp_path / "mounts")
    assert doctor_places.file_system(Path("/usr")) == "ext4"
    assert doctor_places.file_system(tmp_path / "c") == "nfs4"
    assert doctor_places.file_system(tmp_path / "a b" / "c") == "lustre"
    monkeypatch.setattr(doctor_places, "MOUNTS", tmp_path / "none")
    assert doctor_places.file_system(tmp_path) == "unknown"


def test_clock(patient: Patient, monkeypatch) -> None:
    assert only(doctor_places.clock(patient)).state == "ok"
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    found = only(doctor_places.clock(patient))
    assert found.state == "warn"
    assert "s off" in found.text


def test_cache_and_scratch(patient: Patient, monkeypatch) -> None:
    assert only(doctor_places.cache(patient)).state == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert only(doctor_places.cache(patient)).state == "FAIL"
    space = {"/tmp": (50, 100), "/dev/shm": (8, 16)}

    def usage(path: object) -> SimpleNamespace:
        free, total = space["/dev/shm" if str(path) == "/dev/shm" else "/tmp"]
        return SimpleNamespace(free=free * 2**30, total=total * 2**30)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert only(doctor_places.scratch(patient)).state == "ok"
    space["/dev/shm"] = (0, 1)
    assert "--shm-size" in only(doctor_places.scratch(patient)).fix
    space["/tmp"] = (4, 100)
    assert "make room" in only(doctor_places.scratch(patient)).fix


def test_hub(patient: Patient, monkeypatch) -> None:
    assert "only what is in the cache" in only(doctor_places.hub(patient)).text
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    found = only(doctor_places.hub(patient))
    assert (found.state, "refused" in found.text) == ("warn", True)
    monkeypatch.setattr(doctor_places, "PING_SECONDS", 0.2)

    gate = threading.Event()

    def slow(*_: object, **__: object) -> None:
        gate.wait(60)
        raise OSError("at last")

    monkeypatch.setattr(doctor_places.urllib.request, "urlopen", slow)
    began = time.monotonic()
    found = only(doctor_places.hub(patient))
    assert (found.state, "no answer in time" in found.text) == ("warn", True)
    assert time.monotonic() - began < 30
    gate.set()


def test_inputs(tmp_path: Path, monkeypatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    assert list(doctor_places.inputs(Patient(out=tmp_path))) == []
    write_study(tmp_path / "space")
    write_space(
        tmp_path / "space" / "small.yaml",
        encoders={"tiny": {"path": "encoder"}, "far": {"hub": "google-bert/bert-base-uncased"}},
    )
    patient = Patient(spec=read_space(tmp_path / "space" / "small.yaml"), out=tmp_path)
    found = [(finding.name, finding.state) for finding in doctor_places.inputs(patient)]
    assert found == [("encoders", "ok"), ("encoders", "warn"), ("datasets", "ok")]
    (tmp_path / "space" / "train.jsonl").unlink()
    (finding,) = examine(patient, [doctor_places.inputs])
    assert (finding.state, "train.jsonl" in finding.text) == ("FAIL", True)


def test_database(tmp_path: Path) -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    patient = Patient(out=tmp_path)
    assert list(doctor_places.database(patient)) == []
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, but long enough to look like one" * 10)
    found = only(doctor_places.database(patient))
    assert (found.state, "l3study sync" in found.fix) == ("warn", True)
    for version, state in (("0123456789ab", "warn"), (_get_latest_schema_revision(), "ok")):
        (tmp_path / "mlflow.db").unlink()
        database = sqlite3.connect(tmp_path / "mlflow.db")
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values (?)", (version,))
        database.commit()
        database.close()
        assert only(doctor_places.database(patient)).state == state


def test_where_the_doctor_looks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = read_space(write_study(tmp_path / "space"))
    assert place_of(None, None) == tmp_path / "studies"
    assert place_of(spec, None) == tmp_path / "studies" / "small"
    assert place_of(None, "mine") == place_of(spec, "mine") == tmp_path / "mine"
    assert place_of(spec, "s3://bucket/x") == "s3://bucket/x"
