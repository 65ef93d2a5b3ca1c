"""What notes that are typed, dictated or stored worse than those of the study cost a model that reads them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, NotEstimableError
from aimed.metrics import adjust_p_values
from aimed.metrics.arrays import patient_codes
from aimed.metrics.report_labels import GoldCoding, label_f1
from aimed.metrics.result import Estimate, clustered, two_sided_p
from aimed.trust.words import number, plural

__all__ = ["NOTE_CHANGES", "NoteChange", "robustness", "worsened_note"]


@dataclass(frozen=True, slots=True)
class NoteChange:
    """One way in which a note gets worse, at one strength.

    Parameters
    ----------
    kind : str
        A key of `NOTE_CHANGES`' kinds.
    amount : float
        Share of words that are changed; 1 for changes of the whole note.

    Examples
    --------
    >>> NoteChange("typing", 0.05).label
    'Typing errors, in 5 % of words'
    """

    kind: str
    amount: float = 1.0

    @property
    def key(self) -> str:
        """Name of the change."""
        return self.kind if self.amount == 1.0 else f"{self.kind}_{self.amount:g}"

    @property
    def label(self) -> str:
        """Name shown to people."""
        said = _LABELS[self.kind]
        return said if self.amount == 1.0 else f"{said}, in {100 * self.amount:g} % of words"


_LABELS = {
    "capitals": "All capitals",
    "no_punctuation": "No punctuation",
    "one_line": "Line breaks lost",
    "no_headings": "Headings lost",
    "typing": "Typing errors",
    "holes": "Words blanked by de-identification",
}

NOTE_CHANGES = (
    NoteChange("capitals"),
    NoteChange("no_punctuation"),
    NoteChange("one_line"),
    NoteChange("no_headings"),
    NoteChange("typing", 0.02),
    NoteChange("typing", 0.1),
    NoteChange("holes", 0.05),
)
"""The changes that are tried."""

_HEADING = re.compile(r"(?m)^[ \t]*[A-Z][A-Za-z /]{2,30}:[ \t]*")
_MARKS = re.compile(r"[.,;:!?()]")
_WORD = re.compile(r"[A-Za-z]{4,}")


def worsened_note(text: str, change: NoteChange, seed: int = 0) -> str:
    """Return a note after a change; what is random in it is drawn from the note, the change and the seed.

    Examples
    --------
    >>> worsened_note("FINDINGS: No effusion.", NoteChange("no_headings"))
    'No effusion.'
    >>> worsened_note("No effusion, no edema.", NoteChange("no_punctuation"))
    'No effusion no edema'
    """
    if change.kind == "capitals":
        return text.upper()
    if change.kind == "no_punctuation":
        return _MARKS.sub("", text)
    if change.kind == "one_line":
        return " ".join(text.split())
    if change.kind == "no_headings":
        return _HEADING.sub("", text)
    if change.kind not in ("typing", "holes"):
        raise DataError("a change of notes that is not known", f"one of: {', '.join(_LABELS)}")
    rng = np.random.default_rng((seed, zlib.crc32(text.encode("utf-8", "replace")), zlib.crc32(change.key.encode())))

    def spoil(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= change.amount:
            return word
        if change.kind == "holes":
            return "XXXX"
        place = int(rng.integers(1, len(word) - 1))
        if rng.random() < 0.5:
            return word[:place] + word[place + 1 :]
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]

    return _WORD.sub(spoil, text)


def robustness(
    predict: Callable[[list[str]], NDArray[np.float64]],
    texts: Sequence[str],
    gold: ArrayLike,
    *,
    said: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    names: Sequence[str],
    gold_coding: GoldCoding = "certain",
    patient: ArrayLike | None = None,
    changes: Sequence[NoteChange] = NOTE_CHANGES,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Read notes before and after each change, and say how much micro F1 is lost.

    Parameters
    ----------
    predict : callable
        From texts to risks, shape (n, k).
    texts : sequence of str
    gold : float array, shape (n, k)
        As for `aimed.metrics.report_labels.label_f1`.
    said : callable
        From risks to what is called present, 1 or 0.
    names : k strings
    gold_coding, patient, level
        As for `label_f1`.
    changes : sequence of NoteChange
    seed : int
    progress : callable, optional
        Hears the share done and what is being done.

    Returns
    -------
    dict
        Shaped as that of `aimed.trust.picture_robustness.robustness`, with ``measure`` "micro_f1": ``n``, ``of``,
        ``patients``, ``level``, ``method``, ``seed``, ``unchanged``, ``changes``, ``worst``, ``multiplicity``,
        ``sentence`` and ``note``.

    Notes
    -----
    Differences are paired by note, added by patient; the quantile is that of t with one less than the patients who have
    a finding, or in whom one is called. A state is that of the interval of one change; p values are adjusted after Holm
    over all changes, and the sentence counts both. The largest loss is chosen for being extreme, and so is too large on
    average. Changes imitate what goes wrong with notes; those of another hospital differ in more than one way.

    Examples
    --------
    >>> found = robustness(lambda t: np.array([[float("No" not in x)] for x in t]), ["No mass.", "Mass."] * 20,
    ...                    [[0], [1]] * 20, said=np.round, names=["mass"], changes=[NoteChange("capitals")])
    >>> found["changes"][0]["state"], found["worst"]
    ('loss shown', 'capitals')
    """
    labels = np.asarray(gold, dtype=np.float64)
    if labels.shape != (len(texts), len(names)):
        raise DataError(f"labels of shape {labels.shape}", f"({len(texts)}, {len(names)}): a row a note")
    codes = patient_codes(patient, len(texts))

    def f1(notes: list[str]) -> tuple[Estimate | None, NDArray[np.float64]]:
        called = np.asarray(said(np.asarray(predict(notes))))
        try:
            return label_f1(labels, called, gold_coding=gold_coding, patient=patient, level=level), called
        except NotEstimableError:
            return None, called

    before, first = f1(list(texts))
    # A note without the finding, in which none is called, says nothing of F1.
    units = np.unique(codes[((labels == 1) | (first == 1)).any(axis=1)]).size
    block = []
    for place, change in enumerate(changes):
        if progress is not None:
            progress(place / len(changes), change.label)
        after, then = f1([worsened_note(text, change, seed) for text in texts])
        flipped = float((then != first).mean())
        block.append(_compared(change, before, after, flipped, codes, max(2, units), level))
    adjusted = adjust_p_values([math.nan if one["p"] is None else one["p"] for one in block], "holm")
    for one, p in zip(block, adjusted, strict=True):
        one["p_holm"] = float(p) if math.isfinite(p) else None
    lost = [one for one in block if (one["differences"]["micro_f1"]["value"] or 0.0) < 0]
    worst = min(lost, key=lambda one: float(one["differences"]["micro_f1"]["value"]), default=None)
    return {
        "measure": "micro_f1",
        "of_notes": True,
        "n": len(texts),
        "of": len(texts),
        "patients": int(codes.max()) + 1,
        "level": level,
        "method": clustered("paired differences of F1 from influence values", codes),
        "seed": seed,
        "unchanged": {"micro_f1": None if before is None else _record("micro_f1", before)},
        "changes": block,
        "worst": None if worst is None else worst["key"],
        "multiplicity": "holm",
        "sentence": _sentence(block, worst, before, len(texts), level),
        "note": "The changes imitate what goes wrong when notes are typed, dictated, stored or de-identified; only "
        "notes of another hospital show what the model loses there.",
    }


