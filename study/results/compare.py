"""Which row of a study is better, and may that be chance: cells into paired comparisons.

Two rows are compared on each encoder, dataset and objective that both have, over the seeds that finished in both. What
the space declares under `compare` is one confirmatory family; all else is exploratory, and one family too.
Values are fractions; only reports speak of percent.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from l3masking.errors import InputError
from l3masking.methods import METHODS, controls_of
from study.results.aggregate import Cell
from study.results.comparison import Arm, Budget, Comparison, Pairing, Question, Side
from study.results.equivalence import Concluded
from study.results.families import Compared, DeclaredFamily, adjusted, default_family
from study.results.paired import effect_size, least_p, sign_flip, standard_error
from study.results.resampled import resampled_interval
from study.results.spread import t_interval
from study.results.verdicts import equally_searched

Budgets = Mapping[tuple[str, str, str, str | None], Budget]  # (encoder, dataset, method, variant) -> of its search
NOT_SEARCHED = "no search"
TURNED: Mapping[Concluded | None, Concluded] = {"better": "worse", "worse": "better"}


def family_of(cells: Iterable[Cell]) -> DeclaredFamily:
    """The family that a study has where it declares none."""
    found = list(cells)
    return default_family((Arm(cell.method, cell.variant) for cell in found), [cell.objective for cell in found])


def questions(
    cells: Iterable[Cell], baseline: str | None = None, *, family: DeclaredFamily | None = None
) -> list[Question]:
    """What to ask of a study: the confirmatory questions, then every further row against its controls.

    A variant is held against its plain row, and against each control under the same variant, or plain where that has
    no such row. `baseline`: a row, such as "rtm" or "l3masking @ best", against which all others are compared instead;
    InputError where there is none of that name.
    """
    found = list(cells)
    arms = list(dict.fromkeys(Arm(cell.method, cell.variant) for cell in found))
    if baseline is not None:
        against = next((arm for arm in arms if arm == Arm.named(baseline)), None)
        if against is None:
            raise InputError(f"--baseline {baseline!r}: no row of this name; there are {', '.join(map(str, arms))}")
        return [Question(arm, against) for arm in arms if arm != against]
    known = family_of(found)
    first = dict.fromkeys([*(known if family is None else family).questions, *known.questions])
    asked: list[Question] = [*first]
    for arm in arms:
        if arm.variant is not None:
            asked.append(Question(arm, Arm(arm.method)))
        for control in controls_of(arm.method):
            like = Arm(control, arm.variant)
            asked.append(Question(arm, like if like in arms else Arm(control)))
    once: dict[Question, None] = {}
    for question in asked:
        if {*question} <= {*arms} and question.turned not in once:
            once[question] = None
    return list(once)


def compare(
    cells: Sequence[Cell],
    asked: Iterable[Question] | None = None,
    *,
    family: DeclaredFamily | None = None,
    reordered: Collection[str] = (),
    budgets: Budgets | None = None,
) -> list[Comparison]:
    """The comparisons of a study, question by question; within one objective by objective, in the order of `cells`.

    `asked`: default `questions(cells)`. Whatever is asked, the adjustment counts all default questions too, and every
    planned cell, which stands in `cells` with n = 0 as long as it has no record. `family`: what is confirmatory;
    default `family_of(cells)`. `reordered`: the variants that change how batches are made, so that a seed no longer
    fixes their order across them. `budgets`: of the rows that a search has found.
    """
    family = family_of(cells) if family is None else family
    known = questions(cells, family=family)
    wanted = known if asked is None else list(asked)
    main: list[Comparison] = []
    others: list[Comparison] = []
    for question in all_of(known, wanted):
        pairs = pairing(question, reordered)
        for objective, rows in rivals(cells, question).items():
            made = [paired(first, second, str(question), pairs) for first, second in rows]
            (main if family.has(question, objective) else others).extend(searched(made, budgets or {}))
    order = list(dict.fromkeys(cell.objective for cell in cells))
    found = sorted([*adjusted(main, confirmatory=True), *adjusted(others)], key=lambda e: order.index(e.objective))
    return answers_to_all(wanted, found)


def all_of(known: Sequence[Question], asked: Iterable[Question]) -> list[Question]:
    """The questions that a study is asked, and after them those that are asked beside; none of them both ways round."""
    return list(dict.fromkeys([*known, *(question for question in asked if question.turned not in known)]))


def answers_to(question: Question, found: Iterable[Compared]) -> list[Compared]:
    """The comparisons of a question among `found`, which may hold it the other way round."""
    entries = list(found)
    ours = [entry for entry in entries if entry.question == str(question)]
    return ours or [turned(entry) for entry in entries if entry.question == str(question.turned)]


def answers_to_all(asked: Iterable[Question], found: Iterable[Compared]) -> list[Compared]:
    """The comparisons of several questions, question by question."""
    named: dict[str, list[Compared]] = {}
    for entry in found:
        named.setdefault(entry.question, []).append(entry)
    out = []
    for question in asked:
        ours = (named.get(str(way), ()) for way in (question, question.turned))
        out += answers_to(question, itertools.chain.from_iterable(ours))
    return out


def rivals(cells: Sequence[Cell], question: Question) -> dict[str, list[tuple[Cell, Cell]]]:
    """The cells that a question compares: for each objective, those of the encoders and datasets of both rows."""
    by_arm: dict[Arm, dict[tuple[str, str, str], Cell]] = {}
    for cell in cells:
        by_arm.setdefault(Arm(cell.method, cell.variant), {})[cell.objective, cell.encoder, cell.dataset] = cell
    first, second = by_arm.get(question.first, {}), by_arm.get(question.second, {})
    return {
        objective: [(first[place], second[place]) for place in first if place[0] == objective and place in second]
        for objective in dict.fromkeys(cell.objective for cell in cells)
    }


def paired(first: Cell, second: Cell, question: str, pairs: Pairing, *, other: str | None = None) -> Comparison:
    """Two cells over the seeds that both have. `other`: the study of the second. Holm's part is left to `adjusted`."""
    seeds = [seed for seed in first.values if seed in second.values]
    differences = [first.values[seed] - second.values[seed] for seed in seeds]
    n, test = len(seeds), sign_flip(differences) if len(seeds) > 1 else None
    mean = statistics.mean(differences) if seeds else None
    low, high = (None, None)
    texts_too = first.resampled is not None  # each seed has its own test texts
    if mean is not None and n > 1:
        low, high = t_interval(mean, statistics.stdev(differences), n)
    if first.resampled is not None and n > 1:
        low, high = resampled_interval(differences, first.resampled)
    return Comparison(
        question=question,
        encoder=first.encoder,
        dataset=first.dataset,
        objective=first.objective,
        first=side(first, seeds),
        second=side(second, seeds, study=other),
        n=n,
        wanted=min(first.wanted, second.wanted),
        finished=over(first) and over(second),
        pairing=pairs,
        test=None if test is None else "sign_flip" if test.exact else "sign_flip_sampled",
        difference=mean,
        ci_low=low,
        ci_high=high,
        joint_low=low if texts_too else None,
        joint_high=high if texts_too else None,
        effect_size=effect_size(differences) if seeds else None,
        p=None if test is None else test.p,
        floor=least_p(differences) if n > 1 else None,
        test_texts=first.test_texts,
        standard_error=one_test_set(first),
    )


