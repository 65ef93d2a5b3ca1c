"""Competing-risk models against R: cmprsk 2.2-11 (crr, cuminc) and riskRegression 2022.11.28 (CSC, FGR, Score)."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.metrics import brier_incidence, dynamic_auc
from aimed.prognosis.cause_specific_cox import CauseSpecificCox
from aimed.prognosis.fine_gray import FineGray
from aimed.prognosis.gray import gray_test

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def bmt():
    datasets = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data")
    X, y = datasets.load_bmt()
    return X.astype(float), y


@pytest.fixture(scope="module")
def cirrhosis(shared_data):
    table = pd.read_csv(shared_data("prognosis", "survival__pbc.csv")).iloc[:312]
    X = np.column_stack(
        [table.age, table.edema, np.log(table.bili), np.log(table.albumin), np.log(table.protime)]
    ).astype(float)
    y = np.empty(len(table), dtype=[("event", int), ("time", float)])
    y["event"], y["time"] = table.status, table.time
    return X, y


def test_transplants_fine_gray(bmt):
    X, y = bmt
    model = FineGray(cause=1).fit(X, y)
    # crr stops once its gradient is below 1e-6.
    assert model.coef_ == pytest.approx([0.7651702838], abs=5e-9)
    assert model.standard_errors_ == pytest.approx([0.6987902099], abs=5e-9)
    assert model.loglik_[1] == pytest.approx(-29.8586521, abs=5.1e-8)
    assert model.feature_names_in_.tolist() == ["dis"]


@pytest.mark.parametrize(("cause", "statistic", "p"), [(1, 1.301634544, 0.253914871), (2, 7.082278025, 0.007784998)])
def test_transplants_gray(bmt, cause, statistic, p):
    X, y = bmt
    found = gray_test(y["status"], y["ftime"], X["dis"], cause)
    assert found.statistic == pytest.approx(statistic, abs=5.1e-10)
    assert found.p == pytest.approx(p, abs=5.1e-10)


def test_cirrhosis_fine_gray(cirrhosis):
    X, y = cirrhosis
    model = FineGray(cause=2).fit(X, y)
    want = [0.03808241, 0.81907472, 0.82513224, -2.87825502, 3.61966758]
    assert model.coef_ == pytest.approx(want, abs=5.1e-9)


def test_cirrhosis_scores(cirrhosis):
    """The published scores are of models with age, edema and log bilirubin."""
    X, y = cirrhosis
    times = [1000.0, 2000.0]
    causes = CauseSpecificCox().fit(X[:, :3], y).predict_cumulative_incidence(X[:, :3], times, cause=2)
    incidence = FineGray(cause=2).fit(X[:, :3], y).predict_cumulative_incidence(X[:, :3], times)
    # crr, behind FGR, stops once its gradient is below 1e-6; the cause-specific models go on.
    for found, auc, brier, close in (
        (causes, [0.8810308768, 0.9010604172], [0.0902366956, 0.1124547567], 5.1e-11),
        (incidence, [0.8819088667, 0.9022158618], [0.0897208267, 0.1125642653], 1e-7),
    ):
        assert dynamic_auc(y["event"], y["time"], found, times, cause=2).value == pytest.approx(auc, abs=5.1e-11)
        assert brier_incidence(y["event"], y["time"], found, times, cause=2).value == pytest.approx(brier, abs=close)


def test_cirrhosis_cause_specific_cox(cirrhosis):
    X, y = cirrhosis
    death = CauseSpecificCox().fit(X, y).models_[2]
    want = [0.033223407, 0.785852571, 0.880056271, -3.059926049, 3.014011800]
    assert death.coef_ == pytest.approx(want, abs=1e-8)
    assert death.loglik_[1] == pytest.approx(-540.29671761, abs=1e-7)
