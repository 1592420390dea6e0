"""The state of one training: its main stage, and the final stage of each objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import restore_weights, weights_of
from l3masking.metrics import METRICS
from l3masking.training.checkpoint import (
    NO_KEEPER,
    Adding,
    Keeper,
    Snapshot,
    below,
    main_state,
    restore_main,
    restore_optimiser,
    restore_selections,
    selections_state,
    under,
)
from l3masking.training.early_stopping import Selection
from l3masking.training.evaluation import (
    Measurement,
    Task,
    check_course,
    check_finite,
    judge,
    mean_losses,
    measure,
    unheard,
)
from l3masking.training.filling import MaskTuning
from l3masking.training.final import final_stage
from l3masking.training.mask_tune import MaskTuneStepper
from l3masking.training.model import MultiTaskModel
from l3masking.training.optim import MainStage, Pace, adamw, decay_groups, linear_factor, schedule_at
from l3masking.training.outcome import Outcome
from l3masking.training.portions import Portions
from l3masking.training.settings import FinetuneConfig
from l3masking.training.steps import Auxiliary, Examples, Stepper
from l3masking.training.task_weights import WEIGHTINGS
from l3masking.training.windows import WindowStepper


class Trajectory:
    """The state of one training run."""

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        config: FinetuneConfig,
        seed: int,
        auxiliary: Auxiliary | None,
        weighting: str,
        tuning: MaskTuning | None = None,
        pace: Pace | None = None,
        portions: Portions | None = None,
    ) -> None:
        self.task, self.config, self.seed, self.auxiliary = task, config, seed, auxiliary
        self.model = MultiTaskModel(encoder.copied(), task.num_classes, config.model, rng.stream(seed, "head"))
        self.weighting = WEIGHTINGS[weighting](1 if auxiliary is None else 2, config.meta, encoder.device)
        train = config.train
        self.portions = portions or Portions(max(train.batch, config.meta.head_sample))
        self.stepper: WindowStepper
        if tuning is not None:
            self.stepper = MaskTuneStepper(self.model, task.train, tuning, config, seed, self.portions)
        else:
            self.stepper = Stepper(
                self.model,
                task.train,
                task.validation,
                auxiliary,
                self.weighting,
                config.meta,
                model_config=config.model,
                batch=train.batch,
                accumulate=train.accumulate,
                num_chunks=train.length_buckets,
                precision=config.precision,
                seed=seed,
                sampling=train.sampling,
                portions=self.portions,
            )
        self.total, self.warmup, self.every = MainStage.paced(config, len((auxiliary or task.train).input_ids), pace)
        self.curve: list[dict[str, Any]] = []
        self.losses: list[dict[str, Tensor]] = []  # by task, of each update since the last evaluation
        self.saved: Snapshot | None = None  # where it goes on; of a main stage only until that has been taken up

    def main_stage(
        self,
        selections: Sequence[Selection],
        on_evaluation: Callable[[dict[str, Any]], None] | None,
        keeper: Keeper = NO_KEEPER,
    ) -> None:
        """Train until every objective has stopped or the epochs are used up, from `saved` on where there is one."""
        begun, moments = 0, dict[str, Tensor]()
        self.model.train()
        if self.saved is not None:
            begun, moments = self._resume(self.saved, selections)
            if all(selection.stopped for selection in selections) or (begun == self.total and not self._due(begun)):
                return
        optim = self.config.optim
        groups = decay_groups(self.model.language_model, optim.lr, optim.decay)
        head = {"params": [*self.model.classifier.parameters()], "lr": optim.head_lr, "weight_decay": optim.head_decay}
        optimiser = adamw([*groups, head], optim)
        schedule = schedule_at(optimiser, lambda update: linear_factor(update, self.total, self.warmup), begun)
        if begun:
            restore_optimiser(optimiser, moments)
            del moments
        kept = partial(main_state, self.model, self.stepper, optimiser, selections)
        for update in range(begun, self.total + 1):
            state = partial(kept, curve=self.curve, losses=self.losses, update=update)
            if update > begun:  # that one has been made
                self.losses.append(self.stepper.window(update))
                self.model.clip(optim.clip)
                optimiser.step()
                schedule.step()
                if self.weighting.learns:
                    self.weighting.update()
                keeper.beat(state)
            if not self._due(update):
                continue
            point = self.evaluate_at(update, partial(keeper.beat, state))
            values = point["validation"]
            keepers = [s for s in selections if s.see(values[s.objective], update, warming_up=update < self.warmup)]
            if keepers:
                weights = weights_of(self.model)  # one copy for all: nobody writes to it
                for selection in keepers:
                    selection.weights = weights
            if on_evaluation:
                on_evaluation(point)
            keeper.offer(state)
            if all(selection.stopped for selection in selections):
                return

    def _due(self, update: int) -> bool:
        """Whether the evaluation after `update` is to be made and has not been."""
        last = self.curve[-1]["update"] if self.curve else 0
        return update > last and (update % self.every == 0 or update == self.total)

    def _resume(self, saved: Snapshot, selections: Sequence[Selection]) -> tuple[int, dict[str, Tensor]]:
        """Put all but the optimiser back; the update after which the main stage goes on, and its moments."""
        self.curve = list(saved.facts["curve"])
        if saved.facts["stage"] == "final":
            restore_selections(selections, saved)
            self.portions.restore(saved.facts["portions"])
            return self.total, {}
        self.losses.extend(restore_main(saved, self.model, self.stepper, selections))
        self.saved = None
        return saved.facts["update"], below("adam", saved.tensors)

    def evaluate_at(self, update: int, beat: Callable[[], None]) -> dict[str, Any]:
        """A point of the curve: validation metrics and the mean training losses since the last one."""
        train_loss = mean_losses(self.losses)
        metrics = self.measure(self.task.validation, beat).metrics
        point = {
            "update": update,
            "epoch": self.epochs_at(update),
            "validation": metrics,
            "train_loss": train_loss,
            "task_weights": self.stepper.task_weights(),
            "empty_mlm_batches": self.stepper.empty_mlm_batches,
        }
        check_course(
            "",
            update,
            self.losses,
            {**train_loss, **metrics},
            rate=lambda at: self.config.optim.lr * linear_factor(at - 1, self.total, self.warmup),
            earlier=self.curve[-1]["train_loss"] if self.curve else None,
        )
        self.curve.append(point)
        self.losses.clear()
        return point

    def epochs_at(self, update: int) -> float:
        """Primary examples seen after `update` updates, over |train|."""
        return self.examples_at(update) / len(self.task.train.labels)

    def examples_at(self, update: int) -> int:
        train = self.config.train
        return update * train.accumulate * min(train.batch, len(self.task.train.labels))

    def measure(self, examples: Examples, beat: Callable[[], None] = unheard) -> Measurement:
        tokens = self.portions.tokens
        return measure(self.model, examples, self.task.num_classes, self.config.precision, tokens, beat)

    def finished(self, selections: Sequence[Selection], keeper: Keeper = NO_KEEPER) -> dict[str, Outcome]:
        """The outcome of each objective, one final stage after the other."""
        kept, outcomes = selections_state(selections, None), dict[str, Outcome]()
        for selection in selections:
            facts = {"stage": "final", "curve": self.curve, "selections": kept.facts, "objective": selection.objective}
            facts |= {"done": {name: outcome.final_stage for name, outcome in outcomes.items()}}
            tensors = under("best", kept.tensors)
            for name, outcome in outcomes.items():
                tensors |= under(f"done.{name}", outcome.weights)
            outcomes[selection.objective] = self.finish(selection, keeper, Snapshot(facts, tensors))
        return outcomes

    def finish(self, selection: Selection, keeper: Keeper, before: Snapshot) -> Outcome:
        """Final stage from the objective's best weights, then the one look at the test split. before: for snapshots."""
        saved, (facts, tensors) = self.saved, before
        restore_weights(self.model, selection.weights)
        stage = {"enabled": False, "epochs": 0, "kept": False}
        if saved is not None and selection.objective in saved.facts["done"]:
            stage = saved.facts["done"][selection.objective]
            restore_weights(self.model, below(f"done.{selection.objective}", saved.tensors))
        elif self.config.final.enabled:
            stage = final_stage(
                self.model,
                self.task,
                self.config.final,
                self.config.train,
                self.config.optim,
                precision=self.config.precision,
                selection=selection,
                seed=self.seed,
                portions=self.portions,
                keeper=Adding(keeper=keeper, facts=facts, tensors=tensors),
                saved=saved if saved is not None and saved.facts["objective"] == selection.objective else None,
            )
        facts = {**facts, "done": {**facts["done"], selection.objective: stage}}
        tensors, weights = dict(tensors), weights_of(self.model)
        tensors |= under(f"done.{selection.objective}", weights)

        def state() -> Snapshot:
            return Snapshot({**facts, "portions": self.portions.state()}, tensors)

        beat = partial(keeper.beat, state)
        validation = self.measure(self.task.validation, beat).metrics
        test = None if self.task.test is None else self.measure(self.task.test, beat)
        check_finite("the chosen weights", {} if test is None else test.metrics)
        stop = selection.stop_update or self.curve[-1]["update"]
        curve = [point for point in self.curve if point["update"] <= stop]
        micro_steps = stop * self.config.train.accumulate
        mlm_size = len(self.auxiliary.input_ids) if self.auxiliary else 0
        return Outcome(
            objective=selection.objective,
            test=None if test is None else {name: test.metrics[name] for name in METRICS},
            validation={name: validation[name] for name in METRICS},
            epochs_to_best=self.epochs_at(selection.best_update),
            epochs_to_first_best=self.epochs_at(selection.first_best_update),
            epochs_to_stop=self.epochs_at(stop),
            updates=stop,
            planned_updates=self.total,
            primary_examples=self.examples_at(stop),
            mlm_passes=micro_steps * min(self.config.train.batch, mlm_size) / mlm_size if mlm_size else 0.0,
            empty_mlm_batches=curve[-1]["empty_mlm_batches"],
            final_stage=stage,
            curve=curve,
            test_predictions=None if test is None else test.predictions,
            test_probabilities=None if test is None else test.probabilities,
            evaluations={
                name: judge(self.model, further, self.config.precision, self.portions.tokens, beat)
                for name, further in self.task.further.items()
            },
            micro_batch=self.portions.micro_batch,
            weights=weights,
        )
