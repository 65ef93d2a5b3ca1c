"""Silver labels of a picture study: read out of its reports, held against gold where both are known, for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import Cohort, Finding, Severity, Split, StudyFileError
from aimed.core.outcome import Multilabel
from aimed.diagnosis.silver_labels import SilverLabels
from aimed.metrics.label_noise import ENOUGH, LabelNoise, label_noise, silver_values
from aimed.study.notes import lexicon_path, texts_of
from aimed.study.pictures import finding_labels, raw_labels
from aimed.study.spec import SilverPart, StudySpec

__all__ = [
    "check_silver",
    "judged_rows",
    "noise_block",
    "noise_of",
    "read_silver",
    "require_silver",
    "silver_column",
    "silver_facts",
    "silver_key",
    "silver_labels",
    "silver_verdicts",
]

_SILENT, _NONE, _REFUSED = -2.0, -3.0, -4.0
"""In the columns of a cohort, beside 1, 0 and -1: not mentioned, no report, a report that was refused."""

_LEAST_ROWS = 20
"""Gold rows of a part below which nothing can be judged."""

_METHODS = {
    "none": "Silver labels were taught as they are.",
    "forward": (
        "The loss of silver labels was corrected for the flip rates (forward correction), so that the network learns "
        "what is in the picture and not what the report says of it; gold labels were taught as they are."
    ),
    "soft": (
        "In place of a silver label the network was taught the chance that the finding is there after what the report "
        "says; gold labels were taught as they are."
    ),
}


def _part(spec: StudySpec) -> SilverPart:
    if spec.silver is None:
        raise TypeError("a study with silver labels is needed")
    return spec.silver


def silver_column(finding: str) -> str:
    """Return the column of a cohort that keeps what reports say of a finding."""
    return f"silver:{finding}"


def _labeller(spec: StudySpec) -> tuple[Any, list[int]]:
    """Return the labeller of a study, and which of its targets each finding is."""
    from aimed.text.labeller import ReportLabeller
    from aimed.text.lexicon_verdicts import target_of_each

    part = _part(spec)
    labeller = ReportLabeller(lexicon_path(spec, part, "[silver]"), part.targets)
    wanted = target_of_each(spec.outcome.findings, labeller.targets, part.names)
    return labeller, [labeller.targets.index(target) for target in wanted]


def require_silver(spec: StudySpec) -> None:
    """Open the lexicon, so that nothing of it stops a run half way.

    Raises
    ------
    RefusedError
        If there is no such file.
    StudyFileError
        If it knows no target for a finding.
    """
    if spec.silver is not None:
        _labeller(spec)


def silver_key(spec: StudySpec) -> Any:
    """Return what fitting depends on beside the data; None for a study without silver labels."""
    if spec.silver is None:
        return None
    from aimed.text.lexicon import load_lexicon

    return spec.silver.model_dump(mode="json"), load_lexicon(lexicon_path(spec, spec.silver, "[silver]")).digest


def read_silver(
    spec: StudySpec,
    frame: pl.DataFrame,
    rows: NDArray[np.int64],
    progress: Callable[[float, str], object] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return what the reports of some rows of a table say of each finding, as columns of a cohort.

    Parameters
    ----------
    spec : StudySpec
    frame : DataFrame
    rows : int array
        Of the cohort, in its order.
    progress : callable, optional

    Raises
    ------
    StudyFileError
        If a column is not there or holds no text, or the lexicon knows no target for a finding.
    """
    labeller, places = _labeller(spec)
    texts = texts_of(frame, _part(spec), "[silver]")
    _words(spec, frame)
    mine = ["" if texts[row] is None else str(texts[row]) for row in rows.tolist()]
    found = labeller.label(mine, progress)
    told = np.where(np.isnan(found.values), _SILENT, found.values)[:, places]
    lost = np.array([_NONE if not text.strip() else _REFUSED for text in mine])
    refused = np.array([bool(code) for code in found.refusals], dtype=bool)
    told[refused] = lost[refused, None]
    return {silver_column(name): told[:, j] for j, name in enumerate(spec.outcome.findings)}


