"""The `compare` of a space file, checked against the study that it belongs to, and its defaults filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from l3masking.methods import QUESTIONS, Method
from study.space.compare_section import CompareConfig, RowPair
from study.space.relevant import relevant
from study.space.search_section import BEST, SearchConfig
from study.space.spec import overridden, plain
from study.space.validation import build, nearest, shown
from study.space.yaml import Problem

EXAMPLE = "[[l3masking, rtm], [l3masking, stl]]"


def read_compare(
    given: Any,
    *,
    arms: Mapping[str, Method],
    objectives: Sequence[str],
    variants: Mapping[str, Mapping[str, Any]],
    search: SearchConfig | None,
    settings: Mapping[str, Any],
    problems: list[Problem],
) -> CompareConfig:
    """The confirmatory family with every default written out; what is wrong goes to `problems`.

    `arms`: those of the study by name. `settings`: its own, nested, which say whether a variant is a row of an arm.
    """
    # where something else is wrong, no row can be ruled out
    known = _any_rows(arms, variants) if problems else _rows(arms, variants, search, settings)
    default = CompareConfig(
        questions=tuple((first, second) for first, second in QUESTIONS if {first, second} <= {*known}),
        objectives=tuple(objectives[:1]),
    )
    if given is None:
        return default
    if not isinstance(given, dict):
        wanted = f"keys and values, such as questions: {EXAMPLE}"
        problems.append(Problem("compare", f"{shown(given)} is not allowed; expected {wanted}"))
        return default
    questions = _questions(given.get("questions"), known, problems)
    config = build(CompareConfig, given | {"questions": None}, "compare", problems)
    if config is None:
        return default
    for index, name in enumerate(config.objectives or ()):
        if name not in objectives:
            hint = nearest(name, objectives)
            problems.append(
                Problem(f"compare.objectives[{index}]", f"{shown(name)} is no objective of this study; {hint}")
            )
        elif name in (config.objectives or ())[:index]:
            problems.append(Problem(f"compare.objectives[{index}]", f"{name} is there already; keep one"))
    return dataclasses.replace(
        config,
        questions=default.questions if questions is None else questions,
        objectives=default.objectives if config.objectives is None else config.objectives,
    )


def _questions(given: Any, known: Sequence[str], problems: list[Problem]) -> tuple[RowPair, ...] | None:
    """The declared questions, rows spelt as tables spell them; None for the default."""
    if given is None:
        return None
    if not isinstance(given, list):
        problems.append(Problem("compare.questions", f"{shown(given)} is not allowed; expected a list, as {EXAMPLE}"))
        return None
    found: list[RowPair] = []
    for index, entry in enumerate(given):
        place = f"compare.questions[{index}]"
        if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(row, str) for row in entry):
            problems.append(Problem(place, f"{shown(entry)} is not allowed; expected two rows, as [l3masking, rtm]"))
            continue
        first, second = (" @ ".join(part.strip() for part in row.split("@")) for row in entry)
        wrong = [row for row in (first, second) if row not in known]
        problems += [Problem(place, f"{shown(row)} is no row of this study; {nearest(row, known)}") for row in wrong]
        if first == second:
            problems.append(Problem(place, f"{first} is on both sides; expected two rows"))
        elif {first, second} in [{*rows} for rows in found]:
            problems.append(Problem(place, f"{first} and {second} are there already; keep one question"))
        found.append((first, second))
    return tuple(found)


def _rows(
    arms: Mapping[str, Method],
    variants: Mapping[str, Mapping[str, Any]],
    search: SearchConfig | None,
    settings: Mapping[str, Any],
) -> list[str]:
    """The rows of the result table. A variant that changes nothing that an arm reads is no row of it."""
    rows = []
    for name, arm in arms.items():
        seen: list[Any] = []
        for row, changes in [(name, {}), *((f"{name} @ {variant}", own) for variant, own in variants.items())]:
            changed = {key: plain(part) for key, part in overridden(settings, changes, "", []).items()}
            read = relevant({**settings, **changed}, arm)
            if read not in seen:
                seen.append(read)
                rows.append(row)
        if search is not None and (name in search.methods if search.methods is not None else arm.masks):
            rows.append(f"{name} @ {BEST}")
    return rows


def _any_rows(arms: Iterable[str], variants: Iterable[str]) -> list[str]:
    return [row for name in arms for row in (name, *(f"{name} @ {variant}" for variant in (*variants, BEST)))]
