"""Corruption rates, policies and the collator. Statistical margins are five standard errors under fixed seeds."""

import copy
import math

import datasets
import numpy as np
import pytest
import torch
from small_encoders import TEXTS, TYPES
from transformers import BatchEncoding, DataCollatorForLanguageModeling

from l3masking.errors import InputError
from l3masking.masking.collator import MaskingCollator
from l3masking.masking.corruption import IGNORED, corrupt
from l3masking.masking.probabilities import mask_probabilities
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.scoring.words import encode_texts

SIGMAS = 5.0


def batch_of(tokenizer, rows: int) -> torch.Tensor:
    """One padded text, `rows` times: [rows, T], with specials at both ends and two paddings."""
    (text,) = encode_texts(tokenizer, [TEXTS[0]], max_length=40)
    pad = tokenizer.pad_token_id
    return torch.tensor([[*text.input_ids.tolist(), pad, pad]] * rows)


def uniform(tokenizer, ids: torch.Tensor, mean: float) -> torch.Tensor:
    ends = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id])
    return torch.where(torch.isin(ids, ends), 0.0, mean).double()


def assert_share(hits: int, trials: int, expected: float) -> None:
    error = math.sqrt(expected * (1 - expected) / trials)
    assert abs(hits / trials - expected) <= SIGMAS * error, f"{hits} of {trials}, expected share {expected}"


@pytest.fixture
def tokenizer(encoders: dict):
    return encoders["bert"].tokenizer


def test_uniform_rates_are_those_of_transformers_collator(tokenizer) -> None:
    ids = batch_of(tokenizer, 8000)
    ours = corrupt(ids, uniform(tokenizer, ids, 0.15), tokenizer, stream(1, "mask"))
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=3)
    theirs_ids, theirs_labels = collator.torch_mask_tokens(ids.clone())
    eligible = uniform(tokenizer, ids, 1.0).bool()
    shares = []
    for changed, labels in ((ours.input_ids, ours.labels), (theirs_ids, theirs_labels)):
        selected = labels != IGNORED
        assert not selected[~eligible].any()
        assert torch.equal(changed[~selected], ids[~selected])
        masked = selected & (changed == tokenizer.mask_token_id)
        random = selected & ~masked & (changed != ids)
        shares.append([int(m.sum()) for m in (selected, masked, random)] + selected.sum(0).tolist())
    n = int(eligible.sum())
    selected, masked, random = shares[0][:3]
    assert_share(selected, n, 0.15)
    assert_share(masked, selected, 0.8)
    same = 1 / (len(tokenizer) - len(tokenizer.all_special_ids))  # chance that a random token is the original
    assert_share(random, selected, 0.1 * (1 - same))
    assert_share(selected - masked - random, selected, 0.1 + 0.1 * same)
    trials = [n, shares[0][0], shares[0][0]] + [len(ids)] * ids.shape[1]
    for mine, other, count in zip(*shares, trials, strict=True):
        pooled = (mine + other) / (2 * count)
        margin = SIGMAS * math.sqrt(2 * pooled * (1 - pooled) / count) + 0.002  # their random draw knows no exclusion
        assert abs(mine - other) / count <= margin


@pytest.mark.parametrize("selection", ["bernoulli", "systematic"])
def test_each_token_is_selected_with_its_own_probability(tokenizer, selection: str) -> None:
    ids = batch_of(tokenizer, 6000)
    n = ids.shape[1] - 4
    values = mask_probabilities(np.linspace(0, 1, n) ** 0.1, mean=0.3)
    assert values.max() == 1
    row = torch.zeros(ids.shape[1], dtype=torch.float64)
    row[1 : n + 1] = torch.from_numpy(values)
    config = MaskingConfig(selection=selection)
    labels = corrupt(ids, row.expand(ids.shape), tokenizer, stream(2, "mask"), config).labels
    counts = (labels != IGNORED).sum(0)
    for count, probability in zip(counts.tolist(), row.tolist(), strict=True):
        assert_share(count, len(ids), probability)
    variance = float((row * (1 - row)).sum()) if selection == "bernoulli" else 0.25
    mean = float((labels != IGNORED).sum(1).double().mean())
    assert abs(mean - float(row.sum())) <= SIGMAS * math.sqrt(variance / len(ids))


