"""What `compare` answers: a study's rows against each other, against the paper, or against another study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from l3masking.errors import InputError
from study.plan.declared import earlier_in_words
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, opened_study, planned
from study.plan.searches import searches
from study.results.against import Origin, Origins, against_paper, against_study
from study.results.compare import questions
from study.results.comparison import Comparison
from study.results.effort_pairs import EffortComparison, compare_effort
from study.results.families import NOTHING_DECLARED, declared
from study.results.gather import Results, budgets, compared, gather, read_results
from study.results.looks import record_look, warnings_of
from study.results.one_class import one_class_notes
from study.results.optimism import findings_of, in_words
from study.results.published import PAPER, REMARKS, table3
from study.results.set_comparisons import SetComparison
from study.results.truth import Truths, true_labels
from study.results.unseen import UnseenPart, unseen_part
from study.store.store import Store

THE_PAPER = "paper"


class Answer(NamedTuple):
    """Comparisons with what to know about all of them."""

    study: str
    against: str | None
    comparisons: list[Comparison]
    notes: list[str]
    on_sets: Sequence[SetComparison] = ()  # the same questions on evaluation sets; within a study alone
    effort: Sequence[EffortComparison] = ()  # the same questions about what trainings took; within a study alone
    unseen: Mapping[str, UnseenPart] | None = None  # dataset -> compared test rows; None: all rows of test
    empty: bool = False  # whether the study has no records
    one_class: Sequence[str] = ()  # rows whose models predict one class; within a study alone


def answer(
    root: Path,
    against: str | None = None,
    baseline: str | None = None,
    *,
    unseen: bool = False,
    margin: float | None = None,
) -> Answer:
    """Compare the study in `root` as the verb's arguments say. InputError where these do not fit."""
    if margin is not None and not 0 < margin < 1:
        raise InputError(
            f"--margin {margin:g}: expected a fraction between 0 and 1, such as 0.01 for one percentage point"
        )
    if margin is not None and against is not None:
        raise InputError("--margin goes with comparisons within this study: it does not go with --against")
    resolved = planned(root)
    if against is not None and baseline is not None:
        raise InputError("--baseline chooses a row of this study: it does not go with --against")
    if unseen and against is not None:
        raise InputError("--unseen computes this study's test values again: it does not go with --against")
    if against is None:
        return (_within_unseen if unseen else _within)(root, resolved, baseline, margin)
    cells = _gathered(root, resolved).cells
    if against == THE_PAPER:
        comparisons = against_paper(cells)
        return Answer(resolved.spec.name, PAPER, comparisons, [*REMARKS] if comparisons else [_printed_names()])
    there = opened_study(against)
    other = planned(there)
    others = _gathered(there, other)
    name = other.spec.name if other.spec.name != resolved.spec.name else against
    comparisons = against_study(cells, others.cells, name, _origins(resolved), _origins(other))
    return Answer(resolved.spec.name, name, comparisons, [])


def _within(root: Path, resolved: Resolved, baseline: str | None, margin: float | None) -> Answer:
    results = gather(
        Store(root),
        resolved.spec,
        make_plan(*resolved),
        spent=budgets(resolved),
        truths=lambda names: true_labels(resolved, names, root=root),
        baseline=baseline,
        margin=margin,
    )
    found = findings_of(searches(resolved.spec, resolved.identities), resolved.findings, results.cells)
    notes = [*earlier_in_words(resolved.spec.compare), *in_words(found), *results.notes]
    empty = not any(cell.n for cell in results.cells)
    looks = record_look(root, results.comparisons)
    notes += [*warnings_of(looks, results.comparisons), *_late_margin(resolved, margin)]
    family = declared(resolved.spec.compare)
    asked = questions(results.cells, baseline, family=family)
    effort = compare_effort(results.cells, results.efforts, asked, family=family)
    return Answer(
        resolved.spec.name,
        None,
        results.comparisons,
        notes,
        results.set_comparisons,
        effort,
        empty=empty,
        one_class=one_class_notes(results.cells, results.predictions),
    )


def _within_unseen(root: Path, resolved: Resolved, baseline: str | None, margin: float | None) -> Answer:
    """The same on the unseen part of test. Nothing there is declared: all of it is exploratory, and it is no look."""
    found = unseen_part(read_results(Store(root), resolved.spec, make_plan(*resolved)), resolved, root)
    results = compared(
        found.results,
        resolved.spec,
        family=NOTHING_DECLARED,
        spent=budgets(resolved),
        truths=lambda names: Truths(found.truths, {}, {}),
        baseline=baseline,
        margin=margin,
    )
    notes = [*found.notes, *results.notes, *_late_margin(resolved, margin)]
    return Answer(resolved.spec.name, None, results.comparisons, notes, unseen=found.parts)


def _late_margin(resolved: Resolved, margin: float | None) -> list[str]:
    """A note on a margin that the study did not declare before its results."""
    if margin is None or margin == resolved.spec.compare.margin:
        return []
    return [
        f"The margin of {100 * margin:g} points was named with --margin, not declared in the space: whoever chooses it "
        "after the results finds one that fits. Read equivalence within it as exploratory."
    ]


def _printed_names() -> str:
    """What a study's encoders and datasets must be called to be found in the paper's table."""
    encoders, datasets, methods, _ = (dict.fromkeys(names) for names in zip(*table3(), strict=True))
    return f"{PAPER} has {', '.join(methods)} for {', '.join(encoders)} on {', '.join(datasets)}."


def _gathered(root: Path, resolved: Resolved) -> Results:
    return gather(Store(root), resolved.spec, make_plan(*resolved))


def _origins(resolved: Resolved) -> Origins:
    spec, identities, _ = resolved
    return {
        (pair.encoder, pair.dataset): Origin(
            identities.encoders.get(pair.encoder), identities.datasets.get(pair.dataset)
        )
        for pair in spec.pairs
    }
