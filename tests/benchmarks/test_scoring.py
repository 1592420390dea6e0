"""The scoring benchmark runs, its sides agree, and its count of operations is that of pencil and paper."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import matmul_rate
import pytest
import scoring
import torch
from scored import made
from small_encoders import FEED, HEADS, HIDDEN, LAYERS, save_bert
from small_task import one_thread
from transformers import BertTokenizerFast

from l3masking import load_encoder
from l3masking.scoring.copies import mask_rows
from l3masking.scoring.words import encode_texts

BENCHMARKS = Path(__file__).parent
TEXTS = ["The hooligan wrecked the vehicle.", "the parser   reads the words", "an unlikely token's low-frequency words"]


def run(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=300, check=False, cwd=BENCHMARKS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """A benchmark in this process, which multiplies small squares for a short time; what it said."""
    monkeypatch.setattr(matmul_rate, "SQUARES", {"cpu": (128, 256)})
    monkeypatch.setitem(matmul_rate.shape_rates.__kwdefaults__, "seconds", 0.01)

    def called(benchmark: ModuleType, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{benchmark.__name__}.py", *map(str, words)])
        benchmark.main()
        return capsys.readouterr().out

    with one_thread():
        yield called


def operations(folder: Path, texts: list[str]) -> int:
    """Matrix products of scoring in one batch, from the shapes: two operations for each entry of each product."""
    encoder = load_encoder(str(folder))
    encoded = encode_texts(encoder.tokenizer, texts, max_length=48)
    sizes = [(len(list(mask_rows(text, 0, "word_l2r"))), len(text.input_ids)) for text in encoded]
    reads, tokens = sum(n for n, _ in sizes), sum(n * length for n, length in sizes)
    pairs = sum(length for _, length in sizes) + max(length for _, length in sizes)
    square = sum(n * length**2 for n, length in sizes)
    rest = HIDDEN**2 + 2 * HIDDEN * FEED  # a token's way from one attention to the next projection
    early = 3 * pairs * HIDDEN**2 + 3 * (LAYERS - 2) * tokens * HIDDEN**2
    early += (LAYERS - 1) * (2 * square * HIDDEN + tokens * rest)
    last = reads * (3 * HIDDEN**2 + rest) + 2 * tokens * HEADS * HIDDEN  # one read position in each copy
    return 2 * (early + last + reads * (HIDDEN**2 + HIDDEN * len(encoder.tokenizer)))


def test_the_sides_agree_and_the_operations_are_counted(main: Callable[..., str], tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "bert")
    given = tmp_path / "texts.jsonl"
    given.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*TEXTS, TEXTS[0]]))
    words = ["--encoder", folder, "--texts", given, "--max-length", 48, "--runs", 2, "--json", tmp_path / "found.json"]
    said = main(scoring, *words, "--against", "minicons,plain,own", "--profile")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["setting"]["texts"] == len(TEXTS), "distinct texts"
    sides, missing = found["sides"], found["missing"]
    fast = sides["float32"]
    assert fast["operations"] == operations(folder, TEXTS)
    assert len(fast["seconds"]) == 2
    assert 0 < fast["share"] <= 1
    assert 0 < fast["share_of_the_best_rate_seen"] <= 1
    assert fast["times"].keys() == sides.keys() - {"float32", "bf16"}
    assert sides["plain"]["operations"] > fast["operations"], "logits of every position"
    assert sides["own"]["operations"] > fast["operations"], "all layers, at every token"
    assert {"minicons", "bf16", "plain", "own"} <= sides.keys() | missing.keys()
    for name, row in found["differences"].items():
        assert row["tokens"] == found["setting"]["tokens"]
        assert name == "bf16" or row["log_likelihood_max"] < 5e-5, name
    assert abs(sum(row["share"] for row in found["profile"])) <= 1
    assert all(line in said for line in ("minicons", "plain", "bf16"))


def test_the_memory_of_a_child_is_measured(tmp_path: Path) -> None:
    words = ["--encoder", save_bert(tmp_path / "bert"), "--max-length", 40]
    assert 0 <= json.loads(run("scoring.py", *words, "--child", "256,2,12"))["mib"] < 1024


def test_made_texts_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without files: the made vocabulary knows the made texts' words, and joined words are cut."""
    monkeypatch.setitem(made.SHAPES, "bert", (1, 16, 2))
    monkeypatch.setattr(made, "VOCABULARY", 4000)
    tokenizer = BertTokenizerFast.from_pretrained(made.write_encoder(tmp_path))
    texts = made.made_texts(200)
    words, pieces = [text.split() for text in texts], [tokenizer.tokenize(text) for text in texts]
    assert len(tokenizer) == 4000
    assert len(set(texts)) == 200
    assert 30 < statistics.median(map(len, words)) < 45, "words, ACL-ARC: 37"
    assert 1.1 < sum(map(len, pieces)) / sum(map(len, words)) < 3
    assert not any("[UNK]" in text for text in pieces)


