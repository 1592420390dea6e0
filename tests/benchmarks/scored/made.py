"""What is scored where no files are given: texts of ACL-ARC-like lengths and a random encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

VOCABULARY = 30522
SHAPES = {
    "bert": (6, 384, 12),
    "modernbert": (12, 512, 8),
}  # layers, width, heads: MiniLM's, and a medium one
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


def write_encoder(
    folder: Path, model_type: str = "bert", shape: tuple[int, int, int] | None = None, tokenizer: Path | None = None
) -> Path:
    """Random weights of a type of SHAPES, and a WordPiece vocabulary of BERT's size, in a folder.

    shape: layers, width and heads; None: those of SHAPES. tokenizer: folder of the vocabulary; None: made words.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    words = AutoTokenizer.from_pretrained(tokenizer) if tokenizer else _made_tokenizer(folder)
    layers, width, heads = shape or SHAPES[model_type]
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    sizes["intermediate_size"] = 3 * width // 2 if model_type == "modernbert" else 4 * width  # gated: twice as much
    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("pad", "cls", "sep", "bos", "eos")}
    config = AutoConfig.for_model(model_type, vocab_size=len(words), **sizes, **ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _made_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join([*pieces, *made_words(VOCABULARY - len(pieces))]) + "\n")
    return BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
