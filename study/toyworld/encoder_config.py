"""Size and pre-training of the embedded encoder. Reading it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from l3masking.errors import InputError


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Size and pre-training of the encoder, chosen by time and pre-training loss; `dropout` is BERT's own."""

    vocabulary: int = 1024  # entries of the WordPiece vocabulary, special tokens included, >= 64
    layers: int = 2  # >= 1
    width: int = 64  # of the hidden states, a multiple of `heads`
    inner: int = 128  # width inside the feed-forward blocks, >= 1
    heads: int = 4  # >= 1
    positions: int = 128  # tokens of the longest sequence, special tokens included, >= 3
    init: float = 0.05  # standard deviation of the first weights, > 0; BERT's 0.02 is meant for a width of 768
    dropout: float = 0.1  # of the saved encoder, for fine-tuning; pre-training has none; in [0, 1)
    epochs: int = 3  # passes over the corpus, >= 1
    batch: int = 64  # texts, >= 1
    lr: float = 5e-3  # peak learning rate, linear up and down, > 0
    warmup: float = 0.1  # share of the updates in which it rises, in [0, 1]
    decay: float = 0.01  # weight decay, >= 0
    clip: float = 1.0  # largest gradient norm, > 0
    mask_mean: float = 0.15  # share of the tokens that are predicted, in (0, 1]; 80/10/10 as in BERT

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 64), ("layers", 1), ("inner", 1), ("heads", 1), ("positions", 3)):
            if getattr(self, name) < least:
                raise InputError(f"toy encoder: {name} is {getattr(self, name)}: at least {least}")
        if self.width < 1 or self.width % self.heads:
            raise InputError(f"toy encoder: width is {self.width}: a multiple of heads = {self.heads}")
        for name in ("epochs", "batch", "init", "lr", "clip", "mask_mean"):
            if not getattr(self, name) > 0:
                raise InputError(f"toy encoder: {name} is {getattr(self, name)}: it must be above 0")
