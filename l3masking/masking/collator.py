"""A drop-in for transformers' masked-LM collator with a mask probability per token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking.errors import InputError
from l3masking.masking.corruption import corrupt, leaders_of
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.scoring.words import structural_ids


class MaskingCollator:
    """Drop-in for transformers' masked-LM collator, with one mask probability per token instead of one for all.

    Features are lists or tensors of ids, or dictionaries with `input_ids` and, optionally, `mask_probabilities` (one
    value per input id, 0 where nothing may be masked; see TokenScores.spread). Without that column every eligible token
    has `config.mean`; a column `special_tokens_mask` takes further tokens out. A column `mask_groups` (one whole number
    per input id) masks tokens of one number together, such as those of a word; a token with -1 is by itself. Returns
    padded `input_ids`, `attention_mask` and `labels` (-100 = no loss). With transformers' Trainer pass
    `remove_unused_columns=False`.

    seed: of the masks. In a DataLoader with workers each worker and epoch has a stream of its own, which also depends
    on the seed that the DataLoader draws (from its `generator`, or torch's default one).
    """

    def __init__(self, tokenizer: Any, config: MaskingConfig | None = None, *, seed: int = 0) -> None:
        self.tokenizer = tokenizer
        self.config = config or MaskingConfig()
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        self._worker_seed: int | None = None  # of the worker that `generator` belongs to; None: of the main process

    def __call__(self, features: Sequence[Mapping[str, Any] | Sequence[int] | NDArray | Tensor]) -> dict[str, Tensor]:
        columns = [_as_columns(feature, index) for index, feature in enumerate(features)]
        special = structural_ids(self.tokenizer)
        rows, groups = [], []
        for column in columns:
            ids = np.asarray(column["input_ids"])
            row = column.pop("mask_probabilities", None)
            marked = np.asarray(column.pop("special_tokens_mask", np.zeros(len(ids))), dtype=bool)
            if row is None:
                row = np.where(marked | np.isin(ids, special), 0.0, self.config.mean)
            rows.append(_checked(row, ids))
            groups.append(_grouped(column.pop("mask_groups", None), rows[-1]))
        batch = dict(self.tokenizer.pad(columns, return_tensors="pt"))
        padded = torch.zeros(batch["input_ids"].shape, dtype=torch.float64)
        leaders = torch.arange(padded.shape[1]).repeat(len(rows), 1)
        for index, row in enumerate(rows):
            left = padded.shape[1] - len(row) if self.tokenizer.padding_side == "left" else 0
            padded[index, left : left + len(row)] = torch.from_numpy(row)
            leaders[index, left : left + len(row)] = left + torch.from_numpy(groups[index])
        corrupted = corrupt(batch["input_ids"], padded, self.tokenizer, self._own_generator(), self.config, leaders)
        return {**batch, "input_ids": corrupted.input_ids, "labels": corrupted.labels}

    def _own_generator(self) -> torch.Generator:
        """The stream of this process. A DataLoader's worker gets a copy of the collator, which would draw the same."""
        worker = torch.utils.data.get_worker_info()
        if worker is not None and worker.seed != self._worker_seed:  # a new worker, of this epoch's DataLoader iterator
            self._worker_seed = worker.seed
            self.generator = stream(self.seed, "worker", worker.id, worker.seed)
        return self.generator


def _as_columns(feature: Any, index: int) -> dict[str, Any]:
    """One feature as a dictionary with `input_ids`."""
    columns = dict(feature) if isinstance(feature, Mapping) else {"input_ids": feature}
    if "input_ids" not in columns:
        raise InputError(f"features[{index}] has the columns {', '.join(map(str, columns))}: `input_ids` is missing")
    ids = np.asarray(columns["input_ids"])
    if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise InputError(f"features[{index}] is {feature!r:.60}: give the ids of one text, or a dictionary of columns")
    if not isinstance(feature, Mapping):
        columns["input_ids"] = ids.tolist()
    return columns


def _checked(row: Any, ids: NDArray) -> NDArray[np.float64]:
    values = np.asarray(row, dtype=np.float64)
    if len(values) != len(ids):
        raise InputError(f"mask_probabilities has {len(values)} values for {len(ids)} input ids: give one for each")
    if not np.all((values >= 0) & (values <= 1)):
        raise InputError("mask_probabilities holds values outside [0, 1]")
    return values


def _grouped(groups: Any, row: NDArray[np.float64]) -> NDArray[np.int64]:
    """[T] the position that draws for each, from the column `mask_groups` or None, and the checked probabilities."""
    everywhere = np.arange(len(row))
    if groups is None:
        return everywhere
    numbers = np.asarray(groups)
    if numbers.shape != row.shape:
        raise InputError(f"mask_groups has {numbers.size} values for {len(row)} input ids: give one for each")
    if len(numbers) and (numbers.dtype.kind not in "iu" or numbers.min() < -1):
        raise InputError("mask_groups holds what is no group: give whole numbers from 0 on, and -1 for a token alone")
    grouped = np.flatnonzero(numbers >= 0)
    leaders = leaders_of(numbers[grouped], grouped, len(row))
    unequal = np.flatnonzero(row != row[leaders])
    if len(unequal):
        at, first = unequal[0], leaders[unequal[0]]
        raise InputError(
            f"mask_groups: the input ids {first} and {at} are in group {numbers[at]}, but their mask_probabilities are "
            f"{row[first]} and {row[at]}: give a group one probability, or put -1 for one of them"
        )
    return leaders
