"""What `l3study doctor` says of Ray: who may run code, and whether a cluster fits."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator

from study.cluster import access, ray_address
from study.cluster.jobs import NO_TOKEN
from study.doctor.findings import Diagnosis, Patient
from study.doctor.machine import version_of

SECONDS = 5.0  # for an answer of a cluster


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
        yield Diagnosis(name="token", state="ok", text=f"{source}; Ray listens on all interfaces, and this guards it")


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
        yield Diagnosis(name="cluster", state="warn" if found.local else "FAIL", text=text, fix=NO_TOKEN)
    else:
        yield Diagnosis(name="cluster", state="ok", text=f"{host} asks for a token, and takes that of this user")
    here = version_of("ray")
    if found.ray_version == here:
        yield Diagnosis(name="cluster", state="ok", text=f"Ray {here} there and here")
    else:
        text = f"Ray {found.ray_version} there, {here} here"
        yield Diagnosis(name="cluster", state="warn", text=text, fix="install the same version on both sides")
