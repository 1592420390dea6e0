"""The embedded default: a generated language, a tiny encoder and a task whose true answer is known."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.toyworld.world import ToyWorld as ToyWorld
    from study.toyworld.world import WorldConfig as WorldConfig
    from study.toyworld.world import build_world as build_world
    from study.toyworld.world import find_world as find_world

__getattr__, __all__ = public_names(
    __name__,
    {
        "ToyWorld": "world",
        "WorldConfig": "world",
        "build_world": "world",
        "find_world": "world",
    },
)
