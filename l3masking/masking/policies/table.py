"""The masking policies by name, as METHODS and space files name them."""

from __future__ import annotations

from l3masking.masking.policies.base import Policy
from l3masking.masking.policies.entropy import ByEntropy
from l3masking.masking.policies.importance import ByImportance
from l3masking.masking.policies.l3 import L3, L3Shuffled
from l3masking.masking.policies.pmi import Pmi
from l3masking.masking.policies.span import Span
from l3masking.masking.policies.uniform import Uniform
from l3masking.masking.policies.whole_word import WholeWord

# To add a policy: a frozen dataclass as in base.py, and its name here.
POLICIES: dict[str, Policy] = {
    "uniform": Uniform(),
    "l3": L3(),
    "l3_shuffled": L3Shuffled(),
    "entropy": ByEntropy(),
    "importance": ByImportance(),
    "whole_word": WholeWord(),
    "span": Span(),
    "pmi": Pmi(),
}
