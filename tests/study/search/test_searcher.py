"""Optuna searches in their journal: what is asked, told, and continued after any end. No training, no Ray."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from registered import KNOWN
from searched import MEAN, space

from study.plan.searches import Search, searches
from study.search.journal import JOURNAL_FILE, JournalWarning, open_journal
from study.search.searcher import Explorer, tried, weak


def some(**config: Any) -> list[Search]:
    return searches(space({"parameters": MEAN, "trials": 8, "seeds": 2, "screen": None, **config}), KNOWN)


def quality(values: dict[str, Any]) -> float:
    """Best at a mean of 0.31."""
    return 0.8 - abs(values["masking.mean"] - 0.31)


def run_all(explorer: Explorer, limit: int = 1000) -> list[dict[str, Any]]:
    """Ask and tell, one setting at a time, until nothing is left or `limit` settings are done."""
    suggestions = []
    while len(suggestions) < limit and (suggestion := explorer.suggest(name := f"t{len(suggestions)}")) != "FINISHED":
        suggestions.append(suggestion)
        seeds = explorer.searches[suggestion["search"]].config.seeds
        result = {"value": quality(suggestion["values"]), "seeds": seeds}
        explorer.judge(name, result)
        explorer.on_trial_complete(name, result)
    return suggestions


def explorer_in(folder: Path, found: list[Search] | None = None) -> Explorer:
    found = some() if found is None else found
    return Explorer(found, open_journal(folder))


def settings(suggestions: list[dict[str, Any]], index: int) -> list[float]:
    return [s["values"]["masking.mean"] for s in suggestions if s["search"] == index]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "grid"])
def test_every_search_tries_as_many_settings_as_it_is_asked_to_and_none_twice(tmp_path: Path, sampler: str) -> None:
    explorer = explorer_in(tmp_path, some(sampler=sampler))
    suggestions = run_all(explorer)
    for index in (0, 1):
        values = settings(suggestions, index)
        assert len(values) == len(set(values)) == 8
        assert all(value == round(value, 2) and 0.05 <= value <= 0.6 for value in values)
    assert [s["search"] for s in suggestions] == [0, 1] * 8, "in turn"
    assert explorer.total == 0


def test_a_small_space_is_tried_whole_by_any_sampler(tmp_path: Path) -> None:
    few = {"masking.mean": {"choice": [0.1, 0.3, 0.5]}}
    suggestions = run_all(explorer_in(tmp_path, some(parameters=few, trials=9)))
    assert sorted(settings(suggestions, 0)) == sorted(settings(suggestions, 1)) == [0.1, 0.3, 0.5]


def test_the_same_search_asks_the_same_again_elsewhere(tmp_path: Path) -> None:
    first, second = (run_all(explorer_in(tmp_path / name)) for name in "ab")
    assert first == second
    assert settings(first, 0) != settings(first, 1), "two searches, two streams"
    other = run_all(explorer_in(tmp_path / "c", some(sampler_seed=1)))
    assert other != first


def test_tpe_comes_closer_to_the_optimum_than_it_began(tmp_path: Path) -> None:
    values = settings(run_all(explorer_in(tmp_path, some(trials=30))), 0)
    early, late = ([abs(v - 0.31) for v in part] for part in (values[:10], values[-10:]))
    assert statistics.fmean(late) < statistics.fmean(early)


def test_what_is_finished_is_not_asked_again_and_more_trials_go_on(tmp_path: Path) -> None:
    before = run_all(explorer_in(tmp_path), limit=6)
    rest = run_all(explorer_in(tmp_path))
    assert len(before) + len(rest) == 16
    more = run_all(explorer_in(tmp_path, some(trials=10)))
    values = settings(before + rest + more, 0)
    assert len(values) == len(set(values)) == 10
    assert run_all(explorer_in(tmp_path, some(trials=10))) == []


def test_what_was_running_is_tried_first_by_the_next_run(tmp_path: Path) -> None:
    explorer = explorer_in(tmp_path)
    run_all(explorer, limit=4)
    cut_off = [explorer.suggest(f"cut-{index}") for index in range(4)]
    explorer.judge("cut-0", {"value": 0.5, "seeds": 1})
    explorer.on_trial_complete("cut-0", {"value": 0.5, "seeds": 1})  # Tune says so of a trial that it stops at the end
    again = run_all(explorer_in(tmp_path))
    assert sorted(settings(again, 0)[:2]) == sorted(settings(cut_off, 0))
    assert sorted(settings(again, 1)[:2]) == sorted(settings(cut_off, 1))
    assert len(again) == 12, "none is lost, none is counted twice"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_search_that_was_cut_off_ends_as_if_nothing_had_been(tmp_path: Path, sampler: str) -> None:
    found = some(sampler=sampler, trials=14)[:1]
    undisturbed = run_all(explorer_in(tmp_path / "a", found))
    parts: list[dict[str, Any]] = []
    for limit in (3, 5, 100):
        explorer = explorer_in(tmp_path / "b", found)
        parts += run_all(explorer, limit)
        explorer.suggest("cut")  # it was running when the process died
    assert parts == undisturbed


@pytest.mark.parametrize("end", ["error", "failed", "nan", "nothing"])
def test_a_failure_reaches_optuna_as_one_and_is_tried_again_by_the_next_run(tmp_path: Path, end: str) -> None:
    explorer = explorer_in(tmp_path)
    bad = explorer.suggest("bad")
    result: Any = {"failed": {"failed": "diverged", "seeds": 1}, "nan": {"value": float("nan"), "seeds": 2}}.get(end)
    explorer.on_trial_complete("bad", result, error=end == "error")
    (trial,) = explorer.studies[0].trials
    assert trial.state == TrialState.FAIL
    assert trial.value is None
    rest = run_all(explorer)
    assert bad["values"] not in [s["values"] for s in rest if s["search"] == 0], "not twice in one run"
    assert len(settings(rest, 0)) == 7
    again = run_all(explorer_in(tmp_path))
    assert again == [bad]
    assert run_all(explorer_in(tmp_path)) == []


def test_what_is_given_up_is_pruned_and_keeps_its_value_so_far(tmp_path: Path) -> None:
    explorer = explorer_in(tmp_path, some(screen=1, screen_after=2, seeds=3))
    names = [f"t{index}" for index in range(6)]
    first = [name for name in names if explorer.suggest(name)["search"] == 0]
    assert [explorer.judge(name, {"value": v, "seeds": 1}) for name, v in zip(first, (0.5, 0.7, 0.4), strict=True)] == [
        False,
        False,
        True,
    ]
    explorer.on_trial_complete(first[2], {"value": 0.4, "seeds": 1})
    trial = explorer.studies[0].trials[2]
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.4}
    assert tried(explorer.studies[0]) == 1


def test_the_rule_for_weak_settings_is_the_median_of_the_others_after_as_many_trainings(tmp_path: Path) -> None:
    (search, _) = some(screen=2, screen_after=3, seeds=4, trials=20)
    explorer = explorer_in(tmp_path, [search])
    history = [[0.5, 0.6, 0.6], [0.7, 0.4, 0.7], [0.1, 0.5, 0.9], [0.9, 0.3]]
    for number, values in enumerate(history):
        explorer.suggest(f"h{number}")
        for seeds, value in enumerate(values, 1):
            explorer.judge(f"h{number}", {"value": value, "seeds": seeds})
    trials = explorer.studies[0].get_trials()
    for number, values in enumerate(history):
        for reached in (1, 2, 3):
            others = [other[reached - 1] for n, other in enumerate(history) if n != number and len(other) >= reached]
            expected = (
                reached >= 2
                and len(values) >= reached
                and len(others) >= 3
                and values[reached - 1] < sorted(others)[len(others) // 2]  # three others: the middle one
            )
            assert weak(search.config, trials, number, reached) == expected, (number, reached)


def test_a_process_that_begins_again_reports_nothing_twice(tmp_path: Path) -> None:
    explorer = explorer_in(tmp_path)
    explorer.suggest("t")
    explorer.judge("t", {"value": 0.5, "seeds": 1})
    explorer.judge("t", {"value": 0.5, "seeds": 1})
    explorer.judge("t", {"value": 0.6, "seeds": 2})
    assert explorer.studies[0].trials[0].intermediate_values == {1: 0.5, 2: 0.6}


def test_a_journal_torn_anywhere_in_its_last_lines_is_read_and_goes_on(tmp_path: Path) -> None:
    run_all(explorer_in(tmp_path / "whole"), limit=6)
    content = (tmp_path / "whole" / "optuna.log").read_bytes()
    start = content.rstrip(b"\n").rfind(b"\n", 0, len(content) - 200) + 1
    for end in range(start, len(content), 7):
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / "optuna.log").write_bytes(content[:end])
        (folder / "optuna.log.lock").symlink_to("optuna.log")  # of a writer that was killed
        rest = run_all(explorer_in(folder))
        trials = [
            len({round(v, 2) for t in s.trials if (v := t.params.get("masking.mean"))})  # 0.21 and 0.21000000000000002
            for s in explorer_in(folder).studies
        ]
        assert trials == [8, 8]
        assert 10 <= len(rest) <= 11


@pytest.mark.parametrize("foreign", [bytes(64), b"a word", b"5", b"[]", b"{}", b'{"op_code": "4"}', b"\xff\xfe"])
def test_a_journal_goes_on_from_before_a_line_that_cannot_be_read(tmp_path: Path, foreign: bytes) -> None:
    """The same settings follow as without the damage: what is behind it is asked for again."""
    undisturbed = settings(run_all(explorer_in(tmp_path / "undisturbed")), 0)
    run_all(explorer_in(tmp_path / "damaged"), 10)
    path = tmp_path / "damaged" / JOURNAL_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:-6], foreign + b"\n", *lines[-6:]])
    path.write_bytes(damaged)
    with pytest.warns(JournalWarning) as warned:
        explorer = explorer_in(tmp_path / "damaged")
    (warning,) = warned
    assert str(warning.message) == (
        f"{path}: line {len(lines) - 5} of {len(lines) + 1} cannot be read; it goes on from the lines before. It is "
        "kept as optuna.log.broken; settings are tried again, trainings with a record are not"
    )
    assert (path.parent / "optuna.log.broken").read_bytes() == damaged
    again = settings(run_all(explorer), 0)
    assert undisturbed[-len(again) :] == again
    assert explorer_in(tmp_path / "damaged").total == 0, "the journal is whole again"


@pytest.mark.parametrize("entry", [b'{"op_code": -1, "worker_id": "x"}', b'{"op_code": 0, "worker_id": "x"}'])
def test_a_journal_that_optuna_refuses_is_begun_anew(tmp_path: Path, entry: bytes) -> None:
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(entry + b"\n")
    (tmp_path / "optuna.log.broken").write_text("an earlier one")
    with pytest.warns(JournalWarning, match="cannot read it .* a new one is begun.* kept as optuna.log.broken-1"):
        explorer = explorer_in(tmp_path)
    assert len(run_all(explorer)) == 16
    assert (tmp_path / "optuna.log.broken-1").read_bytes() == entry + b"\n"
