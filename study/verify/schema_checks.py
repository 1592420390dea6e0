"""Whether a value read from JSON has the layout of one of the types in study.store."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
from numpy.typing import NDArray

PLAIN: dict[object, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def layout_problems(value: object, kind: Any, place: str = "") -> Iterator[str]:
    """What is not as `kind` says: fields that are missing or unknown, values of another type. kind: a TypedDict, say.

    place: name of the value within its file, with a dot behind it; empty for the whole file.
    """
    origin, name = get_origin(kind), place.rstrip(".") or "the file"
    if kind is Any or kind is object:
        return
    if origin is NotRequired:
        yield from layout_problems(value, get_args(kind)[0], place)
    elif is_typeddict(kind):
        yield from _fields(value, kind, place)
    elif origin in (Union, types.UnionType):
        choices = [list(layout_problems(value, one, place)) for one in get_args(kind)]
        if all(choices):
            yield min(choices, key=len)[0]
    elif origin is list:
        inner = get_args(kind)[0]
        if not isinstance(value, list):
            yield f"{name} is not a list"
        elif inner in PLAIN:
            if not _are(value, inner):
                yield f"{name} holds something else than {PLAIN[inner]}"
        else:
            for number, one in enumerate(value):
                yield from layout_problems(one, inner, f"{place.rstrip('.')}[{number}].")
    elif origin in (dict, Mapping):
        if not isinstance(value, dict):
            yield f"{name} is not an object"
        else:
            for key, one in value.items():
                yield from layout_problems(one, get_args(kind)[1], f"{place}{key}.")
    elif kind is type(None):
        if value is not None:
            yield f"{name} is not null"
    elif kind in PLAIN:
        if not _is(value, kind):
            yield f"{name} is not {PLAIN[kind]}"
    else:  # an array, which no file holds
        yield f"{name} has another type"


def _fields(value: object, kind: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place.rstrip('.') or 'the file'} is not an object"
        return
    hints = _hints(kind)
    for name in sorted(kind.__required_keys__ - value.keys()):
        yield f"lacks the field {place}{name}"
    for name in sorted(value.keys() - hints.keys()):
        yield f"has the field {place}{name}, which this program does not know"
    for name in sorted(value.keys() & hints.keys()):
        yield from layout_problems(value[name], hints[name], f"{place}{name}.")


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, localns={"np": np, "NDArray": NDArray}, include_extras=True)


def _are(values: list[object], kind: object) -> bool:
    """Whether all values are of a plain type; predictions are tens of thousands."""
    found = set(map(type, values))
    if kind is float:
        return found <= {int, float} and all(map(math.isfinite, values))  # type: ignore[arg-type]  # numbers by now
    return found <= {kind}


def _is(value: object, kind: object) -> bool:
    return _are([value], kind)
