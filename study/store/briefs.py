"""Records as far as a plan looks at them: thousands of them fit into memory, which whole ones with curves do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from study.store.record import Record
from study.store.store import Store, content_key
from study.store.whole_files import KEY


class Brief(NamedTuple):
    """What one finished record says of time and room."""

    key: str
    trajectory: str
    encoder: str
    dataset: str
    method: str
    settings: str  # a hash of them
    max_epochs: int  # of them
    seconds: float | None  # of the training, which serves all objectives
    points: int  # evaluations in its curve
    test: float | None = None  # value of the record's objective on the test split, fraction; None for a search


def brief(record: Record | Brief) -> Brief:
    """The brief of a record; one that is brief already stays."""
    if isinstance(record, Brief):
        return record
    seconds, settings = record.get("run", {}).get("seconds"), record.get("settings", {})
    return Brief(
        key=record["key"],
        trajectory=record["trajectory"],
        encoder=record["encoder"],
        dataset=record["dataset"],
        method=record["method"],
        settings=content_key(settings),
        max_epochs=settings.get("train", {}).get("max_epochs", 1),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        points=len(record.get("curve", ())),
        test=record.get("test", {}).get(record.get("objective", "")),
    )


def briefs(store: Store) -> list[Brief]:
    """Of all records of a store that verify, those of earlier settings included; one at a time is in memory."""
    keys = sorted(path.stem for path in (store.root / "records").glob("*.json") if KEY.fullmatch(path.stem))
    return [brief(record) for key in keys if (record := store.read(key)) is not None]


def all_brief(records: Iterable[Record | Brief]) -> list[Brief]:
    """The briefs of any records."""
    return [brief(record) for record in records]
