"""L3Masking: mask the tokens that a vanilla masked language model finds unlikely, and fine-tune with it."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.encoders.load import Encoder as Encoder
    from l3masking.encoders.load import load_encoder as load_encoder
    from l3masking.encoders.table import EncoderSpec as EncoderSpec
    from l3masking.errors import EnvironmentFault as EnvironmentFault
    from l3masking.errors import InputError as InputError
    from l3masking.masking.collator import MaskingCollator as MaskingCollator
    from l3masking.masking.probabilities import mask_probabilities as mask_probabilities
    from l3masking.masking.settings import MaskingConfig as MaskingConfig
    from l3masking.predicting import predict_texts as predict_texts
    from l3masking.predicting import read_classifier as read_classifier
    from l3masking.scoring.scoring import TokenScores as TokenScores
    from l3masking.scoring.scoring import score_tokens as score_tokens
    from l3masking.scoring.settings import ScoringConfig as ScoringConfig

__getattr__, __all__ = public_names(
    __name__,
    {
        "Encoder": "encoders.load",
        "EncoderSpec": "encoders.table",
        "EnvironmentFault": "errors",
        "InputError": "errors",
        "MaskingCollator": "masking.collator",
        "MaskingConfig": "masking.settings",
        "ScoringConfig": "scoring.settings",
        "TokenScores": "scoring.scoring",
        "load_encoder": "encoders.load",
        "mask_probabilities": "masking.probabilities",
        "predict_texts": "predicting",
        "read_classifier": "predicting",
        "score_tokens": "scoring.scoring",
    },
)
