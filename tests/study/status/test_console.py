"""What a run says: a table that is drawn anew on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from plans import KNOWN, space
from rich.console import Console
from rich.progress import Progress as Bars
from terminals import screen, under_terminal

import study.status.console
from study.plan.grid import make_plan
from study.status.console import LiveReporter, PlainReporter, TimeLeftColumn, cell_table, reporter
from study.status.progress import Counts, Progress

PROGRAM = """
import tempfile, time
from pathlib import Path
from types import SimpleNamespace as Trial
from study.status.progress import Progress
from study.status.console import LiveReporter, reporter
trials = [
    Trial(trajectory=f"{method}{seed}", seed=seed, cell=("bert-base", "acl-arc", method, None), keys={"accuracy": seed})
    for seed in (0, 1) for method in ("stl", "rtm", "l3masking")
]
with tempfile.TemporaryDirectory() as folder, reporter() as live:
    assert isinstance(live, LiveReporter)
    progress = Progress(Path(folder))
    live.say("finding encoders and datasets")
    live.follow(progress)
    progress.expect(trials, ())
    progress.ended(trials[0], None)
    live.step("scoring bert-base on acl-arc", 0, 4)
    live.step("scoring bert-base on acl-arc", 4, 4)
    live.step("trainings", 0, 5)
    for trial in trials[1:4]:
        progress.started(trial)
    time.sleep(1.2)
    progress.ended(trials[1], None)
    progress.ended(trials[2], "it broke")
    live.say("FAILED bert-base / acl-arc / l3masking / seed 0: it broke [and this is no markup] " + 30 * "x")
    live.step("trainings", 2, 5)
    time.sleep(0.7)
    progress.close("finished")
"""


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_shows_stages_and_cells_however_narrow(columns: int) -> None:
    said, code = under_terminal(PROGRAM, columns=columns)
    assert code == 0, said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1, "the cursor is there again"
    lines = screen(said, columns)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    assert text.count("finding encoders and datasets") == 1
    assert text.count("it broke [and this") == 1
    assert sum(line.startswith("cell") for line in lines) == 1, f"one table is left of all that were drawn:\n{text}"
    head = next(index for index, line in enumerate(lines) if line.startswith("cell"))
    assert lines[head].split()[1:] == ["done", "now", "fail", "left"]
    names = ["stl", "rtm", "l3masking"]
    long = [f"bert-base / acl-arc / {name}" for name in names]
    cut = ["…se/acl-arc/stl", "…se/acl-arc/rtm", "…-arc/l3masking"]
    shown = [line[: -4 * 6].rstrip() for line in lines[head + 1 : head + 4]]
    assert shown == (long if columns == 80 else cut)
    assert numbers(lines) == [(1, 0, 0, 1), (1, 0, 0, 1), (0, 0, 1, 1)], "nothing runs any more"
    drawn = re.sub(r"(\r|\x1b\[2K|\x1b\[1A)+\Z", "", said[: said.index("FAILED")])  # what was wiped for the new line
    before = screen(drawn, columns)
    assert numbers(before) == [(1, 1, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1)]
    bars = [line for line in lines if re.search(r"\b\d/\d\b", line)]
    assert len(bars) == 2
    assert "4/4" in bars[0]
    assert "2/5" in bars[1]
    assert lines.index(bars[0]) > max(i for i, line in enumerate(lines) if "FAILED" in line), "events stand above"


def numbers(lines: list[str]) -> list[tuple[int, ...]]:
    """Done, now, fail and left of each row of the table."""
    head = next(index for index, line in enumerate(lines) if line.startswith("cell"))
    return [tuple(map(int, line.split()[-4:])) for line in lines[head + 1 : head + 4]]


def test_a_small_terminal_shows_the_cells_at_work() -> None:
    counts = {("bert", f"data{n}", "stl", None): Counts(1, 0, 0, 0) for n in range(30)}
    counts["bert", "data7", "rtm", "more"] = Counts(0, 0, 0, 3)
    counts["bert", "data9", "rtm", None] = Counts(0, 1, 0, 0)
    console = Console(file=StringIO(), width=60)
    console.print(cell_table(counts, 60, 3))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("cell (29 more)")
    assert lines[1].startswith("bert / data0 / stl "), "what is done has the room that is left"
    assert lines[2].split() == ["bert", "/", "data7", "/", "rtm", "/", "more", "0", "0", "0", "3"]
    assert lines[3].split() == ["bert", "/", "data9", "/", "rtm", "0", "1", "0", "0"]


def test_elsewhere_lines_are_plain_and_few(capsys, monkeypatch, tmp_path) -> None:
    now = [0.0]
    monkeypatch.setattr(study.status.console.time, "monotonic", lambda: now[0])
    told = []
    with reporter() as plain:
        assert isinstance(plain, PlainReporter)
        progress = Progress(tmp_path)
        monkeypatch.setattr(progress, "stage", lambda *step: told.append(step))
        plain.follow(progress)
        plain.say("one event")
        for done in range(101):
            now[0] += 1
            plain.step("trainings", done, 100)
        progress.close("finished")
    out = capsys.readouterr().out
    assert "\r" not in out
    assert "\x1b" not in out
    assert out.splitlines() == [
        "one event",
        "trainings: 0/100",
        "trainings: 30/100, about 70 s left",
        "trainings: 60/100, about 40 s left",
        "trainings: 90/100, about 10 s left",
        "trainings: 100/100",
    ]
    assert told == [("trainings", done, 100) for done in range(101)], "progress.json hears of every step"


def test_a_bar_tells_the_time_left_at_the_pace_so_far() -> None:
    now, column = [0.0], TimeLeftColumn()
    bars = Bars(column, get_time=lambda: now[0])
    stage = bars.add_task("trainings", total=10)
    now[0] = 30.0
    assert column.render(bars.tasks[0]).plain == "", "nobody knows yet"
    bars.update(stage, completed=3)
    assert column.render(bars.tasks[0]).plain == "70 s left"
    bars.update(stage, completed=10)
    assert column.render(bars.tasks[0]).plain == ""


def test_a_live_view_tells_its_progress_of_the_stages(tmp_path) -> None:
    console = Console(file=StringIO(), width=80, force_terminal=True)
    live, progress = LiveReporter(console), Progress(tmp_path)
    trials = make_plan(space(seeds=1), KNOWN)
    live.step("before", 1, 1)
    live.follow(progress)
    assert live.picture() is live._bars, "no cells yet"
    progress.expect(trials, ())
    live.step("trainings", 1, 3)
    console.print(live.picture())
    assert "l3masking" in console.file.getvalue()
    progress.close("finished")
    assert '"name":"trainings"' in (tmp_path / "progress.json").read_text()
