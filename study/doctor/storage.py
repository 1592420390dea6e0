"""What `l3study doctor` says of places: the study's folder or URL, caches, the Hub, and what is available."""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import shutil
import sqlite3
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from l3masking.whole import temporary_name
from study.doctor.findings import Diagnosis, Patient
from study.store.places import is_url
from study.store.whole_files import write_atomic, write_new

NETWORK = ("nfs", "nfs4", "lustre", "gpfs", "cifs", "smb3", "ceph", "beegfs", "9p", "afs", "glusterfs", "fuse.")
MOUNTS = Path("/proc/mounts")
GIB = 2**30
LITTLE = 2 * GIB  # free bytes below which a place is worth a warning
SKEW = 60.0  # seconds between two clocks that nobody need care about
PING_SECONDS = 4.0
SHARED_MEMORY = Path("/dev/shm")  # where Ray keeps its objects


def folder(patient: Patient) -> Iterator[Diagnosis]:
    """Whether a study can be kept where it goes."""
    if is_url(patient.out):
        yield from _url(str(patient.out))
        return
    place = _standing(Path(patient.out))
    kind = file_system(place)
    probe = place / temporary_name("doctor")
    try:
        probe.mkdir()
        write_new(probe / "linked", b"x")  # a temporary file, synced, linked into place; then one that is renamed
        write_atomic(probe / "linked", b"y")
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    free = shutil.disk_usage(place).free
    text = f"{patient.out} ({kind}): files are synced, linked and renamed, {free / GIB:.1f} GiB free"
    if kind.startswith(NETWORK):
        fix = "for the MLflow database, which is SQLite, give --tracking-uri of a server; locks may hold nobody back"
        yield Diagnosis(name="folder", state="warn", text=text, fix=fix)
    elif free < LITTLE:
        yield Diagnosis(name="folder", state="warn", text=text, fix="make room, or choose another --out")
    else:
        yield Diagnosis(name="folder", state="ok", text=text)


def _url(url: str) -> Iterator[Diagnosis]:
    from study.store.remote import Remote, copy_of

    remote, name = Remote(url), f"doctor-{uuid.uuid4().hex}"
    remote.write(name, b"x")
    try:
        same = remote.read(name) == b"x"
    finally:
        remote.remove(name)
    if same:
        yield Diagnosis(
            name="folder", state="ok", text=f"{url} can be written and read; the copy here is {copy_of(url)}"
        )
    else:
        yield Diagnosis(name="folder", state="FAIL", text=f"{url} gives back something else than what was written")


def _standing(path: Path) -> Path:
    """The nearest folder of a path that exists."""
    return next(parent for parent in (path, *path.parents) if parent.is_dir())


