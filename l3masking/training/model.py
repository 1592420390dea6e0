"""The multi-task model: one shared encoder body, its own masked-LM head, and classification heads on top.

Shapes: B texts, T positions, H hidden width, N selected positions, V vocabulary, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l3masking.encoders.load import Encoder
from l3masking.masking.corruption import IGNORED
from l3masking.training.batches import Chunk
from l3masking.training.flat_gradients import FlatGradients
from l3masking.training.passes import Passes
from l3masking.training.settings import ModelConfig


class ClassificationHead(nn.Module):
    """Vector of a text -> dropout -> linear H -> H -> tanh -> dropout -> linear H -> C (as in META-TARTAN)."""

    def __init__(self, hidden: int, num_classes: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = dropout
        self.dense = _linear(hidden, hidden, generator)
        self.out = _linear(hidden, num_classes, generator)

    def forward(self, features_BH: Tensor) -> Tensor:
        x = F.dropout(features_BH, self.dropout, self.training)
        x = F.dropout(torch.tanh(self.dense(x)), self.dropout, self.training)
        return self.out(x)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """torch's default linear layer, U(-1/sqrt(inputs), 1/sqrt(inputs)), drawn from a generator of ours."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


class MultiTaskModel(nn.Module):
    """Encoder body, masked-LM head (inside `encoder.model`) and the primary task's classification head."""

    def __init__(self, encoder: Encoder, num_classes: int, config: ModelConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = encoder
        self.language_model = encoder.model
        self.classifier = ClassificationHead(encoder.hidden_size, num_classes, config.dropout, generator).to(
            encoder.device
        )
        parts = {"lm_head": self.mlm_head_parameters(), "body": self.body_parameters()}
        self.gradients = FlatGradients({**parts, "head": [*self.classifier.parameters()]})
        self.passes = Passes(encoder, self.gradients)

    def body_parameters(self) -> list[nn.Parameter]:
        """Parameters that all tasks share."""
        return [p for p in self.encoder.body.parameters() if p.requires_grad]

    def mlm_head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the LM head alone: the decoder tied to the embeddings belongs to the body."""
        shared = {id(p) for p in self.encoder.body.parameters()}
        return [p for p in self.language_model.parameters() if id(p) not in shared and p.requires_grad]

    def clip(self, largest: float) -> None:
        """Clip the gradient of the encoder with its LM head, and that of the classification head, each by its norm."""
        for part in (self.gradients.span("lm_head", "body"), self.gradients.span("head")):
            self.gradients.clip(part, largest)

    def features(self, chunks: Sequence[Chunk]) -> Tensor:
        """[B, H] states that the classification head reads, of a whole batch, chunk after chunk."""
        return torch.cat([self.encoder.text_states(*chunk[:2], chunk.lengths, chunk.bucket) for chunk in chunks])

    def classification_loss(self, chunks: Sequence[Chunk], head: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Mean cross-entropy over the batch (nats), through `head` or the primary head."""
        logits_BC = (head or self.classifier)(self.features(chunks))
        return F.cross_entropy(logits_BC.float(), torch.cat([chunk.labels for chunk in chunks]))

    def mlm_loss(self, chunks: Sequence[Chunk]) -> Tensor | None:
        """As `mlm_loss`, of this model's encoder."""
        return mlm_loss(self.encoder, chunks)


def mlm_loss(encoder: Encoder, chunks: Sequence[Chunk]) -> Tensor | None:
    """Mean cross-entropy over the selected positions of the batch (nats); None if nothing was selected.

    Only selected positions pass through the last feed-forward part and the LM head: [N, H] -> [N, V].
    """
    states, truths = [], []
    for chunk in chunks:
        if chunk.bucket is not None:
            selected_BT, labels_P = chunk.labels != IGNORED, chunk.labels.flatten()
            states_NH, place_N = encoder.bucket_states(*chunk[:2], selected_BT, chunk.bucket)
            states.append(states_NH)
            truths.append(labels_P[place_N.clamp(min=0)].where(place_N >= 0, IGNORED))
        elif chunk.places is not None and chunk.predicted:
            rows, positions, _ = chunk.places
            states.append(encoder.states_at(*chunk[:2], rows, positions, chunk.lengths))
            truths.append(chunk.labels[rows, positions])
    if not states:
        return None
    logits_NV = encoder.mlm_logits(torch.cat(states))
    return F.cross_entropy(logits_NV.float(), torch.cat(truths))
