"""The survival engine beside its peers: CPU seconds, ratio, growth over sizes and memory, in one run."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import machine

Data = dict[str, Any]
Work = Callable[[Data], Any]


# --------------------------------------------------------------------------------------------------------- the data


def cohort(n: int, p: int = 20) -> Data:
    """Proportional hazards, day-level times, half the predictors yes/no, about 60 % censoring, four rows a patient."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    death = np.ceil(rng.exponential(1500 * np.exp(-X @ np.linspace(-0.5, 0.5, p))))
    lost = np.ceil(rng.uniform(1, 1500, n))
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.minimum(death, lost)
    return {"X": X, "y": y, "patient": np.arange(n) // 4}


def wide_cohort(n: int, p: int = 100) -> Data:
    """Hundred related predictors of which twenty matter, and fifty penalties down to a hundredth of the first."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    X[:, 1:] = 0.7 * X[:, 1:] + 0.5 * X[:, :-1]
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    beta = np.zeros(p)
    beta[::5] = rng.normal(size=p // 5) * 0.3
    death, lost = np.ceil(rng.exponential(1500 * np.exp(-X @ beta))), np.ceil(rng.uniform(1, 1500, n))
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.minimum(death, lost)
    return {"X": X, "y": y, "alphas": 0.12 * 0.01 ** (np.arange(50) / 49)}


# -------------------------------------------------------------------------------------------------------- our models


def our_cox(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(d["X"], d["y"])


def our_clustered_cox(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(d["X"], d["y"], cluster=d["patient"])


def our_start_stop_cox(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(d["X"], d["y"], entry=d["y"]["time"] / 3)


def our_zph(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH
    from aimed.prognosis.cox_diagnostics import proportional_hazards_test

    return proportional_hazards_test(CoxPH().fit(d["X"], d["y"]), d["X"], d["y"])


def our_path(d: Data) -> Any:
    from aimed.prognosis.cox_path import CoxPath

    return CoxPath(alphas=d["alphas"], standardize=False, ties="breslow").fit(d["X"], d["y"])


# ------------------------------------------------------------------------------------------------------------- peers


def frame(d: Data) -> Any:
    import pandas as pd

    return pd.DataFrame(d["X"]).assign(time=d["y"]["time"], event=d["y"]["event"])


def lifelines_cox(d: Data) -> Any:
    from lifelines import CoxPHFitter

    return CoxPHFitter().fit(frame(d), "time", "event")


def lifelines_clustered_cox(d: Data) -> Any:
    from lifelines import CoxPHFitter

    return CoxPHFitter().fit(frame(d).assign(patient=d["patient"]), "time", "event", cluster_col="patient")


def lifelines_start_stop_cox(d: Data) -> Any:
    from lifelines import CoxPHFitter

    return CoxPHFitter().fit(frame(d).assign(entry=d["y"]["time"] / 3), "time", "event", entry_col="entry")


def lifelines_zph(d: Data) -> Any:
    from lifelines import CoxPHFitter
    from lifelines.statistics import proportional_hazard_test

    table = frame(d)
    return proportional_hazard_test(CoxPHFitter().fit(table, "time", "event"), table, time_transform="km")


def sksurv_cox(d: Data) -> Any:
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return CoxPHSurvivalAnalysis(ties="efron", tol=1e-9).fit(d["X"], d["y"])


def sksurv_coxnet(d: Data) -> Any:
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    return CoxnetSurvivalAnalysis(l1_ratio=1.0, alphas=d["alphas"]).fit(d["X"], d["y"])


# ----------------------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Row:
    """One line: a model, its sizes, and the peers with the largest size each is run at."""

    title: str
    data: Callable[[int], Data]
    ours: str
    sizes: tuple[int, ...]
    peers: tuple[tuple[str, str, int], ...]
    goal: str


ROWS = (
    Row(
        "Cox, Efron, p = 20",
        cohort,
        "our_cox",
        (1_000, 10_000, 100_000, 1_000_000),
        (("lifelines", "lifelines_cox", 1_000_000), ("scikit-survival", "sksurv_cox", 100_000)),
        ">= 20x / 10x / 5x lifelines at 10k / 100k / 1M; memory <= 3x input",
    ),
    Row(
        "Cox with clustered errors",
        cohort,
        "our_clustered_cox",
        (1_000, 10_000, 100_000, 1_000_000),
        (("lifelines", "lifelines_clustered_cox", 10_000),),
        "<= 0.5 s at 100k",
    ),
    Row(
        "Cox with late entry",
        cohort,
        "our_start_stop_cox",
        (10_000, 100_000, 1_000_000),
        (("lifelines", "lifelines_start_stop_cox", 10_000),),
        "grows with n",
    ),
    Row(
        "Cox and its test of proportional hazards",
        cohort,
        "our_zph",
        (10_000, 100_000, 1_000_000),
        (("lifelines", "lifelines_zph", 10_000),),
        "grows with n",
    ),
    Row(
        "Lasso path, p = 100, 50 penalties",
        wide_cohort,
        "our_path",
        (10_000, 100_000),
        (("scikit-survival Coxnet", "sksurv_coxnet", 100_000),),
        ">= 3x",
    ),
)


def status(key: str) -> float:
    """Return a memory figure of this process in MB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def one(row: Row, function: str, n: int, repeats: int) -> dict[str, float]:
    """Measure one function on one size in this process."""
    warnings.simplefilter("ignore")
    work: Work = globals()[function]
    work(row.data(1_000))
    data = row.data(n)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = status("VmRSS")
    seconds: list[float] = []
    for _ in range(repeats):
        began = time.process_time()
        work(data)
        seconds.append(time.process_time() - began)
        if sum(seconds) > 60:
            break
    size = sum(v.nbytes for v in data.values()) / 2**20
    return {"cpu": statistics.median(seconds), "extra_mb": status("VmHWM") - before, "input_mb": size}


def child(index: int, function: str, n: int, repeats: int) -> dict[str, float]:
    """Measure in a process of its own, so that memory and caches are nobody else's."""
    command = [sys.executable, __file__, "--one", str(index), function, str(n), str(repeats)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(out.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    if asked.one:
        index, function, n, repeats = asked.one
        print(json.dumps(one(ROWS[int(index)], function, int(n), int(repeats))))
        return
    print(f"\n# The survival engine beside its peers ({machine()}; CPU seconds, medians of {asked.repeats})\n")
    print("| model | n | aimed (s) | growth | extra memory / input (MB) | peer | peer (s) | ratio | goal |")
    print("|---|---|---|---|---|---|---|---|---|")
    for index, row in enumerate(ROWS):
        if asked.only.lower() not in row.title.lower():
            continue
        last: tuple[int, float] | None = None
        for n in row.sizes:
            mine = child(index, row.ours, n, asked.repeats)
            growth = ""
            if last is not None:
                growth = f"n^{math.log(mine['cpu'] / last[1]) / math.log(n / last[0]):.2f}"
            last = (n, mine["cpu"])
            memory = f"{mine['extra_mb']:.0f} / {mine['input_mb']:.0f}"
            names, theirs, ratios = [], [], []
            for name, function, largest in row.peers:
                if n <= largest:
                    found = child(index, function, n, min(asked.repeats, 3))
                    names.append(name)
                    theirs.append(f"{found['cpu']:.3g}")
                    ratios.append(f"{found['cpu'] / mine['cpu']:.3g}x")
            print(
                f"| {row.title} | {n:,} | {mine['cpu']:.4f} | {growth} | {memory} "
                f"| {', '.join(names)} | {', '.join(theirs)} | {', '.join(ratios)} | {row.goal} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
