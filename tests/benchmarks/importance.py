"""Measure importance by the heuristic: python tests/benchmarks/importance.py [--encoder DIR] [--texts FILE].

Two sides, in one process and in turns: `importance_of`, all of it, from encoded texts to the flags of their tokens; and
the same classifier over the very sequences that `importance_of` evaluates, given to it at once: batches are sorted by
length and padded beforehand, so that only its passes are timed. The ratio is the median over paired runs of the bare
seconds over ours: 1 if the heuristic costs nothing but the sequences that it must evaluate.

The head's weights are random and larger than at the start of a training, so that probabilities differ between
sequences as a trained head's do. A text's label is the class that the classifier gives it: every text is tested.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from processor import processor_name
from scored.made import made_texts, write_encoder

from l3masking import Encoder, load_encoder, rng
from l3masking.encoders.weights import weights_of
from l3masking.precision import autocast
from l3masking.scoring.settings import TOKEN_BUDGETS
from l3masking.scoring.words import encode_texts
from l3masking.selective.classifier import Classifier, importance_of
from l3masking.selective.settings import SelectiveConfig
from l3masking.training.batches import pad
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

GOAL = 0.8
CLASSES, LOUDER = 6, 8.0  # classes, and times the initial weights of the head's last layer
Sequences = Sequence[NDArray[np.int64]]


def main() -> None:
    """Print a line and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="folder; none: random weights of MiniLM's shape")
    parser.add_argument("--texts", type=Path, help="JSON lines with `text`; none: generated, of ACL-ARC-like lengths")
    parser.add_argument("--limit", type=int, default=60, help="texts")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--token-budget", type=int, help="none: the device's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"))
    parser.add_argument("--unit", default="sentence", choices=("sentence", "document"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5, help="paired runs")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory(prefix="l3study-importance-") as folder:
        place = given.encoder or str(write_encoder(Path(folder)))
        found = measure(given, load_encoder(place, device=given.device, offline=True))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['device']}, {given.threads} threads, {given.precision}: {found['texts']} texts, {found['units']} "
        f"units, {found['sequences']} sequences of {found['tokens']} tokens in all, {found['important']} of "
        f"{found['eligible']} tokens important. "
        f"Heuristic {found['ours']:.2f} s, bare classifier {found['bare']:.2f} s: "
        f"ratio {found['ratio']:.3f} (wanted: {GOAL:g})"
    )


def measure(given: argparse.Namespace, encoder: Encoder) -> dict[str, Any]:
    """All numbers."""
    budget = given.token_budget or TOKEN_BUDGETS[given.device]
    classifier = make_classifier(encoder, given.precision, budget)
    texts = encode_texts(encoder.tokenizer, read_texts(given.texts, given.limit), max_length=given.max_length)
    labels = classifier.probabilities([text.input_ids for text in texts]).argmax(axis=1).tolist()
    config = SelectiveConfig(unit=given.unit, stop_words=False)
    evaluated: list[NDArray[np.int64]] = []
    watched = classifier.probabilities

    def recorded(sequences: Sequences) -> NDArray[np.float32]:
        evaluated.extend(np.asarray(sequence).copy() for sequence in sequences)
        return watched(sequences)

    classifier.probabilities = recorded  # type: ignore[method-assign]
    found = importance_of(classifier, texts, labels, config)  # the warm-up too
    del classifier.probabilities
    batches = padded(encoder, evaluated, budget)
    bare_pass(classifier, batches)
    sides: list[Callable[[], object]] = [
        lambda: importance_of(classifier, texts, labels, config),
        lambda: bare_pass(classifier, batches),
    ]
    seconds: list[list[float]] = [[], []]
    for run in range(given.runs):
        for side in (0, 1) if run % 2 == 0 else (1, 0):
            start = time.perf_counter()
            sides[side]()  # ends with the values on the host: nothing is left to wait for
            seconds[side].append(time.perf_counter() - start)
    return {
        "device": processor_name() if given.device == "cpu" else torch.cuda.get_device_name(),
        "texts": len(texts),
        "units": sum(one.units for one in found),
        "sequences": len(evaluated),
        "tokens": sum(map(len, evaluated)),
        "important": sum(int(one.important.sum()) for one in found),
        "eligible": sum(len(text.positions) for text in texts),
        "seconds": seconds,
        "ours": statistics.median(seconds[0]),
        "bare": statistics.median(seconds[1]),
        "ratio": statistics.median(bare / ours for ours, bare in zip(*seconds, strict=True)),
    }


def read_texts(path: Path | None, limit: int) -> list[str]:
    """Distinct texts of a file, or generated ones."""
    if path is None:
        return made_texts(limit)
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list(dict.fromkeys(texts))[:limit]


def make_classifier(encoder: Encoder, precision: Any, budget: int) -> Classifier:
    """The encoder with a random head."""
    model = MultiTaskModel(encoder, CLASSES, ModelConfig(), rng.stream(0, "benchmark"))
    weights = weights_of(model)
    weights["classifier.out.weight"] *= LOUDER
    return Classifier(encoder, weights, CLASSES, precision=precision, token_budget=budget)


def padded(encoder: Encoder, sequences: Sequences, budget: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and attention masks on the device, longest first, as many rows in each as the budget holds."""
    ordered, batches = sorted(sequences, key=len, reverse=True), []
    while ordered:
        size = max(1, budget // len(ordered[0]))
        part, ordered = ordered[:size], ordered[size:]
        ids = pad(part, encoder.tokenizer.pad_token_id)
        lengths = torch.tensor([len(row) for row in part])
        mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
        batches.append((ids.to(encoder.device), mask.to(encoder.device)))
    return batches


@torch.inference_mode()
def bare_pass(classifier: Classifier, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """Probabilities of every batch, on the host."""
    model, found = classifier.model, []
    for ids, mask in batches:
        rows = torch.arange(len(ids), device=ids.device)
        with autocast(ids.device, classifier.precision):
            logits = model.classifier(model.encoder.states_at(ids, mask, rows, torch.zeros_like(rows)))
        found.append(torch.softmax(logits.float(), dim=-1))
    return [values.cpu() for values in found]


if __name__ == "__main__":
    main()
