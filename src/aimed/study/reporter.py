"""What hears how a run goes: the stages that begin and end, how far the running one is, and what the checks saw."""

from __future__ import annotations

from aimed.core import Finding

__all__ = ["Reporter"]


class Reporter:
    """Hears how a run goes; this one says nothing."""

    def started(self, stage: str) -> None:
        """Hear that a stage begins."""

    def advanced(self, share: float, text: str = "") -> None:
        """Hear how much of the running stage is done, in [0, 1]."""

    def finished(self, stage: str, seconds: float, resumed: bool) -> None:
        """Hear that a stage is done; `resumed` when it was found finished."""

    def found(self, findings: list[Finding]) -> None:
        """Hear what the checks saw."""

    def close(self) -> None:
        """Clear what is on the screen, after an error too."""
