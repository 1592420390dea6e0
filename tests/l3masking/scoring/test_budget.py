"""Tokens of a scoring batch, from the device, its free memory and the widths of the model."""

import pytest
import torch

from l3masking.scoring import budget
from l3masking.scoring.budget import token_budget, token_bytes, tokens_within
from l3masking.scoring.settings import MOST_TOKENS

GIB = 1 << 30
BASE = 2 * (12 * 768 + 3072)  # bytes of a token in bf16, BERT-base


@pytest.mark.parametrize(
    ("free", "per_token", "tokens"),
    [
        (100 * GIB, BASE, 1 << 19),  # a large GPU: no more than keeps it busy
        (24 * GIB, BASE, 24 * GIB // 8 // BASE),
        (8 * GIB, 2 * BASE, 8 * GIB // 8 // (2 * BASE)),  # float32
        (1000, BASE, 1),
        (0, BASE, 1),
    ],
)
def test_a_gpu_is_given_what_a_share_of_its_free_memory_holds(free: int, per_token: int, tokens: int) -> None:
    assert tokens_within(free, per_token) == tokens


def test_a_token_needs_memory_by_the_widths_of_the_layers(encoders: dict) -> None:
    model = encoders["bert"].model
    widths = 12 * model.config.hidden_size + model.config.intermediate_size
    assert token_bytes(model, "float32") == 4 * widths
    assert token_bytes(model, "bf16") == 2 * widths
    assert token_bytes(encoders["distilbert"].model, "float32") == 4 * widths, "whose widths have other names"


def test_a_cpu_has_its_own_budget_and_a_gpu_counts_what_torch_keeps(encoders: dict, monkeypatch) -> None:
    model = encoders["bert"].model
    assert token_budget(model, "float32") == MOST_TOKENS["cpu"]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 * 1000 * token_bytes(model, "bf16"), 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 8 * 60 * token_bytes(model, "bf16"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 8 * 10 * token_bytes(model, "bf16"))
    monkeypatch.setattr(budget, "device_of", lambda model: torch.device("cuda"))
    assert token_budget(model, "bf16") == 1050
