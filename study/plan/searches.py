"""The searches of a study: one for each encoder, dataset and method, named by everything that steers it."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from l3masking.methods import Method
from study.plan.trials import Identities, Trial, identity_of, new_trial
from study.space.relevant import artefact_sections, reads, relevant
from study.space.search_section import SearchConfig
from study.space.spec import StudySpec, plain
from study.store.store import content_key

VARIANT = "search"  # of the trials of a search, which are no rows of any table


Findings = Mapping[str, Mapping[str, Any]]  # search key -> what it has found, as plain values


@dataclass(frozen=True, kw_only=True)
class Search:
    """Looks for the best setting of one method, encoder and dataset."""

    encoder: str
    dataset: str
    method: str
    arm: Method  # what that name stands for in the study
    config: SearchConfig  # with the parameters that the method reads
    left_out: tuple[str, ...] = ()  # the other parameters of the study's search
    objective: str  # validation metric to maximise
    settings: Mapping[str, Any]  # of the plain row; the searched parameters are put over them
    key: str  # everything that may change what is tried and found, except how many settings

    @property
    def name(self) -> str:
        """Of its Optuna study."""
        return f"{self.encoder}/{self.dataset}/{self.method}/{self.key[:12]}"

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings under `values` (dotted key -> value) of the parameters that the method reads."""
        settings = copy.deepcopy(dict(self.settings))
        for key, value in values.items():
            section, _, name = key.partition(".")
            if reads(self.settings, self.arm, key):
                settings[section][name] = value
        return relevant(settings, self.arm)

    def artefact_values(self) -> list[dict[str, Any]]:
        """Every combination of searched settings that scores and importance depend on, which are made before it."""
        sections = artefact_sections([self.arm])
        names = [name for name in self.config.parameters if name.partition(".")[0] in sections]
        choices = [self.config.parameters[name].choice or () for name in names]
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*choices)]

    def trial(self, identities: Identities, values: Mapping[str, Any], seed: int) -> Trial:
        """The training of one setting with one of the search's seeds."""
        cell = (self.encoder, self.dataset, self.method, VARIANT)
        return new_trial(identities, cell, seed, self.arm, self.with_values(values), (self.objective,), with_test=False)


def searches(spec: StudySpec, identities: Identities) -> list[Search]:
    """All searches of a study, in the order of its pairs and methods."""
    if spec.search is None:
        return []
    made = []
    for pair in spec.pairs:
        for method in spec.search_methods:
            arm = spec.arm(method)
            config = read_by(arm, spec.search, spec.settings())
            how = {name: value for name, value in plain(config).items() if name not in ("trials", "methods")}
            settings = relevant(spec.settings(), arm)
            given = copy.deepcopy(settings)
            for key in config.parameters:
                section, _, name = key.partition(".")
                given.get(section, {}).pop(name, None)  # its declared value steers nothing
            identity = identity_of(identities, pair.encoder, pair.dataset, method, arm, given)
            key = content_key({"search": how, "objective": spec.search_objective, **identity})
            made.append(
                Search(
                    encoder=pair.encoder,
                    dataset=pair.dataset,
                    method=method,
                    arm=arm,
                    config=config,
                    left_out=tuple(key for key in spec.search.parameters if key not in config.parameters),
                    objective=spec.search_objective,
                    settings=settings,
                    key=key,
                )
            )
    return made


def read_by(arm: Method, search: SearchConfig, settings: Mapping[str, Any]) -> SearchConfig:
    """The search of one arm: the parameters that it does not read would only give the same training again."""
    read = {key: values for key, values in search.parameters.items() if reads(settings, arm, key)}
    return search if len(read) == len(search.parameters) else dataclasses.replace(search, parameters=read)


def said_of(found: Iterable[Search]) -> list[str]:
    """A line for each method whose search leaves out a parameter."""
    lines = {
        search.method: f"search of {search.method}: without {', '.join(search.left_out)}, which it does not read"
        for search in found
        if search.left_out
    }
    return list(lines.values())


def found_setting(search: Search, findings: Findings) -> dict[str, Any] | None:
    """The settings that a search has found, or None while it has not tried as many as it is asked to."""
    found = findings.get(search.key)
    if found is None or found["trials"] < search.config.settings:
        return None
    return search.with_values(found["values"])
