"""The page that MLflow's UI shows of a study: ready-made views, the links that open them, and a description.

A view is what the UI's own "share" button writes: an experiment tag with filter, order, columns, grouping and charts,
opened by a link that names its key, and listed in the page's menu "Views". Its format is internal to MLflow (written
here as 3.17.2 reads it); a later MLflow that reads it differently shows its plain table, and loses nothing. Nothing
here imports mlflow.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3masking.methods import METHODS
from study.report.layout import OBJECTIVES, printable
from study.tracking.database import redacted, resolve_uri
from study.tracking.runs import CURRENT, set_metric

SHARED = "mlflow.sharedViewState."
"""Start of the tags that hold views; the rest is the view's key."""
CELLS, SEARCH = "cells", "search"
"""Keys of views; those of the seed runs are `seeds-<objective>`."""
CHARTS = "&compareRunsMode=CHART"
"""What makes a link to a view open its charts and not its table."""
MAX_VIEW = 20_000
"""Characters that MLflow takes in a tag of an experiment."""
MAX_DESCRIPTION = 5_000
"""Characters of the space file's description that are shown; MLflow takes 8,000 in a tag of a run, links included."""
MAX_SETS = 8
"""Evaluation sets with columns of their own; a view of more would not fit. All can be chosen in the UI."""
TABLE = "tables/results_table.json"
"""Artifact of the study run that the UI shows as a table."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Experiment tag that keeps the UI from asking whether this is a chat application."""
RUN_NAME = "attributes.`Run Name`"
"""The column of run names, which the UI makes too narrow for ours."""
MADE = 1_700_000_000_000
"""Date that the UI's menu shows for a view, milliseconds: one that stays, so that the tag is written once."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page of a study is made from."""

    description: str = ""
    """Of the space file, Markdown."""
    objectives: tuple[str, ...] = ()
    """In the order of the space; the first one orders the views."""
    methods: tuple[str, ...] = ()
    """In the order of the space."""
    variants: bool = False
    """Whether there are rows beside the plain ones."""
    searched: tuple[str, ...] = ()
    """Dotted names of the parameters that a search varies."""
    sets: tuple[str, ...] = ()
    """Names of evaluation sets that records have values on."""

    def tags(self, experiment: str, study: str) -> dict[str, str]:
        """Tags of the experiment: the views and the description. `experiment` and `study` (its run) are ids."""
        views = {f"{SHARED}{key}": saved(name, state) for key, (name, state) in self.views().items()}
        views = {key: text for key, text in views.items() if len(text) <= MAX_VIEW}
        return {**KIND, **views, "mlflow.note.content": self.note(experiment, study)}

    def views(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Key -> name and state of each view."""
        if not self.objectives:
            return {}
        found = {CELLS: ("Cells: mean over the seeds", self._cells())}
        for objective in self.objectives:
            label = OBJECTIVES.get(objective, objective)
            found[seeds_key(objective)] = (f"Seeds: selected by {label}", self._seeds(objective))
        if self.searched:
            found[SEARCH] = ("Search", self._search())
        return found

    def note(self, experiment: str, study: str) -> str:
        """The description, Markdown: what the study is, where to look and how to read the numbers."""
        links = [
            f"[{name}]({link(experiment, key)}) ([charts]({link(experiment, key)}{CHARTS}))"
            for key, (name, _) in self.views().items()
        ]
        links.append(f"[Tables and figures]({table_link(experiment, study)})")
        lines = [harmless(shortened(self.description)), "**Open:** " + " · ".join(links)]
        arms = [METHODS[name] for name in self.methods if name in METHODS]
        lines += [f"**{arm.label}**: {arm.summary}." for arm in arms]
        lines.append(
            "A run with role `cell` is one encoder, dataset, method and setting: `test_<objective>_mean`, `_std` "
            "(sample standard deviation), `_n` seeds, `_failed` of `_wanted`, and the 95 % interval `_ci_low` to "
            "`_ci_high`. The values under an objective come from the runs that were selected on validation data by "
            "that same metric. All values are fractions; epochs are passes over the primary task's training texts. "
            "Runs with role `seed` hold the curves, by optimizer update. What `current` calls `no` belongs to earlier "
            "settings."
        )
        return "\n\n".join(line for line in lines if line)

    def _cells(self) -> dict[str, Any]:
        params = ["encoder", "dataset", "method", *(["variant"] if self.variants else []), "mask_mean"]
        means = [f"test_{objective}_mean" for objective in self.objectives]
        metrics = [
            f"test_{objective}_{stat}"
            for objective in self.objectives
            for stat in ("mean", "std", "n", "failed", "ci_low", "ci_high")
        ]
        metrics += ["epochs_to_first_best_mean", "epochs_mean"]
        on_set = [f"{objective}_{stat}" for objective in self.objectives for stat in ("mean", "gap_mean")]
        metrics += self._on_sets(*on_set)
        shown = (*means, *(f"test_{objective}_std" for objective in self.objectives), "epochs_mean")
        return state(
            searchFilter=f"tags.role = 'cell' and tags.{CURRENT} = 'yes'",
            orderByKey=f"metrics.`{means[0]}`",
            columns=columns(params=params, metrics=metrics),
            wide=[parallel("cells", params, ["epochs_mean", *reversed(means)])],  # the last axis gives the colours
            charts=[bar(name) for name in shown],
        )

    def _seeds(self, objective: str) -> dict[str, Any]:
        metrics = [f"test_{name}" for name in (objective, *(o for o in self.objectives if o != objective))]
        metrics += ["validation_best", "epochs_to_first_best", "epochs_to_stop"]
        metrics += self._on_sets(objective, f"{objective}_gap")
        curves = [f"validation_{objective}", "validation_loss", "train_loss_primary", "train_loss_mlm"]
        return state(
            searchFilter=f"tags.role = 'seed' and tags.objective = '{objective}' and tags.{CURRENT} = 'yes'",
            orderByKey=f"metrics.`{metrics[0]}`",
            columns=columns(params=["seed"], metrics=metrics),
            charts=[*(line(name) for name in curves), bar(metrics[0])],
            groupBy={"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "cell"}]},
        )

    def _on_sets(self, *rests: str) -> list[str]:
        return [set_metric(name, rest) for name in self.sets[:MAX_SETS] for rest in rests]

    def _search(self) -> dict[str, Any]:
        best = f"validation_{self.objectives[0]}"
        params = ["encoder", "dataset", "method", *self.searched, "seed"]
        return state(
            searchFilter="tags.role = 'search'",
            orderByKey=f"metrics.`{best}`",
            columns=columns(params=params, metrics=[best, "epochs_to_first_best", "epochs_to_stop"]),
            wide=[parallel("search", [*params[:3], *self.searched], [best])],
            charts=[scatter(name, best) for name in self.searched],
        )


def shortened(description: str) -> str:
    """A description that fits; the whole one is in space.yaml, which is attached to the study's run."""
    if len(description) <= MAX_DESCRIPTION:
        return description
    return f"{description[:MAX_DESCRIPTION].rstrip()} … (cut; the whole text is in space.yaml)"


def harmless(description: str) -> str:
    """Markdown without HTML, links, pictures and what turns the direction of a text: it may be somebody else's."""
    return printable(description).replace("<", "&lt;").replace("](", r"]\(").replace("]:", r"]\:")


def seeds_key(objective: str) -> str:
    """Key of the view of the seed runs that were selected by `objective`."""
    return f"seeds-{objective}"


def link(experiment: str, key: str) -> str:
    """What opens a view, from the root of the server. Without the workflow the UI shows its pages for chat models."""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={key}"


def table_link(experiment: str, run: str) -> str:
    """What opens the result table among the artifacts of the study's run."""
    return f"#/experiments/{experiment}/runs/{run}/artifacts/{TABLE}?workflowType=machine_learning"


def opening(folder: Path, uri: str, page: str | None) -> str:
    """What to type or to open to see `page` (a link from the root of a server) of the study in `folder`."""
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page or ''}"
    if uri == resolve_uri(folder, None):
        return f"l3study ui {shlex.quote(str(folder))}"
    return f"mlflow ui --backend-store-uri {shlex.quote(redacted(uri))}, then open http://127.0.0.1:5000/{page or ''}"


