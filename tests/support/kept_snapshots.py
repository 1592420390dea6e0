"""Snapshots of a training in memory, and texts with masks for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from small_task import data, tokenizer

from l3masking.masking.applied import MaskedText
from l3masking.scoring.words import encode_texts
from l3masking.training.checkpoint import KeepsNothing, Snapshot


def copied(snapshot: Snapshot) -> Snapshot:
    """As it comes back from a file."""
    facts, tensors = snapshot
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    return Snapshot(json.loads(json.dumps(facts, allow_nan=False)), copies)


class Memory(KeepsNothing):
    """Keeps every snapshot, and goes on from one of another training."""

    def __init__(self, begin: Snapshot | None = None) -> None:
        self.begin, self.kept = begin, list[Snapshot]()

    def newest(self) -> Snapshot | None:
        return self.begin

    def offer(self, make: Callable[[], Snapshot]) -> None:
        self.kept.append(copied(make()))


def masked_texts() -> list[MaskedText]:
    """The training texts, every token with the same mask probability."""
    found = []
    for text in encode_texts(tokenizer(), data().train.texts, max_length=16):
        row = np.zeros(len(text.input_ids))
        row[text.positions] = 0.3
        found.append(MaskedText(text.input_ids, row))
    return found
