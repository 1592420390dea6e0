"""The card of an exported model: hostile names stay names, and nothing is said that is not known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hostile_names import PAYLOADS
from huggingface_hub import ModelCard

from l3masking.data.spec import DataSpec
from l3masking.encoders.table import EncoderSpec
from l3masking.reading import Reading
from study.plan.resolved import planned
from study.use.card_metadata import CardFacts
from study.use.chosen import choose
from study.use.energy import BOARD_WATTS, energy_sentences
from study.use.model_card import card_text

READING = Reading(max_length=16)


@pytest.fixture(scope="module")
def facts(finished_study: Path) -> CardFacts:
    root = finished_study / "out"
    resolved = planned(root)
    choice = choose(root, resolved, "tiny/words/l3masking", "macro_f1", "best")
    return CardFacts(resolved.spec, choice, choice.best, READING, True, None)


def with_names(facts: CardFacts, name: str) -> CardFacts:
    """The same model of a study in which everything that a user can name has this name."""
    choice, seed = facts.choice, facts.choice.best
    trial = dataclasses.replace(choice.trials[seed], encoder=name, dataset=name, variant=name)
    record = {**choice.records[seed], "labels": [name, "z"], "encoder": name, "dataset": name}
    cell = dataclasses.replace(choice.cell, encoder=name, dataset=name, variant=name)
    spec = dataclasses.replace(
        facts.spec,
        name=name,
        encoders={name: EncoderSpec(path="somewhere")},
        datasets={name: DataSpec(train="a.csv")},
    )
    made = choice._replace(cell=cell, records={seed: record}, trials={seed: trial})  # type: ignore[dict-item]
    return facts._replace(spec=spec, choice=made)


@pytest.mark.parametrize("payload", [*PAYLOADS, "x\n---\nlicense: mit\n---\n", "{{ card_data }}", "a: b # c"])
def test_hostile_names_stay_names(payload: str, facts: CardFacts) -> None:
    text = card_text(with_names(facts, payload))
    card = ModelCard(text)
    assert card.data.license == "unknown"
    assert {result.dataset_name for result in card.data.eval_results} == {
        "".join(" " if mark in "\n\t\r\x1b\u202e" else mark for mark in payload)
    }
    (head, body) = text.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head).keys() == {
        *("license", "library_name", "pipeline_tag", "tags", "metrics", "model-index")
    }
    for wrong in ("<script>", "[x](javascript", "**b**", "\x1b", "\u202e", "\nlicense:", "a|b"):
        assert wrong not in body
    assert "## Provenance" in body


def test_what_was_overlapping_is_a_warning(facts: CardFacts) -> None:
    seed = facts.choice.best
    record = facts.choice.records[seed]
    assert "No text of validation or test that was used occurs in train." in card_text(facts)
    for dropped, warned in ((0, True), (5, False)):
        counts = {**record["overlap"], "test_in_train": 5, "dropped_test": dropped}
        changed = facts.choice._replace(records={seed: {**record, "overlap": counts}})  # type: ignore[dict-item]
        text = card_text(facts._replace(choice=changed))
        assert ("**Overlap:** 5 of 12 test texts also occur in train" in text) == warned


def test_further_sets_have_their_rows(facts: CardFacts) -> None:
    seed = facts.choice.best
    found = {"ha|ns": {"metrics": {"accuracy": 0.5, "macro_f1": 0.25}}}
    record = {**facts.choice.records[seed], "evaluations": found}
    text = card_text(facts._replace(choice=facts.choice._replace(records={seed: record})))  # type: ignore[dict-item]
    assert f"| {seed} | ha\\|ns | 50.00 | 25.00 |" in text
    assert "Further sets, read once: ha\\|ns." in text


def test_a_hub_encoder_and_dataset_are_linked_and_a_class_of_ours_says_so(facts: CardFacts) -> None:
    spec = dataclasses.replace(
        facts.spec,
        encoders={"tiny": EncoderSpec(hub="owner/encoder")},
        datasets={"words": DataSpec(hub="owner/data", revision="a" * 40, train="train")},
    )
    text = card_text(facts._replace(spec=spec, plain=False))
    data = ModelCard(text).data
    assert (data.base_model, data.datasets, data.library_name) == ("owner/encoder", ["owner/data"], "l3masking")
    assert {(one.dataset_type, one.dataset_revision) for one in data.eval_results} == {("owner/data", "a" * 40)}
    assert "from l3masking.classifier import register" in text


def test_energy_is_an_upper_bound_or_not_known(facts: CardFacts) -> None:
    run = facts.record["run"]
    assert "not measured, and no power is known" in " ".join(energy_sentences({**run, "device": "x86_64"}))
    assert BOARD_WATTS["NVIDIA H200"] == 700
    said = " ".join(energy_sentences({**run, "device": "NVIDIA H200", "seconds": 1800.0}))
    assert "took 30 min of wall time on NVIDIA H200" in said
    assert "at most 700 W, so the GPU used at most 0.35 kWh" in said
    assert "Emissions: not measured" in said
