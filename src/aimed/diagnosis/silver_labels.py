"""Silver labels: what a report says of a picture that nobody read for the study, and how often that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, StudyFileError

__all__ = ["SilverLabels"]

_OF_SHARES = ("weighted", "plain", "forward")
"""Losses that take a label between 0 and 1."""


@dataclass(frozen=True, slots=True, eq=False)
class SilverLabels:
    """Labels for training alone, beside those of the reference standard, which is taken wherever it knows.

    Parameters
    ----------
    values : float array, shape (n, k)
        0, 1, or a chance between them; NaN where there is none.
    flips : float array, shape (k, 2), optional
        Chance that an absent finding is labelled present, and a present one absent, as
        `aimed.metrics.label_noise.LabelNoise.flips`. The loss of silver labels is then corrected for it.

    Raises
    ------
    DataError
        If the arrays do not fit together, or values or rates are out of range.

    Notes
    -----
    They never say when to stop, which model to take or how good it is.

    References
    ----------
    Patrini et al., CVPR 2017.

    Examples
    --------
    >>> silver = SilverLabels(np.array([[1.0], [0.0], [np.nan]]), np.array([[0.05, 0.3]]))
    >>> filled, marks = silver.beside(np.array([[0.0], [np.nan], [np.nan]], dtype=np.float32))
    >>> filled.tolist(), marks.tolist()
    ([[0.0], [0.0], [nan]], [[False], [True], [False]])
    """

    values: NDArray[np.float64]
    flips: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 2 or not values.shape[1]:
            raise DataError(f"silver labels of shape {values.shape}", "(n, k), one column a finding")
        odd = int((~(np.isnan(values) | ((values >= 0) & (values <= 1)))).sum())
        if odd:
            raise DataError(f"{odd} silver labels lie outside 0 to 1", "0, 1, a chance, or NaN for none")
        object.__setattr__(self, "values", values)
        if self.flips is None:
            return
        flips = np.asarray(self.flips, dtype=np.float64)
        if flips.shape != (values.shape[1], 2):
            raise DataError(f"flip rates of shape {flips.shape}", f"({values.shape[1]}, 2)")
        if not ((flips >= 0) & (flips < 1)).all() or not (flips.sum(axis=1) < 1).all():
            raise DataError("flip rates that leave a label no meaning", "two rates of 0 to 1, together below 1")
        object.__setattr__(self, "flips", flips)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Any) -> SilverLabels:
        """Return those of some rows."""
        return SilverLabels(self.values[rows], self.flips)

    def beside(self, labels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return labels with silver ones where there is no other, and which those are, each shape (n, k)."""
        if labels.shape != self.values.shape:
            raise DataError(f"silver labels of shape {self.values.shape}", f"{labels.shape}, as the labels have")
        marks = np.isnan(labels) & ~np.isnan(self.values)
        return np.where(marks, self.values, labels).astype(np.float32), marks

    def share(self, labels: NDArray[np.float32], marks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return how common each finding is, shape (k,), of filled labels; what is known of flips is taken off.

        References
        ----------
        Rogan and Gladen, Am J Epidemiol 1978;107:71.

        Examples
        --------
        >>> y = np.array([[1.0], [0.0], [0.0], [0.0]], dtype=np.float32)
        >>> SilverLabels(y, np.array([[0.0, 0.5]])).share(y, np.ones((4, 1), dtype=bool)).tolist()
        [0.5]
        """
        known = ~np.isnan(labels)
        y = np.where(known, labels, 0.0).astype(np.float64)
        count, silver = known.sum(axis=0), marks.sum(axis=0)
        whole, part = y.sum(axis=0), np.where(marks, y, 0.0).sum(axis=0)
        if self.flips is not None:
            up, down = self.flips.T
            mean = part / np.maximum(silver, 1)
            whole = whole - part + silver * np.clip((mean - up) / (1.0 - up - down), 0.0, 1.0)
        # One row of each kind at the least: at 0 and 1 there are no odds.
        edge = 1.0 / np.maximum(count, 2)
        return np.asarray(np.clip(whole / np.maximum(count, 1), edge, 1.0 - edge), dtype=np.float64)

    def check_loss(self, loss: str) -> None:
        """Refuse a loss that knows yes and no only where silver labels are chances.

        Raises
        ------
        StudyFileError
            For such a loss.
        """
        chance = np.isfinite(self.values) & (self.values > 0) & (self.values < 1)
        if chance.any() and loss not in _OF_SHARES:
            raise StudyFileError(
                f"the loss '{loss}' with silver labels that are chances",
                f"one of: {', '.join(_OF_SHARES)}",
                "take one of them, or robust = 'forward'",
            )
