"""How MLflow lists the data of a run: name, our own digest and where it came from. Nothing here imports mlflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from l3masking.data.table import DataSpec
    from study.space.spec import Generated

DIGEST = 12
"""Characters of our content hash that are a dataset's digest; MLflow takes 36 at most, and shows them all."""
DATA_SCHEMA = json.dumps({"mlflow_colspec": [{"name": name, "type": "string"} for name in ("text", "label")]})
"""Of every dataset, as MLflow writes it: texts and labels."""
DATA_CONTEXT = ("mlflow.data.context", "training")
"""Tag of the link between a dataset and a run."""

MOST_FILES = 10
"""Files of a training part that are named; MLflow takes 65,535 characters at most."""


class DatasetView(NamedTuple):
    """A dataset by what makes it this one."""

    name: str
    digest: str  # the start of our content hash, so that MLflow need not hash anything


class Source(NamedTuple):
    """Where a dataset came from, in MLflow's words."""

    kind: str  # hugging_face | http | local | code
    place: str  # JSON


UNKNOWN_SOURCE = Source("code", json.dumps({"tags": {"mlflow.source.name": "l3study"}}))
"""Made by the project, or nobody said where from."""


def source_of(spec: DataSpec | Generated) -> Source:
    """The source of a dataset of a space file: a Hub dataset, addresses, or files, by its training part."""
    train, hub = getattr(spec, "train", None), getattr(spec, "hub", None)
    if hub is not None:
        place = {"path": hub, "config_name": getattr(spec, "subset", None), "revision": getattr(spec, "revision", None)}
        return Source("hugging_face", json.dumps(place | {"split": train}))
    if train is None:
        return UNKNOWN_SOURCE
    files = [train] if isinstance(train, str) else list(train)
    kind, key = ("http", "url") if all("://" in file for file in files) else ("local", "uri")
    named = ", ".join(files[:MOST_FILES]) + (f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else "")
    return Source(kind, json.dumps({key: named}))
