"""One engine for intervals: any metric, analytic or resampled by patient, alone or paired, and many tests at once."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes, vector
from aimed.metrics.draws import BLOCK, ESTIMABLE, PatientDraws, percentile_interval
from aimed.metrics.multilabel import MultilabelEstimate
from aimed.metrics.resampled import NO_SPREAD
from aimed.metrics.result import (
    Curve,
    Estimate,
    Headline,
    Scale,
    checked_level,
    clustered,
    clustered_variance,
    normal_quantile,
    notes,
    patient_sums,
    two_sided_p,
)

__all__ = [
    "Bootstrapped",
    "Kind",
    "Metric",
    "adjust_p_values",
    "bootstrap",
    "compare",
    "difference",
    "interval",
    "permutation_test",
]

Metric: TypeAlias = str | Callable[..., Any]
Kind = Literal["percentile", "bca", "normal"]

_FAST = {
    "auroc": ("aimed.metrics.discrimination:AurocReplicates", True),
    "average_precision": ("aimed.metrics.discrimination:AveragePrecisionReplicates", False),
    "harrell_c": ("aimed.metrics.concordance:HarrellReplicates", True),
    "uno_c": ("aimed.metrics.concordance:UnoReplicates", True),
    "dynamic_auc": ("aimed.metrics.survival_accuracy:DynamicAucReplicates", True),
    "brier_survival": ("aimed.metrics.survival_accuracy:BrierReplicates", False),
    "multilabel_auroc": ("aimed.metrics.multilabel:MultilabelAurocReplicates", False),
    "net_benefit": ("aimed.metrics.utility:NetBenefitReplicates", False),
}
"""Metrics whose resamples need no sorting: where they are prepared, and whether they hold the outcome fixed."""

_JACKKNIFE_GROUPS = 500

_RANKS = {"auroc": 1, "average_precision": 1, "harrell_c": 2, "uno_c": 2}
"""Metrics of which only the order of one argument counts, and its place."""

_SCALES: dict[str, Scale] = {
    **dict.fromkeys(("auroc", "average_precision", "harrell_c", "uno_c", "cause_specific_c"), "logit"),
    **dict.fromkeys(("brier", "log_loss", "integrated_brier", "ici", "oe"), "log"),
}
"""Scale on which the jackknife interval of a metric with limits is symmetric."""


class Bootstrapped(Estimate):
    """An estimate with the draws its interval was made from.

    Parameters
    ----------
    replicates : float array, shape (draws,)
        The metric in each resample; NaN where it was not estimable.
    """

    __slots__ = ("replicates",)

    def __init__(self, value: float, *, replicates: FloatArray, **more: Any) -> None:
        super().__init__(value, **more)
        self.replicates = replicates

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {k: getattr(self, k) for k in (*Estimate.__slots__, "replicates")}
        return _rebuild, (float(self), fields)


def _rebuild(value: float, fields: dict[str, Any]) -> Bootstrapped:
    return Bootstrapped(value, **fields)


class _Bound:
    """A metric with its arrays: its value on all rows, and its values in blocks of resamples."""

    def __init__(self, metric: Metric, arrays: Sequence[ArrayLike], options: Mapping[str, Any]) -> None:
        if isinstance(metric, str):
            from aimed.metrics import METRICS

            metric = METRICS[metric]
        if not callable(metric):
            raise DataError(f"a metric of type {type(metric).__name__}", "a function, or the name of a metric")
        if not arrays:
            raise DataError("no arrays", "the arrays of the metric, such as y and score")
        options, arrays = dict(options), list(arrays)
        try:
            parameters = dict(inspect.signature(metric).parameters)
        except (TypeError, ValueError):
            parameters = {}
        names = list(parameters)
        if "weights" in names[: len(arrays)]:
            options["weights"] = arrays.pop(names.index("weights"))
        self.function: Callable[..., Any] = metric
        self.name = getattr(metric, "__name__", "metric")
        self.options = dict(options)
        weights = self.options.get("weights")
        # Weights of rows are multiplied by how often a row is drawn; weights named by a word are an option.
        self._weights: FloatArray | None = None
        if weights is not None and not isinstance(weights, str):
            self._weights = vector("weights", self.options.pop("weights"))
        # Single numbers, such as tau, go to the metric as they came.
        self.arrays: list[Any] = [a if np.ndim(a) == 0 else np.asarray(a) for a in arrays]
        self.n = np.shape(self.arrays[0])[0] if np.ndim(self.arrays[0]) else 0
        self.rowwise = [np.ndim(a) > 0 and np.shape(a)[0] == self.n for a in self.arrays]
        for a in self.arrays:
            short = self.n - np.shape(a)[0] if np.ndim(a) else 0
            if 0 < abs(short) <= max(1, self.n // 10) and self.n > 20:
                raise DataError(f"arrays of {self.n} and {np.shape(a)[0]} rows", "one length")
        self._accepts = set(parameters)
        # Some metrics have weights of another kind, named by a word: linear kappa, Gehan's log-rank.
        self._weighted = "weights" in parameters and not isinstance(parameters["weights"].default, str)
        own = getattr(metric, "__module__", "").startswith("aimed.metrics")
        self._fast: Any = None
        if own and self.name in _FAST:
            module, _, prepared = _FAST[self.name][0].partition(":")
            fast = getattr(importlib.import_module(module), prepared)
            # An option the prepared form does not know sends the metric down the road of row weights.
            if set(self.options) <= set(inspect.signature(fast).parameters) and self._weights is None:
                self._fast = fast
        # A function from elsewhere may keep a state of its own: one thread.
        self.threads_safe = own
        self._patient: NDArray[Any] | None = None

    @property
    def holds_outcome(self) -> bool:
        """True when resamples should keep the number of patients with the event."""
        own = getattr(self.function, "__module__", "").startswith("aimed.metrics")
        return own and self.name in _FAST and _FAST[self.name][1]

    def value(self, **more: Any) -> Any:
        """Return the metric on all rows, with the options it understands."""
        known = {k: v for k, v in more.items() if k in self._accepts and k not in self.options}
        return self.call(self.arrays, **known)

    def call(self, arrays: Sequence[Any], **more: Any) -> Any:
        """Return the metric of other arrays under the same options and weights."""
        weights = {} if self._weights is None else {"weights": self._weights}
        return self.function(*arrays, **self.options, **weights, **more)

    def follow(self, patient: ArrayLike | None, whole: FloatArray) -> None:
        """Hand each resample its patients, a patient drawn twice as two, where the value depends on who they are."""
        if patient is None or "patient" not in self._accepts:
            return
        alone = _plain(self.value(draws=0))
        if alone.shape == whole.shape and np.array_equal(alone, whole, equal_nan=True):
            return
        self._patient, self._fast = np.asarray(patient_codes(patient, self.n)), None

    def replicate(self, draws: PatientDraws) -> Callable[[NDArray[np.uint8]], FloatArray]:
        """Return what turns a block of counts of patients into one value a draw."""
        if self._fast:
            fast = self._fast(*self.arrays, codes=draws.codes, **self.options)
            return lambda counts: np.asarray(fast.replicate(counts), dtype=np.float64)
        return lambda counts: np.array([self._drawn(column[draws.codes]) for column in counts.T], dtype=np.float64)

    def _drawn(self, times: NDArray[np.uint8]) -> FloatArray:
        quiet: dict[str, Any] = {k: 0 for k in ("draws",) if k in self._accepts and k not in self.options}
        try:
            if self._weighted and self._patient is None:
                weights = times.astype(np.float64) if self._weights is None else times * self._weights
                found = self.function(*self.arrays, weights=weights, **self.options, **quiet)
            else:
                rows = np.repeat(np.arange(self.n), times)
                arrays = [a[rows] if own else a for a, own in zip(self.arrays, self.rowwise, strict=True)]
                if self._weights is not None:
                    quiet["weights"] = self._weights[rows]
                if self._patient is not None:
                    copy = np.concatenate([np.arange(t) for t in times])
                    quiet["patient"] = self._patient[rows] * 256 + copy
                found = self.function(*arrays, **self.options, **quiet)
        except NotEstimableError:
            return np.full(self._shape(), np.nan)
        return _plain(found)

    def _shape(self) -> tuple[int, ...]:
        return _plain(self.value()).shape


def _plain(found: Any) -> FloatArray:
    if isinstance(found, MultilabelEstimate):
        return np.array([float(target) for target in found.targets])
    return np.asarray(found.value if isinstance(found, Curve) or hasattr(found, "value") else found, dtype=np.float64)


def _events(y: NDArray[Any]) -> NDArray[np.bool_]:
    if y.ndim != 1:
        raise DataError("strata cannot be made from an outcome that is not a vector", "strata= as an array, or None")
    return np.asarray(vector("the outcome", y) != 0)


def _strata(bound: _Bound, strata: ArrayLike | None) -> NDArray[np.bool_] | None:
    if isinstance(strata, str):
        if strata != "auto":
            raise UnknownNameError("kind of strata", strata, ["auto"])
        return _events(bound.arrays[0]) if bound.holds_outcome else None
    return None if strata is None else np.asarray(strata, dtype=bool)


def bootstrap(
    metric: Metric,
    *arrays: ArrayLike,
    patient: ArrayLike | None = None,
    strata: ArrayLike | Literal["auto"] | None = "auto",
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    kind: Kind = "percentile",
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Bootstrapped | Curve | MultilabelEstimate:
    """Return a metric with an interval from resampled patients.

    Patients are drawn with replacement, with all their rows. Metrics that are rank statistics are prepared once and
    cost one pass over the rows a draw; other metrics of this package are called with row weights; any other function
    is called on the drawn rows.

    Parameters
    ----------
    metric : str or callable
        A name in `aimed.metrics.METRICS`, or a function of the arrays. If it takes ``weights``, it is called with how
        often each row was drawn.
    *arrays : arrays, first axis n
        The arguments of the metric, in its order. Arguments of another length, such as thresholds, are handed on.
    patient : array, shape (n,), optional
        Every row its own patient when absent.
    strata : bool array, shape (n,), or "auto" or None
        Rows with the event; patients with and without are then drawn apart. "auto" does so for metrics that hold the
        outcome fixed, such as the AUROC and concordance.
    draws : int
    level : float
    seed : int
        The same seed gives the same bits, whatever the number of threads.
    kind : {"percentile", "bca", "normal"}
        "bca" corrects bias and skewness (Efron 1987); "normal" is the value and the standard deviation of the draws.
    threads : int, optional
    progress : callable, optional
        Called with the share done.
    **options
        Handed to the metric.

    Returns
    -------
    Bootstrapped, Curve or MultilabelEstimate
        A curve where the metric returns several values; targets and their mean where it scores several targets.

    Raises
    ------
    NotEstimableError
        If the metric cannot be estimated on all rows.

    References
    ----------
    Davison and Hinkley, Bootstrap Methods and their Application, 1997. Efron, JASA 1987;82:171.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> found = bootstrap(lambda y, score: np.corrcoef(y, score)[0, 1], y, y + rng.normal(size=200), draws=200)
    >>> found.lower < found < found.upper
    True
    """
    if kind not in ("percentile", "bca", "normal"):
        raise UnknownNameError("kind of bootstrap interval", kind, ["percentile", "bca", "normal"])
    if draws < 2:
        raise DataError(f"{draws} draws", "at least 2, better 1000")
    checked_level(level)
    bound = _Bound(metric, arrays, options)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError("a seed that is not a whole number >= 0", "a whole number, such as 0")
    whole = bound.value(patient=patient, level=level, draws=0)
    marks = _strata(bound, strata)
    allowed = threads if bound.threads_safe else 1
    sampler = PatientDraws(patient, bound.n, marks, draws=draws, seed=seed, threads=allowed)
    if sampler.patients < 2:
        raise NotEstimableError("one patient", "at least 2 patients to resample")
    if not getattr(whole, "resampled", True):
        raise NotEstimableError(
            f"{bound.name} is one over a difference", "a resampled difference: bootstrap that, and read 1 / its limits"
        )
    bound.follow(patient, _plain(whole))
    drawn = sampler.map(bound.replicate(sampler), progress)
    point = _plain(whole)
    if isinstance(whole, MultilabelEstimate):
        # The mean over targets is drawn with them: it needs every target that all rows could tell.
        known = np.isfinite(point)
        drawn = np.column_stack([drawn, drawn[:, known].mean(axis=1)])
        point = np.r_[point, point[known].mean()]
    method = _sentence(kind, sampler, draws, sampler.stratified, bound.n)
    acceleration = np.zeros(point.shape)
    if kind == "bca":
        if isinstance(whole, MultilabelEstimate):
            raise NotEstimableError("BCa of several targets", "kind='percentile', or one target at a time")
        acceleration = _acceleration(bound, sampler, whole)
    lower, upper, lost = _limits(point, drawn, kind, level, acceleration)
    if isinstance(whole, MultilabelEstimate):
        return _each_target(whole, drawn, lower, upper, method)
    events = getattr(whole, "events", None)
    if point.ndim == 0:
        return Bootstrapped(
            float(point),
            replicates=drawn,
            name=whole.headline.name if isinstance(whole, Headline) else getattr(whole, "name", bound.name),
            lower=float(lower),
            upper=float(upper),
            se=float(np.nanstd(drawn, ddof=1)) if np.isfinite(lower) else math.nan,
            n=bound.n,
            events=events,
            level=level,
            method=method,
            note=notes(*_still_true(getattr(whole, "note", ""), bool(np.isfinite(lower))), lost),
            influence=getattr(whole, "influence", None),
        )
    return Curve(
        name=getattr(whole, "name", bound.name),
        axis=getattr(whole, "axis", "place"),
        x=np.asarray(getattr(whole, "x", np.arange(point.size)), dtype=np.float64),
        value=point,
        lower=lower,
        upper=upper,
        se=np.where(np.isfinite(lower), _spread(drawn), np.nan),
        n=bound.n,
        events=events,
        level=level,
        method=method,
        note=lost,
    )


def _still_true(note: str, has_interval: bool) -> list[str]:
    """The parts of a note that hold for the bootstrap too."""
    return [part for part in note.split("; ") if not (has_interval and part.startswith("no interval"))]


def _each_target(
    whole: MultilabelEstimate, drawn: FloatArray, lower: FloatArray, upper: FloatArray, method: str
) -> MultilabelEstimate:
    """The targets and their mean with the limits of the draws; the pool of all keeps its own interval."""
    found = [
        Bootstrapped(
            float(one),
            replicates=drawn[:, k],
            name=one.name,
            lower=lower[k],
            upper=upper[k],
            se=float(_spread(drawn[:, k])),
            n=one.n,
            events=one.events,
            level=one.level,
            method=method,
            note=one.note,
            influence=one.influence,
        )
        for k, one in enumerate([*whole.targets, whole.macro])
    ]
    return replace(whole, targets=tuple(found[:-1]), macro=found[-1])


def _spread(drawn: FloatArray) -> FloatArray:
    known = np.isfinite(drawn)
    count = known.sum(axis=0)
    total = np.where(known, drawn, 0.0)
    mean = total.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (drawn - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=count > 1)
    return np.asarray(np.sqrt(variance), dtype=np.float64)


def _sentence(kind: str, sampler: PatientDraws, draws: int, stratified: bool, n: int) -> str:
    unit = "rows" if sampler.patients == n else "patients with all their rows"
    name = {"percentile": "percentile", "bca": "BCa", "normal": "normal"}[kind]
    return f"{name} bootstrap of {unit}, {draws} resamples" + (", stratified by event" if stratified else "")


def _limits(
    point: FloatArray, drawn: FloatArray, kind: str, level: float, acceleration: FloatArray
) -> tuple[FloatArray, FloatArray, str]:
    if kind == "percentile":
        lower, upper = percentile_interval(drawn, level)
    elif kind == "normal":
        half = normal_quantile(level) * _spread(drawn)
        enough = np.isfinite(drawn).mean(axis=0) >= ESTIMABLE
        lower, upper = np.where(enough, point - half, np.nan), np.where(enough, point + half, np.nan)
    else:
        flat = drawn.reshape(drawn.shape[0], -1)
        pairs = [
            _bca(value, column, level, a)
            for value, column, a in zip(point.ravel(), flat.T, acceleration.ravel(), strict=True)
        ]
        lower = np.array([p[0] for p in pairs]).reshape(point.shape)
        upper = np.array([p[1] for p in pairs]).reshape(point.shape)
    lost = 1 - np.isfinite(drawn).mean(axis=0)
    worst = float(np.max(np.where(np.isfinite(point), lost, 0.0)))
    note = f"not estimable in {100 * worst:.0f} % of the resamples" if worst > 0.005 else ""
    still = upper - lower <= NO_SPREAD * np.maximum(1.0, np.abs(point))
    if still.any():
        note = notes(note, "no interval where all resamples give the same value")
    return np.where(still, np.nan, lower), np.where(still, np.nan, upper), note


def _bca(value: float, drawn: FloatArray, level: float, acceleration: float) -> tuple[float, float]:
    """Efron's limits: percentiles moved for median bias and for a variance that changes with the value."""
    known = drawn[np.isfinite(drawn)]
    if known.size < ESTIMABLE * drawn.size or not math.isfinite(value):
        return math.nan, math.nan
    share = float(np.mean(known < value) + 0.5 * np.mean(known == value))
    if not 0 < share < 1 or not math.isfinite(acceleration):
        return math.nan, math.nan
    normal = NormalDist()
    bias = normal.inv_cdf(share)
    limits = []
    for tail in (0.5 - level / 2, 0.5 + level / 2):
        z = bias + normal.inv_cdf(tail)
        limits.append(normal.cdf(bias + z / (1 - acceleration * z)))
    lower, upper = np.quantile(known, limits)
    return float(lower), float(upper)


