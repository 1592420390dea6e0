"""Fixtures that several test files share."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a Hub; those about the Hub say so themselves
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 leaves its workers no time beside other tests

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of a small random masked LM for each type in small_encoders.TYPES. Copy one before changing it."""
    from small_encoders import MAKERS

    root = tmp_path_factory.mktemp("small-encoders")
    return {kind: make(root / kind) for kind, make in MAKERS.items()}


@pytest.fixture(scope="session")
def encoders(encoder_folders: dict[str, Path]) -> dict:
    """The same, loaded. Read only."""
    import torch

    from l3masking.encoders.load import load_encoder

    torch.set_num_threads(1)  # for models this small a second thread costs more than it gives
    return {kind: load_encoder(str(folder)) for kind, folder in encoder_folders.items()}


@pytest.fixture(scope="session")
def toy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the session. Give it to other processes as L3STUDY_CACHE, and they find `toy_world` there.

    The workers of pytest-xdist share it, so that the world is made once for all of them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "l3study-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def toy_world(toy_cache: Path):
    """The embedded default world, made once per session (about a minute). Read only."""
    from study.toyworld.world import build_world

    return build_world(cache=toy_cache)


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 2 layers, 16 wide, which can tokenize the embedded task's texts. Copy it before changing it."""
    from small_world import save_random_encoder

    return save_random_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with small.yaml, its files, and the finished study in out/ (serial, no mirror). Copy it to change it."""
    from unittest import mock

    from small_study import NoMirror, command, write_study

    folder = tmp_path_factory.mktemp("finished-study")
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", write_study(folder), "--out", folder / "out")
    assert said.code == 0, said.err
    return folder


@pytest.fixture(scope="session")
def short() -> dict[str, Any]:
    """A short run of L3Masking, final stage included."""
    from short_runs import SHORT
    from small_task import one_thread, run

    with one_thread():
        return run("l3masking", SHORT)
