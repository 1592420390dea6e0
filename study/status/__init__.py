"""The progress of a run, shown while it works and afterwards."""

from study.status.console import Reporter as Reporter
from study.status.progress import Progress as Progress
from study.status.status import look as look
