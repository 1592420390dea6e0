"""A training that is interrupted after any of its snapshots and goes on from the files gives the same bits."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from kept_snapshots import Memory, masked_texts
from small_task import SCORING, data, digest, encoder, one_thread, scores, settings

from l3masking.errors import Interrupted
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import Training, encode_inputs, prepare
from l3masking.rng import stream
from l3masking.training.batches import Batches, draws, epochs
from l3masking.training.checkpoint import KeepsNothing, Snapshot
from l3masking.training.checkpoint_files import checkpoints, numbers, tidy, write_checkpoint
from l3masking.training.continual import adapt
from l3masking.training.mlm import TextSource
from l3masking.training.settings import AdaptConfig, FinalConfig, StopConfig

OBJECTIVES = ("accuracy", "macro_f1")
FINAL = FinalConfig(lr=3e-3, max_epochs=4, patience=2)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


class Killed(Exception):
    """Stands for the end of the process."""


class Folder(KeepsNothing):
    """Writes every snapshot, and ends the training after the `last` one."""

    def __init__(self, path: Path, last: int) -> None:
        self.path, self.left, self.stages = path, last, list[str]()

    def newest(self) -> Snapshot | None:
        return next(checkpoints(self.path), None)

    def offer(self, make: Callable[[], Snapshot]) -> None:
        snapshot = make()
        write_checkpoint(self.path, snapshot)
        self.stages.append(snapshot.facts.get("stage", "adapt"))
        self.left -= 1
        if not self.left:
            raise Killed


class AtEveryStep(Memory):
    """Keeps the state at every step too."""

    def beat(self, make: Callable[[], Snapshot]) -> None:
        self.offer(make)


def training(method: str, seed: int = 0) -> Training:
    """A training whose objectives choose different updates, with final stages."""
    arm, source = METHODS[method], data(48, 0.4)
    inputs = encode_inputs(arm, encoder(), source, SCORING)
    return prepare(
        arm,
        encoder(),
        inputs,
        masking=MaskingConfig(mean=0.2),
        config=settings(max_epochs=3, final=FINAL, every=2),
        seed=seed,
        scores=scores(source.mlm_texts) if arm.needs_scores else None,
    )


METHODS_TRIED = ["stl", "rtm", "l3masking", "mask_tuning", "mask_tuning_two_rounds"]


# long: l3masking and mask_tuning_two_rounds have each stage, and test_trial_kills.py kills mask_tuning
MORE = [pytest.param(method, marks=pytest.mark.long) for method in ("stl", "rtm", "mask_tuning")]


@pytest.mark.parametrize("method", ["l3masking", "mask_tuning_two_rounds", *MORE])
def test_a_training_that_is_cut_anywhere_ends_in_the_same_bits(method: str) -> None:
    made = training(method)
    whole = Memory()
    expected = digest(made.run(OBJECTIVES, keeper=whole))
    assert digest(made.run(OBJECTIVES)) == expected, "a keeper that keeps changes nothing"
    stages = [snapshot.facts["stage"] for snapshot in whole.kept]
    assert {"main", "final"} <= set(stages)
    assert ("first round" in stages) == (method == "mask_tuning_two_rounds")
    for last, snapshot in enumerate(whole.kept, start=1):
        rest = Memory(snapshot)
        assert digest(made.run(OBJECTIVES, keeper=rest)) == expected, f"cut after snapshot {last}"
        assert len(rest.kept) == len(stages) - last, "nothing is done twice"


def position(snapshot: Snapshot) -> tuple[object, ...]:
    """Where in a training a snapshot was taken, in general: its stage, and what is over and what is not."""
    facts = snapshot.facts
    seen = [point["update"] for point in (facts.get("curve") or facts.get("points") or [])]
    pending = max((len(tensor) for name, tensor in snapshot.tensors.items() if name.startswith("losses.")), default=0)
    return (
        facts.get("stage"),
        facts.get("update") in seen,
        pending,
        facts.get("made", 0) > 0,
        len(facts.get("done", ())),
    )


# long: l3masking-False and mask_tuning_two_rounds-False show one step of each kind; here a third of all steps
EVERY_STEP = [pytest.param(method, True, marks=pytest.mark.long) for method in METHODS_TRIED]


@pytest.mark.parametrize(("method", "every"), [("l3masking", False), ("mask_tuning_two_rounds", False), *EVERY_STEP])
def test_a_training_that_is_ended_after_any_step_goes_on_to_the_same_bits(
    method: str, every: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two updates, batches of an evaluation, or stages. Long: after each third step; else one of each kind."""
    monkeypatch.setattr("l3masking.training.portions.EVALUATION_TOKENS", 128)
    made, whole = training(method), AtEveryStep()
    expected = digest(made.run(OBJECTIVES, keeper=whole))
    kinds = {position(snapshot): snapshot for snapshot in whole.kept}
    looks = [one.facts["update"] for one in whole.kept if position(one)[:3] == ("main", False, 2)]
    assert len(looks) > 2 * len(set(looks)), "one for the update, and several for the batches of its evaluation"
    assert {("main", False, 1), ("main", False, 2), ("main", True, 0), ("final", False, 0)} <= {k[:3] for k in kinds}
    assert {kind[3:] for kind in kinds if kind[0] == "final"} == {
        (made, done) for made in (False, True) for done in (0, 1)
    } | {(False, 2)}
    assert (
        ("between rounds" in {kind[0] for kind in kinds})
        == ("first round" in {kind[0] for kind in kinds})
        == ("rounds" in method)
    )
    for snapshot in whole.kept[::3] if every else kinds.values():
        rest = AtEveryStep(snapshot)
        assert digest(made.run(OBJECTIVES, keeper=rest)) == expected, position(snapshot)


