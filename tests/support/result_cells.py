"""Cells and records to build tables from; no tests here."""

from __future__ import annotations

from study.results.aggregate import Cell, CellKey


def cell(method: str = "rtm", mean: float | None = 0.75, **more) -> Cell:
    where = {"encoder": "bert", "dataset": "arc", "variant": None, "mask_mean": None if method == "stl" else 0.15}
    n = 0 if mean is None else 3
    std, low, high = (None, None, None) if mean is None else (0.0123, mean - 0.03, mean + 0.03)
    epochs = {
        "epochs_to_best_mean": None if mean is None else 3.21,
        "epochs_to_stop_mean": None if mean is None else 6.0,
    }
    values = {} if mean is None else {0: mean - 0.01, 1: mean, 2: mean + 0.01}
    numbers = {"objective": "accuracy", "n": n, "failed": 3 - n, "wanted": 3, "validation_mean": mean, "values": values}
    return Cell(
        **where | {"method": method, "mean": mean, "std": std, "ci_low": low, "ci_high": high} | numbers | epochs | more
    )


def records(methods=("stl", "rtm", "l3masking"), seeds: int = 3) -> list[dict]:
    out = []
    for method in methods:
        for objective in ("accuracy", "macro_f1"):
            for seed in range(seeds):
                key = CellKey("bert", "arc", method, None, None if method == "stl" else 0.15, objective)
                value = 0.5 + 0.1 * len(method) / 9 + 0.017 * seed
                both = {"accuracy": value, "macro_f1": value - 0.1}
                run = {"seconds": 98.7654, "host": "=cmd()", "device": "cpu", "threads": 1, "attempts": 1}
                more = {"epochs_to_best": 1.5, "epochs_to_stop": 2.5, "run": run, "trajectory": f"{method}{seed}"}
                out.append(
                    {"key": f"{method}{objective}{seed}", "seed": seed, "test": both, "validation": both}
                    | more
                    | key._asdict()
                )
    return out
