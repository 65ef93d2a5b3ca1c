"""Whether a model knows when it is unsure: its doubt against its errors, and what referring doubtful cases saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.metrics.arrays import patient_codes
from aimed.metrics.multilabel import multilabel_auroc, tables
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate, checked_level, clustered
from aimed.trust.words import listed, number, plural

__all__ = ["REFERRED", "case_uncertainty", "entropy", "kept_after"]

REFERRED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the most uncertain pictures that are handed to a reader."""

_FEW = 20
"""With fewer wrong, or right, decisions nothing is said of a finding."""
_SHOWN = 0.2


def entropy(risk: ArrayLike) -> NDArray[np.float64]:
    """Return the entropy of yes/no risks in bits: 0 when sure, 1 at a risk of one half.

    Examples
    --------
    >>> entropy([0.0, 0.5, 1.0]).tolist()
    [0.0, 1.0, 0.0]
    """
    p = np.asarray(risk, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return np.where((p <= 0) | (p >= 1), 0.0, bits)


def case_uncertainty(
    risk: ArrayLike,
    y: ArrayLike,
    thresholds: ArrayLike,
    *,
    spread: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    names: Sequence[str],
    referred: Sequence[float] = REFERRED,
    level: float = 0.95,
    of: str = "picture",
) -> dict[str, Any]:
    """Set the uncertainty of each prediction against whether the decision at the threshold was right.

    Parameters
    ----------
    risk : float array, shape (n, k)
        Calibrated risks.
    y : 0/1 array, shape (n, k)
        NaN where a finding is not known; the row is left out for that finding.
    thresholds : float array, shape (k,)
        A risk equal to its threshold counts as "present".
    spread : float array, shape (n, k), optional
        Standard deviation of the risk over networks or changed copies of the picture. NaN everywhere, or absent, where
        there is one network and one copy: the entropy of the risk stands in for it.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    names : k strings
    referred : sequence of float in [0, 1)
        Shares of the most uncertain pictures that are referred, a finding at a time.
    level : float
        Coverage of the intervals.
    of : str
        What a row is called in the sentences.

    Returns
    -------
    dict
        JSON types: ``signal`` ("spread" or "entropy"), ``signals`` (all that were looked at, with words), ``auroc``
        (signal → macro measure), ``added`` (macro AUROC of the spread less that of the entropy, or None), ``curve``
        (macro: ``share`` referred, ``error`` rate of the rest, its ``difference`` to referring none), ``findings`` by
        name (``n``, ``wrong``, ``auroc``, ``curve``, ``state``), ``state``, ``sentence``, ``note``, ``n``,
        ``patients``, ``level``, ``method``.

    Raises
    ------
    DataError
        If shapes differ, a value is impossible, or `spread` is missing in some places and not in others.

    Notes
    -----
    The AUROC is the chance that a wrong decision has more uncertainty than a right one. Beside the main signal stands
    the margin, which needs no second network: how near the log odds of the risk are to those of the threshold.
    The curve is that of Geifman and El-Yaniv: rows are handed over from the most uncertain down; of rows that are
    equally uncertain each counts in part. Intervals take the choice of rows as given. States: "knows" when the lower
    limit of the AUROC is above one half, "misleads" when the upper one is below, "not shown" otherwise; "not enough
    evidence" with fewer than 20 wrong or right decisions.

    References
    ----------
    Geifman and El-Yaniv, NeurIPS 2017. Lakshminarayanan et al., NeurIPS 2017. Leibig et al., Sci Rep 2017;7:17816.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.uniform(size=(400, 1))
    >>> found = case_uncertainty(risk, rng.random((400, 1)) < risk, [0.5], names=["effusion"])
    >>> found["signal"], found["state"], [round(c["error"]["value"], 2) for c in found["curve"][::2]]
    ('entropy', 'knows', [0.23, 0.19, 0.17])
    """
    checked_level(level)
    p, outcome, cuts, deviation, labels = _checked(risk, y, thresholds, spread, names)
    shares = [float(s) for s in referred]
    if not shares or not all(0 <= s < 1 for s in shares) or sorted(set(shares)) != shares:
        raise DataError("shares to refer that do not rise from 0 to below 1", "such as (0, 0.1, 0.2)")
    n, k = p.shape
    codes = None if patient is None else patient_codes(patient, n)
    wrong = np.where(np.isnan(outcome), np.nan, (p >= cuts) != (outcome == 1))
    signals = {"entropy": entropy(p), "margin": _margin(p, cuts)}
    if deviation is not None:
        signals = {"spread": deviation} | signals
    main = next(iter(signals))
    told = {
        name: multilabel_auroc(wrong, values, patient=codes, level=level, names=labels)
        for name, values in signals.items()
    }
    errors = [_errors(wrong[:, j], signals[main][:, j], shares, codes, level) for j in range(k)]
    findings: dict[str, Any] = {}
    for j, name in enumerate(labels):
        known, mistakes = int((~np.isnan(wrong[:, j])).sum()), int(np.nansum(wrong[:, j]))
        auroc = {signal: _measure(found.targets[j], f"auroc_of_{signal}@{name}") for signal, found in told.items()}
        thin = min(mistakes, known - mistakes) < _FEW
        findings[name] = {
            "n": known,
            "wrong": mistakes,
            "auroc": auroc,
            "curve": _steps(shares, errors[j], f"@{name}", codes, level),
            "state": "not enough evidence" if thin else _state(auroc[main]),
        }
    added = None
    if main == "spread" and np.isfinite(told[main].macro):
        added = _measure(_difference(told["spread"].macro, told["entropy"].macro, codes, level), "macro_auroc_added")
    for found in told.values():
        found.macro.n, found.macro.events = (sum(int(f[key]) for f in findings.values()) for key in ("n", "wrong"))
    macro = {signal: _measure(found.macro, f"macro_auroc_of_{signal}") for signal, found in told.items()}
    curve = _steps(shares, _means(errors, codes, level), "", codes, level)
    judged = [f["state"] for f in findings.values()]
    state = "not enough evidence" if all(s == "not enough evidence" for s in judged) else _state(macro[main])
    return {
        "signal": main,
        "signals": {name: _WORDS[name].format(of=of) for name in signals},
        "n": n,
        "patients": n if codes is None else int(codes.max()) + 1,
        "level": level,
        "method": "wrong against right decisions at the thresholds; intervals clustered by "
        + ("row" if codes is None else "patient"),
        "auroc": macro,
        "added": added,
        "curve": curve,
        "findings": findings,
        "state": state,
        "sentence": _sentence(main, macro[main], added, curve, findings, state, of),
        "note": (_NOTE if deviation is not None else f"{_ONE} {_NOTE}").format(of=of),
    }


_WORDS = {
    "spread": "standard deviation of the risk over networks or changed copies of the {of}",
    "entropy": "entropy of the risk, largest at one half",
    "margin": "nearness of the risk to the threshold, in log odds",
}
_NOTE = (
    "Each finding refers its own most uncertain {of}s, and errors of referred {of}s are not counted: what a "
    "reader would make of them is not known. Intervals take the choice of {of}s as given."
)
_ONE = "There was one network and one copy of each {of}, so that the risk itself is all that tells doubt."


def _checked(
    risk: ArrayLike, y: ArrayLike, thresholds: ArrayLike, spread: ArrayLike | None, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None, tuple[str, ...]]:
    outcome, p = tables(y, risk)
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("a risk is missing or outside [0, 1]", "probabilities")
    labels = tuple(str(name) for name in names)
    cuts = np.asarray(thresholds, dtype=np.float64)
    if len(set(labels)) != p.shape[1] or len(labels) != p.shape[1] or cuts.shape != (p.shape[1],):
        raise DataError(
            f"{len(set(labels))} different names and {cuts.size} thresholds for {p.shape[1]} findings", "one a finding"
        )
    if not np.isfinite(cuts).all():
        raise DataError("a threshold that is not a number", "a risk, such as 0.5")
    if spread is None:
        return p, outcome, cuts, None, labels
    deviation = np.asarray(spread, dtype=np.float64)
    if deviation.shape != p.shape:
        raise DataError(f"spread has shape {deviation.shape} and risk {p.shape}", "one shape")
    missing = int(np.isnan(deviation).sum())
    if missing == deviation.size:
        return p, outcome, cuts, None, labels
    if missing or not (deviation >= 0).all() or not np.isfinite(deviation).all():
        raise DataError(
            f"spread is missing in {missing} of {deviation.size} places, or negative",
            "numbers from 0, or NaN everywhere",
        )
    return p, outcome, cuts, deviation, labels


def _margin(p: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    odds, cut = (np.log(v / (1 - v)) for v in (np.clip(p, 1e-12, 1 - 1e-12), np.clip(cuts, 1e-12, 1 - 1e-12)))
    return np.asarray(-np.abs(odds - cut))


def _measure(found: Estimate, name: str) -> dict[str, Any]:
    found.name = name
    return found.measure().to_dict()


def kept_after(doubt: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return how much of each row is kept when a share of the most uncertain is referred; equals share alike.

    Examples
    --------
    >>> kept_after(np.array([0.9, 0.5, 0.5, 0.1]), 0.5).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    left = share * doubt.size
    which, counts = np.unique(-doubt, return_inverse=True, return_counts=True)[1:]
    taken = np.clip(left - (np.cumsum(counts) - counts), 0, counts) / counts
    return np.asarray(1.0 - taken[which])


def _errors(
    wrong: NDArray[np.float64],
    doubt: NDArray[np.float64],
    shares: Sequence[float],
    codes: NDArray[np.int64] | None,
    level: float,
) -> list[Estimate]:
    """Return the error rate of the rows kept at each share; none where no row is known."""
    rows = np.flatnonzero(~np.isnan(wrong))
    out = []
    for share in shares if rows.size else ():
        keep = kept_after(doubt[rows], share)
        who = None if codes is None else codes[rows]
        found = mean_share(wrong[rows], keep, patient=who, level=level)
        influence = np.zeros(wrong.size)
        influence[rows] = found.influence
        found.n, found.events, found.influence = round(keep.sum()), round(float(keep @ wrong[rows])), influence
        out.append(found)
    return out


def _means(curves: Sequence[Sequence[Estimate]], codes: NDArray[np.int64] | None, level: float) -> list[Estimate]:
    """Return the mean over findings at each share; a finding that nothing is known of is left out."""
    known = [curve for curve in curves if curve]
    return [
        Estimate.from_influence(
            float(np.mean([float(one) for one in at])),
            np.mean([one.influence for one in at], axis=0),
            codes,
            name="",
            n=sum(one.n for one in at),
            events=sum(one.events or 0 for one in at),
            level=level,
            scale="logit",
            bounds=(0.0, 1.0),
            method=clustered("infinitesimal jackknife on the logit scale", codes),
        )
        for at in zip(*known, strict=True)
    ]


def _steps(
    shares: Sequence[float], errors: Sequence[Estimate], where: str, codes: NDArray[np.int64] | None, level: float
) -> list[dict[str, Any]]:
    out = []
    for share, found in zip(shares, errors, strict=False):
        gap = None
        if share > 0 and shares[0] == 0:
            gap = _difference(found, errors[0], codes, level)
        out.append(
            {
                "share": share,
                "n": found.n,
                "error": _measure(found, f"error_rate{where}"),
                "difference": None if gap is None else _measure(gap, f"difference_in_error_rate{where}"),
            }
        )
    return out


def _difference(one: Estimate, other: Estimate, codes: NDArray[np.int64] | None, level: float) -> Estimate:
    """Return one less other, paired by row or by patient."""
    return Estimate.from_influence(
        float(one) - float(other),
        np.asarray(one.influence) - np.asarray(other.influence),
        codes,
        name="",
        n=other.n,
        events=other.events,
        level=level,
        bounds=(-1.0, 1.0),
        method=clustered("infinitesimal jackknife, paired", codes),
    )


def _state(measure: Mapping[str, Any]) -> str:
    if measure["lower"] is None or measure["upper"] is None:
        return "not enough evidence"
    return "knows" if measure["lower"] > 0.5 else "misleads" if measure["upper"] < 0.5 else "not shown"


def _span(measure: Mapping[str, Any], digits: int = 2) -> str:
    if measure["lower"] is None or measure["upper"] is None:
        return f"{measure['value']:.{digits}f} (no interval)"
    limits = f"{measure['lower']:.{digits}f} to {measure['upper']:.{digits}f}"
    return f"{measure['value']:.{digits}f} ({100 * measure['level']:g} % interval {limits})"


def _sentence(
    main: str,
    auroc: Mapping[str, Any],
    added: Mapping[str, Any] | None,
    curve: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Mapping[str, Any]],
    state: str,
    of: str,
) -> str:
    wrong, n = (sum(f[key] for f in findings.values()) for key in ("wrong", "n"))
    base = f"{plural(wrong, 'wrong decision')} in {number(n)}"
    if state == "not enough evidence" or auroc["value"] is None:
        return (
            f"Not enough evidence on whether doubt tells errors: {base}; a finding needs {_FEW} wrong and {_FEW} right."
        )
    what = "The spread of the risk" if main == "spread" else "The entropy of the risk"
    verdict = {
        "knows": "is larger for wrong decisions than for right ones",
        "not shown": "is not shown to be larger for wrong decisions than for right ones",
        "misleads": "is smaller for wrong decisions than for right ones, and so misleads",
    }[state]
    text = f"{what} {verdict}: macro AUROC {_span(auroc)}, {base}."
    if added is not None:
        less = added["upper"] is not None and added["upper"] < 0
        more = added["lower"] is not None and added["lower"] > 0
        than = "That is less than" if less else "That is more than" if more else "It is not shown to differ from what"
        text += f" {than} the entropy of the risk alone tells: difference {_span(added)}."
    later = [step for step in curve if step["difference"] is not None]
    if later:
        step = min(later, key=lambda s: abs(s["share"] - _SHOWN))
        change = step["difference"]
        shown = change["upper"] is not None and change["upper"] < 0
        text += (
            f" Without the {100 * step['share']:g} % most uncertain {of}s of each finding the mean error rate is "
            f"{step['error']['value']:.3f} instead of {curve[0]['error']['value']:.3f}: a difference of "
            f"{_span(change, 3)}" + ("." if shown else ", so that a gain is not shown.")
        )
    thin = [name for name, f in findings.items() if f["state"] == "not enough evidence"]
    if thin:
        text += f" Not enough evidence for {listed(thin)} alone."
    return text
