"""Plans and records for tests of what a plan amounts to; nothing is computed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.plan.trials import Identities, Trial
from study.space.reader import make_space
from study.space.spec import StudySpec

KNOWN = Identities(encoders={"bert-base": "abc", "scibert": "def"}, datasets={"acl-arc": "123", "imdb": "456"})


def space(**given: Any) -> StudySpec:
    """BERT on ACL-ARC, two seeds, three methods, two objectives."""
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc"}]
    given = {"name": "test", "pairs": pairs, "seeds": 2, **given}
    return make_space(given, source="test.yaml", folder=Path("/nowhere"))


def records_of(
    trial: Trial, seconds: float | None = None, objectives: Sequence[str] | None = None, points: int = 0
) -> list[dict[str, Any]]:
    """As much of the records of a training as a summary reads."""
    run = {} if seconds is None else {"seconds": seconds}
    who = {"encoder": trial.encoder, "dataset": trial.dataset, "method": trial.method, "run": run}
    more = {"settings": copy.deepcopy(dict(trial.settings)), "curve": [{}] * points, "trajectory": trial.trajectory}
    keys = {objective: key for objective, key in trial.keys.items() if objective in (objectives or trial.keys)}
    return [{**who, **more, "key": key, "objective": objective} for objective, key in keys.items()]
