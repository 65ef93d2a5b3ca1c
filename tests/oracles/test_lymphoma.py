"""The lymphoma cohort of 80 patients: Kaplan-Meier by stage, the median and the log-rank test."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines.datasets import load_lymphoma

from aimed.metrics.nonparametric import kaplan_meier, log_rank

DAYS = [90, 180, 270, 360]


@pytest.fixture(scope="module")
def cohort():
    frame = load_lymphoma()
    return frame["Censor"].to_numpy().astype(bool), frame["Time"].to_numpy(float), frame["Stage_group"].to_numpy()


@pytest.mark.parametrize(
    ("stage", "n", "expected"),
    [(1, 19, [0.736842, 0.680162, 0.524696, 0.524696]), (2, 61, [0.424529, 0.254066, 0.195436, 0.195436])],
)
def test_survival_by_stage(cohort, stage, n, expected):
    event, time, group = cohort
    own = group == stage
    assert own.sum() == n
    curve = kaplan_meier(event[own], time[own])
    # Nobody is followed to day 360: the published value is the last one carried on, which has to be asked for.
    assert time[own].max() < 360
    assert curve.at(DAYS, extend=True) == pytest.approx(expected, abs=5.01e-7)
    assert np.isnan(curve.at(360))


def test_survival_of_all(cohort):
    event, time, _ = cohort
    assert (~event).mean() == pytest.approx(0.325)
    curve = kaplan_meier(event, time)
    assert curve.at(DAYS, extend=True) == pytest.approx([0.4994, 0.3542, 0.2724, 0.2724], abs=5e-5)
    assert curve.median()[0] == 90


def test_log_rank(cohort):
    event, time, group = cohort
    test = log_rank(event, time, group)
    assert test.statistic == pytest.approx(6.70971, abs=5e-6)
    assert test.p == pytest.approx(0.00958893, abs=5e-9)
    assert test.df == 1


def test_toy_curve():
    # 2 censored, 15 censored, 12, 10 and 20 events.
    curve = kaplan_meier([0, 0, 1, 1, 1], [2, 15, 12, 10, 20])
    assert curve.at([0, 2, 10, 12, 15, 20]) == pytest.approx(np.array([1, 1, 0.75, 0.5, 0.5, 0]))
