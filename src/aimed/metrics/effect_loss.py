"""How far a predicted effect is from the true one, judged without seeing any true effect: doubly robust and R-loss."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, dot, vector, zero_one
from aimed.metrics.result import Estimate, clustered, independent_units, notes, two_sided_p

__all__ = ["ABSOLUTE", "dr_loss", "effect_share_explained", "r_loss"]

ABSOLUTE = "holds the noise of the outcomes, which no prediction can lower: compare it, do not read it alone"
"""What goes with every loss that is not a difference."""


def _against(against: str | ArrayLike | None, best: float, n: int) -> tuple[FloatArray | None, str]:
    """Return what the other predictor says for each row, and in words."""
    if against is None:
        return None, ""
    if isinstance(against, str):
        if against not in ("constant", "zero"):
            raise DataError("against is not a predictor", "'constant', 'zero', a number or an array; None for the loss")
        if against == "zero":
            return np.zeros(n), "no effect for anybody"
        return np.full(n, best), "the constant that fits these rows best (known with hindsight)"
    if np.ndim(against) == 0:
        return np.full(n, float(vector("against", np.atleast_1d(against))[0])), "one effect for all"
    return vector("against", against, n), "the other predictor"


def _mean(
    name: str, loss: FloatArray, other: FloatArray | None, said: str, patient: ArrayLike | None, level: float
) -> Estimate:
    """Return the mean loss, or the mean difference from the other predictor's."""
    each = loss if other is None else loss - other
    value, n = float(each.mean()), each.size
    influence = (each - value) / n
    method = clustered("mean of rows" if other is None else f"difference from {said}; influence values", patient)
    same = other is not None and not np.any(each)
    found = Estimate.from_influence(
        value,
        influence,
        patient,
        level=level,
        name=name,
        method=method,
        note=ABSOLUTE if other is None else "",
        why="both predict the same" if same else "no spread between rows",
    )
    if other is not None:
        found.p = two_sided_p(value, found.se, independent_units(patient, n))
    return found


