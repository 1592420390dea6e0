"""`--set a.b=value`: one key of a space file, changed from the command line. The value is YAML, as in the file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from l3masking.errors import InputError
from study.space.validation import nearest
from study.space.yaml import Problem, parse_yaml


def apply_sets(
    raw: dict[str, Any], sets: Sequence[str], registries: Mapping[str, Mapping[str, Any]], problems: list[Problem]
) -> list[str]:
    """Change `raw` in place and return the key paths that were made or set; what cannot be done goes to `problems`.

    Unknown keys inside a component are left to its own check. A name under `encoders`, `datasets` or `variants` must
    be declared already, or be in `registries[...]`, whose entry is then copied into the file's: a misspelt name must
    not become a new encoder.
    """
    changed: list[str] = []
    for text in sets:
        path, equals, value_text = text.partition("=")
        path = path.strip()
        if not equals or not path:
            raise InputError(f"--set {text!r}: expected key=value, such as optim.lr=1e-5")
        value, wrong = parse_yaml(value_text, f"--set {path}")
        problems += [Problem(path, f"{problem.text} (in {value_text!r})") for problem in wrong]
        parts = path.split(".")
        top = parts[0]
        if len(parts) > 1 and top in ("encoders", "datasets", "variants"):
            _set_named(raw, top, parts[1:], value, registries.get(top, {}), problems)
        else:
            changed += _set(raw, parts, value, path, problems)
        changed.append(path)
    return changed


def _set_named(
    raw: dict[str, Any], kind: str, parts: list[str], value: Any, registry: Mapping[str, Any], problems: list[Problem]
) -> None:
    given = raw.get(kind)
    declared: dict[str, Any] = given if isinstance(given, dict) else {}
    known = dict.fromkeys([*declared, *registry])
    # names may hold dots, so the longest run of parts that is a name is the name
    runs = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    name = next((run for run in runs if run in known), None)
    if name is None:
        problems.append(Problem(f"{kind}.{'.'.join(parts)}", f"no {kind} of this name; {nearest(parts[0], known)}"))
        return
    rest = parts[name.count(".") + 1 :]
    if name not in declared:
        declared = {**declared, name: copy.deepcopy(registry[name])}
    raw[kind] = declared
    if not rest:
        declared[name] = value
    elif kind == "variants":
        _set(declared[name], [".".join(rest)], value, f"{kind}.{name}", problems)
    else:
        _set(declared[name], rest, value, f"{kind}.{name}", problems)


def _set(container: Any, parts: list[str], value: Any, path: str, problems: list[Problem]) -> list[str]:
    """Set `container[a][b]...`; a number goes into a list, a missing mapping on the way is made and returned."""
    made = []
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(container, dict):
            if last:
                container[part] = value
                break
            if container.get(part) is None:
                container[part] = {}
                made.append(".".join(parts[: depth + 1]))
            container = container[part]
        elif isinstance(container, list) and part.isdecimal() and int(part) < len(container):
            if last:
                container[int(part)] = value
                break
            container = container[int(part)]
        else:
            where = f"a list of {len(container)} entries" if isinstance(container, list) else "no keys and values"
            problems.append(Problem(path, f"{part!r} cannot be set: what it would go into has {where}"))
            break
    return made


def dotted(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{masking: {mean: 0.3}} and {masking.mean: 0.3} mean the same."""
    flat: dict[str, Any] = {}
    for key, value in overrides.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat
