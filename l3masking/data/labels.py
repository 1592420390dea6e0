"""Labels that look alike: which are probably one class, what tells them apart, and how `label_strip` joins them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from l3masking.data.characters import without_invisible

WITHHELD = "-1"  # the label of rows whose true label is not published, as in the test splits of GLUE
MOST_NOTES = 5  # groups that are named one by one


def _nfc(label: str) -> str:
    return unicodedata.normalize("NFC", label)


def _whole_number(label: str) -> str:
    return label.split(".")[0] if re.fullmatch(r"-?[0-9]+\.0+", label) else label


STRIP_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (  # what `label_strip` does to a label, in this order
    ("invisible characters", without_invisible),
    ("white space around them", str.strip),
    ("Unicode normal form", _nfc),
)
STEPS = (  # what may be all that tells two labels apart
    *STRIP_STEPS,
    ("upper and lower case", str.casefold),
    ("white space inside", lambda label: re.sub(r"\s+", " ", label)),
    ("how a whole number is written", _whole_number),
)


def stripped(label: str) -> str:
    """A label as `label_strip` makes it: no invisible characters, no white space around it, Unicode form NFC."""
    return _after(STRIP_STEPS, label)


def look(label: str) -> str:
    """Two labels look alike where this is equal: `stripped`, case folded, one blank per white space, 1.0 as 1."""
    return _nfc(_after(STEPS, label))  # case folding may take a letter apart again


def withheld(place: str) -> str:
    """What to say of a split without a single published label."""
    return (
        f"{place}: every label is {WITHHELD}, so the labels of this split are withheld: name a split with labels "
        "instead, such as the published validation split as `test`; what is then not named is cut from train"
    )


def alike_notes(labels: Sequence[str], split: str) -> list[str]:
    """One note for each group of classes of a split that look alike, up to MOST_NOTES; then how many more there are."""
    counts = Counter(labels)
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        groups[look(label)].append(label)
    alike = [group for group in groups.values() if len(group) > 1]
    notes = [
        f"{split}: the labels {_counted(group, counts)} look alike and are {len(group)} classes; {_advice(group)}"
        for group in alike[:MOST_NOTES]
    ]
    more = len(alike) - MOST_NOTES
    return notes + ([f"{split}: {more} more groups of labels look alike"] if more > 0 else [])


def twin(label: str, known: Iterable[str]) -> str:
    """What to say of a label that is unknown and looks like a known one; "" where it looks like none."""
    for other in known:
        if other != label and look(other) == look(label):
            mine, theirs = _shown([label, other])
            return f"{mine} looks like {theirs} of train; {_advice([label, other])}"
    return ""


def _after(steps: Iterable[tuple[str, Callable[[str], str]]], label: str) -> str:
    for _, step in steps:
        label = step(label)
    return label


def _counted(group: Sequence[str], counts: Mapping[str, int]) -> str:
    shown = [
        f"{text} ({counts[label]} row{'s' * (counts[label] != 1)})"
        for text, label in zip(_shown(group), group, strict=True)
    ]
    return ", ".join(shown[:-1]) + f" and {shown[-1]}"


def _shown(group: Sequence[str]) -> list[str]:
    """Literals that differ for the eye: an é of one character and one of two have the same repr, and are escaped."""
    literals = [repr(label) for label in group]
    return literals if len(set(map(_nfc, literals))) == len(group) else [ascii(label) for label in group]


def _advice(group: Sequence[str]) -> str:
    """What tells the labels of a group apart, and what makes one class of them."""
    needed = [
        cause
        for index, (cause, _) in enumerate(STEPS)
        if len({_after(STEPS[:index] + STEPS[index + 1 :], label) for label in group}) > 1
    ]
    # none is needed where either of two steps is enough
    causes = needed or [cause for cause, step in STEPS if any(step(label) != label for label in group)]
    left = len(set(map(stripped, group)))
    said = f"they differ only in {' and '.join(causes)}"
    if left == 1:
        return f"{said}: `label_strip: true` makes them one class"
    rename = "where they mean one class, write them alike in the file"
    return f"{said}: {rename}" if left == len(group) else f"{said}: `label_strip: true` leaves {left} of them; {rename}"
