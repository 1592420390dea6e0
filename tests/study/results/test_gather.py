"""From records in a folder to every file of a study, and to the answers of `compare`."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_study import NoMirror, command, marks, records, resolved_text, write_rows, write_study
from typer.testing import CliRunner

from l3masking.data.spec import EvaluationSpec
from l3masking.errors import InputError
from l3masking.metrics import METRICS
from study.cli import app as cli
from study.plan.grid import make_plan
from study.plan.resolved import planned
from study.report.publish import write_tables
from study.results.answers import answer
from study.results.gather import _small, gather, reordered
from study.results.paired import named_generator
from study.results.published import PAPER
from study.space.reader import read_space
from study.store.store import Store

FILES = [
    *(f"tables/results.{name}" for name in ("md", "tex", "csv", "json")),
    *("tables/timing.csv", "tables/comparisons.md", "tables/comparisons.csv", "tables/comparisons.json"),
    *("tables/effort.md", "tables/effort.csv"),
    *(f"tables/{name}" for name in ("classes.csv", "confusion.csv", "calibration.csv", "classes.md")),
    *(f"tables/settings.{name}" for name in ("md", "csv", "tex")),
    *("tables/data.md", "tables/data.tex", "tables/data.csv"),
    *("figures/results.png", "figures/results.svg"),
    *(
        f"figures/{name}.{ending}"
        for name in ("effort", "curves", "task_weights", "mask_probabilities")
        for ending in ("png", "svg", "csv")
    ),
    *("figures/captions.md", "report.html"),
]
OF_RECORDS = [
    name for name in FILES if re.search("figures/(effort|curves|task|mask)|class|confusion|calibration", name)
]


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study's folder: three methods, two objectives, two seeds."""
    shutil.copytree(finished_study / "out", tmp_path / "out")
    return tmp_path / "out"


def change(root: Path, **keys: object) -> None:
    """Other values of top-level keys in resolved.yaml, as another run would write them."""
    value = yaml.safe_load((root / "resolved.yaml").read_text())
    (root / "resolved.yaml").write_text(yaml.safe_dump(value | keys))


def lose(root: Path, **which: object) -> dict:
    """Turn one record into a failure; returns it."""
    key, record = next((k, r) for k, r in records(root).items() if which.items() <= r.items())
    (root / "records" / f"{key}.json").unlink()
    Store(root).fail(record | {"reason": "OutOfMemoryError: no room", "traceback": "", "attempts": 2})
    return record


# ---- files


def test_every_file_is_written_and_again_with_equal_bytes(here: Path, tmp_path: Path):
    results, files = write_tables(here)
    assert [str(file.relative_to(here)) for file in files] == FILES
    assert len(results.cells) == 6
    assert len(results.comparisons) == 6
    shutil.copytree(here, tmp_path / "elsewhere")
    write_tables(tmp_path / "elsewhere")
    for name in FILES:
        assert (here / name).read_bytes() == (tmp_path / "elsewhere" / name).read_bytes()
    assert str(tmp_path) not in (here / "report.html").read_text()


def test_records_are_left_as_they_are(here: Path):
    before = marks(here)
    write_tables(here)
    assert marks(here) == before


def test_a_failure_is_shown_everywhere_and_averaged_nowhere(here: Path):
    lost = lose(here, method="rtm", objective="accuracy", seed=1)
    results, _ = write_tables(here)
    cell = next(c for c in results.cells if (c.method, c.objective) == ("rtm", "accuracy"))
    assert (cell.n, cell.failed, cell.wanted, list(cell.values)) == (1, 1, 2, [0])
    entry = results.comparisons[0]
    assert (entry.question, entry.n, entry.p) == ("l3masking vs rtm", 1, None)
    assert [failure["key"] for failure in results.failures] == [lost["key"]]
    page = (here / "report.html").read_text()
    assert "OutOfMemoryError: no room" in page
    assert "n=1/2" in page
    assert "(n=1/2)" in (here / "tables/results.md").read_text()


def test_a_study_without_any_record_has_all_its_files(here: Path):
    shutil.rmtree(here / "records")
    results, files = write_tables(here)
    assert all(cell.mean is None for cell in results.cells)
    assert [str(file.relative_to(here)) for file in files] == [name for name in FILES if name not in OF_RECORDS]
    assert all(file.is_file() for file in files)
    assert not any((here / name).exists() for name in OF_RECORDS if name.startswith("figures/")), (
        "of results that are gone"
    )
    assert "Records: 0 of 12; 0 failed, 12 not run." in (here / "report.html").read_text()
    text = (here / "tables/comparisons.md").read_text()
    assert "L3Masking and RTM have no finished seed in common: nothing to compare." in text


