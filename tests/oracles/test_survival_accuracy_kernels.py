"""Curves without a model and accuracy over time: the values of R's survival and riskRegression, digit by digit."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.datasets import load_bmt, load_cgvhd, load_gbsg2, load_veterans_lung_cancer, load_whas500

from aimed.metrics.competing import aalen_johansen
from aimed.metrics.nonparametric import kaplan_meier, log_rank, rmst, rmst_difference
from aimed.metrics.regression import CoxRegression
from aimed.metrics.survival_accuracy import (
    brier_incidence,
    brier_survival,
    dynamic_auc,
    integrated_brier,
    scaled_brier_survival,
)
from aimed.prognosis.cox import CoxPH

pd = pytest.importorskip("pandas")


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


@pytest.fixture(scope="module")
def whas():
    x, y = load_whas500()
    x, y = x.to_numpy(float), outcome(y["fstat"], y["lenfol"])
    times = np.array([100.0, 365.0, 730.0, 1000.0, 1500.0, 2000.0])
    model = CoxPH().fit(x, y)
    return y["event"], y["time"], model.predict(x), model.predict_survival_function(x, times, return_array=True), times


@pytest.fixture(scope="module")
def breast():
    frame, y = load_gbsg2()
    grade = frame["tgrade"].astype(str)
    columns = [
        frame["age"], frame["horTh"].astype(str) == "yes", frame["menostat"].astype(str) == "Post", frame["pnodes"],
        frame["progrec"], grade == "II", grade == "III", frame["tsize"],
    ]  # fmt: skip
    return outcome(y["cens"], y["time"]), np.column_stack(columns).astype(float)


def test_medians_on_three_scales(whas, breast):
    event, time = whas[:2]
    assert kaplan_meier(event, time).median() == (1627, 1506, 2353)
    assert kaplan_meier(event, time, interval="log").median() == (1627, 1527, None)
    assert kaplan_meier(event, time, interval="plain").median() == (1627, 1506, 2353)
    y, _ = breast
    assert kaplan_meier(y["event"], y["time"]).median() == (1807, 1528, 2018)
    assert kaplan_meier(y["event"], y["time"], interval="log").median() == (1807, 1587, 2030)
    _, lung = load_veterans_lung_cancer()
    event, time = lung["Status"], lung["Survival_in_days"]
    assert kaplan_meier(event, time).median() == (80, 52, 100)
    assert kaplan_meier(event, time, interval="log").median() == (80, 52, 105)


def test_restricted_means(breast):
    y, x = breast
    expected = {
        1000.0: ((826.7239513, 12.88818665), (877.8684183, 14.89241293)),
        2000.0: ((1340.447108, 34.67671), (1513.229306, 43.15060)),
    }
    for tau, groups in expected.items():
        both = rmst_difference(y["event"], y["time"], x[:, 1], tau)
        for k, (value, se) in enumerate(groups):
            own = x[:, 1] == k
            found = rmst(y["event"][own], y["time"][own], tau)
            assert (found.value, found.se) == (pytest.approx(value, rel=1e-9), pytest.approx(se, rel=2e-7))
            assert both.groups[k] == found
        assert both.value == pytest.approx(groups[1][0] - groups[0][0], abs=2e-6)
        assert both.se == pytest.approx(np.hypot(groups[0][1], groups[1][1]), rel=2e-7)
    assert log_rank(y["event"], y["time"], x[:, 1]).p == pytest.approx(0.0034272823, abs=5.01e-11)


def test_whas_auc_with_its_error(whas):
    event, time, score, _, times = whas
    found = dynamic_auc(event, time, score, times)
    assert found.value == pytest.approx(
        [0.8008420132, 0.8264272560, 0.8489486210, 0.8591230024, 0.8206916358, 0.8167725209], abs=5.01e-11
    )
    # riskRegression divides by n (n - 1), so its error is larger by the root of 500 / 499.
    assert found.se * np.sqrt(500 / 499) == pytest.approx([0.0236, 0.0199, 0.0191, 0.0184, 0.0267, 0.0355], abs=5e-5)


def test_whas_brier_scores(whas):
    event, time, _, curves, times = whas
    scores = [0.1191891886, 0.1447745488, 0.1494454336, 0.1476764685, 0.1707486043, 0.1757450635]
    null = [0.1463160000, 0.1998240000, 0.2299552015, 0.2349815589, 0.2469150565, 0.2495120694]
    found, scaled = brier_survival(event, time, curves, times), scaled_brier_survival(event, time, curves, times)
    assert found.value == pytest.approx(scores, abs=5.1e-11)
    assert found.value / (1 - scaled.value) == pytest.approx(null, abs=5.1e-11)
    assert integrated_brier(event, time, curves, times) == pytest.approx(0.155297509, abs=3e-5)


def test_breast_cancer_split(breast):
    y, x = breast
    odd = np.arange(len(y)) % 2 == 0
    model, grid = CoxPH().fit(x[odd], y[odd]), np.arange(100.0, 1501.0, 100.0)
    event, time, score = y["event"][~odd], y["time"][~odd], model.predict(x[~odd])
    curves = model.predict_survival_function(x[~odd], grid, return_array=True)
    at = [4, 9, 14]
    assert dynamic_auc(event, time, score, grid[at]).value == pytest.approx(
        [0.7618897751, 0.6970732515, 0.6860322979], abs=5.1e-11
    )
    found = brier_survival(event, time, curves, grid)
    assert found.value[at] == pytest.approx([0.1258269447, 0.1977190963, 0.2218288275], abs=1e-10)
    assert scaled_brier_survival(event, time, curves, grid).value[at] == pytest.approx(
        [0.0288951802, 0.1075792940, 0.1008774860], abs=1e-9
    )
    # riskRegression integrates left-hand steps from time 0, where the score is 0.
    assert (found.value[:-1] @ np.diff(grid)) / 1500 == pytest.approx(0.1336275646, abs=1e-10)
    assert integrated_brier(event, time, curves, grid) == pytest.approx(
        np.trapezoid(found.value, grid) / 1400, abs=1e-14
    )


def test_transplants_and_graft_versus_host():
    _, y = load_bmt()
    found = aalen_johansen(y["status"], y["ftime"]).at([3, 6, 12, 24])
    assert found[:, 0] == pytest.approx([0.1458128079, 0.2049261084, 0.2728389878, 0.2728389878], abs=5.1e-11)
    assert found[:, 1] == pytest.approx([0.1152709360, 0.1757916960, 0.3407601464, 0.4461422007], abs=5.1e-11)
    _, y = load_cgvhd()
    found = aalen_johansen(y["status"], y["ftime"]).at([1])
    assert found[0] == pytest.approx([0.85858585859, 0.05050505051, 0.05050505051], abs=5.1e-12)


@pytest.fixture(scope="module")
def cirrhosis(shared_data):
    """Trial patients, and incidence of death from two cause-specific Cox models by the product limit."""
    table = pd.read_csv(shared_data("prognosis", "survival__pbc.csv")).iloc[:312]
    status, time = table["status"].to_numpy(), table["time"].to_numpy(float)
    x = np.column_stack([table["age"], table["edema"], np.log(table["bili"])]).astype(float)
    steps, ones = np.unique(time[status > 0]), np.ones(312)
    parts = []
    for cause in (1, 2):
        model = CoxRegression(status == cause, time, x)
        beta = model.fit(ones)
        hazard = np.array([model.baseline_hazard(beta, ones, u) for u in steps])
        parts.append(np.outer(np.exp((x - model.centre) @ beta), np.diff(hazard, prepend=0.0)))
    alive = np.cumprod(1 - parts[0] - parts[1], axis=1)
    incidence = np.cumsum(np.column_stack([ones, alive[:, :-1]]) * parts[1], axis=1)
    return status, time, incidence[:, np.searchsorted(steps, [1000.0, 2000.0], side="right") - 1]


def test_cirrhosis_incidence(cirrhosis):
    status, time, _ = cirrhosis
    found = aalen_johansen(status, time).at([1000, 2000, 3000])
    assert found[:, 0] == pytest.approx([0.01929075, 0.04405629, 0.07050537], abs=5.1e-9)
    assert found[:, 1] == pytest.approx([0.17351500, 0.29664148, 0.41075568], abs=5.1e-9)


def test_cirrhosis_accuracy_with_competing_transplants(cirrhosis):
    status, time, incidence = cirrhosis
    auc = dynamic_auc(status, time, incidence, [1000, 2000], cause=2)
    assert auc.value == pytest.approx([0.8810308768, 0.9010604172], abs=5.1e-11)
    brier = brier_incidence(status, time, incidence, [1000, 2000], cause=2)
    assert brier.value == pytest.approx([0.0902366956, 0.1124547567], abs=5.1e-11)
