"""Labels read out of reports against a gold standard: certain positives, mentions, negations and doubts by target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes
from aimed.metrics.evaluate import draws_used, without_value
from aimed.metrics.evaluate_multilabel import finding_keys
from aimed.metrics.proportions import clopper_pearson
from aimed.metrics.resampled import Counts, Estimates, resample
from aimed.metrics.result import Estimate, checked_level, clustered, clustered_variance, limits, notes, with_interval

__all__ = [
    "ASSERTIONS",
    "GoldCoding",
    "evaluate_report_labels",
    "f1_thresholds",
    "known_report_labels",
    "label_f1",
    "measures_report_labels",
]

ASSERTIONS = ("positive", "negative", "uncertain", "not_mentioned")
"""What a report can say of a target, in the order of the tables."""

GoldCoding = Literal["chexpert", "certain"]

_KINDS = {"": (0,), "mention_": (0, 1, 2), "negation_": (1,), "uncertainty_": (2,)}
"""What begins the name of a measure → the assertions that it looks for."""

_WHAT = {"": "positive", "mention_": "mentioned", "negation_": "negative", "uncertainty_": "uncertain"}
_RATES = ("precision", "recall", "f1")
_COMPARED = ("f1", "precision", "recall", "kappa")
_CELLS = len(ASSERTIONS) ** 2

_CONVENTIONS = (
    "A target of a report counts as found where gold standard and labeller say the same of it. Precision, recall and "
    "F1 without a prefix are of certain positives: an uncertain, negative or missing label is no positive. With "
    "mention_, negation_ and uncertainty_ they are of targets that are mentioned at all, denied, or left open. Micro "
    "measures pool the pairs of report and target, those of targets that the gold standard never has among them; macro "
    "measures are the plain mean over the targets that the gold standard has, in each resample over those that were "
    "drawn. Kappa is Cohen's, over the four assertions (over positive or not, where the gold standard knows certain "
    "positives only). Intervals draw patients with all their reports, once for all targets: percentiles for kappa and "
    "for differences, the error on the logit scale for rates. Where all pairs are right, or none is, every resample "
    "says the same, and the interval is the exact one of so many patients."
)


def _bases(coding: GoldCoding) -> list[str]:
    kinds = _KINDS if coding == "chexpert" else [""]
    return [*(f"{kind}{rate}" for kind in kinds for rate in _RATES), "kappa"]


def _checked_coding(coding: str) -> GoldCoding:
    if coding not in ("chexpert", "certain"):
        raise DataError("gold_coding is not known", "chexpert or certain")
    return "chexpert" if coding == "chexpert" else "certain"


def known_report_labels(keys: Sequence[str], gold_coding: GoldCoding = "chexpert") -> list[str]:
    """Return the name of every measure of labels read out of reports.

    Parameters
    ----------
    keys : sequence of str
        Of the targets, as from `aimed.metrics.evaluate_multilabel.finding_keys`.
    gold_coding : {"chexpert", "certain"}
        As for `evaluate_report_labels`.

    Examples
    --------
    >>> known_report_labels(["edema"], "certain")[:5]
    ['micro_precision', 'micro_recall', 'micro_f1', 'micro_kappa', 'macro_precision']
    >>> known_report_labels(["edema"])[-2:]
    ['uncertainty_f1@edema', 'kappa@edema']
    """
    bases = _bases(_checked_coding(gold_coding))
    return [
        *(f"{how}_{b}" for how in ("micro", "macro") for b in bases),
        *(f"{b}@{key}" for key in keys for b in bases),
    ]


def _codes(name: str, values: ArrayLike) -> NDArray[np.int8]:
    """Return the place in `ASSERTIONS` of every label, shape (n, k)."""
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} holds what is no number", "1, 0, -1 or NaN") from None
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or not table.shape[1]:
        raise DataError(f"{name} has shape {table.shape}", "(n, k), one column a target")
    odd = int((~(np.isnan(table) | np.isin(table, (-1.0, 0.0, 1.0)))).sum())
    if odd:
        raise DataError(
            f"{odd} of {table.size} labels of {name} are none of 1, 0, -1, NaN",
            "1 present, 0 absent, -1 uncertain, NaN not mentioned",
        )
    coded = np.full(table.shape, 3, dtype=np.int8)
    for place, value in enumerate((1.0, 0.0, -1.0)):
        coded[table == value] = place
    return coded


def _pair(gold: ArrayLike, said: ArrayLike, coding: GoldCoding) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return the codes of gold standard and labeller; -1 where the gold standard does not know."""
    truth, answer = _codes("gold", gold), _codes("said", said)
    if truth.shape != answer.shape:
        raise DataError(f"said has shape {answer.shape}", f"{truth.shape}, as gold has")
    if coding == "certain":
        doubts = int((truth == 2).sum())
        if doubts:
            raise DataError(
                f"{doubts} labels of gold are uncertain", "1 and 0, NaN where unknown", "give gold_coding = 'chexpert'"
            )
        truth[truth == 3] = -1
    return truth, answer


