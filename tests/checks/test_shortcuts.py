"""Shortcuts: a planted one is found with its size, a useless source is not, and within its levels it does not help."""

import math
from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.shortcut_sources import border_features, info_features, tone_features
from aimed.checks.shortcuts import auroc_within, check_shortcuts, shortcut_auroc, shortcut_aurocs
from aimed.core.errors import DataError, NotEstimableError
from aimed.core.image import ImageInfo
from aimed.metrics.discrimination import auroc


def planted(seed=0, n=1000, strength=0.25, images=2):
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // images
    y = rng.integers(0, 2, n)
    view = np.where(rng.random(n) < 0.5 + strength * (2 * y - 1), "AP", "PA")
    return y, view, patient, rng


def test_a_planted_view_is_found_with_its_auroc():
    y, view, patient, _ = planted()
    found = shortcut_auroc({"view": view}, y, patient, finding="Mass", source="view")
    direct = auroc(y, view == "AP", patient=patient)
    assert found.value == pytest.approx(direct.value, abs=0.01)
    assert found.lower == pytest.approx(direct.lower, abs=0.02)
    assert (found.n, found.patients, found.columns) == (1000, 500, ("view = AP", "view = PA"))
    warn, note = check_shortcuts([found], {"Mass": 0.84})
    assert (warn.severity.value, warn.where, warn.evidence["model"]) == ("WARN", "Mass", 0.84)
    assert note.severity.value == "NOTE"


def test_a_useless_source_is_at_chance_on_average_and_does_not_warn():
    values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y, patient = rng.integers(0, 2, 300), rng.integers(0, 150, 300)
        found = shortcut_auroc(rng.normal(size=(300, 15)), y, patient, seed=seed)
        values.append(found.value)
        assert [f.severity.value for f in check_shortcuts([found])] == ["NOTE"]
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)


def test_what_only_tells_patients_apart_is_no_shortcut():
    values = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 8)
        y = rng.integers(0, 2, 60)[patient]
        found = shortcut_auroc({"device": np.char.add("d", patient.astype(str))}, y, patient)
        values.append(found.value)
        assert [f.severity.value for f in check_shortcuts([found])] == ["NOTE"]
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


def test_missing_values_and_unknown_answers_are_taken():
    y, view, patient, rng = planted()
    column = np.where(view == "AP", rng.normal(size=view.size), np.nan)
    answer = y.astype(float)
    answer[:50], answer[50:100] = np.nan, -1
    found = shortcut_auroc({"kvp": column, "site": [None] * y.size}, answer, patient)
    assert found.lower > 0.6
    assert found.n == 900
    assert found.columns == ("kvp", "kvp squared", "kvp missing")
    assert np.isnan(found.score[:100]).all()
    assert (found.fold[:100] == -1).all()


def test_folds_hold_whole_patients_and_repeat():
    y, view, patient, _ = planted(images=4)
    one, two = (shortcut_auroc({"view": view}, y, patient, seed=3) for _ in range(2))
    assert np.array_equal(one.score, two.score)
    assert all(np.unique(one.fold[patient == p]).size == 1 for p in np.unique(patient))


def test_a_number_counts_with_its_square():
    rng = np.random.default_rng(0)
    age = rng.normal(size=800)
    y = (np.abs(age) + 0.3 * rng.normal(size=800) > 0.7).astype(int)
    assert shortcut_auroc({"age": age}, y).value > 0.85
    assert shortcut_auroc(age[:, None], y).value < 0.6


@pytest.mark.parametrize("cases", [19, 0])
def test_too_few_of_an_answer_are_not_enough_evidence(cases):
    y = np.arange(200) < cases
    found = shortcut_auroc({"x": np.arange(200.0)}, y)
    assert math.isnan(found.value)
    assert "not enough evidence" in found.note
    assert [f.severity.value for f in check_shortcuts([found])] == ["NOTE"]


