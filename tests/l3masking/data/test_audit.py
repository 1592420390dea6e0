"""The audit of a dataset: planted answers, a slow count of its own, the overlap rule, and ACL-ARC as published."""

from __future__ import annotations

import dataclasses
import random
import unicodedata

import numpy as np
import pytest
from acl_arc import acl_arc_folder
from small_task import tokenizer

from l3masking.data.audit import MOST_TOKENIZED, Audit, audit, token_lengths
from l3masking.data.pairs import Text
from l3masking.data.rows import Rows
from l3masking.data.spec import DataSpec
from l3masking.data.splits import Overlap, Parts
from l3masking.data.table import TextData, assemble, load_data
from l3masking.data.textdata import EvaluationSet
from l3masking.scoring.text_lengths import count_ids
from l3masking.scoring.words import encode_texts


def planted() -> TextData:
    """Each kind of repeat once or twice. Labels: a, b."""
    parts = Parts(
        train=Rows(["One two", "one  TWO", "three", "Three", "three", "four five six", " "], list("aabaabb")),
        validation=Rows(["one two", "seven", "seven", "Seven"], list("abab")),
        test=Rows(["One two", "ONE two", "three", "eight", "seven", "nine"], list("bababa")),
    )
    return assemble(parts, name="planted")


def test_planted_repeats_conflicts_and_shared_texts() -> None:
    found = audit(planted())
    train, validation, test = (found.splits[part].audit for part in ("train", "validation", "test"))
    assert (train["rows"], train["distinct"], train["distinct_exact"]) == (7, 4, 6)
    assert (train["conflicting"], train["conflicting_exact"]) == (1, 1)  # "three" is b, a, a: twice as it stands
    assert train["labels"] == {"a": 4, "b": 3}
    assert (train["blank"], train["shared"]) == (1, {})
    assert (validation["distinct"], validation["distinct_exact"], validation["conflicting"]) == (2, 3, 1)
    assert validation["shared"] == {"train": {"rows": 1, "exact": 0, "other_label": 0}}
    assert test["shared"] == {
        "train": {"rows": 3, "exact": 2, "other_label": 1},  # "One two" is b here and a in train
        "validation": {"rows": 3, "exact": 1, "other_label": 1},
    }
    assert found.splits["test"].in_train == {"folded": [0, 1, 2], "exact": [0, 2]}
    assert found.splits["train"].in_train == {"folded": [], "exact": []}
    assert (found.pairs, found.alike, found.evaluations) == (False, [], {})


def test_lengths_are_in_words() -> None:
    words = audit(planted()).splits["train"].audit["words"]
    lengths = [2, 2, 1, 1, 1, 3, 0]
    assert (words["min"], words["median"], words["max"]) == (0, 1, 3)
    assert words["mean"] == pytest.approx(sum(lengths) / 7, abs=1e-12)
    assert words["q95"] == pytest.approx(float(np.quantile(lengths, 0.95)), abs=1e-12)


def test_labels_that_look_alike_are_named() -> None:
    parts = Parts(*(Rows([f"text {n} {part}" for n in range(3)], ["Yes", "yes", "no"]) for part in range(3)))
    [note] = audit(assemble(parts, name="alike")).alike
    assert "'Yes' (1 row) and 'yes' (1 row) look alike" in note


def test_evaluation_sets_are_compared_under_their_label_map() -> None:
    texts = ("One two", "three", "Nine", "new")
    one = EvaluationSet(texts=texts, labels=(1, 0, 0, 1), classes=("x", "y"), of_class=(1, 1))  # both are y there
    found = audit(dataclasses.replace(planted(), evaluations={"further": one})).evaluations["further"]
    assert found.audit["labels"] == {"x": 2, "y": 2}
    assert found.audit["shared"] == {
        "train": {"rows": 2, "exact": 2, "other_label": 1},
        "validation": {"rows": 1, "exact": 0, "other_label": 0},
        "test": {"rows": 3, "exact": 2, "other_label": 2},
    }
    assert found.in_train == {"folded": [0, 1], "exact": [0, 1]}