def _words(spec: StudySpec, frame: pl.DataFrame) -> None:
    """Refuse a column of numbers: a table of pictures is read as text, so its type does not tell."""
    part = _part(spec)
    for name in [part.column] if part.column is not None else list(part.sections.values()):
        column = frame[str(name)].cast(pl.String).str.strip_chars().replace("", None).drop_nulls()
        if column.len() and column.cast(pl.Float64, strict=False).null_count() == 0:
            raise StudyFileError(
                f"[silver] names the column '{name}', which holds no text",
                "a column of text",
                "name the column of the reports",
            )


def silver_verdicts(cohort: Cohort) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what reports say, shape (n, k): 1, 0, -1, NaN for not mentioned; and whether there was one to read."""
    code = _codes(cohort)
    return np.where(code >= -1.0, code, np.nan), np.asarray((code > _NONE).all(axis=1))


def _codes(cohort: Cohort) -> NDArray[np.float64]:
    if not isinstance(cohort.outcome, Multilabel):
        raise TypeError("a cohort of findings is needed")
    return np.column_stack([cohort.column(silver_column(name)) for name in cohort.outcome.targets])


def _gold(cohort: Cohort) -> NDArray[np.float64]:
    if not isinstance(cohort.outcome, Multilabel):
        raise TypeError("a cohort of findings is needed")
    return np.asarray(cohort.outcome.values)


def judged_rows(spec: StudySpec, cohort: Cohort, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that may judge a model: of a study with silver labels those whose gold label is known."""
    return rows if spec.silver is None else rows[~np.isnan(_gold(cohort)[rows]).all(axis=1)]


def noise_of(spec: StudySpec, cohort: Cohort, split: Split) -> LabelNoise:
    """Return how wrong silver labels are, on rows of the training part that have a gold label too."""
    part, rows, names = _part(spec), split.parts["train"], spec.outcome.findings
    said, read = silver_verdicts(cohort)
    labels = finding_labels(spec)
    return label_noise(
        _gold(cohort)[rows],
        said[rows],
        names=names,
        labels=[labels[name] for name in names],
        patient=cohort.patient[rows],
        read=read[rows],
        uncertain=part.uncertain,
        not_mentioned=part.not_mentioned,
        level=spec.evaluate.level,
    )


def silver_labels(
    spec: StudySpec, cohort: Cohort, split: Split, rows: NDArray[np.int64], noise: LabelNoise | None = None
) -> SilverLabels | None:
    """Return the silver labels of some rows of the training part; None for a study without them.

    A cell has one where the reference standard is blank; where that says uncertain, it stays unknown.

    Parameters
    ----------
    spec, cohort, split
    rows : int array
    noise : LabelNoise, optional
        As `noise_of` returns it; estimated when absent.
    """
    if spec.silver is None:
        return None
    found = noise_of(spec, cohort, split) if noise is None else noise
    said, read = silver_verdicts(cohort)
    if spec.silver.robust == "soft":
        values = found.soft(said[rows], read[rows])
    else:
        values = silver_values(
            said[rows], read=read[rows], uncertain=spec.silver.uncertain, not_mentioned=spec.silver.not_mentioned
        )
    values = np.where(np.isnan(raw_labels(cohort)[rows]), values, np.nan)
    return SilverLabels(values, found.flips if spec.silver.robust == "forward" else None)


def noise_block(spec: StudySpec, cohort: Cohort, split: Split, learns: NDArray[np.int64]) -> dict[str, Any]:
    """Return the ``label_noise`` block of the results: how wrong silver labels are, how many taught, and how.

    Parameters
    ----------
    spec, cohort, split
    learns : int array
        Rows that the network learned from.
    """
    part, noise = _part(spec), noise_of(spec, cohort, split)
    taught = silver_labels(spec, cohort, split, learns, noise)
    values = np.full((learns.size, len(spec.outcome.findings)), np.nan) if taught is None else taught.values
    gold = _gold(cohort)[learns]
    silver = np.isnan(gold) & ~np.isnan(values)
    findings = []
    for j, one in enumerate(noise.findings):
        record = one.to_record()
        record["taught"] = {
            "gold": int((~np.isnan(gold[:, j])).sum()),
            "silver": int(silver[:, j].sum()),
            "silver_positive": None if part.robust == "soft" else int((values[silver[:, j], j] == 1.0).sum()),
        }
        findings.append(record)
    return {
        "lexicon": part.lexicon,
        "targets": part.targets,
        "uncertain": part.uncertain,
        "not_mentioned": part.not_mentioned,
        "robust": part.robust,
        "method": _METHODS[part.robust],
        "rows": noise.rows,
        "patients": noise.patients,
        "least": ENOUGH,
        "reports": silver_facts(cohort),
        "findings": findings,
    }


