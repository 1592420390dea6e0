"""Values from a fixed list: refused by every configuration, as a space file refuses them."""

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import l3masking
from l3masking.errors import InputError, check_choice, nearest


def configurations() -> dict[str, type]:
    """Every dataclass of the package whose name ends in Config or Spec; one that transformers defines checks itself."""
    root = Path(l3masking.__file__).parent
    found = {}
    for file in sorted(root.rglob("*.py")):
        module = import_module(".".join(["l3masking", *file.relative_to(root).with_suffix("").parts]))
        for name, value in vars(module).items():
            if not (isinstance(value, type) and dataclasses.is_dataclass(value) and name.endswith(("Config", "Spec"))):
                continue
            if not any(base.__module__.startswith("transformers.") for base in value.__mro__):
                found[name] = value
    return found


CHOICES = [
    (config, name, get_args(hint))
    for config in configurations().values()
    for name, hint in get_type_hints(config).items()
    if get_origin(hint) is Literal
]


def test_the_walk_finds_the_choices() -> None:
    names = {name for _, name, _ in CHOICES}
    assert {"metric", "word_source", "whitespace", "weighting", "redistribute", "selection", "unit"} <= names
    assert {"cos_scope", "dev_mode", "precision", "overlap"} <= names


def make(config: type, **values: Any) -> object:
    required = {"DataSpec": {"train": "a.jsonl"}}
    return config(**required.get(config.__name__, {}), **values)


@pytest.mark.parametrize(("config", "name", "known"), CHOICES, ids=[f"{c.__name__}.{n}" for c, n, _ in CHOICES])
def test_a_value_that_is_not_known_is_refused_with_those_that_are(config: type, name: str, known: tuple) -> None:
    for value in known:
        assert getattr(make(config, **{name: value}), name) == value
    for wrong in (known[0].upper(), f"{known[0]} ", "", None, 3, [known[0]]):
        with pytest.raises(InputError, match=name) as caught:
            make(config, **{name: wrong})
        assert repr(wrong) in str(caught.value)
        assert all(value in str(caught.value) for value in known)


def test_a_table_has_its_names() -> None:
    check_choice("arm", "a", {"a": 1, "b": 2})
    with pytest.raises(InputError, match=r"^arm is 'bb': not a known value; nearest: b; known: a, b$"):
        check_choice("arm", "bb", {"a": 1, "b": 2})


def test_of_a_long_list_only_what_is_near_is_named() -> None:
    names = [f"name{number}" for number in range(40)]
    assert nearest("name7x", names).startswith("nearest: name7")
    assert "known" not in nearest("name7x", names)
    assert nearest("zzz", names).startswith("known: name0")
