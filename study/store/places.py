"""Where a study lies: a folder, or a URL with a copy on each machine. The rest of the program need not know which."""

from __future__ import annotations

from pathlib import Path

import filelock

from study.store.remote import Remote, copy_of, is_url
from study.store.remote_store import RemoteStore
from study.store.store import Store
from study.store.whole_files import Place, write_atomic

CHECKPOINTS = "checkpoints"  # folder of a study: what trainings under way go on from

__all__ = ["Place", "fetched", "find_place", "inside", "is_url", "local_folder", "open_store", "opened", "put"]


def find_place(out: Place | None, name: str) -> Place:
    """Where the study `name` goes: a URL as it is, a folder as an absolute path; none: studies/<name>."""
    if out is not None and is_url(out):
        return str(out)
    return Path(out or Path("studies") / name).absolute()


def inside(place: Place, *names: str) -> Place:
    """What lies at `names` below a place."""
    return "/".join((str(place), *names)) if is_url(place) else Path(place).joinpath(*names)


def open_store(place: Place) -> Store:
    """The store at a place. Nothing is fetched yet: `Store.lock` does that for a run, `opened` for a reader."""
    return RemoteStore(str(place)) if is_url(place) else Store(Path(place))


def opened(place: Place) -> Path:
    """The folder of a study for reading: itself, or the copy of a URL, brought up to date.

    While a run of this machine works on the copy, the copy is ahead of the URL and is left alone.
    """
    store = open_store(place)
    if isinstance(store, RemoteStore):
        store.root.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(store.root / ".lock", timeout=0):
                store.refresh()
        except filelock.Timeout:
            pass
    return store.root


def local_folder(place: Place) -> Path:
    """The folder of a place on this machine: itself, or the copy of a URL."""
    return copy_of(str(place)) if is_url(place) else Path(place)


def fetched(place: Place) -> Path:
    """A folder with the files of a place that are named by their content: what is missing in the copy is fetched."""
    if not is_url(place):
        return Path(place)
    remote, folder = Remote(str(place)), copy_of(str(place))
    wanted = [name for name in remote.names() if name == "manifest.json" or not (folder / name).is_file()]
    for name, content in remote.read_all(wanted):
        write_atomic(folder / name, content)
    return folder


def put(place: Place, name: str, content: bytes) -> None:
    """Write one whole file into a place, and into this machine's copy of a URL."""
    write_atomic(local_folder(place) / name, content)
    if is_url(place):
        Remote(str(place)).write(name, content)