def test_pairs_count_as_one_text_where_both_sides_do() -> None:
    parts = Parts(
        train=Rows([("A b", "c"), ("a B", "C"), ("a", "b c"), ("c", "a b")], list("xyxy")),
        validation=Rows([("A b", "c"), ("x", "y")], list("xy")),
        test=Rows([("a b", "C "), ("b", "a")], list("xx")),
    )
    found = audit(assemble(parts, name="pairs"))
    train = found.splits["train"].audit
    assert found.pairs
    assert (train["distinct"], train["distinct_exact"], train["conflicting"]) == (3, 4, 1)
    assert train["words"]["max"] == 3
    assert found.splits["validation"].audit["shared"]["train"] == {"rows": 1, "exact": 1, "other_label": 0}
    assert found.splits["test"].audit["shared"]["train"] == {"rows": 1, "exact": 0, "other_label": 0}


# ---- a slow count of its own: every row against every other one


def folds_alike(one: Text, other: Text) -> bool:
    """Character by character: white space apart, and case folded in the composed form."""
    sides = [(one, other)] if isinstance(one, str) else list(zip(one, other, strict=True))
    words = [
        [["".join(c.casefold() for c in unicodedata.normalize("NFC", word)) for word in side.split()] for side in pair]
        for pair in sides
    ]
    return all(first == second for first, second in words)


def slow_counts(rows: list[tuple[Text, int]], earlier: list[tuple[Text, int]]) -> dict[str, object]:
    """The numbers of one split by comparing all pairs of rows."""

    def alike(one: tuple[Text, int], others: list[tuple[Text, int]], exact: bool) -> list[tuple[Text, int]]:
        return [other for other in others if (one[0] == other[0] if exact else folds_alike(one[0], other[0]))]

    def groups(exact: bool) -> list[set[int]]:
        firsts = [row for number, row in enumerate(rows) if not alike(row, rows[:number], exact)]
        return [{label for _, label in alike(row, rows, exact)} for row in firsts]

    folded, exact = groups(False), groups(True)
    shared = [number for number, row in enumerate(rows) if alike(row, earlier, False)]
    return {
        "distinct": len(folded),
        "distinct_exact": len(exact),
        "conflicting": sum(len(labels) > 1 for labels in folded),
        "conflicting_exact": sum(len(labels) > 1 for labels in exact),
        "folded": shared,
        "exact": [number for number, row in enumerate(rows) if alike(row, earlier, True)],
        "other_label": sum(
            rows[number][1] not in {label for _, label in alike(rows[number], earlier, False)} for number in shared
        ),
    }


@pytest.mark.parametrize("seed", range(20))
def test_random_tables_agree_with_comparing_every_pair(seed: int) -> None:
    draw = random.Random(seed)
    pairs = seed % 2 == 1

    def side() -> str:
        return draw.choice([" ", "\t\n", ""]).join(draw.choice(["a", "A", "Ä", "a\u0308", "ß", "ss"]) for _ in range(2))

    def rows(count: int) -> list[tuple[Text, int]]:
        texts = [(side(), side()) if pairs else side() for _ in range(count)]
        return [(text, number % 2 if number < 2 else draw.randrange(2)) for number, text in enumerate(texts)]

    tables = {part: rows(count) for part, count in (("train", 24), ("validation", 10), ("test", 14))}
    parts = Parts(*(Rows([t for t, _ in table], ["xy"[label] for _, label in table]) for table in tables.values()))
    data = assemble(parts, name="random")
    found = audit(data)
    for part, table in tables.items():
        wanted = slow_counts(table, tables["train"] if part != "train" else [])
        looked = found.splits[part]
        for name in ("distinct", "distinct_exact", "conflicting", "conflicting_exact"):
            assert looked.audit[name] == wanted[name], (part, name)  # type: ignore[literal-required]
        assert looked.in_train == {name: wanted[name] for name in ("folded", "exact")}
        if part != "train":
            shared = looked.audit["shared"]["train"]
            assert (shared["rows"], shared["exact"]) == (len(looked.in_train["folded"]), len(looked.in_train["exact"]))
            assert shared["other_label"] == wanted["other_label"]
    assert as_counted_at_load(found) == {name: data.overlap[name] for name in as_counted_at_load(found)}


# ---- the rule for shared texts, and real files


