"""What there is to know of a dataset before anything is trained on it: labels, lengths, repeats, shared texts.

Two texts count as one where `splits.same_text` makes them equal: Unicode form, case and white space folded. Beside each
such number stands the one of texts that are equal character for character. The results are plain values, as files keep
them.
"""
# No `from __future__ import annotations` here: a test reads the types of these fields, which would be texts then.

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from l3masking.data.labels import alike_notes
from l3masking.data.pairs import Text, is_blank_text, parts_of
from l3masking.data.splits import Held, held, same_text
from l3masking.data.textdata import SPLITS, TextData

MOST_TOKENIZED = 10_000  # texts of a split: their share of long ones is then known to half a percentage point


class Lengths(TypedDict):
    """How long the texts of a split are; quantiles between two texts are interpolated."""

    min: int  # 0 and up
    q25: float  # 0 and up
    median: float  # 0 and up
    q75: float  # 0 and up
    q95: float  # 0 and up
    max: int  # 0 and up
    mean: float  # 0 and up


class Shared(TypedDict):
    """Rows of a split whose text an earlier split holds."""

    rows: int  # rows, 0 and up
    exact: int  # those whose text is there character for character
    other_label: int  # of `rows`: those whose text never has this row's label there


class SplitAudit(TypedDict):
    """A split, or an evaluation set."""

    rows: int  # 1 and up
    labels: dict[str, int]  # class -> its rows, 0 and up
    blank: int  # rows of which nothing can be seen
    words: Lengths  # runs between white space; of a pair, those of both texts
    distinct: int  # texts that differ
    distinct_exact: int  # the same, character for character
    conflicting: int  # texts with two labels or more within the split
    conflicting_exact: int  # the same, character for character
    shared: dict[str, Shared]  # earlier split -> rows whose text it holds; an evaluation set comes after all splits


class InTrain(TypedDict):
    """The rows of a split or set whose text train holds, from 0, rising."""

    folded: list[int]  # where texts count as one
    exact: list[int]  # character for character


class TokenLengths(TypedDict):
    """How long the texts of a split are to an encoder, before anything is cut."""

    texts: int  # texts that were tokenized, at most MOST_TOKENIZED: evenly spaced rows of a larger split
    longer: int  # those with more ids than the maximum: their end is cut
    ids: Lengths  # special tokens included


class Looked(NamedTuple):
    """What an audit says of one split or evaluation set."""

    audit: SplitAudit
    in_train: InTrain  # empty for train itself


class Audit(NamedTuple):
    """What an audit says of a dataset as it was loaded, after its rule for shared texts."""

    pairs: bool  # whether a text is two that belong together
    splits: dict[str, Looked]  # train, validation, test
    evaluations: dict[str, Looked]  # by the name of the evaluation set
    alike: list[str]  # a note for each group of classes whose names look alike


class _Twice(NamedTuple):
    """A split's texts, character for character and folded."""

    exact: Held[int]
    folded: Held[int]


def audit(data: TextData) -> Audit:
    """Count what a dataset holds. Needs no torch; every text is folded once."""
    earlier: dict[str, _Twice] = {}
    splits, same = {}, range(len(data.labels))
    for part in SPLITS:
        split = getattr(data, part)
        splits[part], earlier[part] = _look(split.texts, split.labels, data.labels, same, earlier)
    sets = {
        name: _look(one.texts, one.labels, one.classes, one.of_class, earlier)[0]
        for name, one in data.evaluations.items()
    }
    names = [data.labels[label] for label in data.train.labels]
    return Audit(isinstance(data.train.texts[0], tuple), splits, sets, alike_notes(names, "train"))


def token_lengths(
    texts: Sequence[Text], count: Callable[[Sequence[Text]], Sequence[int]], max_length: int
) -> TokenLengths:
    """Lengths in ids. `count` gives the ids of each text, as scoring.text_lengths does; `max_length` are kept."""
    rows, most = len(texts), min(len(texts), MOST_TOKENIZED)
    lengths = count([texts[number * rows // most] for number in range(most)])
    longer = sum(length > max_length for length in lengths)
    return TokenLengths(texts=most, longer=longer, ids=_lengths(lengths))


def _look(
    texts: Sequence[Text],
    labels: Sequence[int],
    classes: Sequence[str],
    of_class: Sequence[int],
    earlier: Mapping[str, _Twice],
) -> tuple[Looked, _Twice]:
    """One split or set. `of_class`: the class here of each class of the dataset; `earlier`: what came before it."""
    keys = [same_text(text) for text in texts]
    own = _Twice(held(texts, labels), held(keys, labels))
    shared, in_train = {}, InTrain(folded=[], exact=[])
    for part, there in earlier.items():
        folded = [row for row, key in enumerate(keys) if key in there.folded.first]
        exact = [row for row, text in enumerate(texts) if text in there.exact.first]
        other = sum(labels[row] not in _classes_of(keys[row], there.folded, of_class) for row in folded)
        shared[part] = Shared(rows=len(folded), exact=len(exact), other_label=other)
        if part == "train":
            in_train = InTrain(folded=folded, exact=exact)
    counts = Counter(labels)
    looked = SplitAudit(
        rows=len(texts),
        labels={name: counts[number] for number, name in enumerate(classes)},
        blank=sum(map(is_blank_text, texts)),
        words=_lengths([sum(len(part.split()) for part in parts_of(text)) for text in texts]),
        distinct=len(own.folded.first),
        distinct_exact=len(own.exact.first),
        conflicting=len(own.folded.several),
        conflicting_exact=len(own.exact.several),
        shared=shared,
    )
    return Looked(looked, in_train), own


def _classes_of(text: Text, there: Held[int], of_class: Sequence[int]) -> set[int]:
    """The classes that a text of an earlier split would have in this set."""
    return {of_class[label] for label in there.labels(text)}


def _lengths(values: Sequence[int]) -> Lengths:
    numbers = np.asarray(values, dtype=np.int64)
    q25, median, q75, q95 = (float(value) for value in np.quantile(numbers, [0.25, 0.5, 0.75, 0.95]))
    return Lengths(
        min=int(numbers.min()),
        q25=q25,
        median=median,
        q75=q75,
        q95=q95,
        max=int(numbers.max()),
        mean=float(numbers.mean()),
    )
