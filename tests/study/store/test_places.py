"""Folders and URLs under one roof."""

from __future__ import annotations

import uuid
from pathlib import Path

import filelock
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from small_records import KEY, record

from study.store.places import fetched, find_place, inside, open_store, opened, put
from study.store.remote import Remote
from study.store.remote_store import RemoteStore
from study.store.store import Store


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}/study"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch):
    """From here on, this process is that machine."""
    return lambda name: monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / name))


def test_where_a_study_goes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_place(None, "paper") == tmp_path / "studies" / "paper"
    assert find_place(Path("mine"), "paper") == tmp_path / "mine"
    assert find_place("mine", "paper") == tmp_path / "mine"
    assert find_place("s3://bucket/mine", "paper") == "s3://bucket/mine"
    assert inside(tmp_path, "search", "records") == tmp_path / "search" / "records"
    assert inside("s3://bucket/mine", "search") == "s3://bucket/mine/search"


def test_a_store_says_what_opens_it_again(url: str, tmp_path: Path) -> None:
    folder, remote = open_store(tmp_path), open_store(url)
    assert type(folder) is Store
    assert type(remote) is RemoteStore
    for store in (folder, remote):
        again = open_store(store.place)
        assert (type(again), again.root, again.place) == (type(store), store.root, store.place)
        assert open_store(inside(store.place, "search")).root == store.root / "search"
        assert str(store.artefact_place("scores", KEY)) == str(inside(store.place, "scores", KEY))
    assert folder.artefact_place("scores", KEY) == folder.artefact_dir("scores", KEY)


def test_a_reader_gets_a_folder_and_writes_nothing_to_the_url(url: str, tmp_path: Path, machine, monkeypatch) -> None:
    assert opened(tmp_path) == tmp_path
    machine("a")
    open_store(url).commit(record())
    machine("b")
    folder = opened(url)
    (folder / "tables.md").write_text("made by a reader")
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda *_, **__: pytest.fail("a reader wrote"))
    assert [found["key"] for found in Store(opened(url)).records()] == [KEY]
    assert (folder / "tables.md").exists()


def test_a_reader_leaves_the_copy_alone_while_a_run_works_on_it(url: str, machine) -> None:
    machine("a")
    store = open_store(url)
    store.commit(record())
    (store.root / "resolved.yaml").write_text("at the URL")
    store.push("resolved.yaml")
    (store.root / "resolved.yaml").write_text("newer")
    Remote(url).write("resolved.yaml", b"of another machine")
    with filelock.FileLock(store.root / ".lock"):
        assert (opened(url) / "resolved.yaml").read_text() == "newer"
    assert (opened(url) / "resolved.yaml").read_text() == "of another machine"


def test_scores_are_put_by_one_machine_and_fetched_by_another(url: str, tmp_path: Path, machine) -> None:
    place = inside(url, "scores", KEY)
    machine("a")
    put(place, "part-00000-x.parquet", b"one")
    put(place, "manifest.json", b"old")
    machine("b")
    folder = fetched(place)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "part-00000-x.parquet": b"one",
        "manifest.json": b"old",
    }
    assert folder == open_store(url).artefact_dir("scores", KEY)
    put(place, "part-00001-y.parquet", b"two")
    put(place, "manifest.json", b"new")
    Remote(str(place)).write("part-00000-x.parquet", b"never fetched twice: it is named by its content")
    machine("a")
    folder = fetched(place)
    assert (folder / "part-00000-x.parquet").read_bytes() == b"one"
    assert (folder / "part-00001-y.parquet").read_bytes() == b"two"
    assert (folder / "manifest.json").read_bytes() == b"new"
    assert fetched(tmp_path) == tmp_path
    put(tmp_path / "scores", "part", b"three")
    assert (tmp_path / "scores" / "part").read_bytes() == b"three"