class _Tables:
    """Tables of gold standard by labeller, one a target, counted over any resample of patients.

    Parameters
    ----------
    truth, answer : int arrays, shape (n, k)
        Places in `ASSERTIONS`; -1 in `truth` where it is unknown.
    codes : int array, shape (n,)
    coding : {"chexpert", "certain"}
    """

    def __init__(self, truth: NDArray[np.int8], answer: NDArray[np.int8], codes: IntArray, coding: GoldCoding) -> None:
        from scipy.sparse import csr_array

        self.coding, self.k = coding, truth.shape[1]
        row, target = np.nonzero(truth >= 0)
        cell = target * _CELLS + truth[row, target].astype(np.int64) * 4 + answer[row, target]
        patients = int(codes.max()) + 1 if codes.size else 0
        # Whole numbers below 2**53: the sums are exact, and so the same in any order.
        self._cells = csr_array((np.ones(row.size), (cell, codes[row])), shape=(self.k * _CELLS, patients))
        self.whole = self.of(np.ones((patients, 1), dtype=np.uint8))[..., 0]

    def of(self, counts: Counts) -> FloatArray:
        """Return the tables of some resamples, shape (k, 4, 4, b)."""
        found = self._cells @ counts.astype(np.float64)
        return np.asarray(found, dtype=np.float64).reshape(self.k, 4, 4, counts.shape[1])

    def ranked(self, counts: Counts) -> Estimates:
        return {}

    def frequent(self, counts: Counts) -> Estimates:
        return _estimates(self.of(counts), self.whole, self.coding)

    def reason(self, name: str) -> str:
        return ""

    def patients(self, kind: str, rate: str, targets: Sequence[int]) -> int:
        """Return how many patients have a pair that a rate of some targets counts."""
        cells = np.zeros((4, 4), dtype=bool)
        wanted = list(_KINDS[kind])
        if rate != "precision":
            cells[wanted] = True
        if rate != "recall":
            cells[:, wanted] = True
        rows = (np.asarray(targets)[:, None] * _CELLS + np.flatnonzero(cells)).ravel()
        return int(np.unique(self._cells[rows].indices).size)


def _at_the_end(rate: str, value: float, patients: Sequence[int], level: float) -> tuple[float, float]:
    """Return limits of a rate that is 0 or 1, of each of some targets whose mean it is, by the patients it rests on.

    F1 is 2 J / (1 + J), J the share of right pairs among those that gold standard or labeller have; the labels of a
    patient count as one, and limits of several targets hold together.
    """
    each = 1.0 - (1.0 - level) / len(patients)
    found = np.asarray([clopper_pearson(m if value else 0, m, each) for m in patients])
    found = 2.0 * found / (1.0 + found) if rate == "f1" else found
    lower, upper = found.mean(axis=0).tolist()
    return float(lower), float(upper)


_AT_THE_END = "Clopper-Pearson, a patient counts once"


def _said_at_the_end(value: float, patients: int) -> str:
    return f"{'all' if value else 'none'} right in {patients} patients: the interval is exact, not resampled"


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0), dtype=np.float64)


