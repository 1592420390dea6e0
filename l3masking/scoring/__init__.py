"""Pseudo-likelihood of every token under a vanilla masked language model."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.scoring.scoring import TokenScores as TokenScores
    from l3masking.scoring.scoring import score_texts as score_texts
    from l3masking.scoring.scoring import score_tokens as score_tokens
    from l3masking.scoring.settings import ScoringConfig as ScoringConfig

__getattr__, __all__ = public_names(
    __name__,
    {"ScoringConfig": "settings", "TokenScores": "scoring", "score_texts": "scoring", "score_tokens": "scoring"},
)
