"""The collator's column `mask_groups`."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from small_encoders import TEXTS

from l3masking.errors import InputError
from l3masking.masking.collator import MaskingCollator
from l3masking.masking.corruption import IGNORED
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.words import encode_texts


def by_words(tokenizer) -> list[dict]:
    """Three texts of different lengths with the words of their tokens as groups, -1 at the specials."""
    features = []
    for text in encode_texts(tokenizer, TEXTS[:3], max_length=40):
        groups = np.full(len(text.input_ids), -1)
        groups[text.positions] = text.words
        features.append({"input_ids": text.input_ids.tolist(), "mask_groups": groups.tolist()})
    return features


@pytest.mark.parametrize("selection", ["bernoulli", "systematic"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_words_are_masked_whole_whatever_the_padding(encoders: dict, side: str, selection: str) -> None:
    tokenizer = copy.deepcopy(encoders["bert"].tokenizer)
    tokenizer.padding_side = side
    features = by_words(tokenizer)
    before = copy.deepcopy(features)
    collator = MaskingCollator(tokenizer, MaskingConfig(mean=0.4, selection=selection))
    seen = set()
    for _ in range(30):
        batch = collator(features)
        assert set(batch) == {"input_ids", "attention_mask", "labels"}
        for row, feature in enumerate(features):
            there = batch["attention_mask"][row].bool()
            selected = (batch["labels"][row] != IGNORED)[there].numpy()
            assert not (batch["labels"][row] != IGNORED)[~there].any()
            groups = np.array(feature["mask_groups"])
            assert not selected[groups < 0].any()
            for group in set(groups[groups >= 0].tolist()):
                of_word = selected[groups == group]
                assert of_word.all() or not of_word.any()
                seen.add((len(of_word) > 1, bool(of_word[0])))
    assert len(seen) == 4
    assert features == before


def test_minus_one_everywhere_changes_no_draw(encoders: dict) -> None:
    tokenizer = encoders["bert"].tokenizer
    features = by_words(tokenizer)
    plain = [{"input_ids": feature["input_ids"]} for feature in features]
    alone = [{**feature, "mask_groups": [-1] * len(feature["input_ids"])} for feature in plain]
    mixed = [plain[0], *alone[1:]]
    wanted = MaskingCollator(tokenizer)(plain)
    for given in (alone, mixed):
        found = MaskingCollator(tokenizer)(given)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([0, 1], "mask_groups has 2 values for 4 input ids"),
        ([-1, 0, 0.5, -1], "whole numbers"),
        ([-1, 0, -2, -1], "whole numbers"),
        ([-1, None, 0, -1], "whole numbers"),
        ([0, 0, 1, 1], "input ids 0 and 1 are in group 0, but their mask_probabilities are 0.0 and 0.15"),
    ],
)
def test_a_wrong_column_is_refused(encoders: dict, groups: list, words: str) -> None:
    tokenizer = encoders["bert"].tokenizer
    ids = [tokenizer.cls_token_id, 20, 21, tokenizer.sep_token_id]
    with pytest.raises(InputError, match=words):
        MaskingCollator(tokenizer)([{"input_ids": ids, "mask_groups": groups}])
