"""The DR-learner: regression of doubly robust scores, cross-fitted."""

from __future__ import annotations

from aimed.treatment.final_stage import FinalStageLearner
from aimed.treatment.learner import Parts, Rows
from aimed.treatment.pieces import LinearEffect

__all__ = ["DRLearner"]


class DRLearner(FinalStageLearner):
    """Regression on X of scores whose mean is the effect if either the outcome or the treatment model is right.

    Its effects, averaged, are the doubly robust average effect. Scores are noisy where overlap is poor; the `r_learner`
    gives such rows less weight. Parameters are those of `FinalStageLearner`.

    References
    ----------
    Kennedy, Electron J Stat 2023;17:3008.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(500, 1)), rng.integers(0, 2, 500)
    >>> Y = X[:, 0] + T * (1 + X[:, 0]) + 0.1 * rng.normal(size=500)
    >>> DRLearner(outcome_model="linear").fit(Y, T, X=X, propensity=0.5).effect([[0.0], [1.0]]).round(1).tolist()
    [1.0, 2.0]
    """

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        scores = self._nuisances(rows).scores(rows.y, rows.arm)
        return self._final(rows, scores, None, lambda: LinearEffect.fit(rows.X, scores, None, rows.codes))
