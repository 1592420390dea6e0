"""YAML 1.2 values, every problem with its place, nothing dangerous, and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3masking.errors import InputError
from study.space.yaml import MAX_BYTES, dump_yaml, parse_yaml, read_yaml

VALUES = {
    "1e-5": 1e-5,
    "1E5": 1e5,
    "+.5e3": 500.0,
    "-3": -3,
    "3.": 3.0,
    "010": 10,
    "0x10": "0x10",
    "1_000": "1_000",
    "1:30": "1:30",
    "1.5.0": "1.5.0",
    "2020-01-01": "2020-01-01",
    "on": "on",
    "yes": "yes",
    "True": True,
    "false": False,
    "~": None,
    "": None,
    "null": None,
    "nan": "nan",
    "'1e-5'": "1e-5",
    "!!str 1": "1",
    "!!float 1": 1.0,
    "<<": "<<",
}


@pytest.mark.parametrize("text", VALUES)
def test_values(text):
    value, problems = parse_yaml(f"key: {text}", "f")
    assert problems == []
    assert value == {"key": VALUES[text]}
    assert type(value["key"]) is type(VALUES[text])


def test_problems_are_collected_with_their_places():
    text = "\n".join(
        [
            "a: {x: 1, x: 2}",
            "b: [1, {c: .nan}, -.inf, 1e999]",
            "a: 3",
            "1: x",
            "f: !!python/object/apply:os.system [ls]",
            "g: !!binary aGk=",
            "h: !!int x",
            "i: !!set {p, q}",
            'j: "\\ud800"',
            "k: fine",
        ]
    )
    value, problems = parse_yaml(text, "f")
    assert value["k"] == "fine"
    assert value["a"] == {"x": 1}, "the first of two equal keys is kept for the checks that follow"
    assert [(p.path, p.text.split(":")[0]) for p in problems] == [
        ("a.x", "line 1"),
        ("b[1].c", "line 2"),
        ("b[2]", "line 2"),
        ("b[3]", "line 2"),
        ("a", "line 3"),
        ("", "line 4"),
        ("f", "line 5"),
        ("g", "line 6"),
        ("h", "line 7"),
        ("i", "line 8"),
        ("j", "line 9"),
    ]
    assert "a second time (first on line 1)" in problems[0].text
    assert "python/object/apply:os.system is not allowed" in problems[6].text


LAUGHS = "a: &a [1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "line 1: not YAML"),
        ("a: b: c", "line 1: not YAML"),
        ("ok: 1\n\tb: 2", "line 2: not YAML"),
        ("a: *b", "undefined alias"),
        ("--- 1\n--- 2", "line 2: not YAML"),
        ("a: \x00", "not YAML"),
        ("[" * 20_000, "nested too deeply"),
        ("&a [*a]", "blow the file up"),
        (LAUGHS, "blow the file up"),
    ],
    ids=["list", "colons", "tab", "alias", "documents", "NUL", "deep", "endless", "laughs"],
)
def test_what_is_no_yaml_is_refused_in_one_line(text, words):
    with pytest.raises(InputError) as refusal:
        parse_yaml(text, "some.yaml")
    assert str(refusal.value).startswith("some.yaml")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_honest_alias_is_a_copy():
    value, problems = parse_yaml("a: &x {p: 1}\nb: *x", "f")
    assert (value, problems) == ({"a": {"p": 1}, "b": {"p": 1}}, [])
    assert value["a"] is not value["b"]


def test_files(tmp_path):
    path = tmp_path / "a.yaml"
    with pytest.raises(InputError, match=r"a\.yaml: cannot be read \(No such file"):
        read_yaml(path)
    path.write_bytes("\ufeffname: Zürich\n".encode())
    assert read_yaml(path) == ({"name": "Zürich"}, [])
    path.write_bytes(b"name: Z\xfcrich")
    with pytest.raises(InputError, match=r"byte 7 is not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger than"):
        read_yaml(path)
    path.write_bytes(b"")
    assert read_yaml(path) == (None, [])


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn")), max_size=12)
    | st.sampled_from(["1e-5", "on", "true", "010", "0x1", ".nan", "~", "", "- a", "a: b", "1.", "+1", ".5e3"])
)
keys = st.text("abcn1e-.", min_size=1, max_size=5)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


@given(trees)
def test_what_is_written_is_read_back_the_same(tree):
    assert parse_yaml(dump_yaml(tree), "f") == (tree, [])
