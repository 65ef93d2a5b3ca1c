"""The Cox engine against R's survival 3.5-3: strata, late entry, clusters, residuals, cox.zph; and against Coxnet.

R's numbers are those of the project's reference page, computed with Efron's ties and eps 1e-12 on the same data.
"""

from __future__ import annotations

import numpy as np
import pytest

from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_diagnostics import proportional_hazards_test, residuals, schoenfeld_residuals
from aimed.prognosis.cox_path import CoxPath

datasets = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data")
lifelines = pytest.importorskip("lifelines", reason="lifelines carries the data")


def survival(event, time):
    y = np.empty(len(event), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = np.asarray(event).astype(bool), np.asarray(time)
    return y


def whas500():
    X, y = datasets.load_whas500()
    order = [
        "age", "gender", "hr", "sysbp", "diasbp", "bmi", "cvd", "afb", "sho", "chf", "av3", "miord", "mitype", "los"
    ]  # fmt: skip
    return X.astype(float)[order], survival(y["fstat"], y["lenfol"])


def rossi():
    X = lifelines.datasets.load_rossi()
    return X[["fin", "age", "race", "wexp", "mar", "paro", "prio"]].astype(float), survival(X.arrest, X.week)


def veterans():
    X, y = datasets.load_veterans_lung_cancer()
    X = X.assign(
        large=X.Celltype == "large",
        small=X.Celltype == "smallcell",
        squamous=X.Celltype == "squamous",
        prior=X.Prior_therapy == "yes",
        test=X.Treatment == "test",
    )
    names = ["Age_in_years", "large", "small", "squamous", "Karnofsky_score", "Months_from_Diagnosis", "prior", "test"]
    return X[names].astype(float), y


def heart():
    table = lifelines.datasets.load_stanford_heart_transplants()
    return table[["age", "year", "surgery", "transplant"]].astype(float), survival(table.event, table.stop), table


def test_strata_in_gbsg2():
    X, y = datasets.load_gbsg2()
    grade = X.tgrade.astype(str)
    X = X.assign(horTh=X.horTh == "yes", menostat=X.menostat == "Post")
    X = X[["age", "estrec", "horTh", "menostat", "pnodes", "progrec", "tsize"]].astype(float)
    model = CoxPH().fit(X, y, strata=grade)
    np.testing.assert_allclose(model.loglik_, [-1546.06218774, -1506.99699911], rtol=0, atol=6e-9)
    np.testing.assert_allclose(model.coef_[[2, 4]], [-0.353529681, 0.047568305], rtol=0, atol=6e-10)
    np.testing.assert_allclose(model.standard_errors_[[2, 4]], [0.129380478, 0.007507843], rtol=0, atol=6e-10)
    assert model.concordance_[0] == pytest.approx(0.673710192, abs=6e-10)
    assert model.score(X, y, strata=grade) == pytest.approx(0.673710192, abs=6e-10)


def test_robust_and_clustered_errors_in_rossi():
    X, y = rossi()
    robust = [.19554177888, .02533614632, .29232855511, .21806031519, .38024446539, .19920082957,
              .02897459481]  # fmt: skip
    np.testing.assert_allclose(CoxPH(robust=True).fit(X, y).standard_errors_, robust, rtol=0, atol=6e-12)
    model = CoxPH().fit(X, y, cluster=np.arange(len(y)) // 10)
    clustered = [.19550534835, .02906765814, .31112860597, .21235353290, .37212159869, .20838482951,
                 .02580977806]  # fmt: skip
    np.testing.assert_allclose(model.standard_errors_, clustered, rtol=0, atol=6e-12)
    naive = [.191379481, .021999471, .307992776, .212224296, .381868057, .195756672, .028648550]  # fmt: skip
    np.testing.assert_allclose(np.sqrt(np.diag(model.naive_covariance_)), naive, rtol=0, atol=6e-10)
    assert model.n_clusters_ == 44


def test_changing_covariates_and_clusters_in_stanford_heart():
    X, y, table = heart()
    model = CoxPH().fit(X, y, entry=table.start, cluster=table.id)
    coefficients = [.02716664096, -.14634634567, -.63720988997, -.01025077241]  # fmt: skip
    np.testing.assert_allclose(model.coef_, coefficients, rtol=0, atol=6e-12)
    naive = [.01371411521, .07046797952, .36722599618, .31375479834]  # fmt: skip
    np.testing.assert_allclose(np.sqrt(np.diag(model.naive_covariance_)), naive, rtol=0, atol=6e-12)
    clustered = [.01389189292, .07307985924, .35821020238, .31688234906]  # fmt: skip
    np.testing.assert_allclose(model.standard_errors_, clustered, rtol=0, atol=6e-12)
    np.testing.assert_allclose(model.loglik_, [-298.1213557, -290.5656162], rtol=0, atol=6e-8)
    assert model.concordance_[0] == pytest.approx(0.635760124, abs=6e-10)


def test_residuals_of_veterans():
    X, y = veterans()
    model = CoxPH().fit(X, y)
    np.testing.assert_allclose(
        residuals(model, X, y)[:3], [0.74528367, -0.49007143, -0.18467690], rtol=0, atol=6e-9
    )  # fmt: skip
    assert residuals(model, X, y, "deviance")[0] == pytest.approx(1.11563535, abs=6e-9)


def test_cox_zph_of_whas500():
    X, y = whas500()
    found = proportional_hazards_test(CoxPH().fit(X, y), X, y)
    assert found["age"]["chi2"] == pytest.approx(1.2496635447, abs=6e-10)
    assert found["sho"]["chi2"] == pytest.approx(7.9698983805, abs=6e-10)
    assert found["sho"]["p"] == pytest.approx(0.004756, abs=6e-7)
    assert found["GLOBAL"]["chi2"] == pytest.approx(27.7740396049, abs=6e-10)
    assert (found["GLOBAL"]["df"], found["GLOBAL"]["p"]) == (14, pytest.approx(0.015243, abs=6e-7))


def test_the_summary_of_rossi_is_rs():
    X, y = rossi()
    # As printed by R in the appendix of Fox and Weisberg, and in the documentation of lifelines' data.
    lines = str(CoxPH().fit(X, y).summary_).splitlines()
    assert lines[0] == "  n= 432, number of events= 114"
    assert lines[2].split() == ["coef", "exp(coef)", "se(coef)", "z", "Pr(>|z|)"]
    assert lines[3].split() == ["fin", "-0.37942", "0.68426", "0.19138", "-1.983", "0.04742", "*"]
    assert lines[4].split() == ["age", "-0.05744", "0.94418", "0.02200", "-2.611", "0.00903", "**"]
    assert lines[9].split() == ["prio", "0.09150", "1.09581", "0.02865", "3.194", "0.00140", "**"]
    assert lines[14].split() == ["fin", "0.6843", "1.4614", "0.4702", "0.9957"]
    assert lines[-4:] == [
        "Concordance= 0.64  (se = 0.027 )",
        "Likelihood ratio test= 33.27  on 7 df,   p=2e-05",
        "Wald test            = 32.11  on 7 df,   p=4e-05",
        "Score (logrank) test = 33.53  on 7 df,   p=2e-05",
    ]


@pytest.mark.filterwarnings("ignore:It appears your weights")
def test_lifelines_agrees_on_weights_strata_and_entry():
    X, y = rossi()
    rng = np.random.default_rng(0)
    weight, group = rng.uniform(0.5, 2, len(y)), rng.choice(["u", "v"], len(y))
    columns = [c for c in X.columns if c != "wexp"]
    frame = X[columns].assign(T=y["time"], E=y["event"], w=weight, g=group)
    theirs = lifelines.CoxPHFitter().fit(frame, "T", "E", weights_col="w", strata="g", fit_options={"precision": 1e-12})
    ours = CoxPH().fit(X[columns], y, sample_weight=weight, strata=group)
    np.testing.assert_allclose(ours.coef_, theirs.params_[columns], atol=1e-8)
    np.testing.assert_allclose(ours.standard_errors_, theirs.standard_errors_[columns], rtol=1e-6)
    entry = np.floor(y["time"] * rng.uniform(0, 0.9, len(y)))
    frame = X[columns].assign(T=y["time"], E=y["event"], s=entry)
    theirs = lifelines.CoxPHFitter().fit(frame, "T", "E", entry_col="s", fit_options={"precision": 1e-12})
    ours = CoxPH().fit(X[columns], y, entry=entry)
    np.testing.assert_allclose(ours.coef_, theirs.params_[columns], atol=1e-8)
    np.testing.assert_allclose(ours.standard_errors_, theirs.standard_errors_[columns], rtol=1e-6)


def test_lifelines_agrees_on_residuals_without_ties():
    X, y = rossi()
    # With ties its residuals are not those of Efron's likelihood, as R's are.
    y["time"] += np.random.default_rng(0).uniform(0, 0.5, len(y))
    frame = X.assign(T=y["time"], E=y["event"])
    theirs = lifelines.CoxPHFitter().fit(frame, "T", "E", fit_options={"precision": 1e-12})
    ours = CoxPH().fit(X, y)
    for kind in ("martingale", "deviance"):
        found = theirs.compute_residuals(frame, kind).sort_index()[kind]
        np.testing.assert_allclose(residuals(ours, X, y, kind), found, atol=1e-6)
    found = schoenfeld_residuals(ours, X, y)
    schoenfeld = theirs.compute_residuals(frame, "schoenfeld")[list(X.columns)]
    np.testing.assert_allclose(found.raw, schoenfeld.loc[found.rows], atol=1e-6)
    robust = lifelines.CoxPHFitter().fit(frame, "T", "E", robust=True, fit_options={"precision": 1e-12})
    np.testing.assert_allclose(
        CoxPH(robust=True).fit(X, y).standard_errors_, robust.standard_errors_[X.columns], rtol=1e-6
    )


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_scikit_survivals_coxnet_has_the_same_path(l1_ratio):
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    X, y = whas500()
    # Its own end of the path differs: given penalties leave it out.
    start = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, n_alphas=30).fit(X, y)
    mine = CoxPath(l1_ratio, n_alphas=30, standardize=False, ties="breslow").fit(X, y)
    size = min(start.alphas_.size, mine.alphas_.size)
    np.testing.assert_allclose(mine.alphas_[:size], start.alphas_[:size], rtol=1e-9)
    alphas = start.alphas_[:25]
    theirs = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, alphas=alphas, tol=1e-16, max_iter=10**7).fit(X, y)
    ours = CoxPath(l1_ratio, alphas=alphas, standardize=False, ties="breslow", tol=1e-18).fit(X, y)
    np.testing.assert_allclose(ours.coef_path_[:, : theirs.alphas_.size], theirs.coef_, atol=2e-6)
    assert ((ours.coef_path_[:, : theirs.alphas_.size] != 0) == (np.abs(theirs.coef_) > 1e-9)).mean() > 0.99
    factor = np.linspace(0.5, 2, 14)
    theirs = CoxnetSurvivalAnalysis(
        l1_ratio=l1_ratio, alphas=alphas, penalty_factor=factor, tol=1e-16, max_iter=10**7
    ).fit(X, y)
    ours = CoxPath(
        l1_ratio, alphas=alphas, penalty_factor=factor, standardize=False, ties="breslow", tol=1e-18
    ).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(ours.coef_path_[:, : theirs.alphas_.size], theirs.coef_, atol=2e-6)
