"""How every figure looks, how it becomes PNG and SVG, and how its files are kept while nothing has changed.

Equal data give equal bytes: no date, no version, no user's matplotlibrc. A figure whose data, caption and program are
those of the files that are there is not drawn again, because drawing is the slow part of an export.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from study.report.layout import plain
from study.store.hints import read_hint
from study.store.whole_files import canonical, content_key, write_atomic
from study.version import code_folder, code_hash

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
MAX_PIXELS = 20_000  # of the longer side; a huge study is drawn coarser. Agg refuses 65,536
TITLE, LABEL, SMALL = 9, 8, 7.5  # points: titles of panels, axes and row names, ticks and notes
INK, SOFT, EDGE, GRID = "#222222", "#444444", "#999999", "#e6e6e6"
SHEET = 0.62  # height over width of what a landscape A4 sheet holds beside its margins and a caption
FOLDER = "figures"  # of a study
DRAWN_FILE = f"{FOLDER}/drawn.json"  # what the files of each figure were drawn from
PICTURES = ("png", "svg")
# As matplotlib writes an SVG: panels as groups two blanks in, a background first in each, and letters and markers
# where they are used first.
PANEL = re.compile(rb'^  <g id="axes_\d+">\n.*?^  </g>\n', re.DOTALL | re.MULTILINE)
PLOTTED_PART = re.compile(rb'<path d="M [-\d.]+ ([-\d.]+) \nL [-\d.]+ [-\d.]+ \nL [-\d.]+ ([-\d.]+) \n')
SHARED_SHAPE = re.compile(rb'<path id="([^"]+)"[^>]*/>')
USED_SHAPE = re.compile(rb'xlink:href="#([^"]+)"')
STYLE_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "l3study",  # else the ids inside are random
    "svg.fonttype": "path",  # the letters are drawn: a viewer without the font shows the same
    "axes.unicode_minus": True,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "butt",
    "lines.scale_dashes": False,  # dashes as long on a thin line as on a thick one
}


class FigureWarning(UserWarning):
    """A figure could not be drawn."""


class Drawn(NamedTuple):
    """A figure of a study, as it lies in its folder."""

    name: str  # of its files, without their endings
    caption: str  # plain text: what is shown, of how many seeds, and what bars and bands are
    png: bytes
    svg: bytes
    files: tuple[Path, ...]  # PNG and SVG, and CSV where its data have no other file
    cuts: tuple[float, ...] = ()  # shares of the height, from the top, at which a printed page may end


def figure_size(width: float, height: float) -> dict[str, Any]:
    """Arguments of a matplotlib Figure of a size in inches that Agg can draw."""
    return {"figsize": (width, height), "dpi": min(DPI, MAX_PIXELS / max(width, height))}


def quiet_axis(axis: Axes) -> None:
    """A pale grid behind the data, and no frame but the two axes, of a panel with numbers on both."""
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=SMALL, color=EDGE)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(EDGE)


def broken(text: str, letters: int) -> str:
    """A name in lines of at most so many letters, broken at blanks, behind "_", "/", "-", and within longer parts."""
    lines = [""]
    for word in re.findall(r"[^\s_/-]*[_/-]?\s*", plain(text)):
        for start in range(0, max(len(word), 1), letters):
            part = word[start : start + letters]
            if len((lines[-1] + part).rstrip()) > letters:
                lines.append("")
            lines[-1] += part
    return "\n".join(line.strip() for line in lines if line.strip()) or " "


def as_png(made: Callable[[], Figure]) -> bytes:
    """A figure as PNG."""
    return pictures(made)[0]


def pictures(made: Callable[[], Figure], title: str = "", caption: str = "") -> tuple[bytes, bytes]:
    """A figure as PNG and as SVG. title, caption: what the SVG says of itself, to a screen reader for one."""
    load_matplotlib()
    from matplotlib import rc_context, rcdefaults, rcParams

    png, svg = io.BytesIO(), io.BytesIO()
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE_SETTINGS)  # type: ignore[arg-type]  # its stubs list every key
        figure = made()
        figure.savefig(png, format="png", metadata={"Software": None})
        about = {name: plain(text) for name, text in (("Title", title), ("Description", caption)) if text}
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, **about})
    return png.getvalue(), svg.getvalue()


def load_matplotlib() -> None:
    """Import matplotlib with Agg: it refuses to be imported under an MPLBACKEND that a notebook has left behind."""
    if "matplotlib" in sys.modules:
        return
    given = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        import matplotlib as matplotlib
    finally:
        del os.environ["MPLBACKEND"]
        if given is not None:
            os.environ["MPLBACKEND"] = given


def keep_drawn(
    root: Path, name: str, data: object, caption: str, make: Callable[[], Figure], cuts: Sequence[float] = ()
) -> Drawn | None:
    """The figure `name` of the study in `root`, drawn by `make` unless its files show these data already.

    data: all that the drawing depends on, as plain values (JSON). cuts: as in Drawn. None and a FigureWarning if it
    cannot be drawn; older files are then removed, because they would show other results than the tables beside them.
    """
    files = picture_files(root, name)
    of = content_key([name, caption, data, _program()])
    known = _read_index(root)
    kept = _unchanged(files, known.get(name), of)
    if kept is None:
        try:
            kept = pictures(make, name.replace("_", " "), caption)
        except Exception as error:  # whatever a drawing library raises, tables and mirror do not depend on it
            forget_drawn(root, name)
            said = (str(error).strip() or "no message").splitlines()[0]
            text = f"{files[0]} is not drawn ({type(error).__name__}: {said}); the tables are complete"
            warnings.warn(text, FigureWarning, stacklevel=2)
            return None
        files[0].parent.mkdir(parents=True, exist_ok=True)
        for file, content in zip(files, kept, strict=True):
            write_atomic(file, content)
        write_atomic(root / DRAWN_FILE, canonical({**known, name: [of, *map(_digest, kept)]}))
    return Drawn(name, caption, *kept, files, tuple(cuts))


def forget_drawn(root: Path, name: str) -> None:
    """Remove the files of a figure that does not apply any more, its data file included."""
    for file in (*picture_files(root, name), root / FOLDER / f"{name}.csv"):
        file.unlink(missing_ok=True)
    known = _read_index(root)
    if known.pop(name, None) is not None:
        write_atomic(root / DRAWN_FILE, canonical(known))


def picture_files(root: Path, name: str) -> tuple[Path, Path]:
    """Where the PNG and the SVG of a figure lie."""
    png, svg = (root / FOLDER / f"{name}.{ending}" for ending in PICTURES)
    return png, svg


def sheets(image: bytes, cuts: Sequence[float]) -> list[bytes]:
    """An SVG in parts from top to bottom, each low enough for a sheet of paper as far as `cuts` allow.

    cuts: as in Drawn; no panel reaches over one. A part has another view box and those panels alone that it shows, so
    that letters and lines stay as they are and all parts together are about as large as the whole.
    """
    start = image[: image.index(b">", image.index(b"<svg")) + 1]
    size = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', start)
    assert size is not None, "matplotlib gives every SVG a view box"
    width, height = (float(number) for number in size.groups())
    edges, top = [], 0.0
    for cut, below in itertools.pairwise([*cuts, 1.0]):
        if (below - top) * height > SHEET * width and cut > top:
            edges.append(top := cut)
    if not edges:
        return [image]
    rest = image[len(start) :]
    shared = {found.group(1): found.group() for found in SHARED_SHAPE.finditer(rest)}
    return [
        _cropped(start, width, height * upper, height * (lower - upper))
        + _with_shapes(_panels_between(rest, height * upper, height * lower), shared)
        for upper, lower in itertools.pairwise([0.0, *edges, 1.0])
    ]


def _panels_between(rest: bytes, top: float, bottom: float) -> bytes:
    """An SVG without the panels whose plotted part has its middle outside."""

    def kept(panel: re.Match[bytes]) -> bytes:
        box = PLOTTED_PART.search(panel.group())
        assert box is not None, "matplotlib draws the background of an axis first"
        low, high = sorted(float(number) for number in box.groups())
        return panel.group() if top <= (low + high) / 2 < bottom else b""

    return PANEL.sub(kept, rest)


def _with_shapes(part: bytes, shared: dict[bytes, bytes]) -> bytes:
    """A part with the letters and markers that it uses and a panel that is gone had defined."""
    used = dict.fromkeys(USED_SHAPE.findall(part))
    missing = [shared[name] for name in used if name in shared and b'<path id="%s"' % name not in part]
    return b"<defs>" + b"\n".join(missing) + b"</defs>" + part if missing else part


def _cropped(start: bytes, width: float, top: float, height: float) -> bytes:
    """The opening of an SVG that shows the given part of it, in its own units."""
    text = re.sub(rb'viewBox="[^"]*"', b'viewBox="0 %.3f %.3f %.3f"' % (top, width, height), start)
    return re.sub(rb'(<svg[^>]*?)height="[^"]*"', rb'\g<1>height="%.3fpt"' % height, text)


def _unchanged(files: tuple[Path, Path], known: object, of: str) -> tuple[bytes, bytes] | None:
    """The pictures that are there, if they are whole and show the same; else None."""
    if not isinstance(known, list) or known[:1] != [of]:
        return None
    try:
        png, svg = (file.read_bytes() for file in files)
    except OSError:
        return None
    return (png, svg) if known[1:] == [_digest(png), _digest(svg)] else None


def _read_index(root: Path) -> dict[str, Any]:
    """Figure -> what it was drawn from, and hashes of its files; nothing where that cannot be read."""
    return read_hint(root / DRAWN_FILE, dict) or {}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def _program() -> list[str]:
    """What else decides how a figure looks: this program, and the version that draws."""
    return [code_hash(code_folder()), importlib.metadata.version("matplotlib")]
