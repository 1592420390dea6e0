"""BART: its predictions and its classifier are those of transformers' own classes, and other arms refuse it."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from small_bart import SPECIAL, WORDS, save_bart
from small_task import SCORING, data, digest, one_thread, settings
from transformers import (
    BartForConditionalGeneration,
    BartForSequenceClassification,
)

from l3masking import load_encoder, score_tokens
from l3masking.encoders.export import load_tuned, save_tuned
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import encode_inputs, prepare, run_method
from l3masking.rng import stream
from l3masking.training.batches import epochs
from l3masking.training.filling import choose
from l3masking.training.settings import MaskTuningConfig

ALLOWED = ("stl", "stl_matched", "mask_tuning", "mask_tuning_no_mlm", "mask_tuning_two_rounds")


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bart(tmp_path_factory.mktemp("bart"))


@pytest.fixture(scope="module")
def bart(folder: Path) -> Encoder:
    """Read only."""
    return load_encoder(str(folder))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts of different lengths, some tokens masked, with their attention mask."""
    ids = torch.tensor([[0, 5, 4, 7, 4, 9, 2], [0, 4, 6, 2, 1, 1, 1]])
    return ids, (ids != 1).long()


def test_it_loads_as_any_encoder(bart: Encoder) -> None:
    assert (bart.model_type, bart.hidden_size, bart.max_positions) == ("bart", 16, 24)
    assert not bart.model.training


def test_predictions_are_those_of_the_whole_model(bart: Encoder) -> None:
    """Each text by itself, with the whole vocabulary at every place, and the decoder's input made by hand."""
    ids, mask = batch()
    rows, positions = torch.nonzero(ids == 4, as_tuple=True)
    found = bart.mlm_logits(bart.states_at(ids, mask, rows, positions))
    expected = []
    for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
        own = ids[row][mask[row] == 1]
        decoder = torch.cat([torch.tensor([2]), own[:-1]])
        expected.append(bart.model(input_ids=own[None], decoder_input_ids=decoder[None]).logits[0, position])
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_prediction_never_sees_the_true_tokens_behind_masks(bart: Encoder) -> None:
    """It is a function of the masked ids alone: nothing else is given to the model."""
    ids, mask = batch()
    seen: list[torch.Tensor] = []
    hooks = [
        part.embed_tokens.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for part in (bart.body.encoder, bart.body.decoder)
    ]
    bart.states_at(ids, mask, torch.tensor([0]), torch.tensor([2]))
    for hook in hooks:
        hook.remove()
    assert torch.equal(seen[0], ids)
    assert torch.equal(seen[1], torch.cat([torch.tensor([[2], [2]]), ids[:, :-1]], dim=1))


def test_the_classifier_is_that_of_transformers(bart: Encoder) -> None:
    """Same weights, same texts: BartForSequenceClassification gives what our head gives."""
    training = prepared(bart, "stl", dropout=0.0)
    ours = training.trajectory().model.eval()
    config = copy.deepcopy(bart.model.config)
    config.num_labels = 3
    theirs = BartForSequenceClassification(config).eval()
    theirs.model.load_state_dict(bart.body.state_dict())
    theirs.classification_head.dense.load_state_dict(ours.classifier.dense.state_dict())
    theirs.classification_head.out_proj.load_state_dict(ours.classifier.out.state_dict())
    chunk = training.task.train.chunks(range(6), 1, 1, torch.device("cpu"))[0]
    found = ours.classifier(ours.features([chunk]))
    expected = theirs(input_ids=chunk.input_ids, attention_mask=chunk.attention_mask).logits
    assert found.std(dim=0).min() > 0.02
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def without_dropout(encoder: Encoder) -> Encoder:
    model = copy.deepcopy(encoder.model)
    for part in model.modules():
        if hasattr(part, "dropout"):
            part.dropout = 0.0
    return Encoder(model=model, tokenizer=encoder.tokenizer, revision="still", max_positions=24)


def prepared(encoder: Encoder, name: str, *, dropout: float = 0.1, tuning: MaskTuningConfig | None = None, **changes):
    """One arm on the small task."""
    method = METHODS[name]
    config = settings(max_epochs=2, dropout=dropout, **changes)
    inputs = encode_inputs(method, encoder, data(), SCORING)
    return prepare(method, encoder, inputs, masking=MaskingConfig(), config=config, seed=0, tuning=tuning)


