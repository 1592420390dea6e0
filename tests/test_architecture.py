"""Who imports whom, how large things are, and that an import does nothing. Read from the source, not by running it."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from study.cli.app import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("l3masking", "study")
    for file in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(file.read_text()) for name, file in MODULES.items()}
NOUNS = {  # know nothing of ours but errors
    *("errors", "rng", "metrics", "precision", "lazy", "whole", "hub_ids", "masking.probabilities"),
    *("homes", "transfer"),
}
INPUTS = {
    *(f"data.{name}" for name in ("table", "spec", "rows", "sources", "splits", "textdata")),
    *(f"data.{name}" for name in ("characters", "labels", "files", "content", "corpus")),
    *(f"data.{name}" for name in ("audit", "eval_sets", "known", "pairs")),
    *("encoders.families", "encoders.table", "encoders.checks", "encoders.hub", "encoders.load", "encoders.bart"),
    *("encoders.weights", "encoders.layers", "encoders.heads", "encoders.joined", "encoders.dropout", "reading"),
    *("encoders.buckets", "graphs", "memory"),
    *("scoring.settings", "scoring.rewriting", "scoring.words", "scoring.text_lengths", "scoring.places"),
    *("scoring.copies", "scoring.forward", "scoring.layer_pass", "scoring.probe"),
    *("scoring.budget", "scoring.vocabulary"),
    *("masking.settings", "training.settings", "training.presets", "selective.settings"),
}
PARTS = {
    *(f"masking.policies.{name}" for name in ("base", "uniform", "l3", "entropy", "importance", "whole_word", "span")),
    *(f"masking.policies.{name}" for name in ("pmi", "kept", "custom", "table")),
    *("masking.corruption", "masking.applied", "masking.collator", "scoring.scoring", "methods", "stages", "testing"),
    *(f"selective.{name}" for name in ("heuristic", "sentences", "masks", "classifier")),
    *(f"analysis.{name}" for name in ("tagging", "taggers", "columns", "pos_profile", "token_view")),
    *(f"training.{name}" for name in ("batches", "optim", "model", "task_weights", "early_stopping", "mlm")),
    *(f"training.{name}" for name in ("checkpoint", "checkpoint_files", "portions", "windows", "filling")),
    *("training.flat_gradients", "training.passes"),
    "classifier",
}
TOP = {
    *(
        f"training.{name}"
        for name in ("steps", "evaluation", "outcome", "final", "loop", "trajectory", "continual", "mask_tune")
    ),
    "training.two_rounds",
    *("regimes", "encoders.export", "selective.network", "predicting", "analysis.case_study"),
}
LAYERS = (NOUNS, INPUTS, PARTS, TOP)
PACKAGES = {
    "analysis",
    "data",
    "encoders",
    "masking",
    "masking.policies",
    "scoring",
    "selective",
    "training",
}  # their __init__ only names what is inside


STUDY_LAYERS = (  # of top-level units, from the bottom up; a unit imports from lower layers alone
    {"repeating"},
    {"exit_codes", "gpu", "signals", "space", "store", "surroundings", "version"},
    {"artefacts", "cluster", "toyworld"},
    {"plan", "work"},
    {"results", "score"},
    {"assignment", "checkpoints", "importance", "report"},
    {"adapted", "recorded"},
    {"trial"},
    {"assign", "estimate", "schedule", "tracking"},
    {"doctor", "search", "status", "tag_profiles", "verify"},
    {"inspection"},
    {"events", "executor", "use"},
    {"run"},
    {"cli"},
    {"__main__"},
)


def imported(node: ast.AST) -> set[str]:
    """Modules of one import statement; `from package import name` counts as package.name where that is a module."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        base = str(node.module)
        return {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return set()


def imports(name: str, *, inside_functions: bool = True) -> set[str]:
    tree = TREES[name]
    nodes = ast.walk(tree) if inside_functions else iter(tree.body)
    return {module for node in nodes for module in imported(node)}


def functions(name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def dataclass_options(node: ast.ClassDef) -> set[str] | None:
    """Names that a @dataclass decorator sets to True; None without one."""
    for decorator in node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(call, ast.Name) and call.id == "dataclass":
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            return {str(k.arg) for k in keywords if isinstance(k.value, ast.Constant) and k.value.value is True}
    return None


CLASSES = [(name, node) for name, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
CONFIGS = [
    (name, node)
    for name, node in CLASSES
    if node.name.endswith(("Config", "Spec")) and not node.name.startswith("_") and dataclass_options(node) is not None
]


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "l3masking"])
def test_the_method_knows_nothing_of_the_study(name: str) -> None:
    assert not {module.split(".")[0] for module in imports(name)} & {"ray", "mlflow", "optuna", "study"}


def test_the_method_names_no_verb_of_the_study() -> None:
    """Not in its strings, nor in its comments: somebody who uses l3masking alone has no such program."""
    verbs = "|".join(verb.__name__.replace("_", "-") for verb in EXAMPLES if verb.__name__ != "data")  # an argument
    named = re.compile(rf"l3study|`({verbs})\b|\bprefetch")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, file in MODULES.items()
        if name.split(".")[0] == "l3masking"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if named.search(line) and not line.startswith("CACHE_NAME = ")
    ]
    assert not found


