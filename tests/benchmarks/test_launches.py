"""Launches are counted where the program makes them, and waits where the host reads a tensor."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import launches
import pytest
import torch
import torch.nn.functional as F
from small_task import one_thread

from l3masking.encoders.dropout import dropped
from l3masking.encoders.joined import join
from l3masking.training.batches import pad
from l3masking.training.flat_gradients import SUM_BLOCK, norm

TINY = ["--hidden", 16, "--vocabulary", 90, "--num-texts", 60, "--batch", 4]


def test_both_kinds_of_update_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, said = [], ""
    for layers in (1, 2):
        words = [*TINY, "--layers", layers, "--json", tmp_path / "found.json"]
        monkeypatch.setattr(sys, "argv", ["launches.py", *map(str, words)])
        with one_thread():
            launches.main()
        found.append(json.loads((tmp_path / "found.json").read_text()))
        said += capsys.readouterr().out
    for kind in launches.KINDS:
        less, more = (one[kind]["operators"] for one in found)
        assert 20 < more - less < less, "those of a layer, forward and backward, in all passes"
        for one in found:
            for what in ("operators", "waits"):
                assert one[kind][what] == sum(one[kind][f"{what}_by_place"].values())
            assert f"{kind}: {one[kind]['operators']} operators, " in said
    assert found[1]["meta"]["operators"] > 2 * found[1]["stl"]["operators"], "three passes and the dev head"
    assert found[1]["stl"]["waits"] == found[0]["stl"]["waits"], "none in a layer"


def counted(work) -> dict:
    with one_thread():
        return launches.counted_on_host(work)


def test_operators_are_counted_at_their_place_without_views_and_allocations() -> None:
    gradient = torch.ones(SUM_BLOCK)
    assert counted(lambda: norm(gradient))["operators_by_place"].keys() == {"flat_gradients.py norm"}
    assert counted(lambda: torch._foreach_norm([torch.ones(3), torch.ones(2)]))["tensors_in_lists"] == 2
    assert counted(lambda: torch.ones(2).view(1, 2).t())["operators_by_place"] == {"the optimizer": 1}
    assert counted(lambda: torch.empty(2).view(1, 2))["operators"] == 0
    assert counted(lambda: pad([[1, 2], [3]], 0.0))["operators"] == 0, "it makes a batch on the host"


def test_what_a_host_reads_is_a_wait() -> None:
    x, mask = torch.arange(4.0), torch.tensor([True, False, True, True])
    for work, name in (
        (lambda: x[0].item(), "local_scalar_dense"),
        (lambda: bool(x[0]), "local_scalar_dense"),
        (lambda: x.tolist(), "tolist"),
        (lambda: x.numpy(), "numpy"),
        (lambda: mask.nonzero(), "nonzero"),
        (lambda: x[mask], "index"),
        (lambda: torch.repeat_interleave(x, torch.tensor([1, 2, 0, 1])), "repeat_interleave"),
    ):
        assert counted(work)["waits_by_place"] == {f"the optimizer: {name}": 1}, name
    for work in (lambda: x[torch.tensor([2, 0])], lambda: mask.nonzero_static(size=3), lambda: x + 1):
        assert counted(work)["waits"] == 0
    ids = torch.ones(2, 3, dtype=torch.long)
    given = {"input_ids": ids, "attention_mask": ids}
    found = counted(lambda: join(given, (3, 3), padding_id=None, at=(torch.tensor([0]), torch.tensor([0]))))
    assert found["waits"] == 0 < found["operators"], "lengths are laid out on the host"


def test_dropout_and_attention_are_one_operator_each_as_on_a_gpu() -> None:
    x = torch.ones(1, 1, 4, 8)
    many = counted(lambda: dropped(x, 0.5))["operators"]
    with launches.as_on_a_gpu():
        assert counted(lambda: dropped(x, 0.5))["operators"] == 1 < many
        found = counted(lambda: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1))
    assert found["operators"] == 1
    assert counted(lambda: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1))["operators"] > 1
