"""The classification task of the embedded default world: texts of the general language with technical terms in them.

A term is new, or a noun of the general language in another place; the label of a text depends on its terms and on
nothing else. All constants were chosen from plain fine-tuning (STL) alone, before any multi-task run: far above the
majority class, far below what knowing all terms would give, and better with more training texts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from l3masking.errors import InputError
from l3masking.rng import stream_seed
from study.toyworld.grammar import ARTICLES, GrammarConfig, Language, compose, draw, invent

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The terms, how they follow the label, and the size of the splits."""

    labels: tuple[str, ...] = ("amber", "cobalt", "olive", "rose")  # at least 2; no text holds them
    novel: int = 12  # terms of each class that the general language lacks, >= 1
    shifted: int = 4  # terms of each class that are nouns of the general language, >= 0
    neutral: int = 20  # terms of no class, half of them nouns of the general language, >= 0
    fewest: int = 3  # terms in a text, >= 1
    most: int = 4  # terms in a text, >= fewest; at most 4, or some clauses have no place for them
    neutral_share: float = 0.25  # of the terms in a text, in [0, 1]
    purity: float = 0.85  # share of the other terms that are of the text's class, and not of another one; in [0, 1]
    label_noise: float = 0.05  # share of the texts, in all splits, whose label is drawn at random, in [0, 1]
    zipf: float = 1.0  # the r-th term of a class has weight r ** -zipf; >= 0
    train: int = 400  # texts, >= 1
    validation: int = 200  # texts, >= 1
    test: int = 400  # texts, >= 1

    def __post_init__(self) -> None:
        if len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels):
            raise InputError(f"toy task: labels are {self.labels}: at least two, all different")
        for name, least in (("novel", 1), ("shifted", 0), ("neutral", 0), ("fewest", 1), *((s, 1) for s in SPLITS)):
            if getattr(self, name) < least:
                raise InputError(f"toy task: {name} is {getattr(self, name)}: at least {least}")
        if not self.fewest <= self.most <= 4:
            raise InputError(f"toy task: most is {self.most}: it lies in [fewest, 4], and fewest is {self.fewest}")
        if self.novel + self.shifted < self.most:
            raise InputError(f"toy task: {self.novel + self.shifted} terms of a class can't fill {self.most} places")
        for name in ("neutral_share", "purity", "label_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"toy task: {name} is {getattr(self, name)}: a share lies in [0, 1]")


class Terms(NamedTuple):
    """The planted vocabulary."""

    of_class: Mapping[str, tuple[str, ...]]  # label -> its terms, the most frequent first
    neutral: tuple[str, ...]  # the most frequent first
    article: Mapping[str, str]  # of every term
    shifted: frozenset[str]  # those terms that are nouns of the general language


class Example(NamedTuple):
    """One labelled text."""

    text: str
    label: str


def make_terms(language: Language, config: TaskConfig, *, seed: int) -> Terms:
    """Invent the new terms, and take the others from the nouns of the general language."""
    rng = random.Random(stream_seed(seed, "terms"))
    nouns = [noun for topic in language.topics for noun in topic.nouns]
    num_shifted = config.shifted * len(config.labels) + config.neutral // 2
    if 2 * num_shifted > len(nouns):
        raise InputError(f"toy task: {num_shifted} nouns would become terms, of {len(nouns)}: at most half of them may")
    pool = rng.sample(nouns, num_shifted)
    shifted = frozenset(pool)
    taken = language.words() | set(config.labels)

    def mix(num_shifted: int, num_novel: int) -> tuple[str, ...]:
        words = [*(pool.pop() for _ in range(num_shifted)), *invent(rng, taken, num_novel, (3, 4))]
        return tuple(rng.sample(words, len(words)))

    of_class = {label: mix(config.shifted, config.novel) for label in config.labels}
    neutral = mix(config.neutral // 2, config.neutral - config.neutral // 2)
    article = {term: rng.choice(ARTICLES) for term in (*(t for words in of_class.values() for t in words), *neutral)}
    return Terms(of_class, neutral, {**article, **{term: language.article[term] for term in shifted}}, shifted)


def task_examples(
    language: Language, terms: Terms, grammar: GrammarConfig, config: TaskConfig, *, split: str, seed: int
) -> list[Example]:
    """The labelled texts of one of SPLITS: two clauses each, about any topic, which says nothing about the label.

    A term is neutral, of the text's own class, or misleading; a share of the labels is noise. So even those who know
    all terms are not always right.
    """
    rng = random.Random(stream_seed(seed, "task", split))
    general = [
        topic._replace(nouns=tuple(n for n in topic.nouns if n not in terms.shifted)) for topic in language.topics
    ]
    examples = []
    for _ in range(getattr(config, split)):
        label = rng.choice(config.labels)
        guests: dict[str, str] = {}
        wanted = rng.randint(config.fewest, config.most)
        while len(guests) < wanted:
            term = draw(rng, _source(rng, terms, config, label), config.zipf)
            guests[term] = terms.article[term]  # a term that came before counts once
        text = compose(rng, language, grammar, rng.choice(general), num_clauses=2, guests=guests)
        examples.append(Example(text, rng.choice(config.labels) if rng.random() < config.label_noise else label))
    return examples


def _source(rng: random.Random, terms: Terms, config: TaskConfig, label: str) -> tuple[str, ...]:
    if terms.neutral and rng.random() < config.neutral_share:
        return terms.neutral
    if rng.random() < config.purity:
        return terms.of_class[label]
    return terms.of_class[rng.choice([other for other in config.labels if other != label])]
