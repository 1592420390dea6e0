"""One training of a study, named by a key: its settings, its state, and the command that repeats it alone."""

from __future__ import annotations

import dataclasses
import difflib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3masking.errors import InputError
from study.estimate.times import duration
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, planned
from study.report.layout import printable
from study.results.aggregate import first_best
from study.space.search_section import SEARCH_FOLDER
from study.space.spec import SECTIONS, plain
from study.status.progress import read_view
from study.status.repeat import repeat_command
from study.store.record import CurvePoint, Failure, Record
from study.store.store import Store

SHORTEST = 4  # digits of a key; enough if only one key begins with them
POINTS = 8  # points of a curve that are shown
KEYS_SHOWN = 5  # similar keys, or keys with the same beginning, in a message
NAMES = ("encoder", "dataset", "method", "variant", "seed")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a key names: a training, with all its objectives or one of them."""

    who: Mapping[str, Any]  # encoder, dataset, method, variant, seed
    trajectory: str | None  # None if only a failure of an earlier plan is left; so are the three below
    settings: Mapping[str, Any] | None
    revision: str | None  # of the encoder
    data_hash: str | None  # of the dataset
    keys: Mapping[str, str]  # objective -> key of its record
    store: Store  # holds its records and failures
    planned: bool  # False: it belongs to earlier settings or to a search
    pending: bool = False  # a search has not found its setting yet


def explain(root: Path, key: str) -> str:
    """All that is known about the training or record whose key is, or begins with, `key` (at least 4 digits).

    Raises InputError for a folder without a study, and for a key that names nothing or several things.
    """
    resolved = planned(root)
    subject = find(root, resolved, key)
    store = subject.store
    records = {name: record for name, k in subject.keys.items() if (record := store.read(k)) is not None}
    failures = {name: found for name, k in subject.keys.items() if (found := store.failure(k)) is not None}
    lines = [" / ".join(str(subject.who[name]) for name in NAMES[:4] if subject.who[name])]
    lines += [
        f"state     {_state(root, subject, records, failures)}",
        f"training  {subject.trajectory or 'unknown: it belongs to an earlier plan'}",
        f"seed      {subject.who['seed']}",
        f"encoder   {subject.who['encoder']} at {subject.revision or 'unknown'}",
        f"data      {subject.who['dataset']} with content {subject.data_hash or 'unknown'}",
    ]
    for objective, record_key in subject.keys.items():
        lines += ["", f"{objective}: {record_key}"]
        if objective in records:
            lines += _of_record(records[objective], store.root / "records" / f"{record_key}.json")
        elif objective in failures:
            lines += _of_failure(failures[objective], store.root / "failures" / f"{record_key}.json")
        else:
            lines.append("  no record yet")
    lines += ["", *settings_lines(subject.settings)] if subject.settings is not None else []
    lines += ["", *_repeat(root, resolved, subject, done=len(records) == len(subject.keys))]
    return printable("\n".join(lines))


def find(root: Path, resolved: Resolved, prefix: str) -> Subject:
    """The training or record, planned or recorded, whose key begins with these digits."""
    prefix = prefix.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}", prefix):
        raise InputError(f"key {prefix!r}: expected {SHORTEST} to 32 hexadecimal digits, such as those in records/")
    names: dict[str, Subject] = {}  # the plan comes first, so that its trainings are shown with their current settings
    for subject in _subjects(root, resolved):
        if subject.trajectory is not None:
            names.setdefault(subject.trajectory, subject)
        for objective, key in subject.keys.items():
            names.setdefault(key, dataclasses.replace(subject, keys={objective: key}))
    found = sorted(key for key in names if key.startswith(prefix))
    if len(found) == 1:
        return names[found[0]]
    if found:
        raise InputError(f"{len(found)} keys begin with {prefix}: {', '.join(found[:KEYS_SHOWN])}; give more digits")
    begins = {key[: len(prefix)]: key for key in names}
    near = [begins[begin] for begin in difflib.get_close_matches(prefix, begins, n=KEYS_SHOWN, cutoff=0.5)]
    hint = f"nearest: {', '.join(near)}" if near else f"none of the {len(names)} keys is near"
    raise InputError(f"{root}: no training or record has the key {prefix}; {hint}")


def _subjects(root: Path, resolved: Resolved) -> list[Subject]:
    """Everything that has a key; planned trainings come first."""
    store = Store(root)
    subjects = [
        Subject(
            who={name: getattr(trial, name) for name in NAMES},
            trajectory=trial.trajectory,
            settings=trial.settings,
            revision=trial.revision,
            data_hash=trial.data_hash,
            keys=trial.keys,
            store=store,
            planned=True,
            pending=trial.pending,
        )
        for trial in make_plan(*resolved)
    ]
    others: dict[str, Subject] = {}
    for place in (store, Store(root / SEARCH_FOLDER)):
        files: list[Record | Failure] = [*place.records(), *place.failures()]
        for file in files:
            subject = _of_file(file, place)
            name = subject.trajectory or file["key"]
            subject = others.setdefault(name, subject)
            keys = {**subject.keys, str(file.get("objective")): file["key"]}
            others[name] = dataclasses.replace(subject, keys=keys)
    return [*subjects, *others.values()]


def _of_file(file: Record | Failure, store: Store) -> Subject:
    """The subject that a record or a failure describes."""
    fields: Mapping[str, Any] = file  # a failure has fewer of them
    return Subject(
        who={name: fields.get(name) for name in NAMES},
        trajectory=fields.get("trajectory"),
        settings=fields.get("settings"),
        revision=fields.get("revision"),
        data_hash=fields.get("data_hash"),
        keys={},
        store=store,
        planned=False,
    )


def _state(root: Path, subject: Subject, records: Mapping[str, Record], failures: Mapping[str, Failure]) -> str:
    view = read_view(root)
    running = view.running if view is not None and view.alive() else ()
    since = next((entry.since for entry in running if entry.key == subject.trajectory), None)
    where = "" if subject.planned else ", of a search or of earlier settings: not in the plan"
    if since is not None:
        return f"running for {duration(max(0.0, time.time() - since))}{where}"
    if len(records) == len(subject.keys):
        return f"done{where}"
    if failures:
        return f"failed: {next(iter(failures.values()))['reason']}; the next `l3study run` tries it again{where}"
    if subject.pending:
        return "waiting for the search that finds its setting"
    return f"waiting{where}"


def _of_record(record: Record, path: Path) -> list[str]:
    run, objective = record.get("run", {}), record["objective"]
    lines = [
        f"  test        {_percent(record.get('test', {})) or 'not looked at: it belongs to a search'}",
        *(f"  on {name:<8} {_percent(found['metrics'])}" for name, found in record.get("evaluations", {}).items()),
        f"  validation  {objective} {100 * record['validation'][objective]:.2f} %",
        f"  epochs      {first_best(record):.2f} to best, {record['epochs_to_stop']:.2f} to stop "
        f"({record['updates']} updates)",
        *_curve(record["curve"], objective),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items())
    lines += [
        f"  run         {duration(run.get('seconds', 0.0))} on {run.get('host')} ({run.get('device')}, "
        f"{run.get('threads')} threads), started {run.get('started')}, attempt {run.get('attempts')}",
        f"              {versions}",
        f"              program {run.get('commit') or 'of no known commit'}",
        f"  file        {path}",
    ]
    return lines


def _percent(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:.2f} %" for name, value in metrics.items())


def _curve(curve: Sequence[CurvePoint], objective: str) -> list[str]:
    """A few points of a curve, including the last one."""
    step = max(1, -(-len(curve) // POINTS))
    chosen = [*curve[step - 1 :: step]]
    chosen += curve[-1:] if curve and (not chosen or chosen[-1] is not curve[-1]) else []
    lines = []
    for point in chosen:
        losses = ", ".join(f"{name} loss {value:.3f}" for name, value in point["train_loss"].items())
        value = 100 * point["validation"][objective]
        lines.append(f"    update {point['update']:>6}  epoch {point['epoch']:>6.2f}  {value:6.2f} %  {losses}")
    return [f"  curve       {len(curve)} evaluations", *lines]


def _of_failure(failure: Failure, path: Path) -> list[str]:
    attempts = failure.get("attempts")
    trace = [f"    {line}" for line in str(failure.get("traceback") or "no traceback: its process died").splitlines()]
    return [f"  failed      {failure['reason']}", f"  attempts    {attempts}", *trace, f"  file        {path}"]


def settings_lines(settings: Mapping[str, Any]) -> list[str]:
    """The settings that differ from their defaults, one per line; then the others, one line per section."""
    defaults: dict[str, Any] = {name: plain(cls()) for name, cls in SECTIONS.items()} | {"precision": "float32"}
    own: list[str] = []
    rest: list[str] = []
    for section, values in settings.items():
        if not isinstance(values, Mapping):
            changed = values != defaults.get(section)
            (own if changed else rest).append(f"{section} {values}" + (" (default float32)" if changed else ""))
            continue
        usual = defaults.get(section, {})
        own += [f"{section}.{k} {v} (default {usual.get(k)})" for k, v in values.items() if v != usual.get(k)]
        same = [f"{k} {v}" for k, v in values.items() if v == usual.get(k)]
        rest += [f"{section}: {', '.join(same)}"] if same else []
    first = ["settings that differ from the defaults:", *(f"  {line}" for line in own or ["none"])]
    return [*first, "settings at their defaults:", *(f"  {line}" for line in rest or ["none"])]


def _repeat(root: Path, resolved: Resolved, subject: Subject, *, done: bool) -> list[str]:
    """The command that repeats a training. It uses another folder if the training is done, else nothing would run."""
    out = root.with_name(f"{root.name}-again") if done else root
    command = None
    if subject.trajectory is not None and subject.settings is not None and not subject.pending:
        command = repeat_command(root, resolved, subject.who, subject.trajectory, subject.settings, out)
    if command is None:
        return ["no `l3study run` repeats it alone (it belongs to a search, or to settings that are gone)"]
    return ["to repeat it alone:" if done else "to run it alone:", f"  {command}"]
