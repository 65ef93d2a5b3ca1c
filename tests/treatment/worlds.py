"""Made-up patients whose true effect is known, shared by the tests of the average effects."""

import numpy as np


def expit(x):
    return 1 / (1 + np.exp(-x))


def world(seed, n=400, p=3, binary=False, confounded=1.0, randomised=False):
    """Return X, T, Y, the propensity and both expected outcomes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    e = np.full(n, 0.5) if randomised else expit(confounded * (0.6 * X[:, 0] - 0.4 * X[:, 1]))
    T = (rng.random(n) < e).astype(int)
    line0 = -0.5 + 0.7 * X[:, 0] + 0.4 * X[:, 2]
    line1 = line0 - 0.6 + 0.3 * X[:, 1]
    mu0, mu1 = (expit(line0), expit(line1)) if binary else (line0, line1)
    expected = np.where(T == 1, mu1, mu0)
    Y = (rng.random(n) < expected).astype(float) if binary else expected + rng.normal(size=n)
    return X, T, Y, e, mu0, mu1


def jackknife(estimate, n, groups=None):
    """Return the jackknife standard error of `estimate(rows)`, leaving out rows or groups."""
    label = np.arange(n) if groups is None else np.asarray(groups)
    values = np.array([estimate(np.flatnonzero(label != g)) for g in np.unique(label)])
    m = len(values)
    return float(np.sqrt((m - 1) / m * ((values - values.mean()) ** 2).sum()))


def coverage(estimate, truth, draws, first=1000):
    """Return the share of draws whose interval covers, and bias, spread and mean error."""
    found = [estimate(first + draw) for draw in range(draws)]
    value, se = np.array([float(f) for f in found]), np.array([f.se for f in found])
    covered = np.mean([f.lower <= truth <= f.upper for f in found])
    return covered, value.mean() - truth, value.std(), np.sqrt((se**2).mean())
