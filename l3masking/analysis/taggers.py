"""The taggers that are known by name: NLTK's, which the paper uses, and that of textblob, which needs no download.

Both packages are optional. Their words are found again in the text, so that a tag belongs to characters.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal

from l3masking.analysis.tagging import TaggedSpan, Tagger
from l3masking.errors import Unavailable, check_choice

WordRule = Literal["tagger", "whitespace"]  # a word is what the tagger's own splitter says, or a run between blanks
EXTRA = "pip install 'l3masking-study[pos]'"
NLTK_DATA = {  # package of NLTK's data -> where NLTK finds it
    "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng/",
    "punkt_tab": "tokenizers/punkt_tab/english/",
}
QUOTES = ("``", "''")  # what NLTK writes in place of a double quote
Sentences = Callable[[str], Sequence[Sequence[str]]]  # a text into sentences of words
SPLIT_CLITIC = re.compile(r"(?<= )(?:n ' t|' (?:s|d|m|ll|re|ve))(?= |$)", re.IGNORECASE)


@dataclass(frozen=True, eq=False, kw_only=True)
class WordTagger:
    """A library's tagger of lists of words, as a tagger of text."""

    name: str
    sentences: Sentences
    tag_words: Callable[[Sequence[str]], Sequence[str]]  # a sentence into one tag per word

    def tag(self, text: str) -> list[TaggedSpan]:
        """The words of a text with their tags, without those that cannot be found again in it."""
        words: list[str] = []
        tags: list[str] = []
        for sentence in self.sentences(text):
            words += sentence
            tags += self.tag_words(sentence)
        spans = zip(words_in(text, words), tags, strict=True)
        return [(*span, tag) for span, tag in spans if span is not None]


def find_tagger(name: str, words: WordRule = "tagger") -> Tagger:
    """The tagger of this name, loaded. Unavailable, with the fix, if its package or data are not here."""
    check_choice("tagger", name, TAGGERS)
    check_choice("words", words, WordRule)
    return TAGGERS[name](words)


def words_in(text: str, words: Sequence[str]) -> Iterator[tuple[int, int] | None]:
    """The span of each word, in order; None for a word that the library has rewritten beyond recognition.

    Libraries drop blanks inside a word (": )" becomes ":)") and write `` or '' for a double quote.
    """
    at = 0
    for word in words:
        span = _word_at(text, word, at)
        if span is None and word:
            found = text.find(word, at)
            span = None if found < 0 else (found, found + len(word))
        if span is not None:
            at = span[1]
        yield span


def _word_at(text: str, word: str, at: int) -> tuple[int, int] | None:
    """The span of a word that comes next, behind blanks; None if another one does."""
    while at < len(text) and text[at].isspace():
        at += 1
    start = at
    if word in QUOTES and text[at : at + 1] == '"':
        return start, start + 1
    for character in word:
        while at > start and at < len(text) and text[at].isspace():
            at += 1
        if text[at : at + 1] != character:
            return None
        at += 1
    return (start, at) if word else None


def nltk_tagger(words: WordRule) -> Tagger:
    """NLTK's averaged perceptron, with the words of its `word_tokenize`: sentences by Punkt, treebank words."""
    _package("nltk")
    tag = _loaded(lambda: import_module("nltk.tag.perceptron").PerceptronTagger()).tag
    return WordTagger(
        name=f"NLTK {version('nltk')} (averaged_perceptron_tagger_eng)",
        sentences=_between_blanks if words == "whitespace" else _treebank_words(),
        tag_words=lambda sentence: [found for _, found in tag(list(sentence))],
    )


def _treebank_words() -> Sentences:
    punkt = _loaded(lambda: import_module("nltk.tokenize.punkt").PunktTokenizer("english"))
    words = import_module("nltk.tokenize.destructive").NLTKWordTokenizer()
    return lambda text: [words.tokenize(text[start:end]) for start, end in punkt.span_tokenize(text)]


def textblob_tagger(words: WordRule) -> Tagger:
    """The tagger of the library Pattern, in textblob: a Penn lexicon and Brill's rules, all in the package.

    Its splitter takes n't and 's apart into three and two words; they are put together again, as Penn tags them.
    """
    tagger = _package("textblob.en.taggers", "textblob").PatternTagger()
    tokenize = import_module("textblob.en").tokenize
    with warnings.catch_warnings():  # it reads its lexicon at the first word, and leaves the file for Python to close
        warnings.simplefilter("ignore", ResourceWarning)
        tagger.tag("word", tokenize=False)

    def own_words(text: str) -> list[list[str]]:
        found = (SPLIT_CLITIC.sub(lambda clitic: clitic[0].replace(" ", ""), one) for one in tokenize(text))
        return [sentence.split(" ") for sentence in found if sentence]

    return WordTagger(
        name=f"textblob {version('textblob')} (PatternTagger)",
        sentences=_between_blanks if words == "whitespace" else own_words,
        tag_words=lambda sentence: [found for _, found in tagger.tag(" ".join(sentence), tokenize=False)],
    )


TAGGERS: dict[str, Callable[[WordRule], Tagger]] = {"nltk": nltk_tagger, "textblob": textblob_tagger}


def fetch_nltk_data() -> list[str]:
    """Fetch what NLTK's tagger reads into the folder that NLTK chooses; one line for each part.

    Raises Unavailable if NLTK is not installed, or a part cannot be fetched.
    """
    _package("nltk")
    find, downloader = import_module("nltk.data").find, import_module("nltk.downloader").Downloader()
    lines = []
    for name, place in NLTK_DATA.items():
        try:
            find(place)
            lines.append(f"NLTK data {name}: there already")
            continue
        except LookupError:
            pass
        try:
            downloader.download(name, quiet=True, raise_on_error=True)
            find(place)
        except (ValueError, OSError, LookupError) as error:
            raise Unavailable(
                f"NLTK data {name} cannot be fetched ({_first_line(error)}): check the network, or copy the folder "
                f"nltk_data from another machine to {downloader.default_download_dir()}"
            ) from error
        lines.append(f"NLTK data {name}: fetched")
    return lines


def _between_blanks(text: str) -> list[list[str]]:
    words = text.split()
    return [words] if words else []


def _package(module: str, package: str = "") -> Any:
    """A module of an optional package."""
    package = package or module
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise Unavailable(f"tagger {package}: the package {package} is not installed: {EXTRA}") from error


def _loaded(load: Callable[[], Any]) -> Any:
    """A part of NLTK that reads its data."""
    try:
        return load()
    except LookupError as error:
        missing = " and ".join(NLTK_DATA)
        raise Unavailable(f"tagger nltk: its data ({missing}) are not on this machine") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
