"""Measure scoring with two actors against one: python tests/benchmarks/scoring_scale.py [--texts N] [--json FILE].

Each actor computes with one thread. Texts of the embedded world are scored by its own encoder (made first where it is
not in the cache), once by one actor and once by two, under one Ray. The ratio is that of the tokens scored per second,
from the first shard that is done to the last: the start of the actors, their imports and the model's loading happen
once however many texts there are. The ratio with all of it is told too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

GOAL = 1.7  # times one actor
SHARD = 16  # texts, so that both actors have work to the end


def main() -> None:
    """Print a line and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=4000, help="a tenth of them takes a few seconds")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="l3study-scoring-") as folder:
        found = measure(Path(folder), given.texts)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['texts']} texts: one actor {found['one']:.0f} tokens/s, two {found['two']:.0f}: "
        f"× {found['ratio']:.2f} (start and all × {found['ratio_with_start']:.2f}; {os.cpu_count()} cores)"
    )


def measure(folder: Path, texts: int) -> dict[str, Any]:
    """All numbers."""
    from study.plan.inputs import identify, sources
    from study.schedule import ray_session
    from study.score import ScoreJob
    from study.space.reader import make_space
    from study.space.spec import configs

    data = {"train": str(write_texts(folder, texts)), "validation_rows": 8, "test_rows": 8}
    raw = {"name": "scale", "encoders": {"toy": {"generated": "toyworld"}}, "datasets": {"texts": data}}
    spec = make_space(raw, source="benchmark", folder=folder)
    identities = identify(spec, lambda line: None)
    encoder, source = sources(spec, identities, "toy", "texts")
    setting = configs(spec.settings())
    job = ScoreJob(encoder=encoder, data=source, scoring=setting.scoring, precision=setting.finetune.precision)
    rates = {}
    with ray_session(), mock.patch("study.score.SHARD_TEXTS", SHARD):
        for name, workers in (("one", 1), ("two", 2), ("one again", 1)):
            resources = dataclasses.replace(spec.resources, workers=workers, threads=1)
            rates[name] = rate(job, folder / name.replace(" ", "-"), resources)
    one = (rates["one"]["steady"] + rates["one again"]["steady"]) / 2  # before and after, should the machine drift
    whole = (rates["one"]["whole"] + rates["one again"]["whole"]) / 2
    return {
        "texts": texts,
        "one": one,
        "two": rates["two"]["steady"],
        "ratio": rates["two"]["steady"] / one,
        "ratio_with_start": rates["two"]["whole"] / whole,
        "runs": rates,
        "cores": os.cpu_count(),
        "goal": GOAL,
    }


def rate(job: Any, folder: Path, resources: Any) -> dict[str, float]:
    """Tokens per second of a job: without its start, and in all."""
    from study.artefacts import Work
    from study.work.workers import execute_on_ray

    wanted = range(job.num_shards())
    works = (Work(job, folder, {}, resources, shard) for shard in job.shards(wanted))
    started, ends, tokens = time.perf_counter(), [], []
    for done in execute_on_ray(works, len(wanted)):
        ends.append(time.perf_counter() - started)
        tokens.append(done.tokens)
    assert len(ends) == len(wanted) > 4 * (resources.workers or 1), "too few shards to see a rate: give more texts"
    # the actors begin together: what is done before each of them has finished one shard is their start
    begin = resources.workers or 1
    return {
        "steady": sum(tokens[begin:]) / (ends[-1] - ends[begin - 1]),
        "whole": sum(tokens) / ends[-1],
        "tokens": float(sum(tokens)),
        "seconds": ends[-1],
    }


def write_texts(folder: Path, count: int) -> Path:
    """Distinct texts of the embedded world's general language."""
    from study.toyworld.grammar import GrammarConfig, general_corpus, make_language

    config = dataclasses.replace(GrammarConfig(), texts=2 * count)
    corpus = list(dict.fromkeys(general_corpus(make_language(config, seed=1), config, seed=1)))[: count + 16]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": str(i % 2)}) + "\n" for i, text in enumerate(corpus)))
    return path


if __name__ == "__main__":
    main()
