"""The scoring benchmark's numbers as lines for a reader."""

from __future__ import annotations

from typing import Any

AGREE = 5e-5  # nats between our float32 and minicons


def lines(found: dict[str, Any]) -> list[str]:
    """The numbers for a reader."""
    about, out = found["setting"], []
    shape = about["encoder"]
    out.append(
        f"{about['date']}, {about['device']}: {about['texts']} {'generated ' if about['generated'] else ''}texts, "
        f"{about['tokens']} tokens; {shape['model_type']}, {shape['num_hidden_layers']} layers, "
        f"{shape['hidden_size']} wide; medians of {about['runs']} paired runs"
    )
    for name, row in found["sides"].items():
        text = f"{name:9}{row['tokens_per_second']:10.1f} tokens/s {row['operations'] / 1e9:10.1f} GFLOP"
        text += "".join(f"; × {ratio:.2f} of {other}" for other, ratio in row["times"].items())
        if row["share"] is not None:
            at = " × ".join(map(str, row["matrix_shape"]))
            text += f"; {row['share']:.3f} of the matrix rate {row['matrix_rate'] / 1e9:.1f} GFLOP/s "
            text += f"({row['matrix_product']}, {at}; {row['share_of_the_best_rate_seen']:.3f} of the best seen)"
        out.append(text)
    out += [f"{name:9} {reason}" for name, reason in found["missing"].items()]
    for name, row in found["differences"].items():
        said = f"{name:9} against float32, {row['tokens']} tokens: log-likelihood differs by at most "
        said += f"{row['log_likelihood_max']:.2g} (mean {row['log_likelihood_mean']:.2g}), mask probability by "
        out.append(f"{said}{row['mask_probability_mean']:.2g}; rank correlation {row['rank_correlation']:.6f}")
        if name == "minicons":
            within = "within" if row["log_likelihood_max"] <= AGREE else "NOT within"
            out[-1] += f"; {within} {AGREE:g}"
    for row in found["memory"]:
        out.append(
            f"budget {row['budget']:6}, {row['texts']:3} texts of {row['length']:3} words: + {row['mib']:.0f} MiB"
        )
    out += [f"{row['share']:6.1%} {row['operator']} ({row['calls']} calls)" for row in found["profile"]]
    return out
