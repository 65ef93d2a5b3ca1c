"""Whether two treatments can be compared: arms, their chance, who could have had either, and what came first."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from aimed.checks.arrays import of, plural
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Cohort, Variable
from aimed.core.finding import Finding
from aimed.core.outcome import Binary, CompetingRisks, Survival

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aimed.checks.context import Context

__all__ = ["Compared", "check"]

_SAY = Reporter(
    "treatment",
    "Hernan and Robins, Am J Epidemiol 2016;183:758; CONSORT 2025, BMJ 2025;389:e081123; "
    "Crump et al., Biometrika 2009;96:187",
)
_FEW_ROWS = 20
_FEW_EVENTS = 10
_ALPHA = 0.001
_ONE_ARM_ROWS = 5
_TOLD = 0.9
_FORETOLD = 0.6
_WEAK = 0.8
_SEPARATED = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the study file says of the treatment, as the check needs it.

    Parameters
    ----------
    assignment : {"randomised", "observational"}
    share : float, optional
        Share of patients that randomisation gives the active treatment.
    strata : tuple of str
        Columns within which patients were randomised.
    started : str, optional
        Date column: when treatment began.
    measured : mapping of str to str
        Predictor, or ``"outcome"``, and the date column that says when it was measured.
    """

    assignment: Literal["randomised", "observational"] = "randomised"
    share: float | None = None
    strata: tuple[str, ...] = ()
    started: str | None = None
    measured: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def check(context: Context) -> list[Finding]:
    """Return findings on the two arms of a study of effects; nothing for another study.

    * STOP: nobody of an arm is followed to the horizon, or an arm has no event at all in a study of events; a predictor
      or a level of it tells the arm of everybody who has it (no overlap); a predictor was measured after treatment
      began, or the outcome was known before it.
    * WARN: fewer than 20 rows or 10 events in an arm; shares of the arms that the ratio of a trial does not explain
      (p < 0.001, exact binomial test); a trial in which a predictor foretells the arm (AUC 0.6 or more, p < 0.001
      corrected); in other data a predictor that nearly separates the arms (AUC 0.8 or more).
    * NOTE: rows and events of the arms.

    Examples
    --------
    >>> from aimed.checks.context import Context
    >>> cohort = Cohort(patient=["a", "b"], variables=[Variable(name="arm", role="treatment")],
    ...                 columns={"arm": [0.0, 1.0]}, outcome=Binary(values=[0, 1], label="death"))
    >>> [f.message for f in check(Context(cohort, compared=Compared())) if f.severity.value == "STOP"]
    ['The control arm has no event among 1 row.']
    """
    name = context.cohort.names("treatment")
    compared = context.compared
    if not name or compared is None:
        return []
    cohort = context.cohort
    treated = np.asarray(cohort.column(name[0]) == 1.0)
    found = _arms(context, name[0], treated)
    if compared.assignment == "randomised" and compared.share is not None:
        found += _ratio(cohort, name[0], treated, compared.share)
    tested = max(1, len(cohort.predictors))
    for v in cohort.predictors:
        found += _overlap(cohort, v, treated, compared, tested)
    for stratum in compared.strata:
        if cohort.variable(stratum).role != "predictor" and cohort.variable(stratum).kind == "category":
            found += _overlap(cohort, cohort.variable(stratum), treated, compared, tested)
    return [*found, *_order(cohort, compared)]


