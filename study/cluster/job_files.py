"""The files of a job: the working directory, the space file in it, and the runtime environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from l3masking.data.files import matching
from l3masking.errors import InputError
from study.space.secret_values import SECRET
from study.space.validation import HUB_TOKEN
from study.space.yaml import read_yaml
from study.store.remote import check_url, is_url

ENV_FILE = "runtime_env.yaml"
ENV_VARS = {  # as in runtime_env.yaml; for a working directory without that file
    "RAY_JOB_STOP_SIGNAL": "SIGTERM",
    "RAY_JOB_STOP_WAIT_TIME_S": "120",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def space_in(folder: Path, space: Path) -> str:
    """The path of the space file for a job, which starts in the unpacked working directory `folder`."""
    if not space.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{space}: lies outside of {folder.resolve()}, which is all that travels to the cluster; put it there, or "
            "give another --working-dir"
        )
    return space.resolve().relative_to(folder.resolve()).as_posix()


def travelling(folder: Path) -> set[Path]:
    """The files below `folder` that Ray uploads: all that neither .gitignore nor .rayignore names."""
    from ray._private.runtime_env.packaging import _dir_travel  # with this Ray makes its package

    found: set[Path] = set()
    _dir_travel(folder.resolve(), [], found.add, include_gitignore=True, logger=logging.getLogger(__name__))
    return {path for path in found if path.is_file()}


def check_files(folder: Path, space: Path, needed: Iterable[str], warn: Callable[[str], None]) -> None:
    """Raise InputError if Ray would not upload the space or a data file; warn of files outside `folder`."""
    there = travelling(folder)
    for path in (space.resolve(), *(path for name in needed for path in _meant(name))):
        if not path.is_relative_to(folder.resolve()):
            warn(f"{path} does not travel with the job: every node needs it under this very path")
        elif path.exists() and not any(file.is_relative_to(path) for file in there):
            raise InputError(
                f"{path}: .gitignore or .rayignore keeps it from travelling; change them, or put it where all nodes "
                "find it under the same path"
            )


def _meant(name: str) -> list[Path]:
    """The files that match a pattern; a plain path, or a pattern without a match, unchanged."""
    try:
        return matching(name, Path()) or [Path(name)]
    except InputError:
        return [Path(name)]


def lasting(out: str | None) -> str:
    """`out` if it outlives a job. Raises InputError for a relative folder, which would lie in the job's own."""
    if out is not None and is_url(out):
        return check_url(out)
    if out is None or not os.path.isabs(out):
        raise InputError(
            f"--out {out or '(none)'}: a job's own folder is deleted with it; give an absolute folder that all nodes "
            "share, or a URL such as s3://bucket/studies/name"
        )
    return out


def read_environment(path: Path | None, folder: Path) -> dict[str, Any]:
    """The runtime environment of a file; without one, that of `folder`'s runtime_env.yaml, or ENV_VARS.

    Raises InputError if it contains a secret, which anybody who reaches the Jobs API could read, or is malformed.
    """
    if path is None and not (folder / ENV_FILE).is_file():
        return {"env_vars": dict(ENV_VARS)}
    path = path or folder / ENV_FILE
    value, problems = read_yaml(path)
    if problems:
        raise InputError("; ".join(f"{path}: {problem.path}: {problem.text}" for problem in problems))
    if not isinstance(value, dict) or not isinstance(value.get("env_vars") or {}, dict):
        raise InputError(f"{path}: expected keys and values, such as `env_vars: {{NAME: value}}`")
    for name, text in (value.get("env_vars") or {}).items():
        if SECRET.search(name) or HUB_TOKEN.search(str(text)):
            raise InputError(
                f"{path}: env_vars.{name} looks like a secret, and whoever reaches the Jobs API can read it; set it on "
                "the nodes instead"
            )
        if not isinstance(text, str):
            raise InputError(f"{path}: env_vars.{name} is {text!r}; put it in quotes")
    return value


def files_of(value: Any) -> list[str]:
    """The absolute paths in a resolved study: encoder folders, data files and their patterns."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [path for inner in value for path in files_of(inner)]
    return [value] if isinstance(value, str) and os.path.isabs(value) else []


def vanishes(out: str | os.PathLike[str] | None) -> bool:
    """Whether this process belongs to a job and `out` lies in the job's own folder, which Ray deletes later."""
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    return in_job and (out is None or not (is_url(out) or os.path.isabs(out)))
