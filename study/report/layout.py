"""How cells are arranged and worded, the same for every table and figure. Percent begins here.

The arrangement is that of Kimura et al. 2024, Table 3: a block per encoder, a row per method, a column per dataset and
objective.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from l3masking.methods import METHODS, REFERENCE, label_of, labels_of
from study.results.aggregate import Cell, CellKey

OBJECTIVES = {"accuracy": "accuracy", "macro_f1": "macro F1"}
MARK = "†"
RETRIED = "‡"
MARKED = (
    f"{MARK}: decisively above {label_of(REFERENCE)} in a confirmatory comparison (all planned ones are complete, "
    "adjusted p below 0.05, and the 95 % intervals over seeds and over seeds and test texts exclude zero)."
)


class GridRow(NamedTuple):
    """One line of a block; `entries` runs along the columns of its grid, None if the study has no such cell."""

    label: str
    entries: tuple[Cell | None, ...]


class GridBlock(NamedTuple):
    """Rows under one heading, whose parts are the values of the fields that make the block."""

    heading: tuple[str, ...]
    rows: tuple[GridRow, ...]


class Grid(NamedTuple):
    """Blocks over common columns; blocks, rows and columns keep the order in which the cells came."""

    columns: tuple[tuple[str, ...], ...]
    blocks: tuple[GridBlock, ...]


class Shown(NamedTuple):
    """A cell in words, such as "71.31", "0.98" and "n=9/10"; a part that does not apply is empty."""

    mean: str
    std: str
    note: str


def grid(cells: Sequence[Cell], block: Sequence[str], column: Sequence[str]) -> Grid:
    """Arrange cells by the fields named in `block` and `column`; columns with the same first field stand together.

    A row is a method and variant; its label names the average mask probability if the cells have several.
    """

    def pick(cell: Cell, fields: Sequence[str]) -> tuple[str, ...]:
        return tuple(getattr(cell, field) for field in fields)

    seen = list(dict.fromkeys(pick(cell, column) for cell in cells))
    first = list(dict.fromkeys(name[0] for name in seen))
    columns = tuple(sorted(seen, key=lambda name: first.index(name[0])))
    means: dict[tuple[object, ...], set[float | None]] = {}
    for cell in cells:
        place = pick(cell, block), pick(cell, column), cell.method, cell.variant
        means.setdefault(place, set()).add(cell.mask_mean)
    apart = {(heading, *row) for (heading, _, *row), values in means.items() if len(values) > 1}
    found: dict[tuple[str, ...], dict[tuple[object, ...], dict[tuple[str, ...], Cell]]] = {}
    for cell in cells:
        heading = pick(cell, block)
        # a search finds another mean for each dataset and that is one row; two means in one column are two rows
        mean = cell.mask_mean if (heading, cell.method, cell.variant) in apart else None
        rows = found.setdefault(heading, {})
        rows.setdefault((cell.method, cell.variant, mean), {})[pick(cell, column)] = cell
    several = len({cell.mask_mean for cell in cells} - {None}) > 1
    return Grid(
        columns,
        tuple(
            GridBlock(name, tuple(_row(row, columns, several) for row in rows.values())) for name, rows in found.items()
        ),
    )


def row_label(method: str, variant: str | None, means: Iterable[float | None]) -> str:
    """The method's label; in brackets its variant and the average mask probabilities that are given, each once."""
    known = [f"{mean:g}" for mean in dict.fromkeys(means) if mean is not None]
    extra = ", ".join(part for part in (variant, f"mean {' / '.join(known)}" if known else None) if part)
    return label_of(method) + (f" ({extra})" if extra else "")


def _row(entries: Mapping[tuple[str, ...], Cell], columns: Sequence[tuple[str, ...]], with_means: bool) -> GridRow:
    cells = [entries[column] for column in columns if column in entries]
    label = row_label(cells[0].method, cells[0].variant, [cell.mask_mean for cell in cells] if with_means else [])
    return GridRow(label, tuple(map(entries.get, columns)))


def shown(cell: Cell) -> Shown:
    """Percent with two decimals, and how many seeds are behind it where that is not all of them (reliability.md P5)."""
    if cell.mean is None:
        if cell.failed == cell.wanted:
            return Shown("", "", f"failed (0/{cell.wanted})")
        return Shown("", "", f"not run (0/{cell.wanted}{f', {cell.failed} failed' if cell.failed else ''})")
    std = "" if cell.std is None else f"{100 * cell.std:.2f}"
    notes = ["" if cell.n == cell.wanted else f"n={cell.n}/{cell.wanted}", RETRIED if cell.retried else ""]
    return Shown(f"{100 * cell.mean:.2f}", std, " ".join(filter(None, notes)))


