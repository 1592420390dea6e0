"""A run ends in one line where the raylet of its own Ray dies. The raylet is any process here."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import subprocess, sys, time
from study.cluster.local_ray import ending_with
raylet = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
with ending_with(raylet):
    time.sleep(0.7)
    print(raylet.pid, flush=True)
    if sys.argv[1] == "inside":
        raylet.kill()
        time.sleep(60)
raylet.kill()
raylet.wait()
time.sleep(1)
"""


def test_a_raylet_that_dies_ends_the_run_in_one_line() -> None:
    command = [sys.executable, "-c", CODE, "inside"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"l3study: Ray's raylet (process {done.stdout.strip()}) died")
    assert "the same command continues" in done.stderr


def test_a_raylet_that_ends_with_ray_ends_nothing() -> None:
    command = [sys.executable, "-c", CODE, "afterwards"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
