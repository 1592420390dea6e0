"""A study with a search, from its space file to the cells of what was found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import NoMirror, Said, command, marks, records, results, write_study

import study.run
import study.search.stage
import study.trial
from l3masking.errors import EnvironmentFault
from l3masking.training.evaluation import NonFiniteLoss
from study.plan.resolved import read_resolved
from study.space.search_section import FIRST_SEED
from study.store.store import Store

MEAN = {"masking.mean": {"uniform": [0.05, 0.6], "step": 0.05}}
SEARCH = {"parameters": MEAN, "trials": 4, "seeds": 2, "methods": ["l3masking"]}


@pytest.fixture
def mirror(monkeypatch) -> NoMirror:
    made = NoMirror()
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: made)
    return made


def written(folder: Path, **changes: Any) -> Path:
    given = {"search": SEARCH, "seeds": 1, "objectives": ["accuracy"], "methods": ["rtm", "l3masking"], **changes}
    return write_study(folder, **given)


def run(folder: Path, *words: object, verb: str = "run") -> Said:
    return command(verb, folder / "small.yaml", "--out", folder / "out", *words)


def tried(folder: Path) -> dict[str, dict[str, Any]]:
    return records(folder / "out" / "search")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("searched")
    written(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.run, "Mirror", NoMirror)
        said = run(folder)
    assert said.code == 0, said.err
    assert "4 settings of 1 searches left to try" in said.out
    return folder


def test_what_is_found_is_the_best_mean_on_validation_and_a_row_of_the_table(finished: Path) -> None:
    by_mean: dict[float, list[float]] = {}
    for record in tried(finished).values():
        by_mean.setdefault(record["mask_mean"], []).append(record["validation"]["accuracy"])
    assert len(by_mean) == 4
    assert {len(values) for values in by_mean.values()} == {2}
    best = max(sum(values) / 2 for values in by_mean.values())
    (finding,) = read_resolved(finished / "out").findings.values()  # type: ignore[union-attr]
    assert finding["validation"] == pytest.approx(best)
    assert sum(by_mean[finding["values"]["masking.mean"]]) / 2 == pytest.approx(best)
    assert (finding["sampler"], finding["trials"]) == ("TPESampler", 4)
    assert (finding["seeds"], finding["trainings"]) == (2, 8), "the budget"
    cells = json.loads((finished / "out/tables/results.json").read_text())
    assert [(c["method"], c["variant"], c["n"]) for c in cells] == [
        ("rtm", None, 1),
        ("l3masking", None, 1),
        ("l3masking", "best", 1),
    ]
    assert cells[-1]["mask_mean"] == finding["values"]["masking.mean"]


def test_a_record_of_a_search_knows_no_test_values_and_lies_apart(finished: Path) -> None:
    for record in tried(finished).values():
        assert not [name for name in record if name.startswith("test")]
        assert record["seed"] in (FIRST_SEED, FIRST_SEED + 1)
        assert record["variant"] == "search"
    assert {record["seed"] for record in records(finished / "out").values()} == {0}


def test_the_response_curve_is_exported(finished: Path) -> None:
    rows = json.loads((finished / "out/tables/search.json").read_text())
    assert sorted(row["values"]["masking.mean"] for row in rows) == [row["values"]["masking.mean"] for row in rows]
    assert len(rows) == 4
    [best] = [row for row in rows if row["best"]]
    cells = json.loads((finished / "out/tables/results.json").read_text())
    assert (best["fresh_n"], best["fresh_validation_mean"]) == (1, cells[-1]["validation_mean"])
    assert {row["fresh_n"] for row in rows if not row["best"]} == {None}
    text = (finished / "out/tables/comparisons.md").read_text().replace("\\", "")
    assert f"{100 * best['mean']:.2f} % as the best of 4 settings; {100 * cells[-1]['validation_mean']:.2f} %" in text
    assert "Search budgets are not equal. l3masking @ best: 4 settings, 2 seeds each; l3masking: no search." in text
    assert (
        (finished / "out/tables/search.csv").read_text().startswith("encoder,dataset,method,objective,masking.mean,n,")
    )
    assert (finished / "out/figures/search.png").read_bytes().startswith(b"\x89PNG")
    lines = (finished / "out/figures/search_performance.csv").read_text().splitlines()
    assert [line.split(",")[3:6] for line in lines[1:]] == [["accuracy", str(n), "4"] for n in range(1, 5)]
    best = max(row["mean"] for row in rows)
    assert float(lines[-1].split(",")[6]) == pytest.approx(best), "the best of all four settings"


def test_the_same_command_again_does_nothing(finished: Path, mirror) -> None:
    before, searched = marks(finished / "out"), marks(finished / "out/search")
    said = run(finished)
    assert said.code == 0, said.err
    assert "0 left to run" in said.out
    assert "left to try" not in said.out
    assert (marks(finished / "out"), marks(finished / "out/search")) == (before, searched)


class Untouchable:
    """In the place of a test split."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a search read the test split ({name})")


def test_a_search_never_reads_the_test_split(tmp_path: Path, finished: Path, mirror, monkeypatch) -> None:
    load = study.trial.held_data
    monkeypatch.setattr(study.trial, "held_data", lambda source: dataclasses.replace(load(source), test=Untouchable()))
    written(tmp_path)
    said = run(tmp_path, verb="search")
    assert said.code == 0, said.err
    assert {key: results(r) for key, r in tried(tmp_path).items()} == {
        key: results(r) for key, r in tried(finished).items()
    }
    assert not records(tmp_path / "out"), "the grid is left for `run`"
    assert run(tmp_path).code == 1, "the grid does read it: the trap works"