@pytest.mark.parametrize("method", ["stl", "mask_tuning_two_rounds"])
def test_nobody_holds_a_snapshot_while_the_main_stage_goes_on(method: str) -> None:
    """It is as large as several models."""
    made, whole = training(method), Memory()
    made.run(OBJECTIVES, keeper=whole)
    begin = next(snapshot for snapshot in whole.kept if snapshot.facts["stage"] == "main")
    held = weakref.ref(begin.tensors["model.classifier.out.weight"])

    class Hands(KeepsNothing):
        """Gives a snapshot away, and ends the training at its next step."""

        def newest(self) -> Snapshot | None:
            return given.pop()

        def beat(self, make: Callable[[], Snapshot]) -> None:
            assert held() is None
            raise Interrupted

    given = [begin]
    del whole, begin
    with pytest.raises(Interrupted):
        made.run(OBJECTIVES, keeper=Hands())


@pytest.mark.parametrize("method", ["l3masking", "mask_tuning_two_rounds"])
def test_what_the_keeper_raises_ends_a_training_at_once(method: str) -> None:
    class Ends(KeepsNothing):
        def beat(self, make: Callable[[], Snapshot]) -> None:
            raise Interrupted

    with pytest.raises(Interrupted):
        training(method).run(OBJECTIVES, keeper=Ends())


def test_a_training_that_is_cut_after_each_snapshot_ends_in_the_same_bits(tmp_path: Path) -> None:
    made = training("l3masking")
    expected, cuts = digest(made.run(OBJECTIVES)), 0
    while True:
        try:
            found = made.run(OBJECTIVES, keeper=Folder(tmp_path, 1))
            break
        except Killed:
            cuts += 1
    assert digest(found) == expected
    assert cuts > 5


# long: accuracy goes on in the same way
@pytest.mark.parametrize("objective", ["accuracy", pytest.param("macro_f1", marks=pytest.mark.long)])
def test_an_objective_goes_on_alone_from_a_training_of_several(objective: str) -> None:
    made = training("rtm")
    made = dataclasses.replace(made, config=dataclasses.replace(made.config, stop=StopConfig(patience=2)))
    whole = Memory()
    expected = digest({objective: made.run(OBJECTIVES, keeper=whole)[objective]})
    for snapshot in whole.kept:
        assert digest(made.run((objective,), keeper=Memory(snapshot))) == expected


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_passed_over(damaged: int, tmp_path: Path) -> None:
    """The one before it is taken, and where that is damaged too the training starts anew: the same bits each time."""
    made = training("stl")
    expected = digest(made.run(OBJECTIVES))
    with pytest.raises(Killed):
        made.run(OBJECTIVES, keeper=Folder(tmp_path, 4))
    assert numbers(tmp_path) == [3, 4]
    for number in (4, 3)[:damaged]:
        path = tmp_path / f"{number:08d}.safetensors"
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(bytes(content))
    rest = Folder(tmp_path, -1)
    found = rest.newest()
    assert found is None if damaged == 2 else found is not None and found.facts["update"] == 6
    assert digest(made.run(OBJECTIVES, keeper=rest)) == expected


