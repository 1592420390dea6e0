"""The encoder's forward pass over masked copies: what the model's own pass gives at the read positions, with less work.

Three things are left out. None changes a value beyond rounding (test_forward.py sets both passes side by side).
- Padding: copies lie end to end, and those of one length attend together, without a mask for padding.
- The first layer's queries, keys and values depend on (id, position) alone: each such pair is projected once a batch.
- The last layer but at the read positions. There, x_j the states in front of it, q a head's query, a_j its weights:
  q·(W_k x_j + b_k) = (W_kᵀ q)·x_j + const, and with Σ_j a_j = 1, Σ_j a_j (W_v x_j + b_v) = W_v (Σ_j a_j x_j) + b_v.
  So no position is projected to a key or a value, and the constant falls out of the softmax. With rotary positions, a
  key turns with its place, and only the values are spared.

Shapes: U pairs, S tokens of all copies, R copies of one length T, N read positions, H hidden width, P = 3 H,
A heads of D = H / A components, E = D / 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

from l3masking.encoders.families import family_of, first_position
from l3masking.encoders.joined import rotated
from l3masking.encoders.layers import Layer, Relation
from l3masking.precision import Precision, autocast
from l3masking.scoring.copies import Copies, WordRun

CPU_ROWS = 1024  # tokens a thread that a CPU takes from one attention to the next at a time: they stay in its cache


class Affine(NamedTuple):
    """x ↦ x Wᵀ + b, for one linear layer or several side by side."""

    weight: Tensor  # [out, in]
    bias: Tensor  # [out]; zeros where the layer has none

    @classmethod
    def of(cls, layers: Sequence[nn.Linear], dtype: torch.dtype) -> Affine:
        """The layers side by side."""
        weight = _joined([layer.weight.detach().to(dtype) for layer in layers])
        zeros = weight.new_zeros(len(weight))
        biases = [zeros[: len(one.weight)] if one.bias is None else one.bias.detach().to(dtype) for one in layers]
        return cls(weight, _joined(biases))

    def parts(self, count: int) -> list[Affine]:
        """Its outputs in equal parts, each as a map of its own."""
        return [Affine(*both) for both in zip(self.weight.chunk(count), self.bias.chunk(count), strict=True)]

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


class LayerPass:
    """One layer, its weights in the dtype of the matrix products."""

    def __init__(self, layer: Layer, dtype: torch.dtype, *, packed: bool) -> None:
        def product(affine: Affine) -> Affine | Packed:
            return affine.packed() if packed else affine

        self.layer = layer
        self.projection = product(Affine.of(layer.project, dtype))
        self.attention_out = product(Affine.of([layer.attention_out], dtype))
        self.feed_in, *self.gates = map(product, Affine.of([layer.feed_in], dtype).parts(1 + layer.gated))
        self.feed_out = product(Affine.of([layer.feed_out], dtype))

    def seen(self, x: Tensor) -> Tensor:
        """[S, H] the layer's input to what its attention sees of it."""
        return self.layer.attention_norm(x) if self.layer.norms_first else x

    def project(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """[S, H] the layer's input to [S, P] query, key and value, side by side."""
        return self.projection(self.seen(x), out)

    def finish(self, context: Tensor, x: Tensor) -> Tensor:
        """[S, H] attention output and the layer's input to the layer's output, each token by itself. `x` is used up."""
        x = x.add_(self.attention_out(context))
        if self.layer.norms_first:
            return x.add_(self._feed(self.layer.feed_norm(x)))
        x = self.layer.attention_norm(x)
        return self.layer.feed_norm(x.add_(self._feed(x)))

    def _feed(self, x: Tensor) -> Tensor:
        inner = _activated(self.layer.activation, self.feed_in(x))
        for gate in self.gates:  # one, or none
            inner = inner.mul_(gate(x))
        return self.feed_out(inner)


class MaskedForward:
    """The pass of one masked LM. bf16: matrix products and attention in bfloat16; residuals and norms in float32.

    packed: whether a CPU's weights are put into the order that it multiplies fastest, which costs a few passes.
    """

    def __init__(self, model: Any, precision: Precision, *, packed: bool = True) -> None:
        config = model.config
        self.family, self.body = family_of(config.model_type), model.base_model
        assert self.family.layers is not None, f"{config.model_type} has no fast pass"
        layers = self.family.layers(self.body)  # InputError for a model that can't be scored
        self.final_norm = self.family.final_norm(self.body) if self.family.final_norm else nn.Identity()
        self.first = first_position(config)
        self.heads = int(config.num_attention_heads)
        self.dtype = torch.bfloat16 if precision == "bf16" else next(model.parameters()).dtype
        once = {layer: LayerPass(layer, self.dtype, packed=packed) for layer in dict.fromkeys(layers)}
        self.blocks = [once[layer] for layer in layers]  # ALBERT's share their weights
        self.last = Affine.of(layers[-1].project, self.dtype).parts(3)
        self.relations: dict[tuple[str, int], Relation] = {}  # by kind of layer and length, those of one batch

    def __call__(self, copies: Copies) -> Tensor:
        """[N, H] last-layer states at the read positions. To be called in inference mode: it works in place."""
        given = {"input_ids": copies.ids[None], "position_ids": copies.places[None] + self.first}
        if copies.types is not None:
            given["token_type_ids"] = copies.types[None]
        pairs_UH = self.family.embed(self.body, given)[0]
        x_SH = pairs_UH.index_select(0, copies.pairs)
        self.relations = self._relations({run.length for run in copies.runs})
        projected_SP = self.blocks[0].project(pairs_UH).index_select(0, copies.pairs)
        for number, (block, following) in enumerate(pairwise(self.blocks), start=2):
            runs = _cut(projected_SP, copies.runs)
            context_SH = _joined([self._attend(run_SP, run, block.layer.kind) for run_SP, run in runs])
            for part in _parts(x_SH):
                x_SH[part] = block.finish(context_SH[part], x_SH[part])
                if number < len(self.blocks):
                    following.project(x_SH[part], out=projected_SP[part])
        reads_NH = x_SH[copies.reads]
        return self.final_norm(self.blocks[-1].finish(self._attend_at_reads(reads_NH, x_SH, copies), reads_NH))

    def _relations(self, lengths: Set[int]) -> dict[tuple[str, int], Relation]:
        """Those of all kinds of layers in texts of these lengths; what the last batch had of them is not made again."""
        wanted = {(block.layer.kind, length) for block in self.blocks for length in lengths}
        return {one: self.relations.get(one) or self._relation(*one) for one in wanted}

    def _relation(self, kind: str, length: int) -> Relation:
        """One relation, its bias in the dtype of the attention."""
        found = self.family.relation(self.body, kind, length)
        return found if found.bias is None else found._replace(bias=found.bias.to(self.dtype))

    def _attend(self, projected_SP: Tensor, run: WordRun, kind: str) -> Tensor:
        """[R T, P] queries, keys and values of one run to its [R T, H] attention output."""
        bias_ATT, rotation_TE = self.relations[kind, run.length]
        split = projected_SP.view(run.copies, run.length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [R, A, T, D]
        if rotation_TE is not None:
            query, key = rotated(split[:, :, :2], rotation_TE[:, None, None]).permute(2, 0, 3, 1, 4)
        mask = None if bias_ATT is None else bias_ATT[None]
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return context.transpose(1, 2).reshape(len(projected_SP), -1)

    def _attend_at_reads(self, reads_NH: Tensor, x_SH: Tensor, copies: Copies) -> Tensor:
        """[N, H] attention output of the last layer at the read positions, by the equations above."""
        count, width = reads_NH.shape
        query, _, value = self.last
        x_SH = self.blocks[-1].seen(x_SH).to(self.dtype)
        query_NAD = query(self.blocks[-1].seen(reads_NH)).view(count, self.heads, -1)
        means: list[Tensor] = []
        start = first = 0
        for run_SH, run in _cut(x_SH, copies.runs):
            reads = slice(start, start + len(run.read))
            places_n = copies.reads[reads] - first - run.read * run.length
            means += self._means(query_NAD[reads], places_n, run_SH, run)
            start, first = reads.stop, first + len(run_SH)
        value_NAD = _by_head(_joined(means), value.weight.view(self.heads, -1, width).mT)
        return value_NAD.reshape(count, width) + value.bias

    def _means(self, query_nAD: Tensor, places_n: Tensor, run_SH: Tensor, run: WordRun) -> Iterator[Tensor]:
        """[., A, H] means of the states that the queries of one run weigh, R queries at most at a time."""
        bias_ATT, rotation_TE = self.relations[self.blocks[-1].layer.kind, run.length]
        key, states_RTH = self.last[1], run_SH.view(run.copies, run.length, -1)
        if rotation_TE is None:
            asked = _by_head(query_nAD, key.weight.view(self.heads, -1, run_SH.shape[1]))  # [n, A, H]
            seen = states_RTH
        else:
            keys_RTAD = key(run_SH).view(run.copies, run.length, self.heads, -1)
            asked = rotated(query_nAD, rotation_TE[places_n, None])[:, :, None]  # [n, A, 1, D]
            seen = rotated(keys_RTAD, rotation_TE[:, None]).transpose(1, 2)  # [R, A, T, D]
        asked = asked * query_nAD.shape[-1] ** -0.5
        # several reads a copy: its states again, but R times at most
        for read, part, places in zip(*(one.split(run.copies) for one in (run.read, asked, places_n)), strict=True):
            every = len(run.read) == run.copies
            states = states_RTH if every else states_RTH[read]
            keys = states if rotation_TE is None else seen if every else seen[read]
            logits_nAT = torch.matmul(part, keys.mT).flatten(1, -2)  # of [n, A, 1, T] too
            if bias_ATT is not None:
                logits_nAT = logits_nAT + bias_ATT.transpose(0, 1)[places]
            weights_nAT = logits_nAT.softmax(-1, dtype=torch.float32).to(states.dtype)
            yield torch.bmm(weights_nAT, states)


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


def _by_head(x_nAI: Tensor, weight_AIO: Tensor) -> Tensor:
    """[n, A, O] the rows of each head times its own matrix."""
    return torch.bmm(x_nAI.transpose(0, 1), weight_AIO).transpose(0, 1)


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