def saved(name: str, view: Mapping[str, Any]) -> str:
    """A view as the UI's menu keeps it."""
    whole = json.dumps(view, separators=(",", ":"))
    return json.dumps({"name": name, "createdAt": MADE, "updatedAt": MADE, "state": whole}, separators=(",", ":"))


def state(
    *, columns: Sequence[str], charts: Iterable[dict[str, Any]], wide: Sequence[dict[str, Any]] = (), **more: Any
) -> dict[str, Any]:
    """A view: what `more` says, every run shown, highest first. `wide`: charts that take a whole row, at the top."""
    names = {f"params.`{name}`" for name in ("encoder", "dataset", "method", "variant", "mask_mean", "seed")}
    sections = [section("Overview", columns=1, cardHeight=420)] if wide else []
    sections += [section("Results"), section("Model metrics", display=False)]
    return {
        "orderByAsc": False,
        "selectedColumns": list(columns),
        "columnOrder": [RUN_NAME, "runDateAndNestInfo", *columns],
        "columnWidths": {RUN_NAME: 330} | {name: 95 if name in names else 150 for name in columns},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "useGroupedValuesInCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": sections,
        "compareRunCharts": [*({**chart, "metricSectionId": "section-Overview"} for chart in wide), *charts],
        **more,
    }


def columns(*, params: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Columns of the table, as the UI names them: values first, since the run's name holds the rest."""
    return [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in params)]


def section(name: str, **more: Any) -> dict[str, Any]:
    """A group of charts; metrics without a chart of their own go to "Model metrics"."""
    return {"uuid": f"section-{name}", "name": name, "display": True, "isReordered": True, "isGenerated": False, **more}


def card(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A chart."""
    common = {"uuid": f"{kind}-{name}", "type": kind, "runsCountToCompare": 100, "metricSectionId": "section-Results"}
    return {**common, "deleted": False, "isGenerated": False, **more}


def bar(metric: str) -> dict[str, Any]:
    """A bar for each run."""
    return card("BAR", metric, metricKey=metric)


def line(metric: str) -> dict[str, Any]:
    """A curve by step for each run or group."""
    return card(
        "LINE",
        metric,
        metricKey=metric,
        xAxisKey="step",
        xAxisScaleType="linear",
        scaleType="linear",
        lineSmoothness=0,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
        range={},
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
    )


def scatter(param: str, metric: str) -> dict[str, Any]:
    """A point for each run."""
    axes = {"xaxis": {"key": param, "type": "PARAM"}, "yaxis": {"key": metric, "type": "METRIC"}}
    return card("SCATTER", param, **axes)


def parallel(name: str, params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """A line for each run across axes."""
    return card("PARALLEL", name, selectedParams=list(params), selectedMetrics=list(metrics), showAllRuns=True)
