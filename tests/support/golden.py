"""Golden losses: 20 updates of L3Masking with META-TARTAN on the small task, one thread, at full precision.

golden_losses_fast.txt is of `model.forward: fast`. golden_losses_own.txt is of `own`, from before there was another.
`python tests/support/golden.py` writes both again; do it only where a change of the numbers is meant, and say so in the
commit.
"""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import get_args

import torch
import transformers
from small_task import data, one_thread, run, settings

from l3masking.encoders.families import ForwardPass
from l3masking.training.settings import FinalConfig

FILES: dict[ForwardPass, Path] = {
    forward: Path(__file__).with_name(f"golden_losses_{forward}.txt") for forward in get_args(ForwardPass)
}
COLUMNS = "update loss_primary loss_mlm weight_primary weight_mlm"


def header() -> list[str]:
    """The platform, as comment lines; bits may differ between any two that differ here."""
    return [
        f"# torch {torch.__version__}, transformers {transformers.__version__}",
        f"# {platform.system()} {platform.machine()}, {processor()}, {torch.backends.cpu.get_cpu_capability()}",
        f"# {COLUMNS}",
    ]


def processor() -> str:
    """Model of the processor: the matrix library picks its kernels by it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def losses(forward: ForwardPass) -> list[str]:
    """A line per update."""
    config = settings(batch=4, max_epochs=4, lr=1e-3, every=1, final=FinalConfig(enabled=False))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, forward=forward))
    with one_thread():
        curve = run("l3masking", config, source=data(40), objectives=["accuracy"])["accuracy"].curve
    return [
        " ".join(
            [
                str(point["update"]),
                *(repr(point["train_loss"][task]) for task in ("primary", "mlm")),
                *(repr(point["task_weights"][task]) for task in ("primary", "mlm")),
            ]
        )
        for point in curve
    ]


if __name__ == "__main__":
    for forward, file in FILES.items():
        file.write_text("\n".join([*header(), *losses(forward), ""]))
