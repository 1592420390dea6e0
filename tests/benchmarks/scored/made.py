"""What is scored where no files are given: texts of ACL-ARC-like lengths and a random encoder of MiniLM's shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

LAYERS, WIDTH, HEADS, VOCABULARY = 6, 384, 12, 30522  # MiniLM's shape
MIDDLE, SPREAD = 37, 0.5  # words of a generated text: median and log-normal deviation, near ACL-ARC's


def made_words(count: int) -> list[str]:
    """Distinct words of two to four syllables."""
    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bcdfghjklmnpqrstvwxz" for b in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choice(syllables, rng.integers(2, 5)))] = None
    return list(words)


def made_texts(count: int) -> list[str]:
    """Texts of Zipf-distributed words; one in five is two words in one, which the tokenizer cuts."""
    rng = np.random.default_rng(2)
    words = made_words(2000)
    rates = 1 / np.arange(1, len(words) + 1)
    texts = []
    for length in np.clip(rng.lognormal(np.log(MIDDLE), SPREAD, count), 3, 224).astype(int):
        first, second = rng.choice(len(words), (2, length), p=rates / rates.sum())
        joined = rng.random(length) < 0.2
        texts.append(
            " ".join(words[a] + words[b] * int(joins) for a, b, joins in zip(first, second, joined, strict=True))
        )
    return texts


def write_encoder(folder: Path) -> Path:
    """Random weights of MiniLM's shape, and a WordPiece vocabulary of its size, in a folder."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join([*pieces, *made_words(VOCABULARY - len(pieces))]) + "\n")
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    config = BertConfig(vocab_size=VOCABULARY, intermediate_size=4 * WIDTH, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForMaskedLM(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    return folder
