"""What the page says of a study: settings in words, identities, failures."""

from __future__ import annotations

from pathlib import Path

from small_study import write_study

from study.plan.resolved import Resolved
from study.plan.trials import Identities
from study.report.about import about_study, design_in_words
from study.report.page import ShownFailure
from study.space.reader import read_space


def test_what_was_compared_is_said_in_words(tmp_path: Path):
    variants = {"w": {"masking.weighting": "surprisal"}}
    search = {"parameters": {"masking.mean": {"uniform": [0.05, 0.6]}}, "trials": 4}
    spec = read_space(write_study(tmp_path, variants=variants, search=search, seeds=[0, 1, 2, 5]))
    rows = dict(design_in_words(spec))
    head = ["methods", "objectives", "confirmatory", "seeds", "preset"]
    assert list(rows) == [*head, "variant w", "search"]
    assert rows["confirmatory"] == "l3masking vs rtm, l3masking vs stl, rtm vs stl on accuracy"
    assert (rows["methods"], rows["seeds"]) == ("STL, RTM, L3Masking", "0, 1, 2, 5")
    assert rows["variant w"] == "masking.weighting surprisal"
    assert "uniform [0.05, 0.6]" in rows["search"]
    assert dict(design_in_words(read_space(write_study(tmp_path, seeds=10))))["seeds"] == "0 to 9"


def test_identities_and_failures(tmp_path: Path):
    resolved = Resolved(read_space(write_study(tmp_path)), Identities(encoders={"tiny": "a-commit"}))
    failure = {
        "encoder": "tiny",
        "dataset": "words",
        "method": "rtm",
        "variant": "best",
        "objective": "accuracy",
        "seed": 3,
        "attempts": 2,
        "reason": "no room",
        "traceback": "long",
    }
    about = about_study(resolved, [failure])
    assert (about.name, about.encoders, about.datasets) == (
        *("small", [("tiny", "a-commit")]),
        [("words", "not available")],
    )
    sets = Identities(datasets={"words": "123"}, evaluations={"words": {"near": "456", "far": "789"}})
    assert about_study(Resolved(resolved.spec, sets), []).datasets == [
        *(("words", "123"), ("words, evaluation set near", "456"), ("words, evaluation set far", "789"))
    ]
    assert about.failures == [ShownFailure("tiny / words / rtm @ best", "accuracy", 3, 2, "no room")]
