"""The DICOM libraries: opened when they are needed, and quiet about values that may name a patient."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aimed.core import MissingExtraError

__all__ = ["highdicom", "quietly"]

_LOCK = threading.RLock()


def highdicom() -> Any:
    """Return the package highdicom.

    Raises
    ------
    MissingExtraError
        If it is not installed.

    Examples
    --------
    >>> highdicom().__name__
    'highdicom'
    """
    try:
        import highdicom as found
        import highdicom.sr
    except ImportError:
        raise MissingExtraError("highdicom", "a DICOM result", "pip install 'aimed[imaging]'") from None
    return found


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what a DICOM library says about values, which may name a patient, out of warnings and logs.

    Raises
    ------
    MissingExtraError
        If pydicom is not installed.

    Examples
    --------
    >>> with quietly():
    ...     warnings.warn("PatientName is wrong", stacklevel=1)
    """
    try:
        from pydicom import config
    except ImportError:
        raise MissingExtraError("pydicom", "a DICOM result", "pip install 'aimed[imaging]'") from None
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    # All of these settings hold for the process, so that one thread at a time changes them.
    with _LOCK, warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
