"""Fixtures of the tests of the mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mlflow_store import clean_environment

if TYPE_CHECKING:
    from driven_mirror import Made


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished study, and what MLflow holds of it where nothing disturbs."""
    from driven_mirror import made_study

    return made_study(tmp_path_factory.mktemp("faults"))