def _arms(context: Context, name: str, treated: NDArray[np.bool_]) -> list[Finding]:
    outcome, found = context.cohort.outcome, list[Finding]()
    sizes = {"active": treated, "control": ~treated}
    rows = {arm: int(mask.sum()) for arm, mask in sizes.items()}
    events: dict[str, int] = {}
    if isinstance(outcome, Binary | Survival | CompetingRisks):
        for arm, mask in sizes.items():
            events[arm] = _events(outcome, mask, context.horizons)
    for arm, n in rows.items():
        if n < _FEW_ROWS:
            found.append(
                _SAY.warn(
                    name,
                    f"The {arm} arm has {plural(n, 'row')}; intervals that rest on many patients are too short.",
                    "Do not learn individual effects from it; an exact analysis of the whole trial may be possible.",
                    rows=n,
                )
            )
    for arm, n in events.items():
        if n == 0 and rows[arm]:
            found.append(
                _SAY.stop(
                    name,
                    f"The {arm} arm has no event among {plural(rows[arm], 'row')}.",
                    "No ratio or hazard can be estimated; choose another outcome or a longer horizon.",
                    rows=rows[arm],
                )
            )
        elif n < _FEW_EVENTS:
            found.append(
                _SAY.warn(
                    name,
                    f"The {arm} arm has {plural(n, 'event')}.",
                    "Report the difference of risks with its interval; do not model the outcome by arm.",
                    events=n,
                    rows=rows[arm],
                )
            )
    if isinstance(outcome, Survival | CompetingRisks):
        for horizon in context.horizons:
            for arm, mask in sizes.items():
                found += _followed(outcome, mask, arm, name, horizon)
    found.append(
        _SAY.note(
            name,
            f"{plural(rows['active'], 'row')} had the active treatment, {rows['control']} the control.",
            rows=rows,
            events=events,
        )
    )
    return found


def _events(outcome: Binary | Survival | CompetingRisks, mask: NDArray[np.bool_], horizons: tuple[float, ...]) -> int:
    if isinstance(outcome, Binary):
        return int(np.asarray(outcome.values)[mask].sum())
    event = outcome.cause == 1 if isinstance(outcome, CompetingRisks) else outcome.event
    within = outcome.time <= max(horizons) if horizons else np.ones(mask.size, dtype=bool)
    return int((event & within & mask).sum())


def _followed(
    outcome: Survival | CompetingRisks, mask: NDArray[np.bool_], arm: str, name: str, horizon: float
) -> list[Finding]:
    ended = outcome.cause > 0 if isinstance(outcome, CompetingRisks) else outcome.event
    free = mask & ~(ended & (outcome.time <= horizon))
    if not free.any() or (outcome.time[free] >= horizon).any():
        return []
    last = float(outcome.time[mask].max())
    return [
        _SAY.stop(
            name,
            f"Nobody of the {arm} arm is followed to the horizon of {horizon:g} {outcome.unit}s.",
            f"Choose a horizon of at most {last:g} {outcome.unit}s; beyond it nothing is known of this arm.",
            horizon=horizon,
            longest=last,
        )
    ]


def _ratio(cohort: Cohort, name: str, treated: NDArray[np.bool_], share: float) -> list[Finding]:
    first = np.unique(cohort.patient, return_index=True)[1]
    k, n = int(treated[first].sum()), int(first.size)
    p = float(binomtest(k, n, share).pvalue)
    if p >= _ALPHA:
        return []
    return [
        _SAY.warn(
            name,
            f"{of(k, n, 'patient')} had the active treatment where the ratio of the trial gives {100 * share:.1f} %.",
            "Look for patients who were randomised and are not in the table; such a trial is no longer randomised.",
            active=k,
            n=n,
            expected=share,
            p=p,
        )
    ]


def _overlap(cohort: Cohort, v: Variable, treated: NDArray[np.bool_], compared: Compared, tested: int) -> list[Finding]:
    column = cohort.column(v.name)
    if v.kind == "category":
        return _levels(v, column, treated, compared)
    if v.kind != "number":
        return []
    known = ~np.isnan(column)
    x, arm = column[known], treated[known]
    if arm.all() or not arm.any():
        return []
    if np.unique(x).size == 2:
        return _levels(v, np.where(known, (column == x.max()).astype(np.int32), -1), treated, compared)
    auc, error = _auc(x, arm)
    strength, z = max(auc, 1.0 - auc), abs(auc - 0.5) / error if error > 0 else 0.0
    if strength >= _SEPARATED:
        return [_separated(v, 100.0 * strength, int(known.sum()))]
    trial = compared.assignment == "randomised"
    foretold = trial and strength >= _FORETOLD and 2 * norm.sf(z) * tested < _ALPHA
    if foretold or (not trial and strength >= _WEAK):
        return [_foretells(v, strength, trial)]
    return []