def _record(name: str, found: Estimate, against: str | None = None) -> dict[str, Any]:
    return found.measure().to_dict() | {"name": name, "against": against}


def _compared(
    change: NoteChange,
    before: Estimate | None,
    after: Estimate | None,
    flipped: float,
    codes: NDArray[np.int64],
    units: int,
    level: float,
) -> dict[str, Any]:
    gap = Estimate(math.nan, name="difference", level=level, note="not estimable")
    if before is not None and after is not None and before.influence is not None and after.influence is not None:
        gap = Estimate.from_influence(
            float(after) - float(before),
            after.influence - before.influence,
            codes,
            name="difference",
            n=after.n,
            events=after.events,
            units=units,
            level=level,
            bounds=(-1.0, 1.0),
            why="no label changed",
            method=clustered("infinitesimal jackknife, paired", codes),
        )
        gap.p = two_sided_p(float(gap), gap.se, units)
        if float(gap) and not math.isfinite(gap.lower):
            # From all right to none right there is no spread; both ends have exact limits.
            gap.lower, gap.upper = after.lower - before.upper, after.upper - before.lower
            gap.method, gap.note = "from the exact limits before and after", ""
    state = "not estimable"
    if gap.upper < 0:
        state = "loss shown"
    elif gap.lower > 0:
        state = "gain shown"
    elif math.isfinite(gap.lower) or float(gap) == 0.0:
        state = "no loss shown"
    return {
        "key": change.key,
        "kind": change.kind,
        "amount": change.amount,
        "label": change.label,
        "measures": {"micro_f1": None if after is None else _record("micro_f1", after)},
        "differences": {"micro_f1": _record("micro_f1", gap, against="unchanged")},
        "flipped": None,
        "labels_changed": flipped,
        "p": gap.p if gap.p is not None and math.isfinite(gap.p) else None,
        "state": state,
    }


def _sentence(
    block: Sequence[Mapping[str, Any]], worst: Mapping[str, Any] | None, before: Estimate | None, n: int, level: float
) -> str:
    if before is None:
        return "Nothing could be compared: no test note has a finding."
    changes = plural(len(block), "change")
    if worst is None:
        return f"None of {changes} lowered the micro F1 of {float(before):.3f} (n = {number(n)})."
    gap = worst["differences"]["micro_f1"]
    reach = "" if gap["lower"] is None else f" ({100 * level:g} % interval {gap['lower']:.3f} to {gap['upper']:.3f})"
    lost = [one for one in block if one["state"] == "loss shown"]
    firm = sum(one["p_holm"] is not None and one["p_holm"] < 1 - level for one in lost)
    said = (
        f"A loss is shown for {number(len(lost))} of {number(len(block))}, for {number(firm)} after Holm's adjustment "
        f"for looking {plural(len(block), 'time')}."
        if lost
        else "No interval lies below 0: a loss is not shown, and neither is robustness."
    )
    return (
        f"Of {changes} this one costs most: {worst['label']}. Micro F1 {worst['measures']['micro_f1']['value']:.3f} "
        f"instead of {float(before):.3f}, a difference of {gap['value']:.3f}{reach}; n = {number(n)}. {said}"
    )
