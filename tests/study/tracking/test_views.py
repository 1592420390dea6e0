"""The ready-made views of MLflow's page, and the words on it."""

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from hostile_names import PAYLOADS
from tracked_study import make_failure, make_record, make_search_record

from l3masking.methods import METHODS
from study.results.aggregate import Cell
from study.results.generalisation import Generalisation
from study.tracking.cells import cell_views
from study.tracking.runs import failure_view, search_view, seed_view
from study.tracking.views import CELLS, CHARTS, SEARCH, SHARED, Page, link, opening, seeds_key, table_link

PAGE = Page(
    description="About *this*",
    objectives=("accuracy", "macro_f1"),
    methods=("stl", "l3masking"),
    variants=True,
    searched=("masking.mean",),
    sets=("shifted",),
)
LIMIT = 20_000  # characters of an experiment's tag


def states(page=PAGE):
    """Key -> state of each view, as the UI unpacks them."""
    tags = {tag: value for tag, value in page.tags("1", "r").items() if tag.startswith(SHARED)}
    return {tag.removeprefix(SHARED): json.loads(json.loads(value)["state"]) for tag, value in tags.items()}


def known(part):
    """The names that runs of every kind really have, as columns and charts name them: metrics or params."""
    values = {"encoder": "b", "dataset": "a", "method": "rtm", "variant": None, "mask_mean": 0.15, "n": 2, "failed": 0}
    values |= {"wanted": 2, "mean": 0.5, "std": 0.1, "ci_low": 0.2, "ci_high": 0.7, "validation_mean": 0.5}
    values |= {"epochs_to_best_mean": 1.0, "epochs_to_first_best_mean": 1.0, "epochs_to_stop_mean": 3.0}
    values["values"] = {0: 0.5}
    interval = ("mean", "std", "ci_low", "ci_high")
    spread = dict.fromkeys((*interval, *(f"gap_{name}" for name in interval)), 0.5)
    more = {"classes": ("n", "y"), "merged": False, "absent": (), "texts": 4, "values": {0: 0.5}, "gaps": {0: 0.0}}
    on_set = Generalisation(n=2, **spread, **more)
    values["evaluations"] = {"shifted": on_set}
    cells = cell_views(Cell(objective=objective, **values) for objective in ("accuracy", "macro_f1"))
    read = {"shifted": {"metrics": {"accuracy": 0.5, "macro_f1": 0.25}}}
    seed, search = seed_view(make_record(evaluations=read)), search_view(make_search_record())
    curve = {point.key for point in seed.curve} if part == "metrics" else set()
    names = {CELLS: set(getattr(cells[0], part)), "seeds": set(getattr(seed, part)) | curve}
    return names | {SEARCH: set(getattr(search, part))}


def test_there_is_a_view_of_cells_of_the_seeds_by_objective_and_of_the_search():
    assert list(states()) == [CELLS, "seeds-accuracy", "seeds-macro_f1", SEARCH]
    assert list(states(Page(objectives=("accuracy",)))) == [CELLS, "seeds-accuracy"]
    assert states(Page(description="nothing yet")) == {}


def test_the_cells_are_filtered_and_ordered_by_the_first_objective():
    view = states()[CELLS]
    assert view["searchFilter"] == "tags.role = 'cell' and tags.current = 'yes'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`test_accuracy_mean`", False)
    assert "groupBy" not in view
    assert view["runsHiddenMode"] == "SHOW_ALL"
    for objective in PAGE.objectives:
        for stat in ("mean", "std", "n", "failed", "ci_low", "ci_high"):
            assert f"metrics.`test_{objective}_{stat}`" in view["selectedColumns"]
    wide = [chart for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert wide[0]["selectedParams"] == ["encoder", "dataset", "method", "variant", "mask_mean"]
    assert wide[0]["selectedMetrics"][-1] == "test_accuracy_mean"  # the last axis gives the colours
    assert "variant" not in str(states(Page(objectives=("accuracy",)))[CELLS])


def test_the_seeds_are_grouped_by_cell_and_of_one_objective():
    view = states()[seeds_key("macro_f1")]
    assert view["searchFilter"] == "tags.role = 'seed' and tags.objective = 'macro_f1' and tags.current = 'yes'"
    assert view["groupBy"] == {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "cell"}]}
    lines = [chart["metricKey"] for chart in view["compareRunCharts"] if chart["type"] == "LINE"]
    assert lines[0] == "validation_macro_f1"


def test_evaluation_sets_have_columns_beside_the_test_values():
    wanted = {CELLS: ("macro_f1_mean", "macro_f1_gap_mean"), "seeds-macro_f1": ("macro_f1", "macro_f1_gap")}
    for key, rests in wanted.items():
        assert {f"metrics.`ood.shifted.{rest}`" for rest in rests} <= set(states()[key]["selectedColumns"])
    assert "ood." not in json.dumps(states(replace(PAGE, sets=())))


