"""What every survival estimator promises, used on its own: its invariances, and how it meets data it cannot use."""

from __future__ import annotations

import inspect
import time as clock
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import AimedError, DataError, NotEstimableError
from aimed.prognosis.cause_specific_cox import CauseSpecificCox
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_path import CoxPath
from aimed.prognosis.discrete_time import DiscreteTimeHazard
from aimed.prognosis.fine_gray import FineGray
from aimed.prognosis.kaplan_meier import KaplanMeierBaseline
from aimed.prognosis.parametric import AcceleratedFailureTime
from aimed.prognosis.royston_parmar import RoystonParmar
from aimed.prognosis.survival_boosting import SurvivalBoosting
from aimed.prognosis.survival_forest import SurvivalForest

NAMES = ["age", "bili", "chol"]
TIMES = np.array([0.0, 0.7, 3.0, 8.0, 25.0, 1e6])


@dataclass(frozen=True)
class Model:
    """One line of the table below: an estimator and what it does not promise.

    Parameters
    ----------
    make : callable
        Returns an unfitted estimator that draws nothing by chance.
    competing : bool
        y holds codes of causes; else an event or none.
    reads : bool
        Looks at X at all.
    unpenalised : bool
        Refuses columns that say nothing new, and coefficients without a maximum.
    weights : bool
        A weight of 2 is the row twice.
    cut : bool
        A row cut in two at some time is the same row.
    steps : str
        The parameter that bounds its steps, if it climbs.
    missing : bool
        Takes NaN in X.
    at_zero : bool
        Takes events at time 0.
    near : float
        How far a curve may move with the unit of time, where its grid has few digits.
    wide : bool
        Takes or refuses 10,000 columns within seconds and little memory.
    """

    make: Callable[[], Any]
    competing: bool = False
    reads: bool = True
    unpenalised: bool = True
    weights: bool = True
    cut: bool = False
    steps: dict[str, Any] = field(default_factory=dict)
    missing: bool = False
    at_zero: bool = True
    near: float = 2e-7
    wide: bool = True


def forest(**more):
    return SurvivalForest(5, bootstrap=False, max_features=None, min_samples_leaf=10, random_state=0, **more)


def boosting():
    return SurvivalBoosting(10, max_features=1.0, random_state=0)


def path():
    return CoxPath(alphas=[0.1, 0.03], ties="breslow", tol=1e-16)


SMOOTH = {"cut": True, "steps": {"max_iter": 1}, "at_zero": False}
BOOSTED = {"unpenalised": False, "missing": True, "weights": False, "near": 3e-3, "wide": False}
MODELS = {
    "kaplan_meier": Model(KaplanMeierBaseline, reads=False, unpenalised=False, weights=False),
    "cox_efron": Model(CoxPH, weights=False, cut=True, steps={"max_iter": 1}),
    "cox_breslow": Model(lambda: CoxPH(ties="breslow"), cut=True, steps={"max_iter": 1}),
    "cox_ridge": Model(lambda: CoxPH(penalty=3.0, ties="breslow"), unpenalised=False, cut=True, steps={"max_iter": 1}),
    "cox_firth": Model(lambda: CoxPH(firth=True, ties="breslow"), unpenalised=False, cut=True, steps={"max_iter": 1}),
    "cox_path": Model(path, unpenalised=False, steps={"max_iter": 1}),
    "weibull": Model(AcceleratedFailureTime, **SMOOTH),
    "lognormal": Model(lambda: AcceleratedFailureTime("lognormal"), **SMOOTH),
    "loglogistic": Model(lambda: AcceleratedFailureTime("loglogistic"), **SMOOTH),
    "royston_parmar": Model(lambda: RoystonParmar(df=2), **SMOOTH),
    "forest_score": Model(forest, unpenalised=False, missing=True),
    "forest_log_rank": Model(lambda: forest(splitter="log-rank"), unpenalised=False, missing=True),
    "forest_competing": Model(forest, competing=True, unpenalised=False, missing=True),
    "fine_gray": Model(FineGray, competing=True, steps={"max_iter": 1}),
    "discrete_hazard": Model(DiscreteTimeHazard, unpenalised=False, near=3e-3),
    "boosting": Model(boosting, **BOOSTED),
    "boosting_competing": Model(boosting, competing=True, **BOOSTED),
    "cause_specific": Model(lambda: CauseSpecificCox(ties="breslow"), competing=True, cut=True),
}


