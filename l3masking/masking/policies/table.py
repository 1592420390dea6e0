"""The masking policies by name, as METHODS and space files name them."""

from __future__ import annotations

from l3masking.masking.policies.base import Policy
from l3masking.masking.policies.l3 import L3, L3Shuffled
from l3masking.masking.policies.uniform import Uniform

# To add a policy: a frozen dataclass with `needs_scores` and `probabilities`, and its name here.
POLICIES: dict[str, Policy] = {"uniform": Uniform(), "l3": L3(), "l3_shuffled": L3Shuffled()}
