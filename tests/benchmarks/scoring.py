"""Measure exact scoring: python tests/benchmarks/scoring.py [--encoder DIR] [--texts FILE] [--limit N] [--json FILE].

Sides, in one process and in turns: `l3masking.score_tokens` (word_l2r), minicons' MaskedLMScorer (within_word_l2r, all
masked copies of one text in a pass, as its `token_score` does with one text), a plain loop (the whole model, one masked
copy at a time), and, with `--against own`, the same batches through the model's own forward pass. Ratios are medians
over the paired runs. Values are compared at every eligible token.

Share of the matrix rate: the operations of all matrix products that scoring executes, padding included, counted by
torch's FlopCounterMode in one untimed pass, per second, over the rate of the fastest product of the same dtype and
thread count that torch offers here (matmul_rate.py), measured before and after each timed pass, the faster of the two.
Memory: the growth of the resident set in a child process that scores, its peak reset before (on a GPU: torch's own
count), for two token budgets, two corpus sizes and two lengths of text, each enough to fill the batches and the LM
head's share of them.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matmul_rate import DTYPES, best_rate, encoder_shapes, shape_rates
from processor import has_bf16, processor_name
from scored.made import SHAPES, made_texts, write_encoder
from scored.sides import Values, minicons_side, our_side, own_side, plain_side
from scored.told import lines
from torch.utils.flop_counter import FlopCounterMode

from l3masking import Encoder, load_encoder, mask_probabilities, score_tokens
from l3masking.scoring.settings import MOST_TOKENS

SCORED = ("float32", "bf16")


def main() -> None:
    """Print a line per row and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="folder; none: random weights of a type")
    parser.add_argument("--type", default="bert", choices=tuple(SHAPES), help="of the random weights")
    parser.add_argument("--texts", type=Path, help="JSON lines with `text`; none: generated, of ACL-ARC-like lengths")
    parser.add_argument("--limit", type=int, default=60, help="texts")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--token-budget", type=int, help="default: the most for the device")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32,bf16", help="of our side; float32 is always run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5, help="paired runs")
    parser.add_argument("--against", default="minicons,plain,memory", help="what to compare with and to measure")
    parser.add_argument("--budgets", default="1024,4096", help="token budgets of the memory rows")
    parser.add_argument("--profile", action="store_true", help="where the time of one more pass goes")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.token_budget = given.token_budget or MOST_TOKENS[given.device]
    torch.set_num_threads(given.threads)
    if given.child:
        print(json.dumps(peak(given, *map(int, given.child.split(",")))))
        return
    with tempfile.TemporaryDirectory(prefix="l3study-scoring-") as folder:
        given.encoder = given.encoder or str(write_encoder(Path(folder), given.type))
        found = measure(given)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(lines(found)))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All numbers."""
    encoder = load_encoder(given.encoder, device=given.device, offline=True)
    texts = read_texts(given.texts, given.limit)
    against = given.against.split(",")
    wanted = [name for name in SCORED if name == "float32" or name in given.dtype.split(",")]
    missing = {name: reason for name in wanted if (reason := lacks(name, given.device))}
    sides: dict[str, Callable[[], Values]] = {
        name: our_side(encoder, texts, max_length=given.max_length, token_budget=given.token_budget, precision=name)
        for name in wanted
        if name not in missing
    }
    if "own" in against:
        sides["own"] = own_side(encoder, texts, max_length=given.max_length, token_budget=given.token_budget)
    for name, make in (("minicons", minicons_side), ("plain", plain_side)):
        if name in against:
            try:
                sides[name] = make(encoder, texts, given.max_length)
            except ImportError as error:
                missing[name] = f"not measured: {error}"
    values, operations = {}, {}
    for name, side in sides.items():  # the first pass is the warm-up, and is counted
        with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
            values[name] = side()
        operations[name] = counter.get_total_flops()
    tokens = sum(map(len, values["float32"]))
    rows = paired_runs(encoder, sides, given)
    return {
        "setting": setting(given, encoder, len(texts), tokens),
        "missing": missing,
        "sides": {name: side_row(rows[name], rows, tokens, operations[name]) for name in sides},
        "differences": {name: differences(values["float32"], values[name]) for name in sides if name != "float32"},
        "memory": memory_rows(given) if "memory" in against else [],
        "profile": profile(sides["float32"]) if given.profile else [],
    }


def paired_runs(encoder: Encoder, sides: dict[str, Callable], given: argparse.Namespace) -> dict[str, dict[str, list]]:
    """Seconds of every side in every run, in turning order, and the matrix rate around each of our passes."""
    config = encoder.model.config
    shapes = encoder_shapes(encoder.device, given.token_budget, config.hidden_size, config.intermediate_size)
    best = {name: best_rate(encoder.device, DTYPES[name], shapes) for name in sides if name in DTYPES}
    rows: dict[str, dict[str, list]] = {name: {"seconds": [], "rates": []} for name in sides}
    for name, rate in best.items():
        rows[name] |= {"best": [rate.operations], "shape": list(rate.shape), "product": rate.product}

    def rate_now(name: str) -> list[float]:
        if name not in best:
            return []
        found = shape_rates(encoder.device, DTYPES[name], best[name].shape, only=best[name].product, seconds=0.2)
        return [rate.operations for rate in found]

    for run in range(given.runs):
        for name in list(sides) if run % 2 == 0 else list(sides)[::-1]:
            around = rate_now(name)
            start = time.perf_counter()
            sides[name]()  # ends with the values on the host: nothing is left to wait for
            rows[name]["seconds"].append(time.perf_counter() - start)
            if around:
                rows[name]["rates"].append(max(around + rate_now(name)))
    return rows


def side_row(row: dict[str, list], rows: dict[str, dict[str, list]], tokens: int, operations: int) -> dict[str, Any]:
    """One side's medians: tokens per second, times as fast as the others, share of the matrix rate."""
    median = statistics.median
    shares = [operations / took / rate for took, rate in zip(row["seconds"], row["rates"], strict=False)]
    others = {name: other["seconds"] for name, other in rows.items() if other is not row and name not in DTYPES}
    return {
        "tokens_per_second": median(tokens / took for took in row["seconds"]),
        "seconds": row["seconds"],
        "operations": operations,
        "times": {
            name: median(slow / took for slow, took in zip(seconds, row["seconds"], strict=True))
            for name, seconds in others.items()
            if row["rates"]
        },
        "matrix_rate": median(row["rates"]) if shares else None,
        "matrix_shape": row.get("shape"),
        "matrix_product": row.get("product"),
        "share": median(shares) if shares else None,
        "share_of_the_best_rate_seen": (
            median(operations / took for took in row["seconds"]) / max(*row["rates"], *row["best"]) if shares else None
        ),
    }


