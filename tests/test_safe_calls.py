"""No call in the program can run what a file holds: found in the source, so a new one is found too (S4, S5, S7)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
    for package in ("l3masking", "study")
    for file in sorted((ROOT / package).rglob("*.py"))
}
RUN = {"eval", "exec", "__import__", "os.system", "os.popen", "runpy.run_path", "subprocess.getoutput"}
READ = {  # what they read may be code
    *("pickle.load", "pickle.loads", "torch.load", "np.load", "numpy.load", "joblib.load", "cloudpickle.load"),
    *("pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open", "dill.load"),
    *("Tuner.restore", "tune.Tuner.restore", "safetensors.torch.load_model", "torch.hub.load"),
}
ALLOWED = {  # each once
    ("l3masking/masking/policies/custom.py", "exec"),  # a policy, from the file that a space file names
    ("l3masking/testing.py", "pickle.loads"),  # what it has pickled itself, in the line
}
LOCATED = "where"  # the arguments that `location` in encoders/hub.py gives


def calls(text: str) -> list[tuple[str, ast.Call]]:
    """Dotted name and node of each call."""
    return [(ast.unparse(node.func), node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


def unsafe(text: str) -> list[str]:
    """What is wrong in one file, a line each."""
    found = []
    for name, node in calls(text):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        last = name.rpartition(".")[2]
        if name in RUN | READ or given.get("shell") == "True" or given.get("allow_pickle") == "True":
            found.append(name)
        elif last in ("from_pretrained", "from_config") and name != "TextClassifier.from_pretrained":
            if given.get("trust_remote_code") != "False" and given.get(None) != LOCATED:
                found.append(f"{name} without trust_remote_code=False")
        elif given.get("trust_remote_code", "False") != "False":
            found.append(f"{name} with remote code")
        elif last == "load_dataset" and "revision" not in given:
            found.append(f"{name} without a revision")
    return found


def test_no_call_runs_what_a_file_holds() -> None:
    found = {(file, problem) for file, text in FILES.items() for problem in unsafe(text)}
    assert found == ALLOWED


def test_the_place_of_an_encoder_never_trusts_its_code() -> None:
    text = FILES["l3masking/encoders/hub.py"]
    made = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and node.name == "location"]
    returned = [node.value for node in ast.walk(made[0]) if isinstance(node, ast.Return)]
    assert len(returned) == 2
    for value in returned:
        assert isinstance(value, ast.Dict)
        assert "'trust_remote_code': False" in ast.unparse(value)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "exec(text)",
        "AutoModel.from_pretrained(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "AutoModel.from_config(config)",
        "datasets.load_dataset(name)",
        "np.load(path, allow_pickle=True)",
        "fetch(path, trust_remote_code=yes)",
        "subprocess.run(text, shell=True)",
        "tune.Tuner.restore(path, trainable)",
    ],
)
def test_each_kind_is_found(line: str) -> None:
    assert unsafe(line)
