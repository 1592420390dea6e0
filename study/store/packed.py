"""Probabilities of classes as one short text in a record, and back.

Half precision is enough for what is computed from them: it rounds a probability by a factor of at most 2^-11 (0.0005),
and below 0.0001 by at most 2^-25. A row of C numbers takes 8 C / 3 bytes, half of what three decimals would take.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.store.record import Probabilities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HALF_PRECISION = "<f2"  # IEEE 754 half precision, little-endian, on every machine


def packed(rows: Sequence[Sequence[float]]) -> Probabilities:
    """Pack a table [E, C] of numbers in [0, 1]; equal numbers give equal texts on every machine."""
    import numpy as np

    values = np.asarray(rows, dtype=HALF_PRECISION)
    return {"shape": list(values.shape), "float16": base64.b64encode(values.tobytes()).decode("ascii")}


def unpacked(found: Probabilities) -> NDArray[np.float32]:
    """Return the table [E, C] that `packed` was given, as rounded there."""
    import numpy as np

    values = np.frombuffer(base64.b64decode(found["float16"]), dtype=HALF_PRECISION)
    return values.reshape(found["shape"]).astype(np.float32)


def packed_bytes(texts: int, classes: int) -> int:
    """Bytes of such a table in a record, its names included."""
    frame = '"test_probabilities":{"float16":"","shape":[,]},'
    return len(frame) + len(f"{texts}{classes}") + 4 * -(-2 * texts * classes // 3)
