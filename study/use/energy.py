"""What can be said of the energy of a training: an upper bound for GPUs whose board power is known, else nothing."""

from __future__ import annotations

from study.estimate.times import duration
from study.store.record import Run

BOARD_WATTS = {  # name as torch gives it -> most power of the board in watts, by the maker's data sheet
    "Tesla T4": 70,
    "Tesla V100-SXM2-16GB": 300,
    "Tesla V100-SXM2-32GB": 300,
    "NVIDIA L4": 72,
    "NVIDIA A40": 300,
    "NVIDIA L40S": 350,
    "NVIDIA A100-SXM4-40GB": 400,
    "NVIDIA A100-SXM4-80GB": 400,
    "NVIDIA A100 80GB PCIe": 300,
    "NVIDIA H100 PCIe": 350,
    "NVIDIA H100 80GB HBM3": 700,
    "NVIDIA H200": 700,
}


def energy_sentences(run: Run) -> list[str]:
    """Wall time and device of a training, and the most that its GPU can have used. Nothing of it was measured."""
    seconds, device = run["seconds"], run["device"]
    took = duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"
    said = [
        f"The training took {took} of wall time on {device} ({run['threads']} CPU threads), for all "
        "objectives of the study together."
    ]
    watts = BOARD_WATTS.get(device)
    if watts is None:
        said.append("Energy: not measured, and no power is known for this device.")
    else:
        said.append(
            f"Energy: not measured. The board draws at most {watts} W, so the GPU used at most "
            f"{watts * seconds / 3.6e6:.3g} kWh."
        )
    return [
        *said,
        "Emissions: not measured. They depend on the electricity of the place.",
        "Scoring, searches, other seeds and the pre-training of the encoder are not counted.",
    ]
