"""The store: what is committed is read back, twins, failures, names, one run at a time, cost."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from small_records import KEY, OTHER, record

import study.store.seal
from l3masking.errors import InputError
from study.store.seal import seal, with_checksum
from study.store.store import MODEL_FILES, NondeterminismWarning, QuarantineWarning, Store, content_key


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_content_key_is_pinned():
    value = {"b": [1, 2.5, True, None], "a": {"z": "é", "lr": 1e-05}}
    assert content_key(value) == "03bca1b827ddc69378524afae6b732b5"
    assert content_key({"a": {"lr": 0.00001, "z": "é"}, "b": (1, 2.5, True, None)}) == content_key(value)
    assert len({content_key(v) for v in (value, 1, 1.5, "1", True, None, [], {}, "")}) == 9
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"lr": float("nan")})


def test_a_model_is_kept_once_all_its_files_are_there(tmp_path):
    store = Store(tmp_path)
    assert store.models() == set()
    for number, name in enumerate(MODEL_FILES):
        for key in (f".{KEY}.{'0' * 32}.tmp", "notes", KEY):
            path = tmp_path / "models" / key / name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert (store.models(), store.has_model(KEY)) == (set(), False), number
            path.touch()
    assert store.models() == {KEY}
    assert store.has_model(KEY)
    assert not store.has_model(OTHER)


def test_commit_then_read(tmp_path):
    store = Store(tmp_path / "deep" / "study")
    assert store.records() == []
    assert store.failures() == []
    assert not store.has(KEY)
    assert not store.root.exists(), "reading makes no folders"
    store.commit(record())
    store.commit(record(OTHER))
    assert store.has(KEY)
    assert not store.has(content_key("a third"))
    assert [r["key"] for r in store.records()] == sorted([KEY, OTHER])
    (read,) = (r for r in store.records() if r["key"] == KEY)
    wanted = {**record(), "run": with_checksum(record()["run"])}
    assert {n: v for n, v in read.items() if n != "checksum"} == wanted
    assert read["checksum"] == content_key({n: v for n, v in record().items() if n != "run"})
    assert [p.name for p in sorted((store.root / "records").iterdir())] == [f"{k}.json" for k in sorted([KEY, OTHER])]


def test_equal_twin_is_fine_and_the_first_stays(tmp_path):
    store = Store(tmp_path)
    store.commit(record())
    store.commit(record(run={"seconds": 99.0, "host": "there"}))
    assert store.records()[0]["run"]["host"] == "here"
    assert not (tmp_path / "conflicts").exists()


def test_different_twin_is_kept_apart_and_reported(tmp_path):
    store = Store(tmp_path)
    store.commit(record())
    with pytest.warns(NondeterminismWarning, match=rf"{KEY} was computed twice and differs in test;"):
        store.commit(record(accuracy=0.5))
    assert store.records()[0]["test"]["accuracy"] == 0.75
    kept = json.loads(only_file(tmp_path / "conflicts").read_text())
    assert kept["test"]["accuracy"] == 0.5


def test_numbers_that_are_not_finite_are_never_recorded(tmp_path):
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            Store(tmp_path).commit(record(accuracy=bad))
    assert Store(tmp_path).records() == []
    with pytest.raises(ValueError, match="schema 7"):
        Store(tmp_path).commit(record(schema=7))


@pytest.mark.parametrize(
    "key",
    ["", "../../x", "a/b", KEY.upper(), KEY[:-1], KEY + "0", KEY + "\n", ".", "..", "~", "\0" * 32, "g" * 32, None, 7],
)
def test_only_keys_become_paths(tmp_path, key):
    store = Store(tmp_path / "study")
    attempts = (store.has, lambda key: store.artefact_dir("scores", key), store.clear_failure)
    for attempt in attempts:
        with pytest.raises(InputError, match="32 hexadecimal digits"):
            attempt(key)
    for write in (store.commit, store.fail):
        with pytest.raises(InputError, match="32 hexadecimal digits"):
            write({"schema": 1, "key": key})
    assert list(tmp_path.iterdir()) == []


def test_artefact_dir(tmp_path):
    assert Store(tmp_path).artefact_dir("scores", KEY) == tmp_path / "scores" / KEY


def test_failures(tmp_path):
    store = Store(tmp_path)
    store.fail({"key": KEY, "reason": "loss is nan at update 30", "attempts": 1})
    store.fail({"key": KEY, "reason": "loss is nan at update 30", "attempts": 2})
    store.fail({"key": OTHER, "reason": "out of memory", "attempts": 3})
    assert [f["key"] for f in store.failures()] == sorted([KEY, OTHER])
    assert {f["key"]: f["attempts"] for f in store.failures()} == {KEY: 2, OTHER: 3}
    store.commit(record())  # succeeded after all
    store.fail({"key": KEY, "reason": "a slow twin failed later", "attempts": 1})
    assert [f["key"] for f in store.failures()] == [OTHER]
    store.clear_failure(OTHER)
    store.clear_failure(OTHER)
    assert store.failures() == []


def test_a_damaged_failure_is_moved_aside(tmp_path):
    store = Store(tmp_path)
    store.fail({"key": KEY, "reason": "x"})
    (tmp_path / "failures" / f"{KEY}.json").write_text('{"key": ')
    with pytest.warns(QuarantineWarning, match="not whole JSON"):
        assert store.failures() == []


HOLDER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from study.store.store import Store
    with Store(Path(sys.argv[1])).lock():
        print("held", flush=True)
        time.sleep(60)
    """
)


