"""The tables and the figures of a study's searches, written again from their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from study.plan.resolved import Resolved
from study.plan.searches import searches
from study.report.drawing import Drawn, keep_drawn
from study.report.figure_files import export_performance
from study.report.search_figure import SEARCH_LEGEND, draw_responses
from study.results.responses import responses, responses_csv, responses_json
from study.space.search_section import SEARCH_FOLDER
from study.store.store import Store, write_atomic

SEARCH = "search"  # name of the figure of responses and of its files


class SearchFiles(NamedTuple):
    """What the searches of a study leave."""

    tables: list[Path]
    figures: list[Drawn]


def export_searches(root: Path, resolved: Resolved, formats: Sequence[str]) -> SearchFiles:
    """Write `root`/tables/search.csv and .json and the figures of searches, as far as a search has tried anything."""
    spec, identities, findings = resolved
    declared = searches(spec, identities)
    found = responses(declared, Store(root / SEARCH_FOLDER).records(), identities, findings) if declared else []
    performance = export_performance(root, found, formats)
    if not found:
        return SearchFiles([], performance)
    makers = {"csv": responses_csv, "json": responses_json}
    files = {f"tables/search.{name}": makers[name](found).encode() for name in makers if name in formats}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, data)
    plain_values = [asdict(response) for response in found]
    drawn = keep_drawn(root, SEARCH, plain_values, SEARCH_LEGEND.replace("\n", " "), lambda: draw_responses(found))
    return SearchFiles([root / name for name in files], [*([drawn] if drawn else []), *performance])
