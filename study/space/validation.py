"""Values from a settings file into the frozen dataclasses of l3masking, every problem at once and in plain words.

pydantic does the checking, in strict JSON mode: a boolean or a text is no number there, and a list may be a tuple.
What the dataclasses themselves refuse (ranges) arrives as their own one-line message.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from typing import Any, TypeVar, cast, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from l3masking.errors import nearest as nearest
from study.space.yaml import Problem

T = TypeVar("T")

HUB_TOKEN = re.compile(r"\bhf_\w{10,}")
TEXTS = "tuple[str, ...]"  # what pydantic calls the second type of a value that is `str | tuple[str, ...]`
OR_WORD = {  # what it calls the second type of a number that may also be a word -> our own kind of refusal
    "literal['per_seed']": "seed_type",
    "literal['auto']": "share_type",
}
WANTED = {  # pydantic's error types, in the words of a settings file
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "bool_type": "true or false",
    "string_type": "text (in quotes where it looks like a number, true or false)",
    "tuple_type": "a list",
    "texts_type": "text or a list of texts",  # our own, for the union of TEXTS
    "seed_type": "a whole number, or per_seed",  # our own, as the next one
    "share_type": "a number, or auto",
    "list_type": "a list",
    "dict_type": "keys and values",
    "dataclass_type": "keys and values",
    "missing": "a value; it has no default",
}


def build(cls: Callable[..., T], value: object, path: str, problems: list[Problem]) -> T | None:
    """`value` as a `cls`, or None with everything that is wrong with it appended to `problems` (paths under `path`)."""
    try:
        built: T = _adapter(cls).validate_json(json.dumps(value), strict=True)
        return built
    except ValidationError as error:
        refusals = _one_per_value([dict(found) for found in error.errors(include_url=False)])
    for refusal in refusals:
        if refusal["type"] == "value_error":
            component, place = _component(cls, refusal["loc"]), joined(path, *refusal["loc"])
            given = reduce(lambda inner, part: inner[part], refusal["loc"], cast(Any, value))
            problems += [_placed(component, place, line) for line in _range_errors(component, given, refusal)]
        else:
            problems.append(_explained(cls, path, refusal))
    return None


def shown(value: object) -> str:
    """`value` for an error line: short, on one line, without anything that looks like a token."""
    text = HUB_TOKEN.sub("hf_…", json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else text[:57] + "..."


def joined(path: str, *parts: object) -> str:
    """A key path: `optim.betas[1]`."""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


@cache
def _adapter(cls: Any) -> TypeAdapter:
    return TypeAdapter(cls)


def _one_per_value(refusals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """pydantic refuses a value of `str | tuple[str, ...]` once as text and once as a list; here it is refused once."""
    refusals = _one_per_number(refusals)
    as_text = {(*loc[: loc.index(TEXTS)], "str") for refusal in refusals if TEXTS in (loc := refusal["loc"])}
    made = []
    for refusal in refusals:
        if TEXTS in refusal["loc"]:
            kind = "texts_type" if refusal["type"] == "tuple_type" else refusal["type"]
            made.append(refusal | {"loc": tuple(part for part in refusal["loc"] if part != TEXTS), "type": kind})
        elif refusal["loc"] not in as_text:
            made.append(refusal)
    return made


def _one_per_number(refusals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for a number that may also be a word of OR_WORD."""
    kinds = {loc[:-1]: OR_WORD[loc[-1]] for refusal in refusals if (loc := refusal["loc"]) and loc[-1] in OR_WORD}
    return [
        refusal | {"loc": refusal["loc"][:-1], "type": kinds[refusal["loc"][:-1]]}
        if refusal["loc"][:-1] in kinds
        else refusal
        for refusal in refusals
        if refusal["loc"][-1:] == () or refusal["loc"][-1] not in OR_WORD
    ]


def _component(cls: Any, loc: Sequence[str | int]) -> Any:
    """The dataclass to which a path inside `cls` leads, through tables of names such as `evaluation_sets`."""
    for part in loc:
        cls = get_type_hints(cls)[str(part)] if dataclasses.is_dataclass(cls) else get_args(cls)[-1]
    return cls


def _explained(cls: Any, path: str, refusal: Mapping[str, Any]) -> Problem:
    place = joined(path, *refusal["loc"])
    kind, given = refusal["type"], shown(refusal["input"])
    if kind == "unexpected_keyword_argument":
        key = str(refusal["loc"][-1])
        names = [field.name for field in dataclasses.fields(_component(cls, refusal["loc"][:-1]))]
        return Problem(place, f"unknown key (its value: {given}); {nearest(key, names)}")
    if kind == "missing":
        return Problem(place, f"needs {WANTED[kind]}")
    if kind == "literal_error":
        known = [str(name) for name in re.findall(r"'([^']*)'", refusal["ctx"]["expected"])]
        return Problem(place, f"{given} is not known; {nearest(str(refusal['input']), known)}")
    if kind == "too_long":
        return Problem(place, f"{given} has more than {refusal['ctx']['max_length']} entries")
    wanted = WANTED.get(kind, refusal["msg"].removeprefix("Input should be "))
    return Problem(place, f"{given} is not allowed; expected {wanted}")


def _range_errors(cls: Any, value: object, refusal: Mapping[str, Any]) -> list[str]:
    """The dataclass's own messages. It stops at its first, so each key is also tried alone, the rest at defaults."""
    first = str(refusal["ctx"]["error"])
    lines = []
    if isinstance(value, dict):
        missing = (dataclasses.MISSING, dataclasses.MISSING)
        needed = {field.name for field in dataclasses.fields(cls) if (field.default, field.default_factory) == missing}
        for key in value:
            alone = {name: value[name] for name in value if name == key or name in needed}
            try:
                _adapter(cls).validate_json(json.dumps(alone), strict=True)
            except ValidationError as error:
                for found in error.errors(include_url=False):
                    line = str(found.get("ctx", {}).get("error", ""))
                    if re.match(rf"(\w+\.)?{re.escape(key)} is ", line) and line not in lines:
                        lines.append(line)
    return lines if first in lines else [first, *lines]


def _placed(cls: Any, path: str, line: str) -> Problem:
    """ "optim.lr is 0: ..." belongs to the key `lr` of this component, wherever in the file that stands."""
    said = re.match(r"(?:\w+\.)?(\w+) is ", line)
    if said and said[1] in {field.name for field in dataclasses.fields(cls)}:
        return Problem(joined(path, said[1]), line[said.end(1) + 1 :])
    return Problem(path, line)
