"""Single texts token by token: pseudo-likelihood and mask probabilities (Kimura et al. 2024, Figures 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l3masking.analysis.columns import MaskColumn
from l3masking.masking.policies.base import ENTROPY
from l3masking.masking.settings import MaskingConfig
from l3masking.precision import Precision
from l3masking.scoring.settings import ScoringConfig

if TYPE_CHECKING:  # a view is drawn without torch
    from l3masking.encoders.load import Encoder

UNCUT = 1_000_000  # ids: more than any text has
BLANK = "␣"  # shown for a token that is a blank alone


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskRow:
    """The n eligible tokens of a text under one policy."""

    label: str
    probabilities: NDArray[np.float64]  # [n] in [0, 1]
    groups: NDArray[np.int64] | None  # [n], equal for tokens that are masked together; None: each by itself


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenView:
    """One text of n eligible tokens."""

    text: str  # as it was encoded
    tokens: tuple[str, ...]  # n, the characters of each
    pieces: tuple[str, ...]  # n, its name in the vocabulary
    continues: NDArray[np.bool_]  # [n] whether it goes on with the word of the token before
    unknown: NDArray[np.bool_]  # [n] whether the tokenizer does not know it
    likelihood: NDArray[np.float64]  # [n] in [0, 1], under the vanilla model
    rows: tuple[MaskRow, ...]
    whole: int  # tokens of the text before it was cut, >= n


def view_tokens(
    encoder: Encoder,
    texts: Sequence[str],
    columns: Sequence[MaskColumn],
    scoring: ScoringConfig,
    masking: MaskingConfig,
    *,
    importance: Sequence[NDArray[np.float64]] | None = None,
    precision: Precision = "float32",
    seed: int = 0,
) -> list[TokenView]:
    """Score texts and mask them under each column, as a training does. One view per text, in order.

    importance: [n] per text in [0, 1], for policies that need it. seed: for policies that draw. A policy of the corpus
    looks at these texts. Raises InputError where the encoder holds fewer than `scoring.max_length` positions, or a
    policy needs what is not given.
    """
    from l3masking.scoring.places import token_places
    from l3masking.scoring.scoring import score_texts
    from l3masking.scoring.words import encode_as, encode_texts

    tokenizer = encoder.tokenizer
    encoded = encode_as(scoring, tokenizer, texts)
    entropy = any(ENTROPY in column.policy.needs for column in columns)
    scores = score_texts(encoder, texts, scoring, precision=precision, entropy=entropy)
    rows: list[list[MaskRow]] = [[] for _ in texts]
    for column in columns:
        masks = column.masks(encoded, masking, scores=scores, importance=importance, seed=seed)
        for found, text, mask in zip(rows, encoded, masks, strict=True):
            groups = None if mask.leaders is None else mask.leaders[text.positions]
            found.append(MaskRow(label=column.label, probabilities=mask.probabilities[text.positions], groups=groups))
    whole = encode_texts(tokenizer, texts, max_length=UNCUT, whitespace=scoring.whitespace)
    views = []
    for index, places in enumerate(token_places(scoring, tokenizer, texts)):
        ids, words = encoded[index].input_ids[encoded[index].positions], encoded[index].words
        pieces = tuple(str(piece) for piece in tokenizer.convert_ids_to_tokens(ids.tolist()))
        surfaces = zip(pieces, places.surfaces(), strict=True)
        views.append(
            TokenView(
                text=places.parts[0],
                tokens=tuple(BLANK if not surface or not piece.strip("▁Ġ") else surface for piece, surface in surfaces),
                pieces=pieces,
                continues=np.diff(words, prepend=-1) == 0,
                unknown=ids == tokenizer.unk_token_id,
                likelihood=np.exp(scores[index].log_likelihood.astype(np.float64)),
                rows=tuple(rows[index]),
                whole=len(whole[index].positions),
            )
        )
    return views
