"""A record as bytes with its checksum, and back only where they agree.

The deterministic part comes first, in canonical form, and `checksum` and `run` come last. So the checksum of a file
that `seal` made is that of its first bytes, and reading thousands of records costs one parse each. A file that was
laid out otherwise (indented by hand, say) is brought into canonical form again before its checksum is judged. `run` and
other files that hold a checksum of their own in a field do it with `with_checksum` and `verified`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from study.store.record import SCHEMA, NewRecord, Record
from study.store.whole_files import canonical

CHECKSUM = "checksum"  # name of the field
APART = (CHECKSUM, "run")  # all the rest is deterministic
SEAM = b',"checksum":"'


class DamagedError(Exception):
    """Why a file is not what its name promises."""


class NewerError(DamagedError):
    """It is what a later version of this program promises."""


def checksum(record: NewRecord) -> str:
    """32 hexadecimal digits over everything but `run` and `checksum`; ValueError where it holds a NaN or infinity."""
    return _digest(canonical({name: value for name, value in record.items() if name not in APART}))


def seal(record: NewRecord) -> bytes:
    """The bytes of `record` with its checksum; ValueError where it holds a NaN or an infinity."""
    body = canonical({name: value for name, value in record.items() if name not in APART})
    end = {"checksum": _digest(body)} | ({"run": with_checksum(record["run"])} if "run" in record else {})
    return body[:-1] + b"," + canonical(end)[1:]


def unseal(raw: bytes, key: str) -> Record:
    """The record in `raw`; DamagedError where it is torn, changed, of another schema, or not the record of `key`."""
    record = _as_sealed(raw, key)
    if record is None:
        record = cast(Record, parse(raw, key))
        try:
            if record.get("checksum") != checksum(record):
                raise DamagedError("its checksum does not match its content")
        except (ValueError, RecursionError) as error:
            raise DamagedError("holds a number that is not finite") from error
    schema = record.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        raise (NewerError if newer else DamagedError)(f"schema {schema!r}, this program reads {SCHEMA}")
    if not verified(record.get("run", {})):
        raise DamagedError("the checksum of its `run` does not match its content")
    return record


def with_checksum(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields and `checksum`, which is over all others; ValueError where they hold a NaN or an infinity."""
    rest = {name: value for name, value in fields.items() if name != CHECKSUM}
    return rest | {CHECKSUM: _digest(canonical(rest))}


def verified(fields: object) -> bool:
    """Whether the fields are those that `with_checksum` saw. Without a checksum they are of an earlier version."""
    if not isinstance(fields, dict):
        return False
    try:
        return CHECKSUM not in fields or fields == with_checksum(fields)
    except (ValueError, RecursionError):
        return False


def parse(raw: bytes, key: str) -> dict[str, Any]:
    """The JSON object in `raw`, whose `key` must be `key`, else DamagedError; nothing else is checked."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DamagedError("not whole JSON") from error
    if not isinstance(value, dict):
        raise DamagedError("not a JSON object")
    if value.get("key") != key:
        raise DamagedError(f"holds the key {value.get('key')!r}")
    return value


def _as_sealed(raw: bytes, key: str) -> Record | None:
    """The record where `raw` is laid out as `seal` does it and its checksum is right, else None."""
    body, seam, _ = raw.partition(SEAM)  # the first one: `run` has a checksum of its own
    body += b"}"
    try:
        end = json.loads(b"{" + raw[len(body) :])
    except (ValueError, RecursionError):
        return None
    if not seam or not end.keys() <= set(APART) or end["checksum"] != _digest(body):
        return None
    return cast(Record, {**parse(body, key), **end})


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
