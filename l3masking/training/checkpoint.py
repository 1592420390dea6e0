"""What a training needs to go on after its process has died, as plain values and tensors.

A loop offers a snapshot at its evaluations; a `Keeper` decides whether and where it is written. After every step the
keeper may also end the training, which then goes on from there. Little has to be kept of the random streams: a pass
through dropout is seeded by its name, so that only the generators that live through the whole training (orders of
texts, masks, fills) have a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from l3masking.encoders.weights import restore_weights, weights_of
from l3masking.training.early_stopping import Selection


class Snapshot(NamedTuple):
    """The state of a training between two updates."""

    facts: Mapping[str, Any]  # JSON values
    tensors: Mapping[str, Tensor]  # by dotted name; not copied, so they are read before the training goes on


class Keeper(Protocol):
    """Keeps the snapshots of one training."""

    def newest(self) -> Snapshot | None:
        """Where the training goes on; None: at its beginning."""
        ...

    def offer(self, make: Callable[[], Snapshot]) -> None:
        """The training has come to an evaluation: `make` gives its state, and is called only where it is kept."""
        ...

    def beat(self, make: Callable[[], Snapshot]) -> None:
        """The training has made a step: an update, or a batch of an evaluation; `make`: as in `offer`.

        Raises Interrupted where the training is to end here.
        """
        ...


class KeepsNothing:
    """Every training starts at its beginning."""

    def newest(self) -> Snapshot | None:
        return None

    def offer(self, make: Callable[[], Snapshot]) -> None:
        """Nothing is kept."""

    def beat(self, make: Callable[[], Snapshot]) -> None:
        """Nobody asks it to end."""


class OnlyTells(KeepsNothing):
    """Keeps nothing either, and tells of every step."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step

    def beat(self, make: Callable[[], Snapshot]) -> None:
        self._step()


NO_KEEPER = KeepsNothing()


@dataclass(frozen=True, kw_only=True)
class Adding:
    """Offers the snapshots of one stage with what the stages around it know."""

    keeper: Keeper
    facts: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def newest(self) -> Snapshot | None:
        return self.keeper.newest()

    def offer(self, make: Callable[[], Snapshot]) -> None:
        self.keeper.offer(partial(self._whole, make))

    def beat(self, make: Callable[[], Snapshot]) -> None:
        self.keeper.beat(partial(self._whole, make))

    def _whole(self, make: Callable[[], Snapshot]) -> Snapshot:
        facts, tensors = make()
        return Snapshot({**facts, **self.facts}, {**tensors, **self.tensors})


def under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as `name.<their name>`."""
    return {f"{name}.{inner}": tensor for inner, tensor in tensors.items()}


def below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `under` has put there, under its own names."""
    return {whole.removeprefix(f"{name}."): tensor for whole, tensor in tensors.items() if whole.startswith(f"{name}.")}


def plain_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """The weights of a module by name, not copied."""
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts by number of the parameter. Learning rates follow from the update (`schedule_at`)."""
    states = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_state` gave into an optimiser of the same parameters and settings."""
    states: dict[int, dict[str, Tensor]] = {}
    for whole, value in tensors.items():
        index, _, name = whole.partition(".")
        states.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})


Losses = Sequence[Mapping[str, Tensor]]  # [] by task, of each update since the last evaluation, on the device


def losses_state(losses: Losses) -> dict[str, Tensor]:
    """What `restored_losses` takes: of each task its losses, and the updates that have one."""
    tensors: dict[str, Tensor] = {}
    for name in sorted({name for window in losses for name in window}):
        found = {at: window[name] for at, window in enumerate(losses) if name in window}
        tensors[f"{name}.at"] = torch.tensor([*found])
        tensors[f"{name}.values"] = torch.stack([*found.values()])
    return tensors


def restored_losses(tensors: Mapping[str, Tensor], device: torch.device) -> list[dict[str, Tensor]]:
    """Losses by task of each update, on the device on which their mean is taken."""
    losses: list[dict[str, Tensor]] = []
    for whole, at in tensors.items():
        name, _, kind = whole.rpartition(".")
        if kind != "at":
            continue
        losses += [{} for _ in range(len(losses), int(at[-1]) + 1)]
        for index, value in zip(at.tolist(), tensors[f"{name}.values"].to(device).unbind(), strict=True):
            losses[index][name] = value
    return losses


def selections_state(selections: Sequence[Selection], current: int | None) -> Snapshot:
    """What the objectives have kept; `current`: the update whose weights the model holds, which are not repeated.

    Weights are named by their update: objectives that chose the same one share them.
    """
    facts = {
        selection.objective: {
            "best": selection.best if math.isfinite(selection.best) else None,  # None: before the first evaluation
            "best_update": selection.best_update,
            "first_best_update": selection.first_best_update,
            "stop_update": selection.stop_update,
            "counted": selection.counted,
        }
        for selection in selections
    }
    tensors: dict[str, Tensor] = {}
    for selection in selections:
        if selection.best_update != current:
            tensors |= under(str(selection.best_update), selection.weights)
    return Snapshot(facts, tensors)


def restore_selections(
    selections: Sequence[Selection], saved: Snapshot, present: Mapping[int, Mapping[str, Tensor]] | None = None
) -> None:
    """Put back what a snapshot holds of the objectives; present: copies of weights by update that it does not hold."""
    shared = dict(present or {})
    for selection in selections:
        facts = saved.facts["selections"][selection.objective]
        selection.best = -math.inf if facts["best"] is None else facts["best"]
        selection.best_update = facts["best_update"]
        selection.first_best_update, selection.stop_update = facts["first_best_update"], facts["stop_update"]
        selection.counted = list(facts["counted"])
        update = selection.best_update
        if update not in shared:
            shared[update] = below(f"best.{update}", saved.tensors)
        selection.weights = shared[update]


class Stateful(Protocol):
    """A stepper of the main stage."""

    def state(self) -> Snapshot:
        """What its next windows depend on beside the model."""
        ...

    def restore(self, saved: Snapshot) -> None:
        """Go on where `state` was taken."""
        ...


def main_state(
    model: torch.nn.Module,
    stepper: Stateful,
    optimiser: torch.optim.Optimizer,
    selections: Sequence[Selection],
    *,
    curve: Sequence[Mapping[str, Any]],
    losses: Losses,
    update: int,
) -> Snapshot:
    """The main stage after `update`, and after its evaluation where `curve` has that."""
    inside, kept = stepper.state(), selections_state(selections, update)
    facts = {"stage": "main", "update": update, "curve": list(curve)}
    facts |= {"stepper": inside.facts, "selections": kept.facts}
    tensors = under("model", plain_weights(model)) | under("adam", optimiser_state(optimiser))
    tensors |= under("losses", losses_state(losses))
    return Snapshot(facts, tensors | under("stepper", inside.tensors) | under("best", kept.tensors))


def restore_main(
    saved: Snapshot, model: torch.nn.Module, stepper: Stateful, selections: Sequence[Selection]
) -> list[dict[str, Tensor]]:
    """Put back what `main_state` gave, but for the curve and the optimiser. Returns the losses."""
    restore_weights(model, below("model", saved.tensors))
    restore_selections(selections, saved, {saved.facts["update"]: weights_of(model)})
    stepper.restore(Snapshot(saved.facts["stepper"], below("stepper", saved.tensors)))
    return restored_losses(below("losses", saved.tensors), next(model.parameters()).device)
