"""How many shapes the batches of a training have on a GPU, and what filling them up adds.

python tests/benchmarks/bucket_counts.py --encoder DIR --texts FILE.jsonl [...]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from l3masking.encoders.buckets import bucket_of

MASKED = 0.15  # share of the tokens that are masked
NAMES = ("tokens", "positions", "places")


def counted(lengths: Sequence[int], batch: int, updates: int) -> str:
    """A line about random batches of texts of these lengths, two special tokens in each."""
    draw, shapes, masked_shapes = np.random.default_rng(0), Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    added = np.zeros((updates, 3))
    for update in range(updates):
        drawn = draw.choice(lengths, batch, replace=False)
        sizes = int(drawn.sum()), int(drawn.max()), int(draw.binomial(drawn - 2, MASKED).sum())
        bucket = bucket_of(*sizes)
        shapes[bucket[:2]] += 1
        masked_shapes[bucket] += 1
        added[update] = np.divide(bucket, sizes) - 1
    shares = ", ".join(f"{share:.1%} {name}" for name, share in zip(NAMES, added.mean(0), strict=True))
    most = ", ".join(
        f"{len(found)} ({sum(count for _, count in found.most_common(4)) / updates:.1%} of the batches in four)"
        for found in (shapes, masked_shapes)
    )
    return f"shapes with classes, with masks: {most}; added: {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="with a tokenizer.json")
    parser.add_argument("--texts", type=Path, nargs="+", required=True, metavar="FILE", help="lines with `text`")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--updates", type=int, default=2000)
    given = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(given.encoder / "tokenizer.json"))
    for file in given.texts:
        texts = [json.loads(line)["text"] for line in file.read_text().splitlines()]
        lengths = [min(given.max_length, len(found.ids)) for found in tokenizer.encode_batch(texts)]
        print(f"{file.parent.name}/{file.name}: {counted(lengths, given.batch, given.updates)}")


if __name__ == "__main__":
    main()
