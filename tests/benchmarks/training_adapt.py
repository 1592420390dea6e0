"""An update of masked-LM training before fine-tuning, and its bare passes on the same batches; run by training.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from l3masking.masking.applied import MaskedText
from l3masking.precision import autocast
from l3masking.training.batches import Chunk
from l3masking.training.continual import _Adaptation
from l3masking.training.mlm import TextSource
from l3masking.training.model import mlm_loss
from l3masking.training.portions import Portions
from l3masking.training.settings import AdaptConfig


def adapt_seconds(bench: Any) -> dict[str, list[float]]:
    """Seconds per update of the stage (reading, masks, passes, clipping; no optimizer) and of its bare passes.

    bench: training.Bench. One value per run after warm-up. The weights of both sides are the same and stay.
    """
    stage, scribe = adaptation(bench), adaptation(bench)  # the scribe draws what the stage will
    stage.encoder.model.train()
    windows, masked = stage.windows(), masked_windows(scribe)

    def works_of(numbers: range) -> dict[str, Callable[[], object]]:
        batches = [next(masked) for _ in numbers]
        return {
            "adapt": lambda: [whole(stage, number, windows) for number in numbers],
            "adapt_bare": lambda: [bare(stage, window) for window in batches],
        }

    return bench.paired(works_of)


def adaptation(bench: Any) -> _Adaptation:
    """The stage before its first update, on the masked-LM texts of the benchmark's world."""
    given, auxiliary = bench.given, bench.world.auxiliary
    rows = zip(auxiliary.input_ids, auxiliary.probabilities, strict=True)
    texts = [MaskedText(ids, probabilities) for ids, probabilities in rows]
    source = TextSource(count=len(texts), read=lambda: iter(texts))
    config = AdaptConfig(batch=given.batch, accumulate=given.accumulate, dev_share=0.0)
    return _Adaptation(
        bench.world.encoder, source, config, auxiliary.masking, bench.seed, given.dtype, Portions(given.batch)
    )


def masked_windows(scribe: _Adaptation) -> Iterator[list[Chunk]]:
    """The masked batches of each update."""
    return ([scribe.masked_batch(batch, fixed=False) for batch in window] for window in scribe.windows())


def whole(stage: _Adaptation, number: int, windows: Iterator[Any]) -> None:
    """What the stage does for an update, without the optimizer."""
    stage.update(number, next(windows))


def bare(stage: _Adaptation, window: Sequence[Chunk]) -> None:
    """Forward and backward passes of one window, and nothing else."""
    for parameter in stage.encoder.model.parameters():
        parameter.grad = None
    for chunk in window:
        with autocast(stage.device, stage.precision):
            loss = mlm_loss(stage.encoder, [chunk])
        if loss is not None:
            loss.backward()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, epilog="Run by `training.py --parts adapt`.").parse_args()
