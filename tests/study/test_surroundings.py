"""What the environment may hold from elsewhere: encodings, proxies, a plot backend; and what nobody foresaw."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import command

from l3masking.errors import EnvironmentFault
from study.cluster.access import reach
from study.exit_codes import DEFECT, EXIT_CODES
from study.surroundings import LOOPBACK, spare_loopback

NOWHERE = "http://127.0.0.1:9"  # nobody listens on the port of "discard"
ODD_BACKEND = "module://left_by_a_notebook.backend_inline"


@pytest.fixture
def proxied(monkeypatch) -> None:
    """A proxy that answers nobody."""
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", NOWHERE)
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the first one, and with it the proxies


def test_without_a_proxy_nothing_is_set(proxied, monkeypatch) -> None:
    monkeypatch.delenv("http_proxy")
    spare_loopback("somewhere")
    assert "no_proxy" not in os.environ


@pytest.mark.parametrize("given", [None, "intranet.example.org, .local"])
def test_loopback_is_spared_beside_what_the_user_names(proxied, monkeypatch, given: str | None) -> None:

    import requests.utils

    if given:
        monkeypatch.setenv("NO_PROXY", given)
    spare_loopback("127.9.9.9")
    spare_loopback()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    named = os.environ["no_proxy"].split(",")
    assert named == [*(["intranet.example.org", ".local"] if given else []), *LOOPBACK, "127.9.9.9"]
    for host in ("localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.9.9.9:5000"):
        assert urllib.request.proxy_bypass(host), host
        assert requests.utils.should_bypass_proxies(f"http://{host}/", no_proxy=None), host
    assert not urllib.request.proxy_bypass("head:8265")


def test_a_star_stays(proxied, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    spare_loopback()
    assert os.environ["no_proxy"] == "*"


class Dashboard(http.server.BaseHTTPRequestHandler):
    """Answers as an open Ray dashboard does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ray_version": "2.60.0"}')

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def dashboard() -> Iterator[int]:
    """Its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def test_a_dashboard_of_this_machine_is_not_asked_through_a_proxy(proxied, dashboard: int) -> None:
    assert reach(f"http://127.0.0.1:{dashboard}").ray_version == "2.60.0"
    assert reach(f"http://localhost:{dashboard}").ray_version == "2.60.0"


def test_a_proxy_that_stands_between_is_named(proxied) -> None:
    with pytest.raises(
        EnvironmentFault, match=r"through the proxy that http_proxy names; name head\.example in no_proxy"
    ):
        reach("http://head.example:8265", timeout=2)


def test_every_command_spares_loopback(proxied) -> None:
    command("plan", "no-such-space")
    assert "127.0.0.1" in os.environ["no_proxy"]


def in_a_process(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "study", *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_a_table_with_plus_minus_is_printed_in_ascii(finished_study: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; from rich.console import Console\n"
        "from study.surroundings import tolerate_encodings; tolerate_encodings()\n"
        "from study.report.tables import terminal_table; from study.results.gather import gather\n"
        "from study.plan.grid import make_plan; from study.plan.resolved import planned\n"
        "from study.store.store import Store\n"
        "resolved = planned(Path(sys.argv[1])); trials = make_plan(*resolved)\n"
        "Console(width=120).print(terminal_table(gather(Store(Path(sys.argv[1])), resolved.spec, trials).cells))"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-c", code, str(finished_study / "out")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert " ? " in done.stdout  # in the place of ±


def test_the_plot_backend_of_a_notebook_does_not_matter(finished_study: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished_study / "out", tmp_path / "out")
    (tmp_path / "out" / "figures" / "results.png").unlink()
    done = in_a_process("export", tmp_path / "out", MPLBACKEND=ODD_BACKEND)
    assert (done.returncode, done.stderr) == (0, b"")
    figure = tmp_path / "out" / "figures" / "results.png"
    assert figure.read_bytes() == (finished_study / "out" / "figures" / "results.png").read_bytes()


def test_the_plot_backend_is_left_as_it_was() -> None:
    code = (
        "import os; from study.report.drawing import load_matplotlib; load_matplotlib()\n"
        "import matplotlib; print(os.environ['MPLBACKEND'], matplotlib.get_backend())"
    )
    environment = os.environ | {"MPLBACKEND": ODD_BACKEND}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [ODD_BACKEND, "agg"]


def test_a_figure_that_cannot_be_drawn_costs_one_warning(finished_study: Path, tmp_path: Path, monkeypatch) -> None:
    import shutil

    from study.report.drawing import FigureWarning
    from study.report.publish import write_tables

    def broken(*_: object) -> bytes:
        raise RuntimeError("no fonts\nhere")

    root = tmp_path / "out"
    shutil.copytree(finished_study / "out", root)
    tables = {file: file.read_bytes() for file in (root / "tables").iterdir()}
    shutil.rmtree(root / "tables")
    (root / "figures" / "results.svg").write_bytes(b"damaged")
    monkeypatch.setattr("study.report.figure_files.draw", broken)
    with pytest.warns(FigureWarning) as warned:
        _, files = write_tables(root)
    (warning,) = warned
    figure = root / "figures" / "results.png"
    assert str(warning.message) == f"{figure} is not drawn (RuntimeError: no fonts); the tables are complete"
    assert not figure.exists()  # the old one would show other results
    assert {file: file.read_bytes() for file in (root / "tables").iterdir()} == tables
    assert root / "report.html" in files
    assert figure not in files
    assert all(file.is_file() for file in files)


@pytest.fixture
def unforeseen(monkeypatch) -> None:
    """A defect in `export`."""

    def fall(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of\nsomething")

    monkeypatch.setattr("study.report.publish.write_tables", fall)
    monkeypatch.setattr("study.plan.resolved.opened_study", Path)


def test_what_nobody_foresaw_has_a_code_of_its_own(unforeseen, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = command("export", tmp_path / "x")
    assert said.code == DEFECT == 70
    (file,) = tmp_path.glob("l3study-*.traceback")
    assert said.err.count("\n") == 1
    assert said.err.startswith("l3study: ZeroDivisionError: of something (test_surroundings.py, line ")
    assert said.err.endswith(f": a defect of this program, please report it with {file}\n")
    assert "Traceback" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_with_debug_its_traceback_is_printed(unforeseen, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = command("--debug", "export", tmp_path / "x")
    assert said.code == DEFECT
    assert "Traceback (most recent call last)" in said.err
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_its_traceback_is_printed(unforeseen, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    said = command("export", tmp_path / "x")
    assert said.code == DEFECT
    assert "Traceback (most recent call last)" in said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(ImportError("No module named 'x'"), 3), (KeyboardInterrupt(), 75), (BrokenPipeError(32, "Broken pipe"), 75)],
)
def test_other_ends_of_a_verb_are_never_1(monkeypatch, tmp_path: Path, error: BaseException, code: int) -> None:
    def end(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("study.report.publish.write_tables", end)
    monkeypatch.setattr("study.plan.resolved.opened_study", Path)
    said = command("export", tmp_path)
    assert said.code == code
    assert "Traceback" not in said.err


def test_help_explains_every_exit_code() -> None:
    shown = " ".join(command("--help").out.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown
    assert set(EXIT_CODES) == {0, 1, 2, 3, 70, 75}
