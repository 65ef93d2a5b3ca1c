"""The stages of a study of notes: the same flow, with readers of text compared over folds of the training part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.notes import NoteSchema
from aimed.bundle.pack import pack_notes
from aimed.checks.run import run_checks
from aimed.core import Cohort, Finding, NotEstimableError, Severity, Split
from aimed.metrics.report_labels import f1_thresholds, label_f1
from aimed.metrics.result import Estimate
from aimed.study.findings import calibrate_findings
from aimed.study.leaderboard import board_row, nearly_best
from aimed.study.note_models import RANK, TITLES, build_reader, doubt_as_present, note_models_of
from aimed.study.notes import notes_of
from aimed.study.picture_stages import labels_of, plain
from aimed.study.pictures import finding_labels
from aimed.study.spec import StudySpec
from aimed.study.stages import Progress, each_check, part_of, silent
from aimed.study.store import RunFolder
from aimed.study.tasks import outcome_label
from aimed.text import TEXT_MODELS
from aimed.text.note_findings import NoteFindings
from aimed.trust.card import model_card

__all__ = ["calibrate", "check", "fit", "package"]

_RULE = (
    "of each finding the risk at which F1 is highest on the rows of the training part that each fold held out; name "
    "[evaluate] threshold to choose it yourself"
)
_SAID = (
    "Each finding was calibrated on predictions for notes that the reader had not learned from, over the folds of the "
    "training part."
)


def check(spec: StudySpec, cohort: Cohort, split: Split, progress: Progress = silent) -> list[Finding]:
    """Run every check on the cohort, its notes and its split."""
    found = run_checks(
        cohort,
        split,
        subgroups=spec.subgroups.columns,
        parameters=0,
        allow=spec.predictors.allow,
        progress=each_check(progress),
    )
    grave = [one for one in found if one.severity is not Severity.NOTE]
    return [*grave, *_refused(cohort), *_identifiers(spec, cohort), *_conventions(spec), *found[len(grave) :]]


def _conventions(spec: StudySpec) -> list[Finding]:
    """Say that the lexicon takes some doubt for presence where the reference standard has a code for doubt."""
    kinds = doubt_as_present(spec)
    if not kinds or spec.notes is None or spec.notes.coding != "chexpert":
        return []
    return [
        Finding(
            check="note_convention",
            severity=Severity.NOTE,
            where="notes",
            message=f"The labels '{spec.notes.targets}' of the lexicon count some doubt as present "
            f"({', '.join(kinds)}); the reference standard codes doubt as -1.",
            evidence={"targets": spec.notes.targets, "doubt_as_present": list(kinds), "coding": spec.notes.coding},
            advice="Where the findings bear CheXpert's names, say [notes] targets = 'chexpert'.",
        )
    ]


_LOOKED_AT = 2000
"""Notes in which identifiers are looked for; more would say little more."""


def _identifiers(spec: StudySpec, cohort: Cohort) -> list[Finding]:
    """Say in how many notes something looks like an identifier, graver where the study file says that none has any."""
    from aimed.privacy.rules import find_by_rules

    if spec.notes is None:
        return []
    notes = notes_of(cohort)
    rows = np.arange(len(notes))
    if rows.size > _LOOKED_AT:
        rows = np.sort(np.random.default_rng((spec.study.seed, 29)).choice(rows, _LOOKED_AT, replace=False))
    hit: Counter[str] = Counter()
    held = 0
    for text in notes.take(rows).texts:
        # Dates alone name nobody to those who do not know the patient already, and every report has some.
        kinds = {name for _, _, name, _ in find_by_rules(text)} - {"date"}
        held += bool(kinds)
        hit.update(kinds)
    if not held:
        return []
    named = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in sorted(hit.items()))
    promised = spec.notes.identifiers == "none"
    return [
        Finding(
            check="note_identifiers",
            severity=Severity.WARN if promised else Severity.NOTE,
            where="notes",
            message=f"{held:,} of {rows.size:,} notes hold what looks like an identifier ({named})"
            + (", and the study file says that none does." if promised else "."),
            evidence={"notes": int(rows.size), "with": held, "classes": dict(sorted(hit.items()))},
            advice="De-identify the notes first: aimed deidentify."
            + (" Until then take 'identifiers' and 'note_text' out: the report shows notes." if promised else ""),
        )
    ]


def _refused(cohort: Cohort) -> list[Finding]:
    """Say how many notes could not be used; they are in no cohort, so no check of one sees them."""
    notes = notes_of(cohort)
    lost = sum(notes.refused.values())
    if not lost:
        return []
    named = ", ".join(f"{code} {n}" for code, n in notes.refused.items())
    return [
        Finding(
            check="note_text",
            severity=Severity.WARN,
            where="notes",
            message=f"{lost:,} of {notes.total:,} notes were refused: {named}.",
            evidence={"notes": notes.total, "refused": notes.refused},
            advice="They are in no part; a run names their rows in refused.csv.",
        )
    ]


# ------------------------------------------------------------------------------------------------------------- fitting


@dataclass(frozen=True, slots=True)
class _Tried:
    """One reader over the folds of the training part."""

    name: str
    risk: NDArray[np.float64]
    folds: list[float]
    score: Estimate


def coding_of(spec: StudySpec) -> Any:
    """Return how the reference standard codes its labels."""
    return "certain" if spec.notes is None else spec.notes.coding


def fit_reader(spec: StudySpec, cohort: Cohort, name: str, rows: NDArray[np.int64], tune: Any = None) -> Any:
    """Return a reader fitted on some notes."""
    texts = notes_of(cohort).take(rows).texts
    return build_reader(spec, name).fit(
        list(texts),
        labels_of(cohort)[rows],
        patient=cohort.patient[rows],
        names=list(spec.outcome.findings),
        tune=tune,
        seed=spec.study.seed,
    )


def called(y: NDArray[np.float64], risk: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is called present of some risks, each finding from the risk on at which F1 is highest on other rows.

    Examples
    --------
    >>> called(np.array([[1.0], [0]]), np.array([[0.8], [0.2]]), np.array([[0.6], [0.4]])).ravel().tolist()
    [1.0, 0.0]
    """
    cuts = f1_thresholds(y, risk)
    return np.where(np.isnan(cuts), 0.0, of >= cuts).astype(np.float64)


