"""What a metric returns: a number that knows its interval, and a curve of such numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.core.evaluation import Measure
from aimed.metrics.arrays import FloatArray, IntArray, cross_products, dot, patient_codes

__all__ = [
    "FEW_UNITS",
    "Curve",
    "Described",
    "Estimate",
    "Headline",
    "Scale",
    "checked_level",
    "clustered",
    "clustered_covariance",
    "clustered_variance",
    "few_units",
    "independent_units",
    "limits",
    "normal_quantile",
    "notes",
    "or_missing",
    "patient_sums",
    "quantile_of_units",
    "two_sided_p",
    "with_interval",
]


FEW_UNITS = 20
"""Below so many independent units (patients, cases) an estimate says that its interval may be too short."""

Scale: TypeAlias = Literal["identity", "log", "logit", "fisher"]


def checked_level(level: float, name: str = "level") -> float:
    """Return the coverage of an interval.

    Raises
    ------
    DataError
        If it does not lie between 0 and 1.

    Examples
    --------
    >>> checked_level(0.9)
    0.9
    """
    if not 0 < level < 1:
        raise DataError(f"{name} lies outside (0, 1)", "a coverage such as 0.95")
    return float(level)


def normal_quantile(level: float) -> float:
    """Return the two-sided standard normal quantile of a coverage.

    Raises
    ------
    DataError
        As for `checked_level`.

    Examples
    --------
    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf(0.5 + checked_level(level) / 2)


def quantile_of_units(level: float, units: ArrayLike | None) -> FloatArray:
    """Return the factor of a standard error that gives half an interval; NaN with fewer than 2 units.

    Parameters
    ----------
    level : float
    units : float or array, optional
        What the error was estimated from, such as patients; None makes the quantile normal.

    Examples
    --------
    >>> [round(float(quantile_of_units(0.95, m)), 3) for m in (None, 10, 1)]
    [1.96, 2.385, nan]
    """
    if units is None:
        return np.asarray(normal_quantile(level))
    from scipy.special import stdtrit

    freedom = np.asarray(units, dtype=np.float64) - 1
    some = np.maximum(freedom, 1)
    # The error is a sum of squares around the estimate; the factor makes it a sample variance.
    quantile = stdtrit(some, 0.5 + checked_level(level) / 2) * np.sqrt((some + 1) / some)
    return np.where(freedom >= 1, quantile, np.nan)


def two_sided_p(value: float, se: float, units: float | None = None) -> float:
    """Return the two-sided p of a value that is 0 if there is nothing, by the quantile its interval is made with.

    NaN without a standard error, or with fewer than 2 units.

    Examples
    --------
    >>> round(two_sided_p(1.96, 1.0), 4), round(two_sided_p(2.0, 1.0, 10), 4)
    (0.05, 0.0903)
    """
    if not se > 0 or (units is not None and units < 2):
        return math.nan
    if units is None:
        # erfc keeps its digits far out, where 2 (1 - cdf) has none left.
        return math.erfc(abs(value) / se / math.sqrt(2))
    from scipy.special import stdtr

    return 2 * float(stdtr(units - 1, -abs(value) / (se * math.sqrt(units / (units - 1)))))


def independent_units(patient: ArrayLike | None, n: int, events: int | None = None) -> int | None:
    """Return how many independent units an error rests on: the patients, or the events if they are fewer.

    Parameters
    ----------
    patient : array, shape (n,), optional
    n : int
    events : int, optional

    Returns
    -------
    int or None
        None where rows are independent and all of them count.

    Examples
    --------
    >>> independent_units(["a", "a", "b"], 3), independent_units(["a", "a", "b"], 3, 1), independent_units(None, 3)
    (2, 1, None)
    """
    patients = None if patient is None else int(patient_codes(patient, n).max()) + 1
    known = [v for v in (patients, events) if v is not None]
    return min(known) if known else None


