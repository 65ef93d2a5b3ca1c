"""The R-learner: residual of the outcome on residual of treatment, both cross-fitted."""

from __future__ import annotations

from aimed.treatment.final_stage import FinalStageLearner
from aimed.treatment.learner import Parts, Rows
from aimed.treatment.pieces import LinearEffect

__all__ = ["RLearner"]


class RLearner(FinalStageLearner):
    """Regression of Y - m(X) on T - e(X), whose slope is the effect; m and e come from models of other patients.

    With a linear final stage this is the partially linear model (EconML's LinearDML) with a ridge penalty chosen by
    cross-validation. Parameters are those of `FinalStageLearner`; the base learner must take row weights.

    References
    ----------
    Nie and Wager, Biometrika 2021;108:299; Chernozhukov et al., Econom J 2018;21:C1.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(500, 1)), rng.integers(0, 2, 500)
    >>> Y = X[:, 0] + T * (1 + X[:, 0]) + 0.1 * rng.normal(size=500)
    >>> RLearner(outcome_model="linear").fit(Y, T, X=X, propensity=0.5).effect([[0.0], [1.0]]).round(1).tolist()
    [1.0, 2.0]
    """

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        known = self._nuisances(rows)
        outcome, treatment = rows.y - known.m, rows.arm - known.propensity
        return self._final(
            rows,
            outcome / treatment,
            treatment**2,
            lambda: LinearEffect.fit(rows.X, outcome, treatment, rows.codes),
        )
