"""Files at a URL: whole or not there, on an object store and on a file system, and what backends get wrong."""

from __future__ import annotations

import errno
import uuid
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from l3masking.errors import EnvironmentFault, InputError
from study.store import remote
from study.store.remote import Remote, check_url, is_url


@pytest.fixture(params=["memory", "file", "dir"])
def url(request, tmp_path: Path) -> str:
    """An empty place: an object store, a file system, and one protocol on top of another."""
    made = {
        "memory": f"memory://{uuid.uuid4().hex}/study",
        "file": f"file://{tmp_path}/there/study",
        "dir": f"dir://study::file://{tmp_path}/there",
    }
    return made[request.param]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch) -> None:
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.0))


def test_what_is_written_is_read(url: str, tmp_path: Path) -> None:
    files = Remote(url)
    assert files.names() == {}
    assert files.read("records/a.json") is None
    files.write("records/a.json", b"one")
    (tmp_path / "local").write_bytes(b"three")
    files.write_file("tables/b.md", tmp_path / "local")
    files.write("records/a.json", b"two two")
    again = Remote(url)
    assert again.read("records/a.json") == b"two two"
    assert again.names() == {"records/a.json": 7, "tables/b.md": 5}
    assert again.names("tables") == {"tables/b.md": 5}
    assert again.names("figures") == {}
    wanted = ["records/a.json", "records/gone.json", "tables/b.md"]
    assert dict(again.read_all(wanted)) == {"records/a.json": b"two two", "tables/b.md": b"three"}
    files.remove("records/a.json")
    files.remove("records/a.json")
    assert again.names() == {"tables/b.md": 5}


def test_a_file_is_created_once(url: str, tmp_path: Path) -> None:
    files = Remote(url)
    assert files.create("records/a.json", b"first")
    assert not Remote(url).create("records/a.json", b"second")
    assert files.create("records/a.json", b"first"), "the answer to a request that was repeated"
    assert files.read("records/a.json") == b"first"
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_a_file_that_comes_between_looking_and_linking_stays(tmp_path: Path, monkeypatch) -> None:
    files, real = Remote(f"file://{tmp_path}"), LocalFileSystem.link

    def late(self, source: str, target: str, **more: object) -> None:
        Path(target).write_bytes(b"of somebody else")
        real(self, source, target, **more)

    monkeypatch.setattr(LocalFileSystem, "link", late)
    assert not files.create("records/a.json", b"mine")
    assert files.read("records/a.json") == b"of somebody else"


@pytest.mark.parametrize(
    ("owner", "call", "number"), [(LocalFileSystem, "link", errno.EPERM), (MemoryFileSystem, "pipe_file", errno.ENOSYS)]
)
def test_a_place_that_cannot_decide_is_looked_at_first(
    tmp_path: Path, monkeypatch, owner: type, call: str, number: int
) -> None:
    """No hard links on this file system; a server that answers 501 to a conditional write."""
    real, refused = getattr(owner, call), []

    def refuse(self, *words: object, **more: object) -> None:
        if call == "link" or "mode" in more:
            refused.append(words)
            raise OSError(number, "not implemented")
        real(self, *words, **more)

    monkeypatch.setattr(owner, call, refuse)
    files = Remote(f"file://{tmp_path}" if call == "link" else f"memory://{uuid.uuid4().hex}/study")
    assert files.create("a", b"first")
    assert not files.create("a", b"second")
    assert files.read("a") == b"first"
    assert files.names() == {"a": 5}
    assert len(refused) == 2


def test_names_that_look_like_patterns_are_names() -> None:
    files = Remote(f"memory://{uuid.uuid4().hex}/study [1] of *")
    files.write("records/a.json", b"x")
    assert dict(files.read_all(["records/a.json", "records/gone.json"])) == {"records/a.json": b"x"}


def test_many_files_come_in_batches(monkeypatch) -> None:
    monkeypatch.setattr(remote, "READ_BATCH", 4)
    files = Remote(f"memory://{uuid.uuid4().hex}/many")
    contents = {f"records/{number:02d}.json": bytes([number]) for number in range(11)}
    for name, content in contents.items():
        files.write(name, content)
    assert dict(files.read_all(list(contents))) == contents