def dr_loss(
    scores: ArrayLike,
    benefit: ArrayLike,
    *,
    against: str | ArrayLike | None = "constant",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the doubly robust loss of a predicted effect less that of a simpler predictor, on rows it did not see.

    Parameters
    ----------
    scores : array, shape (n,)
        Unbiased effect of each row, from `aipw_scores`.
    benefit : array, shape (n,)
        Predicted effect, on the scale and with the sign of `scores`.
    against : {"constant", "zero"}, float, array of shape (n,), or None
        The simpler predictor: the constant that fits these rows best, no effect, a constant that was fitted elsewhere
        (the fair comparator), or another model. None returns the loss itself.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Returns
    -------
    Estimate
        Below 0: nearer to the true effects than the simpler predictor. `p` tests that there is no difference.

    Raises
    ------
    DataError
        If shapes disagree or a value is not finite.

    Notes
    -----
    Formula: mean (score - prediction)^2, less the same for the simpler predictor.
    Range: any number; the loss itself from 0. The difference estimates that of the mean squared errors against the true
        effects, because the noise of the scores falls out of it.
    Assumes: unbiased scores (randomised, or no unmeasured confounding); predictions made on other rows. The constant
        that fits best knows these rows, an advantage of about variance(scores) / n.
    Refuses: nothing beyond malformed input; without a difference there is no interval, and it says so.

    References
    ----------
    Kennedy, Electron J Stat 2023;17:3008. Schuler et al., arXiv:1804.05146 (choosing among effect models).

    Examples
    --------
    >>> scores = [2.0, 0.0, 1.0, -1.0]
    >>> float(dr_loss(scores, [1.0, 1.0, 0.0, 0.0])), float(dr_loss(scores, [1.0, 1.0, 0.0, 0.0], against=0.0))
    (-0.25, -0.5)
    """
    gamma = vector("scores", scores)
    predicted = vector("benefit", benefit, gamma.size)
    other, said = _against(against, float(gamma.mean()), gamma.size)
    # The hindsight constant needs no influence of its own: the loss is flat where it is smallest.
    return _mean(
        "dr_loss",
        (gamma - predicted) ** 2,
        None if other is None else (gamma - other) ** 2,
        said,
        patient,
        level,
    )


def r_loss(
    y: ArrayLike,
    treated: ArrayLike,
    benefit: ArrayLike,
    *,
    m: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    outcome: str = "harm",
    against: str | ArrayLike | None = "constant",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the R-loss of a predicted benefit less that of a simpler predictor, on rows it did not see.

    Parameters
    ----------
    y : array, shape (n,)
        Outcome, 0/1 or continuous.
    treated : array, shape (n,)
        1 treated, 0 not.
    benefit : array, shape (n,)
        Predicted benefit: the fall in `y` by treatment where `y` is bad.
    m : array, shape (n,), optional
        Expected outcome given the covariates, whatever the arm, from a model that did not see the row; without it the
        mean of `y`, which is right in a trial but leaves more noise.
    propensity : float or array, shape (n,), optional
        Chance of treatment given the covariates; without it the observed share.
    outcome : {"harm", "good"}
        Whether large `y` is bad (default).
    against, patient, level
        As in `dr_loss`; a number or array is a benefit.

    Returns
    -------
    Estimate
        Below 0: nearer to the true effects. `p` tests that there is no difference.

    Raises
    ------
    NotEstimableError
        If an arm is empty.

    Notes
    -----
    Formula: mean (y - m - (t - e) effect)^2, less the same for the simpler predictor.
    Range: any number; the loss itself from 0.
    Assumes: right m and e, or a randomised treatment; predictions made on other rows. Patients count by e (1 - e).
    Refuses: an empty arm; a propensity outside (0, 1).

    References
    ----------
    Nie and Wager, Biometrika 2021;108:299.

    Examples
    --------
    >>> y, treated = [3.0, 1.0, 0.0, 0.0], [1, 0, 1, 0]
    >>> round(float(r_loss(y, treated, [2.0, 2.0, 0.0, 0.0], outcome="good")), 4)
    -0.25
    """
    seen = vector("y", y)
    arm = zero_one("treated", treated, seen.size)
    predicted = vector("benefit", benefit, seen.size)
    good, around = oriented(seen, m, outcome)
    over = arm - chances(propensity, arm)
    left = good - around
    other, said = _against(against, dot(over, left) / dot(over, over), seen.size)
    return _mean(
        "r_loss",
        (left - over * predicted) ** 2,
        None if other is None else (left - over * other) ** 2,
        said,
        patient,
        level,
    )


def oriented(seen: FloatArray, m: ArrayLike | None, outcome: str) -> tuple[FloatArray, FloatArray]:
    """Return the outcome and its expectation so that larger is better.

    Examples
    --------
    >>> oriented(np.array([1.0, 0.0]), None, "harm")
    (array([-1., -0.]), array([-0.5, -0.5]))
    """
    if outcome not in ("harm", "good"):
        raise DataError("outcome is neither 'harm' nor 'good'", "'harm' where large y is bad, 'good' where it is good")
    around = np.full(seen.size, seen.mean()) if m is None else vector("m", m, seen.size)
    return (seen, around) if outcome == "good" else (-seen, -around)


def chances(propensity: ArrayLike | float | None, arm: FloatArray) -> FloatArray:
    """Return each row's chance of treatment, strictly between 0 and 1; the observed share without one.

    Examples
    --------
    >>> chances(None, np.array([1.0, 0.0, 0.0, 0.0]))
    array([0.25, 0.25, 0.25, 0.25])
    """
    if arm.min() == arm.max():
        raise NotEstimableError("an arm without rows", "rows in both arms")
    given = arm.mean() if propensity is None else propensity
    whole = vector("propensity", np.full(arm.size, float(given)) if np.ndim(given) == 0 else given, arm.size)  # type: ignore[arg-type]
    outside = int((~((whole > 0) & (whole < 1))).sum())
    if outside:
        raise NotEstimableError(
            f"propensity is not strictly between 0 and 1 in {outside} of {arm.size} rows",
            "every patient could have been treated and could have been left untreated",
        )
    return whole


def effect_share_explained(
    scores: ArrayLike,
    benefit: ArrayLike,
    *,
    variance: float | None = None,
    against: str | ArrayLike = "constant",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return how much of the error of a constant effect a prediction takes away, as a share of a variance.

    Parameters
    ----------
    scores, benefit, against, patient, level
        As in `dr_loss`.
    variance : float, optional
        Variance of the true effect, where it is known as in a simulation: the share is then that of the variance of the
        effect. Without it the variance of the scores stands in, which holds the noise of the outcomes: the share is low
        by nature, and its sign and order are what counts.

    Returns
    -------
    Estimate
        Below 0: worse than the simpler predictor.

    Raises
    ------
    NotEstimableError
        If the scores do not vary, or `variance` is not above 0.

    Notes
    -----
    Formula: -dr_loss / variance; with the variance of the scores, its influence is counted too.
    Range: up to 1; any negative number.
    Assumes: as `dr_loss`.
    Refuses: scores that do not vary.

    References
    ----------
    Levy, van der Laan, Hubbard and Pirracchio, J Causal Inference 2021;9:83 (variance of the treatment effect).

    Examples
    --------
    >>> round(float(effect_share_explained([2.0, 0.0, 1.0, -1.0], [1.0, 1.0, 0.0, 0.0])), 3)
    0.2
    """
    if against is None:
        raise DataError("against is None", "'constant', 'zero', a number or an array")
    gamma = vector("scores", scores)
    loss = dr_loss(gamma, benefit, against=against, patient=patient, level=level)
    own = np.asarray(loss.influence, dtype=np.float64)
    centred = gamma - gamma.mean()
    spread = dot(centred, centred) / gamma.size if variance is None else float(variance)
    if not (math.isfinite(spread) and spread > 0):
        raise NotEstimableError("scores that do not vary, or a variance not above 0", "a variance above 0")
    share = -float(loss) / spread
    influence = -own / spread
    note = ""
    if variance is None:
        influence -= share * (centred**2 - spread) / (gamma.size * spread)
        note = "a share of the variance of the scores, most of which is noise of the outcomes: low by nature"
    return Estimate.from_influence(
        share,
        influence,
        patient,
        level=level,
        name="effect_share_explained",
        bounds=(-math.inf, 1.0),
        method=clustered("less squared error than the simpler predictor; influence values", patient),
        note=notes(note),
    )
