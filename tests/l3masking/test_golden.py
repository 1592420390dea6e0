"""The checked-in losses, exactly on the platform that made them and to 1e-4 elsewhere."""

from __future__ import annotations

import golden
import pytest

from l3masking.encoders.families import ForwardPass


@pytest.mark.parametrize("forward", golden.FILES)
def test_the_losses_are_the_checked_in_ones(forward: ForwardPass) -> None:
    lines = golden.FILES[forward].read_text().splitlines()
    held = [line for line in lines if not line.startswith("#")]
    found = golden.losses(forward)
    assert len(held) == len(found) == 20
    if lines[: -len(held)] == golden.header():
        assert found == held
    for ours, theirs in zip(found, held, strict=True):
        assert [float(x) for x in ours.split()] == pytest.approx([float(x) for x in theirs.split()], rel=1e-4)


@pytest.mark.parametrize("forward", golden.FILES)
def test_the_checked_in_losses_move(forward: ForwardPass) -> None:
    rows = [list(map(float, line.split())) for line in golden.FILES[forward].read_text().splitlines() if line[0] != "#"]
    assert [row[0] for row in rows] == list(range(1, 21))
    for column in range(1, 5):
        assert len({row[column] for row in rows}) == 20
    assert all(abs(row[3] + row[4] - 1) < 1e-12 for row in rows)
