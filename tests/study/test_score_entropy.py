"""The optional column of entropies in a part of a score folder, and the key of a job that asks for it."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_study import write_study

from l3masking.scoring.scoring import score_texts
from study import score
from study.plan.inputs import held_encoder, identify, sources
from study.score import SCORE_COLUMNS, ScoreJob, part_bytes, stream_scores
from study.space.reader import read_space
from study.space.relevant import without_later
from study.space.spec import plain
from study.store.whole_files import content_key

TEXTS = ["a b c", "b", "", "c c d"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ScoreJob:
    spec = read_space(write_study(tmp_path_factory.mktemp("job")))
    encoder, data = sources(spec, identify(spec, print), "tiny", "words")
    return ScoreJob(encoder=encoder, data=data, scoring=spec.scoring, precision=spec.precision)


@pytest.mark.parametrize("entropy", [False, True])
def test_a_part_gives_back_what_was_scored(job: ScoreJob, entropy: bool, tmp_path: Path, monkeypatch) -> None:
    scores = score_texts(held_encoder(job.encoder, "cpu"), TEXTS, job.scoring, entropy=entropy)
    content = part_bytes(TEXTS, scores)
    columns = pq.read_table(io.BytesIO(content)).column_names
    assert columns == ["text", *SCORE_COLUMNS, *(["entropy"] if entropy else [])]
    (tmp_path / "part.parquet").write_bytes(content)
    monkeypatch.setattr(score, "finished_parts", lambda folder: [folder / "part.parquet"])
    for found, wanted in zip(stream_scores(tmp_path), scores, strict=True):
        assert np.array_equal(found.log_likelihood, wanted.log_likelihood)
        assert np.array_equal(found.input_ids, wanted.input_ids)
        if entropy:
            assert found.entropy is not None
            assert found.entropy.dtype == np.float32
            assert np.array_equal(found.entropy, wanted.entropy)
        else:
            assert found.entropy is None


def test_only_a_job_that_asks_for_entropy_has_another_key(job: ScoreJob) -> None:
    identity = {
        "schema": 1,
        "revision": job.encoder.revision,
        "data_hash": job.data.content_hash,
        "scoring": without_later({"scoring": plain(job.scoring)})["scoring"],
        "precision": job.precision,
    }
    assert job.key == content_key(identity)
    assert dataclasses.replace(job, entropy=True).key == content_key(identity | {"entropy": True}) != job.key
