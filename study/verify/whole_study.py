"""A whole study, file by file: whether it is what it claims to be. Nothing in its folder is written, moved or run."""

from __future__ import annotations

from pathlib import Path

from study.results.looks import LOOKS_FILE, read_looks
from study.space.search_section import SEARCH_FOLDER
from study.store.record import Failure, Record
from study.store.seal import DamagedError, verified
from study.verify.artefact_checks import ModelFacts, check_artefacts, check_models
from study.verify.data_checks import KnownLabels, check_values, read_labels, say_misfits
from study.verify.origins import Makers, check_sources
from study.verify.plan_checks import Claimed, check_against_plan, read_plan, record_names
from study.verify.record_checks import judged, key_problem, opened_record, own_problem
from study.verify.remade import check_tables
from study.verify.schema_checks import layout_problems
from study.verify.untouched import Untouched
from study.verify.verification import Advance, Verification


def verify_study(
    root: Path, progress: Advance = lambda what, done, of: None, *, online: bool = False, on_demand: bool = False
) -> Verification:
    """Check the study in the folder `root`, which holds a resolved.yaml.

    online: as in `check_sources`. on_demand: as in `check_artefacts`, for a study at a URL.
    """
    folder, verdict, makers = Untouched(root), Verification(), Makers()
    claimed = read_plan(folder, verdict)
    known = read_labels(folder, verdict)
    models = _check_records(folder, claimed, known, makers, verdict, progress)
    _check_search(folder, claimed, verdict, progress)
    _check_failures(folder, verdict)
    _check_looks(folder, verdict)
    say_misfits(known, verdict)
    if claimed is not None:
        check_against_plan(claimed, models, folder, verdict)
    makers.say(verdict)
    check_artefacts(folder, claimed, verdict, progress, on_demand=on_demand)
    check_models(folder, models, verdict, progress, on_demand=on_demand)
    if claimed is not None:
        check_sources(claimed.resolved, known, verdict, progress, online=online)
        if verdict.is_wrong(""):
            verdict.note("tables and figures were not made again, because of the findings")
        else:
            check_tables(folder, claimed, verdict, progress, same_machine=makers.is_here())
    for place in ("quarantine", "conflicts"):
        if found := folder.names(place):
            verdict.note(f"{len(found)} files in {place}/ were set aside by the study and not checked")
    return verdict


def _check_records(
    folder: Untouched,
    claimed: Claimed | None,
    known: KnownLabels,
    makers: Makers,
    verdict: Verification,
    progress: Advance,
) -> dict[str, ModelFacts]:
    """Check each record by itself and against the labels; returns what the whole ones say of models."""
    names, models = record_names(folder, "records", verdict), dict[str, ModelFacts]()
    unknown = 0
    for number, name in enumerate(names):
        progress("records", number, len(names))
        verdict.checked["records"] += 1
        record = _opened(folder, name, verdict)
        if record is None:
            continue
        models[record["key"]] = ModelFacts(record["labels"], record["run"].get("weights", {}))
        makers.add(record)
        problem, computed = key_problem(record, claimed) if claimed is not None else (None, False)
        unknown += not computed
        problem = problem or next((found for one in judged(record) if (found := own_problem(one))), None)
        if problem is not None:
            verdict.wrong(name, problem)
        else:
            check_values(name, record, known)
    progress("records", len(names), len(names))
    if unknown and claimed is not None:
        verdict.note(
            f"the keys of {unknown} records were not computed again: the plan does not have their arms or data"
        )
    return models


def _check_search(folder: Untouched, claimed: Claimed | None, verdict: Verification, progress: Advance) -> None:
    """The same for the trainings of a search, which have no test values."""
    names = record_names(folder, f"{SEARCH_FOLDER}/records", verdict)
    for number, name in enumerate(names):
        progress("records of searches", number, len(names))
        verdict.checked["records of searches"] += 1
        record = _opened(folder, name, verdict)
        if record is not None and claimed is not None:
            problem, _ = key_problem(record, claimed, with_test=False)
            if problem is None and ("test" in record or "evaluations" in record):
                problem = "holds values on test texts, which a search must not read"
            if problem is not None:
                verdict.wrong(name, problem)
    progress("records of searches", len(names), len(names))


def _check_failures(folder: Untouched, verdict: Verification) -> None:
    """Whether each file that says why a training failed can be read; tables count them."""
    for name in [*folder.names("failures", ".json"), *folder.names(f"{SEARCH_FOLDER}/failures", ".json")]:
        verdict.checked["failures"] += 1
        try:
            value = folder.read_json(name)
            problem = next(layout_problems(value, Failure), None)
            if problem is not None:
                raise DamagedError(f"{problem}: not the layout of a failure")
            if not verified(value):
                raise DamagedError("its checksum does not match its content")
            if value["key"] != name.rpartition("/")[2].removesuffix(".json"):
                raise DamagedError(f"is of the key {value['key']}: it is another failure under this name")
        except DamagedError as damage:
            verdict.wrong(name, str(damage))


def _check_looks(folder: Untouched, verdict: Verification) -> None:
    """Whether the looks at the results, of which the tables warn, are those that were written down."""
    if folder.has(LOOKS_FILE):
        try:
            if not verified(folder.read_json(LOOKS_FILE)) or not read_looks(folder.root):
                raise DamagedError("its checksum does not match its content")
        except DamagedError as damage:
            verdict.wrong(LOOKS_FILE, str(damage))


def _opened(folder: Untouched, name: str, verdict: Verification) -> Record | None:
    """A record, or None and a finding."""
    try:
        return opened_record(folder.read(name), name.rpartition("/")[2].removesuffix(".json"))
    except DamagedError as damage:
        verdict.wrong(name, str(damage))
        return None
