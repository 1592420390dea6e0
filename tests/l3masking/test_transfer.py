"""Tensors go to a device in one copy for each dtype, and keep their values and shapes."""

from __future__ import annotations

import pytest
import torch

from l3masking.transfer import moved, views_of


def test_a_cpu_keeps_what_it_has() -> None:
    tensors = [torch.arange(6).view(2, 3), torch.zeros(0)]
    assert all(a is b for a, b in zip(moved(tensors, torch.device("cpu")), tensors, strict=True))


def test_one_copy_for_each_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    whole = torch.Tensor.to

    def to(tensor: torch.Tensor, device: torch.device, *, non_blocking: bool) -> torch.Tensor:
        assert non_blocking
        copies.append(tensor.clone())
        return whole(tensor, device)

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", to)
    tensors = [torch.arange(6).view(2, 3).t(), torch.tensor([0.5]), torch.tensor(7), torch.empty(0, 1), torch.arange(2)]
    found = moved(tensors, torch.device("meta"))
    assert [one.shape for one in found] == [one.shape for one in tensors]
    assert [one.dtype for one in found] == [one.dtype for one in tensors]
    assert [copy.tolist() for copy in copies] == [[0, 3, 1, 4, 2, 5, 7, 0, 1], [0.5]]
    for view, one in zip(views_of(copies[0], [tensors[at] for at in (0, 2, 4)]), (0, 2, 4), strict=True):
        assert torch.equal(view, tensors[one])