def test_hidden_and_foreign_names_are_left_out(tmp_path: Path) -> None:
    for name in ("records/a.json", ".lease", "records/.a.json.tmp", "what ever", "a\nb", "sub/.git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert Remote(f"file://{tmp_path}").names() == {"records/a.json": 1}


def test_on_a_file_system_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch) -> None:
    """The file is written under another name; killed before the renaming, it has no name that anybody reads."""
    files = Remote(f"file://{tmp_path}")
    files.write("records/a.json", b"old")
    seen: list[list[str]] = []

    def broken(self, source: str, target: str, **_: object) -> None:
        seen.append(sorted(path.name for path in (tmp_path / "records").iterdir()))
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalFileSystem, "mv", broken)
    with pytest.raises(KeyboardInterrupt):
        files.write("records/a.json", b"new")
    assert len(seen[0]) == 2
    assert files.read("records/a.json") == b"old"
    assert files.names() == {"records/a.json": 3}


def test_a_backend_that_fails_is_asked_again_and_then_named(monkeypatch) -> None:
    files = Remote(f"memory://{uuid.uuid4().hex}/study")
    tries = []

    class OfTheBackend(Exception):
        """What a cloud library may raise: no OSError."""

    def away(self, path: str, value: bytes, **_: object) -> None:
        tries.append(path)
        if len(tries) < 4:
            raise OfTheBackend("the network is away\nfor good")
        original(self, path, value)

    original = MemoryFileSystem.pipe_file
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", away)
    with pytest.raises(EnvironmentFault, match=r"cannot write there \(OfTheBackend: the network is away\)$"):
        files.write("a", b"x")
    assert len(tries) == 3
    files.write("a", b"x")
    assert files.read("a") == b"x"


def test_a_read_that_fails_is_no_missing_file(monkeypatch) -> None:
    files = Remote(f"memory://{uuid.uuid4().hex}/study")
    files.write("a", b"x")
    files.write("b", b"y")
    original = MemoryFileSystem.cat_file

    def away(self, path: str, *rest: object, **more: object) -> bytes:
        if path.endswith("a"):
            raise ConnectionError("reset by peer")
        return original(self, path, *rest, **more)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", away)
    with pytest.raises(EnvironmentFault, match="cannot read there"):
        files.read("a")
    with pytest.raises(EnvironmentFault, match="cannot read there"):
        list(files.read_all(["a", "b"]))
    assert files.read("b") == b"y"


def test_a_refusal_is_not_tried_again(monkeypatch) -> None:
    tries = []

    def refuse(self, path: str, *_: object, **__: object) -> None:
        tries.append(path)
        raise PermissionError("read only")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(EnvironmentFault, match="PermissionError: read only"):
        Remote("memory://somewhere/study").write("a", b"x")
    assert len(tries) == 1


def test_a_bucket_that_is_not_there_is_a_fault_of_the_place(monkeypatch) -> None:
    def no_bucket(self, path: str, *_: object, **__: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", no_bucket)
    with pytest.raises(EnvironmentFault, match="memory://somewhere/study: there is no such place to write to"):
        Remote("memory://somewhere/study").write("a", b"x")


def test_urls_that_are_refused() -> None:
    with pytest.raises(InputError, match="no passwords in a URL") as refused:
        Remote("ftp://me:geheim@host/study")
    assert "geheim" not in str(refused.value)
    for wrong in ("s3://", "memory:///", "s3://bucket/../other"):
        with pytest.raises(InputError, match="expected a URL with a path"):
            Remote(wrong)
    with pytest.raises(InputError, match=r"nonesuch://there: .*nonesuch"):
        Remote("nonesuch://there")
    assert check_url("s3://bucket/study//") == "s3://bucket/study"


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch) -> None:
    def missing(url: str, **_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(EnvironmentFault, match="s3://bucket/study: Install s3fs to access S3, here and on every node"):
        Remote("s3://bucket/study")


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/x")
    assert not is_url(Path("studies/x"))
    assert not is_url("C:/x")
