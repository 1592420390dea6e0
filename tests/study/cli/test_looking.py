"""`l3study data`: what it shows of a space's datasets, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acl_arc import acl_arc_folder
from small_study import SPACE, command, write_rows, write_study

WORDS = SPACE["datasets"]["words"]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Two datasets, the second of which is not there; planted repeats in the first."""
    far = {"hub": "nobody/nothing", "train": "train", "validation": "validation", "test": "test"}
    sets = {"other": {"test": "other.jsonl"}}
    file = write_study(tmp_path, datasets={"words": WORDS | {"evaluation_sets": sets}, "far": far})
    write_rows(tmp_path / "train.jsonl", ["a red", "A  red", "a cat", "an elm", "an elm"], ["x", "y", "x", "y", "y"])
    write_rows(tmp_path / "validation.jsonl", ["a CAT", "new"], ["y", "x"])
    write_rows(tmp_path / "test.jsonl", ["a cat", "of " * 40, "near", "Near"], ["x", "x", "y", "y"])
    write_rows(tmp_path / "other.jsonl", ["an elm", "far"], ["x", "y"])
    return file


def test_the_object_has_the_counts_by_dataset(space: Path) -> None:
    said = command("data", space, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    words = found["words"]
    assert words["rows"] == {"train": 5, "validation": 2, "test": 4}
    assert words["distinct"] == {"train": 3, "validation": 2, "test": 3}
    assert words["conflicting"] == 1
    assert words["overlap"] == {"validation": 1, "test": 1}
    assert words["exact"] == {
        "distinct": {"train": 4, "validation": 2, "test": 4},
        "conflicting": 0,
        "overlap": {"validation": 0, "test": 1},
    }
    assert words["splits"]["train"]["labels"] == {"x": 2, "y": 3}
    assert words["splits"]["validation"]["shared"]["train"]["other_label"] == 1
    assert words["evaluation_sets"]["other"]["shared"]["train"] == {"rows": 1, "exact": 1, "other_label": 1}
    assert words["tokens"]["tiny"]["max_length"] == 16
    assert words["tokens"]["tiny"]["splits"]["test"]["truncated"] == 0.25
    assert "overlap: 1 of 4 test texts (25.0%) also occur in train (overlap: keep)" in words["warnings"]
    assert list(found["far"]) == ["unavailable"]
    assert "l3study prefetch" in found["far"]["unavailable"]


def test_the_table_names_the_warnings_and_what_is_missing(space: Path) -> None:
    said = command("data", space)
    assert said.code == 0, said.err
    assert "words: 2 classes, texts, content " in said.out
    for line in (
        "! train: 2 of 5 rows repeat an earlier text; 1 texts have more than one label",
        "! validation: of the 1 rows whose text is in train, 1 differ there in case or white space",
        "! evaluation set other: 1 of 2 texts also occur in train; they are kept",
        "! test: 1 of 4 rows repeat an earlier text of it",
    ):
        assert line in said.out
    assert "tiny cuts the end of texts longer than 16 ids (scoring.max_length)" in said.out
    rows = {line.split()[0]: line.split() for line in said.out.splitlines() if line.split()[:1]}
    assert rows["train"][1:5] == ["5", "3", "2", "1"]
    assert rows["test"][1:8] == ["4", "3", "1", "0", "1", "(25.0%)", "1"]
    assert "far: not available: " in said.out


def test_drop_rules_show_the_data_as_they_are_used(space: Path) -> None:
    said = command("data", space, "--json", "--only", "words", "--set", "datasets.words.overlap=drop_from_eval")
    assert said.code == 0, said.err
    words = json.loads(said.out)["words"]
    assert (words["rows"]["test"], words["overlap"]) == (3, {"validation": 0, "test": 0})
    assert (words["as_read"]["test_in_train"], words["as_read"]["dropped_test"]) == (1, 1)


def test_datasets_are_chosen_by_name(space: Path) -> None:
    assert list(json.loads(command("data", space, "--json", "--only", "dataset=words").out)) == ["words"]
    said = command("data", space, "--only", "word")
    assert (said.code, said.out) == (2, "")
    assert said.err == "l3study: --only word: no dataset of this space; nearest: words; known: far, words\n"
    said = command("data", space, "--only", "far")
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert said.out.startswith("far: not available: ")


def test_wrong_data_of_one_dataset_hide_no_other(space: Path) -> None:
    (space.parent / "test.jsonl").write_text("no JSON\n")
    far = {"train": "train.jsonl", "validation": "validation.jsonl", "test": "validation.jsonl"}
    write_study(space.parent, datasets={"words": WORDS, "far": far})
    said = command("data", space)
    assert said.code == 0
    assert "words: not available: " in said.out
    assert "test.jsonl" in said.out
    assert "far: 2 classes" in said.out


def test_a_bare_name_is_found_and_nothing_is_made_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "cache"))
    said = command("data", "quickstart")
    assert said.code == 3
    assert "toyworld: not available: its generated texts are not on this machine" in said.out
    assert not (tmp_path / "cache").exists()


def test_acl_arc_as_published(tmp_path: Path) -> None:
    folder = acl_arc_folder()
    files = {part: str(folder / f"{file}.jsonl") for part, file in (("train", "train"), ("validation", "dev"))}
    space = write_study(tmp_path, datasets={"acl-arc": files | {"test": str(folder / "test.jsonl")}})
    said = command("data", space, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["acl-arc"]
    assert found["rows"] == {"train": 1688, "validation": 114, "test": 139}
    assert (found["distinct"]["train"], found["conflicting"]) == (1270, 20)
    assert found["overlap"] == {"validation": 43, "test": 52}
