"""Pseudo-likelihoods against a loop that masks one copy at a time."""

import copy
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from one_mask import METRICS, slow_scores
from small_encoders import POSITIONS, TEXTS, TYPES

from l3masking.errors import InputError
from l3masking.scoring.copies import Copies, mask_rows, token_batches
from l3masking.scoring.forward import MaskedForward
from l3masking.scoring.scoring import TokenScores, score_tokens
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import EncodedText, encode_texts

LENGTH = 34


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TYPES)
def test_scores_equal_one_mask_at_a_time(encoders: dict, kind: str, metric: str) -> None:
    encoder = encoders[kind]
    scores = score_tokens(encoder, TEXTS, metric=metric, max_length=LENGTH)
    for score, text in zip(scores, encode_texts(encoder.tokenizer, TEXTS, max_length=LENGTH), strict=True):
        assert score.input_ids.tolist() == text.input_ids.tolist()
        assert score.positions.tolist() == text.positions.tolist()
        assert score.log_likelihood.dtype == np.float32
        assert len(score.input_ids) <= LENGTH
        np.testing.assert_allclose(score.log_likelihood, slow_scores(encoder, text, metric), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", TYPES)
def test_budget_order_and_company_change_no_score(encoders: dict, kind: str) -> None:
    encoder = encoders[kind]
    texts = TEXTS[:4]
    whole = score_tokens(encoder, texts, max_length=LENGTH)
    for budget in (1, 50, 333):
        for one, other in zip(whole, score_tokens(encoder, texts, max_length=LENGTH, token_budget=budget), strict=True):
            np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)
    for one, other in zip(whole[::-1], score_tokens(encoder, texts[::-1], max_length=LENGTH), strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)
    (alone,) = score_tokens(encoder, texts[2:3], max_length=LENGTH)
    np.testing.assert_allclose(whole[2].log_likelihood, alone.log_likelihood, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", TYPES)
def test_identities_between_the_metrics(encoders: dict, kind: str) -> None:
    original, l2r, whole = (score_tokens(encoders[kind], TEXTS[:2], metric=m, max_length=LENGTH) for m in METRICS)
    kinds_seen = set()
    for one, two, three in zip(original, l2r, whole, strict=True):
        starts = np.flatnonzero(np.diff(one.words, prepend=-1))
        ends = np.append(starts[1:], len(one.words)) - 1
        np.testing.assert_allclose(two.log_likelihood[starts], three.log_likelihood[starts], atol=1e-5)
        np.testing.assert_allclose(two.log_likelihood[ends], one.log_likelihood[ends], atol=1e-5)
        kinds_seen |= set((ends - starts + 1).clip(max=3))
        single = starts[starts == ends]
        np.testing.assert_allclose(one.log_likelihood[single], three.log_likelihood[single], atol=1e-5)
        middle = np.setdiff1d(np.arange(len(one.words)), [*starts, *ends])
        assert np.max(np.abs(one.log_likelihood[middle] - three.log_likelihood[middle])) > 1e-3
    assert kinds_seen == {1, 2, 3} if kind == "roberta" else {1, 3} <= kinds_seen


SENTENCE = EncodedText(np.arange(100, 110), np.arange(1, 9), np.array([0, 1, 1, 1, 2, 3, 4, 5]))


@pytest.mark.parametrize(
    ("metric", "sets", "total"),
    [
        ("original", [{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}], -4.048286),
        ("word_l2r", [{1}, {2, 3, 4}, {3, 4}, {4}, {5}, {6}, {7}, {8}], -4.753856),
        ("whole_word", [{1}, {2, 3, 4}, {2, 3, 4}, {2, 3, 4}, {5}, {6}, {7}, {8}], -5.811646),
    ],
)
def test_the_worked_example(metric: str, sets: list[set[int]], total: float) -> None:
    """the ho ##oli ##gan wrecked the vehicle . with a model that only counts the visible pieces of the word."""
    plain = {1: 0.6, 5: 0.3, 6: 0.7, 7: 0.2, 8: 0.95}
    pieces = {0: 0.5, 1: 0.8, 2: 0.9}
    masked, scores = {}, {}
    for row in mask_rows(SENTENCE, 0, metric):
        for token in row.read:
            position = int(SENTENCE.positions[token])
            masked[position] = set(row.masked.tolist())
            visible = len({2, 3, 4} - {position} - masked[position])
            scores[position] = math.log(plain.get(position) or pieces[visible])
    assert [masked[position] for position in range(1, 9)] == sets
    assert sum(scores.values()) == pytest.approx(total, abs=1e-6)


def test_whole_word_needs_one_row_per_word() -> None:
    assert len(list(mask_rows(SENTENCE, 0, "whole_word"))) == 6
    assert len(list(mask_rows(SENTENCE, 0, "word_l2r"))) == 8


def test_batches_hold_the_budget_and_all_rows() -> None:
    texts = [EncodedText(np.arange(n + 2), np.arange(1, n + 1), np.arange(n)) for n in (2, 3, 9)]
    rows = [row for i, text in enumerate(texts) for row in mask_rows(text, i, "original")]
    batches = list(token_batches(rows, texts, lambda: 24))
    assert [row for batch in batches for row in batch] == rows
    for batch in batches:
        assert len(batch) == 1 or sum(len(texts[row.text].input_ids) for row in batch) <= 24


@pytest.mark.parametrize("kind", TYPES)
def test_a_score_never_sees_its_own_token(encoders: dict, kind: str) -> None:
    """Another id at the scored place, masked away, gives the same logits: so the same score for the same truth."""
    encoder = encoders[kind]
    (text,) = encode_texts(encoder.tokenizer, TEXTS[:1], max_length=LENGTH)
    changed = text.input_ids.copy()
    changed[3] = changed[3] % 50 + 20
    rows = []
    for ids in (text.input_ids, changed):
        ids = torch.tensor(ids[None])
        ids[0, 3] = encoder.tokenizer.mask_token_id
        with torch.no_grad():
            rows.append(encoder.mlm_logits(encoder.body(input_ids=ids)[0][0, 3:4]))
    assert torch.equal(*rows)
    truth = int(text.input_ids[3])
    expected = float(torch.log_softmax(rows[1], dim=-1)[0, truth])
    (score,) = score_tokens(encoder, TEXTS[:1], metric="original", max_length=LENGTH)
    assert float(score.log_likelihood[2]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_head_at_one_position_equals_the_whole_model(encoders: dict, kind: str) -> None:
    encoder = encoders[kind]
    encoded = encoder.tokenizer(TEXTS[1], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        hidden = encoder.body(**encoded)[0]
        torch.testing.assert_close(
            encoder.mlm_logits(hidden[0]), encoder.model(**encoded).logits[0], atol=1e-5, rtol=1e-5
        )


def test_duplicates_are_scored_once(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoders["bert"]
    rows = []
    forward = MaskedForward.__call__

    def counted(self: MaskedForward, copies: Copies) -> torch.Tensor:
        rows.append(sum(run.copies for run in copies.runs))
        return forward(self, copies)

    monkeypatch.setattr(MaskedForward, "__call__", counted)
    steps: list[int] = []
    one, two, three = score_tokens(
        encoder, [TEXTS[0], TEXTS[2], f"  {TEXTS[0]} "], max_length=LENGTH, progress=steps.append
    )
    assert sum(rows) == len(one.positions) + len(two.positions) == sum(steps)
    assert np.array_equal(one.log_likelihood, three.log_likelihood)
    three.log_likelihood[0] = 1
    assert one.log_likelihood[0] <= 0


@pytest.mark.parametrize(
    ("kind", "limit"), [("bert", POSITIONS), ("roberta", POSITIONS - 2), ("distilbert", POSITIONS)]
)
def test_longer_than_the_position_table_is_refused(encoders: dict, kind: str, limit: int) -> None:
    text = ["the " * 100]
    (score,) = score_tokens(encoders[kind], text, max_length=limit, metric="whole_word")
    assert len(score.input_ids) == limit
    with pytest.raises(InputError, match=f"scoring.max_length is {limit + 1}.*{limit} positions"):
        score_tokens(encoders[kind], text, max_length=limit + 1)


def test_empty_texts_and_no_texts(encoders: dict) -> None:
    assert score_tokens(encoders["bert"], [], max_length=LENGTH) == []
    for score in score_tokens(encoders["bert"], ["", "  "], max_length=LENGTH):
        assert len(score.log_likelihood) == len(score.positions) == 0
        assert score.spread(np.zeros(0)).tolist() == [0, 0]


@pytest.mark.parametrize("whitespace", ["collapse", "keep"])
@pytest.mark.parametrize("word_source", ["tokenizer", "whitespace"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TYPES)
def test_texts_without_tokens_get_empty_scores_alone_and_among_others(
    encoders: dict, kind: str, metric: str, word_source: str, whitespace: str
) -> None:
    given = {"metric": metric, "max_length": LENGTH, "word_source": word_source, "whitespace": whitespace}
    nothing = ["", " ", "\t\n ", "\u200b", "\u200b \u200d\ufeff"]
    for text in nothing:
        (alone,) = score_tokens(encoders[kind], [text], **given)
        assert len(alone.log_likelihood) == len(alone.positions) == len(alone.words) == len(alone.input_ids) - 2
        assert np.isfinite(alone.log_likelihood).all()
        if kind != "roberta" or (not text.strip() and whitespace == "collapse"):  # bytes of such characters are tokens
            assert len(alone.log_likelihood) == 0
    among = score_tokens(encoders[kind], [nothing[0], TEXTS[0], *nothing[1:]], **given)
    (plain,) = score_tokens(encoders[kind], TEXTS[:1], **given)
    np.testing.assert_allclose(among[1].log_likelihood, plain.log_likelihood, atol=1e-5, rtol=0)
    assert len(among[0].log_likelihood) == 0


def test_no_text_has_a_row_without_tokens() -> None:
    empty = EncodedText(np.array([2, 3]), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    for metric in METRICS:
        assert list(mask_rows(empty, 0, metric)) == []


def test_threads_score_as_one_after_the_other(encoders: dict) -> None:
    encoder = encoders["bert"]
    lengths = [5, 9, 14, LENGTH] * 3

    def values(length: int) -> list[list[float]]:
        return [score.log_likelihood.tolist() for score in score_tokens(encoder, TEXTS, max_length=length)]

    alone = {length: values(length) for length in set(lengths)}
    with ThreadPoolExecutor(4) as pool:
        for length, found in zip(lengths, pool.map(values, lengths), strict=True):
            assert found == alone[length]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"metric": "orignal"}, "scoring.metric is 'orignal'.*known: word_l2r, original, whole_word"),
        ({"word_source": "tokeniser"}, "scoring.word_source is 'tokeniser'.*known: tokenizer, whitespace"),
        ({"whitespace": "Keep"}, "scoring.whitespace is 'Keep'.*known: collapse, keep"),
        ({"precision": "bfloat16"}, "precision is 'bfloat16'.*known: float32, bf16"),
        ({"precision": torch.bfloat16}, "precision is torch.bfloat16.*known: float32, bf16"),
        ({"token_budget": 0}, "token_budget is 0: at least 1"),
    ],
)
def test_settings_that_do_not_exist_are_refused(encoders: dict, setting: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        score_tokens(encoders["bert"], TEXTS[:1], max_length=LENGTH, **setting)


def test_a_generator_of_texts_is_scored_in_order(encoders: dict) -> None:
    wanted = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH)
    found = score_tokens(encoders["bert"], (text for text in TEXTS), max_length=LENGTH)
    assert [one.log_likelihood.tolist() for one in found] == [one.log_likelihood.tolist() for one in wanted]


@pytest.mark.parametrize("kind", TYPES)
def test_bf16_stays_near_float32(encoders: dict, kind: str) -> None:
    full, half = (
        score_tokens(encoders[kind], TEXTS[:1], max_length=LENGTH, precision=p)[0] for p in ("float32", "bf16")
    )
    assert half.log_likelihood.dtype == np.float32
    assert not np.array_equal(full.log_likelihood, half.log_likelihood)
    np.testing.assert_allclose(half.log_likelihood, full.log_likelihood, atol=0.25, rtol=0)


def test_spread_puts_values_at_their_positions() -> None:
    score = TokenScores(
        input_ids=np.arange(5), positions=np.array([1, 3]), words=np.array([0, 1]), log_likelihood=np.zeros(2, "f4")
    )
    assert score.spread(np.array([0.25, 0.75])).tolist() == [0, 0.25, 0, 0.75, 0]


@pytest.mark.parametrize("kind", TYPES)
def test_scoring_leaves_model_and_random_state(encoders: dict, kind: str) -> None:
    encoder = encoders[kind]
    before = copy.deepcopy(encoder.model.state_dict())
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    score_tokens(encoder, TEXTS[:2], max_length=LENGTH)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert not encoder.model.training
    assert all(p.grad is None and not p.is_inference() for p in encoder.model.parameters())
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_in_training_mode_is_refused(encoders: dict) -> None:
    encoder = encoders["bert"]
    encoder.model.train()
    try:
        with pytest.raises(InputError, match="training mode"):
            score_tokens(encoder, TEXTS[:1], max_length=LENGTH)
    finally:
        encoder.model.eval()


def test_too_short_a_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"scoring\.max_length is 2"):
        ScoringConfig(max_length=2)