def as_counted_at_load(found: Audit) -> dict[str, int]:
    """What `overlap` of a loaded dataset holds, from the audit."""
    train, validation, test = (found.splits[part].audit for part in ("train", "validation", "test"))
    return {
        "train_rows": train["rows"],
        "train_distinct": train["distinct"],
        "train_repeated": train["rows"] - train["distinct"],
        "train_conflicting": train["conflicting"],
        "validation_in_train": validation["shared"]["train"]["rows"],
        "test_in_train": test["shared"]["train"]["rows"],
        "test_in_validation": test["shared"]["validation"]["rows"],
    }


@pytest.mark.parametrize(("rule", "rows"), [("drop_from_train", (2, 4, 6)), ("drop_from_eval", (7, 3, 3))])
def test_nothing_is_shared_after_a_rule(rule: Overlap, rows: tuple[int, int, int]) -> None:
    kept = planted()
    parts = Parts(
        *(
            Rows(list(split.texts), [kept.labels[label] for label in split.labels])
            for split in (kept.train, kept.validation, kept.test)
        )
    )
    if rule == "drop_from_train":
        parts.train.texts.append("ten")
        parts.train.labels.append("a")
        rows = (rows[0] + 1, *rows[1:])
    data = assemble(parts, name="dropped", rule=rule)
    found = audit(data)
    assert tuple(found.splits[part].audit["rows"] for part in ("train", "validation", "test")) == rows
    assert {found.splits[part].audit["shared"]["train"]["rows"] for part in ("validation", "test")} == {0}
    assert (data.overlap["validation_in_train"], data.overlap["test_in_train"]) == (1, 3)  # before the rule


def test_acl_arc_holds_what_the_paper_does_not_say() -> None:
    spec = DataSpec(train="train.jsonl", validation="dev.jsonl", test="test.jsonl")
    found = audit(load_data(spec, name="acl-arc", folder=acl_arc_folder()))
    train = found.splits["train"].audit
    assert (train["rows"], train["distinct"], train["distinct_exact"]) == (1688, 1270, 1270)
    assert (train["conflicting"], train["conflicting_exact"]) == (20, 20)
    for part, rows, seen, other in (("validation", 114, 43, 1), ("test", 139, 52, 5)):
        looked = found.splits[part]
        assert looked.audit["rows"] == rows
        assert looked.audit["shared"]["train"] == {"rows": seen, "exact": seen, "other_label": other}
        assert len(looked.in_train["folded"]) == seen


# ---- lengths in tokens


def test_ids_are_counted_as_texts_are_encoded() -> None:
    texts = ["red oak", "the unlikely cat   and [MASK]", "", "a " * 40]
    encoded = encode_texts(tokenizer(), texts, max_length=500)
    assert count_ids(tokenizer(), texts) == [len(text.input_ids) for text in encoded]
    pairs: list[Text] = [("red", "oak"), ("a cat", "")]
    assert count_ids(tokenizer(), pairs) == [
        len(text.input_ids) for text in encode_texts(tokenizer(), pairs, max_length=50)
    ]
    assert count_ids(tokenizer(), []) == []


def test_the_share_of_long_texts_is_counted() -> None:
    found = token_lengths(["a", "b b", "c c c"], lambda texts: [len(text) for text in texts], max_length=3)
    assert (found["texts"], found["longer"]) == (3, 1)
    assert (found["ids"]["min"], found["ids"]["median"], found["ids"]["max"]) == (1, 3, 5)


def test_of_many_texts_evenly_spaced_ones_are_tokenized() -> None:
    asked: list[Text] = []

    def count(texts: object) -> list[int]:
        asked.extend(texts)  # type: ignore[arg-type]
        return [int(text) % 10 for text in asked]  # type: ignore[arg-type]

    rows = 3 * MOST_TOKENIZED + 7
    found = token_lengths([str(number) for number in range(rows)], count, max_length=4)
    assert found["texts"] == len(asked) == len(set(asked)) == MOST_TOKENIZED
    assert found["longer"] == pytest.approx(MOST_TOKENIZED / 2, abs=0.02 * MOST_TOKENIZED)
    assert (asked[0], int(str(asked[-1]))) == ("0", (MOST_TOKENIZED - 1) * rows // MOST_TOKENIZED)
