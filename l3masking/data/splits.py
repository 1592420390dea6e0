"""What happens between splits: cutting a missing one from train, and texts that occur in more than one."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

from l3masking.data.pairs import Text, each_part
from l3masking.data.rows import Rows
from l3masking.errors import InputError

if TYPE_CHECKING:  # only a cut needs torch
    import torch

Label = TypeVar("Label", bound=Hashable)
Overlap = Literal["keep", "drop_from_train", "drop_from_eval"]


class Parts(NamedTuple):
    """The three splits, labels still as strings."""

    train: Rows
    validation: Rows
    test: Rows


def quotas(counts: Mapping[str, int], num_rows: int) -> dict[str, int]:
    """Rows to cut from each class: sum exactly `num_rows`, and every class keeps one row or more.

    Largest remainders: class c of n_c among n rows gets floor(num_rows * n_c / n), the rows still missing go to the
    largest fractional parts (then the larger class, then the label's order). scikit-learn's stratified split refuses
    classes of one row and can take a small class whole, so that train would lack it.
    """
    total = sum(counts.values())
    room = total - len(counts)
    if not 0 < num_rows <= room:
        raise InputError(
            f"{num_rows} rows cannot be cut from {total} in {len(counts)} classes, each of which must keep one: "
            f"{room} at most and 1 at least"
        )
    cut = {label: num_rows * count // total for label, count in counts.items()}
    order = sorted(counts, key=lambda label: (-(num_rows * counts[label] % total), -counts[label], label))
    missing = num_rows - sum(cut.values())
    while missing:
        for label in order:
            if missing and cut[label] < counts[label] - 1:
                cut[label] += 1
                missing -= 1
    return cut


def cut_rows(rows: Rows, num_rows: int, generator: torch.Generator) -> tuple[Rows, Rows]:
    """(the rest, the `num_rows` rows cut), stratified by label, both in the order of `rows`."""
    import torch

    wanted = quotas(Counter(rows.labels), num_rows)
    members: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(rows.labels):
        members[label].append(index)
    taken: set[int] = set()
    for label in sorted(members):
        drawn = torch.randperm(len(members[label]), generator=generator)[: wanted[label]]
        taken.update(members[label][int(index)] for index in drawn)
    rest = [index for index in range(len(rows.labels)) if index not in taken]
    return _select(rows, rest), _select(rows, sorted(taken))


def same_text(text: Text) -> Text:
    """Two texts count as one where this is equal: NFC, case folded, runs of white space as one blank."""
    return each_part(lambda part: " ".join(unicodedata.normalize("NFC", part).casefold().split()), text)


class Held(NamedTuple, Generic[Label]):
    """The texts of a split, each once, and the labels of their rows."""

    first: dict[Text, Label]  # text -> label of its first row
    several: dict[Text, set[Label]]  # texts with two labels or more -> all of them

    def labels(self, text: Text) -> Set[Label]:
        """The labels of a text that is there."""
        return self.several.get(text) or {self.first[text]}


def held(texts: Iterable[Text], labels: Iterable[Label]) -> Held[Label]:
    """What a split holds. A set for each text would take several times the memory: few texts have two labels."""
    first: dict[Text, Label] = {}
    several: dict[Text, set[Label]] = {}
    for text, label in zip(texts, labels, strict=True):
        if first.setdefault(text, label) != label:
            several.setdefault(text, {first[text]}).add(label)
    return Held(first, several)


def count_overlap(parts: Parts) -> dict[str, int]:
    """Rows of each split, repeats within train, and evaluation rows whose text occurs in an earlier split."""
    validation, test = ([same_text(text) for text in rows.texts] for rows in parts[1:])
    train = held(map(same_text, parts.train.texts), parts.train.labels)
    rows, validation_set = len(parts.train.texts), set(validation)
    return {
        "train_rows": rows,
        "validation_rows": len(validation),
        "test_rows": len(test),
        "train_distinct": len(train.first),
        "train_repeated": rows - len(train.first),  # rows beyond the first of each text
        "train_conflicting": len(train.several),  # texts with two labels or more
        "validation_in_train": sum(text in train.first for text in validation),
        "test_in_train": sum(text in train.first for text in test),
        "test_in_validation": sum(text in validation_set for text in test),
    }


def drop_overlap(parts: Parts, rule: Overlap) -> Parts:
    """Without the rows that `rule` names: of train where the text is in an evaluation split, or the other way."""
    if rule == "keep":
        return parts
    train, validation, test = ([same_text(text) for text in rows.texts] for rows in parts)
    if rule == "drop_from_train":
        return parts._replace(train=_without(parts.train, train, {*validation, *test}))
    seen = set(train)
    return parts._replace(
        validation=_without(parts.validation, validation, seen), test=_without(parts.test, test, seen)
    )


def _without(rows: Rows, keys: Sequence[Text], unwanted: set[Text]) -> Rows:
    return _select(rows, [index for index, key in enumerate(keys) if key not in unwanted])


def _select(rows: Rows, indices: Sequence[int]) -> Rows:
    return Rows([rows.texts[index] for index in indices], [rows.labels[index] for index in indices])
