"""The runner for a GPU: its commands are those that the benchmarks take, and what hangs or fails is told."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import against_trainer
import end_to_end
import launches
import on_gpu
import psutil
import pytest
import scoring
import training
from scored import made

from l3masking import load_encoder

MODULES = {f"{module.__name__}.py": module for module in (against_trainer, end_to_end, launches, scoring, training)}


class ReadError(Exception):
    """The command line was read."""


def read_by(module: ModuleType, words: list[str]) -> argparse.Namespace:
    """What a benchmark reads of its command line; it measures nothing."""

    def stop(*read: object) -> None:
        raise ReadError(read[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_world" if module is training else "measure", stop)
        patch.setattr(sys, "argv", words)
        with pytest.raises(ReadError) as given:
            module.main()
    return given.value.args[0]


@pytest.mark.parametrize("tiny", [True, False])
@pytest.mark.parametrize("texts", [None, Path("train.jsonl")])
def test_every_command_is_one_that_its_benchmark_takes(tmp_path: Path, tiny: bool, texts: Path | None) -> None:
    device = "cpu" if tiny else "cuda"
    given = argparse.Namespace(device=device, tiny=tiny, acl_arc=texts)
    found = on_gpu.rows(given, tmp_path / "encoder", tmp_path / "long.jsonl")
    assert len({row.name for row in found}) == len(found)
    assert {row.file for row in found} == set(MODULES)
    for row in found:
        _, file, *words = row.command(tmp_path)
        read = read_by(MODULES[row.file], [file, *words])
        assert (read.device, read.json) == (device, tmp_path / f"{row.name}.json")
        assert read.dtype == ("float32" if tiny else "bf16")
        assert getattr(read, "texts", None) in (None, texts, tmp_path / "long.jsonl")
        if not tiny and row.file != "scoring.py":
            assert (read.batch, read.accumulate) == (64, 2)
            assert row.name == "end-to-end" or (read.layers, read.hidden) == (12, 768)


SCRIPT = """
import json, subprocess, sys, time
print("it says so")
if "--hang" in sys.argv:
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
    time.sleep(600)
if "--fail" in sys.argv:
    sys.exit(3)
json.dump({"value": 7}, open(sys.argv[sys.argv.index("--json") + 1], "w"))
"""


def ends(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process is gone, or soon."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_each_benchmark_has_its_line_whether_it_ends_fails_or_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text(SCRIPT)
    monkeypatch.setattr(on_gpu, "BENCHMARKS", tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "bad.json").write_text("7")  # of an earlier call
    wanted = [
        on_gpu.Row("good", 60, "one.py", ()),
        on_gpu.Row("bad", 60, "one.py", ("--fail",)),
        on_gpu.Row("slow", 4, "one.py", ("--hang",)),
    ]
    began = time.monotonic()
    found = list(on_gpu.run_all(wanted, out, 300))
    assert time.monotonic() - began < 60
    assert [(line["row"], line["exit"], line["found"]) for line in found] == [
        ("good", 0, {"value": 7}),
        ("bad", 3, None),
        ("slow", on_gpu.TIMED_OUT, None),
    ]
    assert [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()] == found
    said, left = (out / "slow.log").read_text().split("\n")[:2]
    assert said == "it says so"
    assert ends(int(left))
    (late,) = on_gpu.run_all(wanted[:1], out, on_gpu.LEAST_SECONDS - 1)
    assert (late["exit"], late["why"]) == (None, "no time left")
    assert on_gpu.told(late, out) == "good: no time left"
    assert on_gpu.told(found[1], out) == f"bad: {found[1]['seconds']} s, exit code 3\n    it says so"


def test_the_encoder_has_the_shape_and_the_vocabulary_and_long_texts_are_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "VOCABULARY", 1000)
    monkeypatch.setattr(on_gpu, "BERT_BASE", (2, 8, 1))
    given = argparse.Namespace(tiny=False, tokenizer=None, imdb=None)
    folder, imdb = on_gpu.write_inputs(given, tmp_path)
    encoder = load_encoder(str(folder))
    config = encoder.model.config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (2, 8, 1000)
    texts = [json.loads(line)["text"] for line in imdb.read_text().splitlines()]
    assert sum(len(text.split()) >= 126 for text in texts) > 0.9 * len(texts)
    again = made.write_encoder(tmp_path / "again", shape=(1, 16, 2), tokenizer=folder)
    other = load_encoder(str(again))
    assert other.model.config.hidden_size == 16
    assert other.tokenizer.get_vocab() == encoder.tokenizer.get_vocab()
