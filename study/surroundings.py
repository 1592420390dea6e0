"""What the environment of a command may hold from elsewhere, and what is done about it before anything else."""

from __future__ import annotations

import os
import sys

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def tolerate_encodings() -> None:
    """Replace characters that standard output or error cannot encode: a finished run must not end in an error."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def spare_loopback(*hosts: str) -> None:
    """Keep proxies away from this machine's own addresses, and from `hosts`: a proxy elsewhere cannot reach them.

    Sets no_proxy, which urllib, requests, aiohttp and all child processes read. Does nothing without a proxy.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if given.strip() == "*":
        return
    known = [host.strip() for host in given.split(",") if host.strip()]
    value = ",".join(dict.fromkeys((*known, *LOOPBACK, *hosts)))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = value
