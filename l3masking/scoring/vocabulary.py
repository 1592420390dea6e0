"""From logits over the vocabulary to the log-likelihood of the true ids, and the entropy of the predictions.

No float32 copy of bfloat16 logits is made, nor a log-softmax as large as they are: VOCABULARY_SLICE ids at a time
are turned into float32 and summed. Shapes: N predictions, V ids of the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

VOCABULARY_SLICE = 4096  # ids of the vocabulary whose float32 values are in memory at a time


def read_predictions(logits_NV: Tensor, truth_N: Tensor, *, entropy: bool) -> Tensor:
    """[1, N] log-likelihoods of the true ids in nats, <= 0; with `entropy` [2, N], that of each prediction behind them.

    logits_NV: in any dtype; the sums are float32, or float64 for logits in it.
    """
    wide = torch.promote_types(logits_NV.dtype, torch.float32)
    top_N1 = logits_NV.amax(dim=1, keepdim=True).to(wide)
    total_N, spread_N = (top_N1.new_zeros(len(truth_N)) for _ in range(2))
    for part_NC in logits_NV.split(VOCABULARY_SLICE, dim=1):
        weights_NC = (part_NC - top_N1).exp_()  # the difference is float32
        total_N += weights_NC.sum(dim=1)
        if entropy:
            spread_N += torch.special.entr(weights_NC).sum(dim=1)
    log_total_N = total_N.log()
    truth = (logits_NV.gather(1, truth_N[:, None]) - top_N1)[:, 0] - log_total_N
    found = [truth.clamp(max=0)]
    if entropy:  # with w the weights and Z their sum, -Σ w/Z ln(w/Z) = ln Z + Σ -w ln w / Z
        found.append(log_total_N + spread_N / total_N)
    return torch.stack(found)
