"""Selective Masking ("Train No Evil", Gu et al. 2020): which tokens a classifier needs, and masks that follow it."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.selective.heuristic import important_tokens as important_tokens
    from l3masking.selective.settings import SelectiveConfig as SelectiveConfig

__getattr__, __all__ = public_names(
    __name__,
    {
        "SelectiveConfig": "settings",
        "important_tokens": "heuristic",
    },
)
