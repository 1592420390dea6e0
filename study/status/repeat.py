"""The command that runs some trials of a study and nothing else, checked against the plan before it is printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from l3masking.errors import InputError
from study.plan.grid import make_plan, narrow
from study.plan.resolved import Resolved, pinned
from study.plan.trials import Trial
from study.space.reader import read_space
from study.space.relevant import LATER
from study.space.spec import SECTIONS, StudySpec, plain
from study.space.yaml import parse_yaml
from study.store.places import Place

NAMED_SECTIONS = ("encoders", "datasets", "policies", "variants")  # sections whose entries can be set one by one
WHOLE = ("search", "pairs")  # set as a whole: they are lists, or their keys contain dots


def repeat_command(
    root: Path, resolved: Resolved, who: Mapping[str, Any], trajectory: str, settings: Mapping[str, Any], out: Path
) -> str | None:
    """`l3study run ...` for the training with this key, into the folder `out`; None if no command can.

    `who`: encoder, dataset, method, variant and seed. --set adds what the copied space file lacks (--set of the
    run, absolute paths, pinned commits).
    """
    space = root / "space.yaml"
    try:
        given = read_space(space, runs=False)
    except InputError:
        return None  # a relative path of another folder, or a key of an earlier version
    sets = differences(given, resolved.spec)
    for more in ([], _own(resolved.spec, who, settings)):
        variant = None if more else who["variant"]
        only = f"encoder={who['encoder']},dataset={who['dataset']},method={who['method']}"
        only += f",variant={variant or 'plain'},seed={who['seed']}"
        if _runs(space, [*sets, *more], only, resolved, trajectory):
            words = ["l3study", "run", str(space), "--out", str(out)]
            words += [word for text in (*sets, *more) for word in ("--set", text)]
            return shlex.join([*words, "--only", only])
    return None


def seeds_command(root: Path, resolved: Resolved, trials: Sequence[Trial], out: Place) -> str | None:
    """`l3study run ...` for these trials, seeds of one cell, under the settings of `resolved`; None if no command can.

    Settings of `resources` count: they may differ from those of the last run.
    """
    space, first = root / "space.yaml", trials[0]
    only = f"encoder={first.encoder},dataset={first.dataset},method={first.method},variant={first.variant or 'plain'}"
    only += "".join(f",seed={trial.seed}" for trial in trials)
    try:
        sets = differences(read_space(space, runs=False), resolved.spec)
    except InputError:
        return None
    if not _runs(space, sets, only, resolved, *(trial.trajectory for trial in trials)):
        return None
    words = ["l3study", "run", str(space), "--out", str(out)]
    return shlex.join([*words, *(word for text in sets for word in ("--set", text)), "--only", only])


def _runs(space: Path, sets: list[str], only: str, resolved: Resolved, *trajectories: str) -> bool:
    """Whether a run with these arguments trains the wanted trials and nothing else."""
    try:
        spec = pinned(read_space(space, sets, runs=False), resolved)
        chosen = narrow(make_plan(spec, resolved.identities, resolved.findings), [only])
    except InputError:
        return False
    return sorted(trial.trajectory for trial in chosen) == sorted(trajectories)


def _own(spec: StudySpec, who: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """--set arguments that give the plain row the settings of a training of an earlier plan."""
    now = {name: plain(getattr(spec, name)) for name in SECTIONS} | {"precision": spec.precision}
    texts = [f"seeds=[{who['seed']}]", "variants={}", "search=null"]
    for section, values in settings.items():
        if not isinstance(values, Mapping):
            texts += [f"{section}={written(values)}"] if values != now.get(section) else []
            continue
        for name, value in values.items():
            if value != now.get(section, {}).get(name):
                texts.append(f"{section}.{name}={written(value)}")
    for key, value in LATER.items():  # not named in `settings` where it has this value
        section, _, name = key.partition(".")
        if name not in settings.get(section, {name: value}) and now[section][name] != value:
            texts.append(f"{key}={written(value)}")
    return texts


def differences(given: StudySpec, wanted: StudySpec) -> list[str]:
    """--set arguments that turn one study into the other."""
    before, after = given.resolved(), wanted.resolved()
    texts: list[str] = []
    for key, value in after.items():
        if value == before[key]:
            continue
        if (
            key in NAMED_SECTIONS
            and value.keys() == before[key].keys()
            and all(_alike(value[n], before[key][n]) for n in value)
        ):
            for name, entry in value.items():
                own = {k: v for k, v in entry.items() if (key, k) != ("policies", "text")}  # code is in its file alone
                texts += [f"{key}.{name}.{k}={written(v)}" for k, v in own.items() if v != before[key][name][k]]
        elif isinstance(value, dict) and key not in (*NAMED_SECTIONS, *WHOLE):
            texts += [f"{key}.{k}={written(v)}" for k, v in value.items() if v != before[key][k]]
        else:
            texts.append(f"{key}={written(value)}")
    return texts


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys()


def written(value: Any) -> str:
    """A value as YAML on one line; a text has no quotes if it reads the same without."""
    if isinstance(value, str):
        try:
            read, problems = parse_yaml(value, "")
        except InputError:
            return json.dumps(value)
        return value if read == value and not problems else json.dumps(value)
    return json.dumps(value)
