"""Every policy of the table keeps the contract, and `check_policy` finds each way of breaking it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from l3masking.masking.policies import POLICIES, Policy, PolicyText, Weights, read_policy
from l3masking.masking.policies.pmi import Pmi
from l3masking.masking.policies.span import Span
from l3masking.testing import CONTRACTS, check_policy, sample_texts

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES: dict[str, list[Policy]] = {  # each entry of POLICIES under other settings than its own
    "uniform": [],
    "l3": [],
    "l3_shuffled": [],
    "entropy": [],
    "importance": [],
    "whole_word": [],
    "span": [Span(p=0.7, longest=2)],
    "pmi": [Pmi(min_count=1, share=1.0), Pmi(longest=2, min_count=2)],
}


def test_every_policy_has_an_example() -> None:
    assert list(EXAMPLES) == list(POLICIES), "give a new policy its line in EXAMPLES"


@pytest.mark.parametrize("mean", [0.0, 0.15, 0.7, 1.0])
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_the_contract(name: str, mean: float) -> None:
    for policy in (POLICIES[name], *EXAMPLES[name]):
        assert check_policy(policy, mean=mean) == []


@pytest.mark.parametrize("settings", [{}, {"power": 0}, {"power": 2.5, "whole_words": False}])
def test_the_example_in_the_docs_keeps_the_contract(settings: dict[str, Any]) -> None:
    assert check_policy(read_policy(ROOT / "docs" / "examples" / "my_policy.py", settings)) == []


def test_the_example_in_the_docs_masks_rare_tokens() -> None:
    policy = read_policy(ROOT / "docs" / "examples" / "my_policy.py", {"whole_words": False})
    texts = [text_of([10, 11, 11]), text_of([10, 12]), text_of([10, 12, 13])]
    found = policy.fitted(texts).weights(text_of([10, 11, 12, 13, 99]), None, None)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.values, np.log([1, 2, 4 / 3, 2, 4]))
    assert found.groups is None


def text_of(ids: Sequence[int]) -> PolicyText:
    order = np.arange(len(ids))
    return PolicyText(input_ids=np.array([2, *ids, 3]), positions=order + 1, words=order)


@dataclass(frozen=True)
class Sound:
    """Keeps the contract; each class below breaks one part of it."""

    summary: ClassVar[Any] = "test"
    source: ClassVar[str] = "test"
    needs: ClassVar[Any] = frozenset({"likelihood"})

    def weights(self, text: PolicyText, config: Any, generator: torch.Generator) -> Weights:
        return Weights(1 - text.needed("likelihood"))


class WithStop(Sound):
    summary = "It masks."


class WithoutSummary(Sound):
    summary = None


class UnknownNeed(Sound):
    needs = frozenset({"entropi"})


class NeedsAList(Sound):
    needs = ("likelihood",)


class NotFitted(Sound):
    needs = frozenset({"likelihood", "corpus"})


@dataclass
class Thawed:
    summary: ClassVar[str] = "test"
    source: ClassVar[str] = "test"
    needs: ClassVar[frozenset[str]] = frozenset()

    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(np.zeros(len(text.positions)))


class NotANumber(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        values = text.needed("likelihood")
        with np.errstate(invalid="ignore"):
            return Weights(np.where(values == 0, values / values, values))


class Infinite(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        with np.errstate(divide="ignore"):
            return Weights(-np.log(text.needed("likelihood")))


class Negative(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(text.needed("likelihood") - 0.5)


class OfAllIds(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(np.ones(len(text.input_ids)))


class AList(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Any:
        return [1.0] * len(text.positions)


class NotForEmpty(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(text.needed("likelihood") / text.needed("likelihood").max())


class Undeclared(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(text.needed("entropy"))


class WrongGroups(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(np.zeros(len(text.positions)), text.input_ids)


class FromTorch(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(torch.rand(len(text.positions), generator=None).numpy())


class FromNumpy(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(np.random.rand(len(text.positions)))


class FromRandom(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        random.random()
        return Weights(np.ones(len(text.positions)))


class OwnGenerator(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(np.random.default_rng().random(len(text.positions)))


class InPlace(Sound):
    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        values = text.needed("likelihood")
        values[values > 0.5] = 0.5
        return Weights(1 - values)


@dataclass(frozen=True)
class Remembers(Sound):
    seen: list[int] = field(default_factory=list)

    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        self.seen.append(len(text.positions))
        return Weights(np.full(len(text.positions), float(len(self.seen))))


@dataclass(frozen=True)
class StaysHere(Sound):
    how: Any = field(default_factory=lambda: lambda values: 1 - values)

    def weights(self, text: PolicyText, config: Any, generator: Any) -> Weights:
        return Weights(self.how(text.needed("likelihood")))


BROKEN = {
    Thawed: "Thawed is no frozen dataclass",
    WithStop: "summary is 'It masks.': give one line without a full stop",
    WithoutSummary: "summary is None",
    UnknownNeed: "give a frozenset of likelihood, entropy, importance, corpus",
    NeedsAList: "give a frozenset of",
    NotFitted: "there is no method fitted",
    NotANumber: "the weight of token 0 is nan: a weight is finite and not below 0, for a text with values of 0 ",
    Infinite: "the weight of token 0 is inf: a weight is finite and not below 0, for a text with values of 0 ",
    Negative: "a weight is finite and not below 0, for an ordinary text",
    OfAllIds: "(27,) weights for 25 tokens: return one for each eligible token, for an ordinary text",
    AList: "weights() returned list",
    NotForEmpty: "ValueError: zero-size array",
    Undeclared: "AssertionError: this text has no entropy, for an ordinary text",
    WrongGroups: "groups of shape (27,)",
    FromTorch: "it draws from a global generator of torch, numpy or random",
    FromNumpy: "it draws from a global generator of torch, numpy or random",
    FromRandom: "it draws from a global generator of torch, numpy or random",
    OwnGenerator: "the same generator gives other weights the second time",
    InPlace: "it changes likelihood of its text in place: work on a copy",
    Remembers: "the same generator gives other weights the second time",
    StaysHere: "pickle",
}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_what_breaks_the_contract_is_found(cls: Any) -> None:
    broken = check_policy(cls())
    assert any(BROKEN[cls] in line for line in broken), broken
    assert all(line.startswith(f"policy {cls.__name__}: ") and "\n" not in line for line in broken)
    assert len(broken) <= len(CONTRACTS)


def test_a_sound_policy_passes_and_leaves_the_global_generators() -> None:
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert check_policy(Sound()) == []
    assert check_policy(FromTorch())
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == np.random.get_state()[1].tolist()  # type: ignore[index]


def test_texts_hold_what_is_declared_and_nothing_else() -> None:
    for needs in (frozenset(), frozenset({"entropy", "corpus"})):
        for text in sample_texts(needs).values():
            n = len(text.positions)
            assert len(text.input_ids) == n + 2
            assert len(text.words) == n
            assert (text.entropy is not None) == ("entropy" in needs)
            assert text.likelihood is None
            assert text.importance is None


def test_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import numpy as np\n"
        "from l3masking.masking.policies import Weights\n"
        "@dataclass(frozen=True)\n"
        "class Policy:\n"
        "    needs = frozenset()\n"
        "    def weights(self, text, config, generator):\n"
        "        n = len(text.positions)\n"
        "        return Weights(np.random.rand(n))\n"
    )
    (line,) = check_policy(read_policy(path))
    assert line.startswith(f"{path}, line 7: it draws from a global generator")
    path.write_text(path.read_text().replace("np.random.rand(n)", "np.ones(n) * (1 / n)"))
    (line,) = check_policy(read_policy(path))
    assert line.startswith(f"{path}, line 9: ZeroDivisionError: division by zero, for an empty text (")
