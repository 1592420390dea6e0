"""What a policy file declares is read from its text alone, and is what running it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from l3masking.errors import InputError
from l3masking.masking.policies.base import PolicyText
from l3masking.masking.policies.custom import made_policy
from l3masking.masking.policies.kept import kept_policy
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream

HEAD = """\
from dataclasses import dataclass
from typing import ClassVar
from l3masking.masking.policies.base import CORPUS, ENTROPY, LIKELIHOOD

"""
CLASS = """\
@dataclass(frozen=True)
class Policy:
    needs: ClassVar = {needs}
    power: float = 1.0
    times: "int" = 1
    exact: "float" = 2.0

    def fitted(self, texts): ...
    def weights(self, text, config, generator): ...
"""
EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "my_policy.py"
FORMS = [
    "frozenset()",
    'frozenset({"corpus"})',
    '{"likelihood", ENTROPY}',
    "frozenset((CORPUS, 'entropy'))",
    "[LIKELIHOOD]",
]


@pytest.mark.parametrize("needs", FORMS)
@pytest.mark.parametrize("settings", [{}, {"power": 2, "times": 3, "exact": 1}, {"power": 0.5}])
def test_reading_gives_what_running_gives(needs: str, settings: dict[str, float]) -> None:
    text = HEAD + CLASS.format(needs=needs)
    run, kept = made_policy("own.py", text, settings), kept_policy("own.py", text, settings)
    assert kept.needs == run.needs
    assert repr(kept.settings) == repr(run.settings), "2 and 2.0 are two keys"
    assert kept.content_hash == run.content_hash


def test_the_example_can_be_read() -> None:
    assert kept_policy("own.py", EXAMPLE.read_text(encoding="utf-8"), {"power": 2}).needs == {"corpus"}


HIDDEN = {
    "computed": HEAD + CLASS.format(needs="frozenset(''.join(['cor', 'pus']).split())"),
    "of a name": HEAD + "NEEDS = frozenset()\n" + CLASS.format(needs="NEEDS"),
    "later": HEAD + CLASS.format(needs="frozenset()") + "Policy.needs = frozenset({'corpus'})\n",
    "inherited": HEAD + CLASS.format(needs="frozenset()").replace("Policy", "Base") + "@dataclass(frozen=True)\nclass "
    "Policy(Base): ...\n",
    "another CORPUS": HEAD + "CORPUS = 'entropy'\n" + CLASS.format(needs="{CORPUS}"),
    "an inherited setting": HEAD
    + CLASS.format(needs="{}").replace("Policy", "Base")
    + "@dataclass(frozen=True)\nclass Policy(Base):\n    needs: ClassVar = frozenset()\n",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_policy_that_reading_would_take_for_another_is_refused(how: str) -> None:
    with pytest.raises(InputError, match=r"own\.py, line [0-9]+: .*(write|another value)"):
        made_policy("own.py", HIDDEN[how], {"power": 2})


@pytest.mark.parametrize("text", ["class Policy", "x = 1", "(" * 10_000, "\0", CLASS.format(needs="open('x')"), ""])
def test_a_text_that_is_no_policy_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^own\.py") as error:
        kept_policy("own.py", text, {})
    assert "\n" not in str(error.value)


def test_a_policy_that_was_read_masks_nothing() -> None:
    policy = kept_policy("own.py", HEAD + CLASS.format(needs="frozenset()"), {})
    text = PolicyText(input_ids=np.arange(3), positions=np.arange(1), words=np.arange(1))
    with pytest.raises(InputError, match="its code is not run"):
        policy.weights(text, MaskingConfig(), stream(0, "policy"))