def _tried(spec: StudySpec, cohort: Cohort, split: Split, name: str, progress: Progress) -> _Tried:
    y, train = labels_of(cohort), np.sort(split.parts["train"])
    risk = np.full(y.shape, np.nan)
    for place, fold in enumerate(split.folds):
        progress(place / len(split.folds), f"{TITLES[name]}: fold {place + 1} of {len(split.folds)}")
        held = np.sort(fold.tune)
        reader = fit_reader(spec, cohort, name, np.sort(fold.fit))
        risk[held] = reader.predict_proba(list(notes_of(cohort).take(held).texts))
    place_of = {int(row): k for k, row in enumerate(train)}
    said = np.zeros((train.size, y.shape[1]))
    folds = []
    for fold in split.folds:
        rows = np.asarray([place_of[int(row)] for row in np.sort(fold.tune)])
        others = np.delete(train, rows)
        # On the rows that chose it a threshold flatters, and most where there are many risks to choose from.
        said[rows] = called(y[others], risk[others], risk[train][rows])
        try:
            folds.append(float(label_f1(y[train][rows], said[rows], gold_coding="certain")))
        except NotEstimableError:
            continue
    score = label_f1(y[train], said, gold_coding="certain", patient=cohort.patient[train], level=spec.evaluate.level)
    return _Tried(name, risk, folds, score)


