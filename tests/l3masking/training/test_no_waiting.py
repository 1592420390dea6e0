"""No update of any stage waits for the device: each runs on a pretended GPU, from which nothing can be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pretended_gpu import DEVICE, Waited, Watch, encoder_on_it, watched
from small_task import SCORING, data, encoder, scores, settings

from l3masking import graphs
from l3masking.encoders import load
from l3masking.masking.applied import MaskedText
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import Training, encode_inputs, prepare
from l3masking.training import continual, final
from l3masking.training.checkpoint import NO_KEEPER
from l3masking.training.continual import adapt
from l3masking.training.early_stopping import Selection
from l3masking.training.evaluation import Measurement, _classified
from l3masking.training.final import final_stage
from l3masking.training.mlm import TextSource
from l3masking.training.settings import AdaptConfig, FinalConfig, MaskTuningConfig, MetaConfig, StopConfig
from l3masking.training.trajectory import Trajectory

MASKING = MaskingConfig(mean=0.3)
WAITS: dict[str, Callable[[torch.Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "bool": lambda x: bool(x.any()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "numpy": lambda x: x.numpy(),
    "nonzero": lambda x: torch.nonzero(x),
    "where": lambda x: torch.where(x > 0),
    "masked_select": lambda x: x.masked_select(x > 0),
    "an index by a mask": lambda x: x[x > 0],
    "an index of the host": lambda x: x[torch.tensor([1])],
    "an index that is a list": lambda x: x[[0, 1]],
    "repeat_interleave": lambda x: torch.repeat_interleave(x.long()),
    "equal": lambda x: torch.equal(x, x),
    "values": lambda x: torch.tensor([1.0, 2.0], device=DEVICE),
    "a copy that is waited for": lambda x: torch.ones(3).pin_memory().to(DEVICE),
    "a copy that is not pinned": lambda x: torch.ones(3).to(DEVICE, non_blocking=True),
    "a copy in place": lambda x: x.copy_(torch.ones(3)),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_pretended_gpu_sees_what_waits(name: str) -> None:
    x = torch.zeros(3, device=DEVICE)
    with watched(), pytest.raises((Waited, RuntimeError, NotImplementedError, TypeError)):
        WAITS[name](x)
    with watched() as watch:
        x.copy_(torch.ones(3).pin_memory(), non_blocking=True)
        (torch.ones(3).pin_memory().to(DEVICE, non_blocking=True) + x).cumsum(0)
    assert watch.calls == {"copy_": 1, "_to_copy": 1, "add": 1, "cumsum": 1}


def training(method: str, *, buckets: int = 1, **more: Any) -> Training:
    """Two updates of an arm on the device, through the fast pass: transformers' own one asks whether text is padded."""
    there = encoder_on_it(encoder())
    config = settings(max_epochs=1, batch=8, **{"meta": MetaConfig(head_iterations=3), **more})
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, length_buckets=buckets))
    inputs = encode_inputs(METHODS[method], there, data(32), SCORING)
    needed = scores(data(32).mlm_texts) if METHODS[method].needs_scores else None
    tuning = MaskTuningConfig(rate=0.3, fill="top_k", top_k=3, forbid_original=True)
    return prepare(METHODS[method], there, inputs, masking=MASKING, config=config, seed=1, scores=needed, tuning=tuning)


def main_stage(made: Training, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Its whole main stage, without the evaluations."""
    trajectory = made.trajectory()
    monkeypatch.setattr(Trajectory, "_due", lambda *_: False)
    with watched() as watch:
        trajectory.main_stage([Selection(objective="accuracy", config=StopConfig())], None, NO_KEEPER)
    assert watch.calls["_fused_adamw_"] >= 2 * trajectory.total == 4, "the optimiser has made its steps"
    return watch


@pytest.mark.parametrize("on", ["cuda", "meta"])  # meta: in buckets, as on a GPU
@pytest.mark.parametrize("method", ["stl", "l3masking", "mask_tuning"])
def test_no_update_of_the_main_stage_waits(method: str, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "BUCKETS_ON", (on,))
    monkeypatch.setattr(graphs._Process, "wanted", False)
    main_stage(training(method, buckets=2), monkeypatch)


def test_no_update_with_other_dev_heads_and_cosines_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    main_stage(training("l3masking", meta=MetaConfig(dev_mode="once", cos_scope="reference")), monkeypatch)


def test_a_dev_head_that_draws_its_features_anew_asks_whether_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one wait that is meant: a pass through the body costs more."""
    with pytest.raises(RuntimeError, match="item"):
        main_stage(training("l3masking", meta=MetaConfig(dev_mode="train")), monkeypatch)


def test_no_update_of_adapt_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = training("rtm").auxiliary
    assert made is not None
    texts = [MaskedText(ids, row) for ids, row in zip(made.input_ids, made.probabilities, strict=True)]
    monkeypatch.setattr(continual._Adaptation, "evaluate", lambda *_: None)
    for static in (False, True):
        there, config = encoder_on_it(encoder()), AdaptConfig(epochs=1, batch=8, accumulate=2, static=static)
        with watched() as watch:
            source = TextSource(count=len(texts), read=lambda: iter(texts))
            monkeypatch.setattr(type(there), "copied", lambda encoder: encoder)
            adapt(there, source, config, MASKING, seed=1)
        assert watch.calls["_fused_adamw_"] == 2 * config.planned_updates(len(texts) - 3)


def test_no_update_of_the_final_stage_and_no_batch_of_an_evaluation_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = training("stl").trajectory()
    monkeypatch.setattr(final, "measure", lambda *_: Measurement({"accuracy": 0.5}, [], []))
    selection = Selection(objective="accuracy", config=StopConfig(), best=1.0)
    selection.weights = dict(made.model.named_parameters())
    config, batches = made.config, 0
    with watched() as watch:
        final_stage(
            made.model,
            made.task,
            FinalConfig(max_epochs=1),
            config.train,
            config.optim,
            precision="float32",
            selection=selection,
            seed=1,
        )
        assert watch.calls["_fused_adamw_"] == 4 * 2, "as many groups of parameters, and updates"
        for _, logits_BC, _ in _classified(made.model, made.task.validation, "float32", made.portions.tokens):
            batches += logits_BC.device == DEVICE
    assert batches
