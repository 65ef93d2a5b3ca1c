"""What a metric returns: a number that knows its interval, and a curve of such numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.evaluation import Measure
from aimed.metrics.arrays import FloatArray, patient_codes

__all__ = ["Curve", "Estimate", "clustered_variance", "normal_quantile"]


def normal_quantile(level: float) -> float:
    """Return the two-sided standard normal quantile of a coverage.

    Examples
    --------
    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf(0.5 + level / 2)


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
    if patient is None:
        # Not `@`: a threaded BLAS may add in another order, and the last bits would depend on the machine's load.
        return float(np.einsum("i,i", influence, influence))
    codes = patient_codes(patient, influence.size)
    sums = np.bincount(codes, weights=influence)
    return float(np.einsum("i,i", sums, sums))


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
        self.n, self.events, self.level, self.method, self.note = n, events, level, method, note
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
        scale: str = "identity",
        **more: Any,
    ) -> Estimate:
        """Return an estimate with its normal interval.

        Parameters
        ----------
        value, se : float
        level : float
        bounds : (float, float)
            Limits of the scale; the interval is cut to them.
        scale : {"identity", "log", "logit"}
            Scale on which the interval is symmetric; the delta method carries the error over.
        **more
            Passed to the constructor.

        Examples
        --------
        >>> Estimate.normal(0.9, 0.05, bounds=(0, 1), name="share").upper
        0.997998...
        >>> round(Estimate.normal(0.9, 0.05, scale="logit", name="share").upper, 4)
        0.9639
        """
        half = normal_quantile(level) * se
        if scale == "log" and value > 0:
            lower, upper = value * math.exp(-half / value), value * math.exp(half / value)
        elif scale == "logit" and 0 < value < 1:
            centre, half = math.log(value / (1 - value)), half / (value * (1 - value))
            lower, upper = (1 / (1 + math.exp(-x)) for x in (centre - half, centre + half))
        else:
            lower, upper = value - half, value + half
        if math.isfinite(lower):
            lower, upper = max(lower, bounds[0]), min(upper, bounds[1])
        return cls(value, lower=lower, upper=upper, se=se, level=level, **more)


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

    def __float__(self) -> float:
        if self.x.size != 1:
            raise TypeError(f"a curve of {self.x.size} points is not one number; take one with [i], or ask for one x")
        return float(self.value[0])