def _acceleration(bound: _Bound, sampler: PatientDraws, whole: Any) -> FloatArray:
    """Skewness of the influence of patients: analytic where the metric gives it, else by leaving groups out."""
    influence = getattr(whole, "influence", None)
    if influence is not None:
        table = np.asarray(influence, dtype=np.float64).reshape(bound.n, -1)
        sums = patient_sums(table, sampler.codes)
    else:
        groups = min(sampler.patients, _JACKKNIFE_GROUPS)
        mine = np.random.default_rng(0).permutation(sampler.patients) % groups
        work = bound.replicate(sampler)
        parts = []
        for first in range(0, groups, BLOCK):
            left_out = np.arange(first, min(first + BLOCK, groups))
            parts.append(work(np.ascontiguousarray(mine[:, None] != left_out[None, :]).astype(np.uint8)))
        values = np.concatenate(parts).reshape(groups, -1)
        sums = values.mean(axis=0) - values
    cubes, squares = (sums**3).sum(axis=0), (sums**2).sum(axis=0)
    out = np.divide(cubes, 6 * squares**1.5, out=np.full(cubes.shape, np.nan), where=squares > 0)
    return np.asarray(out.reshape(_plain(whole).shape), dtype=np.float64)


def interval(
    metric: Metric,
    data: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    method: Literal["default", "jackknife", "percentile", "bca", "normal"] = "default",
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    threads: int | None = None,
    **options: Any,
) -> Any:
    """Return a metric with its interval, by a method of choice.

    Parameters
    ----------
    metric : str or callable
        A name in `aimed.metrics.METRICS`, or a function.
    data : mapping of str to array, or sequence of arrays
        The arrays of the metric, by name or in its order.
    method : {"default", "jackknife", "percentile", "bca", "normal"}
        "default" is the metric's own analytic interval, or the percentile bootstrap where it has none. "jackknife" is
        the infinitesimal jackknife: the influence of each patient, squared and added up, in one pass. The others are
        bootstraps of patients; see `bootstrap`.
    patient : array, shape (n,), optional
    level, draws, seed, threads
        As for `bootstrap`.
    **options
        Handed to the metric.

    Raises
    ------
    NotEstimableError
        If the metric cannot be estimated, or has no influence function for "jackknife".

    References
    ----------
    Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982.

    Examples
    --------
    >>> interval("auroc", {"y": [0, 0, 1, 1, 0, 1], "score": [0.1, 0.4, 0.35, 0.8, 0.5, 0.9]}).method
    'DeLong...'
    """
    methods = ("default", "jackknife", "percentile", "bca", "normal")
    if method not in methods:
        raise UnknownNameError("interval method", method, methods)
    if hasattr(data, "columns"):
        data = {str(name): data[name] for name in data.columns}
    arrays = _ordered(metric, data)
    if isinstance(data, Mapping):
        if "weights" in data:
            options["weights"] = data["weights"]
        patient = data.get("patient", patient)
    if method in ("percentile", "bca", "normal"):
        return bootstrap(
            metric,
            *arrays,
            patient=patient,
            level=level,
            draws=draws,
            seed=seed,
            kind=method,
            threads=threads,
            **options,
        )
    bound = _Bound(metric, arrays, options)
    found = bound.value(patient=patient, level=level, draws=draws, seed=seed)
    if method == "default":
        if hasattr(found, "lower"):
            return found
        return bootstrap(
            metric, *arrays, patient=patient, level=level, draws=draws, seed=seed, threads=threads, **options
        )
    influence = getattr(found, "influence", None)
    if not isinstance(found, Estimate) or influence is None:
        raise NotEstimableError(f"{bound.name} has no influence function", "method='percentile' or method='bca'")
    return Estimate.from_influence(
        float(found),
        influence,
        patient,
        level=level,
        scale=_SCALES.get(bound.name, "identity"),
        name=found.name,
        n=found.n,
        events=found.events,
        method=clustered("infinitesimal jackknife", patient),
        note=found.note,
    )


