"""Trials in processes of their own that are killed at a chosen moment, as between two updates or in a write."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from forked import Forks

STAGES = {  # function of the program -> the stage that it is
    "study.adapted.adapt": "adapt",
    "l3masking.training.loop.first_round": "first round",
    "l3masking.training.loop.Trajectory.main_stage": "main",
    "l3masking.training.loop.Trajectory.finished": "final",
}


class Moment(NamedTuple):
    """What a trial is about to do, or has just done."""

    stage: str
    what: str


class Watched:
    """Counts the moments of a trial, and kills its process at one of them."""

    def __init__(self, last: int | None) -> None:
        self.last, self.stage, self.moments = last, "before", list[Moment]()

    def at(self, what: str, first: Callable[[], None] = lambda: None) -> None:
        """A moment; `first` is done before the process is killed."""
        if len(self.moments) == self.last:
            first()
            os.kill(os.getpid(), signal.SIGKILL)
        self.moments.append(Moment(self.stage, what))

    def install(self) -> None:
        """Watch this process from now on."""
        import safetensors.torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        for name, stage in STAGES.items():
            self._replace(name, functools.partial(self._in_stage, stage))
        register_optimizer_step_post_hook(lambda *_: self.at("after an update"))
        save_file, replace, fsync = safetensors.torch.save_file, os.replace, os.fsync

        def saved(tensors: Any, path: Path, **options: Any) -> None:
            save_file(tensors, path, **options)
            self.at("in a write", lambda: os.truncate(path, path.stat().st_size // 2))

        def replaced(source: Any, target: Any) -> None:
            self.at(f"before the name of {Path(target).suffix}")
            replace(source, target)
            self.at(f"after the name of {Path(target).suffix}")

        def synced(descriptor: int) -> None:
            self.at("before a sync")
            fsync(descriptor)

        safetensors.torch.save_file, os.replace, os.fsync = saved, replaced, synced

    def _in_stage(self, stage: str, call: Callable[..., Any], *given: Any, **options: Any) -> Any:
        before, self.stage = self.stage, stage if self.stage == "before" else self.stage
        try:
            return call(*given, **options)
        finally:
            self.stage = before

    @staticmethod
    def _replace(name: str, around: Callable[..., Any]) -> None:
        import importlib

        path, _, last = name.rpartition(".")
        try:
            owner: Any = importlib.import_module(path)
        except ModuleNotFoundError:
            module, _, cls = path.rpartition(".")
            owner = getattr(importlib.import_module(module), cls)
        function = getattr(owner, last)
        setattr(owner, last, functools.wraps(function)(lambda *given, **options: around(function, *given, **options)))


def trial(assignment: Any, told: Path | None = None, last: int | None = None) -> None:
    """Run a trial in this process, and write down its moments. last: the number of the one at which it is killed."""
    from study.trial import execute

    watched = Watched(last)
    if told is not None:
        watched.install()
    reason = execute(assignment)
    assert reason is None, reason
    if told is not None:
        told.write_text(json.dumps(watched.moments))


def in_process(forks: Forks, assignment: Any, folder: Path, last: int | None = None) -> list[Moment]:
    """The same in a process of its own; the moments."""
    told = folder / "moments.json"
    forks.start(trial, assignment, told, last)
    assert forks.ended() == (0 if last is None else -signal.SIGKILL)
    return [Moment(*moment) for moment in json.loads(told.read_text())] if last is None else []
