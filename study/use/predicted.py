"""Predictions for a file of texts, as CSV or JSON lines, in the order of the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

from l3masking.errors import EnvironmentFault, InputError, check_choice
from l3masking.reading import described_all, member_folders
from study.report.escape import csv_text
from study.use.unlabelled import texts_of_file

if TYPE_CHECKING:
    from l3masking.data.pairs import Text
    from l3masking.predicting import ExportedClassifier

TEXTS_AT_ONCE = 4096  # texts that are sorted by length together, and written together
DIGITS = 6  # behind the point of a probability
Form = Literal["csv", "jsonl"]
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What the command line says of a prediction."""

    model: Path  # an exported folder
    file: Path  # of texts
    text_column: str = "text"  # of a file with columns
    pair_column: str | None = None  # of the second texts of pairs
    batch: int = 32  # texts in one forward pass, 1 and up
    form: str = "csv"  # of Form
    device: str | None = None  # of DEVICES; None: a GPU if torch finds one

    def __post_init__(self) -> None:
        check_choice("--format", self.form, Form)
        if self.device is not None:
            check_choice("--device", self.device, DEVICES)
        if self.batch < 1:
            raise InputError(f"--batch {self.batch}: at least 1")


class Counted(NamedTuple):
    """What was predicted."""

    texts: int
    cut: int  # of them, longer than the model reads
    blank: int  # of them, and without a prediction
    classes: int
    models: int  # whose probabilities were averaged
    max_length: int  # tokens that the model reads

    def __str__(self) -> str:
        several = f" by {self.models} models together" if self.models > 1 else ""
        said = f"{self.texts} texts predicted into {self.classes} classes{several}"
        said += f"; cut after {self.max_length} tokens: {self.cut}" if self.cut else ""
        return said + (f"; blank and without a prediction: {self.blank}" if self.blank else "")


def texts_for(options: PredictOptions) -> list[Text]:
    """The texts of the file, checked against what the model reads. Loads no torch."""
    described = described_all(member_folders(options.model))
    if described.reading.pairs and options.pair_column is None:
        raise InputError(f"{options.model}: this model reads pairs of texts: name the second ones with --pair-column")
    if options.pair_column is not None and not described.reading.pairs:
        raise InputError(f"{options.model}: this model reads single texts: leave --pair-column out")
    return texts_of_file(options.file, options.text_column, options.pair_column)


def predict_file(
    options: PredictOptions, texts: Sequence[Text], stream: TextIO, advance: Callable[[int], None] = lambda count: None
) -> Counted:
    """Write one line per text to `stream`, block after block; `advance` is told how many texts are settled.

    A text in which nothing can be seen gets a line without a class. Probabilities are rounded to DIGITS.
    """
    from l3masking.predicting import predict_texts, read_classifier

    classifier = read_classifier(options.model, device=_device(options.device))
    if options.form == "csv":
        stream.write(csv_text(_header(classifier), []))
    cut = blank = 0
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        found = predict_texts(classifier, texts[start : start + TEXTS_AT_ONCE], batch=options.batch, on_batch=advance)
        cut, blank = cut + found.cut, blank + found.blank
        rows = enumerate(found.probabilities.tolist(), start=start + 1)
        stream.writelines(_lines(classifier.labels, rows, options.form))
    reading = classifier.reading
    return Counted(len(texts), cut, blank, len(classifier.labels), len(classifier.models), reading.max_length)


def _device(wanted: str | None) -> str:
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise EnvironmentFault("--device cuda: torch finds no GPU on this machine; leave it out")
    return wanted or ("cuda" if there else "cpu")


def _header(classifier: ExportedClassifier) -> list[str]:
    return ["row", "label", "probability", *(f"p: {label}" for label in classifier.labels)]


def _lines(labels: Sequence[str], rows: Iterator[tuple[int, list[float]]], form: str) -> Iterator[str]:
    """One line per text. rows: its number from 1 on, and its probabilities; NaN for a blank text."""
    for number, values in rows:
        seen = not math.isnan(values[0])
        best = max(range(len(values)), key=lambda index: values[index]) if seen else None
        rounded = [round(value, DIGITS) if seen else None for value in values]
        label, top = (None, None) if best is None else (labels[best], rounded[best])
        if form == "csv":
            yield csv_text([str(number), label, top, *rounded], [])  # type: ignore[list-item]
        else:
            by_label = dict(zip(labels, rounded, strict=True)) if seen else None
            entry = {"row": number, "label": label, "probability": top, "probabilities": by_label}
            yield json.dumps(entry, ensure_ascii=False) + "\n"
