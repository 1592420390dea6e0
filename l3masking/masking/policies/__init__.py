"""Masking policies, one file each, and their table. Reading the table needs no torch."""

from l3masking.masking.policies.base import Policy as Policy
from l3masking.masking.policies.base import PolicyText as PolicyText
from l3masking.masking.policies.base import Weights as Weights
from l3masking.masking.policies.custom import CustomPolicy as CustomPolicy
from l3masking.masking.policies.custom import read_policy as read_policy
from l3masking.masking.policies.table import POLICIES as POLICIES
