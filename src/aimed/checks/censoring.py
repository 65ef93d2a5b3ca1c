"""Whether follow-up reaches the horizons and censoring has nothing to do with the predictors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural, sample
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Variable
from aimed.core.errors import NotEstimableError
from aimed.core.finding import Finding
from aimed.core.outcome import Binary, CompetingRisks, Survival
from aimed.metrics.nonparametric import log_rank, median_followup

__all__ = ["check"]

_SAY = Reporter(
    "censoring",
    "Schemper and Smith, Control Clin Trials 1996;17:343; McLernon et al., Ann Intern Med 2023;176:105; "
    "Gerds and Schumacher, Biom J 2006;48:1029",
)
_FOLLOWED = 20
_FOLLOWED_SHARE = 0.10
_LOST = 0.50
_COARSE = 20
_COARSE_ROWS = 100
_HEAP = 0.10
_HEAP_EVENTS = 50
_ALPHA = 0.001
_RATIO = 1.5
_TESTED = 20_000
_LEVELS = 10
_LEVEL_ROWS = 20
_LEFT_OUT = 0.30


def check(context: Context) -> list[Finding]:
    """Return findings on follow-up and censoring of a time to event, or of a yes/no outcome made from one.

    Whether censoring depends on a predictor is a log-rank test of the time to censoring over thirds of a number or
    levels of a category, on the first row of each patient and at most 20,000 of them (a fixed sample), in
    ``train`` when there is a split. A competing event ends follow-up and is not censoring.

    * STOP: no row, or no row of a part, is followed to a horizon; no event by a horizon.
    * WARN: fewer than 20 rows or a tenth followed to a horizon; more than half censored before it; fewer than 20
      distinct times among 100 rows or more; a tenth of 50 events or more at one time; censoring that depends on a
      predictor (p < 0.001, Bonferroni-corrected, and observed over expected 1.5 times apart).
    * For a yes/no outcome at a horizon: WARN when rows censored before it were left out, STOP above 30 %.
    * NOTE: share censored, median follow-up (reverse Kaplan-Meier), counts at each horizon.

    Examples
    --------
    >>> from aimed.core import Cohort
    >>> cohort = Cohort(patient=["a", "b"], variables=[], columns={},
    ...                 outcome=Survival(event=[True, False], time=[5.0, 9.0], label="death"))
    >>> [f.message for f in check(Context(cohort, horizons=(30,)))][0]
    'No row of the table is followed to the horizon of 30 days.'
    """
    outcome = context.cohort.outcome
    if isinstance(outcome, Binary):
        return _left_out(context)
    if not isinstance(outcome, (Survival, CompetingRisks)) or outcome.n == 0:
        return []
    if isinstance(outcome, Survival):
        event = ended = outcome.event
        label = outcome.label
    else:
        event, ended, label = outcome.cause == 1, outcome.cause > 0, outcome.labels[0]
    time = outcome.time
    found: list[Finding] = []
    for horizon in context.horizons:
        for part, rows in {"table": np.arange(outcome.n), **context.parts}.items():
            found += _horizon(part, horizon, outcome.unit, event[rows], ended[rows], time[rows])
    found += _ties(event, time)
    found += _dependent(context, ended, time)
    censored = int((~ended).sum())
    if not censored:
        found.append(
            _SAY.warn(
                f"outcome:{label}",
                "No row is censored: everybody had an event while they were followed.",
                "Make sure that rows without an event were not left out; that would raise every risk.",
                n=outcome.n,
            )
        )
    median, lower, upper = median_followup(ended, time)
    followed = "" if median is None else f"; the median follow-up is {median:.4g} {outcome.unit}s"
    found.append(
        _SAY.note(
            f"outcome:{label}",
            f"{of(censored, outcome.n)} are censored{followed}.",
            censored=censored,
            n=outcome.n,
            events=int(event.sum()),
            median_follow_up={"value": median, "lower": lower, "upper": upper, "unit": outcome.unit},
        )
    )
    return found


def _left_out(context: Context) -> list[Finding]:
    """Leaving out rows censored before the horizon keeps early events and so raises the risk."""
    found = []
    for step in context.cohort.flow:
        if step.removed and "risk_of_all" in step.evidence:
            whole, kept = step.evidence["risk_of_all"], step.evidence["risk_of_kept"]
            share = step.removed / (step.removed + step.remaining)
            say = _SAY.stop if share > _LEFT_OUT else _SAY.warn
            found.append(
                say(
                    "outcome",
                    f"{plural(step.removed, 'row')} ({100 * share:.1f} %) censored before the horizon were left out; "
                    f"the risk is {kept:.3f} in the rows kept and {whole:.3f} by Kaplan-Meier in all.",
                    "Use a survival study, which uses these rows.",
                    removed=step.removed,
                    share=share,
                    risk_of_kept=kept,
                    risk_of_all=whole,
                )
            )
    return found


def _horizon(
    part: str,
    horizon: float,
    unit: str,
    event: NDArray[np.bool_],
    ended: NDArray[np.bool_],
    time: NDArray[np.float64],
) -> list[Finding]:
    n = int(time.size)
    if n == 0:
        return []
    by = time <= horizon
    events, followed = int((event & by).sum()), int((time >= horizon).sum())
    lost, later = int((~ended & (time < horizon)).sum()), int((event & ~by).sum())
    where, at = f"{part}@{horizon:g}", f"the horizon of {horizon:g} {unit}s"
    counts = {"horizon": horizon, "n": n, "events": events, "followed": followed, "lost": lost, "events_after": later}
    the_part = "the table" if part == "table" else part
    if followed == 0:
        message = f"No row of {the_part} is followed to {at}."
        return [_SAY.stop(where, message, "Choose an earlier horizon.", **counts)]
    if events == 0:
        message = f"No event happens in {the_part} by {at}."
        return [_SAY.stop(where, message, "Choose a later horizon, or check the unit of time.", **counts)]
    found = []
    if followed < max(_FOLLOWED, _FOLLOWED_SHARE * n):
        message = f"{of(followed, n)} of {the_part} are followed to {at}."
        found.append(_SAY.warn(where, message, "Choose an earlier horizon, or read its measures with care.", **counts))
    if lost > _LOST * n:
        message = f"{of(lost, n)} of {the_part} are censored before {at}."
        found.append(_SAY.warn(where, message, "Choose an earlier horizon, or read its measures with care.", **counts))
    if part == "table" and not found:
        message = (
            f"By {at} {plural(events, 'event')} happen, {plural(lost, 'row')} are censored and {followed:,} go on."
        )
        advice = "No event follows the horizon, so discrimination later on is unknown." if later == 0 else ""
        found.append(_SAY.note(where, message, advice, **counts))
    return found


def _ties(event: NDArray[np.bool_], time: NDArray[np.float64]) -> list[Finding]:
    n, events = int(time.size), int(event.sum())
    distinct = int(np.unique(time).size)
    if n >= _COARSE_ROWS and distinct < _COARSE:
        message = f"The times of {plural(n, 'row')} have {plural(distinct, 'distinct value')} only."
        advice = "Use the exact dates; weights for censoring are sensitive to coarse times."
        return [_SAY.warn("outcome", message, advice, n=n, distinct=distinct)]
    if events >= _HEAP_EVENTS:
        most = int(np.unique(time[event], return_counts=True)[1].max())
        if most > _HEAP * events:
            message = f"{of(most, events, 'event')} happen at one and the same time."
            advice = "Check whether this time stands for an unknown date or for the day of a visit."
            return [_SAY.warn("outcome", message, advice, events=events, at_one_time=most)]
    return []


def _dependent(context: Context, ended: NDArray[np.bool_], time: NDArray[np.float64]) -> list[Finding]:
    cohort = context.cohort
    first = np.sort(np.unique(context.patient_codes[context.rows], return_index=True)[1])
    rows = context.rows[first][sample(first.size, _TESTED)]
    censored = ~ended[rows]
    if censored.sum() < _LEVEL_ROWS:
        return []
    # An event at the time of a censoring comes first, so that row is no longer at risk of being censored.
    order = 2.0 * np.unique(time[rows], return_inverse=True)[1] + censored
    judged = [v for v in cohort.predictors if v.kind in ("number", "category")]
    found = []
    for v in judged:
        group = _groups(v, cohort.columns[v.name][rows])
        known = group >= 0
        if np.unique(group[known]).size < 2 or censored[known].sum() < _LEVEL_ROWS:
            continue
        try:
            test = log_rank(censored[known], order[known], group[known])
        except NotEstimableError:
            continue
        ratios = test.observed / np.maximum(test.expected, 1e-12)
        apart = float(ratios.max() / max(float(ratios.min()), 1e-12))
        if test.p * len(judged) < _ALPHA and apart > _RATIO:
            found.append(
                _SAY.warn(
                    v.name,
                    f"Censoring depends on '{v.name}': between its groups it differs {min(apart, 1000.0):.1f}-fold.",
                    "Weights that ignore it are biased; check how follow-up ended, and weight for censoring given it.",
                    statistic=test.statistic,
                    df=test.df,
                    p=test.p,
                    tests=len(judged),
                    observed=test.observed.tolist(),
                    expected=test.expected.tolist(),
                    n=int(known.sum()),
                    sampled=bool(first.size > _TESTED),
                )
            )
    return found


def _groups(variable: Variable, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return thirds of a number, or the commonest levels of a category, -1 where missing or rare."""
    if variable.kind == "category":
        group = values.astype(np.int64)
        rows = np.bincount(group[group >= 0], minlength=1)
        common = np.argsort(-rows, kind="stable")[:_LEVELS]
        common = common[rows[common] >= _LEVEL_ROWS]
        return np.where(np.isin(group, common), group, -1)
    known = np.isfinite(values)
    if not known.any():
        return np.full(values.size, -1)
    cuts = np.quantile(values[known], (1 / 3, 2 / 3))
    group = np.searchsorted(cuts, np.where(known, values, cuts[0]), side="left").astype(np.int64)
    group[~known] = -1
    rows = np.bincount(group[known], minlength=3)
    return np.where(np.isin(group, np.flatnonzero(rows >= _LEVEL_ROWS)), group, -1)