def searched(comparisons: Iterable[Compared], budgets: Budgets) -> list[Compared]:
    """The comparisons with what searches have spent on their rows, and a note where that is not alike."""
    out = []
    for entry in comparisons:
        sides: dict[str, Any] = {}
        for name in ("first", "second"):
            row: Side = getattr(entry, name)
            spent = budgets.get((entry.encoder, entry.dataset, row.method, row.variant))
            if spent is not None:
                row = dataclasses.replace(row, settings_tried=spent.settings, search_seeds=spent.seeds)
            sides[name] = row
        made = dataclasses.replace(entry, **sides)
        if not equally_searched(made):
            told = "; ".join(f"{Arm(row.method, row.variant)}: {_spent(row)}" for row in (made.first, made.second))
            made = dataclasses.replace(made, notes=(*made.notes, f"Search budgets are not equal. {told}."))
        out.append(made)
    return out


def _spent(row: Side) -> str:
    if row.settings_tried is None or row.search_seeds is None:
        return NOT_SEARCHED
    return f"{row.settings_tried} settings, {row.search_seeds} seed{'s' * (row.search_seeds != 1)} each"


def turned(entry: Compared) -> Compared:
    """The same comparison with its rows in the other order."""

    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    def rest(share: float | None) -> float | None:
        return None if share is None else 1 - share

    first, _, second = entry.question.partition(" vs ")
    return dataclasses.replace(
        entry,
        question=f"{second} vs {first}",
        first=entry.second,
        second=entry.first,
        difference=minus(entry.difference),
        ci_low=minus(entry.ci_high),
        ci_high=minus(entry.ci_low),
        joint_low=minus(entry.joint_high),
        joint_high=minus(entry.joint_low),
        effect_size=minus(entry.effect_size),
        superiority=rest(entry.superiority),
        superiority_low=rest(entry.superiority_high),
        superiority_high=rest(entry.superiority_low),
        effect_size_unbiased=minus(entry.effect_size_unbiased),
        conclusion=TURNED.get(entry.conclusion, entry.conclusion),
        only_first=entry.only_second,
        only_second=entry.only_first,
    )


def over(cell: Cell) -> bool:
    """Whether every wanted seed of a cell has finished or failed."""
    return cell.n + cell.failed >= cell.wanted


def pairing(question: Question, reordered: Collection[str]) -> Pairing:
    """What a seed fixes for both rows. An arm that masks nothing draws its batches in its own order (design.md 7)."""
    same = question.first.variant == question.second.variant
    moved = not same and {question.first.variant, question.second.variant} & set(reordered)
    own = not all(METHODS[arm.method].masks for arm in question if arm.method in METHODS)
    return "head" if moved or own else "batches"


def side(cell: Cell, seeds: Sequence[int], *, study: str | None = None) -> Side:
    """A cell over some of its seeds."""
    values = [cell.values[seed] for seed in seeds]
    return Side(
        study=study,
        method=cell.method,
        variant=cell.variant,
        mask_mean=cell.mask_mean,
        n=len(values),
        mean=statistics.mean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
    )


def one_test_set(cell: Cell) -> float | None:
    """Binomial standard error of an accuracy, which no number of seeds lowers; None for another metric."""
    if cell.objective != "accuracy" or cell.mean is None or not cell.test_texts:
        return None
    return standard_error(cell.mean, cell.test_texts)
