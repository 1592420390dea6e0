"""The masked-LM stage of a trial: its texts with their masks, from the artefacts, and the encoder that it gives.

The weights lie in adapted/<key>/ until no trial needs them: a trial that is killed after this stage goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from l3masking import rng
from l3masking.data.pairs import Text
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import packed, unpacked
from l3masking.errors import InputError
from l3masking.masking.applied import MaskedText, mask_texts, placed
from l3masking.masking.policies.base import IMPORTANCE
from l3masking.scoring.words import EncodedText, encode_as
from l3masking.selective.masks import checked_importance, chosen_tokens
from l3masking.selective.sentences import of_tokens
from l3masking.stages import AS_MANY_RANDOM, SELECTIONS, Adapt
from l3masking.training.checkpoint import Snapshot
from l3masking.training.continual import adapt
from l3masking.training.mlm import TextSource
from l3masking.training.portions import Portions
from study.artefacts import finished_parts, manifest_of, parts, put_manifest, put_part
from study.assignment import Assignment
from study.checkpoints import StageCheckpoints, TrialCheckpoints
from study.importance import read_heuristic, stream_predictions
from study.plan.inputs import CorpusSource, DataSource, held_data
from study.plan.needs import adaptation_of
from study.score import TextSources, batched, held_scores, stream_scores
from study.space.spec import configs
from study.store.places import Place, fetched, open_store
from study.store.record import Adaptation
from study.store.whole_files import content_key

ROOM = "adapted"
ADAPTED_SCHEMA = 1  # of these folders; part of their keys
BLOCK = 512  # units of a corpus that are encoded together
NEAR = 0.5  # probability above which the scoring network calls a token important


def adapted_key(assignment: Assignment) -> str:
    """Name of the weights that the `adapt` stages of a trial give."""
    trial, corpus = assignment.trial, assignment.corpus
    return content_key(
        {
            "schema": ADAPTED_SCHEMA,
            "revision": trial.revision,
            "data_hash": trial.data_hash,
            "corpus_hash": corpus.content_hash if corpus else None,
            **adaptation_of(trial.arm, trial.settings),
            "seed": trial.seed,
        }
    )


def adapted_encoder(assignment: Assignment, vanilla: Encoder, kept: TrialCheckpoints) -> tuple[Encoder, Adaptation]:
    """The encoder after the `adapt` stages of a trial: from its folder, or else trained now and put there."""
    place = adapted_place(assignment)
    folder = fetched(place)
    manifest, whole = manifest_of(folder), {path.name for _, path in parts(folder)}  # perhaps of other threads too
    if manifest is None or not whole.issuperset(manifest["parts"]):
        weights, facts, micro_batch = _train(assignment, vanilla, kept)
        part = put_part(place, 0, packed(weights), "safetensors")
        manifest = {"key": adapted_key(assignment), "parts": [part], "adaptation": facts, "trial": kept.facts()}
        if micro_batch is not None:
            manifest["micro_batch"] = micro_batch
        put_manifest(place, manifest)
        kept.forget()  # those of these stages, which are over
    else:
        kept.goes_on(manifest.get("trial", {}))
    kept.micro_batch = manifest.get("micro_batch")
    weights = unpacked(finished_parts(fetched(place))[0].read_bytes())
    return vanilla.copied(weights), cast(Adaptation, manifest["adaptation"])


def adapted_place(assignment: Assignment) -> Place:
    """Where the weights of a trial's `adapt` stages lie."""
    return open_store(assignment.root).artefact_place(ROOM, adapted_key(assignment))


def _train(
    assignment: Assignment, vanilla: Encoder, kept: TrialCheckpoints
) -> tuple[dict[str, Tensor], Adaptation, int | None]:
    """All `adapt` stages, one after the other; what is told is of the last one, but `Adapted.micro_batch` of all."""
    trial, setting = assignment.trial, configs(assignment.trial.settings)
    encoder = vanilla.through(setting.finetune.model.forward)
    if setting.finetune.model.attend_padding:
        encoder = encoder.with_padding(setting.scoring.max_length)
    keepers = [kept.stage(f"adapt-{number}") for number in range(len(trial.arm.adapts))]
    begun, saved = _newest(keepers)
    portions = Portions(setting.adapt.batch)
    for stage, keeper in zip(trial.arm.adapts[begun:], keepers[begun:], strict=True):
        found = adapt(
            encoder,
            masked_source(stage, assignment, encoder),
            setting.adapt,
            setting.masking,
            seed=trial.seed,
            precision=setting.finetune.precision,
            portions=portions,
            keeper=keeper,
            saved=saved,
        )
        encoder, saved = encoder.copied(found.weights), None
    facts: Adaptation = {
        "updates": found.updates,
        "best_update": found.best_update,
        "passes": found.passes,
        "texts": found.texts,
        "masked_share": found.masked_share,
        "losses": found.losses,
    }
    return found.weights, facts, found.micro_batch


