"""A user's policy file: read, sent to a worker, and every mistake in it said in one line with file and line."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from l3masking.errors import InputError
from l3masking.masking.applied import mask_texts
from l3masking.masking.policies.base import PolicyText, settings_of
from l3masking.masking.policies.custom import CustomPolicy, read_policy
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.scoring.words import EncodedText

HEAD = """\
from __future__ import annotations
from dataclasses import dataclass, field
from typing import ClassVar
import numpy as np
from l3masking.masking.policies import PolicyText, Weights

"""
GOOD = """\
@dataclass(frozen=True)
class Policy:
    needs: ClassVar[frozenset[str]] = frozenset()
    power: float = 1.0
    odd: bool = False

    def weights(self, text, config, generator):
        {line}
"""
PLAIN = "return Weights(np.arange(len(text.positions)) ** self.power)"
TEXT = PolicyText(input_ids=np.arange(7), positions=np.arange(1, 6), words=np.arange(5))


def write(folder: Path, text: str, *, head: str = HEAD) -> Path:
    path = folder / "mine.py"
    path.write_text(head + textwrap.dedent(text), encoding="utf-8")
    return path


def good(folder: Path, line: str = PLAIN) -> Path:
    return write(folder, GOOD.format(line=line))


def values(policy: CustomPolicy) -> list[float]:
    return policy.weights(TEXT, MaskingConfig(), stream(0, "policy")).values.tolist()


def test_settings_reach_the_class(tmp_path: Path) -> None:
    policy = read_policy(good(tmp_path), {"power": 2})
    assert values(policy) == [0, 1, 4, 9, 16]
    assert settings_of(policy.made) == {"power": 2, "odd": False}
    assert policy.settings == {"power": 2.0}
    assert isinstance(policy.settings["power"], float)
    assert policy.needs == frozenset()
    assert "mine.py" in policy.summary
    assert "mine.py" in policy.source
    assert policy.place == f"{tmp_path / 'mine.py'}, line 13"


def test_the_hash_is_of_the_text_alone(tmp_path: Path) -> None:
    one = read_policy(good(tmp_path), {"power": 2})
    (tmp_path / "other").mkdir()
    other = good(tmp_path / "other")
    other.write_bytes(b"\xef\xbb\xbf" + other.read_bytes().replace(b"\n", b"\r\n"))  # as an editor on Windows writes it
    assert read_policy(other).content_hash == one.content_hash
    assert read_policy(good(tmp_path, "return Weights(np.ones(len(text.positions)))")).content_hash != one.content_hash


def test_a_worker_needs_no_file(tmp_path: Path) -> None:
    path = good(tmp_path)
    content = pickle.dumps(read_policy(path, {"power": 3}))
    path.unlink()
    assert values(pickle.loads(content)) == [0, 1, 8, 27, 64]
    code = (
        "import pickle, sys, numpy as np\n"
        "from l3masking.masking.policies.base import PolicyText\n"
        "policy = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "text = PolicyText(input_ids=np.arange(7), positions=np.arange(1, 6), words=np.arange(5))\n"
        "print(policy.weights(text, None, None).values.tolist(), policy.place)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, content.hex()], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"[0.0, 1.0, 8.0, 27.0, 64.0] {path}, line 13"


def test_a_policy_may_spoil_its_copy_of_the_text(tmp_path: Path) -> None:
    policy = read_policy(good(tmp_path, "text.input_ids[:] = 0; " + PLAIN))
    assert values(policy) == [0, 1, 2, 3, 4]
    assert TEXT.input_ids.tolist() == list(range(7))


CORPUS = """\
@dataclass(frozen=True)
class Policy:
    needs: ClassVar = {"corpus"}
    summary: ClassVar = "how often"
    _counted: int = 0

    def fitted(self, texts):
        RETURN

    def weights(self, text, config, generator):
        return Weights(np.full(len(text.positions), float(self._counted)))
