"""resolved.yaml: a study with every default and every identity written out, and what has changed since it was."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from l3masking.encoders.table import EncoderSpec
from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.searches import Findings
from study.plan.trials import Identities
from study.space.reader import make_space
from study.space.relevant import FORMER
from study.space.spec import SECTIONS, StudySpec, plain
from study.space.yaml import dump_yaml, read_yaml
from study.store.newer import refuse_newer
from study.store.places import Place, opened
from study.store.store import write_atomic

RESOLVED_FILE = "resolved.yaml"
CHECKSUM_MARK = b"# checksum of what follows: "
RESOLVED_SCHEMA = 1  # what a file without the key `schema` has, as all that are written now


class Resolved(NamedTuple):
    """A study, what its encoders and datasets are, and what its searches have found."""

    spec: StudySpec
    identities: Identities
    findings: Findings = MappingProxyType({})


class Changes(NamedTuple):
    """What differs from an earlier plan, as far as it may change results."""

    keys: list[str]  # dotted
    cells: list[str]  # whose trainings get new keys, in the order of the plan


def write_resolved(root: Path, resolved: Resolved) -> None:
    """Write `root`/resolved.yaml: a first line with a checksum of the rest, then the study."""
    text = dump_yaml(_plain(resolved)).encode()
    write_atomic(root / RESOLVED_FILE, _checksum_line(text) + text)


def read_resolved(root: Path) -> Resolved | None:
    """What `write_resolved` wrote, or None if there is nothing; InputError where it cannot be read any more.

    Nothing of it is run: a study may be somebody else's.
    """
    path = root / RESOLVED_FILE
    if not path.exists():
        return None
    first, _, rest = path.read_bytes().partition(b"\n")
    if first.startswith(CHECKSUM_MARK) and first + b"\n" != _checksum_line(rest):  # older files have none
        raise InputError(
            f"{path}: damaged, its checksum does not match its content; restore the file, or remove it and run the "
            "study again; if you changed it by hand, remove its first line"
        )
    value, problems = read_yaml(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected keys and values; remove the file and run the study again")
    refuse_newer(path, value.pop("schema", None), RESOLVED_SCHEMA)
    known = value.pop("identities", None) or {}
    if not isinstance(known, dict):
        raise InputError(f"{path}: identities: expected encoders and datasets; remove the file and run the study again")
    findings = value.pop("findings", None) or known.get("found") or {}  # `found`: as written before 2026-11-27
    _as_then(value)
    spec = make_space(value, source=str(path), folder=root, problems=problems)
    names = [item.name for item in dataclasses.fields(Identities)]
    return Resolved(spec, Identities(**{name: known.get(name) or {} for name in names}), findings)


def _checksum_line(text: bytes) -> bytes:
    return CHECKSUM_MARK + hashlib.blake2b(text, digest_size=16).hexdigest().encode() + b"\n"


def _as_then(value: dict[str, Any]) -> None:
    """A study written before 2026-12 has no `model.forward`: it took each model's own pass.

    In one that has no `model.attend_padding` either, `meta.dev_mode: train` means what `once` means now.
    """
    model, meta = value.get("model"), value.get("meta")
    if not isinstance(model, dict) or not isinstance(meta, dict):
        return
    model.setdefault("forward", FORMER["model.forward"])
    if "attend_padding" in model:
        return
    variants = value.get("variants") or {}
    for part, key in [(meta, "dev_mode"), *((overrides, "meta.dev_mode") for overrides in variants.values())]:
        if part.get(key) == "train":
            part[key] = "once"


def planned(root: Path) -> Resolved:
    """The study as it was last resolved in `root`; InputError where there is none."""
    resolved = read_resolved(root)
    if resolved is None:
        raise _no_study(root)
    return resolved


def opened_study(place: Place) -> Path:
    """The folder of a study for reading, as `opened` gives it; InputError, with the place's own name, without one."""
    root = opened(place)
    if not (root / RESOLVED_FILE).is_file():
        raise _no_study(place)
    return root


def _no_study(place: Place) -> InputError:
    return InputError(
        f"{place}: no study here ({RESOLVED_FILE} is missing); give the folder or URL that `l3study run` wrote to"
    )


def pinned(spec: StudySpec, before: Resolved | None) -> StudySpec:
    """The study with its Hub encoders held at the commits of an earlier run: a branch that moves changes nothing.

    A revision that the space file names, or another Hub id, goes its own way.
    """
    if before is None:
        return spec
    encoders = dict(spec.encoders)
    for name, entry in spec.encoders.items():
        earlier, commit = before.spec.encoders.get(name), before.identities.encoders.get(name)
        if isinstance(entry, EncoderSpec) and isinstance(earlier, EncoderSpec) and entry.hub and commit:
            same = earlier.hub == entry.hub and entry.revision in (None, earlier.revision)
            encoders[name] = dataclasses.replace(entry, revision=commit) if same else entry
    return dataclasses.replace(spec, encoders=encoders)


def changed(now: Resolved, before: Resolved) -> Changes:
    """The settings and identities that differ, and the cells of both plans whose trainings have other keys now.

    What only one of the two has (a further encoder, more seeds) has not changed. Evaluation sets have: they are part of
    the keys of their dataset's trainings. What is not available is not compared.
    """
    new, old = _relevant(now), _relevant(before)
    keys = [key for key in old if key in new and new[key] != old[key]]
    for name in (name for name in before.identities.datasets if name in now.identities.datasets):
        there, gone = (set(one.identities.evaluations.get(name, {})) for one in (now, before))
        keys += [f"datasets.{name}.evaluation_sets.{one} (new)" for one in sorted(there - gone)]
        keys += [f"datasets.{name}.evaluation_sets.{one} (removed)" for one in sorted(gone - there)]
    fresh, stale = _trajectories(now), _trajectories(before)
    moved = [place[:4] for place in fresh if stale.get(place, fresh[place]) != fresh[place]]
    return Changes(keys, [" / ".join(part for part in cell if part) for cell in dict.fromkeys(moved)])


def _trajectories(resolved: Resolved) -> dict[tuple[str, str, str, str | None, int], str]:
    trials = make_plan(*resolved)
    known = (t for t in trials if t.revision is not None and t.data_hash is not None and not t.pending)
    return {(*t.cell, t.seed): t.trajectory for t in known}


def _plain(resolved: Resolved) -> dict[str, Any]:
    return resolved.spec.resolved() | {"identities": plain(resolved.identities), "findings": plain(resolved.findings)}


def _relevant(resolved: Resolved) -> dict[str, Any]:
    """Dotted key -> value of all that may change results. Where things lie does not: what they are does."""
    whole = _plain(resolved)
    return _flat({key: whole[key] for key in (*SECTIONS, "precision", "variants", "identities")}, "")


def _flat(value: Mapping[str, Any], path: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        place = f"{path}.{key}" if path else key
        flat |= _flat(inner, place) if isinstance(inner, Mapping) else {place: inner}
    return flat