def file_system(path: Path) -> str:
    """The kind of file system that a folder lies on, as the kernel names it; "unknown" elsewhere than on Linux."""
    try:
        lines = [line.split() for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "unknown"
    points = [(line[1].replace("\\040", " "), line[2]) for line in lines if len(line) > 2]
    around = [(point, kind) for point, kind in points if path.resolve().is_relative_to(point)]
    return max(around, key=lambda pair: len(pair[0]), default=("", "unknown"))[1]


def clock(patient: Patient) -> Iterator[Diagnosis]:
    """Whether the clocks of this machine, and of the file server, agree."""
    place = _standing(Path("studies").absolute() if is_url(patient.out) else Path(patient.out))
    with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
        skew = os.stat(probe.name).st_mtime - time.time()
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if abs(skew) > SKEW:
        text = f"{now} here, the file server of {place} is {skew:+.0f} s off"
        yield Diagnosis(name="clock", state="warn", text=text, fix="set the clocks; results do not depend on them")
    else:
        yield Diagnosis(name="clock", state="ok", text=now)


def cache(patient: Patient) -> Iterator[Diagnosis]:
    """The cache folder: generated worlds, downloads, copies of studies at URLs."""
    from l3masking.data.sources import cache_folder

    there = cache_folder()
    standing = _standing(there.absolute())
    if not os.access(standing, os.W_OK | os.X_OK):
        fix = "set L3STUDY_CACHE to a folder that can be written"
        yield Diagnosis(name="cache", state="FAIL", text=f"{there} cannot be written", fix=fix)
        return
    yield Diagnosis(name="cache", state="ok", text=f"{there}, {shutil.disk_usage(standing).free / GIB:.1f} GiB free")


def scratch(patient: Patient) -> Iterator[Diagnosis]:
    """Where Ray keeps logs and objects while it runs."""
    free = shutil.disk_usage(tempfile.gettempdir())
    text, state, fix = f"{tempfile.gettempdir()}: {free.free / GIB:.1f} GiB free", "ok", ""
    if free.free < LITTLE or free.free < 0.05 * free.total:  # Ray stops to write objects at 95 % full
        state, fix = "warn", "make room, or set TMPDIR"
    with contextlib.suppress(OSError):
        shared = shutil.disk_usage(SHARED_MEMORY).free
        text += f", {shared / GIB:.1f} GiB shared memory"
        if shared < GIB and state == "ok":
            state, fix = "warn", "in a container: --shm-size=2g; else Ray keeps its objects on disk"
    yield Diagnosis(name="scratch", state="warn" if state == "warn" else "ok", text=text, fix=fix)


def hub(patient: Patient) -> Iterator[Diagnosis]:
    """Whether the Hub can be asked."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield Diagnosis(name="hub", state="ok", text="HF_HUB_OFFLINE is set: only what is in the cache is used")
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    answer = _within(PING_SECONDS, endpoint)
    if answer is None:
        yield Diagnosis(name="hub", state="ok", text=f"{endpoint} answers")
    else:
        fix = "`l3study prefetch SPACE` on a machine that reaches it; what is in the cache works without"
        yield Diagnosis(name="hub", state="warn", text=f"{endpoint} is not reached ({answer})", fix=fix)


def _within(seconds: float, url: str) -> str | None:
    """Why an address does not answer; None if it does. Name servers may take longer than any timeout."""
    said = ["no answer in time"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
                said[0] = ""
        except urllib.error.HTTPError:
            said[0] = ""  # it does answer
        except (OSError, ValueError, http.client.HTTPException) as error:
            said[0] = str(getattr(error, "reason", error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] or None


def inputs(patient: Patient) -> Iterator[Diagnosis]:
    """Which encoders and datasets of the study are available."""
    if patient.spec is None:
        return
    from study.plan.inputs import identify_at_hand

    known = identify_at_hand(patient.spec)
    pairs = patient.spec.pairs
    for kind, names, there in (
        ("encoder", dict.fromkeys(pair.encoder for pair in pairs), known.encoders),
        ("dataset", dict.fromkeys(pair.dataset for pair in pairs), known.datasets),
    ):
        missing = [name for name in names if name not in there]
        held = ", ".join(f"{name} ({there[name][:14]})" for name in names if name in there)
        if held:
            yield Diagnosis(name=f"{kind}s", state="ok", text=f"available: {held}")
        if missing:
            fix = "a run fetches or makes them; `l3study prefetch SPACE` does it now"
            yield Diagnosis(name=f"{kind}s", state="warn", text=f"not available: {', '.join(missing)}", fix=fix)


def database(patient: Patient) -> Iterator[Diagnosis]:
    """Whether the installed MLflow reads the database that the study has."""
    if is_url(patient.out) or not (path := Path(patient.out) / "mlflow.db").is_file():
        return
    from mlflow.store.db.utils import _get_latest_schema_revision

    from study.tracking.database import sqlite_uri

    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as reader:
            (found,) = reader.execute("select version_num from alembic_version").fetchone() or ("none",)
    except sqlite3.Error as error:
        fix = "move it away: the next run, or `l3study sync`, makes it again from the records"
        yield Diagnosis(name="mlflow", state="warn", text=f"{path}: {error}", fix=fix)
        return
    wanted = _get_latest_schema_revision()
    if found == wanted:
        yield Diagnosis(name="mlflow", state="ok", text=f"{path} is of the installed version's schema")
    else:
        upgrade = f"mlflow db upgrade {shlex.quote(sqlite_uri(path.absolute()))}"
        fix = f"{upgrade}, or move it away: the next run makes it again from the records"
        yield Diagnosis(name="mlflow", state="warn", text=f"{path}: schema {found}, wanted {wanted}", fix=fix)