def silver_facts(cohort: Cohort) -> dict[str, int]:
    """Return how many rows have a report that was read, none, or one that was refused."""
    code = _codes(cohort)[:, 0]
    return {
        "read": int((code > _NONE).sum()),
        "none": int((code == _NONE).sum()),
        "refused": int((code == _REFUSED).sum()),
    }


def check_silver(spec: StudySpec, cohort: Cohort, split: Split) -> list[Finding]:
    """Say whether gold labels are enough to judge the model and the silver labels by; none without silver labels."""
    if spec.silver is None:
        return []
    out, gold, folds = [], _gold(cohort), split.folds[0]
    for part, rows in (("test", split.parts["test"]), ("tune", folds.tune)):
        out += _enough_gold(spec, gold[rows], cohort.patient[rows], part)
    noise = noise_of(spec, cohort, split)
    facts = silver_facts(cohort)
    labels = finding_labels(spec)
    thin = [labels[one.name] for one in noise.findings if not one.enough]
    lost = [labels[one.name] for one in noise.findings if one.tells is False]
    if np.isnan(noise.flips).any() and spec.silver.robust != "none":
        out.append(
            _say(
                Severity.STOP,
                f"{noise.rows} training rows have a gold label and a report; label noise cannot be estimated.",
                "Label a sample by hand that has each finding and lacks it, or take robust = 'none'.",
                rows=noise.rows,
            )
        )
    elif thin:
        out.append(
            _say(
                Severity.WARN,
                f"The label noise of {', '.join(thin)} rests on fewer than {ENOUGH} gold rows with or without it.",
                "Its flip rates lean on those of the other findings; label more by hand.",
                findings=thin,
                rows=noise.rows,
            )
        )
    if lost:
        out.append(
            _say(
                Severity.WARN,
                f"Reports are not shown to say more than chance about {', '.join(lost)}.",
                "Look at the names and the lexicon; such silver labels teach nothing.",
                findings=lost,
            )
        )
    blank = int(np.isnan(gold[split.parts["train"]]).all(axis=1).sum())
    out.append(
        _say(
            Severity.NOTE,
            f"{facts['read']:,} of {cohort.n:,} pictures have a report that was read; {blank:,} training pictures have "
            "no gold label.",
            "Where gold is blank the report teaches; it never judges.",
            **facts,
            without_gold=blank,
        )
    )
    return out


def _enough_gold(spec: StudySpec, gold: NDArray[np.float64], patient: NDArray[Any], part: str) -> list[Finding]:
    known = ~np.isnan(gold).all(axis=1)
    counts = {
        name: (int((gold[:, j] == 1).sum()), int((gold[:, j] == 0).sum()))
        for j, name in enumerate(spec.outcome.findings)
    }
    facts = {"part": part, "rows": int(known.sum()), "patients": int(np.unique(patient[known]).size)}
    if known.sum() < _LEAST_ROWS or not any(min(both) for both in counts.values()):
        return [
            _say(
                Severity.STOP,
                f"The {part} part has {facts['rows']} rows with a gold label; {_LEAST_ROWS} with both kinds of some "
                "finding are the least.",
                "Label more by hand: silver labels never judge a model.",
                **facts,
            )
        ]
    few = [finding_labels(spec)[name] for name, both in counts.items() if min(both) < ENOUGH]
    if not few:
        return []
    return [
        _say(
            Severity.WARN,
            f"The {part} part has fewer than {ENOUGH} gold rows with or without: {', '.join(few)}.",
            "Read their measures with their intervals; label more by hand.",
            **facts,
            findings=few,
        )
    ]


def _say(severity: Severity, message: str, advice: str, **evidence: Any) -> Finding:
    return Finding(
        check="silver_labels", severity=severity, where="silver", message=message, evidence=evidence, advice=advice
    )
