"""A space file (YAML) -> a validated `StudySpec`. Everything that is wrong is said at once, one line each.

A line names the file (or --set), the key path, the value, what is allowed and the nearest name that exists.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from l3masking.data.corpus import CorpusSpec
from l3masking.data.spec import DataSpec
from l3masking.data.table import DATASETS
from l3masking.encoders.table import ENCODERS, EncoderSpec
from l3masking.errors import InputError
from l3masking.methods import DEFAULT, METHODS
from l3masking.metrics import METRICS
from l3masking.precision import Precision
from l3masking.training.presets import PRESETS
from study.space.arms import ArmSpec, PolicyFile, RunPolicyFile, check_corpora, checked_policies, make_arms, policy_at
from study.space.compare_checks import read_compare
from study.space.overrides import apply_sets, complete_known, dotted
from study.space.paths import corpus_at, dataset_at, encoder_at
from study.space.report_section import ReportConfig
from study.space.search_checks import read_search
from study.space.secret_values import refuse_secrets
from study.space.spec import SECTIONS, SEED_LIMIT, Generated, Pair, Resources, StudySpec, overridden, plain
from study.space.validation import build, nearest, shown
from study.space.yaml import Problem, read_yaml

__all__ = ["Generated", "Pair", "Resources", "StudySpec", "read_space"]

NAME_PATTERN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
DECLARATIONS = {
    "encoders": "{bert: {hub: google-bert/bert-base-uncased}}",
    "datasets": "{mine: {train: train.jsonl}}",
}
TOP_KEYS = [item.name for item in dataclasses.fields(StudySpec)]


def read_space(path: Path | str, sets: Sequence[str] = (), *, runs: bool = True) -> StudySpec:
    """Read a space file, with `--set` overrides such as "optim.lr=1e-5" on top.

    InputError holds one line per problem. Relative paths in the file start at the file's own folder. runs: whether the
    masking policies that it names are run; False for a file that the user has not named.
    """
    value, problems = read_yaml(Path(path))
    return make_space(value, source=str(path), folder=Path(path).parent, sets=sets, problems=problems, runs=runs)


def make_space(
    value: Any,
    *,
    source: str,
    folder: Path,
    sets: Sequence[str] = (),
    problems: Iterable[Problem] = (),
    runs: bool = False,
) -> StudySpec:
    """As `read_space`, from the value of a file; `problems` are those that reading it has shown already."""
    found = list(problems)
    if not isinstance(value, dict):
        raise InputError(f"{source}: expected keys and values, such as `name: my-study`, not {shown(value)}")
    raw = copy.deepcopy(value)
    registries = {"encoders": _written_out(ENCODERS), "datasets": _written_out(DATASETS)}
    changed = apply_sets(raw, sets, registries, found)
    complete_known(raw, registries["datasets"], found)
    reader = _Reader(raw, folder, Path(source).stem, RunPolicyFile if runs else PolicyFile)
    spec = reader.spec()
    unreadable = {problem.path for problem in found}  # what stands there now is nobody's value
    found += [problem for problem in reader.problems if problem.path not in unreadable]
    if found or spec is None:
        raise InputError("\n".join(dict.fromkeys(_line(problem, source, changed) for problem in found)))
    return spec


def _written_out(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {key: part for key, part in plain(entry).items() if part} for name, entry in table.items()}


def _line(problem: Problem, source: str, changed: Sequence[str]) -> str:
    path, text = problem
    by_set = any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in changed)
    place = f"{path} " if text.startswith("is ") else f"{path}: " if path else ""
    return f"{'--set' if by_set else source}: {place}{text}".replace("\n", "\\n")


class _Reader:
    """One pass over a raw space; what is wrong is collected, and the parts that are right go on being checked."""

    def __init__(self, raw: dict[str, Any], folder: Path, stem: str, policy_kind: type[PolicyFile]) -> None:
        self.raw, self.folder, self.stem, self.policy_kind = raw, folder, stem, policy_kind
        self.problems: list[Problem] = []

    def spec(self) -> StudySpec | None:
        """The study, or None after a problem."""
        refuse_secrets(self.raw, "", self._say)
        self._refuse_unknown_keys()
        preset = self._one_of("preset", "default", PRESETS)
        name = self.raw.get("name", self.stem)
        self._check_name(name, "name")
        description = self.raw.get("description") or ""
        if not isinstance(description, str):
            self._say("description", f"{shown(description)} is not allowed; expected text")
        encoders = self._named("encoders", EncoderSpec, encoder_at)
        datasets = self._named("datasets", DataSpec, dataset_at)
        corpora = self._named("corpora", CorpusSpec, corpus_at)
        pairs = self._pairs(encoders, datasets)
        declared = self._named("policies", self.policy_kind, policy_at)
        arms = self._named("arms", ArmSpec, lambda _, entry: entry)
        policies = checked_policies(declared, self._say)
        known = METHODS | make_arms(arms, declared, policies, self._say)
        parts: dict[str, Any] = {
            **{key: self._section(key, cls, preset) for key, cls in SECTIONS.items()},
            "precision": self._one_of("precision", "float32", get_args(Precision)),
            "report": build(ReportConfig, self._given("report", {}), "report", self.problems),
            "resources": build(Resources, self._given("resources", {}), "resources", self.problems),
            "methods": self._list_of("methods", known),
            "objectives": self._list_of("objectives", METRICS),
            "seeds": self._seeds(),
        }
        parts = {key: part for key, part in parts.items() if part is not None}
        settings = {key: plain(parts.get(key, {})) for key in SECTIONS} | {"precision": parts["precision"]}
        variants = self._variants(settings)
        of_study: dict[str, Any] = {
            "arms": {name: known[name] for name in parts.get("methods", StudySpec.methods) if name in known},
            "objectives": parts.get("objectives", StudySpec.objectives),
            "variants": variants,
            "settings": settings,
            "problems": self.problems,
        }
        search = read_search(self.raw.get("search"), **of_study)
        compare = read_compare(self.raw.get("compare"), search=search, **of_study)
        wanted = [known[name] for name in parts.get("methods", DEFAULT) if name in known]
        check_corpora(settings["adapt"].get("corpus"), variants, corpora, wanted, self._say)
        if self.problems:
            return None
        return StudySpec(
            name=name,
            description=description,
            encoders=encoders | {p.encoder: ENCODERS[p.encoder] for p in pairs if p.encoder not in encoders},
            datasets=datasets | {p.dataset: DATASETS[p.dataset] for p in pairs if p.dataset not in datasets},
            pairs=pairs,
            corpora=corpora,
            arms=arms,
            policies=policies,
            preset=preset,
            variants=variants,
            search=search,
            compare=compare,
            **parts,
        )

    def _say(self, path: str, text: str) -> None:
        self.problems.append(Problem(path, text))

    def _given(self, key: str, default: Any) -> Any:
        """The value of a key; an empty one (`optim:` with nothing after it) is as good as none."""
        value = self.raw.get(key)
        return default if value is None else value

    def _refuse_unknown_keys(self) -> None:
        inner = {key: {item.name for item in dataclasses.fields(cls)} for key, cls in SECTIONS.items()}
        for key in self.raw:
            if key in TOP_KEYS:
                continue
            homes = [f"{section}.{key}" for section, names in inner.items() if key in names]
            hint = f"it belongs into {' or '.join(homes)}" if homes else nearest(key, TOP_KEYS)
            self._say(key, f"unknown key (its value: {shown(self.raw[key])}); {hint}")

    def _check_name(self, name: Any, path: str) -> bool:
        if isinstance(name, str) and NAME_PATTERN.fullmatch(name):
            return True
        self._say(path, f"{shown(name)} is no name; expected 1 to 64 of A-Z a-z 0-9 . _ - without a dot in front")
        return False

    def _one_of(self, key: str, default: str, known: Iterable[str]) -> str:
        value = self._given(key, default)
        if isinstance(value, str) and value in known:
            return value
        self._say(key, f"{shown(value)} is not known; {nearest(str(value), known)}")
        return default

    def _section(self, key: str, cls: type, preset: str) -> Any:
        given = self._given(key, {})
        if isinstance(given, dict):
            given = PRESETS[preset].get(key, {}) | given
        return build(cls, given, key, self.problems)

    def _named(self, key: str, cls: type, at: Callable[[Path, dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """The entries of a table of names: a `cls` each, or `{generated: ...}`."""
        given = self._given(key, {})
        if not isinstance(given, dict):
            self._say(key, f"{shown(given)} is not allowed; expected names, each with keys and values")
            return {}
        made: dict[str, Any] = {}
        for name, entry in given.items():
            path = f"{key}.{name}"
            if self._check_name(name, path):
                generated = isinstance(entry, dict) and "generated" in entry
                value = at(self.folder, entry) if isinstance(entry, dict) else entry
                # an entry that is wrong still counts as declared, or each pair that names it would be wrong too
                made[name] = build(Generated if generated else cls, value, path, self.problems)
        return made

    def _pairs(self, encoders: Mapping[str, Any], datasets: Mapping[str, Any]) -> tuple[Pair, ...]:
        if self.raw.get("pairs") is None and not (encoders and datasets):
            for key, example in DECLARATIONS.items():
                if not self._given(key, {}):
                    self._say(key, f"none declared; declare one, such as {example}, or list known names in `pairs`")
            return ()
        given = self._given("pairs", [{"encoder": e, "dataset": d} for e in encoders for d in datasets])
        if not isinstance(given, list) or not given:
            self._say("pairs", "at least one is needed, such as {encoder: bert-base, dataset: acl-arc}")
            return ()
        pairs: list[Pair] = []
        for index, entry in enumerate(given):
            path = f"pairs[{index}]"
            pair = build(Pair, entry, path, self.problems)
            if pair is None:
                continue
            for kind, name, known in (
                ("encoder", pair.encoder, dict.fromkeys([*encoders, *ENCODERS])),
                ("dataset", pair.dataset, dict.fromkeys([*datasets, *DATASETS])),
            ):
                if name not in known:
                    self._say(f"{path}.{kind}", f"{shown(name)} is no {kind}; {nearest(name, known)}")
            if (pair.encoder, pair.dataset) in [(other.encoder, other.dataset) for other in pairs]:
                self._say(path, f"{pair.encoder} with {pair.dataset} is there already; keep one")
            own = {name: value for name in ("gpu", "cpu") if (value := getattr(pair, name)) is not None}
            build(Resources, own, path, self.problems)
            pairs.append(pair)
        return tuple(pairs)

    def _list_of(self, key: str, known: Mapping[str, Any]) -> tuple[str, ...] | None:
        given = self.raw.get(key)
        if given is None:
            return None
        if not isinstance(given, list) or not given:
            self._say(key, f"{shown(given)} is not allowed; expected a list with some of {', '.join(known)}")
            return None
        for index, name in enumerate(given):
            if not isinstance(name, str) or name not in known:
                self._say(f"{key}[{index}]", f"{shown(name)} is not known; {nearest(str(name), known)}")
            elif name in given[:index]:
                self._say(f"{key}[{index}]", f"{name} is there already; keep one")
        return tuple(map(str, given))

    def _seeds(self) -> tuple[int, ...] | None:
        given = self.raw.get("seeds")
        if given is None:
            return None
        if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= SEED_LIMIT:
            return tuple(range(given))
        if not isinstance(given, list) or not given:
            wanted = f"how many (from 1 to {SEED_LIMIT}), or a list such as [0, 1, 2]"
            self._say("seeds", f"{shown(given)} is not allowed; expected {wanted}")
            return None
        for index, seed in enumerate(given):
            if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEED_LIMIT:
                wanted = f"a whole number from 0 to {SEED_LIMIT - 1}"
                self._say(f"seeds[{index}]", f"{shown(seed)} is not allowed; expected {wanted}")
            elif seed in given[:index]:
                self._say(f"seeds[{index}]", f"{seed} is there already; keep one")
        return tuple(given)

    def _variants(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Dotted overrides by name, each tried on the study's own settings."""
        given = self._given("variants", {})
        if not isinstance(given, dict):
            self._say("variants", f"{shown(given)} is not allowed; expected names, each with dotted keys and values")
            return {}
        made = {}
        for name, overrides in given.items():
            path = f"variants.{name}"
            if not self._check_name(name, path):
                continue
            if not isinstance(overrides, dict) or not overrides:
                wanted = "dotted keys and values, such as masking.weighting: surprisal"
                self._say(path, f"{shown(overrides)} is not allowed; expected {wanted}")
                continue
            made[name] = dotted(overrides)
            overridden(settings, made[name], path, self.problems)
        return made