def _ordered(metric: Metric, data: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> list[ArrayLike]:
    if not isinstance(data, Mapping):
        return list(data)
    data = {k: v for k, v in data.items() if k not in ("weights", "patient")}
    if isinstance(metric, str):
        from aimed.metrics import METRICS

        metric = METRICS[metric]
    names = list(inspect.signature(metric).parameters)  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(names))
    if unknown:
        raise UnknownNameError("array of the metric", unknown[0], names)
    needed = [n for n, p in inspect.signature(metric).parameters.items() if p.default is p.empty]  # type: ignore[arg-type]
    lost = [n for n in needed if n not in data and n not in ("args", "kwargs")]
    if lost:
        raise DataError(f"no '{lost[0]}' in the data", f"the arrays {', '.join(needed)}")
    given = [name for name in names if name in data]
    if given != names[: len(given)]:
        missing = next(name for name in names if name not in data)
        raise DataError(f"no '{missing}' in the data", f"the arrays {', '.join(names[: len(given)])}")
    return [data[name] for name in given]


def difference(first: Estimate, second: Estimate, *, patient: ArrayLike | None = None, level: float = 0.95) -> Estimate:
    """Return the paired difference of two estimates on the same rows, from their influence values.

    Parameters
    ----------
    first, second : Estimate
        Each with its influence, over the same rows in the same order.
    patient : array, shape (n,), optional
        Rows of one patient are added before they are squared.
    level : float

    Returns
    -------
    Estimate
        first - second with its interval and two-sided p.

    Raises
    ------
    DataError
        If an estimate has no influence, or the rows differ in number.
    NotEstimableError
        If the two estimates move together on every row, so that there is no variance.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837 (the case of the AUROC).

    Examples
    --------
    >>> a = Estimate(0.8, name="share", influence=np.array([0.1, -0.1, 0.05, -0.05]))
    >>> b = Estimate(0.6, name="share", influence=np.array([0.1, 0.1, -0.1, -0.1]))
    >>> round(difference(a, b).se, 4)
    0.255
    """
    one, two = first.influence, second.influence
    if one is None or two is None:
        raise DataError("an estimate without influence values", "estimates that carry them", "use compare(...) instead")
    if first.name != second.name:
        raise DataError(f"a difference of {first.name} and {second.name}", "two estimates of one measure")
    if one.shape != two.shape:
        raise DataError(f"influence of {one.size} and of {two.size} rows", "two estimates on the same rows")
    gap = float(first) - float(second)
    variance = clustered_variance(one - two, patient)
    if variance <= 1e-24:
        raise NotEstimableError("the two estimates move together on every row", "predictions that differ")
    se = math.sqrt(variance)
    return Estimate.normal(
        gap,
        se,
        level=level,
        name=f"difference in {first.name}",
        n=one.size,
        events=first.events,
        method="influence functions, paired by " + ("row" if patient is None else "patient"),
        p=two_sided_p(gap, se),
        influence=one - two,
    )


