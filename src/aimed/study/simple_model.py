"""Whether a model beats the simplest one: said in words, from the difference on the test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.trust.subgroups import LOWER_IS_BETTER

__all__ = ["beside_simple"]


def beside_simple(
    fitted: Mapping[str, Any],
    performance: Mapping[str, Any],
    primary: str,
    *,
    name: str,
    title: str,
    others: bool,
) -> dict[str, Any]:
    """Say whether the chosen model beats a simple one, in the primary measure on the test part.

    Parameters
    ----------
    fitted : mapping
        The ``model`` block: ``name``, ``title`` and ``choice``.
    performance : mapping
    primary : str
    name, title : str
        Of the simple model.
    others : bool
        Whether there were other candidates.

    Returns
    -------
    dict
        ``beaten`` (None where it cannot be said) and ``sentence``.
    """
    if fitted["name"] == name:
        if not others:
            return {"beaten": None, "sentence": f"{fitted['title']} was the only candidate."}
        return {
            "beaten": False,
            "sentence": f"No other candidate beat the simple model by more than one standard error on the tuning "
            f"folds, so {fitted['title']} was kept. {fitted['choice']}",
        }
    gap = performance["differences"].get(name, {}).get(primary)
    if gap is None or gap["value"] is None or gap["lower"] is None:
        return {"beaten": None, "sentence": f"The difference to {title} could not be estimated."}
    lower_is_better = primary.partition("@")[0] in LOWER_IS_BETTER
    value, low, high = (-1.0 if lower_is_better else 1.0) * np.asarray([gap["value"], gap["lower"], gap["upper"]])
    low, high = min(low, high), max(low, high)
    beaten = bool(low > 0)
    text = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    if beaten:
        sentence = f"{fitted['title']} beats {title} in {primary} by {text} on the test part."
    elif high < 0:
        sentence = (
            f"{fitted['title']} is worse than {title} on the test part: the gain in {primary} is {text}. "
            "The simple model should be preferred."
        )
    else:
        sentence = f"{fitted['title']} is not shown to beat {title} on the test part: the gain in {primary} is {text}."
    return {"beaten": beaten, "sentence": sentence}
