"""What the seeds of a study can decide, in plain lines. Percent points here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from study.report.layout import OBJECTIVES, plain
from study.report.wording import NO_NUMBER
from study.results.paired import EXACT_PAIRS
from study.results.planned_power import Power, PowerRow
from study.results.power import MOST_SEEDS

POWER_HEADER = ("Encoder, data", "Pairs", "Deviation", "95 %", "Seeds", "Smallest")
POWER_LEGEND = (
    "Deviation: sample standard deviation of the paired differences, points, with its 95 % interval; Pairs: finished "
    "seeds that it is from. Smallest: least true difference, points, that so many seeds decide with that probability. "
    "Last column: seeds that decide the named difference."
)
POWER_LIMITS = (
    "Differences are taken as normal. The numbers are about seeds: a test set is as uncertain with more seeds as with "
    "few. A deviation from few pairs is uncertain, and so are the numbers computed from it."
)


def power_text(power: Power, study: str | None = None) -> str:
    """All of it, for a terminal or a log."""
    parts = ["\n".join([f"power{f' of study {plain(study)}' if study else ''}: {_rule(power)}", *floor_lines(power)])]
    rows = [row for row in power.rows if row.question is not None]
    if power.rows and not rows:
        return "\n".join([*parts, *_given(power)])
    for question, objective in dict.fromkeys((row.question, row.objective) for row in rows):
        here = [row for row in rows if (row.question, row.objective) == (question, objective)]
        goal = OBJECTIVES.get(str(objective), str(objective))
        parts.append("\n".join([plain(f"{question}, {goal}"), *_table(here, power)]))
    if not rows:
        parts.append("No two rows of this study are compared: there is nothing to decide.")
    parts.append("\n".join(_notes(rows, power)))
    return "\n\n".join(part for part in parts if part)


def power_lines(power: Power) -> list[str]:
    """A block of `plan`: one line for each question, after what all of them have in common."""
    lines = [f"power: {_rule(power)}", *floor_lines(power)]
    for question, objective in dict.fromkeys((row.question, row.objective) for row in power.rows):
        here = [row for row in power.rows if (row.question, row.objective) == (question, objective)]
        known = [row for row in here if row.smallest is not None]
        head = f"  {question}, {OBJECTIVES.get(str(objective), str(objective))}"
        if not any(row.std for row in here):
            equal = any(row.std is not None for row in here)
            why = "all differences so far are equal" if equal else "it takes two finished seeds of both rows"
            lines.append(plain(f"{head}: no deviation is known yet ({why})"))
            continue
        parts = []
        if known:
            parts.append(f"{_span(row.seeds for row in known)} seeds decide {_points_span(known)} points")
        told = [row.needed for row in here if row.std]
        if None not in told:
            parts.append(f"{_points(power.difference)} points need {_span(n for n in told if n is not None)} seeds")
        else:
            many = told.count(None)
            where = f" on {many} of {len(here)} encoder and dataset pairs" if len(here) > 1 else ""
            parts.append(f"{_points(power.difference)} points need more than {MOST_SEEDS} seeds{where}")
        missing = sum(not row.std for row in here)
        parts += [f"{missing} of {len(here)} without a deviation yet"] if missing else []
        lines.append(plain(f"{head}: {'; '.join(parts)}"))
    return [*lines, *(plain(f"  {note}") for note in power.notes)]


def floor_lines(power: Power) -> list[str]:
    """What no difference can change: with too few seeds nothing is decisive."""
    few = [n for n, effect in power.effects.items() if effect is None]
    tests = f"{power.tests} planned test{'s' * (power.tests != 1)}"
    if power.least_seeds is None:
        return [f"No number of seeds can be decisive with {tests}: name fewer by --tests."]
    return [
        f"No study of n={n} can be decisive at level {power.level:g} with {tests}, however large the difference: "
        f"n={power.least_seeds} is the fewest that can."
        for n in few
    ]


def _rule(power: Power) -> str:
    tests = f"{power.tests} planned test{'s' * (power.tests != 1)}"
    worst = f", each at {power.alpha:.3g} in the worst case of Holm's method" if power.tests > 1 else ""
    exact = all(n <= EXACT_PAIRS for n in power.effects)
    how = "exact sign-flip test" if exact else f"sign-flip test (above n={EXACT_PAIRS}: the t test)"
    return f"{100 * power.power:g} % at level {power.level:g} over {tests}{worst}; {how} and 95 % interval"


def _given(power: Power) -> Iterator[str]:
    (row,) = power.rows
    if row.smallest is not None:
        yield (
            f"With a deviation of {_points(row.std)} points, {row.seeds} seeds decide a true difference of "
            f"{_points(row.smallest)} points or more."
        )
    needed = f"more than {MOST_SEEDS}" if row.needed is None else str(row.needed)
    yield f"A true difference of {_points(power.difference)} points needs {needed} seeds."
    yield POWER_LIMITS


def _table(rows: Sequence[PowerRow], power: Power) -> list[str]:
    header = [*POWER_HEADER, f"Seeds for {_points(power.difference)}"]
    lines = [header, *(_entries(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    made = []
    for line in lines:
        entries = [
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        made.append(f"  {'  '.join(entries).rstrip()}")
    return made


def _entries(row: PowerRow) -> list[str]:
    interval = NO_NUMBER if row.std_low is None else f"{_points(row.std_low)} to {_points(row.std_high)}"
    needed = NO_NUMBER if not row.std else f"> {MOST_SEEDS}" if row.needed is None else str(row.needed)
    place = plain(f"{row.encoder} / {row.dataset}")
    return [place, str(row.pairs), _points(row.std), interval, str(row.seeds), _points(row.smallest), needed]


def _notes(rows: Sequence[PowerRow], power: Power) -> Iterator[str]:
    if any(row.pairs < 2 for row in rows):
        yield f"{NO_NUMBER}: fewer than two seeds have finished in both rows, so their differences show no deviation."
        effects = {n: effect for n, effect in power.effects.items() if effect is not None}
        if effects:
            yield "In units of that deviation:"
        for n, effect in effects.items():
            yield f"  {n} seeds decide a true difference of {effect:.2f} deviations."
    if any(row.std is not None and not row.std for row in rows):
        yield "A deviation of 0.00 means that all differences are equal; further seeds may still differ."
    if rows:
        yield POWER_LEGEND
        yield POWER_LIMITS
    yield from map(plain, power.notes)


def _points(value: float | None) -> str:
    return NO_NUMBER if value is None else f"{100 * value:.2f}"


def _points_span(rows: Iterable[PowerRow]) -> str:
    texts = sorted({_points(row.smallest) for row in rows}, key=float)
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def _span(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
