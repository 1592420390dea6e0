"""Texts token by token as one page that needs nothing else: no script, nothing fetched, which a policy enforces."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from l3masking.analysis.token_view import TokenView
from study.report.layout import plain
from study.report.token_view import (
    LEGEND_OF_VIEW,
    LEVELS,
    LIKELIHOOD_LABEL,
    TokenLine,
    color_at,
    letters_at,
    level_of,
    lines_of,
    notes_of,
    number,
    runs,
    shown_tokens,
    top_of,
)

PAGE_LETTERS = 92  # letters in a line of tokens
STYLE_OF_VIEW = """
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; color: #1d2329; background: #fff;
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, Arial, "Liberation Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1rem; margin: 1.8rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; color: #5b6570; max-width: 60rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 2px; margin: .5rem 0 1rem; }
th, td { font: 13px/1.3 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; padding: .15rem .3rem;
  text-align: center; white-space: pre; border: 1px solid transparent; }
th[scope="row"] { text-align: left; color: #5b6570; font-weight: 400; padding-right: .8rem; }
td.mask { border-color: #b8c0c8; }
* { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
@media print { @page { size: A4 landscape; margin: 12mm; } body { padding: 0; } table { break-inside: avoid; } }
"""
TEMPLATE_OF_VIEW = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Token view</title>
<style>{{ style }}</style>
</head>
<body>
<h1>Token view</h1>
{% for line in about %}
<p>{{ line }}</p>
{% endfor %}
{% for view in views %}
<h2>{{ view.title }}</h2>
{% for line in view.notes %}
<p>{{ line }}</p>
{% endfor %}
<div class="scroll">
{% for table in view.tables %}
<table>
<thead><tr><th scope="row">token</th>{% for token, piece in table.tokens %}<th scope="col" title="{{ piece }}">{{ token }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th scope="row">{{ row.label }}</th>{% for cell in row.cells %}<td colspan="{{ cell.span }}"{% if cell.level is not none %} class="mask s{{ cell.level }}"{% endif %} title="{{ cell.exact }}">{{ cell.shown }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
</div>
{% endfor %}
</body>
</html>
"""  # noqa: E501


def html_view(views: Sequence[TokenView], about: Sequence[str]) -> str:
    """All texts as one page without a script; about: lines on top, such as encoder and settings."""
    from jinja2 import Environment, StrictUndefined  # only where a page is made
    from markupsafe import Markup

    steps = "".join(
        f"td.s{level} {{ background: #{bytes(color_at(level)).hex()}; color: #{bytes(letters_at(level)).hex()}; }}\n"
        for level in range(LEVELS + 1)
    )
    style = STYLE_OF_VIEW + steps
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    return environment.from_string(TEMPLATE_OF_VIEW).render(
        about=[*map(plain, about), LEGEND_OF_VIEW],
        policy=f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        views=[
            {
                "title": plain(view.text),
                "notes": notes_of(view),
                "tables": [_html_table(view, line) for line in lines_of(shown_tokens(view), PAGE_LETTERS)],
            }
            for view in views
        ],
    )


def _html_table(view: TokenView, line: TokenLine) -> dict[str, object]:
    top, tokens = top_of(view), shown_tokens(view)
    inside = range(line.start, line.end)
    likelihood = [
        {"span": 1, "level": None, "shown": number(view.likelihood[at]), "exact": f"{view.likelihood[at]:.6f}"}
        for at in inside
    ]
    rows: list[dict[str, object]] = [{"label": LIKELIHOOD_LABEL, "cells": likelihood}]
    for row in view.rows:
        cells = [
            {
                "span": run.end - run.start,
                "level": level_of(run.value, top),
                "shown": number(run.value),
                "exact": f"{run.value:.6f}",
            }
            for run in runs(row, line)
        ]
        rows.append({"label": plain(row.label), "cells": cells})
    return {"tokens": [(tokens[at], plain(view.pieces[at])) for at in inside], "rows": rows}
