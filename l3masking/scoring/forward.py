"""The encoder's forward pass over masked copies: what the model's own pass gives at the read positions, with less work.

Three things are left out. None changes a value beyond rounding (tests/test_forward.py sets both passes side by side).
- Padding: copies lie end to end, and those of one length attend together, without an attention mask.
- The first layer's queries, keys and values depend on (id, position) alone: each such pair is projected once a batch.
- The last layer but at the read positions. There, x_j the states in front of it, q a head's query, a_j its weights:
  q·(W_k x_j + b_k) = (W_kᵀ q)·x_j + const, and with Σ_j a_j = 1, Σ_j a_j (W_v x_j + b_v) = W_v (Σ_j a_j x_j) + b_v.
  So no position is projected to a key or a value, and the constant falls out of the softmax.

Shapes: U pairs, S tokens of all copies, R copies of one length T, N read positions, H hidden width, P = 3 H,
A heads of D = H / A.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

from l3masking.encoders.families import Layer, family_of, first_position, position_limit
from l3masking.precision import Precision, autocast
from l3masking.scoring.copies import Copies, WordRun

CPU_ROWS = 1024  # tokens a thread that a CPU takes from one attention to the next at a time: they stay in its cache


class Affine(NamedTuple):
    """x ↦ x Wᵀ + b, for one linear layer or several side by side."""

    weight: Tensor  # [out, in]
    bias: Tensor  # [out]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.addmm(self.bias, x.to(self.weight.dtype), self.weight.t(), out=out)

    def packed(self) -> Affine | Packed:
        """The same map as this processor multiplies it fastest."""
        if self.weight.device.type != "cpu":
            return self
        try:
            weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, CPU_ROWS)
        except (AttributeError, RuntimeError):  # torch without oneDNN, or a dtype that oneDNN lacks on this processor
            return self
        return Packed(weight, self.bias)


class Packed(NamedTuple):
    """x ↦ x Wᵀ + b with the weight in oneDNN's own order, which it reads faster than rows."""

    weight: Tensor  # opaque
    bias: Tensor  # [out]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        found = torch.ops.mkldnn._linear_pointwise(x.to(self.bias.dtype), self.weight, self.bias, "none", [], "")
        return found if out is None else out.copy_(found)


class LayerPass(NamedTuple):
    """One layer, its weights in the dtype of the matrix products."""

    project: Affine | Packed  # to query, key and value, side by side
    attention_out: Affine | Packed
    feed_in: Affine | Packed
    feed_out: Affine | Packed
    parts: Layer

    def finish(self, context: Tensor, x: Tensor) -> Tensor:
        """[S, H] attention output and the layer's input to the layer's output, each token by itself. `x` is used up."""
        x = self.parts.attention_norm(x.add_(self.attention_out(context)))
        return self.parts.feed_norm(x.add_(self.feed_out(_activated(self.parts.activation, self.feed_in(x)))))


