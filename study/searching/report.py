"""The tables and the figure of a study's searches, written again from their records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.pages.figures import keep_figure
from study.resolved import Resolved
from study.searching.figure import responses_png
from study.searching.plan import searches
from study.searching.responses import responses, responses_csv, responses_json
from study.searching.space import SEARCH_FOLDER
from study.store import Store, write_atomic


def export_searches(root: Path, resolved: Resolved, formats: Sequence[str]) -> list[Path]:
    """Write `root`/tables/search.csv and .json and figures/search.png, as far as a search has tried anything."""
    declared = searches(resolved.spec, resolved.identities)
    found = responses(declared, Store(root / SEARCH_FOLDER).records(), resolved.identities) if declared else []
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
