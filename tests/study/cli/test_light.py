"""Verbs that compute nothing load neither torch nor Ray: a typing error costs no seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from study.plan.grid import make_plan
from study.plan.resolved import planned

HEAVY = ("torch", "ray", "transformers", "mlflow", "optuna")
CODE = """
import contextlib, io, json, sys
sys.argv = ["l3study", *json.loads(sys.argv[1])]
from study.cli import main
out, code = io.StringIO(), 0
try:
    with contextlib.redirect_stdout(out):
        main()
except SystemExit as end:
    code = end.code or 0
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]))
"""


def loaded(*words: object) -> tuple[int, list[str], str]:
    """Exit code of a command in a process of its own, the heavy packages that it loaded, and its standard error."""
    code = CODE.replace("{heavy!r}", repr(HEAVY))
    texts = json.dumps([str(word) for word in words])
    done = subprocess.run([sys.executable, "-c", code, texts], capture_output=True, text=True, timeout=120, check=True)
    exit_code, found = json.loads(done.stdout.splitlines()[-1])
    return exit_code, found, done.stderr


def key(study: Path) -> str:
    return make_plan(*planned(study / "out"))[0].trajectory


@pytest.mark.parametrize(
    "verb",
    [
        lambda study: ("--help",),
        lambda study: ("plan", study / "small.yaml", "--out", study / "out"),
        lambda study: ("status", study / "out"),
        lambda study: ("export", study / "out", "--format", "md"),
        lambda study: ("compare", study / "out"),
        lambda study: ("explain", study / "out", key(study)),
        lambda study: ("verify", study / "out"),
        lambda study: ("methods",),
        lambda study: ("policies", "--json"),
    ],
    ids=["help", "plan", "status", "export", "compare", "explain", "verify", "methods", "policies"],
)
def test_verbs_that_compute_nothing_load_neither_torch_nor_ray(finished_study: Path, verb) -> None:
    code, found, errors = loaded(*verb(finished_study))
    assert code == 0, errors
    assert found == []


@pytest.mark.parametrize("verb", ["run", "plan", "score", "search", "prefetch"])
def test_a_refused_space_file_costs_no_import_of_torch_or_ray(tmp_path: Path, verb: str) -> None:
    (tmp_path / "wrong.yaml").write_text("name: wrong\nmethod: [stl]\n")
    code, found, errors = loaded(verb, tmp_path / "wrong.yaml")
    assert code == 2, errors
    assert "nearest: methods" in errors
    assert found == []


@pytest.mark.parametrize(
    ("words", "said"),
    [(("export-model", "out", "tiny/words/slt", "--out", "model"), "nearest: tiny/words/stl"),
     (("predict", "encoder", "test.jsonl"), "no `l3masking`")],
    ids=["export-model", "predict"],
)  # fmt: skip
def test_a_refused_use_of_a_model_costs_no_import_of_torch_or_ray(finished_study: Path, words, said: str) -> None:
    places = {name: finished_study / name for name in ("out", "encoder", "test.jsonl", "model")}
    code, found, errors = loaded(*(places.get(word, word) if word != "--out" else word for word in words))
    assert code == 2, errors
    assert said in errors
    assert found == []


def test_a_refused_policy_costs_no_import_of_torch_or_ray(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Policy: ...\n")
    code, found, errors = loaded("check-policy", tmp_path / "mine.py")
    assert code == 2, errors
    assert "no frozen dataclass" in errors
    assert found == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["study.cli.app", "study.cli.options", "study.exit_codes"])
def test_a_signal_before_a_verb_begins_ends_with_one_line(module: str, number: int) -> None:
    """It comes while `module` is imported, or, for the last one, while typer reads the command line."""
    code = f"""
import os, signal, sys
sys.argv = ["l3study", "methods"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # this test may run in the background
from study.cli import main
class Sends:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
if {module!r} == "study.exit_codes":
    import typer.main
    typer.main.get_command = lambda app: os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sends())
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "l3study: stopped before it began\n")


def test_a_run_loads_what_computes_only_where_it_computes() -> None:
    """Under Ray the driver computes nothing: what it imports delays the first training."""
    code = f"import sys, study.run, study.executor, study.schedule; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_a_known_type_of_encoder_is_looked_at_without_the_code_of_models() -> None:
    """Its configuration is all that a plan and the driver of a run need; the models of transformers take seconds."""
    code = (
        "import sys; from transformers import BertConfig; from l3masking.encoders.checks import check_config; "
        "check_config(BertConfig(), 'here'); print('transformers.modeling_utils' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
