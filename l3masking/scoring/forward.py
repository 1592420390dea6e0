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
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l3masking.encoders.families import family_of, first_position
from l3masking.encoders.joined import rotated
from l3masking.encoders.layers import Relation
from l3masking.precision import Precision, autocast
from l3masking.scoring.copies import Copies, WordRun, cut_within
from l3masking.scoring.layer_pass import CPU_ROWS, Affine, LayerPass


class CopyPart(NamedTuple):
    """Some copies of a batch: its tokens, read positions and runs, as in Copies, counted from its first token."""

    pairs: Tensor  # [S]
    reads: Tensor  # [n]
    runs: Sequence[WordRun]


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
        self.relations = self._relations({run.length for run in copies.runs})
        projected_UP = self.blocks[0].project(pairs_UH)
        parts = [self._up_to_reads(part, pairs_UH, projected_UP) for part in _parts(copies)]
        context_NH, reads_NH = (_joined(list(both)) for both in zip(*parts, strict=True))
        return self.final_norm(self.blocks[-1].finish(context_NH, reads_NH))

    def _up_to_reads(self, part: CopyPart, pairs_UH: Tensor, projected_UP: Tensor) -> tuple[Tensor, Tensor]:
        """[n, H] the last layer's attention output at the read positions of some copies, and its input there.

        pairs_UH: input of the first layer; projected_UP: that to its queries, keys and values.
        """
        x_SH, projected_SP = (of_pairs.index_select(0, part.pairs) for of_pairs in (pairs_UH, projected_UP))
        for number, block in enumerate(self.blocks[:-1]):
            if number:
                projected_SP = block.project(x_SH)
            cut = _cut(projected_SP, part.runs)
            context_SH = _joined([self._attend(run_SP, run, block.layer.kind) for run_SP, run in cut])
            x_SH = block.finish(context_SH, x_SH)
        reads_NH = x_SH[part.reads]
        return self._attend_at_reads(reads_NH, x_SH, part), reads_NH

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

    def _attend_at_reads(self, reads_NH: Tensor, x_SH: Tensor, part: CopyPart) -> Tensor:
        """[N, H] attention output of the last layer at the read positions, by the equations above."""
        count, width = reads_NH.shape
        query, _, value = self.last
        x_SH = self.blocks[-1].seen(x_SH).to(self.dtype)
        query_NAD = query(self.blocks[-1].seen(reads_NH)).view(count, self.heads, -1)
        means: list[Tensor] = []
        start = first = 0
        for run_SH, run in _cut(x_SH, part.runs):
            reads = slice(start, start + len(run.read))
            places_n = part.reads[reads] - first - run.read * run.length
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


def _cut(rows: Tensor, runs: Sequence[WordRun]) -> Iterator[tuple[Tensor, WordRun]]:
    """The rows of each run, and the run."""
    return zip(rows.split([run.copies * run.length for run in runs]), runs, strict=True)


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _parts(copies: Copies) -> Iterator[CopyPart]:
    """On a CPU the copies of CPU_ROWS tokens a thread at a time, or one copy; elsewhere all at once."""
    if copies.pairs.device.type != "cpu":
        yield CopyPart(copies.pairs, copies.reads, copies.runs)
        return
    most = CPU_ROWS * torch.get_num_threads()
    start = first = 0
    for runs in cut_within(_short_runs(copies.runs, most), lambda run: run.copies * run.length, lambda: most):
        end = start + sum(run.copies * run.length for run in runs)
        last = first + sum(len(run.read) for run in runs)
        yield CopyPart(copies.pairs[start:end], copies.reads[first:last] - start, runs)
        start, first = end, last


def _short_runs(runs: Sequence[WordRun], most: int) -> Iterator[WordRun]:
    """The copies of these runs, in the same order, in runs of at most `most` tokens or one copy."""
    for run in runs:
        count = max(1, most // run.length)
        for start in range(0, run.copies, count):
            some = min(count, run.copies - start)
            begin, end = torch.searchsorted(run.read, torch.tensor([start, start + some])).tolist()
            yield WordRun(some, run.length, run.read[begin:end] - start)
