"""MLflow as a mirror of the records."""

from study.tracking.mirror import Mirror as Mirror
from study.tracking.mirror import sync as sync
