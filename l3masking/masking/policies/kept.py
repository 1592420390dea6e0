"""A policy of a file as a study keeps it: what it declares is read from its text, and its code is never run."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from l3masking.errors import InputError
from l3masking.masking.policies.base import CORPUS, ENTROPY, IMPORTANCE, LIKELIHOOD, NEEDS, PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch

CLASS = "Policy"  # the class that a file must have
CONSTANTS = {"CORPUS": CORPUS, "ENTROPY": ENTROPY, "IMPORTANCE": IMPORTANCE, "LIKELIHOOD": LIKELIHOOD}  # of base.py


@dataclass(frozen=True, eq=False)
class FilePolicy:
    """A policy of a file by its text and settings: enough for keys and plans. It masks nothing."""

    file: str  # as the user wrote it
    text: str  # of the file
    settings: Mapping[str, Any]

    @property
    def content_hash(self) -> str:
        """SHA-256 of the file's text: with the settings, all that may change the weights."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def summary(self) -> str:
        return f"the policy of {self.file}"

    @property
    def source(self) -> str:
        return self.file

    @property
    def needs(self) -> frozenset[str]:
        """What the class declares. InputError where that is not written out."""
        return declared_needs(self.file, self.text)

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        """Raises InputError: only a policy that was read from its file is run."""
        raise InputError(f"{self.file}: this policy was read from a finished study, and its code is not run")


def kept_policy(file: str, text: str, settings: Mapping[str, Any]) -> FilePolicy:
    """The policy of a file's text, without running it; its settings are those that running it would give.

    InputError, with file and line, where the text is no policy or does not write out what it needs.
    """
    declared_needs(file, text)
    floats = {
        node.target.id
        for node in _class_of(file, text).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if ast.unparse(node.annotation).strip("'\"") == "float"
    }
    whole = {name for name, value in settings.items() if isinstance(value, int) and not isinstance(value, bool)}
    return FilePolicy(
        file, text, {name: float(value) if name in floats & whole else value for name, value in settings.items()}
    )


def declared_needs(file: str, text: str) -> frozenset[str]:
    """The set `needs` of a file's class, which must be written out. InputError, with file and line, otherwise."""
    found = _class_of(file, text)
    for node in found.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "needs" for target in targets):
            needs = _strings(getattr(node, "value", None))
            if needs is not None and needs <= set(NEEDS):
                return frozenset(needs)
    raise InputError(
        f"{file}, line {found.lineno}: class {CLASS} does not write out what it needs: write `needs: ClassVar = "
        f"frozenset({{...}})` with some of {', '.join(NEEDS)} in it; a study is read without running this file"
    )


@lru_cache(maxsize=32)
def _class_of(file: str, text: str) -> ast.ClassDef:
    try:
        nodes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == CLASS]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
        raise InputError(f"{file}: the text of this policy is no Python: {type(error).__name__}") from error
    if not nodes:
        raise InputError(f"{file}, line 1: no class {CLASS}: write the policy as a class of this name")
    return nodes[-1]


def _strings(node: ast.expr | None) -> set[str] | None:
    """The texts of an expression such as `frozenset({"corpus", LIKELIHOOD})`; None for any other."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return {CONSTANTS[node.id]}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("frozenset", "set"):
        parts = node.args if not node.keywords else [None]
    elif isinstance(node, ast.Set | ast.Tuple | ast.List):
        parts = node.elts
    else:
        return None
    found = [_strings(part) for part in parts]
    return None if None in found else set().union(*(part for part in found if part is not None))