def differences(reference: Values, other: Values) -> dict[str, float]:
    """Against our float32 at every eligible token: log-likelihood, mask probability (mean .15), order."""
    assert [len(one) for one in reference] == [len(one) for one in other], "the sides score different tokens"
    a, b = np.concatenate(reference).astype(float), np.concatenate(other).astype(float)
    masks = [
        np.concatenate([mask_probabilities(np.exp(np.minimum(one.astype(float), 0)), mean=0.15) for one in side])
        for side in (reference, other)
    ]
    return {
        "tokens": len(a),
        "log_likelihood_max": float(np.abs(a - b).max()),
        "log_likelihood_mean": float(np.abs(a - b).mean()),
        "mask_probability_mean": float(np.abs(masks[0] - masks[1]).mean()),
        "rank_correlation": float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1]),
    }


def cpu_attention(query: Any, key: Any, value: Any, *rest: Any, **given: Any) -> int:
    """Operations of the CPU's fused attention: Q Kᵀ and its product with V."""
    return 2 * int(np.prod(query)) * key[-2] + 2 * int(np.prod(query[:-1])) * key[-2] * value[-1]


def packed_linear(x: Any, weight: Any, *rest: Any, **given: Any) -> int:
    """Operations of oneDNN's linear layer: x [S, in] by a weight [out, in] in an order of its own."""
    return 2 * int(np.prod(x)) * weight[0]


