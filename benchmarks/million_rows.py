"""One risk study on a synthetic table of 1,000,000 rows: where the time goes, and whether it fits in 8 GB."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from common import machine, peak_mb

AIMED = str(Path(sys.executable).with_name("aimed"))
STUDY = """schema = 1
[study]
id = "million"
title = "Risk of an event in a million rows"
task = "risk"
seed = 1
[data]
source = "table.parquet"
patient = "patient"
[outcome]
column = "event"
[split]
test = { by = "patient", fraction = 0.25 }
tune = { by = "patient", folds = 3 }
[model]
candidates = ["logistic", "gradient_boosting"]
[tune]
trials = 2
budget = "10m"
[evaluate]
accept = ["auroc.lower >= 0.6"]
[subgroups]
columns = ["sex", "age_band"]
derive.age_band = { from = "x0", cuts = [-0.5, 0.5] }
"""


def make_table(path: Path, n: int) -> None:
    """Write 1.25 rows a patient, 18 numbers with 3 % missing, 2 categories, 12 % events."""
    rng = np.random.default_rng(0)
    patient = rng.integers(0, int(n * 0.8), n)
    X = rng.normal(size=(n, 18)).astype(np.float32)
    site, sex = rng.integers(0, 8, n), rng.integers(0, 2, n)
    eta = -2.6 + 0.7 * X[:, 0] + 0.5 * X[:, 1] - 0.4 * X[:, 2] + 0.3 * X[:, 3] * X[:, 4] + 0.3 * sex
    event = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(np.int8)
    X[rng.random(X.shape) < 0.03] = np.nan
    columns = {f"x{j}": pl.Series(X[:, j]).fill_nan(None) for j in range(18)}
    pl.DataFrame(
        {
            "patient": patient,
            **columns,
            "site": pl.Series([f"S{s}" for s in site]),
            "sex": pl.Series(np.where(sex == 1, "female", "male")),
            "event": event,
        }
    ).write_parquet(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    rows = parser.parse_args().rows
    print(f"\n# A risk study at scale ({machine()})\n")
    found = {}
    for n in rows:
        with tempfile.TemporaryDirectory() as folder:
            make_table(Path(folder) / "table.parquet", n)
            (Path(folder) / "study.toml").write_text(STUDY)
            began = time.perf_counter()
            done = subprocess.run(
                [AIMED, "run", "study.toml", "--out", "run", "--json"], cwd=folder, capture_output=True, check=False
            )
            if done.returncode not in (0, 1):
                sys.exit(done.stdout.decode() + done.stderr.decode())
            results = json.loads((Path(folder) / "run" / "results.json").read_text())
            made = json.loads((Path(folder) / "run" / "provenance.json").read_text())
            found[n] = (
                made["seconds"],
                time.perf_counter() - began,
                made["peak_memory_mb"],
                results["model"]["name"],
                results["performance"]["measures"]["auroc"]["value"],
            )
    print("| stage | " + " | ".join(f"{n:,} rows (s)" for n in found) + " |")
    print("|---|" + "---|" * len(found))
    for stage in next(iter(found.values()))[0]:
        print(f"| {stage} | " + " | ".join(f"{s.get(stage, 0):.1f}" for s, *_ in found.values()) + " |")
    print("| whole process | " + " | ".join(f"{w:.1f}" for _, w, *_ in found.values()) + " |")
    print("| peak memory (MB) | " + " | ".join(f"{m:.0f}" for _, _, m, *_ in found.values()) + " |")
    print("| chosen model | " + " | ".join(name for *_, name, _ in found.values()) + " |")
    print("| AUROC | " + " | ".join(f"{auc:.3f}" for *_, auc in found.values()) + " |")
    limit = 8 * 1024
    print(f"\nLargest child process: {peak_mb(children=True):.0f} MB; limit {limit} MB.")


if __name__ == "__main__":
    main()