@pytest.mark.parametrize("key", [CELLS, "seeds-accuracy", "seeds-macro_f1", SEARCH])
def test_every_column_and_chart_shows_something_that_runs_have(key):
    view, kind = states()[key], "seeds" if key.startswith("seeds") else key
    metrics, params = known("metrics")[kind], known("params")[kind]
    for column in view["selectedColumns"]:
        part, name = re.fullmatch(r"(metrics|params)\.`(.+)`", column).groups()
        assert name in (metrics if part == "metrics" else params), column
    sections = {section["uuid"] for section in view["compareRunSections"]}
    for chart in view["compareRunCharts"]:
        assert chart["metricSectionId"] in sections
        assert {chart["metricKey"]} <= metrics if "metricKey" in chart else True
        assert set(chart.get("selectedMetrics", ())) <= metrics
        assert set(chart.get("selectedParams", ())) <= params
        for axis in (chart[name] for name in ("xaxis", "yaxis") if name in chart):
            assert axis["key"] in (metrics if axis["type"] == "METRIC" else params)
    assert len({chart["uuid"] for chart in view["compareRunCharts"]}) == len(view["compareRunCharts"])


def test_a_view_fits_into_a_tag_also_of_a_large_search():
    sets = tuple(f"{'s' * 62}{i:02}" for i in range(50))
    searched = tuple(f"section.parameter_{i}" for i in range(8))
    page = Page(objectives=("accuracy", "macro_f1"), searched=searched, sets=sets)
    assert len(states(page)) == 4
    assert max(map(len, page.tags("1" * 20, "r" * 32).values())) < LIMIT


def test_views_do_not_change_from_one_call_to_the_next():
    assert PAGE.tags("1", "r") == PAGE.tags("1", "r")


def test_the_note_says_what_it_is_where_to_look_and_how_to_read_it():
    note = PAGE.note("7", "r")
    assert note.startswith("About *this*\n\n**Open:** ")
    for key in (CELLS, "seeds-accuracy", "seeds-macro_f1", SEARCH):
        assert f"({link('7', key)})" in note
        assert f"({link('7', key)}{CHARTS})" in note
    assert f"[Tables and figures]({table_link('7', 'r')})" in note
    assert "**STL**" in note
    assert "**L3Masking**" in note
    assert "**RTM**" not in note
    assert "sample standard deviation" in note
    assert METHODS["l3masking"].summary in note


def test_the_way_to_the_page_depends_on_the_store(tmp_path):
    page = link("1", CELLS)
    assert opening(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", page) == f"l3study ui {tmp_path}"
    assert opening(tmp_path, "http://127.0.0.1:5000/", page) == f"http://127.0.0.1:5000/{page}"
    other = opening(tmp_path, "postgresql://me:secret@host/db", page)
    assert other == f"mlflow ui --backend-store-uri 'postgresql://***@host/db', then open http://127.0.0.1:5000/{page}"
    assert "secret" not in other


def test_the_user_interface_of_this_mlflow_still_reads_every_key():
    """The format is MLflow's own and may change: then this says so, and a look at the page says whether it matters."""
    scripts = Path(str(find_spec("mlflow").origin)).parent / "server" / "js" / "build" / "static" / "js"
    if not scripts.is_dir():
        pytest.skip("this MLflow comes without its user interface")
    source = "\n".join(file.read_text(encoding="utf-8") for file in sorted(scripts.glob("*.js")))
    words = {SHARED, "viewStateShareKey", "workflowType", "machine_learning", "compareRunsMode", "experimentKind"}
    words |= {"SHOW_ALL", "groupByKeys", "aggregateFunction", "groupByData", "cardHeight", "createdAt"}
    for view in states().values():
        words |= view.keys() - {"searchFilter"}
        for thing in (*view["compareRunCharts"], *view["compareRunSections"]):
            words |= thing.keys()
        words |= {chart["type"] for chart in view["compareRunCharts"]}
    assert not [word for word in sorted(words) if word not in source]


@pytest.mark.parametrize("text", [*PAYLOADS, "[a]: javascript:1", "![x](http://a/b.png)"])
def test_a_description_brings_no_html_and_no_links(text):
    """S11: what is written as Markdown stays so."""
    note = Page(description=f"About *this* {text}", objectives=("accuracy",)).note("1", "r")
    about = note.split("\n\n**Open:**")[0]
    assert about.startswith("About *this* ")
    assert "<" not in about
    assert "](" not in about
    assert "]:" not in about
    assert not set("\x1b\r\t\u202e") & set(note)


@pytest.mark.parametrize("text", PAYLOADS)
def test_tags_of_runs_hold_no_controls(text):
    """S11: of a study that somebody else made."""
    record = make_record(trajectory=text, mask_mean=None)
    record["run"] |= {"host": text, "commit": text, "device": text}
    failed = failure_view(make_failure(record, reason=text))
    for view in (seed_view(record), failed):
        assert not [tag for tag, value in view.tags.items() if set("\x1b\r\t\n\u202e") & set(value)]
        assert not set("\x1b\r\t\n\u202e") & set(view.name)
