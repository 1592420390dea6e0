"""A text of a task: one string, or two that belong together, such as a premise and a hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from l3masking.data.characters import is_blank

Text = str | tuple[str, str]


def parts_of(text: Text) -> tuple[str, ...]:
    """The one string of a text, or both of a pair."""
    return (text,) if isinstance(text, str) else text


def each_part(change: Callable[[str], str], text: Text) -> Text:
    """A text with `change` applied to each of its strings."""
    return change(text) if isinstance(text, str) else (change(text[0]), change(text[1]))


def num_characters(text: Text) -> int:
    """Characters of all parts."""
    return sum(map(len, parts_of(text)))


def is_blank_text(text: Text) -> bool:
    """Whether nothing of it can be seen, in any part."""
    return all(map(is_blank, parts_of(text)))


def is_half_blank(text: Text) -> bool:
    """Whether one text of a pair is blank and the other is not."""
    return any(map(is_blank, parts_of(text))) and not is_blank_text(text)


def as_text(value: str | Sequence[str]) -> Text:
    """A text as a file has it that keeps pairs as lists."""
    return value if isinstance(value, str) else cast(Text, tuple(value))
