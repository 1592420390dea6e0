"""Mask-tuning: mask a few tokens, predict them, and classify the text with the predictions filled in, in one update.

The loss is alpha L_MLM + (1 - alpha) L_fine: the masked-LM loss at the masked positions, and the classification loss of
the perturbed text under its true label. Nothing flows back through the choice of the predicted tokens. Evaluation is
that of plain fine-tuning, on texts as they are.

Shapes: B texts, T positions, N masked positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.masking.applied import MaskedText
from l3masking.masking.settings import MaskingConfig
from l3masking.precision import autocast
from l3masking.training.batches import Chunk, by_length, chunk_of, sampler_of, to_device
from l3masking.training.checkpoint import NO_KEEPER, Adding, Keeper, Snapshot, below, under
from l3masking.training.continual import TextSource, adapt
from l3masking.training.filling import MaskTuning, fill_in
from l3masking.training.model import MultiTaskModel
from l3masking.training.portions import Portions, narrowed, part_of, rows_of, stream_of
from l3masking.training.settings import AdaptConfig, FinetuneConfig, MaskTuningConfig
from l3masking.training.steps import Examples, accumulate_gradients, gradients_of

# what is masked becomes the mask token, and a text has as many masks as its probabilities add up to
EVERY_MASKED = MaskingConfig(mask_share=1.0, random_share=0.0, selection="systematic")
FIRST_ROUND = "first round"  # stage of a snapshot


class MaskTuneStepper:
    """Computes the gradient of one window of Mask-tuning into `param.grad`; takes the place of `steps.Stepper`."""

    def __init__(
        self,
        model: MultiTaskModel,
        train: Examples,
        tuning: MaskTuning,
        config: FinetuneConfig,
        seed: int,
        portions: Portions | None = None,
    ) -> None:
        self.model, self.train, self.tuning, self.config, self.seed = model, train, tuning, config, seed
        self.device = model.encoder.device
        self.empty_mlm_batches = 0
        self.portions = portions or Portions(config.train.batch)
        self.body, self.lm_head = model.body_parameters(), model.mlm_head_parameters()
        self.head = list(model.classifier.parameters())
        self.alpha = tuning.config.alpha if tuning.mlm_loss else 0.0
        sampler = sampler_of(config.train.sampling, "shuffle")
        self._primary = sampler(len(train.labels), config.train.batch, rng.stream(seed, "order", "primary"))
        self._masks, self._draws = rng.stream(seed, "mask"), rng.stream(seed, "fill")

    def task_weights(self) -> dict[str, float]:
        """Task and the weight of its loss."""
        return {"primary": 1 - self.alpha, "mlm": self.alpha} if self.tuning.mlm_loss else {"primary": 1.0}

    def state(self) -> Snapshot:
        """What the next windows depend on beside the model."""
        generators = {"masks": self._masks.get_state(), "draws": self._draws.get_state()}
        facts = {"empty": self.empty_mlm_batches, "portions": self.portions.state()}
        return Snapshot(facts, generators | under("primary", self._primary.state()))

    def restore(self, saved: Snapshot) -> None:
        """Go on where `state` was taken."""
        self.portions.restore(saved.facts["portions"])
        self._go_back(saved)

    def _go_back(self, saved: Snapshot) -> None:
        """The same, but for the size of portions."""
        self.empty_mlm_batches = saved.facts["empty"]
        self._masks.set_state(saved.tensors["masks"])
        self._draws.set_state(saved.tensors["draws"])
        self._primary.restore(below("primary", saved.tensors))

    def window(self, update: int) -> dict[str, Tensor]:
        """Fill `param.grad` for one optimiser step; returns the mean loss of each task (nats, on the device).

        Where memory is short, it is made again from its beginning in smaller portions.
        """
        before = self.state()

        def undo() -> None:
            self._go_back(before)
            self.model.train()

        return self.portions.texts.attempt(lambda: self._window(update), undo)

    def _window(self, update: int) -> dict[str, Tensor]:
        parameters = [*self.body, *self.lm_head, *self.head]
        for parameter in parameters:
            parameter.grad = None
        losses: dict[str, list[Tensor]] = {name: [] for name in self.task_weights()}
        accumulate = self.config.train.accumulate
        for micro in range(accumulate):
            found: dict[str, Tensor] = {}
            for loss, parts in self.losses(update, micro):
                accumulate_gradients(parameters, gradients_of(loss, parameters), 1 / accumulate)
                found |= {name: part.detach() + found.get(name, 0.0) for name, part in parts.items()}
            for name, mean in found.items():
                losses[name].append(mean)
        return {name: torch.stack(values).mean() for name, values in losses.items() if values}

    def losses(self, update: int, micro: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The joint loss of the next batch, and its parts; each portion's share of them where there are several."""
        chosen = self.chosen(next(self._primary))
        groups = [chosen] if not self.portions.texts.times else [[one] for one in self._cut(chosen)]
        texts = [sum(len(chunk.labels) for chunk, _ in group) for group in groups]
        masks = [sum(int(selected.sum()) for _, selected in group) for group in groups]
        self.empty_mlm_batches += not sum(masks)
        for number, group in enumerate(groups):
            self.portions.taking([chunk for chunk, _ in group])
            mlm, perturbed = self._predict(group, update, micro, number)
            with (
                rng.dropout(self.device, self.seed, update, micro, "primary", *stream_of(number)),
                autocast(self.device, self.config.precision),
            ):
                fine = self.model.classification_loss(perturbed) * (texts[number] / sum(texts))
            if mlm is None or not self.tuning.mlm_loss:
                yield (1 - self.alpha) * fine, {"primary": fine}
                continue
            mlm = mlm / sum(masks)
            yield self.alpha * mlm + (1 - self.alpha) * fine, {"primary": fine, "mlm": mlm}

    def _predict(
        self, group: Sequence[tuple[Chunk, Tensor]], update: int, micro: int, number: int
    ) -> tuple[Tensor | None, list[Chunk]]:
        """Sum of the masked-LM losses of a portion (None if nothing in it is masked), and its perturbed texts."""
        tuning, total, perturbed = self.tuning, None, list[Chunk]()
        for at, (chunk, selected) in enumerate(group):
            self.model.train(not tuning.config.eval_fill)
            with (
                torch.set_grad_enabled(tuning.mlm_loss),
                rng.dropout(self.device, self.seed, update, micro, "mlm", number + at),
            ):
                filled = fill_in(
                    self.model.encoder, chunk, selected, tuning.config, self._draws, precision=self.config.precision
                )
            self.model.train()
            perturbed.append(chunk._replace(input_ids=filled.input_ids))
            if filled.loss is not None:
                total = filled.loss * int(selected.sum()) + (0.0 if total is None else total)
        return total, perturbed

    def _cut(self, chosen: Sequence[tuple[Chunk, Tensor]]) -> Iterator[tuple[Chunk, Tensor]]:
        """Chunks of at most the texts that fit, with their masks."""
        for chunk, selected in chosen:
            for rows in rows_of(chunk, self.portions.texts.size):
                yield part_of(chunk, *rows), narrowed(selected, *rows)

    def chosen(self, batch: Sequence[int]) -> list[tuple[Chunk, Tensor]]:
        """A batch in chunks of like lengths, each with its masks, which are drawn for the whole batch at once."""
        parts = by_length(batch, self.train.input_ids, self.config.train.length_buckets)
        ordered = [index for part in parts for index in part]
        selected_BT = self.tuning.chosen(ordered, self._masks)
        chunks, start = [], 0
        for part in parts:
            chunk = chunk_of(
                self.train.input_ids, part, self.train.labels[part], self.model.encoder.tokenizer.pad_token_id
            )
            selected = selected_BT[start : start + len(part), : chunk.input_ids.shape[1]]
            chunks.append((to_device([chunk], self.device)[0], selected.to(self.device)))
            start += len(part)
        return chunks


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
    if saved is not None and saved.facts["stage"] != FIRST_ROUND:
        return encoder, restored_texts(train, saved.tensors)
    portions = portions or Portions(config.train.batch)
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
    trained = encoder.copied(found.weights)
    trained.model.eval()
    return trained, _perturbed(trained, train, tuning, config, seed=seed, portions=portions)


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
) -> Examples:
    """The training texts with predictions in the place of masked tokens."""
    masks, draws = rng.stream(seed, "mask"), rng.stream(seed, "fill")
    pad_id, size = encoder.tokenizer.pad_token_id, config.train.batch
    texts: list[NDArray[np.int64]] = []

    def fill(chunk: Chunk, selected_BT: Tensor) -> list[NDArray[np.int64]]:
        """[B] texts, each padded to the longest that was perturbed with it."""
        filled: list[NDArray[np.int64]] = []
        for rows in rows_of(chunk, portions.texts.size):
            one = part_of(chunk, *rows)
            portions.taking([one])
            chosen = narrowed(selected_BT, *rows)
            found = fill_in(encoder, one, chosen, tuning.config, draws, precision=config.precision)
            filled += [*found.input_ids.cpu().numpy()]
        return filled

    for start in range(0, len(train.labels), size):
        part = list(range(start, min(start + size, len(train.labels))))
        selected = tuning.chosen(part, masks).to(encoder.device)
        chunk = to_device([chunk_of(train.input_ids, part, train.labels[part], pad_id)], encoder.device)[0]
        before = draws.get_state()
        ids = portions.texts.attempt(partial(fill, chunk, selected), partial(draws.set_state, before))
        texts += [row[: len(train.input_ids[index])].copy() for row, index in zip(ids, part, strict=True)]
    return Examples(texts, train.labels)
