"""Concordance on eight public data sets: R's values (survival 3.5-3) to the digits they were printed with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from lifelines.datasets import load_lung, load_rossi
from lifelines.utils import concordance_index
from sksurv.datasets import load_aids, load_flchain, load_gbsg2, load_veterans_lung_cancer, load_whas500
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw
from sksurv.util import Surv

from aimed.metrics.concordance import concordance_pairs, harrell_c, uno_c
from aimed.metrics.regression import CoxRegression


@dataclass
class Fitted:
    event: np.ndarray
    time: np.ndarray
    score: np.ndarray


def cox(event, time, x, rows=None):
    event, time, x = np.asarray(event, bool), np.asarray(time, float), np.asarray(x, float)
    rows = np.ones(time.size, bool) if rows is None else rows
    model = CoxRegression(event[rows], time[rows], x[rows])
    beta = model.fit(np.ones(int(rows.sum())))
    return Fitted(event, time, (x - model.centre) @ beta)


def whas():
    x, y = load_whas500()
    return cox(y["fstat"], y["lenfol"], x.to_numpy(float))


def gbsg2():
    f, y = load_gbsg2()
    grade = f["tgrade"].astype(str)
    hormone, after = f["horTh"].astype(str) == "yes", f["menostat"].astype(str) == "Post"
    columns = [f["age"], f["estrec"], hormone, after, f["pnodes"], f["progrec"], grade == "II", grade == "III"]
    return cox(y["cens"], y["time"], np.column_stack([*columns, f["tsize"]]).astype(float))


def veterans():
    f, y = load_veterans_lung_cancer()
    cell = f["Celltype"].astype(str)
    kinds = [cell == kind for kind in ("large", "smallcell", "squamous")]
    prior, arm = f["Prior_therapy"].astype(str) == "yes", f["Treatment"].astype(str) == "test"
    columns = [f["Age_in_years"], *kinds, f["Karnofsky_score"], f["Months_from_Diagnosis"], prior, arm]
    return cox(y["Status"], y["Survival_in_days"], np.column_stack(columns).astype(float))


def flchain():
    f, y = load_flchain()
    columns = [f["age"], f["sex"].astype(str) == "M", f["kappa"], f["lambda"]]
    return cox(y["death"], y["futime"], np.column_stack(columns).astype(float))


def aids():
    f, y = load_aids()
    names = ["tx", "age", "cd4", "karnof", "priorzdv", "ivdrug", "hemophil", "sex", "strat2"]
    columns = [f[name].astype(float) if name != "ivdrug" else f[name].astype(str).astype(float) for name in names]
    return cox(y["censor"], y["time"], np.column_stack(columns).astype(float))


def rossi():
    f = load_rossi()
    return cox(f["arrest"], f["week"], f.drop(columns=["week", "arrest"]))


def lung():
    f = load_lung()[["time", "status", "age", "sex", "ph.ecog"]].dropna()
    event = f["status"] == f["status"].max()
    return cox(event, f["time"], f[["age", "sex", "ph.ecog"]])


@pytest.mark.parametrize(
    ("load", "value", "se"),
    [
        (whas, 0.784215359, 0.015502340),
        (gbsg2, 0.691851028, 0.014958697),
        (veterans, 0.736029078, 0.021170118),
        (flchain, 0.794261687, 0.004949865),
        (aids, 0.782517363, 0.022799123),
        (rossi, 0.640329247, 0.026658123),
        (lung, 0.637135493, 0.025067974),
    ],
)
def test_harrell(load, value, se):
    data = load()
    found = harrell_c(data.event, data.time, data.score)
    assert found.value == pytest.approx(value, abs=1.01e-9)
    assert found.se == pytest.approx(se, abs=1.01e-9)
    y = Surv.from_arrays(data.event, data.time)
    # scikit-survival merges scores closer than 1e-8 and lifelines none.
    assert found.value == pytest.approx(concordance_index_censored(y["event"], y["time"], data.score)[0], abs=1e-6)
    assert found.value == pytest.approx(concordance_index(data.time, -data.score, data.event), abs=1e-12)


@pytest.mark.parametrize(
    ("load", "tau", "value", "peer"),
    [
        (whas, 2000, 0.772398667, 0.772395132),
        (gbsg2, 2000, 0.673362661, 0.673373131),
        (veterans, 400, 0.728723341, 0.728714572),
        (flchain, 4000, 0.794805064, 0.794804020),
        (aids, 300, 0.777717370, 0.777742332),
        (rossi, 45, 0.649924440, 0.644634809),
    ],
)
def test_uno(load, tau, value, peer):
    data = load()
    found = uno_c(data.event, data.time, data.score, tau)
    assert found.value == pytest.approx(value, abs=1.01e-9)
    y = Surv.from_arrays(data.event, data.time)
    # scikit-survival reads G from the right and ends before tau: another number, on the same rows.
    assert concordance_index_ipcw(y, y, data.score, tau)[0] == pytest.approx(peer, abs=1e-8)


@pytest.mark.parametrize(("load", "value"), [(whas, 0.805360696), (gbsg2, 0.676923705), (flchain, 0.784299056)])
def test_uno_without_tau(load, value):
    data = load()
    with pytest.warns(UserWarning, match="unstable"):
        assert uno_c(data.event, data.time, data.score).value == pytest.approx(value, abs=1.01e-9)


def test_uno_without_tau_where_all_who_are_left_are_censored():
    data = rossi()
    with pytest.warns(UserWarning, match="unstable"):
        found = uno_c(data.event, data.time, data.score)
    assert 0.6 < found < 0.7
    y = Surv.from_arrays(data.event, data.time)
    with pytest.raises(ValueError, match="censoring survival function is zero"):
        concordance_index_ipcw(y, y, data.score)


def test_scikit_survivals_uno_where_conventions_agree():
    rng = np.random.default_rng(1)
    failure, lost = rng.exponential(size=300), rng.exponential(2, size=300)
    event, time = failure <= lost, np.minimum(failure, lost)
    score = -failure + rng.normal(size=300)
    y = Surv.from_arrays(event, time)
    # Without tied times G(T) of an event is G(T-); tau lies between two times.
    peer = concordance_index_ipcw(y, y, score, 1.23456789)
    assert uno_c(event, time, score, 1.23456789).value == pytest.approx(peer[0], rel=1e-12)


def test_counts():
    data = whas()
    pairs = concordance_pairs(data.event, data.time, data.score)
    assert (pairs.concordant, pairs.discordant, pairs.tied_score) == (58933, 16216, 0)
    assert pairs.tied_time + pairs.tied_both == 119
    data = rossi()
    pairs = concordance_pairs(data.event, data.time, data.score)
    assert (pairs.concordant, pairs.discordant, pairs.tied_score) == (27242, 15291, 49)
    data = veterans()
    pairs = concordance_pairs(data.event, data.time, data.score)
    assert (pairs.concordant, pairs.discordant) == (6480, 2324)


def test_stratified():
    f, y = load_gbsg2()
    columns = [f["age"], f["estrec"], f["horTh"].astype(str) == "yes", f["menostat"].astype(str) == "Post"]
    x = np.column_stack([*columns, f["pnodes"], f["progrec"], f["tsize"]]).astype(float)
    grade = f["tgrade"].astype(str).to_numpy()
    # Efron's stratified fit, printed by R for two coefficients; the others are found by maximising its likelihood.
    beta = stratified_cox(y["cens"].astype(bool), y["time"].astype(float), x, grade)
    assert beta[[2, 4]] == pytest.approx([-0.353529681, 0.047568305], abs=1e-8)
    found = harrell_c(y["cens"], y["time"], x @ beta, strata=grade)
    assert found.value == pytest.approx(0.673710192, abs=1.01e-9)


def stratified_cox(event, time, x, strata):
    """Newton's method on Efron's partial likelihood summed over strata."""
    x = (x - x.mean(axis=0)) / (scale := x.std(axis=0))
    beta = np.zeros(x.shape[1])
    for _ in range(20):
        gradient, information = np.zeros(beta.size), np.zeros((beta.size, beta.size))
        for level in np.unique(strata):
            e, t, z = event[strata == level], time[strata == level], x[strata == level]
            h = np.exp(z @ beta)
            for u in np.unique(t[e]):
                dead, risk = e & (t == u), t >= u
                for k in range(dead.sum()):
                    share = h * risk - (k / dead.sum()) * h * dead
                    mean = share @ z / share.sum()
                    gradient += z[dead].sum(axis=0) / dead.sum() - mean
                    information += (z * share[:, None]).T @ z / share.sum() - np.outer(mean, mean)
        beta = beta + np.linalg.solve(information, gradient)
    return beta / scale


def test_split_validation():
    f, y = load_gbsg2()
    grade = f["tgrade"].astype(str)
    hormone, after = f["horTh"].astype(str) == "yes", f["menostat"].astype(str) == "Post"
    columns = [f["age"], hormone, after, f["pnodes"], f["progrec"], grade == "II", grade == "III", f["tsize"]]
    odd = np.arange(len(f)) % 2 == 0
    data = cox(y["cens"], y["time"], np.column_stack(columns).astype(float), odd)
    event, time, score = data.event[~odd], data.time[~odd], data.score[~odd]
    found = harrell_c(event, time, score)
    assert found.value == pytest.approx(0.6620559572, abs=1e-9)
    assert found.se == pytest.approx(0.0209995829, abs=1e-9)
    assert uno_c(event, time, score, 1500).value == pytest.approx(0.6473698942, abs=1e-9)
