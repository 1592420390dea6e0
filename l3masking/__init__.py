"""L3Masking: mask the tokens that a vanilla masked language model finds unlikely, and fine-tune with it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l3masking.encoders.load import Encoder as Encoder
    from l3masking.encoders.load import EncoderSpec as EncoderSpec
    from l3masking.encoders.load import load_encoder as load_encoder
    from l3masking.errors import EnvironmentFault as EnvironmentFault
    from l3masking.errors import InputError as InputError
    from l3masking.masking.collator import MaskingCollator as MaskingCollator
    from l3masking.masking.collator import MaskingConfig as MaskingConfig
    from l3masking.masking.probabilities import mask_probabilities as mask_probabilities
    from l3masking.scoring.scoring import ScoringConfig as ScoringConfig
    from l3masking.scoring.scoring import TokenScores as TokenScores
    from l3masking.scoring.scoring import score_tokens as score_tokens

HOMES = {
    "Encoder": "encoders.load",
    "EncoderSpec": "encoders.load",
    "EnvironmentFault": "errors",
    "InputError": "errors",
    "MaskingCollator": "masking.collator",
    "MaskingConfig": "masking.collator",
    "ScoringConfig": "scoring.scoring",
    "TokenScores": "scoring.scoring",
    "load_encoder": "encoders.load",
    "mask_probabilities": "masking.probabilities",
    "score_tokens": "scoring.scoring",
}
__all__ = list(HOMES)


def __getattr__(name: str) -> object:
    """Public names are imported when they are asked for: `l3masking.errors` and tables need no torch."""
    if name in HOMES:
        return getattr(import_module(f"l3masking.{HOMES[name]}"), name)
    raise AttributeError(f"module 'l3masking' has no attribute {name!r}")
