"""Conformal sets: of each finding the answers that cannot be ruled out, right at a rate promised for either kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom

from aimed.core import DataError, UnknownNameError
from aimed.core.evaluation import Measure
from aimed.metrics.arrays import patient_codes
from aimed.metrics.multilabel import tables
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate, checked_level

__all__ = ["ABSENT", "PRESENT", "UNCERTAIN", "ConformalSets", "Side", "needed"]

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"
"""What is said of a finding in a picture."""

Side: TypeAlias = Literal["positives", "negatives"]

_SOME = 1e-9
"""Sums of 1 / rows that differ by less are equal."""
_FEW = 20
"""With fewer patients of a kind a measured coverage is not judged."""


def needed(alpha: float) -> int:
    """Return how many calibration patients of a kind it takes before an answer can be left out.

    Examples
    --------
    >>> needed(0.1), needed(0.05)
    (9, 19)
    """
    return math.ceil(1.0 / _checked_alpha(alpha) - _SOME) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """The two limits of one finding, and what they rest on; no limit where a side has too few patients."""

    present_from: float | None
    absent_to: float | None
    positives: tuple[int, int]
    negatives: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformalSets:
    """Which answers about each finding cannot be ruled out: one ("present", "absent") or both ("uncertain").

    Made with `fit`.

    Parameters
    ----------
    alpha : float
        Among patients with a finding the answer leaves out "present" in at most this share, and among patients without
        it leaves out "absent" in at most this share.
    names : tuple of str, length k
    findings : tuple, length k
        Limits of each finding.
    clustered : bool
        Whether patients were given.

    Notes
    -----
    Split conformal prediction, one finding and one class at a time (Mondrian): "present" is kept for a risk r when
    (1 + c) / (m + 1) > alpha, where m is the number of calibration patients with the finding and c how many of them
    have a risk of r or less; "absent" likewise from patients without it and risks of r or more. A patient with several
    rows of a class counts once, each row with 1 / rows (hierarchical conformal prediction), so that no draw of one row
    a patient is needed.

    What holds: for a row drawn at random from a new patient who has rows of a class, the truth is in the set with
    probability 1 - alpha or more, over draws of calibration and new patients together. It holds whatever the model, and
    needs one thing only: calibration patients and new ones are exchangeable, and the model has learned from neither. A
    tune part that also said when training should stop is predicted a little too well: the coverage that `evaluate`
    measures on other patients shows whether that matters. It does not hold for a subgroup, for patients from elsewhere,
    or for one calibration set in particular, whose own coverage scatters around the promise.

    Risks between the limits of a model that is better than asked are unlike both classes and would get an empty set.
    That set would be wrong for sure, so both answers are put in, which only raises coverage: "uncertain" always means
    that no single answer is given. `evaluate` counts them as ``empty``.

    With fewer than ``1 / alpha - 1`` patients of a class its answer is never left out: not enough evidence.

    References
    ----------
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 4.5. Romano, Sesia and Candès,
    NeurIPS 2020. Angelopoulos and Bates, Found Trends Mach Learn 2023;16:494. Lee, Barber and Willett, 2023,
    arXiv:2306.06342 (several rows a patient). Vovk, ACML 2012 (coverage of one calibration set).

    Examples
    --------
    >>> risk = np.linspace(0.02, 0.98, 49)[:, None]
    >>> y = (risk + 0.3 * np.cos(40 * risk) > 0.5).astype(float)
    >>> sets = ConformalSets.fit(risk, y, alpha=0.1, names=["effusion"])
    >>> sets.transform([[0.1], [0.5], [0.9]]).ravel().tolist()
    ['absent', 'uncertain', 'present']
    """

    alpha: float
    names: tuple[str, ...]
    findings: tuple[_Finding, ...]
    clustered: bool = False

    @classmethod
    def fit(
        cls,
        risk: ArrayLike,
        y: ArrayLike,
        patient: ArrayLike | None = None,
        *,
        alpha: float = 0.1,
        names: Sequence[str] | None = None,
    ) -> ConformalSets:
        """Find the limits on rows that the model has not learned from, such as the tune part.

        Parameters
        ----------
        risk : float array, shape (n, k)
            Any score that rises with the risk, the same as in `transform`. Not NaN where `y` is known.
        y : 0/1 array, shape (n, k)
            NaN where a finding is not known; the row is left out for that finding.
        patient : array, shape (n,), optional
            Every row its own patient when absent.
        alpha : float in (0, 1)
        names : k strings, optional

        Raises
        ------
        DataError
            If the shapes differ, `y` has other values, a risk is missing, or `alpha` is not between 0 and 1.
        """
        _checked_alpha(alpha)
        outcome, scores = tables(y, risk)
        labels = tuple(str(n) for n in (names if names is not None else range(scores.shape[1])))
        if len(labels) != scores.shape[1] or len(set(labels)) != len(labels):
            raise DataError(f"{len(set(labels))} different names for {scores.shape[1]} findings", "one name a finding")
        codes = patient_codes(patient, len(scores))
        found = []
        for r, answer in zip(scores.T, outcome.T, strict=True):
            sides: dict[str, tuple[float | None, int, int]] = {}
            for side, rows in (("positives", answer == 1), ("negatives", answer == 0)):
                sign = 1.0 if side == "positives" else -1.0
                limit, patients = _limit(sign * r[rows], codes[rows], alpha)
                sides[side] = (None if limit is None else sign * limit, int(rows.sum()), patients)
            found.append(
                _Finding(
                    present_from=sides["positives"][0],
                    absent_to=sides["negatives"][0],
                    positives=sides["positives"][1:],
                    negatives=sides["negatives"][1:],
                )
            )
        return cls(alpha=float(alpha), names=labels, findings=tuple(found), clustered=patient is not None)

    def _kept(self, risk: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether "present" and whether "absent" is kept, each (n, k), before empty sets are filled."""
        scores = np.asarray(risk, dtype=np.float64)
        if scores.ndim != 2 or scores.shape[1] != len(self.names):
            raise DataError(f"risk of shape {scores.shape}", f"(n, {len(self.names)}), a column a finding")
        missing = int(np.isnan(scores).sum())
        if missing:
            raise DataError(f"risk is missing in {missing} of {scores.size} places", "a risk for each picture")
        low = np.array([-np.inf if f.present_from is None else f.present_from for f in self.findings])
        high = np.array([np.inf if f.absent_to is None else f.absent_to for f in self.findings])
        return scores >= low, scores <= high

    def transform(self, risk: ArrayLike) -> NDArray[np.str_]:
        """Return "present", "absent" or "uncertain" for each picture and finding, shape (n, k).

        Parameters
        ----------
        risk : float array, shape (n, k)

        Raises
        ------
        DataError
            If the shape does not fit or a risk is missing.
        """
        present, absent = self._kept(risk)
        return np.where(present == absent, UNCERTAIN, np.where(present, PRESENT, ABSENT))

    def evaluate(
        self,
        risk: ArrayLike,
        y: ArrayLike,
        patient: ArrayLike | None = None,
        *,
        level: float = 0.95,
        of: str = "picture",
    ) -> dict[str, Any]:
        """Return how often the sets hold the truth on other patients, and how often they give no single answer.

        Parameters
        ----------
        risk, y, patient
            As for `fit`, of patients that calibration has not seen.
        level : float
            Coverage of the intervals.
        of : str
            What a row is called in the sentences.

        Returns
        -------
        dict
            JSON types. ``findings`` by name: ``calibration`` (rows and patients of either side), ``present_from`` and
            ``absent_to`` (limits of the risk; None where nothing is left out), ``coverage`` of ``positives`` and
            ``negatives`` (a measure with ``p`` and ``state``), ``shares`` of ``present``, ``absent`` and
            ``uncertain``, ``empty`` (share of sets that were empty and were filled), ``state`` and ``sentence``. And
            ``alpha``, ``level``, ``n``, ``patients``, ``method``, ``assumption``, ``state``, ``sentence``.

        Notes
        -----
        Coverage is the mean over patients of the share of their rows of a class in which the truth is in the set. Its
        state is "below" when coverage this low would come about by chance, with calibration and these patients alike,
        with a probability under (1 - level) / 2 (beta-binomial law, which counts the scatter of both); "held"
        otherwise; "not enough evidence" with fewer than 20 patients, or too few in calibration to leave anything out.
        """
        checked_level(level)
        outcome, scores = tables(y, risk)
        present, absent = self._kept(scores)
        codes = patient_codes(patient, len(scores))
        single = present != absent
        given = None if patient is None else codes
        findings: dict[str, Any] = {}
        for j, (name, one) in enumerate(zip(self.names, self.findings, strict=True)):
            coverage = {}
            for side, value, kept in (("positives", 1, present[:, j]), ("negatives", 0, absent[:, j])):
                rows = outcome[:, j] == value
                # An empty set is filled before it is given.
                covered = (kept | ~single[:, j])[rows]
                patients = one.positives[1] if side == "positives" else one.negatives[1]
                coverage[side] = self._coverage(f"coverage_{side}@{name}", covered, codes[rows], patients, level)
            answers = {
                PRESENT: present[:, j] & single[:, j],
                ABSENT: absent[:, j] & single[:, j],
                UNCERTAIN: ~single[:, j],
            }
            shares = {
                answer: mean_share(
                    said.astype(np.float64), patient=given, level=level, name=f"{answer}@{name}"
                ).measure().to_dict()
                for answer, said in answers.items()
            }  # fmt: skip
            findings[name] = {
                "calibration": {
                    side: dict(zip(("rows", "patients"), counts, strict=True))
                    for side, counts in (("positives", one.positives), ("negatives", one.negatives))
                },
                "present_from": one.present_from,
                "absent_to": one.absent_to,
                "coverage": coverage,
                "shares": shares,
                "empty": float((~present[:, j] & ~absent[:, j]).mean()),
                "state": _joint([c["state"] for c in coverage.values()]),
                "sentence": self._sentence(name, one, coverage, shares, of),
            }
        return {
            "alpha": self.alpha,
            "level": level,
            "n": len(scores),
            "patients": int(codes.max()) + 1,
            "method": "class-conditional split conformal prediction; "
            + ("each patient counts once" if self.clustered else "rows are taken as independent"),
            "assumption": "Calibration and new patients are exchangeable, and the model has learned from neither. The "
            "promise holds on average over patients with, and over patients without, a finding: not for a subgroup, "
            "and not for patients from elsewhere.",
            "findings": findings,
            "state": _joint([f["state"] for f in findings.values()]),
            "sentence": self._summary(findings, of),
        }

    def _coverage(
        self, name: str, covered: NDArray[np.bool_], codes: NDArray[np.int64], calibrated: int, level: float
    ) -> dict[str, Any]:
        """Return the measure of one side with the chance of coverage this low and a state."""
        if not covered.size:
            empty = Measure(name=name, value=None, level=level, note="no patient of this kind")
            return {**empty.to_dict(), "patients": 0, "p": None, "state": "not enough evidence"}
        within = np.unique(codes, return_inverse=True)[1]
        by_patient = np.bincount(within, covered) / np.bincount(within)
        found: Estimate = mean_share(by_patient, level=level, name=name)
        found.n, found.events = covered.size, int(covered.sum())
        found.method = "Wilson, a patient counts once"
        m = by_patient.size
        # The limit is the k-th lowest of the calibration risks: the chance to fall below it is a beta variable.
        k = math.floor(self.alpha * (calibrated + 1) + _SOME)
        p = None
        if k > 0:
            p = float(betabinom.cdf(math.ceil(by_patient.sum() - _SOME), m, calibrated + 1 - k, k))
        low = p is not None and p < (1.0 - level) / 2.0
        state = "not enough evidence" if p is None or (m < _FEW and not low) else "below" if low else "held"
        return {**found.measure().to_dict(), "patients": m, "p": p, "state": state}

    def _sentence(
        self,
        name: str,
        one: _Finding,
        coverage: Mapping[str, Mapping[str, Any]],
        shares: Mapping[str, Any],
        of: str,
    ) -> str:
        parts = []
        for side, who, answer in (("positives", "with", PRESENT), ("negatives", "without", ABSENT)):
            count = (one.positives if side == "positives" else one.negatives)[1]
            if count < needed(self.alpha):
                parts.append(
                    f"only {count} of the {needed(self.alpha)} calibration patients {who} it that it takes, so "
                    f"'{answer}' is never left out (not enough evidence)"
                )
                continue
            found = coverage[side]
            if found["value"] is None:
                parts.append(f"no patient {who} it was there to measure coverage")
                continue
            words = {"held": "", "below": ", below the promise", "not enough evidence": ", too few to judge"}
            parts.append(
                f"among patients {who} it the sets hold the truth in {_percent(found)}, n = {found['patients']}"
                + words[found["state"]]
            )
        text = "; ".join(parts)
        return f"{name}: {text}. No single answer for {_percent(shares[UNCERTAIN])} of {of}s."

    def _summary(self, findings: Mapping[str, Mapping[str, Any]], of: str) -> str:
        promise = f"Sets made to hold the truth for at least {100 * (1 - self.alpha):g} % of patients"
        below = [n for n, f in findings.items() if f["state"] == "below"]
        thin = [n for n, f in findings.items() if f["state"] == "not enough evidence"]
        held = len(findings) - len(below) - len(thin)
        text = f"{promise} with and without each finding did so within chance for {held} of {len(findings)} findings."
        if below:
            text += f" Below the promise: {', '.join(below)}: these patients are unlike the calibration patients."
        if thin:
            text += f" Not enough evidence: {', '.join(thin)}."
        share = float(np.mean([f["shares"][UNCERTAIN]["value"] for f in findings.values()]))
        return f"{text} On average over findings {100 * share:.0f} % of {of}s get no single answer."

    def to_state(self) -> dict[str, Any]:
        """Return the limits and what they rest on as JSON types."""
        return {
            "alpha": self.alpha,
            "clustered": self.clustered,
            # A list: the order is that of the columns, and a mapping would lose it where keys are sorted.
            "findings": [
                {
                    "name": name,
                    "present_from": f.present_from,
                    "absent_to": f.absent_to,
                    "positives": list(f.positives),
                    "negatives": list(f.negatives),
                }
                for name, f in zip(self.names, self.findings, strict=True)
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ConformalSets:
        """Rebuild from `to_state`.

        Raises
        ------
        DataError
            If a limit is not a number.
        """
        findings = []
        for record in state["findings"]:
            limits = [record["present_from"], record["absent_to"]]
            if not all(v is None or math.isfinite(float(v)) for v in limits):
                raise DataError("a limit that is not a number", "numbers or null")
            first, second = (None if v is None else float(v) for v in limits)
            counts = [(int(record[side][0]), int(record[side][1])) for side in ("positives", "negatives")]
            findings.append(_Finding(present_from=first, absent_to=second, positives=counts[0], negatives=counts[1]))
        return cls(
            alpha=_checked_alpha(float(state["alpha"])),
            names=tuple(str(record["name"]) for record in state["findings"]),
            findings=tuple(findings),
            clustered=bool(state["clustered"]),
        )

    def take(self, names: Sequence[str]) -> ConformalSets:
        """Return the sets of some findings, in the order asked for.

        Raises
        ------
        UnknownNameError
            If there is no such finding.
        """
        for name in names:
            if name not in self.names:
                raise UnknownNameError("finding", name, self.names)
        places = [self.names.index(name) for name in names]
        return ConformalSets(
            alpha=self.alpha,
            names=tuple(names),
            findings=tuple(self.findings[p] for p in places),
            clustered=self.clustered,
        )


def _checked_alpha(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise DataError("alpha lies outside (0, 1)", "a share such as 0.1")
    return float(alpha)


def _limit(score: NDArray[np.float64], codes: NDArray[np.int64], alpha: float) -> tuple[float | None, int]:
    """Return the lowest score at which a class is kept, None where it always is, and the number of patients."""
    if not score.size:
        return None, 0
    who = np.unique(codes, return_inverse=True)[1]
    m = int(who.max()) + 1
    least = alpha * (m + 1) - 1.0
    if least < -_SOME:
        return None, m
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    patients = np.cumsum((1.0 / np.bincount(who))[who][order])
    # Equal scores count together: the sum up to the last of them.
    patients = patients[np.searchsorted(ranked, ranked, side="right") - 1]
    return float(ranked[np.argmax(patients > least + _SOME)]), m


def _joint(states: Sequence[str]) -> str:
    return next((s for s in ("below", "not enough evidence") if s in states), "held")


def _percent(measure: Mapping[str, Any]) -> str:
    value = f"{100 * measure['value']:.0f} %"
    if measure["lower"] is None or measure["upper"] is None:
        return value
    lower, upper = 100 * measure["lower"], 100 * measure["upper"]
    return f"{value} ({100 * measure['level']:g} % interval {lower:.0f} to {upper:.0f} %)"
