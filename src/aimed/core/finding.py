"""What a check saw: severity, where, evidence, advice and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How much a finding matters: NOTE informs, WARN goes into the report, STOP ends the run."""

    NOTE = "NOTE"
    WARN = "WARN"
    STOP = "STOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check saw in the data.

    Parameters
    ----------
    check : str
        Name of the check in the catalogue.
    severity : Severity
        NOTE, WARN or STOP.
    where : str
        Column, part or file; never an identifier or a cell value.
    message : str
        One sentence of what was seen.
    evidence : mapping
        Counts, ranges and statistics behind the sentence; no patient values.
    advice : str
        What to do about it.
    source : str
        Paper or standard that says why it matters.

    Examples
    --------
    >>> Finding(check="duplicates", severity=Severity.WARN, where="table",
    ...         message="3 rows repeat another row.", advice="Drop them.").severity.value
    'WARN'
    """

    check: str
    severity: Severity
    where: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "severity": self.severity.value, "evidence": dict(self.evidence)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Finding:
        """Rebuild a finding from `to_dict`."""
        return cls(**{**record, "severity": Severity(record["severity"])})
