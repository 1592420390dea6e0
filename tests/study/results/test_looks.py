"""Looks: which states are written down, once each, and when `compare` warns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from compared_cells import better, seeded

from study.results.compare import compare
from study.results.comparison import Comparison
from study.results.looks import LOOKS_FILE, Look, read_looks, record_look, state, warnings_of
from study.results.verdicts import verdict
from study.store.store import QuarantineWarning

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]


def shown(seeds: int, wanted: int = 10) -> list[Comparison]:
    """One confirmatory comparison, and an exploratory one of another objective."""
    cells = [
        dataclasses.replace(cell, wanted=wanted)
        for goal in ("accuracy", "macro_f1")
        for cell in better((UP * 2)[:seeds], (TEN * 2)[:seeds], objective=goal)
    ]
    return [dataclasses.replace(entry, joint_low=0.01, joint_high=0.03) for entry in compare(cells)]


def test_the_state_is_that_of_the_confirmatory_family():
    assert state(shown(4)) == Look(seeds=4, of=10, complete=0, planned=1)
    assert state(shown(10)) == Look(10, 10, 1, 1)
    assert state(shown(0)) is None
    assert state([entry for entry in shown(10) if not entry.confirmatory]) is None
    assert state([]) is None


def test_each_state_is_one_look(tmp_path: Path):
    for seeds in (0, 4, 4, 10, 4):
        looks = record_look(tmp_path, shown(seeds))
    assert [look.seeds for look in looks] == [10, 4], "the present one is the last"
    content = (tmp_path / LOOKS_FILE).read_bytes()
    assert json.loads(content)["looks"] == [
        {"seeds": 4, "of": 10, "complete": 0, "planned": 1},
        {"seeds": 10, "of": 10, "complete": 1, "planned": 1},
    ]
    record_look(tmp_path, shown(10))
    assert (tmp_path / LOOKS_FILE).read_bytes() == content


def test_nothing_is_written_before_there_is_a_result(tmp_path: Path):
    assert record_look(tmp_path, shown(0)) == []
    assert not (tmp_path / LOOKS_FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", '{"looks": [{"seeds": 3}]}', '{"looks": [{"seeds": "x"}]}'])
def test_a_damaged_file_is_set_aside_and_named(tmp_path: Path, text: str):
    (tmp_path / LOOKS_FILE).write_text(text)
    assert read_looks(tmp_path) == []
    with pytest.warns(QuarantineWarning, match="whether results were looked at before is not known"):
        assert record_look(tmp_path, shown(10)) == [Look(10, 10, 1, 1)]
    assert (tmp_path / "quarantine" / LOOKS_FILE).read_text() == text
    assert record_look(tmp_path, shown(10)) == [Look(10, 10, 1, 1)], "nothing is left to say"


def test_a_file_of_before_checksums_is_read(tmp_path: Path):
    (tmp_path / LOOKS_FILE).write_text(json.dumps({"looks": [Look(4, 10, 0, 1)._asdict()]}))
    assert record_look(tmp_path, shown(10)) == [Look(4, 10, 0, 1), Look(10, 10, 1, 1)]


def test_a_folder_that_cannot_be_written_is_shown_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("study.results.looks.write_atomic", refuse)
    assert record_look(tmp_path, shown(10)) == [Look(10, 10, 1, 1)]


def test_a_first_look_gives_no_warning(tmp_path: Path):
    for _ in range(2):
        assert warnings_of(record_look(tmp_path, shown(10)), shown(10)) == []
    assert warnings_of([], shown(0)) == []
    one_seed = record_look(tmp_path / "other", shown(1))
    assert warnings_of([*one_seed, Look(10, 10, 1, 1)], shown(10)) == [], "one seed gives no test"


def test_seeds_after_a_look_are_said_with_the_adjusted_level(tmp_path: Path):
    record_look(tmp_path, shown(10))
    later = shown(12, wanted=12)
    assert verdict(later[0]) == "decisive"
    [line] = warnings_of(record_look(tmp_path, later), later)
    assert line == (
        "Warning: results of the confirmatory family were looked at with 10 of 10 seeds, and now with 12 of 12. Seeds "
        "were added after that, so hold the adjusted p against 0.05 / 2 looks = 0.025 (Bonferroni); 1 of 1 decisive "
        "comparisons are below it."
    )
    weak = [dataclasses.replace(later[0], p_holm=0.03)]
    assert "0 of 1 decisive" in warnings_of(read_looks(tmp_path), weak)[0]


def test_a_look_at_part_of_the_plan_is_said_too(tmp_path: Path):
    for seeds in (3, 6, 10):
        looks = record_look(tmp_path, shown(seeds))
    [line] = warnings_of(looks, shown(10))
    assert "looked at with 3 of 10, 6 of 10 seeds, and now with 10 of 10. If the number of seeds was chosen" in line
    assert "0.05 / 3 looks = 0.0167" in line


def test_a_further_pair_of_encoder_and_dataset_adds_no_seed(tmp_path: Path):
    cells = [*better(UP, TEN), *better([], [], dataset="later")]
    record_look(tmp_path, compare(cells))
    both = compare([*better(UP, TEN), *better(UP, TEN, dataset="later")])
    assert warnings_of(record_look(tmp_path, both), both) == []
    assert [(look.complete, look.planned) for look in read_looks(tmp_path)] == [(1, 2), (2, 2)]
    assert state(compare([seeded("stl", TEN)])) is None
