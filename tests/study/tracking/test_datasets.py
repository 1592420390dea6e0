"""Where MLflow says that data came from."""

from __future__ import annotations

import json

import pytest

from l3masking.data.spec import DataSpec
from study.space.spec import Generated
from study.tracking.datasets import UNKNOWN_SOURCE, source_of

PIN = "0" * 40
SITE = "https://example.org"


@pytest.mark.parametrize(
    ("spec", "kind", "place"),
    [
        (DataSpec(train="/d/a.csv"), "local", {"uri": "/d/a.csv"}),
        (DataSpec(train=("/d/a.csv", "/d/b*.csv")), "local", {"uri": "/d/a.csv, /d/b*.csv"}),
        (DataSpec(train=f"{SITE}/a.csv", blobs={"train": PIN}), "http", {"url": f"{SITE}/a.csv"}),
        (
            DataSpec(train=(f"{SITE}/a.csv", f"{SITE}/b.csv"), blobs={"train": (PIN, PIN)}),
            "http",
            {"url": f"{SITE}/a.csv, {SITE}/b.csv"},
        ),
        (
            DataSpec(train=(f"{SITE}/a.csv", "/d/b.csv"), blobs={"train": (PIN, PIN)}),
            "local",
            {"uri": f"{SITE}/a.csv, /d/b.csv"},
        ),
        (
            DataSpec(train="train", hub="o/n"),
            "hugging_face",
            {"path": "o/n", "config_name": None, "revision": None, "split": "train"},
        ),
    ],
)
def test_source(spec: DataSpec, kind: str, place: dict[str, str | None]) -> None:
    found = source_of(spec)
    assert (found.kind, json.loads(found.place)) == (kind, place)


def test_many_files_are_counted_and_generated_data_has_no_place() -> None:
    many = source_of(DataSpec(train=tuple(f"/d/{n}.csv" for n in range(2000))))
    assert json.loads(many.place)["uri"].endswith("/d/9.csv and 1990 more")
    assert source_of(Generated(generated="toyworld")) == UNKNOWN_SOURCE
