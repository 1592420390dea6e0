"""A tiny labelled task, a tiny random BERT for it, and whole runs of a method in about a second."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from l3masking.data.rows import Rows
from l3masking.data.splits import Parts
from l3masking.data.table import TextData, assemble
from l3masking.encoders.load import Encoder
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import run_method
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_texts
from l3masking.training.outcome import Outcome
from l3masking.training.settings import (
    EvaluateConfig,
    FinalConfig,
    FinetuneConfig,
    MetaConfig,
    ModelConfig,
    OptimConfig,
    StopConfig,
    TrainConfig,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FILLERS = ["a", "the", "of", "and", "we", "use", "see", "near", "far", "old", "new", "un", "##like", "##ly"]
TELLING = {"first": ["red", "blue"], "second": ["cat", "dog"], "third": ["oak", "elm"]}  # class -> its words
VOCABULARY = SPECIAL + FILLERS + [word for words in TELLING.values() for word in words]
SCORING = ScoringConfig(max_length=16)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside: sums are then made in one order, and tiny matrices gain nothing from a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache
def tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece over a fixed vocabulary."""
    numbers = {word: index for index, word in enumerate(VOCABULARY)}
    wordpiece = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])]
    wordpiece.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=wordpiece, **dict(zip(names, SPECIAL, strict=True)))


@lru_cache
def encoder(dropout: float = 0.1) -> Encoder:
    """A BERT of 2 layers, 32 wide, with random weights of its own generator. Shared: runs must leave it alone."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=24,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    with torch.random.fork_rng(devices=[]):
        model = BertForMaskedLM(config).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return Encoder(model=model, tokenizer=tokenizer(), revision="small", max_positions=24)


def rows(count: int, seed: int, noise: float = 0.0) -> Rows:
    """Texts of 3 to 10 words, one of which tells the class; with `noise` this share of labels is drawn anew."""
    draw, names = random.Random(seed), list(TELLING)
    texts, labels = [], []
    for index in range(count):
        label = names[index % 3]
        words = [draw.choice(["unlikely", *FILLERS[:11]]) for _ in range(draw.randint(2, 9))]
        words.insert(draw.randint(0, len(words)), draw.choice(TELLING[label]))
        texts.append(" ".join(words))
        labels.append(draw.choice(names) if draw.random() < noise else label)
    return Rows(texts, labels)


@lru_cache
def data(train: int = 48, noise: float = 0.0) -> TextData:
    """Three classes; the telling word of a text decides."""
    parts = Parts(rows(train, 1, noise), rows(30, 2, noise), rows(33, 3, noise))
    return assemble(parts, name="small")


def settings(
    *,
    max_epochs: int = 12,
    batch: int = 8,
    accumulate: int = 2,
    lr: float = 5e-3,
    every: int = 3,
    unit: str = "updates",
    patience: int = 50,
    final: FinalConfig | None = None,
    meta: MetaConfig | None = None,
    dropout: float = 0.1,
    **more: object,
) -> FinetuneConfig:
    """Settings under which a run takes about a second; 48 training texts make 3 updates an epoch."""
    return FinetuneConfig(
        optim=OptimConfig(lr=lr, head_lr=lr),
        train=TrainConfig(batch=batch, accumulate=accumulate, max_epochs=max_epochs),
        evaluate=EvaluateConfig(every=every, unit=unit),
        stop=StopConfig(patience=patience),
        final=final or FinalConfig(lr=1e-3, max_epochs=2, patience=1),
        meta=meta or MetaConfig(head_iterations=3),
        model=ModelConfig(dropout=dropout),
        **more,
    )


def scores(texts: Sequence[str], *, equal: bool = False) -> list[TokenScores]:
    """Made-up scores: log-likelihoods between -8 and 0, or -1 everywhere."""
    draw = np.random.default_rng(4)
    made = []
    for text in encode_texts(tokenizer(), texts, max_length=SCORING.max_length):
        values = np.full(len(text.positions), -1.0) if equal else -8 * draw.random(len(text.positions))
        made.append(
            TokenScores(
                input_ids=text.input_ids,
                positions=text.positions,
                words=text.words,
                log_likelihood=values.astype(np.float32),
            )
        )
    return made


def run(
    method: str,
    config: FinetuneConfig,
    *,
    seed: int = 0,
    source: TextData | None = None,
    objectives: Sequence[str] = ("accuracy", "macro_f1"),
    masking: MaskingConfig | None = None,
    equal_scores: bool = False,
    dropout: float = 0.1,
) -> dict[str, Outcome]:
    """A whole run of one method on the small task."""
    source = source or data()
    needed = METHODS[method].needs_scores
    outcomes, _ = run_method(
        method,
        encoder(dropout),
        source,
        scoring=SCORING,
        masking=masking or MaskingConfig(mean=0.2),
        config=config,
        seed=seed,
        objectives=objectives,
        scores=scores(source.mlm_texts, equal=equal_scores) if needed else None,
    )
    return outcomes


def digest(outcomes: dict[str, Outcome]) -> str:
    """One number for everything in some outcomes, weights to the last bit."""
    total = hashlib.blake2b(digest_size=16)
    for name, outcome in sorted(outcomes.items()):
        total.update(repr((name, summary(outcome))).encode())
        for key, value in sorted(outcome.weights.items()):
            total.update(key.encode() + value.numpy().tobytes())
    return total.hexdigest()


def summary(outcome: Outcome) -> dict[str, object]:
    """All fields but the weights."""
    return {name: value for name, value in vars(outcome).items() if name != "weights"}
