"""Texts that somebody wants to see token by token: which encoder and settings, and what is said beside them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from l3masking.analysis.columns import mask_columns
from l3masking.analysis.token_view import TokenView, view_tokens
from l3masking.data.characters import is_blank
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.encoders.table import EncoderSpec, find_encoder
from l3masking.errors import InputError
from l3masking.masking.policies.base import CORPUS, IMPORTANCE
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.settings import ScoringConfig
from l3masking.selective.settings import SelectiveConfig
from study.plan.inputs import advised, concrete_encoder
from study.space.spec import StudySpec
from study.tag_profiles import find_policies

RANDOM = "uniform"  # the policy that stands beside all others


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is to be shown."""

    encoder: str  # a name of the space or of ENCODERS, a folder, or a Hub id
    texts: Sequence[str]
    policies: Sequence[str] = ("l3",)
    weightings: Sequence[str] | None = None  # for policies that read the likelihood; None: as the space, or the default
    mean: float | None = None  # average mask probability; None: that of the space, or the default
    max_length: int | None = None  # ids of a text; None: that of the space, or the default, as far as the encoder goes
    spec: StudySpec | None = None  # a space whose settings, encoders and policies are used
    classifier: Path | None = None  # a saved fine-tuned model, for policies that need importance
    label: str | None = None  # true class of the texts; None: what the classifier predicts


class Inspected(NamedTuple):
    """What is shown."""

    views: list[TokenView]
    about: list[str]  # encoder, settings, and what a reader must know


def inspect_texts(wanted: Inspection) -> Inspected:
    """Score the texts and mask them under each policy, random masking first. InputError for what cannot be shown."""
    check_texts(wanted.texts)
    spec = wanted.spec
    policies = find_policies([RANDOM, *wanted.policies], spec.policies if spec else {})
    masking = spec.masking if spec else MaskingConfig()
    columns = mask_columns(policies, wanted.weightings or (masking.weighting,))
    if wanted.mean is not None:
        masking = dataclasses.replace(masking, mean=wanted.mean)
    asks = sorted(name for name, policy in policies.items() if IMPORTANCE in policy.needs)
    if asks and wanted.classifier is None:
        raise InputError(
            f"--policy {asks[0]}: needs a fine-tuned classifier that tells which tokens matter: give --classifier "
            "FOLDER (models/KEY of a study that ran with resources.save_models)"
        )
    for option, given in (("--classifier", wanted.classifier), ("--label", wanted.label)):
        if given is not None and not asks:
            raise InputError(f"{option} {given}: only --policy importance reads it; add that policy, or leave it out")
    place = _encoder_at(wanted.encoder, spec)
    with advised():
        encoder = load_encoder(place)
    if encoder.family.decodes:
        raise InputError(f"encoder {place.place}: a {encoder.model_type} model gives no scores: take another encoder")
    scoring = _scoring(wanted, encoder)
    precision = spec.precision if spec else "float32"
    importance, said = _importance(wanted, encoder, scoring) if asks else (None, [])
    views = view_tokens(encoder, wanted.texts, columns, scoring, masking, importance=importance, precision=precision)
    corpus = sorted(name for name, policy in policies.items() if CORPUS in policy.needs)
    said += [f"{name} looks at the texts shown here alone ({len(views)})" for name in corpus]
    settings = (
        f"average mask probability {masking.mean:g}; scored by {scoring.metric}, at most {scoring.max_length} ids, "
        f"words of the {scoring.word_source if scoring.word_source == 'tokenizer' else 'text'}"
    )
    return Inspected(views, [f"encoder {wanted.encoder}, {encoder.revision}", settings, *said])


def read_texts(file: str) -> list[str]:
    """The texts of a file, one per line, without blank lines. InputError where it cannot be read or has none."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"--texts {file}: not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"--texts {file}: {error.strerror or error}: give a text file with one text per line"
        ) from error
    texts = [line for line in lines if not is_blank(line)]
    if not texts:
        raise InputError(f"--texts {file}: no text in it: write one text per line")
    return texts


def given_text(text: str) -> str:
    """A text as --text gives it; "-" is what stands on standard input."""
    return sys.stdin.read() if text == "-" else text


def check_texts(texts: Sequence[str]) -> None:
    """Raise InputError if there is none, or one is blank."""
    if not texts:
        raise InputError("no text: give --text TEXT, --text - for standard input, or --texts FILE")
    for number, text in enumerate(texts, 1):
        if is_blank(text):
            raise InputError(f"text {number} is blank: give one with at least one word")


def _encoder_at(name: str, spec: StudySpec | None) -> EncoderSpec:
    if spec is not None and name in spec.encoders:
        return concrete_encoder(spec.encoders[name])
    return find_encoder(name)


def _scoring(wanted: Inspection, encoder: Encoder) -> ScoringConfig:
    """The settings of scoring; a default length gives way to an encoder with fewer positions."""
    scoring = wanted.spec.scoring if wanted.spec else ScoringConfig()
    if wanted.max_length is not None:
        return dataclasses.replace(scoring, max_length=wanted.max_length)
    return dataclasses.replace(scoring, max_length=min(scoring.max_length, encoder.max_positions))


def _importance(
    wanted: Inspection, encoder: Encoder, scoring: ScoringConfig
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Importance of the tokens of each text for the classifier, and what is said of it."""
    from l3masking.analysis.case_study import ask_classifier

    assert wanted.classifier is not None
    config = wanted.spec.selective if wanted.spec else SelectiveConfig()
    asked = ask_classifier(wanted.classifier, encoder, wanted.texts, scoring, config, label=wanted.label)
    said = []
    for index, one in enumerate(asked, 1):
        what = f"text {index}: important for class {one.label}"
        what += ", as the classifier predicts" if one.label == one.predicted else f"; it predicts {one.predicted}"
        said.append(what if one.importance.any() else f"{what}; no token is important, so all are masked alike")
    return [one.importance for one in asked], said
