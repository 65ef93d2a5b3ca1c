"""The tasks a study may have: defaults, outcome columns and measures of each, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aimed.core import Binary, Cohort, CompetingRisks, DataError, StudyFileError, Survival, UnknownNameError
from aimed.metrics.evaluate_effects import MEASURES as EFFECT_MEASURES
from aimed.metrics.evaluate_masks import known_masks
from aimed.metrics.evaluate_multilabel import finding_key, known_multilabel
from aimed.metrics.prepared_binary import MEASURES
from aimed.metrics.prepared_survival import AT_HORIZON, OVERALL, OVERALL_COMPETING, at
from aimed.metrics.report_labels import known_report_labels
from aimed.readers.columns import Band, Declared
from aimed.readers.outcome import OutcomeColumns
from aimed.readers.table import read_table
from aimed.study.arms import assigned
from aimed.study.spec import StudySpec

__all__ = ["TASKS", "Task", "known_measures", "read_cohort", "targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is particular to one task."""

    name: str
    title: str
    kind: Literal["binary", "survival", "competing", "multilabel", "masks", "effect"]
    candidates: tuple[str, ...]
    baselines: tuple[str, ...]
    primary: str
    tuning_metric: str
    design: str
    prediction: str


OF_TRIAL = ("max_smd", "policy_gain")
"""Measures of an effect study beside its contrasts and those of `aimed.metrics.evaluate_effects`."""

_TABLE_MODELS = ("logistic", "decision_tree", "random_forest", "gradient_boosting")

TASKS: Mapping[str, Task] = {
    "risk": Task(
        name="risk",
        title="Risk of an event by a fixed time",
        kind="binary",
        candidates=_TABLE_MODELS,
        baselines=("prevalence",),
        primary="auroc",
        tuning_metric="log_loss",
        design="prognostic",
        prediction="risk",
    ),
    "classify": Task(
        name="classify",
        title="Presence of a condition now, from a table",
        kind="binary",
        candidates=_TABLE_MODELS,
        baselines=("prevalence",),
        primary="auroc",
        tuning_metric="log_loss",
        design="diagnostic",
        prediction="probability",
    ),
    "survival": Task(
        name="survival",
        title="Time to an event with censoring",
        kind="survival",
        candidates=("cox",),
        baselines=("kaplan_meier",),
        primary="uno_c",
        tuning_metric="ibs",
        design="prognostic",
        prediction="risk",
    ),
    "survival, competing": Task(
        name="survival, competing",
        title="Time to an event that other events can prevent: survival with [outcome] competing",
        kind="competing",
        candidates=("cause_specific_cox",),
        baselines=("aalen_johansen",),
        primary="cause_specific_c",
        tuning_metric="ibs",
        design="prognostic",
        prediction="risk",
    ),
    "classify, findings": Task(
        name="classify, findings",
        title="Findings in pictures: classify with [images] and [outcome] findings",
        kind="multilabel",
        candidates=("small_cnn",),
        baselines=("prevalence", "acquisition"),
        primary="macro_auroc",
        tuning_metric="macro_auroc",
        design="diagnostic",
        prediction="probability",
    ),
    "segment": Task(
        name="segment",
        title="Regions outlined in scans: segment with [volumes] and [outcome] regions",
        kind="masks",
        candidates=("small_unet3d",),
        baselines=("threshold", "voxels"),
        primary="mean_dice",
        tuning_metric="mean_dice",
        design="diagnostic",
        prediction="outline",
    ),
    "report_labels": Task(
        name="report_labels",
        title="Findings that reports state: report_labels with [notes] and [outcome] findings",
        kind="multilabel",
        candidates=("lexicon", "words", "combined"),
        baselines=("prevalence", "keywords"),
        primary="micro_f1",
        tuning_metric="micro_f1",
        design="diagnostic",
        prediction="probability",
    ),
    "effect": Task(
        name="effect",
        title="Effect of a treatment, on average and for single patients: effect with [treatment]",
        kind="effect",
        candidates=("risk_based", "effect_model", "causal_forest"),
        baselines=("zero_effect", "constant_effect"),
        primary="risk_difference",
        tuning_metric="dr_loss",
        design="causal",
        prediction="effect",
    ),
}


