"""Labels that look alike: named with counts and what tells them apart, joined by `label_strip`, else left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from l3masking.data.labels import MOST_NOTES, alike_notes, look, stripped, twin
from l3masking.data.spec import DataSpec
from l3masking.data.table import load_data
from l3masking.data.textdata import TextData
from l3masking.errors import InputError

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
ONE = "`label_strip: true` makes them one class"
WRITE = "where they mean one class, write them alike in the file"

# (two labels, how both are shown, what tells them apart, what to do)
PAIRS = [
    ("a", "a ", "'a' (1 row) and 'a ' (1 row)", "white space around them", ONE),
    ("a", "\u00a0a", "'a' (1 row) and '\\xa0a' (1 row)", "white space around them", ONE),
    (DECOMPOSED, COMPOSED, "'cafe\\u0301' (1 row) and 'caf\\xe9' (1 row)", "Unicode normal form", ONE),
    ("tea", "t\u200bea", "'tea' (1 row) and 't\\u200bea' (1 row)", "invisible characters", ONE),
    ("a", "a \ufeff", "'a' (1 row) and 'a \\ufeff' (1 row)", "invisible characters and white space around them", ONE),
    ("Tea", "tea", "'Tea' (1 row) and 'tea' (1 row)", "upper and lower case", WRITE),
    ("New York", "New\u00a0York", "'New York' (1 row) and 'New\\xa0York' (1 row)", "white space inside", WRITE),
    ("1", "1.0", "'1' (1 row) and '1.0' (1 row)", "how a whole number is written", WRITE),
    (
        "\u0390",
        "\u1fd3",
        "'\\u0390' (1 row) and '\\u1fd3' (1 row)",
        "Unicode normal form and upper and lower case",
        ONE,
    ),
    ("TEA ", "tea", "'TEA ' (1 row) and 'tea' (1 row)", "white space around them and upper and lower case", WRITE),
]


@pytest.mark.parametrize(("first", "second", "shown", "cause", "advice"), PAIRS)
def test_two_that_look_alike(first: str, second: str, shown: str, cause: str, advice: str) -> None:
    (note,) = alike_notes([first, "other", second], "train")
    assert note == f"train: the labels {shown} look alike and are 2 classes; they differ only in {cause}: {advice}"
    assert twin(second, ["other", first]).endswith(f"of train; they differ only in {cause}: {advice}")
    assert (stripped(first) == stripped(second)) == (advice == ONE)


@pytest.mark.parametrize(
    ("first", "second"), [("a", "b"), ("é", "e"), ("1", "10"), ("1", "1.5"), ("a", "a."), ("ab", "a b"), ("²", "2")]
)
def test_two_that_do_not_look_alike(first: str, second: str) -> None:
    assert alike_notes([first, second], "train") == []
    assert twin(first, [second]) == ""
    assert look(first) != look(second)


def test_several_groups_are_named_and_more_are_counted() -> None:
    labels = ["a", "a", "a ", "A", *(f"{letter}{end}" for letter in "bcdefgh" for end in ("", " "))]
    notes = alike_notes(labels, "train")
    assert len(notes) == MOST_NOTES + 1
    assert notes[0] == (
        "train: the labels 'A' (1 row), 'a' (2 rows) and 'a ' (1 row) look alike and are 3 classes; they differ only "
        f"in white space around them and upper and lower case: `label_strip: true` leaves 2 of them; {WRITE}"
    )
    assert notes[-1] == "train: 3 more groups of labels look alike"


def load(folder: Path, train: list[str], validation: list[str], **settings: bool) -> TextData:
    for part, labels in (("train", train), ("validation", validation), ("test", ["tea"])):
        lines = [json.dumps({"text": f"{part} {n}", "label": label}) for n, label in enumerate(labels)]
        (folder / f"{part}.jsonl").write_text("\n".join(lines))
    files = {part: f"{part}.jsonl" for part in ("train", "validation", "test")}
    return load_data(DataSpec(**files, **settings), name="mine", folder=folder)  # type: ignore[arg-type]


def test_label_strip_joins_and_says_so(tmp_path: Path) -> None:
    train = [COMPOSED, "tea", DECOMPOSED, "tea", COMPOSED + " ", "tea", COMPOSED + "\u200b"]
    apart = load(tmp_path, train, [COMPOSED])
    assert len(apart.labels) == 5
    (note,) = [note for note in apart.notes if "look alike" in note]
    assert "'cafe\\u0301' (1 row), 'caf\\xe9' (1 row), 'caf\\xe9 ' (1 row) and 'caf\\xe9\\u200b' (1 row)" in note
    joined = load(tmp_path, train, [COMPOSED + "  "], label_strip=True)
    assert joined.labels == (COMPOSED, "tea")
    assert joined.train.labels == (0, 1, 0, 1, 0, 1, 0)
    assert joined.validation.labels == (0,)
    assert [note for note in joined.notes if "label" in note] == [
        "train: label_strip changed the labels of 3 of 7 rows",
        "validation: label_strip changed the labels of 1 of 1 rows",
    ]


def test_label_strip_leaves_clean_labels_and_their_hash(tmp_path: Path) -> None:
    plain = load(tmp_path, ["x", "tea"], ["x"])
    assert load(tmp_path, ["x", "tea"], ["x"], label_strip=True) == plain
    assert plain.content_hash == "acb32d84b73466deecc786da927c3aa9"


def test_the_one_class_that_is_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every row of train has the label 'tea'"):
        load(tmp_path, ["tea", "tea "], ["tea"], label_strip=True)


def test_a_split_with_withheld_labels_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset mine: validation: every label is -1, so the labels of this split"):
        load(tmp_path, ["x", "tea"], ["-1", "-1"])
    with pytest.raises(InputError, match=r"labels that train lacks: '-1' \(1 row\); train has tea, x"):
        load(tmp_path, ["x", "tea"], ["-1", "x"])
    assert load(tmp_path, ["-1", "tea"], ["-1", "-1"]).validation.labels == (0, 0)


def test_unknown_label_that_looks_like_one_of_train(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, ["x", "tea"], ["x\u200b", "tea", "x\u200b"])
    assert str(caught.value) == (
        "dataset mine: validation has labels that train lacks: 'x\\u200b' (2 rows); train has tea, x; 'x\\u200b' looks "
        f"like 'x' of train; they differ only in invisible characters: {ONE}"
    )
    assert load(tmp_path, ["x", "tea"], ["x\u200b", "tea"], label_strip=True).validation.labels == (1, 0)
