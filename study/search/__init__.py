"""Optuna searches on validation data, which end before the grid begins."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.search.stage import Attempt as Attempt
    from study.search.stage import SearchStage as SearchStage
    from study.search.tune import tune_searches as tune_searches

__getattr__, __all__ = public_names(
    __name__,
    {
        "Attempt": "stage",
        "SearchStage": "stage",
        "tune_searches": "tune",
    },
)
