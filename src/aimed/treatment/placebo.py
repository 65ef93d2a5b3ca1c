"""Placebos: the same estimator where there is nothing to find - shuffled treatment, negative controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.core.finding import Finding, Severity
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, labels, level_codes, patient_codes, vector
from aimed.metrics.proportions import proportion
from aimed.metrics.result import Estimate, checked_level
from aimed.treatment.arms import as_arms

__all__ = ["Estimator", "NegativeControl", "Placebo", "negative_controls", "permuted_treatment"]

Estimator: TypeAlias = Callable[..., Any]
"""``estimator(Y, T, X, **options)``: gives an `Estimate`, a number, or a result with a `difference`."""

_ESTIMABLE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placebo:
    """What an estimator finds when treatment is shuffled, so that there is nothing to find.

    Parameters
    ----------
    observed : Estimate or float
        The estimate with treatment as it was.
    estimates : float array, shape (draws,)
        Those under shuffled treatment; NaN where not estimable.
    p : float
        Share of draws (and the observed one) as far from the null as the observed; NaN where fewer than 9 in 10 draws
        are estimable.
    rejected : Estimate or None
        Share of draws whose interval excludes the null, with its interval; near `alpha` where the intervals are
        honest. None where the estimator gives no interval.
    alpha : float
    mean, sd : float
        Of the shuffled estimates; a mean away from 0 is bias.
    n, draws : int
    how : str
        How treatment was shuffled.
    finding : Finding or None
        Where the share rejected, or the mean, shows that the estimator finds what is not there.
    note : str
    """

    observed: Estimate | float
    estimates: FloatArray = field(repr=False)
    p: float
    rejected: Estimate | None
    alpha: float
    mean: float
    sd: float
    n: int
    draws: int
    how: str
    finding: Finding | None = None
    note: str = ""

    @property
    def sentence(self) -> str:
        """What the shuffling says."""
        if math.isnan(self.p):
            return f"The estimate could not be made often enough under shuffled treatment: {self.note}."
        said = f"Against {self.draws} shuffles of treatment the estimate has p = {self.p:.3g}"
        if self.rejected is None:
            return f"{said}."
        return (
            f"{said}; {100 * self.rejected:.1f} % of their {100 * (1 - self.alpha):g} % intervals excluded no effect "
            f"({100 * self.rejected.lower:.1f} to {100 * self.rejected.upper:.1f} %), where {100 * self.alpha:g} % is "
            "right."
        )


def _found(result: Any) -> Estimate | float:
    """Return the estimate that a result is known by: a difference where there is one."""
    part = getattr(result, "difference", None)
    if part is not None:
        return part if isinstance(part, Estimate) else float(part)
    return result if isinstance(result, Estimate) else float(result)


def _error(found: Estimate | float) -> float:
    """Return the standard error of an estimate; NaN where it has none."""
    se = found.se if isinstance(found, Estimate) else None
    return float(se) if se is not None and math.isfinite(se) and se > 0 else math.nan


def _far(found: Estimate | float, null: float, unit: bool) -> float:
    """Return the distance of an estimate from the null, in its standard errors where asked."""
    away = abs(float(found) - null)
    if not unit or away == 0:
        return away
    se = _error(found)
    return math.inf if math.isnan(se) else away / se


def _excludes(found: Estimate | float, null: float, alpha: float) -> bool | None:
    """Say whether the interval excludes the null; None where there is no interval."""
    if not isinstance(found, Estimate):
        return None
    if math.isfinite(found.lower) or math.isfinite(found.upper):
        if not math.isclose(found.level, 1 - alpha, abs_tol=1e-9):
            raise DataError(
                f"the estimator gives {100 * found.level:g} % intervals",
                f"{100 * (1 - alpha):g} % intervals",
                f"give it level={1 - alpha:g}, or use alpha={1 - found.level:g}",
            )
        return bool(found.lower > null or found.upper < null)
    return None if found.p is None or math.isnan(found.p) else bool(found.p < alpha)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shuffle:
    """How treatment is shuffled: among patients of a stratum, or within each patient where they had both."""

    arm: BoolArray
    codes: IntArray
    blocks: tuple[IntArray, ...]
    whole: bool

    @classmethod
    def of(cls, arm: BoolArray, who: IntArray | None, strata: IntArray | None) -> _Shuffle:
        n = arm.size
        codes = np.arange(n) if who is None else who
        size = np.bincount(codes)
        treated = np.bincount(codes, weights=arm)
        whole = bool(((treated == 0) | (treated == size)).all())
        stratum = np.zeros(n, dtype=np.int64) if strata is None else strata
        if not whole:
            # Both treatments in one patient, as in a crossover: exchanged within the patient (and stratum).
            unit, values = codes * (int(stratum.max()) + 1) + stratum, arm
        else:
            first = np.zeros(size.size, dtype=np.int64)
            first[codes[::-1]] = np.arange(n)[::-1]
            if (stratum != stratum[first][codes]).any():
                raise DataError(
                    "strata differ between rows of one patient", "one stratum a patient", "use strata of randomisation"
                )
            unit, values = stratum[first], arm[first]
        order = np.argsort(unit, kind="stable")
        cuts = np.flatnonzero(np.diff(unit[order])) + 1
        blocks = tuple(rows for rows in np.split(order, cuts) if 0 < values[rows].sum() < rows.size)
        if not blocks:
            raise NotEstimableError(
                "no two patients can exchange their treatment", "both arms in a stratum", "use coarser strata"
            )
        return cls(arm=values, codes=codes, blocks=blocks, whole=whole)

    def draw(self, rng: np.random.Generator) -> BoolArray:
        """Return the treatment of every row in one shuffle."""
        drawn = self.arm.copy()
        for rows in self.blocks:
            drawn[rows] = self.arm[rng.permutation(rows)]
        return drawn[self.codes] if self.whole else drawn


def permuted_treatment(
    estimator: Estimator,
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    null: float = 0.0,
    alpha: float = 0.05,
    draws: int = 200,
    seed: int = 0,
    studentised: bool = True,
    progress: Callable[[float, str], None] | None = None,
    **options: Any,
) -> Placebo:
    """Run an estimator on shuffled treatment, where there is no effect to find.

    Parameters
    ----------
    estimator : callable
        ``estimator(Y, T, X, **options)``, such as an estimator of `AVERAGE`, or a test with `value` and `p` as an
        `Estimate`.
    Y : float array, shape (n,)
    T : 0/1 array, shape (n,)
    X : array, shape (n, p), optional
        Handed on as it is.
    strata : array, shape (n,), optional
        Treatment is shuffled within them: strata of randomisation, or of propensity for observational data.
    patient : array, shape (n,), optional
        Rows of one patient keep one treatment where they had one; where patients had both, treatment is shuffled within
        the patient. Handed on to the estimator.
    null : float
        Value of no effect.
    alpha : float
        Nominal share of intervals that exclude the null.
    draws, seed : int
    studentised : bool
        Measure how far an estimate is from the null in its own standard errors, where it has one. Then p is right for
        no effect on average too, where arms differ in size and spread; without, for no effect on anybody alone.
    progress : callable, optional
        Hears the share done and what is done.
    **options
        Handed to the estimator.

    Returns
    -------
    Placebo

    Raises
    ------
    DataError
        If shapes differ, strata differ within a patient, or intervals have another coverage than 1 - alpha.
    NotEstimableError
        If treatment cannot be shuffled, or the estimate cannot be made with treatment as it was.

    Notes
    -----
    Formula: p = (1 + draws as far from the null as the observed) / (1 + draws estimable), far in standard errors.
    Range: p above 0 to 1.
    Assumes: under no effect for anybody, patients of a stratum could have changed treatment. In observational data
    without strata this holds only for the null of no effect and no confounding.
    Refuses: strata in which all had one treatment; an estimator that fails on the data as they are.

    References
    ----------
    Fisher, The Design of Experiments, 1935. DiCiccio and Romano, JASA 2017;112:1211 (in standard errors). Phipson and
    Smyth, Stat Appl Genet Mol Biol 2010;9:39.

    Examples
    --------
    >>> from aimed.treatment.rates import event_rates
    >>> Y, T = np.tile([0, 1, 1, 0, 0], 40), np.tile([0, 1], 100)
    >>> found = permuted_treatment(lambda Y, T, X: event_rates(Y, T), Y, T, draws=50)
    >>> found.p > 0.05, found.rejected.n
    (True, 50)
    """
    checked_level(alpha, "alpha")
    if draws < 1:
        raise DataError(f"{draws} draws", "at least 1, better 200")
    y = vector("Y", Y)
    n = y.size
    arm = as_arms(T, n)
    who = None if patient is None else patient_codes(patient, n)
    groups = None if strata is None else level_codes(labels("strata", strata, n))[1]
    given = dict(options) if patient is None else {"patient": patient, **options}
    observed = _found(estimator(y, arm.astype(np.float64), X, **given))
    if not math.isfinite(observed):
        raise NotEstimableError("the estimate with treatment as it was", "an estimate", "look at its note")
    unit = studentised and not math.isnan(_error(observed))
    reached, as_far = _far(observed, null, unit), 0
    shuffle = _Shuffle.of(arm, who, groups)
    rng = np.random.default_rng(seed)
    values, out = np.full(draws, np.nan), []
    for i in range(draws):
        shuffled = shuffle.draw(rng).astype(np.float64)
        try:
            one = _found(estimator(y, shuffled, X, **given))
        except NotEstimableError:
            continue
        finally:
            if progress is not None:
                progress((i + 1) / draws, f"shuffle {i + 1} of {draws}")
        values[i] = float(one)
        as_far += math.isfinite(one) and _far(one, null, unit) >= reached * (1 - 1e-12) - 1e-12
        excluded = _excludes(one, null, alpha)
        if excluded is not None:
            out.append(excluded)
    known = values[np.isfinite(values)]
    failed = draws - known.size
    note = f"not estimable in {failed} of {draws} shuffles" if failed else ""
    enough = known.size >= _ESTIMABLE * draws
    rejected = proportion(sum(out), len(out), level=0.95, name="share_rejected") if out else None
    mean = float(known.mean()) if known.size else math.nan
    sd = float(known.std(ddof=1)) if known.size > 1 else math.nan
    within = "patients" if who is not None else "rows"
    how = f"treatment exchanged between {within}" if shuffle.whole else "treatment exchanged within patients"
    return Placebo(
        observed=observed,
        estimates=values,
        p=(1 + as_far) / (1 + known.size) if enough else math.nan,
        rejected=rejected,
        alpha=alpha,
        mean=mean,
        sd=sd,
        n=n,
        draws=draws,
        how=how + ("" if groups is None else " of a stratum") + f", seed {seed}",
        finding=_shuffle_finding(rejected, alpha, mean - null, sd, known.size),
        note=note,
    )


def _shuffle_finding(rejected: Estimate | None, alpha: float, bias: float, sd: float, draws: int) -> Finding | None:
    evidence: dict[str, Any] = {"draws": draws, "alpha": alpha}
    advice = "Use an interval that holds its coverage here: cluster by patient, or take the permutation p."
    if rejected is not None and rejected.lower > alpha:
        evidence |= {"share_rejected": float(rejected), "lower": rejected.lower}
        message = f"Under shuffled treatment {100 * rejected:.1f} % of the intervals exclude no effect."
    elif draws > 1 and sd > 0 and abs(bias) > 4 * sd / math.sqrt(draws):
        evidence |= {"mean": bias, "sd": sd}
        message = "Under shuffled treatment the estimate is not centred on no effect."
        advice = "The estimator is biased on these data: use another one, or say so."
    else:
        return None
    return Finding(
        check="permuted_treatment",
        severity=Severity.WARN,
        where="treatment",
        message=message,
        evidence=evidence,
        advice=advice,
        source="Phipson and Smyth 2010",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NegativeControl:
    """What an estimator finds for an outcome, or an exposure, that has no effect to be found.

    Parameters
    ----------
    name : str
    kind : {"outcome", "exposure"}
    estimate : Estimate or float
        NaN with a note where not estimable.
    n : int
    finding : Finding or None
        Where the interval excludes the null.
    sentence : str
    """

    name: str
    kind: str
    estimate: Estimate | float
    n: int
    finding: Finding | None
    sentence: str


def negative_controls(
    estimator: Estimator,
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    outcomes: Mapping[str, ArrayLike] | None = None,
    exposures: Mapping[str, ArrayLike] | None = None,
    null: float = 0.0,
    alpha: float = 0.05,
    patient: ArrayLike | None = None,
    progress: Callable[[float, str], None] | None = None,
    **options: Any,
) -> tuple[NegativeControl, ...]:
    """Run an estimator on outcomes that treatment cannot change and on exposures that cannot change the outcome.

    An interval that excludes the null shows bias, such as confounding, that the main estimate is likely to share.

    Parameters
    ----------
    estimator : callable
        ``estimator(Y, T, X, **options)``, the same as for the main estimate.
    Y : float array, shape (n,)
    T : 0/1 array, shape (n,)
    X : array, shape (n, p), optional
    outcomes : mapping of str to arrays, shape (n,), optional
        Outcomes that share the confounders of Y and that treatment cannot change.
    exposures : mapping of str to 0/1 arrays, shape (n,), optional
        Exposures that share the confounders of T and cannot change Y.
    null : float
    alpha : float
        1 less the coverage of the estimator's intervals.
    patient : array, shape (n,), optional
        Handed on to the estimator.
    progress : callable, optional
    **options
        Handed to the estimator, such as a propensity; with exposures it must hold for them too.

    Returns
    -------
    tuple of NegativeControl
        Outcomes first, in the order given.

    Raises
    ------
    DataError
        If no control is given, shapes differ, or intervals have another coverage than 1 - alpha.

    Notes
    -----
    Formula: none of its own. With k controls about alpha k of them exclude the null by chance.
    Assumes: a control has the confounders of the main question and no effect. An interval that holds the null is no
    proof that there is no confounding.
    Refuses: nothing to run. A control that is not estimable says so.

    References
    ----------
    Lipsitch, Tchetgen Tchetgen and Cohen, Epidemiology 2010;21:383.

    Examples
    --------
    >>> from aimed.treatment.rates import event_rates
    >>> Y, T, other = np.tile([0, 1], 50), np.tile([0, 1], 50), np.tile([0, 0, 1, 1], 25)
    >>> found = negative_controls(lambda Y, T, X: event_rates(Y, T), Y, T, outcomes={"injury": other})
    >>> print(found[0].sentence)
    The negative control outcome injury shows no effect, as it should: 0 (95 % interval -0.189 to 0.189).
    """
    checked_level(alpha, "alpha")
    y = vector("Y", Y)
    arm = as_arms(T, y.size).astype(np.float64)
    jobs = [("outcome", name, values) for name, values in (outcomes or {}).items()]
    jobs += [("exposure", name, values) for name, values in (exposures or {}).items()]
    if not jobs:
        raise DataError("no negative control", "an outcome or an exposure that has no effect", "name at least one")
    given = dict(options) if patient is None else {"patient": patient, **options}
    found = []
    for i, (kind, name, values) in enumerate(jobs):
        if progress is not None:
            progress(i / len(jobs), name)
        if kind == "outcome":
            data: tuple[Any, Any] = vector(name, values, y.size), arm
        else:
            data = y, as_arms(values, y.size, name=name).astype(np.float64)
        try:
            estimate = _found(estimator(*data, X, **given))
        except NotEstimableError as error:
            estimate = Estimate(math.nan, name=name, n=y.size, note=error.got)
        found.append(_control(kind, name, estimate, y.size, null, alpha))
    return tuple(found)


def _control(kind: str, name: str, estimate: Estimate | float, n: int, null: float, alpha: float) -> NegativeControl:
    who = f"negative control {kind} {name}"
    known: dict[str, Any] = {"name": name, "kind": kind, "estimate": estimate, "n": n}
    if not math.isfinite(estimate):
        why = getattr(estimate, "note", "") or "no number"
        return NegativeControl(**known, finding=None, sentence=f"The {who} is not estimable: {why}.")
    excluded = _excludes(estimate, null, alpha)
    said = f"{float(estimate):.3g}"
    if isinstance(estimate, Estimate) and math.isfinite(estimate.lower):
        said += f" ({100 * estimate.level:g} % interval {estimate.lower:.3g} to {estimate.upper:.3g})"
    if excluded is None:
        return NegativeControl(
            **known, finding=None, sentence=f"The {who} cannot be judged without an interval: {said}."
        )
    if not excluded:
        return NegativeControl(**known, finding=None, sentence=f"The {who} shows no effect, as it should: {said}.")
    finding = Finding(
        check="negative_control",
        severity=Severity.WARN,
        where=name,
        message=f"The {who} shows an effect that it cannot have.",
        evidence={"estimate": float(estimate), "null": null, "n": n},
        advice="Look for confounding, selection or measurement that differs between the arms; the main estimate is "
        "likely to share it.",
        source="Lipsitch, Tchetgen Tchetgen and Cohen 2010",
    )
    return NegativeControl(**known, finding=finding, sentence=f"The {who} shows an effect that it cannot have: {said}.")
