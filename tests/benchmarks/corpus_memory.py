"""Measure the memory that a corpus takes: python tests/benchmarks/corpus_memory.py [--megabytes 50,1000] [--json FILE].

A text file of generated paragraphs for each size, in a temporary folder and gone afterwards. Each is read by a process
of its own, as a study with the arm `dapt` reads it: the plan hashes and counts it; the trial compares the hash, then
encodes all paragraphs and gives them mask probabilities, trains one update on the first ones and looks at the held-out
ones, each thousandth. Told are the resident memory before the first look and its peak after each of the two. The
encoder is tiny, so that nearly all beyond the start is what the program holds of the corpus. Scores of a corpus, which
other arms read, take a large encoder's time and are not measured.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))  # the tiny study of the tests

PARAGRAPH = 4  # generated texts in a paragraph: about a kilobyte
DIFFERENT = 8000  # generated texts; paragraphs repeat them, each with a number of its own in front
SETTINGS: dict[str, Any] = {
    "encoders": {"tiny": {"path": "made"}},
    "methods": ["dapt"],
    "objectives": ["accuracy"],
    "seeds": 1,
    "corpora": {"domain": {"files": "corpus.txt"}},
    "adapt": {"corpus": "domain", "epochs": 1, "updates": 1, "batch": 16, "accumulate": 1, "dev_share": 0.001},
    "scoring": {"max_length": 128},
}


def main() -> None:
    """Print a line per size and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", default="50,1000", help="sizes of the corpus, of a million bytes each")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(read_as_a_study(given.child)))
        return
    found = [measure(float(size)) for size in given.megabytes.split(",")]
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    for row in found:
        print(
            f"{row['megabytes']:g} MB, {row['units']} paragraphs: {row['before']:.0f} MiB before, at most "
            f"{row['planned']:.0f} MiB after the plan ({row['plan_seconds']:.1f} s) and {row['adapted']:.0f} MiB after "
            f"`adapt` ({row['adapt_seconds']:.1f} s)"
        )


def measure(megabytes: float) -> dict[str, Any]:
    """One size, in a child process."""
    with tempfile.TemporaryDirectory(prefix="l3study-corpus-") as folder:
        write_corpus(Path(folder) / "corpus.txt", int(megabytes * 1e6))
        words = [sys.executable, __file__, "--child", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return {"megabytes": megabytes, **json.loads(done.stdout.splitlines()[-1])}


def write_corpus(path: Path, size: int) -> None:
    """Distinct paragraphs, one a line, of `size` bytes at least in all."""
    from scored.made import made_texts

    texts = made_texts(DIFFERENT)
    paragraphs = [" ".join(texts[at : at + PARAGRAPH]) for at in range(0, len(texts), PARAGRAPH)]
    written = number = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            written += file.write(f"{number} {paragraphs[number % len(paragraphs)]}\n")  # ASCII: a byte a character
            number += 1


def read_as_a_study(folder: Path) -> dict[str, Any]:
    """MiB of this process before and after it has planned a study on the corpus, and after the stage that reads it."""
    from scored import made
    from small_study import assignments, write_study

    from study.adapted import adapted_encoder
    from study.plan.inputs import held_encoder
    from study.trial import kept_of

    made.SHAPES["bert"], made.VOCABULARY = (1, 16, 2), 4000
    (folder / "made").mkdir()
    made.write_encoder(folder / "made")
    space = write_study(folder, **SETTINGS)
    before, started = resident("VmRSS"), time.perf_counter()
    (one,) = assignments(space, folder / "out")
    planned, planning = resident("VmHWM"), time.perf_counter()
    _, facts = adapted_encoder(one, held_encoder(one.encoder, "cpu"), kept_of(one))
    assert one.corpus is not None
    assert facts["texts"] == one.corpus.units
    return {
        "units": one.corpus.units,
        "before": before,
        "planned": planned,
        "adapted": resident("VmHWM"),
        "plan_seconds": planning - started,
        "adapt_seconds": time.perf_counter() - planning,
    }


def resident(name: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most so far."""
    status = Path("/proc/self/status")
    if not status.is_file():
        sys.exit("the resident memory is read from /proc/self/status, which this machine has not")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
