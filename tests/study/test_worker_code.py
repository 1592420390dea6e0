"""Workers of Ray that would run another program than the one that was started are refused. With a real Ray.

That they run that program, whatever lies in the working directory, is shown by every study of test_on_ray.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from ray.job_config import JobConfig
from second_checkout import second_checkout

from l3masking.errors import EnvironmentFault
from study import schedule
from study.version import code_folder, code_hash


@pytest.mark.slow
def test_workers_that_import_another_program_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = second_checkout(tmp_path / "other")
    path = JobConfig(_client_job=True, _py_driver_sys_path=[str(other)])
    monkeypatch.setattr(schedule, "search_path", lambda address: path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)  # a worker starts where its driver is: the checkout of this test is not to be found
    with pytest.raises(EnvironmentFault) as refused, schedule.ray_session():
        pytest.fail("joined")
    line = str(refused.value)
    assert line.startswith("workers on ")
    assert f"import l3masking and study from {other} (code {code_hash(other)})" in line
    assert f"but this program is {code_folder()} (code {code_hash(code_folder())})" in line
    assert not ray.is_initialized()
