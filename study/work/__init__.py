"""Trainings and shards at work in processes that hang, die or are told to end, and what watches over them."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.work.pulse import Pulse as Pulse
    from study.work.stopping import Stopped as Stopped
    from study.work.workers import execute_on_ray as execute_on_ray
    from study.work.workers import execute_serially as execute_serially
    from study.work.workers import worker_slots as worker_slots

__getattr__, __all__ = public_names(
    __name__,
    {
        "Pulse": "pulse",
        "Stopped": "stopping",
        "execute_on_ray": "workers",
        "execute_serially": "workers",
        "worker_slots": "workers",
    },
)
