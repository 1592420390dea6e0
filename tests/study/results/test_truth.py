"""The labels of test texts: as the trials saw them, or a reason why there are none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import study.results.truth
from l3masking.data.table import DataSpec, load_data
from study.plan.resolved import planned
from study.results.truth import true_labels
from study.space.spec import Generated


def test_labels_are_those_of_the_dataset(finished_study: Path):
    resolved = planned(finished_study / "out")
    found, sets, missing = true_labels(resolved, ["words"])
    spec = resolved.spec.datasets["words"]
    assert isinstance(spec, DataSpec)
    data = load_data(spec, name="words")
    assert (sets, missing) == ({}, {})
    assert np.array_equal(found["words"].labels, data.test.labels)
    assert found["words"].num_classes == len(data.labels) == 3


def test_a_generated_world_is_not_made_for_it(finished_study: Path, monkeypatch: pytest.MonkeyPatch):
    resolved = planned(finished_study / "out")
    spec = dataclasses.replace(resolved.spec, datasets={"words": Generated(generated="toyworld")})
    monkeypatch.setattr(study.results.truth, "find_world", lambda: None)
    monkeypatch.setattr(study.results.truth, "concrete_data", lambda spec: pytest.fail("it would be made"))
    found, sets, missing = true_labels(resolved._replace(spec=spec), ["words"])
    assert (found, sets, missing) == ({}, {}, {"words": "its generated texts are not on this machine"})


def test_labels_that_the_study_keeps_need_no_data(finished_study: Path, monkeypatch: pytest.MonkeyPatch):
    root = finished_study / "out"
    resolved = planned(root)
    wanted = true_labels(resolved, ["words"])
    monkeypatch.setattr(study.results.truth, "load_data", lambda *_, **__: pytest.fail("the data were read"))
    found, sets, missing = true_labels(resolved, ["words"], root)
    assert (sets, missing) == ({}, {})
    assert np.array_equal(found["words"].labels, wanted.test["words"].labels)
    assert found["words"].labels.dtype == wanted.test["words"].labels.dtype
    assert found["words"].num_classes == wanted.test["words"].num_classes


def test_what_the_study_does_not_keep_is_read_from_the_data(finished_study: Path, tmp_path: Path):
    root = finished_study / "out"
    resolved = planned(root)
    assert true_labels(resolved, ["words"], tmp_path).test.keys() == {"words"}
    gone = resolved.identities.evaluations | {"words": {"gone": "e" * 32}}  # a set that the kept facts do not have
    identities = dataclasses.replace(resolved.identities, evaluations=gone)
    assert true_labels(resolved._replace(identities=identities), ["words"], root).test.keys() == {"words"}
    other = dataclasses.replace(resolved.identities, datasets={"words": "f" * 32})
    _, _, missing = true_labels(resolved._replace(identities=other), ["words"], root)
    assert missing == {"words": "its content has changed since the study ran"}