def _newest(keepers: Sequence[StageCheckpoints]) -> tuple[int, Snapshot | None]:
    """The last stage with a checkpoint, by number, and that checkpoint, which holds all that earlier stages gave."""
    for number in reversed(range(len(keepers))):
        if (saved := keepers[number].newest()) is not None:
            return number, saved
    return 0, None


def masked_source(stage: Adapt, assignment: Assignment, encoder: Encoder) -> TextSource:
    """The texts of an `adapt` stage with their mask probabilities; a corpus is streamed."""
    source = assignment.text_of(stage)
    if isinstance(source, CorpusSource):
        return TextSource(count=source.units, read=lambda: _masked(stage, assignment, encoder, source))
    texts = list(_masked(stage, assignment, encoder, source))
    return TextSource(count=len(texts), read=lambda: iter(texts))


def _masked(stage: Adapt, assignment: Assignment, encoder: Encoder, source: TextSources) -> Iterator[MaskedText]:
    trial, setting = assignment.trial, configs(assignment.trial.settings)
    units: Iterable[Text] = source.read() if isinstance(source, CorpusSource) else held_data(source).mlm_texts
    texts = (text for part in batched(units, BLOCK) for text in encode_as(setting.scoring, encoder.tokenizer, part))
    if stage.policy in SELECTIONS:
        return _selected(stage, assignment, encoder, texts, importance_of_texts(assignment, source, encoder))
    policy = trial.arm.policy(stage.policy)
    return mask_texts(
        policy,
        texts,
        setting.masking,
        seed=trial.seed,
        scores=_scores(assignment, source),
        importance=importance_of_texts(assignment, source, encoder) if IMPORTANCE in policy.needs else None,
        name=stage.policy,
    )


def _selected(
    stage: Adapt,
    assignment: Assignment,
    encoder: Encoder,
    texts: Iterator[EncodedText],
    importance: Iterator[NDArray[np.float64]],
) -> Iterator[MaskedText]:
    """Texts in which the chosen tokens are masked for certain."""
    setting = configs(assignment.trial.settings)
    choice = "random" if stage.policy == AS_MANY_RANDOM else "important"
    generator = rng.stream(assignment.trial.seed, "selective")
    for text, values in zip(texts, importance, strict=True):
        if len(values) != len(text.positions):
            raise InputError("the importance of a text belongs to other token ids: remove `importance/` and run again")
        sentences = of_tokens(encoder.tokenizer, text)
        chosen = chosen_tokens(values, sentences, setting.selective.max_rate, cast(Any, choice), generator)
        yield placed(text.input_ids, text.positions, chosen.astype(np.float64))


def importance_of_texts(assignment: Assignment, source: TextSources, encoder: Encoder) -> Iterator[NDArray[np.float64]]:
    """[n] in [0, 1] for each masked-LM text, in order; 0 where a token is not important.

    Raises InputError at the end if no token of any text was important.
    """
    setting = configs(assignment.trial.settings)
    return checked_importance(
        _importance(assignment, source),
        encoder.tokenizer,
        lambda text: encode_as(setting.scoring, encoder.tokenizer, [text])[0],
        setting.selective,
    )


def _importance(assignment: Assignment, source: TextSources) -> Iterator[tuple[Text, NDArray[np.float64]]]:
    """Each masked-LM text with the importance of its tokens."""
    kind, place = assignment.importance_on(source)
    if kind == "heuristic":
        assert isinstance(source, DataSource)
        found, train = read_heuristic(fetched(place)), held_data(source).train
        for pair in zip(train.texts, train.labels, strict=True):
            one = found[pair]
            gain = np.maximum(one.gain.astype(np.float64), np.finfo(np.float32).tiny)
            yield pair[0], np.where(one.important, gain, 0.0)
        return
    predictions = stream_predictions(fetched(place))
    if isinstance(source, CorpusSource):
        ordered = predictions
    else:
        by_text = dict(predictions)
        ordered = ((text, by_text[text]) for text in held_data(source).mlm_texts)
    for text, values in ordered:
        yield text, np.where(values > NEAR, values.astype(np.float64), 0.0)


def _scores(assignment: Assignment, source: TextSources) -> Any:
    place = assignment.needed.get(("scores", source.content_hash))
    if place is None:
        return None
    if isinstance(source, CorpusSource):
        return stream_scores(fetched(place))
    return held_scores(place, source)
