"""Weighted rows for Fine and Gray's model: the weights of R's finegray, with late entry, and the models they give."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.fine_gray import FineGray
from aimed.prognosis.fine_gray_rows import fine_gray_rows


def outcome(codes, time):
    y = np.empty(len(time), dtype=[("event", np.int64), ("time", float)])
    y["event"], y["time"] = codes, time
    return y


def sample(n=200, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    times = np.column_stack([rng.exponential(20 * np.exp(-0.6 * X[:, 0])), rng.exponential(25, n),
                             rng.exponential(30, n)])  # fmt: skip
    time = times.min(axis=1)
    return X, outcome((times.argmin(axis=1) + 1) % 3, np.ceil(time) if ties else time)


def fit(X, made, ties="breslow", **more):
    return CoxPH(ties=ties).fit(X[made.rows], made.y, entry=made.entry, sample_weight=made.sample_weight, **more)


# The first and the third data set of R's own test of finegray.
TIME = np.array([1, 2, 3, 4, 4, 4, 5, 5, 6, 8, 8, 9, 10, 12])
STATUS = np.array([1, 2, 0, 1, 0, 0, 2, 1, 0, 0, 2, 0, 1, 0])
ENTRY = np.array([0, 0, 0, 3, 2, 0, 0, 1, 0, 7, 5, 0, 0, 0])


def weight_at(made, row, t):
    here = (made.rows == row) & (made.entry < t) & (made.y["time"] >= t)
    assert here.sum() <= 1
    return float(made.sample_weight[here].sum())


def test_the_weights_of_r():
    made = fine_gray_rows(outcome(STATUS, TIME))
    free = np.cumprod([1, 11 / 12, 8 / 10, 5 / 6, 3 / 4, 2 / 3])
    # Weights at the times of the events of type 1 after each event of type 2.
    expected = {(1, 4): free[1], (1, 5): free[2], (1, 10): free[5], (6, 10): 8 / 21, (10, 10): 1 / 2}
    # R gives (4, 12] of row 7 the weight of what is left at 10 over that just before 5: 5/12 in its numbers.
    expected[(6, 10)] = free[5] / free[2]
    for (row, t), weight in expected.items():
        assert weight_at(made, row, t) == pytest.approx(weight), (row, t)
    assert expected[(6, 10)] == pytest.approx(5 / 12)
    plain = STATUS[made.rows] != 2
    assert (made.sample_weight[plain] == 1).all()
    np.testing.assert_array_equal(made.y["time"][plain], TIME[made.rows[plain]])


def geskus(time, status, entry):
    """Return G(t-) H(t-) as a function, by the loops of R's test."""
    tt = np.unique(np.concatenate((time, entry)))
    G_risk = [((time > t) & (status > 0) & (entry < t) | (time >= t) & (status == 0) & (entry < t)).sum() for t in tt]
    G_event = [((time == t) & (status == 0)).sum() for t in tt]
    H_risk = [((time > t) & (entry <= t)).sum() for t in tt]
    H_event = [(entry == t).sum() for t in tt]
    G = np.cumprod(1 - np.array(G_event) / np.maximum(1, G_risk))
    steps = 1 - np.array(H_event) / np.maximum(1, H_risk)
    H = np.array([np.prod(steps[i + 1 :]) for i in range(tt.size)])
    return lambda t: (np.r_[1, G] * np.r_[0, H])[np.searchsorted(tt, t)]


def test_the_weights_of_r_with_late_entry():
    made = fine_gray_rows(outcome(STATUS, TIME), entry=ENTRY)
    stays = geskus(TIME, STATUS, ENTRY)
    for row in np.flatnonzero(STATUS == 2):
        for t in TIME[(STATUS == 1) & (TIME[row] < TIME)]:
            assert weight_at(made, row, t) == pytest.approx(stays(t) / stays(TIME[row])), (row, t)
        assert made.entry[made.rows == row].min() == ENTRY[row]
    y = sample()[1]
    entry = np.floor(y["time"] * np.random.default_rng(1).uniform(0, 0.8, len(y)))
    made, stays = fine_gray_rows(y, entry=entry), geskus(y["time"], y["event"], entry)
    for row in np.flatnonzero(y["event"] == 2)[:20]:
        for t in np.unique(y["time"][(y["event"] == 1) & (y["time"] > y["time"][row])]):
            assert weight_at(made, row, t) == pytest.approx(stays(t) / stays(y["time"][row]))


