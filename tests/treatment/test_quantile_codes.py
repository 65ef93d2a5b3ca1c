import numpy as np

from aimed.treatment.base_learners import effect_model, fit_model, predict_mean
from aimed.treatment.quantile_codes import QuantileCodes


def test_codes_keep_the_order_and_are_few():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=3000), rng.integers(0, 3, 3000), np.full(3000, 2.0)])
    codes = QuantileCodes().fit_transform(X)
    order = np.argsort(X[:, 0])
    assert (np.diff(codes[order, 0]) >= 0).all()
    assert np.unique(codes[:, 0]).size == 254
    counts = np.bincount(codes[:, 0].astype(int))
    assert counts.max() <= 2 * counts.min()
    assert np.array_equal(codes[:, 1], X[:, 1])
    assert (codes[:, 2] == 0).all()


def test_new_values_go_to_the_nearest_side():
    learned = QuantileCodes().fit(np.array([[0.0], [1.0], [10.0]]))
    assert learned.transform([[-5.0], [0.4], [0.6], [99.0]]).ravel().tolist() == [0, 0, 1, 2]


def test_boosting_with_weights_gives_the_effects_it_gives_without_codes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    y, w = np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=3000), rng.uniform(0.2, 2, 3000)
    ours = predict_mean(fit_model(effect_model("gradient_boosting", 0), X, y, w), X)
    plain = effect_model("gradient_boosting", 0).fit(X, y, w).predict(X)
    assert np.sqrt(np.mean((ours - plain) ** 2)) < 0.03
