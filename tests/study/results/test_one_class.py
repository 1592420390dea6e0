"""Models that predict one class for all test texts are told below the tables."""

import numpy as np
import pytest

from study.results.remarks import constant


def record(method, predictions):
    return {"method": method, "test_predictions": np.asarray(predictions, dtype=np.uint8)}


def test_models_that_predict_one_class_are_counted_by_method():
    records = [record("stl", [1, 1, 1]), record("stl", [0, 0, 0]), record("rtm", [2, 2, 2]), record("rtm", [0, 1, 0])]
    (said,) = constant("words", records)
    assert said.startswith("words: 3 of 4 models predict one class for all test texts (rtm 1, stl 2): ")


@pytest.mark.parametrize("records", [[], [record("stl", [0, 1])], [record("stl", [1])], [{"method": "stl"}]])
def test_nothing_is_said_of_models_that_tell_texts_apart_or_saw_one_text_or_none(records):
    assert constant("words", records) == ()
