"""Pseudo-likelihood of every token under a vanilla masked language model."""

from l3masking.scoring.scoring import ScoringConfig as ScoringConfig
from l3masking.scoring.scoring import TokenScores as TokenScores
from l3masking.scoring.scoring import score_texts as score_texts
from l3masking.scoring.scoring import score_tokens as score_tokens
