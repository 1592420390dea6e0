"""Pairs of texts and evaluation sets in a whole small study: what is recorded, what is recomputed, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import NoMirror, Said, assignments, command, marks, records, results, write_study
from small_task import TELLING

import study.run
from l3masking.metrics import METRICS
from study.plan.inputs import held_data
from study.plan.resolved import planned
from study.store.packed import unpacked

MAP = {"first": "one", "second": "other", "third": "other"}
SPACE: dict[str, Any] = {
    "datasets": {
        "pairs": {
            "train": "pairs-train.jsonl",
            "validation": "pairs-validation.jsonl",
            "test": "pairs-test.jsonl",
            "text_pair": "second",
            "evaluation_sets": {
                "merged": {"test": "merged.csv", "text": "a", "text_pair": "b", "label": "gold", "label_map": MAP},
                "same": {"test": "pairs-test.jsonl"},
                "few": {"test": "few.jsonl"},  # lacks the class `third`
            },
        }
    },
    "methods": ["stl", "l3masking", "selective", "mask_tuning"],
    "arms": {"spans": {"like": "rtm", "policy": "span"}},
    "objectives": ["accuracy", "macro_f1"],
    "seeds": 1,
    "scoring": {"max_length": 20},
    "adapt": {"epochs": 1, "batch": 8, "accumulate": 1},
    "selective": {"delta": 0.2, "criterion": "signed", "stop_words": False, "network_epochs": 1, "network_batch": 8},
}


def write_pairs(folder: Path, **changes: Any) -> Path:
    """A study whose texts are pairs: the telling word is in the second one."""
    space = write_study(folder, **(SPACE | changes))
    words = list(TELLING)
    for part, count in (("train", 24), ("validation", 9), ("test", 12)):
        texts = [(f"we use the {TELLING[words[n % 3]][n % 2]} near a", words[n % 3], n) for n in range(count)]
        lines = [{"text": f"the old and new {n % 5} of a", "second": second, "label": one} for second, one, n in texts]
        (folder / f"pairs-{part}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    few = [json.loads(line) for line in (folder / "pairs-test.jsonl").read_text().splitlines()]
    (folder / "few.jsonl").write_text("\n".join(json.dumps(row) for row in few if row["label"] != words[2]))
    rows = [f"far and near,see the {TELLING[words[n % 3]][0]},{MAP[words[n % 3]]}" for n in range(9)]
    (folder / "merged.csv").write_text("\n".join(["a,b,gold", *rows]) + "\n")
    return space


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Said]]:
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())
        space = write_pairs(folder, methods=[*SPACE["methods"], "spans"])
        yield folder, command("run", space, "--out", folder / "out")


def test_every_record_holds_each_set_with_its_own_classes(ran: tuple[Path, Said]) -> None:
    folder, said = ran
    assert said.code == 0, said.err + said.out
    found = records(folder / "out")
    assert len(found) == 10
    truth = [MAP[list(TELLING)[n % 3]] for n in range(9)]
    for record in found.values():
        merged, same = record["evaluations"]["merged"], record["evaluations"]["same"]
        assert merged["labels"] == ["one", "other"]
        numbers = [merged["labels"].index(name) for name in truth]
        for name, metric in METRICS.items():
            assert merged["metrics"][name] == metric(merged["predictions"], numbers, 2)
        assert same["predictions"] == record["test_predictions"], "the set is the test split itself"
        assert same["metrics"] == record["test"]
        assert same["probabilities"] == record["test_probabilities"]
        assert unpacked(merged["probabilities"]).sum(axis=1) == pytest.approx(1, abs=0.002)
        assert same["labels"] == record["labels"]
        assert record["evaluations"]["few"]["labels"] == record["labels"]
        assert record["evaluations"]["few"]["absent"] == ["third"]
        hashes = {name: found["data_hash"] for name, found in record["evaluations"].items()}
        assert hashes == planned(folder / "out").identities.evaluations["pairs"]
        assert same["absent"] == merged["absent"] == []
    assert "dataset pairs: evaluation set few: no row of third" in said.out


def test_a_run_again_makes_nothing_and_another_set_trains_again_on_the_same_scores(ran: tuple[Path, Said]) -> None:
    folder, _ = ran
    before, space = marks(folder / "out"), folder / "small.yaml"
    assert command("run", space, "--out", folder / "out").code == 0
    assert marks(folder / "out") == before
    text = space.read_text()
    space.write_text(text.replace("second: other", "second: one"))
    plan = json.loads(command("plan", space, "--out", folder / "out", "--json").out)
    space.write_text(text)
    assert (plan["done"], plan["left"]) == (0, 10)


def test_without_sets_the_key_and_the_record_are_those_of_before(tmp_path: Path) -> None:
    sets = SPACE["datasets"]["pairs"]
    plain = {"pairs": {name: value for name, value in sets.items() if name != "evaluation_sets"}}
    empty = {"pairs": plain["pairs"] | {"evaluation_sets": {}}}
    keys = []
    for name, datasets in (("plain", plain), ("empty", empty), ("sets", SPACE["datasets"])):
        (one,) = assignments(write_pairs(tmp_path, datasets=datasets, methods=["stl"]), tmp_path / name)
        keys.append((one.trial.trajectory, one.data.data_hash))
    assert keys[0] == keys[1]
    assert keys[0][0] != keys[2][0]
    assert keys[0][1] == keys[2][1], "scores and other artefacts of the dataset stay"
    assert command("run", write_pairs(tmp_path, datasets=plain, methods=["stl"]), "--out", tmp_path / "out").code == 0
    assert all("evaluations" not in record for record in records(tmp_path / "out").values())


def test_a_search_looks_at_no_further_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = write_pairs(
        tmp_path,
        methods=["rtm"],
        search={"trials": 2, "seeds": 1, "parameters": {"masking.mean": {"choice": [0.2, 0.3]}}},
    )
    said = command("run", space, "--out", tmp_path / "out")
    assert said.code == 0, said.err + said.out
    searched = [json.loads(file.read_text()) for file in (tmp_path / "out").glob("search/records/*.json")]
    assert searched
    assert all("evaluations" not in record and "test" not in record for record in searched)
    assert all("evaluations" in record for record in records(tmp_path / "out").values())


def test_a_set_that_changes_between_plan_and_training_is_noticed(tmp_path: Path) -> None:
    (one,) = assignments(write_pairs(tmp_path, methods=["stl"]), tmp_path / "out")
    held_data.cache_clear()
    text = (tmp_path / "merged.csv").read_text()
    (tmp_path / "merged.csv").write_text(text.replace("far and near", "near and far"))
    with pytest.raises(Exception, match="dataset pairs: its content has changed since the study was planned"):
        one.data.load()


def with_set(**changes: Any) -> dict[str, Any]:
    dataset = SPACE["datasets"]["pairs"]
    merged = {
        key: value for key, value in (dataset["evaluation_sets"]["merged"] | changes).items() if value is not None
    }
    return {"pairs": dataset | {"evaluation_sets": {"merged": merged}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label_map": {"first": "one", "second": "other"}}, "label_map misses 'third'; say what each label of train"),
        ({"label_map": {"one": "first", "other": "second"}}, "label_map is the wrong way round"),
        ({"label_map": None}, "say what the labels of train are here in `label_map`"),
        ({"text_pair": None}, r"merged\.csv: no column `second`; the columns there are: 'a', 'b', 'gold'"),
        ({"test": None}, r"datasets\.pairs\.evaluation_sets\.merged\.test: .*no default"),
        (
            {"tset": "x.csv"},
            r"datasets\.pairs\.evaluation_sets\.merged\.tset: unknown key .*nearest: text, test, subset; known: hub",
        ),
        ({"test": "x.txt"}, r"datasets\.pairs\.evaluation_sets\.merged\.test is .*x\.txt': files end in"),
        ({"label_map": {"first": 1}}, r"evaluation_sets\.merged\.label_map\.first: 1 .*text \(in quotes"),
        ({"test": "gone.csv"}, r"cannot read .*gone\.csv"),
        ({"rows": {"test": 3}}, "evaluation set merged: test has 9 rows, not the 3 of `rows`"),
    ],
)
def test_a_wrong_set_costs_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    found = command("run", write_pairs(tmp_path, datasets=with_set(**changes)), "--out", tmp_path / "out")
    assert found.code == 2, found.err
    assert re.search(said, found.err), found.err
    assert len(found.err.strip().splitlines()) <= 2


def test_a_pair_on_one_side_only_is_refused(tmp_path: Path) -> None:
    single = with_set()
    del single["pairs"]["text_pair"]
    found = command("run", write_pairs(tmp_path, datasets=single), "--out", tmp_path / "out")
    assert found.code == 2
    assert "evaluation_sets.merged.text_pair is 'b', and the dataset has single texts" in found.err


def test_serial_results_repeat(ran: tuple[Path, Said], tmp_path: Path) -> None:
    folder, _ = ran
    again = command("run", write_pairs(tmp_path, methods=["mask_tuning"]), "--out", tmp_path / "out")
    assert again.code == 0, again.err
    first, second = records(folder / "out"), records(tmp_path / "out")
    assert second
    for key, record in second.items():
        assert results(record) == results(first[key])
