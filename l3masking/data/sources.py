"""Where data comes from: a file, a pinned https address, the Hub; and the cache folder that makes it available offline.

A file in the cache is checked against its git blob id whenever it is read, so a torn or changed one is never used.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from l3masking.data.labels import withheld
from l3masking.data.pairs import parts_of
from l3masking.data.rows import Columns, Rows, check_columns, collect, read_rows
from l3masking.errors import EnvironmentFault, InputError, Unavailable
from l3masking.homes import user_path
from l3masking.whole import write_atomic

CACHE_NAME = "l3study"  # of the folder in the user's cache directory
COPIED = Columns("text", "label")  # of our copies of Hub datasets
COPIED_PAIRS = Columns("text", "label", "text_pair")
TIMEOUT_SECONDS = 60.0  # without a byte from the server


class HubPart(NamedTuple):
    """One split of a dataset on the Hub."""

    hub: str
    revision: str | None
    subset: str | None
    split: str


def cache_folder() -> Path:
    """L3STUDY_CACHE, or CACHE_NAME in the user's cache directory. Not created here."""
    given = os.environ.get("L3STUDY_CACHE")
    if given:
        return user_path(given)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / CACHE_NAME


def blob_id(content: bytes) -> str:
    """The id git gives this content: SHA-1 over "blob", its length, a NUL and the content. 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def read_file(path: Path, blob: str | None) -> bytes:
    """A local file; InputError where it is absent, or is not the one that `blob` pins."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror}); relative paths start at the space file's folder"
        ) from None
    if blob is not None and blob_id(content) != blob:
        raise InputError(f"{path} has git blob id {blob_id(content)}, not {blob}: restore the file, or correct `blobs`")
    return content


def read_url(url: str, blob: str, cache: Path, offline: bool) -> bytes:
    """The file at `url` whose git blob id is `blob`, from the cache or else downloaded into it.

    Raises Unavailable where it is in neither, EnvironmentFault where the server has another file.
    """
    path = cache / "data" / f"{blob}{Path(url).suffix}"
    content = _read_cached(path)
    if content is not None and blob_id(content) == blob:
        return content
    if content is not None:
        state = f"{path} is damaged (git blob id {blob_id(content)}, not {blob})"
    else:
        state = f"{url} is not in the cache {cache}"
    if offline:
        raise Unavailable(f"{state} and this run is offline")
    try:
        content = download(url)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{state} and cannot be downloaded ({error}): check the network") from None
    if blob_id(content) != blob:
        raise EnvironmentFault(f"{url} now has git blob id {blob_id(content)}, not {blob}: nothing of it is used")
    _write_whole(path, content)
    return content


def download(url: str) -> bytes:
    """The body of an https address. Raises OSError or HTTPException."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        return cast(bytes, response.read())


def read_hub(part: HubPart, columns: Columns, cache: Path, offline: bool) -> tuple[Rows, str]:
    """(rows, commit) of one Hub split, from our copy or else from the Hub.

    A copy of our own, because `datasets` falls back on the newest version it has cached, of whatever revision, when
    the Hub does not answer. Where there is a copy the Hub is not asked again: a branch that moves in the middle of a
    study, or between its fetching and its use, changes nothing. To follow it, name the commit, or empty the cache.
    """
    identity = json.dumps([*part, columns.text, columns.label, *columns.texts[1:]])
    path = cache / "data" / f"hub-{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}.jsonl"
    own = COPIED if columns.pair is None else COPIED_PAIRS
    copy = _read_copy(path, own)
    if copy is not None:
        return copy
    if offline:
        raise Unavailable(f"Hub dataset {_shown(part)} has no whole copy in the cache {cache} and this run is offline")
    rows, commit = _from_hub(part, columns)
    values = ((*parts_of(text), label) for text, label in zip(*rows, strict=True))
    lines = [json.dumps(dict(zip(own.read, row, strict=True))) for row in values]
    body = "\n".join(lines).encode()
    header = json.dumps({**part._asdict(), "commit": commit, "blob": blob_id(body)}).encode()
    _write_whole(path, header + b"\n" + body)
    return rows, commit


def _read_copy(path: Path, columns: Columns) -> tuple[Rows, str] | None:
    header, _, body = (_read_cached(path) or b"").partition(b"\n")
    try:
        said = json.loads(header)
        if said["blob"] != blob_id(body):
            return None
        return read_rows(body, str(path), ".jsonl", columns), str(said["commit"])
    except (ValueError, KeyError, TypeError):  # a damaged header: as good as absent
        return None


def hub_commit(hub: str, revision: str | None, shown: str | None = None) -> str:
    """The commit that a revision of a Hub dataset stands for now. EnvironmentFault where the Hub cannot be reached."""
    from huggingface_hub import HfApi

    with hub_failures(shown or hub):
        return str(HfApi().dataset_info(hub, revision=revision).sha)


@contextmanager
def hub_failures(shown: str) -> Iterator[None]:
    """What can go wrong with the Hub dataset `shown`, in one line."""
    # here, not above: two seconds of import that no file needs
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    # the Hub client changes its HTTP library between versions; that library's base error is a base of this class
    unreachable = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    try:
        yield
    except (InputError, EnvironmentFault):
        raise
    # before ValueError, which some of the Hub's own "not found in the cache" errors also are
    except (*unreachable, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise Unavailable(
            f"Hub dataset {shown} cannot be fetched ({reason}): check its id, its revision and the network"
        ) from None
    except ValueError as error:  # an unknown split or subset; the message lists those that exist
        raise InputError(f"Hub dataset {shown}: {_first_line(error)}") from None


def _from_hub(part: HubPart, columns: Columns) -> tuple[Rows, str]:
    import datasets

    shown = _shown(part)
    commit = hub_commit(part.hub, part.revision, shown)
    # a fresh cache folder: nothing of another revision can be found in it, and nothing stays there
    with hub_failures(shown), tempfile.TemporaryDirectory() as scratch:
        # hf://, because a folder of the same name in the working directory would win over a bare id. No code of
        # the dataset runs: `datasets` 5 knows no loading scripts and has no switch for them
        table = datasets.load_dataset(
            f"hf://datasets/{part.hub}", part.subset, split=part.split, revision=commit, cache_dir=scratch
        )
        check_columns(table.column_names, f"Hub dataset {shown}", columns)
        feature = table.features[columns.label]
        values: list[object] = list(table[columns.label])
        if isinstance(feature, datasets.ClassLabel):  # stored as numbers, -1 where the label is withheld
            if values and all(value == -1 for value in values):
                raise InputError(withheld(f"Hub dataset {shown}"))
            values = [None if value in (None, -1) else feature.names[cast(int, value)] for value in values]
        texts = [list(table[name]) for name in columns.texts]
        numbered = enumerate(zip(*texts, values, strict=True), start=1)
        return collect(numbered, f"Hub dataset {shown}", "row", columns), commit


def _shown(part: HubPart) -> str:
    subset = f" ({part.subset})" if part.subset else ""
    return f"{part.hub}{subset} at {part.revision or 'its newest revision'}, split {part.split}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_cached(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFault(
            f"cannot read {path} ({error.strerror}): correct its permissions, or remove it"
        ) from None


def _write_whole(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path} ({error.strerror}): make room there, or set L3STUDY_CACHE to another folder"
        ) from None
