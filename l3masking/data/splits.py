"""What happens between splits: cutting a missing one from train, and texts that occur in more than one."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from l3masking.data.pairs import Text, each_part
from l3masking.data.rows import Rows
from l3masking.errors import InputError

if TYPE_CHECKING:  # only a cut needs torch
    import torch

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


def count_overlap(parts: Parts) -> dict[str, int]:
    """Rows of each split, repeats within train, and evaluation rows whose text occurs in an earlier split."""
    train, validation, test = ([same_text(text) for text in rows.texts] for rows in parts)
    labels: dict[Text, set[str]] = defaultdict(set)
    for text, label in zip(train, parts.train.labels, strict=True):
        labels[text].add(label)
    validation_set = set(validation)
    return {
        "train_rows": len(train),
        "validation_rows": len(validation),
        "test_rows": len(test),
        "train_distinct": len(labels),
        "train_repeated": len(train) - len(labels),  # rows beyond the first of each text
        "train_conflicting": sum(len(found) > 1 for found in labels.values()),  # texts with two labels or more
        "validation_in_train": sum(text in labels for text in validation),
        "test_in_train": sum(text in labels for text in test),
        "test_in_validation": sum(text in validation_set for text in test),
    }


def drop_overlap(parts: Parts, rule: Overlap) -> Parts:
    """Without the rows that `rule` names: of train where the text is in an evaluation split, or the other way."""
    train, validation, test = ([same_text(text) for text in rows.texts] for rows in parts)
    if rule == "drop_from_train":
        return parts._replace(train=_without(parts.train, train, {*validation, *test}))
    if rule == "drop_from_eval":
        seen = set(train)
        return parts._replace(
            validation=_without(parts.validation, validation, seen), test=_without(parts.test, test, seen)
        )
    return parts


def _without(rows: Rows, keys: Sequence[Text], unwanted: set[Text]) -> Rows:
    return _select(rows, [index for index, key in enumerate(keys) if key not in unwanted])


def _select(rows: Rows, indices: Sequence[int]) -> Rows:
    return Rows([rows.texts[index] for index in indices], [rows.labels[index] for index in indices])
