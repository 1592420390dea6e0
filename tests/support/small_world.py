"""A world like the embedded default, made in a second: every part is there, and none of it is any good."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from study.toyworld.encoder import random_bert, train_tokenizer
from study.toyworld.encoder_config import EncoderConfig
from study.toyworld.grammar import GrammarConfig, general_corpus, make_language
from study.toyworld.task import TaskConfig
from study.toyworld.world import WorldConfig, build_world

SMALL = WorldConfig(
    grammar=GrammarConfig(topics=4, nouns=16, verbs=4, adjectives=3, names=60, texts=320),
    task=TaskConfig(novel=4, shifted=2, neutral=8, train=24, validation=12, test=12),
    encoder=EncoderConfig(vocabulary=256, width=16, inner=24, heads=2, positions=128, epochs=2, batch=32),
)


def save_random_encoder(folder: Path) -> Path:
    """Random weights, and a tokenizer that was trained on the small world's corpus."""
    corpus = general_corpus(make_language(SMALL.grammar, seed=0), SMALL.grammar, seed=0)
    tokenizer = train_tokenizer(corpus, SMALL.encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = random_bert(tokenizer, SMALL.encoder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def manifest(folder: Path) -> dict:
    """The manifest of the world whose encoder lies in `folder`."""
    return json.loads((folder.parent / "manifest.json").read_text())


if __name__ == "__main__":  # for tests that need another process: small_world.py CACHE [die]
    if sys.argv[2:] == ["die"]:
        import os
        import signal

        from study.toyworld import encoder as toyencoder

        toyencoder.pretrain = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    print(build_world(SMALL, cache=Path(sys.argv[1])).encoder_folder)
