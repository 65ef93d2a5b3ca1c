"""Rubin's rules: one estimate with its interval out of the analyses of several imputed data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.result import checked_level

__all__ = ["Pooled", "PooledTest", "pool_rubin", "pooled_wald"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Estimates pooled over m imputed data sets; each field is a float, or an array with one entry an estimate.

    Parameters
    ----------
    value : float or array
        Mean of the estimates.
    within, between, total : float or array
        Mean variance within the sets, variance of the estimates between them, and within + (1 + 1/m) between.
    se, lower, upper, p : float or array
        Error, limits and two-sided p of the test of 0, by Student's t with ``df``.
    df : float or array
        Degrees of freedom of Barnard and Rubin, or of Rubin where none are known for complete data.
    share : float or array
        Part of the total variance that is due to missing values, λ.
    fmi : float or array
        Fraction of missing information γ, which counts that m is finite.
    efficiency : float or array
        Of m sets against infinitely many, 1 / (1 + γ/m).
    m : int
        Imputed data sets.
    """

    value: Any
    within: Any
    between: Any
    total: Any
    se: Any
    lower: Any
    upper: Any
    p: Any
    df: Any
    share: Any
    fmi: Any
    efficiency: Any
    m: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledTest:
    """A joint test of several estimates over m imputed data sets.

    Parameters
    ----------
    statistic : float
        D1, to be read against F.
    df, df_error : float
        Degrees of freedom of F.
    p : float
    increase : float
        Mean relative increase in variance by missing values.
    m : int
        Imputed data sets.
    """

    statistic: float
    df: float
    df_error: float
    p: float
    increase: float
    m: int