def few_units(units: int | None) -> str:
    """Return what to say of intervals that rest on few independent units; nothing where there are enough.

    Examples
    --------
    >>> few_units(3), few_units(None)
    ('only 3 independent units: the intervals may be too short', '')
    """
    if units is None or units >= FEW_UNITS:
        return ""
    return (
        "no interval: one unit only" if units < 2 else f"only {units} independent units: the intervals may be too short"
    )


def notes(*parts: str) -> str:
    """Return what is to be said, each thing once.

    Examples
    --------
    >>> notes("few events", "", "few events", "ties")
    'few events; ties'
    """
    return "; ".join(dict.fromkeys(part for part in parts if part))


def clustered(method: str, patient: ArrayLike | None) -> str:
    """Return a method with what is added to it where rows share patients.

    Examples
    --------
    >>> clustered("infinitesimal jackknife", ["a", "a"])
    'infinitesimal jackknife, clustered by patient'
    """
    return method if patient is None else f"{method}, clustered by patient"


def patient_sums(influence: FloatArray, codes: IntArray | None, patients: int = 0) -> FloatArray:
    """Return the sum of the influence values of each patient; the values themselves without patients.

    Parameters
    ----------
    influence : float array, shape (n,) or (n, k)
    codes : int array, shape (n,), optional
        Patient of each row, from 0.
    patients : int
        Least number of sums.

    Examples
    --------
    >>> patient_sums(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 0]))
    array([5., 2.])
    """
    if codes is None:
        return influence
    if influence.ndim == 1:
        return np.asarray(np.bincount(codes, influence, patients), dtype=np.float64)
    return np.column_stack([np.bincount(codes, column, patients) for column in influence.T])


def clustered_variance(influence: FloatArray, patient: ArrayLike | None = None) -> float:
    """Return the variance of an estimate from its influence values: the sum of squares over patients.

    Parameters
    ----------
    influence : float array, shape (n,)
        Change of the estimate for a change of each row's weight, times that weight; sums to 0.
    patient : array, shape (n,), optional
        Rows of one patient are added before they are squared.

    References
    ----------
    Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982 (infinitesimal jackknife).

    Examples
    --------
    >>> clustered_variance(np.array([1.0, -1.0])), clustered_variance(np.array([1.0, -1.0]), ["a", "a"])
    (2.0, 0.0)
    """
    sums = patient_sums(influence, None if patient is None else patient_codes(patient, influence.size))
    return dot(sums, sums)


