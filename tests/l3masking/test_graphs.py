"""Programs: what is recorded when, and that a replay gives what a plain call gives. The recorder works on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from taped import TapeRecorder
from torch import Tensor

from l3masking import graphs
from l3masking.graphs import MOST, Programs, record_work

WEIGHT = torch.arange(12.0).reshape(3, 4).requires_grad_()


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("wanted", True), ("failed", False)):
        monkeypatch.setattr(graphs._Process, name, value)


@pytest.fixture
def recorder() -> TapeRecorder:
    return TapeRecorder()


def work(given: Sequence[Tensor]) -> list[Tensor]:
    """A loss under dropout and its gradient."""
    (x,) = given
    loss = (torch.nn.functional.dropout(x, 0.5) @ WEIGHT).square().sum()
    (gradient,) = torch.autograd.grad(loss, [WEIGHT])
    return [loss.detach(), gradient]


def seeded(programs: Programs, x: Tensor, seed: int, key: str = "key") -> list[Tensor]:
    torch.manual_seed(seed)
    return programs.run(key, work, [x])


def plain(x: Tensor, seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    return work([x])


def test_a_replay_gives_what_a_plain_call_gives(recorder: TapeRecorder) -> None:
    """For other values, seeds and weights than the recording had; the generator ends where a call leaves it."""
    programs, found, ends = Programs(lambda: recorder), list[list[Tensor]](), list[Tensor]()
    for seed in (5, 6, 7, 5):
        with torch.no_grad():
            WEIGHT.add_(1)
        x = torch.full((2, 3), float(seed))
        assert all(map(torch.equal, found := seeded(programs, x, seed), wanted := plain(x, seed))), (found, wanted)
        ends.append(torch.rand(()))
        seeded(programs, x, seed)
        assert torch.rand(()) == ends[-1]
    assert len(set(map(float, ends))) == 3
    assert (recorder.recorded, recorder.replayed) == (1, 7)


def test_only_what_comes_again_is_recorded_and_each_key_and_shape_by_itself(recorder: TapeRecorder) -> None:
    programs = Programs(lambda: recorder)
    counts = []
    for key, rows in (("a", 1), ("a", 2), ("b", 1), ("a", 1), ("a", 1), ("b", 1), ("a", 2)):
        x = torch.ones(rows, 3)
        assert all(map(torch.equal, seeded(programs, x, 1, key), plain(x, 1)))
        counts.append(recorder.recorded)
    assert counts == [0, 0, 0, 1, 1, 2, 3]


def test_results_lie_in_memory_of_their_own(recorder: TapeRecorder) -> None:
    """What was found stays as it is, whatever is run or written later; and nothing is written into what was given."""
    programs, scratch = Programs(lambda: recorder), torch.zeros(2)

    def kept(given: Sequence[Tensor]) -> list[Tensor]:
        return [scratch.copy_(given[0]), given[0].view(2)]

    found = list[tuple[float, list[Tensor]]]()
    for value in (1.0, 2.0, 3.0, 4.0):
        x = torch.full((2,), value)
        found.append((value, programs.run("key", kept, [x])))
        assert torch.equal(x, torch.full((2,), value))
        x.fill_(torch.nan)
    assert recorder.replayed == 3
    for value, tensors in found:
        assert all(torch.equal(tensor, torch.full((2,), value)) for tensor in tensors)


def test_what_cannot_be_recorded_is_called_plainly_and_said_once(
    recorder: TapeRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    programs, others, x = Programs(lambda: recorder), Programs(lambda: recorder), torch.ones(2, 3)

    def looks(given: Sequence[Tensor]) -> list[Tensor]:
        return [given[0] * float(given[0].sum())]

    for _ in range(2):
        seeded(programs, x, 1, "recorded before")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(programs.run("looks", looks, [x])[0], 6 * x)
            for some in (programs, others):
                assert all(map(torch.equal, seeded(some, x, 3), plain(x, 3)))
                assert all(map(torch.equal, seeded(some, x, 4, "recorded before"), plain(x, 4)))
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("training goes on without CUDA graphs")
    assert "operation not permitted" in line
    assert "\n" not in line
    assert (recorder.recorded, recorder.replayed) == (2, 2)


def test_few_graphs_live_at_a_time(recorder: TapeRecorder) -> None:
    programs = Programs(lambda: recorder)
    for _ in range(2):
        for rows in range(1, MOST + 4):
            x = torch.ones(rows, 3)
            assert all(map(torch.equal, seeded(programs, x, 1), plain(x, 1)))
    assert recorder.recorded == MOST


def test_nothing_is_recorded_where_it_is_not_wanted(recorder: TapeRecorder) -> None:
    programs, x = Programs(lambda: recorder), torch.ones(2, 3)
    record_work(False)
    for _ in range(3):
        assert all(map(torch.equal, seeded(programs, x, 1), plain(x, 1)))
    assert not recorder.recorded
    record_work(True)
    for _ in range(3):
        seeded(programs, x, 1)
    assert recorder.recorded == 1


def test_what_is_forgotten_is_recorded_anew_by_another_recorder() -> None:
    made, x = list[TapeRecorder](), torch.ones(2, 3)

    def new() -> TapeRecorder:
        made.append(TapeRecorder())
        return made[-1]

    programs = Programs(new)
    assert not made
    for _ in range(2):
        for _ in range(3):
            assert all(map(torch.equal, seeded(programs, x, 1), plain(x, 1)))
        programs.forget()
    assert [(one.recorded, one.replayed) for one in made] == [(1, 2), (1, 2)]


def test_recorded_work_makes_room_for_a_plain_call(recorder: TapeRecorder, caplog: pytest.LogCaptureFixture) -> None:
    """Which then draws what it would have drawn; a call that fails beside no recorded work fails."""
    programs, others, x = Programs(lambda: recorder), Programs(lambda: recorder), torch.ones(2, 3)
    fails = [True, False, True]

    def short(given: Sequence[Tensor]) -> list[Tensor]:
        found = work(given)
        if fails.pop(0):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    for some in (programs, others):
        for _ in range(2):
            seeded(some, x, 1)
    torch.manual_seed(2)
    assert all(map(torch.equal, programs.run("short", short, [x]), plain(x, 2)))
    for some in (programs, others):
        assert all(map(torch.equal, seeded(some, x, 3), plain(x, 3)))
    with pytest.raises(torch.OutOfMemoryError):
        programs.run("short", short, [x])
    assert (recorder.recorded, recorder.replayed) == (2, 2)
    assert len(caplog.records) == 1


class PretendedCuda:
    """Stands in for the parts of torch.cuda that record: notes who calls what, on which stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said, self.streams, self.generator = list[str](), ["main"], torch.Generator()
        self.ends: Exception | None = None  # raised at the end of a recording
        cuda = torch.cuda
        for name, value in {
            "graph_pool_handle": lambda: (0, 1),
            "Stream": lambda: SimpleNamespace(name="aside", wait_stream=lambda other: self.said.append("aside waits")),
            "current_stream": lambda: SimpleNamespace(wait_stream=lambda other: self.said.append("main waits")),
            "current_device": lambda: 0,
            "default_generators": [self.generator],
            "empty_cache": lambda: self.said.append("empty"),
            "stream": self.stream,
            "graph": self.graph,
            "CUDAGraph": lambda: SimpleNamespace(
                register_generator_state=lambda generator: self.said.append("register"),
                replay=lambda: self.said.append(f"replay on {self.streams[-1]}"),
            ),
        }.items():
            monkeypatch.setattr(cuda, name, value)
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            monkeypatch.setattr(cuda.memory, name, lambda device, pool, name=name: self.said.append(f"{name} {pool}"))

    @contextmanager
    def stream(self, stream: SimpleNamespace) -> Iterator[None]:
        self.streams.append(stream.name)
        try:
            yield
        finally:
            self.streams.pop()

    @contextmanager
    def graph(self, graph: object, pool: object, stream: SimpleNamespace, capture_error_mode: str) -> Iterator[None]:
        self.said.append("begin")
        yield
        self.said.append("end")
        if self.ends is not None:
            raise self.ends

    def work(self, given: Sequence[Tensor]) -> list[Tensor]:
        self.said.append(f"work on {self.streams[-1]}")
        torch.rand(2, generator=self.generator)
        return [given[0] + 1]


