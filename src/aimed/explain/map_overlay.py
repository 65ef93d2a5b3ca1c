"""A heat map over its picture, beside the picture as it is, as PNG bytes for a page."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import ArrayLike

from aimed.core import DataError

__all__ = ["overlay_png"]

_MAP = "viridis"
"""Perceptually uniform, and told apart without red and green."""


def overlay_png(
    pixels: ArrayLike,
    heat: ArrayLike,
    *,
    title: str = "Heat map",
    opacity: float = 0.5,
    top: float | None = None,
    window: tuple[float, float] | None = None,
    width: float = 7.0,
    dpi: int = 110,
) -> bytes:
    """Return the picture on the left and the same picture under its heat map on the right.

    Both are drawn with the same grey window. The map's opacity rises with its value from 0, so that side markers and
    whatever the map does not mark stay as they are; the opacity of the hottest place is written above it.

    Parameters
    ----------
    pixels : array, shape (y, x)
        Larger is brighter.
    heat : float array, shape (y, x)
        On the same pixels; what is below 0 is not drawn.
    title : str
        What the map is; never an identifier.
    opacity : float
        Of the hottest place.
    top : float, optional
        Value of the hottest colour; the map's own peak when absent. Give one for maps that are to be compared.
    window : (float, float), optional
        Black and white of the greys; the range of the pixels when absent.
    width, dpi : float, int
        Inches, and pixels an inch.

    Returns
    -------
    bytes
        A PNG file without metadata.

    Raises
    ------
    DataError
        If shapes differ, a number is not finite, or the opacity does not lie in (0, 1].

    Examples
    --------
    >>> overlay_png(np.eye(8), np.eye(8))[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure

    grey, hot = np.asarray(pixels), np.asarray(heat, dtype=np.float64)
    if grey.ndim != 2 or grey.size == 0 or grey.shape != hot.shape:
        raise DataError(f"a picture of shape {grey.shape} and a map of shape {hot.shape}", "the same pixels")
    if not (np.isfinite(grey).all() and np.isfinite(hot).all()):
        raise DataError("pixels or a map with values that are not finite", "numbers")
    if not 0 < opacity <= 1:
        raise DataError("an opacity outside (0, 1]", "such as 0.5")
    low, high = window or (float(grey.min()), float(grey.max()))
    peak = float(hot.max()) if top is None else float(top)
    share = np.clip(hot / peak, 0, 1) if peak > 0 else np.zeros_like(hot)
    figure = Figure(
        figsize=(width, 0.45 * width * min(grey.shape[0] / grey.shape[1], 2.5) + 0.4), dpi=dpi, layout="constrained"
    )
    for axes, text in zip(
        figure.subplots(1, 2),
        ("Original", f"{title}, opacity 0 to {100 * opacity:.0f} %" if share.any() else f"{title}: marks nothing"),
        strict=True,
    ):
        axes.imshow(grey, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), interpolation="antialiased")
        axes.set_title(text, fontsize=9)
        axes.set_axis_off()
    drawn = axes.imshow(hot, cmap=_MAP, vmin=0, vmax=peak if peak > 0 else 1, alpha=opacity * share)
    figure.colorbar(drawn, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
