"""The verbs about machines: prefetch."""

from __future__ import annotations

from study.verbs.options import Sets, Space, find_space


def prefetch(space: Space, sets: Sets = None) -> None:
    """Fetch the encoders and datasets that SPACE needs, so that a machine without a network can run it."""
    from study.inputs import prefetch as fetch
    from study.space import read_space

    print("\n".join(fetch(read_space(find_space(space), sets or ()))))
