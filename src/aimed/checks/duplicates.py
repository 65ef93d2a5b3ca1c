"""Whether one patient's row repeats another's, exactly or after rounding, and so links the parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural, sample
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Cohort, Variable
from aimed.core.finding import Finding
from aimed.core.outcome import CompetingRisks, Continuous, Masks, Multilabel, Survival

__all__ = ["check"]

_SAY = Reporter(
    "duplicates", "Kapoor and Narayanan, Patterns 2023;4:100804; Roberts et al., Nat Mach Intell 2021;3:199"
)
_TEST_SHARE = 0.01
_NEAR_COLUMNS = 5
_DIGITS = 3
_COUNTED = 100_000
_CHANCE_BITS = 7.0


class _Repeats(NamedTuple):
    rows: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: int


def check(context: Context) -> list[Finding]:
    """Return findings on rows that repeat another row.

    Rows are compared by a 64-bit fingerprint of their predictors and outcome. Few or coarse predictors repeat by
    chance, so a repeat counts only if its values are rare enough: the negative log2 of the product of the values'
    frequencies must reach ``2 log2(n) + 7`` bits, which independent columns would reach in fewer than 1 table of
    100. Frequencies come from a fixed sample of 100,000 rows in larger tables.

    * STOP: more than 1 % of ``test`` repeats a row of another patient in ``train``.
    * WARN: rows that repeat a row of another patient; rows whose numbers (5 or more known) agree with another
      patient's after rounding to 3 significant digits. Two values on either side of a rounding limit are missed.
    * NOTE: rows that repeat a row of the same patient.

    Examples
    --------
    >>> import numpy as np
    >>> from aimed.core import Cohort
    >>> x = np.random.default_rng(0).normal(size=(200, 5)); x[1] = x[0]
    >>> names = [Variable(name=f"x{j}") for j in range(5)]
    >>> cohort = Cohort(patient=range(200), variables=names, columns={f"x{j}": x[:, j] for j in range(5)})
    >>> check(Context(cohort))[0].message
    '2 of 200 rows (1.0 %) repeat the row of another patient.'
    """
    cohort = context.cohort
    chosen = [v for v in cohort.predictors if v.kind != "text"]
    if cohort.n < 2 or not chosen:
        return []
    found: list[Finding] = []
    every = _repeats(_fingerprint(cohort, chosen, None))
    exact = _told(cohort, chosen, every, None)
    other = _across(exact, context.patient_codes)
    found += _exact(context, exact, other)
    numbers = [v for v in chosen if v.kind == "number"]
    if len(numbers) >= _NEAR_COLUMNS:
        found += _near(context, numbers, other)
    return found


def _exact(context: Context, exact: _Repeats, other: _Repeats) -> list[Finding]:
    n, found = context.cohort.n, []
    rows = int(other.rows.size)
    if rows:
        found.append(
            _SAY.warn(
                "table",
                f"{of(rows, n)} repeat the row of another patient.",
                "Find out whether one person has two ids; if so give them one id, otherwise drop the copies.",
                rows=rows,
                groups=other.groups,
                n=n,
            )
        )
    if {"train", "test"} <= set(context.parts) and rows:
        tested = context.parts["test"]
        in_train, in_test = (np.isin(other.rows, context.parts[part]) for part in ("train", "test"))
        trained_groups = np.unique(other.group[in_train])
        copies = int((in_test & np.isin(other.group, trained_groups)).sum())
        if copies > _TEST_SHARE * tested.size:
            found.append(
                _SAY.stop(
                    "train+test",
                    f"{of(copies, int(tested.size))} of test repeat a row of another patient in train.",
                    "Give one person one id, or drop the copies, and draw the split again.",
                    copies=copies,
                    test=tested.size,
                )
            )
    same = int(exact.rows.size) - rows
    if same:
        message = f"{of(same, n)} repeat another row of the same patient."
        found.append(_SAY.note("table", message, "Check that these are separate measurements.", rows=same, n=n))
    return found


def _near(context: Context, numbers: Sequence[Variable], exact: _Repeats) -> list[Finding]:
    cohort = context.cohort
    known = np.zeros(cohort.n, dtype=np.int16)
    for v in numbers:
        known += ~np.isnan(cohort.columns[v.name])
    near = _repeats(_fingerprint(cohort, numbers, _DIGITS, outcome=False))
    keep = known[near.rows] >= _NEAR_COLUMNS
    near = _told(cohort, numbers, _Repeats(near.rows[keep], near.group[keep], near.groups), _DIGITS)
    near = _across(near, context.patient_codes)
    fresh = ~np.isin(near.rows, exact.rows)
    # A group of exact copies is told already; a group counts here if any of its rows is new.
    rows = int(np.isin(near.group, np.unique(near.group[fresh])).sum()) if fresh.any() else 0
    if not rows:
        return []
    return [
        _SAY.warn(
            "table",
            f"{of(rows, cohort.n)} agree with the row of another patient in all {plural(len(numbers), 'number')} to "
            f"{_DIGITS} significant digits.",
            "Find out whether one person has two ids, or whether rows were made from others by adding noise.",
            rows=rows,
            n=cohort.n,
            columns=len(numbers),
            digits=_DIGITS,
        )
    ]


def _keys(column: NDArray[np.generic], digits: int | None) -> NDArray[np.uint64]:
    """Return values as 64-bit keys, equal where the values are."""
    if column.dtype.kind != "f":
        return column.astype(np.int64).view(np.uint64)
    values = np.array(column, dtype=np.float64)
    if digits is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 10.0 ** (np.floor(np.log10(np.abs(values))) - (digits - 1))
            rounded = np.round(values / scale) * scale
        # Equal digits at a power of ten may differ in the last bit; single precision takes that off.
        values = np.where(values == 0, 0.0, rounded).astype(np.float32).astype(np.float64)
    values += 0.0
    values[np.isnan(values)] = np.nan
    return values.view(np.uint64)


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # The finaliser of splitmix64 (Steele et al., OOPSLA 2014) spreads every input bit over the word.
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _fingerprint(
    cohort: Cohort, variables: Sequence[Variable], digits: int | None, outcome: bool = True
) -> NDArray[np.uint64]:
    total = np.zeros(cohort.n, dtype=np.uint64)
    columns = [cohort.columns[v.name] for v in variables]
    if outcome:
        columns += _outcome_columns(cohort)
    for column in columns:
        total = _mixed(total + np.uint64(0x9E3779B97F4A7C15) + _mixed(_keys(column, digits)))
    return total


def _outcome_columns(cohort: Cohort) -> list[NDArray[np.generic]]:
    outcome = cohort.outcome
    if outcome is None:
        return []
    if isinstance(outcome, Survival):
        return [outcome.event, outcome.time]
    if isinstance(outcome, CompetingRisks):
        return [outcome.cause, outcome.time]
    if isinstance(outcome, Multilabel):
        return list(outcome.values.T)
    if isinstance(outcome, Masks):
        return list(outcome.volumes.T)
    return [outcome.values] if isinstance(outcome, Continuous) else [outcome.values.astype(np.int64)]


def _repeats(keys: NDArray[np.uint64]) -> _Repeats:
    order = np.argsort(keys, kind="stable")
    starts = np.r_[True, keys[order[1:]] != keys[order[:-1]]]
    group = np.cumsum(starts) - 1
    several = np.bincount(group)[group] > 1
    return _regrouped(order[several], group[several])


def _regrouped(rows: NDArray[np.int64], group: NDArray[np.int64]) -> _Repeats:
    names, codes = np.unique(group, return_inverse=True)
    return _Repeats(rows, np.asarray(codes, dtype=np.int64), int(names.size))


def _told(cohort: Cohort, variables: Sequence[Variable], repeats: _Repeats, digits: int | None) -> _Repeats:
    """Keep the groups whose values are too rare to agree by chance."""
    if not repeats.rows.size:
        return repeats
    heads, first = np.unique(repeats.group, return_index=True)
    rows = repeats.rows[first]
    bits = np.zeros(rows.size)
    counted = sample(cohort.n, _COUNTED)
    for v in variables:
        keys = _keys(cohort.columns[v.name], digits)
        levels, count = np.unique(keys[counted], return_counts=True)
        at = np.minimum(np.searchsorted(levels, keys[rows]), levels.size - 1)
        seen = np.where(levels[at] == keys[rows], count[at], 1)
        bits -= np.log2(seen / counted.size)
    enough = heads[bits >= 2 * math.log2(cohort.n) + _CHANCE_BITS]
    keep = np.isin(repeats.group, enough)
    return _regrouped(repeats.rows[keep], repeats.group[keep])


def _across(repeats: _Repeats, patients: NDArray[np.int64]) -> _Repeats:
    """Keep the groups that hold more than one patient."""
    if not repeats.rows.size:
        return repeats
    who = patients[repeats.rows]
    low = np.full(repeats.groups, np.iinfo(np.int64).max)
    high = np.full(repeats.groups, -1)
    np.minimum.at(low, repeats.group, who)
    np.maximum.at(high, repeats.group, who)
    keep = (low != high)[repeats.group]
    return _regrouped(repeats.rows[keep], repeats.group[keep])
