"""Settings of a dataset check themselves."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from l3masking.data.spec import DataSpec
from l3masking.errors import InputError

ROOT = Path(__file__).resolve().parents[3]

SPECS: list[tuple[dict[str, object], str]] = [
    (
        {"train": "a.txt"},
        r"train is 'a.txt': files end in \.jsonl, \.json, \.csv, \.tsv, \.parquet, with or without \.gz",
    ),
    ({"train": "a.gz"}, r"train is 'a.gz': files end in"),
    ({"train": "parts/*"}, r"train is 'parts/\*': files end in"),
    ({"train": ["a.csv", "b.txt"]}, r"train is 'b.txt': files end in"),
    ({"train": []}, r"train is \[\]: a list names one file or more, each as text"),
    ({"train": ["a.csv", 3]}, r"train is \['a.csv', 3\]: a list names one file or more"),
    ({"train": ["a", "b"], "hub": "o/n"}, r"train is \['a', 'b'\]: with `hub` it is the name of one split"),
    ({"train": "a.csv", "mlm": ["instance", "a.txt"]}, r"mlm is \['instance', 'a.txt'\]: `instance` stands alone"),
    (
        {"train": "a.csv", "mlm": "a.csv"},
        r"mlm is 'a.csv', a table by its name: .* into a \.txt file, or say mlm: instance",
    ),
    ({"train": "a.csv", "mlm": ["a.txt", "b.jsonl.gz"]}, r"mlm is 'b.jsonl.gz', a table by its name"),
    ({"train": ["a.csv", "https://example.org/a.csv"]}, r"git blob id under blobs\.train"),
    ({"train": ["a.csv", "b.csv"], "blobs": {"train": "0" * 40}}, "for a list a list as long as it"),
    ({"train": ["a.csv", "b.csv"], "blobs": {"train": ["0" * 40]}}, "for a list a list as long as it"),
    ({"train": "a.csv", "blobs": {"train": ["0" * 40]}}, "one id for a file"),
    ({"train": ["a.csv"], "blobs": {"train": ["12ab"]}}, "'12ab': a git blob id has 40 hex digits"),
    ({"train": "train"}, "a split name needs `hub`"),
    ({"train": "a.csv", "revision": "main"}, "go with `hub`"),
    ({"train": "train", "hub": "../etc/passwd"}, "owner/name"),
    ({"train": "http://example.org/a.csv"}, "only https"),
    ({"train": "https://example.org/a.csv"}, r"git blob id under blobs\.train"),
    ({"train": "a.csv", "blobs": {"train": "12ab"}}, "40 hex digits"),
    ({"train": "a.csv", "blobs": {"dev": "0" * 40}}, r"blobs\.dev is not known: train, validation, test, mlm"),
    ({"train": "a.csv", "blobs": {"mlm": "0" * 40}}, r"blobs\.mlm describes a file"),
    ({"train": "train", "hub": "a/b", "blobs": {"train": "0" * 40}}, "pin it with `revision`"),
    ({"train": "a.csv", "rows": {"test": 5}}, r"rows\.test describes a file"),
    ({"train": "a.csv", "rows": {"train": 0}}, r"rows\.train is 0"),
    ({"train": "a.csv", "expected": {"rows": 3}}, r"expected\.rows is not known"),
    ({"train": "a.csv", "text": "t", "label": "t"}, "both name the column 't'"),
    ({"train": "a.csv", "overlap": "drop"}, "keep, drop_from_train, drop_from_eval"),
    ({"train": "a.csv", "test": "b.csv", "test_share": 0.2}, "test_share would do nothing"),
    ({"train": "a.csv", "validation_rows": 3, "validation_share": 0.2}, "both give a size"),
    ({"train": "a.csv", "validation_share": 1.0}, "validation_share is 1.0"),
    ({"train": "a.csv", "test_share": float("nan")}, "test_share is nan"),
    ({"train": "a.csv", "test_rows": 0}, "test_rows is 0"),
    ({"train": "a.csv", "split_seed": -1}, "split_seed is -1"),
]


@pytest.mark.parametrize(("settings", "words"), SPECS)
def test_spec_checks_itself(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DataSpec(**settings)  # type: ignore[arg-type]


def test_spec_is_a_pydantic_model_that_knows_its_keys() -> None:
    adapter = TypeAdapter(DataSpec)
    assert adapter.validate_python({"train": "a.csv", "test_share": 0.2}) == DataSpec(train="a.csv", test_share=0.2)
    several = adapter.validate_python({"train": ["a.csv", "b*.tsv.gz"], "label_strip": True})
    assert several == DataSpec(train=("a.csv", "b*.tsv.gz"), label_strip=True)
    with pytest.raises(ValidationError, match="lable"):
        adapter.validate_python({"train": "a.csv", "lable": "y"})
    with pytest.raises(ValidationError, match="train"):
        adapter.validate_python({"test": "a.csv"})


def test_a_list_is_kept_as_a_tuple() -> None:
    given: list[str] = ["a.csv", "b.csv"]
    spec = DataSpec(train=given, validation="c.csv", blobs={"train": ["0" * 40, "1" * 40]})  # type: ignore[arg-type, dict-item]
    given.append("c.csv")
    assert spec.train == spec.sources("train") == ("a.csv", "b.csv")
    assert spec.pins("train") == ("0" * 40, "1" * 40)
    assert (spec.sources("validation"), spec.pins("validation")) == (("c.csv",), (None,))
    assert (spec.sources("test"), spec.pins("test")) == ((), ())


def test_every_field_says_what_it_is() -> None:
    lines = (ROOT / "l3masking" / "data" / "spec.py").read_text(encoding="utf-8").splitlines()
    undocumented = [
        field.name
        for field in fields(DataSpec)
        if not any(line.startswith(f"    {field.name}: ") and "  # " in line for line in lines)
    ]
    assert undocumented == []