def test_an_interrupted_search_goes_on_and_loses_and_repeats_nothing(tmp_path: Path, mirror, monkeypatch) -> None:
    written(tmp_path)
    execute, done = study.search.stage.execute, []

    def interrupted(assignment: Any, pulse: Any) -> str | None:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(assignment.trial.trajectory)
        return execute(assignment, pulse)

    monkeypatch.setattr(study.search.stage, "execute", interrupted)
    said = run(tmp_path)
    assert said.code == 75
    first = marks(tmp_path / "out/search")
    assert len(first) == 5, "two settings, and half of the third"
    monkeypatch.setattr(
        study.search.stage, "execute", lambda given, pulse: done.append(given.trial.trajectory) or execute(given, pulse)
    )
    said = run(tmp_path)
    assert said.code == 0, said.err
    assert "2 settings of 1 searches left to try" in said.out
    assert len(done) == len(set(done)) == 8, "four settings, two seeds, each trained once"
    assert {name: mark for name, mark in marks(tmp_path / "out/search").items() if name in first} == first
    assert len({record["mask_mean"] for record in tried(tmp_path).values()}) == 4


def test_a_setting_that_fails_is_no_number_and_the_rest_goes_on(tmp_path: Path, mirror, monkeypatch) -> None:
    written(tmp_path)
    prepare, failed = study.trial.prepared, []

    def diverging(assignment: Any, *given: Any) -> Any:
        if assignment.trial.seed == FIRST_SEED + 1 and not failed:
            failed.append(assignment.trial.mask_mean)
            raise NonFiniteLoss("not finite at update 3: loss nan")
        return prepare(assignment, *given)

    monkeypatch.setattr(study.trial, "prepared", diverging)
    said = run(tmp_path)
    assert said.code == 1
    assert f"FAILED tiny / words / l3masking / masking.mean {failed[0]:.6g}: NonFiniteLoss" in said.out
    (failure,) = Store(tmp_path / "out/search").failures()
    assert failure["mask_mean"] == failed[0]
    said = run(tmp_path)
    assert said.code == 0, said.err
    assert "1 settings of 1 searches left to try" in said.out
    assert not Store(tmp_path / "out/search").failures()
    cells = json.loads((tmp_path / "out/tables/results.json").read_text())
    assert [c["n"] for c in cells] == [1, 1, 1]


def test_more_trials_continue_a_search_and_say_what_they_change(tmp_path: Path, mirror) -> None:
    written(tmp_path, search=SEARCH | {"screen": None})
    assert run(tmp_path).code == 0
    before = marks(tmp_path / "out/search")
    said = run(tmp_path, "--set", "search.trials=6")
    assert said.code == 0, said.err
    assert "2 settings of 1 searches left to try" in said.out
    assert before.items() <= marks(tmp_path / "out/search").items()
    assert len(tried(tmp_path)) == 12


def test_other_fields_can_be_searched_too(tmp_path: Path, mirror) -> None:
    parameters = {"optim.lr": {"loguniform": [1e-4, 1e-2]}, "scoring.metric": {"choice": ["original", "whole_word"]}}
    search = {"parameters": parameters, "trials": 3, "seeds": 1, "sampler": "random"}
    written(tmp_path, search=search, methods=["l3masking"])
    said = run(tmp_path)
    assert said.code == 0, said.err
    assert len(list((tmp_path / "out/scores").iterdir())) == 3, "of the plain row, and of each choice"
    settings = [(r["settings"]["optim"]["lr"], r["settings"]["scoring"]["metric"]) for r in tried(tmp_path).values()]
    assert len(set(settings)) == 3
    assert (tmp_path / "out/figures/search.png").is_file()


def test_a_filter_says_which_searches_run(tmp_path: Path, mirror) -> None:
    written(tmp_path)
    assert run(tmp_path, "--only", "variant=plain").code == 0
    assert not tried(tmp_path)
    plan = json.loads(command("plan", tmp_path / "small.yaml", "--out", tmp_path / "out", "--json").out)
    assert (plan["trajectories"], plan["done"], plan["left"], plan["search_trials"]) == (3, 2, 1, 4)
    said = run(tmp_path, "--only", "method=l3masking,variant=best")
    assert said.code == 0, said.err
    assert len(tried(tmp_path)) == 8


def test_where_ray_tune_breaks_off_the_journal_says_what_is_left(tmp_path: Path, monkeypatch) -> None:
    from study.search import tune

    written(tmp_path)
    asked: list[int] = []

    class Broken:
        def reopen(self) -> None:
            asked.append(0)

    monkeypatch.setattr(tune, "_round", lambda *_: "out of memory")
    with pytest.raises(EnvironmentFault, match="3 times \\(out of memory\\)"):
        tune.tune_searches(Broken(), [], lambda _: None)  # type: ignore[arg-type]
    assert len(asked) == 3
    ends = ["out of memory", None]
    monkeypatch.setattr(tune, "_round", lambda *_: ends.pop(0))
    tune.tune_searches(Broken(), [], lambda _: None)  # type: ignore[arg-type]
    assert ends == []
