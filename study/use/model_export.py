"""A trained model of a study as a folder that transformers reads, with its tokenizer and card: whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from l3masking.data.spec import DataSpec
from l3masking.errors import InputError
from l3masking.reading import Reading
from l3masking.whole import made_whole
from study.plan.resolved import Resolved, opened_study, planned
from study.space.spec import configs
from study.store.places import Place, fetched, inside
from study.store.store import MODELS
from study.store.whole_files import file_digest
from study.use.card_metadata import CardFacts
from study.use.chosen import ChosenSeeds, check_kept, choose
from study.use.model_card import card_text

CARD_FILE = "README.md"
LICENCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


class Exported(NamedTuple):
    """What an export has written."""

    folder: Path
    choice: ChosenSeeds
    plain: bool  # whether transformers' own classes read it; else l3masking.classifier.TextClassifier does


def export_cell(
    place: Place,
    name: str,
    out: Path,
    *,
    seeds: str = "best",
    objective: str | None = None,
    license: str | None = None,
) -> Exported:
    """Write the model of a cell into the folder `out`; seeds "all": one model per seed, each in a folder of its own.

    place, name, objective, seeds: as in `choose`. license: of the model, as the Hub names it; None: unknown. Raises
    InputError where `out` holds something, models are not kept, or an exported model differs from the trained one.
    """
    check_free(out)
    if license is not None and not LICENCE_ID.fullmatch(license):
        raise InputError(f"--license {license!r}: expected an identifier of the Hub, such as apache-2.0 or cc-by-4.0")
    root = opened_study(place)
    resolved = planned(root)
    choice = choose(root, resolved, name, objective, seeds)
    check_kept(place, root, resolved, choice)
    with made_whole(out) as temporary:
        plain = True
        for seed in choice.seeds:
            folder = temporary if seeds == "best" else temporary / f"seed-{seed}"
            folder.mkdir(parents=True)
            facts = _export_one(place, resolved, choice, seed, folder, license)
            plain = facts.plain
        if seeds == "all":
            (temporary / CARD_FILE).write_text(card_text(facts._replace(seed=None)), encoding="utf-8")
    return Exported(out, choice, plain)


def check_free(out: Path) -> None:
    """Raise InputError unless `out` is an empty folder or nothing yet."""
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise InputError(f"--out {out}: something is there already; give a new folder, or remove it first")


def _export_one(
    place: Place, resolved: Resolved, choice: ChosenSeeds, seed: int, folder: Path, license: str | None
) -> CardFacts:
    """Write the model of one seed, and its card."""
    from l3masking.encoders.export import load_tuned, write_classifier

    record = choice.records[seed]
    kept = fetched(inside(place, MODELS, record["key"]))
    check_weights(kept, record["run"].get("weights", {}))
    tuned = load_tuned(kept)
    if list(tuned.labels) != record["labels"]:
        raise InputError(
            f"{MODELS}/{record['key']}: its classes are not those of the record: remove the folder, and run the study "
            "again"
        )
    data = resolved.spec.datasets[record["dataset"]]
    pairs = isinstance(data, DataSpec) and data.text_pair is not None
    reading = reading_under(choice.trials[seed].settings, pairs=pairs, separator=tuned.model.encoder.separator)
    plain = write_classifier(tuned, reading, folder)
    facts = CardFacts(spec=resolved.spec, choice=choice, seed=seed, reading=reading, plain=plain, license=license)
    (folder / CARD_FILE).write_text(card_text(facts), encoding="utf-8")
    return facts


def check_weights(folder: Path, weights: Mapping[str, str]) -> None:
    """Raise InputError unless a kept model is that of its record. weights: `run.weights` of it, file -> BLAKE2b."""
    for name, digest in weights.items():
        if file_digest(folder / name) != digest:
            raise InputError(
                f"{folder / name}: damaged, its weights are not those that its record names; remove {folder} and run "
                "the study again, which trains the model again"
            )


def reading_under(settings: Mapping[str, Any], *, pairs: bool, separator: int | None) -> Reading:
    """How a model reads texts that was trained under these settings of a trial."""
    setting = configs(settings)
    return Reading(
        max_length=setting.scoring.max_length,
        whitespace=setting.scoring.whitespace,
        pairs=pairs,
        padded=setting.finetune.model.attend_padding,
        precision=setting.finetune.precision,
        separator=separator,
    )
