"""Evaluation sets of a dataset: read like a split, with a map from the labels of train to those of the set."""

import json
from pathlib import Path
from typing import Any

import pytest

from l3masking.data.eval_sets import evaluation_set
from l3masking.data.rows import Rows
from l3masking.data.table import DataSpec, EvaluationSpec, load_data
from l3masking.data.textdata import TextData
from l3masking.errors import InputError

NLI = ("contradiction", "entailment", "neutral")
TWO_WAY = {"entailment": "entailment", "neutral": "non-entailment", "contradiction": "non-entailment"}


def made(labels: list[str], label_map: dict[str, str], task: tuple[str, ...] = NLI) -> Any:
    return evaluation_set(Rows([f"text {n}" for n in range(len(labels))], labels), task, label_map, "evaluation set x")


def test_three_classes_become_two() -> None:
    found = made(["non-entailment", "entailment", "non-entailment"], TWO_WAY)
    assert found.classes == ("entailment", "non-entailment")
    assert found.labels == (1, 0, 1)
    assert found.of_class == (1, 0, 1), "contradiction, entailment, neutral"


def test_without_a_map_the_labels_are_those_of_train() -> None:
    found = made(["neutral", "entailment"], {})
    assert found.classes == NLI
    assert found.of_class == (0, 1, 2)
    assert found.labels == (2, 1)


def test_a_map_may_rename() -> None:
    found = made(["1", "0"], {"negative": "0", "positive": "1"}, ("negative", "positive"))
    assert found.classes == ("0", "1")
    assert found.of_class == (0, 1)
    assert found.labels == (1, 0)


REFUSED = {
    "missing": (["a"], {"entailment": "a", "neutral": "b"}, r"x: label_map misses 'contradiction'; say what"),
    "unknown": (
        ["a"],
        {**TWO_WAY, "other": "b"},
        r"label_map names 'other', which train does not have; its labels are",
    ),
    "wrong way round": (
        ["e", "n", "c"],
        {"e": "entailment", "n": "neutral", "c": "contradiction"},
        r"label_map is the wrong way round; write label of train: label of the set",
    ),
    "one class": (["a"], dict.fromkeys(NLI, "a"), r"gives every label of train the same name"),
    "label of no class": (
        ["entailment", "odd", "odd"],
        TWO_WAY,
        r"labels that stand for no label of train: 'odd' \(2 rows\); known here are .*; name them in `label_map`",
    ),
    "no map": (
        ["yes"],
        {},
        r"'yes' \(1 row\); known here are .*; say what the labels of train are here in `label_map`",
    ),
    "withheld": (["-1", "-1"], {}, "withheld|not published"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_map_that_cannot_hold_is_refused(case: str) -> None:
    labels, label_map, said = REFUSED[case]
    with pytest.raises(InputError, match=said) as caught:
        made(labels, label_map)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("evaluation set x")


def write(path: Path, rows: list[tuple[str, str]], text: str = "text", label: str = "label") -> None:
    path.write_text("\n".join(json.dumps({text: t, label: one}) for t, one in rows))


def loaded(folder: Path, **sets: EvaluationSpec) -> TextData:
    write(folder / "train.jsonl", [(f"train {n}", NLI[n % 3]) for n in range(9)], "sentence", "gold")
    write(folder / "dev.jsonl", [(f"dev {n}", NLI[n % 3]) for n in range(3)], "sentence", "gold")
    spec = DataSpec(
        train="train.jsonl",
        validation="dev.jsonl",
        test="dev.jsonl",
        text="sentence",
        label="gold",
        evaluation_sets=sets,
    )
    return load_data(spec, name="nli", folder=folder)


def test_a_dataset_is_the_same_with_and_without_sets(tmp_path: Path) -> None:
    write(tmp_path / "hans.jsonl", [("hans 0", "non-entailment"), ("TRAIN  1", "entailment")], "sentence", "gold")
    plain = loaded(tmp_path)
    with_set = loaded(tmp_path, hans=EvaluationSpec(test="hans.jsonl", label_map=TWO_WAY))
    assert with_set.content_hash == plain.content_hash
    assert plain.evaluations == {}
    assert with_set.evaluations["hans"].texts == ("hans 0", "TRAIN  1")
    assert with_set.notes == (
        *plain.notes,
        "evaluation set hans: 1 of 2 texts also occur in train; they are kept",
    )


def test_what_a_set_lacks_and_shares_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "set.jsonl", [("dev 0", "neutral"), (" ", "entailment"), ("new", "neutral")], "sentence", "gold")
    found = loaded(tmp_path, x=EvaluationSpec(test="set.jsonl"))
    assert found.evaluations["x"].absent == ("contradiction",)
    assert [note.removeprefix("evaluation set x: ") for note in found.notes if "set x" in note] == [
        "1 empty texts, kept",
        "no row of contradiction",
        "1 of 3 texts also occur in validation; they are kept",
    ]
    assert made(["entailment", "non-entailment"], TWO_WAY).absent == ()


def test_columns_are_called_as_in_the_dataset_or_named(tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", [("a", "entailment")], "Text", "Sentiment")
    found = loaded(tmp_path, other=EvaluationSpec(test="other.jsonl", text="Text", label="Sentiment"))
    assert found.evaluations["other"].texts == ("a",)
    with pytest.raises(InputError, match=r"other\.jsonl line 1: no column `sentence`"):
        loaded(tmp_path, other=EvaluationSpec(test="other.jsonl"))


def test_the_hash_of_a_set_tells_all_that_may_change_a_value(tmp_path: Path) -> None:
    other = {"entailment": "entailment", "neutral": "entailment", "contradiction": "non-entailment"}
    first = made(["entailment", "non-entailment"], TWO_WAY)
    assert first.content_hash == made(["entailment", "non-entailment"], TWO_WAY).content_hash
    assert first.content_hash != made(["entailment", "entailment"], TWO_WAY).content_hash
    assert first.content_hash != made(["entailment", "non-entailment"], other).content_hash


def test_rows_blobs_and_pairs_of_a_set_are_checked(tmp_path: Path) -> None:
    write(tmp_path / "set.jsonl", [("a", "entailment")], "sentence", "gold")
    with pytest.raises(InputError, match=r"evaluation set x: test has 1 rows, not the 2 of `rows`"):
        loaded(tmp_path, x=EvaluationSpec(test="set.jsonl", rows={"test": 2}))
    with pytest.raises(InputError, match=r"set\.jsonl has git blob id [0-9a-f]{40}, not 0{40}"):
        loaded(tmp_path, x=EvaluationSpec(test="set.jsonl", blobs={"test": "0" * 40}))
    with pytest.raises(InputError, match=r"evaluation_sets\.x\.text_pair is 'b', and the dataset has single texts"):
        loaded(tmp_path, x=EvaluationSpec(test="set.jsonl", text_pair="b"))
    with pytest.raises(InputError, match=r"evaluation_sets\.\.x is no name"):
        loaded(tmp_path, **{".x": EvaluationSpec(test="set.jsonl")})
    with pytest.raises(InputError, match="files end in"):
        EvaluationSpec(test="set.txt")