def test_every_module_of_the_method_has_a_layer() -> None:
    ours = {name.removeprefix("l3masking.") for name in MODULES if name.startswith("l3masking.")} - PACKAGES
    assert ours == set().union(*LAYERS), "give a new module its place in LAYERS"


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_layers_import_downwards(layer: int) -> None:
    allowed = set().union(*LAYERS[: layer + 1]) if layer else {"errors"}
    for module in LAYERS[layer]:
        ours = {name for name in imports(f"l3masking.{module}") if name.split(".")[0] == "l3masking"}
        assert {name.removeprefix("l3masking.") for name in ours} <= allowed, f"l3masking.{module} imports upwards"


def unit_of(name: str) -> str:
    """The top-level unit of a module of the study: study.store.seal -> store."""
    return name.split(".")[1]


UNITS: dict[str, set[str]] = {}  # unit -> the other units that it imports
for _name in MODULES:
    if _name.startswith("study."):
        _needs = {unit_of(module) for module in imports(_name) if module.startswith("study.")}
        UNITS.setdefault(unit_of(_name), set()).update(_needs - {unit_of(_name)})


def test_every_unit_of_the_study_has_a_layer() -> None:
    assert UNITS.keys() == set().union(*STUDY_LAYERS), "give a new unit its place in STUDY_LAYERS"
    assert sum(map(len, STUDY_LAYERS)) == len(UNITS)


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_units_of_the_study_import_downwards(unit: str) -> None:
    layer = next(number for number, layer in enumerate(STUDY_LAYERS) if unit in layer)
    assert UNITS[unit] <= set().union(*STUDY_LAYERS[:layer]), f"study.{unit} imports from its own layer or above"


def in_circles(needs: Mapping[str, set[str]]) -> list[str]:
    """What cannot be put into an order in which each comes after all that it needs."""
    done: set[str] = set()
    while ready := [name for name in needs if name not in done and needs[name] & needs.keys() <= done]:
        done.update(ready)
    return sorted(needs.keys() - done)


def test_no_two_units_of_the_study_depend_on_each_other_in_a_circle() -> None:
    assert in_circles(UNITS) == []


def test_no_two_modules_depend_on_each_other_in_a_circle() -> None:
    """Not even by imports inside functions, or for types alone."""
    assert in_circles({name: imports(name) - {name} for name in MODULES}) == []
    assert in_circles({"a": {"b"}, "b": {"a", "json"}, "c": {"a"}, "d": {"json"}}) == ["a", "b", "c"]


def test_no_two_modules_of_the_study_have_the_same_name() -> None:
    """A module may be called as its own package (store/store.py); nothing else is named twice."""
    stems: dict[str, list[str]] = {}
    for name in MODULES:
        parts = name.split(".")
        if parts[0] == "study" and len(parts) > 1 and parts[-1] != parts[-2]:
            stems.setdefault(parts[-1], []).append(name)
    assert not [names for names in stems.values() if len(names) > 1]


@pytest.mark.parametrize("package", sorted(name for name in MODULES if MODULES[name].name == "__init__.py"))
def test_no_exported_name_hides_a_module(package: str) -> None:
    """`package.name` must not be the module or the function, depending on what was imported before."""
    named = {
        alias.asname or alias.name
        for node in ast.walk(TREES[package])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    inside = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == package}
    assert not named & inside


ROOMS = sorted(name for name in MODULES if MODULES[name].name == "__init__.py" and name.count(".") == 1)


