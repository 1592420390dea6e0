"""Masked language models: the table of known encoders, how they are loaded, and how a tuned one is saved."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.encoders.export import load_tuned as load_tuned
    from l3masking.encoders.export import save_tuned as save_tuned
    from l3masking.encoders.export import write_classifier as write_classifier
    from l3masking.encoders.load import Encoder as Encoder
    from l3masking.encoders.load import load_encoder as load_encoder
    from l3masking.encoders.table import ENCODERS as ENCODERS
    from l3masking.encoders.table import EncoderSpec as EncoderSpec

__getattr__, __all__ = public_names(
    __name__,
    {
        "ENCODERS": "table",
        "Encoder": "load",
        "EncoderSpec": "table",
        "load_encoder": "load",
        "load_tuned": "export",
        "save_tuned": "export",
        "write_classifier": "export",
    },
)
