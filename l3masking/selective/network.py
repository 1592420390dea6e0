"""The scoring network of "Train No Evil": a token classifier that learns which tokens the heuristic finds important.

It gives the importance of tokens in texts without labels. Shapes: B texts, T positions, N tokens of all texts, H hidden
width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import restore_weights, weights_of
from l3masking.errors import InputError
from l3masking.memory import Halving
from l3masking.precision import Precision, autocast
from l3masking.scoring.settings import TOKEN_BUDGETS
from l3masking.scoring.words import EncodedText
from l3masking.selective.settings import SelectiveConfig
from l3masking.training.batches import Chunk, chunk_of, to_device
from l3masking.training.evaluation import check_finite
from l3masking.training.optim import decay_groups, linear_factor
from l3masking.training.portions import Portions, stream_of

DEV_SHARE = 0.1  # of the texts, the last ones: they choose the epoch
DROPOUT = 0.1  # in front of the linear layer, as in BERT's token classifier
HELD_TEXTS = 2048  # texts whose importance is predicted together, and the most that is held in memory


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A trained scoring network."""

    weights: dict[str, Tensor] = field(repr=False)  # of the body and the linear layer, by parameter name
    epoch: int  # whose weights these are, from 1
    f1: float  # of important tokens on the held-out texts, in [0, 1]


class _TokenClassifier(nn.Module):
    """Encoder body, dropout, linear H -> 2."""

    def __init__(self, encoder: Encoder, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder, self.body = encoder, encoder.body
        self.out = nn.utils.skip_init(nn.Linear, encoder.hidden_size, 2)
        with torch.no_grad():
            self.out.weight.normal_(std=0.02, generator=generator)
            self.out.bias.zero_()
        self.out.to(encoder.device)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """[N, 2] logits, text after text."""
        rows_N, positions_N = mask_BT.nonzero(as_tuple=True)
        if self.encoder.forward == "fast":
            return self.out(
                F.dropout(self.encoder.states_at(ids_BT, mask_BT, rows_N, positions_N), DROPOUT, self.training)
            )
        # as old keys have it: without token types, and dropout draws for padding too
        states_BTH = self.body(input_ids=ids_BT, attention_mask=mask_BT)[0]
        return self.out(F.dropout(states_BTH, DROPOUT, self.training)[rows_N, positions_N])


def train_network(
    encoder: Encoder,
    texts: Sequence[EncodedText],
    important: Sequence[NDArray[np.bool_]],
    config: SelectiveConfig,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    progress: Callable[[], None] | None = None,
) -> Network:
    """Fit a copy of `encoder` with a linear layer to the importance [n] of each text's eligible tokens.

    Special tokens count as not important. The last tenth of the texts is held out; of the epochs the one with the best
    F1 of important tokens there is kept, the earliest of equals. progress: called after every batch. Raises InputError
    where no token is important.
    """
    if not any(flags.any() for flags in important):
        raise InputError("no token is important, so the scoring network has nothing to learn: take a larger delta")
    model = _TokenClassifier(encoder.copied(), rng.stream(seed, "network", "head"))
    held = int(DEV_SHARE * len(texts))
    train = list(range(len(texts) - held))
    dev = list(range(len(train), len(texts))) if held else train
    optimiser = torch.optim.AdamW(decay_groups(model, config.network_lr, config.network_decay), fused=True)
    total = config.network_epochs * -(-len(train) // config.network_batch)
    warmup = int(config.network_warmup * total)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: linear_factor(at + 1, total + 1, warmup))
    order = rng.stream(seed, "network", "order")
    weight = torch.tensor([1.0, config.class_weight], device=encoder.device)
    best, update = None, 0
    portions = Portions(config.network_batch)
    tokens = Halving(TOKEN_BUDGETS[encoder.device.type], of_tokens=True)
    for epoch in range(1, config.network_epochs + 1):
        model.train()
        for part in torch.randperm(len(train), generator=order).split(config.network_batch):
            update += 1
            batch = part.tolist()
            chunk = _batch(encoder, [texts[i] for i in batch], [important[i] for i in batch])
            loss = portions.texts.attempt(partial(_gradients, model, chunk, weight, portions, precision, seed, update))
            torch.nn.utils.clip_grad_norm_(list(model.parameters()), 1.0, foreach=True)
            optimiser.step()
            schedule.step()
            if progress:
                progress()
        check_finite(f"scoring network, epoch {epoch}", {"loss": float(loss)})
        f1 = _f1(model, encoder, [texts[i] for i in dev], [important[i] for i in dev], precision, tokens, progress)
        if best is None or f1 > best.f1:
            best = Network(weights=weights_of(model), epoch=epoch, f1=f1)
    assert best is not None
    return best


def _gradients(
    model: _TokenClassifier,
    chunk: Chunk,
    weight: Tensor,
    portions: Portions,
    precision: Precision,
    seed: int,
    update: int,
) -> Tensor:
    """Those of one update into `param.grad`; the loss, a mean over tokens weighed by `weight` [2] of their class."""
    model.zero_grad()
    parts, device, total = portions.cut([chunk]), chunk.input_ids.device, torch.zeros((), device=weight.device)
    counts = [torch.bincount(part.labels[part.labels >= 0], minlength=2) for part in parts]
    sums = [1.0] if len(parts) == 1 else [float((weight * count).sum()) for count in counts]
    for number, (part, share) in enumerate(zip(parts, sums, strict=True)):
        portions.taking([part])
        with rng.dropout(device, seed, "network", update, *stream_of(number)), autocast(device, precision):
            logits_N2 = model(part.input_ids, part.attention_mask)
        loss = F.cross_entropy(logits_N2.float(), part.labels[part.labels >= 0], weight=weight) * (share / sum(sums))
        loss.backward()
        total += loss.detach()
    return total


def predict(
    encoder: Encoder,
    weights: Mapping[str, Tensor],
    texts: Iterable[EncodedText],
    *,
    precision: Precision = "float32",
    token_budget: int | None = None,
    progress: Callable[[], None] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """[n] in [0, 1] for each text: the network's probability that each eligible token is important.

    Texts are streamed, HELD_TEXTS of them at a time. progress: called after every batch.
    """
    model = _TokenClassifier(encoder.copied(), rng.stream(0, "network", "head"))
    restore_weights(model, weights)
    tokens = Halving(token_budget or TOKEN_BUDGETS[encoder.device.type], of_tokens=True)
    stream = iter(texts)
    while buffer := list(islice(stream, HELD_TEXTS)):
        yield from _predicted(model, encoder, buffer, precision, tokens, progress)


@torch.inference_mode()
def _predicted(
    model: _TokenClassifier,
    encoder: Encoder,
    texts: Sequence[EncodedText],
    precision: Precision,
    tokens: Halving,
    progress: Callable[[], None] | None = None,
) -> list[NDArray[np.float32]]:
    """Of some texts, in order, in batches of like lengths."""
    model.eval()
    found = [np.zeros(0, dtype=np.float32)] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index].input_ids))

    def chances(part: Sequence[int]) -> list[NDArray[np.float32]]:
        chunk = _batch(encoder, [texts[index] for index in part], [])
        with autocast(encoder.device, precision):
            logits_N2 = model(chunk.input_ids, chunk.attention_mask)
        chances_N = torch.softmax(logits_N2.float(), dim=-1)[:, 1].cpu()
        return [row.numpy() for row in chances_N.split([len(texts[index].input_ids) for index in part])]

    for part, rows in tokens.batches(order, lambda index: len(texts[index].input_ids), chances):
        for row, index in zip(rows, part, strict=True):
            found[index] = row[texts[index].positions]
        if progress:
            progress()
    return found


