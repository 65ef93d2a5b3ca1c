"""The stages of a picture study one by one: who learns, who tunes, what is chosen, calibrated and put beside it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from aimed.core import StudyFileError
from aimed.diagnosis import PICTURE_MODELS
from aimed.metrics.multilabel import multilabel_auroc
from aimed.study import findings, picture_evidence, picture_stages, stages
from aimed.study.flows import flow_of
from aimed.study.groups import asked_of_groups, subgroup_labels
from aimed.study.limits import limitations
from aimed.study.picture_models import picture_recipes_of
from aimed.study.pictures import read_picture_cohort
from aimed.study.run import Study
from aimed.study.simple_model import beside_simple
from aimed.study.spec import load_spec, read_spec


@pytest.fixture(scope="module")
def opened(films, tmp_path_factory):
    """A study that is read and split: its specification, cohort and split."""
    spec = load_spec(films.folder / "study.toml")
    cohort = read_picture_cohort(spec, tmp_path_factory.mktemp("opened"))
    return spec, cohort, stages.draw_split(spec, cohort)


@pytest.fixture(scope="module")
def fitted(opened):
    """What fitting returned for the study."""
    pytest.importorskip("torch", reason="the deep extra is not installed")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return picture_stages.fit(*opened)


def test_who_learns_tunes_and_tests_share_no_patient(opened):
    _, cohort, split = opened
    learns, tunes = picture_stages.tune_part(split)
    test = split.parts["test"]
    np.testing.assert_array_equal(np.sort(np.r_[learns, tunes, test]), np.arange(cohort.n))
    people = [set(cohort.patient[rows]) for rows in (learns, tunes, test)]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    y = picture_stages.labels_of(cohort)
    for rows in (learns, tunes, test):
        assert ((y[rows] == 1).any(axis=0) & (y[rows] == 0).any(axis=0)).all()


def test_fitting_never_sees_the_test_part(opened, fitted):
    """Labels and pictures of the test part may be anything: the weights stay the same, bit for bit."""
    import warnings

    spec, cohort, split = opened
    test = split.parts["test"]
    values = np.array(cohort.outcome.values)
    values[test] = 1 - values[test]
    other = replace(cohort, outcome=replace(cohort.outcome, values=values))
    index = np.array(cohort.assets["images"].index)
    index[test] = index[test][::-1]
    changed = cohort.assets["images"].take(np.arange(cohort.n))
    changed.index = index
    other = replace(other, assets={"images": changed})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        payload, model, out_of_fold = picture_stages.fit(spec, other, split)
    assert payload == fitted[0]
    assert model.classifier.weights() == fitted[1].classifier.weights()
    np.testing.assert_array_equal(out_of_fold, fitted[2])


def test_probabilities_on_the_tune_part_only(opened, fitted):
    _, cohort, split = opened
    payload, _, out_of_fold = fitted
    learns, tunes = picture_stages.tune_part(split)
    assert np.isnan(np.delete(out_of_fold, tunes, axis=0)).all()
    assert np.isfinite(out_of_fold[tunes]).all()
    assert (payload["n_fitted"], payload["n_tune"]) == (learns.size, tunes.size)
    chosen = next(row for row in payload["leaderboard"] if row["chosen"])
    y = picture_stages.labels_of(cohort)[tunes]
    own = multilabel_auroc(y, out_of_fold[tunes], patient=cohort.patient[tunes])
    assert chosen["mean"] == float(own.macro)
    assert payload["parameters"]["architecture_options"] == {"widths": [4, 8]}
    by_name = {row["name"]: row for row in payload["leaderboard"]}
    assert by_name["prevalence"]["mean"] == 0.5
    assert 0 <= by_name["acquisition"]["mean"] <= 1


def score(auroc, y, seed):
    """Return an estimate of a candidate whose risks rank about as well as asked."""
    rng = np.random.default_rng(seed)
    shift = 4 * (auroc - 0.5)
    return multilabel_auroc(y, rng.normal(size=y.shape) + shift * y, patient=np.arange(len(y)))


@pytest.mark.parametrize(("simple", "chosen"), [(0.77, "linear_probe"), (0.5, "small_cnn")])
def test_the_simplest_within_one_error_is_chosen(simple, chosen):
    rng = np.random.default_rng(5)
    y = (rng.random((120, 2)) < 0.4).astype(float)
    pair = [
        SimpleNamespace(recipe=PICTURE_MODELS["small_cnn"], score=score(0.76, y, 1)),
        SimpleNamespace(recipe=PICTURE_MODELS["linear_probe"], score=score(simple, y, 2)),
    ]
    for order in (pair, pair[::-1]):
        one, why = picture_stages._choose(order, y, np.arange(len(y)))
        assert one.recipe.name == chosen
        assert ("one standard error" in why) == (chosen == "linear_probe")


@pytest.mark.parametrize("kind", ["both", "no positive", "no negative", "unknown"])
def test_calibration_when_a_finding_has_one_kind_in_the_tune_part(opened, fitted, kind):
    spec, cohort, split = opened
    _, tunes = picture_stages.tune_part(split)
    values = np.array(cohort.outcome.values)
    if kind != "both":
        values[tunes, 0] = {"no positive": 0.0, "no negative": 1.0, "unknown": np.nan}[kind]
    other = replace(cohort, outcome=replace(cohort.outcome, values=values))
    payload, model = picture_stages.calibrate(spec, other, split, fitted[1], fitted[2])
    found = payload["calibration"]["findings"]
    assert set(found) == {"effusion", "lung_mass"}
    limits = [payload["threshold"]["findings"][key]["value"] for key in ("effusion", "lung_mass")]
    np.testing.assert_array_equal(model.thresholds, limits)
    assert all(0 < value < 1 for value in limits)
    if kind != "both":
        assert found["effusion"]["method"] == "none"
        assert found["effusion"]["sentence"].startswith("Left as it is")
    risk = model.calibrated(fitted[2][tunes])
    assert np.isfinite(risk).all()
    assert ((risk >= 0) & (risk <= 1)).all()


def test_a_named_threshold_is_that_of_every_finding(opened, fitted):
    spec, cohort, split = opened
    named = spec.model_copy(update={"evaluate": spec.evaluate.model_copy(update={"threshold": 0.2})})
    payload, model = picture_stages.calibrate(named, cohort, split, fitted[1], fitted[2])
    assert model.thresholds.tolist() == [0.2, 0.2]
    assert payload["threshold"]["value"] == 0.2


@pytest.mark.parametrize("seed", range(5))
def test_the_youden_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random(60) < 0.4).astype(float)
    risk = np.clip(np.round(0.3 * y + 0.6 * rng.random(60), 2), 0.01, 0.99)

    def index(limit):
        return float((risk[y == 1] >= limit).mean() + (risk[y == 0] < limit).mean())

    best = max(index(limit) for limit in np.unique(risk))
    assert index(findings.youden_threshold(y, risk)) == pytest.approx(best)


@pytest.mark.parametrize(("y", "expected"), [([0.0, 0.0], 0.01), ([1.0, 1.0], 0.99), ([], 0.5)])
def test_the_youden_threshold_without_both_kinds(y, expected):
    assert findings.youden_threshold(np.array(y), np.full(len(y), 0.3)) == expected


def test_baselines_learn_from_those_who_learn(opened):
    spec, cohort, split = opened
    learns, tunes = picture_stages.tune_part(split)
    y = picture_stages.labels_of(cohort)
    sources = picture_stages.acquisition_sources(spec, cohort)
    assert {"age", "sex", "borders"} <= set(sources)
    risk = picture_stages.baseline_risk(spec, cohort, sources, "prevalence", learns, tunes)
    np.testing.assert_allclose(risk, np.broadcast_to(y[learns].mean(axis=0), risk.shape))
    first = picture_stages.baseline_risk(spec, cohort, sources, "acquisition", learns, tunes)
    values = np.array(cohort.outcome.values)
    values[tunes] = np.nan
    blind = replace(cohort, outcome=replace(cohort.outcome, values=values))
    np.testing.assert_array_equal(
        picture_stages.baseline_risk(spec, blind, sources, "acquisition", learns, tunes), first
    )
    assert np.isfinite(first).all()


def test_the_site_is_a_source_and_an_examination_may_be_the_unit(film_study):
    text = film_study.read_text().replace(
        'patient = "patient_id"', 'patient = "patient_id"\nunit = "exam"\nsite = "site"'
    )
    film_study.write_text(text.replace("size = 32", 'size = 32\nstudy = "exam"').replace('["age", "sex"]', '["site"]'))
    study = Study(load_spec(film_study))
    cohort = study.read(film_study.parent / "runs")
    assert "site" in picture_stages.acquisition_sources(study.spec, cohort)
    assert {f.check for f in study.check()} >= {"shortcuts", "image_labels"}


def test_a_row_without_any_label_counts_for_nothing(opened):
    spec, cohort, split = opened
    values = np.array(cohort.outcome.values)
    values[split.parts["test"][:3]] = np.nan
    other = replace(cohort, outcome=replace(cohort.outcome, values=values))
    assert stages.strata(other.outcome).size == cohort.n
    groups = subgroup_labels(spec, other, split.parts["test"])
    assert set(groups) == {"sex"}


def test_flows_have_their_own_stages(opened):
    spec = opened[0]
    assert flow_of(spec).fit is picture_stages.fit
    assert flow_of(spec).explain is picture_evidence.explain
    from aimed.study.shipped import SHIPPED

    table = load_spec(SHIPPED["breast-cancer-diagnosis"])
    assert flow_of(table).fit is stages.fit
    assert flow_of(table).audit is stages.audit


def test_candidates_and_sizes(films):
    recipes, baselines = picture_recipes_of(read_spec(films.STUDY))
    assert [r.name for r in recipes] == ["small_cnn"]
    assert baselines == ["prevalence", "acquisition"]
    for name in ("densenet121", "linear_probe"):
        text = films.STUDY.replace('["small_cnn"]', f'["small_cnn", "{name}"]')
        with pytest.raises(StudyFileError, match=rf"size = 32 is too small for '{name}'"):
            picture_recipes_of(read_spec(text))
        assert len(picture_recipes_of(read_spec(text.replace("size = 32", "size = 64")))[0]) == 2


def test_every_network_of_the_smallest_size_has_maps_to_show():
    torch = pytest.importorskip("torch", reason="the deep extra is not installed")
    from aimed.diagnosis.pooled_network import build_network

    for name in ("small_cnn", "densenet121", "linear_probe"):
        recipe = PICTURE_MODELS[name]
        network = build_network(recipe.architecture, 2).eval()
        with torch.no_grad():
            maps = network.maps(torch.zeros(1, 1, recipe.least, recipe.least))
        assert maps[0, 0].numel() > 1


@pytest.mark.parametrize(
    ("primary", "gap", "beaten", "words"),
    [
        ("macro_auroc", (0.1, 0.02, 0.2), True, "beats"),
        ("macro_auroc", (0.1, -0.02, 0.2), False, "is not shown to beat"),
        ("macro_auroc", (-0.1, -0.2, -0.02), False, "is worse than"),
        ("macro_brier", (-0.1, -0.2, -0.02), True, "+0.100 (+0.020 to +0.200)"),
        ("brier@effusion", (0.1, 0.02, 0.2), False, "-0.100 (-0.200 to -0.020)"),
        ("macro_auroc", (None, None, None), None, "could not be estimated"),
    ],
)
def test_beside_the_simple_model(primary, gap, beaten, words):
    fitted = {"name": "small_cnn", "title": "Small network", "choice": ""}
    measure = dict(zip(("value", "lower", "upper"), gap, strict=True))
    performance = {"differences": {"acquisition": {primary: measure}}}
    found = beside_simple(fitted, performance, primary, name="acquisition", title="acquisition", others=True)
    assert found["beaten"] is beaten
    assert words in found["sentence"]


def test_limits_name_rare_findings_and_refused_files(opened):
    spec = opened[0]
    record = {
        "data": {
            "sites": None, "dates": None, "missing": [], "parts": {"test": {"events": 9}},
            "images": {"refused": {"EMPTY": 2, "MISSING": 1}},
        },
        "performance": {}, "checks": [], "subgroups": None, "verdict": {"openings": 1},
        "outcome": {"findings": [
            {"label": "Effusion", "positive": {"test": 12}, "known": {"test": 400}},
            {"label": "Mass", "positive": {"test": 150}, "known": {"test": 400}},
        ]},
    }  # fmt: skip
    said = " ".join(limitations(spec, record))
    assert "Effusion (12)" in said
    assert "Mass (" not in said
    assert "3 files were refused" in said


def test_a_split_is_drawn_by_findings(opened):
    _, cohort, split = opened
    y = picture_stages.labels_of(cohort)
    share = y.mean(axis=0)
    for rows in split.parts.values():
        assert np.abs(y[rows].mean(axis=0) - share).max() < 0.2
    assert stages.strata(cohort.outcome).max() == 2
    frame = pl.DataFrame({"stratum": stages.strata(cohort.outcome), "any": (y == 1).any(axis=1)})
    assert frame.filter(pl.col("stratum") == 0)["any"].sum() == 0


def test_measures_that_criteria_ask_of_the_worst_group_are_made_in_each():
    text = 'schema = 1\n[study]\nid = "films"\ntitle = "Films"\ntask = "classify"\n'
    text += '[data]\nsource = "a.csv"\npatient = "p"\n[images]\ncolumn = "path"\n[outcome]\nfindings = ["mass"]\n'
    text += '[subgroups]\ncolumns = ["sex"]\n'
    text += '[evaluate]\naccept = ["worst_subgroup(auroc@mass).lower >= 0.6", "macro_auroc >= 0.7"]\n'
    assert asked_of_groups(read_spec(text)) == ["auroc@mass"]
