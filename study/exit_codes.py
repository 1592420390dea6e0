"""The exit codes of `l3study`, which a job on a cluster ends with too."""

from __future__ import annotations

DONE = 0
TRIALS_FAILED = 1
FINDINGS = 1  # of `verify`
INPUT_ERROR = 2
ENVIRONMENT_FAULT = 3
DEFECT = 70
STOPPED = 75

EXIT_CODES = {
    DONE: "done",
    TRIALS_FAILED: "some trials failed, the tables are written and mark them; of verify: there are findings",
    INPUT_ERROR: "wrong usage, space file or data",
    ENVIRONMENT_FAULT: "the environment lacks something: a network, a model, a package, disk space, a cluster",
    DEFECT: "a defect of this program, the message names a file with the traceback",
    STOPPED: "stopped before the end, the same command continues",
}
