"""The first of two rounds of Mask-tuning: masked-LM training, then one perturbation of every training text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.masking.applied import MaskedText
from l3masking.masking.settings import MaskingConfig
from l3masking.training.batches import Chunk, PredictedPlaces, chunk_of, to_device
from l3masking.training.checkpoint import NO_KEEPER, Adding, Keeper, Snapshot, below, under
from l3masking.training.continual import adapt
from l3masking.training.filling import MaskTuning, fill_in
from l3masking.training.mlm import TextSource
from l3masking.training.portions import Portions
from l3masking.training.settings import AdaptConfig, FinetuneConfig, MaskTuningConfig
from l3masking.training.steps import Examples

# what is masked becomes the mask token, and a text has as many masks as its probabilities add up to
EVERY_MASKED = MaskingConfig(mask_share=1.0, random_share=0.0, selection="systematic")
FIRST_ROUND, BETWEEN_ROUNDS = "first round", "between rounds"  # stages of a snapshot


def first_round(
    encoder: Encoder,
    train: Examples,
    tuning: MaskTuning,
    config: FinetuneConfig,
    *,
    seed: int,
    updates: int,
    portions: Portions | None = None,
    keeper: Keeper = NO_KEEPER,
    saved: Snapshot | None = None,
) -> tuple[Encoder, Examples]:
    """The first of two rounds: the encoder after masked-LM training, and the training texts that it has perturbed once.

    saved: where the whole training goes on. Behind this round it holds the texts and all weights, and `encoder` is
    returned as it is.

    The masked LM trains for `updates` updates, as many as fine-tuning may take, at its learning rate and batch size,
    with as many masks in each text as Mask-tuning has, drawn anew in each pass.
    """
    if saved is not None and saved.facts["stage"] not in (FIRST_ROUND, BETWEEN_ROUNDS):
        return encoder, restored_texts(train, saved.tensors)
    portions = portions or Portions(config.train.batch)
    if saved is not None and saved.facts["stage"] == BETWEEN_ROUNDS:
        portions.restore(saved.facts["portions"])
        weights = below("model", saved.tensors)
    else:
        how: dict[str, Any] = {"updates": updates, "portions": portions, "keeper": keeper, "saved": saved}
        weights = _trained_weights(encoder, train, tuning, config, seed=seed, **how)
    trained = encoder.copied(weights)
    trained.model.eval()

    def state() -> Snapshot:
        return Snapshot({"stage": BETWEEN_ROUNDS, "portions": portions.state()}, under("model", weights))

    beat = partial(keeper.beat, state)
    return trained, _perturbed(trained, train, tuning, config, seed=seed, portions=portions, beat=beat)


def _trained_weights(
    encoder: Encoder,
    train: Examples,
    tuning: MaskTuning,
    config: FinetuneConfig,
    *,
    seed: int,
    updates: int,
    portions: Portions,
    keeper: Keeper,
    saved: Snapshot | None,
) -> dict[str, Tensor]:
    """The weights of the masked LM after its training; arguments: as in `first_round`."""
    shares = [_as_probabilities(row, tuning.config) for row in tuning.weights]
    texts = [MaskedText(ids, row) for ids, row in zip(train.input_ids, shares, strict=True)]
    source = TextSource(count=len(texts), read=lambda: iter(texts))
    stage = AdaptConfig(
        epochs=math.ceil(updates / config.train.updates_per_epoch(len(texts))),
        updates=updates,
        batch=config.train.batch,
        accumulate=config.train.accumulate,
        lr=config.optim.lr,
        warmup=config.optim.warmup,
        decay=config.optim.decay,
        betas=config.optim.betas,
        eps=config.optim.eps,
        clip=config.optim.clip,
        dev_share=0.0,
    )
    inside = Adding(keeper=keeper, facts={"stage": FIRST_ROUND})
    found = adapt(
        encoder,
        source,
        stage,
        EVERY_MASKED,
        seed=seed,
        precision=config.precision,
        portions=portions,
        keeper=inside,
        saved=saved,
    )
    return found.weights


def texts_state(examples: Examples) -> dict[str, Tensor]:
    """The texts that `restored_texts` takes: all token ids one after the other, and the length of each text."""
    ids = torch.from_numpy(np.concatenate(list(examples.input_ids)))
    return {"texts.ids": ids, "texts.lengths": torch.tensor([len(text) for text in examples.input_ids])}


def restored_texts(train: Examples, tensors: Mapping[str, Tensor]) -> Examples:
    """`train` with the texts of `texts_state`."""
    texts = torch.split(tensors["texts.ids"], tensors["texts.lengths"].tolist())
    return Examples([text.numpy() for text in texts], train.labels)


def _as_probabilities(weights: NDArray[np.float64], config: MaskTuningConfig) -> NDArray[np.float64]:
    """[T] mask probabilities whose sum is the number of masks that Mask-tuning gives a text."""
    eligible = int(np.count_nonzero(weights))
    if not eligible:
        return weights
    wanted = max(config.least, round(config.rate * eligible))
    return np.minimum(weights * (wanted / weights.sum()), 1.0)


@torch.inference_mode()
def _perturbed(
    encoder: Encoder,
    train: Examples,
    tuning: MaskTuning,
    config: FinetuneConfig,
    *,
    seed: int,
    portions: Portions,
    beat: Callable[[], None],
) -> Examples:
    """The training texts with predictions in the place of masked tokens."""
    masks, draws = rng.stream(seed, "mask"), rng.stream(seed, "fill")
    pad_id, size = encoder.tokenizer.pad_token_id, config.train.batch
    texts: list[NDArray[np.int64]] = []

    def fill(chunk: Chunk) -> list[NDArray[np.int64]]:
        """[B] texts, each padded to the longest that was perturbed with it."""
        filled: list[NDArray[np.int64]] = []
        for part in portions.cut([chunk]):
            portions.taking([part])
            found = fill_in(encoder, part, tuning.config, draws, precision=config.precision)
            filled += [*found.input_ids.cpu().numpy()]
        return filled

    for start in range(0, len(train.labels), size):
        part = list(range(start, min(start + size, len(train.labels))))
        whole = chunk_of(train.input_ids, part, train.labels[part], pad_id)
        chunk = to_device([whole._replace(places=PredictedPlaces.of(tuning.chosen(part, masks)))], encoder.device)[0]
        before = draws.get_state()
        ids = portions.texts.attempt(partial(fill, chunk), partial(draws.set_state, before))
        texts += [row[: len(train.input_ids[index])].copy() for row, index in zip(ids, part, strict=True)]
        beat()
    return Examples(texts, train.labels)
