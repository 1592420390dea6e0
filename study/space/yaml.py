"""YAML as a settings file needs it: numbers as in YAML 1.2, nothing silent, no tags, no bombs.

The library's safe loader reads `1e-5` as text, `on` as true, `010` as 8, and keeps the last of two equal keys. Here
`1e-5` is a number, only true and false are booleans, numbers are decimal, and an equal key, a NaN, an infinity or a
tag is a problem that is reported with its key path and line, all problems of a file at once.
"""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml

from l3masking.errors import InputError

MAX_BYTES = 1_000_000  # of a file
MAX_NODES = 100_000  # values after every alias is written out
TAG = "tag:yaml.org,2002:"
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
CORE_SCHEMA = [  # YAML 1.2, section 10.3.2, without octal and hexadecimal numbers; the last item: first characters
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", NOT_FINITE.pattern, list("-+.")),
]


class Problem(NamedTuple):
    """What is wrong at one place: a key path such as `optim.lr` ("" is the whole file), and one line about it."""

    path: str
    text: str


class _CoreResolver:
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {
        first: [
            (TAG + name, re.compile(rf"(?:{pattern})\Z")) for name, pattern, firsts in CORE_SCHEMA if first in firsts
        ]
        for first in {first for _, _, firsts in CORE_SCHEMA for first in firsts}
    }


class _Loader(_CoreResolver, yaml.SafeLoader):
    """Composes nodes only; `_Builder` makes values of them."""


class _Dumper(_CoreResolver, yaml.SafeDumper):
    """Quotes exactly the text that `_Loader` would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def read_yaml(path: Path) -> tuple[Any, list[Problem]]:
    """The value in a file, and what is wrong with it; InputError where it cannot be read or is no YAML at all."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes, which no settings file needs")
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> tuple[Any, list[Problem]]:
    """The value of one YAML document and what is wrong with it; `source` names the document in errors."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{source}{line}: not YAML ({error.problem or error.context})") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise InputError(f"{source}: not YAML ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise InputError(f"{source}: nested too deeply") from error
    builder = _Builder(source)
    return (None if node is None else builder.value(node, "")), builder.problems


def dump_yaml(value: Any) -> str:
    """Block-style YAML that `parse_yaml` reads back as the same value."""
    text: str = yaml.dump(
        copy.deepcopy(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )
    return text


class _Builder:
    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._count = 0
        self._open: set[int] = set()  # nodes that are being built: one inside itself is an endless value

    def value(self, node: yaml.Node, path: str) -> Any:
        """The plain value of a node; what is wrong below it is noted under its place in the file."""
        self._count += 1
        if self._count > MAX_NODES or id(node) in self._open:
            raise InputError(f"{self.source}: aliases (*name) blow the file up beyond {MAX_NODES} values")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        known = TAG + ("seq" if isinstance(node, yaml.SequenceNode) else "map")
        if node.tag != known:
            self._problem(path, node, f"the tag {node.tag.removeprefix(TAG)} is not allowed; write plain values")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: str) -> dict[str, Any]:
        built: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, path)
            if not isinstance(key, str):
                self._problem(path, key_node, f"the key {key!r} is not text; quote it if it is meant as a name")
                continue
            inner = f"{path}.{key}" if path else key
            if key in built:
                self._problem(inner, key_node, f"stands here a second time (first on line {lines[key]}); keep one")
                continue
            lines[key] = key_node.start_mark.line + 1
            built[key] = self.value(value_node, inner)
        return built

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        kind, text = node.tag.removeprefix(TAG), str(node.value)
        if kind == "str":
            if any("\ud800" <= character <= "\udfff" for character in text):
                self._problem(path, node, "holds half of a surrogate pair, which no file can keep")
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            if kind == "int":
                return int(text)
            if kind == "float":
                number = math.nan if NOT_FINITE.fullmatch(text) else float(text)
                if not math.isfinite(number):
                    self._problem(path, node, f"{text} is not a finite number")
                    return None
                return number
        except ValueError:  # more digits than Python converts, or a tag that does not fit its value
            self._problem(path, node, f"{text[:40]} is not a number of use here")
            return None
        self._problem(path, node, f"the tag {kind} is not allowed; write plain values")
        return None

    def _problem(self, path: str, node: yaml.Node, text: str) -> None:
        self.problems.append(Problem(path, f"line {node.start_mark.line + 1}: {text}"))
