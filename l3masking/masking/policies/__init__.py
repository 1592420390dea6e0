"""Masking policies, one file each, and their table. Reading the table needs no torch."""

from l3masking.masking.policies.base import Policy as Policy
from l3masking.masking.policies.table import POLICIES as POLICIES
