"""The table of a Cox model, with the lines and digits that R prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aimed.prognosis.cox import CoxPH

__all__ = ["CoxSummary"]

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))


def _shown(values: NDArray[np.float64], digits: int) -> list[str]:
    """Write numbers as R does: alike, with as many digits as the one that needs most, in the shorter notation."""
    decimals = mantissa = 0
    for value in values[np.isfinite(values)]:
        figures, exponent = f"{abs(value):.{digits - 1}e}".split("e")
        many = len(figures.rstrip("0").replace(".", "")) - 1
        mantissa = max(mantissa, many)
        decimals = max(decimals, many - int(exponent))
    fixed = [f"{v:.{decimals}f}" if np.isfinite(v) else "NA" for v in values]
    short = [f"{v:.{mantissa}e}" if np.isfinite(v) else "NA" for v in values]
    return fixed if max(map(len, fixed), default=0) <= max(map(len, short), default=0) else short


def _p_values(values: NDArray[np.float64], digits: int) -> list[str]:
    """Write p values: those from 0.001 alike, smaller ones alike, and a bound below 2.2e-16."""
    least = float(np.finfo(np.float64).eps)
    kind = np.where(~np.isfinite(values), 0, np.where(values < least, 1, np.where(values < 1e-3, 2, 3)))
    out = np.where(kind == 0, "NA", "<" + _shown(np.array([least]), digits)[0]).astype(object)
    for which in (2, 3):
        out[kind == which] = _shown(values[kind == which], digits)
    return [str(text) for text in out]


def _table(head: list[str], names: list[str], columns: list[list[str]], left: int = -1) -> list[str]:
    wide = max((len(n) for n in names), default=0)
    lines = [" " * wide, *(name.ljust(wide) for name in names)]
    for c, (title, cells) in enumerate(zip(head, columns, strict=True)):
        width = max(len(v) for v in [title, *cells])
        for i, cell in enumerate([title, *cells]):
            lines[i] += " " + (cell.ljust(width) if c == left else cell.rjust(width))
    return [line.rstrip() for line in lines]


@dataclass(frozen=True, slots=True, eq=False)
class CoxSummary:
    """Coefficients with errors, hazard ratios with intervals, concordance and the three tests.

    Parameters
    ----------
    rows : list of dict
        One a column; see `aimed.prognosis.cox.CoxPH.summary`. With robust errors also ``naive_error``.
    n, events : int
    level : float
    tests : dict
        As in `CoxPH.tests_`.
    concordance : (float, float or None), or None

    Examples
    --------
    >>> from aimed.prognosis.cox import CoxPH
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    >>> y = np.array([(True, 9.0), (True, 2.0), (True, 4.0), (True, 6.0), (True, 3.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> print(CoxPH().fit(X, y).summary_)
      n= 6, number of events= 5
    <BLANKLINE>
        coef exp(coef) se(coef)    z Pr(>|z|)
    x0 1.688     5.408    1.172 1.44     0.15
    <BLANKLINE>
       exp(coef) exp(-coef) lower .95 upper .95
    x0     5.408     0.1849     0.544     53.76
    <BLANKLINE>
    Concordance= 0.733  (se = 0.077 )
    Likelihood ratio test= 2.47  on 1 df,   p=0.1
    Wald test            = 2.07  on 1 df,   p=0.1
    Score (logrank) test = 2.56  on 1 df,   p=0.1
    """

    rows: list[dict[str, Any]]
    n: int
    events: int
    level: float
    tests: dict[str, dict[str, float | None]]
    concordance: tuple[float, float | None] | None

    @classmethod
    def of(cls, model: CoxPH) -> CoxSummary:
        """Take what is to be shown from a fitted model."""
        rows = model.summary()
        if model.naive_covariance_ is not None:
            for row, variance in zip(rows, np.diag(model.naive_covariance_), strict=True):
                row["naive_error"] = float(np.sqrt(variance)) if np.isfinite(variance) else None
        tests = {name: dict(test) for name, test in model.tests_.items()}
        return cls(rows, model.n_fitted_, model.n_events_, model.level, tests, model.concordance_)

    def _column(self, key: str) -> NDArray[np.float64]:
        return np.array([np.nan if row[key] is None else row[key] for row in self.rows], dtype=np.float64)

    def _test(self, key: str) -> tuple[str, str] | None:
        test = self.tests.get(key)
        if test is None or test["statistic"] is None or test["p"] is None:
            return None
        return f"{round(test['statistic'], 2):g}", _p_values(np.array([test["p"]]), 1)[0]

    def __str__(self) -> str:
        lines = [f"  n= {self.n}, number of events= {self.events}", ""]
        if self.rows:
            lines += [*self._coefficients(), "", *self._ratios(), ""]
        if self.concordance is not None:
            value, error = self.concordance
            said = "" if error is None else f"  (se = {round(error, 3):g} )"
            lines.append(f"Concordance= {round(value, 3):g}{said}")
        titles = {
            "likelihood_ratio": "Likelihood ratio test",
            "wald": "Wald test            ",
            "score": "Score (logrank) test ",
        }
        robust = self._test("robust_score")
        for key, title in titles.items():
            found = self._test(key)
            if found is not None:
                line = f"{title}= {found[0]}  on {self.tests[key]['df']:.4g} df,   p={found[1]}"
                if key == "score" and robust is not None:
                    line += f",   Robust = {robust[0]}  p={robust[1]}"
                lines.append(line)
        if robust is not None:
            lines += [
                "  (Note: the likelihood ratio and score tests assume independence of",
                "     observations within a cluster, the Wald and robust score tests do not).",
            ]
        return "\n".join(lines)

    __repr__ = __str__

    def _coefficients(self) -> list[str]:
        robust = "naive_error" in self.rows[0]
        keys = ["coefficient", "hazard_ratio", *(["naive_error"] if robust else []), "standard_error"]
        head = ["coef", "exp(coef)", "se(coef)", *(["robust se"] if robust else [])]
        numbers = np.column_stack([self._column(key) for key in keys])
        known = numbers[np.isfinite(numbers) & (numbers != 0)]
        lowest = int(np.floor(np.log10(np.abs(known).min()))) + 1 if known.size else 1
        rounded = np.round(numbers, max(1, 4 - lowest))
        cells = np.array(_shown(rounded.ravel(), 4), dtype=object).reshape(rounded.shape)
        columns = [list(column) for column in cells.T]
        z, p = self._column("z"), self._column("p")
        columns += [_shown(np.round(z, 3), 4), _p_values(p, 3)]
        head += ["z", "Pr(>|z|)"]
        stars = [next((mark for bound, mark in _STARS if v < bound), "") for v in p]
        shown = any(stars)
        if shown:
            columns, head = [*columns, stars], [*head, ""]
        lines = _table(head, [str(row["term"]) for row in self.rows], columns, left=len(head) - 1 if shown else -1)
        legend = ["---", "Signif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1"]
        return lines + (legend if shown else [])

    def _ratios(self) -> list[str]:
        level = f"{self.level:g}".lstrip("0")
        ratio = self._column("hazard_ratio")
        values = [ratio, 1.0 / ratio, self._column("hazard_ratio_lower"), self._column("hazard_ratio_upper")]
        head = ["exp(coef)", "exp(-coef)", f"lower {level}", f"upper {level}"]
        return _table(head, [str(row["term"]) for row in self.rows], [_shown(v, 4) for v in values])
