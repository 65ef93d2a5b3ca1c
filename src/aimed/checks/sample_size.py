"""Whether there are enough rows and events for the candidate parameters, by Riley's criteria."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aimed.checks.arrays import plural
from aimed.checks.context import Context, Target
from aimed.checks.reporter import Reporter
from aimed.core.errors import DataError
from aimed.core.finding import Finding

__all__ = ["SampleSize", "check", "riley_binary", "riley_survival"]

_SAY = Reporter("sample_size", "Riley et al., Stat Med 2019;38:1276; Riley et al., BMJ 2020;368:m441")
_Z = 1.96
_SHARE_OF_MAX = 0.15


@dataclass(frozen=True, slots=True)
class SampleSize:
    """Rows that each criterion asks for, and the largest of them.

    Parameters
    ----------
    shrinkage : int
        Rows for an expected shrinkage of at least 0.9.
    optimism : int
        Rows for an optimism of at most 0.05 in Nagelkerke's R2.
    mean_risk : int
        Rows for the overall risk within 0.05 of its estimate (95 % interval).
    required : int
        The largest of the three.
    dominant : str
        Which one that is.
    events : float
        Expected events among the required rows.
    events_per_parameter : float
    parameters : int
    r2_cs, max_r2_cs : float
        Anticipated and largest possible R2 of Cox and Snell.
    """

    shrinkage: int
    optimism: int
    mean_risk: int
    required: int
    dominant: str
    events: float
    events_per_parameter: float
    parameters: int
    r2_cs: float
    max_r2_cs: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def riley_binary(
    prevalence: float,
    parameters: int,
    r2_cs: float | None = None,
    *,
    shrinkage: float = 0.9,
    optimism: float = 0.05,
    margin: float = 0.05,
) -> SampleSize:
    """Return the rows needed to develop a model of a yes/no outcome.

    Parameters
    ----------
    prevalence : float
        Overall risk, between 0 and 1.
    parameters : int
        Candidate predictor parameters, without the intercept.
    r2_cs : float, optional
        Anticipated Cox-Snell R2, adjusted for optimism; by default 15 % of the largest possible, as Riley et al.
        (2020) advise when nothing is known.
    shrinkage, optimism, margin : float
        Targets of the three criteria.

    Raises
    ------
    DataError
        If the prevalence is not strictly between 0 and 1, there is no parameter, or R2 is out of reach.

    References
    ----------
    Riley et al., Stat Med 2019;38:1276; BMJ 2020;368:m441.

    Examples
    --------
    >>> size = riley_binary(0.174, 24, r2_cs=0.288)
    >>> size.shrinkage, size.optimism, size.mean_risk, size.required
    (623, 662, 221, 662)
    """
    if not 0 < prevalence < 1:
        raise DataError(f"a prevalence of {prevalence:g}", "a number between 0 and 1")
    log_null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log1p(-prevalence)
    third = (_Z / margin) ** 2 * prevalence * (1 - prevalence)
    return _sizes(parameters, r2_cs, 1 - math.exp(2 * log_null), third, prevalence, shrinkage, optimism)


def riley_survival(
    rate: float,
    mean_follow_up: float,
    horizon: float,
    parameters: int,
    r2_cs: float | None = None,
    *,
    shrinkage: float = 0.9,
    optimism: float = 0.05,
    margin: float = 0.05,
) -> SampleSize:
    """Return the rows needed to develop a model of a time-to-event outcome.

    The overall risk at the horizon is ``1 - exp(-rate * horizon)``, as for a constant rate; both limits of its
    95 % interval must lie within `margin`.

    Parameters
    ----------
    rate : float
        Events per unit of follow-up time.
    mean_follow_up, horizon : float
        In the same unit of time.
    parameters, r2_cs, shrinkage, optimism, margin
        See `riley_binary`.

    Raises
    ------
    DataError
        If rate, follow-up or horizon is not positive, there is no parameter, or R2 is out of reach.

    References
    ----------
    Riley et al., Stat Med 2019;38:1276; BMJ 2020;368:m441.

    Examples
    --------
    >>> riley_survival(0.065, 2.07, 2, 30, r2_cs=0.051).required
    5143
    """
    if not min(rate, mean_follow_up, horizon) > 0:
        raise DataError("a rate, follow-up or horizon that is not positive", "positive numbers in one unit of time")
    # The null likelihood is that of a constant rate with the mean follow-up as the unit of time.
    events = rate * mean_follow_up
    max_r2 = 1 - math.exp(2 * events * (math.log(events) - 1))
    # The lower limit is the farther one; solving risk - lower = margin for the standard error of the rate.
    error = math.log1p(margin * math.exp(rate * horizon)) / (_Z * horizon)
    third = rate / (mean_follow_up * error**2)
    return _sizes(parameters, r2_cs, max_r2, third, events, shrinkage, optimism)


def _sizes(
    parameters: int,
    r2_cs: float | None,
    max_r2: float,
    third: float,
    events_per_row: float,
    shrinkage: float,
    optimism: float,
) -> SampleSize:
    if parameters < 1:
        raise DataError(f"{parameters} candidate parameters", "at least 1")
    r2 = _SHARE_OF_MAX * max_r2 if r2_cs is None else r2_cs
    if not 0 < r2 < min(max_r2, shrinkage):
        raise DataError(
            f"a Cox-Snell R2 of {r2:.3g}",
            f"more than 0 and less than {min(max_r2, shrinkage):.3g}, the largest possible",
        )
    implied = r2 / (r2 + optimism * max_r2)
    needs = {
        "shrinkage": _rows(parameters, r2, shrinkage),
        "optimism": _rows(parameters, r2, implied),
        "mean_risk": math.ceil(third - 1e-9),
    }
    dominant = max(needs, key=lambda name: needs[name])
    required = needs[dominant]
    return SampleSize(
        **needs,
        required=required,
        dominant=dominant,
        events=required * events_per_row,
        events_per_parameter=required * events_per_row / parameters,
        parameters=parameters,
        r2_cs=r2,
        max_r2_cs=max_r2,
    )


def _rows(parameters: int, r2: float, shrinkage: float) -> int:
    return math.ceil(parameters / ((shrinkage - 1) * math.log1p(-r2 / shrinkage)) - 1e-9)


def check(context: Context) -> list[Finding]:
    """Return findings on the size of ``train``, or of the table without a split.

    One horizon is judged: the largest stated, or the median time where none is. Rows of one patient count as rows,
    so with repeated rows the true need is larger; the evidence holds the number of patients.

    * WARN: fewer rows than Riley's criteria ask for; rows for which they cannot be computed are left to `outcome`.
    * NOTE: enough rows. The evidence of both holds what each criterion asks for. Networks that read pictures have no
      such criteria: a NOTE says what there is to learn from.

    Examples
    --------
    >>> from aimed.core import Binary, Cohort, Variable
    >>> cohort = Cohort(patient=range(100), variables=[Variable(name="x")], columns={"x": range(100)},
    ...                 outcome=Binary(values=[0, 1] * 50))
    >>> check(Context(cohort))[0].message
    "100 rows with 50 events of 'outcome' for 1 candidate parameter are fewer than the 385 rows needed."
    """
    if context.images is not None and not context.cohort.predictors:
        return _pictures(context)
    found = []
    for target in context.train_targets:
        finding = _one(context, target)
        if finding is not None:
            found.append(finding)
    return found


def _pictures(context: Context) -> list[Finding]:
    events = {target.name: target.events for target in context.train_targets}
    if not events:
        return []
    n, patients = context.rows.size, int(np.unique(context.patient_codes[context.rows]).size)
    low, high = min(events.values()), max(events.values())
    many = f"{low:,} to {high:,} events of {plural(len(events), 'finding')}" if low < high else plural(low, "event")
    message = f"There is no rule for the sample size of a network that reads pictures: {plural(n, 'picture')} of "
    message += f"{plural(patients, 'patient')} with {many} are there to learn from."
    advice = "Read the learning curve and the intervals, and compare with the simple baselines."
    return [_SAY.note("outcome", message, advice, n=n, patients=patients, events=events)]


def _one(context: Context, target: Target) -> Finding | None:
    n, events, parameters = target.n, target.events, context.n_parameters
    if parameters < 1 or events == 0:
        return None
    horizon = None
    if target.time is None:
        if events == n:
            return None
        size = riley_binary(events / n, parameters)
    else:
        follow_up = float(target.time.mean())
        horizon = max(context.horizons, default=float(np.median(target.time)))
        size = riley_survival(events / float(target.time.sum()), follow_up, horizon, parameters)
    have = f"{plural(n, 'row')} with {plural(events, 'event')} of '{target.name}' for "
    have += plural(parameters, "candidate parameter")
    evidence = {
        "n": n,
        "events": events,
        "patients": int(np.unique(context.patient_codes[target.rows]).size),
        "parameters": parameters,
        "events_per_parameter": events / parameters,
        "horizon": horizon,
        "r2_assumed": "15 % of the largest possible Cox-Snell R2",
        "required": size.to_dict(),
    }
    where = f"outcome:{target.name}"
    if n < size.required:
        message = f"{have} are fewer than the {size.required:,} rows needed."
        advice = "Use fewer candidate parameters, penalise, collect more, and look at the stability of the model."
        return _SAY.warn(where, message, advice, **evidence)
    return _SAY.note(where, f"{have} reach the {size.required:,} rows needed.", "", **evidence)