@pytest.mark.parametrize("part", ["00000002.json", "00000002.safetensors"])
@pytest.mark.parametrize("change", ["flip", "cut", "empty", "remove", "swap"])
def test_every_damage_is_seen(part: str, change: str, tmp_path: Path) -> None:
    for value in (1, 2):
        write_checkpoint(tmp_path, Snapshot({"value": value}, {"x": torch.full((9,), value)}))
    path = tmp_path / part
    content = path.read_bytes()
    for at in range(len(content)) if change == "flip" else [len(content) // 2]:
        changed = {
            "flip": content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :],
            "cut": content[:at],
            "empty": b"",
            "swap": (tmp_path / part.replace("2.", "1.")).read_bytes(),
        }
        path.unlink(missing_ok=True)
        if change != "remove":
            path.write_bytes(changed[change])
        (found,) = checkpoints(tmp_path)
        assert found.facts == {"value": 1}
        assert torch.equal(found.tensors["x"], torch.ones(9, dtype=torch.long))


def test_two_checkpoints_stay_and_leftovers_go(tmp_path: Path) -> None:
    for value in range(5):
        write_checkpoint(tmp_path, Snapshot({"value": value}, {"x": torch.tensor(value)}))
    assert [found.facts["value"] for found in checkpoints(tmp_path)] == [4, 3]
    (tmp_path / "00000006.safetensors").write_bytes(b"no JSON was written")
    tidy(tmp_path)
    assert numbers(tmp_path) == [4, 5]
    assert [found.facts["value"] for found in checkpoints(tmp_path)] == [4, 3]
    assert list(checkpoints(tmp_path / "none")) == []


@pytest.mark.parametrize(("make", "size"), [(epochs, 10), (draws, 10), (epochs, 3), (draws, 3)])
def test_batches_go_on_from_any_place(make: Callable[..., Batches], size: int) -> None:
    for taken in range(8):
        first, second = make(size, 4, stream(3, "order")), make(size, 4, stream(9, "other"))
        for _ in range(taken):
            next(first)
        second.restore(first.state())
        assert [next(first) for _ in range(9)] == [next(second) for _ in range(9)]


# long: the first two have each kind of masks, with validation texts and without
CROSSED = [pytest.param(static, share, marks=pytest.mark.long) for static, share in ((False, 0.0), (True, 0.2))]


@pytest.mark.parametrize(("static", "dev_share"), [(False, 0.2), (True, 0.0), *CROSSED])
def test_an_adapt_stage_that_is_cut_anywhere_ends_in_the_same_bits(
    static: bool, dev_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a pass is more than one buffer, and an evaluation falls into the middle of one."""
    monkeypatch.setattr("l3masking.training.continual.SHUFFLED", 20)
    whole = Memory()
    expected = adapted(whole, static, dev_share)
    assert len(whole.kept) > 10
    for last, snapshot in enumerate(whole.kept, start=1):
        rest = Memory(snapshot)
        assert adapted(rest, static, dev_share) == expected, f"cut after snapshot {last}"
        assert len(rest.kept) == len(whole.kept) - last


@pytest.mark.parametrize("dev_share", [0.0, 0.2])
def test_an_adapt_stage_that_is_ended_after_any_step_goes_on_to_the_same_bits(
    dev_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l3masking.training.continual.SHUFFLED", 20)
    whole = AtEveryStep()
    expected = adapted(whole, False, dev_share, epochs=3)
    assert {(False, 1), (True, 0)} <= {position(snapshot)[1:3] for snapshot in whole.kept}
    for number, snapshot in enumerate(whole.kept):
        assert adapted(AtEveryStep(snapshot), False, dev_share, epochs=3) == expected, f"ended after step {number}"


def adapted(keeper: Memory, static: bool, dev_share: float, epochs: int = 11) -> tuple[object, ...]:
    """What an adapt stage gives that goes on where the keeper says."""
    texts = masked_texts()
    source = TextSource(count=len(texts), read=lambda: iter(texts))
    config = AdaptConfig(epochs=epochs, batch=8, lr=5e-3, warmup=0.5, dev_share=dev_share, static=static)
    found = adapt(encoder(), source, config, MaskingConfig(mean=0.3), seed=2, keeper=keeper, saved=keeper.newest())
    weights = {name: value.numpy().tobytes() for name, value in found.weights.items()}
    return weights, {name: value for name, value in vars(found).items() if name != "weights"}
