"""Importance of the tokens of single texts for a saved classifier, as in the case study of Gu et al. 2020 (Table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l3masking.encoders.export import load_tuned
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import weights_of
from l3masking.errors import InputError, nearest
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as
from l3masking.selective.classifier import Classifier, importance_of
from l3masking.selective.settings import SelectiveConfig


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """What a classifier says of one text of n eligible tokens."""

    label: str  # the class for which tokens are important
    predicted: str  # the class that the classifier takes
    importance: NDArray[np.float64]  # [n] in [0, 1], 0 where a token is not important


def ask_classifier(
    folder: Path,
    encoder: Encoder,
    texts: Sequence[str],
    scoring: ScoringConfig,
    config: SelectiveConfig,
    *,
    label: str | None = None,
) -> list[Asked]:
    """Importance of each token by the heuristic, with a classifier that `save_tuned` has written.

    encoder: the vanilla one whose tokens are shown; the classifier must read the same. label: the true class of all
    texts; None: the class that the classifier predicts for each. Raises InputError for a folder without a classifier,
    one with another tokenizer, or an unknown label.
    """
    tuned = load_tuned(folder, device=encoder.device)
    classifier = Classifier(tuned.model.encoder, weights_of(tuned.model), len(tuned.labels))
    if label is not None and label not in tuned.labels:
        raise InputError(f"label {label!r}: no class of {folder}; {nearest(label, tuned.labels)}")
    encoded = encode_as(scoring, encoder.tokenizer, texts)
    own = encode_as(scoring, tuned.model.encoder.tokenizer, texts)
    if any(not np.array_equal(one.input_ids, other.input_ids) for one, other in zip(encoded, own, strict=True)):
        raise InputError(
            f"classifier {folder}: its tokenizer is not that of the encoder: give the encoder it was made from"
        )
    predicted = classifier.probabilities([text.input_ids for text in encoded]).argmax(axis=1)
    truth = [int(number) if label is None else tuned.labels.index(label) for number in predicted]
    least = np.finfo(np.float32).tiny  # an important token counts, whatever its gain
    return [
        Asked(
            label=tuned.labels[of],
            predicted=tuned.labels[number],
            importance=np.where(found.important, np.maximum(found.gain.astype(np.float64), least), 0.0),
        )
        for of, number, found in zip(truth, predicted, importance_of(classifier, encoded, truth, config), strict=True)
    ]
