"""What a run keeps of its datasets: written beside the records, once, whole and the same every time."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import SPACE, write_rows, write_study
from small_task import rows

import study.plan.data_audit
import study.plan.inputs
from l3masking.data.table import DataSpec, load_data
from l3masking.errors import InputError
from l3masking.scoring.text_lengths import count_ids
from study.plan.data_audit import FactsKeeper, IdCounter, audited
from study.plan.inputs import concrete_data, evaluation_hashes, identify
from study.space.reader import read_space
from study.store.data_facts import DataFacts, read_facts, write_facts
from study.store.store import QuarantineWarning

MAP = {"first": "first", "second": "rest", "third": "rest"}
WORDS = SPACE["datasets"]["words"]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A space whose test holds a text of train with another label, one in other letters, and an evaluation set."""
    file = write_study(tmp_path, datasets={"words": WORDS | {"evaluation_sets": {"other": further()}}})
    texts, labels = rows(24, 1)
    write_rows(tmp_path / "test.jsonl", [texts[0], texts[1].upper(), "see old elm near"], ["third", labels[1], "third"])
    write_rows(tmp_path / "other.jsonl", ["a red oak", texts[2]], ["rest", "rest"])
    return file


def further() -> dict[str, Any]:
    return {"test": "other.jsonl", "label_map": MAP}


def kept(space: Path, root: Path, *sets: str) -> tuple[DataFacts, dict[str, str]]:
    """The facts that a run of the space leaves for `words`, and the content hashes of its evaluation sets."""
    spec = read_space(space, sets)
    keeper = FactsKeeper(root, spec)
    identities = identify(spec, lambda line: None, keeper.look)
    keeper.write()
    facts = read_facts(root, identities.datasets["words"])
    assert facts is not None
    return facts, dict(identities.evaluations["words"])


def test_the_file_holds_labels_and_what_train_holds(space: Path, tmp_path: Path) -> None:
    facts, sets = kept(space, tmp_path / "out")
    data = load_data(concrete_data(read_space(space).datasets["words"]), name="words")
    assert facts["data_hash"] == data.content_hash
    assert facts["overlap"] == data.overlap
    assert facts["notes"] == list(data.notes)
    test, train = facts["splits"]["test"], facts["splits"]["train"]
    assert (test["labels"], test["classes"]) == (list(data.test.labels), list(data.labels))
    assert facts["splits"]["validation"]["labels"] == list(data.validation.labels)
    assert train["labels"] == []
    assert test["in_train"] == {"folded": [0, 1], "exact": [0]}
    assert test["audit"]["shared"]["train"] == {"rows": 2, "exact": 1, "other_label": 1}
    assert sets == evaluation_hashes(data)
    other = facts["evaluations"][sets["other"]]
    assert (other["classes"], other["labels"]) == (["first", "rest"], [1, 1])
    assert (other["in_train"]["exact"], other["audit"]["shared"]["train"]["rows"]) == ([1], 1)


