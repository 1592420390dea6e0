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
from study.report.panel_grid import cuts_of
from study.report.search_figure import SEARCH_CAPTION, draw_responses, search_frame, search_rows
from study.results.aggregate import Cell
from study.results.responses import responses, responses_csv, responses_json
from study.space.search_section import SEARCH_FOLDER
from study.store.store import Store, write_atomic

SEARCH = "search"  # name of the figure of responses and of its files


class SearchFiles(NamedTuple):
    """What the searches of a study leave."""

    tables: list[Path]
    figures: list[Drawn]


def export_searches(root: Path, resolved: Resolved, formats: Sequence[str], cells: Sequence[Cell]) -> SearchFiles:
    """Write `root`/tables/search.csv and .json and the figures of searches, as far as a search has tried anything."""
    spec, identities, findings = resolved
    declared = searches(spec, identities)
    tried = Store(root / SEARCH_FOLDER).records() if declared else []
    found = responses(declared, tried, identities, findings, cells) if declared else []
    performance = export_performance(root, found, formats)
    if not found:
        return SearchFiles([], performance)
    makers = {"csv": responses_csv, "json": responses_json}
    files = {f"tables/search.{name}": makers[name](found).encode() for name in makers if name in formats}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, data)
    rows = search_rows(found)
    frame = search_frame(rows)
    shown = [[asdict(response) for response in group] for group in rows], frame
    drawn = keep_drawn(root, SEARCH, shown, SEARCH_CAPTION, lambda: draw_responses(rows, frame), cuts_of(frame))
    return SearchFiles([root / name for name in files], [*([drawn] if drawn else []), *performance])
