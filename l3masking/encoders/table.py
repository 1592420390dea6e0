"""The table of known encoders, and where an encoder lies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from l3masking.errors import InputError
from l3masking.hub_ids import check_hub_id


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Where an encoder lies: on the Hub or in a folder, never both."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    hub: str | None = None  # Hub id, owner/name
    path: str | None = None  # folder with config, weights and tokenizer
    revision: str | None = None  # of the Hub id: branch, tag or commit; none: the newest, resolved to a commit
    pretraining_steps: int | None = None  # of general pre-training behind a checkpoint, >= 0; places it in a figure

    def __post_init__(self) -> None:
        if self.pretraining_steps is not None and self.pretraining_steps < 0:
            raise InputError(f"pretraining_steps is {self.pretraining_steps}: give the number of updates, 0 or more")
        if (self.hub is None) == (self.path is None):
            raise InputError("an encoder needs either `hub` (a Hub id) or `path` (a folder), and not both")
        if self.hub is not None:
            check_hub_id(self.hub, "`path`")
        if self.path is not None and self.revision is not None:
            raise InputError(f"encoder {self.path}: `revision` goes with `hub`; a folder is known by its content")

    @property
    def place(self) -> str:
        return self.hub or str(self.path)


def find_encoder(encoder: str | EncoderSpec) -> EncoderSpec:
    """The spec behind a name of ENCODERS, an existing folder, or a Hub id."""
    if isinstance(encoder, EncoderSpec):
        return encoder
    if encoder in ENCODERS:
        return ENCODERS[encoder]
    if Path(encoder).is_dir():
        return EncoderSpec(path=encoder)
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", encoder):
        return EncoderSpec(hub=encoder)
    raise InputError(f"encoder {encoder!r}: no such folder and no Hub id (known names: {', '.join(ENCODERS)})")


# The four encoders of the paper (Kimura et al. 2024). The last is the model of the paper's footnote, a DistilBERT.
ENCODERS: dict[str, EncoderSpec] = {
    "bert-base": EncoderSpec(hub="google-bert/bert-base-uncased"),
    "roberta-base": EncoderSpec(hub="FacebookAI/roberta-base"),
    "scibert": EncoderSpec(hub="allenai/scibert_scivocab_uncased"),
    "clinicalbert": EncoderSpec(hub="medicalai/ClinicalBERT"),
}