UNCOUNTED: dict[Any, Callable[..., int]] = {  # by torch's own count
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention
}
if torch.backends.mkldnn.is_available():
    UNCOUNTED[torch.ops.mkldnn._linear_pointwise] = packed_linear


def memory_rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Peaks of child processes: budgets × (few texts, three times as many, few long ones)."""
    rows = []
    for budget in map(int, given.budgets.split(",")):
        for texts, length in ((18, 32), (54, 32), (6, given.max_length - 2)):
            words = [*("--encoder", given.encoder, "--device", given.device, "--max-length", str(given.max_length))]
            child = [sys.executable, __file__, *words, "--threads", str(given.threads)]
            done = subprocess.run(
                [*child, "--child", f"{budget},{texts},{length}"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            rows.append({"budget": budget, "texts": texts, "length": length, **json.loads(done.stdout)})
    return rows


def peak(given: argparse.Namespace, budget: int, texts: int, length: int) -> dict[str, float]:
    """MiB that scoring `texts` texts of `length` words adds to a process that has the model and has scored a little."""
    encoder = load_encoder(given.encoder, device=given.device, offline=True)
    tokenizer = encoder.tokenizer
    ids = [i for i in range(len(tokenizer)) if tokenizer.convert_ids_to_tokens(i).isalpha()]
    rng = np.random.default_rng(0)
    corpus = [" ".join(tokenizer.convert_ids_to_tokens(rng.choice(ids, length).tolist())) for _ in range(texts)]
    score_tokens(encoder, ["a b c"], max_length=given.max_length)

    def high() -> float:
        if given.device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        if status := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(status[1]) / 1024
        sys.exit("the memory rows read /proc/self/status, which this machine has not")

    gc.collect()
    if given.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak, which loading the model has set, starts anew
    before = high()
    score_tokens(encoder, corpus, max_length=given.max_length, token_budget=budget)
    return {"mib": high() - before}


def profile(side: Callable[[], Values]) -> list[dict[str, Any]]:
    """The operators that take most of one pass, by their own time."""
    with torch.profiler.profile() as recorded:
        side()
    events = recorded.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)
    first = sorted(events, key=lambda event: -event.self_cpu_time_total)[:8]
    return [
        {"operator": event.key, "share": event.self_cpu_time_total / whole, "calls": event.count} for event in first
    ]


def lacks(precision: str, device: str) -> str | None:
    """Why a dtype can't be measured on this device; None if it can."""
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: torch sees no GPU here")
    if precision == "float32" or (device == "cuda" and torch.cuda.is_bf16_supported()):
        return None
    if device == "cpu" and has_bf16():
        return None
    return "not measured: this processor has no bf16 instructions"


def read_texts(path: Path | None, limit: int) -> list[str]:
    """The first distinct texts of a file, runs of white space as one blank; without a file, made ones."""
    if path is None:
        return made_texts(limit)
    with path.open() as file:
        found = dict.fromkeys(" ".join(json.loads(line)["text"].split()) for line in file if line.strip())
    return [text for text in found if text][:limit]


def setting(given: argparse.Namespace, encoder: Encoder, texts: int, tokens: int) -> dict[str, Any]:
    """What was measured, where and when."""
    gpu = torch.cuda.get_device_name() if given.device == "cuda" else None
    names = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": gpu or f"{processor_name()}, {given.threads} thread(s)",
        "encoder": {name: getattr(encoder.model.config, name) for name in names},
        "texts": texts,
        "tokens": tokens,
        "generated": given.texts is None,
        **{name: getattr(given, name) for name in ("max_length", "token_budget", "runs")},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "numpy")},
    }


if __name__ == "__main__":
    main()
