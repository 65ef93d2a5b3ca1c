"""The whole evaluation of several findings a row: each by itself, and their means over the same resamples."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, patient_codes
from aimed.metrics.evaluate import (
    COMPARED,
    checked_predictions,
    checked_risks,
    draws_used,
    evaluate_binary,
    measures_binary,
    without_value,
)
from aimed.metrics.multilabel import tables
from aimed.metrics.prepared_binary import MEASURES, RATES, PreparedBinary
from aimed.metrics.resampled import Counts, Estimates, Prepared, Resampled, resample
from aimed.metrics.result import FEW_UNITS, notes

__all__ = [
    "MACRO",
    "evaluate_multilabel",
    "finding_key",
    "finding_keys",
    "known_multilabel",
    "measures_multilabel",
]

_MEAN_OF = {
    "macro_auroc": "auroc",
    "macro_average_precision": "auprc",
    "macro_brier": "brier",
    "macro_scaled_brier": "scaled_brier",
    "macro_log_loss": "log_loss",
    "macro_sensitivity": "sensitivity",
    "macro_specificity": "specificity",
    "macro_f1": "f1",
}

MACRO = tuple(_MEAN_OF)
"""Every mean over findings, in order."""

_MACRO_COMPARED = tuple(name for name, base in _MEAN_OF.items() if base in COMPARED)

_UNKNOWN = "the finding is known in no row"
_UNPREDICTED = "no row where the finding is known has a prediction"
_NO_THRESHOLD = "no decision threshold was given"

_CONVENTIONS = (
    "Each finding is evaluated on the rows where it is known and has a prediction. A macro measure is the plain mean "
    "over the findings in which it can be estimated; its interval draws patients once for all findings, so that what "
    "findings of one case share is in it, and does not hold the number of events fixed, whereas a finding's own "
    "AUROC, sensitivity and specificity do. Average precision, Brier score, log loss and F1 depend on how often a "
    "finding is present: their means mix unlike scales and serve to compare models on the same rows. Sensitivity, "
    "specificity and F1 are taken at each finding's own threshold. There is no macro measure of calibration: too high "
    "risks of one finding would cancel too low ones of another."
)


_NEED_NO_EVENT = frozenset({"brier", "log_loss"})

LEAST_PATIENTS = 5
"""A finding joins the means when so many patients have it and so many have not: of fewer, resamples often draw none."""


def finding_key(name: str) -> str:
    """Return what stands for a finding in the names of measures.

    Parameters
    ----------
    name : str
        Column of the finding.

    Returns
    -------
    str
        The name with every character but ASCII letters, digits and ``_`` replaced by ``_``.

    Raises
    ------
    DataError
        If the name is empty.

    Examples
    --------
    >>> finding_key("Pleural Thickening")
    'Pleural_Thickening'
    """
    if not name:
        raise DataError("a finding has an empty name", "the column of the finding")
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def finding_keys(names: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of several findings.

    Raises
    ------
    DataError
        If two names give the same key, or one is empty.

    Examples
    --------
    >>> finding_keys(["effusion", "lung nodule"])
    ('effusion', 'lung_nodule')
    """
    keys: dict[str, str] = {}
    for name in names:
        key = finding_key(name)
        if key in keys:
            raise DataError(
                f"findings '{keys[key]}' and '{name}' are both '{key}' in the names of measures",
                "findings that differ in letters, digits or '_'",
                "rename one of the columns",
            )
        keys[key] = name
    return tuple(keys)


def known_multilabel(keys: Sequence[str]) -> list[str]:
    """Return the name of every measure of an evaluation of findings.

    Parameters
    ----------
    keys : sequence of str
        As from `finding_keys`.

    Examples
    --------
    >>> names = known_multilabel(["effusion"])
    >>> names[0], names[8], names[-1]
    ('macro_auroc', 'auroc@effusion', 'f1@effusion')
    """
    return [*MACRO, *(_at(name, key) for key in keys for name in (*MEASURES, *RATES))]


def _at(name: str, key: str) -> str:
    return f"{name}@{key}"


