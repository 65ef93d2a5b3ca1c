"""The nomogram: what is read from it is the model's own risk, within the error it states, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from aimed.core import DataError, Variable
from aimed.explain.nomogram import nomogram, read_nomogram

WARD = Variable(name="ward", kind="category", categories=("medical", "surgical", "other"), label="Ward")
VARIABLES = (
    Variable(name="age", label="Age", unit="years", plausible=(18.0, 110.0)),
    Variable(name="bmi", label="Body mass index"),
    Variable(name="chf", label="Heart failure"),
    WARD,
)


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [rng.normal(65, 12, n).clip(20, 105), rng.normal(27, 5, n), rng.random(n) < 0.3, rng.integers(0, 3, n)]
    ).astype(float)


def score(X):
    ward = np.choose(np.nan_to_num(X[:, 3]).astype(int), [0.0, 0.5, -0.8])
    return 0.05 * X[:, 0] + 0.01 * (X[:, 1] - 28) ** 2 + 0.7 * X[:, 2] + ward - 4.5


def risk_at(sums):
    return np.column_stack([expit(sums), expit(sums + 0.7)])


def made(**changes):
    options = {"score": score, "risk_at": risk_at, "risk": lambda X: risk_at(score(X)), "X": rows(),
               "variables": VARIABLES, "horizons": (365.0, 1095.0)} | changes  # fmt: skip
    return nomogram(**options)


def test_a_reading_is_the_risk_of_the_model_within_the_stated_error():
    found = made()
    new = rows(5000, seed=9)
    total, read = read_nomogram(found, new, VARIABLES)
    inside = np.isfinite(total)
    assert inside.mean() > 0.9
    away = np.abs(read[inside] - risk_at(score(new[inside]))).max(axis=0)
    assert (away <= found["error"]["bound"]).all()
    # The bound is no idle one: some reading comes near to half of it.
    assert (away > 0.3 * np.asarray(found["error"]["bound"])).all()
    own = rows()
    known = np.isfinite(read_nomogram(found, own, VARIABLES)[0])
    seen = np.abs(read_nomogram(found, own, VARIABLES)[1][known] - risk_at(score(own[known])))
    np.testing.assert_allclose(found["error"]["largest"], seen.max(axis=0), atol=1e-12)
    np.testing.assert_allclose(found["error"]["mean"], seen.mean(axis=0), atol=1e-12)
    assert found["error"]["rows"] == known.sum()
    assert found["error"]["outside"] == pytest.approx(1 - known.mean())


def test_points_are_the_sum_of_the_model_on_another_scale():
    found = made()
    points = {a["variable"]: dict(zip(a["values"], a["points"], strict=True)) for a in found["predictors"]}
    per = (points["age"][80.0] - points["age"][60.0]) / 20 / 0.05
    assert points["chf"][1.0] - points["chf"][0.0] == pytest.approx(0.7 * per, abs=0.002)
    assert points["ward"]["surgical"] - points["ward"]["other"] == pytest.approx(1.3 * per, abs=0.002)
    assert max(max(a["points"]) for a in found["predictors"]) == 100
    assert all(min(a["points"]) == 0 for a in found["predictors"])
    assert [max(a["points"]) for a in found["predictors"]] == sorted(
        (max(a["points"]) for a in found["predictors"]), reverse=True
    )


def test_axes_run_over_the_middle_of_the_rows_to_round_ticks():
    X = rows()
    age = next(a for a in made(X=X)["predictors"] if a["variable"] == "age")
    ticks = [age["values"][k] for k in age["ticks"]]
    assert ticks == sorted(ticks)
    assert all(t % 10 == 0 for t in ticks)
    assert ticks[0] <= np.quantile(X[:, 0], 0.01)
    assert ticks[-1] >= np.quantile(X[:, 0], 0.99)
    assert X[:, 0].min() not in age["values"]
    # Nobody is drawn at an age that the study file calls implausible, however many rows lie near it.
    X[:300, 0] = 18.5
    axis = next(a for a in made(X=X)["predictors"] if a["variable"] == "age")
    assert min(axis["values"]) >= 18


def test_a_rare_code_of_a_number_is_no_mark_and_its_rows_are_outside():
    X = rows()
    X[:3, 2] = 2.0
    found = made(X=X)
    chf = next(a for a in found["predictors"] if a["variable"] == "chf")
    assert chf["values"] == [0.0, 1.0]
    assert np.isnan(read_nomogram(found, X[:3], VARIABLES)[1]).all()


def test_predictors_without_weight_are_named_and_not_drawn():
    found = made(score=lambda X: 0.05 * X[:, 0] - 4, risk=lambda X: risk_at(0.05 * X[:, 0] - 4))
    assert [a["variable"] for a in found["predictors"]] == ["age"]
    assert set(found["without"]) == {"Body mass index", "Heart failure", "Ward"}
    assert made(score=lambda X: np.zeros(len(X)))["reason"] == "no predictor has weight in the model"


def test_missing_values_are_read_by_nobody_and_do_not_stop_the_rest():
    X = rows()
    X[:200, 1] = np.nan
    found = made(X=X)
    assert found["reason"] is None
    total, risk = read_nomogram(found, X[:5], VARIABLES)
    assert np.isnan(total).all()
    assert np.isnan(risk).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": lambda X: score(X) + 0.02 * X[:, 0] * X[:, 2]}, "do not simply add up"),
        ({"risk": lambda X: risk_at(score(X) + 0.1 * X[:, 2])}, "does not follow from one sum"),
        ({"most": 3}, "4 predictors have weight, and more than 3"),
        (
            {"risk_at": lambda s: expit(-s), "risk": lambda X: expit(-score(X)), "horizons": None},
            "does not rise with the sum",
        ),
    ],
)
def test_a_model_that_cannot_be_read_by_hand_has_none_and_says_why(change, reason):
    found = made(**change)
    assert reason in found["reason"]
    assert found["predictors"] == []
    with pytest.raises(DataError, match="no nomogram to read"):
        read_nomogram(found, rows(), VARIABLES)


def test_many_levels_have_no_axis():
    site = Variable(name="site", kind="category", categories=tuple(f"site {k}" for k in range(20)))
    X = np.arange(400.0)[:, None] % 20
    found = nomogram(lambda X: X[:, 0], expit, lambda X: expit(X[:, 0]), X, [site])
    assert "site has 20 levels" in found["reason"]


def test_the_typical_patient_is_read_from_it():
    found = made()
    typical = found["typical"]
    assert typical["total"] == sum(typical["points"])
    at = [r["risk"][int(typical["total"])] for r in found["risks"]]
    assert typical["risk"] == at
    values = dict(zip([a["variable"] for a in found["predictors"]], typical["values"], strict=True))
    assert values["age"] == pytest.approx(np.median(rows()[:, 0]), abs=1)
    assert values["chf"] == 0.0
    assert values["ward"] in WARD.categories


def test_repeats_bit_for_bit():
    big = rows(5000)
    assert made(X=big, seed=3) == made(X=big, seed=3)


def test_another_set_of_variables_is_refused():
    with pytest.raises(DataError, match="the nomogram reads"):
        read_nomogram(made(), np.zeros((1, 1)), [Variable(name="other")])
