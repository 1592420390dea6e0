"""The part of a model card that the Hub reads: licence, encoder, data, and results as fractions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from l3masking.data.spec import DataSpec
from l3masking.encoders.table import EncoderSpec
from l3masking.reading import Reading
from study.plan.trials import Trial
from study.report.layout import OBJECTIVES, plain
from study.space.spec import StudySpec
from study.store.record import Record
from study.use.chosen import ChosenSeeds

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

NOT_KNOWN = "unknown"
HUB_METRICS = {"accuracy": "accuracy", "macro_f1": "f1"}  # metric -> its name on the Hub


class CardFacts(NamedTuple):
    """What a card is made from."""

    spec: StudySpec
    choice: ChosenSeeds
    seed: int | None  # of the model; None: the folder holds one model per seed
    reading: Reading
    plain: bool  # whether transformers' own classes read it
    license: str | None  # that the user states for the model

    @property
    def record(self) -> Record:
        """The record of the model; of several, that of the first."""
        return self.choice.records[self.choice.seeds[0] if self.seed is None else self.seed]

    @property
    def trial(self) -> Trial:
        """The training of the model; of several, that of the first."""
        return self.choice.trials[self.record["seed"]]


def metadata(facts: CardFacts) -> ModelCardData:
    """The part of the card that the Hub reads. Values are fractions."""
    from huggingface_hub import ModelCardData

    trial = facts.trial
    encoder, data = facts.spec.encoders[trial.encoder], facts.spec.datasets[trial.dataset]
    return ModelCardData(
        license=facts.license or NOT_KNOWN,
        library_name="transformers" if facts.plain else "l3masking",
        pipeline_tag="text-classification",
        tags=["text-classification", "l3masking", plain(trial.method)],
        base_model=encoder.hub if isinstance(encoder, EncoderSpec) else None,
        datasets=[data.hub] if isinstance(data, DataSpec) and data.hub else None,
        metrics=[HUB_METRICS.get(name, name) for name in facts.record["test"]],
        model_name=plain(facts.choice.cell.key.name),
        eval_results=_eval_results(facts),
    )


def _eval_results(facts: CardFacts) -> list[EvalResult]:
    """Of one model its own values on test and validation; then the mean over the seeds of the objective."""
    from huggingface_hub import EvalResult

    trial, cell, record = facts.trial, facts.choice.cell, facts.record
    data = facts.spec.datasets[trial.dataset]
    hub = data.hub if isinstance(data, DataSpec) else None

    def result(split: str, metric: str, value: float, name: str) -> EvalResult:
        """One value of the card; `name` says whose it is."""
        return EvalResult(
            task_type="text-classification",
            task_name="Text classification",
            dataset_type=hub or plain(trial.dataset),
            dataset_name=plain(trial.dataset),
            dataset_split=split,
            dataset_revision=data.revision if isinstance(data, DataSpec) else None,
            dataset_args={"content_hash": record["data_hash"]},
            metric_type=HUB_METRICS.get(metric, metric),
            metric_name=name,
            metric_args={"average": "macro"} if metric == "macro_f1" else None,
            metric_value=value,
        )

    found = []
    if facts.seed is not None:
        parts = {"test": record["test"], "validation": record["validation"]}
        for split, values in parts.items():
            known = {name: value for name, value in values.items() if name in OBJECTIVES}
            found += [result(split, name, value, f"{split} {OBJECTIVES[name]}") for name, value in known.items()]
    if cell.mean is not None:
        named = f"test {OBJECTIVES.get(cell.objective, cell.objective)}, mean over {cell.n} seeds"
        found.append(result("test", cell.objective, cell.mean, named))
    return found
