"""Names of a space become pinned sources; what has changed since is refused; nothing is made or fetched by a plan."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_study import SPACE, write_rows, write_space, write_study

from l3masking.data.table import DataSpec
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import InputError, Unavailable
from study.estimate.sizes import data_sizes
from study.plan import inputs
from study.plan.inputs import held_data, held_encoder, identify, identify_at_hand, prefetch, sources
from study.space.reader import read_space

GENERATED = {"encoders": {"tiny": {"generated": "toyworld"}}, "datasets": {"words": {"generated": "toyworld"}}}


@pytest.fixture
def space(finished_study: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_study, tmp_path / "here", ignore=shutil.ignore_patterns("out"))
    return tmp_path / "here" / "small.yaml"


def both(space: Path):
    spec = read_space(space)
    return sources(spec, identify(spec, print), "tiny", "words")


def test_sources_are_pinned_small_and_travel(space: Path) -> None:
    encoder, data = both(space)
    assert encoder.revision.startswith("folder-")
    assert len(data.data_hash) == 32
    assert pickle.loads(pickle.dumps((encoder, data))) == (encoder, data)
    assert hash(pickle.loads(pickle.dumps(data))) == hash(data)
    assert len(pickle.dumps((encoder, data))) < 5000
    assert encoder.load("cpu").revision == encoder.revision
    assert data.load().content_hash == data.data_hash


def test_the_place_of_the_files_is_no_part_of_what_they_are(space: Path, finished_study: Path) -> None:
    here, there = identify(read_space(space), print), identify(read_space(finished_study / "small.yaml"), print)
    assert here == there


def test_lists_and_patterns_are_the_same_data_everywhere(space: Path) -> None:
    plain, folder = read_space(space), space.parent
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "part-0.jsonl").write_text("".join(lines[:10]))
    (folder / "part-1.jsonl.gz").write_bytes(gzip.compress("".join(lines[10:]).encode()))
    wanted = identify(plain, print)
    for given in ("[part-0.jsonl, part-1.jsonl.gz]", "[part-0.jsonl, '*-1.jsonl.gz']"):
        spec = read_space(space, [f"datasets.words.train={given}"])
        assert identify(spec, print) == identify_at_hand(spec) == wanted
        assert data_sizes(spec, wanted)["words"].train == len(lines)
    assert identify(read_space(space, ["datasets.words.train=part-?.jsonl"]), print) != wanted
    _, source = sources(spec, identify(spec, print), "tiny", "words")
    assert pickle.loads(pickle.dumps(source)).load().content_hash == wanted.datasets["words"]
    (folder / "more-1.jsonl.gz").write_bytes(gzip.compress(lines[0].encode()))
    with pytest.raises(InputError, match="its content has changed since the study was planned"):
        source.load()


def test_labels_that_look_alike_are_said(space: Path) -> None:
    with open(space.parent / "train.jsonl", "a") as file:
        file.write('{"text": "red", "label": "first "}\n')
    said: list[str] = []
    identify(read_space(space), said.append)
    (line,) = [line for line in said if "look alike" in line]
    assert line.startswith("dataset words: train: the labels 'first' (")
    assert "and 'first ' (1 row) look alike and are 2 classes" in line
    assert "`label_strip: true` makes them one class" in line
    said.clear()
    identify(read_space(space, ["datasets.words.label_strip=true"]), said.append)
    assert [line for line in said if "label" in line and "look" in line] == []


def test_a_changed_encoder_folder_is_refused(space: Path) -> None:
    encoder, _ = both(space)
    config = space.parent / "encoder" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(InputError, match=r"encoder tiny: .*encoder has changed since .* run it again"):
        encoder.load("cpu")


def test_changed_data_is_refused(space: Path) -> None:
    _, data = both(space)
    write_rows(space.parent / "test.jsonl", ["red", "cat"], ["first", "second"])
    with pytest.raises(InputError, match=r"dataset words: its content has changed since .* run it again"):
        data.load()


def test_what_is_held_is_loaded_once(space: Path) -> None:
    encoder, data = both(space)
    assert held_encoder(encoder, "cpu") is held_encoder(pickle.loads(pickle.dumps(encoder)), "cpu")
    assert held_data(data) is held_data(pickle.loads(pickle.dumps(data)))


def test_what_a_reader_must_know_of_the_data_is_said(space: Path) -> None:
    write_rows(space.parent / "test.jsonl", ["", "red", "cat"], ["third", "first", "second"])
    said: list[str] = []
    identify(read_space(space), said.append)
    assert "dataset words: test: 1 empty texts, kept" in said


def test_only_what_pairs_name_is_looked_for(space: Path) -> None:
    encoders = SPACE["encoders"] | {"gone": {"path": "nowhere"}}
    write_space(space, encoders=encoders, pairs=[{"encoder": "tiny", "dataset": "words"}])
    assert set(identify(read_space(space), print).encoders) == {"tiny"}
    assert set(identify_at_hand(read_space(space)).encoders) == {"tiny"}


def test_a_plan_leaves_out_a_hub_encoder_that_is_not_cached(space: Path, monkeypatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    write_space(space, encoders={"far": {"hub": "nobody/no-such-model"}})
    found = identify_at_hand(read_space(space))
    assert dict(found.encoders) == {}
    assert set(found.datasets) == {"words"}
    with pytest.raises(Unavailable, match=r"nobody/no-such-model .*; run `l3study prefetch SPACE` on a machine"):
        identify(read_space(space), print)


def test_a_plan_makes_no_world(space: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "cache"))
    write_space(space, **GENERATED)
    found = identify_at_hand(read_space(space))
    assert (dict(found.encoders), dict(found.datasets)) == ({}, {})
    assert not (tmp_path / "cache").exists() or not os.listdir(tmp_path / "cache")


def test_a_world_that_is_there_is_an_ordinary_folder_and_ordinary_files(space: Path, monkeypatch) -> None:
    files = {part: space.parent / f"{part}.jsonl" for part in ("train", "validation", "test")}
    world = SimpleNamespace(encoder_folder=space.parent / "encoder", data_files=files)
    monkeypatch.setattr(inputs, "build_world", lambda: world)
    monkeypatch.setattr(inputs, "find_world", lambda: world)
    plain = identify(read_space(space), print)
    write_space(space, **GENERATED)
    assert identify(read_space(space), print) == plain
    assert identify_at_hand(read_space(space)) == plain


def test_prefetch_loads_everything_and_says_what_it_is(space: Path) -> None:
    spec = read_space(space)
    pinned = identify(spec, print)
    assert prefetch(spec) == [f"encoder tiny: {pinned.encoders['tiny']}", f"dataset words: {pinned.datasets['words']}"]
    (space.parent / "encoder" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="encoder"):
        prefetch(spec)


def test_a_moved_branch_does_not_move_a_pinned_encoder(monkeypatch) -> None:
    asked: list[EncoderSpec] = []

    def load(spec: EncoderSpec, **_: object) -> SimpleNamespace:
        asked.append(spec)
        return SimpleNamespace(revision=spec.revision)

    monkeypatch.setattr("l3masking.encoders.load.load_encoder", load)
    source = inputs.EncoderSource(name="far", spec=EncoderSpec(hub="some/model", revision="main"), revision="a" * 40)
    source.load("cpu")
    assert asked[0].revision == "a" * 40


def test_what_is_unavailable_in_a_trial_gets_the_advice_too(monkeypatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise Unavailable("far is not here")

    monkeypatch.setattr("l3masking.encoders.load.load_encoder", missing)
    monkeypatch.setattr(inputs, "load_data", missing)
    encoder = inputs.EncoderSource(name="far", spec=EncoderSpec(hub="some/model"), revision="a" * 40)
    data = inputs.DataSource(name="far", spec=DataSpec(hub="some/data", train="train", test="test"), data_hash="b")
    for load in (lambda: encoder.load("cpu"), data.load):
        with pytest.raises(Unavailable, match=f"^far is not here; {inputs.PREFETCH}$"):
            load()


def test_write_study_leaves_what_is_there(space: Path) -> None:
    before = identify(read_space(space), print)
    assert identify(read_space(write_study(space.parent)), print) == before


def test_an_encoder_with_too_few_positions_is_refused_before_anything_runs(tmp_path: Path) -> None:
    space = write_study(tmp_path)
    spec = read_space(space, ["scoring.max_length=4096"])
    with pytest.raises(
        InputError, match=r"scoring.max_length is 4096: encoder tiny has \d+ positions, set \d+ or less"
    ):
        identify(spec, print)


def test_mask_tuning_by_scores_is_refused_where_other_texts_are_scored(tmp_path: Path) -> None:
    space = write_study(tmp_path)
    (tmp_path / "units.txt").write_text("one\ntwo\n")
    other = "datasets.words.mlm=units.txt"
    with pytest.raises(InputError, match=r"^arm Mask-tuning L3: .* dataset words names other texts under `mlm`"):
        identify(read_space(space, [other, "methods=[stl, mask_tuning_l3]"]), print)
    assert identify(read_space(space, [other, "methods=[l3masking, mask_tuning]"]), print)
    assert identify(read_space(space, ["methods=[mask_tuning_l3]"]), print)


def test_the_number_of_masked_lm_texts_is_known_where_it_is_another(space: Path) -> None:
    assert identify(read_space(space), print).mlm_units == {}
    (space.parent / "units.txt").write_text("red house\nblue house\n")
    other = read_space(space, ["datasets.words.mlm=units.txt"])
    assert identify(other, print).mlm_units == identify_at_hand(other).mlm_units == {"words": 2}
    (space.parent / "units.txt").write_text("red house\n" * 24)
    assert identify(other, print).mlm_units == {}, "as many as the texts of train: nothing changes"