def pool_rubin(
    estimates: ArrayLike, variances: ArrayLike, df_complete: float | None = None, *, level: float = 0.95
) -> Pooled:
    """Pool the estimates of m imputed data sets.

    Parameters
    ----------
    estimates, variances : float arrays, shape (m,) or (m, ...)
        One estimate and its squared standard error a data set, on a scale where it is about normal.
    df_complete : float, optional
        Degrees of freedom that the analysis would have without missing values; infinite when absent.
    level : float
        Coverage of the interval.

    Returns
    -------
    Pooled
        NaN where an entry of any set is NaN, or where nothing varies.

    Raises
    ------
    DataError
        If there are fewer than two sets, shapes differ, or a variance is negative.

    Notes
    -----
    With Ū the mean variance, B the variance of the estimates and T = Ū + (1 + 1/m) B: λ = (1 + 1/m) B / T,
    ν₁ = (m - 1) / λ², ν₂ = (ν + 1)/(ν + 3) · ν (1 - λ) for ν degrees of freedom of complete data, and
    df = ν₁ν₂ / (ν₁ + ν₂). γ = (r + 2/(df + 3)) / (r + 1) with r = λ / (1 - λ).

    References
    ----------
    Rubin, Multiple Imputation for Nonresponse in Surveys, Wiley 1987. Barnard and Rubin, Biometrika 1999;86:948.

    Examples
    --------
    >>> found = pool_rubin([1.0, 1.2, 1.4], [0.04, 0.05, 0.06], df_complete=50)
    >>> round(found.value, 3), round(found.se, 3), round(found.df, 1), round(found.fmi, 3)
    (1.2, 0.321, 5.7, 0.628)
    """
    checked_level(level)
    Q, U = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if Q.ndim < 1 or Q.shape != U.shape:
        raise DataError(f"estimates have shape {Q.shape} and variances {U.shape}", "one variance an estimate")
    m = Q.shape[0]
    if m < 2:
        raise DataError(f"{m} imputed data set", "at least 2", "impute more than once")
    if (U < 0).any():
        raise DataError(f"{int((U < 0).sum())} negative variances", "squared standard errors")
    if df_complete is not None and not df_complete > 0:
        raise DataError("degrees of freedom of complete data that are not positive", "a number > 0, or None")
    value, within = Q.mean(axis=0), U.mean(axis=0)
    # Deviations from the first set are exactly 0 where all sets agree.
    between = np.asarray((Q - Q[0]).var(axis=0, ddof=1))
    added = (1.0 + 1.0 / m) * between
    total = np.where(within + added > 0, within + added, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = added / total
        first = np.where(share > 0, (m - 1.0) / share**2, np.inf)
        df = np.where(np.isnan(share), np.nan, first)
        if df_complete is not None and np.isfinite(df_complete):
            second = (df_complete + 1.0) / (df_complete + 3.0) * df_complete * (1.0 - share)
            df = np.where(share > 0, 1.0 / (1.0 / first + 1.0 / second), second)
        # (r + 2/(df + 3)) / (r + 1), written without r, which is infinite when nothing varies within.
        fmi = share + (1.0 - share) * 2.0 / (df + 3.0)
    se = np.sqrt(total)
    # stdtr and stdtrit of an infinite df are those of the normal.
    with np.errstate(divide="ignore", invalid="ignore"):
        half = special.stdtrit(np.minimum(df, 1e12), 0.5 + 0.5 * level) * se
        p = 2.0 * special.stdtr(np.minimum(df, 1e12), -np.abs(value) / se)
    out = {
        "value": value, "within": within, "between": between, "total": total, "se": se, "lower": value - half,
        "upper": value + half, "p": p, "df": df, "share": share, "fmi": fmi, "efficiency": 1.0 / (1.0 + fmi / m),
    }  # fmt: skip
    return Pooled(**{k: float(v) if np.ndim(v) == 0 else np.asarray(v) for k, v in out.items()}, m=m)


def pooled_wald(estimates: ArrayLike, covariances: ArrayLike) -> PooledTest:
    """Test several estimates at once over m imputed data sets: the D1 statistic.

    Parameters
    ----------
    estimates : float array, shape (m, k)
        Less their values under the hypothesis, which are 0 for "no effect".
    covariances : float array, shape (m, k, k)

    Returns
    -------
    PooledTest

    Raises
    ------
    DataError
        If there are fewer than two sets or shapes do not fit.
    NotEstimableError
        If the mean covariance is singular.

    Notes
    -----
    Missing information is taken to be the same for all k: r = (1 + 1/m) tr(B Ū⁻¹) / k and
    D1 = Q̄ᵀ Ū⁻¹ Q̄ / (k (1 + r)), against F with k and v degrees of freedom. With t = k (m - 1),
    v = 4 + (t - 4)(1 + (1 - 2/t)/r)² for t > 4 and t (1 + 1/k)(1 + 1/r)²/2 otherwise.

    References
    ----------
    Li, Raghunathan and Rubin, J Am Stat Assoc 1991;86:1065.

    Examples
    --------
    >>> same = [[0.04, 0.01], [0.01, 0.09]]
    >>> found = pooled_wald([[0.5, 0.2], [0.6, 0.1], [0.4, 0.3]], [same, same, same])
    >>> round(found.statistic, 3), round(found.df_error, 1), round(found.p, 3)
    (2.456, 60.8, 0.094)
    """
    Q, U = np.asarray(estimates, dtype=np.float64), np.asarray(covariances, dtype=np.float64)
    if Q.ndim != 2 or not Q.shape[1] or U.shape != (*Q.shape, Q.shape[-1]):
        raise DataError(f"estimates have shape {Q.shape} and covariances {U.shape}", "(m, k) and (m, k, k)")
    m, k = Q.shape
    if m < 2:
        raise DataError(f"{m} imputed data set", "at least 2", "impute more than once")
    if not (np.isfinite(Q).all() and np.isfinite(U).all()):
        raise DataError("estimates or covariances that are not finite", "finite numbers", "leave those columns out")
    value, within = Q.mean(axis=0), U.mean(axis=0)
    apart = Q - value
    try:
        whole = linalg.cho_factor(within)
    except linalg.LinAlgError:
        raise NotEstimableError("the mean covariance is singular", "estimates that vary freely") from None
    increase = (1.0 + 1.0 / m) * float(np.trace(linalg.cho_solve(whole, apart.T @ apart / (m - 1.0)))) / k
    statistic = float(value @ linalg.cho_solve(whole, value)) / (k * (1.0 + increase))
    t = k * (m - 1.0)
    if increase <= 0:
        error = float("inf")
    elif t > 4:
        error = 4.0 + (t - 4.0) * (1.0 + (1.0 - 2.0 / t) / increase) ** 2
    else:
        error = 0.5 * t * (1.0 + 1.0 / k) * (1.0 + 1.0 / increase) ** 2
    p = special.fdtrc(k, error, statistic) if np.isfinite(error) else special.chdtrc(k, k * statistic)
    return PooledTest(statistic=statistic, df=float(k), df_error=error, p=float(p), increase=increase, m=m)