def test_cuda_records_what_was_called_once_before_on_the_same_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, programs = PretendedCuda(monkeypatch), Programs()
    given, state = [torch.ones(2)], cuda.generator.get_state()
    programs.run("key", cuda.work, given)
    assert cuda.said == ["work on main"]
    cuda.generator.set_state(state)
    programs.run("key", cuda.work, given)
    assert torch.equal(cuda.generator.get_state(), state), "it draws at the replay alone"
    prepared = ["empty", "aside waits", "work on aside", "register"]
    assert cuda.said[1:] == [*prepared, "begin", "work on aside", "end", "main waits", "replay on main"]


def test_a_recording_that_cuda_ends_leaves_torch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, programs = PretendedCuda(monkeypatch), Programs()
    cuda.ends, given, state = (
        RuntimeError("CUDA error: operation not permitted"),
        [torch.ones(2)],
        cuda.generator.get_state(),
    )
    ends = list[Tensor]()
    for _ in range(2):
        cuda.generator.set_state(state)
        assert torch.equal(programs.run("key", cuda.work, given)[0], given[0] + 1)
        ends.append(cuda.generator.get_state())
    ended = ["_cuda_endAllocateToPool (0, 1)", "_cuda_releasePool (0, 1)", "main waits"]
    assert cuda.said[-4:] == [*ended, "work on main"]
    assert cuda.streams == ["main"]
    assert torch.equal(*ends), "the plain call draws what it would have drawn"
