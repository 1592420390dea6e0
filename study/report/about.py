"""What report.html says of a study beside its results: settings in words, identities, failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from study.plan.resolved import Resolved
from study.plan.trials import Identities
from study.report.layout import OBJECTIVES, row_label
from study.report.page import About, ShownFailure
from study.results.comparison import Arm
from study.space.spec import StudySpec, plain
from study.store.record import Failure


def about_study(resolved: Resolved, failures: Iterable[Failure]) -> About:
    """`failures`: those of the plan that have no record."""
    spec, identities, _ = resolved
    encoders = dict.fromkeys(pair.encoder for pair in spec.pairs)
    datasets = dict.fromkeys(pair.dataset for pair in spec.pairs)
    return About(
        name=spec.name,
        description=spec.description,
        design=design_in_words(spec),
        encoders=[(name, identities.encoders.get(name) or "not available") for name in encoders],
        datasets=[row for name in datasets for row in _of_dataset(name, identities)],
        failures=[_failure(failure) for failure in failures],
    )


def _of_dataset(name: str, identities: Identities) -> list[tuple[str, str]]:
    """The content hash of a dataset, and those of its evaluation sets."""
    sets = identities.evaluations.get(name, {})
    rows = [(f"{name}, evaluation set {one}", content) for one, content in sets.items()]
    label = f"{name}, cut anew with each seed" if name in identities.splits else name
    return [(label, identities.datasets.get(name) or "not available"), *rows]


def design_in_words(spec: StudySpec) -> list[tuple[str, str]]:
    """What is compared, over which seeds, from which preset; the settings themselves are a table of their own."""
    rows = [
        ("methods", ", ".join(row_label(method, None, []) for method in spec.methods)),
        ("objectives", ", ".join(OBJECTIVES.get(objective, objective) for objective in spec.objectives)),
        ("confirmatory", _confirmatory(spec)),
        ("seeds", _seeds(spec.seeds)),
        ("preset", spec.preset),
    ]
    rows += [(f"variant {name}", _words(overrides)) for name, overrides in spec.variants.items()]
    if spec.search is not None:
        rows.append(("search", _words(plain(spec.search))))
    return rows


def _confirmatory(spec: StudySpec) -> str:
    asked = ", ".join(f"{first} vs {second}" for first, second in spec.compare.questions or ())
    goals = ", ".join(OBJECTIVES.get(name, name) for name in spec.compare.objectives or ())
    return f"{asked} on {goals}" if asked and goals else "nothing"


def _seeds(seeds: tuple[int, ...]) -> str:
    whole = len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _words(value: Any) -> str:
    """A setting as a text: "mean 0.15, floor 0"; what is not set is left out."""
    if isinstance(value, Mapping):
        parts = {name: _words(inner) for name, inner in value.items() if inner is not None}
        return ", ".join(f"{name} {text}" for name, text in parts.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _failure(failure: Failure) -> ShownFailure:
    row = str(Arm(failure["method"], failure["variant"]))
    return ShownFailure(
        trial=f"{failure['encoder']} / {failure['dataset']} / {row}",
        objective=str(failure["objective"]),
        seed=int(failure["seed"]),
        attempts=int(failure["attempts"]),
        reason=str(failure["reason"]),
    )
