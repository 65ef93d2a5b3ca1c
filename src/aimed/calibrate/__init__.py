"""Calibration: maps from a model's own probabilities to risks that happen as often as they say.

The catalogue runs from the simplest map to the most flexible one; `aimed.calibrate.choose` relies on that order.
"""

from aimed.core import Catalog

__all__ = ["CALIBRATORS"]

CALIBRATORS = Catalog(
    "calibrator",
    {
        "none": ("aimed.calibrate.none:NoCalibration", "The model's own probabilities, left as they are."),
        "temperature": ("aimed.calibrate.temperature:Temperature", "One slope on the log odds."),
        "sigmoid": ("aimed.calibrate.sigmoid:Sigmoid", "Platt scaling: intercept and slope on the log odds."),
        "isotonic": ("aimed.calibrate.isotonic:Isotonic", "A rising step-like curve; needs many events."),
    },
)
"""Calibrators by name, simplest first; each has ``fit``, ``transform``, ``to_state`` and ``from_state``."""
