"""Who works at a URL: one small file there that its holder writes again and again.

No clocks are compared. A newcomer who finds a lease waits a while and reads it again: a holder that lives has changed
it in the meantime, a dead one has not, and its lease is taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

from l3masking.errors import EnvironmentFault, InputError
from study.repeating import repeated
from study.store.remote import Remote
from study.store.whole_files import canonical

LEASE_FILE = ".lease"
LEASE_BEAT = 10.0  # seconds between two writes of the holder
LEASE_BEATS = 3.5  # beats that a newcomer waits for a sign of life


@contextlib.contextmanager
def lease(remote: Remote) -> Iterator[None]:
    """Hold the lease of a URL. InputError where somebody else holds it and lives.

    It saves double work and guarantees nothing: two newcomers who take over from the same dead holder within the same
    moment may both get it, and so may any two where the backend has no conditional writes. Records are right even then.
    """
    mine: dict[str, Any] = {"id": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid(), "beat": 0}
    while not remote.create(LEASE_FILE, canonical(mine)):
        _wait_for_holder(remote)

    def beat() -> None:
        mine["beat"] += 1
        with contextlib.suppress(EnvironmentFault):  # a URL that is away for a while stops no study
            remote.write(LEASE_FILE, canonical(mine))

    try:
        with repeated(beat, LEASE_BEAT, "lease"):
            yield
    finally:
        with contextlib.suppress(EnvironmentFault):  # left there, it is seen to be dead by the next run
            if _read(remote).get("id") == mine["id"]:
                remote.remove(LEASE_FILE)


def _wait_for_holder(remote: Remote) -> None:
    """Return when the lease is free: its holder has released it, or is dead and the lease is removed here."""
    found = _read(remote)
    if not found or _dead_here(found):
        remote.remove(LEASE_FILE)
        return
    holder = f"process {found.get('pid')} on {found.get('host')}"
    warnings.warn(
        f"{remote.url}: {holder} may still be working on this study; checking for {LEASE_BEATS * LEASE_BEAT:.0f} s",
        stacklevel=3,
    )
    time.sleep(LEASE_BEATS * LEASE_BEAT)
    again = _read(remote)
    if again == found:
        remote.remove(LEASE_FILE)
    elif again:
        raise InputError(
            f"{remote.url}: another run works on this study ({holder}); wait for it, or choose another --out"
        )


def _dead_here(found: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    pid = found.get("pid")
    if found.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's, but alive
    return False


def _read(remote: Remote) -> dict[str, Any]:
    try:
        value = json.loads(remote.read(LEASE_FILE) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
