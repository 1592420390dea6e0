"""Short training runs that several test modules look at."""

from __future__ import annotations

import torch
from small_task import SCORING, data, encoder, scores, settings
from torch import Tensor

from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import Inputs, encode_task, prepare
from l3masking.scoring.words import encode_as
from l3masking.training.evaluation import Task
from l3masking.training.steps import Auxiliary

NOISY = data(40, 0.5)  # half of the labels are drawn anew: metrics jump up and down
SHORT = settings(max_epochs=3)


def task() -> Task:
    return encode_task(encoder(), data(), SCORING)


def auxiliary(mean: float = 0.2) -> Auxiliary:
    texts = data().mlm_texts
    inputs = Inputs(task=task(), mlm=encode_as(SCORING, encoder().tokenizer, texts))
    masking = MaskingConfig(mean=mean)
    made = prepare(METHODS["l3masking"], encoder(), inputs, masking=masking, config=SHORT, seed=0, scores=scores(texts))
    assert made.auxiliary is not None
    return made.auxiliary


def states(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)
