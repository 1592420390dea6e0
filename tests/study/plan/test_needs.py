"""What arms read: the same artefacts in the words of a space as in the jobs of a run, without a look at data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l3masking.methods import METHODS
from study.adapted import adapted_key
from study.artefacts import Artefact
from study.assign import Assigner
from study.plan import inputs
from study.plan.grid import make_plan
from study.plan.needs import Need, adaptation_key, artefacts_of
from study.plan.trials import Identities
from study.space.reader import make_space
from study.space.spec import StudySpec

FILES = {"train": "a.jsonl", "validation": "b.jsonl", "test": "c.jsonl"}
VARIANTS = {
    "length": {"scoring.max_length": 40},
    "metric": {"scoring.metric": "whole_word"},
    "network": {"selective.network": True},
    "delta": {"selective.delta": 0.2},
    "rate": {"selective.max_rate": 0.3},
    "trained": {"selective.network_lr": 1e-3},
    "seed": {"selective.classifier_seed": 1},
    "task": {"adapt.corpus": None},
    "other": {"adapt.corpus": "other"},
    "lr": {"optim.lr": 1e-3},
    "meta": {"meta.head_lr": 1e-3},
    "adapt": {"adapt.lr": 1e-3},
    "precision": {"precision": "bf16"},
}
KNOWN = Identities(
    encoders={"bert-base": "b", "scibert": "s"},
    datasets={"one": "1", "units": "2"},
    corpora={"domain": "d", "other": "o"},
    corpus_units={"domain": 10, "other": 20},
)


def space(**changes: Any) -> StudySpec:
    """Every arm, two encoders, two datasets (one masks texts of a file), two corpora, and many variants."""
    names = ("bert-base", "scibert")
    given: dict[str, Any] = {
        "name": "test",
        "datasets": {"one": FILES, "units": FILES | {"mlm": "units.txt"}},
        "corpora": {"domain": {"files": "domain.txt"}, "other": {"files": "other.txt"}},
        "pairs": [{"encoder": encoder, "dataset": dataset} for encoder in names for dataset in ("one", "units")],
        "methods": [*METHODS, "entropies", "both"],
        "arms": {"entropies": {"like": "rtm", "policy": "entropy"}, "both": {"like": "l3masking", "adapt": "entropy"}},
        "adapt": {"corpus": "domain"},
        "seeds": 2,
        "variants": VARIANTS,
    }
    return make_space(given | changes, source="test.yaml", folder=Path("/nowhere"))


def all_of(job: Artefact) -> Iterator[Artefact]:
    for need in job.needs():
        yield from all_of(need)
    yield job


@pytest.fixture
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load_data", "look_at", "resolve_revision"):
        monkeypatch.setattr(inputs, name, lambda *_, **__: pytest.fail("looked at data"))


@pytest.mark.usefixtures("_no_data")
def test_two_trainings_share_a_need_exactly_where_they_share_a_job() -> None:
    spec = space()
    assigner = Assigner(spec=spec, identities=KNOWN, root=Path("nowhere"), commit=None)
    job_of: dict[str, str] = {}
    need_of: dict[str, str] = {}
    adapted: dict[str, str] = {}
    kinds: set[str] = set()
    for trial in make_plan(spec, KNOWN):
        needs, jobs = artefacts_of(trial, spec.datasets[trial.dataset]), assigner.jobs(trial)
        assert [need.kind for need in needs] == [kind for kind, _ in jobs]
        for need, job in zip(needs, jobs.values(), strict=True):
            chain, made = need.chain(), list(all_of(job))
            assert len(chain) == len(made)
            for one, other in zip(chain, made, strict=True):
                kinds.add(one.kind)
                assert job_of.setdefault(one.key, other.key) == other.key, (trial.cell, one)
                assert need_of.setdefault(other.key, one.key) == one.key, (trial.cell, one)
        key = adaptation_key(trial)
        assert (key is None) == (not trial.arm.adapts)
        if key is not None:
            made_key = adapted_key(assigner.of_grid(trial))
            assert adapted.setdefault(f"{key}-{trial.seed}", made_key) == made_key
    assert kinds == {"scores", "classifier", "heuristic", "network", "prediction"}
    assert len(set(adapted.values())) == len(adapted) > 100
    assert len(job_of) > 100


def needs(method: str, **changes: Any) -> list[Need]:
    spec = space(methods=[method], variants={}, seeds=1, **changes)
    (first, *_) = make_plan(spec, KNOWN)
    return list(artefacts_of(first, spec.datasets[first.dataset]))


def test_what_some_arms_read_by_hand() -> None:
    assert needs("stl") == needs("rtm") == needs("dapt") == needs("mask_tuning") == []
    (scores,) = needs("l3masking")
    assert (scores.kind, scores.dataset, scores.corpus, scores.settings["entropy"]) == ("scores", "one", None, False)
    first, second = needs("both")  # an entropy for the corpus; the last stage reads the same kind of folder
    assert [(need.dataset, need.corpus, need.settings["entropy"]) for need in (first, second)] == [
        (None, "domain", True),
        ("one", None, True),
    ]
    (predicted,) = needs("selective")
    assert [need.kind for need in predicted.chain()] == ["classifier", "heuristic", "network", "prediction"]
    assert (predicted.dataset, predicted.corpus) == ("one", "domain"), "a network of each task"
    (found,) = needs("selective", adapt={"corpus": None})
    assert [need.kind for need in found.chain()] == ["classifier", "heuristic"], "the texts are the labelled ones"
    units = [{"encoder": "bert-base", "dataset": "units"}]
    (other,) = needs("selective", adapt={"corpus": None}, pairs=units)
    assert (other.kind, other.corpus) == ("prediction", None), "texts of a file of units have no labels"


def test_scores_of_a_corpus_serve_the_trainings_on_every_dataset() -> None:
    spec = space(methods=["both"], variants={}, seeds=1)
    of_corpus = [artefacts_of(trial, spec.datasets[trial.dataset])[0] for trial in make_plan(spec, KNOWN)]
    assert len(of_corpus) == 4
    assert len({need.key for need in of_corpus}) == 2, "one for each encoder"