def limits(
    value: ArrayLike,
    se: ArrayLike,
    level: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    scale: Scale = "identity",
    units: ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return normal limits on a scale, cut to its bounds; NaN where there is no error to make them from.

    Parameters
    ----------
    value, se : float or array
    level : float
    bounds : (float, float)
    scale : {"identity", "log", "logit", "fisher"}
    units : float or array, optional
        As for `Estimate.normal`.

    Examples
    --------
    >>> [v.round(4).tolist() for v in limits([0.9, 1.0], [0.05, 0.0], 0.95, scale="logit")]
    [[0.7518, nan], [0.9639, nan]]
    """
    x, error = np.broadcast_arrays(np.asarray(value, dtype=np.float64), np.asarray(se, dtype=np.float64))
    quantile = quantile_of_units(level, units)
    known = np.isfinite(x) & (error > 1e-12 * np.maximum(1e-3, np.abs(x))) & np.isfinite(quantile)
    half = quantile * error
    with np.errstate(all="ignore"):
        if scale == "log":
            inside = x > 0
            low, high = x * np.exp(-half / x), x * np.exp(half / x)
        elif scale == "logit":
            inside = (x > 0) & (x < 1)
            centre, half_there = np.log(x / (1 - x)), half / (x * (1 - x))
            low, high = (0.5 * (1 + np.tanh(0.5 * (centre + sign * half_there))) for sign in (-1, 1))
        elif scale == "fisher":
            inside = np.abs(x) < 1
            centre, half_there = np.arctanh(x), half / (1 - x * x)
            low, high = np.tanh(centre - half_there), np.tanh(centre + half_there)
        else:
            inside = np.ones(x.shape, dtype=bool)
            low, high = x - half, x + half
    low, high = np.where(inside, low, x - half), np.where(inside, high, x + half)
    low, high = np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def clustered_covariance(influence: FloatArray, codes: IntArray | None) -> FloatArray:
    """Return the covariance of k estimates from their influence values, shape (k, k).

    Parameters
    ----------
    influence : float array, shape (n, k)
    codes : int array, shape (n,), optional
        Patient of each row, from 0.

    Examples
    --------
    >>> clustered_covariance(np.array([[1.0, 0.0], [-1.0, 2.0]]), None)
    array([[ 2., -2.],
           [-2.,  4.]])
    """
    sums = patient_sums(influence, codes)
    return cross_products(sums, sums)


class Estimate(float):
    """A number with its interval, standard error and what it rests on.

    It is a float: it can be compared, rounded, stored and added up; the result of arithmetic is a plain float.

    Parameters
    ----------
    value : float
    name : str
    lower, upper : float
        Interval; NaN where there is none.
    se : float
        Standard error; NaN where there is none.
    n : int
        Rows.
    events : int, optional
        Rows with the event.
    level : float
        Coverage of the interval.
    method : str
        How the interval was made.
    note : str
        Why there is no interval, or what to know about the number.
    p : float, optional
        Two-sided p of a test, where the number is a test's.
    influence : float array, shape (n,), optional
        Influence of each row on the estimate: what paired differences and clustered errors are made from.

    Examples
    --------
    >>> found = Estimate(0.8312, name="auroc", lower=0.79, upper=0.8699, se=0.02, n=125)
    >>> found
    auroc 0.8312 (95 % interval 0.7900 to 0.8699), n = 125
    >>> found > 0.8, round(found, 2), found.se
    (True, 0.83, 0.02)
    """

    __slots__ = ("events", "influence", "level", "lower", "method", "n", "name", "note", "p", "se", "upper")

    def __new__(cls, value: float, **_: Any) -> Estimate:
        """Make the float; `__init__` adds the rest."""
        return super().__new__(cls, value)

    def __init__(
        self,
        value: float,
        *,
        name: str,
        lower: float = math.nan,
        upper: float = math.nan,
        se: float = math.nan,
        n: int = 0,
        events: int | None = None,
        level: float = 0.95,
        method: str = "",
        note: str = "",
        p: float | None = None,
        influence: FloatArray | None = None,
    ) -> None:
        self.name, self.lower, self.upper, self.se = name, float(lower), float(upper), float(se)
        self.n, self.events, self.level, self.method, self.note = n, events, checked_level(level), method, note
        self.p, self.influence = p, influence

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (float(self), {k: getattr(self, k) for k in self.__slots__})

    @property
    def value(self) -> float:
        """The number as a plain float."""
        return float(self)

    def __repr__(self) -> str:
        interval = ""
        if math.isfinite(self.lower) or math.isfinite(self.upper):
            interval = f" ({100 * self.level:g} % interval {self.lower:.4f} to {self.upper:.4f})"
        n = f", n = {self.n}" if self.n else ""
        p = "" if self.p is None else f", p = {self.p:.4g}"
        return f"{self.name} {float(self):.4f}{interval}{p}{n}"

    __str__ = __repr__

    def measure(self) -> Measure:
        """Return the estimate as the noun of a study's results."""
        return Measure(
            name=self.name,
            value=float(self),
            lower=self.lower,
            upper=self.upper,
            n=self.n,
            events=self.events or 0,
            level=self.level,
            method=self.method,
            note=self.note,
        )

    @classmethod
    def normal(
        cls,
        value: float,
        se: float,
        *,
        level: float = 0.95,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        scale: Scale = "identity",
        units: float | None = None,
        why: str = "no spread between rows",
        note: str = "",
        **more: Any,
    ) -> Self:
        """Return an estimate with its normal interval, or with none and the reason where there is no error.

        Parameters
        ----------
        value, se : float
        level : float
        bounds : (float, float)
            Limits of the scale; the interval is cut to them.
        scale : {"identity", "log", "logit", "fisher"}
            Scale on which the interval is symmetric; the delta method carries the error over.
        units : float, optional
            What the error was estimated from, such as patients or cases: the quantile is that of t with one degree of
            freedom less, and the half width is multiplied by the root of units / (units - 1).
        why : str
            Reason to give where there is no spread.
        note : str
        **more
            Passed to the constructor.

        Examples
        --------
        >>> Estimate.normal(0.9, 0.05, bounds=(0, 1), name="share").upper
        0.997998...
        >>> round(Estimate.normal(0.9, 0.05, scale="logit", name="share").upper, 4)
        0.9639
        >>> Estimate.normal(1.0, 0.0, why="all pairs are ranked rightly", name="auroc").note
        'no interval: all pairs are ranked rightly'
        """
        lower, upper = (float(v) for v in limits(value, se, level, bounds, scale, units))
        if math.isnan(lower):
            if math.isfinite(value):
                few = units is not None and units < 2
                note = notes(note, f"no interval: {'one unit only' if few else why}")
            return cls(value, level=level, note=note, **more)
        if units is not None and units < FEW_UNITS:
            note = notes(note, f"only {units:.0f} independent units: the interval may be too short")
        return cls(value, lower=lower, upper=upper, se=se, level=level, note=note, **more)

    @classmethod
    def from_influence(cls, value: float, influence: FloatArray, patient: ArrayLike | None = None, **more: Any) -> Self:
        """Return an estimate with the normal interval of its influence values.

        Parameters
        ----------
        value : float
        influence : float array, shape (n,)
        patient : array, shape (n,), optional
            Rows of one patient are dependent.
        **more
            Passed to `Estimate.normal`; `n` is the number of rows unless it is given.

        Examples
        --------
        >>> Estimate.from_influence(0.5, np.array([0.25, -0.25]), name="share")
        share 0.5000 (95 % interval -0.1930 to 1.1930), n = 2
        """
        codes = None if patient is None else patient_codes(patient, influence.size)
        sums = patient_sums(influence, codes)
        given = {"n": influence.size, "units": None if codes is None else np.unique(codes).size} | more
        return cls.normal(value, math.sqrt(dot(sums, sums)), influence=influence, **given)


def with_interval(value: float, variance: float, *, why: str, **more: Any) -> Estimate:
    """Return an estimate with its normal interval, or with none and the reason where the variance is 0 or unknown.

    Parameters
    ----------
    value, variance : float
    why : str
        Reason to give where there is no spread.
    **more
        Passed to `Estimate.normal`.

    Examples
    --------
    >>> with_interval(1.0, 0.0, why="all pairs are ranked rightly", name="auroc").note
    'no interval: all pairs are ranked rightly'
    """
    return Estimate.normal(value, math.sqrt(variance) if variance > 0 else math.nan, why=why, **more)


def or_missing(name: str, work: Callable[[], Estimate], **more: Any) -> Estimate:
    """Return what `work` makes, or NaN with the reason why it cannot be estimated.

    Examples
    --------
    >>> def refuse() -> Estimate:
    ...     raise NotEstimableError("no event was seen", "events")
    >>> or_missing("oe", refuse).note
    'no event was seen'
    """
    try:
        return work()
    except NotEstimableError as error:
        return Estimate(math.nan, name=name, note=error.got, **more)


class Headline:
    """What a result of several parts takes from the one estimate it is known by: number, interval, error, rows, p.

    A subclass names that part in `_headline`.
    """

    __slots__ = ()
    _headline: ClassVar[str] = "estimate"

    @property
    def headline(self) -> Estimate:
        """The estimate that the whole is known by."""
        found: Estimate = getattr(self, self._headline)
        return found

    @property
    def value(self) -> float:
        """The number."""
        return float(self.headline)

    @property
    def lower(self) -> float:
        """Lower limit of the interval."""
        return self.headline.lower

    @property
    def upper(self) -> float:
        """Upper limit of the interval."""
        return self.headline.upper

    @property
    def se(self) -> float:
        """Standard error."""
        return self.headline.se

    @property
    def n(self) -> int:
        """Rows."""
        return self.headline.n

    @property
    def p(self) -> float:
        """Two-sided p of a test; NaN where there is none."""
        return math.nan if self.headline.p is None else self.headline.p

    def __str__(self) -> str:
        return str(self.headline)

    def __float__(self) -> float:
        return float(self.headline)


class Described(Headline):
    """A `Headline` whose name, coverage, method and note are also those of its one estimate."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Name of the measure."""
        return self.headline.name

    @property
    def events(self) -> int | None:
        """Rows with the event."""
        return self.headline.events

    @property
    def level(self) -> float:
        """Coverage of the interval."""
        return self.headline.level

    @property
    def method(self) -> str:
        """How the interval was made."""
        return self.headline.method

    @property
    def note(self) -> str:
        """Why there is no interval, or what to know about the number."""
        return self.headline.note

    @property
    def influence(self) -> FloatArray | None:
        """Influence of each row, shape (n,)."""
        return self.headline.influence


def _rebuild(value: float, fields: dict[str, Any]) -> Estimate:
    return Estimate(value, **fields)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Estimates along an axis, such as thresholds or times, each with its interval.

    Parameters
    ----------
    name : str
    axis : str
        What `x` is, with its unit where it has one.
    x, value, lower, upper, se : float arrays, shape (k,)
        NaN where not estimable.
    n : int
    events : int, optional
    level : float
    method, note : str
    influence : float array, shape (n, k), optional

    Examples
    --------
    >>> nan = np.full(2, np.nan)
    >>> curve = Curve(name="auc", axis="time", x=np.array([1.0, 2.0]), value=np.array([0.7, 0.8]), lower=nan,
    ...               upper=nan, se=nan, n=9)
    >>> curve[1]
    auc 0.8000, n = 9
    """

    name: str
    axis: str
    x: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    se: FloatArray
    n: int
    events: int | None = None
    level: float = 0.95
    method: str = ""
    note: str = ""
    influence: FloatArray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checked_level(self.level)

    @classmethod
    def normal(
        cls,
        value: FloatArray,
        se: FloatArray,
        *,
        level: float = 0.95,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        scale: Scale = "identity",
        units: ArrayLike | None = None,
        **more: Any,
    ) -> Self:
        """Return a curve with pointwise normal intervals, cut to the limits of the scale.

        Parameters
        ----------
        value, se : float arrays, shape (t,)
        level : float
        bounds : (float, float)
        scale, units
            As for `Estimate.normal`; `units` may differ along the curve.
        **more
            Passed to the constructor.

        Examples
        --------
        >>> x = np.array([0.9])
        >>> Curve.normal(x, np.array([0.1]), bounds=(0, 1), name="share", axis="time", x=x, n=9)[0]
        share 0.9000 (95 % interval 0.7040 to 1.0000), n = 9
        """
        lower, upper = limits(value, se, level, bounds, scale, units)
        return cls(value=value, lower=lower, upper=upper, se=se, level=level, **more)

    def __len__(self) -> int:
        return self.x.size

    def __getitem__(self, place: int) -> Estimate:
        return Estimate(
            float(self.value[place]),
            name=self.name,
            lower=float(self.lower[place]),
            upper=float(self.upper[place]),
            se=float(self.se[place]),
            n=self.n,
            events=self.events,
            level=self.level,
            method=self.method,
            note=self.note,
            influence=None if self.influence is None else self.influence[:, place],
        )

    def __iter__(self) -> Iterator[Estimate]:
        return (self[place] for place in range(len(self)))

    def __str__(self) -> str:
        if len(self) <= 6:
            return "\n".join(f"{self.axis} {x:g}: {one}" for x, one in zip(self.x, self, strict=True))
        return f"{self.name} at {len(self)} values of {self.axis}, from {self.x[0]:g} to {self.x[-1]:g}, n = {self.n}"

    def __float__(self) -> float:
        if self.x.size != 1:
            raise TypeError(f"a curve of {self.x.size} points is not one number; take one with [i], or ask for one x")
        return float(self.value[0])
