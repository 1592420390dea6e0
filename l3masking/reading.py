"""How an exported classifier reads texts, as its config.json says. Loads no torch."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3masking.errors import InputError, check_choice
from l3masking.precision import Precision
from l3masking.scoring.settings import Whitespace

KEY_OF_READING = "l3masking"  # in config.json
FORMAT_OF_READING = 1  # version of what stands there
SEED_FOLDER = re.compile(r"seed-(\d{1,9})")  # of an export that holds one classifier per seed


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a text becomes before the model sees it, as in the training of the model."""

    max_length: int  # token ids of a text, special ones included; longer texts lose their end; 3 and up
    whitespace: Whitespace = "collapse"  # as scoring.whitespace
    pairs: bool = False  # whether a text is two texts
    padded: bool = False  # whether each text is padded to `max_length`, and the padding attended to
    precision: Precision = "float32"  # of the forward pass
    separator: int | None = None  # the id behind which token types are 1; None: the model has no token types

    def __post_init__(self) -> None:
        for name in ("max_length", "separator"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | None):
                raise InputError(f"{name} is {value!r}: a whole number")
        if self.max_length is None or self.max_length < 3:
            raise InputError(f"max_length is {self.max_length}: at least 3")
        check_choice("whitespace", self.whitespace, Whitespace)
        check_choice("precision", self.precision, Precision)

    def as_config(self) -> dict[str, Any]:
        """The value of KEY_OF_READING."""
        return {"format": FORMAT_OF_READING, **dataclasses.asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What config.json says of one classifier."""

    labels: tuple[str, ...]
    model_type: str
    reading: Reading


def member_folders(folder: Path) -> list[Path]:
    """The folders of the classifiers in an exported folder: itself, or one per seed, by seed.

    Raises InputError where there is none.
    """
    if (folder / "config.json").is_file():
        return [folder]
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    seeds = {int(match[1]): part for part in found if (match := SEED_FOLDER.fullmatch(part.name)) and part.is_dir()}
    if not seeds:
        what = "config.json is missing" if folder.is_dir() else "there is no such folder"
        raise InputError(f"{folder}: no exported model here ({what}): give a folder that an export wrote")
    return [seeds[seed] for seed in sorted(seeds)]


def described(folder: Path) -> Described:
    """What the config.json of one classifier says. Raises InputError for one that no export wrote."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unread(file, error.strerror or error) from error
    except (ValueError, RecursionError) as error:
        raise _unread(file, f"not JSON: {error}") from error
    value = config.get(KEY_OF_READING) if isinstance(config, dict) else None
    if not isinstance(value, dict):
        raise _unread(file, f"it has no `{KEY_OF_READING}`, so it belongs to another kind of model")
    if value.get("format") != FORMAT_OF_READING:
        raise _unread(file, f"`{KEY_OF_READING}` has format {value.get('format')!r}, this program reads 1")
    try:
        reading = Reading(**{name: inner for name, inner in value.items() if name != "format"})
    except (InputError, TypeError) as error:
        raise _unread(file, f"`{KEY_OF_READING}`: {error}") from error
    return Described(labels=_labels(config, file), model_type=str(config.get("model_type")), reading=reading)


def described_all(folders: Sequence[Path]) -> Described:
    """What several classifiers have in common. Raises InputError where they differ in classes or reading."""
    first, *others = (described(folder) for folder in folders)
    for folder, other in zip(folders[1:], others, strict=True):
        for name in ("labels", "reading"):
            if getattr(other, name) != getattr(first, name):
                raise InputError(f"{folder} and {folders[0]} have different {name}: export all seeds of one row again")
    return first


def _labels(config: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    by_number = config.get("id2label")
    numbers = [str(number) for number in range(len(by_number))] if isinstance(by_number, dict) else []
    if len(numbers) < 2 or not isinstance(by_number, dict) or by_number.keys() != set(numbers):
        raise _unread(file, "its id2label does not number two classes or more from 0 on")
    return tuple(str(by_number[number]) for number in numbers)


def _unread(file: Path, reason: object) -> InputError:
    return InputError(f"exported model: cannot use {file} ({' '.join(str(reason).split())}): export the model again")
