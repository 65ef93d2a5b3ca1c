"""Which functions carry a study through its stages: whatever is studied, in the same order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aimed.study.spec import StudySpec

__all__ = ["Flow", "flow_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The stages that depend on what is studied.

    Parameters
    ----------
    check, fit, calibrate, evaluate, explain, audit, facts, package : callable
        See the functions of these names in `aimed.study.stages`.
    """

    check: Callable[..., Any]
    fit: Callable[..., Any]
    calibrate: Callable[..., Any]
    evaluate: Callable[..., Any]
    explain: Callable[..., Any]
    audit: Callable[..., Any]
    facts: Callable[..., Any]
    package: Callable[..., Any]


def flow_of(spec: StudySpec) -> Flow:
    """Return the stages of a study; all but those of outcomes in a table are loaded only for them."""
    if spec.volumes is not None:
        from aimed.study import volume_evidence, volume_stages

        return Flow(
            check=volume_stages.check,
            fit=volume_stages.fit,
            calibrate=volume_stages.calibrate,
            evaluate=volume_evidence.evaluate,
            explain=volume_evidence.explain,
            audit=volume_evidence.audit,
            facts=volume_evidence.facts,
            package=volume_stages.package,
        )
    if spec.treatment is not None:
        from aimed.study import effect_evidence, effect_stages

        return Flow(
            check=effect_stages.check,
            fit=effect_stages.fit,
            calibrate=effect_stages.calibrate,
            evaluate=effect_evidence.evaluate,
            explain=effect_evidence.explain,
            audit=effect_evidence.audit,
            facts=effect_evidence.facts,
            package=effect_stages.package,
        )
    if spec.notes is not None:
        from aimed.study import note_evidence, note_stages

        return Flow(
            check=note_stages.check,
            fit=note_stages.fit,
            calibrate=note_stages.calibrate,
            evaluate=note_evidence.evaluate,
            explain=note_evidence.explain,
            audit=note_evidence.audit,
            facts=note_evidence.facts,
            package=note_stages.package,
        )
    if spec.images is None:
        from aimed.study import stages

        return Flow(
            check=stages.check,
            fit=stages.fit,
            calibrate=stages.calibrate,
            evaluate=stages.evaluate,
            explain=stages.explain,
            audit=stages.audit,
            facts=stages.facts,
            package=stages.package,
        )
    from aimed.study import picture_evidence, picture_stages

    return Flow(
        check=picture_stages.check,
        fit=picture_stages.fit,
        calibrate=picture_stages.calibrate,
        evaluate=picture_evidence.evaluate,
        explain=picture_evidence.explain,
        audit=picture_evidence.audit,
        facts=picture_evidence.facts,
        package=picture_stages.package,
    )
