"""A finding beside its fresh seeds, and how far the best of many noisy means lies too high."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from compared_cells import seeded
from registered import KNOWN
from searched import MEAN, space

from study.plan.searches import searches
from study.results.optimism import bias, expected_largest, findings_of, in_words
from study.results.paired import named_generator


def test_the_expected_largest_is_that_of_drawn_numbers():
    assert expected_largest(1) == pytest.approx(0, abs=1e-9)
    assert expected_largest(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-6)
    drawn = named_generator("largest").normal(size=(20_000, 20)).max(axis=1)
    assert abs(expected_largest(20) - drawn.mean()) < 5 * drawn.std() / math.sqrt(len(drawn))
    assert bias(20) == (
        "The best of 20 noisy means is too high: of 20 equal settings by about 1.9 standard errors of a mean."
    )


def test_a_finding_stands_beside_its_fresh_seeds():
    spec = space({"parameters": MEAN, "methods": ["l3masking"]})
    [search, *_] = searches(spec, KNOWN)
    found = {search.key: {"values": {"masking.mean": 0.3}, "validation": 0.812, "trials": 20}}
    row = seeded("l3masking", [0.7] * 10, variant="best", encoder=search.encoder, dataset=search.dataset)
    row = dataclasses.replace(row, objective=search.objective, validation_mean=0.799)
    [one] = findings_of([search], found, [row])
    assert (one.validation, one.fresh, one.fresh_seeds, one.settings) == (0.812, 0.799, 10, 20)
    lines = in_words([one])
    place = f"{search.encoder} / {search.dataset}"
    assert lines == [
        f"Search of l3masking on {place}: masking.mean 0.3. Validation {search.objective}: 81.20 % as the best of 20 "
        "settings; 79.90 % over 10 fresh seeds.",
        bias(20),
    ]
    [early] = findings_of([search], found, [])
    assert "no fresh seed has finished" in in_words([early])[0]
    assert findings_of([search], {}, [row]) == []
    assert in_words([]) == []


def test_the_bias_is_what_a_search_among_equal_settings_shows():
    """Twenty equal settings, three trainings each: the best mean against fresh trainings of that setting."""
    generator, studies = named_generator("search"), 4000
    means = generator.normal(0, 1, (studies, 20, 3)).mean(axis=2).max(axis=1)
    fresh = generator.normal(0, 1, (studies, 10)).mean(axis=1)
    error = 1 / math.sqrt(3)
    excess = (means - fresh).mean() / error
    assert abs(excess - expected_largest(20)) < 5 * np.std(means - fresh) / error / math.sqrt(studies)
