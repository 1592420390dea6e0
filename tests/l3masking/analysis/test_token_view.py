"""Single texts token by token: the numbers are those of scoring and masking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from more_encoders import save_xlm_roberta

from l3masking.analysis.columns import mask_columns
from l3masking.analysis.token_view import BLANK, view_tokens
from l3masking.encoders.load import load_encoder
from l3masking.errors import InputError
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.probabilities import mask_probabilities
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.scoring import score_texts, score_tokens
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as

TEXTS = ["The hooligan wrecked  the vehicle.", "We don't follow thrombosis (1997a), \u2603!"]
CONFIG, MASKING = ScoringConfig(max_length=40), MaskingConfig(mean=0.2)


@pytest.fixture(scope="module")
def three(encoders: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = save_xlm_roberta(tmp_path_factory.mktemp("view") / "xlm")
    return {"bert": encoders["bert"], "roberta": encoders["roberta"], "xlm": load_encoder(str(folder))}


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm"])
def test_numbers_are_those_of_scoring_and_masking(three: dict[str, Any], kind: str) -> None:
    encoder = three[kind]
    columns = mask_columns({name: POLICIES[name] for name in ("uniform", "l3")}, ["complement", "surprisal"])
    views = view_tokens(encoder, TEXTS, columns, CONFIG, MASKING)
    scores = score_tokens(encoder, TEXTS, max_length=40)
    for text, view, score in zip(TEXTS, views, scores, strict=True):
        likelihood = np.exp(score.log_likelihood.astype(np.float64))
        assert view.text == " ".join(text.split())
        assert view.whole == len(view.tokens) == len(score.positions)
        np.testing.assert_array_equal(view.likelihood, likelihood)
        random, complement, surprisal = view.rows
        assert [row.label for row in view.rows] == ["RTM", "l3, complement", "l3, surprisal"]
        assert set(random.probabilities) == {0.2}
        np.testing.assert_array_equal(complement.probabilities, mask_probabilities(likelihood, mean=0.2))
        np.testing.assert_array_equal(
            surprisal.probabilities, mask_probabilities(likelihood, mean=0.2, weighting="surprisal")
        )
        assert all(row.groups is None for row in view.rows)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm"])
def test_tokens_are_the_characters_of_the_text(three: dict[str, Any], kind: str) -> None:
    encoder = three[kind]
    (view,) = view_tokens(encoder, TEXTS[:1], mask_columns({"uniform": POLICIES["uniform"]}, []), CONFIG, MASKING)
    assert "".join(token for token in view.tokens if token != BLANK) == view.text.replace(" ", "")
    encoded = encode_as(CONFIG, encoder.tokenizer, TEXTS[:1])[0]
    assert view.pieces == tuple(encoder.tokenizer.convert_ids_to_tokens(encoded.input_ids[encoded.positions].tolist()))
    assert view.continues.tolist() == [False, *(np.diff(encoded.words) == 0).tolist()]
    assert view.continues.any()


def test_whole_words_are_groups(encoders: dict) -> None:
    columns = mask_columns({"whole_word": POLICIES["whole_word"]}, [])
    views = view_tokens(encoders["bert"], TEXTS, columns, CONFIG, MASKING)
    for view, text in zip(views, encode_as(CONFIG, encoders["bert"].tokenizer, TEXTS), strict=True):
        (row,) = view.rows
        assert row.groups is not None
        same = row.groups[:, None] == row.groups[None, :]
        np.testing.assert_array_equal(same, text.words[:, None] == text.words[None, :])


def test_what_is_cut_and_what_is_unknown(encoders: dict) -> None:
    columns = mask_columns({"uniform": POLICIES["uniform"]}, [])
    (view,) = view_tokens(encoders["bert"], TEXTS[1:], columns, ScoringConfig(max_length=8), MASKING)
    (whole,) = view_tokens(encoders["bert"], TEXTS[1:], columns, CONFIG, MASKING)
    assert len(view.tokens) == 6 < view.whole == len(whole.tokens) == whole.whole
    assert [token for token, unknown in zip(whole.tokens, whole.unknown, strict=True) if unknown] == ["\u2603", "!"]


def test_entropy_is_computed_where_a_policy_needs_it(encoders: dict) -> None:
    columns = mask_columns({"entropy": POLICIES["entropy"]}, [])
    (view,) = view_tokens(encoders["bert"], TEXTS[:1], columns, CONFIG, MASKING)
    (score,) = score_texts(encoders["bert"], TEXTS[:1], CONFIG, entropy=True)
    assert score.entropy is not None
    share = score.entropy.astype(np.float64) / score.entropy.astype(np.float64).sum()
    np.testing.assert_allclose(view.rows[0].probabilities, share * len(share) * 0.2, rtol=1e-6)


def test_importance_is_used_as_it_is_given(encoders: dict) -> None:
    columns = mask_columns({"importance": POLICIES["importance"]}, [])
    (text,) = encode_as(CONFIG, encoders["bert"].tokenizer, TEXTS[:1])
    importance = np.zeros(len(text.positions))
    importance[2] = 0.3
    (view,) = view_tokens(
        encoders["bert"], TEXTS[:1], columns, CONFIG, MaskingConfig(mean=0.05), importance=[importance]
    )
    assert view.rows[0].probabilities.argmax() == 2
    assert np.count_nonzero(view.rows[0].probabilities) == 1
    with pytest.raises(InputError, match="needs the importance of each token"):
        view_tokens(encoders["bert"], TEXTS[:1], columns, CONFIG, MASKING)
