"""Masked language models: the table of known encoders, how they are loaded, and how a tuned one is saved."""

from l3masking.encoders.load import ENCODERS as ENCODERS
from l3masking.encoders.load import Encoder as Encoder
from l3masking.encoders.load import EncoderSpec as EncoderSpec
from l3masking.encoders.load import load_encoder as load_encoder