def test_second_run_is_refused_by_name_and_a_dead_holder_is_not_waited_for(tmp_path):
    root = tmp_path / "study"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(InputError) as refusal, Store(root).lock():
            pass
        assert time.monotonic() - started < 5, "the second run does not wait"
        line = str(refusal.value)
        assert line.startswith(f"{root}: another run works on this study (process {holder.pid} on ")
        assert re.search(
            r", since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\); wait for it, or choose another --out$", line
        )
        assert "\n" not in line
        Store(root).commit(record())  # reading and committing ask for no lock
    finally:
        holder.kill()
        holder.communicate()
    with Store(root).lock():
        pass
    with Store(root).lock():
        assert Store(root).has(KEY)


def test_refused_inside_one_process_too(tmp_path):
    with (
        Store(tmp_path).lock(),
        pytest.raises(InputError, match=f"process {os.getpid()} on"),
        Store(tmp_path).lock(),
    ):
        pytest.fail("held twice")


def test_released_after_an_error(tmp_path):
    with pytest.raises(KeyError, match="work"), Store(tmp_path).lock():
        raise KeyError("work")
    with Store(tmp_path).lock():
        assert json.loads((tmp_path / ".lock.holder").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock.holder").exists()


def test_without_a_working_lock_the_records_are_still_right(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as on some network file systems: everybody gets it
    with Store(tmp_path).lock(), Store(tmp_path).lock():
        Store(tmp_path).commit(record())
        Store(tmp_path).commit(record())
    assert len(Store(tmp_path).records()) == 1


def test_each_of_many_records_costs_one_parse(tmp_path, monkeypatch):
    """What reading thousands in seconds rests on: the checksum is that of the bytes as they lie there."""
    (tmp_path / "records").mkdir()
    for number in range(50):
        made = record(content_key(number))
        (tmp_path / "records" / f"{made['key']}.json").write_bytes(seal(made))
    parsed = []
    original = study.store.seal.parse
    monkeypatch.setattr(study.store.seal, "parse", lambda raw, key: parsed.append(key) or original(raw, key))
    canonical = study.store.seal.canonical
    monkeypatch.setattr(
        study.store.seal,
        "canonical",
        lambda value: pytest.fail("a whole record was written anew") if "key" in value else canonical(value),
    )
    read = Store(tmp_path).records()
    assert len(read) == 50
    assert sorted(parsed) == sorted(content_key(number) for number in range(50))


def test_store_needs_neither_torch_nor_ray():
    program = "import sys, study.store.store; print(sorted({'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
