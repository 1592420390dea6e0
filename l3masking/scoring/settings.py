"""The settings of scoring. Reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import InputError, check_choice

Metric = Literal["word_l2r", "original", "whole_word"]
Whitespace = Literal["collapse", "keep"]
WordSource = Literal["tokenizer", "whitespace"]
Normalise = Literal["none", "reference"]  # texts as they are, or rewritten as the released code does
Context = Literal[
    "truncated", "full"
]  # what is around a scored token: what training sees, or all that fits the encoder
TOKEN_BUDGETS = {"cpu": 4096, "cuda": 32768}  # tokens in a batch of padded texts, where importance is computed
MOST_TOKENS = {"cpu": 4096, "cuda": 1 << 19}  # in a scoring batch, where budget.py chooses


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How texts are encoded and scored.

    Training reads `max_length` and `whitespace` from here too, and its masked-LM task `normalise`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    metric: Metric = "word_l2r"  # mask set of a scored position
    max_length: int = 128  # ids of a text, special tokens included; at least 3
    word_source: WordSource = "tokenizer"  # what a word is: a pre-token, or a run between blanks
    whitespace: Whitespace = "collapse"  # runs of white space become one blank, or stay
    normalise: Normalise = "none"  # whether scored and masked texts are rewritten first; those of the classifier never
    context: Context = "truncated"  # of a scored token: the ids of training, or the text as far as the encoder reads

    def __post_init__(self) -> None:
        check_choice("scoring.metric", self.metric, Metric)
        check_choice("scoring.word_source", self.word_source, WordSource)
        check_choice("scoring.whitespace", self.whitespace, Whitespace)
        check_choice("scoring.normalise", self.normalise, Normalise)
        check_choice("scoring.context", self.context, Context)
        if self.max_length < 3:
            raise InputError(f"scoring.max_length is {self.max_length}: at least 3 (two special tokens and one other)")