@torch.no_grad()
def plain_losses(model: BartForConditionalGeneration, head: torch.nn.Module, texts, labels, chosen) -> dict[str, float]:
    """Both losses of a batch, one text at a time, with whole logits."""
    mlm, fine = [], []
    for row, ids in enumerate(map(torch.from_numpy, texts)):
        places = torch.nonzero(chosen[row])[:, 0]
        masked = ids.clone()
        masked[places] = WORDS.index("<mask>")
        logits = model(input_ids=masked[None]).logits[0, places]
        mlm += F.cross_entropy(logits, ids[places], reduction="none").tolist()
        perturbed = ids.clone()
        perturbed[places] = logits[:, len(SPECIAL) : len(WORDS)].argmax(dim=-1) + len(SPECIAL)
        state = model.base_model(input_ids=perturbed[None])[0][:, -1]
        fine.append(float(F.cross_entropy(head(state), labels[row][None])))
    return {"mlm": sum(mlm) / len(mlm), "primary": sum(fine) / len(fine)}


def test_an_update_of_mask_tuning_is_that_of_transformers_classes(bart: Encoder) -> None:
    tuning, still = MaskTuningConfig(rate=0.3, alpha=0.7), without_dropout(bart)
    made = prepared(still, "mask_tuning", dropout=0.0, tuning=tuning, batch=4, accumulate=1)
    stepper = made.trajectory().stepper
    losses = stepper.window(1)
    train = made.task.train
    order = sorted(next(epochs(48, 4, stream(0, "order", "primary"))), key=lambda index: len(train.input_ids[index]))
    texts = [train.input_ids[index] for index in order]
    weights = torch.zeros(4, len(texts[-1]), dtype=torch.float64)
    for row, ids in enumerate(texts):
        weights[row, 1 : len(ids) - 1] = tuning.rate
    chosen = choose(weights, (weights > 0).sum(dim=1), tuning, stream(0, "mask"))
    expected = plain_losses(still.model, stepper.model.classifier, texts, train.labels[order], chosen)
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("name", ALLOWED)
def test_its_arms_run_and_repeat(bart: Encoder, name: str) -> None:
    before = {key: value.clone() for key, value in bart.model.state_dict().items()}
    first, second = (prepared(bart, name, lr=1e-3).run(("accuracy",)) for _ in range(2))
    assert digest(first) == digest(second)
    assert all(torch.equal(value, before[key]) for key, value in bart.model.state_dict().items())
    assert any(
        not torch.equal(value, before[key.removeprefix("language_model.")])
        for key, value in first["accuracy"].weights.items()
        if key.startswith("language_model.")
    )


def test_a_saved_model_predicts_what_was_recorded(tmp_path: Path, bart: Encoder) -> None:
    training = prepared(bart, "stl", lr=1e-3)
    outcome = training.run(("accuracy",))["accuracy"]
    save_tuned(bart, outcome.weights, data().labels, tmp_path / "model")
    tuned = load_tuned(tmp_path / "model")
    test = training.task.test
    chunks = test.chunks(range(len(test.labels)), 1, 1, torch.device("cpu"))
    order = sorted(range(len(test.labels)), key=lambda index: len(test.input_ids[index]))
    predicted = tuned.model.classifier(tuned.model.features(chunks)).argmax(dim=-1).tolist()
    assert predicted == [outcome.test_predictions[index] for index in order]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ALLOWED])
def test_other_arms_are_refused(bart: Encoder, name: str) -> None:
    said = f"arm {METHODS[name].label}: this encoder is a bart model, which is used for fine-tuning alone"
    with pytest.raises(InputError, match=said):
        run_method(name, bart, data(), scoring=SCORING, config=settings(), seed=0, objectives=("accuracy",))


def test_scores_are_refused(bart: Encoder) -> None:
    with pytest.raises(InputError, match="a bart model gives no likelihood of tokens"):
        score_tokens(bart, ["a cat"], max_length=16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decoder_layerdrop": 0.1}, "config.json has decoder_layerdrop: 0.1"),
        ({"eos_token_id": 3}, "a text does not end with the model's eos_token_id 3"),
        ({"decoder_start_token_id": None}, "config.json has no decoder_start_token_id"),
    ],
)
def test_refused_configurations(folder: Path, tmp_path: Path, changes: dict, said: str) -> None:
    own = Path(shutil.copytree(folder, tmp_path / "own"))
    config = json.loads((own / "config.json").read_text()) | changes
    (own / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said):
        load_encoder(str(own))


def test_weights_that_are_not_finite_are_refused(folder: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(folder, tmp_path / "own"))
    weights = load_file(own / "model.safetensors")
    name = "model.decoder.layers.1.fc1.weight"
    save_file(weights | {name: weights[name] * torch.nan}, own / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not finite"):
        load_encoder(str(own))
