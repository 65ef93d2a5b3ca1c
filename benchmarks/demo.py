"""Time of each stage and peak memory of the shipped studies, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine

AIMED = str(Path(sys.executable).with_name("aimed"))


def main() -> None:
    print(f"\n# The shipped studies ({machine()})\n")
    names = json.loads(subprocess.run([AIMED, "list", "studies", "--json"], capture_output=True, check=True).stdout)
    rows = {}
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in names["studies"]:
            began = time.perf_counter()
            done = subprocess.run([AIMED, "demo", name, "--out", folder, "--json"], capture_output=True, check=False)
            if done.returncode:
                print(f"{name} was left out: {done.stdout.decode().strip()[:200]}")
                continue
            seconds = time.perf_counter() - began
            total += seconds
            made = json.loads((Path(folder) / name / "provenance.json").read_text())
            rows[name] = (made["seconds"], made["peak_memory_mb"], seconds)
    stages = list(dict.fromkeys(stage for seconds, _, _ in rows.values() for stage in seconds))
    print("| stage | " + " | ".join(f"{name} (s)" for name in rows) + " |")
    print("|---|" + "---|" * len(rows))
    for stage in stages:
        print(f"| {stage} | " + " | ".join(f"{seconds.get(stage, 0):.1f}" for seconds, _, _ in rows.values()) + " |")
    print("| whole process | " + " | ".join(f"{seconds:.1f}" for _, _, seconds in rows.values()) + " |")
    print("| peak memory (MB) | " + " | ".join(f"{peak:.0f}" for _, peak, _ in rows.values()) + " |")
    print(f"\nAll together: {total:.0f} s.")


if __name__ == "__main__":
    main()
