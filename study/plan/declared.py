"""The confirmatory family of a study over time: what was declared when, as a registration of what is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from study.plan.resolved import Resolved
from study.space.compare_section import CompareConfig, Earlier
from study.space.spec import StudySpec


def redeclared(spec: StudySpec, before: Resolved | None, records: Callable[[], int]) -> StudySpec:
    """The study with what it had declared before, kept under `compare.earlier`.

    What was declared is kept where it differs and there were records, which `records` counts: before the first record a
    declaration can be changed freely.
    """
    if before is None:
        return spec
    earlier = before.spec.compare.earlier
    if _family(spec) != _family(before.spec) and (count := records()):
        config = before.spec.compare
        pairs = tuple(f"{pair.encoder} / {pair.dataset}" for pair in before.spec.pairs)
        questions, objectives = config.questions or (), config.objectives or ()
        dropped = Earlier(questions=questions, objectives=objectives, pairs=pairs, records=count, margin=config.margin)
        earlier = (*earlier, dropped)
    return dataclasses.replace(spec, compare=dataclasses.replace(spec.compare, earlier=earlier))


def earlier_in_words(config: CompareConfig) -> list[str]:
    """A line for each time that the confirmatory family was changed although there were results."""
    lines = []
    for earlier in config.earlier:
        asked = ", ".join(f"{first} vs {second}" for first, second in earlier.questions) or "no question"
        pairs = f"{len(earlier.pairs)} encoder and dataset pair{'s' * (len(earlier.pairs) != 1)}"
        goals = ", ".join(earlier.objectives) or "no objective"
        known = f"{earlier.records} record{'s' * (earlier.records != 1)}"
        margin = "" if earlier.margin == config.margin else ", without a margin"
        if margin and earlier.margin is not None:
            margin = f", with a margin of {100 * earlier.margin:g} points"
        lines.append(
            f"The confirmatory family was changed when the study had {known}. It was {asked} on {goals}, over "
            f"{pairs}{margin}. If that change followed from results, read the present one as exploratory."
        )
    return lines


def _family(spec: StudySpec) -> tuple[Any, ...]:
    """What makes it another family; the order of its parts does not."""
    questions = frozenset(frozenset(rows) for rows in spec.compare.questions or ())
    pairs = frozenset((pair.encoder, pair.dataset) for pair in spec.pairs)
    return questions, frozenset(spec.compare.objectives or ()), pairs, spec.compare.margin