def test_one_row_alone_has_nothing_to_compare(here: Path, tmp_path: Path):
    change(here, methods=["rtm"], compare=None)
    write_tables(here)
    assert "Nothing to compare" in (here / "report.html").read_text()
    assert json.loads((here / "tables/comparisons.json").read_text())["comparisons"] == []
    assert answer(here).comparisons == []


def test_predictions_are_those_of_the_records(here: Path):
    resolved = planned(here)
    results = gather(Store(here), resolved.spec, make_plan(*resolved))
    for record in records(here).values():
        found = [p[record["seed"]] for key, p in results.predictions.items() if key.method == record["method"]]
        assert any(np.array_equal(row, record["test_predictions"]) for row in found)
    assert {cell.test_texts for cell in results.cells} == {12}


def test_variants_that_make_other_batches_are_known(tmp_path: Path):
    variants = {"wide": {"masking.mean": 0.3}, "large": {"train.batch": 4}}
    spec = read_space(write_study(tmp_path, variants=variants))
    assert reordered(spec) == {"large"}
    search = {"parameters": {"train.batch": {"choice": [4, 8]}}}
    assert reordered(read_space(write_study(tmp_path, variants={}, search=search))) == {"best"}


# ---- evaluation sets

SET_CLASSES = ("first", "rest")
SET_LABELS = np.array([0, 1, 1, 0, 1, 1, 1, 0, 1, 1])


def read_a_set(root: Path, *names: str, without: Callable[[dict], bool] = lambda record: False) -> None:
    """Give records the result on a set `other` of two classes that they would have if they had read it.

    names: what the set is called instead, each an entry of its own.
    """
    for key, record in records(root).items():
        if without(record):
            continue
        generator = named_generator(record["method"], record["objective"], record["seed"])
        predictions = np.where(generator.random(10) < 0.7, SET_LABELS, 1 - SET_LABELS)
        metrics = {name: METRICS[name](predictions, SET_LABELS, 2) for name in METRICS}
        result = {"metrics": metrics, "labels": [*SET_CLASSES], "predictions": predictions.tolist()}
        (root / "records" / f"{key}.json").unlink()
        whole = {name: value for name, value in record.items() if name != "checksum"}
        Store(root).commit(whole | {"evaluations": dict.fromkeys(names or ("other",), result)})


def test_evaluation_sets_reach_every_file_and_are_held_as_bytes(here: Path):
    before = {name: (here / name).read_bytes() for name in FILES if name.endswith("csv")}
    read_a_set(here)
    results, files = write_tables(here)
    names = [str(file.relative_to(here)) for file in files]
    assert set(names) - set(FILES) == {"tables/evaluations.csv", "tables/evaluation_comparisons.csv"}
    for name in ("results.csv", "comparisons.csv"):
        assert (here / "tables" / name).read_bytes() == before[f"tables/{name}"]
    for record in records(here).values():
        result = record["evaluations"]["other"]
        found = [
            cell for cell in results.cells if (cell.method, cell.objective) == (record["method"], record["objective"])
        ]
        on_set, value = found[0].evaluations["other"], result["metrics"][record["objective"]]
        assert on_set.values[record["seed"]] == value
        assert on_set.gaps[record["seed"]] == record["test"][record["objective"]] - value
        assert (on_set.n, on_set.classes, on_set.merged, on_set.texts) == (2, SET_CLASSES, True, 10)
        held = results.set_predictions["other"][found[0].key][record["seed"]]
        assert held.dtype == np.uint8
        assert held.tolist() == result["predictions"]
    assert "## Out of distribution" in (here / "tables/results.md").read_text()
    assert "Out of distribution: words, macro F1" in (here / "tables/results.tex").read_text()
    assert '<section id="evaluations">' in (here / "report.html").read_text()


def test_sets_come_in_the_order_of_the_space(here: Path):
    read_a_set(here, "a", "b", "c")
    resolved = planned(here)
    sets = {name: EvaluationSpec(test="x.csv") for name in ("c", "a", "b")}
    words = dataclasses.replace(resolved.spec.datasets["words"], evaluation_sets=sets)
    spec = dataclasses.replace(resolved.spec, datasets={"words": words})
    found = gather(Store(here), spec, make_plan(*resolved))
    assert {tuple(cell.evaluations) for cell in found.cells} == {("c", "a", "b")}
    assert list(dict.fromkeys(entry.evaluation for entry in found.set_comparisons)) == ["c", "a", "b"]


def test_records_of_an_earlier_version_show_no_mean_on_a_set(here: Path):
    read_a_set(here, without=lambda record: (record["method"], record["seed"]) == ("rtm", 1))
    results, _ = write_tables(here)
    counts = {cell.method: cell.evaluations["other"].n for cell in results.cells}
    assert counts == {"stl": 2, "rtm": 1, "l3masking": 2}
    assert "incomplete (1/2)" in (here / "tables/results.md").read_text()