def fit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    home: RunFolder | None = None,
    key: str = "",
    progress: Progress = silent,
) -> tuple[dict[str, Any], NoteFindings, NDArray[np.float64]]:
    """Compare the readers over the folds of the training part, keep the simplest that is as good as the best, fit it.

    Returns
    -------
    (dict, NoteFindings, array of shape (n, k))
        The ``model`` block so far, the fitted model, and its out-of-fold probabilities (NaN outside the training part).
    """
    candidates, baselines = note_models_of(spec)
    parts = len(candidates) + len(baselines) + 1

    def tried(place: int, name: str) -> _Tried:
        return _tried(spec, cohort, split, name, part_of(progress, place / parts, (place + 1) / parts))

    found = [tried(place, name) for place, name in enumerate(candidates)]
    beside = [tried(len(candidates) + place, name) for place, name in enumerate(baselines)]
    train = np.sort(split.parts["train"])
    chosen, why = _choose(found, cohort.patient[train])
    progress((parts - 1) / parts, f"{TITLES[chosen.name]}: all of the training part")
    reader = fit_reader(spec, cohort, chosen.name, train)
    parameters = plain(spec.model.parameters.get(chosen.name, {}))
    model = NoteFindings(
        chosen.name,
        TITLES[chosen.name],
        reader,
        spec.outcome.findings,
        labels=finding_labels(spec),
        parameters=parameters,
        seed=spec.study.seed,
    )
    board = [_board_row(spec, one, "candidate", one is chosen) for one in found]
    board += [_board_row(spec, one, "baseline", False) for one in beside]
    known = np.asarray(~np.isnan(labels_of(cohort)).all(axis=1))
    payload = {
        "name": chosen.name,
        "title": TITLES[chosen.name],
        "description": TEXT_MODELS.entry(chosen.name).summary,
        "family": "text",
        "parameters": parameters,
        "n_fitted": int(known[train].sum()),
        "leaderboard": board,
        "choice": why,
        "reader": plain(getattr(reader, "facts_", {})),
        "tuning": {"metric": "micro_f1", "direction": "maximize", "trials": len(found), "folds": len(split.folds)},
    }
    return payload, model, chosen.risk


def _choose(tried: Sequence[_Tried], patient: NDArray[Any]) -> tuple[_Tried, str]:
    best = max(tried, key=lambda one: float(one.score))
    found = nearly_best(tried, best, score=lambda one: one.score, rank=lambda one: RANK[one.name], patient=patient)
    if found is None:
        return best, f"{TITLES[best.name]} had the highest micro F1 over the folds of the training part."
    return found.one, (
        f"{TITLES[found.one.name]} was chosen: {TITLES[best.name]} had the higher micro F1 over the folds by "
        f"{found.gap:.4f}, no more than one standard error ({found.error:.4f}), and is less simple."
    )


def _board_row(spec: StudySpec, one: _Tried, kind: str, chosen: bool) -> dict[str, Any]:
    return board_row(
        one.name,
        TITLES[one.name],
        kind,
        "micro_f1",
        mean=float(one.score),
        lower=float(one.score.lower),
        upper=float(one.score.upper),
        folds=one.folds,
        parameters=plain(spec.model.parameters.get(one.name, {})),
        note=one.score.note,
        chosen=chosen,
    )


# --------------------------------------------------------------------------------------------------------- calibration


def calibrate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: NoteFindings,
    out_of_fold: NDArray[np.float64],
    progress: Progress = silent,
) -> tuple[dict[str, Any], NoteFindings]:
    """Choose calibration, threshold and conformal sets of each finding on out-of-fold predictions."""
    train = np.sort(split.parts["train"])

    def best_f1(y: NDArray[np.float64], risk: NDArray[np.float64]) -> float:
        cut = float(f1_thresholds(y[:, None], risk[:, None])[0])
        return float(np.clip(0.5 if np.isnan(cut) else cut, 1e-6, 1 - 1e-6))

    return calibrate_findings(
        spec,
        model,
        out_of_fold[train],
        labels_of(cohort)[train],
        cohort.patient[train],
        threshold=best_f1,
        rule=_RULE,
        said=_SAID,
        progress=progress,
    )


# ----------------------------------------------------------------------------------------------------------- packaging


def package(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: NoteFindings,
    schema: NoteSchema,
    calibrated: Mapping[str, Any],
    results: Mapping[str, Any],
    home: RunFolder,
) -> None:
    """Write the bundle."""
    pack_notes(
        model,
        home.file("bundle"),
        meta={
            "study": {"id": spec.study.id, "title": spec.study.title},
            "intended_use": spec.study.intended_use,
            "intended_users": list(spec.study.intended_users),
            "not_for": list(spec.study.not_for),
            "outcome": {"label": outcome_label(spec), "unit": None},
            "created": results["created"],
            "description": results["model"]["description"],
        },
        expects=schema,
        extra_members={"README.md": model_card(dict(results))},
    )