def compare(
    metric: Metric,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    method: Literal["default", "percentile", "bca", "normal", "permutation"] = "default",
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    threads: int | None = None,
    **options: Any,
) -> Estimate:
    """Return the paired difference of a metric between two models on the same rows.

    Parameters
    ----------
    metric : str or callable
    first, second : sequences of arrays
        The arguments of the metric for each model; the outcome is the same in both.
    method : {"default", "percentile", "bca", "normal", "permutation"}
        "default" uses influence values; the bootstraps draw the same patients for both models; "permutation" swaps
        the two models' predictions within patients at random, for a p without an interval; for rank statistics their
        ranks, for other metrics both models must predict on one scale.
    patient : array, shape (n,), optional
    level, draws, seed, threads
        As for `bootstrap`.

    Raises
    ------
    NotEstimableError
        If either cannot be estimated.

    References
    ----------
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 4.

    Examples
    --------
    >>> y = np.arange(100) % 2
    >>> good, poor = y + np.sin(np.arange(100)), np.cos(np.arange(100))
    >>> compare("auroc", (y, good), (y, poor)).p < 0.05
    True
    """
    methods = ("default", "percentile", "bca", "normal", "permutation")
    if method not in methods:
        raise UnknownNameError("method of comparison", method, methods)
    one, two = _Bound(metric, first, options), _Bound(metric, second, options)
    if one.n != two.n or len(one.arrays) != len(two.arrays):
        raise DataError("two models with different rows or arguments", "the same rows in the same order")
    if method == "permutation":
        return _swap_test(one, two, patient, draws, seed)
    own = all(getattr(x.function, "__module__", "").startswith("aimed.metrics") for x in (one, two))
    if own and one.name == two.name and not np.array_equal(one.arrays[0], two.arrays[0]):
        raise DataError("two models with different outcomes", "the same outcome in the same order of rows")
    a, b = one.value(patient=patient, level=level), two.value(patient=patient, level=level)
    if method == "default":
        a, b = (x.headline if isinstance(x, Headline) else x for x in (a, b))
        if not (isinstance(a, Estimate) and isinstance(b, Estimate)) or a.influence is None:
            raise NotEstimableError(f"{one.name} has no influence function", "method='percentile'")
        return difference(a, b, patient=patient, level=level)
    marks = _strata(one, "auto")
    sampler = PatientDraws(patient, one.n, marks, draws=draws, seed=seed, threads=threads)
    both = one.replicate(sampler), two.replicate(sampler)
    drawn = sampler.map(lambda counts: both[0](counts) - both[1](counts))
    gap = _plain(a) - _plain(b)
    if gap.ndim:
        raise DataError("a metric of several values", "a metric of one value", "compare them one by one")
    skew = np.zeros(())
    if method == "bca":
        influence = [getattr(x, "influence", None) for x in (a, b)]
        if influence[0] is None or influence[1] is None:
            raise NotEstimableError(f"{one.name} has no influence function", "method='percentile'")
        joint = Estimate(float(gap), name="difference", influence=influence[0] - influence[1])
        skew = _acceleration(one, sampler, joint)
    lower, upper, note = _limits(gap, drawn, method, level, skew)
    return Bootstrapped(
        float(gap),
        replicates=drawn,
        name=f"difference in {getattr(a, 'name', one.name)}",
        lower=float(lower),
        upper=float(upper),
        se=float(_spread(drawn)),
        n=one.n,
        events=getattr(a, "events", None),
        level=level,
        method=_sentence(method, sampler, draws, marks is not None, one.n) + ", the same for both models",
        note=note,
    )