def test_systematic_selection_fixes_the_count(tokenizer) -> None:
    ids = batch_of(tokenizer, 3000)
    probabilities = uniform(tokenizer, ids, 0.15)
    expected = float(probabilities[0].sum())
    labels = corrupt(ids, probabilities, tokenizer, stream(3, "m"), MaskingConfig(selection="systematic")).labels
    counts = (labels != IGNORED).sum(1)
    assert set(counts.tolist()) == {math.floor(expected), math.ceil(expected)}
    assert not (labels != IGNORED)[probabilities == 0].any()


@pytest.mark.parametrize("kind", TYPES)
def test_random_tokens_are_never_special_and_reach_all_others(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    ids = batch_of(tokenizer, 1500)
    config = MaskingConfig(mask_share=0, random_share=1)
    changed = corrupt(ids, uniform(tokenizer, ids, 1.0), tokenizer, stream(4, "m"), config)
    drawn = changed.input_ids[changed.labels != IGNORED]
    assert set(drawn.tolist()) == set(range(len(tokenizer))) - set(tokenizer.all_special_ids)
    counts = torch.bincount(drawn)[drawn.unique()].double()
    expected = len(drawn) / len(counts)
    freedom = len(counts) - 1  # chi squared: mean f, standard deviation sqrt(2 f)
    assert abs(float(((counts - expected) ** 2 / expected).sum()) - freedom) <= SIGMAS * math.sqrt(2 * freedom) + 10


def test_labels_hold_the_true_ids_also_where_nothing_changed(tokenizer) -> None:
    ids = batch_of(tokenizer, 50)
    before = ids.clone()
    everywhere = uniform(tokenizer, ids, 1.0)
    kept = corrupt(ids, everywhere, tokenizer, stream(5, "m"), MaskingConfig(mask_share=0, random_share=0))
    assert torch.equal(kept.input_ids, ids)
    assert torch.equal(kept.labels, torch.where(everywhere > 0, ids, IGNORED))
    masked = corrupt(ids, everywhere, tokenizer, stream(5, "m"), MaskingConfig(mask_share=1, random_share=0))
    assert torch.all(masked.input_ids[everywhere > 0] == tokenizer.mask_token_id)
    nothing = corrupt(ids, everywhere * 0, tokenizer, stream(5, "m"))
    assert torch.equal(nothing.input_ids, ids)
    assert torch.all(nothing.labels == IGNORED)
    assert torch.equal(ids, before)


@pytest.mark.parametrize("selection", ["bernoulli", "systematic"])
def test_draws_do_not_depend_on_the_probabilities(tokenizer, selection: str) -> None:
    """What pairs the arms: after a batch the generator stands at the same place whatever was masked."""
    ids = batch_of(tokenizer, 4)
    config = MaskingConfig(selection=selection)
    ends = []
    for mean in (0.0, 0.15, 0.9):
        generator = stream(6, "mask")
        corrupt(ids, uniform(tokenizer, ids, mean), tokenizer, generator, config)
        ends.append(generator.get_state())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


def test_a_higher_probability_keeps_what_a_lower_one_selected(tokenizer) -> None:
    ids = batch_of(tokenizer, 40)
    low, high = (corrupt(ids, uniform(tokenizer, ids, m), tokenizer, stream(7, "mask")) for m in (0.15, 0.5))
    chosen = low.labels != IGNORED
    assert torch.equal(high.labels[chosen], low.labels[chosen])
    assert torch.equal(high.input_ids[chosen], low.input_ids[chosen])


def test_same_seed_same_masks_and_the_global_generator_rests(tokenizer) -> None:
    ids = batch_of(tokenizer, 20)
    state = torch.random.get_rng_state()
    one, two, other = (
        corrupt(ids, uniform(tokenizer, ids, 0.3), tokenizer, stream(seed, "mask")) for seed in (8, 8, 9)
    )
    assert torch.equal(one.input_ids, two.input_ids)
    assert torch.equal(one.labels, two.labels)
    assert not torch.equal(one.labels, other.labels)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"mean": 1.5}, "mean"),
        ({"mean": 0.1, "floor": 0.2}, "floor"),
        ({"mask_share": -0.1}, "mask_share"),
        ({"random_share": 2}, "random_share"),
        ({"mask_share": 0.8, "random_share": 0.3}, "random_share"),
    ],
)
def test_refused_settings(setting: dict, name: str) -> None:
    with pytest.raises(InputError, match=name):
        MaskingConfig(**setting)


