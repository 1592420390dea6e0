"""Measure all that RESULTS.md wants of a GPU: python tests/benchmarks/on_gpu.py --out "$OUT" --acl-arc train.jsonl.

Each benchmark runs in a process of its own, with a limit, in the order of what is most wanted, within `--seconds` in
all; what no time is left for can be run by a second call with `--only`. In the folder `--out`: NAME.json has the
numbers of a benchmark, NAME.log what it said, and rows.jsonl a line for each: its command, seconds, exit code and
numbers. Encoders have the shape of BERT-base and random weights. Texts are those of `--acl-arc` and `--imdb`, or
generated ones of such lengths; with files, scoring needs `--tokenizer`, the folder of an encoder with a real
vocabulary. Beside the project's packages it needs minicons and accelerate. `--tiny` tries all of it on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scored.made import made_texts, write_encoder
from training_world import LONGEST

from l3masking.scoring.settings import TOKEN_BUDGETS

BENCHMARKS = Path(__file__).parent
BERT_BASE = (12, 768, 12)  # layers, width, heads
LEAST_SECONDS = 15  # left for a benchmark to be begun
LINES = 12  # of what a benchmark prints, shown at its end
TIMED_OUT = 124  # exit code of what took longer than its limit, as of timeout(1)


@dataclass(frozen=True)
class Row:
    """One benchmark: its file, its arguments, and the seconds after which it is ended."""

    name: str
    seconds: float
    file: str
    words: tuple[str, ...]

    def command(self, out: Path) -> list[str]:
        return [sys.executable, str(BENCHMARKS / self.file), *self.words, "--json", str(out / f"{self.name}.json")]


def rows(given: argparse.Namespace, encoder: Path, imdb: Path) -> list[Row]:
    """All benchmarks, the most wanted first. encoder: folder of what scores. imdb: file with long texts."""
    device = ["--device", given.device, "--dtype", "float32" if given.tiny else "bf16"]
    shape = ["--layers", "12", "--hidden", "768"]
    steps, turns, whole = ["--batch", "64", "--steps", "2"], ["--updates", "4", "--warmup", "3"], []
    score, many = ["--against", "minicons"], ("48", "16")
    if given.tiny:
        shape = ["--layers", "1", "--hidden", "16", "--vocabulary", "90"]
        steps = ["--batch", "4", "--runs", "2", "--warmup", "0"]
        turns = ["--batch", "16", "--updates", "4", "--pairs", "2", "--lr", "1e-3"]
        whole = [*shape, "--num-texts", "60", "--batch", "2", "--runs", "1", "--warmup", "3"]
        score, many = ["--against", "minicons", "--runs", "1"], ("2", "1")
    count = ["--num-texts", "60" if given.tiny else "2000"]
    texts = ["--texts", str(given.acl_arc)] if given.acl_arc else count
    scored = [*device, "--encoder", str(encoder), "--token-budget", str(TOKEN_BUDGETS[given.device]), *score]
    acl_arc = ["--texts", str(given.acl_arc)] if given.acl_arc else []
    trainer = [*device, *shape, *texts, *turns]
    updates = [*device, *shape, *steps, "--parts", "padded"]
    return [
        Row("update-acl-arc", 60, "training.py", (*updates, *texts)),
        Row("update-imdb", 60, "training.py", (*updates, "--lengths", "imdb", *count)),
        Row("against-trainer", 60, "against_trainer.py", tuple(trainer)),
        Row("score-acl-arc", 75, "scoring.py", (*scored, *acl_arc, "--limit", many[0])),
        Row("score-imdb", 75, "scoring.py", (*scored, "--texts", str(imdb), "--limit", many[1])),
        Row("launches", 40, "launches.py", (*device, *shape, *texts, "--batch", "4" if given.tiny else "64")),
        Row("end-to-end", 150, "end_to_end.py", (*device, *whole)),
        Row("against-trainer-compiled", 120, "against_trainer.py", (*trainer, "--compile")),
    ]


def run(row: Row, out: Path, limit: float) -> dict[str, Any]:
    """Run a benchmark; its line of rows.jsonl. What takes longer than `limit` seconds is ended with its children."""
    command, began, found = row.command(out), time.monotonic(), out / f"{row.name}.json"
    found.unlink(missing_ok=True)
    with (out / f"{row.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = TIMED_OUT
        finally:
            with suppress(ProcessLookupError):  # workers that it left behind, too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    numbers = json.loads(found.read_text()) if code == 0 and found.is_file() else None
    seconds = round(time.monotonic() - began, 1)
    return {"row": row.name, "command": shlex.join(command), "seconds": seconds, "exit": code, "found": numbers}


def run_all(wanted: Sequence[Row], out: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """The line of each benchmark as soon as it is there; also written to rows.jsonl."""
    end = time.monotonic() + seconds
    for row in wanted:
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            line: dict[str, Any] = {"row": row.name, "exit": None, "why": "no time left"}
        else:
            line = run(row, out, min(row.seconds, left))
        with (out / "rows.jsonl").open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        yield line


def told(line: dict[str, Any], out: Path) -> str:
    """How a benchmark ended, and the last lines that it printed."""
    if line["exit"] is None:
        return f"{line['row']}: {line['why']}"
    said = (out / f"{line['row']}.log").read_text().splitlines()[-LINES:]
    return "\n".join([f"{line['row']}: {line['seconds']} s, exit code {line['exit']}", *(f"    {one}" for one in said)])


def write_inputs(given: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """The encoder that scores, and the file with long texts."""
    shape = (1, 16, 2) if given.tiny else BERT_BASE
    encoder = write_encoder(folder, shape=shape, tokenizer=given.tokenizer)
    imdb = given.imdb or folder / "long.jsonl"
    if given.imdb is None:
        short = made_texts(100)
        long = [" ".join(short[start : start + LONGEST // 16]) for start in range(0, len(short), LONGEST // 16)]
        imdb.write_text("".join(json.dumps({"text": text}) + "\n" for text in long))
    return encoder, imdb


def main() -> None:
    """Run the benchmarks and say how each ended; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seconds", type=float, default=300, help="for all of it")
    parser.add_argument("--only", nargs="+", default=[], help="names of rows; none: all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--acl-arc", type=Path, help="JSON lines with `text` and `label`")
    parser.add_argument("--imdb", type=Path, help="JSON lines with `text`")
    parser.add_argument("--tokenizer", type=Path, help="folder of an encoder whose vocabulary scoring takes")
    parser.add_argument("--tiny", action="store_true", help="small sizes in float32, to try it")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    failed = False
    with tempfile.TemporaryDirectory(prefix="l3masking-on-gpu-") as folder:
        found = rows(given, *write_inputs(given, Path(folder)))
        if unknown := set(given.only) - {row.name for row in found}:
            parser.error(f"--only {' '.join(sorted(unknown))}: the rows are {', '.join(row.name for row in found)}")
        wanted = [row for row in found if row.name in given.only or not given.only]
        for line in run_all(wanted, given.out, given.seconds):
            failed |= line["exit"] != 0
            print(told(line, given.out), flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
