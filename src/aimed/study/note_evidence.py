"""What a study of notes finds out on its test part: measures, assertions, classes of error, doubt and subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.notes import NOTE_CODES, NoteSchema
from aimed.core import Cohort, Split
from aimed.metrics.evaluate_multilabel import (
    evaluate_multilabel,
    finding_key,
    known_multilabel,
    measures_multilabel,
)
from aimed.metrics.report_labels import (
    ASSERTIONS,
    evaluate_report_labels,
    f1_thresholds,
    known_report_labels,
    measures_report_labels,
)
from aimed.study.groups import asked_of_groups, audit_by_group
from aimed.study.note_models import TITLES, build_reader, doubt_as_present, lexicon_of, note_models_of
from aimed.study.note_stages import coding_of, fit_reader
from aimed.study.notes import note_facts, notes_of
from aimed.study.picture_stages import labels_of
from aimed.study.pictures import finding_labels, raw_labels
from aimed.study.simple_model import beside_simple
from aimed.study.spec import StudySpec
from aimed.study.stages import Facts, Progress, part_of, row_ids, silent
from aimed.study.tasks import primary_of
from aimed.text.note_findings import NoteFindings
from aimed.trust.case_uncertainty import case_uncertainty
from aimed.trust.note_robustness import robustness

__all__ = ["audit", "evaluate", "explain", "facts"]

_MANY = 6
"""Up to so many findings, subgroups show the sensitivity of each."""
_CASES = 10
"""Missed findings and false alarms that the error browser shows of each finding."""
_WORDS = 8
"""Words that are shown of each finding."""
_COMMON = 10
"""Words are shown that so many patients' notes have: rarer ones may be names."""


