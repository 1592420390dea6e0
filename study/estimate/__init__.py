"""Sizes, times, disk and GPU shares: what a study will take, before a run and while it works."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.estimate.forecast import Forecast as Forecast
    from study.estimate.sizes import data_sizes as data_sizes
    from study.estimate.summary import Summary as Summary
    from study.estimate.summary import describe as describe
    from study.estimate.summary import summarize as summarize
    from study.estimate.times import duration as duration
    from study.estimate.times import local_slots as local_slots
    from study.estimate.timing import calibrate as calibrate

__getattr__, __all__ = public_names(
    __name__,
    {
        "Forecast": "forecast",
        "Summary": "summary",
        "calibrate": "timing",
        "data_sizes": "sizes",
        "describe": "summary",
        "duration": "times",
        "local_slots": "times",
        "summarize": "summary",
    },
)