# ---- compare


def test_compare_pairs_by_seed_and_resamples_the_test_texts(here: Path):
    found = answer(here)
    assert (found.study, found.against, found.notes) == ("small", None, [])
    assert [entry.confirmatory for entry in found.comparisons] == [True, False] * 3
    assert [entry.question for entry in found.comparisons[::2]] == [
        *("l3masking vs rtm", "l3masking vs stl", "rtm vs stl")
    ]
    for entry in found.comparisons:
        assert (entry.n, entry.test) == (2, "sign_flip")
        assert entry.floor in (0.5, 1.0)  # a pair of equal values lowers nothing
        low, high = entry.joint_low, entry.joint_high
        assert low is not None
        assert high is not None
        assert low <= (entry.difference or 0) <= high
    assert answer(here) == found


def test_exports_have_the_intervals_and_verdicts_of_compare(here: Path):
    said = {(entry.question, entry.objective): entry for entry in answer(here).comparisons}
    results, _ = write_tables(here)
    assert {(entry.question, entry.objective): entry for entry in results.comparisons} == said
    for entry in json.loads((here / "tables/comparisons.json").read_text())["comparisons"]:
        assert entry["joint_low"] == said[entry["question"], entry["objective"]].joint_low is not None
        assert entry["verdict"] == "undecided"
    text = (here / "tables/comparisons.md").read_text()
    assert "Confirmatory: 3 of 3 planned comparisons are complete." in text
    assert "L3Masking against RTM, macro F1 (exploratory)" in text


def test_looks_are_written_down_once(here: Path):
    for _ in range(2):
        write_tables(here)
        answer(here)
    found = json.loads((here / "looks.json").read_text())
    assert found.pop("checksum")
    assert found == {"looks": [{"seeds": 2, "of": 2, "complete": 3, "planned": 3}]}


def test_a_look_with_fewer_seeds_is_said_by_compare_and_not_in_exports(here: Path):
    (here / "looks.json").write_text('{"looks": [{"seeds": 2, "of": 2, "complete": 3, "planned": 3}]}')
    change(here, seeds=[0, 1, 2])
    assert answer(here).notes == [], "no more seeds than before"
    trials = {t.method: t for t in make_plan(*planned(here)) if t.seed == 2}
    for old in [r for r in records(here).values() if r["seed"] == 1]:  # the third seed repeats the second one
        trial = trials[old["method"]]
        whole = {name: value for name, value in old.items() if name != "checksum"}
        ours = {"seed": 2, "key": trial.keys[old["objective"]], "trajectory": trial.trajectory}
        Store(here).commit(whole | ours)
    [note] = answer(here).notes
    assert note.startswith("Warning: results of the confirmatory family were looked at with 2 of 2, 2 of 3 seeds, and")
    assert "0.05 / 2 looks = 0.025 (Bonferroni); 0 of 0 decisive comparisons" in note
    write_tables(here)
    assert "Bonferroni" not in (here / "report.html").read_text() + (here / "tables/comparisons.md").read_text()


def test_a_declaration_that_was_changed_is_said_everywhere(here: Path, finished_study: Path):
    earlier = {"questions": [["rtm", "stl"]], "objectives": ["macro_f1"], "pairs": ["tiny / words"], "records": 12}
    change(here, compare={"questions": [["l3masking", "rtm"]], "objectives": ["accuracy"], "earlier": [earlier]})
    line = "The confirmatory family was changed when the study had 12 records. It was rtm vs stl on macro_f1"
    found = answer(here)
    assert found.notes[0].startswith(line)
    assert [entry.question for entry in found.comparisons if entry.confirmatory] == ["l3masking vs rtm"]
    assert {entry.family for entry in found.comparisons if not entry.confirmatory} == {5}
    write_tables(here)
    assert line in (here / "report.html").read_text()
    assert line in (here / "tables/comparisons.md").read_text().replace("\\", "")
    assert json.loads((here / "tables/comparisons.json").read_text())["notes"] == found.notes


