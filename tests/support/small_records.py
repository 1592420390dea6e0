"""A record, for tests of the store."""

from __future__ import annotations

from study.store.store import content_key

KEY = content_key("a trial")
OTHER = content_key("another trial")


def record(key: str = KEY, accuracy: float = 0.75, **more) -> dict:
    run = {"seconds": 1.5, "host": "here", "attempts": 1}
    who = {"schema": 1, "key": key, "encoder": "bert-base", "seed": 0, "labels": ["Uses", "Zukünftig"]}
    what = {"test": {"accuracy": accuracy, "macro_f1": 1e-05}, "curve": [{"update": 30, "epoch": 1.25}], "run": run}
    return who | what | more