def test_positives_of_few_patients_are_not_enough_evidence():
    y = np.repeat([1, 0], [40, 160])
    patient = np.r_[np.zeros(40), np.arange(1, 161)]
    assert "not enough evidence" in shortcut_auroc({"x": np.arange(200.0)}, y, patient).note


def test_a_source_that_does_not_vary_is_said_so():
    found = shortcut_auroc({"site": ["A"] * 100}, np.arange(100) % 2)
    assert (math.isnan(found.value), found.note) == (True, "no column varies")


def test_one_warning_a_finding_names_every_source_that_tells_it():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (400, 2))
    some = {"view": 2 * y[:, 0] + rng.normal(size=400), "age": y[:, 0] + rng.normal(size=400)}
    sources = {name: {name: values} for name, values in some.items()}
    found = shortcut_aurocs(sources | {"brightness": {"mean": y[:, 0]}, "all together": some}, y, ["Mass", "Edema"])
    warn, note = check_shortcuts(found)
    assert (warn.where, warn.evidence["source"], set(warn.evidence["also"])) == (
        "Mass",
        "view",
        {"age", "all together"},
    )
    assert "also from age (" in warn.message
    assert "all sources together reach" in warn.message
    assert len(note.evidence["aurocs"]) == 8
    only = [one for one in found if one.source == "all together"]
    assert check_shortcuts(only)[0].message.startswith("'Mass' is told from all sources together with an AUROC of")


def test_a_perfect_shortcut_warns_without_an_interval():
    y = np.arange(100) % 2
    warn, _ = check_shortcuts([shortcut_auroc({"site": np.where(y, "A", "B")}, y, finding="Mass")])
    assert warn.message == "'Mass' is told from metadata alone with an AUROC of 1.00."


@pytest.mark.parametrize(
    ("features", "y"),
    [
        ({}, [0, 1]),
        ({"a": [1, 2], "b": [1]}, [0, 1]),
        (np.zeros(2), [0, 1]),
        ([["a"], ["b"]], [0, 1]),
        ({"a": []}, []),
        ({"a": [1, 2]}, [0, 3]),
        ({"a": [1, 2]}, [0, 1, 1]),
        ({"a": [1, 2]}, ["yes", "no"]),
    ],
)
def test_wrong_input_is_refused(features, y):
    with pytest.raises(DataError):
        shortcut_auroc(features, y)


def test_labels_and_names_must_fit():
    with pytest.raises(DataError):
        shortcut_aurocs({"x": {"x": [1, 2]}}, [[0], [1]], ["Mass", "Edema"])


def test_within_levels_equals_the_plain_pairs():
    rng = np.random.default_rng(0)
    y, score, view = rng.integers(0, 2, 60), rng.integers(0, 9, 60), rng.integers(0, 3, 60)
    pairs = []
    for level in range(3):
        cases, controls = (score[(y == side) & (view == level)] for side in (1, 0))
        above = (cases[:, None] > controls).mean(axis=1) + 0.5 * (cases[:, None] == controls).mean(axis=1)
        pairs += above.tolist()
    assert float(auroc_within(y, score, view)) == pytest.approx(np.mean(pairs))


def test_one_level_is_the_plain_auroc_and_a_level_of_one_answer_is_left_out():
    rng = np.random.default_rng(1)
    y, score = rng.integers(0, 2, 300), rng.normal(size=300)
    one, plain = auroc_within(y, score, ["AP"] * 300), auroc(y, score)
    assert float(one) == pytest.approx(plain.value)
    assert one.se == pytest.approx(plain.se, rel=0.01)
    more = auroc_within(np.r_[y, 1, 1], np.r_[score, 0, 0], ["AP"] * 300 + ["LL", None])
    assert (float(more), more.n) == (pytest.approx(float(one)), 300)
    assert "2 rows" in more.note


