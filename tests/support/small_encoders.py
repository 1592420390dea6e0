"""Small random masked LMs of three types, with fast tokenizers trained on a few sentences, in folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizerFast,
)

SENTENCES = [
    "The hooligan wrecked the vehicle.",
    "We follow (Och, 2003) and don't use low-frequency words.",
    "Thrombosis of the portal vein, in 1997a, was seen twice.",
    "the parser reads the words and the model reads the parser",
    "an unlikely token is masked more often than a likely token",
]
TEXTS = [
    "The hooligan wrecked the vehicle.",
    "We don't follow thrombosis (1997a), hooligans!",
    "parsers",
    "the   unlikely\n\nmodel reads [MASK] and </s> and [SEP] often",
    "",
    "A snowman \u2603 in qqqzzz vehicles; low-frequency thrombosis of the hooligan's token.",
    "The hooligan wrecked the vehicle.",
]
HIDDEN, LAYERS, HEADS, FEED, POSITIONS = 16, 2, 2, 24, 48
TYPES = ("bert", "roberta", "distilbert")


def save_bert(folder: Path) -> Path:
    """A BERT with an uncased WordPiece tokenizer."""
    tokenizer = wordpiece_tokenizer(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FEED,
        max_position_embeddings=POSITIONS,
    )
    return save(folder, tokenizer, BertForMaskedLM, config)


def save_distilbert(folder: Path) -> Path:
    """A DistilBERT with the same WordPiece tokenizer: no token types, no pooler."""
    tokenizer = wordpiece_tokenizer(folder)
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=HIDDEN,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=FEED,
        max_position_embeddings=POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
    )
    return save(folder, tokenizer, DistilBertForMaskedLM, config)


def save_roberta(folder: Path) -> Path:
    """A RoBERTa with a byte-level BPE tokenizer; its position table has two rows that no token can use."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    bpe.model.save(str(folder))
    tokenizer = RobertaTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FEED,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return save(folder, tokenizer, RobertaForMaskedLM, config)


def wordpiece_tokenizer(folder: Path) -> BertTokenizerFast:
    """A BERT tokenizer whose vocabulary holds whole words and pieces of rare ones."""
    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=110,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False,
    )
    wordpiece.train_from_iterator([*SENTENCES, "[ ] < / >"], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    wordpiece.model.save(str(folder))
    return BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)


def save(folder: Path, tokenizer: object, model_class: type, config: object) -> Path:
    """Random weights from a fixed seed, wide enough that scores differ, in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        model = model_class(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "bert": save_bert,
    "roberta": save_roberta,
    "distilbert": save_distilbert,
}
