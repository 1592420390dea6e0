"""Tracking servers that do not answer in time."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    """Leaves every request to its server."""

    server: LateServer

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return lambda: self.server.take(self)

    def log_message(self, *_: Any) -> None: ...


class LateServer(http.server.ThreadingHTTPServer):
    """Takes every request, and answers none before `over` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.over = 0, threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, request: Handler) -> None:
        """Deal with one request."""
        self.asked += 1
        self.over.wait(30)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in a thread."""
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            self.shutdown()
            thread.join()
            self.server_close()


class Proxy(LateServer):
    """In front of a tracking server. While `late`, each answer comes after 30 s: the client has given up by then."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target, self.late, self.lost = target, threading.Event(), 0

    def take(self, request: Handler) -> None:
        """Pass the request on at once, and the answer back."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        sent = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        asked = urllib.request.Request(f"{self.target}{request.path}", body or None, sent, method=request.command)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        except OSError:  # the server is away: so is this
            return
        if self.late.is_set():
            self.over.wait(30)
            self.lost += 1
        with contextlib.suppress(OSError):  # nobody listens any more
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)