def test_lengths_are_those_of_the_encoders_tokenizer(space: Path, tmp_path: Path) -> None:
    from small_task import tokenizer

    facts, _ = kept(space, tmp_path / "out", "scoring.max_length=9")
    texts = [json.loads(line)["text"] for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    lengths = count_ids(tokenizer(), texts)
    found = facts["splits"]["train"]["tokens"]["tiny"]
    assert (found["texts"], found["longer"]) == (len(texts), sum(length > 9 for length in lengths))
    assert 0 < found["longer"] < len(texts)
    assert (found["ids"]["min"], found["ids"]["max"]) == (min(lengths), max(lengths))
    assert (facts["encoders"]["tiny"]["max_length"], facts["encoders"]["tiny"]["whitespace"]) == (9, "collapse")


def test_equal_data_give_equal_bytes_and_the_file_is_left_alone(space: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        kept(space, tmp_path / name)
    [here], [there] = ((tmp_path / name / "data").iterdir() for name in ("a", "b"))
    assert (here.name, here.read_bytes()) == (there.name, there.read_bytes())
    before = here.stat().st_mtime_ns, here.stat().st_ino
    kept(space, tmp_path / "a")
    assert (here.stat().st_mtime_ns, here.stat().st_ino) == before


def test_tokens_are_counted_once_for_one_setting(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = kept(space, tmp_path / "out")
    monkeypatch.setattr(study.plan.data_audit, "load_tokenizer", lambda *_, **__: pytest.fail("counted again"))
    assert kept(space, tmp_path / "out")[0] == first
    with pytest.raises(pytest.fail.Exception, match="counted again"):
        kept(space, tmp_path / "out", "scoring.max_length=9")


def test_a_dataset_is_read_once(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real: Callable[..., Any] = load_data

    def noted(*arguments: Any, **options: Any) -> Any:
        read.append(options["name"])
        return real(*arguments, **options)

    for module in (study.plan.inputs, study.plan.data_audit):
        monkeypatch.setattr(module, "load_data", noted)
    kept(space, tmp_path / "out")
    assert read == ["words"]


def test_an_encoder_without_a_tokenizer_is_left_out(space: Path, tmp_path: Path, monkeypatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise InputError("no tokenizer")

    monkeypatch.setattr(study.plan.data_audit, "load_tokenizer", missing)
    facts, _ = kept(space, tmp_path / "out")
    assert facts["encoders"] == {}
    assert {tuple(split["tokens"]) for split in facts["splits"].values()} == {()}


def test_two_names_for_one_content_share_a_file(space: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "more.jsonl", ["a red oak"], ["first"])
    more = WORDS | {"evaluation_sets": {"more": {"test": "more.jsonl"}}}
    both = {"words": WORDS | {"evaluation_sets": {"other": further()}}, "again": more}
    spec = read_space(write_study(tmp_path, datasets=both))
    keeper = FactsKeeper(tmp_path / "out", spec)
    identities = identify(spec, lambda line: None, keeper.look)
    keeper.write()
    assert len(list((tmp_path / "out" / "data").iterdir())) == 1
    facts = read_facts(tmp_path / "out", identities.datasets["again"])
    assert facts is not None
    wanted = {identities.evaluations["words"]["other"], identities.evaluations["again"]["more"]}
    assert facts["evaluations"].keys() == wanted


def test_datasets_are_audited_without_a_network_and_the_missing_one_has_a_reason(space: Path, tmp_path: Path) -> None:
    spec = read_space(space)
    hub = DataSpec(hub="nobody/nothing", train="train", validation="validation", test="test")
    spec = dataclasses.replace(spec, datasets=spec.datasets | {"far": hub})
    far, words = audited(spec, ["far", "words"])
    assert (far.facts, far.name) == (None, "far")
    assert "l3study prefetch" in str(far.fault)
    facts, sets = kept(space, tmp_path / "out")
    assert (words.facts, words.evaluations, words.fault) == (facts, sets, None)


def test_a_counter_is_named_by_all_that_its_counts_depend_on(space: Path) -> None:
    spec = read_space(space).encoders["tiny"]
    counter = IdCounter(spec=spec, revision="r", max_length=16, whitespace="keep", offline=True)  # type: ignore[arg-type]
    assert counter.how == {"revision": "r", "max_length": 16, "whitespace": "keep"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 0}', b'{"schema": 1, "data_hash": "other"}'])
def test_a_file_that_cannot_be_used_counts_as_missing(space: Path, tmp_path: Path, content: bytes) -> None:
    facts, _ = kept(space, tmp_path / "out")
    [file] = (tmp_path / "out" / "data").iterdir()
    file.write_bytes(content)
    with pytest.warns(QuarantineWarning, match="damaged"):
        assert read_facts(tmp_path / "out", facts["data_hash"]) is None
    with pytest.warns(QuarantineWarning, match="damaged"):
        assert kept(space, tmp_path / "out")[0] == facts  # and is written anew
    shutil.rmtree(tmp_path / "out")
    assert read_facts(tmp_path / "out", facts["data_hash"]) is None
    assert read_facts(tmp_path / "out", None) is None
    write_facts(tmp_path / "out", facts)
    assert read_facts(tmp_path / "out", facts["data_hash"]) == facts