def test_without_entry_and_strata_it_is_fine_gray():
    X, y = sample(ties=False)
    made, model = fine_gray_rows(y), FineGray().fit(X, y)
    cox = fit(X, made, cluster=made.rows)
    np.testing.assert_allclose(cox.coef_, model.coef_, rtol=1e-8)
    np.testing.assert_allclose(cox.loglik_, model.loglik_, rtol=1e-9)
    # The weights' own part of the errors is small.
    np.testing.assert_allclose(cox.standard_errors_, model.standard_errors_, rtol=0.05)
    times = [2.0, 8.0, 20.0]
    incidence = 1 - cox.predict_survival_function(X[:5], times)
    np.testing.assert_allclose(incidence, model.predict_cumulative_incidence(X[:5], times), rtol=1e-8)
    weight = np.random.default_rng(2).integers(0, 3, len(y)).astype(float)
    weighted, model = fine_gray_rows(y, sample_weight=weight), FineGray().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(fit(X, weighted).coef_, model.coef_, rtol=1e-8)


def test_a_common_entry_before_everything_changes_nothing_and_strata_are_apart():
    X, y = sample()
    plain, late = fine_gray_rows(y), fine_gray_rows(y, entry=np.full(len(y), 0.5))
    np.testing.assert_allclose(late.sample_weight, plain.sample_weight)
    other, z = sample(seed=4)
    z["time"] += 0.25
    both = fine_gray_rows(np.concatenate((y, z)), strata=np.repeat(["a", "b"], 200))
    first = both.rows < 200
    np.testing.assert_allclose(both.sample_weight[first], plain.sample_weight)
    np.testing.assert_allclose(both.sample_weight[~first], fine_gray_rows(z).sample_weight)
    cox = fit(np.vstack((X, other)), both, strata=np.repeat(["a", "b"], 200)[both.rows])
    assert np.isfinite(cox.coef_).all()


@pytest.mark.slow
def test_late_entry_is_no_bias():
    found, naive = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(4000, 1))
        mass = 0.4
        # Fine and Gray's own design: a subdistribution hazard ratio of exp(0.7) for the first cause.
        risk = 1 - (1 - mass) ** np.exp(0.7 * X[:, 0])
        first = rng.random(4000) < risk
        u = rng.random(4000) * risk
        time = np.where(first, -np.log(1 - (1 - (1 - u) ** np.exp(-0.7 * X[:, 0])) / mass), rng.exponential(1, 4000))
        lost, entry = rng.uniform(0.5, 3, 4000), rng.uniform(-1, 0.8, 4000).clip(0)
        y = outcome(np.where(lost < time, 0, np.where(first, 1, 2)), np.minimum(time, lost))
        seen = y["time"] > entry
        made = fine_gray_rows(y[seen], entry=entry[seen])
        found.append(fit(X[seen], made).coef_[0])
        naive.append(FineGray().fit(X[seen], y[seen]).coef_[0])
    error = np.std(found) / np.sqrt(40)
    assert abs(np.mean(found) - 0.7) < 3 * error
    assert abs(np.mean(naive) - 0.7) > abs(np.mean(found) - 0.7)


def test_what_is_refused():
    y = outcome(STATUS, TIME)
    with pytest.raises(DataError, match="rows enter at or after"):
        fine_gray_rows(y, entry=TIME)
    with pytest.raises(NotEstimableError, match="cause 3"):
        fine_gray_rows(y, cause=3, causes=3)
    gap = outcome([1, 2, 1, 2, 0], [1.0, 2.0, 7.0, 8.0, 9.0])
    with pytest.raises(NotEstimableError, match="nobody is at risk"):
        fine_gray_rows(gap, entry=[0.0, 0.0, 5.0, 5.0, 5.0])
