"""What the stages of an arm read that trials share: which artefacts, of which texts, made under which settings.

The one place that says so, for the jobs of a run and for the estimates of a plan. It needs no data and no weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from l3masking.data.table import DataSpec
from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD
from l3masking.methods import Method
from l3masking.stages import Stage
from l3masking.training.settings import FinetuneConfig
from study.plan.trials import Trial, corpus_of_stage, stage_identity
from study.space.relevant import as_keyed, without_later
from study.space.spec import Configs, Generated, configs, plain
from study.store.whole_files import content_key

NeedKind = Literal["scores", "classifier", "heuristic", "network", "prediction"]
SCORE_SCHEMA = 1  # of a score folder; part of its key. Another cut into shards needs another number
OF_ADAPTATION = ("adapt", "masking", "scoring", "selective", "precision")  # sections that `adapt` stages depend on
OF_HEURISTIC = ("delta", "criterion", "unit", "stop_words", "top_share")  # of section `selective`


@dataclass(frozen=True, kw_only=True)
class Need:
    """An artefact by the names that the space gives to what it is made from."""

    kind: NeedKind
    encoder: str
    dataset: str | None  # whose texts or task it is made from; None for the scores of a corpus
    corpus: str | None  # whose units it describes; None: texts of the dataset
    settings: Mapping[str, Any] = field(hash=False)  # all that may change it
    made_from: tuple[Need, ...] = ()  # other artefacts

    @property
    def key(self) -> str:
        """The same for two needs that one artefact serves."""
        above = [need.key for need in self.made_from]
        return content_key([self.kind, self.encoder, self.dataset, self.corpus, self.settings, above])

    def chain(self) -> tuple[Need, ...]:
        """All that must be made for it, in order, itself last."""
        return (*(one for need in self.made_from for one in need.chain()), self)


def artefacts_of(trial: Trial, data: DataSpec | Generated) -> tuple[Need, ...]:
    """The artefacts that the stages of a trial read, each once. `data`: the entry of its dataset."""
    setting, found = configs(trial.settings), list[Need]()
    for stage in trial.arm.stages:
        corpus, needs = corpus_of_stage(stage, trial.settings), trial.arm.needs_of(stage)
        if needs & {LIKELIHOOD, ENTROPY}:
            found.append(_scores(trial, corpus, setting))
        if IMPORTANCE in needs:
            found.append(_importance(trial, corpus, setting, data))
    return tuple({need.key: need for need in found}.values())


def _scores(trial: Trial, corpus: str | None, setting: Configs) -> Need:
    """One scoring serves all stages of an arm: entropies are kept for all of them if one asks."""
    how = {"scoring": plain(setting.scoring), "precision": setting.finetune.precision}
    return Need(
        kind="scores",
        encoder=trial.encoder,
        dataset=trial.dataset if corpus is None else None,
        corpus=corpus,
        settings=how | {"entropy": ENTROPY in trial.arm.needs},
    )


def score_key(
    revision: str, content_hash: str, scoring: Mapping[str, Any], precision: str, *, entropy: bool = False
) -> str:
    """Name of the scores of some texts: everything that may change one. scoring: plain values."""
    identity = {
        "schema": SCORE_SCHEMA,
        "revision": revision,
        "data_hash": content_hash,
        "scoring": without_later({"scoring": scoring})["scoring"],
        "precision": precision,
    }
    return content_key(identity | ({"entropy": True} if entropy else {}))


def _importance(trial: Trial, corpus: str | None, setting: Configs, data: DataSpec | Generated) -> Need:
    """By the heuristic where the texts are the labelled ones themselves, else as a scoring network predicts it."""
    options = plain(setting.selective)
    scoring = {"max_length": setting.scoring.max_length, "whitespace": setting.scoring.whitespace}

    def need(kind: NeedKind, settings: Mapping[str, Any], *made_from: Need, of: str | None = None) -> Need:
        encoder, dataset = trial.encoder, trial.dataset
        return Need(kind=kind, encoder=encoder, dataset=dataset, corpus=of, settings=settings, made_from=made_from)

    how = {"scoring": scoring, "finetune": of_classifier(setting), "seed": setting.selective.classifier_seed}
    heuristic = need("heuristic", {name: options[name] for name in OF_HEURISTIC}, need("classifier", how))
    if corpus is None and masks_labelled(data) and not setting.selective.network:
        return heuristic
    return need("prediction", {}, need("network", of_network(options), heuristic), of=corpus)


def of_network(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of section `selective` what the training of a scoring network reads beside the heuristic."""
    return {name: value for name, value in options.items() if name.startswith("network_") or name == "class_weight"}


def masks_labelled(data: DataSpec | Generated) -> bool:
    """Whether the masked-LM texts of a dataset are its training texts, whose labels are known."""
    return isinstance(data, Generated) or data.mlm == "instance"


def classifier_config(setting: Configs) -> FinetuneConfig:
    """How the classifier behind importance is fine-tuned.

    Padding is masked, as it is asked about parts of texts, and its batches are shuffled passes: `train.sampling` and
    `train.on_nonfinite` say how the arm that needs it is trained.
    """
    model = dataclasses.replace(setting.finetune.model, attend_padding=False)
    train = dataclasses.replace(setting.finetune.train, sampling="auto", on_nonfinite="fail")
    return dataclasses.replace(setting.finetune, model=model, train=train)


def of_classifier(setting: Configs) -> dict[str, Any]:
    """The settings of fine-tuning that the classifier behind importance reads, as keys hold them."""
    settings = as_keyed(plain(classifier_config(setting)))
    return {name: value for name, value in settings.items() if name != "meta"}


def adaptation_of(arm: Method, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All of an arm and its settings that may change the encoder which its `adapt` stages give."""
    stages: tuple[Stage, ...] = arm.adapts
    own = {name: value for name, value in settings.items() if name in OF_ADAPTATION}
    model = as_keyed(settings)["model"]
    own |= {name: model[name] for name in ("attend_padding", "forward") if name in model}
    asks = any(IMPORTANCE in arm.needs_of(stage) for stage in stages)  # a classifier
    return {
        "stages": [stage_identity(arm, stage) for stage in stages],
        "settings": own | ({"finetune": of_classifier(configs(settings))} if asks else {}),
    }


def adaptation_key(trial: Trial) -> str | None:
    """The same for trainings whose `adapt` stages give the same encoder if their seed is the same; None without any."""
    if not trial.arm.adapts:
        return None
    return content_key([trial.encoder, trial.dataset, adaptation_of(trial.arm, trial.settings)])
