"""What `compare` answers: a study's rows against each other, against the paper, or against another study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, opened_study, planned
from study.results.against import Origin, Origins, against_paper, against_study
from study.results.compare import Comparison, compare, questions
from study.results.gather import Results, gather, reordered
from study.results.published import PAPER, REMARKS, table3
from study.results.set_comparisons import SetComparison, compare_sets
from study.results.texts import resample_sets, resample_texts
from study.results.truth import Truths, true_labels
from study.results.unseen import Unseen, UnseenPart, unseen_part
from study.store.store import Store

THE_PAPER = "paper"


class Answer(NamedTuple):
    """Comparisons with what to know about all of them."""

    study: str
    against: str | None
    comparisons: list[Comparison]
    notes: list[str]
    on_sets: Sequence[SetComparison] = ()  # the same questions on evaluation sets; within a study alone
    unseen: Mapping[str, UnseenPart] | None = None  # dataset -> compared test rows; None: all rows of test


def answer(root: Path, against: str | None = None, baseline: str | None = None, *, unseen: bool = False) -> Answer:
    """Compare the study in `root` as the verb's arguments say. InputError where these do not fit."""
    resolved = planned(root)
    results = _gathered(root, resolved)
    if against is not None and baseline is not None:
        raise InputError("--baseline chooses a row of this study: it does not go with --against")
    if unseen and against is not None:
        raise InputError("--unseen computes this study's test values again: it does not go with --against")
    if against is None:
        left = unseen_part(results, resolved, root) if unseen else None
        return _within(resolved, results, baseline, root, left)
    if against == THE_PAPER:
        comparisons = against_paper(results.cells)
        return Answer(resolved.spec.name, PAPER, comparisons, [*REMARKS] if comparisons else [_printed_names()])
    there = opened_study(against)
    other = planned(there)
    others = _gathered(there, other)
    name = other.spec.name if other.spec.name != resolved.spec.name else against
    comparisons = against_study(results.cells, others.cells, name, _origins(resolved), _origins(other))
    return Answer(resolved.spec.name, name, comparisons, [])


def _within(
    resolved: Resolved, results: Results, baseline: str | None, root: Path, left: Unseen | None = None
) -> Answer:
    """`left`: the same on the unseen part of test, which is then compared instead."""
    if left is not None:
        results = left.results
    asked = questions(results.cells, baseline)
    moved = reordered(resolved.spec)
    comparisons = compare(results.cells, asked, reordered=moved)
    used = dict.fromkeys(entry.dataset for entry in comparisons if entry.n)
    truths = true_labels(resolved, used, root) if left is None else Truths(left.truths, {}, {})
    resampled = resample_texts(comparisons, results.cells, results.predictions, truths.test)
    on_sets, further = resample_sets(
        compare_sets(results.cells, asked, reordered=moved),
        results.cells,
        (results.predictions, truths.test),
        results.set_predictions,
        truths.sets,
    )
    notes = [] if left is None else [*left.notes]
    notes += [f"{name}: no interval over test texts: {reason}" for name, reason in truths.missing.items()]
    notes += dict.fromkeys([*resampled.notes, *further])
    return Answer(resolved.spec.name, None, resampled.comparisons, notes, on_sets, left.parts if left else None)


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
