"""The average effect as a noun, the estimators called alike, and known truths of IHDP and ACIC."""

import csv
import json
import warnings

import numpy as np
import pytest

from aimed.core.errors import DataError, UnknownNameError
from aimed.core.evaluation import Measure
from aimed.treatment import AVERAGE
from aimed.treatment.average import CONTRASTS, AverageEffect
from aimed.treatment.doubly_robust import doubly_robust
from aimed.treatment.matching import matching
from aimed.treatment.nuisances import fit_nuisances
from aimed.treatment.standardisation import standardisation
from aimed.treatment.unadjusted import unadjusted
from aimed.treatment.weighting import weighting


@pytest.mark.parametrize("name", list(AVERAGE))
@pytest.mark.parametrize("binary", [False, True])
def test_all_estimators_are_called_alike(worlds, name, binary):
    X, T, Y, *_ = worlds.world(1, binary=binary)
    shared = fit_nuisances(Y, T, X)
    for more in ({}, {"nuisances": shared}, {"patient": np.arange(400) // 2}, {"level": 0.9}):
        found = AVERAGE[name](Y, T, X[:, :2], W=X[:, 2:], propensity=None, **more)
        assert isinstance(found, AverageEffect)
        assert (found.n, found.n_treated + found.n_control) == (400, 400)
        assert found.level == more.get("level", 0.95)
        assert found.difference.lower < found.difference < found.difference.upper
        assert float(found.difference) == float(found.treated) - float(found.control)
        assert found.difference.influence.shape == (400,)
        assert found.difference.influence.sum() == pytest.approx(0, abs=0.03)
        assert str(found).startswith(found.method)


@pytest.mark.parametrize("name", list(AVERAGE))
def test_turning_the_outcome_round_turns_the_effect_round(worlds, name):
    X, T, Y, *_ = worlds.world(2, binary=True)
    one, two = (AVERAGE[name](y, T, X) for y in (Y, 1 - Y))
    # Folds are made within the outcome, so that cross-fitting is not quite the same.
    near = 0.2 * one.difference.se if name == "doubly_robust" else 1e-9
    assert float(one.difference) == pytest.approx(-float(two.difference), abs=near)
    assert float(one.odds_ratio) == pytest.approx(1 / float(two.odds_ratio), rel=10 * near)
    assert one.number_needed("lower").value == pytest.approx(two.number_needed("higher").value, rel=10 * near)


def test_records_are_measures_in_json(worlds):
    X, T, Y, *_ = worlds.world(3, binary=True)
    found = standardisation(Y, T, X)
    records = json.loads(json.dumps(found.records(CONTRASTS)))
    assert list(records) == list(CONTRASTS)
    for name, record in records.items():
        p = record.pop("p")
        assert Measure.from_dict(record).name == name
        assert (p is None) == (name in ("treated", "control"))
    assert records["number_needed"]["note"].startswith("NNT")
    whole = json.loads(json.dumps(found.to_dict(["difference"])))
    assert whole["population"] == "all patients"
    assert list(whole["contrasts"]) == ["difference"]
    with pytest.raises(UnknownNameError, match="did you mean 'ratio'"):
        found.records(["ratoi"])


def test_continuous_outcomes_have_no_odds_and_no_number_needed(worlds):
    X, T, Y, *_ = worlds.world(3)
    records = standardisation(Y, T, X).records(CONTRASTS)
    assert records["odds_ratio"]["value"] is None
    assert records["number_needed"]["value"] is None
    assert "0/1" in records["number_needed"]["note"]
    assert records["ratio"]["value"] is None
    assert "two means above 0" in records["ratio"]["note"]
    json.dumps(records)


def test_direction_is_one_of_two(worlds):
    _, T, Y, *_ = worlds.world(3, binary=True)
    with pytest.raises(DataError, match="neither 'lower' nor 'higher'"):
        unadjusted(Y, T).number_needed("better")


def test_risks_outside_zero_to_one_are_told():
    arm, y = np.array([True, True, False, False]), np.array([1.0, 0.0, 1.0, 0.0])
    psi = np.array([0.1, -0.1, 0.1, -0.1])
    found = AverageEffect.from_means(1.2, psi, 0.5, psi, arm=arm, y=y, method="made up")
    assert "no risk can be" in found.note
    assert np.isnan(found.odds_ratio)


def test_the_ratio_uses_what_the_means_share(worlds):
    X, T, Y, *_ = worlds.world(4, binary=True)
    found = standardisation(Y, T, X)
    m1, m0, V = float(found.treated), float(found.control), found.matrix
    assert V[0, 1] > 0
    assert found.ratio.se / found.ratio == pytest.approx(
        np.sqrt(V[0, 0] / m1**2 + V[1, 1] / m0**2 - 2 * V[0, 1] / (m1 * m0))
    )
    assert found.difference.se == pytest.approx(np.sqrt(V[0, 0] + V[1, 1] - 2 * V[0, 1]))


def ihdp(find, k):
    a = np.loadtxt(find("treatment", "ihdp", f"ihdp_npci_{k}.csv"), delimiter=",")
    return a[:, 5:], a[:, 0], a[:, 1], a[:, 3], a[:, 4]


def acic(find, k):
    with open(find("treatment", "acic2016", "x.csv")) as file:
        names, *rows = csv.reader(file)
    columns = []
    for j in range(len(names)):
        cells = [row[j] for row in rows]
        try:
            columns.append(np.array(cells, dtype=float))
        except ValueError:
            columns += [np.array([c == level for c in cells], dtype=float) for level in sorted(set(cells))[1:]]
    z = np.loadtxt(find("treatment", "acic2016", f"zymu_{k}.csv"), delimiter=",", skiprows=1)
    return np.column_stack(columns), z[:, 0], np.where(z[:, 0] == 1, z[:, 2], z[:, 1]), z[:, 3], z[:, 4]


def test_ihdp_effects_of_all_and_of_the_treated_are_covered(shared_data):
    covered, errors = [], []
    for k in range(1, 6):
        X, T, Y, mu0, mu1 = ihdp(shared_data, k)
        everybody, treated = (mu1 - mu0).mean(), (mu1 - mu0)[T == 1].mean()
        assert round(treated, 6) == 4
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            shared = fit_nuisances(Y, T, X)
        for truth, found in (
            (everybody, standardisation(Y, T, X)),
            (everybody, weighting(Y, T, X)),
            (everybody, doubly_robust(Y, T, nuisances=shared)),
            (everybody, matching(Y, T, X)),
            (treated, standardisation(Y, T, X, target="ATT")),
            (treated, weighting(Y, T, X, target="ATT")),
            (treated, doubly_robust(Y, T, nuisances=shared, target="ATT")),
            (treated, matching(Y, T, X, target="ATT")),
        ):
            covered.append(found.difference.lower <= truth <= found.difference.upper)
            errors.append(abs(found.difference - truth))
    assert np.mean(covered) >= 0.9
    assert np.mean(errors) < 0.2


def test_acic_confounding_is_taken_off(shared_data):
    for k, separated in ((1, True), (2, False), (3, True)):
        X, T, Y, mu0, mu1 = acic(shared_data, k)
        truth = (mu1 - mu0).mean()
        naive = unadjusted(Y, T).difference
        assert not naive.lower <= truth <= naive.upper
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            shared = fit_nuisances(Y, T, X)
        found = [standardisation(Y, T, X), doubly_robust(Y, T, nuisances=shared), matching(Y, T, X, nuisances=shared)]
        if separated:
            with pytest.raises(Exception, match="can tell the two arms apart"):
                weighting(Y, T, X)
        else:
            found.append(weighting(Y, T, X))
        for one in found:
            assert abs(one.difference - truth) < 0.5 * abs(naive - truth)
            assert abs(one.difference - truth) < 3 * one.difference.se
