"""The statistical kernels beside their peers: CPU seconds, ratio, growth over sizes and memory, in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

import numpy as np

from common import Data, Row, Side, parser, table

# --------------------------------------------------------------------------------------------------------- the data


def survival_data(n: int) -> Data:
    """Weibull proportional hazards, day-level times, about 36 % events."""
    rng = np.random.default_rng(0)
    score = rng.normal(size=n)
    when = np.ceil(2500 * np.exp(-score) * rng.weibull(1.2, n))
    end = np.ceil(rng.uniform(1, 3650, n))
    return {"event": when <= end, "time": np.minimum(when, end), "score": score}


def grid_data(n: int, t: int = 100) -> Data:
    """Survival data with t times at which to look."""
    return survival_data(n) | {"times": np.linspace(30, 2500, t)}


def curve_data(n: int) -> Data:
    """Survival data with predicted curves at 100 times."""
    data = grid_data(n)
    curves = np.exp(-np.exp(data["score"])[:, None] * (data["times"] / 2500)[None, :] ** 1.2)
    return data | {"curves": curves}


def label_data(n: int, k: int = 14) -> Data:
    """Fourteen findings of 2 to 20 % prevalence, scores with ties, about 1.5 images a patient."""
    rng = np.random.default_rng(0)
    y = rng.random((n, k)) < np.linspace(0.02, 0.2, k)
    score = np.round(y + rng.normal(size=(n, k)), 4)
    return {"y": y.astype(np.int64), "score": score, "patient": rng.integers(0, int(n / 1.5), n)}


def trial_data(n: int) -> Data:
    """A randomised trial of n patients with a predicted benefit."""
    rng = np.random.default_rng(0)
    treated, benefit = rng.random(n) < 0.5, rng.normal(0.05, 0.05, n)
    return {"y": (rng.random(n) < 0.3 - benefit * treated) * 1, "treated": treated * 1, "benefit": benefit}


# ------------------------------------------------------------------------------------------------------- our kernels


def our_harrell(d: Data) -> Any:
    from aimed.metrics import harrell_c

    return harrell_c(d["event"], d["time"], d["score"])


def our_uno(d: Data) -> Any:
    from aimed.metrics import uno_c

    return uno_c(d["event"], d["time"], d["score"], 2500.0)


def our_harrell_draws(d: Data) -> Any:
    from aimed.metrics import bootstrap

    return bootstrap("harrell_c", d["event"], d["time"], d["score"], draws=1000)


def our_label_draws(d: Data) -> Any:
    from aimed.metrics import bootstrap

    return bootstrap("multilabel_auroc", d["y"], d["score"], patient=d["patient"], draws=1000)


def our_delong(d: Data) -> Any:
    from aimed.metrics import auroc

    return [auroc(y, s) for y, s in zip(d["y"].T, d["score"].T, strict=True)]


def our_dynamic_auc(d: Data) -> Any:
    from aimed.metrics import dynamic_auc

    return dynamic_auc(d["event"], d["time"], d["score"], d["times"])


def our_dynamic_auc_value(d: Data) -> Any:
    from aimed.metrics import dynamic_auc

    return dynamic_auc(d["event"], d["time"], d["score"], d["times"], se=False)


def our_ibs_value(d: Data) -> Any:
    from aimed.metrics import integrated_brier

    return integrated_brier(d["event"], d["time"], d["curves"], d["times"], se=False)


def our_ibs(d: Data) -> Any:
    from aimed.metrics import integrated_brier

    return integrated_brier(d["event"], d["time"], d["curves"], d["times"])


def our_c_for_benefit(d: Data) -> Any:
    from aimed.metrics import c_for_benefit

    return c_for_benefit(d["y"], d["treated"], d["benefit"])


def our_kaplan_meier(d: Data) -> Any:
    from aimed.metrics import kaplan_meier

    return kaplan_meier(d["event"], d["time"])


# ------------------------------------------------------------------------------------------------------------- peers


def surv(d: Data) -> Any:
    from sksurv.util import Surv

    return Surv.from_arrays(d["event"], d["time"])


def sksurv_harrell(d: Data) -> Any:
    from sksurv.metrics import concordance_index_censored

    return concordance_index_censored(d["event"], d["time"], d["score"])[0]


def lifelines_harrell(d: Data) -> Any:
    from lifelines.utils import concordance_index

    return concordance_index(d["time"], -d["score"], d["event"])


def sksurv_uno(d: Data) -> Any:
    from sksurv.metrics import concordance_index_ipcw

    y = surv(d)
    return concordance_index_ipcw(y, y, d["score"], tau=2500.0)[0]


def sksurv_harrell_draws(d: Data, draws: int = 5) -> Any:
    from sksurv.metrics import concordance_index_censored

    rng = np.random.default_rng(0)
    n = d["time"].size
    for _ in range(draws):
        rows = rng.integers(0, n, n)
        concordance_index_censored(d["event"][rows], d["time"][rows], d["score"][rows])


def sklearn_label_draws(d: Data, draws: int = 4) -> Any:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    order = np.argsort(d["patient"], kind="stable")
    ends = np.searchsorted(d["patient"][order], np.arange(d["patient"].max() + 2))
    for _ in range(draws):
        who = rng.integers(0, ends.size - 1, ends.size - 1)
        rows = np.concatenate([order[ends[p] : ends[p + 1]] for p in who])
        for y, s in zip(d["y"].T, d["score"].T, strict=True):
            roc_auc_score(y[rows], s[rows])


def confidenceinterval_delong(d: Data) -> Any:
    from confidenceinterval import roc_auc_score

    return [roc_auc_score(y, s, confidence_level=0.95) for y, s in zip(d["y"].T, d["score"].T, strict=True)]


def sksurv_dynamic_auc(d: Data) -> Any:
    from sksurv.metrics import cumulative_dynamic_auc

    y = surv(d)
    return cumulative_dynamic_auc(y, y, d["score"], d["times"])


def sksurv_ibs(d: Data) -> Any:
    from sksurv.metrics import integrated_brier_score

    y = surv(d)
    return integrated_brier_score(y, y, d["curves"], d["times"])


def matched(d: Data) -> tuple[np.ndarray, np.ndarray]:
    """Return observed and predicted benefit of pairs matched by rank."""
    arms = []
    for arm in (0, 1):
        own = np.flatnonzero(d["treated"] == arm)
        arms.append(own[np.argsort(d["benefit"][own])])
    m = min(a.size for a in arms)
    off, on = (a[:m] for a in arms)
    return d["y"][off] - d["y"][on], (d["benefit"][off] + d["benefit"][on]) / 2


def numpy_c_for_benefit(d: Data) -> Any:
    """The usual definition: a table of all pairs of pairs, in blocks of rows."""
    seen, predicted = (v.astype(float) for v in matched(d))
    right = usable = 0.0
    for first in range(0, seen.size, 1000):
        gap = seen[first : first + 1000, None] - seen[None, :]
        order = predicted[first : first + 1000, None] - predicted[None, :]
        usable += (gap > 0).sum()
        right += ((gap > 0) * ((order > 0) + 0.5 * (order == 0))).sum()
    return right / usable


def numpy_c_for_benefit_by_class(d: Data) -> Any:
    """A careful numpy version: only pairs of unequal classes, only comparisons."""
    seen, predicted = matched(d)
    right = usable = 0.0
    for high, low in ((1, 0), (1, -1), (0, -1)):
        a, b = predicted[seen == high], predicted[seen == low]
        usable += a.size * b.size
        for first in range(0, a.size, 1000):
            above = a[first : first + 1000, None] > b[None, :]
            equal = a[first : first + 1000, None] == b[None, :]
            right += above.sum() + 0.5 * equal.sum()
    return right / usable


def lifelines_kaplan_meier(d: Data) -> Any:
    from lifelines import KaplanMeierFitter

    return KaplanMeierFitter().fit(d["time"], d["event"]).confidence_interval_


# ----------------------------------------------------------------------------------------------------------- the table


ROWS = (
    Row(
        "Harrell's C with its interval",
        survival_data,
        Side("aimed", our_harrell),
        (10_000, 100_000, 1_000_000),
        (
            Side("scikit-survival", sksurv_harrell, 100_000),
            Side("lifelines", lifelines_harrell),
        ),
        ">= 400x sksurv at 100k, >= 20x lifelines at 1M, <= .60 s at 1M",
    ),
    Row(
        "Uno's C with its interval",
        survival_data,
        Side("aimed", our_uno),
        (10_000, 100_000, 1_000_000),
        (Side("scikit-survival", sksurv_uno, 100_000),),
        ">= 300x at 100k, <= .45 s at 1M",
    ),
    Row(
        "Harrell's C, 1,000 draws",
        survival_data,
        Side("aimed", our_harrell_draws),
        (1_000, 10_000, 100_000),
        (Side("scikit-survival loop", sksurv_harrell_draws, 10_000, scale=200),),
        ">= 250x at 10k",
    ),
    Row(
        "AUROC, 14 targets x 1,000 clustered draws",
        label_data,
        Side("aimed", our_label_draws),
        (1_000, 10_000, 100_000),
        (Side("scikit-learn loop", sklearn_label_draws, 100_000, scale=250),),
        ">= 150x at 10k, >= 90x at 100k",
    ),
    Row(
        "DeLong of 14 targets",
        label_data,
        Side("aimed", our_delong),
        (10_000, 100_000, 1_000_000),
        (Side("confidenceinterval", confidenceinterval_delong, 100_000),),
        ">= 8x at 100k",
    ),
    Row(
        "Dynamic AUC, 100 times",
        grid_data,
        Side("aimed", our_dynamic_auc_value),
        (10_000, 100_000, 500_000),
        (Side("scikit-survival", sksurv_dynamic_auc, 100_000),),
        ">= 10x at 100k, < 50 MB",
    ),
    Row(
        "Dynamic AUC, 100 times, with intervals",
        grid_data,
        Side("aimed", our_dynamic_auc),
        (10_000, 100_000, 500_000),
        (Side("scikit-survival", sksurv_dynamic_auc, 100_000),),
        "the peer has no interval",
    ),
    Row(
        "Integrated Brier, 100 times",
        curve_data,
        Side("aimed", our_ibs_value),
        (10_000, 100_000, 500_000),
        (Side("scikit-survival", sksurv_ibs, 500_000),),
        ">= 5x at 500k",
    ),
    Row(
        "Integrated Brier, 100 times, with its interval",
        curve_data,
        Side("aimed", our_ibs),
        (10_000, 100_000, 500_000),
        (Side("scikit-survival", sksurv_ibs, 500_000),),
        "the peer has no interval",
    ),
    Row(
        "C-for-benefit with matching and interval (n patients, n / 2 pairs)",
        trial_data,
        Side("aimed", our_c_for_benefit),
        (20_000, 100_000, 1_000_000),
        (
            Side("numpy, all pairs", numpy_c_for_benefit, 100_000),
            Side("numpy, by class", numpy_c_for_benefit_by_class, 100_000),
        ),
        ">= 1000x over all pairs",
    ),
    Row(
        "Kaplan-Meier with its interval",
        survival_data,
        Side("aimed", our_kaplan_meier),
        (10_000, 100_000, 1_000_000),
        (Side("lifelines", lifelines_kaplan_meier),),
        "no slower",
    ),
)


def cold_start(repeats: int) -> None:
    """Print how long a new process takes to its first interval, with the kernels compiled before."""
    code = (
        "import time; t = time.perf_counter()\n"
        "import numpy as np\nfrom aimed.metrics import harrell_c, auroc\n"
        "r = np.random.default_rng(0); s = r.normal(size=500); e = r.random(500) < .4\n"
        "harrell_c(e, r.exponential(size=500) + 1, s); auroc(e, s)\nprint(time.perf_counter() - t)"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(repeats)
    ]
    print(
        f"\nCold start, imports to the first C and AUROC with intervals: {statistics.median(seconds):.2f} s (goal < 1)"
    )


def main() -> None:
    asked = parser(__doc__).parse_args()
    table(__file__, "Statistical kernels beside their peers", ROWS, asked)
    if not (asked.only or asked.one):
        cold_start(5)


if __name__ == "__main__":
    main()