def best(cells: Iterable[Cell]) -> frozenset[CellKey]:
    """The cells with the highest mean of their encoder, dataset and objective.

    Means are compared as printed: equal digits tie, and all that tie are best. Nothing is best without a rival.
    """
    rivals: dict[tuple[str, str, str], list[tuple[float, CellKey]]] = {}
    for cell in cells:
        if cell.mean is not None:
            group = rivals.setdefault((cell.encoder, cell.dataset, cell.objective), [])
            group.append((float(shown(cell).mean), cell.key))
    return frozenset(
        key
        for group in rivals.values()
        if len(group) > 1
        for value, key in group
        if value == max(value for value, _ in group)
    )


def plain(text: str) -> str:
    """The text with a blank for every line break, control, invisible or unpaired character (Unicode C and Z)."""
    if text.isprintable():  # no C, and of Z the blank alone: nearly every text, and many times quicker
        return text
    return "".join(" " if unicodedata.category(mark)[0] in "CZ" else mark for mark in text)


def printable(text: str) -> str:
    """Lines of which none can steer a terminal: each as `plain` gives it. Files of a study may be somebody else's."""
    return "\n".join(map(plain, text.split("\n")))


def seeds(cells: Iterable[Cell]) -> str:
    """How many seeds the cells ask for, such as "10 seeds" or "3 to 10 seeds"."""
    counts = sorted({cell.wanted for cell in cells}) or [0]
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{many} seed{'' if many == '1' else 's'}"


def caption(cells: Sequence[Cell]) -> str:
    """What the numbers are: unit, statistic, seeds, selection, boldface."""
    means = sorted({cell.mask_mean for cell in cells if cell.mask_mean is not None})
    at = f" Average mask probability {means[0]:g}." if len(means) == 1 else ""
    return (
        f"Test results in percent, mean ± sample standard deviation over {seeds(cells)}; n=k/N: over fewer. "
        "The values of a column are from the runs selected on validation by that same metric. "
        f"Bold: best mean of an encoder and column.{at}"
    )


def convergence(cells: Sequence[Cell]) -> list[str]:
    """Which rows had not converged, a line per encoder and dataset; one line if all had; none if no record tells."""
    known = [cell for cell in cells if cell.converged is not None]
    short: dict[tuple[str, str, str], tuple[int, int]] = {}
    for cell in known:
        done = cell.converged or 0
        place = cell.encoder, cell.dataset, row_label(cell.method, cell.variant, [])
        if done < cell.n and (place not in short or done < short[place][0]):
            short[place] = done, cell.n
    if known and not short:
        return ["Every training had converged: best epoch in the first 90 % of those allowed, flat training loss."]
    places: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    for (encoder, dataset, label), counts in short.items():
        places.setdefault((encoder, dataset), {})[label] = counts
    return [_not_converged(*place, rows) for place, rows in places.items()]


def _not_converged(encoder: str, dataset: str, rows: Mapping[str, tuple[int, int]]) -> str:
    (first, (done, n)), *others = rows.items()
    told = ", ".join([f"{first} ({done} of {n} seeds had)", *(f"{row} ({d} of {k})" for row, (d, k) in others)])
    them = "them" if others else "it"
    return f"Not converged on {encoder} / {dataset}: {told}. Raise train.max_epochs before comparing {them}."


def completeness(cells: Sequence[Cell]) -> list[str]:
    """How many records there are, and which trainings were made again in float32 or had not converged."""
    done, failed, wanted = (sum(getattr(cell, name) for cell in cells) for name in ("n", "failed", "wanted"))
    lines = [f"Records: {done} of {wanted}; {failed} failed, {wanted - done - failed} not run."]
    if retried := sum(cell.retried for cell in cells):
        lines.append(f"{RETRIED}: {retried} of these diverged under bf16 and were trained again in float32.")
    return [*lines, *convergence(cells)]


def notes(cells: Sequence[Cell]) -> list[str]:
    """How complete the study is, and in what respects its methods are not alike."""
    lines = completeness(cells)
    methods = {cell.method for cell in cells} & METHODS.keys()
    alone = {name for name in methods if not METHODS[name].masks}
    if alone and methods - alone:
        lines.append(
            "Under one seed every method starts from the same head and the same splits; the methods that mask also "
            f"share the order of batches of both tasks, {labels_of(alone)} {'does' if len(alone) == 1 else 'do'} not."
        )
    lines += dict.fromkeys(remark for cell in cells for remark in cell.remarks)
    for name in (name for name in METHODS if name in methods and METHODS[name].last.update_factor > 1):
        factor = METHODS[name].last.update_factor
        lines.append(
            f"{label_of(name)} plans {factor} updates for each update of the other methods, and is evaluated after "
            f"{factor} times as many: as many gradients as an update that learns task weights takes."
        )
    fixed = {name for name in methods if not METHODS[name].learns_weights}
    if fixed and methods - fixed:
        lines.append(f"All methods but {labels_of(fixed)} learn their task weights from validation labels.")
    return lines