def features_of(tokenizer) -> list[dict]:
    ids = [text.input_ids.tolist() for text in encode_texts(tokenizer, TEXTS[:4], max_length=40)]
    return [{"input_ids": row} for row in ids]


@pytest.mark.parametrize("side", ["left", "right"])
def test_collator_puts_probabilities_beside_their_tokens(tokenizer, side: str) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    features = features_of(tokenizer)
    for row, feature in enumerate(features):
        feature["mask_probabilities"] = [float(i == row + 1) for i in range(len(feature["input_ids"]))]
    before = copy.deepcopy(features)
    batch = MaskingCollator(tokenizer, MaskingConfig(mask_share=1, random_share=0))(features)
    assert features == before
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    longest = max(len(feature["input_ids"]) for feature in features)
    for row, feature in enumerate(features):
        ids = feature["input_ids"]
        at = row + 1 + (longest - len(ids) if side == "left" else 0)
        labels = batch["labels"][row]
        assert torch.nonzero(labels != IGNORED).tolist() == [[at]]
        assert labels[at] == ids[row + 1]
        assert batch["input_ids"][row, at] == tokenizer.mask_token_id
        assert int(batch["attention_mask"][row].sum()) == len(ids)


@pytest.mark.parametrize("kind", TYPES)
def test_collator_without_the_column_masks_uniformly(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    features = features_of(tokenizer)
    batch = MaskingCollator(tokenizer, MaskingConfig(mean=1.0))(features)
    for row, feature in enumerate(features):
        n = len(feature["input_ids"])
        assert batch["labels"][row, 1 : n - 1].tolist() == feature["input_ids"][1:-1]
        assert torch.all(batch["labels"][row, [0, *range(n - 1, batch["labels"].shape[1])]] == IGNORED)


def test_collator_honours_a_special_tokens_mask(tokenizer) -> None:
    features = features_of(tokenizer)[:1]
    features[0]["special_tokens_mask"] = [1, 1, 1] + [0] * (len(features[0]["input_ids"]) - 4) + [1]
    batch = MaskingCollator(tokenizer, MaskingConfig(mean=1.0))(features)
    assert torch.nonzero(batch["labels"][0] == IGNORED)[:, 0].tolist() == [0, 1, 2, len(batch["labels"][0]) - 1]
    assert "special_tokens_mask" not in batch


@pytest.mark.parametrize(
    ("row", "word"), [([0.1], "1 values for 19"), ([1.5] * 19, "outside"), ([math.nan] * 19, "out")]
)
def test_collator_refuses_a_wrong_column(tokenizer, row: list, word: str) -> None:
    feature = {**features_of(tokenizer)[0], "mask_probabilities": row}
    assert len(feature["input_ids"]) == 19
    with pytest.raises(InputError, match=word):
        MaskingCollator(tokenizer)([feature])


def test_collator_in_a_data_loader_draws_anew_and_repeats_by_seed(tokenizer) -> None:
    features = features_of(tokenizer)

    def two_epochs(seed: int) -> list[torch.Tensor]:
        loader = torch.utils.data.DataLoader(features, 4, collate_fn=MaskingCollator(tokenizer, seed=seed))
        return [batch["labels"] for _ in range(2) for batch in loader]

    first, second = two_epochs(1)
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip((first, second), two_epochs(1), strict=True))
    assert not torch.equal(first, two_epochs(2)[0])


