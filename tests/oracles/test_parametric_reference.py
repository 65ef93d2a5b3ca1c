"""Parametric survival models against R's survreg (survival 3.5-3) and lifelines."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from aimed.prognosis.parametric import AcceleratedFailureTime
from aimed.prognosis.royston_parmar import RoystonParmar

lifelines = pytest.importorskip("lifelines", reason="lifelines carries the data and is the oracle")
NAMES = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]


@pytest.fixture(scope="module")
def rossi():
    table = lifelines.datasets.load_rossi()
    y = np.empty(len(table), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = table.arrest == 1, table.week
    return table, table[NAMES].astype(float), y


@pytest.mark.parametrize(
    ("distribution", "coefficients", "scale", "loglik"),
    [
        (
            "weibull",
            [3.99013479653, .27216335967, .04071379831, -.22480244311, .10655658692, .31127326485, .05882725260,
             -.06581690478],
            .712405334, -679.91656394,
        ),
        (
            "lognormal",
            [4.26766570382, .34284767924, .02720184150, -.36315995894, .26813206195, .46035337474, .05587937616,
             -.06551751014],
            1.294569926, -683.23462528,
        ),
    ],
)  # fmt: skip
def test_survreg(rossi, distribution, coefficients, scale, loglik):
    _, X, y = rossi
    model = AcceleratedFailureTime(distribution).fit(X, y)
    assert model.parameters_[:8] == pytest.approx(coefficients, abs=2e-9)
    assert model.scale_ == pytest.approx(scale, abs=5.1e-10)
    assert model.loglik_[1] == pytest.approx(loglik, abs=5.1e-9)


@pytest.mark.parametrize(
    ("distribution", "fitter", "sign"),
    [
        ("weibull", "WeibullAFTFitter", -1),
        ("lognormal", "LogNormalAFTFitter", 1),
        ("loglogistic", "LogLogisticAFTFitter", -1),
    ],
)
@pytest.mark.parametrize("entry", [False, True])
def test_lifelines(rossi, distribution, fitter, sign, entry):
    table, X, y = rossi
    table = table[[*NAMES, "week", "arrest"]].assign(begin=np.where(table.age > 24, table.week / 2, 0))
    peer = getattr(lifelines, fitter)()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if entry:
            peer.fit(table, "week", "arrest", entry_col="begin")
        else:
            peer.fit(table.drop(columns="begin"), "week", "arrest")
    model = AcceleratedFailureTime(distribution).fit(X, y, entry=table.begin if entry else None)
    assert model.loglik_[1] == pytest.approx(peer.log_likelihood_, abs=1e-3)
    # lifelines may stop a little before the top, never above it.
    assert model.loglik_[1] >= peer.log_likelihood_ - 1e-7
    primary, ancillary = peer._primary_parameter_name, peer._ancillary_parameter_name
    terms = [(primary, "Intercept"), *[(primary, name) for name in NAMES], (ancillary, "Intercept")]
    errors = np.sqrt(np.diag(model.parameters_covariance_))
    for term, value, error in zip(terms, model.parameters_, errors, strict=True):
        found = peer.params_[term] * (sign if term[0] == ancillary else 1)
        assert abs(found - value) < 0.03 * error, term
        assert peer.standard_errors_[term] == pytest.approx(error, rel=5e-3), term
    times = [10.0, 26.0, 52.0]
    want = peer.predict_survival_function(table.iloc[:5], times=times).to_numpy().T
    if not entry:
        np.testing.assert_allclose(model.predict_survival_function(X[:5], times), want, atol=2e-3)


def test_lifelines_interval_censoring(rossi):
    table, X, y = rossi
    upper = np.where(y["event"], y["time"], np.inf)
    lower = np.where(y["event"], np.maximum(y["time"] - 4, 0), y["time"])
    frame = table[NAMES].assign(lower=lower, upper=upper)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = lifelines.WeibullAFTFitter().fit_interval_censoring(
            frame, lower_bound_col="lower", upper_bound_col="upper"
        )
    y = y.copy()
    y["event"], y["time"] = False, lower
    model = AcceleratedFailureTime().fit(X, y, upper=upper)
    assert model.loglik_[1] == pytest.approx(peer.log_likelihood_, abs=1e-4)
    for name, value, error in zip(NAMES, -model.coef_, model.standard_errors_, strict=True):
        assert abs(peer.params_[("lambda_", name)] - value) < 0.02 * error


@pytest.mark.parametrize("knots", [2, 3])
def test_lifelines_spline(rossi, knots):
    table, X, y = rossi
    places = np.percentile(y["time"][y["event"]], np.linspace(5, 95, knots + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = lifelines.CoxPHFitter(baseline_estimation_method="spline", n_baseline_knots=knots)
        peer.fit(table[[*NAMES, "week", "arrest"]], "week", "arrest")
    model = RoystonParmar(knots=places).fit(X, y)
    assert peer.log_likelihood_ - 1e-7 <= model.loglik_[1] <= peer.log_likelihood_ + 1e-3
    for name, value, error in zip(NAMES, model.coef_, model.standard_errors_, strict=True):
        assert abs(peer.params_[("beta_", name)] - value) < 0.03 * error
        assert peer.standard_errors_[("beta_", name)] == pytest.approx(error, rel=5e-3)


@pytest.mark.parametrize(("scale", "loglik"), [("hazard", -679.91656394), ("normal", -683.23462528)])
def test_a_spline_without_inner_knots_is_survreg_s_model(rossi, scale, loglik):
    _, X, y = rossi
    assert RoystonParmar(scale, df=1).fit(X, y).loglik_[1] == pytest.approx(loglik, abs=5.1e-9)
