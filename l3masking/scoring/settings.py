"""The settings of scoring. Reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import InputError, check_choice

Metric = Literal["word_l2r", "original", "whole_word"]
Whitespace = Literal["collapse", "keep"]
WordSource = Literal["tokenizer", "whitespace"]
TOKEN_BUDGETS = {"cpu": 4096, "cuda": 32768}  # tokens in a batch: fills the device, and on a CPU stays near its cache


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How texts are encoded and scored. Training reads `max_length` and `whitespace` from here too."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    metric: Metric = "word_l2r"  # mask set of a scored position
    max_length: int = 128  # ids of a text, special tokens included; at least 3
    word_source: WordSource = "tokenizer"  # what a word is: a pre-token, or a run between blanks
    whitespace: Whitespace = "collapse"  # runs of white space become one blank, or stay

    def __post_init__(self) -> None:
        check_choice("scoring.metric", self.metric, Metric)
        check_choice("scoring.word_source", self.word_source, WordSource)
        check_choice("scoring.whitespace", self.whitespace, Whitespace)
        if self.max_length < 3:
            raise InputError(f"scoring.max_length is {self.max_length}: at least 3 (two special tokens and one other)")