def task_of(spec: StudySpec) -> Task:
    """Return the task of a study."""
    if spec.outcome.findings and spec.notes is None:
        return TASKS["classify, findings"]
    competing = spec.outcome.competing and spec.study.task == "survival"
    return TASKS["survival, competing" if competing else spec.study.task]


def table_kind(spec: StudySpec) -> Literal["binary", "survival", "competing"]:
    """Return the kind of outcome of a study of a table."""
    kind = task_of(spec).kind
    if kind == "multilabel" or kind == "masks" or kind == "effect":
        raise TypeError("a study of outcomes in a table is needed")
    return kind


def known_measures(spec: StudySpec) -> list[str]:
    """Return the names of the measures a study produces, horizons included."""
    if task_of(spec).kind == "binary":
        return list(MEASURES)
    if task_of(spec).kind == "multilabel":
        keys = [finding_key(name) for name in spec.outcome.findings]
        said = known_report_labels(keys, spec.notes.coding) if spec.notes is not None else []
        return list(dict.fromkeys([*known_multilabel(keys), *said]))
    if task_of(spec).kind == "masks":
        return known_masks([finding_key(name) for name in spec.outcome.regions])
    if task_of(spec).kind == "effect":
        return [*spec.contrasts(), *EFFECT_MEASURES, *OF_TRIAL]
    overall = OVERALL_COMPETING if task_of(spec).kind == "competing" else OVERALL
    return [*overall, *(at(name, horizon) for horizon in spec.outcome.at() for name in AT_HORIZON)]


def primary_of(spec: StudySpec) -> str:
    """Return the primary measure, checked against what the study produces."""
    name = spec.evaluate.primary or (spec.contrasts()[0] if spec.treatment is not None else task_of(spec).primary)
    if name not in known_measures(spec):
        raise UnknownNameError("measure", name, known_measures(spec))
    return name


def outcome_label(spec: StudySpec) -> str:
    """Return the outcome in words."""
    several = spec.outcome.findings or tuple(spec.outcome.regions)
    if several:
        few = ", ".join(several) if len(several) <= 3 else ""
        what = "findings" if spec.outcome.findings else "regions"
        return spec.outcome.label or few or f"{len(several)} {what}"
    return spec.outcome.label or spec.outcome.column or spec.outcome.event or "outcome"


def bands_of(spec: StudySpec) -> dict[str, Band]:
    """Return the bands that subgroups are cut into."""
    return {name: Band(source=d.source, cuts=d.cuts, labels=d.labels) for name, d in spec.subgroups.derive.items()}


def declared_of(spec: StudySpec) -> dict[str, Declared]:
    """Return what the study file says of its columns."""
    return {
        name: Declared(
            kind=v.kind,
            label=v.label,
            unit=v.unit,
            plausible=v.range,
            categories=v.categories,
            missing_codes=v.missing_codes,
            code=v.code,
        )
        for name, v in spec.variables.items()
    }


def checklists_of(spec: StudySpec) -> tuple[str, ...]:
    """Return the reporting guidelines of a study: those it names, else TRIPOD+AI, CLAIM with it, or those of trials."""
    imaging = spec.images is not None or spec.volumes is not None
    if "checklists" in spec.report.model_fields_set or not (imaging or spec.treatment):
        return spec.report.checklists
    if spec.treatment is not None:
        return ("consort-2025", "ich-e9-r1")
    return (*spec.report.checklists, "claim")


