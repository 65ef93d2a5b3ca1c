"""Our survival forest beside scikit-survival's: seconds, memory, size on disk, one row, SHAP and accuracy, in one run.

`python benchmarks/survival_forest.py` compares up to 20,000 rows and grows to 100,000; sizes as arguments change
that. scikit-survival is timed on fewer trees above 2,000 rows, and its time scaled, as the table says.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from common import machine, peak_mb

SIZES = (1_000, 5_000, 20_000, 100_000)
TREES = 100
PEER_LIMIT = 20_000
"""Rows above which scikit-survival is left out: it needs hours and many gigabytes."""


def simulated(n: int, p: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return Weibull proportional hazards with one interaction, half the columns binary, times in days."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    eta = X @ np.linspace(-0.5, 0.5, p) + 0.5 * X[:, 0] * X[:, p - 1]
    death = 6000 * rng.weibull(1.2, n) * np.exp(-eta / 1.2)
    lost = rng.uniform(365, 3650, n)
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.ceil(np.minimum(death, lost))
    return X, y


def cpu(work: Callable[[], Any], repeats: int = 1) -> tuple[float, float, Any]:
    """Return the least processor and wall seconds of some runs, and what the last one gave."""
    found, best, wall = None, np.inf, np.inf
    for _ in range(repeats):
        began, clock = time.process_time(), time.perf_counter()
        found = work()
        best, wall = min(best, time.process_time() - began), min(wall, time.perf_counter() - clock)
    return best, wall, found


def disk_mb(forest: Any) -> float:
    """Return the size of our arrays in a numpy file, not compressed, or of the peer's pickle."""
    buffer = io.BytesIO()
    if hasattr(forest, "to_state"):
        np.savez(buffer, **forest.to_state()["arrays"])
    else:
        import pickle

        pickle.dump(forest, buffer)
    return buffer.tell() / 1e6


def main(sizes: tuple[int, ...]) -> None:
    from sksurv.ensemble import RandomSurvivalForest

    from aimed.metrics import harrell_c
    from aimed.prognosis.survival_forest import SurvivalForest

    warm = SurvivalForest(3, random_state=0).fit(*simulated(300))
    warm.shap_values(simulated(5)[0])
    warm.predict_survival_function(simulated(5)[0], [100.0])
    head = f"{TREES} trees, 20 predictors, 15 a leaf, one thread, processor seconds ({machine()})"
    print(f"\n# Random survival forest: {head}\n")
    print(
        "| n | fit (s) | sksurv | ratio | MB | sksurv | risk of 1,000 rows (s) | sksurv | ratio | one row (ms) | "
        "SHAP a row (ms) | C | sksurv |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for n in sizes:
        X, y = simulated(n)
        new, then = simulated(1_000, seed=1)
        ours, _, forest = cpu(lambda X=X, y=y: SurvivalForest(TREES, random_state=0).fit(X, y), 3 if n < 50_000 else 1)
        risk, _, score = cpu(lambda f=forest, new=new: f.predict(new), 3)
        one = cpu(lambda f=forest, new=new: [f.predict(new[i : i + 1]) for i in range(200)])[1] / 200
        many = 500 if n <= 5_000 else 50
        shap = cpu(lambda f=forest, new=new, many=many: f.shap_values(new[:many]), 2)[0] / many
        c = float(harrell_c(then["event"], then["time"], score))
        row = [f"{n:,}", f"{ours:.3f}", "-", "-", f"{disk_mb(forest):.1f}", "-", f"{risk:.3f}", "-", "-"]
        row += [f"{1e3 * one:.2f}", f"{1e3 * shap:.2f}", f"{c:.3f}", "-"]
        if n <= PEER_LIMIT:
            trees = TREES if n <= 2_000 else 10
            theirs, _, peer = cpu(
                lambda X=X, y=y, k=trees: RandomSurvivalForest(k, min_samples_leaf=15, random_state=0).fit(X, y)
            )
            times = TREES / trees
            slow, _, other = cpu(lambda f=peer, new=new: f.predict(new))
            again = float(harrell_c(then["event"], then["time"], other))
            star = "" if trees == TREES else f" ({trees} trees)"
            row[2:4] = f"{theirs * times:.1f}{star and '*'}", f"{theirs * times / ours:.0f}"
            row[5] = f"{disk_mb(peer) * times:.0f}{star and '*'}"
            row[7:9] = f"{slow * times:.2f}{star and '*'}", f"{slow * times / risk:.0f}"
            row[12] = f"{again:.3f}{star}"
        print("| " + " | ".join(row) + " |", flush=True)
    print(f"\n* scaled from 10 trees. Peak memory of the process, peers included: {peak_mb():.0f} MB.")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(limits=1):
        main(tuple(int(a) for a in sys.argv[1:]) or SIZES)