def masks_of(tokenizer, *, workers: int, seed: int = 0, base: int = 4, epochs: int = 2, **given) -> list[bytes]:
    """Where something is masked in each batch of two epochs of 16 equal rows, two a batch."""
    features = [features_of(tokenizer)[3]] * 16
    loader = torch.utils.data.DataLoader(
        features,
        batch_size=2,
        collate_fn=MaskingCollator(tokenizer, MaskingConfig(mean=0.5), seed=seed),
        num_workers=workers,
        generator=torch.Generator().manual_seed(base),
        **given,
    )
    return [(batch["labels"] != IGNORED).numpy().tobytes() for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_other_masks_and_repeat_by_seed(tokenizer, persistent: bool) -> None:
    first = masks_of(tokenizer, workers=2, persistent_workers=persistent)
    assert len(set(first)) == len(first) == 16
    assert masks_of(tokenizer, workers=2, persistent_workers=persistent) == first
    assert not set(first) & set(masks_of(tokenizer, workers=2, seed=1, persistent_workers=persistent))
    assert not set(first) & set(masks_of(tokenizer, workers=2, base=5, persistent_workers=persistent))


def test_without_workers_the_stream_is_that_of_the_seed(tokenizer) -> None:
    """Whatever the DataLoader draws for itself, and the same as calling the collator by hand."""
    found = masks_of(tokenizer, workers=0)
    assert masks_of(tokenizer, workers=0, base=5) == found
    collator = MaskingCollator(tokenizer, MaskingConfig(mean=0.5), seed=0)
    pair = [features_of(tokenizer)[3]] * 2
    assert [(collator(pair)["labels"] != IGNORED).numpy().tobytes() for _ in range(16)] == found
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(MaskingCollator(tokenizer).generator.get_state(), generator.get_state())


@pytest.mark.parametrize("side", ["left", "right"])
def test_collator_takes_lists_and_tensors_of_ids(tokenizer, side: str) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    features = features_of(tokenizer)
    rows = [feature["input_ids"] for feature in features]
    wanted = MaskingCollator(tokenizer)(features)
    kinds = [rows, [tuple(row) for row in rows], [np.array(row) for row in rows], [torch.tensor(row) for row in rows]]
    kinds += [[{"input_ids": torch.tensor(row)} for row in rows], [BatchEncoding({"input_ids": row}) for row in rows]]
    theirs = DataCollatorForLanguageModeling(tokenizer, seed=0)(copy.deepcopy(rows))
    for given in kinds:
        found = MaskingCollator(tokenizer)(given)
        assert set(found) == set(wanted) == {*theirs, "attention_mask"}
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        assert found["input_ids"].shape == theirs["input_ids"].shape
    square = torch.tensor([rows[0], rows[0]])
    assert MaskingCollator(tokenizer)(square)["labels"].shape == square.shape


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("a text", r"features\[1\] is 'a text': give the ids of one text"),
        ({"text": "a"}, r"features\[1\] has the columns text: `input_ids` is missing"),
        ([[2, 3]], r"features\[1\] is \[\[2, 3\]\]"),
        ([2.5, 3.0], r"features\[1\] is \[2.5, 3.0\]"),
        (7, r"features\[1\] is 7"),
    ],
)
def test_collator_refuses_what_holds_no_ids(tokenizer, feature: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        MaskingCollator(tokenizer)([[2, 7, 3], feature])


@pytest.mark.filterwarnings("default")  # Trainer's own, and those of what it imports
def test_collator_in_transformers_trainer(encoder_folders: dict, tokenizer, tmp_path) -> None:
    from transformers import BertForMaskedLM, Trainer, TrainingArguments

    features = features_of(tokenizer)
    columns = {
        "input_ids": [feature["input_ids"] for feature in features],
        "mask_probabilities": [[0.0, *[0.4] * (len(f["input_ids"]) - 2), 0.0] for f in features],
    }
    model = BertForMaskedLM.from_pretrained(encoder_folders["bert"])
    before = model.bert.embeddings.word_embeddings.weight.detach().clone()
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        remove_unused_columns=False,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(columns),
        data_collator=MaskingCollator(tokenizer),
    )
    result = trainer.train()
    assert result.global_step == 2
    assert math.isfinite(result.training_loss)
    assert result.training_loss > 0
    assert not torch.equal(before, model.bert.embeddings.word_embeddings.weight)
