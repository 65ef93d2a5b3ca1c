"""The X-learner: effects imputed in each arm from the other arm's outcome model, weighed by propensity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.arrays import FloatArray
from aimed.treatment.base_learners import effect_model, fit_model, outcome_model, predict_mean
from aimed.treatment.final_stage import FinalStageLearner
from aimed.treatment.learner import EffectLearner, Parts, Rows, half_samples
from aimed.treatment.nuisances import CLIP

__all__ = ["XLearner"]


class XLearner(FinalStageLearner):
    """Effects imputed for the treated (Y - mu0) and the untreated (mu1 - Y), regressed on X in each arm, and mixed.

    The mix is e(X) of the untreated patients' and 1 - e(X) of the treated patients' regression, so that the larger
    arm's outcome model counts most. Outcome models are cross-fitted. They matter in first order, so the refits for
    intervals fit all stages on the same half of the patients, cross-fitted in two. Stages fitted on opposite halves
    would stray in opposite directions and their errors cancel, where those of the learner itself add up.

    Parameters are those of `FinalStageLearner`.

    References
    ----------
    Künzel et al., PNAS 2019;116:4156.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(500, 1)), rng.integers(0, 2, 500)
    >>> Y = X[:, 0] + T * (1 + X[:, 0]) + 0.1 * rng.normal(size=500)
    >>> learner = XLearner(outcome_model="linear", n_bootstraps=0).fit(Y, T, X=X, propensity=0.5)
    >>> learner.effect([[0.0], [1.0]]).round(1).tolist()
    [1.0, 2.0]
    """

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        known = self._nuisances(rows)
        target = np.where(rows.arm, rows.y - known.mu0, known.mu1 - rows.y)
        everyone = np.ones(rows.y.size, dtype=bool)
        parts = self._stages(rows, target, everyone)
        mix = self._mix(rows, known.propensity)
        columns = rows.columns

        def pieces(drawn: NDArray[np.bool_], number: int) -> Parts:
            imputed = np.zeros(rows.y.size)
            first = self._quarter(rows, drawn, number)
            for own, other in ((first, drawn & ~first), (drawn & ~first, first)):
                outcomes = []
                for there in (~rows.arm, rows.arm):
                    # An arm of a row or two cannot be cut again.
                    seen = other & there if (other & there).any() else drawn & there
                    fitted = fit_model(
                        outcome_model(self.outcome_model, rows.binary, self.random_state), columns[seen], rows.y[seen]
                    )
                    outcomes.append(predict_mean(fitted, columns[own], rows.binary))
                imputed[own] = np.where(rows.arm[own], rows.y[own] - outcomes[0], outcomes[1] - rows.y[own])
            return self._stages(rows, imputed, drawn) | mix

        return parts | mix, self._refit(rows, pieces)

    def _quarter(self, rows: Rows, drawn: NDArray[np.bool_], number: int) -> NDArray[np.bool_]:
        """Return half the patients of a half-sample, so that its outcome models are cross-fitted too."""
        codes = None if rows.codes is None else np.unique(rows.codes[drawn], return_inverse=True)[1]
        out = np.zeros(drawn.size, dtype=bool)
        out[drawn] = next(half_samples(rows.arm[drawn], codes, 1, number))
        return out

    def _stages(self, rows: Rows, target: FloatArray, drawn: NDArray[np.bool_]) -> Parts:
        return {
            name: fit_model(
                effect_model(self.base_learner, self.random_state), rows.X[drawn & there], target[drawn & there]
            )
            for name, there in (("untreated", ~rows.arm), ("treated", rows.arm))
        }

    def _mix(self, rows: Rows, chance: FloatArray) -> Parts:
        """Return the chance of treatment from X alone: a number where it is the same for all, else a model."""
        if rows.chance is not None and np.ptp(chance) == 0:
            return {"chance": float(chance[0])}
        model = outcome_model(self.propensity_model, True, self.random_state)
        return {"chance": fit_model(model, rows.X, rows.arm.astype(np.float64))}

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        chance = parts["chance"]
        e = chance if isinstance(chance, float) else np.clip(predict_mean(chance, X, True), CLIP, 1 - CLIP)
        return np.asarray(e * predict_mean(parts["untreated"], X) + (1 - e) * predict_mean(parts["treated"], X))

    def _errors(self, X: FloatArray) -> FloatArray:
        return EffectLearner._errors(self, X)

    def _error_of_mean(self, X: FloatArray) -> float:
        return EffectLearner._error_of_mean(self, X)
