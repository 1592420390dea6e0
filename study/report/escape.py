"""Names come from users: how a text becomes one entry of a CSV, Markdown or LaTeX file and stays a text there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from study.report.layout import Shown, plain

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MARKDOWN_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"} | {mark: f"\\{mark}" for mark in r"\`*_[]|~"}
)
LATEX_ESCAPES = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "–": "--", "†": r"\dag{}"}
)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A whole CSV file; None is an empty entry."""
    return "".join(",".join(map(_csv_entry, row)) + "\n" for row in (header, *rows))


def markdown_text(text: str) -> str:
    """In a paragraph or a table cell of Markdown."""
    return plain(text).translate(MARKDOWN_ESCAPES)


def latex_text(text: str) -> str:
    """In LaTeX's text mode."""
    return plain(text).translate(LATEX_ESCAPES)


def markdown_value(value: Shown, *, bold: bool = False, mark: str = "") -> str:
    """A number with its deviation and note, as one cell of a Markdown table."""
    text = (f"**{value.mean}**" if bold else value.mean) + mark
    text += f" ± {value.std}" if value.std else ""
    return f"{text} ({value.note})" if value.mean and value.note else text or value.note


def latex_value(value: Shown, *, bold: bool = False, mark: str = "") -> str:
    """The same in LaTeX's text mode."""
    mean = f"$-${value.mean[1:]}" if value.mean.startswith("-") else value.mean  # a hyphen is no minus sign
    text = (rf"\textbf{{{mean}}}" if bold else mean) + latex_text(mark)
    text += rf" $\pm$ {value.std}" if value.std else ""
    return f"{text} ({latex_text(value.note)})" if value.mean and value.note else text or latex_text(value.note)


def markdown_table(header: Sequence[str], align: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Entries are Markdown already. `align`: l | r for each column."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def latex_table(caption: str, align: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A whole table for a document with booktabs; every text is escaped here. `align`: l | r for each column."""
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            " & ".join(map(latex_text, header)) + r" \\",
            r"\midrule",
            *(" & ".join(map(latex_text, row)) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _csv_entry(value: object) -> str:
    """One entry after RFC 4180; Python 3.11's csv writer leaves a lone carriage return unquoted."""
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, str) and text.startswith(FORMULA_STARTS):
        text = f"'{text}"  # a spreadsheet would run it; numbers keep their sign
    return f'"{text.replace(chr(34), 2 * chr(34))}"' if any(mark in text for mark in ',"\r\n') else text
