"""Arms as data: one entry of METHODS is all that an arm needs, and no other module names an arm."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from small_study import NoMirror, write_study

import study.run
from l3masking.errors import InputError
from l3masking.methods import (
    DEFAULT,
    METHODS,
    QUESTIONS,
    REFERENCE,
    Adapt,
    Finetune,
    Method,
    TaskWeighting,
    controls_of,
    label_of,
)
from l3masking.training.task_weights import WEIGHTINGS
from study.plan.grid import make_plan
from study.plan.trials import Identities
from study.report.figures import panels
from study.report.layout import row_label
from study.report.publish import write_tables
from study.results.compare import compare
from study.run import RunOptions, run_study
from study.space.reader import read_space
from study.status.console import PlainReporter
from study.tracking.views import Page

ROOT = Path(__file__).resolve().parents[2]
NEW = Method(
    label="Half RTM",
    summary="Random masking with equal task weights",
    source="made up by this test",
    stages=(Finetune(policy="uniform", weighting="static"),),
    controls=("stl",),
)
ALSO = {"l3masking", "l3_shuffled", "selective", "mask_tuning"}  # the package, a policy, and sections of a space file
MAY_NAME_ARMS = {"l3masking/methods.py", "study/published.py"}  # the table, and a table that a paper printed


@pytest.mark.slow
def test_an_arm_that_is_added_in_one_place_is_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "half_rtm", NEW)
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())
    space = write_study(tmp_path, methods=["stl", "half_rtm"], seeds=1)
    spec = read_space(space)
    assert {trial.method for trial in make_plan(spec, Identities())} == {"stl", "half_rtm"}
    finish = run_study(RunOptions(space=space, out=tmp_path / "out"), PlainReporter())
    assert not finish.failed
    results, _ = write_tables(tmp_path / "out")
    assert {cell.method: cell.n for cell in results.cells if cell.objective == "accuracy"} == {"stl": 1, "half_rtm": 1}
    assert "Half RTM" in (tmp_path / "out" / "tables" / "results.md").read_text()
    assert "Half RTM" in (tmp_path / "out" / "report.html").read_text()
    assert {series.label for series in panels(results.cells)[0].series} == {"STL", "Half RTM"}
    assert "half_rtm vs stl" in {entry.question for entry in compare(results.cells)}
    assert "**Half RTM**: Random masking with equal task weights." in Page(
        objectives=("accuracy",), methods=("stl", "half_rtm")
    ).note("1", "r")


def test_no_other_module_names_an_arm() -> None:
    found = []
    for file in sorted((ROOT / "l3masking").rglob("*.py")) + sorted((ROOT / "study").rglob("*.py")):
        name = str(file.relative_to(ROOT))
        if name in MAY_NAME_ARMS:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in METHODS.keys() - ALSO:
                found.append(f"{name}:{node.lineno} {node.value}")
    assert not found


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, l3masking.methods; print([m for m in ('torch', 'transformers', 'ray') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_the_table_says_of_the_study() -> None:
    assert {*DEFAULT, REFERENCE, *(name for question in QUESTIONS for name in question)} <= METHODS.keys()
    for method in METHODS.values():
        assert not method.summary.endswith(".")
        assert method.source


def test_an_arm_that_is_not_in_the_table_can_still_be_shown_and_compared() -> None:
    assert label_of("later") == "later"
    assert row_label("later", "best", [0.2]) == "later (best, mean 0.2)"
    assert controls_of("later") == ("rtm", "stl")


def test_an_arm_with_an_unknown_way_of_weighting_is_refused_when_it_is_made() -> None:
    with pytest.raises(InputError, match=r"finetune.weighting of an arm is 'learned': .* known: static, meta"):
        Finetune(policy="l3", weighting="learned")  # type: ignore[arg-type]


def test_the_names_of_task_weights_are_those_of_their_table() -> None:
    assert set(get_args(TaskWeighting)) == WEIGHTINGS.keys()


def test_the_costs_of_an_arm_are_measured_without_scores_and_without_its_auxiliary_task() -> None:
    arm = METHODS["l3masking"]
    assert arm.needs_scores
    assert arm.unscored() == dataclasses.replace(arm, stages=(Finetune(policy="uniform", weighting="meta"),))
    assert not arm.alone().masks
    assert METHODS["rtm"].unscored() == METHODS["rtm"]
    assert METHODS["tapt_l3"].unscored().stages == (Finetune(),)


def test_stages_come_in_order() -> None:
    with pytest.raises(InputError, match=r"arm X: stages \[finetune, adapt\]: only `adapt` stages come before"):
        Method(label="X", summary="", source="", stages=(Finetune(), Adapt(policy="uniform")))
    with pytest.raises(InputError, match="arm X: stages"):
        Method(label="X", summary="", source="", stages=())
