"""What Linux tells of the processor: python tests/benchmarks/processor.py."""

from __future__ import annotations

import argparse
import platform
from contextlib import suppress
from pathlib import Path

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 and Arm


def main() -> None:
    """Print its name and whether bf16 can be measured on it."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"{processor_name()}; bf16 instructions: {'yes' if has_bf16() else 'no'}")


def processor_name() -> str:
    """The model's name; where none is told, the kind of machine."""
    return _told("model name", "CPU implementer") or platform.processor() or platform.machine()


def has_bf16() -> bool:
    """Whether it has instructions for products of bf16."""
    return bool(BF16_FLAGS & set(_told("flags", "Features").split()))


def _told(*names: str) -> str:
    """The first value of /proc/cpuinfo under one of the names; empty where there is none."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in names:
                return value.strip()
    return ""


if __name__ == "__main__":
    main()
