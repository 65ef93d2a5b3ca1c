"""Balance tables against formulas, after weights, and on raw columns with holes."""

import json

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.treatment.balance import balance
from aimed.treatment.weighting import weighting


def test_standardised_differences_by_hand():
    rng = np.random.default_rng(0)
    age, arm = rng.normal(60, 10, 200), rng.integers(0, 2, 200)
    smoker = (rng.random(200) < 0.3).astype(int)
    found = balance({"age": age, "smoker": smoker}, arm)
    a, b = age[arm == 1], age[arm == 0]
    first, second = found.rows
    assert first.smd == pytest.approx((a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    assert first.variance_ratio == pytest.approx(a.var(ddof=1) / b.var(ddof=1))
    p, q = smoker[arm == 1].mean(), smoker[arm == 0].mean()
    assert second.smd == pytest.approx((p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2))
    assert (second.kind, second.label) == ("share", "smoker")
    assert found.largest() == pytest.approx(max(abs(first.smd), abs(second.smd)))


def test_one_column_has_its_own_smd_for_a_distance():
    rng = np.random.default_rng(1)
    x, arm = rng.normal(size=300), rng.integers(0, 2, 300)
    found = balance(x[:, None], arm)
    assert found.distance == pytest.approx(abs(found.rows[0].smd))
    two = balance(np.column_stack((x, 2 * x + 1)), arm)
    assert two.distance == pytest.approx(found.distance)


def test_weights_move_the_numerator_alone(worlds):
    X, T, Y, *_ = worlds.world(2)
    found = balance(X, T, names=["a", "b", "c"], weights=weighting(Y, T, X, target="ATO").weights)
    assert found.largest() > 0.3
    assert found.largest(weighted=True) < 1e-8
    assert found.unbalanced() == ["a", "b"] or "a" in found.unbalanced()
    assert found.unbalanced(weighted=True) == []
    assert found.effective_treated < found.n_treated
    equal = balance(X, T, weights=np.full(400, 7.0))
    for row in equal.rows:
        assert row.weighted_smd == pytest.approx(row.smd)
        assert row.weighted_variance_ratio == pytest.approx(row.variance_ratio)


def test_missing_values_have_their_own_line():
    values = np.array([1.5, np.nan, 3.0, 4.0, np.nan, np.nan, 2.0, 2.5])
    arm = [1, 1, 1, 1, 0, 0, 0, 0]
    found = balance({"crp": values}, arm)
    seen, absent = found.rows
    assert (seen.n_treated, seen.n_control) == (3, 2)
    assert (absent.kind, absent.label, absent.treated, absent.control) == ("missing", "crp, missing", 0.25, 0.5)


def test_a_column_without_any_value_is_only_missing():
    found = balance({"x": np.full(6, np.nan)}, [0, 1] * 3)
    assert [row.kind for row in found.rows] == ["missing"]
    assert found.rows[0].smd == 0
    assert np.isnan(found.distance)


def test_categories_by_text_and_by_code():
    site = np.array(["b", "a", None, "a", "b", "b"], dtype=object)
    code = np.array([1, 2, 3, 1, 2, 3])
    found = balance({"site": site, "code": code}, [1, 1, 1, 0, 0, 0], categories=["code"])
    labels = [row.label for row in found.rows]
    assert labels == ["site = a", "site = b", "site, missing", "code = 1", "code = 2", "code = 3"]
    assert found.rows[0].treated == 0.5
    plain = balance({"code": code}, [1, 1, 1, 0, 0, 0])
    assert plain.rows[0].kind == "continuous"


def test_all_levels_of_a_category_together():
    level, arm = np.repeat(list("aabbcc"), 10), np.tile([0, 1], 30)
    arm[:6] = 1
    found = balance({"level": level, "two": np.where(level == "a", "x", "y")}, arm)
    assert list(found.overall) == ["level"]
    p, q = (np.array([(level[arm == a] == one).mean() for one in "ab"]) for a in (1, 0))
    S = sum(np.diag(v) - np.outer(v, v) for v in (p, q)) / 2
    assert found.overall["level"] == pytest.approx(np.sqrt((p - q) @ np.linalg.inv(S) @ (p - q)))


def test_what_differs_without_spread_is_infinite_and_what_does_not_is_zero():
    found = balance({"same": [2.0] * 4, "apart": [3.0, 3.0, 2.0, 2.0]}, [1, 1, 0, 0])
    assert found.rows[0].smd == 0
    assert found.rows[1].smd == np.inf


def test_the_table_prints_and_is_json():
    found = balance({"age": [60.0, 70.0, 50.0, 64.0], "sex": ["f", "m", "f", "f"]}, [1, 1, 0, 0], weights=[1, 2, 1, 1])
    text = str(found)
    assert "treated, n = 2" in text
    assert "weighted" in text
    record = json.loads(json.dumps(found.to_dict()))
    assert record["rows"][0]["label"] == "age"
    assert record["rows"][1]["sd_treated"] is None
    assert "CONSORT" in record["note"]


def test_what_is_no_table_is_refused():
    with pytest.raises(NotEstimableError, match="all 3 rows"):
        balance({"x": [1, 2, 3]}, [1, 1, 1])
    with pytest.raises(DataError, match="one value a row"):
        balance({"x": [1, 2]}, [1, 0, 1])
    with pytest.raises(DataError, match="no columns"):
        balance({"x": [1, 2]}, [1, 0], categories=["y"])
    with pytest.raises(DataError, match="60 levels"):
        balance({"id": [f"p{k}" for k in range(60)]}, [0, 1] * 30)
    with pytest.raises(DataError, match="infinite"):
        balance({"x": [np.inf, 1, 2, 3]}, [0, 1, 0, 1])
    with pytest.raises(DataError, match="different names"):
        balance(np.ones((4, 2)), [0, 1, 0, 1], names=["a", "a"])
    with pytest.raises(DataError, match="n rows and p columns"):
        balance([1.0, 2.0], [0, 1])
