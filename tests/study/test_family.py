"""Every arm in one small study: their artefacts, what they share, and what a stop costs."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_study import NoMirror, Said, assignments, command, marks, records, results, write_study

import study.run
from l3masking.errors import InputError
from l3masking.methods import METHODS
from study import adapted, importance
from study.adapted import adapted_encoder, adapted_place, masked_source
from study.plan.inputs import held_encoder
from study.trial import execute, kept_of
from study.work.workers import ArtefactWorker

POLICY = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from l3masking.masking.policies import Weights

@dataclass(frozen=True)
class Policy:
    needs: ClassVar[frozenset[str]] = frozenset()
    first: float = 2.0

    def weights(self, text, config, generator):
        values = np.ones(len(text.positions))
        values[:1] = self.first
        return Weights(values)
"""
SPACE: dict[str, Any] = {
    "methods": [*METHODS, "own", "pmi", "entropy", "both"],
    "arms": {
        "own": {"like": "rtm", "policy": "first"},
        "pmi": {"like": "rtm", "policy": "pmi", "weighting": "static"},
        "entropy": {"like": "tapt", "policy": "entropy"},
        "both": {"like": "rtm", "adapt": "span"},
    },
    "policies": {"first": {"file": "first.py", "settings": {"first": 3.0}}},
    "corpora": {"domain": {"files": "corpus/*.txt"}},
    "objectives": ["accuracy"],
    "seeds": 1,
    "adapt": {"corpus": "domain", "epochs": 2, "batch": 8, "accumulate": 1, "lr": 1e-3},
    "selective": {
        "delta": 0.2,
        "criterion": "signed",
        "stop_words": False,
        "unit": "document",
        "network_epochs": 2,
        "network_batch": 8,
    },
    "mask_tuning": {"rate": 0.2},
}


def write_family(folder: Path, **changes: Any) -> Path:
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for number in range(2):
        lines = [f"we see the {word} near a {word} .\n\n" for word in ("red", "cat", "oak", "old", "new", "far")]
        (folder / "corpus" / f"{number}.txt").write_text("".join(lines))
    (folder / "first.py").write_text(POLICY)
    return write_study(folder, **(SPACE | changes))


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Said]]:
    folder = tmp_path_factory.mktemp("family")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())
        yield folder, command("run", write_family(folder), "--out", folder / "out")


@pytest.mark.slow
def test_every_arm_runs_to_its_record(family: tuple[Path, Said]) -> None:
    folder, said = family
    assert said.code == 0, said.err + said.out
    found = {record["method"]: record for record in records(folder / "out").values()}
    assert found.keys() == set(SPACE["methods"])
    for name, record in found.items():
        arm = METHODS.get(name)
        adapts = bool(arm.adapts) if arm else name in ("entropy", "both")
        assert ("adaptation" in record) == adapts, name
    assert found["dapt"]["adaptation"]["texts"] == 12
    assert found["tapt"]["adaptation"]["texts"] == 24
    assert found["mask_tuning"]["mask_mean"] == 0.2
    assert found["selective"]["mask_mean"] is None
    assert set(found["mask_tuning"]["curve"][0]["train_loss"]) == {"primary", "mlm"}
    assert found["selective"]["adaptation"]["masked_share"] > 0
    assert found["selective"]["adaptation"]["masked_share"] == found["selective_random"]["adaptation"]["masked_share"]
    assert not any((folder / "out" / "adapted").iterdir()), "weights that nothing needs any more are gone"
    kinds = [json.loads(file.read_text())["kind"] for file in (folder / "out").glob("importance/*/manifest.json")]
    assert sorted(kinds) == ["classifier", "heuristic", "network", "prediction"]


