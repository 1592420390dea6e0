"""The taggers known by name: words found again in the text, and what is said where a package or data are missing."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from l3masking.analysis import taggers
from l3masking.analysis.taggers import WordTagger, fetch_nltk_data, find_tagger, words_in
from l3masking.errors import InputError, Unavailable

TEXT = "We don't follow \"Och's words\" (Och, 2003). Low-frequency words, e.g. these, end."


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("a bc  d", ["a", "bc", "d"], ["a", "bc", "d"]),
        ('say "so" now', ["say", "``", "so", "''", "now"], ["say", '"', "so", '"', "now"]),
        ("say ``so'' now", ["say", "``", "so", "''", "now"], ["say", "``", "so", "''", "now"]),
        ("well : ) yes", ["well", ":)", "yes"], ["well", ": )", "yes"]),
        ("don't", ["do", "n't"], ["do", "n't"]),
        ("a DROPPED b", ["a", "b"], ["a", "b"]),
        ("a b", ["a", "rewritten", "", "b"], ["a", None, None, "b"]),
        ("", [], []),
    ],
)
def test_words_are_found_again(text: str, words: list[str], found: list[str | None]) -> None:
    spans = list(words_in(text, words))
    assert [None if span is None else text[slice(*span)] for span in spans] == found


def test_a_tagger_of_words_gives_spans() -> None:
    made = WordTagger(
        name="made 1",
        sentences=lambda text: [part.split() for part in text.split("|")],
        tag_words=lambda words: [f"{number}" for number, _ in enumerate(words)],
    )
    assert made.tag("a bb|c") == [(0, 1, "0"), (2, 4, "1"), (5, 6, "0")]


def test_an_unknown_name_is_one_line() -> None:
    with pytest.raises(InputError, match="tagger is 'ntlk': not a known value; nearest: nltk"):
        find_tagger("ntlk")


@pytest.mark.parametrize(("name", "package"), [("nltk", "nltk"), ("textblob", "textblob")])
def test_a_missing_package_names_the_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr(taggers, "import_module", missing)
    with pytest.raises(Unavailable) as refused:
        find_tagger(name)
    assert str(refused.value) == (
        f"tagger {name}: the package {package} is not installed: pip install 'l3masking-study[pos]'"
    )
    if name == "nltk":
        with pytest.raises(Unavailable, match="package nltk is not installed"):
            fetch_nltk_data()


def tagged(tagger: Any, text: str) -> list[tuple[str, str]]:
    spans = tagger.tag(text)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    return [(text[start:end], tag) for start, end, tag in spans]


def test_textblob_tags_offline_with_penn_tags() -> None:
    pytest.importorskip("textblob")
    wanted = {
        "We": "PRP",
        "n't": "RB",
        "'s": "POS",
        "(": "(",
        "2003": "CD",
        ")": ")",
        ".": ".",
        ",": ",",
        "words": "NNS",
    }
    tagger = find_tagger("textblob")
    assert tagger.name.startswith("textblob ")
    found = tagged(tagger, TEXT)
    assert "".join(word for word, _ in found) == TEXT.replace(" ", "")
    assert [word for word, _ in found[:6]] == ["We", "do", "n't", "follow", '"', "Och"]
    tags = {word: tag for word, tag in found if word in wanted}
    assert tags == wanted
    assert tagger.tag("") == tagger.tag("  ") == []


def test_textblob_takes_words_between_blanks() -> None:
    pytest.importorskip("textblob")
    assert [word for word, _ in tagged(find_tagger("textblob", "whitespace"), TEXT)] == TEXT.split()


@pytest.fixture
def nltk_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of NLTK's data in which nothing lies, the only one that NLTK looks at."""
    pytest.importorskip("nltk")
    data = importlib.import_module("nltk.data")
    monkeypatch.setattr(data, "path", [str(tmp_path)])
    return tmp_path


def test_missing_data_are_one_line(nltk_data: Path) -> None:
    with pytest.raises(Unavailable, match=r"tagger nltk: its data .* are not on this machine$"):
        find_tagger("nltk")


def test_data_that_cannot_be_fetched_are_one_line(nltk_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloader = importlib.import_module("nltk.downloader").Downloader

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("<urlopen error no route>")

    monkeypatch.setattr(downloader, "download", refuse)
    with pytest.raises(
        Unavailable, match=r"averaged_perceptron_tagger_eng cannot be fetched \(<urlopen error no route>"
    ):
        fetch_nltk_data()


def test_nltk_tags_with_its_data(nltk_data: Path) -> None:
    """Small models trained here in the place of the fetched ones."""
    perceptron = importlib.import_module("nltk.tag.perceptron").PerceptronTagger(load=False)
    words = ["We", "do", "n't", "follow", "``", "words", "''", "."]
    sentence = list(zip(words, ["PRP", "VBP", "RB", "VB", "``", "NNS", "''", "."], strict=True))
    perceptron.train([sentence] * 5)
    perceptron.save_to_json("eng", str(nltk_data / "taggers" / "averaged_perceptron_tagger_eng"))
    punkt = importlib.import_module("nltk.tokenize.punkt")
    params = punkt.PunktParameters()
    (nltk_data / "tokenizers" / "punkt_tab").mkdir(parents=True, mode=0o700)
    punkt.save_punkt_params(params, str(nltk_data / "tokenizers" / "punkt_tab" / "english"))
    tagger = find_tagger("nltk")
    assert tagger.name.startswith("NLTK ")
    text = 'We don\'t follow "words". We do.'
    found = tagged(tagger, text)
    assert [word for word, _ in found] == ["We", "do", "n't", "follow", '"', "words", '"', ".", "We", "do", "."]
    assert [tag for _, tag in found[:7]] == ["PRP", "VBP", "RB", "VB", "``", "NNS", "''"]
    assert [word for word, _ in tagged(find_tagger("nltk", "whitespace"), text)] == text.split()
    assert all(line.endswith("there already") for line in fetch_nltk_data())
