"""The general language of the embedded default world: a generator grammar, and the corpus that it speaks.

Nothing is quoted from anywhere: function words are plain English, all others are invented from syllables. The language
has topics and habits (a noun takes one article, calls for certain verbs, and so on), so that a masked language model
can learn to expect its words; and names, an open class of rare words, from which it learns the pieces of words.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from l3masking.errors import InputError
from l3masking.rng import stream_seed

ARTICLES = ("the", "a", "this", "every", "our")
PREPOSITIONS = ("with", "under", "for", "into", "from", "about")
JOINERS = ("and", "but", "because", "while", "so")
PHRASES = (
    "in this work we show that",
    "as a matter of fact",
    "on the other hand",
    "it is well known that",
    "at the same time",
    "there is no doubt that",
)
CONSONANTS = "bdfgklmnprstv"
VOWELS = "aeiou"


@dataclass(frozen=True, kw_only=True)
class GrammarConfig:
    """The general language and the size of its corpus."""

    topics: int = 8  # what a text can be about, >= 2
    nouns: int = 20  # of one topic, >= 4
    verbs: int = 8  # of one topic, >= 2
    adjectives: int = 6  # of one topic, >= 1
    names: int = 1200  # rare words without article or habit, >= 1
    zipf: float = 1.0  # the r-th word of a list has weight r ** -zipf; >= 0
    habit: float = 0.85  # share of the choices that follow the neighbouring word, in [0, 1]
    naming: float = 0.3  # share of the clauses whose subject is a name, in [0, 1]
    describing: float = 0.35  # share of the noun phrases with an adjective, in [0, 1]
    extending: float = 0.4  # share of the clauses with a second complement, in [0, 1]
    opening: float = 0.2  # share of the clauses that open with a set phrase, in [0, 1]
    joining: float = 0.5  # share of the clauses that are joined to the one before, not cut off by a full stop; [0, 1]
    texts: int = 16000  # of the corpus, >= 1

    def __post_init__(self) -> None:
        for name, least in (("topics", 2), ("nouns", 4), ("verbs", 2), ("adjectives", 1), ("names", 1), ("texts", 1)):
            if getattr(self, name) < least:
                raise InputError(f"toy grammar: {name} is {getattr(self, name)}: at least {least}")
        for name in ("habit", "naming", "describing", "extending", "opening", "joining"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"toy grammar: {name} is {getattr(self, name)}: a share lies in [0, 1]")
        if self.zipf < 0:
            raise InputError(f"toy grammar: zipf is {self.zipf}: it must not be negative")


class Topic(NamedTuple):
    """The words of one topic, the most frequent first."""

    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]


class Language(NamedTuple):
    """The words and their habits."""

    topics: tuple[Topic, ...]
    names: tuple[str, ...]
    article: Mapping[str, str]  # of a noun
    adjective: Mapping[str, str]  # of a noun
    habits: Mapping[str, tuple[str, ...]]  # noun -> the two verbs that it calls for
    objects: Mapping[str, tuple[str, ...]]  # verb -> the three nouns that it calls for
    preposition: Mapping[str, str]  # of a verb

    def words(self) -> set[str]:
        """Every word that a text of the corpus can hold."""
        function = {word for group in (ARTICLES, PREPOSITIONS, JOINERS, *map(str.split, PHRASES)) for word in group}
        return function.union(self.names, *(words for topic in self.topics for words in topic))


def make_language(config: GrammarConfig, *, seed: int) -> Language:
    """Invent the words of a language and their habits."""
    rng = random.Random(stream_seed(seed, "language"))
    taken = Language((), (), {}, {}, {}, {}, {}).words()
    counts = (config.nouns, config.verbs, config.adjectives)
    topics = tuple(Topic(*(invent(rng, taken, count, (2, 3)) for count in counts)) for _ in range(config.topics))
    names = invent(rng, taken, config.names, (2, 4))
    article, adjective, habits, objects, preposition = {}, {}, {}, {}, {}
    for topic in topics:
        for noun in topic.nouns:
            article[noun] = rng.choice(ARTICLES)
            adjective[noun] = rng.choice(topic.adjectives)
            habits[noun] = tuple(rng.sample(topic.verbs, 2))
        for verb in topic.verbs:
            objects[verb] = tuple(rng.sample(topic.nouns, 3))
            preposition[verb] = rng.choice(PREPOSITIONS)
    return Language(topics, names, article, adjective, habits, objects, preposition)


def general_corpus(language: Language, config: GrammarConfig, *, seed: int) -> list[str]:
    """Texts of one to three clauses about one topic each."""
    rng = random.Random(stream_seed(seed, "corpus"))
    return [
        compose(rng, language, config, rng.choice(language.topics), num_clauses=rng.randint(1, 3))
        for _ in range(config.texts)
    ]


def compose(
    rng: random.Random,
    language: Language,
    config: GrammarConfig,
    topic: Topic,
    *,
    num_clauses: int,
    guests: Mapping[str, str] | None = None,
) -> str:
    """One text about `topic`. `guests`, word -> article, take the place of nouns at random; too many are left out."""
    extended = [rng.random() < config.extending for _ in range(num_clauses)]
    places: list[str | None] = [None] * (2 * num_clauses + sum(extended))
    for place, guest in zip(rng.sample(range(len(places)), len(places)), guests or (), strict=False):
        places[place] = guest
    articles = {**language.article, **(guests or {})}
    words: list[str] = []
    for number in range(num_clauses):
        if number:
            words.append(rng.choice(JOINERS) if rng.random() < config.joining else ".")
        if rng.random() < config.opening:
            words += rng.choice(PHRASES).split()
        own, places = places[: 2 + extended[number]], places[2 + extended[number] :]
        words += _clause(rng, language._replace(article=articles), config, topic, own)
    return " ".join([*words, "."])


def _clause(
    rng: random.Random, language: Language, config: GrammarConfig, topic: Topic, places: Sequence[str | None]
) -> list[str]:
    """Subject, verb, object, and with a third place the verb's preposition and one more noun. None: a noun by habit."""

    def by_habit(known: Sequence[str], all_words: Sequence[str]) -> str:
        usual = [word for word in known if word in all_words]
        return rng.choice(usual) if usual and rng.random() < config.habit else draw(rng, all_words, config.zipf)

    def phrase(noun: str) -> list[str]:
        if rng.random() >= config.describing:
            return [language.article[noun], noun]
        adjective = language.adjective.get(noun, "")
        return [language.article[noun], by_habit([adjective], topic.adjectives), noun]

    named = places[0] is None and rng.random() < config.naming
    subject = rng.choice(language.names) if named else places[0] or draw(rng, topic.nouns, config.zipf)
    verb = by_habit(language.habits.get(subject, ()), topic.verbs)
    words = [*([subject] if named else phrase(subject)), verb]
    words += phrase(places[1] or by_habit(language.objects[verb], topic.nouns))
    for place in places[2:]:
        words += [language.preposition[verb], *phrase(place or draw(rng, topic.nouns, config.zipf))]
    return words


def draw(rng: random.Random, words: Sequence[str], zipf: float) -> str:
    """A word by its rank r = 1, 2, ...: weight r ** -zipf."""
    return rng.choices(words, weights=[rank**-zipf for rank in range(1, len(words) + 1)])[0]


def invent(rng: random.Random, taken: set[str], count: int, num_syllables: tuple[int, int]) -> tuple[str, ...]:
    """New words of `num_syllables` (fewest, most) syllables that are not in `taken`, which they join."""
    words: list[str] = []
    while len(words) < count:
        syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(*num_syllables)))
        word = "".join(syllables)
        if word not in taken:
            taken.add(word)
            words.append(word)
    return tuple(words)