def verdicts_of(spec: StudySpec, model: NoteFindings, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return what the lexicon of the study says of each finding: 1, 0, -1 and NaN where it is not mentioned."""
    return np.asarray(_lexicon(spec, model).verdicts(list(texts)), dtype=np.float64)


def _lexicon(spec: StudySpec, model: NoteFindings) -> Any:
    """Return a reader with the lexicon of the study; it needs no fitting to say what stands in a note."""
    reader = build_reader(spec, "lexicon", {})
    reader.findings_ = list(model.findings)
    return reader


def said_of(decided: NDArray[np.float64], verdict: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is said of each finding, in CheXpert's coding.

    Notes
    -----
    The model decides what is present. Whether a finding that it does not call present is denied, left open or not
    mentioned is read from the lexicon; where the lexicon alone calls it present, it is left open.

    Examples
    --------
    >>> nan = np.nan
    >>> said_of(np.array([[1.0, 0, 0, 0]]), np.array([[nan, 0, nan, 1]])).tolist()
    [[1.0, 0.0, nan, -1.0]]
    """
    return np.where(decided == 1.0, 1.0, np.where(verdict == 1.0, -1.0, verdict))


def evaluate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: NoteFindings,
    fitted: Mapping[str, Any],
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Measure the model on the test part beside its baselines and the lexicon, and damage notes to see what is lost.

    Returns
    -------
    (dict, dict of str to array)
        The blocks ``performance``, ``report_labels``, ``robustness``, ``conformal`` and ``case_uncertainty``, and the
        predictions as columns.
    """
    train, test = np.sort(split.parts["train"]), split.parts["test"]
    y, raw = labels_of(cohort), raw_labels(cohort)
    texts = list(notes_of(cohort).take(test).texts)
    names, labels = list(spec.outcome.findings), finding_labels(spec)
    titles = [labels[name] for name in names]
    patient, level, seed = cohort.patient[test], spec.evaluate.level, spec.study.seed
    risk = model.risk(texts)
    verdict = verdicts_of(spec, model, texts)
    progress(0.1, "notes are read")
    beside, called = {}, {}
    for name in note_models_of(spec)[1]:
        reader = fit_reader(spec, cohort, name, train)
        # Baselines learned little enough from the training part for their thresholds to be chosen on it.
        cuts = f1_thresholds(y[train], reader.predict_proba(list(notes_of(cohort).take(train).texts)))
        beside[name] = np.asarray(reader.predict_proba(texts))
        called[name] = np.where(np.isnan(cuts), 0.0, beside[name] >= cuts).astype(np.float64)
    performance = evaluate_multilabel(
        y[test],
        risk,
        names=names,
        labels=titles,
        patient=patient,
        baselines=beside,
        thresholds=spec.evaluate.thresholds or (0.05, 0.1, 0.2, 0.3, 0.5),
        chosen=model.thresholds.tolist(),
        draws=spec.evaluate.draws,
        level=level,
        seed=seed,
        progress=lambda share: progress(0.1 + 0.4 * share, "bootstrap"),
    )
    decided = np.nan_to_num(model.decided(risk))
    alone = {"lexicon": verdict} if fitted["name"] != "lexicon" else {}
    labelled = evaluate_report_labels(
        raw[test],
        said_of(decided, verdict),
        names=names,
        labels=titles,
        gold_coding=coding_of(spec),
        patient=patient,
        baselines={**called, **alone},
        draws=spec.evaluate.draws,
        level=level,
        seed=seed,
        progress=lambda share: progress(0.5 + 0.2 * share, "bootstrap of labels"),
    )
    _join(performance, labelled)
    agreement = evaluate_report_labels(
        np.where(verdict == 1.0, 1.0, 0.0), decided, names=names, labels=titles, gold_coding="certain", patient=patient,
        draws=spec.evaluate.draws, level=level, seed=seed,
    )  # fmt: skip
    damaged = robustness(
        model.risk,
        texts,
        raw[test],
        said=lambda found: np.nan_to_num(model.decided(found)),
        names=names,
        gold_coding=coding_of(spec),
        patient=patient,
        level=level,
        seed=seed,
        progress=part_of(progress, 0.7, 1.0),
    )
    table: dict[str, NDArray[Any]] = {"id": row_ids(cohort, test), "patient": patient.astype(str)}
    for j, name in enumerate(names):
        key = finding_key(name)
        table |= {f"risk@{key}": risk[:, j], f"said@{key}": verdict[:, j], f"outcome@{key}": y[test][:, j]}
    return {
        "performance": performance,
        "report_labels": {
            "gold_coding": labelled["gold_coding"],
            "assertions": labelled["assertions"],
            "gold_assertions": labelled["gold_assertions"],
            "confusion": labelled["confusion"],
            "targets": labelled["targets"],
            "not_estimable": labelled["not_estimable"],
            "conventions": labelled["conventions"],
            "baselines": labelled["baselines"],
            "titles": {**TITLES},
            "agreement": {
                "with": TITLES["lexicon"],
                "same_model": fitted["name"] == "lexicon",
                "kappa": agreement["measures"]["micro_kappa"],
                "by_finding": {key: agreement["measures"][f"kappa@{key}"] for key in model.keys},
            },
            "errors": error_classes(y[test], decided, verdict, model.keys),
            "unseen": _unseen(spec, cohort, train, test, raw[test], decided, patient),
        },
        "robustness": damaged,
        "conformal": _sets(model, risk, y[test], patient, level),
        "case_uncertainty": case_uncertainty(
            risk, y[test], model.thresholds, spread=None, patient=patient, names=names, level=level, of="note"
        ),
        "failures": None,
        "stability": None,
    }, table


_OF_FOLDS = (
    " Here the limits come from predictions over the folds of the training part, each by a reader that learned a part "
    "less than the final one: the promise is then close, not exact, and the coverage measured here is the judge."
)


def _sets(
    model: NoteFindings, risk: NDArray[np.float64], y: NDArray[np.float64], patient: NDArray[Any], level: float
) -> dict[str, Any] | None:
    """Return how often conformal sets hold the truth; they were made over folds, and the block says what that costs."""
    if model.conformal is None:
        return None
    found = model.conformal.evaluate(risk, y, patient, level=level, of="note")
    return {**found, "assumption": found["assumption"] + _OF_FOLDS}


def _join(performance: dict[str, Any], labelled: Mapping[str, Any]) -> None:
    """Add the measures of labels to those of risks, for the model, its baselines and the differences between them."""
    for name, record in labelled["measures"].items():
        performance["measures"].setdefault(name, record)
    for part in ("baselines", "differences"):
        for baseline, records in labelled[part].items():
            mine = performance[part].setdefault(baseline, {})
            for name, record in records.items():
                mine.setdefault(name, record)
    for name, record in labelled["measures"].items():
        mine = performance["measures"][name]
        if mine["value"] is not None and mine["value"] == record["value"]:
            # Both make it from the same decisions; limits of labels hold near 1 too.
            performance["measures"][name] = record


def _unseen(
    spec: StudySpec,
    cohort: Cohort,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    gold: NDArray[np.float64],
    said: NDArray[np.float64],
    patient: NDArray[Any],
) -> dict[str, Any]:
    """Return micro F1 on the test notes whose wording no training note has: reports repeat themselves."""
    notes = notes_of(cohort)
    known = {" ".join(text.lower().split()) for text in notes.take(train).texts}
    new = np.asarray([" ".join(text.lower().split()) not in known for text in notes.take(test).texts])
    found = measures_report_labels(
        gold[new],
        said[new],
        names=["micro_f1"],
        findings=[finding_key(name) for name in spec.outcome.findings],
        gold_coding=coding_of(spec),
        patient=patient[new],
        draws=spec.evaluate.draws,
        level=spec.evaluate.level,
        seed=spec.study.seed,
    )
    return {"n": int(new.sum()), "of": int(test.size), "micro_f1": found["micro_f1"]}


def error_classes(
    y: NDArray[np.float64], decided: NDArray[np.float64], verdict: NDArray[np.float64], keys: Sequence[str]
) -> dict[str, Any]:
    """Return how many findings were missed or called wrongly, by what the lexicon reads in the note.

    Returns
    -------
    dict
        ``missed`` and ``false_alarms``, each {finding key: {assertion: count}}, with ``all`` for all findings together.

    Examples
    --------
    >>> found = error_classes(np.array([[1.0], [0]]), np.array([[0.0], [1]]), np.array([[-1.0], [1]]), ["mass"])
    >>> found["missed"]["all"]["uncertain"], found["false_alarms"]["mass"]["positive"]
    (1, 1)
    """
    code = np.select([verdict == 1.0, verdict == 0.0, verdict == -1.0], [0, 1, 2], 3)
    found: dict[str, Any] = {}
    for name, wrong in (("missed", (y == 1) & (decided == 0)), ("false_alarms", (y == 0) & (decided == 1))):
        each = {
            key: dict(zip(ASSERTIONS, np.bincount(code[wrong[:, j], j], minlength=4).tolist(), strict=True))
            for j, key in enumerate(keys)
        }
        whole = np.bincount(code[wrong], minlength=4).tolist()
        found[name] = {"all": dict(zip(ASSERTIONS, whole, strict=True)), **each}
    return found


def explain(
    spec: StudySpec, cohort: Cohort, split: Split, model: NoteFindings, progress: Progress = silent
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Say which words speak for a finding, and put the errors of the test part side by side.

    Returns
    -------
    (dict, dict of str to array)
        The ``explanation`` block with its ``error_browser``, and which row of the data each case of it is.
    """
    test = split.parts["test"]
    texts = list(notes_of(cohort).take(test).texts)
    risk = model.risk(texts)
    progress(0.5, "words")
    cases, rows = _browser(spec, cohort, test, model, texts, risk)
    return {
        "words": _words(spec, cohort, split, model),
        "importance": None,
        "shap": None,
        "effects": None,
        "error_browser": cases,
    }, rows


def _words(spec: StudySpec, cohort: Cohort, split: Split, model: NoteFindings) -> dict[str, Any] | None:
    """Return the words that weigh most for and against each finding, of those that many patients' notes have."""
    weights = getattr(model.reader, "word_weights", None)
    if weights is None or spec.notes is None:
        return None
    if spec.notes.identifiers != "none":
        return {"shown": False, "findings": {}, "note": "Words are not shown: notes may hold names."}
    train = np.sort(split.parts["train"])
    said = notes_of(cohort).take(train).texts
    found = weights(list(said), patient=cohort.patient[train], least=_COMMON, top=_WORDS)
    return {
        "shown": True,
        "findings": {finding_key(name): found[name] for name in model.findings if name in found},
        "note": f"Weights of the regression; words in the notes of at least {_COMMON} patients.",
    }


def _browser(
    spec: StudySpec,
    cohort: Cohort,
    test: NDArray[np.int64],
    model: NoteFindings,
    texts: Sequence[str],
    risk: NDArray[np.float64],
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the worst errors of each finding; with the note and its marked places only where nobody is named."""
    y, ids, labels = labels_of(cohort)[test], row_ids(cohort, test), finding_labels(spec)
    decided = np.nan_to_num(model.decided(risk))
    show = spec.report.note_text
    chosen: list[tuple[int, int, str]] = []
    for j in range(len(model.findings)):
        for group, wrong, order in (
            ("missed", (y[:, j] == 1) & (decided[:, j] == 0), risk[:, j]),
            ("false_alarm", (y[:, j] == 0) & (decided[:, j] == 1), -risk[:, j]),
        ):
            rows = np.flatnonzero(wrong)
            rows = rows[np.argsort(order[rows], kind="stable")][:_CASES]
            chosen += [(int(row), j, group) for row in rows]
    number = {row: k + 1 for k, row in enumerate(sorted({row for row, _, _ in chosen}))}
    reader = _lexicon(spec, model)
    shown = sorted(number)
    mentions = dict(zip(shown, reader.evidence([texts[row] for row in shown]), strict=True)) if shown else {}
    verdict = reader.verdicts([texts[row] for row in shown]) if shown else np.empty((0, len(model.findings)))
    place = {row: k for k, row in enumerate(shown)}
    words = {1.0: "positive", 0.0: "negative", -1.0: "uncertain"}
    findings: dict[str, Any] = {
        key: {"label": labels[name], "missed": [], "false_alarm": []}
        for key, name in zip(model.keys, model.findings, strict=True)
    }
    for row, j, group in chosen:
        case: dict[str, Any] = {
            "case": number[row],
            "risk": float(risk[row, j]),
            "threshold": float(model.thresholds[j]),
            "lexicon": words.get(float(verdict[place[row], j]), "not_mentioned"),
        }
        if spec.report.case_ids:
            case["id"] = str(ids[row])
        if show:
            case["spans"] = [m for m in mentions[row] if m["finding"] == model.findings[j]]
        findings[model.keys[j]][group].append(case)
    block = {
        "text": show,
        "ids": spec.report.case_ids,
        "per": _CASES,
        "lexicon": {"name": reader.lexicon_name, "version": reader.lexicon_version},
        "findings": findings,
        "notes": {str(number[row]): texts[row] for row in shown} if show else {},
    }
    if not chosen:
        return block, {}
    return block, {
        "finding": np.asarray([model.findings[j] for _, j, _ in chosen]),
        "group": np.asarray([group for _, _, group in chosen]),
        "case": np.asarray([number[row] for row, _, _ in chosen]),
        "id": np.asarray([str(ids[row]) for row, _, _ in chosen]),
    }


def audit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: NoteFindings,
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Repeat the measures in each declared group of the test part: what is found, and how often findings are missed."""
    if not spec.subgroups.columns:
        return None
    test = split.parts["test"]
    y, raw, patient = labels_of(cohort)[test], raw_labels(cohort)[test], cohort.patient[test]
    texts = list(notes_of(cohort).take(test).texts)
    risk = model.risk(texts)
    decided = np.nan_to_num(model.decided(risk))
    said = said_of(decided, verdicts_of(spec, model, texts))
    keys, primary = model.keys, primary_of(spec)
    names = [primary, "micro_f1", "micro_precision", "micro_recall", "macro_auroc"]
    if len(keys) <= _MANY:
        names += [f"f1@{key}" for key in keys]
    names = list(dict.fromkeys([*names, *asked_of_groups(spec)]))
    others = set(known_multilabel(keys))
    of_labels = [n for n in known_report_labels(keys, coding_of(spec)) if n in names and (n not in others or "f1" in n)]
    draws, level, seed = min(spec.evaluate.draws, 300), spec.evaluate.level, spec.study.seed

    def measures(rows: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
        found = measures_report_labels(
            raw[rows], said[rows], names=of_labels, findings=keys, gold_coding=coding_of(spec), patient=patient[rows],
            draws=draws, level=level, seed=seed,
        )  # fmt: skip
        of_risks = measures_multilabel(
            y[rows],
            risk[rows],
            names=[n for n in names if n not in of_labels],
            findings=keys,
            chosen=model.thresholds.tolist(),
            patient=patient[rows],
            draws=draws,
            level=level,
            seed=seed,
        )
        return {name: {**found, **of_risks}[name] for name in names}

    return audit_by_group(spec, cohort, test, measures, names, min_nonevents=0, progress=progress)


def facts(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: NoteFindings,
    fitted: Mapping[str, Any],
    performance: Mapping[str, Any],
) -> Facts:
    """Return what the record says of the model beside what fitting returned, and what its package takes."""
    if spec.notes is None:
        raise TypeError("a study of notes is needed")
    train = split.parts["train"]
    notes = notes_of(cohort).take(train)
    length = np.asarray([len(text) for text in notes.texts])
    share = {flag: sum(flag in one for one in notes.flags) / len(notes) for one in notes.flags for flag in one}
    schema = NoteSchema(
        column=spec.notes.column,
        sections=tuple(spec.notes.sections.items()),
        # Rounded, so that no single note is told by it.
        longest=int(np.ceil(np.quantile(length, 0.99) / 100) * 100),
        flags=tuple(sorted(flag for flag, part in share.items() if part >= 0.05)),
    )
    baselines = note_models_of(spec)[1]
    simple = "keywords" if "keywords" in baselines else baselines[0]
    reader = _lexicon(spec, model)
    return Facts(
        model={},
        simple=beside_simple(
            fitted, performance, primary_of(spec), name=simple, title=TITLES[simple].lower(), others=True
        ),
        inputs={
            "inputs": [
                {
                    "name": spec.notes.column or " + ".join(spec.notes.sections.values()),
                    "label": "Note (text)",
                    "unit": None,
                    "kind": "text",
                    "range": None,
                    "training_range": None,
                    "categories": None,
                    "required": True,
                }
            ],
            "refusals": [{"code": code, "reason": reason} for code, reason in NOTE_CODES.items()],
        },
        schema=schema,
        data={
            "notes": {
                **note_facts(cohort),
                "coding": spec.notes.coding,
                "identifiers": spec.notes.identifiers,
                "lexicon": {
                    "name": reader.lexicon_name,
                    "version": reader.lexicon_version,
                    "digest": reader.lexicon_digest,
                    "targets": spec.notes.targets,
                    "doubt_as_present": list(doubt_as_present(spec)),
                    "shipped": lexicon_of(spec) == spec.notes.lexicon,
                },
            }
        },
    )
