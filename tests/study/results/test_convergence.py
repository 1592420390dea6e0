"""Whether a training had converged, on made-up curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from study.results.convergence import FLAT, converged, longer_gains


def record(losses: list[float], best: float, *, allowed: int = 20, mask_mean: float | None = None, passes: float = 0.0):
    curve = [{"epoch": float(n), "train_loss": {"primary": loss}} for n, loss in enumerate(losses, 1)]
    made: dict[str, Any] = {"curve": curve, "epochs_to_best": best, "epochs_to_first_best": best}
    made |= {"epochs_to_stop": float(len(losses)), "mask_mean": mask_mean, "mlm_passes": passes}
    return made | {"settings": {"train": {"max_epochs": allowed}}}


FLAT_CURVE = [1.0, 0.5, 0.2, *[0.1] * 17]


def test_a_flat_loss_and_an_early_best_have_converged() -> None:
    assert converged(record(FLAT_CURVE, 10.0)) is True


def test_a_best_value_in_the_last_tenth_has_not() -> None:
    assert converged(record(FLAT_CURVE, 17.9)) is True
    assert converged(record(FLAT_CURVE, 18.0)) is False


def test_the_first_of_equal_best_values_counts_and_old_records_have_the_latest_alone() -> None:
    tied = record(FLAT_CURVE, 10.0) | {"epochs_to_best": 20.0}
    assert converged(tied) is True
    del tied["epochs_to_first_best"]
    assert converged(tied) is False


def test_a_loss_that_still_falls_has_not() -> None:
    assert converged(record([2.0 - 0.05 * n for n in range(20)], 10.0)) is False


def test_the_epochs_allowed_are_those_of_the_texts_that_drive_the_loop() -> None:
    """Half as many masked-LM texts as training texts: 20 epochs of them are 10 of the task."""
    losses = [1.0, 0.5, *[0.1] * 8]
    assert converged(record(losses, 8.9, mask_mean=0.15, passes=20.0)) is True
    assert converged(record(losses, 9.0, mask_mean=0.15, passes=20.0)) is False


def test_the_updates_that_were_planned_count_where_the_record_has_them() -> None:
    """An epoch of 3 updates that leave out a part of the texts: 20 epochs are 60 updates and 16 passes."""
    losses = [1.0, 0.5, *[0.1] * 14]
    made = record(losses, 14.3) | {"updates": 60, "planned_updates": 60}
    assert converged(made) is True
    assert converged(made | {"epochs_to_first_best": 14.4}) is False
    assert converged(made | {"epochs_to_first_best": 14.4, "planned_updates": 180}) is True, "stopped early"


@pytest.mark.parametrize("losses", [[], [0.1]])
def test_a_curve_of_less_than_two_points_tells_nothing(losses: list[float]) -> None:
    assert converged(record(losses, 1.0)) is None


def test_the_slope_is_that_of_a_least_squares_line_over_the_last_quarter() -> None:
    generator = np.random.default_rng(3)
    losses = generator.random(22).tolist()
    slope = np.polyfit(np.arange(17, 23), losses[-6:], 1)[0]
    assert longer_gains(record(losses, 1.0)["curve"]) == pytest.approx(-slope * 22 / 10)


def test_the_bound_is_that_of_a_tenth_more_training() -> None:
    """A slope of s nats an epoch after 20 epochs: two more epochs lower the loss by 2 s."""
    for factor, expected in ((0.99, True), (1.01, False)):
        losses = [3.0 - factor * FLAT / 2 * n for n in range(20)]
        assert converged(record(losses, 5.0)) is expected