@pytest.fixture(params=list(MODELS))
def line(request):
    return MODELS[request.param]


def outcome(event, time, competing):
    y = np.empty(len(time), dtype=[("event", np.int64 if competing else bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(line, n=160, seed=0):
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n, 3)), 1)
    death, lost = rng.exponential(8 * np.exp(-0.7 * X[:, 0] + 0.3 * X[:, 1])), rng.exponential(15, n)
    event = (death <= lost).astype(np.int64)
    if line.competing:
        event *= 1 + (rng.random(n) < 0.4)
    return X, outcome(event, np.ceil(2 * np.minimum(death, lost)) / 2, line.competing)


def fit(line, X, y, estimator=None, **more):
    estimator = line.make() if estimator is None else estimator
    takes = inspect.signature(estimator.fit).parameters
    if "feature_names" in takes and np.ndim(X) == 2 and np.shape(X)[1] == len(NAMES):
        more["feature_names"] = NAMES
    return estimator.fit(X, y, **more)


def curves(model, X, times=TIMES):
    """Return all curves of a model, falling: survival, and one less the incidence of each cause."""
    parts = []
    if hasattr(model, "predict_survival_function"):
        parts.append(np.asarray(model.predict_survival_function(X, times=times)))
    if hasattr(model, "causes_"):
        parts += [1.0 - model.predict_cumulative_incidence(X, times=times, cause=k) for k in model.causes_]
    elif hasattr(model, "predict_cumulative_incidence"):
        parts.append(1.0 - model.predict_cumulative_incidence(X, times=times))
    return np.stack(parts)


def sound(model, X):
    """Say that nothing the model tells is NaN or infinite."""
    if "coef_" in vars(model):
        assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict(X)).all()
    found = curves(model, X)
    assert ((found >= 0) & (found <= 1)).all()


def attempt_once(line, X, y, estimator=None):
    """Fit and check the model; or return the error, which must be ours."""
    try:
        model = fit(line, X, y, estimator)
    except AimedError as error:
        return error
    sound(model, X if not line.missing else np.nan_to_num(X))
    return None