@pytest.mark.slow
def test_a_second_run_makes_nothing(family: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = family
    before = marks(folder / "out")
    monkeypatch.setattr(ArtefactWorker, "make", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(adapted, "adapt", lambda *_, **__: pytest.fail("trained again"))
    assert command("run", folder / "small.yaml", "--out", folder / "out").code == 0
    assert marks(folder / "out") == before


@pytest.mark.slow
def test_the_verbs_know_the_arms(family: tuple[Path, Said]) -> None:
    folder, _ = family
    plan = command("plan", folder / "small.yaml", "--out", folder / "out")
    assert plan.code == 0, plan.err
    assert "made once and shared: scores" in plan.out
    assert "importance 2" in plan.out  # of the texts of the task, and of the corpus
    table = (folder / "out" / "tables" / "results.md").read_text()
    for label in ("TAPT-L3", "Selective random", "Mask-tuning, two rounds", "pmi"):
        assert label in table
    asked = command("compare", folder / "out")
    assert asked.code == 0, asked.err
    for question in ("tapt vs stl", "selective vs selective_random", "mtl_selective vs l3masking"):
        assert question in asked.out.lower() or question in (folder / "out/tables/comparisons.csv").read_text()


@pytest.mark.slow
def test_a_changed_policy_file_is_another_training(family: tuple[Path, Said]) -> None:
    folder, _ = family
    (folder / "first.py").write_text(POLICY + "\n# another text\n")
    plan = json.loads(command("plan", folder / "small.yaml", "--out", folder / "out", "--json").out)
    (folder / "first.py").write_text(POLICY)
    assert (plan["done"], plan["left"]) == (len(SPACE["methods"]) - 1, 1)


def test_a_trial_that_is_killed_after_its_masked_lm_stage_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = write_family(tmp_path, methods=["tapt"])
    (whole,) = assignments(space, tmp_path / "whole")
    assert execute(whole) is None
    (torn,) = assignments(space, tmp_path / "torn")
    adapted_encoder(torn, held_encoder(torn.encoder, "cpu"), kept_of(torn))  # and then the process dies
    assert (Path(str(adapted_place(torn))) / "manifest.json").is_file()
    monkeypatch.setattr(adapted, "adapt", lambda *_, **__: pytest.fail("trained again"))
    assert execute(torn) is None
    first, second = (results(next(iter(records(tmp_path / name).values()))) for name in ("whole", "torn"))
    assert first == second
    assert not Path(str(adapted_place(torn))).exists()


def test_adapted_weights_are_kept_if_asked_for(tmp_path: Path) -> None:
    space = write_family(tmp_path, methods=["tapt"], resources={"executor": "serial", "keep_adapted": True})
    (one,) = assignments(space, tmp_path / "out")
    assert execute(one) is None
    manifest = json.loads((Path(str(adapted_place(one))) / "manifest.json").read_text())
    assert manifest["adaptation"]["updates"] > 0


def test_the_control_masks_as_many_tokens_at_other_places(tmp_path: Path) -> None:
    space = write_family(tmp_path, methods=["selective", "selective_random"], adapt=SPACE["adapt"] | {"corpus": None})
    pair = assignments(space, tmp_path / "out")
    encoder = held_encoder(pair[0].encoder, "cpu")
    chosen, control = (list(masked_source(one.trial.arm.adapts[0], one, encoder).read()) for one in pair)
    assert len(chosen) == len(control) == 24
    assert [row.probabilities.sum() for row in chosen] == [row.probabilities.sum() for row in control]
    assert any((a.probabilities != b.probabilities).any() for a, b in zip(chosen, control, strict=True))
    files = [pq.read_table(file) for file in (tmp_path / "out").glob("importance/*/part-*.parquet")]
    important = sum(sum(flags) for table in files for flags in table.column("important").to_pylist())
    assert 0 < sum(row.probabilities.sum() for row in chosen) <= important


def test_where_no_token_is_important_the_arm_fails_with_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last token of a text that is classified correctly is always near the whole: only wrong texts have none."""
    space = write_family(tmp_path, methods=["selective"], adapt=SPACE["adapt"] | {"corpus": None})
    (one,) = assignments(space, tmp_path / "out")
    found = adapted._importance
    monkeypatch.setattr(adapted, "_importance", lambda *given: ((text, 0 * values) for text, values in found(*given)))
    reason = execute(one)
    assert reason is not None
    assert re.fullmatch(r"InputError: selective.delta is 0.2: none of \d+ tokens is important.*larger delta.*", reason)


@pytest.mark.slow
def test_importance_that_cannot_be_computed_costs_the_arms_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise InputError("no token is important")

    monkeypatch.setattr(importance, "train_network", refuses)
    space = write_family(tmp_path, methods=["stl", "selective"])
    said = command("run", space, "--out", tmp_path / "out")
    assert said.code == 1, said.err + said.out
    assert "FAILED scoring network of tiny on words: no token is important" in said.out
    assert {record["method"] for record in records(tmp_path / "out").values()} == {"stl"}
    (failure,) = (json.loads(file.read_text()) for file in (tmp_path / "out" / "failures").iterdir())
    assert failure["reason"] == "InputError: scoring network of tiny on words: no token is important"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ["dapt"], "adapt": {}}, "adapt.corpus: needs a value for DAPT: the name of a corpus"),
        ({"adapt": {"corpus": "domains"}}, 'adapt.corpus: "domains" is no corpus of this file; nearest: domain'),
        ({"corpora": {"domain": {"files": "none-*.txt"}}}, "no file matches the pattern"),
        ({"arms": {"stl": {"like": "rtm"}}, "methods": ["stl"]}, "arms.stl: this name is taken by an arm"),
        ({"arms": {"x": {"like": "rmt"}}, "methods": ["stl"]}, 'arms.x.like: "rmt" is no arm; nearest: rtm'),
        ({"arms": {"x": {"like": "rtm", "policy": "pim"}}, "methods": ["stl"]}, 'arms.x.policy: "pim" is no masking'),
        ({"policies": {"first": {"file": "gone.py"}}}, "policies.first.file: cannot read "),
        ({"policies": {"first": {"file": "first.py", "settings": {"firsts": 1}}}}, "first.py, line"),
        ({"mask_tuning": {"rate": 2}}, "mask_tuning.rate is 2"),
        ({"selective": {"delta": 0}}, "selective.delta is 0"),
    ],
)
def test_refused_spaces(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    result = command("run", write_family(tmp_path, **changes), "--out", tmp_path / "out")
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_policy_that_raises_is_refused_before_any_training(tmp_path: Path) -> None:
    space = write_family(tmp_path)
    (tmp_path / "first.py").write_text(POLICY.replace("values[:1] = self.first", "raise ValueError('no')"))
    result = command("run", space, "--out", tmp_path / "out")
    assert result.code == 2
    assert "first.py, line 14: ValueError: no" in result.err
    assert not (tmp_path / "out" / "records").exists()


def test_a_corpus_that_changed_is_refused(tmp_path: Path) -> None:
    space = write_family(tmp_path, methods=["dapt"])
    (one,) = assignments(space, tmp_path / "out")
    (tmp_path / "corpus" / "0.txt").write_text("another text\n")
    moved = dataclasses.replace(one, corpus=dataclasses.replace(one.corpus, name="again"))
    reason = execute(moved)
    assert reason is not None
    assert "its content has changed since the study was planned" in reason