def _swap_test(one: _Bound, two: _Bound, patient: ArrayLike | None, draws: int, seed: int) -> Estimate:
    if draws < 1:
        raise DataError(f"{draws} draws", "at least 1, better 1000")
    codes = patient_codes(patient, one.n)
    rng = np.random.default_rng(seed)
    gap = float(one.value()) - float(two.value())
    if one.name in _RANKS:
        # Only the order counts: ranks put the two models on one scale, so that their predictions can be exchanged.
        one.arrays, two.arrays = _ranked(one), _ranked(two)
    null = np.full(draws, np.nan)
    for i in range(draws):
        swap = (rng.random(int(codes.max()) + 1) < 0.5)[codes]
        mixed = [
            (np.where(_wide(swap, a), b, a), np.where(_wide(swap, a), a, b)) if own else (a, b)
            for a, b, own in zip(one.arrays, two.arrays, one.rowwise, strict=True)
        ]
        try:
            null[i] = float(one.call([m[0] for m in mixed])) - float(one.call([m[1] for m in mixed]))
        except NotEstimableError:
            continue
    return Bootstrapped(
        gap,
        replicates=null,
        name=f"difference in {one.name}",
        n=one.n,
        method=f"{draws} random swaps of the two models' predictions within patients",
        note="a permutation test has a p and no interval",
        p=_share_as_far(null, gap),
    )