def test_the_interval_within_levels_covers():
    # The truth is the same in both levels, so that it is known: P(N(1, 1) > N(0, 1)).
    truth, inside = 0.5 * (1 + math.erf(0.5)), 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 2)
        y, view = rng.integers(0, 2, 60)[patient], rng.integers(0, 2, 120)
        shared = rng.normal(size=60)[patient] * np.sqrt(0.7) + rng.normal(size=120) * np.sqrt(0.3)
        found = auroc_within(y, shared + y + 3 * view, view, patient=patient)
        inside += found.lower <= truth <= found.upper
    assert inside / 300 == pytest.approx(0.95, abs=0.035)


def test_what_only_knows_the_view_is_at_chance_within_it():
    y, view, patient, rng = planted(strength=0.3)
    score = (view == "AP") * 5 + rng.normal(size=y.size)
    assert auroc(y, score).lower > 0.6
    within = auroc_within(y, score, view, patient=patient)
    assert within.lower < 0.5 < within.upper


def test_no_level_with_both_answers_is_not_estimable():
    with pytest.raises(NotEstimableError):
        auroc_within([0, 1], [0.2, 0.4], ["AP", "PA"])


def test_a_level_a_score_is_needed():
    with pytest.raises(DataError):
        auroc_within([0, 1], [0.2, 0.4], ["AP"])


def test_a_letter_in_the_corner_is_a_shortcut_and_a_white_lung_is_none(chests):
    a = chests(0, 200)
    y = np.random.default_rng(0).integers(0, 2, 200)
    marked, ill = a.copy(), a.copy()
    marked[y == 1, 3:12, 100:112] = 250
    ill[y == 1, 50:90, 25:50] += 40
    assert shortcut_auroc(border_features(marked), y).value > 0.95
    clean, sick = (shortcut_auroc(border_features(images), y) for images in (a, ill))
    assert clean.value == sick.value
    assert sick.lower < 0.6
    assert shortcut_auroc(tone_features(ill), y).lower > shortcut_auroc(tone_features(a), y).upper


def test_features_do_not_depend_on_bits_and_leave_bars_out(chests):
    a = chests(1, 5)
    for measure in (border_features, tone_features):
        one, two = measure(a), measure(a.astype(np.uint16) * 257)
        assert all(one[name] == pytest.approx(two[name], abs=0.02) for name in one)
    info = ImageInfo(digest="", format="png", rows=200, columns=100, bits_stored=8, scaling="as_stored")
    frames = np.zeros((1, 128, 128), dtype=np.uint8)
    frames[:, :, 32:96] = 200
    assert border_features(frames, [info])["left mean"][0] == pytest.approx(200 / 255)
    assert border_features(frames)["left mean"][0] == 0


def test_headers_become_columns():
    info = ImageInfo(digest="", format="dicom", rows=200, columns=100, bits_stored=12, scaling="window", kvp=110.0)
    columns = info_features([info, replace(info, kvp=None, view="AP", spacing=(0.2, 0.2))])
    assert columns["view"] == ["", "AP"]
    assert math.isnan(columns["kvp"][1])
    assert columns["spacing"][1] == 0.2


def test_the_view_tells_pneumonia_in_real_chests(cxr_320):
    images, rows = cxr_320
    y = np.array([row["file"].startswith("Pneumonia") for row in rows])
    patient, view = [row["patient_id"] for row in rows], [row["view"] for row in rows]
    sources = {
        "view": {"view": view},
        "view, age and sex": {"view": view, "age": [float(r["age"]) for r in rows], "sex": [r["sex"] for r in rows]},
        "border": border_features(images),
    }
    found = {s.source: s for s in shortcut_aurocs(sources, y[:, None], ["Pneumonia"], patient)}
    # 342 of 500 normals are AP and 275 of 500 pneumonias PA: an AUROC of 0.617 by hand.
    assert found["view"].value == pytest.approx((342 / 500 + 275 / 500) / 2, abs=0.01)
    assert found["view"].lower > 0.55
    assert found["view, age and sex"].lower > 0.58
    assert found["border"].lower > 0.7
    assert found["border"].patients == 682
    within = auroc_within(
        y, found["border"].score, [f"{v} {k}" for v, k in zip(view, found["border"].fold, strict=True)], patient=patient
    )
    assert within.lower > 0.7
