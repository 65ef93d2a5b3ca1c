"""Whether two treatments can be compared: arms, their chance, who could have had either, and what came first."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

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
_CARRIED_OUT = ("treatment policy", "composite", "competing risk")
"""Strategies that lie in how the outcome is defined; the others need an analysis of their own."""


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
    strategies : mapping of str to str
        What may happen after treatment began, and the strategy of ICH E9(R1) declared for it.
    """

    assignment: Literal["randomised", "observational"] = "randomised"
    share: float | None = None
    strata: tuple[str, ...] = ()
    started: str | None = None
    measured: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    strategies: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def check(context: Context) -> list[Finding]:
    """Return findings on the two arms of a study of effects; nothing for another study.

    * STOP: nobody of an arm is followed to the horizon; no event at all in a study of events, or in an arm where the
      outcome is a time to an event; a predictor or a level of it tells the arm of everybody who has it (no overlap); a
      predictor was measured after treatment began, or the outcome was known by that day.
    * WARN: fewer than 20 rows or 10 events in an arm, none of them included where the outcome is 0/1 and the other arm
      has events; shares of the arms that the ratio of a trial does not explain
      (p < 0.001, exact binomial test); a trial in which a predictor foretells the arm (AUC 0.6 or more, p < 0.001
      corrected); in other data a predictor that nearly separates the arms (AUC 0.8 or more).
    * NOTE: rows and events of the arms; small levels with one treatment, which chance explains.

    Examples
    --------
    >>> from aimed.checks.context import Context
    >>> cohort = Cohort(patient=["a", "b"], variables=[Variable(name="arm", role="treatment")],
    ...                 columns={"arm": [0.0, 1.0]}, outcome=Binary(values=[0, 1], label="death"))
    >>> found = check(Context(cohort, compared=Compared()))
    >>> [(f.severity.value, f.message) for f in found if "no event" in f.message]
    [('WARN', 'The control arm has no event among 1 row.')]
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
    looked_at = [*cohort.predictors]
    for stratum in compared.strata:
        if cohort.variable(stratum).role != "predictor" and cohort.variable(stratum).kind == "category":
            looked_at.append(cohort.variable(stratum))
    patient = np.unique(cohort.patient, return_inverse=True)[1]
    for v in looked_at:
        found += _overlap(v, cohort.column(v.name), treated, patient, compared, len(looked_at))
    return [*found, *_order(cohort, compared), *_strategies(compared)]


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
        if n == 0 and rows[arm] and isinstance(outcome, Binary) and any(events.values()):
            found.append(
                _SAY.warn(
                    name,
                    f"The {arm} arm has no event among {plural(rows[arm], 'row')}.",
                    "The difference of risks as observed can be told, with its interval; ratios and regressions of the "
                    "outcome in this arm cannot.",
                    events=0,
                    rows=rows[arm],
                )
            )
        elif n == 0 and rows[arm]:
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
    # The longest time of all would be that of one patient.
    longest = np.sort(outcome.time[mask])[-_ONE_ARM_ROWS:]
    known = longest.size == _ONE_ARM_ROWS
    at_most = f"at most {longest[0]:g} {outcome.unit}s" if known else "a shorter time"
    return [
        _SAY.stop(
            name,
            f"Nobody of the {arm} arm is followed to the horizon of {horizon:g} {outcome.unit}s.",
            f"Choose a horizon of {at_most}; beyond the last follow-up nothing is known of this arm.",
            horizon=horizon,
            followed=float(longest[0]) if known else None,
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


def _overlap(
    v: Variable,
    column: NDArray[Any],
    treated: NDArray[np.bool_],
    patient: NDArray[np.int64],
    compared: Compared,
    tested: int,
) -> list[Finding]:
    if v.kind == "category":
        return _levels(v, column, treated, patient, compared, tested)
    if v.kind != "number":
        return []
    known = np.flatnonzero(~np.isnan(column))
    if np.unique(column[known]).size == 2:
        codes = np.full(column.size, -1, dtype=np.int64)
        codes[known] = column[known] == column[known].max()
        return _levels(v, codes, treated, patient, compared, tested)
    # Rows of a patient share the arm: one of them is what chance had to deal with.
    known = known[np.unique(patient[known], return_index=True)[1]]
    x, arm = column[known], treated[known]
    if arm.all() or not arm.any():
        return []
    auc, error = _auc(x, arm)
    strength, z = max(auc, 1.0 - auc), abs(auc - 0.5) / error if error > 0 else 0.0
    beyond_chance = 2 * norm.sf(z) * tested < _ALPHA
    if strength >= _SEPARATED and beyond_chance:
        return [_separated(v, 100.0 * strength, int(known.size))]
    trial = compared.assignment == "randomised"
    if strength >= (_FORETOLD if trial else _WEAK) and beyond_chance:
        return [_foretells(v, strength, trial)]
    return []


def _levels(
    v: Variable,
    codes: NDArray[Any],
    treated: NDArray[np.bool_],
    patient: NDArray[np.int64],
    compared: Compared,
    tested: int,
) -> list[Finding]:
    """Look for levels that one arm only has, and whether chance explains that."""
    known = codes >= 0
    rows = np.bincount(codes[known])
    active = np.bincount(codes[known], weights=treated[known], minlength=rows.size)
    share, there = float(treated.mean()), int((rows > 0).sum())
    alone, by_chance = list[int](), list[int]()
    for c in np.flatnonzero((rows >= _ONE_ARM_ROWS) & ((active == 0) | (active == rows))):
        each = share if active[c] else 1.0 - share
        likely = each ** np.unique(patient[codes == c]).size * there * tested
        (alone if likely < _ALPHA else by_chance).append(int(c))
    told = int(rows[alone].sum())
    if alone and told >= _TOLD * int(known.sum()):
        return [_separated(v, 100.0 * told / codes.size, told)]
    found = []
    if alone:
        say = _SAY.warn if compared.assignment == "randomised" else _SAY.stop
        found.append(
            say(
                v.name,
                f"{plural(len(alone), 'level')} of '{v.name}' with {plural(told, 'row')} had one treatment only.",
                "Nothing is known of the other treatment there: leave these rows out with [data] include and say so in "
                "the population, or put levels together.",
                levels=len(alone),
                rows=told,
            )
        )
    if by_chance:
        few = int(rows[by_chance].sum())
        found.append(
            _SAY.note(
                v.name,
                f"{plural(len(by_chance), 'small level')} of '{v.name}' with {plural(few, 'row')} had one treatment "
                "only, as may happen by chance.",
                "Put rare levels together.",
                levels=len(by_chance),
                rows=few,
            )
        )
    return found


def _separated(v: Variable, share: float, rows: int) -> Finding:
    where = "[predictors]" if v.role == "predictor" else "[treatment] strata"
    return _SAY.stop(
        v.name,
        f"'{v.name}' tells the arm of about {share:.0f} % of the rows: it is the treatment under another name, or the "
        "arms do not overlap.",
        f"Take it out of {where}; if it is a true difference between the patients, the arms cannot be compared.",
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


def _strategies(compared: Compared) -> list[Finding]:
    """Say which declared strategies are not those of the analysis, which compares patients as they were assigned."""
    other = sorted({strategy for strategy in compared.strategies.values() if strategy not in _CARRIED_OUT})
    return [
        _SAY.warn(
            "estimand",
            f"The strategy '{strategy}' is declared and is not carried out: patients are compared as they were "
            "assigned, whatever happened afterwards.",
            "Read the estimate as that of a treatment policy, or analyse the trial for that strategy elsewhere.",
            strategy=strategy,
        )
        for strategy in other
    ]


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
            message = f"The outcome was known by the day treatment began in {of(n, total)}."
            advice = "Leave these rows out with [data] include: treatment cannot change what has happened."
        else:
            message = f"'{name}' was measured after treatment began in {of(n, total)}."
            advice = "Take it out of [predictors]: adjusting for what treatment changes hides its effect."
        found.append(_SAY.stop(name, message, advice, rows=n, n=total))
    return found
