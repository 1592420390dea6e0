"""Masking a batch: who is selected, what the selected become, and the policies that set the probabilities.

One code path for all policies: random token masking (RTM) is the case in which every eligible token has the same
probability. Shapes: B texts, T positions (padded).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking.errors import InputError, check_choice
from l3masking.masking.probabilities import Redistribution, TokenWeighting, check_mean, mask_probabilities
from l3masking.rng import stream
from l3masking.scoring.words import structural_ids

IGNORED = -100  # label of a position that takes no part in the loss
MaskSelection = Literal["bernoulli", "systematic"]  # independent draws, or a fixed count per text


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """From scores to masks (Kimura et al. 2024, section 3; corruption as in BERT)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    mean: float = 0.15  # average mask probability over a text's eligible tokens, in [0, 1]
    weighting: TokenWeighting = "complement"  # 1 - PLT, or -ln PLT
    redistribute: Redistribution = "equal"  # what exceeds 1: shared by the others, or lost
    floor: float = 0.0  # least probability of an eligible token, in [0, mean]
    selection: MaskSelection = "bernoulli"  # independent draws, or a fixed count per text
    mask_share: float = 0.8  # of the selected: replaced by the mask token, in [0, 1]
    random_share: float = 0.1  # of the selected: replaced by a random token; the rest stays

    def __post_init__(self) -> None:
        check_mean(self.mean, self.floor)
        check_choice("masking.weighting", self.weighting, TokenWeighting)
        check_choice("masking.redistribute", self.redistribute, Redistribution)
        check_choice("masking.selection", self.selection, MaskSelection)
        for name, share in (("mask_share", self.mask_share), ("random_share", self.random_share)):
            if not 0 <= share <= 1:
                raise InputError(f"masking.{name} is {share}: a share lies in [0, 1]")
        if self.mask_share + self.random_share > 1 + 1e-12:
            total = self.mask_share + self.random_share
            raise InputError(f"masking.mask_share + masking.random_share is {total}: at most 1")


class Policy(Protocol):
    """Turns the scores of one text into mask probabilities."""

    needs_scores: ClassVar[bool]

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        """[n] in [0, 1] for n eligible tokens. `likelihood`: [n] in [0, 1], None where no scores are needed."""
        ...


@dataclass(frozen=True)
class Uniform:
    """RTM: the same probability everywhere."""

    needs_scores: ClassVar[bool] = False

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        return np.full(num_eligible, config.mean)


@dataclass(frozen=True)
class L3:
    """L3Masking: the less likely a token, the more often it is masked."""

    needs_scores: ClassVar[bool] = True

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        if likelihood is None:
            raise InputError("this masking policy needs token scores: score the texts first")
        return mask_probabilities(
            likelihood,
            mean=config.mean,
            weighting=config.weighting,
            redistribute=config.redistribute,
            floor=config.floor,
        )


@dataclass(frozen=True)
class L3Shuffled:
    """Control: L3Masking's probabilities, permuted within the text, so that they no longer follow the tokens."""

    needs_scores: ClassVar[bool] = True

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        values = L3().probabilities(num_eligible, likelihood, config, generator)
        return values[torch.randperm(num_eligible, generator=generator).numpy()]


class Corrupted(NamedTuple):
    """A masked batch: ids [B, T], and labels [B, T] with the true id at selected positions, IGNORED elsewhere."""

    input_ids: Tensor
    labels: Tensor


def corrupt(
    input_ids_BT: Tensor,
    probabilities_BT: Tensor,
    tokenizer: Any,
    generator: torch.Generator,
    config: MaskingConfig | None = None,
) -> Corrupted:
    """Select positions by their probabilities and replace 80 % by the mask token, 10 % by a random one, 10 % not.

    input_ids_BT: integer ids on the CPU, unchanged. probabilities_BT: in [0, 1], 0 where nothing may be selected. The
    random token is drawn uniformly from the vocabulary without its special tokens; it may be the original.
    """
    config = config or MaskingConfig()
    probabilities_BT = probabilities_BT.double()
    if config.selection == "bernoulli":
        draws = torch.rand(probabilities_BT.shape, generator=generator, dtype=torch.float64)
        selected = draws < probabilities_BT
    else:
        # systematic sampling: one offset u per text; a position is taken where the running sum + u passes an integer,
        # which happens with probability m_i and floor or ceil of sum(m) times in all. In-row order is the text's.
        offset = torch.rand((len(probabilities_BT), 1), generator=generator, dtype=torch.float64)
        ends = torch.floor(torch.cumsum(probabilities_BT, dim=1) + offset)
        selected = torch.diff(ends, dim=1, prepend=torch.zeros_like(offset)) > 0
    fate = torch.rand(input_ids_BT.shape, generator=generator, dtype=torch.float64)
    vocabulary = _ordinary_ids(tokenizer)
    random_ids = vocabulary[torch.randint(len(vocabulary), input_ids_BT.shape, generator=generator)]
    corrupted = input_ids_BT.clone()
    corrupted[selected & (fate < config.mask_share)] = tokenizer.mask_token_id
    random = selected & (fate >= config.mask_share) & (fate < config.mask_share + config.random_share)
    corrupted[random] = random_ids[random]
    return Corrupted(corrupted, torch.where(selected, input_ids_BT, IGNORED))


def _ordinary_ids(tokenizer: Any) -> Tensor:
    ordinary = torch.ones(len(tokenizer), dtype=torch.bool)
    ordinary[[index for index in tokenizer.all_special_ids if index < len(tokenizer)]] = False
    return torch.nonzero(ordinary)[:, 0]


class MaskingCollator:
    """Drop-in for transformers' masked-LM collator, with one mask probability per token instead of one for all.

    Features are lists or tensors of ids, or dictionaries with `input_ids` and, optionally, `mask_probabilities` (one
    value per input id, 0 where nothing may be masked; see TokenScores.spread). Without that column every eligible token
    has `config.mean`; a column `special_tokens_mask` takes further tokens out. Returns padded `input_ids`,
    `attention_mask` and `labels` (-100 = no loss). With transformers' Trainer pass `remove_unused_columns=False`.

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
        rows = []
        for column in columns:
            ids = np.asarray(column["input_ids"])
            row = column.pop("mask_probabilities", None)
            marked = np.asarray(column.pop("special_tokens_mask", np.zeros(len(ids))), dtype=bool)
            if row is None:
                row = np.where(marked | np.isin(ids, special), 0.0, self.config.mean)
            rows.append(_checked(row, ids))
        batch = dict(self.tokenizer.pad(columns, return_tensors="pt"))
        padded = torch.zeros(batch["input_ids"].shape, dtype=torch.float64)
        for index, row in enumerate(rows):
            left = padded.shape[1] - len(row) if self.tokenizer.padding_side == "left" else 0
            padded[index, left : left + len(row)] = torch.from_numpy(row)
        corrupted = corrupt(batch["input_ids"], padded, self.tokenizer, self._own_generator(), self.config)
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


# To add a policy: a frozen dataclass with `needs_scores` and `probabilities`, and its name here.
POLICIES: dict[str, Policy] = {"uniform": Uniform(), "l3": L3(), "l3_shuffled": L3Shuffled()}
