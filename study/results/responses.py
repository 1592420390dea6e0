"""What the searches of a study have tried, from their records alone: the response curve as numbers, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from study.plan.searches import Findings, Search
from study.plan.trials import Identities
from study.results.aggregate import Cell
from study.results.optimism import findings_of
from study.store.record import Record


@dataclass(frozen=True, kw_only=True)
class Response:
    """One setting that a search has tried. Values are validation fractions; test data are never read in a search."""

    encoder: str
    dataset: str
    method: str
    objective: str
    values: Mapping[str, Any]  # dotted key -> value
    wanted: int  # trainings of a setting; fewer: it was given up as weak, failed, or was cut off
    by_seed: Mapping[int, float]
    best: bool  # the finding of its search
    fresh_n: int | None = None  # of the finding: seeds of the grid that have trained it
    fresh_validation_mean: float | None = None  # and their mean validation value; `mean` is the best of many, too high

    @property
    def n(self) -> int:
        return len(self.by_seed)

    @property
    def mean(self) -> float:
        """Over the trainings that are there, at least one."""
        return statistics.fmean(self.by_seed.values())

    @property
    def std(self) -> float | None:
        """Sample standard deviation; None for one training."""
        return statistics.stdev(self.by_seed.values()) if self.n > 1 else None


def responses(
    searches: Iterable[Search],
    records: Iterable[Record],
    identities: Identities,
    findings: Findings,
    cells: Iterable[Cell] = (),
) -> list[Response]:
    """The settings of each search that have a record, sorted by their values. `records`: those of the search folder.

    `cells`: of the study, for the validation mean that fresh seeds gave to a finding.
    """
    declared = list(searches)
    rows = {(one.encoder, one.dataset, one.method): one for one in findings_of(declared, findings, cells)}
    by_place: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        by_place[record["encoder"], record["dataset"], record["method"], record["objective"]].append(record)
    found = []
    for search in declared:
        settings: dict[str, tuple[dict[str, Any], dict[int, float]]] = {}
        for record in by_place[search.encoder, search.dataset, search.method, search.objective]:
            values = {key: _value(record["settings"], key) for key in search.config.parameters}
            trial = search.trial(identities, values, record["seed"])
            if trial.keys[search.objective] == record["key"] and record["seed"] in search.config.seed_list:
                name = json.dumps(values, sort_keys=True)
                settings.setdefault(name, (values, {}))[1][record["seed"]] = record["validation"][search.objective]
        finding = findings.get(search.key, {}).get("values")
        row = rows.get((search.encoder, search.dataset, search.method))
        found += [
            Response(
                encoder=search.encoder,
                dataset=search.dataset,
                method=search.method,
                objective=search.objective,
                values=values,
                wanted=search.config.seeds,
                by_seed=dict(sorted(by_seed.items())),
                best=values == finding,
                fresh_n=row.fresh_seeds if row and values == finding else None,
                fresh_validation_mean=row.fresh if row and values == finding else None,
            )
            for values, by_seed in sorted(settings.values(), key=lambda setting: _order(setting[0]))
        ]
    return found


def responses_json(found: Sequence[Response]) -> str:
    """A list of settings with every seed, fractions at full precision."""
    rows = [asdict(row) | {"n": row.n, "mean": row.mean, "std": row.std} for row in found]
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def responses_csv(found: Sequence[Response]) -> str:
    """One line per setting: a column for each parameter, then validation mean, sample standard deviation and n.

    Behind a finding stands the validation mean of fresh seeds, which is not the best of many.
    """
    parameters = list(dict.fromkeys(key for row in found for key in row.values))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    numbers = ["n", "wanted", "validation_mean", "std", "best", "fresh_n", "fresh_validation_mean"]
    writer.writerow(["encoder", "dataset", "method", "objective", *parameters, *numbers])
    for row in found:
        values = ["" if row.values.get(key) is None else row.values[key] for key in parameters]
        spread = "" if row.std is None else row.std
        names = [row.encoder, row.dataset, row.method, row.objective]
        fresh = ["" if number is None else number for number in (row.fresh_n, row.fresh_validation_mean)]
        writer.writerow([*names, *values, row.n, row.wanted, row.mean, spread, str(row.best).lower(), *fresh])
    return out.getvalue()


def _value(settings: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return settings.get(section, {}).get(name)


def _order(values: Mapping[str, Any]) -> list[tuple[bool, Any]]:
    """Numbers by size, before everything else by its name."""
    return [
        (isinstance(v, str | bool) or v is None, v if isinstance(v, int | float) else str(v)) for v in values.values()
    ]
