"""Permutation importance against its definition, and intervals that hold both kinds of noise."""

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError, Variable
from aimed.explain.permutation import permutation_importance


def variables(*names):
    return [Variable(name=name) for name in names]


def auc(y, score):
    """Share of event/non-event pairs ranked rightly."""
    gap = score[y == 1][:, None] - score[y == 0][None, :]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


def auc_metric(y):
    def metric(score, rows):
        if len(np.unique(y[rows])) < 2:
            raise NotEstimableError("one class")
        return auc(y[rows], score)

    return metric


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 3))
    y = (rng.random(300) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
    return X, y


def predict(X):
    return 2 * X[:, 0] + 0.3 * X[:, 1]


def test_course_toy():
    """C3W3: a perfect feature is worth one half in AUROC, noise nothing."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 500)
    X = np.column_stack([y.astype(float), rng.normal(size=1000)])
    rows = permutation_importance(lambda X: X[:, 0], X, auc_metric(y), variables("a", "b"), repeats=100, draws=20)
    assert 0.49 < rows[0]["value"] < 0.51
    assert rows[1]["value"] == rows[1]["lower"] == rows[1]["upper"] == 0.0


def test_value_is_the_mean_over_all_permutations_in_the_limit():
    """Four rows: all 24 orders can be written out."""
    from itertools import permutations

    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 1.0, 2.5, 2.0])

    def metric(score, rows):
        return -float(np.mean((score - y[rows]) ** 2))

    exact = metric(X[:, 0], np.arange(4)) - np.mean(
        [metric(X[list(o), 0], np.arange(4)) for o in permutations(range(4))]
    )
    found = permutation_importance(lambda X: X[:, 0], X, metric, variables("a"), repeats=20_000, draws=2)[0]["value"]
    assert found == pytest.approx(exact, abs=0.03)


def test_interval_covers_sampling_of_patients(data):
    X, y = data
    row = permutation_importance(predict, X, auc_metric(y), variables("a", "b", "c"), repeats=10)[0]
    fresh = []
    rng = np.random.default_rng(9)
    for _ in range(60):
        Z = rng.normal(size=(300, 3))
        t = (rng.random(300) < 1 / (1 + np.exp(-2 * Z[:, 0]))).astype(int)
        order = rng.permutation(300)
        W = Z.copy()
        W[:, 0] = Z[order, 0]
        fresh.append(auc(t, predict(Z)) - auc(t, predict(W)))
    spread = 3.92 * np.std(fresh)
    assert row["lower"] < row["value"] < row["upper"]
    assert 0.5 * spread < row["upper"] - row["lower"] < 1.5 * spread


def test_interval_widens_when_rows_belong_to_few_patients(data):
    X, y = data
    patient = np.repeat(np.arange(15), 20)
    big = np.argsort(X[:, 0])  # neighbours in risk share a patient, so patients differ a lot
    rows = permutation_importance(predict, X[big], auc_metric(y[big]), variables("a", "b", "c"), repeats=5)
    clustered = permutation_importance(
        predict, X[big], auc_metric(y[big]), variables("a", "b", "c"), repeats=5, patient=patient
    )
    assert clustered[0]["value"] == rows[0]["value"]
    assert clustered[0]["upper"] - clustered[0]["lower"] > 1.5 * (rows[0]["upper"] - rows[0]["lower"])


def test_repeats_bit_for_bit_and_does_not_depend_on_other_variables(data):
    X, y = data
    before = X.copy()
    one = permutation_importance(predict, X, auc_metric(y), variables("a", "b", "c"), repeats=3, draws=30, seed=4)
    two = permutation_importance(predict, X, auc_metric(y), variables("a", "b", "c"), repeats=3, draws=30, seed=4)
    assert one == two
    np.testing.assert_array_equal(X, before)
    assert one != permutation_importance(
        predict, X, auc_metric(y), variables("a", "b", "c"), repeats=3, draws=30, seed=5
    )


def test_lower_is_better_turns_the_sign(data):
    X, y = data

    def loss(score, rows):
        return 1 - auc(y[rows], score)

    up = permutation_importance(predict, X, auc_metric(y), variables("a", "b", "c"), repeats=3, draws=30)
    down = permutation_importance(
        predict, X, loss, variables("a", "b", "c"), repeats=3, draws=30, higher_is_better=False
    )
    assert [r["value"] for r in up] == pytest.approx([r["value"] for r in down])


def test_groups_of_columns_are_shuffled_together(data):
    X, y = data
    twin = np.column_stack([X[:, 0], X[:, 0], X[:, 1]])

    def f(X):
        return X[:, 0] + X[:, 1]

    rows = permutation_importance(
        f, twin, auc_metric(y), variables("a", "b"), groups=[[0, 1], [2]], repeats=5, draws=20
    )
    alone = permutation_importance(f, twin, auc_metric(y), variables("a", "aa", "b"), repeats=5, draws=20)
    assert rows[0]["value"] > 1.5 * alone[0]["value"]
    with pytest.raises(DataError, match="2 groups of columns and 1 variables"):
        permutation_importance(f, twin, auc_metric(y), variables("a"), groups=[[0, 1], [2]])


def test_missing_values_and_codes_are_shuffled_as_they_are(data):
    X, y = data
    X = X.copy()
    X[::3, 0] = np.nan
    X[:, 2] = np.arange(300) % 4
    seen = []

    def f(X):
        seen.append(np.sort(X[:, 0]))
        return np.where(np.isnan(X[:, 0]), 0.0, X[:, 0]) + 0.1 * X[:, 2]

    permutation_importance(f, X, auc_metric(y), variables("a", "b", "c"), repeats=2, draws=5)
    for values in seen:
        np.testing.assert_array_equal(values, np.sort(X[:, 0]))


def test_rows_without_a_prediction_are_left_out(data):
    X, y = data
    X = X.copy()
    X[:50, 1] = np.nan
    whole = permutation_importance(predict, X[50:], auc_metric(y[50:]), variables("a", "b", "c"), repeats=3, draws=20)
    assert permutation_importance(predict, X, auc_metric(y), variables("a", "b", "c"), repeats=3, draws=20) == whole
    with pytest.raises(NotEstimableError, match="no row has a prediction"):
        permutation_importance(predict, X[:50], auc_metric(y), variables("a", "b", "c"))


def test_no_interval_when_resamples_often_lack_a_class():
    X = np.arange(12.0)[:, None]
    y = np.array([0] * 11 + [1])
    row = permutation_importance(lambda X: X[:, 0], X, auc_metric(y), variables("a"), repeats=3)[0]
    assert row["value"] is not None
    assert row["lower"] is None
    assert row["upper"] is None