def _ranked(bound: _Bound) -> list[Any]:
    from scipy.stats import rankdata

    place = _RANKS[bound.name]
    return [rankdata(a) if j == place else a for j, a in enumerate(bound.arrays)]


def _wide(rows: NDArray[np.bool_], like: NDArray[Any]) -> NDArray[np.bool_]:
    return rows.reshape(rows.shape + (1,) * (like.ndim - 1))


def _share_as_far(null: FloatArray, value: float) -> float:
    """Two-sided p: the draws at least as far from their centre, the observed one counted among them."""
    centre = float(np.nanmean(null))
    far = np.abs(null - centre) >= abs(value - centre) - 1e-12
    return float((1 + far.sum()) / (1 + np.isfinite(null).sum()))


def permutation_test(
    metric: Metric,
    *arrays: ArrayLike,
    permute: int = 0,
    patient: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    **options: Any,
) -> Bootstrapped:
    """Return a metric with the p of having no relation between one argument and the others.

    Parameters
    ----------
    metric : str or callable
    *arrays : arrays, first axis n
        The arguments of the metric.
    permute : int
        Which of them is shuffled; 0, the outcome, by default. With survival times shuffle the score instead.
    patient : array, shape (n,), optional
        Patients with equally many rows exchange all of them.
    draws, seed : int
    **options
        Handed to the metric.

    Returns
    -------
    Bootstrapped
        `p` is two-sided around the mean of the shuffled values, `replicates` holds them.

    Raises
    ------
    NotEstimableError
        If the metric cannot be estimated on all rows.

    References
    ----------
    Phipson and Smyth, Stat Appl Genet Mol Biol 2010;9:39 (why p is never 0).

    Examples
    --------
    >>> y = np.arange(40) % 2
    >>> permutation_test("auroc", y, y + np.sin(np.arange(40)), draws=200).p < 0.05
    True
    """
    if draws < 1:
        raise DataError(f"{draws} draws", "at least 1, better 1000")
    bound = _Bound(metric, arrays, options)
    if not 0 <= permute < len(bound.arrays) or not bound.rowwise[permute]:
        raise DataError(f"permute = {permute}", "the place of an array with one value a row")
    codes = patient_codes(patient, bound.n)
    rng = np.random.default_rng(seed)
    value = float(bound.value())
    null = np.full(draws, np.nan)
    by_size = _blocks(codes)
    free = sum(table.shape[0] for table in by_size if table.shape[0] > 1)
    if free < 2:
        raise NotEstimableError("no two patients have equally many rows", "patients whose rows can be exchanged")
    for i in range(draws):
        rows = np.arange(bound.n)
        for table in by_size:
            rows[table.ravel()] = table[rng.permutation(table.shape[0])].ravel()
        shuffled = [a[rows] if j == permute else a for j, a in enumerate(bound.arrays)]
        try:
            null[i] = float(bound.call(shuffled))
        except NotEstimableError:
            continue
    return Bootstrapped(
        value,
        replicates=null,
        name=bound.name,
        n=bound.n,
        method=f"{draws} random permutations"
        + ("" if patient is None else f" of {free} patients, each with another of equally many rows"),
        note="a permutation test has a p and no interval",
        p=_share_as_far(null, value),
    )