def test_a_run_keeps_what_was_declared_before(here: Path, finished_study: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    sets = ("--set", "compare.questions=[[l3masking, rtm]]")
    said = command("run", finished_study / "small.yaml", *sets, "--out", here)
    assert said.code == 0, said.err
    assert "warning: The confirmatory family was changed when the study had 12 records." in said.out + said.err
    [earlier] = planned(here).spec.compare.earlier
    assert earlier.questions == (("l3masking", "rtm"), ("l3masking", "stl"), ("rtm", "stl"))
    before = (here / "resolved.yaml").read_bytes()
    said = command("run", finished_study / "small.yaml", *sets, "--out", here)
    assert "The confirmatory family was changed" not in said.out + said.err, "said once; reports go on saying it"
    assert (here / "resolved.yaml").read_bytes() == before


def test_without_its_data_a_study_is_compared_all_the_same(here: Path, finished_study: Path, tmp_path: Path):
    """The spec holds absolute paths: this copy of the folder reads a copy of the data, as it keeps no labels."""
    shutil.rmtree(here / "data")
    text = resolved_text(here)
    data = tmp_path / "data"
    shutil.copytree(finished_study, data, ignore=shutil.ignore_patterns("out"))
    (here / "resolved.yaml").write_text(text.replace(str(finished_study), str(data)))
    assert answer(here).notes == []
    write_rows(data / "test.jsonl", ["red", "cat"], ["first", "second"])
    found = answer(here)
    assert found.notes == ["words: no interval over test texts: its content has changed since the study ran"]
    (data / "test.jsonl").unlink()
    [note] = answer(here).notes
    assert note.startswith("words: no interval over test texts: ")
    assert "test.jsonl" in note
    assert {entry.joint_low for entry in found.comparisons} == {None}
    assert len(found.comparisons) == 6


def test_a_baseline_and_another_study(here: Path, tmp_path: Path):
    found = answer(here, baseline="stl")
    assert [entry.question for entry in found.comparisons[::2]] == ["rtm vs stl", "l3masking vs stl"]
    shutil.copytree(here, tmp_path / "twin")
    twins = answer(here, against=str(tmp_path / "twin"))
    assert {entry.pairing for entry in twins.comparisons} == {"head"}  # same revision, data and seeds
    assert {(entry.difference, entry.p) for entry in twins.comparisons} == {(0, 1.0)}
    assert twins.against == str(tmp_path / "twin")
    with pytest.raises(InputError, match="--baseline chooses a row of this study"):
        answer(here, against="paper", baseline="stl")
    with pytest.raises(InputError, match="no study here"):
        answer(here, against=str(tmp_path))


def test_a_study_that_the_paper_knows_nothing_of(here: Path):
    found = answer(here, against="paper")
    assert (found.comparisons, found.against) == ([], PAPER)
    assert found.notes == [
        f"{PAPER} has stl, rtm, l3masking for bert-base, roberta-base, scibert, clinicalbert on acl-arc, ohsumed, imdb."
    ]


def test_a_study_of_the_papers_names_meets_its_table(here: Path):
    names = {"encoder": "roberta-base", "dataset": "acl-arc"}
    text = resolved_text(here)
    text = text.replace("tiny", names["encoder"]).replace("  words:", "  acl-arc:").replace(": words", ": acl-arc")
    (here / "resolved.yaml").write_text(text.replace("{words:", "{acl-arc:"))
    keys = {(t.method, t.seed, o): (t, t.keys[o]) for t in make_plan(*planned(here)) for o in t.keys}
    for old in records(here).values():  # other names are other trials: give them records
        trial, key = keys[old["method"], old["seed"], old["objective"]]
        Store(here).commit(old | names | {"key": key, "trajectory": trial.trajectory})
    found = answer(here, against="paper")
    assert [(entry.first.n, entry.second.n, entry.test) for entry in found.comparisons] == [(2, 10, "welch")] * 6
    assert found.comparisons[0].second.mean == 0.7173
    assert len(found.notes) == 4


def test_the_verbs_say_it(here: Path):
    said = command("compare", here)
    assert said.code == 0
    assert "L3Masking against RTM, accuracy" in said.out
    assert "Least p that the 2 differences can give: " in said.out
    assert "No result could be significant." in said.out
    assert "not the same order of batches" in said.out
    said = command("compare", here, "--format", "json", "--baseline", "rtm")
    found = json.loads(said.out)
    assert (found["study"], found["against"], len(found["comparisons"])) == ("small", None, 4)
    for wrong, words in {
        "--format xml": "--format xml: choose from text, json",
        "--baseline l4": "--baseline 'l4': no row of this name; there are stl, rtm, l3masking",
        f"--against {here.parent}": "no study here",
    }.items():
        said = command("compare", here, *wrong.split())
        assert (said.code, said.err.count("\n"), said.out) == (2, 1, "")
        assert words in said.err
    said = command("export", here, "--format", "md")
    assert said.out.split() == [
        str(here / name) for name in FILES if Path(name).suffix not in (".tex", ".csv", ".json")
    ]
    said = command("export", here, "--x", "epochs")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "--x epochs: choose from epochs_to_best, epochs_to_stop, updates, wall_time" in said.err


def test_the_help_has_an_example():
    said = CliRunner().invoke(cli.app, ["compare", "--help"])
    assert "Example: l3study compare studies/quickstart" in said.stdout


def test_many_classes_are_read_too():
    assert _small([0, 255, 3]).tolist() == [0, 255, 3]
    assert _small([0, 256, 3]).tolist() == [0, 256, 3]
    assert _small([0, 256]).dtype == np.int32
