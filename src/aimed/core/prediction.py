"""What a model says for each row, aligned with the cohort by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import DataError

__all__ = ["Prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Risks, and for time-to-event outcomes survival curves, for a set of rows.

    Parameters
    ----------
    ids : str array, shape (n,)
        Unit ids, as in the cohort.
    score : float array, shape (n,)
        Ranks patients; higher is worse. NaN where the model gives no prediction.
    risk : float array, shape (n, h)
        Probability of the outcome; one column for a binary outcome, one a horizon for survival.
    horizons : float array, shape (h,), optional
        Times of the columns of `risk`.
    times, survival : float arrays, shapes (t,) and (n, t), optional
        Survival curves on a grid.

    Raises
    ------
    DataError
        If shapes disagree or a probability lies outside [0, 1].

    Examples
    --------
    >>> Prediction(ids=["1"], score=[0.2], risk=[[1.2]])
    Traceback (most recent call last):
        ...
    aimed.core.errors.DataError: 1 risk lies outside [0, 1]; expected probabilities
    """

    ids: NDArray[Any]
    score: NDArray[np.float64]
    risk: NDArray[np.float64]
    horizons: NDArray[np.float64] | None = None
    times: NDArray[np.float64] | None = None
    survival: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "ids", np.asarray(self.ids, dtype=str))
        put(self, "score", np.asarray(self.score, dtype=np.float64))
        risk = np.asarray(self.risk, dtype=np.float64)
        put(self, "risk", risk[:, None] if risk.ndim == 1 else risk)
        n = self.ids.size
        if self.score.shape != (n,) or self.risk.shape[0] != n:
            raise DataError(f"{n} ids, {self.score.size} scores and {self.risk.shape[0]} risks", "one of each a row")
        bad = int(((self.risk < 0) | (self.risk > 1)).sum())
        if bad:
            raise DataError(
                f"{bad} risk lies outside [0, 1]" if bad == 1 else f"{bad} risks lie outside [0, 1]", "probabilities"
            )
        grid = 0 if self.times is None else np.asarray(self.times).size
        if self.survival is not None and self.survival.shape != (n, grid):
            raise DataError(f"survival has shape {self.survival.shape}", f"({n}, {grid})")

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.ids.size)
