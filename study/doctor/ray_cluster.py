"""What `l3study doctor` says of Ray: who may run code, and whether a cluster fits."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from study.cluster import access, ray_address
from study.doctor.findings import Diagnosis, Patient
from study.doctor.machine import version_of

SECONDS = 5.0  # for an answer of a cluster
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENS = "0A"
PORTS_SHOWN = 10
ON_LOOPBACK = re.compile(r"[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F")  # 127.x.x.x, ::1, ::ffff:127.x.x.x


def token(patient: Patient) -> Iterator[Diagnosis]:
    """Whether a Ray that is started here asks for a token, and who may read it."""
    mode, path = os.environ.get("RAY_AUTH_MODE", "").lower(), access.token_path()
    if mode and mode != "token":
        text = f"RAY_AUTH_MODE={mode}: a Ray that is started here runs the code of anybody who reaches its ports"
        yield Diagnosis(name="token", state="warn", text=text, fix="unset it, or set RAY_AUTH_MODE=token")
        return
    if access.readable_by_others():
        text = f"other users of this machine can read {path}, and so run code as you"
        yield Diagnosis(name="token", state="warn", text=text, fix=f"chmod 600 {path}")
    elif access.token() is None:
        text = "none yet: `l3study run` makes one, but `ray start --head` without one runs the code of anybody"
        yield Diagnosis(name="token", state="ok", text=text)
    else:
        source = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else path
        yield Diagnosis(name="token", state="ok", text=f"{source}: a Ray that is started here asks for it")


def listeners(patient: Patient) -> Iterator[Diagnosis]:
    """Which ports of this user other machines may reach. A run opens none: its Ray and its MLflow are on loopback."""
    text = "what `run` and `ui` start listens on this machine's loopback interface alone"
    if others := reachable_ports():
        shown = ", ".join(map(str, others[:PORTS_SHOWN])) + (", …" if len(others) > PORTS_SHOWN else "")
        text += f"; other programs of yours listen beyond it, on port{'s' * (len(others) > 1)} {shown}"
    yield Diagnosis(name="ports", state="ok", text=text)


def reachable_ports() -> list[int]:
    """Ports on which this user's processes listen beyond loopback; of Linux, and empty elsewhere."""
    found = set()
    for table in SOCKETS:
        with contextlib.suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                local, state, uid = (line.split()[column] for column in (1, 3, 7))
                address, _, port = local.partition(":")
                if state == LISTENS and int(uid) == os.getuid() and not ON_LOOPBACK.fullmatch(address):
                    found.add(int(port, 16))
    return sorted(found)


def shared_files(patient: Patient) -> Iterator[Diagnosis]:
    """What other users of this machine may do: read or change results, by the umask, and reach the sockets of Ray."""
    mask = os.umask(0o077)
    os.umask(mask)
    place = Path(os.environ.get("RAY_TMPDIR") or Path(tempfile.gettempdir()) / "ray").absolute()
    open_to_all = all(not folder.exists() or folder.stat().st_mode & stat.S_IXOTH for folder in (place, *place.parents))
    text = f"umask {mask:03o}: other users of this machine {'cannot' if mask & 0o004 else 'can'} read results"
    if not mask & stat.S_IWOTH:
        yield Diagnosis(name="files", state="warn", text=f"{text}, and change them", fix="umask 022, or 077")
    if open_to_all:  # Ray gives all rights on its own folder to everybody
        fix = "on a machine that others use, set RAY_TMPDIR to a folder of yours with mode 700"
        yield Diagnosis(name="files", state="ok", text=f"{text}; they reach the sockets of Ray in {place}", fix=fix)
    else:
        yield Diagnosis(name="files", state="ok", text=f"{text}; they do not reach the sockets of Ray in {place}")


def cluster(patient: Patient) -> Iterator[Diagnosis]:
    """Whether a cluster's Jobs API answers, to whom, and which Ray it runs."""
    if patient.address is None:
        joined = ray_address.joined()
        text = (
            f"RAY_ADDRESS={joined} answers: `run` joins it"
            if joined
            else "none asked about (--address); `run` starts its own"
        )
        yield Diagnosis(name="cluster", state="ok", text=text)
        return
    found = access.reach(patient.address, SECONDS)
    host = urllib.parse.urlsplit(found.address).netloc
    if not found.guarded:
        text = f"{host} answers without a token: anybody who reaches it runs code there"
        yield Diagnosis(name="cluster", state="warn" if found.local else "FAIL", text=text, fix=access.NO_TOKEN)
    else:
        yield Diagnosis(name="cluster", state="ok", text=f"{host} asks for a token, and takes that of this user")
    here = version_of("ray")
    if found.ray_version == here:
        yield Diagnosis(name="cluster", state="ok", text=f"Ray {here} there and here")
    else:
        text = f"Ray {found.ray_version} there, {here} here"
        yield Diagnosis(name="cluster", state="warn", text=text, fix="install the same version on both sides")
