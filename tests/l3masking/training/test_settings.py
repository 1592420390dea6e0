"""Presets, ranges, and how many updates the paper's data make."""

from __future__ import annotations

import dataclasses

import pytest

from l3masking.errors import InputError
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.settings import ScoringConfig
from l3masking.training.settings import PRESETS, FinalConfig, FinetuneConfig, MaskTuningConfig, TrainConfig


def test_presets_make_valid_settings_and_paper_has_no_final_stage() -> None:
    made = {}
    for name, sections in PRESETS.items():
        default = FinetuneConfig()
        MaskTuningConfig(**sections.get("mask_tuning", {}))
        MaskingConfig(**sections.get("masking", {}))
        ScoringConfig(**sections.get("scoring", {}))
        changed = {
            section: dataclasses.replace(getattr(default, section), **values)
            for section, values in sections.items()
            if section not in ("mask_tuning", "masking", "scoring")
        }
        made[name] = dataclasses.replace(default, **changed)
    assert made["default"] == FinetuneConfig()
    paper = made["paper"]
    assert not paper.final.enabled
    assert paper.optim.lr == paper.optim.head_lr == paper.meta.head_lr == 1e-4
    assert (paper.train.batch, paper.train.accumulate) == (64, 1)
    assert (paper.stop.patience, paper.stop.count_warmup, paper.evaluate.unit) == (3, False, "epochs")
    assert [made[name].train.batch for name in ("mask_tuning", "mask_tuning_pairs")] == [16, 32]
    assert made["mask_tuning"].train.max_epochs == 3


def test_the_reference_preset_is_the_released_code() -> None:
    """Kimura et al.'s released code; every other setting is that of `default`."""
    sections = PRESETS["reference"]
    assert sections["scoring"] == {"normalise": "reference", "whitespace": "keep", "context": "full"}
    assert sections["masking"] == {
        "weighting": "surprisal",
        "redistribute": "none",
        "random_exclude_special": False,
    }
    assert sections["meta"] == {"cos_scope": "reference", "dev_mode": "train"}
    assert sections["model"] == {"attend_padding": True}
    default = FinetuneConfig()
    for section in ("train", "evaluate", "stop", "final"):
        assert dataclasses.replace(getattr(default, section), **sections[section]) == getattr(default, section)
    assert (sections["train"], sections["stop"]["patience"]) == ({"batch": 64, "accumulate": 2}, 20)
    assert (sections["evaluate"], sections["final"]) == ({"every": 30, "unit": "updates"}, {"enabled": True})


def test_plan_of_updates_on_the_paper_s_data() -> None:
    """13 updates an epoch and 1,950 in all on ACL-ARC, 117 of them warm-up; 203, 30,450 and 1,827 on 26,005 lines."""
    for num_texts, per_epoch, total, warmup in ((1688, 13, 1950, 117), (26005, 203, 30450, 1827)):
        config = FinetuneConfig()
        assert config.train.updates_per_epoch(num_texts) == per_epoch
        assert config.train.updates_per_epoch(num_texts) * config.train.max_epochs == total
        assert int(config.optim.warmup * total) == warmup


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: TrainConfig(batch=0), "train.batch"),
        (lambda: TrainConfig(accumulate=0), "train.accumulate"),
        (lambda: TrainConfig(max_epochs=0), "train.max_epochs"),
        (lambda: TrainConfig(length_buckets=0), "train.length_buckets"),
        (lambda: FinalConfig(lr=0.0), "final.lr"),
        (lambda: FinalConfig(patience=0), "final.patience"),
        (lambda: FinalConfig(decay=-1.0), "final.decay"),
    ],
)
def test_values_outside_their_range_are_refused_by_name(make, name: str) -> None:
    with pytest.raises(InputError, match=name):
        make()
