"""Records and true labels into rows of classes, confusion and calibration; and what is left out, in a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluated_cells import CLASSES, SETS, TEXTS, TRUTH, evaluated, records

from l3masking.metrics import macro_f1
from study.report.class_tables import classes_markdown, export_classes
from study.results.aggregate import cells
from study.results.classified import Classified
from study.results.truth import Truths
from study.store.packed import packed


class Planned:
    """As much of a trial as is looked at: the trainings of `records`."""

    def __init__(self, entry: dict[str, Any]) -> None:
        for name in ("encoder", "dataset", "method", "variant", "mask_mean", "seed"):
            setattr(self, name, entry[name])
        self.keys = {entry["objective"]: entry["key"]}


def likely(texts: int, predictions: list[int], classes: int, sure: float) -> dict[str, Any]:
    """Probabilities that are highest for the predicted class."""
    rows = np.full((texts, classes), (1 - sure) / (classes - 1))
    rows[np.arange(texts), predictions] = sure
    return packed(rows.tolist())


def with_probabilities(found: list[dict[str, Any]], sure: float = 0.875) -> list[dict[str, Any]]:
    for entry in found:
        entry["test_probabilities"] = likely(TEXTS["test"], entry["test_predictions"], len(CLASSES), sure)
        for name, result in entry["evaluations"].items():
            result["probabilities"] = likely(TEXTS[name], result["predictions"], len(SETS[name]), sure)
    return found


def truths(**missing: str) -> Truths:
    if missing:
        return Truths({}, {}, missing)
    return Truths({"mnli": TRUTH["test"]}, {name: {"mnli": TRUTH[name]} for name in SETS}, {})


def looked(found: list[dict[str, Any]], known: Truths) -> Classified:
    trials: Any = [Planned(entry) for entry in found]
    made = Classified(known, trials)
    for entry in found:
        made.add(entry)  # type: ignore[arg-type]
    return made


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    return with_probabilities(records(["rtm", "l3masking"], seeds=3))


def test_the_f1_of_the_classes_average_to_the_macro_f1_of_the_table(entries: list[dict[str, Any]]) -> None:
    made, table = looked(entries, truths()), evaluated(entries)
    rows = list(made.classes(table))
    assert len(rows) == 4 * (3 + 2 + 3), "cells, classes of test, hans and anli"
    for cell in table:
        mine = [row for other, row in rows if other is cell and row.evaluation == "test"]
        assert [row.label for row in mine] == list(CLASSES)
        assert sum(row.support for row in mine) == TEXTS["test"]
        values = [
            macro_f1(entry["test_predictions"], TRUTH["test"].labels, 3)
            for entry in entries
            if (entry["method"], entry["objective"]) == (cell.method, cell.objective)
        ]
        assert np.mean([row.f1_mean for row in mine]) == pytest.approx(np.mean(values))
        assert all(row.n == 3 and row.f1_std is not None for row in mine)


def test_confusion_counts_every_text_of_every_seed(entries: list[dict[str, Any]]) -> None:
    made, table = looked(entries, truths()), evaluated(entries)
    rows = [row for cell, row in made.confusion(table) if cell is table[0]]
    for name, texts in TEXTS.items():
        mine = [row for row in rows if row.evaluation == name]
        assert sum(row.count for row in mine) == 3 * texts
        assert sum(row.mean for row in mine) == pytest.approx(texts)
        for label in {row.true for row in mine}:
            assert sum(row.share for row in mine if row.true == label) == pytest.approx(1)
        hits = sum(row.count for row in mine if row.true == row.predicted)
        mean = table[0].mean if name == "test" else table[0].evaluations[name].mean
        if table[0].objective == "accuracy":
            assert hits / (3 * texts) == pytest.approx(mean)


def test_calibration_of_a_model_that_is_equally_sure_of_everything(entries: list[dict[str, Any]]) -> None:
    made, table = looked(entries, truths()), evaluated(entries)
    for cell, row in made.calibration(table):
        assert (row.n, row.texts) == (3, TEXTS[row.evaluation])
        assert row.confidence_mean == pytest.approx(0.875)
        if cell.objective == "accuracy" and row.evaluation == "test":
            gaps = [abs(value - 0.875) for value in cell.values.values()]
            assert row.accuracy_mean == pytest.approx(cell.mean)
            assert row.ece_mean == pytest.approx(np.mean(gaps))


def test_older_records_have_classes_and_no_calibration(entries: list[dict[str, Any]]) -> None:
    older = records(["rtm"], seeds=2)
    made = looked(older, truths())
    assert len(list(made.classes(evaluated(older)))) == 2 * 8
    assert list(made.calibration(evaluated(older))) == []


def test_a_renamed_variant_finds_its_records(entries: list[dict[str, Any]]) -> None:
    trials: Any = [Planned(entry | {"variant": "new"}) for entry in entries]
    made = Classified(truths(), trials)
    for entry in entries:
        made.add(entry)  # type: ignore[arg-type]
    table = cells([entry | {"variant": "new"} for entry in entries], [], 3)  # type: ignore[misc]
    assert len(list(made.classes(table))) == 4 * 8
    assert list(made.classes(evaluated(entries))) == []


def test_without_labels_it_is_left_out_with_a_line(entries: list[dict[str, Any]], tmp_path) -> None:
    made, table = looked(entries, truths(mnli="its content has changed since the study ran")), evaluated(entries)
    assert list(made.classes(table)) == list(made.confusion(table)) == list(made.calibration(table)) == []
    assert made.notes == ["mnli: left out, no labels: its content has changed since the study ran"]
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "classes.csv").write_text("of an earlier export")
    (page,) = export_classes(tmp_path, made, table, ("md", "csv"))
    assert "mnli: left out, no labels" in page.read_text()
    assert [file.name for file in (tmp_path / "tables").iterdir()] == ["classes.md"]


def test_labels_of_other_texts_are_noticed(entries: list[dict[str, Any]]) -> None:
    turned = TRUTH["test"]._replace(labels=(TRUTH["test"].labels + 1) % 3)
    made = looked(entries, Truths({"mnli": turned}, {}, {}))
    assert list(made.classes(evaluated(entries))) == []
    assert made.notes == ["mnli: left out, the labels do not give the recorded accuracy of each record"]


def test_the_files(entries: list[dict[str, Any]], tmp_path) -> None:
    made, table = looked(entries, truths()), evaluated(entries)
    written = export_classes(tmp_path, made, table, ("md", "tex", "csv", "json"))
    assert [file.name for file in written] == ["classes.csv", "confusion.csv", "calibration.csv", "classes.md"]
    again = looked(entries[::-1], truths())
    for file in written:
        before = file.read_bytes()
        export_classes(tmp_path, again, table, ("md", "csv"))
        assert file.read_bytes() == before, "the order of the records does not matter"
    head = written[0].read_text().splitlines()[0].split(",")
    assert head[:9] == [
        *("encoder", "dataset", "method", "variant", "mask_mean", "objective", "evaluation", "label", "support")
    ]
    page = classes_markdown(made, table)
    assert "## mnli on hans, selected by macro F1" in page
    assert f"contradiction ({int(np.sum(TRUTH['test'].labels == 0))})" in page
    assert "| bert | L3Masking | " in page
    assert "## Left out" not in page
