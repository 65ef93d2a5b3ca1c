"""Primary biliary cirrhosis: the published Cox model of the prognosis course, through the preparation."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import Variable
from aimed.fit.prepare import Preparation
from aimed.prognosis.cox import CoxPH

pd = pytest.importorskip("pandas")

PUBLISHED = {
    "trt": -.2222, "age": .2345, "sex": .3417, "ascites": -.0964, "hepato": .3096, "spiders": -.1827, "bili": .0505,
    "chol": .1863, "albumin": -.4046, "copper": .3017, "alk.phos": -.2204, "ast": .2136, "trig": .2038,
    "platelet": .1379, "protime": .3610, "edema=0.5": 1.2448, "edema=1.0": 2.0165, "stage=2.0": 1.2084,
    "stage=3.0": 1.1844, "stage=4.0": 1.4118,
}  # fmt: skip
LEVELS = {
    "trt": (1.0, 2.0), "sex": (0.0, 1.0), "ascites": (0.0, 1.0), "hepato": (0.0, 1.0), "spiders": (0.0, 1.0),
    "edema": (0.0, 0.5, 1.0), "stage": (1.0, 2.0, 3.0, 4.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def pbc(shared_data):
    from sklearn.model_selection import train_test_split

    table = pd.read_csv(shared_data("prognosis", "survival__pbc.csv")).drop(columns=["rownames", "id"])
    table = table[table.status != 1].assign(sex=lambda d: (d.sex == "m").astype(float)).dropna()
    np.random.seed(0)
    development, test = train_test_split(table, test_size=0.2)
    train, tune = train_test_split(development, test_size=0.25)
    names = [c for c in table.columns if c not in ("status", "time")]
    variables = tuple(
        Variable(name=c, kind="category", categories=tuple(map(str, LEVELS[c]))) if c in LEVELS else Variable(name=c)
        for c in names
    )

    def read(part):
        X = part[names].copy()
        for name, levels in LEVELS.items():
            X[name] = X[name].map({level: code for code, level in enumerate(levels)})
        y = np.empty(len(part), dtype=[("event", bool), ("time", float)])
        y["event"], y["time"] = part.status == 2, part.time / 365
        return X.to_numpy(dtype=float), y

    parts = {name: read(part) for name, part in (("train", train), ("tune", tune), ("test", test))}
    preparation = Preparation(variables).fit(*parts["train"])
    parts = {name: (preparation.transform(X), y) for name, (X, y) in parts.items()}
    names_out = preparation.feature_names_out_
    return CoxPH().fit(*parts["train"], feature_names=names_out), parts, names_out


def test_rows_and_coefficients(pbc):
    model, parts, names = pbc
    assert [len(y) for _, y in parts.values()] == [154, 52, 52]
    got = dict(zip(names, model.coef_, strict=True))
    short = {name if name in PUBLISHED else name.split("=")[0]: value for name, value in got.items()}
    assert set(short) == set(PUBLISHED)
    for name, want in PUBLISHED.items():
        assert short[name] == pytest.approx(want, abs=6e-5), name


def test_likelihood_and_hazard_ratios(pbc):
    model, parts, _ = pbc
    assert model.n_events_ == 64
    assert model.loglik_[1] == pytest.approx(-230.82, abs=5e-3)
    test = model.tests_["likelihood_ratio"]
    assert (test["statistic"], test["df"]) == (pytest.approx(97.63, abs=5e-3), 20)
    hazard = np.exp(model.predict(parts["train"][0]))
    assert hazard[1] / hazard[5] == pytest.approx(15.0290177, rel=1e-5)
    assert hazard[4] / hazard[7] == pytest.approx(0.1780450, rel=1e-5)


@pytest.mark.parametrize(("part", "want"), [("train", 0.8265139116), ("tune", 0.8544776119), ("test", 0.8478543563)])
def test_harrell_c(pbc, part, want):
    pytest.importorskip("aimed.metrics.concordance")
    model, parts, _ = pbc
    assert model.score(*parts[part]) == pytest.approx(want, abs=6e-11)
