"""The plan of a study: read from resolved.yaml without running anything, and held against the records."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.resolved import RESOLVED_FILE, Resolved, read_resolved
from study.plan.trials import Trial
from study.store.seal import DamagedError
from study.store.whole_files import KEY
from study.verify.untouched import Untouched
from study.verify.verification import Verification


class Claimed(NamedTuple):
    """What a study says that it is."""

    resolved: Resolved
    trials: list[Trial]

    @property
    def keys(self) -> dict[str, Trial]:
        """Key of a record -> its trial."""
        return {key: trial for trial in self.trials for key in trial.keys.values()}


def read_plan(folder: Untouched, verdict: Verification) -> Claimed | None:
    """The plan; None and a finding if it cannot be read."""
    verdict.checked["plan"] += 1
    try:
        folder.read(RESOLVED_FILE)
        resolved = read_resolved(folder.root)
        assert resolved is not None, "it was read just now"
        trials = make_plan(*resolved)
    except (DamagedError, InputError) as error:
        verdict.wrong(RESOLVED_FILE, f"cannot be read: {_line(error)}")
        return None
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        verdict.wrong(RESOLVED_FILE, f"cannot be read: {type(error).__name__}: {_line(error)}")
        return None
    for name in resolved.spec.policies:
        verdict.note(
            f"policy {name}: its code was not run, so what it masks was not checked; read it in {RESOLVED_FILE}"
        )
    return Claimed(resolved, trials)


def check_against_plan(claimed: Claimed, found: Collection[str], folder: Untouched, verdict: Verification) -> bool:
    """Say which records of the plan are missing, and which belong to none. `found`: keys of the records that are there.

    Returns whether all trials of the plan have a record or a failure.
    """
    wanted = claimed.keys
    stray = [key for key in found if key not in wanted]
    if found and len(stray) == len(found):
        many = f"none of the {len(found)} records belongs"
        verdict.wrong(RESOLVED_FILE, f"{many} to its plan: they were made with other settings, data or encoders")
        return False
    failed = {name.rpartition("/")[2].removesuffix(".json") for name in folder.names("failures", ".json")}
    missing: dict[tuple[str, ...], list[int]] = {}
    failures = 0
    for key, trial in wanted.items():
        if key in found or folder.has(f"records/{key}.json"):  # one that is damaged was said already
            continue
        if key in failed:
            failures += 1
            continue
        objective = next(name for name, own in trial.keys.items() if own == key)
        cell = tuple(part for part in (*trial.cell, objective) if part)
        missing.setdefault(cell, []).append(trial.seed)
    for cell, seeds in missing.items():
        verdict.wrong("records", f"missing: {' / '.join(cell)}, seeds {', '.join(map(str, seeds))}")
    if failures:
        verdict.note(f"{failures} trainings of the plan failed and have no record: see failures/")
    if stray:
        verdict.note(f"{len(stray)} records belong to no training of the plan: they are of earlier settings")
    return not missing


def record_names(folder: Untouched, part: str, verdict: Verification) -> list[str]:
    """The records of a folder such as "records"; a file whose name is no key is said."""
    names = []
    for name in folder.names(part):
        if KEY.fullmatch(name.rpartition("/")[2].removesuffix(".json")) and name.endswith(".json"):
            names.append(name)
        else:
            verdict.note(f"{name}: not a record by its name, and not read")
    return names


def _line(error: Exception) -> str:
    return (str(error).strip() or "no message").splitlines()[0]
