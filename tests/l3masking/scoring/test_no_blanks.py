"""Languages without blanks under a SentencePiece tokenizer: a word is a whole sentence, and one warning says so."""

import copy
import logging
from pathlib import Path

import numpy as np
import pytest
from more_encoders import save_type, unigram_tokenizer
from one_mask import METRICS, slow_scores
from small_encoders import wordpiece_tokenizer

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.scoring.scoring import score_tokens
from l3masking.scoring.words import LONGEST_WORD, encode_texts

SENTENCES = {
    "Chinese": [
        "分析器讀取每一個單詞而模型隨後讀取分析器的全部輸出結果",
        "罕見的單詞比常見的單詞更常被遮蓋所以學得更好也更快一點",
    ],
    "Thai": ["ตัววิเคราะห์อ่านทุกคำแล้วแบบจำลองอ่านผลลัพธ์", "คำที่พบยากถูกปิดบ่อยกว่าคำที่พบง่ายมาก"],
}
SOURCES = ("tokenizer", "whitespace")


@pytest.fixture(scope="module", params=SENTENCES)
def language(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def encoder(language: str, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """An XLM-R, whose pieces are single characters."""
    tokenizer = unigram_tokenizer(SENTENCES[language], vocab_size=80, longest=1)
    folder = tmp_path_factory.mktemp(language)
    return load_encoder(
        str(save_type(folder, "xlm-roberta", tokenizer, num_hidden_layers=2, max_position_embeddings=60))
    )


@pytest.mark.parametrize("source", SOURCES)
def test_a_sentence_is_one_word_and_one_warning_says_what_that_changes(
    language: str, encoder: Encoder, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    tokenizer = copy.deepcopy(encoder.tokenizer)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for text in encode_texts(tokenizer, SENTENCES[language], max_length=58, word_source=source):
                assert len(text.positions) > LONGEST_WORD
                assert len(set(text.words.tolist())) == 1
    (record,) = caplog.records
    said = record.getMessage()
    assert f"scoring.word_source: {source}" in said
    assert "word_l2r and whole_word then mask up to a sentence" in said
    assert "Set scoring.metric: original" in said


def test_a_tokenizer_that_splits_characters_is_advised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A BERT tokenizer makes each Chinese character a word of its own."""
    tokenizer = wordpiece_tokenizer(tmp_path)
    with caplog.at_level(logging.WARNING):
        encode_texts(tokenizer, SENTENCES["Chinese"], max_length=58)
        assert not caplog.records
        encode_texts(tokenizer, SENTENCES["Chinese"], max_length=58, word_source="whitespace")
    (record,) = caplog.records
    assert (
        "Set scoring.word_source: tokenizer, for words of at most 1 tokens in the same text, or" in record.getMessage()
    )


def test_scores_are_those_of_one_mask_at_a_time(language: str, encoder: Encoder) -> None:
    texts = SENTENCES[language]
    found = {}
    for metric in METRICS:
        scores = score_tokens(encoder, texts, metric=metric, max_length=58)
        for score, text in zip(scores, encode_texts(encoder.tokenizer, texts, max_length=58), strict=True):
            np.testing.assert_allclose(score.log_likelihood, slow_scores(encoder, text, metric), atol=2e-5, rtol=0)
        found[metric] = scores[0].log_likelihood
    assert np.abs(found["original"][:-1] - found["word_l2r"][:-1]).max() > 1e-3
    assert found["original"][-1] == pytest.approx(found["word_l2r"][-1], abs=2e-5)


def test_blanks_and_short_words_are_not_warned_of(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        encode_texts(copy.deepcopy(encoder.tokenizer), ["分析 器讀 取每 一個 單詞"], max_length=58)
    assert not caplog.records
