"""CoxPH against R's survival 3.5-3 (Efron, eps 1e-12) on public data, and against lifelines and scikit-survival."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.prognosis.cox import CoxPH
from aimed.prognosis.kaplan_meier import KaplanMeierBaseline

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
    return X.astype(float)[order], y


def gbsg2():
    X, y = datasets.load_gbsg2()
    X = X.assign(horTh=X.horTh == "yes", menostat=X.menostat == "Post", t2=X.tgrade == "II", t3=X.tgrade == "III").drop(
        columns="tgrade"
    )
    return X[["age", "estrec", "horTh", "menostat", "pnodes", "progrec", "t2", "t3", "tsize"]].astype(float), y


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


def flchain():
    X, y = datasets.load_flchain()
    return X.assign(sex=X.sex == "M")[["age", "sex", "kappa", "lambda"]].astype(float), y


def aids():
    X, y = datasets.load_aids()
    names = ["tx", "age", "cd4", "karnof", "priorzdv", "ivdrug", "hemophil", "sex", "strat2"]
    return X[names].astype(float), y


def rossi():
    X = lifelines.datasets.load_rossi()
    return X[["fin", "age", "race", "wexp", "mar", "paro", "prio"]].astype(float), survival(X.arrest, X.week)


def lung():
    X = lifelines.datasets.load_lung()[["age", "sex", "ph.ecog", "time", "status"]].dropna()
    return X[["age", "sex", "ph.ecog"]], survival(X.status == X.status.max(), X.time)


R = {
    "D1": (
        whas500,
        [.047374372, -.293236208, .012110519, .001526691, -.012663316, -.047421472, -.055733799, .036537061,
         1.239488611, .734084019, .313479731, .083944399, -.238408486, -.007338813],
        [.006924155, .144608852, .003110641, .002937344, .004962874, .016681500, .179594615, .182073559,
         .289311579, .152634321, .431016912, .150155250, .193578786, .015993241],
        (-1227.32060124, -1114.57988938), .784215359,
    ),
    "D2": (
        gbsg2,
        [-.009459239, .000197311, -.346278428, .258444841, .048788600, -.002217236, .636111705, .779654243, .007796084],
        [.009300595, .000450368, .129074735, .183476452, .007447090, .000573529, .249202492, .268480147, .003939018],
        (-1788.10473712, -1735.73210426), .691851028,
    ),
    "D3": (
        veterans,
        [-.008706475, -.794774720, -.334505911, -1.196066374, -.032815326, .000081321, .071593602, .294602821],
        [.009300299, .302877715, .275977786, .300916994, .005507757, .009136062, .232305384, .207549604],
        (-505.44905492, -474.39711171), .736029078,
    ),
    "D4": (
        flchain,
        [.107415646, .334854597, .066120545, .181864871],
        [.002268391, .044208572, .026589428, .024267928],
        (-18868.44986501, -17440.50845399), .794261687,
    ),
    "D5": (
        aids,
        [-.670334925, .022898764, -.014348230, -.056137645, -.000330263, -.295039754, .126411884, .132155558,
         -.024794620],
        [.215728010, .011317111, .003814564, .012087871, None, None, None, None, None],
        (-658.44252565, -606.94581077), .782517363,
    ),
    "D6": (
        rossi,
        [-.379422167, -.057437743, .313899786, -.149795697, -.433703877, -.084871083, .091497079],
        [.191379481, .021999471, .307992776, .212224296, .381868057, .195756672, .028648550],
        (-675.38063235, -658.74765945), .640329247,
    ),
    "D8": (
        lung,
        [.011066765, -.552612396, .463728475],
        [.009267411, .167739054, .113577266],
        (-744.48045576, -729.23012137), .637135493,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", R)
def test_agrees_with_r_to_all_printed_digits(name):
    load, coefficients, errors, loglik, _ = R[name]
    X, y = load()
    model = CoxPH().fit(X, y)
    np.testing.assert_allclose(model.coef_, coefficients, rtol=0, atol=6e-10)
    known = [(got, want) for got, want in zip(model.standard_errors_, errors, strict=True) if want is not None]
    np.testing.assert_allclose(*zip(*known, strict=True), rtol=0, atol=6e-10)
    np.testing.assert_allclose(model.loglik_, loglik, rtol=0, atol=6e-9)
    assert list(model.feature_names_in_) == list(X.columns)


@pytest.mark.parametrize("name", R)
def test_harrell_c_agrees_with_r(name):
    pytest.importorskip("aimed.metrics.concordance")
    load, *_, c = R[name]
    X, y = load()
    assert CoxPH().fit(X, y).score(X, y) == pytest.approx(c, abs=6e-10)


def test_whas500_tests_curves_and_breslow():
    X, y = whas500()
    model = CoxPH().fit(X, y)
    got = [model.tests_[k]["statistic"] for k in ("likelihood_ratio", "score", "wald")]
    np.testing.assert_allclose(got, [225.481424, 231.644159, 202.806519], atol=6e-7)
    times = [365, 1000, 2000]
    curves = model.predict_survival_function(X.iloc[:3], times=times)
    want = [
        [.6515604508, .9302498341, .8853714574],
        [.4931117830, .8875153165, .8179643870],
        [.2827349036, .8079877494, .6983623456],
    ]  # fmt: skip
    np.testing.assert_allclose(curves.T, want, rtol=0, atol=6e-11)
    uncentred = model.predict_cumulative_hazard_function(np.zeros((1, X.shape[1])), times=times)[0]
    np.testing.assert_allclose(uncentred, [.01986402072, .03278416507, .05857611746], rtol=0, atol=6e-12)  # fmt: skip
    breslow = CoxPH(ties="breslow").fit(X, y)
    np.testing.assert_allclose(breslow.loglik_, [-1227.57904103, -1115.26428325], rtol=0, atol=6e-9)
    np.testing.assert_allclose(breslow.coef_[[0, 8]], [.047308265, 1.226624273], rtol=0, atol=6e-10)  # fmt: skip


def test_veterans_breslow_and_rossi_breslow_and_ridge():
    assert CoxPH(ties="breslow").fit(*veterans()).loglik_[1] == pytest.approx(-475.17939885, abs=6e-9)
    X, y = rossi()
    breslow = CoxPH(ties="breslow").fit(X, y)
    assert breslow.loglik_[1] == pytest.approx(-659.12060568, abs=6e-9)
    assert breslow.coef_[0] == pytest.approx(-0.379021888, abs=6e-10)
    assert CoxPH().fit(X, y).tests_["likelihood_ratio"]["statistic"] == pytest.approx(33.265946, abs=6e-7)
    ridge = [-0.26938925625, -0.06088386836, 0.17129915927, -0.12835049537, -0.20119248863, -0.06235832504]
    ridge.append(0.09084947642)
    # R's ridge stops about 1e-9 short of the maximum; test_cox.py checks ours against the likelihood itself.
    np.testing.assert_allclose(CoxPH(penalty=10).fit(X, y).coef_, ridge, rtol=0, atol=2e-9)


def test_gbsg2_split_risks():
    X, y = gbsg2()
    X = X[["age", "horTh", "menostat", "pnodes", "progrec", "t2", "t3", "tsize"]]
    train, test = np.arange(0, len(X), 2), np.arange(1, len(X), 2)
    model = CoxPH().fit(X.iloc[train], y[train])
    want = [.003469004, -.483694700, .018130579, .083592305, -.002230490, .933476682, 1.272425088,
            -.004154752]  # fmt: skip
    np.testing.assert_allclose(model.coef_, want, rtol=0, atol=6e-10)
    risk = 1 - model.predict_survival_function(X.iloc[test[:5]], times=[1000])[:, 0]
    first = [.3341805188, .2694488308, .9628618345, .2611731318, .5338853728]  # fmt: skip
    np.testing.assert_allclose(risk, first, rtol=0, atol=6e-11)


KM = [
    (whas500, [365, 1000, 2000], [.724000000, .622549749, .477910849]),
    (gbsg2, [365, 1000, 2000], [.915558104, .657750395, .462431190]),
    (veterans, [30, 90, 365], [.700435007, .464037963, .090045107]),
    (flchain, [365, 1826, 3652], [.965946543, .879615079, .765046510]),
    (aids, [100, 200, 300], [.956275744, .921750613, .901117523]),
    (rossi, [10, 26, 52], [.965277778, .875000000, .736111111]),
]  # fmt: skip


@pytest.mark.parametrize(("load", "times", "want"), KM, ids=[k[0].__name__ for k in KM])
def test_kaplan_meier_agrees_with_r(load, times, want):
    X, y = load()
    got = KaplanMeierBaseline().fit(X, y).predict_survival_function(X.iloc[:1], times=times)[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=6e-10)


def test_agrees_with_lifelines_and_scikit_survival():
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    X, y = rossi()
    frame = X.assign(T=y["time"], E=y["event"])
    theirs = lifelines.CoxPHFitter().fit(frame, "T", "E", fit_options={"precision": 1e-12})
    ours = CoxPH().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.params_[X.columns], atol=1e-8)
    np.testing.assert_allclose(ours.standard_errors_, theirs.standard_errors_[X.columns], atol=1e-8)
    np.testing.assert_allclose(ours.confidence_intervals_, theirs.confidence_intervals_.loc[X.columns], atol=1e-7)
    peer = CoxPHSurvivalAnalysis(ties="breslow", tol=1e-14, n_iter=200).fit(X, y)
    mine = CoxPH(ties="breslow").fit(X, y)
    np.testing.assert_allclose(mine.coef_, peer.coef_, atol=1e-7)
    np.testing.assert_allclose(mine.predict(X), peer.predict(X), atol=1e-6)
    for got, want in zip(
        mine.predict_survival_function(X.iloc[:5]), peer.predict_survival_function(X.iloc[:5]), strict=True
    ):
        np.testing.assert_allclose(got(np.arange(2.0, 52.0)), want(np.arange(2.0, 52.0)), atol=1e-8)
