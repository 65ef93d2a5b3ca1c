"""Our Cox regression beside lifelines and scikit-survival: seconds, growth over sizes and agreement, in one run."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from common import machine, peak_mb

SIZES = (1_000, 10_000, 100_000)
REPEATS = 3


def simulated(n: int, p: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return proportional hazards data with day-level times and about 60 % censoring."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    eta = X @ np.linspace(-0.5, 0.5, p)
    time_to_event = np.ceil(rng.exponential(1500 * np.exp(-eta)))
    censoring = np.ceil(rng.uniform(1, 1500, n))
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = time_to_event <= censoring, np.minimum(time_to_event, censoring)
    return X, y


def ours(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(X, y).coef_


def lifelines(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    import pandas as pd
    from lifelines import CoxPHFitter

    frame = pd.DataFrame(X).assign(time=y["time"], event=y["event"])
    return CoxPHFitter().fit(frame, "time", "event").params_.to_numpy()


def sksurv(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return CoxPHSurvivalAnalysis(ties="efron", tol=1e-9).fit(X, y).coef_


def median_seconds(work: Callable[..., np.ndarray], X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the median of several runs, after one that warms up, and the coefficients."""
    found = work(X[:500], y[:500])
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        found = work(X, y)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), found


def main() -> None:
    print(f"\n# Cox regression, 20 predictors, Efron ties, one BLAS thread ({machine()})\n")
    print(
        "| n | aimed (s) | lifelines (s) | ratio | scikit-survival (s) | ratio | largest difference of coefficients |"
    )
    print("|---|---|---|---|---|---|---|")
    for n in SIZES:
        X, y = simulated(n)
        mine, b = median_seconds(ours, X, y)
        row = [f"{n:,}", f"{mine:.4f}"]
        apart = 0.0
        for peer in (lifelines, sksurv):
            theirs, other = median_seconds(peer, X, y)
            apart = max(apart, float(np.abs(other - b).max()))
            row += [f"{theirs:.3f}", f"{theirs / mine:.1f}"]
        print("| " + " | ".join([*row, f"{apart:.1e}"]) + " |")
    print(f"\nPeak memory of the process, peers included: {peak_mb():.0f} MB.")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(limits=1):
        main()