def read_cohort(spec: StudySpec, data: Any = None) -> Cohort:
    """Read the rows of a study.

    Parameters
    ----------
    spec : StudySpec
    data : frame, optional
        Takes the place of ``[data] source``.
    """
    out, head = spec.outcome, spec.data
    source = data if data is not None else head.source
    if isinstance(source, str) and not source.startswith("builtin:"):
        source = spec.folder / source
    horizons = out.at()
    split_column = [spec.split.test.column] if spec.split.test.column else []
    include, apart = spec.predictors.include, list[str]()
    if spec.treatment is not None:
        include, apart = _of_effects(spec)
    cohort = read_table(
        source,
        patient=head.patient,
        unit=head.unit,
        site=head.site,
        time=head.time,
        include=head.include,
        predictors=include,
        exclude=[*spec.predictors.exclude, *split_column, *apart],
        descriptors=[*spec.subgroups.columns, *split_column],
        bands=bands_of(spec),
        declared=declared_of(spec),
        outcome=OutcomeColumns(
            column=out.column,
            positive=out.positive,
            continuous=out.kind == "continuous",
            measured_in=out.measured_in,
            time=out.time,
            event=out.event,
            event_value=out.event_value,
            competing=out.competing,
            horizon=horizons[0] if task_of(spec).kind == "binary" and horizons and out.column is None else None,
            unit=out.unit,
            label=outcome_label(spec),
        ),
        encoding=head.encoding,
        separator=head.separator,
    )
    if spec.treatment is not None:
        cohort = assigned(spec.treatment, cohort, head.site)
    if not cohort.predictors:
        raise DataError(
            "no column is left as a predictor",
            "at least one number or category",
            "correct [predictors] include and exclude; dates and free text are not predictors",
        )
    check_subgroups(spec, cohort)
    return cohort


def _of_effects(spec: StudySpec) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the columns that outcomes and effects may depend on, and those that are read for another end."""
    said, treatment = spec.predictors, spec.treatment
    if treatment is None:
        raise TypeError("a study of effects is needed")
    include = said.include
    if said.adjust is not None or said.modifiers is not None:
        include = tuple(dict.fromkeys((*(said.adjust or ()), *(said.modifiers or ()))))
    others = [treatment.column, *treatment.strata, *spec.sensitivity.negative_outcomes]
    dates = [treatment.started, spec.outcome.known, *(v.measured for v in spec.variables.values())]
    others += [name for name in dates if name is not None]
    return include, [name for name in dict.fromkeys(others) if name not in (include or ())]


def check_subgroups(spec: StudySpec, cohort: Cohort) -> None:
    """Refuse groups that would be single values: they say nothing and would show patients."""
    with_role = {spec.data.patient, spec.data.unit, spec.data.site, spec.data.time, spec.outcome.column}
    with_role |= set(spec.outcome.findings)
    if spec.treatment is not None:
        with_role |= {spec.treatment.column, *spec.sensitivity.negative_outcomes}
    if spec.images is not None:
        with_role |= {spec.images.column, spec.images.study}
    if spec.notes is not None:
        with_role |= {spec.notes.column, *spec.notes.sections.values()}
    if spec.volumes is not None:
        with_role |= {spec.volumes.column, spec.volumes.mask, *spec.volumes.columns.values()}
    for name in spec.subgroups.columns:
        if name in with_role:
            raise StudyFileError(
                f"[subgroups] columns names '{name}', which has a role of its own in the study",
                "a descriptor of patients",
                "add a copy of the column under another name to the table",
            )
        v, column = cohort.variable(name), cohort.column(name)
        coded = v.kind == "number" and np.isin(column[~np.isnan(column)], (0.0, 1.0)).all()
        if v.kind != "category" and not coded:
            raise StudyFileError(
                f"[subgroups] columns names '{name}', a {v.kind} column",
                "a category, a 0/1 column or a band",
                f"say [variables.{name}] kind = 'category', or cut it into bands with derive"
                if v.kind == "number"
                else "remove it",
            )


def targets(cohort: Cohort) -> NDArray[Any]:
    """Return the outcome as estimators take it: int8 or scikit-survival's structured array."""
    if isinstance(cohort.outcome, Survival | CompetingRisks):
        return cohort.outcome.structured()
    if isinstance(cohort.outcome, Binary):
        return np.asarray(cohort.outcome.values)
    raise TypeError(f"a study cannot use an outcome of type {type(cohort.outcome).__name__}")
