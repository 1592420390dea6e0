"""Measurements on a GPU of the Ray cluster, on which nothing else runs meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from l3masking.errors import EnvironmentFault
from study.estimate.share import share_of
from study.gpu import Cuda, Device, Gpu

if TYPE_CHECKING:
    from study.assignment import Assignment

RATED = 8  # updates of a training that are timed, after as many for warm-up


class Probe:
    """Measures in its process. A plain class, of which a driver makes actors of Ray."""

    def __init__(self, gpu: Gpu | None = None) -> None:
        self._gpu = gpu or Cuda()

    def describe(self) -> Device:
        """The GPU of this process."""
        return self._gpu.describe()

    def peak(self, assignment: Assignment) -> int:
        """As `measure_peak`. No encoder of an earlier measurement is held then."""
        from study.estimate.peak import measure_peak
        from study.plan.inputs import held_encoder

        held_encoder.cache_clear()
        gc.collect()
        return measure_peak(assignment, self._gpu)

    def load(self, assignment: Assignment) -> None:
        """Read what `rate` needs: measurements side by side then begin together."""
        from study.plan.inputs import held_data, held_encoder

        held_encoder(assignment.encoder, self._gpu.place)
        held_data(assignment.data)

    def rate(self, assignment: Assignment) -> float:
        """Updates per second of this training."""
        import torch

        from study.estimate.timing import sample, time_updates
        from study.plan.inputs import held_data, held_encoder
        from study.space.spec import configs

        torch.set_num_threads(assignment.resources.threads)
        setting = configs(assignment.trial.settings)
        data = sample(held_data(assignment.data), setting.finetune, RATED)
        encoder = held_encoder(assignment.encoder, self._gpu.place)
        return 1 / max(1e-9, time_updates(assignment.trial.arm, encoder, data, setting, RATED)[0])


class RayGpu:
    """One GPU of the cluster, which stands for all: its name and memory, and what trainings take of it.

    One process measures what is measured alone; it starts with the first question and ends with `close`, or where
    trainings are measured side by side.
    """

    def __init__(self) -> None:
        """Ray must be connected. EnvironmentFault where no node has a GPU."""
        node = gpu_node()
        if node is None:
            raise EnvironmentFault("resources.gpu: no node has a GPU; set it to 0, or to auto")
        self._node = node["NodeID"]
        self.cpus = node["Resources"].get("CPU", 0.0) / node["Resources"]["GPU"]
        self._alone: Any = None

    @cached_property
    def device(self) -> Device:
        return self._ask([self._probe()], "describe")[0]  # type: ignore[no-any-return]

    def peak(self, assignment: Assignment) -> int:
        """As `Probe.peak`."""
        return int(self._ask([self._probe()], "peak", assignment)[0])

    def rate(self, assignment: Assignment, count: int) -> float:
        """Updates per second of `count` trainings side by side, in all."""
        if count == 1:
            return float(self._ask([self._probe()], "rate", assignment)[0])
        import ray

        self.close()  # which has the whole GPU
        probes = [self._start(share_of(count), assignment.resources.cpu) for _ in range(count)]
        try:
            self._ask(probes, "load", assignment)
            return float(sum(self._ask(probes, "rate", assignment)))
        finally:
            for probe in probes:
                ray.kill(probe)

    def close(self) -> None:
        """Free the GPU, while Ray is there: a stop may have ended it first."""
        import ray

        probe, self._alone = self._alone, None
        if probe is not None and ray.is_initialized():
            ray.kill(probe)

    def _probe(self) -> Any:
        if self._alone is None:
            self._alone = self._start(1, 1)
        return self._alone

    def _start(self, gpus: float, cpus: float) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(self._node, soft=False)
        return ray.remote(Probe).options(num_gpus=gpus, num_cpus=cpus, scheduling_strategy=there).remote()

    def _ask(self, probes: Sequence[Any], question: str, *words: Any) -> list[Any]:
        """The answers of all probes, which are asked at the same time."""
        import ray

        try:
            return ray.get([getattr(probe, question).remote(*words) for probe in probes])  # type: ignore[no-any-return]
        except ray.exceptions.RayTaskError as error:  # what it raised; Ray's own text is the whole traceback
            raise error.cause from None
        except ray.exceptions.RayError as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EnvironmentFault(f"measuring a training on the GPU: its process died ({said})") from error


def gpu_node() -> Any:
    """The first node with a whole GPU, as Ray describes it, or None. Ray must be connected."""
    import ray

    nodes = (node for node in ray.nodes() if node["Alive"])
    return next((node for node in nodes if node["Resources"].get("GPU", 0) >= 1), None)
