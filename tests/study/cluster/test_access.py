"""Who may use a cluster: the token file, and what a dashboard answers with and without a token."""

from __future__ import annotations

import http.server
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from l3masking.errors import EnvironmentFault, InputError
from study.cluster import access
from study.cluster.access import Access, guard_token, parse_address, reach, readable_by_others, token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    """A home without a token, and no hint in the environment where else one might be."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


class Dashboard(http.server.BaseHTTPRequestHandler):
    """Answers as Ray's does. `wanted`: the token it asks for; `status`: of everything, where it is no dashboard."""

    wanted: str | None = None
    status: int = 200
    version: bytes = b'{"ray_version": "2.60.0"}'

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        code = self.status
        if self.wanted is not None and given != f"Bearer {self.wanted}":
            code = 401 if given is None else 403
        content = self.version if self.path == access.VERSION else b"[]"
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def dashboard(monkeypatch) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in ("wanted", "status", "version"):
        monkeypatch.setattr(Dashboard, name, getattr(Dashboard, name))
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_cluster_without_a_token_is_open(dashboard: str) -> None:
    found = reach(dashboard)
    assert found == Access(address=dashboard, guarded=False, headers={}, ray_version="2.60.0")
    assert found.local


def test_a_guarded_cluster_wants_the_token_of_this_user(dashboard: str, home: Path, monkeypatch) -> None:
    monkeypatch.setattr(Dashboard, "wanted", "secret-1")
    with pytest.raises(EnvironmentFault, match="asks for a token, and there is none here; copy the head node's"):
        reach(dashboard)
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("secret-2\n")
    with pytest.raises(EnvironmentFault, match="refuses the token of this user"):
        reach(dashboard)
    (home / ".ray" / "auth_token").write_text("secret-1\n")
    found = reach(dashboard)
    assert found.guarded
    assert found.headers == {"Authorization": "Bearer secret-1"}
    assert "secret-1" not in repr(found)


def test_what_is_no_dashboard(dashboard: str, monkeypatch) -> None:
    monkeypatch.setattr(Dashboard, "status", 404)
    with pytest.raises(EnvironmentFault, match="no Jobs API there"):
        reach(dashboard)
    monkeypatch.setattr(Dashboard, "status", 200)
    for odd in (b"<html>", b"[]", b"{}"):
        monkeypatch.setattr(Dashboard, "version", odd)
        assert reach(dashboard).ray_version is None
    with pytest.raises(EnvironmentFault, match=r"no Ray dashboard answers .*start one by `ray start --head`"):
        reach("http://127.0.0.1:1")


def test_addresses() -> None:
    assert parse_address("head:8265") == "http://head:8265"
    assert parse_address("https://head/") == "https://head"
    for wrong in ("ray://head:10001", "http://", "file:///x", "head:99999", "head:0", "head:x", "http://[::1"):
        with pytest.raises(InputError, match=r"expected that of the cluster's dashboard.*a port from 1 to 65535"):
            parse_address(wrong)

    def local(address: str) -> bool:
        return Access(address=address, guarded=True, headers={}, ray_version=None).local

    assert all(map(local, ("http://localhost:8265", "http://127.0.0.1:8265", "http://[::1]:8265", "http://127.9.9.9")))
    assert not any(
        map(local, ("http://10.0.0.7:8265", "http://localhost.example.org", "http://head", "http://0.0.0.0"))
    )


def test_the_token_is_found_where_ray_finds_it(home: Path, monkeypatch) -> None:
    """In Ray's order, by Ray's own loader in a process of its own."""
    code = (
        "from ray._raylet import AuthenticationTokenLoader as L;"
        "print(L.instance().get_token_for_http_header()['authorization'].removeprefix('Bearer '))"
    )

    def by_ray() -> str:
        environment = {**os.environ, "RAY_AUTH_MODE": "token"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("from-home\n")
    assert token() == by_ray() == "from-home"
    (home / "elsewhere").write_text("from-a-path\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "elsewhere"))
    assert token() == by_ray() == "from-a-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-the-environment")
    assert token() == by_ray() == "from-the-environment"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_token_is_for_this_user_alone(home: Path) -> None:
    assert token() is None
    assert not readable_by_others()
    before = os.umask(0o000)
    try:
        guard_token()
    finally:
        os.umask(before)
    path = home / ".ray" / "auth_token"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["auth_token"]
    assert len(token() or "") == 64
    first = token()
    guard_token()
    assert token() == first


def test_a_token_that_lies_open_is_closed(home: Path) -> None:
    path = home / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("mine")
    path.chmod(0o644)
    assert readable_by_others()
    guard_token()
    assert mode(path) == 0o600
    assert not readable_by_others()
    assert token() == "mine"


def test_what_the_user_has_arranged_is_left_alone(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    guard_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    guard_token()
    assert not (home / ".ray").exists()
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    (home / ".ray").write_text("a file, where a folder belongs")
    guard_token()  # Ray says so itself
    assert token() is None


def test_many_processes_agree_on_one_token(home: Path) -> None:
    code = "from study.cluster.access import guard_token, token; guard_token(); print(token())"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert said == {token()}
    assert all(process.returncode == 0 for process in processes)
    assert json.dumps(sorted(file.name for file in (home / ".ray").iterdir())) == '["auth_token"]'
