"""Measure the intervals over seeds and test texts of a large study: python tests/benchmarks/over_texts.py [--texts N].

Prints one JSON object: processor seconds for 86 comparisons (19 rows, 8 variants, two objectives, ten seeds) on a test
set as large as that of IMDb, for reading nothing and writing nothing, and peak memory in MiB. Predictions are made up.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from compared_cells import seeded

from l3masking.metrics import METRICS
from study.results.compare import compare
from study.results.texts import Truth, over_texts

CLASSES, SEEDS, VARIANTS = 2, 10, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=22_500)
    texts = parser.parse_args().texts
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, texts).astype(np.int32)
    rows = [("stl", None), ("rtm", None), ("l3masking", None)]
    rows += [(method, f"v{number}") for number in range(VARIANTS) for method in ("rtm", "l3masking")]
    cells, predictions = [], {}
    for method, variant in rows:
        for objective in METRICS:
            made = {
                seed: np.where(generator.random(texts) < 0.9, labels, 1 - labels).astype(np.uint8)
                for seed in range(SEEDS)
            }
            values = {seed: METRICS[objective](row, labels, CLASSES) for seed, row in made.items()}
            cells.append(seeded(method, values, variant=variant, objective=objective))
            predictions[cells[-1].key] = made
    begin = time.process_time()
    compared = compare(cells)
    between = time.process_time()
    found, notes = over_texts(compared, cells, predictions, {"arc": Truth(labels, CLASSES)})
    end = time.process_time()
    assert not notes
    assert all(entry.joint_low is not None for entry in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = {"compare": round(between - begin, 2), "over_texts": round(end - between, 2)}
    print(json.dumps({"comparisons": len(found), "texts": texts, "seconds": seconds, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
