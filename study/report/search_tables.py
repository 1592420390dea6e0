"""The tables and the figure of a study's searches, written again from their records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.plan.resolved import Resolved
from study.plan.searches import searches
from study.report.figures import keep_figure
from study.report.search_figure import responses_png
from study.results.aggregate import Cell
from study.results.responses import responses, responses_csv, responses_json
from study.space.search_section import SEARCH_FOLDER
from study.store.store import Store, write_atomic


def export_searches(root: Path, resolved: Resolved, formats: Sequence[str], cells: Sequence[Cell]) -> list[Path]:
    """Write `root`/tables/search.csv and .json and figures/search.png, as far as a search has tried anything."""
    spec, identities, findings = resolved
    declared = searches(spec, identities)
    if not declared:
        return []
    found = responses(declared, Store(root / SEARCH_FOLDER).records(), identities, findings, cells)
    if not found:
        return []
    makers = {"csv": responses_csv, "json": responses_json}
    files = {f"tables/search.{name}": makers[name](found).encode() for name in makers if name in formats}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, data)
    figure = root / "figures/search.png"
    drawn = keep_figure(figure, lambda: responses_png(found)) is not None
    return [*(root / name for name in files), *([figure] if drawn else [])]
