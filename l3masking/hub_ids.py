"""Ids of models and datasets on the Hub: what can be one, and what was meant where it cannot."""

from __future__ import annotations

import os
import re
import urllib.parse

from l3masking.errors import InputError

HUB_ID = re.compile(r"(?:[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?/)?[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?", re.ASCII)
MAX_HUB_ID = 96  # characters


def check_hub_id(hub: str, folder: str) -> None:
    """Raise InputError unless `hub` can be a Hub id, [owner/]name. `folder`: what takes a folder or file instead."""
    if len(hub) <= MAX_HUB_ID and HUB_ID.fullmatch(hub) and "--" not in hub and ".." not in hub:
        return
    if "://" in hub:
        parts = [part for part in urllib.parse.urlsplit(hub).path.split("/") if part not in ("", "datasets", "models")]
        raise InputError(f"hub is {hub!r}: that is a URL; give the id alone, as {'/'.join(parts[:2]) or 'owner/name'}")
    if hub.startswith((".", "/", "~")) or "\\" in hub or os.path.exists(hub):
        raise InputError(f"hub is {hub!r}: that is a path, which goes to {folder}; a Hub id is owner/name")
    raise InputError(f"hub is {hub!r}: a Hub id is owner/name, of letters, digits, '-', '_' and '.'")
