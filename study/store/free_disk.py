"""Free space where a study lies. It is looked at before a training, a shard or a checkpoint costs time."""

from __future__ import annotations

from pathlib import Path

from l3masking.errors import disk_full
from l3masking.whole import free_space

LEAST_FREE = 20_000_000  # bytes that stay free for records, tables and the mirror


def check_free(folder: Path, needed: int = 0) -> None:
    """Raise DiskFull unless `needed` bytes are free on the disk of `folder`, and LEAST_FREE beside them."""
    free = free_space(folder)
    if free < needed + LEAST_FREE:
        raise disk_full(str(folder), needed + LEAST_FREE, free)
