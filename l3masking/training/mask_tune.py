"""Mask-tuning: mask a few tokens, predict them, and classify the text with the predictions filled in, in one update.

The loss is alpha L_MLM + (1 - alpha) L_fine: the masked-LM loss at the masked positions, and the classification loss of
the perturbed text under its true label. Nothing flows back through the choice of the predicted tokens. Evaluation is
that of plain fine-tuning, on texts as they are.

Shapes: B texts, T positions, N masked positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from l3masking import rng
from l3masking.precision import autocast
from l3masking.training.batches import Chunk, PredictedPlaces, by_length, chunk_of, sampler_of, to_device
from l3masking.training.checkpoint import Snapshot, below, under
from l3masking.training.filling import MaskTuning, fill_in
from l3masking.training.model import MultiTaskModel
from l3masking.training.portions import Portions, stream_of
from l3masking.training.settings import FinetuneConfig
from l3masking.training.steps import Examples
from l3masking.training.windows import WindowStepper


class MaskTuneStepper(WindowStepper):
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
        self.alpha = tuning.config.alpha if tuning.mlm_loss else 0.0
        sampler = sampler_of(config.train.sampling, "shuffle")
        self._primary = sampler(len(train.labels), config.train.batch, rng.stream(seed, "order", "primary"))
        self._masks, self._draws = rng.stream(seed, "mask"), rng.stream(seed, "fill")

    def task_weights(self) -> dict[str, float]:
        return {"primary": 1 - self.alpha, "mlm": self.alpha} if self.tuning.mlm_loss else {"primary": 1.0}

    def state(self) -> Snapshot:
        generators = {"masks": self._masks.get_state(), "draws": self._draws.get_state()}
        facts = {"empty": self.empty_mlm_batches, "portions": self.portions.state()}
        return Snapshot(facts, generators | under("primary", self._primary.state()))

    def _go_back(self, saved: Snapshot) -> None:
        self.empty_mlm_batches = saved.facts["empty"]
        self._masks.set_state(saved.tensors["masks"])
        self._draws.set_state(saved.tensors["draws"])
        self._primary.restore(below("primary", saved.tensors))

    def _window(self, update: int) -> dict[str, Tensor]:
        gradients = self.model.gradients
        whole = gradients.span("lm_head", "body", "head")
        gradients.clear()
        losses: dict[str, list[Tensor]] = {name: [] for name in self.task_weights()}
        accumulate = self.config.train.accumulate
        for micro in range(accumulate):
            found: dict[str, Tensor] = {}
            for loss, parts in self.losses(update, micro):
                gradients.add(whole, gradients.of(loss, whole), 1 / accumulate)
                found |= {name: part.detach() + found.get(name, 0.0) for name, part in parts.items()}
            for name, mean in found.items():
                losses[name].append(mean)
        return {name: torch.stack(values).mean() for name, values in losses.items() if values}

    def losses(self, update: int, micro: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The joint loss of the next batch, and its parts; each portion's share of them where there are several."""
        chosen = self.chosen(next(self._primary))
        groups = [[part] for part in self.portions.cut(chosen)] if self.portions.texts.times else [chosen]
        texts = [sum(len(chunk.lengths) for chunk in group) for group in groups]
        masks = [sum(chunk.predicted for chunk in group) for group in groups]
        self.empty_mlm_batches += not sum(masks)
        for number, group in enumerate(groups):
            self.portions.taking(group)
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
        self, group: Sequence[Chunk], update: int, micro: int, number: int
    ) -> tuple[Tensor | None, list[Chunk]]:
        """Sum of the masked-LM losses of a portion (None if nothing in it is masked), and its perturbed texts."""
        tuning, total, perturbed = self.tuning, None, list[Chunk]()
        for at, chunk in enumerate(group):
            self.model.train(not tuning.config.eval_fill)
            with (
                torch.set_grad_enabled(tuning.mlm_loss),
                rng.dropout(self.device, self.seed, update, micro, "mlm", number + at),
            ):
                filled = fill_in(self.model.encoder, chunk, tuning.config, self._draws, precision=self.config.precision)
            self.model.train()
            perturbed.append(chunk._replace(input_ids=filled.input_ids))
            if filled.loss is not None:
                total = filled.loss * chunk.predicted + (0.0 if total is None else total)
        return total, perturbed

    def chosen(self, batch: Sequence[int]) -> list[Chunk]:
        """A batch in chunks of like lengths, with the places of its masks, drawn for the whole batch at once."""
        parts = by_length(batch, self.train.input_ids, self.config.train.length_buckets)
        ordered = [index for part in parts for index in part]
        selected_BT = self.tuning.chosen(ordered, self._masks)
        chunks, start, pad_id = [], 0, self.model.encoder.tokenizer.pad_token_id
        for part in parts:
            places = PredictedPlaces.of(selected_BT[start : start + len(part)])
            chunk = chunk_of(self.train.input_ids, part, self.train.labels[part], pad_id)
            chunks.append(chunk._replace(places=places))
            start += len(part)
        return to_device(chunks, self.device)