"""


def test_a_policy_of_the_corpus_is_fitted(tmp_path: Path) -> None:
    policy = read_policy(write(tmp_path, CORPUS.replace("RETURN", "return Policy(_counted=len(texts))")))
    fitted = policy.fitted([TEXT, TEXT])
    assert values(fitted) == [2.0] * 5
    assert values(policy) == values(pickle.loads(pickle.dumps(fitted))) == [0.0] * 5
    assert policy.needs == {"corpus"}
    assert policy.summary == "how often"
    texts = [EncodedText(np.arange(4), np.array([1, 2]), np.array([0, 1]))] * 3
    rows = list(mask_texts(policy, texts, MaskingConfig(), seed=0))
    assert [row.probabilities.tolist() for row in rows] == [[0, 0.15, 0.15, 0]] * 3


@pytest.mark.parametrize(
    ("line", "words"),
    [("return None", "line 13: fitted() returned NoneType"), ("return 1 / 0", "line 15: ZeroDivisionError")],
)
def test_fitting_that_fails_is_said(tmp_path: Path, line: str, words: str) -> None:
    policy = read_policy(write(tmp_path, CORPUS.replace("RETURN", "pass\n        " + line)))
    texts = [EncodedText(np.arange(4), np.array([1, 2]), np.array([0, 1]))]
    with pytest.raises(InputError) as refused:
        list(mask_texts(policy, texts, MaskingConfig(), seed=0, name="mine"))
    assert str(refused.value).startswith(f"masking policy mine: {tmp_path / 'mine.py'}, {words}")


FILES = {
    "syntax": ("x = (\n", 1, "SyntaxError: '(' was never closed"),
    "import": ("import numpy\nimport nothing_of_this_name\n", 2, "ModuleNotFoundError: No module named"),
    "raises": ("def f():\n    return {}['a']\n\nf()\n", 2, "KeyError: 'a'"),
    "exits": ("x = 1\nraise SystemExit(3)\n", 2, "SystemExit: 3"),
    "no class": ("class Policies: ...\n", 1, "no class Policy"),
    "no class but a name": ("Policy = 3\n", 1, "no class Policy"),
    "empty": ("", 1, "no class Policy"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_run_is_refused(tmp_path: Path, case: str) -> None:
    text, line, words = FILES[case]
    path = write(tmp_path, text, head="")
    known = set(sys.modules)
    with pytest.raises(InputError) as refused:
        read_policy(path)
    assert str(refused.value).startswith(f"{path}, line {line}: {words}")
    assert "\n" not in str(refused.value)
    made = {name for name in set(sys.modules) - known if name.startswith("l3masking_custom_")}
    assert (made == set()) == (not case.startswith(("no class", "empty"))), "a broken module does not stay"


CLASSES = {
    "no dataclass": ("class Policy:\n    needs = ()\n", 7, "no frozen dataclass"),
    "not frozen": ("@dataclass\nclass Policy:\n    needs = ()\n", 8, "no frozen dataclass"),
    "no needs": ("@dataclass(frozen=True)\nclass Policy:\n    a: int = 1\n", 8, "has no set `needs`"),
    "needs a text": ("@dataclass(frozen=True)\nclass Policy:\n    needs = 'entropy'\n", 8, "has no set `needs`"),
    "needs a field": (
        "@dataclass(frozen=True)\nclass Policy:\n    needs: frozenset = frozenset()\n",
        8,
        "needs is a field, and so a setting: write `needs: ClassVar",
    ),
    "unknown need": ("@dataclass(frozen=True)\nclass Policy:\n    needs = ('entropi',)\n", 8, "nearest: entropy"),
    "no weights": ("@dataclass(frozen=True)\nclass Policy:\n    needs = ()\n", 8, "has no method weights"),
    "no fitted": (
        "@dataclass(frozen=True)\nclass Policy:\n    needs = ('corpus',)\n    def weights(self): ...\n",
        8,
        "has no method fitted, which its needs ask for",
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_a_class_that_is_no_policy_is_refused(tmp_path: Path, case: str) -> None:
    text, line, words = CLASSES[case]
    path = write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        read_policy(path)
    assert str(refused.value).startswith(f"{path}, line {line}: ")
    assert words in str(refused.value)


SETTINGS = {
    "unknown": ({"powr": 2}, "powr is no setting of this policy; nearest: power; known: power, odd"),
    "text for a number": ({"power": "much"}, "power is 'much', of type str: give a value of type float"),
    "true for a number": ({"power": True}, "power is True, of type bool: give a value of type float"),
    "number for true": ({"odd": 1}, "odd is 1, of type int: give a value of type bool"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_setting_is_refused(tmp_path: Path, case: str) -> None:
    given, words = SETTINGS[case]
    path = good(tmp_path)
    with pytest.raises(InputError) as refused:
        read_policy(path, given)
    assert str(refused.value) == f"{path}, line 8: {words}"


def test_what_the_class_says_of_a_setting_is_said_with_its_line(tmp_path: Path) -> None:
    text = GOOD.format(line=PLAIN) + "\n    def __post_init__(self):\n        if self.power < 0:\n            raise "
    with pytest.raises(InputError, match="line 18: ValueError: too small"):
        read_policy(write(tmp_path, text + "ValueError('too small')\n"), {"power": -1})
    needed = GOOD.format(line=PLAIN).replace("power: float = 1.0", "power: float")
    with pytest.raises(InputError, match="line 8: power has no default: give this setting a value"):
        read_policy(write(tmp_path, needed))
    hidden = GOOD.format(line=PLAIN) + "\n    _found: int = 0\n"
    with pytest.raises(InputError, match="_found is no setting of this policy"):
        read_policy(write(tmp_path, hidden), {"_found": 1})


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.py: No such file or directory: give the path of a Python file"):
        read_policy(tmp_path / "gone.py")
    with pytest.raises(InputError, match="Is a directory"):
        read_policy(tmp_path)
    (tmp_path / "latin.py").write_bytes("x = 'é'".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.py: no UTF-8 text"):
        read_policy(tmp_path / "latin.py")


RETURNS = {
    "nan": ("return Weights(np.where(np.arange(5) == 2, np.nan, 1))", 13, "the weight of token 2 is nan"),
    "negative": ("return Weights(np.arange(5) - 1.5)", 13, "the weight of token 0 is -1.5"),
    "infinite": ("return Weights(1 / np.array([1e-320, 1, 1, 1, 1]) ** 2)", 13, "the weight of token 0 is inf"),
    "length": ("return Weights(np.ones(7))", 13, "(7,) weights for 5 tokens"),
    "type": ("return np.ones(5)", 13, "weights() returned ndarray"),
    "nothing": ("pass", 13, "weights() returned NoneType"),
    "a tensor": ("import torch; return Weights(torch.ones(5))", 13, "weights() returned Weights"),
    "groups": ("return Weights(np.ones(5), np.zeros(2, dtype=int))", 13, "groups of shape (2,)"),
    "raises": ("x = 1\n        return Weights(np.ones(5)[[9]])", 15, "IndexError: index 9 is out of bounds"),
    "not declared": ("return Weights(text.likelihood + 1)", 14, "TypeError: unsupported operand"),
}


@pytest.mark.filterwarnings("ignore:(divide|overflow):RuntimeWarning")
@pytest.mark.parametrize("case", RETURNS)
def test_what_is_no_weight_is_refused_with_policy_text_and_line(tmp_path: Path, case: str) -> None:
    line, number, words = RETURNS[case]
    path = good(tmp_path, line)
    texts = [EncodedText(np.arange(7), np.arange(1, 6), np.arange(5))]
    with pytest.raises(InputError) as refused:
        list(mask_texts(read_policy(path), texts, MaskingConfig(), seed=0, name="mine"))
    assert str(refused.value).startswith(f"masking policy mine, text 0: {path}, line {number}: {words}")
    assert "\n" not in str(refused.value)


def test_a_fault_in_a_library_is_said_where_the_file_called_it(tmp_path: Path) -> None:
    policy = read_policy(good(tmp_path, "np.linalg.inv(np.zeros((2, 2)))"))
    with pytest.raises(InputError, match=r"mine.py, line 14: LinAlgError: Singular matrix") as refused:
        values(policy)
    assert type(refused.value.__cause__).__name__ == "LinAlgError", "the traceback stays for --debug"
