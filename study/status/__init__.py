"""How far a run is, told while it works and afterwards."""

from study.status.console import Reporter as Reporter
from study.status.progress import Progress as Progress
from study.status.status import look as look
