"""Breast cancer in Rotterdam: what R prints for three published Cox models, two of them with rms's cubic splines.

The models of STRATOS's guide to validating survival predictions (recurrence or death within five years; McLernon et
al., Ann Intern Med 2023;176:105), fitted there with ``survival::coxph`` and ``rms::cph``, and a plain model of all
predictors. Numbers are given to as many digits as R prints.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline

from aimed.fit.spline import RestrictedCubicSpline
from aimed.prognosis.cox import CoxPH

pd = pytest.importorskip("pandas")


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


@pytest.fixture(scope="module")
def table(shared_data):
    return pd.read_csv(shared_data("prognosis", "survival__rotterdam.csv"))


@pytest.fixture(scope="module")
def five_years(table):
    either = np.maximum(table.recur, table.death) == 1
    # Forty-three died after they were last seen without recurrence.
    died = either & (table.recur == 0) & (table.rtime < table.dtime)
    years = np.where(died, table.dtime, table.rtime) / 365.25
    X = pd.DataFrame(
        {
            "20-50": table["size"] == "20-50",
            ">50": table["size"] == ">50",
            "1-3": table.nodes.between(1, 3),
            ">3": table.nodes > 3,
            "grade3": table.grade == 3,
            "nodes": np.minimum(table.nodes, np.quantile(table.nodes, 0.99, method="inverted_cdf")),
            "pgr": np.minimum(table.pgr, np.quantile(table.pgr, 0.99, method="inverted_cdf")),
        }
    ).astype(float)
    return X, outcome(either & (years <= 5), np.minimum(years, 5.0))


def test_categories(five_years):
    X, y = five_years
    model = CoxPH().fit(X[["20-50", ">50", "1-3", ">3", "grade3"]], y)
    assert (model.n_fitted_, model.n_events_) == (2982, 1275)
    np.testing.assert_allclose(model.coef_, [0.38342, 0.66355, 0.35998, 1.06278, 0.37477], atol=6e-6)
    np.testing.assert_allclose(model.standard_errors_, [0.06504, 0.09126, 0.07534, 0.07035, 0.07130], atol=6e-6)
    assert model.tests_["likelihood_ratio"]["statistic"] == pytest.approx(483.6, abs=0.06)


def test_splines_of_nodes_and_progesterone(five_years):
    X, y = five_years
    nodes, pgr = RestrictedCubicSpline(knots=[0, 1, 9]), RestrictedCubicSpline(knots=[0, 41, 486])
    plain = ["20-50", ">50", "grade3"]
    columns = [("plain", "passthrough", plain), ("nodes", nodes, ["nodes"])]
    terms = ColumnTransformer(columns, verbose_feature_names_out=False).set_output(transform="pandas")
    model = CoxPH().fit(terms.fit_transform(X), y)
    assert model.feature_names_in_.tolist() == [*plain, "nodes", "nodes'"]
    # rms stops climbing at a gain of 1e-4, which shows in the last digit.
    np.testing.assert_allclose(model.coef_, [0.3418, 0.5736, 0.3617, 0.3040, -0.8111], atol=1e-4)
    np.testing.assert_allclose(model.standard_errors_, [0.0654, 0.0925, 0.0713, 0.0281, 0.1046], atol=6e-5)
    assert model.tests_["likelihood_ratio"]["statistic"] == pytest.approx(531.00, abs=6e-3)
    assert model.tests_["score"]["statistic"] == pytest.approx(635.29, abs=6e-3)
    # Wald's z of the one term that bends, squared.
    found = model.wald_test(["nodes'"])
    assert np.sqrt(found["statistic"]) == pytest.approx(7.75, abs=6e-3)

    terms = ColumnTransformer([*columns, ("pgr", pgr, ["pgr"])], verbose_feature_names_out=False)
    pipeline = make_pipeline(terms.set_output(transform="pandas"), CoxPH()).fit(X, y)
    model = pipeline[-1]
    expected = [0.3204, 0.5542, 0.3052, 0.3050, -0.8198, -0.0029, 0.0127]
    np.testing.assert_allclose(model.coef_, expected, atol=6e-5)
    errors = [0.0655, 0.0924, 0.0721, 0.0280, 0.1044, 0.0006, 0.0028]
    np.testing.assert_allclose(model.standard_errors_, errors, atol=6e-5)
    assert model.tests_["likelihood_ratio"]["statistic"] == pytest.approx(563.19, abs=0.02)
    assert model.tests_["score"]["statistic"] == pytest.approx(664.84, abs=6e-3)
    z = [np.sqrt(model.wald_test([name])["statistic"]) for name in ("pgr", "pgr'")]
    np.testing.assert_allclose(z, [5.05, 4.45], atol=6e-3)
    # Somers' D that rms prints is 2 C - 1.
    assert 2 * model.concordance_[0] - 1 == pytest.approx(0.377, abs=6e-4)
    np.testing.assert_allclose(pipeline.predict(X), model.predict(terms.transform(X)))


def test_all_predictors(table):
    either = np.maximum(table.recur, table.death) == 1
    X = pd.DataFrame({"age": table.age, "meno": table.meno, "20-50": table["size"] == "20-50",
                      ">50": table["size"] == ">50", "grade": table.grade, "nodes": table.nodes, "pgr": table.pgr,
                      "er": table.er, "hormon": table.hormon, "chemo": table.chemo})  # fmt: skip
    model = CoxPH().fit(X.astype(float), outcome(either, np.where(table.recur == 1, table.rtime, table.dtime)))
    assert (model.n_fitted_, model.n_events_) == (2982, 1713)
    expected = [3.209e-03, 4.724e-02, 3.582e-01, 6.483e-01, 3.236e-01, 7.416e-02, -1.044e-04, -1.611e-05, -1.319e-01,
                -8.705e-02]  # fmt: skip
    np.testing.assert_allclose(model.coef_, expected, rtol=5e-4)
    errors = [3.283e-03, 8.534e-02, 5.469e-02, 8.229e-02, 6.030e-02, 4.428e-03, 9.695e-05, 9.300e-05, 7.763e-02,
              6.971e-02]  # fmt: skip
    np.testing.assert_allclose(model.standard_errors_, errors, rtol=2e-4)
