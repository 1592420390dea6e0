"""The verb that says what seeds can decide: power."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from l3masking.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from study.plan.trials import Trial
    from study.results.planned_power import Power
    from study.space.spec import StudySpec
    from study.store.briefs import Brief


def power(
    folder: Annotated[str | None, typer.Argument(help="A study's folder or URL; or give --sd.")] = None,
    std: Annotated[
        float | None, typer.Option("--sd", metavar="S", help="Deviation of paired differences, fraction.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--n", metavar="N", help="Seeds; default: those of the study.")] = None,
    difference: Annotated[
        float | None, typer.Option("--difference", metavar="D", help="Difference to decide, fraction; default 0.01.")
    ] = None,
    tests: Annotated[
        int | None, typer.Option("--tests", metavar="M", help="Planned tests; default: the study's, or 1.")
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Of all planned tests together.")] = 0.05,
    wanted: Annotated[float, typer.Option("--power", help="Probability of deciding a true difference.")] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say how small a difference some seeds can decide, and how many seeds a wanted difference needs."""
    from study.report.power_text import power_text
    from study.results.planned_power import WANTED_DIFFERENCE, Aim, check_aim, given_power

    if (folder is None) == (std is None):
        raise InputError("give either a study's folder or --sd, such as `l3study power --sd 0.008 --n 10`")
    if std is not None and not 0 < std < 1:
        raise InputError(f"--sd {std:g}: expected a fraction between 0 and 1, such as 0.008 for 0.8 percentage points")
    if seeds is not None and seeds < 1:
        raise InputError(f"--n {seeds}: expected 1 or more seeds")
    aim = check_aim(
        Aim(level, 1 if tests is None else tests, wanted, WANTED_DIFFERENCE if difference is None else difference)
    )
    name = None
    if folder is None:
        assert std is not None, "one of the two is given"
        found = given_power(std, aim=aim, seeds=seeds)
    else:
        name, found = _of_study(folder, aim, tests, seeds)
    if as_json:
        print(json.dumps({"study": name} | found.as_dict(), indent=1))
    else:
        print(power_text(found, name))


def plan_power(spec: StudySpec, trials: list[Trial], finished: list[Brief]) -> Power | None:
    """What `plan` shows: the confirmatory questions alone; None as long as the study has no test value."""
    from study.results.families import declared
    from study.results.planned_power import Aim, planned_cells, planned_tests, study_power
    from study.results.resampled import cut_anew

    if not any(brief.test is not None for brief in finished):
        return None
    cells, family = planned_cells(trials, finished), declared(spec.compare)
    if not family.questions:
        return None
    aim = Aim(tests=planned_tests(cells, family))
    asked, objectives = family
    return study_power(cells, aim=aim, asked=asked, objectives=objectives, anew=cut_anew(spec))


def _of_study(place: str, aim: Any, tests: int | None, seeds: int | None) -> tuple[str, Power]:
    from study.plan.grid import make_plan
    from study.plan.resolved import opened_study, planned
    from study.results.families import declared
    from study.results.planned_power import planned_cells, planned_tests, study_power
    from study.results.resampled import cut_anew
    from study.store.briefs import briefs
    from study.store.store import Store

    root: Path = opened_study(place)
    resolved = planned(root)
    cells = planned_cells(make_plan(*resolved), briefs(Store(root)))
    if tests is None:
        aim = aim._replace(tests=planned_tests(cells, declared(resolved.spec.compare)))
    return resolved.spec.name, study_power(cells, aim=aim, seeds=seeds, anew=cut_anew(resolved.spec))
