"""Says what keeps a model from being better: bias, variance, unlike parts, or a tune part that was used up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aimed.core import DataError, NotEstimableError
from aimed.metrics.arrays import patient_codes
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Estimate, notes

__all__ = ["FitDiagnosis", "Gap", "diagnose_fit", "mismatch_test"]

Kind: TypeAlias = Literal["pictures", "rows", "scans"]

_FOLDS = 5
_UNLIKE = 0.55
_UNITS = {"pictures": "pictures", "rows": "predictors", "scans": "scans"}
_READERS = {"pictures": ("readers", "pictures"), "rows": ("clinicians", "patients"), "scans": ("readers", "scans")}
_ADVICE = {
    "pictures": {
        "bias": (
            "a larger network or higher resolution; longer training or a better learning rate; weights learned on more "
            "pictures; less weight decay and augmentation; a look at the labels"
        ),
        "variance": (
            "more training patients; weights learned on more pictures; more augmentation and weight decay; a smaller "
            "network or an ensemble; earlier stopping"
        ),
        "mismatch": (
            "find what tells the parts apart (site, view, device, exposure), bring such pictures into training or make "
            "them alike, and draw the tune part from where the model will be used"
        ),
        "tune overfitted": "a larger tune part, fewer choices made on it, and a fresh test part",
    },
    "rows": {
        "bias": (
            "predictors that say more; a larger network; longer training or a better learning rate; less weight decay "
            "and dropout; a look at how the outcome was recorded"
        ),
        "variance": (
            "more training patients; fewer predictors; more weight decay and dropout; a smaller network, or more of "
            "them averaged; a linear model"
        ),
        "mismatch": (
            "find which predictors tell the parts apart, and whether the patients changed or the way of measuring; "
            "bring such patients into training, and draw the tune part from where the model will be used"
        ),
        "tune overfitted": "more training patients, fewer trials and candidates, and a fresh test part",
    },
    "scans": {
        "bias": (
            "a wider or deeper network, larger sub-volumes or a finer grid; longer training or a better learning rate; "
            "less weight decay and augmentation; a look at the masks"
        ),
        "variance": (
            "more training patients; more augmentation and weight decay; a smaller network or an ensemble; earlier "
            "stopping"
        ),
        "mismatch": (
            "find what tells the parts apart (site, device, protocol), bring such scans into training, and draw the "
            "tune part from where the model will be used"
        ),
        "tune overfitted": "a larger tune part, fewer choices made on it, and a fresh test part",
    },
}


@dataclass(frozen=True, slots=True)
class Gap:
    """One reason why a model is not better, with what the evidence says of it.

    Parameters
    ----------
    kind : {"bias", "variance", "mismatch", "tune overfitted"}
    size : Estimate
        How much of the score it costs; for "mismatch" the AUROC with which the parts are told apart.
    verdict : {"present", "small", "not enough evidence"}
    sentence : str
    advice : str
        What to do about it; empty unless it is present.
    """

    kind: str
    size: Estimate
    verdict: str
    sentence: str
    advice: str


@dataclass(frozen=True, slots=True)
class FitDiagnosis:
    """Scores of the parts and the gaps between them, the largest that is present first.

    Parameters
    ----------
    scores : dict of str to Estimate
    gaps : tuple of Gap
    summary : str
    of : {"pictures", "rows", "scans"}
    """

    scores: dict[str, Estimate]
    gaps: tuple[Gap, ...]
    summary: str
    of: Kind = "pictures"

    def __getitem__(self, kind: str) -> Gap:
        return next(gap for gap in self.gaps if gap.kind == kind)

    def to_state(self) -> dict[str, Any]:
        """Return the diagnosis in JSON types."""
        return {
            "scores": {name: _numbers(score) for name, score in self.scores.items()},
            "gaps": [
                {
                    "kind": gap.kind, "size": _numbers(gap.size), "verdict": gap.verdict, "sentence": gap.sentence,
                    "advice": gap.advice,
                }
                for gap in self.gaps
            ],
            "summary": self.summary,
            "of": self.of,
        }  # fmt: skip


def _numbers(found: Estimate) -> dict[str, Any]:
    known = {name: float(getattr(found, name)) for name in ("value", "lower", "upper")}
    shown = {k: v if math.isfinite(v) else None for k, v in known.items()}
    return {"name": found.name, **shown, "n": found.n, "note": found.note}


def diagnose_fit(
    train: Estimate,
    tune: Estimate,
    *,
    target: Estimate | float | None = None,
    target_name: str = "the target",
    test: Estimate | None = None,
    mismatch: Estimate | None = None,
    mismatch_parts: str = "the two parts",
    margin: float = 0.02,
    of: Kind = "pictures",
) -> FitDiagnosis:
    """Compare the scores of the parts with each other and with what is possible.

    Parameters
    ----------
    train, tune : Estimate
        One score, such as macro AUROC or C, higher is better, on pictures or rows as they are (not augmented). The
        parts share no patient. With several folds, `tune` may be the mean over models that did not see the fold.
    target : Estimate or float, optional
        What readers reach, or what is asked for.
    target_name : str
    test : Estimate, optional
    mismatch : Estimate, optional
        From `mismatch_test`.
    mismatch_parts : str
        Which parts it compared.
    margin : float
        What is worth talking about: a gap is present where its interval lies above, small where it lies below.
    of : {"pictures", "rows", "scans"}
        What the model reads, which decides the advice.

    Returns
    -------
    FitDiagnosis

    References
    ----------
    Ng, Machine Learning Yearning, 2018, chapters 20 to 43.

    Examples
    --------
    >>> train = Estimate.normal(0.97, 0.005, name="auroc", n=900)
    >>> tune = Estimate.normal(0.85, 0.02, name="auroc", n=200)
    >>> found = diagnose_fit(train, tune, target=0.95, target_name="two readers")
    >>> found["variance"].verdict, found["bias"].verdict
    ('present', 'small')
    >>> print(found["variance"].sentence)
    Variance: the score falls by 0.120 (0.080 to 0.160) from the training part to the tune part.
    """
    gaps: list[Gap] = []
    if target is None:
        bias = Estimate(math.nan, name="bias", note="no target was given")
        sentence = "Bias cannot be judged: it takes a target, such as what {} reach on the same {}."
        gaps.append(Gap("bias", bias, "not enough evidence", sentence.format(*_READERS[of]), ""))
    else:
        goal = target if isinstance(target, Estimate) else Estimate(float(target), name="target", se=0.0)
        words = f"the training part is {{}} below {target_name} ({float(goal):.3f})"
        gaps.append(_gap("bias", goal, train, margin, words, of))
    words = "the score falls by {} from the training part to the tune part"
    gaps.append(_gap("variance", train, tune, margin, words, of))
    if test is not None:
        words = "the score falls by {} from the tune part to the test part"
        gaps.append(_gap("tune overfitted", tune, test, margin, words, of))
    if mismatch is not None:
        gaps.append(_mismatch(mismatch, mismatch_parts, of))
    rank = {"present": 0, "not enough evidence": 1, "small": 2}
    gaps.sort(key=lambda gap: (rank[gap.verdict], -_cost(gap)))
    scores = {"train": train, "tune": tune}
    if test is not None:
        scores["test"] = test
    return FitDiagnosis(scores, tuple(gaps), _summary(gaps, of), of)


def _gap(kind: str, high: Estimate, low: Estimate, margin: float, words: str, of: Kind) -> Gap:
    # Parts share no patient: their errors add up.
    size = Estimate.normal(float(high) - float(low), math.hypot(high.se, low.se), name=kind, n=low.n)
    name = kind.capitalize()
    if not math.isfinite(float(size)):
        missing = Estimate(math.nan, name=kind, n=low.n, note=notes(high.note, low.note))
        sentence = f"{name} cannot be judged, a part has no score: {missing.note}."
        return Gap(kind, missing, "not enough evidence", sentence, "")
    if size.se == 0.0 or not math.isfinite(size.lower):
        size = Estimate(float(size), name=kind, n=low.n, note="no interval: a score came without its error")
    return _judged(kind, size, margin, f"{name}: {words.format(_shown(size))}", of)


def _judged(kind: str, size: Estimate, margin: float, sentence: str, of: Kind) -> Gap:
    if size.lower > margin:
        return Gap(kind, size, "present", f"{sentence}.", _ADVICE[of][kind])
    if size.upper < margin:
        return Gap(kind, size, "small", f"{sentence}: too little to work on.", "")
    return Gap(kind, size, "not enough evidence", f"{sentence}: there is not enough evidence to say if it matters.", "")


def _mismatch(size: Estimate, parts: str, of: Kind) -> Gap:
    if not math.isfinite(float(size)):
        words = f"Mismatch: not tested, {size.note}."
        return Gap("mismatch", size, "not enough evidence", words, "")
    words = f"Mismatch: from the {_UNITS[of]} alone {parts} are told apart with AUROC {_shown(size)}"
    return _judged("mismatch", size, _UNLIKE, words, of)


def _shown(size: Estimate) -> str:
    if not math.isfinite(size.lower):
        return f"{float(size):.3f} (no interval)"
    return f"{float(size):.3f} ({size.lower:.3f} to {size.upper:.3f})"


def _cost(gap: Gap) -> float:
    value = float(gap.size) - (0.5 if gap.kind == "mismatch" else 0.0)
    return value if math.isfinite(value) else 0.0


def _summary(gaps: list[Gap], of: Kind) -> str:
    present = [gap for gap in gaps if gap.verdict == "present"]
    if present:
        others = f" Then: {', '.join(gap.kind for gap in present[1:])}." if present[1:] else ""
        return f"Work on {present[0].kind} first: {present[0].advice}.{others}"
    if any(gap.verdict == "not enough evidence" for gap in gaps):
        return "No gap is proven; larger parts, or a target, would say more."
    return f"All gaps are small: what is left is what the {_UNITS[of]} and labels do not hold."


def mismatch_test(
    first: NDArray[Any],
    second: NDArray[Any],
    first_patient: ArrayLike | None = None,
    second_patient: ArrayLike | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Test whether two parts come from one distribution: how well can a classifier tell which part a row is from?

    Parameters
    ----------
    first, second : float arrays, shapes (n, c) and (m, c)
        Prepared predictors, descriptors of pictures, or features of a network that was trained on neither part.
    first_patient, second_patient : arrays, optional
        Patients stay together in the folds and in the interval. Numbers of one part do not mean those of the other.
    level : float
    seed : int

    Returns
    -------
    Estimate
        AUROC of scores from models that did not see the patient; about 0.5 where the parts are alike.

    Notes
    -----
    Formula: ridge logistic regression on standardised descriptors, five folds of patients, AUROC of the pooled scores.
    Scores of several folds pool a little below 0.5 where there is nothing to find, which errs on the side of "alike".

    References
    ----------
    Lopez-Paz and Oquab, ICLR 2017 (classifier two-sample test).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(200, 5)), rng.normal(size=(100, 5))
    >>> alike, unlike = mismatch_test(a, b), mismatch_test(a, b + 1.0)
    >>> alike.lower < 0.5 < unlike.lower
    True
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"descriptors of shapes {a.shape} and {b.shape}", "the same columns")
    codes = [patient_codes(p, len(x)) for p, x in ((first_patient, a), (second_patient, b))]
    if min((int(c.max()) + 1 if c.size else 0) for c in codes) < 2 * _FOLDS:
        raise NotEstimableError("fewer than 10 patients in a part", "at least 10 in each")
    generator = np.random.default_rng(seed)
    folds = np.concatenate([generator.permutation(np.arange(int(c.max()) + 1) % _FOLDS)[c] for c in codes])
    x, y = np.concatenate((a, b)), np.concatenate((np.zeros(len(a)), np.ones(len(b))))
    score = np.empty(len(y))
    for fold in range(_FOLDS):
        inside = folds == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500))
        score[inside] = model.fit(x[~inside], y[~inside]).decision_function(x[inside])
    patient = np.concatenate((codes[0], codes[1] + int(codes[0].max()) + 1))
    return auroc(y, score, patient=patient, level=level)
