"""With what a study was made: program and packages of its records, and the data and encoders on this machine."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from dataclasses import dataclass, field

from l3masking.data.table import DataSpec, load_data
from l3masking.encoders.hub import hub_commit, resolve_revision
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import EnvironmentFault, InputError
from study.plan.inputs import concrete_data, concrete_encoder, is_made
from study.plan.resolved import RESOLVED_FILE, Resolved
from study.space.spec import Generated
from study.store.data_facts import DATA_FOLDER
from study.store.record import Record
from study.verify.data_checks import KnownLabels
from study.verify.verification import Advance, Verification

ABSENT = ("does not exist", "No such file")  # in what is said of a source that is not here; its advice is for the owner


@dataclass
class Makers:
    """The programs and packages that made the records."""

    commits: Counter[str] = field(default_factory=Counter)
    versions: dict[str, Counter[str]] = field(default_factory=dict)  # package -> version -> records
    devices: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Count one record."""
        run = record["run"]
        self.commits[run["commit"] or "unknown"] += 1
        self.devices[run["device"]] += 1
        for name, version in run["versions"].items():
            self.versions.setdefault(name, Counter())[version] += 1

    def say(self, verdict: Verification) -> None:
        """Note what is mixed, and what a reader cannot look up."""
        for what, found in {"commit": self.commits, "device": self.devices, **self.versions}.items():
            if len(found) > 1:
                parts = ", ".join(f"{name} ({count})" for name, count in sorted(found.items()))
                verdict.note(f"records were made with more than one {what}: {parts}")
        changed = sum(count for name, count in self.commits.items() if name.endswith("+"))
        if changed:
            verdict.note(f"{changed} records were made with files changed since the commit that they name")

    def is_here(self) -> bool:
        """Whether this machine computes as that of the records did: the same Python, numpy and processor or GPU."""
        import numpy as np

        here = {"python": platform.python_version(), "numpy": np.__version__}
        return all({*self.versions.get(name, {})} == {version} for name, version in here.items())


def check_sources(
    resolved: Resolved, known: KnownLabels, verdict: Verification, progress: Advance, *, online: bool
) -> None:
    """Hold the encoders and datasets that this machine has against those of the study. Nothing is made or run.

    online: whether what is missing here is asked for, and fetched; a Hub encoder's commit is looked up there.
    """
    spec, identities = resolved.spec, resolved.identities
    encoders = [(f"encoder {name}", name) for name in identities.encoders if name in spec.encoders]
    datasets = [(f"dataset {name}", name) for name in identities.datasets if name in spec.datasets]
    jobs = [*encoders, *datasets]
    for number, (title, name) in enumerate(jobs):
        progress("encoders and data", number, len(jobs))
        try:
            if title.startswith("encoder "):
                _encoder(title, spec.encoders[name], identities.encoders[name], verdict, online=online)
            else:
                _dataset(resolved, name, known, verdict, online=online)
        except (EnvironmentFault, InputError, OSError) as fault:
            why = _line(fault)
            more = "" if any(text in why for text in ABSENT) else f" ({why})"
            verdict.note(f"{title}: not on this machine, and not checked{more}")
    progress("encoders and data", len(jobs), len(jobs))


def _encoder(title: str, entry: EncoderSpec | Generated, revision: str, verdict: Verification, *, online: bool) -> None:
    if not is_made(entry):
        verdict.note(f"{title}: its generated files are not on this machine, and not checked")
        return
    spec = concrete_encoder(entry)
    if spec.hub is None:
        found = resolve_revision(spec, offline=True)
    elif online:
        found = hub_commit(dataclasses.replace(spec, revision=revision))
    else:
        verdict.note(f"{title}: pinned to commit {revision} of {spec.hub}; --online asks whether the Hub has it")
        return
    verdict.checked["encoders"] += 1
    _compare(title, found, revision, verdict, generated=isinstance(entry, Generated))


def _dataset(resolved: Resolved, name: str, known: KnownLabels, verdict: Verification, *, online: bool) -> None:
    entry, seed, title = resolved.spec.datasets[name], resolved.spec.seeds[0], f"dataset {name}"
    if not is_made(entry):
        verdict.note(f"{title}: its generated texts are not on this machine, and not checked")
        return
    data = load_data(concrete_data(entry, seed), name=name, offline=not online)
    wanted = resolved.identities.data_hash(name, seed)
    verdict.checked["datasets"] += 1
    if wanted is None or not _compare(
        title, data.content_hash, wanted, verdict, generated=isinstance(entry, Generated)
    ):
        return
    facts = known.files.get(wanted)
    file = f"{DATA_FOLDER}/{wanted}.json"
    if facts is not None and facts["splits"]["test"]["labels"] != list(data.test.labels) and not verdict.is_wrong(file):
        verdict.wrong(file, "test: its labels are not those of the data on this machine")
    if isinstance(entry, DataSpec) and entry.per_seed and len(resolved.spec.seeds) > 1:
        verdict.note(f"{title}: each seed has its own cut; that of seed {seed} was checked")


def _compare(title: str, found: str, wanted: str, verdict: Verification, *, generated: bool) -> bool:
    """Whether they are equal; else that is said. Another kind of processor generates another encoder."""
    if found == wanted:
        return True
    said = f"{title} has another content on this machine ({found}) than in the study ({wanted})"
    if generated:
        verdict.note(f"{said}: it was generated here")
    else:
        verdict.wrong(RESOLVED_FILE, said)
    return False


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
