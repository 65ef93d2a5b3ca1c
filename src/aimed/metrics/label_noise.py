"""How wrong labels read out of reports are: held against a gold sample, finding by finding, for training with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.metrics.agreement import cohen_kappa
from aimed.metrics.arrays import BoolArray, FloatArray, patient_codes
from aimed.metrics.evaluate_multilabel import finding_keys
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate, or_missing

__all__ = ["ENOUGH", "STRENGTH", "VERDICTS", "FindingNoise", "LabelNoise", "Policy", "label_noise", "silver_values"]

VERDICTS = ("positive", "negative", "uncertain", "not_mentioned")
"""What a report can say of a finding, in the order of the tables."""

Policy = Literal["ignore", "zeros", "ones"]

ENOUGH = 10
"""Rows that a rate has to rest on; below it there is no number, only the words that there is not enough evidence."""

STRENGTH = 5.0
"""Rows that the pooled rate of all findings counts as when the rate of one is drawn towards it."""

_MOST = 0.9
"""Both flip rates of a finding together stay below this: at 1 a label says nothing, and nothing can be corrected."""


def _table(name: str, values: ArrayLike, allowed: tuple[float, ...], what: str) -> FloatArray:
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} holds what is no number", what) from None
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or not table.shape[1]:
        raise DataError(f"{name} has shape {table.shape}", "(n, k), one column a finding")
    odd = int((~(np.isnan(table) | np.isin(table, allowed))).sum())
    if odd:
        raise DataError(f"{odd} of {table.size} labels of {name} are something else", what, "recode them")
    return table


def _verdicts(said: ArrayLike, read: ArrayLike | None) -> NDArray[np.int64]:
    """Return the place in `VERDICTS` of every label, shape (n, k); -1 in rows without a report that was read."""
    table = _table("said", said, (1.0, 0.0, -1.0), "1, 0, -1 for uncertain, NaN for not mentioned")
    code = np.full(table.shape, 3, dtype=np.int64)
    for place, value in enumerate((1.0, 0.0, -1.0)):
        code[table == value] = place
    if read is not None:
        there = np.asarray(read, dtype=bool)
        if there.shape != (len(table),):
            raise DataError(f"read has shape {there.shape}", f"({len(table)},), whether each report was read")
        code[~there] = -1
    return code


def _meaning(uncertain: str, not_mentioned: str) -> FloatArray:
    """Return the label that each verdict stands for; NaN for none."""
    for name, value, known in (
        ("uncertain", uncertain, ("ignore", "zeros", "ones")),
        ("not_mentioned", not_mentioned, ("ignore", "zeros")),
    ):
        if value not in known:
            raise DataError(f"{name} = {value!r}", f"one of: {', '.join(known)}")
    as_label = {"ignore": math.nan, "zeros": 0.0, "ones": 1.0}
    return np.array([1.0, 0.0, as_label[uncertain], as_label[not_mentioned], math.nan])


def silver_values(
    said: ArrayLike,
    *,
    read: ArrayLike | None = None,
    uncertain: Policy = "ignore",
    not_mentioned: Literal["ignore", "zeros"] = "zeros",
) -> FloatArray:
    """Return the label that each verdict of a report stands for, shape (n, k): 1, 0, NaN for none.

    Parameters
    ----------
    said, read, uncertain, not_mentioned
        As for `label_noise`.

    Examples
    --------
    >>> silver_values([[1, -1, np.nan]]).tolist(), silver_values([[1, -1, np.nan]], read=[False]).tolist()
    ([[1.0, nan, 0.0]], [[nan, nan, nan]])
    """
    found: FloatArray = _meaning(uncertain, not_mentioned)[_verdicts(said, read)]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingNoise:
    """How often the report's label of one finding is right, of rows whose gold label is known.

    Attributes
    ----------
    name, key, label : str
    table : int array, shape (4, 2)
        Rows by `VERDICTS` and by gold standard, absent and present.
    n : int
        Rows whose verdict stands for a label.
    sensitivity, specificity, ppv, npv, kappa : Estimate
        NaN with a note that there is not enough evidence below `ENOUGH` rows.
    flips : tuple of float
        Chance that an absent finding is labelled present, and a present one absent; drawn towards those of all
        findings. NaN where nothing is known of any.
    chances : tuple of float
        Chance that the finding is present after each of `VERDICTS`, drawn towards what all findings say.
    """

    name: str
    key: str
    label: str
    table: NDArray[np.int64]
    n: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    kappa: Estimate
    flips: tuple[float, float]
    chances: tuple[float, float, float, float]

    @property
    def enough(self) -> bool:
        """Whether both flip rates rest on `ENOUGH` rows."""
        return not (math.isnan(self.sensitivity) or math.isnan(self.specificity))

    @property
    def tells(self) -> bool | None:
        """Whether a label says more than chance; None where that cannot be told.

        Judged by sensitivity + specificity - 1, whose interval comes from the two standard errors.
        """
        if not self.enough:
            return None
        better = float(self.sensitivity) + float(self.specificity) - 1.0
        error = math.hypot(self.sensitivity.se, self.specificity.se)
        if math.isnan(error):
            return None
        return better - 1.96 * error > 0.0

    def to_record(self) -> dict[str, Any]:
        """Return what the results keep, in JSON types."""
        rates = ("sensitivity", "specificity", "ppv", "npv", "kappa")
        return {
            "name": self.name,
            "key": self.key,
            "label": self.label,
            "n": self.n,
            "table": {
                verdict: {"absent": int(row[0]), "present": int(row[1])}
                for verdict, row in zip(VERDICTS, self.table, strict=True)
            },
            "measures": {name: getattr(self, name).measure().to_dict() for name in rates},
            "flips": {"false_positive": _or_none(self.flips[0]), "false_negative": _or_none(self.flips[1])},
            "chances": {v: _or_none(p) for v, p in zip(VERDICTS, self.chances, strict=True)},
            "tells": self.tells,
            "state": "estimated" if self.enough else "not enough evidence",
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNoise:
    """How wrong labels read out of reports are.

    Attributes
    ----------
    findings : tuple of FindingNoise
    rows, patients : int
        With a gold label of some finding and a report that was read.
    """

    findings: tuple[FindingNoise, ...]
    rows: int
    patients: int

    @property
    def flips(self) -> FloatArray:
        """Flip rates, shape (k, 2): absent labelled present, present labelled absent."""
        return np.array([one.flips for one in self.findings])

    @property
    def chances(self) -> FloatArray:
        """Chance of the finding after each of `VERDICTS`, shape (k, 4)."""
        return np.array([one.chances for one in self.findings])

    def soft(self, said: ArrayLike, read: ArrayLike | None = None) -> FloatArray:
        """Return the chance of each finding after its verdict, shape (n, k); NaN without a report that was read."""
        code = _verdicts(said, read)
        table = np.column_stack([self.chances, np.full(len(self.findings), math.nan)])
        found: FloatArray = table[np.arange(len(self.findings)), code]
        return found


def label_noise(
    gold: ArrayLike,
    said: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    read: ArrayLike | None = None,
    uncertain: Policy = "ignore",
    not_mentioned: Literal["ignore", "zeros"] = "zeros",
    level: float = 0.95,
) -> LabelNoise:
    """Estimate how wrong labels read out of reports are, from rows whose gold label is known.

    Parameters
    ----------
    gold : array, shape (n, k)
        1 present, 0 absent, NaN unknown, as the reference standard says.
    said : array, shape (n, k)
        1, 0, -1 for uncertain, NaN for not mentioned, as `aimed.text.labels.ReportLabels.values`.
    names, labels : k strings, optional
        Names of the findings, and what people call them.
    patient : array, shape (n,), optional
        Rows of one patient are dependent; intervals are then clustered.
    read : bool array, shape (n,), optional
        Whether a report was there and could be read; rows without one say nothing.
    uncertain : {"ignore", "zeros", "ones"}
        What an uncertain mention stands for.
    not_mentioned : {"zeros", "ignore"}
        What silence stands for.
    level : float

    Returns
    -------
    LabelNoise

    Raises
    ------
    DataError
        If the arrays do not fit together or hold other values.

    Notes
    -----
    Sensitivity and specificity are shares of the rows whose verdict stands for a label, with Wilson's interval, at the
    effective number of rows where patients have several. They hold elsewhere if the rows with a gold label are like
    those without; predictive values also need the same prevalence. Flip rates are (k + s m) / (n + s), m the rate of
    all findings pooled and s = `STRENGTH` rows: a Beta prior. Chances after a verdict come from Bayes' rule with the
    pooled likelihood of the verdict and the finding's own prevalence, drawn towards the same way.

    References
    ----------
    Wilson, JASA 1927;22:209. Patrini et al., CVPR 2017 (what flip rates are for). Rogan and Gladen, Am J Epidemiol
    1978;107:71.

    Examples
    --------
    >>> gold, said = [1] * 20 + [0] * 30, [1] * 15 + [np.nan] * 5 + [0] * 28 + [1] * 2
    >>> found = label_noise(gold, said, names=["edema"]).findings[0]
    >>> found.sensitivity, found.table.tolist()
    (sensitivity 0.7500 (95 % interval 0.5313 to 0.8881), n = 20, [[2, 15], [28, 0], [0, 0], [0, 5]])
    """
    truth = _table("gold", gold, (1.0, 0.0), "1, 0, NaN for unknown")
    code = _verdicts(said, read)
    if code.shape != truth.shape:
        raise DataError(f"said has shape {code.shape}", f"{truth.shape}, as gold has")
    n, k = truth.shape
    named = [f"finding {j + 1}" for j in range(k)] if names is None else [str(name) for name in names]
    called = named if labels is None else [str(label) for label in labels]
    if len(named) != k or len(called) != k:
        raise DataError(f"{len(named)} names and {len(called)} labels for {k} findings", "one each")
    who = None if patient is None else patient_codes(patient, n)
    meaning = _meaning(uncertain, not_mentioned)
    used = (code >= 0) & ~np.isnan(truth)
    tables = np.stack([_counts(truth[used[:, j], j], code[used[:, j], j]) for j in range(k)])
    flips, chances = _flips(tables, meaning[:4]), _chances(tables)
    found = []
    for j, (name, key, title) in enumerate(zip(named, finding_keys(named), called, strict=True)):
        rows = used[:, j] & ~np.isnan(meaning[code[:, j]])
        event, label = truth[rows, j] == 1.0, meaning[code[rows, j]] == 1.0
        rates = _rates(event, label, None if who is None else who[rows], level)
        found.append(
            FindingNoise(
                name=name, key=key, label=title, table=tables[j], n=int(rows.sum()), **rates,
                flips=(float(flips[j, 0]), float(flips[j, 1])),
                chances=(float(chances[j, 0]), float(chances[j, 1]), float(chances[j, 2]), float(chances[j, 3])),
            )
        )  # fmt: skip
    some = used.any(axis=1)
    people = int(some.sum()) if who is None else int(np.unique(who[some]).size)
    return LabelNoise(findings=tuple(found), rows=int(some.sum()), patients=people)


def _counts(truth: FloatArray, code: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(2 * code + (truth == 1.0), minlength=8).reshape(4, 2)


def _rates(event: BoolArray, label: BoolArray, who: NDArray[np.int64] | None, level: float) -> dict[str, Estimate]:
    """Return sensitivity, specificity, predictive values and kappa of yes and no."""

    def share(name: str, rows: BoolArray, right: BoolArray) -> Estimate:
        count = int(rows.sum())
        if count < ENOUGH:
            why = f"not enough evidence: {count} rows, {ENOUGH} are the least"
            return Estimate(math.nan, name=name, n=count, events=int(right[rows].sum()), level=level, note=why)
        # Where every row is a patient of its own there is nothing to cluster.
        some = None if who is None or np.unique(who[rows]).size == count else who[rows]
        return mean_share(right[rows].astype(np.float64), patient=some, level=level, name=name)

    facts: dict[str, Any] = {"n": int(event.size), "events": int(event.sum()), "level": level}
    if event.size < 2 * ENOUGH:
        kappa = Estimate(math.nan, name="kappa", note=f"not enough evidence: {event.size} rows", **facts)
    else:
        kappa = or_missing("kappa", lambda: _kappa(event, label, who, level), **facts)
    return {
        "sensitivity": share("sensitivity", event, label),
        "specificity": share("specificity", ~event, ~label),
        "ppv": share("ppv", label, event),
        "npv": share("npv", ~label, ~event),
        "kappa": kappa,
    }


def _kappa(event: BoolArray, label: BoolArray, who: NDArray[np.int64] | None, level: float) -> Estimate:
    some = None if who is None or np.unique(who).size == event.size else who
    found = cohen_kappa(event.astype(np.int64), label.astype(np.int64), patient=some, level=level).headline
    return Estimate(
        float(found), name="kappa", lower=found.lower, upper=found.upper, se=found.se, n=found.n,
        events=int(event.sum()), level=level, method=found.method, note=found.note,
    )  # fmt: skip


def _flips(tables: NDArray[np.int64], meaning: FloatArray) -> FloatArray:
    """Return flip rates drawn towards those of all findings, shape (k, 2)."""
    labelled = ~np.isnan(meaning)
    out = np.empty((len(tables), 2))
    for side, wrong in ((0, meaning == 1.0), (1, meaning == 0.0)):
        k, n = tables[:, wrong, side].sum(axis=1), tables[:, labelled, side].sum(axis=1)
        if not n.sum():
            out[:, side] = math.nan
            continue
        pooled = (k.sum() + 0.5) / (n.sum() + 1.0)
        out[:, side] = (k + STRENGTH * pooled) / (n + STRENGTH)
    both = out.sum(axis=1, keepdims=True)
    return np.where(both > _MOST, out * _MOST / np.where(both > 0, both, 1.0), out)


def _chances(tables: NDArray[np.int64]) -> FloatArray:
    """Return the chance of each finding after each verdict, shape (k, 4)."""
    if not tables.sum():
        return np.full((len(tables), 4), math.nan)
    share = (tables.sum(axis=0) + 0.5) / (tables.sum(axis=(0, 1)) + 2.0)
    present, whole = tables[:, :, 1].sum(axis=1), tables.sum(axis=(1, 2))
    pooled = (present.sum() + 0.5) / (whole.sum() + 1.0)
    prevalence = ((present + STRENGTH * pooled) / (whole + STRENGTH))[:, None]
    expected = prevalence * share[:, 1] / (prevalence * share[:, 1] + (1.0 - prevalence) * share[:, 0])
    found: FloatArray = (tables[:, :, 1] + STRENGTH * expected) / (tables.sum(axis=2) + STRENGTH)
    return found