@pytest.mark.parametrize("package", ROOMS)
def test_every_package_exports_its_public_names(package: str) -> None:
    """Names that are imported when they are asked for are told to mypy as well, and each of them is found."""
    told = {
        alias.asname: node.module
        for node in ast.walk(TREES[package])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert told, f"{package} exports nothing"
    module = importlib.import_module(package)
    assert set(getattr(module, "__all__", told)) == told.keys()
    for name, home in told.items():
        assert getattr(module, name) is getattr(importlib.import_module(str(home)), name)


def test_no_cycles_at_module_level() -> None:
    graph = {name: imports(name, inside_functions=False) & set(MODULES) - {name} for name in MODULES}
    done: set[str] = set()
    while ready := [name for name in graph if name not in done and graph[name] <= done]:
        done.update(ready)
    assert set(graph) == done, f"a cycle among {sorted(set(graph) - done)}"


@pytest.mark.parametrize("name", MODULES)
def test_sizes(name: str) -> None:
    lines = MODULES[name].read_text().count("\n")
    assert lines <= 300, f"{name} has {lines} lines: split it"
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(name) if f.end_lineno - f.lineno >= 60}
    assert not long, f"{name}: functions of more than 60 lines"


@pytest.mark.parametrize("name", MODULES)
def test_no_broad_catches(name: str) -> None:
    broad = [
        node.lineno
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException"))
    ]
    assert not broad, f"{name}: lines {broad} catch everything"


@pytest.mark.parametrize(("name", "node"), CONFIGS, ids=[f"{name}.{node.name}" for name, node in CONFIGS])
def test_configurations_are_frozen_keyword_only_and_annotated(name: str, node: ast.ClassDef) -> None:
    assert {"frozen", "kw_only"} <= (dataclass_options(node) or set())
    bare = [ast.unparse(statement) for statement in node.body if isinstance(statement, ast.Assign)]
    assert not bare, "an attribute without annotation is no field and cannot be set"


def test_the_walk_finds_the_configurations() -> None:
    names = {node.name for _, node in CONFIGS}
    assert {"ScoringConfig", "MaskingConfig", "EncoderSpec", "DataSpec", "OptimConfig", "FinetuneConfig"} <= names


WITNESS = """
import logging, random, socket, sys, warnings
import numpy, torch
def refuse(*_, **__):
    raise AssertionError("an import opened a connection")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
def state():
    return (torch.random.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), random.getstate(),
            list(logging.getLogger().handlers), logging.getLogger().level, torch.get_num_threads(),
            torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), list(sys.path))
before = state()
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
assert state() == before, "an import changed a global state"
ours = [logging.getLogger(n) for n in list(logging.root.manager.loggerDict) if n.startswith("l3masking")]
assert not [logger for logger in ours if logger.handlers]
assert not {"ray", "mlflow", "optuna", "study"} & set(sys.modules)
print("unchanged")
"""


def test_importing_the_method_has_no_effect(tmp_path: Path) -> None:
    names = [name for name in MODULES if name.split(".")[0] == "l3masking"]
    run = subprocess.run(
        [sys.executable, "-c", WITNESS, *names], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "unchanged"


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:  # an unpacked archive has no git
        return [
            file for folder in ("l3masking", "study", "tests", "search_spaces") for file in (ROOT / folder).rglob("*")
        ]
    return [ROOT / line for line in listed.stdout.splitlines()]


def test_no_machine_paths_in_files() -> None:
    machine = re.compile(r"(?<![\w.~])/" + r"(home|Users|work|root|mnt)/(?!somebody)\w")
    found = []
    for file in tracked_files():
        if file.suffix in {".py", ".yaml", ".yml", ".toml", ".md", ".txt", ".cfg"} and file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            found += [f"{file.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if machine.search(line)]
    assert not found


def test_every_long_test_names_the_one_that_shows_its_kind() -> None:
    """`make test` leaves out what is marked so: the line above the mark says where it is shown all the same."""
    mark, reason, found = re.compile(r"\bpytest\.mark\." + r"long\b"), "# long: ", []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        found += [
            (f"{file.name}:{n}", above.strip())
            for n, (above, line) in enumerate(pairwise(lines), 2)
            if mark.search(line)
        ]
    assert found
    assert not [place for place, above in found if not above.startswith(reason)]


def test_one_module_gives_files_their_names() -> None:
    """Nobody else writes under a temporary name and renames; remote_store moves finished files aside."""
    calls = re.compile(r"\bos\.(link|replace)\b|\.tmp\b|\bmkstemp\b|\.hardlink_to\(")
    found = {name for name, file in MODULES.items() if calls.search(file.read_text())}
    assert found == {"l3masking.whole", "study.store.remote_store"}


def test_one_name_means_one_thing() -> None:
    """No two public classes or constants have the same name, unless they have the same value."""
    found: dict[str, set[str]] = {}
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, set()).add(name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                value = ast.unparse(node.value) if node.value else name
                for target in targets:
                    if isinstance(target, ast.Name) and target.id[0].isupper():
                        found.setdefault(target.id, set()).add(value)
    assert not {name: sorted(values) for name, values in found.items() if len(values) > 1}
