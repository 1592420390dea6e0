"""Secrets have no place in a study: what looks like one is refused, and its value is shown nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from study.space.validation import HUB_TOKEN

SECRET = re.compile(r"(^|[_-])(tokens?|secrets?|passw(or)?d|credentials?|auth|(api|access|private)[_-]?key)$", re.I)


def refuse_secrets(value: Any, path: str, say: Callable[[str, str], None]) -> None:
    """Say where nested values hold a secret, by the name of a key or the form of a text; such a key is removed."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_secrets(inner, f"{path}[{index}]", say)
    elif isinstance(value, dict):
        for key in list(value):
            place = f"{path}.{key}" if path else key
            if SECRET.search(key):
                say(place, "looks like a secret, which has no place in a study; set it in the environment")
                del value[key]  # its value is to appear nowhere, other messages included
            else:
                refuse_secrets(value[key], place, say)
    elif isinstance(value, str) and HUB_TOKEN.search(value):
        say(path, "holds what looks like a Hub token; set it in the environment (HF_TOKEN)")
