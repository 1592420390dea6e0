"""A study at a URL, worked on from several machines: each has a cache folder of its own here, and so its own copy."""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from small_records import KEY, OTHER, record

from l3masking.errors import EnvironmentFault, InputError
from study.store import lease, remote
from study.store.remote import Remote
from study.store.remote_store import RemoteStore, copy_of
from study.store.store import MODEL_FILES, NondeterminismWarning, QuarantineWarning, content_key

Machine = Callable[[str], RemoteStore]
THIRD = content_key("a third trial")


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}/studies/small"


@pytest.fixture
def on(url: str, tmp_path: Path, monkeypatch) -> Machine:
    """The store of the study, as a fresh process of a machine opens it."""
    monkeypatch.setattr(remote, "WAITS", (0.0,))

    def machine(name: str) -> RemoteStore:
        monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / name))
        return RemoteStore(url)

    return machine


@pytest.fixture
def away(monkeypatch) -> Callable[[bool], None]:
    """Switches the backend off for writing, and on again."""
    originals = {name: getattr(MemoryFileSystem, name) for name in ("put_file", "pipe_file")}

    def refuse(self, *_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    def switch(off: bool) -> None:
        for name, original in originals.items():
            monkeypatch.setattr(MemoryFileSystem, name, refuse if off else original)

    return switch


def there(url: str) -> set[str]:
    return set(Remote(url).names())


def test_a_record_is_at_the_url_when_commit_returns_and_other_machines_read_it(url: str, on: Machine) -> None:
    on("a").commit(record())
    assert there(url) == {f"records/{KEY}.json"}
    b = on("b")
    assert b.records() == []  # of the copy; nothing has been fetched
    assert b.read(KEY) == on("a").read(KEY)
    assert b.has(KEY)
    assert not b.has(OTHER)
    assert [found["key"] for found in b.records()] == [KEY]


def test_a_model_at_the_url_is_kept_for_every_machine(url: str, on: Machine) -> None:
    a, b = on("a"), on("b")
    for name in MODEL_FILES:
        assert not b.has_model(KEY)
        path = a.root / "models" / KEY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        a.push(f"models/{KEY}")
    assert b.has_model(KEY)
    assert not b.has_model(OTHER)
    assert b.models() == {KEY}
    assert not (b.root / "models").exists(), "nothing is fetched"


def test_the_first_record_at_the_url_stays(url: str, on: Machine) -> None:
    on("a").commit(record(host="a"))
    first = Remote(url).read(f"records/{KEY}.json")
    same = record(host="a")
    same["run"] = {"seconds": 9.0, "host": "b"}
    on("b").commit(same)  # equal but for `run`: nothing to say
    assert Remote(url).read(f"records/{KEY}.json") == first
    with pytest.warns(NondeterminismWarning, match="differs in test"):
        on("c").commit(record(accuracy=0.5, host="a"))
    assert Remote(url).read(f"records/{KEY}.json") == first
    assert on("c").read(KEY) == on("a").read(KEY)
    conflicts = [name for name in there(url) if name.startswith("conflicts/")]
    assert len(conflicts) == 1
    assert json.loads(Remote(url).read(conflicts[0]) or b"")["test"]["accuracy"] == 0.5


def test_a_damaged_record_at_the_url_is_replaced(url: str, on: Machine) -> None:
    on("a").commit(record())
    whole = Remote(url).read(f"records/{KEY}.json") or b""
    Remote(url).write(f"records/{KEY}.json", whole[:-40])
    b = on("b")
    assert not b.has(KEY)
    with pytest.warns(QuarantineWarning, match="not whole JSON"), b.lock():
        assert b.records() == []
    b.commit(record())
    assert on("c").has(KEY)


def test_a_copy_that_is_damaged_is_fetched_again(on: Machine) -> None:
    on("a").commit(record())
    a = on("a")
    (a.root / "records" / f"{KEY}.json").write_bytes(b"{")
    with pytest.warns(QuarantineWarning):
        assert a.has(KEY)
    assert [found["key"] for found in on("a").records()] == [KEY]


def test_failures_travel_and_are_cleared_by_success(url: str, on: Machine) -> None:
    assert on("a").failure(KEY) is None
    on("a").fail({"key": KEY, "reason": "once", "attempts": 1})
    b = on("b")
    assert b.failure(KEY) == {"key": KEY, "reason": "once", "attempts": 1}
    b.fail({"key": KEY, "reason": "twice", "attempts": 2})
    a = on("a")
    with a.lock():
        assert [failure["reason"] for failure in a.failures()] == ["twice"]
    b.commit(record())
    assert f"failures/{KEY}.json" not in there(url)
    with a.lock():
        assert a.failures() == []
    a.fail({"key": KEY, "reason": "a latecomer", "attempts": 3})
    assert f"failures/{KEY}.json" not in there(url)


def test_what_a_run_leaves_continues_on_another_machine(url: str, on: Machine) -> None:
    """The whole of it: records, tables, database; a run that changes some of it; and back on the first machine."""
    a = on("a")
    with a.lock():
        assert ".lease" in {path.rpartition("/")[2] for path in MemoryFileSystem().find("/")}
        (a.root / "resolved.yaml").write_text("one")
        (a.root / "tables").mkdir()
        (a.root / "tables" / "results.md").write_text("a table")
        (a.root / "mlflow.db").write_bytes(b"database of a")
        (a.root / "scores" / KEY).mkdir(parents=True)
        (a.root / "scores" / KEY / "part-00000.parquet").write_bytes(b"scores")
        (a.root / "scores" / KEY / "manifest.json").write_text("{}")
        a.commit(record())
    names = {"resolved.yaml", "tables/results.md", "mlflow.db", f"records/{KEY}.json"}
    names |= {f"scores/{KEY}/part-00000.parquet", f"scores/{KEY}/manifest.json"}
    assert there(url) == names
    b = on("b")
    with b.lock():
        assert (b.root / "resolved.yaml").read_text() == "one"
        assert (b.root / "mlflow.db").read_bytes() == b"database of a"
        assert not (b.root / "scores" / KEY / "part-00000.parquet").exists(), "large files come when they are needed"
        assert [found["key"] for found in b.records()] == [KEY]
        b.commit(record(OTHER))
        (b.root / "tables" / "results.md").write_text("a larger table")
        (b.root / "mlflow.db").write_bytes(b"database of b")
        (on("a").root / "mlflow.db-journal").write_bytes(b"half a change of a process that was killed")
    a = on("a")
    with a.lock():
        assert (a.root / "tables" / "results.md").read_text() == "a larger table"
        assert (a.root / "mlflow.db").read_bytes() == b"database of b"
        assert not (a.root / "mlflow.db-journal").exists(), "it would be played back into another database"
        assert {found["key"] for found in a.records()} == {KEY, OTHER}
    assert there(url) == names | {f"records/{OTHER}.json"}
    assert not [path for path in MemoryFileSystem().find("/") if path.endswith(".lease") and url[9:42] in path]


def test_only_what_has_changed_is_put_again(on: Machine, monkeypatch) -> None:
    a = on("a")
    with a.lock():
        for name in ("one", "two"):
            (a.root / name).write_text(name)
        a.commit(record())
    put: list[str] = []
    original = MemoryFileSystem.put_file
    monkeypatch.setattr(
        MemoryFileSystem, "put_file", lambda self, source, path: (put.append(path), original(self, source, path))
    )
    a = on("a")
    with a.lock():
        (a.root / "two").write_text("changed")
        a.push("one")
    assert [path.rpartition("/")[2] for path in put] == ["two"]


def test_temporaries_locks_and_half_changed_databases_stay_here(url: str, on: Machine) -> None:
    a = on("a")
    (a.root / "sub").mkdir(parents=True)
    for name in (f"sub/.x.{'0' * 32}.tmp", "sub/mlflow.db.lock", "sub/busy.db", "sub/busy.db-journal", "sub/ready.db"):
        (a.root / name).write_text("x")
    RemoteStore(f"{url}/sub").commit(record())  # a search within the study: what it notes of its copy is its own
    assert (a.root / "sub" / ".put").exists()
    (a.root / "quarantine").mkdir()
    (a.root / "quarantine" / "bad.json").write_text("x")
    a.push()
    assert there(url) == {"sub/ready.db", f"sub/records/{KEY}.json"}
    assert not [path for path in MemoryFileSystem().find(url.removeprefix("memory://")) if "/." in path]


def test_a_record_made_while_the_url_was_away_is_put_there_by_the_next_run(url: str, on: Machine, away) -> None:
    away(True)
    a = on("a")
    with pytest.raises(EnvironmentFault, match="cannot write there"):
        a.commit(record())
    assert there(url) == set()
    assert [found["key"] for found in a.records()] == [KEY]
    away(False)
    with on("a").lock():
        assert there(url) == {f"records/{KEY}.json"}


def test_a_run_that_cannot_put_its_tables_says_where_they_are(on: Machine, away) -> None:
    a = on("a")

    def run(text: str, end: Exception | None) -> None:
        with on("a").lock():
            (a.root / "table").write_text(text)
            away(True)
            if end:
                raise end

    with pytest.raises(EnvironmentFault, match="the next run on this machine puts it there") as fault:
        run("x", None)
    assert str(a.root) in str(fault.value)
    away(False)
    own = InputError("of the run itself")
    with pytest.warns(UserWarning, match="all of the study is in"), pytest.raises(InputError) as raised:
        run("another", own)
    assert raised.value is own


def test_a_record_that_two_machines_made_apart_is_that_of_the_url(url: str, on: Machine, away) -> None:
    away(True)
    with pytest.raises(EnvironmentFault):
        on("a").commit(record(accuracy=0.5))
    away(False)
    on("b").commit(record(accuracy=0.75))
    a = on("a")
    with pytest.warns(NondeterminismWarning), a.lock():
        assert [found["test"]["accuracy"] for found in a.records()] == [0.75]
    assert on("c").read(KEY) == on("b").read(KEY)


def test_a_damaged_record_at_the_url_is_replaced_by_the_whole_one_of_a_copy(url: str, on: Machine, away) -> None:
    away(True)
    with pytest.raises(EnvironmentFault):
        on("a").commit(record())
    away(False)
    Remote(url).write(f"records/{KEY}.json", b"{")
    a = on("a")
    with a.lock():
        assert [found["key"] for found in a.records()] == [KEY]
    assert on("b").has(KEY)


def test_records_of_a_search_are_treated_as_those_of_the_study(url: str, on: Machine, away, monkeypatch) -> None:
    """Its store is another one, in a folder of the study: the first record stays, and what was removed is no more."""
    searched = f"{url}/search"
    on("a")
    for key in (KEY, OTHER):
        RemoteStore(searched).commit(record(key))
    away(True)
    with pytest.raises(EnvironmentFault):
        RemoteStore(searched).commit(record(THIRD, accuracy=0.5))
    away(False)
    on("b")
    RemoteStore(searched).commit(record(THIRD, accuracy=0.75))
    Remote(searched).remove(f"records/{OTHER}.json")
    asked: list[str] = []
    real = Remote.read
    monkeypatch.setattr(Remote, "read", lambda self, name: (asked.append(name), real(self, name))[1])
    a = on("a")
    with warnings.catch_warnings(record=True, action="always") as said, a.lock():
        assert {r["key"]: r["test"]["accuracy"] for r in RemoteStore(searched).records()} == {KEY: 0.75, THIRD: 0.75}
    assert [type(one.message) for one in said] == [UserWarning, NondeterminismWarning]
    assert f"records/{KEY}.json" not in asked, "it was known to be equal"
    assert not Remote(searched).read(f"records/{OTHER}.json")
    assert [name for name in there(url) if "conflicts" in name] != []
    RemoteStore(searched).commit(record(OTHER))
    assert Remote(searched).read(f"records/{OTHER}.json")


def test_a_record_of_a_search_made_anew_while_the_url_was_away_is_put_there(url: str, on: Machine, away) -> None:
    searched, name = f"{url}/search", f"records/{KEY}.json"
    on("a")
    RemoteStore(searched).commit(record())
    Remote(searched).remove(name)
    with pytest.warns(UserWarning, match="were removed there"), on("a").lock():
        pass
    away(True)
    with pytest.raises(EnvironmentFault):
        RemoteStore(searched).commit(record())
    away(False)
    with on("a").lock():
        assert Remote(searched).read(name)


def test_what_a_killed_run_changed_here_survives_unless_somebody_else_changed_it_too(url: str, on: Machine) -> None:
    """The journal of a search grows; the driver is killed before it could put the last lines at the URL."""
    a = on("a")
    with a.lock():
        (a.root / "search").mkdir()
        (a.root / "search" / "optuna.log").write_text("one\n")
    (a.root / "search" / "optuna.log").write_text("one\ntwo\n")
    a = on("a")
    with a.lock():
        assert (a.root / "search" / "optuna.log").read_text() == "one\ntwo\n"
    assert Remote(url).read("search/optuna.log") == b"one\ntwo\n"
    b = on("b")
    with b.lock():
        (b.root / "search" / "optuna.log").write_text("one\ntwo\nthree of b\n")
    (a.root / "search" / "optuna.log").write_text("one\ntwo\nthree of a\n")
    a = on("a")
    with a.lock():
        assert (a.root / "search" / "optuna.log").read_text() == "one\ntwo\nthree of b\n"


def test_what_was_removed_at_the_url_stays_removed(url: str, on: Machine) -> None:
    a = on("a")
    with a.lock():
        a.commit(record())
        a.commit(record(OTHER))
        a.commit(record(THIRD))
        (a.root / "tables.md").write_text("x")
    Remote(url).remove(f"records/{KEY}.json")
    Remote(url).remove("tables.md")
    a = on("a")
    with pytest.warns(UserWarning, match="were removed there; copies are in"), a.lock():
        assert {found["key"] for found in a.records()} == {OTHER, THIRD}
    assert there(url) == {f"records/{OTHER}.json", f"records/{THIRD}.json"}
    assert (a.root / ".gone" / "records" / f"{KEY}.json").is_file()
    Remote(url).remove(f"records/{OTHER}.json")  # a worker's process opens no lock; it makes the record anew
    on("a").commit(record(OTHER, accuracy=0.25))
    assert (on("b").read(OTHER) or {})["test"]["accuracy"] == 0.25


def test_pull_brings_what_others_finish_and_leaves_the_rest_alone(on: Machine) -> None:
    a = on("a")
    with a.lock():
        (a.root / "resolved.yaml").write_text("newer than at the URL")
        b = on("b")
        b.commit(record())
        b.fail({"key": OTHER, "reason": "so", "attempts": 1})
        b.root.joinpath("resolved.yaml").write_text("other")
        b.push("resolved.yaml")
        a.pull()
        assert (a.root / "resolved.yaml").read_text() == "newer than at the URL"
        assert [found["key"] for found in a.records()] == [KEY]
        assert [found["key"] for found in a.failures()] == [OTHER]


def test_two_runs_on_one_machine_and_on_two(on: Machine, monkeypatch) -> None:
    monkeypatch.setattr(lease, "LEASE_BEAT", 0.05)
    a, b = on("a"), on("b")
    with a.lock():
        with pytest.raises(InputError, match=rf"{a.place}: another run works on this study \(process"), a.lock():
            pytest.fail("the same machine")
        with (
            pytest.warns(UserWarning, match="may still be working on this study; checking for"),
            pytest.raises(InputError, match="another run works on this study"),
            b.lock(),
        ):
            pytest.fail("another machine")
    with b.lock():
        pass


def test_the_lease_of_a_dead_run_is_taken_over(url: str, on: Machine, monkeypatch) -> None:
    monkeypatch.setattr(lease, "LEASE_BEAT", 0.02)
    Remote(url).write(".lease", json.dumps({"id": "x", "host": "elsewhere", "pid": 1, "beat": 7}).encode())
    with pytest.warns(UserWarning, match="process 1 on elsewhere may still be working on this study"), on("a").lock():
        pass
    Remote(url).write(".lease", b"no json")
    with on("a").lock(), warnings.catch_warnings():
        warnings.simplefilter("error")
    here = {"id": "x", "host": lease.socket.gethostname(), "pid": 2**22 + 1, "beat": 7}  # above the largest pid
    Remote(url).write(".lease", json.dumps(here).encode())
    with on("a").lock():
        assert json.loads(Remote(url).read(".lease") or b"")["id"] != "x"
    assert Remote(url).read(".lease") is None


def test_a_url_that_is_away_for_a_while_does_not_end_the_lease(url: str, on: Machine, monkeypatch) -> None:
    monkeypatch.setattr(lease, "LEASE_BEAT", 0.01)
    original, failed = MemoryFileSystem.pipe_file, []

    def flaky(self, path: str, *rest: object, **more: object) -> None:
        if path.endswith(".lease") and len(failed) < 4:
            failed.append(path)
            raise ConnectionError
        original(self, path, *rest, **more)

    with on("a").lock():
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", flaky)
        before = json.loads(Remote(url).read(".lease") or b"")["beat"]
        deadline = lease.time.monotonic() + 30
        while json.loads(Remote(url).read(".lease") or b"")["beat"] < before + 3:
            assert lease.time.monotonic() < deadline
            lease.time.sleep(0.01)
    assert len(failed) == 4


def test_each_url_has_a_copy_of_its_own_inside_the_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path))
    urls = ["s3://b/x", "gs://b/x", "s3://b/x y", "s3://b/x%20y", "s3://b/x/search", "dir://s::file:///x", "s3://b:9/x"]
    copies = [copy_of(url) for url in urls]
    assert len(set(copies)) == len(urls)
    assert all(copy.is_relative_to(tmp_path / "copies") for copy in copies)
    assert copy_of("s3://b/x/search") == copy_of("s3://b/x/") / "search"
    with pytest.raises(InputError):
        copy_of("s3://b/../x")
