"""Accumulated local effects against a loop written from the paper, partial dependence, and hidden small cells."""

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError, Variable
from aimed.explain.effects import accumulated_local_effects, effect_grid, effects, partial_dependence

AGE, BMI = Variable(name="age", unit="year"), Variable(name="bmi")
SEX = Variable(name="sex", kind="category", categories=("f", "m", "x", "never"))


def brute_ale(risk, X, column, edges):
    """Apley and Zhu 2020, equations 15 and 16, one row at a time."""
    steps, counts = [], []
    for k in range(len(edges) - 1):
        gaps = []
        for row in X:
            first = k == 0 and row[column] == edges[0]
            if first or edges[k] < row[column] <= edges[k + 1]:
                low, high = row.copy(), row.copy()
                low[column], high[column] = edges[k], edges[k + 1]
                gaps.append(float(risk(high[None])[0] - risk(low[None])[0]))
        steps.append(np.mean(gaps) if gaps else 0.0)
        counts.append(len(gaps))
    curve = np.r_[0.0, np.cumsum(steps)]
    centre = sum(n * (curve[k] + curve[k + 1]) / 2 for k, n in enumerate(counts)) / sum(counts)
    return curve - centre


def risk(X):
    return 1 / (1 + np.exp(-(0.8 * X[:, 0] * X[:, 1] + X[:, 0] - 0.3)))


@pytest.fixture(name="X")
def sample_of_two():
    rng = np.random.default_rng(3)
    a = rng.normal(size=250)
    return np.column_stack([a, 0.8 * a + 0.6 * rng.normal(size=250)])


def test_ale_equals_the_loop(X):
    edges = np.array([-1.5, -0.7, 0.0, 0.2, 1.4])
    found, lower, upper = accumulated_local_effects(risk, X, 0, edges)
    np.testing.assert_allclose(found, brute_ale(risk, X, 0, edges), atol=1e-12)
    assert (lower <= upper).all()


def test_ale_of_an_additive_model_is_its_shape(X):
    edges = effect_grid(X[:, 0])
    found, lower, upper = accumulated_local_effects(lambda X: X[:, 0] ** 2 + 5 * X[:, 1], X, 0, edges)
    np.testing.assert_allclose(np.diff(found), np.diff(edges**2), atol=1e-12)
    # Each step is the same for all rows, so only the centring moves between draws.
    np.testing.assert_allclose(np.diff(upper - lower), 0, atol=1e-12)


def test_ale_leaves_a_correlated_bystander_flat_where_partial_dependence_would_leave_the_data():
    """y depends on b alone; a follows b. A model that is wrong far from the data shows in PD, not in ALE."""
    rng = np.random.default_rng(0)
    b = rng.normal(size=2000)
    X = np.column_stack([b + 0.05 * rng.normal(size=2000), b])

    def odd(X):
        return X[:, 1] + np.where(np.abs(X[:, 0] - X[:, 1]) > 1.5, 10.0, 0.0)

    grid = effect_grid(X[:, 0])
    ale = accumulated_local_effects(odd, X, 0, grid)[0]
    assert np.ptp(ale) < 1e-9
    assert np.ptp(partial_dependence(odd, X, 0, grid)) > 1


def test_band_covers_new_samples():
    rng = np.random.default_rng(5)
    edges = np.linspace(-1.2, 1.2, 7)

    def sample(n):
        return rng.normal(size=(n, 2))

    truth = accumulated_local_effects(risk, sample(200_000), 0, edges, draws=2)[0]
    hits = []
    for k in range(60):
        _, lower, upper = accumulated_local_effects(risk, sample(200), 0, edges, seed=k)
        hits.append((lower <= truth) & (truth <= upper))
    assert 0.85 < np.mean(hits) <= 1.0


def test_band_draws_patients(X):
    edges = effect_grid(X[:, 0], 5)
    twice = np.repeat(X, 8, axis=0)
    rows = accumulated_local_effects(risk, twice, 0, edges)
    patients = accumulated_local_effects(risk, twice, 0, edges, patient=np.repeat(np.arange(250), 8))
    np.testing.assert_allclose(rows[0], patients[0], atol=1e-12)
    assert (patients[2] - patients[1]).mean() > 2 * (rows[2] - rows[1]).mean()


def test_ale_needs_rising_edges_and_rows_between_them(X):
    with pytest.raises(DataError):
        accumulated_local_effects(risk, X, 0, np.array([0.0, 0.0]))
    with pytest.raises(NotEstimableError):
        accumulated_local_effects(risk, X, 0, np.array([90.0, 91.0]))


@pytest.mark.parametrize("n", [8, 30, 500, 5000])
def test_grid_hides_the_ends(n):
    values = np.random.default_rng(n).normal(size=n)
    grid = effect_grid(values)
    assert grid.size <= 20
    assert (np.diff(grid) > 0).all()
    least = min(5, n // 4)
    slack = np.ptp(grid) / 500
    assert (values <= grid[0] + slack).sum() >= least
    assert (values >= grid[-1] - slack).sum() >= least


def test_grid_of_constant_and_empty_columns():
    assert effect_grid(np.full(9, 3.0)).tolist() == [3.0]
    assert effect_grid(np.array([np.nan])).size == 0


def test_block_has_the_agreed_shape_and_hides_small_cells():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(60, 10, 120), np.r_[np.zeros(80), np.ones(37), 2, 2, 2]])
    X[5, 0] = np.nan
    X[6, 1] = np.nan

    def f(X):
        return np.nan_to_num(X[:, 0], nan=60.0) / 200 + 0.1 * np.nan_to_num(X[:, 1])

    number, category = effects(f, X, [AGE, SEX])
    assert number["label"] == "age (year)"
    assert number["kind"] == "number"
    size = len(number["grid"])
    assert (
        size == len(number["ale"]) == len(number["lower"]) == len(number["upper"]) == len(number["partial_dependence"])
    )
    counts, edges = number["histogram"]["counts"], number["histogram"]["edges"]
    inside = np.histogram(X[np.isfinite(X[:, 0]), 0], edges)[0]
    assert [c for c in counts if c is not None] == [int(c) for c in inside if c == 0 or c >= 5]
    assert any(c is None for c in counts)
    assert category["grid"] == ["f", "m", "x"]
    assert category["ale"] == []
    assert category["histogram"]["counts"] == [79, 37, None]
    for code, value in enumerate(category["partial_dependence"]):
        fixed = X.copy()
        fixed[:, 1] = code
        assert value == pytest.approx(f(fixed).mean())
        assert category["lower"][code] <= value <= category["upper"][code]
    assert "never" not in str(category)


def test_effects_repeat_change_nothing_and_choose_names(X):
    before = X.copy()
    one = effects(risk, X, [AGE, BMI], names=["bmi"], seed=3)
    assert [row["variable"] for row in one] == ["bmi"]
    assert one == effects(risk, X, [AGE, BMI], names=["bmi"], seed=3)
    np.testing.assert_array_equal(X, before)


def test_constant_columns_are_left_out_and_rows_without_risk_too(X):
    X = np.column_stack([X, np.ones(250)])
    assert [row["variable"] for row in effects(risk, X, [AGE, BMI, Variable(name="one")])] == ["age", "bmi"]
    hole = X.copy()
    hole[:40, 1] = np.nan
    assert (
        effects(risk, hole, [AGE, BMI, Variable(name="one")])[0]
        == effects(risk, X[40:], [AGE, BMI, Variable(name="o")])[0]
    )
    with pytest.raises(NotEstimableError):
        effects(risk, np.full((3, 2), np.nan), [AGE, BMI])
