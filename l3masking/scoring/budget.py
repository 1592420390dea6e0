"""How many tokens go through the encoder at a time where nothing is said about it."""

from __future__ import annotations

import torch
from torch import nn

from l3masking.precision import Precision
from l3masking.scoring.settings import MOST_TOKENS

SHARE_OF_FREE = 1 / 8  # of a GPU's free memory: several workers may look at the same time
HELD = 12  # tensors as wide as the residual that are in memory for a token, beside the widest; a float32 one is two


def token_budget(model: nn.Module, precision: Precision) -> int:
    """Tokens of a scoring batch on the device of the model: at most MOST_TOKENS, and what a GPU's free memory holds."""
    device = device_of(model)
    if device.type != "cuda":
        return MOST_TOKENS["cpu"]
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of this process, to be used again
    free = torch.cuda.mem_get_info(device)[0] + kept
    return tokens_within(free, token_bytes(model, precision))


def token_bytes(model: nn.Module, precision: Precision) -> int:
    """Bytes of GPU memory that a token needs at most while it goes through the encoder, by the widths of its layers."""
    body: nn.Module = model.base_model  # type: ignore[assignment]
    widest = max(one.out_features for one in body.modules() if isinstance(one, nn.Linear))
    size = 2 if precision == "bf16" else next(model.parameters()).element_size()
    return size * (HELD * int(model.config.hidden_size) + widest)  # type: ignore[union-attr, arg-type]


def tokens_within(free: int, per_token: int) -> int:
    """Tokens of a batch on a GPU with `free` bytes, of which each token needs `per_token`: at least one.

    No more than MOST_TOKENS: a GPU is busy with these, and more would only take memory.
    """
    return max(1, min(MOST_TOKENS["cuda"], int(SHARE_OF_FREE * free) // per_token))


def device_of(model: nn.Module) -> torch.device:
    """Where the model is."""
    return next(model.parameters()).device