class MaskedForward:
    """The pass of one masked LM. bf16: matrix products and attention in bfloat16; residuals and norms in float32.

    packed: whether a CPU's weights are put into the order that it multiplies fastest, which costs a few passes.
    """

    def __init__(self, model: Any, precision: Precision, *, packed: bool = True) -> None:
        config, body = model.config, model.base_model
        family = family_of(config.model_type)
        assert family.layers is not None, f"{config.model_type} has no fast pass"
        layers = family.layers(body)  # InputError for a model that can't be scored
        self.embeddings: Any = body.embeddings
        self.widen = family.widened(body) or nn.Identity()
        longest = position_limit(config)  # the bias of a shorter text is the corner of that of the longest
        self.bias_ATT = family.position_bias(body, longest) if family.position_bias else None
        self.first = first_position(config)
        self.heads = int(config.num_attention_heads)
        dtype = torch.bfloat16 if precision == "bf16" else next(model.parameters()).dtype

        def affine(*layers: nn.Linear) -> Affine:
            weights, biases = ([getattr(one, name).detach().to(dtype) for one in layers] for name in Affine._fields)
            return Affine(_joined(weights), _joined(biases))

        def product(*layers: nn.Linear) -> Affine | Packed:
            return affine(*layers).packed() if packed else affine(*layers)

        once = {
            layer: LayerPass(
                product(layer.query, layer.key, layer.value),
                product(layer.attention_out),
                product(layer.feed_in),
                product(layer.feed_out),
                layer,
            )
            for layer in dict.fromkeys(layers)
        }
        self.blocks = [once[layer] for layer in layers]  # ALBERT's share their weights
        last = layers[-1]
        self.last = [affine(one) for one in (last.query, last.key, last.value)]

    def __call__(self, copies: Copies) -> Tensor:
        """[N, H] last-layer states at the read positions. To be called in inference mode: it works in place."""
        more = {} if copies.types is None else {"token_type_ids": copies.types[None]}
        embedded = self.embeddings(input_ids=copies.ids[None], position_ids=copies.places[None] + self.first, **more)
        pairs_UH = self.widen(embedded)[0]
        x_SH = pairs_UH.index_select(0, copies.pairs)
        projected_SP = self.blocks[0].project(pairs_UH).index_select(0, copies.pairs)
        for number, (block, following) in enumerate(pairwise(self.blocks), start=2):
            context_SH = _joined([self._attend(run_SP, run) for run_SP, run in _cut(projected_SP, copies.runs)])
            for part in _parts(x_SH):
                x_SH[part] = block.finish(context_SH[part], x_SH[part])
                if number < len(self.blocks):
                    following.project(x_SH[part], out=projected_SP[part])
        reads_NH = x_SH[copies.reads]
        return self.blocks[-1].finish(self._attend_at_reads(reads_NH, x_SH, copies), reads_NH)

    def _bias(self, length: int) -> Tensor | None:
        """[A, T, T] what a family adds to the attention of texts of this length."""
        return None if self.bias_ATT is None else self.bias_ATT[:, :length, :length]

    def _attend(self, projected_SP: Tensor, run: WordRun) -> Tensor:
        """[R T, P] queries, keys and values of one run to its [R T, H] attention output."""
        split = projected_SP.view(run.copies, run.length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [R, A, T, D]
        bias_ATT = self._bias(run.length)
        mask = None if bias_ATT is None else bias_ATT.to(query.dtype)[None]
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return context.transpose(1, 2).reshape(len(projected_SP), -1)

    def _attend_at_reads(self, reads_NH: Tensor, x_SH: Tensor, copies: Copies) -> Tensor:
        """[N, H] attention output of the last layer at the read positions, by the equations above."""
        count, width = reads_NH.shape
        query, key, value = self.last
        x_SH = x_SH.to(key.weight.dtype)
        query_AND = query(reads_NH).view(count, self.heads, -1).transpose(0, 1)
        probe_NAH = torch.bmm(query_AND, key.weight.view(self.heads, -1, width)).transpose(0, 1)
        probe_NAH = probe_NAH * query_AND.shape[-1] ** -0.5
        means, start, first = [], 0, 0
        for run_SH, run in _cut(x_SH, copies.runs):
            bias_ATT = self._bias(run.length)
            states_RTH = run_SH.view(run.copies, run.length, width)
            for read in run.read.split(run.copies):  # several reads a copy: its states again, but R times at most
                states = states_RTH if len(run.read) == run.copies else states_RTH[read]
                logits_nAT = torch.bmm(probe_NAH[start : start + len(read)], states.mT)
                if bias_ATT is not None:
                    places = copies.reads[start : start + len(read)] - first - read * run.length
                    logits_nAT = logits_nAT + bias_ATT.transpose(0, 1)[places]
                weights_nAT = logits_nAT.softmax(-1, dtype=torch.float32).to(states.dtype)
                means.append(torch.bmm(weights_nAT, states))
                start += len(read)
            first += len(run_SH)
        value_ANH = _joined(means).transpose(0, 1)
        value_AND = torch.bmm(value_ANH, value.weight.view(self.heads, -1, width).mT)
        return value_AND.transpose(0, 1).reshape(count, width) + value.bias


class OwnForward:
    """The model's own pass. Copies of one length go through it together, so that nothing is padded."""

    def __init__(self, model: Any, precision: Precision) -> None:
        self.body, self.precision = model.base_model, precision

    def __call__(self, copies: Copies) -> Tensor:
        """[N, H] last-layer states at the read positions."""
        states = []
        for pairs, run in _cut(copies.pairs, copies.runs):
            pairs_RT = pairs.view(run.copies, run.length)
            ids_RT, more = copies.ids[pairs_RT], {}
            if copies.types is not None:
                more["token_type_ids"] = copies.types[pairs_RT]
            with autocast(ids_RT.device, self.precision):
                given = self.body(input_ids=ids_RT, attention_mask=torch.ones_like(ids_RT), **more)
            states.append(given[0].flatten(0, 1))
        return _joined(states)[copies.reads]


def pass_of(model: Any, precision: Precision, *, packed: bool = True) -> MaskedForward | OwnForward:
    """The pass that scores a model: the one above where its layers are known."""
    if family_of(model.config.model_type).scoring_pass == "own":
        return OwnForward(model, precision)
    return MaskedForward(model, precision, packed=packed)


def _activated(activation: Any, inner: Tensor) -> Tensor:
    """The activation of a layer, in place where torch can: new memory of this width costs a CPU as much as the GELU."""
    if type(activation) is GELUActivation and activation.act is F.gelu:
        return torch.ops.aten.gelu.out(inner, out=inner)
    return activation(inner)


def _cut(rows: Tensor, runs: Sequence[WordRun]) -> Iterator[tuple[Tensor, WordRun]]:
    """The rows of each run, and the run."""
    return zip(rows.split([run.copies * run.length for run in runs]), runs, strict=True)


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _parts(x_SH: Tensor) -> Iterator[slice]:
    size = CPU_ROWS * torch.get_num_threads() if x_SH.device.type == "cpu" else len(x_SH)
    return (slice(start, start + size) for start in range(0, len(x_SH), size))