def _f1(
    model: _TokenClassifier,
    encoder: Encoder,
    texts: Sequence[EncodedText],
    important: Sequence[NDArray[np.bool_]],
    precision: Precision,
    tokens: Halving,
    progress: Callable[[], None] | None,
) -> float:
    """F1 of important tokens among the eligible ones: 2 TP / (2 TP + FP + FN), 0 where there are none."""
    found = _predicted(model, encoder, texts, precision, tokens, progress)
    said, true = np.concatenate(found) > 0.5, np.concatenate(important)
    both, either = int((said & true).sum()), int(said.sum() + true.sum())
    return 2 * both / either if either else 0.0


def _batch(encoder: Encoder, texts: Sequence[EncodedText], important: Sequence[NDArray[np.bool_]]) -> Chunk:
    """Padded texts with labels [B, T]: 1 important, 0 not, -1 padding."""
    ids = [text.input_ids for text in texts]
    plain = chunk_of(ids, range(len(ids)), torch.empty(0), encoder.tokenizer.pad_token_id)
    labels = plain.attention_mask - 1
    for row, (text, flags) in enumerate(zip(texts, important, strict=False)):
        labels[row, torch.from_numpy(text.positions)] = torch.from_numpy(flags.astype(np.int64))
    return to_device([plain._replace(labels=labels)], encoder.device)[0]
