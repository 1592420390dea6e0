"""report.html: what it shows, that it needs nothing from elsewhere, and names that attack."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import find_browser, see
from compared_cells import better, seeded
from hostile_names import PAYLOADS
from PIL import Image
from result_cells import cell

from study.report.drawing import pictures
from study.report.figures import draw, panels, png
from study.report.overview import answers, summary
from study.report.page import About, PageResults, ShownFailure, page
from study.report.sections import Item, Pairs, Paragraphs, Picture, Section, flat_table
from study.results.aggregate import Cell
from study.results.compare import compare
from study.results.verdicts import better_than_random

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]
FAILURE = ShownFailure("bert / arc / rtm @ best", "accuracy", 4, 2, "OutOfMemoryError: no room")
ABOUT = About(
    name="mine",
    description="what it is about",
    design=[("methods", "STL, RTM")],
    encoders=[("bert", "a-commit")],
    datasets=[("arc", "a-hash")],
    failures=[],
)
VOID = {"meta", "img", "br", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, texts by enclosing tag, and whether every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def of(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]


def made(cells: list[Cell], about: About = ABOUT, figures: list[Picture] | None = None, **parts) -> str:
    texts = {"joint_low": 0.01, "joint_high": 0.03}  # as if the labels of the test texts were known
    comparisons = [dataclasses.replace(entry, **texts) if entry.n > 1 else entry for entry in compare(cells)]
    marked = better_than_random(comparisons)
    results = PageResults(cells=cells, comparisons=comparisons, marked=marked, remarks=["A remark & more."])
    return page(about, results, figures or [], **parts)


def test_results_have_the_layout_of_the_paper():
    cells = [
        *(seeded("stl", TEN), *better(UP, TEN), seeded("rtm", TEN[:9], objective="macro_f1")),
        *(cell("stl", None, dataset="imdb"), cell("rtm", 0.6, encoder="other", dataset="imdb")),
    ]
    text = made(cells)
    grid = re.search(r"<table[^>]*>.*?</table>", text, re.DOTALL).group()
    heads = re.findall(r'<th class="over" colspan="(\d)" scope="colgroup">(\w+)</th>', grid)
    assert heads == [("2", "arc"), ("1", "imdb")]
    rows = [re.sub(r"<[^>]*>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", grid, re.DOTALL)]
    assert rows[2:] == [
        ["bert", "STL", "71.20", "±", "1.55", "failed", "(0/3)"],
        ["RTM", "71.20", "±", "1.55", "71.33", "±", "1.58", "n=9/10"],
        ["L3Masking", "73.25†", "±", "1.73"],
        ["other", "RTM", "60.00", "±", "1.23"],
    ]
    assert "<b>73.25†</b>" in grid
    assert '<span class="gap">failed (0/3)</span>' in grid
    assert re.search(r'rowspan="3">bert</th>', grid)
    assert "†: decisively above RTM" in text
    assert "†" not in made([seeded("stl", TEN), seeded("rtm", TEN)])


def test_everything_a_reader_needs_is_there():
    about = ABOUT.__class__(**vars(ABOUT) | {"failures": [FAILURE]})
    reader = Reader(made([*better(UP, TEN), cell("stl", None)], about))
    said = " ".join(text for _, text in reader.texts)
    for part in (
        *("mine", "what it is about", "Records: 20 of 23; 3 failed, 0 not run."),
        "bert / arc: L3Masking is 2.05 points above RTM (interval 1.83 to 2.27 excludes zero, adjusted p = .00586, "
        "over seeds and test texts 1.00 to 3.00 excludes zero too: decisive).",
        *("L3Masking against RTM, accuracy (confirmatory)", "A remark & more."),
        *(
            "Least p that the 10 differences can give: .00195; after Holm over 3 planned tests: .00586.",
            "OutOfMemoryError: no room",
            "bert / arc / rtm @ best",
        ),
        *("STL, RTM", "a-commit", "a-hash", "l3study run SPACE", "Epochs are passes", "3.2 / 6.0"),
    ):
        assert part in said
    assert 'class="strong"' in made(better(UP, TEN))
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    ids = {f"#{attributes['id']}" for _, attributes in reader.tags if "id" in attributes}
    assert len(links) == 5
    assert set(links) <= ids


@pytest.mark.parametrize("cells", [[], [cell("stl", None)], [seeded("rtm", [0.7]), seeded("l3masking", [])]])
def test_a_study_with_next_to_nothing_has_a_page(cells: list[Cell]):
    reader = Reader(made(cells))
    assert any("Records: " in text for text in reader.of("p"))
    assert "None" not in " ".join(text for _, text in reader.texts)


def picture(name: str, *images: bytes, caption: str = "") -> Picture:
    return Picture(name=name, images=images, caption=caption)


def test_nothing_is_fetched_and_nothing_runs_but_the_script_that_sorts():
    text = made(better(UP, TEN), figures=[picture("results", png(panels(better(UP, TEN))))])
    reader = Reader(text)
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert parts["img-src"] == "data:"
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert parts[f"{tag}-src"] == f"'sha256-{digest}'"  # of exactly that text: no other applies
    for tag, attributes in reader.tags:
        assert tag not in {"link", "iframe", "object", "form", "base"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
            assert tag != "script" or name not in attributes
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize("text", PAYLOADS)
def test_names_stay_text(text: str):
    failures = [ShownFailure(text, text, 1, 1, text)]
    about = About(
        name=text,
        description=text,
        design=[(text, text)],
        encoders=[(text, text)],
        datasets=[(text, text)],
        failures=failures,
    )
    plain = made([cell("stl", 0.7), cell("rtm", 0.8), cell("l3masking", 0.8)], ABOUT)
    cells = [cell(name, value, encoder=text, dataset=text) for name, value in (("stl", 0.7), ("rtm", 0.8), (text, 0.8))]
    further = [Section("more", text, [flat_table([text, text], [[text, text]], title=text, note=text)])]
    summary = [(text, [Item(text)])]
    hostile = made(cells, about, [picture(text, b"", caption=text)], further=further, summary=summary)
    tags = {tag for tag, _ in Reader(hostile).tags}
    assert tags - {tag for tag, _ in Reader(plain).tags} <= {
        "figure",
        "img",
        "figcaption",
        "ul",
        "li",
        "details",
        "summary",
    }
    assert not set("\x1b\r\u202e") & set(hostile)


def test_equal_results_give_equal_bytes():
    assert made(better(UP, TEN)) == made(better(UP, TEN))


def test_figures_keep_their_order_their_captions_and_their_kind():
    figures = [picture("z curve", b"\x89PNG 1", b"\x89PNG 2", caption="one & two"), picture("a", b"<svg/>")]
    reader = Reader(made([], figures=figures))
    shown = [(a["alt"], str(a["src"]).partition(",")) for tag, a in reader.tags if tag == "img"]
    assert [name for name, _ in shown] == ["z curve", "z curve, continued", "a"]
    assert [start for _, (start, _, _) in shown] == [*["data:image/png;base64"] * 2, "data:image/svg+xml;base64"]
    assert [base64.b64decode(data) for _, (_, _, data) in shown] == [b"\x89PNG 1", b"\x89PNG 2", b"<svg/>"]
    assert reader.of("figcaption") == ["one & two"]


def test_what_stands_between_backticks_is_code():
    lines = ["`run <b>` makes it", "a ` alone", "``` three", "`one`two`"]
    parts = [Paragraphs(lines=lines), Pairs(rows=[("how", "`run <b>` again")])]
    text = made([cell()], further=[Section("more", "More", parts)])
    assert "<p><code>run &lt;b&gt;</code> makes it</p>" in text
    assert "<dd><code>run &lt;b&gt;</code> again</dd>" in text
    for line in lines[1:]:
        assert f"<p>{line}</p>" in text
    assert "`l3study" not in text


def test_sections_without_parts_are_left_out():
    more = [
        Section("empty", "Empty", []),
        Section("more", "More", [Paragraphs(lines=["a line", "another"], small=True)]),
    ]
    text = made([cell("stl", 0.7)], further=more, answers=[Section("answers", "Answers", [Paragraphs(lines=["yes"])])])
    reader = Reader(text)
    titles = reader.of("h2")
    assert titles == ["Answers", "Results", "Comparisons", "Epochs", "More", "How it was made"]
    assert reader.of("a") == titles
    assert '<p class="small">a line</p>' in text


def test_the_summary_stands_before_all_sections():
    text = made([cell("stl", 0.7)], summary=[("In short", [Item("yes", True), Item("no")]), ("An empty list", [])])
    assert text.index("In short") < text.index("<nav>")
    assert '<li class="strong">yes</li>' in text
    assert "An empty list" not in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser here")
def test_a_browser_shows_it_without_a_complaint(tmp_path: Path):
    cells = better(UP, TEN)
    file = tmp_path / "report.html"
    file.write_text(
        made(cells, figures=[picture("results", pictures(lambda: draw(panels(cells)))[1])]), encoding="utf-8"
    )
    done = subprocess.run(
        [
            *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *("--disable-dev-shm-usage", "--window-size=1200,1600"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "Content Security Policy" not in done.stderr
    image = Image.open(tmp_path / "page.png").convert("RGB")
    # the style and the picture got through the policy: the data of the figure has the colour of L3Masking
    assert (0xD5, 0x5E, 0x00) in {color for _, color in image.getcolors(maxcolors=2**24)}


@pytest.mark.skipif(find_browser() is None, reason="no browser here")
def test_a_click_on_a_head_sorts_rows_within_their_block(tmp_path: Path):
    cells = [
        *(cell("stl", 0.7), cell("rtm", 0.65), cell("l3masking", 0.9), cell("mtl_static", None)),
        *(cell("stl", 0.2, encoder="other"), cell("rtm", 0.1, encoder="other")),
    ]
    file = tmp_path / "report.html"
    file.write_text(made(cells), encoding="utf-8")
    order = """(() => {
      const table = document.querySelector("#results table");
      const head = [...table.querySelectorAll("th span")].find(one => one.textContent === "accuracy");
      head.click(); %s
      return [...table.tBodies].map(body => [...body.rows].map(row =>
        row.cells[0].textContent + ":" + row.cells[1].textContent).join()).join(";") === "%s";
    })()"""
    up = "bert:RTM,bert:STL,bert:L3Masking,bert:MTL static;other:RTM,other:STL"
    down = "bert:L3Masking,bert:STL,bert:RTM,bert:MTL static;other:STL,other:RTM"
    see(file.as_uri(), order % ("", up), seconds=60)
    see(file.as_uri(), order % ("head.click();", down), seconds=60)


LONG = "Ohsumed_with_a_name_that_never_ends_and_has_no_blank_to_break_at"


def long_page(tmp_path: Path) -> str:
    """A page with names that no line breaks, of eight encoders and datasets."""
    cells = [
        one
        for number in range(8)
        for objective in ("accuracy", "macro_f1")
        for one in better(UP, TEN, encoder=LONG, dataset=f"{number}-{LONG}", objective=objective)
    ]
    about = dataclasses.replace(ABOUT, name=LONG, description=LONG, encoders=[(LONG, LONG)])
    comparisons = compare(cells)
    warnings = [f"{LONG}: {number}" for number in range(9)]
    file = tmp_path / "report.html"
    parts = {"summary": summary(cells, comparisons, warnings), "answers": [answers(comparisons, [])]}
    file.write_text(page(about, PageResults(cells=cells, comparisons=comparisons), **parts), encoding="utf-8")
    return file.as_uri()


@pytest.mark.skipif(find_browser() is None, reason="no browser here")
@pytest.mark.parametrize("size", [(1280, 900), (800, 900), (520, 800)])
def test_long_names_make_no_page_wider_than_its_window(tmp_path: Path, size: tuple[int, int]):
    folds = "[...document.querySelectorAll('details')].forEach(one => { one.open = true; });"
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    see(long_page(tmp_path), f"(() => {{ {folds} return document.readyState === 'complete' && {wide}; }})()", size=size)


@pytest.mark.skipif(find_browser() is None, reason="no browser here")
def test_the_summary_of_eight_pairs_fits_a_screen(tmp_path: Path):
    bottom = "document.querySelector('#summary').getBoundingClientRect().bottom"
    see(long_page(tmp_path), f"document.readyState === 'complete' && {bottom} < innerHeight", size=(1280, 900))


@pytest.mark.skipif(find_browser() is None, reason="no browser here")
@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_key_on_a_head_sorts_too_and_says_how(tmp_path: Path, key: str):
    file = tmp_path / "report.html"
    file.write_text(made([cell("stl", 0.7), cell("rtm", 0.65)]), encoding="utf-8")
    pressed = """(() => {
      const head = [...document.querySelectorAll("#results th span")].find(one => one.textContent === "accuracy");
      const press = () => head.dispatchEvent(new KeyboardEvent("keydown", {key: "%s", cancelable: true}));
      head.parentNode.removeAttribute("aria-sort");
      const scrolls = press(), up = head.parentNode.getAttribute("aria-sort");
      press();
      return head.tabIndex === 0 && !scrolls && up === "ascending"
        && head.parentNode.getAttribute("aria-sort") === "descending";
    })()"""
    see(file.as_uri(), pressed % key, seconds=60)