def _blocks(codes: IntArray) -> list[IntArray]:
    """Rows of each patient, one table for each number of rows a patient has."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    tables: list[IntArray] = []
    for size in np.unique(sizes[sizes > 0]):
        first = starts[sizes == size]
        tables.append(order[first[:, None] + np.arange(size)])
    return tables


def adjust_p_values(p: ArrayLike, method: Literal["holm", "benjamini-hochberg", "bonferroni"] = "holm") -> FloatArray:
    """Return p values adjusted for how many tests there are.

    Parameters
    ----------
    p : float array, shape (k,)
        NaN is a test that was not made: it stays NaN and is not counted.
    method : {"holm", "benjamini-hochberg", "bonferroni"}
        Holm and Bonferroni hold the chance of any false rejection, Benjamini-Hochberg the expected share of false ones.

    Raises
    ------
    DataError
        If a p lies outside [0, 1].

    References
    ----------
    Holm, Scand J Stat 1979;6:65. Benjamini and Hochberg, J R Stat Soc B 1995;57:289.

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03]).round(4)
    array([0.03, 0.06, 0.06])
    """
    if method not in ("holm", "benjamini-hochberg", "bonferroni"):
        raise UnknownNameError("adjustment", method, ["holm", "benjamini-hochberg", "bonferroni"])
    raw = np.asarray(p, dtype=np.float64)
    if raw.ndim != 1:
        raise DataError(f"p values of shape {raw.shape}", "a vector")
    known = np.flatnonzero(np.isfinite(raw))
    out = np.full(raw.shape, np.nan)
    if known.size == 0:
        return out
    values = vector("p", raw[known])
    if ((values < 0) | (values > 1)).any():
        raise DataError("a p value outside [0, 1]", "p values")
    k = values.size
    order = np.argsort(values, kind="stable")
    if method == "holm":
        adjusted = np.maximum.accumulate((k - np.arange(k)) * values[order])
    elif method == "bonferroni":
        adjusted = k * values[order]
    else:
        adjusted = np.minimum.accumulate((k / np.arange(1, k + 1) * values[order])[::-1])[::-1]
    out[known[order]] = np.minimum(adjusted, 1.0)
    return out
