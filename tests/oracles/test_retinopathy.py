"""Retinopathy risk: the published c-indices of the prognosis course, with and without interactions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from aimed.core import Variable
from aimed.fit.prepare import Preparation
from aimed.prognosis.logistic import Logistic

pd = pytest.importorskip("pandas")


def with_products(Z):
    return np.column_stack([Z] + [Z[:, i] * Z[:, j] for i, j in combinations(range(Z.shape[1]), 2)])


@pytest.fixture(scope="module")
def retinopathy(shared_data):
    from sklearn.model_selection import train_test_split

    X = pd.read_csv(shared_data("prognosis", "retinopathy_X_data.csv"), index_col=0)
    y = pd.read_csv(shared_data("prognosis", "retinopathy_y_data.csv"), index_col=0)["y"]
    train, test, y_train, y_test = train_test_split(X, y, train_size=0.75, random_state=0)
    variables = tuple(Variable(name=c) for c in X.columns)
    preparation = Preparation(variables, nonlinear=dict.fromkeys(X.columns, "log")).fit(train.to_numpy())
    prepared = preparation.transform(train.to_numpy()), preparation.transform(test.to_numpy())
    return *prepared, y_train.to_numpy(), y_test.to_numpy(), list(train.index)


def test_log_then_standard_deviation_with_n_minus_1(retinopathy):
    train, *_ = retinopathy
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train.std(axis=0, ddof=1), 1, atol=1e-12)


def test_c_index(retinopathy):
    from sklearn.metrics import roc_auc_score

    train, test, y_train, y_test, _ = retinopathy
    plain = Logistic().fit(train, y_train).predict_proba(test)[:, 1]
    assert roc_auc_score(y_test, plain) == pytest.approx(0.8182, abs=5e-5)
    products = Logistic().fit(with_products(train), y_train).predict_proba(with_products(test))[:, 1]
    assert roc_auc_score(y_test, products) == pytest.approx(0.8281, abs=5e-5)


def test_one_patient_with_and_without_the_age_by_cholesterol_product(retinopathy):
    train, _, y_train, _, index = retinopathy
    design = with_products(train)
    assert index[3432] == 5970
    model = Logistic().fit(design, y_train)
    row = design[3432:3433].copy()
    assert model.predict_proba(row)[0, 1] == pytest.approx(0.9448, abs=5e-4)
    row[0, 4 + 2] = 0.0
    assert model.predict_proba(row)[0, 1] == pytest.approx(0.9965, abs=1e-4)
