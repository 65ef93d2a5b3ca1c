"""Whether a split by time really trains on earlier and tests on later rows."""

from __future__ import annotations

import numpy as np

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.finding import Finding

__all__ = ["check"]

_SAY = Reporter(
    "time_split", "Collins et al., TRIPOD+AI, BMJ 2024;385:e078378, item 12a; Kaufman et al., ACM TKDD 2012;6:15"
)


def check(context: Context) -> list[Finding]:
    """Return findings on a split by time; nothing for a split by patient or site.

    * STOP: no index date; a row of ``test`` earlier than the last row of ``train``.
    * WARN: rows of ``train`` or ``test`` without index date.
    * NOTE: the order holds.

    Examples
    --------
    >>> from aimed.core import Cohort, Split
    >>> cohort = Cohort(patient=["a", "b"], variables=[], columns={}, time=["2020-01-01", "2019-01-01"])
    >>> split = Split(parts={"train": [0], "test": [1]}, by="time", patient=cohort.patient)
    >>> check(Context(cohort, split))[0].message
    'The split is by time, yet 1 of 1 row (100.0 %) of test stands before the last row of train.'
    """
    if context.split is None or context.split.by != "time" or "test" not in context.parts:
        return []
    if context.cohort.time is None:
        advice = "Name the index date in [data] time."
        return [_SAY.stop("train+test", "The split is by time, but the table has no index date.", advice)]
    train, test = (context.cohort.time[context.parts[name]] for name in ("train", "test"))
    lost, total = int(np.isnat(train).sum() + np.isnat(test).sum()), int(train.size + test.size)
    found = []
    if lost:
        found.append(
            _SAY.warn(
                "train+test",
                f"{of(lost, total)} of train and test have no index date.",
                "Complete the dates, or exclude these rows with an inclusion rule.",
                missing=lost,
                n=total,
            )
        )
    train, test = train[~np.isnat(train)], test[~np.isnat(test)]
    if not train.size or not test.size:
        return found
    early = int((test < train.max()).sum())
    counts = {"early": early, "test": int(test.size), "train": int(train.size)}
    if early:
        message = f"The split is by time, yet {of(early, int(test.size))} of test {'stands' if early == 1 else 'stand'}"
        advice = "Cut at one date: train before it, test from it on; drop later rows of train patients."
        found.append(_SAY.stop("train+test", f"{message} before the last row of train.", advice, **counts))
    else:
        message = f"All {plural(int(test.size), 'dated row')} of test stand at or after the last row of train."
        found.append(_SAY.note("train+test", message, "", **counts))
    return found