def _levels(v: Variable, codes: NDArray[np.int32], treated: NDArray[np.bool_], compared: Compared) -> list[Finding]:
    """Look for levels that one arm only has."""
    levels = np.unique(codes[codes >= 0])
    alone = [int(c) for c in levels if (codes == c).sum() >= _ONE_ARM_ROWS and treated[codes == c].all()]
    alone += [int(c) for c in levels if (codes == c).sum() >= _ONE_ARM_ROWS and not treated[codes == c].any()]
    if not alone:
        return []
    rows = int(np.isin(codes, alone).sum())
    if rows >= _TOLD * max(1, int((codes >= 0).sum())):
        return [_separated(v, 100.0 * rows / codes.size, rows)]
    say = _SAY.warn if compared.assignment == "randomised" else _SAY.stop
    return [
        say(
            v.name,
            f"{plural(len(alone), 'level')} of '{v.name}' with {plural(rows, 'row')} had one treatment only.",
            "Nothing is known of the other treatment there: leave these rows out with [data] include and say so in the "
            "population, or put levels together.",
            levels=len(alone),
            rows=rows,
        )
    ]


def _separated(v: Variable, share: float, rows: int) -> Finding:
    return _SAY.stop(
        v.name,
        f"'{v.name}' tells the arm of about {share:.0f} % of the rows: it is the treatment under another name, or the "
        "arms do not overlap.",
        "Take it out of [predictors]; if it is a true difference between the patients, the arms cannot be compared.",
        rows=rows,
    )


def _foretells(v: Variable, strength: float, trial: bool) -> Finding:
    if trial:
        return _SAY.warn(
            v.name,
            f"'{v.name}' foretells the arm of this trial (AUC {strength:.2f}); chance does not explain it.",
            "Make sure that it was measured before randomisation and that nobody was left out afterwards.",
            auc=strength,
        )
    return _SAY.warn(
        v.name,
        f"'{v.name}' nearly separates the arms (AUC {strength:.2f}).",
        "Look at the overlap and at trimmed estimates; leave it out if it does not touch the outcome.",
        auc=strength,
    )


def _auc(x: NDArray[np.float64], arm: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the chance that a treated row has the larger value, and its error under no difference, ties counted."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2.0
    m, n = int(arm.sum()), int((~arm).sum())
    auc = (float(rank[place][arm].sum()) - m * (m + 1) / 2.0) / (m * n)
    ties = float(((counts.astype(np.float64) ** 3) - counts).sum())
    total = m + n
    variance = (total + 1 - ties / (total * (total - 1))) / (12.0 * m * n)
    return auc, math.sqrt(max(variance, 0.0))


def _order(cohort: Cohort, compared: Compared) -> list[Finding]:
    """Look for what was measured on the wrong side of the start of treatment."""
    begun = cohort.column(compared.started) if compared.started is not None else cohort.time
    if begun is None:
        return []
    found = []
    for name, dates in compared.measured.items():
        when = cohort.column(dates)
        both = ~np.isnat(when) & ~np.isnat(begun)
        wrong = both & ((when <= begun) if name == "outcome" else (when > begun))
        if not wrong.any():
            continue
        n, total = int(wrong.sum()), int(both.sum())
        if name == "outcome":
            message = f"The outcome was known before treatment began in {of(n, total)}."
            advice = "Leave these rows out with [data] include: treatment cannot change what has happened."
        else:
            message = f"'{name}' was measured after treatment began in {of(n, total)}."
            advice = "Take it out of [predictors]: adjusting for what treatment changes hides its effect."
        found.append(_SAY.stop(name, message, advice, rows=n, n=total))
    return found
