"""What a search looks for: the parameters with their distributions, and how many settings it may try.

Everything here is plain and small; Optuna comes in only where a search runs (`study.search.stage`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from l3masking.errors import InputError

SEARCH_FOLDER = "search"  # of a study: the journal, records and failures of its searches
BEST = "best"  # the variant under which a found setting joins the grid
FIRST_SEED = 1_000_000  # of a search; the seeds of the grid lie below
GRID_LIMIT = 10_000  # settings


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Where the values of one parameter come from. Exactly one of the four kinds is given."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    uniform: tuple[float, float] | None = None  # from, to (both included)
    loguniform: tuple[float, float] | None = None  # the same, uniform in the logarithm; above 0
    integer: tuple[int, int] | None = None  # whole numbers from, to (both included)
    choice: tuple[Any, ...] | None = None  # at least two values, none twice
    step: float | None = None  # of uniform and integer: only from, from + step, ...; above 0

    def __post_init__(self) -> None:
        kinds = [name for name in ("uniform", "loguniform", "integer", "choice") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise InputError(f"{' and '.join(kinds) or 'nothing'} given: one of uniform, loguniform, integer or choice")
        if self.choice is not None:
            if len(self.choice) < 2 or any(value in self.choice[:index] for index, value in enumerate(self.choice)):
                raise InputError(f"choice is {list(self.choice)}: at least two values, none of them twice")
        else:
            low, high = self.bounds
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InputError(f"{kinds[0]} is [{low}, {high}]: two numbers, the smaller one first")
            if self.loguniform is not None and low <= 0:
                raise InputError(f"loguniform is [{low}, {high}]: both above 0")
        self._check_step(kinds[0])

    def _check_step(self, kind: str) -> None:
        if self.step is None:
            return
        if kind in ("choice", "loguniform"):
            raise InputError(f"step is {self.step}: {kind} takes none")
        if not (math.isfinite(self.step) and self.step > 0) or (kind == "integer" and self.step != int(self.step)):
            raise InputError(f"step is {self.step}: above 0, and whole for `integer`")
        low, high = self.bounds
        if low + self.step > high * (1 + 1e-9):
            raise InputError(f"step is {self.step}: larger than the range from {low} to {high}")

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value of a distribution over numbers."""
        bounds = self.uniform or self.loguniform or self.integer
        assert bounds is not None
        return bounds

    def ends(self) -> list[Any]:
        """Values to check the component's own ranges with: both ends, or every choice."""
        return list(self.choice if self.choice is not None else self.bounds)

    def values(self) -> list[Any] | None:
        """Every value, where they can be counted; None for a continuous distribution."""
        if self.choice is not None:
            return list(self.choice)
        if self.integer is not None:
            return list(range(self.integer[0], self.integer[1] + 1, int(self.step or 1)))
        if self.uniform is None or self.step is None:
            return None
        low, high = self.uniform
        steps = math.floor((high - low) / self.step * (1 + 1e-12) + 1e-9)
        # a step of 0.01 from 0.05 means 0.06, not 0.060000000000000005
        return [round(low + index * self.step, 12) for index in range(steps + 1)]

    def distance(self, one: Any, other: Any) -> float:
        """Between two values: a share of the range for numbers, 0 or 1 for choices."""
        if self.choice is not None:
            return float(one != other)
        low, high = self.bounds
        return abs(one - other) / (high - low)

    def clean(self, value: Any) -> Any:
        """The value that is meant, without the digits that adding up steps leaves."""
        values = self.values() if self.uniform is not None else None
        return value if values is None else min(values, key=lambda known: abs(known - value))


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """A stage before the grid: the best setting of each method, encoder and dataset, by validation data alone."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    parameters: Mapping[str, Distribution]  # dotted key of a section -> its values
    objective: str | None = None  # of the study's objectives; none: the first of them
    methods: tuple[str, ...] | None = None  # of the study's methods; none: those that mask
    sampler: Literal["tpe", "gp", "random", "grid"] = "tpe"  # Optuna's; grid: every combination, once
    sampler_seed: int = 0  # 0 or more
    trials: int = 20  # settings to try for each encoder, dataset and method; with `grid`: at most, 1 or more
    seeds: int = 3  # trainings of each setting, 1 to 1000; never seeds of the grid
    screen: int | None = 1  # trainings after which a weak setting is given up, 1 or more; none: never
    screen_after: int = 5  # settings that must have got so far before one is called weak, 2 or more

    def __post_init__(self) -> None:
        if not self.parameters:
            raise InputError("parameters is empty: name at least one, such as masking.mean: {uniform: [0.05, 0.6]}")
        for name, least in (("trials", 1), ("sampler_seed", 0), ("screen_after", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}: at least {least}")
        if not 1 <= self.seeds <= 1000:
            raise InputError(f"seeds is {self.seeds}: how many, from 1 to 1000")
        if self.screen is not None and self.screen < 1:
            raise InputError(f"screen is {self.screen}: at least 1, or null")
        if self.sampler == "grid":
            endless = [name for name, values in self._values().items() if values is None]
            if endless:
                raise InputError(f"sampler grid needs values to count: give {endless[0]} a `step` or a `choice`")
            if (self.combinations or 0) > GRID_LIMIT:
                raise InputError(f"sampler grid: more than {GRID_LIMIT} combinations; take larger steps")

    def _values(self) -> dict[str, list[Any] | None]:
        return {name: distribution.values() for name, distribution in self.parameters.items()}

    @property
    def combinations(self) -> int | None:
        """How many settings there are, where they can be counted."""
        counts = [None if values is None else len(values) for values in self._values().values()]
        return None if None in counts else math.prod(count or 0 for count in counts)

    def points(self) -> list[dict[str, Any]]:
        """Every combination, the last parameter changing fastest; none if they cannot be counted."""
        values = {name: list(each or ()) for name, each in self._values().items()}
        return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]

    @property
    def settings(self) -> int:
        """How many settings are tried for each encoder, dataset and method; none is tried twice."""
        return min(self.trials, self.combinations or self.trials)

    def clean(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Suggested values as they are meant, sorted by name; of no values none."""
        return {name: self.parameters[name].clean(values[name]) for name in sorted(values)}

    @property
    def seed_list(self) -> range:
        """Seeds of the trainings of each setting."""
        return range(FIRST_SEED, FIRST_SEED + self.seeds)