def _counted(tables: FloatArray, kind: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return how many pairs both have, the gold standard has and the labeller has, shape (..., b)."""
    wanted = list(_KINDS[kind])
    return (
        tables[..., wanted, :, :][..., wanted, :].sum(axis=(-3, -2)),
        tables[..., wanted, :, :].sum(axis=(-3, -2)),
        tables[..., wanted, :].sum(axis=(-3, -2)),
    )


def _rates(tables: FloatArray, kind: str) -> dict[str, FloatArray]:
    """Return precision, recall and F1; none of recall and F1 where the gold standard has none."""
    both, gold, said = _counted(tables, kind)
    return {
        "precision": _ratio(both, said),
        "recall": _ratio(both, gold),
        "f1": _ratio(2 * both, np.where(gold > 0, gold + said, 0.0)),
    }


def _kappa(tables: FloatArray, coding: GoldCoding) -> FloatArray:
    if coding == "certain":
        tables = np.stack([tables[..., 0, :], tables[..., 1:, :].sum(axis=-2)], axis=-2)
        tables = np.stack([tables[..., 0, :, :], tables[..., 1:, :, :].sum(axis=-3)], axis=-3)
    total = tables.sum(axis=(-3, -2))
    observed = np.diagonal(tables, axis1=-3, axis2=-2).sum(axis=-1)
    expected = _ratio((tables.sum(axis=-2) * tables.sum(axis=-3)).sum(axis=-2), total)
    return _ratio(observed - expected, np.where(total - expected > 1e-12 * total, total - expected, 0.0))


def _mean(each: FloatArray) -> FloatArray:
    known = np.isfinite(each)
    return _ratio(np.where(known, each, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _estimates(tables: FloatArray, whole: FloatArray, coding: GoldCoding) -> Estimates:
    """Return every estimate of some resamples: those of targets as (b, k), the others as (b,)."""
    pooled = tables.sum(axis=0)
    each: dict[str, FloatArray] = {}
    found: Estimates = {}
    for kind in _KINDS if coding == "chexpert" else [""]:
        kept = (_counted(whole[..., None], kind)[1] > 0)[:, 0]
        for rate, values in _rates(tables, kind).items():
            each[f"{kind}{rate}"] = values
            found[f"macro_{kind}{rate}"] = _mean(values[kept])
        found |= {f"micro_{kind}{rate}": values for rate, values in _rates(pooled, kind).items()}
    each["kappa"] = _kappa(tables, coding)
    found["macro_kappa"], found["micro_kappa"] = _mean(each["kappa"]), _kappa(pooled, coding)
    return found | {name: values.T for name, values in each.items()}


class _Answers:
    """What one labeller, or several beside one another, are worth, over the same resamples of patients."""

    def __init__(
        self,
        truth: NDArray[np.int8],
        answers: Mapping[str, NDArray[np.int8]],
        codes: IntArray,
        keys: Sequence[str],
        titles: Sequence[str],
        coding: GoldCoding,
        *,
        draws: int,
        level: float,
        seed: int,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.keys, self.titles, self.coding, self.level = list(keys), list(titles), coding, level
        self.tables = {name: _Tables(truth, answer, codes, coding) for name, answer in answers.items()}
        self.draws, lowered = draws_used(draws, codes.size)
        self.found = resample(
            self.tables, codes, None, draws=self.draws, lowered=lowered, ranked="", level=level, seed=seed,
            progress=progress,
        )  # fmt: skip
        self._known = (truth >= 0).sum(axis=0)
        self._reports = int((truth >= 0).any(axis=1).sum())

    def record(self, name: str, key: str, against: str | None = None) -> dict[str, Any]:
        """Return one measure of a labeller, or what it has more than another."""
        base, _, target = name.partition("@")
        place = self.keys.index(target) if target else None
        plain = base if place is not None else base.partition("_")[2]
        kind = next((k for k in ("mention_", "negation_", "uncertainty_") if plain.startswith(k)), "")
        whole = self.tables[key].whole[..., None]
        gold = _counted(whole, kind)[1][:, 0]
        n = self._reports if place is None else int(self._known[place])
        events = int(gold.sum() if place is None else gold[place])
        found = self.found
        if against is not None and place is None:
            record = found.difference(key, against, base, n, events, against)
        elif against is not None:
            mine = {one: {base: found.points[one][base][place]} for one in (key, against)}
            drawn = {
                one: {base: found.draws[one][base][:, place]} if base in found.draws[one] else {}
                for one in (key, against)
            }
            no_notes: dict[str, dict[str, str]] = {key: {}, against: {}}
            both = type(found)(mine, drawn, no_notes, found.level, found.method, found.patients)
            record = both.difference(key, against, base, n, events, against)
        else:
            record = found.measure(key, base, n, events, place)
        if against is None and record["value"] is not None and plain != "kappa":
            record |= self._limits(key, base, plain, kind, gold, place, record)
        note = record["note"]
        if record["value"] is None:
            note = self._why(plain, kind, gold, place)
        elif place is None:
            note = notes(self._left_out(base, kind, gold), note)
        return record | {"name": name, "note": note}

    def _limits(
        self, key: str, base: str, plain: str, kind: str, gold: FloatArray, place: int | None, record: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the interval of a rate: on the logit scale, and at an end of it, where there is no spread, exact."""
        tables, value = self.tables[key], float(record["value"])
        rate, parts = plain.removeprefix(kind), [[*range(gold.size)] if place is None else [place]]
        if base.startswith("macro_"):
            rates = _rates(tables.whole[..., None], kind)[rate][:, 0]
            parts = [[one] for one in range(gold.size) if gold[one] > 0 and np.isfinite(rates[one])]
        patients = tables.patients(kind, rate, [one for part in parts for one in part])
        if value in (0.0, 1.0):
            lower, upper = _at_the_end(rate, value, [tables.patients(kind, rate, part) for part in parts], self.level)
            return {"lower": lower, "upper": upper, "method": _AT_THE_END, "note": _said_at_the_end(value, patients)}
        if record["lower"] is None:
            return {}
        drawn = self.found.draws[key][base] if place is None else self.found.draws[key][base][:, place]
        # Percentiles near an end of the scale miss what few errors leave open; an error on the logit scale does not.
        error = float(np.nanstd(drawn, ddof=1))
        low, high = (float(v) for v in limits(value, error, self.level, (0.0, 1.0), "logit", patients))
        method = self.found.method.replace("percentile bootstrap", "error on the logit scale from a bootstrap", 1)
        return {"lower": low, "upper": high, "method": method} if np.isfinite(low) else {}

    def _why(self, plain: str, kind: str, gold: FloatArray, place: int | None) -> str:
        if plain == "kappa":
            return "gold standard and labeller give one label only"
        if not (gold.any() if place is None else gold[place]):
            return f"the gold standard has none that is {_WHAT[kind]}"
        return f"the labeller calls none {_WHAT[kind]}"

    def _left_out(self, base: str, kind: str, gold: FloatArray) -> str:
        if not base.startswith("macro_") or base == "macro_kappa" or gold.all():
            return ""
        missing = ", ".join(title for title, one in zip(self.titles, gold, strict=True) if not one)
        return f"mean over {int((gold > 0).sum())} of {gold.size} targets; none {_WHAT[kind]} in the gold: {missing}"


def _whole(table: FloatArray) -> list[list[int]]:
    return [[int(cell) for cell in row] for row in table]


def evaluate_report_labels(
    gold: ArrayLike,
    said: ArrayLike,
    *,
    names: Sequence[str],
    labels: Sequence[str] | None = None,
    gold_coding: GoldCoding = "chexpert",
    patient: ArrayLike | None = None,
    baselines: Mapping[str, ArrayLike] | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Return the whole evaluation of labels read out of reports, or the agreement of two labellers, in JSON types.

    Parameters
    ----------
    gold, said : float arrays, shape (n, k)
        1 present, 0 absent, -1 uncertain, NaN not mentioned, of k targets in n reports.
    names : k strings
        Columns of the targets; `aimed.metrics.evaluate_multilabel.finding_key` of each stands in names of measures.
    labels : k strings, optional
        Names of the targets for people; `names` when absent.
    gold_coding : {"chexpert", "certain"}
        "certain": the gold standard knows which targets are certainly present (1) and which are not (0, whether denied
        or never mentioned), and NaN is unknown: the pair is left out.
    patient : array, shape (n,), optional
        Reports of one patient are drawn together; every report its own patient when absent.
    baselines : mapping of str to float array, shape (n, k), optional
        What other labellers say, compared over the same resamples.
    draws : int
        Resamples; at most 200 with more than 50,000 reports, which `interval_method` then says.
    level : float
    seed : int
        The bits do not depend on the number of threads.
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    dict
        ``measures`` by the names of `known_report_labels`; ``targets`` holds, by key, how often gold standard and
        labeller say what, and the table of both; ``confusion`` the table of all targets together, gold in rows, both
        in the order of ``assertions``; ``not_estimable`` names targets of which the gold standard has no positive.
        With "certain" coding the second row of a table is "not certainly positive".

    Raises
    ------
    DataError
        If shapes disagree, two names give one key, a label is none of 1, 0, -1, NaN, or there is no report.

    References
    ----------
    Irvin et al., AAAI 2019;33:590 (mention, negation, uncertainty). Peng et al., AMIA Jt Summits 2018:188 (NegBio).
    Cohen, Educ Psychol Meas 1960;20:37. Field and Welsh, J R Stat Soc B 2007;69:369 (resampling of clusters).

    Examples
    --------
    >>> nan = float("nan")
    >>> gold = [[1, nan], [0, 1], [-1, nan], [1, 0]]
    >>> said = [[1, nan], [1, 1], [-1, 1], [nan, 0]]
    >>> found = evaluate_report_labels(gold, said, names=["edema", "lung mass"], draws=50)
    >>> found["measures"]["f1@edema"]["value"], round(found["measures"]["micro_f1"]["value"], 3)
    (0.5, 0.571)
    >>> found["targets"]["edema"]["confusion"][0]
    [1, 0, 0, 1]
    """
    coding = _checked_coding(gold_coding)
    truth, answer = _pair(gold, said, coding)
    n, k = truth.shape
    keys, titles = _named(names, labels, k)
    if not (truth >= 0).any():
        raise DataError("no report has a known label in the gold standard", "at least 1")
    answers = {"": answer}
    for name, values in (baselines or {}).items():
        answers[name] = _codes(f"baseline '{name}'", values)
        if not name or answers[name].shape != truth.shape:
            raise DataError(f"baseline '{name}' has shape {answers[name].shape}", f"a name and {truth.shape}")
    found = _Answers(
        truth, answers, patient_codes(patient, n), keys, titles, coding,
        draws=draws, level=checked_level(level), seed=seed, progress=progress,
    )  # fmt: skip
    known = known_report_labels(keys, coding)
    compared = [name for name in known if name.removeprefix("micro_").removeprefix("macro_").split("@")[0] in _COMPARED]
    rows = ASSERTIONS if coding == "chexpert" else ("positive", "not_positive")
    tables = found.tables[""].whole[:, : len(rows)]
    return {
        "kind": "report_labels",
        "gold_coding": coding,
        "n": int((truth >= 0).any(axis=1).sum()),
        "events": int((truth == 0).any(axis=1).sum()),
        "patients": found.found.patients,
        "draws": found.draws,
        "level": level,
        "interval_method": found.found.method,
        "conventions": _CONVENTIONS,
        "labels": dict(zip(keys, titles, strict=True)),
        "assertions": list(ASSERTIONS),
        "gold_assertions": list(rows),
        "not_estimable": [title for title, table in zip(titles, tables, strict=True) if not table[0].any()],
        "measures": {name: found.record(name, "") for name in known},
        "baselines": {one: {name: found.record(name, one) for name in known} for one in answers if one},
        "differences": {one: {name: found.record(name, "", one) for name in compared} for one in answers if one},
        "targets": {
            key: {
                "n": int(table.sum()),
                "gold": dict(zip(rows, map(int, table.sum(axis=1)), strict=True)),
                "said": dict(zip(ASSERTIONS, map(int, table.sum(axis=0)), strict=True)),
                "confusion": _whole(table),
            }
            for key, table in zip(keys, tables, strict=True)
        },
        "confusion": _whole(tables.sum(axis=0)),
    }


def _named(names: Sequence[str], labels: Sequence[str] | None, k: int) -> tuple[tuple[str, ...], list[str]]:
    for what, given in (("names", names), ("labels", labels)):
        if given is not None and len(given) != k:
            raise DataError(f"{len(given)} {what} for {k} targets", f"{k}, one a target")
    return finding_keys(names), [str(one) for one in (names if labels is None else labels)]


def measures_report_labels(
    gold: ArrayLike,
    said: ArrayLike,
    *,
    names: Sequence[str],
    findings: Sequence[str],
    gold_coding: GoldCoding = "chexpert",
    patient: ArrayLike | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return some measures of labels read out of reports; never raises for what the reports cannot tell.

    Parameters
    ----------
    gold, said, gold_coding, patient, draws, level, seed
        As for `evaluate_report_labels`.
    names : sequence of str
        From `known_report_labels`; an unknown one comes back without a value.
    findings : k strings
        Keys of the targets.

    Examples
    --------
    >>> found = measures_report_labels([[1], [0], [1]], [[1], [1], [0]], names=["micro_f1", "f1@b"], findings=["a"])
    >>> found["micro_f1"]["value"], found["f1@b"]["note"]
    (0.5, 'no such finding here')
    """
    if np.size(gold) == 0:
        return without_value(names, level, "no rows")
    coding = _checked_coding(gold_coding)
    truth, answer = _pair(gold, said, coding)
    keys, titles = _named(findings, None, truth.shape[1])
    if not (truth >= 0).any():
        return without_value(names, level, "no report has a known label in the gold standard")
    found = _Answers(
        truth, {"": answer}, patient_codes(patient, len(truth)), keys, titles, coding,
        draws=draws, level=level, seed=seed,
    )  # fmt: skip
    known = set(known_report_labels(keys, coding))
    out = {}
    for name in names:
        why = "no such finding here" if "@" in name else "no such measure here"
        out[name] = found.record(name, "") if name in known else without_value([name], level, why)[name]
    return out


def label_f1(
    gold: ArrayLike,
    said: ArrayLike,
    *,
    average: Literal["micro", "macro"] = "micro",
    gold_coding: GoldCoding = "chexpert",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the F1 score of certain positives over all targets of reports, without resampling.

    Parameters
    ----------
    gold, said : float arrays, shape (n, k) or (n,)
        1 present, 0 absent, -1 uncertain, NaN not mentioned.
    average : {"micro", "macro"}
        Pairs of report and target pooled, or the mean over targets that the gold standard has.
    gold_coding : {"chexpert", "certain"}
        As for `evaluate_report_labels`.
    patient : array, shape (n,), optional
        Reports of one patient are dependent.
    level : float

    Raises
    ------
    DataError
        If shapes disagree, or a label is none of 1, 0, -1, NaN.
    NotEstimableError
        If the gold standard has no positive.

    References
    ----------
    van Rijsbergen, Information Retrieval, 1979, chapter 7. Efron, The Jackknife, the Bootstrap and Other Resampling
    Plans, 1982, chapter 6 (infinitesimal jackknife).

    Notes
    -----
    Formula: 2 TP / (2 TP + FP + FN). A pair is positive where its label is 1; the influence of a report is
    n (2 TP_i - F1 (2 TP_i + FP_i + FN_i)) / (2 TP + FP + FN), and the interval is normal on the logit scale. Where all
    pairs are right, or none is, the interval is exact: of as many patients as have a pair that counts.
    Range: 0 to 1, higher is better.
    Assumes: reports, or patients, are independent; F1 depends on how often a target is present, and compares labellers
    on the same reports only.
    Refuses: labels outside the coding, and a gold standard without any positive.

    Examples
    --------
    >>> found = label_f1([[1, 0], [1, 1], [0, 1], [1, 0]], [[1, 0], [1, 0], [1, 1], [1, 0]])
    >>> round(found.value, 4), found.n, found.events
    (0.8, 4, 5)
    """
    checked_level(level)
    if average not in ("micro", "macro"):
        raise DataError("average is not known", "micro or macro")
    truth, answer = _pair(gold, said, _checked_coding(gold_coding))
    known = truth >= 0
    positive, called = known & (truth == 0), known & (answer == 0)
    codes = None if patient is None else patient_codes(patient, len(truth))
    if not positive.any():
        raise NotEstimableError("the gold standard has no positive", "at least one report with one", "leave it out")
    top = 2.0 * (positive & called)
    bottom = positive.astype(np.float64) + called
    if average == "micro":
        top, bottom = top.sum(axis=1, keepdims=True), bottom.sum(axis=1, keepdims=True)
        kept = np.ones(1, dtype=bool)
    else:
        kept = positive.any(axis=0)
        top, bottom = top[:, kept], bottom[:, kept]
    total = bottom.sum(axis=0)
    each = top.sum(axis=0) / total
    influence = ((top - each * bottom) / total).mean(axis=1)
    lost = int((~kept).sum())
    left_out = f"{lost} of {kept.size} targets have no positive and are left out" if lost else ""
    value = float(each.mean())
    if (each == each[0]).all() and value in (0.0, 1.0):
        # A patient is one of those it rests on if a pair of his is positive or called so.
        own = np.arange(len(truth)) if codes is None else codes
        units = [np.unique(own[column > 0]).size for column in bottom.T]
        lower, upper = _at_the_end("f1", value, units, level)
        return Estimate(
            value,
            name=f"{average} F1",
            lower=lower,
            upper=upper,
            n=int(known.any(axis=1).sum()),
            events=int(positive.sum()),
            level=level,
            method=_AT_THE_END,
            influence=influence,
            note=notes(_said_at_the_end(value, np.unique(own[(bottom > 0).any(axis=1)]).size), left_out),
        )
    return with_interval(
        value,
        clustered_variance(influence, codes),
        why="every report, or none, is right",
        name=f"{average} F1",
        n=int(known.any(axis=1).sum()),
        events=int(positive.sum()),
        level=level,
        method=clustered("infinitesimal jackknife on the logit scale", patient),
        scale="logit",
        units=None if codes is None else int(codes.max()) + 1,
        influence=influence,
        note=left_out,
    )


def f1_thresholds(y: ArrayLike, risk: ArrayLike) -> FloatArray:
    """Return, for each target, the risk from which calling it present has the highest F1 score on some rows.

    Parameters
    ----------
    y : 0/1 array, shape (n, k)
        NaN where unknown.
    risk : float array, shape (n, k)
        NaN is no prediction.

    Returns
    -------
    float array, shape (k,)
        Halfway between two risks that occur, so that the next call does not hang on their last bits; the higher one
        where two are as good. NaN for a target without a known positive.

    Examples
    --------
    >>> f1_thresholds([[1], [1], [0], [0]], [[0.9], [0.4], [0.2], [0.1]]).round(2).tolist()
    [0.3]
    """
    truth, p = np.asarray(y, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != p.shape:
        raise DataError(f"labels of shape {truth.shape} and risks of shape {p.shape}", "(n, k) both")
    found = np.full(truth.shape[1], np.nan)
    for place, (column, values) in enumerate(zip(truth.T, p.T, strict=True)):
        rows = ~(np.isnan(column) | np.isnan(values))
        positive, score = column[rows] == 1, values[rows]
        if not positive.any():
            continue
        levels, which = np.unique(score, return_inverse=True)
        called = np.cumsum(np.bincount(which, minlength=levels.size)[::-1])
        right = np.cumsum(np.bincount(which[positive], minlength=levels.size)[::-1])
        best = int(np.argmax(2 * right / (called + positive.sum())))
        at = levels.size - 1 - best
        below = levels[at - 1] if at else max(0.0, 2 * levels[at] - 1.0)
        found[place] = 0.5 * (levels[at] + below)
    return found
