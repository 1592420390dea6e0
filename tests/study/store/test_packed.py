"""Probabilities in a record: small, the same on every machine, and close enough to what they were."""

from __future__ import annotations

import json

import numpy as np
import pytest

from study.store.packed import packed, packed_bytes, unpacked
from study.store.whole_files import canonical

ROWS = np.random.default_rng(3).dirichlet([0.2] * 6, size=139)  # rows that sum to 1, many of them near 0 and 1


def test_a_table_comes_back_within_half_precision() -> None:
    back = unpacked(json.loads(json.dumps(packed(ROWS.tolist()))))
    assert (back.shape, back.dtype) == ((139, 6), np.float32)
    assert np.all(np.abs(back - ROWS) <= np.maximum(2**-11 * ROWS, 2**-25))
    assert packed(back.tolist()) == packed(ROWS.tolist()), "what was rounded once stays"


def test_the_text_is_that_of_little_endian_halves() -> None:
    assert packed([[1.0, 0.0], [0.25, 0.75]]) == {"shape": [2, 2], "float16": "ADwAAAA0ADo="}  # 3C00 0000 3400 3A00


@pytest.mark.parametrize(("texts", "classes"), [(139, 6), (0, 3), (1, 2), (4043, 23)])
def test_its_size_is_known_before(texts: int, classes: int) -> None:
    whole = canonical({"test_probabilities": packed(np.full((texts, classes), 1 / classes).tolist()), "x": 1})
    if texts:  # the shape of no rows has no number of classes
        assert len(whole) - len(canonical({"x": 1})) == packed_bytes(texts, classes)
    assert packed_bytes(texts, classes) >= 8 * texts * classes / 3
