"""Score folders: cut by texts, whole or absent, never scored twice, the same as scoring directly."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
from small_study import write_study

from l3masking.data.rows import Rows
from l3masking.data.splits import Parts
from l3masking.data.table import assemble
from l3masking.errors import EnvironmentFault, InputError
from l3masking.scoring.scoring import score_tokens
from l3masking.scoring.settings import ScoringConfig
from study import score
from study.artefacts import make_artefacts, parts
from study.plan.inputs import held_data, held_encoder, identify, sources
from study.score import ScoreJob, cut_texts, read_scores
from study.space.reader import read_space
from study.space.spec import Resources
from study.store.places import fetched
from study.store.store import QuarantineWarning
from study.work.workers import ArtefactWorker, execute_serially, worker_slots

SERIAL = Resources(executor="serial")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch) -> None:
    monkeypatch.setattr(score, "SHARD_TEXTS", 10)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ScoreJob:
    """24 texts of a tiny dataset: three shards of 10, 10 and 4."""
    spec = read_space(write_study(tmp_path_factory.mktemp("job")))
    encoder, data = sources(spec, identify(spec, print), "tiny", "words")
    return ScoreJob(encoder=encoder, data=data, scoring=spec.scoring, precision=spec.precision)


@pytest.fixture(scope="module")
def direct(job: ScoreJob) -> dict:
    texts = list(dict.fromkeys(held_data(job.data).mlm_texts))
    scores = score_tokens(held_encoder(job.encoder, "cpu"), texts, metric=job.scoring.metric, max_length=16)
    return dict(zip(texts, scores, strict=True))


class Counted:
    """Serial execution that notes the shards it was given, and may stop before one of them."""

    def __init__(self, stop_before: int | None = None) -> None:
        self.numbers: list[int] = []
        self.stop_before = stop_before

    def __call__(self, works, count):
        for work in works:
            if work.shard.number == self.stop_before:
                raise KeyboardInterrupt
            self.numbers.append(work.shard.number)
            yield from execute_serially([work], 1)


def scored(job: ScoreJob, folder: Path, execute=None, resources=SERIAL) -> list[int]:
    execute = execute or Counted()
    make_artefacts([(job, resources)], lambda _: folder, execute, lambda *_: None)
    return execute.numbers


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def data_of(texts: list[str]):
    kinds = ["a", "b"] * len(texts)
    split = Rows(["x", "y"], ["a", "b"])
    return assemble(Parts(Rows(texts, kinds[: len(texts)]), split, split), name="some")


def test_shards_depend_on_the_texts_alone(monkeypatch) -> None:
    texts = [f"{'word ' * (i % 7)}{i}" for i in range(37)]
    mixed = [*texts, *texts[:9]]
    random.Random(3).shuffle(mixed)
    held = {"plain": data_of(texts), "mixed": data_of(mixed)}
    monkeypatch.setattr(score, "held_data", held.get)
    cut = list(cut_texts("plain", range(4)))
    assert score.count_shards("plain") == 4
    assert cut == list(cut_texts("mixed", range(4)))
    assert list(cut_texts("mixed", [2])) == cut[2:3]
    assert [shard.number for shard in cut] == [0, 1, 2, 3]
    assert [len(shard.content) for shard in cut] == [10, 10, 10, 7]
    every = [text for shard in cut for text in shard.content]
    assert sorted(every) == sorted(texts)
    assert [len(text) for text in every] == sorted(map(len, every), reverse=True)


def test_a_folder_holds_what_scoring_directly_gives_in_the_order_of_the_texts(job, direct, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    make_artefacts([(job, SERIAL)], lambda _: tmp_path, execute_serially, lambda *event: told.append(event))
    assert told == [("scoring tiny on words", done, 3) for done in (1, 2, 3)]
    texts = [*reversed(direct), *list(direct)[:5], *list(direct)[:5]]
    for text, found in zip(texts, read_scores(tmp_path, texts), strict=True):
        wanted = direct[text]
        for name in ("input_ids", "positions", "words"):
            mine, theirs = getattr(found, name), getattr(wanted, name)
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
        assert found.log_likelihood.dtype == np.float32
        np.testing.assert_allclose(found.log_likelihood, wanted.log_likelihood, atol=1e-5)  # other batches


def test_parts_are_named_by_their_content_and_the_manifest_names_them(job, tmp_path: Path) -> None:
    scored(job, tmp_path)
    found = dict(parts(tmp_path))
    assert sorted(found) == [0, 1, 2]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["key"] == job.key
    assert manifest["scoring_pass"] == "fast"
    assert manifest["parts"] == [found[number].name for number in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*manifest["parts"], "manifest.json"])


def test_a_second_call_computes_and_writes_nothing(job, tmp_path: Path, monkeypatch) -> None:
    scored(job, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr(ArtefactWorker, "make", lambda *_: pytest.fail("scored again"))
    assert scored(job, tmp_path) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_an_interrupted_job_scores_what_is_missing_and_ends_the_same(job, tmp_path: Path) -> None:
    scored(job, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        scored(job, tmp_path / "torn", Counted(stop_before=1))
    assert [number for number, _ in parts(tmp_path / "torn")] == [0]
    assert not (tmp_path / "torn" / "manifest.json").exists()
    with pytest.raises(FileNotFoundError, match="is not finished: run the study again"):
        read_scores(tmp_path / "torn", ["any"])
    assert scored(job, tmp_path / "torn") == [1, 2]
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["torn", "flipped", "empty", "gone"])
def test_a_damaged_part_is_removed_and_scored_again(job, tmp_path: Path, harm: str) -> None:
    scored(job, tmp_path)
    whole = content(tmp_path)
    path = dict(parts(tmp_path))[1]
    raw = path.read_bytes()
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 1
    path.write_bytes({"torn": raw[:-7], "flipped": bytes(flipped), "empty": b"", "gone": b""}[harm])
    if harm == "gone":
        path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{path.name} is missing or damaged: run the study again"):
        read_scores(tmp_path, list(held_data(job.data).mlm_texts))
    with pytest.warns(QuarantineWarning, match=path.name) if harm != "gone" else contextlib.nullcontext():
        assert scored(job, tmp_path) == [1]
    assert content(tmp_path) == whole


def test_foreign_and_swapped_parts_do_not_count(job, tmp_path: Path) -> None:
    scored(job, tmp_path)
    whole = content(tmp_path)
    found = dict(parts(tmp_path))
    zero, one = found[0].read_bytes(), found[1].read_bytes()
    found[0].write_bytes(one)
    found[1].write_bytes(zero)
    (tmp_path / "part-00002-old.parquet").write_bytes(b"?")
    with pytest.warns(QuarantineWarning, match="part-0000") as caught:
        assert scored(job, tmp_path) == [0, 1]
    assert len(caught) == 3
    assert content(tmp_path) == whole


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"parts": 3}'])
def test_a_damaged_manifest_is_written_again_without_scoring(job, tmp_path: Path, raw: bytes) -> None:
    scored(job, tmp_path)
    whole = content(tmp_path)
    (tmp_path / "manifest.json").write_bytes(raw)
    with (
        pytest.warns(QuarantineWarning, match=r"manifest\.json: damaged"),
        pytest.raises(FileNotFoundError, match="run the study again"),
    ):
        read_scores(tmp_path, ["any"])
    with pytest.warns(QuarantineWarning, match=r"manifest\.json: damaged"):
        assert scored(job, tmp_path) == []
    assert content(tmp_path) == whole


def test_the_key_holds_what_may_change_a_score_and_nothing_else(job) -> None:
    others = [
        dataclasses.replace(job, scoring=ScoringConfig(max_length=16, metric="original")),
        dataclasses.replace(job, scoring=ScoringConfig(max_length=17)),
        dataclasses.replace(job, scoring=ScoringConfig(max_length=16, whitespace="keep")),
        dataclasses.replace(job, precision="bf16"),
        dataclasses.replace(job, encoder=dataclasses.replace(job.encoder, revision="other")),
        dataclasses.replace(job, data=dataclasses.replace(job.data, data_hash="other")),
    ]
    assert len({job.key, *(other.key for other in others)}) == len(others) + 1
    renamed = dataclasses.replace(job, encoder=dataclasses.replace(job.encoder, name="another name"))
    assert renamed.key == job.key


def test_the_token_budget_changes_rounding_at_most(job, tmp_path: Path) -> None:
    texts = list(held_data(job.data).mlm_texts)
    for budget in (40, 4096):
        resources = Resources(executor="serial", token_budget=budget)
        scored(job, tmp_path / str(budget), resources=resources)
    for a, b in zip(read_scores(tmp_path / "40", texts), read_scores(tmp_path / "4096", texts), strict=True):
        np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, atol=1e-5)


def test_an_encoder_that_changed_is_refused_before_a_part_is_written(job, tmp_path: Path) -> None:
    changed = dataclasses.replace(job, encoder=dataclasses.replace(job.encoder, revision="folder-0"))
    with pytest.raises(InputError, match="has changed"):
        scored(changed, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("held", "resources", "slots"),
    [
        ([{"CPU": 4.0}], {}, 4),
        ([{"CPU": 4.0}], {"cpu": 1.5}, 2),
        ([{"CPU": 4.0}], {"workers": 3}, 3),
        ([{"CPU": 4.0}], {"workers": 9}, 4),
        ([{"CPU": 4.0}, {"CPU": 4.0}], {"cpu": 3.0}, 2),
        ([{"CPU": 16.0, "GPU": 2.0}], {"gpu": 0.25}, 8),
        ([{"CPU": 3.0, "GPU": 2.0}], {"gpu": 0.25}, 3),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}], {}, 24),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}], {"gpu": 1.0}, 2),
    ],
)
def test_as_many_workers_as_fit(monkeypatch, held, resources, slots: int) -> None:
    import ray

    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in held])
    assert worker_slots(Resources(**resources)) == slots


@pytest.mark.parametrize("resources", [{"cpu": 5.0}, {"gpu": 0.25}])
def test_what_no_node_holds_is_refused_and_never_waited_for(monkeypatch, resources) -> None:
    import ray

    dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    live = [{"Alive": True, "Resources": {"CPU": 4.0}}] * 2
    monkeypatch.setattr(ray, "nodes", lambda: [*live, dead])
    with pytest.raises(EnvironmentFault, match=r"no node holds .*4 CPUs and 0 GPUs.*ask for less"):
        worker_slots(Resources(**resources))


def test_at_a_url_another_machine_goes_on_and_each_part_is_scored_once(job, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "a"))
    scored(job, tmp_path / "folder")
    url = f"file://{tmp_path}/there/scores/{job.key}"
    with pytest.raises(KeyboardInterrupt):
        scored(job, url, Counted(stop_before=1))
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "b"))
    assert scored(job, url) == [1, 2]
    whole = content(tmp_path / "folder")
    assert content(tmp_path / "there" / "scores" / job.key) == whole
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "c"))
    assert content(fetched(url)) == whole
    assert scored(job, url) == []


def test_parts_that_went_into_a_folder_of_another_node_are_missed(job, tmp_path: Path) -> None:
    class Elsewhere(Counted):
        def __call__(self, works, count):
            yield from super().__call__([work._replace(place=tmp_path / "of another node") for work in works], count)

    with pytest.raises(EnvironmentFault, match=r"3 of 3 parts of scoring tiny .* not here; .*share, or a URL"):
        scored(job, tmp_path / "here", Elsewhere())
    assert not (tmp_path / "here" / "manifest.json").exists()