def attempt(line, X, y):
    """Do so without a word of warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return attempt_once(line, X, y)


def test_curves_start_at_one_and_never_rise(line):
    X, y = sample(line)
    model = fit(line, X, y)
    new = np.vstack([sample(line, seed=9)[0], [[9.0, -9.0, 0.0], [-9.0, 9.0, 0.0]]])
    found = curves(model, new, np.linspace(0, 60, 200))
    assert (found[:, :, 0] == 1).all()
    assert (np.diff(found, axis=2) <= 1e-15).all()
    assert (found >= 0).all()
    if line.competing and hasattr(model, "predict_survival_function"):
        np.testing.assert_allclose(found[0], found[1:].sum(axis=0) - (len(found) - 2), atol=1e-9)


def test_a_weight_is_the_row_so_many_times(line):
    if not line.weights:
        pytest.skip("Efron's ties, leaves that count rows and the baseline do not promise it")
    X, y = sample(line)
    times = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = fit(line, X, y, sample_weight=times.astype(float))
    twice = fit(line, np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(curves(weighted, X), curves(twice, X), atol=2e-7)
    np.testing.assert_allclose(weighted.predict(X), twice.predict(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", [365.25, 1 / 12])
def test_the_unit_of_time_does_not_matter(line, unit):
    X, y = sample(line)
    other = y.copy()
    other["time"] *= unit
    plain, scaled = fit(line, X, y), fit(line, X, other)
    # Halfway between two grid points, where rounding cannot move a step.
    times = np.array([0.25, 1.3, 4.3, 20.3])
    np.testing.assert_allclose(curves(scaled, X, times * unit), curves(plain, X, times), atol=line.near)


def test_ties_and_the_order_of_rows(line):
    X, y = sample(line)
    y["time"] = np.ceil(y["time"] / 2) * 2
    order = np.random.default_rng(2).permutation(len(y))
    first, second = fit(line, X, y), fit(line, X[order], y[order])
    np.testing.assert_allclose(curves(second, X), curves(first, X), atol=1e-9)
    np.testing.assert_allclose(second.predict(X), first.predict(X), rtol=1e-7, atol=1e-8)


def test_a_row_cut_in_two_changes_nothing(line):
    if not line.cut:
        pytest.skip("it takes no late entry, or counts rows or intervals")
    X, y = sample(line)
    rng = np.random.default_rng(3)
    cut = np.round(y["time"] * rng.uniform(0.2, 0.8, len(y)), 3)
    halves = rng.random(len(y)) < 0.6
    early = y[halves]
    early["event"], early["time"] = 0, cut[halves]
    rows = np.concatenate((np.arange(len(y)), np.flatnonzero(halves)))
    entry = np.concatenate((np.where(halves, cut, 0.0), np.zeros(halves.sum())))
    whole = fit(line, X, y)
    parts = fit(line, X[rows], np.concatenate((y, early)), entry=entry)
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), atol=1e-6)
    np.testing.assert_allclose(curves(parts, X), curves(whole, X), atol=1e-6)


def test_the_unit_and_shift_of_a_column_do_not_matter(line):
    if isinstance(line.make(), CoxPH) and line.make().penalty:
        pytest.skip("a ridge penalty is on the scale of the columns")
    X, y = sample(line)
    scale, shift = np.array([1000.0, 1e-4, 7.0]), np.array([5.0, -3e-4, 40.0])
    first, second = fit(line, X, y), fit(line, X * scale + shift, y)
    np.testing.assert_allclose(curves(second, X * scale + shift), curves(first, X), atol=1e-7)


def test_a_fit_forgets_the_fit_before_and_clones_like_scikit_learn(line):
    X, y = sample(line)
    other, z = sample(line, seed=5)
    model = fit(line, other, z)
    again = fit(line, X, y, model)
    assert again is model
    np.testing.assert_array_equal(curves(again, X), curves(fit(line, X, y), X))
    assert clone(model).get_params() == model.get_params()


def test_all_censored(line):
    X, y = sample(line)
    y["event"] = 0
    if not line.reads:
        np.testing.assert_array_equal(curves(fit(line, X, y), X), 1.0)
        return
    with pytest.raises(NotEstimableError, match="no event"):
        fit(line, X, y)


@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_one_event(line, which):
    X, y = sample(line)
    y["event"] = 0
    y["event"][{"first": np.argmin, "middle": lambda t: 7, "last": np.argmax}[which](y["time"])] = 1
    error = attempt(line, X, y)
    assert error is None or isinstance(error, NotEstimableError)


@pytest.mark.parametrize("distinct", [1, 2])
@pytest.mark.parametrize("every", [True, False])
def test_ties_everywhere(line, distinct, every):
    X, y = sample(line)
    y["time"] = 1.0 + np.arange(len(y)) % distinct
    if every:
        y["event"] = 1 + (np.arange(len(y)) % 2 if line.competing else 0)
    error = attempt(line, X, y)
    assert error is None or isinstance(error, NotEstimableError)


def test_a_constant_column_is_named_or_harmless(line):
    X, y = sample(line)
    X[:, 1] = 0.1
    error = attempt(line, X, y)
    if line.unpenalised:
        assert "'bili'" in error.got
    else:
        assert error is None or "'bili'" in error.got


def test_a_collinear_column_is_named_or_harmless(line):
    X, y = sample(line)
    X[:, 2] = 3.0 - 2.0 * X[:, 0] + X[:, 1]
    error = attempt(line, X, y)
    if line.unpenalised:
        assert "'chol'" in error.got
    else:
        assert error is None or "'chol'" in error.got


def test_a_column_that_separates_the_events_is_named_or_shrunk(line):
    X, y = sample(line)
    events = np.flatnonzero(y["event"])
    X[:, 1] = (y["event"] > 0) * (1.0 + 0.01 * np.arange(len(y)))
    # The higher, the earlier: no hazard ratio is large enough.
    X[events[np.argsort(y["time"][events])], 1] = np.linspace(3.0, 1.0, events.size)
    y["time"] = np.where(y["event"] > 0, y["time"], 100.0)
    error = attempt(line, X, y)
    assert error is None or "'bili'" in error.got


def test_times_of_zero(line):
    X, y = sample(line)
    y["time"][:5] = 0.0
    y["event"][:5] = [0, 0, 1, 1, 1]
    error = attempt(line, X, y)
    if line.at_zero:
        assert error is None
    else:
        assert "time 0" in error.got
        assert error.do
        assert error.expected
    y["event"][:5] = 0
    assert attempt(line, X, y) is None


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_negative_missing_and_infinite_times(line, value):
    X, y = sample(line)
    y["time"][3] = value
    with pytest.raises(DataError, match="1 of 160 times are missing, infinite or negative"):
        fit(line, X, y)


def test_entry_after_exit(line):
    X, y = sample(line)
    if "entry" not in inspect.signature(line.make().fit).parameters:
        return
    entry = np.zeros(len(y))
    entry[:4] = y["time"][:4] + np.arange(4)
    with pytest.raises(DataError, match="4 of 160 rows enter at or after their"):
        fit(line, X, y, entry=entry)
    entry[:4] = np.nan
    with pytest.raises(DataError, match="entry"):
        fit(line, X, y, entry=entry)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_name_their_column(line, value):
    X, y = sample(line)
    X[3, 1] = value
    error = attempt(line, X, y)
    if not line.reads or (line.missing and np.isnan(value)):
        assert error is None
        return
    assert isinstance(error, DataError)
    assert "'bili'" in error.got
    model = fit(line, *sample(line))
    with pytest.raises(DataError):
        model.predict(X)


def test_x_and_y_that_do_not_fit(line):
    X, y = sample(line)
    for bad_X, bad_y in ((X[1:], y), (X, y["time"]), (X, y["event"]), (X, np.column_stack([y["event"], y["time"]]))):
        with pytest.raises(DataError):
            fit(line, bad_X, bad_y)
    if line.reads:
        for bad_X in (X[:, 0], np.array([["a", "b", "c"]] * len(y))):
            with pytest.raises(DataError):
                fit(line, bad_X, y)
        with pytest.raises(DataError, match="2 columns"):
            fit(line, X, y).predict(X[:, :2])


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_weights_that_are_none(line, weight):
    X, y = sample(line)
    if "sample_weight" not in inspect.signature(line.make().fit).parameters:
        return
    weights = np.ones(len(y))
    weights[3] = weight
    with pytest.raises(DataError):
        fit(line, X, y, sample_weight=weights)


def test_codes_that_are_not_declared(line):
    if not line.competing:
        return
    X, y = sample(line)
    y["event"][y["event"] == 2] = 9
    with pytest.raises(DataError, match="codes") as caught:
        fit(line, X, y)
    assert caught.value.do
    y["event"][y["event"] == 9] = -1
    with pytest.raises(DataError):
        fit(line, X, y)


def test_no_convergence_is_said(line):
    if not line.steps:
        return
    X, y = sample(line)
    estimator = line.make().set_params(**line.steps)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        error = attempt_once(line, X, y, estimator)
    if error is None:
        assert any("convergence" in str(w.message) for w in said)
        return
    assert "did not converge in 1 steps" in error.got
    assert any(f"'{name}'" in error.got for name in NAMES) or "intercept" in error.got
    assert error.do


@pytest.mark.slow
def test_ten_thousand_indicators(line):
    """Rare levels of 10,000 categories: bounded time and memory, and a message where it cannot be done."""
    if not (line.reads and line.wide):
        pytest.skip("not promised")
    _, y = sample(line, n=300)
    X = np.zeros((300, 10_000))
    X[np.arange(300), np.random.default_rng(0).integers(0, 10_000, 300)] = 1.0
    tracemalloc.start()
    begin = clock.process_time()
    error = attempt(line, X, y)
    spent, most = clock.process_time() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if line.unpenalised:
        assert isinstance(error, NotEstimableError)
        assert "10000 columns" in error.got
        assert error.do
        assert spent < 5
    assert spent < 60
    assert most < 20 * X.nbytes
