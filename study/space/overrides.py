"""`--set a.b=value`: one key of a space file, changed from the command line. The value is YAML, as in the file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from l3masking.errors import InputError
from study.space.validation import nearest, shown
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
    start = 0
    while start < len(parts):
        end = _key_end(container, parts, start)
        key: Any = ".".join(parts[start:end])
        if isinstance(container, list) and key.isdecimal() and int(key) < len(container):
            key = int(key)
        elif not isinstance(container, dict):
            where = f"a list of {len(container)} entries" if isinstance(container, list) else "no keys and values"
            problems.append(Problem(path, f"{key!r} cannot be set: what it would go into has {where}"))
            break
        if end == len(parts):
            container[key] = value
        elif isinstance(container, dict) and container.get(key) is None:
            container[key] = {}
            made.append(".".join(parts[:end]))
        container, start = container[key], end
    return made


def _key_end(container: Any, parts: Sequence[str], start: int) -> int:
    """Behind the longest run of parts that is a key of `container`, since names may hold dots; or behind one part."""
    ends = range(len(parts), start + 1, -1) if isinstance(container, dict) else ()
    return next((end for end in ends if ".".join(parts[start:end]) in container), start + 1)


def complete_known(raw: dict[str, Any], registry: Mapping[str, Any], problems: list[Problem]) -> None:
    """Give each dataset of `raw` that has the key `known` what the dataset of this name has, but for its other keys."""
    given: Any = raw.get("datasets") if isinstance(raw.get("datasets"), dict) else {}
    for name, entry in given.items():
        if not isinstance(entry, dict) or "known" not in entry:
            continue
        own = {key: value for key, value in entry.items() if key != "known"}
        known = entry["known"]
        if not isinstance(known, str) or known not in registry:
            problems.append(
                Problem(f"datasets.{name}", f"known: {shown(known)} is no dataset; {nearest(str(known), registry)}")
            )
            given[name] = None
            continue
        base = copy.deepcopy(registry[known])
        if isinstance(sets := own.get("evaluation_sets"), dict):
            own["evaluation_sets"] = base.get("evaluation_sets", {}) | sets
        given[name] = base | own


def dotted(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{masking: {mean: 0.3}} and {masking.mean: 0.3} mean the same."""
    flat: dict[str, Any] = {}
    for key, value in overrides.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat
