"""Important tokens by the sequential heuristic of "Train No Evil" (Gu et al. 2020, section 3).

A buffer starts empty. Each token w is appended in turn, and P(y | buffer) is the classifier's probability of the true
label y. With P the value for the whole unit, w is important if |P - P(y | buffer with w)| < delta and
|P - P(y | buffer before)| >= delta ("abs", the paper), or if P - P(y | buffer with w) < delta ("signed", the released
code). An important token leaves the buffer again, the others stay: while a token is tested, all others in the buffer
are unimportant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from l3masking.errors import InputError, check_choice
from l3masking.selective.settings import Criterion

T = TypeVar("T")
WIDTH = 1024  # units that are tested at a time: enough for full batches, few enough to hold


class Passage(NamedTuple, Generic[T]):
    """What is tested token by token."""

    number: int  # by which the confidence function knows it
    tokens: Sequence[T]
    full: float | None = None  # P(true label) of the whole unit; None: to be computed


class Tested(NamedTuple):
    """What the heuristic says of the n tokens of one unit."""

    number: int
    important: list[bool]  # [n]
    gain: list[float]  # [n], P(y | buffer with the token) - P(y | buffer before), in [-1, 1]


class Capacity(NamedTuple):
    """What fits into one batch of the classifier. Lengths are in tokens."""

    tokens: int = 4096  # of all sequences, padding included, >= 1; one sequence always fits
    padding: int = 64  # most padding in a batch, >= 0: as much as one more batch would cost
    specials: int = 0  # special tokens that each sequence gets, >= 0


CAPACITY = Capacity()
Query = tuple[int, list[T]]  # number of a unit, and a sequence of its tokens
Confidence = Callable[[list[Query]], Sequence[float]]


def important_tokens(
    tokens: Sequence[T],
    confidence: Callable[[list[list[T]]], Sequence[float]],
    *,
    full: float | None = None,
    delta: float = 0.05,
    criterion: Criterion = "abs",
) -> list[bool]:
    """Which tokens of one text are important.

    confidence: P(true label), in [0, 1], of each token sequence of a batch; the empty sequence is asked for only where
    the first token decides. full: that of the whole text; None: computed. Raises InputError for an unknown criterion
    or a delta outside (0, 1].
    """
    check_choice("criterion", criterion, Criterion)
    if not 0 < delta <= 1:
        raise InputError(f"delta is {delta}: above 0 and at most 1")
    unit = Passage(0, tokens, full)
    tests = important_units(
        [unit], lambda queries: confidence([tokens for _, tokens in queries]), delta, criterion, with_gain=False
    )
    return next(iter(tests)).important


def important_units(
    units: Iterable[Passage[T]],
    confidence: Confidence,
    delta: float,
    criterion: Criterion,
    *,
    with_gain: bool = True,
    width: int = WIDTH,
    capacity: Capacity = CAPACITY,
) -> Iterator[Tested]:
    """As `important_tokens` for many units, `width` of them at a time; each is given out when it is finished.

    confidence: P(true label of that unit) of each query, which is the number of a unit and a sequence of its tokens.
    with_gain: the empty sequence is asked for too, so that the first token has a gain.

    The shortest buffers always go first, as many as fit into a batch. A buffer grows by one token at most, so units
    come to the same lengths and are tested together there, almost without padding, at whichever token each of them is.
    """
    waiting = iter(units)
    while running := [_Test(unit, delta, criterion) for unit in islice(waiting, width)]:
        _ask(confidence, [test for test in running if test.full is None], lambda test: list(test.unit.tokens), "full")
        if with_gain:
            _ask(confidence, running, lambda _: [], "before")
        while running:
            yield from (test.result() for test in running if test.done)
            running = sorted((test for test in running if not test.done), key=lambda test: len(test.buffer))
            now = running[: _fitting((len(test.buffer) + 1 for test in running), capacity)]
            _ask(confidence, now, lambda test: test.tried(), "now")
            _ask(confidence, [test for test in now if test.needs_empty()], lambda _: [], "before")
            for test in now:
                test.judge()


def _fitting(lengths: Iterable[int], capacity: Capacity) -> int:
    """How many of some sequences, shortest first, fit into one batch."""
    count = tokens = 0
    for length in lengths:
        tokens += length + capacity.specials
        padded = (count + 1) * (length + capacity.specials)
        if count and (padded > capacity.tokens or padded - tokens > capacity.padding):
            break
        count += 1
    return count


def _ask(confidence: Confidence, tests: list[_Test], sequence: Callable[[_Test], list], name: str) -> None:
    """Ask for one value of each of some tests, all at once."""
    if not tests:
        return
    values = confidence([(test.unit.number, sequence(test)) for test in tests])
    for test, value in zip(tests, values, strict=True):
        setattr(test, name, float(value))


@dataclass
class _Test(Generic[T]):
    """One unit under test."""

    unit: Passage[T]
    delta: float
    criterion: Criterion
    buffer: list[T] = field(default_factory=list)
    important: list[bool] = field(default_factory=list)
    gain: list[float] = field(default_factory=list)
    before: float | None = None  # P(y | buffer); None: not yet known, for the empty buffer
    now: float = 0.0  # P(y | buffer with the token that is tested)
    full: float | None = None

    def __post_init__(self) -> None:
        self.full = self.unit.full

    @property
    def done(self) -> bool:
        return len(self.important) == len(self.unit.tokens)

    def tried(self) -> list[T]:
        """The buffer with the token that is tested."""
        return [*self.buffer, self.unit.tokens[len(self.important)]]

    def near(self) -> bool:
        """Whether the token brings the buffer near the whole unit."""
        assert self.full is not None
        distance = self.full - self.now
        return (distance if self.criterion == "signed" else abs(distance)) < self.delta

    def needs_empty(self) -> bool:
        """Whether the value of the empty buffer decides."""
        return self.before is None and self.criterion == "abs" and self.near()

    def judge(self) -> None:
        """Decide on the token that is tested, and go on to the next."""
        assert self.full is not None
        important = self.near()
        if important and self.criterion == "abs":
            assert self.before is not None
            important = abs(self.full - self.before) >= self.delta
        self.gain.append(0.0 if self.before is None else self.now - self.before)
        if not important:
            self.buffer.append(self.unit.tokens[len(self.important)])
            self.before = self.now
        self.important.append(important)

    def result(self) -> Tested:
        return Tested(self.unit.number, self.important, self.gain)
