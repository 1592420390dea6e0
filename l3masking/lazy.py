"""Public names of a package that are imported when they are asked for, so that light modules stay light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def public_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], list[str]]:
    """`__getattr__` and `__all__` of a package. `homes`: public name -> module inside the package."""

    def find(name: str) -> object:
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, list(homes)
