"""What report.html has behind a fold: what is exploratory, as in the preset, or long."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from compared_cells import better, seeded
from effort_records import trained

from study.plan.resolved import Resolved
from study.plan.trials import Identities
from study.report.further import further_sections
from study.report.page import About, PageResults, page
from study.report.sections import Fold, Paragraphs, Section, TableView, flat_table, folded_tables
from study.results.aggregate import Cell
from study.results.classified import Classified
from study.results.compare import compare
from study.results.effort_pairs import compare_effort
from study.results.families import NOTHING_DECLARED
from study.results.truth import Truths
from study.space.reader import make_space

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]
ABOUT = About(name="mine", description="", design=[], encoders=[], datasets=[], failures=[])


def cells() -> list[Cell]:
    return [*better(UP, TEN), seeded("mtl_static", TEN), *better(UP, TEN, objective="macro_f1")]


def comparisons_of(text: str) -> str:
    found = re.search(r'<section id="comparisons">.*?</section>', text, re.DOTALL)
    assert found
    return found.group()


def test_confirmatory_comparisons_stand_open_and_first_and_the_others_behind_a_fold() -> None:
    text = comparisons_of(page(ABOUT, PageResults(cells=cells(), comparisons=compare(cells()))))
    before, fold, behind = text.partition("<details>")
    assert fold
    assert "L3Masking against RTM, accuracy (confirmatory)" in before
    assert "(exploratory)" not in before
    assert "(confirmatory)" not in behind
    assert re.findall(r"<summary>(.*?)</summary>", text) == [
        "2 exploratory comparisons, by question",
        "L3Masking against RTM, macro F1 (exploratory)",
        "L3Masking against MTL static, accuracy (exploratory)",
    ]
    assert text.count("<details") == text.count("</details>") == 3


def test_without_a_confirmatory_comparison_the_exploratory_ones_stand_open() -> None:
    found = compare(cells(), family=NOTHING_DECLARED)
    text = comparisons_of(page(ABOUT, PageResults(cells=cells(), comparisons=found)))
    assert text.count("<details open>") == 1
    assert text.index("<details open>") < text.index("3 exploratory comparisons, by question")


@pytest.mark.parametrize(("count", "folded"), [(4, False), (5, True)])
def test_many_remarks_are_folded(count: int, folded: bool) -> None:
    results = PageResults(cells=cells(), remarks=[f"remark {number}" for number in range(count)])
    text = comparisons_of(page(ABOUT, results))
    assert ("<summary>5 notes on all comparisons</summary>" in text) == folded
    assert text.count("<li>remark ") == count


def test_a_table_with_a_title_is_folded_under_it() -> None:
    words = Paragraphs(lines=["a"])
    parts = folded_tables([words, flat_table(["x"], [["1"]]), flat_table(["y"], [["2"]], title="Y", note="n")])
    assert parts[:2] == [words, flat_table(["x"], [["1"]])]
    assert parts[2] == Fold(title="Y", parts=[flat_table(["y"], [["2"]], note="n")])


def further(tmp_path: Path, **space) -> dict[str, Section]:
    spec = make_space(
        {"name": "test", "pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}], "seeds": 2, **space},
        source="test.yaml",
        folder=Path("/nowhere"),
        problems=[],
    )
    rows, efforts = trained(stl=[6.0, 7.0, 8.0], rtm=[6.0, 8.0, 9.0], l3masking=[5.0, 6.0, 8.5])
    took = compare_effort(rows, efforts)
    judged = Classified(Truths({}, {}, {}), [])
    made = further_sections(tmp_path, Resolved(spec, Identities()), rows, judged, took, [])
    return {section.anchor: section for section in made}


def test_effort_of_declared_questions_stands_open(tmp_path: Path) -> None:
    section = further(tmp_path, compare={"questions": [["rtm", "l3masking"]]})["effort"]
    titles = [part.title for part in section.parts if isinstance(part, TableView)]
    assert [title.partition(",")[0] for title in titles] == ["L3Masking against RTM"] * 3, "whichever way it is asked"
    [fold] = [part for part in section.parts if isinstance(part, Fold)]
    assert fold.title == "2 further questions"
    assert len(fold.parts) == 6
    everything = further(tmp_path)["effort"].parts
    assert not [part for part in everything if isinstance(part, Fold)], "the default family is all three"


def test_settings_that_say_nothing_of_the_study_are_folded(tmp_path: Path) -> None:
    section = further(tmp_path, train={"max_epochs": 7}, variants={"more": {"masking.mean": 0.3}})["settings"]
    table, fold = section.parts
    assert isinstance(table, TableView)
    assert [row[0] for row in table.bodies[0].rows] == ["masking.mean", "train.max_epochs"]
    assert isinstance(fold, Fold)
    [rest] = fold.parts
    assert isinstance(rest, TableView)
    assert fold.title == f"{len(rest.bodies[0].rows)} settings as in the preset"
    [alone] = further(tmp_path)["settings"].parts
    assert isinstance(alone, Fold)


def test_a_study_without_a_record_has_no_tables_of_dashes() -> None:
    nothing = [seeded(method, []) for method in ("stl", "rtm", "l3masking")]
    text = comparisons_of(page(ABOUT, PageResults(cells=nothing, comparisons=compare(nothing))))
    assert "No comparison has a seed that both of its rows have finished." in text
    assert "<table" not in text
