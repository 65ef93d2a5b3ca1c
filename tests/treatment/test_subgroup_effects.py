"""Subgroup effects: levels against trials of their rows, the interaction test's level, power and clustering."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from aimed.core.errors import DataError
from aimed.treatment.rates import event_rates
from aimed.treatment.subgroup_effects import subgroup_effects


def trial(n, seed, gain=(0.15, 0.15)):
    rng = np.random.default_rng(seed)
    T, sex = rng.integers(0, 2, n), rng.integers(0, 2, n)
    Y = (rng.random(n) < 0.45 - np.where(sex == 1, *gain[::-1]) * T).astype(float)
    return Y, T, np.where(sex == 1, "male", "female")


def test_each_level_is_the_trial_of_its_rows():
    Y, T, sex = trial(600, 1)
    found = subgroup_effects(Y, T, {"sex": sex})
    for group in found["sex"].subgroups:
        rows = sex == group.level
        alone = event_rates(Y[rows], T[rows])
        assert float(group.effect.difference) == float(alone.difference)
        assert group.effect.difference.lower == alone.difference.lower
        assert group.effect.ratio.upper == alone.ratio.upper
    assert float(found.overall.difference) == float(event_rates(Y, T).difference)


def test_two_levels_are_the_z_test_of_two_differences():
    Y, T, sex = trial(600, 2)
    found = subgroup_effects(Y, T, {"sex": sex})["sex"]
    a, b = (g.effect.difference for g in found.subgroups)
    z = (a - b) / math.hypot(a.se, b.se)
    assert found.statistic == pytest.approx(z * z)
    assert found.df == 1
    v, n = np.array([a.se, b.se]) ** 2, np.array([g.effect.n for g in found.subgroups])
    welch = v.sum() ** 2 / (v**2 / (n - 1)).sum()
    assert found.p == pytest.approx(2 * stats.t.sf(abs(z), welch))


def test_a_real_difference_is_found_and_said():
    Y, T, sex = trial(3000, 3, gain=(0.0, 0.25))
    found = subgroup_effects(Y, T, {"sex": (sex, "sex", ["male", "female"])})
    assert found.evidence == ("sex",)
    assert found["sex"].sentence.startswith("The effect differs by sex")
    assert [g.level for g in found["sex"].subgroups] == ["male", "female"]
    assert "moderate to high" in found["sex"].credibility
    assert "low:" in subgroup_effects(Y, T, {"sex": sex}, prespecified=False)["sex"].credibility


def test_one_risk_ratio_at_two_baseline_risks():
    rng = np.random.default_rng(11)
    T, old = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
    Y = (rng.random(4000) < np.where(old == 1, 0.5, 0.15) * (1 - 0.4 * T)).astype(float)
    found = subgroup_effects(Y, T, {"old": old})["old"]
    assert found.p < 0.001
    logs = [(math.log(g.effect.ratio), g.effect.ratio.se / g.effect.ratio) for g in found.subgroups]
    z = (logs[0][0] - logs[1][0]) / math.hypot(logs[0][1], logs[1][1])
    # Welch's t of some 4,000 degrees of freedom.
    assert found.p_ratio == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-3)
    assert found.p_ratio > 0.05
    assert "Risk ratios may be the same" in found.sentence


def test_level_of_the_test():
    rejected = {2: 0, 4: 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        T = rng.integers(0, 2, 400)
        Y = (rng.random(400) < 0.5 - 0.15 * T).astype(float)
        for k in rejected:
            rejected[k] += subgroup_effects(Y, T, {"x": rng.integers(0, k, 400)}, min_events=10)["x"].p < 0.05
    assert all(5 <= count <= 27 for count in rejected.values()), rejected


def test_level_of_the_test_with_repeating_patients():
    rejected = naive = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(80), 4)
        T, x = rng.integers(0, 2, 80)[who], rng.integers(0, 2, 80)[who]
        Y = rng.normal(size=80)[who] + 0.3 * rng.normal(size=320) - T
        rejected += subgroup_effects(Y, T, {"x": x}, patient=who)["x"].p < 0.05
        naive += subgroup_effects(Y, T, {"x": x})["x"].p < 0.05
    assert 2 <= rejected <= 20
    assert naive > 40


def test_holm_over_columns():
    Y, T, sex = trial(2000, 4, gain=(0.0, 0.25))
    rng = np.random.default_rng(0)
    found = subgroup_effects(Y, T, {"noise": rng.integers(0, 2, 2000), "sex": sex, "more": rng.integers(0, 3, 2000)})
    assert found["sex"].p_holm == pytest.approx(3 * found["sex"].p)
    assert found["noise"].sentence.startswith("No evidence of a different effect by noise")
    assert "3 columns" in found["sex"].sentence


def test_few_events_are_not_estimable():
    Y, T, _ = trial(400, 5)
    group = np.where(np.arange(400) < 12, "rare", "common")
    found = subgroup_effects(Y, T, {"group": group})["group"]
    rare = next(g for g in found.subgroups if g.level == "rare")
    assert math.isnan(rare.effect.difference)
    assert "fewer than 20" in rare.effect.difference.note
    assert math.isnan(found.p)
    assert "not estimable" in found.sentence
    assert subgroup_effects(Y, T, {"group": group}).to_dict()["columns"][0]["p"] is None


def test_a_level_without_an_arm():
    Y, T, _ = trial(400, 6)
    group = np.where(T == 1, np.where(np.arange(400) % 2 == 0, "a", "b"), "a")
    found = subgroup_effects(Y, T, {"group": group}, min_events=5)["group"]
    assert "no control row" in found.subgroups[1].effect.difference.note


def test_missing_labels_are_shown_and_not_tested():
    Y, T, sex = trial(900, 7)
    with_gaps = np.where(np.arange(900) % 9 == 0, None, sex.astype(object))
    found = subgroup_effects(Y, T, {"sex": with_gaps}, min_events=10)["sex"]
    assert [g.level for g in found.subgroups] == ["female", "male", "missing"]
    assert found.df == 1
    numbers = np.where(np.arange(900) % 9 == 0, np.nan, (np.arange(900) % 3) * 5.0)
    assert [g.level for g in subgroup_effects(Y, T, {"dose": numbers}, min_events=5)["dose"].subgroups] == [
        "0",
        "5",
        "10",
        "missing",
    ]


def test_scores_and_pseudo_outcomes():
    rng = np.random.default_rng(8)
    n = 1500
    T, x = rng.integers(0, 2, n), rng.integers(0, 2, n)
    Y = rng.exponential(size=n) * 3 - 1 + T * x
    scores = np.where(T == 1, Y, -Y) / 0.5
    seen = rng.random(n) < 0.3
    found = subgroup_effects(Y, T, {"x": x}, scores=scores, events=seen, better="higher")
    assert found["x"].p < 0.05
    assert float(found["x"].subgroups[1].effect.difference) == pytest.approx(scores[x == 1].mean())
    assert found["x"].subgroups[0].effect.ratio is None
    assert "percentage" not in found["x"].sentence


@pytest.mark.parametrize(
    ("columns", "word"),
    [({}, "no subgroup column"), ({"age": np.arange(100)}, "100 levels"), ({"x": np.zeros(3)}, "shape")],
)
def test_refusals(columns, word):
    Y, T, _ = trial(100, 9)
    with pytest.raises(DataError, match=word):
        subgroup_effects(Y, T, columns)


def test_the_test_keeps_its_size_with_small_levels():
    # 4 levels, the smallest of about 12 patients: chi-squared rejects 9 %.
    p = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        T, level = rng.integers(0, 2, 150), rng.choice(["a", "b", "c", "d"], 150, p=[0.62, 0.2, 0.1, 0.08])
        Y = rng.normal(size=150) * (1 + T) + T
        scores = np.where(T == 1, 2.0, -2.0) * (Y - 0.5) + 0.5
        p.append(subgroup_effects(Y, T, {"level": level}, scores=scores, min_events=4)["level"].p)
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.075


def test_welch_is_that_of_the_statistics_books():
    # One-way analysis of the scores themselves, as R's oneway.test(scores ~ level, var.equal = FALSE).
    rng = np.random.default_rng(5)
    level = np.repeat([0, 1, 2], [10, 25, 60])
    scores = rng.normal(size=95) * np.array([3.0, 1.0, 2.0])[level] + 0.4 * level
    found = subgroup_effects(rng.normal(size=95), np.arange(95) % 2, {"level": level}, scores=scores, min_events=5)
    groups = [scores[level == k] for k in range(3)]
    w = np.array([g.size / g.var(ddof=1) for g in groups])
    means = np.array([g.mean() for g in groups])
    centre = (w * means).sum() / w.sum()
    part = ((1 - w / w.sum()) ** 2 / (np.array([10, 25, 60]) - 1)).sum()
    F = (w * (means - centre) ** 2).sum() / 2 / (1 + 2 * 1 / 8 * part)
    assert found["level"].statistic == pytest.approx((w * (means - centre) ** 2).sum())
    assert found["level"].p == pytest.approx(stats.f.sf(F, 2, 8 / (3 * part)))
