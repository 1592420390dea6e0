"""Tables and figures, made again from the records in a folder of its own and compared byte by byte with the study's."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from study.report.drawing import DRAWN_FILE, FOLDER, PICTURES
from study.report.figure_files import effort_name
from study.report.publish import PAGE_FILE, publish
from study.report.tables import FORMATS
from study.results.effort import EFFORTS
from study.results.looks import LOOKS_FILE
from study.space.search_section import SEARCH_FOLDER
from study.store.data_facts import DATA_FOLDER
from study.store.seal import DamagedError
from study.store.store import Store, write_atomic
from study.verify.plan_checks import Claimed
from study.verify.table_values import differ_by_rounding, first_difference, shared_difference
from study.verify.untouched import Untouched
from study.verify.verification import Advance, Verification

TABLES = "tables"
PROFILE = f"{TABLES}/pos_"  # profiles of parts of speech, which `pos` writes
READ = ("records", "failures", DATA_FOLDER, f"{SEARCH_FOLDER}/records", f"{SEARCH_FOLDER}/failures")


def check_tables(
    folder: Untouched, claimed: Claimed, verdict: Verification, progress: Advance, *, same_machine: bool
) -> None:
    """Make tables, figures and page again, and say what differs. All records and data files are known to be whole.

    same_machine: whether numpy and Python are those of the records: then tables must agree to the last digit.
    """
    there = [name for name in folder.names(TABLES) if not name.startswith(PROFILE)]
    if not there:
        verdict.note("the study has no tables")
        return
    if any(file.startswith(PROFILE) for file in folder.names(TABLES)):
        verdict.note(f"{PROFILE}*: not made again: `l3study pos` made these tables, with a tagger")
    _check_pictures(folder, verdict)
    formats = [form for form in FORMATS if folder.has(f"{TABLES}/results.{form}")]
    efforts = [name for name in EFFORTS[1:] if folder.has(f"{FOLDER}/{effort_name(name)}.svg")]
    with tempfile.TemporaryDirectory(prefix="l3study-verify-") as temporary:
        root = Path(temporary)
        _copy(folder, root, progress)
        progress("tables", 0, 1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of figures that cannot be drawn here, for one: they differ then
                publish(Store(root), claimed.resolved, claimed.trials, formats, next(iter(efforts), None))
        except Exception as error:  # records may be sealed and yet hold what no training gives
            verdict.wrong(TABLES, f"cannot be made from these records: {type(error).__name__}: {error}")
            return
        progress("tables", 1, 1)
        remade = Untouched(root)
        names = sorted({*there, *(name for name in remade.names(TABLES) if not name.startswith(PROFILE))})
        same = _same_program(folder, remade)
        _compare(folder, remade, names, verdict, exact=same_machine, same=same)
        if same:
            _compare_figures(folder, remade, verdict)
        else:
            verdict.note(
                "figures and report.html were not compared: another version of the program or of matplotlib made them"
            )


def _copy(folder: Untouched, root: Path, progress: Advance) -> None:
    """Put what an export reads into `root`; the pictures too, as it draws no figure again that shows the same."""
    names = [name for part in READ for name in folder.names(part, ".json")]
    names += [name for name in folder.names(TABLES, ".json") if name.startswith(PROFILE)]
    names += [*folder.names(FOLDER), LOOKS_FILE]
    for number, name in enumerate(names):
        progress("copies of records", number, len(names))
        try:
            content = folder.read(name)
        except DamagedError:
            continue  # a folder or a link; an export would not use it
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.startswith(READ):
            (root / name).write_bytes(content)  # thousands of files, which nobody needs after a crash
        else:
            write_atomic(root / name, content)


def _compare(
    folder: Untouched, remade: Untouched, names: Collection[str], verdict: Verification, *, exact: bool, same: bool
) -> None:
    """Compare tables: to the last byte, or (same: False) by the values that two versions of the program both write."""
    close, reworded = 0, []
    for name in names:
        if not remade.has(name):
            verdict.note(f"{name}: no table that these records give, and not checked")
            continue
        verdict.checked["tables"] += 1
        wanted = remade.read(name)
        try:
            found = folder.read(name)
        except DamagedError as damage:
            if same or str(damage) != "missing":
                verdict.wrong(name, f"{damage}: the records give this table")
            else:
                reworded.append(name)
            continue
        if found == wanted:
            continue
        if not same and (problem := shared_difference(name.rpartition(".")[2], found, wanted)) is None:
            reworded.append(name)
        elif same and not exact and differ_by_rounding(found, wanted):
            close += 1
        else:
            said = first_difference(found, wanted) if same else problem
            verdict.wrong(name, f"not what the records give: {said}")
    if close:
        verdict.note(f"{close} tables differ in their last digits alone: other versions of Python or numpy made them")
    if reworded:
        verdict.note(
            "another version of the program or of matplotlib made the tables; these differ in words or fields, and not "
            f"in a number that can be compared: {', '.join(name.rpartition('/')[2] for name in reworded)}"
        )


def _check_pictures(folder: Untouched, verdict: Verification) -> None:
    """Whether each picture is the one that was drawn."""
    for name, entry in _drawn(folder).items():
        for ending, digest in zip(PICTURES, entry[1:], strict=False):
            file = f"{FOLDER}/{name}.{ending}"
            verdict.checked["pictures"] += 1
            try:
                if hashlib.blake2b(folder.read(file), digest_size=16).hexdigest() != digest:
                    raise DamagedError("changed after it was drawn")
            except DamagedError as damage:
                verdict.wrong(file, str(damage))


def _same_program(folder: Untouched, remade: Untouched) -> bool:
    """Whether this version of the program and of matplotlib made the study's files: then a figure at least is equal."""
    found, wanted = _drawn(folder), _drawn(remade)
    return any(entry[0] == wanted.get(name, [""])[0] for name, entry in found.items())


def _compare_figures(folder: Untouched, remade: Untouched, verdict: Verification) -> None:
    """Whether figures and page show these records."""
    found, wanted = _drawn(folder), _drawn(remade)
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name, [""])[0] != wanted.get(name, [""])[0]:
            verdict.wrong(f"{FOLDER}/{name}.svg", "not drawn from these records")
    others = [name for name in folder.names(FOLDER) if name.endswith((".csv", ".md"))]
    for name in [*others, *([PAGE_FILE] if folder.has(PAGE_FILE) else [])]:
        verdict.checked["texts of figures" if name in others else "pages"] += 1
        _compare_text(folder, remade, name, verdict)


def _compare_text(folder: Untouched, remade: Untouched, name: str, verdict: Verification) -> None:
    try:
        found = folder.read(name)
    except DamagedError as damage:
        verdict.wrong(name, str(damage))
        return
    if not remade.has(name):
        verdict.note(f"{name}: nothing that these records give, and not checked")
    elif found != (wanted := remade.read(name)):
        verdict.wrong(name, f"not what the records give: {first_difference(found, wanted)}")


def _drawn(folder: Untouched) -> dict[str, list[str]]:
    """Figure -> what it was drawn from, and hashes of its files; nothing where that cannot be read."""
    try:
        value = json.loads(folder.read(DRAWN_FILE))
    except (DamagedError, ValueError, RecursionError):
        return {}
    entries: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    return {name: entry for name, entry in entries if _is_entry(name, entry)}


def _is_entry(name: Any, entry: Any) -> bool:
    return (
        "/" not in name and isinstance(entry, list) and len(entry) == 3 and all(isinstance(one, str) for one in entry)
    )
