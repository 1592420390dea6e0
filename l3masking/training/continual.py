"""Masked-LM training before fine-tuning (continual pre-training): from an encoder to an encoder.

Gururangan et al. 2020 train on the task's own text (TAPT) or on a corpus of its domain (DAPT); "Train No Evil" (Gu et
al. 2020) masks there what matters for the task. Texts come as a source that can be read again and again, so that a
corpus need not fit into memory: a pass shuffles within a buffer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import restore_weights, weights_of
from l3masking.errors import InputError
from l3masking.masking.applied import MaskedText
from l3masking.masking.corruption import IGNORED
from l3masking.masking.settings import MaskingConfig
from l3masking.precision import Precision, autocast
from l3masking.training.batches import Chunk, pad, to_device
from l3masking.training.checkpoint import (
    NO_KEEPER,
    Keeper,
    Snapshot,
    below,
    losses_state,
    optimiser_state,
    plain_weights,
    restore_optimiser,
    restored_losses,
    under,
)
from l3masking.training.evaluation import check_course, mean_losses
from l3masking.training.flat_gradients import FlatGradients
from l3masking.training.mlm import TextSource, updates_of
from l3masking.training.model import mlm_loss
from l3masking.training.optim import adamw, decay_groups, linear_factor
from l3masking.training.outcome import Adapted
from l3masking.training.passes import Passes
from l3masking.training.portions import Portions, stream_of
from l3masking.training.settings import AdaptConfig
from l3masking.training.steps import Auxiliary

SHUFFLED = 8192  # texts that are shuffled together, and the most that a pass holds in memory
Batch = Sequence[tuple[int, MaskedText]]  # texts with their numbers in the source


def adapt(
    encoder: Encoder,
    source: TextSource,
    config: AdaptConfig,
    masking: MaskingConfig,
    *,
    seed: int,
    precision: Precision = "float32",
    progress: Callable[[int, int], None] | None = None,
    portions: Portions | None = None,
    keeper: Keeper = NO_KEEPER,
    saved: Snapshot | None = None,
) -> Adapted:
    """Train a copy of `encoder` (which stays as it is) on the masked texts of `source`.

    An evaluation on the held-out texts follows each pass. progress: called with the update and their number after each.
    portions: how much of a batch memory holds, where that is known from before.
    keeper: is offered a snapshot at every evaluation, and hears of every step. saved: a snapshot, from which the stage
    goes on. Raises InputError where no text is left to train on, NonFiniteLoss where training diverges, and Interrupted
    where the keeper ends it.
    """
    portions = portions or Portions(config.batch)
    return _Adaptation(encoder, source, config, masking, seed, precision, portions).run(progress, keeper, saved)


class _Adaptation:
    """The state of one `adapt` stage."""

    def __init__(
        self,
        encoder: Encoder,
        source: TextSource,
        config: AdaptConfig,
        masking: MaskingConfig,
        seed: int,
        precision: Precision,
        portions: Portions,
    ) -> None:
        self.source, self.config, self.masking, self.seed, self.precision = source, config, masking, seed, precision
        self.encoder = encoder.copied()
        self.device = encoder.device
        self.every = config.held_every
        self.train_texts = config.trained_on(source.count)
        if self.train_texts < 1:
            raise InputError("masked-LM training: the source holds no text; give a corpus with at least one line")
        self.total = config.planned_updates(self.train_texts)
        self.per_pass = max(1, self.train_texts // (config.batch * config.accumulate))
        self.done, self.warmup = 0, int(config.warmup * self.total)  # updates
        self.losses: list[dict[str, Tensor]] = []  # of each update since the last evaluation
        self.order = rng.stream(seed, "adapt", "order")
        self.masks = rng.stream(seed, "adapt", "mask")
        self.portions = portions
        self.gradients = FlatGradients({"model": [p for p in self.encoder.model.parameters() if p.requires_grad]})
        self.passes = Passes(self.encoder, self.gradients)
        self.fed = self.taken = 0
        self.points: list[dict[str, float]] = []
        self.kept, self.kept_at = dict[str, Tensor](), 0
        self.begun, self.made = self.order.get_state(), 0  # the present pass: its generator, and its windows so far

    def run(self, progress: Callable[[int, int], None] | None, keeper: Keeper, saved: Snapshot | None) -> Adapted:
        """Train to the end; the weights are those with the least held-out loss, or the last ones."""
        config, model = self.config, self.encoder.model
        optimiser = adamw(decay_groups(model, config.lr, config.decay), config)
        if saved is not None:
            self.resume(saved, optimiser)
        windows, state = self.windows(), partial(self.state, optimiser)
        self.evaluate(keeper, state)
        steps = updates_of(
            optimiser,
            lambda update: self.update(update, next(windows)),
            lambda done: linear_factor(done + 1, self.total + 1, self.warmup),
            total=self.total,
            done=self.done,
        )
        for self.done, loss in steps:
            self.losses.append({"train": loss})
            if progress is not None:
                progress(self.done, self.total)
            keeper.beat(state)
            self.evaluate(keeper, state)
        return Adapted(
            weights=self.kept,
            updates=self.total,
            best_update=self.kept_at,
            passes=self.total * config.batch * config.accumulate / self.train_texts,
            texts=self.source.count,
            masked_share=self.taken / max(1, self.fed),
            losses=self.points,
            micro_batch=self.portions.micro_batch,
        )

    def evaluate(self, keeper: Keeper, state: Callable[[], Snapshot]) -> None:
        """Look at the losses, where that is due and not done yet."""
        update, last = self.done, self.points[-1]["update"] if self.points else 0
        if update == last or (update % self.per_pass and update < self.total):
            return
        point = {"update": update, **mean_losses(self.losses), **self.dev_loss(partial(keeper.beat, state))}
        check_course(
            "adapt, ",
            update,
            self.losses,
            point,
            rate=lambda at: self.config.lr * linear_factor(at, self.total + 1, self.warmup),
            earlier=self.points[-1] if self.points else None,
        )
        self.points.append(point)
        self.losses = []
        if not self.every or point["dev"] <= min((seen["dev"] for seen in self.points), default=math.inf):
            self.kept, self.kept_at = weights_of(self.encoder.model), update
        keeper.offer(state)

    def state(self, optimiser: torch.optim.Optimizer) -> Snapshot:
        """The stage after its last update, and after an evaluation of that where `points` has it."""
        facts = {"points": self.points, "kept_at": self.kept_at, "fed": self.fed, "taken": self.taken}
        model, tensors = self.encoder.model, {"order": self.begun, "masks": self.masks.get_state()}
        tensors |= under("model", plain_weights(model)) | under("adam", optimiser_state(optimiser))
        if self.kept_at != self.done:  # else they are the model's own
            tensors |= under("kept", self.kept)
        tensors |= under("losses", losses_state(self.losses))
        return Snapshot({**facts, "made": self.made, "update": self.done, "portions": self.portions.state()}, tensors)

    def resume(self, saved: Snapshot, optimiser: torch.optim.Optimizer) -> None:
        """Put back what `state` gave."""
        facts, tensors = saved
        self.points, self.kept_at, self.fed, self.taken, self.made, self.done = (
            facts[name] for name in ("points", "kept_at", "fed", "taken", "made", "update")
        )
        self.losses = restored_losses(below("losses", tensors), self.device)
        self.portions.restore(facts["portions"])
        self.order.set_state(tensors["order"])
        self.masks.set_state(tensors["masks"])
        restore_weights(self.encoder.model, below("model", tensors))
        restore_optimiser(optimiser, below("adam", tensors))
        self.kept = weights_of(self.encoder.model) if self.kept_at == self.done else below("kept", tensors)

    def update(self, update: int, window: Sequence[Batch]) -> Tensor:
        """Clipped gradients of one optimiser step into `param.grad`; the mean loss (nats, on the device).

        Where memory is short, they are made again from the beginning in smaller portions.
        """
        masks, fed, taken = self.masks.get_state(), self.fed, self.taken

        def undo() -> None:
            self.masks.set_state(masks)
            self.fed, self.taken = fed, taken

        return self.portions.texts.attempt(lambda: self._update(update, window), undo)

    def _update(self, update: int, window: Sequence[Batch]) -> Tensor:
        self.encoder.model.train()
        total, whole = torch.zeros((), device=self.device), self.gradients.span("model")
        loss_of = partial(mlm_loss, self.encoder)
        self.gradients.clear()
        for micro, batch in enumerate(window):
            chunk = self.masked_batch(batch, fixed=self.config.static)
            self.fed += sum(chunk.lengths)
            self.taken += chunk.predicted
            for number, (portion, share) in enumerate(self.portions.shares([chunk])):
                name = "adapt", update, micro, *stream_of(number)
                with rng.dropout(self.device, self.seed, *name):
                    found = self.passes.gradient("mlm", loss_of, portion, whole, self.precision, share, len(window))
                if found is not None:  # None: no token was selected, a zero loss that moves nothing
                    self.gradients.add(whole, found.gradient, 1.0)
                    total += found.loss
        self.gradients.clip(whole, self.config.clip)
        return total

    def windows(self) -> Iterator[list[Batch]]:
        """The batches of each update, without end; of every pass the last incomplete window is dropped.

        The first pass leaves out the windows that are `made` already: their texts are read, and nothing else.
        """
        skipped = self.made
        while True:
            window: list[Batch] = []
            self.begun, self.made = self.order.get_state(), 0
            for batch in self.batches():
                window.append(batch)
                if len(window) == self.config.accumulate:
                    self.made += 1
                    if self.made > skipped:
                        yield window
                    window = []
            if window and not self.made:  # fewer texts than one update takes: all of them
                self.made = 1
                if self.made > skipped:
                    yield window
            skipped = 0

    def batches(self) -> Iterator[Batch]:
        """One pass over the training texts: shuffled within a buffer, texts of like length together.

        What is over after the last whole batch of a buffer is left out, another part of it in each pass.
        """
        numbered = ((number, text) for number, text in enumerate(self.source.read()) if not self.held_out(number))
        size = self.config.batch
        while buffer := list(islice(numbered, SHUFFLED)):
            whole = max(len(buffer) // size * size, min(size, len(buffer)))
            drawn = torch.randperm(len(buffer), generator=self.order)[:whole].tolist()
            near = sorted(drawn, key=lambda index: len(buffer[index][1].input_ids))
            parts = [near[at : at + size] for at in range(0, whole, size)]
            for part in torch.randperm(len(parts), generator=self.order).tolist():
                yield [buffer[index] for index in parts[part]]

    def held_out(self, number: int) -> bool:
        """Whether a text takes no part in training."""
        return bool(self.every) and number % self.every == self.every - 1

    def masked_batch(self, batch: Batch, *, fixed: bool) -> Chunk:
        """A padded batch with its masks: fresh ones, or (`fixed`) those that each text always gets."""
        cpu, tokenizer = torch.device("cpu"), self.encoder.tokenizer
        texts = Auxiliary.of([text for _, text in batch], self.masking)
        if not fixed:
            return texts.chunks(range(len(batch)), 1, tokenizer, self.masks, self.device)[0]
        drawn = [
            texts.chunks([at], 1, tokenizer, rng.stream(self.seed, "adapt", "mask", number), cpu)[0]
            for at, (number, _) in enumerate(batch)
        ]
        parts = zip(*([tensor[0].numpy() for tensor in one[:3]] for one in drawn), strict=True)
        fills = (tokenizer.pad_token_id, 0, IGNORED)
        whole = Chunk.of(*(pad(rows, fill) for rows, fill in zip(parts, fills, strict=True)))
        return to_device([whole], self.device)[0]

    def dev_loss(self, beat: Callable[[], None]) -> dict[str, float]:
        """Mean loss over the masked tokens of the held-out texts (nats), with the same masks every time."""
        if not self.every:
            return {}
        self.encoder.model.eval()
        numbered = ((number, text) for number, text in enumerate(self.source.read()) if self.held_out(number))
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        while batch := list(islice(numbered, self.config.batch)):
            chunk = self.masked_batch(batch, fixed=True)
            loss = self.portions.texts.attempt(partial(self._held_loss, chunk))
            total, count = total + chunk.predicted * loss, count + chunk.predicted
            beat()
        return {"dev": float(total) / max(1, count)}

    @torch.inference_mode()
    def _held_loss(self, chunk: Chunk) -> Tensor:
        """Mean loss over the masked tokens of a batch (nats, float64 on the device), 0 if there are none."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for portion, share in self.portions.shares([chunk]):
            with autocast(self.device, self.precision):
                loss = mlm_loss(self.encoder, portion)
            if loss is not None:
                total += share * loss.double()
        return total