class _Together:
    """Several findings in the same resamples: estimates of one name side by side, shape (b, findings)."""

    def __init__(self, findings: Sequence[PreparedBinary | None]) -> None:
        self._findings = findings

    def _side_by_side(self, each: Sequence[Estimates | None], draws: int) -> Estimates:
        names = dict.fromkeys(name for found in each if found is not None for name in found)
        nothing = np.full(draws, np.nan)
        return {name: np.column_stack([nothing if f is None else f[name] for f in each]) for name in names}

    def ranked(self, counts: Counts) -> Estimates:
        each = [None if finding is None else finding.ranked(counts) for finding in self._findings]
        return self._side_by_side(each, counts.shape[1])

    def frequent(self, counts: Counts) -> Estimates:
        each = [None if finding is None else finding.frequent(counts) for finding in self._findings]
        return self._side_by_side(each, counts.shape[1])

    def reason(self, name: str) -> str:
        return "not estimable in any finding"


class _Means:
    """Means over findings of a model and of what it is compared with, all over the same resamples of patients.

    Parameters
    ----------
    outcome, risk : float arrays, shape (n, k)
        `outcome` is NaN where a finding is unknown or has no prediction; some finding is known in every row.
    codes : int array, shape (n,)
    chosen : k floats or None
    titles : k strings
        For notes.
    names : sequence of str
        From `MACRO`.
    baselines : mapping of str to float array, shape (n, k)
    """

    def __init__(
        self,
        outcome: FloatArray,
        risk: FloatArray,
        codes: IntArray,
        chosen: Sequence[float | None],
        titles: Sequence[str],
        names: Sequence[str],
        baselines: Mapping[str, FloatArray],
        *,
        draws: int,
        level: float,
        seed: int,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self._titles, self._codes = titles, codes
        self._outcome: dict[str, FloatArray] = {}
        models: dict[str, Prepared] = {}

        def add(key: str, values: FloatArray, rows: FloatArray, wanted: Sequence[str]) -> None:
            self._outcome[key] = rows
            models[key] = _Together(
                [
                    PreparedBinary(y[here], p[here], codes[here], np.array([]), cut, wanted, False)
                    if (here := ~np.isnan(y)).any()
                    else None
                    for y, p, cut in zip(rows.T, values.T, chosen, strict=True)
                ]
            )

        add("model", risk, outcome, [_MEAN_OF[name] for name in names])
        self._beside: dict[str, str] = {}
        for name, values in baselines.items():
            both = np.where(np.isnan(values), np.nan, outcome)
            bases = [_MEAN_OF[m] for m in _MACRO_COMPARED]
            add(f"baseline {name}", values, both, bases)
            self._beside[name] = "model"
            if np.isnan(both).sum() > np.isnan(outcome).sum():
                self._beside[name] = f"model beside {name}"
                add(self._beside[name], risk, both, bases)
        used, lowered = draws_used(draws, codes.size)
        self.draws = used
        self.found = resample(
            models, codes, None, draws=used, lowered=lowered, ranked="", level=level, seed=seed, progress=progress
        )
        self.method = f"{self.found.method}, the same patients for all findings"

    def measure(self, name: str) -> dict[str, Any]:
        """Return a mean of the model."""
        return self._measure(name, "model")

    def baseline(self, name: str, baseline: str) -> dict[str, Any]:
        """Return a mean of a baseline."""
        return self._measure(name, f"baseline {baseline}")

    def difference(self, name: str, baseline: str) -> dict[str, Any]:
        """Return the model's mean less a baseline's, over the findings that can be estimated for both."""
        return self._measure(name, f"baseline {baseline}", baseline)

    def _measure(self, name: str, key: str, against: str | None = None) -> dict[str, Any]:
        base, found = _MEAN_OF[name], self.found
        model = key if against is None else self._beside[against]
        known: BoolArray = np.isfinite(found.points[key][base]) & np.isfinite(found.points[model][base])
        # A finding that many resamples miss would take the interval from all the others.
        enough = known if base in _NEED_NO_EVENT else known & self._enough(key)
        kept = enough if enough.any() else known
        rows = self._outcome[key][:, kept]
        positive = rows == 1
        n, events = int((~np.isnan(rows)).any(axis=1).sum()), int(positive.any(axis=1).sum())
        points, drawn, why = {}, {}, {}
        for one in (key, model):
            value, each = found.points[one][base], found.draws[one].get(base)
            points[one] = {name: np.asarray(value[kept].mean() if kept.any() else np.nan)}
            drawn[one] = {} if each is None or not kept.any() else {name: each[:, kept].mean(axis=1)}
            why[one] = {} if kept.any() else {name: "not estimable in any finding"}
        means = Resampled(points, drawn, why, found.level, self.method, found.patients)
        if against is None:
            record = means.measure(key, name, n, events)
        else:
            record = means.difference(model, key, name, n, events, against)
        if kept.any():
            few = self._few(kept, positive, rows == 0)
            if few and record["lower"] is not None:
                few += ": the interval may be too short"
            record["note"] = notes(self._over(kept, known), few, record["note"])
        return record

    def _enough(self, key: str) -> BoolArray:
        """Return True for findings that enough patients have, and enough have not."""
        rows = self._outcome[key]
        patients = [[np.unique(self._codes[column == answer]).size for answer in (0.0, 1.0)] for column in rows.T]
        return np.asarray(np.min(patients, axis=1) >= LEAST_PATIENTS)

    def _over(self, kept: BoolArray, known: BoolArray) -> str:
        if kept.all():
            return ""

        def listed(which: BoolArray) -> str:
            return ", ".join(title for title, here in zip(self._titles, which, strict=True) if here)

        why = [f"not estimable: {listed(~known)}"] if not known.all() else []
        rare = known & ~kept
        if rare.any():
            why.append(f"fewer than {LEAST_PATIENTS} patients with, or without: {listed(rare)}")
        return f"mean over {int(kept.sum())} of {kept.size} findings; {'; '.join(why)}"

    def _few(self, kept: BoolArray, positive: BoolArray, negative: BoolArray) -> str:
        least = np.minimum(positive.sum(axis=0), negative.sum(axis=0))
        titles = [title for title, here in zip(self._titles, kept, strict=True) if here]
        few = ", ".join(title for title, count in zip(titles, least, strict=True) if count < FEW_UNITS)
        return f"fewer than {FEW_UNITS} rows with, or without, {few}" if few else ""


def _known_rows(y: ArrayLike, risk: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the outcome as given, the outcome where there is a prediction too (else NaN), and the risk."""
    given = np.asarray(y, dtype=np.float64)
    p = checked_risks(checked_predictions(risk, "risk", given.shape), "risk")
    outcome, _ = tables(np.where(np.isnan(p), np.nan, given), p)
    tables(given, np.zeros(given.shape))
    return given, outcome, p


def _one_each(what: str, values: Sequence[Any] | None, k: int) -> list[Any]:
    if values is None:
        return [None] * k
    if len(values) != k:
        raise DataError(f"{len(values)} {what} for {k} findings", f"{k}, one a finding")
    return list(values)


def _cuts(chosen: Sequence[float | None] | None, k: int) -> list[float | None]:
    """Return the threshold of each finding, None where it has none."""
    values = _one_each("chosen thresholds", chosen, k)
    return [None if value is None or np.isnan(value) else float(value) for value in values]


def _by_finding(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the measures of each finding, named measure@key."""
    return {
        _at(name, key): {**record, "name": _at(name, key)}
        for key, measures in found.items()
        for name, record in measures.items()
    }


def _rates_of(block: Mapping[str, Any], level: float) -> dict[str, dict[str, Any]]:
    """Return the rates at the chosen threshold of a finding's block."""
    for row in block["thresholds"]:
        if row["chosen"]:
            return {name: row[name] for name in RATES}
    why = _NO_THRESHOLD if block["n"] else block["measures"]["auroc"]["note"]
    return without_value(RATES, level, why)


def _finding(
    y: FloatArray,
    risk: FloatArray,
    patient: IntArray,
    baselines: Mapping[str, FloatArray],
    *,
    draws: int,
    level: float,
    **more: Any,
) -> dict[str, Any]:
    """Return the block of one finding, whatever its rows can tell, from the rows where it is known."""
    predicted = ~np.isnan(risk)
    if predicted.any():
        beside = {name: values for name, values in baselines.items() if not np.isnan(values[predicted]).all()}
        block = evaluate_binary(y, risk, patient=patient, baselines=beside, draws=draws, level=level, **more)
        why = "the baseline has no prediction where the finding is known"
    else:
        why = _UNPREDICTED if y.size else _UNKNOWN
        block = {
            "kind": "binary",
            "n": 0,
            "events": 0,
            "patients": 0,
            "without_prediction": y.size,
            "draws": draws,
            "level": level,
            "interval_method": "",
            "measures": without_value(MEASURES, level, why),
            "baselines": {},
            "differences": {},
            "thresholds": [],
            "curves": {},
        }
    measures, differences = block["baselines"], block["differences"]
    return block | {
        "baselines": {name: measures.get(name) or without_value(MEASURES, level, why) for name in baselines},
        "differences": {name: differences.get(name) or _no_difference(name, level, why) for name in baselines},
    }


def _no_difference(baseline: str, level: float, why: str) -> dict[str, dict[str, Any]]:
    return {name: record | {"against": baseline} for name, record in without_value(COMPARED, level, why).items()}


def evaluate_multilabel(
    y: ArrayLike,
    risk: ArrayLike,
    *,
    names: Sequence[str],
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    baselines: Mapping[str, ArrayLike] | None = None,
    thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5),
    chosen: Sequence[float | None] | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Return the whole evaluation of the risks of several findings, in JSON types.

    Parameters
    ----------
    y : 0/1 array, shape (n, k)
        NaN where a finding is unknown in a row; the row is left out for that finding only.
    risk : float array, shape (n, k)
        Probabilities. NaN is no prediction: left out for that finding, and counted.
    names : k strings
        Columns of the findings; `finding_key` of each stands in the names of its measures.
    labels : k strings, optional
        Names of the findings for people; `names` when absent.
    patient : array, shape (n,), optional
        Rows of one patient are drawn together; every row its own patient when absent.
    baselines : mapping of str to float array, shape (n, k), optional
        Risks to compare with, paired in every resample, by finding on the rows both cover.
    thresholds : sequence of float in (0, 1)
    chosen : k floats, optional
        The threshold decided on for each finding; None or NaN for a finding without one, whose net benefit is taken at
        the lowest threshold and whose rates have no value.
    draws : int
        Resamples; at most 200 with more than 50,000 rows, which `interval_method` then says.
    level : float
    seed : int
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    dict
        The ``performance`` block of a study of pictures: ``findings`` holds, by key, the block of `evaluate_binary`;
        ``measures`` the means over findings and, as ``auroc@key``, those of each finding; ``baselines`` and
        ``differences`` the same by baseline. A finding that cannot be estimated has measures without value and the
        reason in their note.

    Raises
    ------
    DataError
        If shapes disagree, two names give one key, a risk lies outside [0, 1], a baseline has no prediction, or no
        row has a known finding with a prediction.

    References
    ----------
    Sokolova and Lapalme, Inf Process Manag 2009;45:427 (means over classes). Field and Welsh, J R Stat Soc B
    2007;69:369 (resampling of clusters). Collins et al., BMJ 2024;385:e078378 (TRIPOD+AI).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((300, 2))
    >>> block = evaluate_multilabel(rng.random((300, 2)) < p, p, names=["effusion", "nodule"], chosen=[0.5, 0.5],
    ...                             baselines={"half": np.full((300, 2), 0.5)}, draws=50)
    >>> m = block["measures"]
    >>> m["macro_auroc"]["value"] == (m["auroc@effusion"]["value"] + m["auroc@nodule"]["value"]) / 2
    True
    >>> block["differences"]["half"]["macro_auroc"]["lower"] > 0
    True
    """
    given, outcome, p = _known_rows(y, risk)
    k = outcome.shape[1]
    keys = finding_keys(_one_each("names", names, k))
    titles = [str(title) for title in _one_each("labels", labels if labels is not None else names, k)]
    cuts = _cuts(chosen, k)
    everyone = patient_codes(patient, outcome.shape[0])
    used: BoolArray = np.asarray(~np.isnan(outcome).all(axis=1))
    if not used.any():
        raise DataError("no row has a known finding with a prediction", "at least 1 known finding with a risk")
    others: dict[str, FloatArray] = {}
    for name, values in (baselines or {}).items():
        called = f"baseline '{name}'"
        others[name] = checked_risks(checked_predictions(values, called, outcome.shape), called)
        if np.isnan(others[name][~np.isnan(outcome)]).all():
            raise DataError(f"{called} has no prediction beside the model's", "at least 1 risk that is a number")

    def part(place: int) -> Callable[[float], None] | None:
        return None if progress is None else lambda share: progress((place + share) / (k + 1))

    findings: dict[str, dict[str, Any]] = {}
    for i, key in enumerate(keys):
        rows = np.flatnonzero(~np.isnan(given[:, i]))
        findings[key] = _finding(
            given[rows, i],
            p[rows, i],
            everyone[rows],
            {name: values[rows, i] for name, values in others.items()},
            thresholds=thresholds,
            chosen=cuts[i],
            draws=draws,
            level=level,
            seed=seed,
            progress=part(i),
        )
    means = _Means(
        outcome[used],
        p[used],
        patient_codes(everyone[used], int(used.sum())),
        cuts,
        titles,
        MACRO,
        {name: values[used] for name, values in others.items()},
        draws=draws,
        level=level,
        seed=seed,
        progress=part(k),
    )

    return {
        "kind": "multilabel",
        "n": int(used.sum()),
        "events": int((outcome == 1).any(axis=1).sum()),
        "patients": means.found.patients,
        "without_prediction": int((~np.isnan(given) & np.isnan(p)).any(axis=1).sum()),
        "draws": means.draws,
        "level": level,
        "interval_method": means.method,
        "conventions": _CONVENTIONS,
        "labels": dict(zip(keys, titles, strict=True)),
        "findings": findings,
        "measures": {name: means.measure(name) for name in MACRO}
        | _by_finding({key: {**block["measures"], **_rates_of(block, level)} for key, block in findings.items()}),
        "baselines": {
            name: {m: means.baseline(m, name) for m in _MACRO_COMPARED}
            | _by_finding({key: block["baselines"][name] for key, block in findings.items()})
            for name in others
        },
        "differences": {
            name: {m: means.difference(m, name) for m in _MACRO_COMPARED}
            | _by_finding({key: block["differences"][name] for key, block in findings.items()})
            for name in others
        },
    }


def measures_multilabel(
    y: ArrayLike,
    risk: ArrayLike,
    *,
    names: Sequence[str],
    findings: Sequence[str],
    chosen: Sequence[float | None] | None = None,
    patient: ArrayLike | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return some measures of the risks of several findings; never raises for what the rows cannot tell.

    Parameters
    ----------
    y : 0/1 array, shape (n, k)
        NaN where a finding is unknown in a row.
    risk : float array, shape (n, k)
        Probabilities; NaN is no prediction.
    names : sequence of str
        From `known_multilabel`; an unknown one comes back without a value.
    findings : k strings
        Keys of the findings, as from `finding_keys`.
    chosen : k floats, optional
        Threshold of each finding, for the net benefit and the rates.
    patient : array, shape (n,), optional
        Every row its own patient when absent.
    draws : int
    level : float
    seed : int

    Returns
    -------
    dict of str to dict
        `Measure.to_dict`; value None with a note where it cannot be estimated. A mean says in its note over which
        findings it is, if not over all.

    Examples
    --------
    >>> found = measures_multilabel([[0, 1], [1, 1], [1, 1]], [[0.1, 0.9], [0.7, 0.8], [0.2, 0.7]], draws=50,
    ...                             names=["macro_auroc", "sensitivity@a"], findings=["a", "b"], chosen=[0.5, 0.5])
    >>> found["sensitivity@a"]["value"], found["macro_auroc"]["value"], found["macro_auroc"]["note"].split(":")[0]
    (0.5, 1.0, 'mean over 1 of 2 findings; not estimable')
    """
    if np.size(y) == 0:
        return without_value(names, level, "no rows")
    given, outcome, p = _known_rows(y, risk)
    k = outcome.shape[1]
    keys = finding_keys(_one_each("findings", findings, k))
    cuts = _cuts(chosen, k)
    everyone = patient_codes(patient, outcome.shape[0])
    used: BoolArray = np.asarray(~np.isnan(outcome).all(axis=1))
    out: dict[str, dict[str, Any]] = {}
    macro = [name for name in names if name in MACRO]
    if macro and not used.any():
        out |= without_value(macro, level, "no row has a known finding with a prediction")
    elif macro:
        means = _Means(
            outcome[used],
            p[used],
            patient_codes(everyone[used], int(used.sum())),
            cuts,
            keys,
            macro,
            {},
            draws=draws,
            level=level,
            seed=seed,
        )
        out |= {name: means.measure(name) for name in macro}
    for i, key in enumerate(keys):
        wanted = [base for base, _, at in (name.partition("@") for name in names) if at == key]
        if not wanted:
            continue
        rows = ~np.isnan(given[:, i])
        if np.isnan(outcome[:, i]).all():
            out |= _by_finding({key: without_value(wanted, level, _UNPREDICTED if rows.any() else _UNKNOWN)})
            continue
        found = measures_binary(
            given[rows, i],
            p[rows, i],
            patient=everyone[rows],
            names=wanted,
            threshold=cuts[i],
            draws=draws,
            level=level,
            seed=seed,
        )
        out |= _by_finding({key: found})
    return {name: out[name] if name in out else _no_such(name, level) for name in names}


def _no_such(name: str, level: float) -> dict[str, Any]:
    why = "no such finding here" if "@" in name else "no such measure here"
    return without_value([name], level, why)[name]
