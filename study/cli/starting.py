"""The way into the command line: a signal ends it with an exit code of its own from the first moment."""

from __future__ import annotations

import signal
import sys

from study.exit_codes import STOPPED


def main() -> None:
    """Run the command line. SIGTERM and Ctrl-C end it with STOPPED, also while it is still loading."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from study.cli.app import main as run_verb  # half a second of imports

        run_verb()
    except KeyboardInterrupt:
        print("l3study: stopped before it began", file=sys.stderr)
        sys.exit(STOPPED)
