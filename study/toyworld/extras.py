"""More data of the embedded world: an unlabelled corpus of its domain, a shifted evaluation set, and a decoy task.

They use the language, the terms and the encoder of the world, and are made from text generators alone, in a second.
In the decoy task the deciding words are common nouns, which the encoder knows well, and the rare new words say nothing:
a method that masks rare words can only lose there.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l3masking.data.sources import cache_folder
from l3masking.rng import stream_seed
from l3masking.whole import made_whole
from study.store.whole_files import content_key
from study.toyworld.grammar import ARTICLES, GrammarConfig, Language, invent, make_language
from study.toyworld.task import SPLITS, Example, TaskConfig, Terms, make_terms, task_examples
from study.toyworld.world import WorldConfig, source_hashes, write_examples

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class ExtrasConfig:
    """All constants of the further data."""

    corpus: int = 2000  # texts without labels, >= 1
    # evaluation texts of another style: other habits, more names and adjectives, terms of like frequency
    shifted: GrammarConfig = field(default_factory=lambda: GrammarConfig(habit=0.2, naming=0.7, describing=0.8))
    shifted_zipf: float = 0.2  # of the terms in the shifted set; >= 0
    decoy_nouns: int = 6  # deciding terms of each class, nouns of the general language, >= 4
    decoy_novel: int = 60  # new words that say nothing, >= 1
    decoy_share: float = 0.5  # of the terms in a decoy text that say nothing, in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Extras:
    """The finished files. Read only."""

    corpus: Path  # one text per line
    shifted: Path  # JSON lines with `text` and `label`
    decoy: Mapping[str, Path]  # split -> JSON lines with `text` and `label`


def build_extras(
    config: ExtrasConfig | None = None, world: WorldConfig | None = None, *, cache: Path | None = None
) -> Extras:
    """The further data of a world, from the cache or made now."""
    config, world = config or ExtrasConfig(), world or WorldConfig()
    folder = _place(config, world, cache)
    if not (folder / MANIFEST).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with made_whole(folder) as temporary:
            temporary.mkdir()
            _write(temporary, config, world)
    return _files(folder)


def find_extras(*, cache: Path | None = None) -> Extras | None:
    """The further data of the default world, if they are in the cache."""
    folder = _place(ExtrasConfig(), WorldConfig(), cache)
    return _files(folder) if (folder / MANIFEST).is_file() else None


def _place(config: ExtrasConfig, world: WorldConfig, cache: Path | None) -> Path:
    recipe = {
        "config": dataclasses.asdict(config),
        "world": {name: dataclasses.asdict(getattr(world, name)) for name in ("grammar", "task")},
        "seed": world.seed,
        "sources": source_hashes("grammar.py", "task.py", "extras.py"),
    }
    return (cache or cache_folder()) / "toyworld-extras" / content_key(recipe)


def _files(folder: Path) -> Extras:
    return Extras(
        corpus=folder / "corpus.txt",
        shifted=folder / "shifted.jsonl",
        decoy={split: folder / f"decoy-{split}.jsonl" for split in SPLITS},
    )


def _write(folder: Path, config: ExtrasConfig, world: WorldConfig) -> None:
    language = make_language(world.grammar, seed=world.seed)
    terms = make_terms(language, world.task, seed=world.seed)
    files = _files(folder)

    def texts(name: str, count: int, known: Terms, grammar: GrammarConfig, **changes: Any) -> list[Example]:
        task = dataclasses.replace(world.task, test=count, **changes)
        return task_examples(language, known, grammar, task, split="test", seed=stream_seed(world.seed, name))

    corpus = texts("corpus", config.corpus, terms, world.grammar)
    files.corpus.write_text("".join(f"{example.text}\n" for example in corpus), encoding="ascii")
    shifted = texts("shifted", world.task.test, terms, config.shifted, zipf=config.shifted_zipf, label_noise=0.0)
    write_examples(files.shifted, shifted)
    decoys = decoy_terms(language, config, world.task, seed=world.seed)
    for split, path in files.decoy.items():
        count = getattr(world.task, split)
        write_examples(path, texts(f"decoy-{split}", count, decoys, world.grammar, neutral_share=config.decoy_share))
    (folder / MANIFEST).write_text(json.dumps({"terms": decoys.of_class, "novel": decoys.neutral}), encoding="ascii")


def decoy_terms(language: Language, config: ExtrasConfig, task: TaskConfig, *, seed: int) -> Terms:
    """Terms of the decoy task: common nouns for the classes, new words for none."""
    rng = random.Random(stream_seed(seed, "decoy"))
    nouns = [noun for topic in language.topics for noun in topic.nouns]
    pool = rng.sample(nouns, config.decoy_nouns * len(task.labels))
    of_class = {label: tuple(pool.pop() for _ in range(config.decoy_nouns)) for label in task.labels}
    novel = invent(rng, language.words() | set(task.labels), config.decoy_novel, (3, 4))
    deciding = [noun for words in of_class.values() for noun in words]
    article = {noun: language.article[noun] for noun in deciding} | {word: rng.choice(ARTICLES) for word in novel}
    return Terms(of_class, novel, article, frozenset(deciding))
