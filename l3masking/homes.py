"""Folders of this user. In a container, a user may have no home folder at all."""

from __future__ import annotations

from pathlib import Path

from l3masking.errors import EnvironmentFault


def user_path(path: str) -> Path:
    """`path` with the home folder in the place of `~` or `~user`. EnvironmentFault where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise EnvironmentFault(
            f"{path}: this home folder is not known; set HOME, or L3STUDY_CACHE and RAY_AUTH_TOKEN_PATH to whole paths"
        ) from None
