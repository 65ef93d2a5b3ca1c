"""Whether a predictor tells the outcome: by its association, its name, its date or its missing values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural, sample
from aimed.checks.context import Context, Target
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Variable, is_missing
from aimed.core.errors import NotEstimableError
from aimed.core.finding import Finding, Severity
from aimed.core.outcome import Continuous
from aimed.metrics.concordance import harrell_c
from aimed.metrics.discrimination import auroc

__all__ = ["check", "telling_name"]

_SAY = Reporter("leakage", "Kaufman et al., ACM TKDD 2012;6:15; Kapoor and Narayanan, Patterns 2023;4:100804")
_HIGH = 0.98
_MISSING_HIGH = 0.90
_ENOUGH = 20
_LEAST = 5
_EACH_CLASS = 50_000
_FOLLOWED = 100_000
_CODED = 20
_FOLDS = 5


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_AFTER = _set(
    "autopsy censored censor censoring dead death deaths deceased died discharge discharged dod exitus expired "
    "followup fustat futime los mortality necropsy outcome outcomes postmortem readmission readmitted relapsed "
    "survival survived survivor"
)
_AFTER_PHRASES = (("follow", "up"), ("last", "contact"), ("last", "seen"), ("length", "stay"), ("length", "of", "stay"))
_HARMLESS = _set(
    "prior previous past family familial history hx fhx before baseline parent parental mother maternal father "
    "paternal sibling"
)
_GENERIC = _set("class event label outcome status target time value result")


def telling_name(name: str, outcomes: tuple[str, ...] = ()) -> bool:
    """Return True when a column's name says that it is known only after the outcome.

    It looks for words such as death, discharge or follow-up, and for the names of the outcome columns; words such
    as family, prior or history make a name harmless.

    Examples
    --------
    >>> [telling_name(n) for n in ("DeathDate", "follow_up_days", "hospital.los", "family_death", "deadlift")]
    [True, True, True, False, False]
    >>> telling_name("tenyear_chd_flag", ("TenYearCHD",))
    True
    """
    words = _words(name)
    if _HARMLESS & set(words):
        return False
    if _AFTER & set(words):
        return True
    if any(words[i : i + len(p)] == p for p in _AFTER_PHRASES for i in range(len(words))):
        return True
    plain = "".join(words)
    named = ("".join(_words(outcome)) for outcome in outcomes)
    return any(len(o) >= 4 and o not in _GENERIC and o in plain for o in named)


def check(context: Context) -> list[Finding]:
    """Return findings on predictors that may carry the answer.

    Associations are looked up in ``train`` when there is a split. Numbers are ranked as they are; categories, and
    numbers with at most 20 values, are replaced by event rates from other patients (5-fold), so that noise in many
    levels is not flagged. Above 100,000 rows a fixed sample is used: up to 50,000 rows with and 50,000 without the
    event, or 100,000 rows with follow-up.

    * STOP: a predictor equal to the outcome; an AUROC, or Harrell's C, above 0.98 or below 0.02 with at least 20
      events, be it of the values or of whether they are missing; a predictor measured after the index time.
    * WARN: the same with 5 to 19 events; a name that tells; missing values with an AUROC or C above 0.90 or below
      0.10.
    * NOTE: what was seen in columns that the author allows; that no measurement time could be compared.

    Examples
    --------
    >>> from aimed.core import Binary, Cohort
    >>> y = [0, 1] * 30
    >>> cohort = Cohort(patient=range(60), variables=[Variable(name="flag")], columns={"flag": y},
    ...                 outcome=Binary(values=y))
    >>> check(Context(cohort))[0].message
    "The predictor 'flag' equals the outcome 'outcome' in all 60 rows where it is known."
    """
    found: list[Finding] = []
    for target in context.train_targets:
        found += _associations(context, target)
    if isinstance(context.cohort.outcome, Continuous):
        found += _continuous(context, context.cohort.outcome)
    found += _names(context)
    found += _dates(context)
    return [_allowed(f) if f.where in context.allow and f.severity is not Severity.NOTE else f for f in found]


def _associations(context: Context, target: Target) -> list[Finding]:
    others = target.n if target.time is not None else target.n - target.events
    if target.events < _LEAST or others < _LEAST:
        return []
    judged = _Judged(target, context)
    found = []
    for variable in context.cohort.predictors:
        if variable.kind not in ("number", "category"):
            continue
        column = context.cohort.columns[variable.name]
        finding = _same(variable, column[target.rows], target) or judged.strength(variable, column)
        if finding is not None:
            found.append(finding)
        lost = judged.missing(variable, column)
        if lost is not None:
            found.append(lost)
    return found


def _same(variable: Variable, values: NDArray[Any], target: Target) -> Finding | None:
    known = ~is_missing(values, variable.kind)
    event, values = target.event[known], values[known]
    events, n = int(event.sum()), int(known.sum())
    if n < 2 * _LEAST:
        return None
    if min(events, n - events) >= _LEAST:
        low, high = values.min(), values.max()
        if low != high and (np.array_equal(values == high, event) or np.array_equal(values == low, event)):
            two = bool(np.isin(values, (low, high)).all())
            if two:
                return _SAY.stop(
                    variable.name,
                    f"The predictor '{variable.name}' equals the outcome '{target.name}' in all {plural(n, 'row')} "
                    "where it is known.",
                    "Remove it from the predictors.",
                    n=n,
                    events=events,
                )
    if target.time is not None and variable.kind == "number":
        same = int((values == target.time[known]).sum())
        if same > 0.99 * n and np.unique(values[:1000]).size > 1:
            return _SAY.stop(
                variable.name,
                f"The predictor '{variable.name}' equals the time to '{target.name}' in {of(same, n)}.",
                "Remove it from the predictors.",
                n=n,
                same=same,
            )
    return None


class _Judged:
    """One target on its sample of rows, with the folds for event rates."""

    def __init__(self, target: Target, context: Context) -> None:
        self.target = target
        if target.time is None:
            yes, no = np.flatnonzero(target.event), np.flatnonzero(~target.event)
            pick = np.sort(np.r_[yes[sample(yes.size, _EACH_CLASS)], no[sample(no.size, _EACH_CLASS)]])
        else:
            pick = sample(target.n, _FOLLOWED)
        self.sampled = bool(pick.size < target.n)
        self.rows, self.event = target.rows[pick], target.event[pick]
        self.time = None if target.time is None else target.time[pick]
        patients = context.patient_codes[self.rows]
        shuffled = np.random.default_rng(0).permutation(int(context.patient_codes.max()) + 1)
        self.fold = shuffled[patients] % _FOLDS

    def strength(self, variable: Variable, column: NDArray[Any]) -> Finding | None:
        """Return a finding when the predictor alone nearly tells the outcome."""
        values = column[self.rows]
        known = np.isfinite(values) if variable.kind == "number" else values >= 0
        best: tuple[str, float] | None = None
        for measure, value in self._measures(variable, values, known):
            if best is None or abs(value - 0.5) > abs(best[1] - 0.5):
                best = (measure, value)
        if best is None or 1 - _HIGH <= best[1] <= _HIGH:
            return None
        measure, value = best
        events, n = int(self.event[known].sum()), int(known.sum())
        others = n if measure == "harrell_c" else n - events
        say = _SAY.stop if min(events, others) >= _ENOUGH else _SAY.warn
        words = "Harrell's C" if measure == "harrell_c" else "an AUROC"
        exact = "separates" if value in (0.0, 1.0) else "nearly separates"
        return say(
            variable.name,
            f"The predictor '{variable.name}' alone {exact} the outcome '{self.target.name}', with {words} of "
            f"{value:.3f} in {plural(n, 'row')} with {plural(events, 'event')}.",
            "Find out when and from what it is recorded; remove it, or list it under allow with the reason.",
            measure=measure,
            value=value,
            n=n,
            events=events,
            sampled=self.sampled,
        )

    def missing(self, variable: Variable, column: NDArray[Any]) -> Finding | None:
        """Return a finding when being missing nearly tells the outcome."""
        lost = is_missing(column[self.rows], variable.kind)
        if lost.all() or not lost.any() or not self._enough(np.ones_like(lost), _ENOUGH):
            return None
        score = lost.astype(np.float64)
        value = float(auroc(self.event, score))
        c = None if self.time is None else _concordance(self.event, self.time, score)
        if c is not None:
            value = max(value, c, key=lambda v: abs(v - 0.5))
        if 1 - _MISSING_HIGH <= value <= _MISSING_HIGH:
            return None
        say = _SAY.warn if 1 - _HIGH <= value <= _HIGH else _SAY.stop
        return say(
            variable.name,
            f"Whether '{variable.name}' is missing tells the outcome '{self.target.name}', with an AUROC or C of "
            f"{value:.3f}.",
            "Find out why it is missing; it may have been recorded because of the outcome.",
            value=value,
            n=int(lost.size),
            missing=int(lost.sum()),
            events=int(self.event.sum()),
            sampled=self.sampled,
        )

    def _enough(self, known: NDArray[np.bool_], least: int) -> bool:
        events = int(self.event[known].sum())
        return events >= least and int(known.sum()) - events >= least

    def _measures(
        self, variable: Variable, values: NDArray[Any], known: NDArray[np.bool_]
    ) -> Iterator[tuple[str, float]]:
        if not known.any():
            return
        scores = []
        if variable.kind == "number":
            scores.append(values[known])
            codes = _few_values(values[known])
        else:
            codes = values[known].astype(np.int64)
        event, time = self.event[known], None if self.time is None else self.time[known]
        classes = self._enough(known, _LEAST)
        pairs = [(score, score) for score in scores]
        if codes is not None:
            fold, ones = self.fold[known], np.ones(codes.size)
            pairs.append((_rates(codes, fold, event, ones), _rates(codes, fold, event, ones if time is None else time)))
        for by_class, by_time in pairs:
            if classes:
                yield "auroc", auroc(event, by_class)
            if time is not None and event.sum() >= _LEAST:
                c = _concordance(event, time, by_time)
                if c is not None:
                    yield "harrell_c", c


def _concordance(event: NDArray[np.bool_], time: NDArray[np.float64], score: NDArray[np.float64]) -> float | None:
    try:
        return float(harrell_c(event, time, score))
    except NotEstimableError:
        return None


def _few_values(values: NDArray[np.float64]) -> NDArray[np.int64] | None:
    if np.unique(values[:1000]).size > _CODED:
        return None
    levels, codes = np.unique(values, return_inverse=True)
    return np.asarray(codes, dtype=np.int64) if 2 < levels.size <= _CODED else None


def _rates(
    codes: NDArray[np.int64], fold: NDArray[np.int64], event: NDArray[np.bool_], at_risk: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Rates come from other folds: leaving out one's own row only would make pure noise rank backwards perfectly.
    levels = int(codes.max()) + 1
    cell = fold * levels + codes
    shape = (_FOLDS, levels)
    seen = np.bincount(cell, weights=event.astype(np.float64), minlength=_FOLDS * levels).reshape(shape)
    risk = np.bincount(cell, weights=at_risk, minlength=_FOLDS * levels).reshape(shape)
    seen, risk = seen.sum(axis=0) - seen, risk.sum(axis=0) - risk
    rate = seen.sum(axis=1, keepdims=True) / np.maximum(risk.sum(axis=1, keepdims=True), 1e-300)
    weight = float(at_risk.mean())
    return np.asarray(((seen + weight * rate) / (risk + weight)).ravel()[cell])


def _continuous(context: Context, outcome: Continuous) -> list[Finding]:
    rows = context.rows[sample(context.rows.size, _FOLLOWED)]
    found = []
    for variable in context.cohort.predictors:
        if variable.kind != "number":
            continue
        values = context.cohort.columns[variable.name][rows]
        known = np.isfinite(values)
        n = int(known.sum())
        if n < _ENOUGH:
            continue
        x, y = _ranks(values[known]), _ranks(outcome.values[rows][known])
        if x.std() == 0 or y.std() == 0:
            continue
        rho = float(np.corrcoef(x, y)[0, 1])
        if abs(rho) > _HIGH:
            message = f"The predictor '{variable.name}' has a rank correlation of {rho:.3f} with '{outcome.label}'."
            advice = "Find out when and from what it is recorded; remove it, or list it under allow with the reason."
            found.append(_SAY.stop(variable.name, message, advice, measure="spearman", value=rho, n=n))
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)


def _names(context: Context) -> list[Finding]:
    cohort = context.cohort
    outcomes = (*cohort.names("outcome"), *(target.name for target in context.targets))
    say = _SAY.note if context.measured_before_index else _SAY.warn
    return [
        say(
            v.name,
            f"The name of the predictor '{v.name}' says that it may be known only after the outcome.",
            "Check that it is known when the prediction is made; remove it, or list it under allow with the reason.",
            measured_before_index=context.measured_before_index,
        )
        for v in cohort.predictors
        if telling_name(v.name, outcomes)
    ]


def _words(name: str) -> tuple[str, ...]:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return tuple(word for word in re.split(r"[^a-z]+", split.lower()) if word)


def _dates(context: Context) -> list[Finding]:
    cohort = context.cohort
    pairs = {v.name: v.name for v in cohort.predictors if v.kind == "date"}
    dates = {v.name for v in cohort.variables if v.kind == "date" and v.role not in ("outcome", "time")}
    for v in cohort.predictors:
        for guess in (f"{v.name}_date", f"{v.name}_time", f"{v.name}_datetime", f"date_{v.name}"):
            if guess in dates:
                pairs[v.name] = guess
    pairs.update(context.time_columns)
    if cohort.time is None or not pairs:
        if context.measured_before_index or not cohort.predictors:
            return []
        message = "No date of a predictor could be compared with the index time."
        return [_SAY.note("table", message, "State in the study file that predictors are known at the index time.")]
    index = cohort.time
    known = index[~np.isnat(index)]
    whole_days = bool((known == known.astype("datetime64[D]")).all())
    found = []
    for name, date in pairs.items():
        when = cohort.column(date)
        if when.dtype.kind != "M":
            continue
        # An index date without a clock cannot order two moments of one day.
        late = when.astype("datetime64[D]") > index.astype("datetime64[D]") if whole_days else when > index
        after, n = int(late.sum()), int((~np.isnat(when) & ~np.isnat(index)).sum())
        if after:
            by = "" if date == name else f" by '{date}'"
            found.append(
                _SAY.stop(
                    name,
                    f"The predictor '{name}' is dated{by} after the index time in {of(after, n)}.",
                    "Take the last value before the index time, or set later ones missing.",
                    after=after,
                    n=n,
                    date_column=date,
                )
            )
    return found


def _allowed(finding: Finding) -> Finding:
    evidence = {**finding.evidence, "allowed": True, "severity": finding.severity.value}
    advice = "Kept because the author allows it; say why in the report."
    return Finding(
        check=finding.check,
        severity=Severity.NOTE,
        where=finding.where,
        message=finding.message,
        evidence=evidence,
        advice=advice,
        source=finding.source,
    )
