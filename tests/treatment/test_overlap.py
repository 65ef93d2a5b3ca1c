"""Overlap: trimming against brute force, sample sizes, and strata with one arm that are counted but never named."""

import json

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.discrimination import auroc
from aimed.treatment.overlap import crump_limit, kish, one_armed, overlap, trimming


def test_crump_limit_minimises_the_variance_bound():
    e = np.random.default_rng(0).beta(0.5, 0.8, 400)
    cost = 1 / (e * (1 - e))
    grid = np.linspace(1e-4, 0.45, 4001)
    bound = [cost[np.minimum(e, 1 - e) >= a].mean() / (np.minimum(e, 1 - e) >= a).mean() for a in grid]
    limit = crump_limit(e)
    kept = np.minimum(e, 1 - e) >= limit - 1e-12
    assert cost[kept].mean() / kept.mean() <= min(bound) * (1 + 1e-12)
    # Crump et al., equation of the optimum: the cost at the limit is at most twice the mean cost of those kept.
    assert 1 / (limit * (1 - limit)) <= 2 * cost[kept].mean() + 1e-9
    outside = ~kept
    assert cost[outside].min() > 2 * cost[kept].mean() * (1 - 0.05)


def test_good_overlap_is_not_trimmed():
    e = np.random.default_rng(0).uniform(0.3, 0.7, 200)
    assert crump_limit(e) == 0
    cut = trimming(e, np.arange(200) % 2)
    assert (cut.n, cut.sentence) == (200, "")


def test_fixed_trimming_keeps_its_limits():
    e, arm = np.array([0.1, 0.9, 0.05, 0.5, 0.5, 0.95, 0.5]), [0, 1, 0, 0, 1, 1, 0]
    cut = trimming(e, arm, 0.1)
    assert cut.kept.tolist() == [True, True, False, True, True, False, True]
    assert (cut.n_treated, cut.n_control) == (2, 3)
    assert "2 of 7 rows (1 treated, 1 control)" in cut.sentence
    assert "not of all" in cut.sentence


def test_trimming_refuses_what_leaves_nobody():
    with pytest.raises(NotEstimableError, match="leaves 0 treated"):
        trimming([0.01, 0.02, 0.98, 0.99, 0.5], [0, 0, 1, 1, 0], 0.2)
    with pytest.raises(NotEstimableError, match="propensity is 0 or 1 in 1 of 4"):
        trimming([0.0, 0.5, 0.5, 0.5], [0, 1, 0, 1], None)
    for rule in (0.5, 0.0, "best", True):
        with pytest.raises(DataError, match="trimming rule"):
            trimming([0.4, 0.5, 0.5, 0.5], [0, 1, 0, 1], rule)


def test_effective_sample_size():
    assert kish([2.0] * 7) == pytest.approx(7)
    assert kish([1, 0, 0]) == 1
    assert kish([0.0]) == 0


def test_a_trial_overlaps_well():
    rng = np.random.default_rng(0)
    found = overlap(rng.integers(0, 2, 500), np.full(500, 0.5))
    assert found.good
    assert float(found.auc) == 0.5
    assert found.effective_treated == pytest.approx(found.n_treated)
    assert found.treated.sum() + found.control.sum() == 500
    assert found.treated[10] == found.n_treated


def test_poor_overlap_is_found(worlds):
    _, T, _, e, *_ = worlds.world(1, n=2000, confounded=4.0)
    found = overlap(T, e)
    assert float(found.auc) == pytest.approx(float(auroc(T, e)))
    assert found.auc.name == "propensity_auc"
    assert found.outside == (np.minimum(e, 1 - e) < 0.05).sum()
    assert found.extreme == (np.minimum(e, 1 - e) < 0.01).sum() > 0
    assert found.crump.n < 2000
    text = " ".join(found.findings)
    assert "trim them" in text
    assert "effective" in text
    assert found.effective_treated < found.n_treated


def test_arms_without_any_overlap_are_called_so():
    found = overlap([0] * 30 + [1] * 30, np.r_[np.linspace(0.0, 0.2, 30), np.linspace(0.8, 1.0, 30)])
    assert "do not overlap at all" in found.findings[0]
    assert found.unsupported == 60
    assert found.impossible == 2
    assert np.isnan(found.effective_treated)
    record = json.loads(json.dumps(found.to_dict()))
    assert record["effective_treated"] is None
    assert record["crump"] is None


def test_overlap_is_json_and_prints(worlds):
    _, T, _, e, *_ = worlds.world(1)
    found = overlap(T, e)
    record = json.loads(json.dumps(found.to_dict()))
    assert sum(record["treated"]) == record["n_treated"] == T.sum()
    assert record["crump"]["rule"] == "crump"
    assert "effective sample size" in str(found)


def test_lone_levels_name_the_column_and_no_value():
    columns = {"site": ["Mayo"] * 4 + ["Basel"] * 4, "sex": [0, 1] * 4, "drug": [None, None, *"abcabc"]}
    arm = [1, 1, 1, 1, 0, 1, 0, 1]
    found = {one.column: one for one in one_armed(columns, arm)}
    assert (found["site"].rows, found["site"].levels, found["site"].n_treated) == (4, 1, 4)
    assert "Mayo" not in found["site"].sentence
    assert "column 'site'" in found["site"].sentence
    assert (found["drug"].levels, found["drug"].rows) == (2, 4)
    assert [one.column for one in one_armed(columns, arm, least=4)] == ["sex", "site"]
    assert any("site" in said for said in overlap(arm, np.full(8, 0.5), columns=columns).findings)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="outside"):
        overlap([0, 1], [0.5, 1.5])
    with pytest.raises(NotEstimableError, match="all 2 rows"):
        overlap([1, 1], [0.5, 0.5])
    with pytest.raises(DataError, match="bins = 0"):
        overlap([0, 1], [0.5, 0.5], bins=0)
    with pytest.raises(DataError, match="column 'x' has shape"):
        one_armed({"x": [1, 2, 3]}, [0, 1])
