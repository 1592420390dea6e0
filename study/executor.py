"""How the work of a run is carried out: one thing after the other in this process, or under Ray.

A run asks both for artefacts, settings of searches and trainings in the same way, and gets the same results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from l3masking.errors import EnvironmentFault
from study.artefacts import Done, Work
from study.assignment import Assignment
from study.cluster.nodes import check_shared
from study.estimate.fit import check_fits, shared
from study.estimate.probe import RayGpu, gpu_node
from study.estimate.share import PairShares, asking, choose_shares, whole_gpu, without_gpu
from study.plan.inputs import EncoderSource
from study.schedule import Listener, most_slots, ray_session, run_on_ray, run_serially
from study.space.spec import Resources
from study.store.places import Place
from study.store.store import Store
from study.work.workers import execute_on_ray, execute_serially

if TYPE_CHECKING:  # Optuna and Ray Tune, which only a search needs
    from study.search.stage import SearchStage, Tried


class Executor(Protocol):
    """Carries out what a run asks for. Work in flight is given up when it is closed."""

    def make(self, works: Iterator[Work], count: int) -> Iterable[Done]:
        """Make `count` shards of artefacts, such as scores; yields each when its part is written."""
        ...

    def check(self, encoders: Sequence[EncoderSource]) -> None:
        """Load each encoder once before anything is trained. InputError, now or later, for one that cannot be used."""
        ...

    def shares(self, assignments: Sequence[Assignment]) -> tuple[PairShares, list[str]]:
        """The GPUs of each pair that asks for auto, and what to say of it. InputError where a fraction is too small."""
        ...

    def prepare(self, assignments: Sequence[Assignment]) -> int:
        """Check that trainings of these sizes can run. Returns how many run at a time."""
        ...

    def search(self, stage: SearchStage, tried: Tried) -> None:
        """Try what is left of all searches; `tried` is told of each setting."""
        ...

    def train(self, assignments: Sequence[Assignment], listener: Listener) -> None:
        """Run all trainings, in the given order as there is room."""
        ...

    def close(self) -> None:
        """Leave what was joined or started."""
        ...


class Serial:
    """One thing after the other, in this process."""

    def make(self, works: Iterator[Work], count: int) -> Iterator[Done]:
        return execute_serially(works, count)

    def check(self, encoders: Sequence[EncoderSource]) -> None:
        for encoder in reversed(encoders):  # the first one stays in memory
            encoder.hold("cpu")

    def shares(self, assignments: Sequence[Assignment]) -> tuple[PairShares, list[str]]:
        if not asking(assignments):
            return {}, []
        import torch

        return whole_gpu(assignments) if torch.cuda.is_available() else without_gpu(assignments)

    def prepare(self, assignments: Sequence[Assignment]) -> int:
        return 1

    def search(self, stage: SearchStage, tried: Tried) -> None:
        stage.serially(tried)

    def train(self, assignments: Sequence[Assignment], listener: Listener) -> None:
        run_serially(assignments, listener)

    def close(self) -> None:
        """Nothing was joined."""


class OnRay:
    """In parallel under Ray, which is joined or started with the first work that needs it."""

    def __init__(self, store: Store, place: Place, *, insecure: bool) -> None:
        self._store, self._place, self._insecure = store, place, insecure
        self._session = ExitStack()
        self._joined = False
        self._gpu: RayGpu | None = None  # once something was to be measured on it
        self._unchecked: list[EncoderSource] = []

    def make(self, works: Iterator[Work], count: int) -> Iterator[Done]:
        if count:
            self._join()
        return execute_on_ray(works, count, self._unchecked)

    def check(self, encoders: Sequence[EncoderSource]) -> None:
        """What is to be fetched is loaded here, the rest by the first worker, which then uses it, or by `prepare`."""
        for encoder in encoders:
            if encoder.is_fetched():
                self._unchecked.append(encoder)
            else:
                encoder.load("cpu")

    def shares(self, assignments: Sequence[Assignment]) -> tuple[PairShares, list[str]]:
        if not (asking(assignments) or shared(assignments)):
            return {}, []
        self._join()
        if asking(assignments) and gpu_node() is None:
            return without_gpu(assignments)
        with self._measuring() as gpu:
            check_fits(self._store.root, assignments, gpu)
            return choose_shares(self._store.root, assignments, gpu)

    def prepare(self, assignments: Sequence[Assignment]) -> int:
        if not assignments:
            return 1
        while self._unchecked:  # no worker had anything to do
            self._unchecked.pop().load("cpu")
        self._join()
        if shared(assignments):
            with self._measuring() as gpu:
                check_fits(self._store.root, assignments, gpu)
        return most_slots(assignment.resources for assignment in assignments)

    @contextmanager
    def _measuring(self) -> Iterator[RayGpu]:
        """A GPU to measure on; nothing of this holds it afterwards."""
        self._gpu = self._gpu or RayGpu()
        try:
            yield self._gpu
        finally:
            self._gpu.close()

    def search(self, stage: SearchStage, tried: Tried) -> None:
        from study.search.tune import tune_searches

        samples = [stage.sample(search) for search in stage.searches]
        if stage.explorer.total:
            self.prepare(samples)
            tune_searches(stage, [sample.resources for sample in samples], tried)

    def train(self, assignments: Sequence[Assignment], listener: Listener) -> None:
        run_on_ray(assignments, listener)

    def close(self) -> None:
        self._session.close()

    def _join(self) -> None:
        if not self._joined:
            self._session.enter_context(ray_session(self._insecure))
            check_shared(self._place)
            self._joined = True


def make_executor(resources: Resources, store: Store, place: Place, *, insecure: bool = False) -> Executor:
    """What `resources.executor` names. EnvironmentFault where a serial run is to use a GPU that torch does not find.

    insecure: as in `ray_session`.
    """
    if resources.executor != "serial":
        return OnRay(store, place, insecure=insecure)
    if resources.gpu and resources.gpu != "auto":
        import torch

        if not torch.cuda.is_available():
            raise EnvironmentFault(
                f"resources.gpu is {resources.gpu:g}: torch finds no GPU on this machine; leave it out"
            )
    return Serial()
