"""Kaplan-Meier, concordance, AUC, Brier score and calibration of Cox models: R's values, digit by digit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from lifelines.datasets import load_rossi
from sksurv.datasets import load_gbsg2, load_whas500

from aimed.metrics.calibration_survival import calibration_errors_at, calibration_slope_at, oe_at
from aimed.metrics.concordance import harrell_c, uno_c
from aimed.metrics.nonparametric import kaplan_meier, log_rank, survival_at
from aimed.metrics.regression import CoxRegression
from aimed.metrics.survival_accuracy import brier_survival, dynamic_auc, scaled_brier_survival
from aimed.metrics.utility import net_benefit_survival


def auc_at(event, time, score, horizon):
    return float(dynamic_auc(event, time, score, [horizon]))


def brier_at(event, time, risk, horizon):
    return float(brier_survival(event, time, (1 - np.asarray(risk))[:, None], [horizon]))


def scaled_brier_at(event, time, risk, horizon):
    return float(scaled_brier_survival(event, time, (1 - np.asarray(risk))[:, None], [horizon]))


@dataclass
class Fitted:
    """A Cox model fitted to some rows and read on others."""

    event: np.ndarray
    time: np.ndarray
    score: np.ndarray
    hazard: dict[float, float]

    def risk(self, horizon):
        return 1 - np.exp(-self.hazard[horizon] * np.exp(self.score))


def cox(event, time, x, horizons, train=None, test=None):
    train = np.ones(time.size, bool) if train is None else train
    test = np.ones(time.size, bool) if test is None else test
    model = CoxRegression(event[train], time[train], x[train])
    ones = np.ones(int(train.sum()))
    beta = model.fit(ones)
    hazard = {h: model.baseline_hazard(beta, ones, h) for h in horizons}
    return Fitted(event[test], time[test], (x[test] - model.centre) @ beta, hazard)


@pytest.fixture(scope="module")
def whas():
    x, y = load_whas500()
    times = (100.0, 365.0, 730.0, 1000.0, 1500.0, 2000.0)
    return cox(y["fstat"], y["lenfol"].astype(float), x.to_numpy(float), times)


@pytest.fixture(scope="module")
def breast():
    frame, y = load_gbsg2()
    grade = frame["tgrade"].astype(str)
    x = np.column_stack(
        [
            frame["age"],
            frame["estrec"],
            frame["horTh"].astype(str) == "yes",
            frame["menostat"].astype(str) == "Post",
            frame["pnodes"],
            frame["progrec"],
            grade == "II",
            grade == "III",
            frame["tsize"],
        ]
    ).astype(float)
    return y["cens"].astype(bool), y["time"].astype(float), x


@pytest.fixture(scope="module")
def breast_all(breast):
    return cox(*breast, (365.0, 1000.0, 1500.0, 2000.0))


@pytest.fixture(scope="module")
def breast_split(breast):
    event, time, x = breast
    odd = np.arange(time.size) % 2 == 0
    grid = tuple(float(h) for h in range(100, 1501, 100))
    return cox(event, time, np.delete(x, 1, axis=1), grid, odd, ~odd)


def test_whas_kaplan_meier(whas):
    curve = kaplan_meier(whas.event, whas.time)
    at = [365, 1000, 2000]
    assert curve.median() == (1627, 1506, 2353)
    assert curve.at(at) == pytest.approx([0.724, 0.622549749, 0.477910849], abs=1e-9)
    assert curve.std_error_at(at) == pytest.approx([0.019991198, 0.022696124, 0.029695448], abs=1e-9)
    lower, upper = curve.interval_at(at)
    assert lower == pytest.approx([0.682576082, 0.576342423, 0.418643754], abs=1e-9)
    assert upper == pytest.approx([0.760988995, 0.665242557, 0.534694076], abs=1e-9)
    assert curve.at_risk_at(at).tolist() == [362, 229, 47]


def test_whas_predictions_are_those_of_the_reference(whas):
    expected = {365.0: [0.6515604508, 0.9302498341, 0.8853714574], 2000.0: [0.2827349036, 0.8079877494, 0.6983623456]}
    for horizon, survival in expected.items():
        assert 1 - whas.risk(horizon)[:3] == pytest.approx(survival, abs=1e-9)


def test_whas_concordance(whas):
    assert harrell_c(whas.event, whas.time, whas.score) == pytest.approx(0.784215359, abs=1e-9)
    assert harrell_c(whas.event, whas.time, whas.score) == 58933 / (58933 + 16216)
    assert uno_c(whas.event, whas.time, whas.score, 2000) == pytest.approx(0.772398667, abs=1e-9)
    assert uno_c(whas.event, whas.time, whas.score, np.inf) == pytest.approx(0.805360696, abs=1e-9)


def test_whas_auc_and_brier(whas):
    expected = {
        100.0: (0.8008420132, 0.1191891886, 0.1463160000),
        365.0: (0.8264272560, 0.1447745488, 0.1998240000),
        730.0: (0.8489486210, 0.1494454336, 0.2299552015),
        1000.0: (0.8591230024, 0.1476764685, 0.2349815589),
        1500.0: (0.8206916358, 0.1707486043, 0.2469150565),
        2000.0: (0.8167725209, 0.1757450635, 0.2495120694),
    }
    for h, (auc, score, null) in expected.items():
        risk = whas.risk(h)
        assert auc_at(whas.event, whas.time, whas.score, h) == pytest.approx(auc, abs=1e-9)
        assert brier_at(whas.event, whas.time, risk, h) == pytest.approx(score, abs=1e-9)
        assert scaled_brier_at(whas.event, whas.time, risk, h) == pytest.approx(1 - score / null, abs=1e-8)


def test_gbsg2(breast, breast_all):
    event, time, x = breast
    curve = kaplan_meier(event, time)
    assert curve.median() == (1807, 1528, 2018)
    assert curve.at([365, 1000, 2000]) == pytest.approx([0.915558104, 0.657750395, 0.462431190], abs=1e-9)
    test = log_rank(event, time, x[:, 2])
    assert test.statistic == pytest.approx(8.56478085, abs=5.01e-9)
    assert test.p == pytest.approx(0.0034272823, abs=5.01e-11)
    score = breast_all.score
    assert harrell_c(event, time, score) == pytest.approx(0.691851028, abs=1e-9)
    assert uno_c(event, time, score, 2000) == pytest.approx(0.673362661, abs=1e-9)
    assert uno_c(event, time, score, np.inf) == pytest.approx(0.676923705, abs=1e-9)
    areas = [auc_at(event, time, score, h) for h in breast_all.hazard]
    assert areas == pytest.approx([0.7659279909, 0.7333561218, 0.7389160257, 0.7526197371], abs=1e-9)
    scores = [brier_at(event, time, breast_all.risk(h), h) for h in breast_all.hazard]
    assert scores == pytest.approx([0.0743511809, 0.1934545032, 0.2075723250, 0.2050110470], abs=1e-9)


def test_gbsg2_split_discrimination_and_accuracy(breast_split):
    event, time, score = breast_split.event, breast_split.time, breast_split.score
    assert breast_split.risk(1000.0)[:5] == pytest.approx(
        [0.3341805188, 0.2694488308, 0.9628618345, 0.2611731318, 0.5338853728], abs=1e-9
    )
    assert harrell_c(event, time, score) == pytest.approx(0.6620559572, abs=1e-9)
    assert uno_c(event, time, score, 1500) == pytest.approx(0.6473698942, abs=1e-9)
    at = (500.0, 1000.0, 1500.0)
    assert [auc_at(event, time, score, h) for h in at] == pytest.approx(
        [0.7618897751, 0.6970732515, 0.6860322979], abs=1e-9
    )
    assert [brier_at(event, time, breast_split.risk(h), h) for h in at] == pytest.approx(
        [0.1258269447, 0.1977190963, 0.2218288275], abs=1e-9
    )
    assert [scaled_brier_at(event, time, breast_split.risk(h), h) for h in at] == pytest.approx(
        [0.0288951802, 0.1075792940, 0.1008774860], abs=1e-9
    )


def test_gbsg2_split_brier_curve_integrates_to_the_reference(breast_split):
    # riskRegression adds left-hand steps from time 0, where the score is 0; `integrated_brier` uses trapezoids.
    grid = np.array(list(breast_split.hazard))
    curves = np.column_stack([1 - breast_split.risk(h) for h in grid])
    scores = brier_survival(breast_split.event, breast_split.time, curves, grid).value
    assert (scores[:-1] @ np.diff(grid)) / 1500 == pytest.approx(0.1336275646, abs=1e-9)


def test_gbsg2_split_calibration_and_net_benefit(breast_split):
    event, time, risk = breast_split.event, breast_split.time, breast_split.risk(1000.0)
    assert 1 - survival_at(event, time, 1000.0) == pytest.approx(0.331339647, abs=1e-9)
    assert risk.mean() == pytest.approx(0.3475031141, abs=1e-9)
    assert oe_at(event, time, risk, 1000.0) == pytest.approx(0.9534868426, abs=1e-9)
    assert calibration_slope_at(event, time, risk) == pytest.approx(0.5161771927, abs=1e-8)
    found = calibration_errors_at(event, time, risk, 1000.0)
    assert (found.ici, found.e50, found.e90, found.emax) == pytest.approx(
        (0.0544654760, 0.0413743541, 0.1307119227, 0.3137278668), abs=1e-8
    )
    curve = net_benefit_survival(event, time, risk, 1000.0, [0.2, 0.3, 0.4])
    assert curve.value == pytest.approx([0.1674164062, 0.1011248842, 0.0543616385], abs=1e-9)
    assert curve.treat_all == pytest.approx([0.1641745588, 0.0447709243, -0.1144339216], abs=1e-9)


def test_rossi():
    frame = load_rossi()
    event, time = frame["arrest"].to_numpy(bool), frame["week"].to_numpy(float)
    fitted = cox(event, time, frame.drop(columns=["week", "arrest"]).to_numpy(float), (52.0,))
    assert harrell_c(event, time, fitted.score) == pytest.approx(0.640329247, abs=1e-9)
    assert harrell_c(event, time, fitted.score) == (27242 + 49 / 2) / (27242 + 15291 + 49)
    assert uno_c(event, time, fitted.score, 45) == pytest.approx(0.649924440, abs=1e-9)
    assert kaplan_meier(event, time).at([10, 26, 52]) == pytest.approx([0.965277778, 0.875, 0.736111111], abs=1e-9)
    # All who are left are censored at week 52, where G becomes 0: no peer gives a number there.
    assert 0.5 < uno_c(event, time, fitted.score, 52) < 1


@pytest.mark.parametrize(
    ("time", "event", "score", "expected"),
    [
        ([4, 3, 2, 1], [1, 1, 1, 1], [1, 2, 3, 4], 1),
        ([4, 3, 2, 1], [1, 1, 1, 1], [4, 3, 2, 1], 0),
        ([1, 2, 3, 4], [1, 0, 0, 0], [2, 1, 2, 1], 2.5 / 3),
        ([1, 1, 2], [1, 1, 0], [3, 1, 2], 0.5),
        ([1, 1], [1, 0], [2, 1], 1),
    ],
    ids=["right order", "wrong order", "tied score", "tied events", "censored at an event"],
)
def test_toy_concordance(time, event, score, expected):
    assert harrell_c(event, time, score) == pytest.approx(expected)
