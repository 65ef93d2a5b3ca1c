"""Two risks on the breast cancer rows of scikit-learn: pROC's areas, DeLong errors, paired test and partial area."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as peer
from sklearn.datasets import load_breast_cancer

from aimed.metrics.discrimination import auroc, auroc_covariance, auroc_test, average_precision, partial_auroc
from aimed.metrics.multilabel import multilabel_auroc
from aimed.metrics.thresholds import threshold_at_sensitivity


@pytest.fixture(scope="module")
def rows():
    data = load_breast_cancer()
    names = list(data.feature_names)
    y = (data.target == 0).astype(int)
    radius, worst = (data.data[:, names.index(f"{k} radius")] for k in ("mean", "worst"))
    return y, 1 / (1 + np.exp(-(radius - 14.5))), 1 / (1 + np.exp(-0.9 * (worst - 16.8)))


def test_delong_of_each_risk(rows):
    y, first, second = rows
    a, b = auroc(y, first, scale="identity"), auroc(y, second, scale="identity")
    assert (a.value, a.lower, a.upper) == pytest.approx((0.937516516, 0.9170206709, 0.9580123612), abs=1e-10)
    assert (b.value, b.lower, b.upper) == pytest.approx((0.9704428941, 0.9578479423, 0.9830378459), abs=1e-10)
    assert (a.se**2, b.se**2) == pytest.approx((1.093542036e-4, 4.129493984e-5), rel=1e-9)
    assert (a.n, a.events) == (569, 212)


def test_paired_test(rows):
    y, first, second = rows
    found = auroc_test(y, first, second)
    assert found.covariance == pytest.approx(5.742212231e-5, rel=1e-9)
    assert found.z == pytest.approx(-5.502660714, rel=1e-9)
    assert found.p == pytest.approx(3.741019e-8, rel=1e-6)
    both = auroc_covariance(y, np.column_stack([first, second]))
    expected = [[1.093542036e-4, 5.742212231e-5], [5.742212231e-5, 4.129493984e-5]]
    np.testing.assert_allclose(both.covariance, expected, rtol=1e-9)
    assert both.contrast([1, -1]).p == pytest.approx(3.741019e-8, rel=1e-6)


def test_partial_area(rows):
    y, first, _ = rows
    assert partial_auroc(y, first, 0.1, corrected=False) == pytest.approx(0.0736760742, abs=1e-10)
    found = partial_auroc(y, first, 0.1)
    assert found == pytest.approx(0.8614530221, abs=1e-10)
    assert found == pytest.approx(peer.roc_auc_score(y, first, max_fpr=0.1), abs=1e-12)


def test_the_peers_areas(rows):
    y, *risks = rows
    for risk in risks:
        assert auroc(y, risk) == pytest.approx(peer.roc_auc_score(y, risk), abs=1e-13)
        assert average_precision(y, risk) == pytest.approx(peer.average_precision_score(y, risk), abs=1e-13)
    table, score = np.column_stack([y, 1 - y]), np.column_stack(risks)
    found = multilabel_auroc(table, score)
    for average in ("macro", "micro"):
        expected = peer.roc_auc_score(table, score, average=average)
        assert getattr(found, average) == pytest.approx(expected, abs=1e-13)


def test_a_threshold_by_the_peers_curve(rows):
    y, first, _ = rows
    false, true, cuts = peer.roc_curve(y, first, drop_intermediate=False)
    place = np.flatnonzero(true >= 0.9)[0]
    found = threshold_at_sensitivity(y, first, 0.9)
    assert found.threshold == cuts[place]
    assert found.specificity == pytest.approx(1 - false[place], abs=1e-14)
