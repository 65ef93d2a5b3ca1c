"""Whether the outcome has both classes, enough events, and the same frequency in every part."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import critical, mean_difference, of, plural, rate_ratio
from aimed.checks.context import Context, Target
from aimed.checks.reporter import Reporter
from aimed.core.finding import Finding
from aimed.core.outcome import CompetingRisks, Continuous, Masks, Multilabel

__all__ = ["check"]

_SAY = Reporter(
    "outcome",
    "Moons et al., PROBAST+AI, BMJ 2025;388:e082505, outcome and analysis domains; "
    "Collins et al., Stat Med 2016;35:214",
)
_FEW = 50
_FEW_TEST = 100
_FEW_COMPETING = 20
_RARE = 0.01
_ALPHA = 0.001
_RISK_SHIFT = 0.02
_RATE_SHIFT = 1.25
_SD_SHIFT = 0.25
_FEW_REGION = 10
_VOLUME_SHIFT = 2.0


def check(context: Context) -> list[Finding]:
    """Return findings on the outcome of each target, overall and by part.

    * STOP: no outcome; no event (all censored); no row without the event (yes/no outcomes); a constant continuous
      outcome; a part with no event, or with nothing but events; fewer than 20 competing events of one kind to train on.
    * WARN: fewer than 50 events, or rows without the event; a tuning fold that judges on no event; another
      frequency in test than in train (two-sided p < 0.001 clustered by patient, and more than 2 points and a fifth
      apart, a rate ratio beyond 1.25 with follow-up, or 0.25 standard deviations).
    * NOTE: events and share; fewer than 100 events in test (Collins 2016); a share below 1 % or above 99 %.
    * Of regions that are outlined, STOP: one that is in no scan, or in none to train on; WARN: one in fewer than 10
      scans to train on, or in none of another part, and a median volume in test beyond twice, or half, that in train
      (Mann-Whitney p < 0.001, one scan a patient); NOTE: how many scans have each.
    * Of several findings, those that share a fault are told in one finding, and a part beyond train in which one of
      them has one answer only is a WARN as long as another finding has both there.

    Examples
    --------
    >>> from aimed.core import Binary, Cohort
    >>> cohort = Cohort(patient=["a", "b"], variables=[], columns={}, outcome=Binary(values=[1, 0], label="death"))
    >>> [(f.severity.value, f.message) for f in check(Context(cohort))][0]
    ('WARN', "The outcome 'death' has 1 event, fewer than 50.")
    """
    outcome = context.cohort.outcome
    if outcome is None:
        return [_SAY.stop("outcome", "The table has no outcome.", "Name it in [outcome].")]
    if isinstance(outcome, Continuous):
        return _continuous(context, outcome)
    if isinstance(outcome, Masks):
        return _masks(context, outcome)
    if isinstance(outcome, Multilabel) and len(context.targets) > 1:
        return _several(context)
    found: list[Finding] = []
    for target in context.targets:
        found += _one(context, target)
    if isinstance(outcome, CompetingRisks):
        found += _competing(context, outcome)
    return found


def _competing(context: Context, outcome: CompetingRisks) -> list[Finding]:
    """Every kind of event is modelled, so each needs its events."""
    found = []
    cause = outcome.cause[context.rows]
    for k, label in enumerate(outcome.labels[1:], 2):
        events = int((cause == k).sum())
        where, n = f"outcome:{label}", int(cause.size)
        if events < _FEW_COMPETING:
            message = f"{of(events, cause.size)} to train on have the competing event '{label}', fewer than "
            message += f"{_FEW_COMPETING}."
            found.append(_SAY.stop(where, message, "Join rare kinds of event under one value.", n=n, events=events))
        else:
            message = f"{of(events, cause.size)} to train on have '{label}' first."
            found.append(_SAY.note(where, message, n=n, events=events))
    return found


def _one(context: Context, target: Target) -> list[Finding]:
    name, n, events = target.name, target.n, target.events
    where = f"outcome:{name}"
    if events == 0:
        if target.time is not None:
            message = f"All of {plural(n, 'row')} are censored: the outcome '{name}' has no event."
        else:
            message = f"None of {plural(n, 'row')} have the outcome '{name}'."
        return [_SAY.stop(where, message, "Check how the event is coded and which rows are included.", n=n, events=0)]
    if events == n and target.time is None:
        message = f"All of {plural(n, 'row')} have the outcome '{name}'."
        return [_SAY.stop(where, message, "Check how the event is coded and which rows are included.", n=n, events=n)]
    found = [*_few(target, where), *_parts(context, target, where), *_shift(context, target, where)]
    message = f"{of(events, n)} have the outcome '{name}'."
    advice = ""
    if not _RARE <= events / n <= 1 - _RARE:
        advice = "Report precision-recall and calibration at low risks; do not resample to balance the classes."
    found.append(_SAY.note(where, message, advice, n=n, events=events, share=events / n))
    return found


def _several(context: Context) -> list[Finding]:
    """Findings of pictures or notes: many, some of them rare, each known in some rows only."""
    targets = context.targets
    constant = [t for t in targets if t.events in (0, t.n)]
    found = [_stopped(t) for t in constant]
    judged = [t for t in targets if t not in constant]
    few = {t.name: min(t.events, t.n - t.events) for t in judged if min(t.events, t.n - t.events) < _FEW}
    if few:
        message = f"{_named(few)} {'has' if len(few) == 1 else 'have'} fewer than {_FEW} rows of one answer."
        advice = "Expect wide intervals; treat their results as exploratory, or leave them out."
        found.append(_SAY.warn("outcome", message, advice, rows=few))
    for part, rows in context.parts.items():
        found += _one_answer(part, judged, rows)
        rare = {t.name: t.within(rows).events for t in judged}
        rare = {name: events for name, events in rare.items() if 0 < events < _FEW_TEST}
        if part != "train" and rare:
            message = f"In {part} {_named(rare)} {'has' if len(rare) == 1 else 'have'} fewer than {_FEW_TEST} events."
            advice = "Read their measures with their intervals; calibration curves need about 200 events."
            found.append(_SAY.note("outcome", message, advice, part=part, events=rare))
    folds = () if context.split is None else context.split.folds
    empty = {t.name: sum(t.within(fold.tune).events == 0 for fold in folds) for t in judged}
    empty = {name: count for name, count in empty.items() if count}
    if empty:
        message = f"Some of {plural(len(folds), 'tuning fold')} {'judges' if len(folds) == 1 else 'judge'} on no event "
        message += f"of {_named(empty)}."
        found.append(_SAY.warn("outcome", message, "Use fewer folds, stratified by the outcome.", empty=empty))
    for t in judged:
        found += _shift(context, t, f"outcome:{t.name}")
    table = {t.name: {"n": t.n, "events": t.events, "share": t.events / t.n if t.n else None} for t in targets}
    message = f"{plural(len(targets), 'finding')} in {plural(context.cohort.n, 'row')}"
    if judged:
        shares = sorted((t.events / t.n, t.name) for t in judged)
        message += f", from '{shares[0][1]}' in {100 * shares[0][0]:.1f} % to '{shares[-1][1]}' in "
        message += f"{100 * shares[-1][0]:.1f} % of the rows where they are known"
    found.append(_SAY.note("outcome", f"{message}.", findings=table))
    return found


def _masks(context: Context, outcome: Masks) -> list[Finding]:
    """Regions that are outlined: whether they are there often enough, and as large in test as in train."""
    out, there, known = [], outcome.present, ~np.isnan(outcome.volumes)
    for j, name in enumerate(outcome.targets):
        if not there[:, j].any():
            message = f"The region '{name}' is in none of {plural(int(known[:, j].sum()), 'scan')}."
            advice = "Check its labels, or leave it out."
            out.append(_SAY.stop(f"outcome:{name}", message, advice, n=int(known[:, j].sum()), present=0))
            continue
        for part, rows in context.parts.items():
            seen, n = int(there[rows, j].sum()), int(known[rows, j].sum())
            evidence = {"part": part, "n": n, "present": seen}
            if not seen:
                say = _SAY.stop if part == "train" else _SAY.warn
                message = f"The region '{name}' is in no scan of {part}."
                out.append(say(f"outcome:{name}", message, "Draw the split again, or leave it out.", **evidence))
            elif part == "train" and seen < _FEW_REGION:
                message = f"The region '{name}' is in {plural(seen, 'scan')} of {part}, fewer than {_FEW_REGION}."
                advice = "Expect little of its outlines, or join it with another region."
                out.append(_SAY.warn(f"outcome:{name}", message, advice, **evidence))
        out += _volumes_shift(context, outcome, j)
    table = {
        name: {"n": int(known[:, j].sum()), "present": int(there[:, j].sum()),
               "median_ml": float(np.median(outcome.volumes[there[:, j], j])) if there[:, j].any() else None}
        for j, name in enumerate(outcome.targets)
    }  # fmt: skip
    counts = there.sum(axis=0)
    least = int(counts.argmin())
    message = f"{plural(len(table), 'region')} in {plural(outcome.n, 'scan')}"
    if counts[least] == outcome.n:
        message += ", all of them in every one."
    else:
        message += f"; the rarest, '{outcome.targets[least]}', is in {of(int(counts[least]), outcome.n, 'scan')}."
    return [*out, _SAY.note("outcome", message, regions=table)]


def _volumes_shift(context: Context, outcome: Masks, j: int) -> list[Finding]:
    if not {"train", "test"} <= set(context.parts):
        return []
    from scipy.stats import mannwhitneyu

    sides = []
    for part in ("train", "test"):
        # One scan a patient, so that ranks are of independent scans.
        rows = context.parts[part]
        rows = rows[np.unique(context.patient_codes[rows], return_index=True)[1]]
        volumes = outcome.volumes[rows, j]
        sides.append(volumes[volumes > 0])
    if min(side.size for side in sides) < 2:
        return []
    train, test = (float(np.median(side)) for side in sides)
    p = float(mannwhitneyu(*sides).pvalue)
    if p >= _ALPHA or max(train / test, test / train) <= _VOLUME_SHIFT:
        return []
    name = outcome.targets[j]
    message = f"'{name}' has a median volume of {test:.3g} ml in test and {train:.3g} ml in train."
    advice = "Say why the parts differ; overlap depends on volume."
    return [_SAY.warn(f"outcome:{name}", message, advice, train_ml=train, test_ml=test, p=p,
                      n={"train": sides[0].size, "test": sides[1].size})]  # fmt: skip


def _stopped(target: Target) -> Finding:
    n, events = target.n, target.events
    said = (
        "is not known in any row" if not n else f"is {'absent' if not events else 'present'} in all {plural(n, 'row')}"
    )
    message = f"The finding '{target.name}' {said} where it is known." if n else f"The finding '{target.name}' {said}."
    return _SAY.stop(f"outcome:{target.name}", message, "Check how it is coded, or leave it out.", n=n, events=events)


def _one_answer(part: str, targets: list[Target], rows: NDArray[np.int64]) -> list[Finding]:
    """Return the findings that cannot be learnt or judged in a part, as they have one answer there."""
    inside = {t.name: t.within(rows) for t in targets}
    bad = {name: {"n": t.n, "events": t.events} for name, t in inside.items() if t.events in (0, t.n)}
    if not bad:
        return []
    message = f"The part {part} has one answer only, or none, of {_named(bad)}."
    advice = "Draw the split again, stratified by the outcome, or leave them out."
    if part != "train" and len(bad) < len(targets):
        return [_SAY.warn("outcome", message, f"{advice[:-1]}: they cannot be judged.", part=part, findings=bad)]
    return [_SAY.stop("outcome", message, advice, part=part, findings=bad)]


def _named(findings: Mapping[str, object], most: int = 5) -> str:
    names = [f"'{name}'" for name in findings]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _few(target: Target, where: str) -> list[Finding]:
    fewest, what = target.events, "event"
    if target.time is None and target.n - target.events < fewest:
        fewest, what = target.n - target.events, "row without the event"
    if fewest >= _FEW:
        return []
    words = plural(fewest, what, "rows without the event" if what != "event" else None)
    return [
        _SAY.warn(
            where,
            f"The outcome '{target.name}' has {words}, fewer than {_FEW}.",
            "Use few predictors and penalise; expect wide intervals; treat the result as exploratory.",
            n=target.n,
            events=target.events,
        )
    ]


def _parts(context: Context, target: Target, where: str) -> list[Finding]:
    found = []
    for part, rows in context.parts.items():
        inside = target.within(rows)
        counts = {"part": part, "n": inside.n, "events": inside.events}
        if inside.events == 0:
            message = f"The part {part} has no event of '{target.name}' among {plural(inside.n, 'row')}."
            found.append(_SAY.stop(where, message, "Draw the split again, stratified by the outcome.", **counts))
        elif inside.events == inside.n and target.time is None:
            message = f"Every row of the part {part} has the outcome '{target.name}'."
            found.append(_SAY.stop(where, message, "Draw the split again, stratified by the outcome.", **counts))
        elif part != "train" and inside.events < _FEW_TEST:
            message = (
                f"The part {part} has {plural(inside.events, 'event')} of '{target.name}', fewer than {_FEW_TEST}."
            )
            advice = "Read its measures with their intervals; calibration curves need about 200 events."
            found.append(_SAY.note(where, message, advice, **counts))
    folds = () if context.split is None else context.split.folds
    empty = sum(target.within(fold.tune).events == 0 for fold in folds)
    if empty:
        message = f"{of(empty, len(folds), 'tuning fold')} judge on no event of '{target.name}'."
        found.append(_SAY.warn(where, message, "Use fewer folds, stratified by the outcome.", empty=empty))
    return found


def _shift(context: Context, target: Target, where: str) -> list[Finding]:
    if not {"train", "test"} <= set(context.parts):
        return []
    rows = np.r_[context.parts["train"], context.parts["test"]]
    both = target.within(rows)
    test = np.isin(both.rows, context.parts["test"])
    patients = context.patient_codes[both.rows]
    limit = critical(_ALPHA, len(context.targets))
    if both.time is not None:
        ratio = rate_ratio(both.event, both.time, test, patients)
        if ratio is None or abs(ratio.z) < limit or abs(ratio.value) < math.log(_RATE_SHIFT):
            return []
        message = (
            f"'{target.name}' occurs {math.exp(ratio.value):.2f} times as often per follow-up time in test as in train."
        )
        evidence = {
            "rate_ratio": math.exp(ratio.value),
            "lower": math.exp(ratio.lower),
            "upper": math.exp(ratio.upper),
            "z": ratio.z,
        }
    else:
        gap = mean_difference(both.event, test, patients)
        if gap is None:
            return []
        base, seen = float(both.event[~test].mean()), float(both.event[test].mean())
        if abs(gap.z) < limit or abs(gap.value) < _RISK_SHIFT or abs(gap.value) < 0.2 * min(base, 1 - base):
            return []
        message = f"'{target.name}' has a frequency of {100 * seen:.1f} % in test and {100 * base:.1f} % in train."
        evidence = {"difference": gap.value, "lower": gap.lower, "upper": gap.upper, "z": gap.z}
    evidence |= {"n": both.n, "events": both.events}
    advice = "Say why the parts differ; judge calibration in test, and recalibrate before use there."
    return [_SAY.warn(where, message, advice, **evidence)]


def _continuous(context: Context, outcome: Continuous) -> list[Finding]:
    values: NDArray[np.float64] = outcome.values
    where, n = f"outcome:{outcome.label}", outcome.n
    spread = float(values.std()) if n else 0.0
    if spread == 0:
        message = f"The outcome '{outcome.label}' has one value only in {plural(n, 'row')}."
        return [_SAY.stop(where, message, "Check the outcome column.", n=n)]
    found = []
    if {"train", "test"} <= set(context.parts):
        rows = np.r_[context.parts["train"], context.parts["test"]]
        test = np.isin(rows, context.parts["test"])
        gap = mean_difference(values[rows], test, context.patient_codes[rows])
        if gap is not None and abs(gap.z) > critical(_ALPHA) and abs(gap.value) > _SD_SHIFT * spread:
            message = f"The mean of '{outcome.label}' differs by {gap.value / spread:.2f} SD between test and train."
            advice = "Say why the parts differ; judge calibration in test, and recalibrate before use there."
            evidence = {"difference": gap.value, "lower": gap.lower, "upper": gap.upper, "z": gap.z, "n": rows.size}
            found.append(_SAY.warn(where, message, advice, **evidence))
    evidence = {"n": n, "mean": float(values.mean()), "sd": spread, "unit": outcome.unit}
    found.append(_SAY.note(where, f"The outcome '{outcome.label}' is known in {plural(n, 'row')}.", **evidence))
    return found
