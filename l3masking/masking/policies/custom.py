"""A user's own policy: a Python file with a class `Policy`. It is only ever read from a local path that the user wrote.

The text of the file travels, not the file: a worker makes the module from it again.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from l3masking.errors import InputError, nearest
from l3masking.masking.policies.base import CORPUS, NEEDS, PolicyText, Weights, check_weights
from l3masking.masking.policies.kept import CLASS, FilePolicy, declared_needs, kept_policy
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch

KINDS: dict[str, tuple[type, ...]] = {  # annotation of a setting -> the types that its value may have
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
}


@dataclass(frozen=True, eq=False)
class CustomPolicy(FilePolicy):
    """The class `Policy` of a file, made with settings. Errors inside it are InputErrors that name file and line.

    It can be pickled: a copy is made again from the text, as `read_policy` gave it, without what `fitted` has found.
    """

    made: Any = field(repr=False)  # an instance of the class

    @property
    def summary(self) -> str:
        return str(getattr(self.made, "summary", super().summary))

    @property
    def source(self) -> str:
        return str(getattr(self.made, "source", self.file))

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.made.needs)

    @property
    def place(self) -> str:
        """File and line of the method `weights`."""
        return self._place_of("weights")

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        """What the file's class returns for a copy of `text`. InputError where it raises or returns no weights."""
        with _told(self.file):
            found = self.made.weights(_copied(text), config, generator)
        check_weights(found, len(text.positions), self.place)
        return found

    def fitted(self, texts: Sequence[PolicyText]) -> CustomPolicy:
        """This policy with what it learned from copies of `texts`; for needs that hold "corpus"."""
        with _told(self.file):
            made = self.made.fitted([_copied(text) for text in texts])
        if not isinstance(made, type(self.made)):
            place = self._place_of("fitted")
            raise InputError(f"{place}: fitted() returned {type(made).__name__}: return a {CLASS}")
        return dataclasses.replace(self, made=made)

    def __reduce__(self) -> tuple[Callable[..., CustomPolicy], tuple[str, str, dict[str, Any]]]:
        return made_policy, (self.file, self.text, dict(self.settings))

    def _place_of(self, method: str) -> str:
        code = getattr(getattr(type(self.made), method, None), "__code__", None)
        line = code.co_firstlineno if code and code.co_filename == self.file else _line_of_class(self.text)
        return f"{self.file}, line {line}"


def read_policy(path: Path | str, settings: Mapping[str, Any] | None = None) -> CustomPolicy:
    """The policy of a Python file. Reading it runs the file.

    The file has a frozen dataclass `Policy` with `needs` and `weights` as in the protocol of base.py. Its fields are
    the settings, except those that begin with `_`. `summary` and `source` are optional. Raises InputError, with file
    and line, if the file cannot be read or run, has no such class, or does not know a setting.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}: give the path of a Python file with a class {CLASS}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text: give the path of a Python file with a class {CLASS}") from error
    return made_policy(str(path), text, settings or {})


def made_policy(file: str, text: str, settings: Mapping[str, Any]) -> CustomPolicy:
    """As `read_policy`, from the text of a file; `file` is what messages and tracebacks call it."""
    found = getattr(_module(file, text), CLASS, None)
    if not isinstance(found, type):
        raise InputError(f"{file}, line 1: no class {CLASS}: write the policy as a class of this name")
    place = f"{file}, line {_line_of_class(text)}"
    _check_class(found, place)
    given = _checked_settings(found, settings, place)
    with _told(file):
        made = found(**given)
    _check_readable(file, text, settings, given, made, place)
    return CustomPolicy(file, text, given, made)


def _check_readable(
    file: str, text: str, settings: Mapping[str, Any], given: Mapping[str, Any], made: Any, place: str
) -> None:
    """InputError where a study with this policy could not be read without running the file."""
    if declared_needs(file, text) != frozenset(made.needs):
        raise InputError(f"{place}: `needs` has another value than the one that class {CLASS} writes out")
    if json.dumps(kept_policy(file, text, settings).settings, default=str) != json.dumps(given, default=str):
        raise InputError(f"{place}: write all fields that are settings in class {CLASS}, each with its type")


def _module(file: str, text: str) -> ModuleType:
    """The file as a module under a name of its own, where dataclasses look for it; made once per process."""
    name = "l3masking_custom_" + hashlib.sha256(f"{file}\n{text}".encode()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    whole = False
    try:
        with _told(file):
            exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)
        whole = True
    finally:
        if not whole:
            del sys.modules[name]
    return module


@contextmanager
def _told(file: str) -> Iterator[None]:
    """What the user's code raises becomes one InputError with the file and the last of its lines that was reached."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reached = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == file else (reached or [1])[-1]
        said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split()) or "no message"
        hint = ""
        if isinstance(error, ImportError):
            hint = "; a policy is one file: it imports installed packages, not files beside it"
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{file}, line {line}: {kind}{said}{hint}") from error


def _check_class(found: type, place: str) -> None:
    parameters = getattr(found, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise InputError(f"{place}: class {CLASS} is no frozen dataclass: write @dataclass(frozen=True) above it")
    fields = {item.name for item in dataclasses.fields(found)}
    declared = {"needs", "summary", "source"} & fields
    if declared:
        name = sorted(declared)[0]
        raise InputError(f"{place}: {name} is a field, and so a setting: write `{name}: ClassVar = ...`")
    needs: object = getattr(found, "needs", None)
    if not isinstance(needs, frozenset | set | tuple | list):
        raise InputError(
            f"{place}: class {CLASS} has no set `needs`: write `needs: ClassVar = frozenset()`, with what the policy "
            f"reads of a text, of {', '.join(NEEDS)}"
        )
    for need in needs:
        if need not in NEEDS:
            raise InputError(f"{place}: needs holds {need!r}: not known; {nearest(str(need), NEEDS)}")
    for method in ("weights", *(["fitted"] if CORPUS in needs else [])):
        if not callable(getattr(found, method, None)):
            why = "" if method == "weights" else f", which its needs ask for with {CORPUS!r}"
            raise InputError(f"{place}: class {CLASS} has no method {method}{why}")


def _checked_settings(found: type, settings: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The settings for a class, a whole number as a float where that is its annotation."""
    fields = {item.name: item for item in dataclasses.fields(found) if item.init and not item.name.startswith("_")}
    given = dict(settings)
    for name, value in settings.items():
        if name not in fields:
            known = nearest(str(name), fields) if fields else "it has no settings"
            raise InputError(f"{place}: {name} is no setting of this policy; {known}")
        wanted = getattr(fields[name].type, "__name__", str(fields[name].type))
        allowed = KINDS.get(wanted)
        if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
            raise InputError(
                f"{place}: {name} is {value!r}, of type {type(value).__name__}: give a value of type {wanted}"
            )
        given[name] = float(value) if wanted == "float" else value
    for name, item in fields.items():
        bare = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if bare and name not in settings:
            raise InputError(f"{place}: {name} has no default: give this setting a value")
    return given


def _line_of_class(text: str) -> int:
    """The line where the class begins; 1 where it is made in another way."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef) and node.name == CLASS]
    return nodes[-1].lineno if nodes else 1


def _copied(text: PolicyText) -> PolicyText:
    """A copy for code that may change its arrays: the same ones are trained on."""
    copies: dict[str, Any] = {}
    for item in dataclasses.fields(text):
        value = getattr(text, item.name)
        copies[item.name] = None if value is None else value.copy()
    return PolicyText(**copies)
