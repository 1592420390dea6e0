"""A small random BART with a tokenizer for the words of small_task."""

from __future__ import annotations

from pathlib import Path

import torch
from small_task import FILLERS, TELLING
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = [*SPECIAL, *FILLERS, *(word for words in TELLING.values() for word in words)]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, between <s> and </s>."""
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 2)]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", mask_token="<mask>", **names)


def configuration() -> BartConfig:
    return BartConfig(
        vocab_size=len(WORDS) + 3,  # rows that no token has, as in many models
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_position_embeddings=24,
    )


def save_bart(folder: Path) -> Path:
    """Weights from a fixed seed, wide enough that predictions differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        model = BartForConditionalGeneration(configuration())
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
