"""How much is missing, and whether it is missing more often with the outcome or in one group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import critical, mean_difference, of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Variable, is_missing
from aimed.core.finding import Finding

__all__ = ["check"]

_SAY = Reporter(
    "missingness", "Collins et al., TRIPOD+AI, BMJ 2024;385:e078378, items 7 and 11; Sterne et al., BMJ 2009;338:b2393"
)
_MUCH = 0.40
_GAP = 0.10
_ALPHA = 0.001
_MOST_LEVELS = 50


def check(context: Context) -> list[Finding]:
    """Return findings on missing predictor values.

    * WARN: a predictor missing in more than 40 % of the rows; one missing more or less often with the outcome, or
      in one level of a subgroup column than in the others, by more than 10 points with a two-sided p < 0.001 that
      is clustered by patient and Bonferroni-corrected.
    * NOTE: each other predictor with missing values, and how many rows are complete. The evidence holds the
      difference by outcome with its 95 % interval, and the fraction in each level.

    With a split, missing values meet the outcome in ``train`` only.

    Examples
    --------
    >>> from aimed.core import Cohort
    >>> nan = float("nan")
    >>> cohort = Cohort(patient=["a", "b"], variables=[Variable(name="crp")], columns={"crp": [nan, 3.0]})
    >>> [f.message for f in check(Context(cohort))]
    ["'crp' is missing in 1 of 2 rows (50.0 %).", '1 of 2 rows (50.0 %) have every predictor.']
    """
    cohort = context.cohort
    if cohort.n == 0 or not cohort.predictors:
        return []
    complete = np.ones(cohort.n, dtype=bool)
    lost: dict[str, NDArray[np.bool_]] = {}
    for v in cohort.predictors:
        missing = is_missing(cohort.columns[v.name], v.kind)
        if missing.any():
            lost[v.name] = missing
            complete &= ~missing
    found: list[Finding] = []
    for v in cohort.predictors:
        if v.name in lost:
            found += _variable(context, v, lost[v.name], len(lost))
    kept = int(complete.sum())
    found.append(
        _SAY.note(
            "table",
            f"{of(kept, cohort.n)} have every predictor.",
            "Impute inside the training rows rather than dropping rows." if kept < cohort.n else "",
            complete=kept,
            n=cohort.n,
            variables=len(lost),
        )
    )
    return found


def _variable(context: Context, variable: Variable, missing: NDArray[np.bool_], tests: int) -> list[Finding]:
    name, count, n = variable.name, int(missing.sum()), context.cohort.n
    outcomes, told = _by_outcome(context, variable, missing, tests)
    groups, more = _by_group(context, variable, missing, tests)
    message = f"'{name}' is missing in {of(count, n)}."
    if count > _MUCH * n:
        say, advice = _SAY.warn, "Ask whether it will be measured in use; consider leaving it out."
    else:
        say, advice = _SAY.note, "Impute it inside the training rows and keep an indicator if it may matter."
    first = say(name, message, advice, missing=count, n=n, fraction=count / n, by_outcome=outcomes, by_group=groups)
    return [first, *told, *more]


def _by_outcome(
    context: Context, variable: Variable, missing: NDArray[np.bool_], tests: int
) -> tuple[dict[str, Any], list[Finding]]:
    table: dict[str, Any] = {}
    found = []
    limit = critical(_ALPHA, tests * len(context.train_targets))
    for target in context.train_targets:
        inside = missing[target.rows]
        gap = mean_difference(inside, target.event, context.patient_codes[target.rows])
        if gap is None:
            continue
        record = {
            "event": float(inside[target.event].mean()),
            "no_event": float(inside[~target.event].mean()),
            "difference": gap.value,
            "lower": gap.lower,
            "upper": gap.upper,
            "n": target.n,
            "events": target.events,
        }
        table[target.name] = record
        if abs(gap.z) > limit and abs(gap.value) > _GAP:
            found.append(
                _SAY.warn(
                    variable.name,
                    f"'{variable.name}' is missing in {100 * record['event']:.1f} % of the rows with '{target.name}' "
                    f"and in {100 * record['no_event']:.1f} % of those without.",
                    "Find out why; if measuring it depends on the outcome, leave it out.",
                    **record,
                )
            )
    return table, found


def _by_group(
    context: Context, variable: Variable, missing: NDArray[np.bool_], tests: int
) -> tuple[dict[str, Any], list[Finding]]:
    cohort = context.cohort
    table: dict[str, Any] = {}
    found = []
    for name in context.subgroups:
        column = cohort.variable(name)
        if column.kind != "category" or name == variable.name:
            continue
        codes = cohort.columns[name]
        levels = [code for code in np.unique(codes).tolist() if code >= 0]
        if len(levels) < 2 or len(levels) > _MOST_LEVELS:
            continue
        limit = critical(_ALPHA, tests * len(levels) * len(context.subgroups))
        known = codes >= 0
        table[name] = {column.categories[code]: float(missing[codes == code].mean()) for code in levels}
        apart = 0
        for code in levels:
            gap = mean_difference(missing[known], codes[known] == code, context.patient_codes[known])
            apart += gap is not None and abs(gap.z) > limit and abs(gap.value) > _GAP
        if apart:
            found.append(
                _SAY.warn(
                    variable.name,
                    f"'{variable.name}' is missing unequally over {plural(len(levels), 'level')} of '{name}': from "
                    f"{100 * min(table[name].values()):.1f} % to {100 * max(table[name].values()):.1f} %.",
                    "Find out why, and look at the performance in each group.",
                    column=name,
                    levels_apart=apart,
                    fractions=table[name],
                )
            )
    return table, found