def test_the_matrix_rate_is_measured(main: Callable[..., str], tmp_path: Path) -> None:
    said = main(matmul_rate, "--rows", 64, "--width", 32, "--json", tmp_path / "rates.json")
    rates = json.loads((tmp_path / "rates.json").read_text())
    shapes = [[128] * 3, [256] * 3, [64, 32, 32], [64, 32, 96], [64, 32, 128], [64, 128, 32]]
    assert list(dict.fromkeys(tuple(row["shape"]) for row in rates)) == [tuple(shape) for shape in shapes]
    assert all(1e6 < row["operations_per_second"] < 1e16 for row in rates)
    large = max(row["operations_per_second"] for row in rates if row["shape"][0] >= 128)
    assert large > 1e9, "a large square on any processor of today"
    best = max(rates, key=lambda row: row["operations_per_second"])
    assert said.splitlines()[-1].split()[0] == str(best["shape"][0])
    assert best["product"] in said.splitlines()[-1]


def test_every_product_that_torch_offers_is_measured_and_gives_the_same() -> None:
    """The packed ones too: the yardstick was `linear` alone, and scoring, which packs, reached 1.68 of it."""
    x, weight = torch.randn(5, 8, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    found = matmul_rate.products(weight.float(), len(x))
    for product in found.values():
        torch.testing.assert_close(product(x.float()).double(), x @ weight.T, atol=1e-5, rtol=1e-5)
    assert ("packed, oneDNN" in found) is torch.backends.mkldnn.is_available()
    assert ("packed, MKL" in found) is torch.backends.mkl.is_available()
    bf16 = matmul_rate.products(weight.bfloat16(), len(x))
    assert {"linear", "addmm"} <= bf16.keys() <= found.keys()


def test_the_best_rate_is_that_of_the_fastest_product_and_shape(monkeypatch) -> None:
    """Faked seconds: a call takes as long as its product is slow and its matrices are small."""
    slowness = {"linear": 4.0, "addmm": 3.0, "packed": 1.0}
    monkeypatch.setattr(matmul_rate, "products", lambda weight, rows: dict.fromkeys(slowness, len))
    monkeypatch.setattr(matmul_rate, "SQUARES", {"cpu": (2, 4)})
    names = iter([name for _ in range(3) for name in slowness] * 2)
    monkeypatch.setattr(matmul_rate, "least_seconds", lambda *_: slowness[next(names)])
    cpu = torch.device("cpu")
    best = matmul_rate.best_rate(cpu, torch.float32, [(8, 2, 3)])
    assert best == (2 * 4**3 / 1.0, (4, 4, 4), "packed")
    (alone,) = matmul_rate.shape_rates(cpu, torch.float32, (8, 2, 3), only="linear")
    assert alone.product == "linear"


def test_a_share_is_of_the_faster_measurement_around_a_pass() -> None:
    """Ten operations in two seconds, at a device that made 8 a second before and 10 after."""
    device, encoder = torch.device("cpu"), argparse.Namespace()
    encoder.device, encoder.model = device, argparse.Namespace()
    encoder.model.config = argparse.Namespace(hidden_size=4, intermediate_size=8)
    given = argparse.Namespace(token_budget=16, runs=1)
    rates = iter([8.0, 10.0])
    best = matmul_rate.Rate(9.0, (1, 1, 1), "packed, oneDNN")
    asked = []

    def shape_rates(_device, _dtype, shape, *, only, seconds):
        asked.append((shape, only))
        return [matmul_rate.Rate(next(rates), shape, only)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "best_rate", lambda *_: best)
        patch.setattr(scoring, "shape_rates", shape_rates)
        rows = scoring.paired_runs(encoder, {"float32": lambda: None}, given)
    assert asked == [(best.shape, best.product)] * 2, "the product that was the fastest"
    rows["float32"]["seconds"] = [2.0]
    row = scoring.side_row(rows["float32"], rows, tokens=6, operations=10)
    assert row["share"] == 10 / 2.0 / 10.0
    assert (row["matrix_product"], row["matrix_shape"]) == (best.product, [1, 1, 1])
