"""Draws with groups: together, at the wanted rates; without groups they are the draws of every earlier version."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from l3masking.masking.corruption import IGNORED, corrupt, leaders_of
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream

SELECTIONS = ("bernoulli", "systematic")
SIGMAS = 5.0
GOLDEN = {  # of the commit before groups came in
    "bernoulli": "eee6c24468c3b6513922a7940930a1c74a41d71d2d0ae1bf5b95b93d9694b555",
    "systematic": "f605dbdf018e90dab03e1996800d101275dc31b42dadc8d5b5ea660e2fe8c03e",
}


class SixtyIds:
    """What `corrupt` reads of a tokenizer: 60 ids, of which the first five are special and the fifth is the mask."""

    mask_token_id = 4
    all_special_ids = (0, 1, 2, 3, 4)

    def __len__(self) -> int:
        return 60


def batch() -> tuple[Tensor, Tensor]:
    """Ids and unequal probabilities [200, 30]; some are 0, some 1."""
    ids = torch.randint(5, 60, (200, 30), generator=stream(1, "ids"))
    probabilities = torch.rand((200, 30), generator=stream(2, "probabilities"), dtype=torch.float64)
    return ids, torch.where(probabilities < 0.3, 0.0, torch.where(probabilities > 0.95, 1.0, probabilities))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_draws_without_groups_are_those_of_before(selection: str) -> None:
    ids, probabilities = batch()
    config = MaskingConfig(selection=selection)
    found = corrupt(ids, probabilities, SixtyIds(), stream(3, "mask"), config)
    content = found.input_ids.numpy().tobytes() + found.labels.numpy().tobytes()
    assert hashlib.sha256(content).hexdigest() == GOLDEN[selection]
    alone = torch.arange(30).repeat(200, 1)
    same = corrupt(ids, probabilities, SixtyIds(), stream(3, "mask"), config, alone)
    assert torch.equal(same.input_ids, found.input_ids)
    assert torch.equal(same.labels, found.labels)


def test_random_tokens_are_special_only_where_that_is_allowed() -> None:
    """60 ids, five of them special: 1/12 of the drawn ones where all may be drawn."""
    ids = torch.full((200, 100), 7)
    always = torch.ones(ids.shape, dtype=torch.float64)
    drawn = {}
    for exclude in (True, False):
        config = MaskingConfig(mask_share=0.0, random_share=1.0, random_exclude_special=exclude)
        drawn[exclude] = corrupt(ids, always, SixtyIds(), stream(5, "mask"), config).input_ids
    assert drawn[True].min() >= 5
    special = int((drawn[False] < 5).sum())
    assert abs(special - 20_000 / 12) < SIGMAS * math.sqrt(20_000 / 12 * 11 / 12)
    assert set(drawn[False].unique().tolist()) == set(range(60))


GROUPS = [0, 0, 3, 1, 1, 1, 7, 0, 2]  # of the nine tokens at positions 1 to 9; group 0 comes twice
CHANCES = {0: 0.2, 3: 0.9, 1: 0.5, 7: 1.0, 2: 0.0}


def grouped(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """`rows` times one text of 11 ids, with probabilities and leaders."""
    ids = torch.arange(5, 16).repeat(rows, 1)
    chances = torch.tensor([0.0, *(CHANCES[group] for group in GROUPS), 0.0], dtype=torch.float64)
    leaders = leaders_of(np.array(GROUPS), np.arange(1, 10), 11)
    return ids, chances.repeat(rows, 1), torch.from_numpy(leaders).repeat(rows, 1)


def test_the_first_token_of_a_group_leads() -> None:
    assert leaders_of(np.array(GROUPS), np.arange(1, 10), 11).tolist() == [0, 1, 1, 3, 4, 4, 4, 7, 1, 9, 10]
    assert leaders_of(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_groups_are_selected_together_at_their_rates(selection: str) -> None:
    rows = 20_000
    ids, probabilities, leaders = grouped(rows)
    found = corrupt(ids, probabilities, SixtyIds(), stream(4, "mask"), MaskingConfig(selection=selection), leaders)
    selected = found.labels != IGNORED
    assert torch.equal(selected, selected.gather(1, leaders))
    assert torch.equal(found.labels[selected], ids[selected])
    assert torch.equal(found.input_ids[~selected], ids[~selected])
    for position, chance in enumerate(probabilities[0].tolist()):
        error = math.sqrt(chance * (1 - chance) / rows)
        assert abs(float(selected[:, position].double().mean()) - chance) <= SIGMAS * error
    if selection == "systematic":  # the sum over groups is 2.6
        firsts = [at for at, leader in enumerate(leaders[0].tolist()) if at == leader]
        assert set(selected[:, firsts].sum(1).tolist()) == {2, 3}


def test_groups_are_drawn_independently_under_bernoulli() -> None:
    rows = 40_000
    ids, probabilities, leaders = grouped(rows)
    found = corrupt(ids, probabilities, SixtyIds(), stream(5, "mask"), MaskingConfig(), leaders)
    selected = (found.labels != IGNORED).double()
    both = float((selected[:, 1] * selected[:, 4]).mean())
    chance = CHANCES[0] * CHANCES[1]
    assert abs(both - chance) <= SIGMAS * math.sqrt(chance * (1 - chance) / rows)


def test_the_tokens_of_a_group_are_replaced_each_by_itself() -> None:
    rows = 30_000
    ids, _, leaders = grouped(rows)
    found = corrupt(ids, torch.ones(ids.shape), SixtyIds(), stream(6, "mask"), MaskingConfig(), leaders)
    masked = (found.input_ids == SixtyIds.mask_token_id).double()
    both = float((masked[:, 4] * masked[:, 5]).mean())
    assert abs(both - 0.64) <= SIGMAS * math.sqrt(0.64 * 0.36 / rows)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_groups_leave_the_generator_where_it_would_be_without(selection: str) -> None:
    """What pairs the arms."""
    ids, probabilities, leaders = grouped(7)
    ends = []
    for given in (None, leaders):
        generator = stream(7, "mask")
        corrupt(ids, probabilities, SixtyIds(), generator, MaskingConfig(selection=selection), given)
        ends.append(generator.get_state())
    assert torch.equal(*ends)
