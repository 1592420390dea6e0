"""The `search` of a space file, checked against the study that it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from l3masking.methods import Method
from study.space.relevant import artefact_sections, reads
from study.space.search_section import BEST, Distribution, SearchConfig
from study.space.spec import overridden
from study.space.validation import build, nearest, shown
from study.space.yaml import Problem

STAND_IN = {"parameters": {"x": {"choice": [0, 1]}}}  # while the given parameters are wrong, the rest is still checked


def read_search(
    given: Any,
    *,
    arms: Mapping[str, Method],
    objectives: Sequence[str],
    variants: Collection[str],
    settings: Mapping[str, Any],
    problems: list[Problem],
) -> SearchConfig | None:
    """The search, or None if there is none or it is wrong; what is wrong goes to `problems`.

    `arms`: those of the study by name. `settings`: its own, nested, on which every end of every parameter is tried.
    """
    if given is None:
        return None
    if not isinstance(given, dict):
        wanted = "keys and values, such as parameters: {masking.mean: {uniform: [0.05, 0.6]}}"
        problems.append(Problem("search", f"{shown(given)} is not allowed; expected {wanted}"))
        return None
    named = given.get("methods")
    searched = [arm for name, arm in arms.items() if not isinstance(named, list) or name in named]
    found = _parameters(given.get("parameters"), settings, artefact_sections(searched), problems)
    search = build(SearchConfig, given if found is not None else given | STAND_IN, "search", problems)
    if search is None or found is None:
        return None
    if BEST in variants:
        problems.append(Problem(f"variants.{BEST}", "this name is taken by what the search finds; choose another"))
    if search.objective is not None and search.objective not in objectives:
        hint = nearest(search.objective, objectives)
        problems.append(Problem("search.objective", f"{shown(search.objective)} is no objective of this study; {hint}"))
    for index, name in enumerate(search.methods if search.methods is not None else ()):
        place = f"search.methods[{index}]"
        if name not in arms:
            problems.append(Problem(place, f"{shown(name)} is no method of this study; {nearest(name, arms)}"))
        elif not any(reads(settings, arms[name], key) for key in found):
            problems.append(Problem(place, f"{name} reads none of {', '.join(found)}; leave it out"))
    masking = [name for name, arm in arms.items() if arm.masks]
    if search.methods is None and not masking:
        problems.append(Problem("search", "no method of this study masks; name the `methods` to search"))
    idle = [name for name in masking if not any(reads(settings, arms[name], key) for key in found)]
    if search.methods is None and idle:
        who = f"{', '.join(idle)} {'reads' if len(idle) == 1 else 'read'}"
        problems.append(Problem("search", f"{who} none of {', '.join(found)}; name the `methods` to search"))
    return search


_DISTRIBUTIONS = "{choice: [a, b]}, {uniform: [low, high]}, {loguniform: [low, high]} or {integer: [low, high]}"
_PARAMETERS = "dotted keys and their values, such as {masking.mean: {uniform: [0.05, 0.6]}}"


def _parameters(
    given: Any, settings: Mapping[str, Any], before_search: Collection[str], problems: list[Problem]
) -> dict[str, Distribution] | None:
    if given is None:
        problems.append(Problem("search.parameters", "needs a value; it has no default"))
        return None
    if not isinstance(given, dict):
        problems.append(Problem("search.parameters", f"{shown(given)} is not allowed; expected {_PARAMETERS}"))
        return None
    found: dict[str, Distribution] = {}
    before = len(problems)
    for key, value in given.items():
        place = f"search.parameters.{key}"
        if key == "precision":
            problems.append(Problem(place, "decides what is scored and stored; compare it by `variants` instead"))
            continue
        if not isinstance(value, dict):
            problems.append(Problem(place, f"{shown(value)} is not allowed; expected {_DISTRIBUTIONS}"))
            continue
        distribution = build(Distribution, value, place, problems)
        if distribution is None:
            continue
        wrong: list[Problem] = []
        for end in distribution.ends():
            overridden(settings, {key: end}, place, wrong)
        problems += [Problem(place, problem.text) for problem in dict.fromkeys(wrong)]
        if key.partition(".")[0] in before_search and distribution.choice is None:
            problems.append(Problem(place, "scores and importance are computed before the search, so give a `choice`"))
        found[key] = distribution
    return found if len(problems) == before else None
