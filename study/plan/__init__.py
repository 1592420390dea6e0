"""A study as a list of trials, each named by the content of all that may change its result."""

from study.plan.grid import left as left
from study.plan.grid import make_plan as make_plan
from study.plan.grid import narrow as narrow
from study.plan.resolved import Resolved as Resolved
from study.plan.resolved import planned as planned
from study.plan.trials import Identities as Identities
from study.plan.trials import Trial as Trial
