"""How a check says what it saw: findings with evidence in plain JSON types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimed.core.finding import Finding, Severity

__all__ = ["Reporter"]


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes the findings of one check; evidence is given by keyword and stored as plain JSON types.

    Parameters
    ----------
    check : str
        Name in the catalogue.
    source : str
        Paper or standard behind the check.

    Examples
    --------
    >>> import numpy as np
    >>> say = Reporter("columns", "PROBAST+AI")
    >>> say.warn("age", "'age' is constant.", "Drop it.", n=np.int64(3), sd=float("nan")).evidence
    {'n': 3, 'sd': None}
    """

    check: str
    source: str

    def stop(self, where: str, message: str, advice: str, **evidence: Any) -> Finding:
        """Return a finding that ends the run."""
        return self._finding(Severity.STOP, where, message, advice, evidence)

    def warn(self, where: str, message: str, advice: str, **evidence: Any) -> Finding:
        """Return a finding that goes into the report as a warning."""
        return self._finding(Severity.WARN, where, message, advice, evidence)

    def note(self, where: str, message: str, advice: str = "", **evidence: Any) -> Finding:
        """Return a finding that informs."""
        return self._finding(Severity.NOTE, where, message, advice, evidence)

    def _finding(
        self, severity: Severity, where: str, message: str, advice: str, evidence: Mapping[str, Any]
    ) -> Finding:
        return Finding(
            check=self.check,
            severity=severity,
            where=where,
            message=message,
            evidence={name: _plain(value) for name, value in evidence.items()},
            advice=advice,
            source=self.source,
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
