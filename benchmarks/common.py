"""What the benchmarks share: timing of whole processes, medians and peak memory."""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence


def machine() -> str:
    """Say on what the figures were measured."""
    import os

    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"


def time_process(command: Sequence[str], repeats: int) -> tuple[float, float, float]:
    """Run a command several times and return the lowest, median and highest seconds."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return min(seconds), statistics.median(seconds), max(seconds)


def peak_mb(children: bool = False) -> float:
    """Return the peak resident memory of this process, or of its largest child, in MB."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
