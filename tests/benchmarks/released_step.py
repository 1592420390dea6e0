"""A META-TARTAN step shaped as in the released code of L3Masking and TARTAN, to be timed beside ours.

Its shape: every text padded to 128 with nothing to hide the padding; a classification pass runs the whole masked LM,
logits of all positions included; the dev head's fit runs the encoder anew in each of up to ten iterations; dot
products and norms parameter by parameter. What it is spared: scoring the texts anew for every batch, tokenizing
them, emptying the GPU's cache after each dev-head iteration, and AdamW's loop over parameters. Run by training.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l3masking import rng
from l3masking.masking.corruption import corrupt
from l3masking.precision import Precision, autocast
from l3masking.training.batches import pad
from l3masking.training.model import ClassificationHead, MultiTaskModel
from l3masking.training.settings import MetaConfig
from l3masking.training.steps import Auxiliary, Examples

WIDTH = 128  # positions of every text, whatever its length


class Micro(NamedTuple):
    """Text numbers of one micro-step's batches."""

    primary: list[int]  # of train
    mlm: list[int]  # of the masked-LM texts
    dev: list[int]  # of validation


class Window(NamedTuple):
    """Text numbers of one window: the dev head's sample of validation, and the micro-steps."""

    sample: list[int]
    micros: list[Micro]


class ReleasedStepper:
    """Gradients of windows, without an optimiser step: the counterpart of Stepper.window and MultiTaskModel.clip."""

    def __init__(
        self,
        model: MultiTaskModel,
        train: Examples,
        validation: Examples,
        auxiliary: Auxiliary,
        meta: MetaConfig,
        *,
        precision: Precision,
        dropout: float,
        clip: float,
        seed: int,
        width: int = WIDTH,
    ) -> None:
        self.model, self.train, self.validation, self.auxiliary = model, train, validation, auxiliary
        self.meta, self.precision, self.dropout, self.clip, self.width = meta, precision, dropout, clip, width
        self.device, self.tokenizer = model.encoder.device, model.encoder.tokenizer
        body = model.body_parameters()
        self.shared = len(body)
        self.language_model = body + model.mlm_head_parameters()
        self.head = list(model.classifier.parameters())
        self.masks = rng.stream(seed, "released-mask")
        self.heads = rng.stream(seed, "released-head")
        self.logits = [0.5, 0.5]  # of the task weights, primary first
        self.iterations: list[int] = []  # of each dev head's fit

    def window(self, window: Window) -> None:
        """Fill `param.grad` for one optimiser step and move the task weights."""
        for parameter in [*self.language_model, *self.head]:
            parameter.grad = None
        powers = [math.exp(logit) for logit in self.logits]
        share = [power / sum(powers) / len(window.micros) for power in powers]
        dev_head = self.fit_dev_head(window.sample)
        for micro in window.micros:
            mlm = _gradients(self.mlm_loss(micro.mlm), self.language_model)
            primary_parameters = self.language_model + self.head
            loss = self.classification_loss(self.train, micro.primary, self.model.classifier)
            primary = _gradients(loss, primary_parameters)
            loss = self.classification_loss(self.validation, micro.dev, dev_head)
            dev = _gradients(loss, self.language_model + list(dev_head.parameters()))[: self.shared]
            for number, (gradients, counted) in enumerate(((primary, primary[: self.shared]), (mlm, mlm))):
                scale = _norm(dev) * _norm(counted)  # the masked-LM gradient's norm counts the LM head
                alignment = _dot(dev, gradients[: self.shared]) / scale if scale else 0.0
                self.logits[number] += self.meta.lr * alignment / len(window.micros)
            _accumulate(self.language_model, mlm, share[1])
            _accumulate(primary_parameters, primary, share[0])
        torch.nn.utils.clip_grad_norm_(self.language_model, self.clip)
        torch.nn.utils.clip_grad_norm_(self.head, self.clip)

    def fit_dev_head(self, sample: Sequence[int]) -> ClassificationHead:
        """A fresh head, fitted by whole passes over one sample of validation."""
        classes, hidden = self.model.classifier.out.out_features, self.model.encoder.hidden_size
        head = ClassificationHead(hidden, classes, self.dropout, self.heads).to(self.device)
        parameters = list(head.parameters())
        optimiser = torch.optim.AdamW(
            parameters, lr=self.meta.head_lr, betas=(0.9, 0.98), weight_decay=self.meta.head_decay
        )
        previous = float("inf")
        iterations = 0
        while iterations < self.meta.head_iterations:
            iterations += 1
            loss = self.classification_loss(self.validation, sample, head)
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            optimiser.step()
            if abs(loss.item() - previous) < self.meta.head_tolerance:
                break
            previous = loss.item()
        self.iterations.append(iterations)
        return head

    def classification_loss(self, examples: Examples, indices: Sequence[int], head: ClassificationHead) -> Tensor:
        """Mean cross-entropy (nats) of one batch; the LM's logits of all positions are computed and not used."""
        ids = self._padded([examples.input_ids[index] for index in indices], self.tokenizer.pad_token_id)
        labels = examples.labels[indices].to(self.device)
        with autocast(self.device, self.precision):
            output = self.model.language_model(input_ids=ids.to(self.device), output_hidden_states=True)
            logits_BC = head(output.hidden_states[-1][:, 0])
        return F.cross_entropy(logits_BC.float(), labels)

    def mlm_loss(self, indices: Sequence[int]) -> Tensor:
        """Mean cross-entropy (nats) over the selected positions, from the logits of all positions."""
        ids = self._padded([self.auxiliary.input_ids[index] for index in indices], self.tokenizer.pad_token_id)
        rows = [self.auxiliary.probabilities[index] for index in indices]
        probabilities = self._padded(rows, 0.0, torch.float64)
        masked = corrupt(ids, probabilities, self.tokenizer, self.masks, self.auxiliary.masking)
        with autocast(self.device, self.precision):
            return self.model.language_model(
                input_ids=masked.input_ids.to(self.device), labels=masked.labels.to(self.device)
            ).loss

    def _padded(self, rows: Sequence, fill: float, dtype: torch.dtype = torch.long) -> Tensor:
        padded = pad(rows, fill, dtype)
        return F.pad(padded, (0, self.width - padded.shape[1]), value=fill)


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(parameters), allow_unused=True))


def _accumulate(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None], weight: float) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if gradient is not None:
            parameter.grad.add_(weight * gradient)


def _dot(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> float:
    total = torch.zeros(())
    for a, b in zip(left, right, strict=True):
        if a is not None and b is not None:
            total = total.to(a.device) + (a * b).sum()
    return total.item()


def _norm(gradients: Sequence[Tensor | None]) -> float:
    total = torch.zeros(())
    for gradient in gradients:
        if gradient is not None:
            total = total.to(gradient.device) + (gradient**2).sum()
    return math.sqrt(total.item())


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, epilog="Run it by `training.py --parts released`.").parse_args()
