"""data/<content hash>.json: what a study keeps of a dataset, so that its data need not be read again.

It holds the audit, the true labels of everything that models are judged on, and which of its texts train holds. It is
named by `data_hash` of the records that belong to it, and written whole.
"""
# No `from __future__ import annotations` here: a test reads the types of these fields, which would be texts then.

import json
import warnings
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from l3masking.data.audit import InTrain, SplitAudit, TokenLengths
from l3masking.errors import InputError
from study.store.newer import refuse_newer
from study.store.seal import CHECKSUM, verified, with_checksum
from study.store.store import QuarantineWarning
from study.store.whole_files import canonical, check_key, write_atomic

FACTS_SCHEMA = 1
DATA_FOLDER = "data"


class Tokenized(TypedDict):
    """How an encoder's tokenizer was asked for lengths."""

    revision: str  # of the encoder: commit on the Hub, or hash of a folder
    max_length: int  # ids that are kept of a text, special tokens included
    whitespace: str  # as the setting scoring.whitespace


class SplitFacts(TypedDict):
    """A split, or an evaluation set."""

    classes: list[str]  # names, sorted; labels are indices into them
    labels: list[int]  # class of each row, in order; empty for train
    in_train: InTrain  # its rows whose text train holds; empty for train
    audit: SplitAudit
    tokens: dict[str, TokenLengths]  # encoder -> lengths in ids


class DataFacts(TypedDict):
    """The whole file."""

    schema: int  # version of this layout, FACTS_SCHEMA
    data_hash: str  # name of the file
    pairs: bool  # whether a text is two that belong together
    overlap: dict[str, int]  # as in a record: counted before the rule for shared texts left anything out
    notes: list[str]  # what loading the data had to say
    encoders: dict[str, Tokenized]  # name in the space file -> how `tokens` were counted
    splits: dict[str, SplitFacts]  # train, validation, test
    evaluations: dict[str, SplitFacts]  # content hash of an evaluation set -> the set
    checksum: NotRequired[str]  # 32 hexadecimal digits over all other fields; added when the file is written


def write_facts(root: Path, facts: DataFacts) -> None:
    """Write the file of a dataset into a study's folder, unless it is there as it would be written."""
    path, content = _path(root, facts["data_hash"]), canonical(with_checksum(facts)) + b"\n"
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)


def read_facts(root: Path, data_hash: str | None) -> DataFacts | None:
    """The file of a dataset; None if there is none that can be read, or `data_hash` is None.

    A damaged one is named in a warning and left there: the next run writes it again. InputError for one of a newer
    schema.
    """
    if data_hash is None:
        return None
    try:
        path = _path(root, data_hash)
        value = json.loads(path.read_bytes())
    except (OSError, InputError):
        return None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        refuse_newer(path, value.get("schema"), FACTS_SCHEMA)
    if not verified(value) or value.get("data_hash") != data_hash:
        warnings.warn(f"{path}: damaged, not used; the next run writes it again", QuarantineWarning, stacklevel=2)
        return None
    value.pop(CHECKSUM, None)
    return cast(DataFacts, value) if value.get("schema") == FACTS_SCHEMA else None


def _path(root: Path, data_hash: str) -> Path:
    return root / DATA_FOLDER / f"{check_key(data_hash)}.json"
