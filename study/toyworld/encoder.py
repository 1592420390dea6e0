"""The encoder of the embedded default world: a tiny BERT with a WordPiece tokenizer of its own, from a given corpus.

Both are functions of corpus and configuration. Training runs on one thread, with own generators and without dropout (a
text is seen a few times only); torch's default generator, from which BERT draws its first weights, is put back.
"""

from __future__ import annotations

import logging
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from l3masking.masking.collator import MaskingCollator
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream, stream_seed
from l3masking.training.mlm import MlmConfig, train_mlm
from study.toyworld.encoder_config import EncoderConfig

if TYPE_CHECKING:  # imported where they are used: they take seconds, and a cached world needs neither
    from transformers import BertForMaskedLM, BertTokenizerFast

log = logging.getLogger(__name__)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LOG_EVERY = 100  # updates


def make_encoder(texts: Sequence[str], config: EncoderConfig, folder: Path, *, seed: int) -> float:
    """Train tokenizer and model on `texts` and save them as a folder that `load_encoder` reads.

    Returns the masked-LM loss (nats per predicted token, mean of the last LOG_EVERY updates).
    """
    tokenizer = train_tokenizer(texts, config)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "weights"))
        model = random_bert(tokenizer, config)
        loss = pretrain(model, tokenizer, texts, config, seed=seed)
    with _no_progress_bar():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return loss


def train_tokenizer(texts: Sequence[str], config: EncoderConfig) -> BertTokenizerFast:
    """An uncased WordPiece tokenizer.

    The letters are handed to the trainer as special tokens. Otherwise it numbers the letters inside words in the order
    of a hash table, which differs from process to process, and breaks ties between equally frequent pairs by number.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizerFast

    letters = string.ascii_lowercase
    first = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=config.vocabulary, special_tokens=first, show_progress=False)
    )
    return BertTokenizerFast(vocab=raw.get_vocab(), model_max_length=config.positions)


def random_bert(tokenizer: BertTokenizerFast, config: EncoderConfig) -> BertForMaskedLM:
    """A model in eval mode with first weights from torch's default generator."""
    from transformers import BertConfig, BertForMaskedLM

    sizes = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.inner,
        max_position_embeddings=config.positions,
        initializer_range=config.init,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertForMaskedLM(sizes).eval()


def pretrain(
    model: BertForMaskedLM, tokenizer: BertTokenizerFast, texts: Sequence[str], config: EncoderConfig, *, seed: int
) -> float:
    """Masked language modelling with uniform masks, in place. Returns the loss of the last updates, in nats."""
    rows = tokenizer(list(texts), truncation=True, max_length=config.positions)["input_ids"]
    collate = MaskingCollator(tokenizer, MaskingConfig(mean=config.mask_mean), seed=stream_seed(seed, "mask"))
    settings = MlmConfig(
        epochs=config.epochs,
        batch=config.batch,
        lr=config.lr,
        warmup=config.warmup,
        decay=config.decay,
        clip=config.clip,
    )
    losses = train_mlm(model, rows, collate, settings, order=stream(seed, "order"), progress=log_progress)
    last = losses[-LOG_EVERY:]
    return sum(last) / len(last)


def log_progress(update: int, total: int, losses: Sequence[float]) -> None:
    """Log every LOG_EVERY updates."""
    if update % LOG_EVERY == 0:
        mean = sum(losses[-LOG_EVERY:]) / LOG_EVERY
        log.info("pre-training the embedded encoder: update %d of %d, loss %.3f", update, total, mean)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The number of threads moves the rounding of sums, and so the weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
