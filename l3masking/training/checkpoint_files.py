"""Snapshots of a training as files: tensors as safetensors, and beside them JSON, which is written last.

A checkpoint counts where its JSON is whole and both checksums agree. Nothing in it is code, and nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch

from l3masking.training.checkpoint import Snapshot
from l3masking.training.settings import KEPT_CHECKPOINTS
from l3masking.whole import made_whole, sweep, temporary_name, write_atomic

PROBED_BYTES = 2**26  # of a large snapshot, to see how long all of it takes
NAME = re.compile(r"([0-9]{8})\.(json|safetensors)")


def write_checkpoint(folder: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint durably, and only then remove all but the last KEPT_CHECKPOINTS ones."""
    number = 1 + max(numbers(folder), default=0)
    path = folder / f"{number:08d}.safetensors"
    with made_whole(path, durable=True) as temporary:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
        safetensors.torch.save_file(tensors, temporary)
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "blake2b").hexdigest()
    facts = _json(snapshot.facts)
    body = {"facts": snapshot.facts, "checksums": {"facts": _digest(facts), "tensors": digest}}
    write_atomic(path.with_suffix(".json"), _json(body))
    for old in numbers(folder)[:-KEPT_CHECKPOINTS]:
        _remove(folder, old)


def expected_seconds(folder: Path, snapshot: Snapshot, clock: Callable[[], float]) -> float:
    """Seconds that `write_checkpoint` is expected to take: a part of a large snapshot is written and removed again.

    A small one takes no time worth the trial: 0. clock: seconds.
    """
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in snapshot.tensors.items()}
    if sum(sizes.values()) <= PROBED_BYTES:
        return 0.0
    largest = snapshot.tensors[max(sizes, key=lambda name: sizes[name])]
    part = largest.flatten()[: PROBED_BYTES // largest.element_size()]
    began = clock()
    probe = folder / temporary_name("probe")  # which `tidy` removes where this is killed
    try:
        write_checkpoint(probe, Snapshot({}, {"part": part}))
        return (clock() - began) * sum(sizes.values()) / (part.numel() * part.element_size())
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def checkpoints(folder: Path) -> Iterator[Snapshot]:
    """The checkpoints of a folder that verify, the newest first; their tensors lie on the CPU."""
    for number in reversed(numbers(folder)):
        found = _read(folder / f"{number:08d}.safetensors")
        if found is not None:
            yield found


def numbers(folder: Path) -> list[int]:
    """Numbers of the checkpoints in a folder, whole or not, ascending."""
    if not folder.is_dir():
        return []
    return sorted({int(found[1]) for path in folder.iterdir() if (found := NAME.fullmatch(path.name))})


def tidy(folder: Path) -> None:
    """Remove what a killed writer left: files under temporary names, and tensors that got no JSON."""
    sweep(folder)
    for number in numbers(folder):
        if not (folder / f"{number:08d}.json").is_file():
            _remove(folder, number)


def _remove(folder: Path, number: int) -> None:
    for suffix in ("json", "safetensors"):  # without its JSON a checkpoint is none
        (folder / f"{number:08d}.{suffix}").unlink(missing_ok=True)


def _read(path: Path) -> Snapshot | None:
    """The checkpoint whose tensors are at `path`, or None if it is damaged or not whole."""
    try:
        body = json.loads(path.with_suffix(".json").read_bytes())
        facts, checksums = body["facts"], body["checksums"]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "blake2b").hexdigest()
        if checksums != {"facts": _digest(_json(facts)), "tensors": digest}:
            return None
        return Snapshot(facts, safetensors.torch.load_file(path))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _json(value: Any) -> bytes:
    """JSON in the order of the keys, which comes back as it was."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data).hexdigest()
