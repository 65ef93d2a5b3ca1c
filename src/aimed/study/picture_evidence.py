"""What a picture study finds out on its test part: measures, shortcuts, damage, doubt, heat maps and subgroups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.picture_schema import PICTURE_CODES, describe_pictures
from aimed.checks.shortcut_block import shortcut_block, within_strata
from aimed.core import Cohort, NotEstimableError, Split
from aimed.diagnosis.acquisition import held_out_shortcuts
from aimed.diagnosis.findings_model import FindingsModel
from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.picture_descriptors import picture_descriptors
from aimed.explain.gallery import gallery, thumbnails, without_ids
from aimed.explain.pictures import explain_pictures, heat_maps
from aimed.fit.diagnose_fit import diagnose_fit, mismatch_test
from aimed.metrics.evaluate_multilabel import evaluate_multilabel, finding_key, measures_multilabel
from aimed.metrics.multilabel import multilabel_auroc
from aimed.metrics.result import Estimate
from aimed.study.groups import asked_of_groups, audit_by_group
from aimed.study.picture_models import BASELINES, picture_recipes_of
from aimed.study.picture_stages import acquisition_sources, baseline_risk, labels_of, test_rows, tune_part
from aimed.study.pictures import finding_labels, images_of, picture_facts, regions_of, views_of
from aimed.study.silver import judged_rows, noise_block
from aimed.study.simple_model import beside_simple
from aimed.study.spec import StudySpec
from aimed.study.stages import Facts, Progress, row_ids, silent
from aimed.study.tasks import primary_of
from aimed.trust.case_uncertainty import case_uncertainty
from aimed.trust.picture_robustness import robustness

__all__ = ["audit", "evaluate", "explain", "facts"]

ROBUST_ROWS = 400
"""Test pictures that are damaged on purpose; more would say little more and take long."""
_MANY = 6
"""Up to so many findings, subgroups show the sensitivity of each."""


def evaluate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: FindingsModel,
    fitted: Mapping[str, Any],
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Measure the model on the test part beside its baselines, and put what could fool it to the test.

    Returns
    -------
    (dict, dict of str to array)
        The blocks ``performance``, ``shortcuts``, ``robustness``, ``conformal``, ``case_uncertainty`` and what is told
        of the fit, and the predictions as columns.
    """
    test = test_rows(spec, cohort, split)
    learns = tune_part(split)[0]
    images, y = images_of(cohort), labels_of(cohort)
    names, labels = list(spec.outcome.findings), finding_labels(spec)
    titles = [labels[name] for name in names]
    patient, level, seed = cohort.patient[test], spec.evaluate.level, spec.study.seed
    risk, spread = model.uncertain(images.take(test), lambda share, text: progress(0.2 * share, text))
    sources = acquisition_sources(spec, cohort)
    baselines = picture_recipes_of(spec)[1]
    beside = {name: baseline_risk(spec, cohort, sources, name, learns, test) for name in baselines}
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
        progress=lambda share: progress(0.2 + 0.3 * share, "bootstrap"),
    )
    told = held_out_shortcuts(sources, y, names, learns, test, cohort.patient, level=level)
    within = within_strata(y[test], risk, views_of(cohort)[test], names, patient=patient, level=level)
    measures = performance["measures"]
    shortcuts = shortcut_block(
        told, within, {name: measures[f"auroc@{finding_key(name)}"] for name in names}, labels=labels
    )

    def told_damage(share: float, text: str = "") -> None:
        progress(0.5 + 0.5 * share, text)

    damaged = robustness(
        model.risk,
        images.take(test),
        y[test],
        names=names,
        patient=patient,
        thresholds=model.thresholds,
        level=level,
        seed=seed,
        max_rows=ROBUST_ROWS,
        progress=told_damage,
    )
    learning = _fit_diagnosis(spec, cohort, split, model, risk)
    sets = model.conformal
    table: dict[str, NDArray[Any]] = {"id": row_ids(cohort, test), "patient": patient.astype(str)}
    for j, name in enumerate(names):
        key = finding_key(name)
        table |= {f"risk@{key}": risk[:, j], f"spread@{key}": spread[:, j], f"outcome@{key}": y[test][:, j]}
    return {
        "performance": performance,
        "shortcuts": shortcuts,
        "robustness": damaged,
        "conformal": None if sets is None else sets.evaluate(risk, y[test], patient, level=level),
        "case_uncertainty": case_uncertainty(
            risk, y[test], model.thresholds, spread=spread, patient=patient, names=names, level=level
        ),
        "fit_diagnosis": learning,
        "failures": None,
        "stability": None,
        **({} if spec.silver is None else {"label_noise": noise_block(spec, cohort, split, learns)}),
    }, table


def _fit_diagnosis(
    spec: StudySpec, cohort: Cohort, split: Split, model: FindingsModel, risk: NDArray[np.float64]
) -> dict[str, Any]:
    """Compare what the network reaches on pictures it learned from, on those that tuned it and on the test part."""
    learns, tunes = (judged_rows(spec, cohort, rows) for rows in tune_part(split))
    test, images, y = test_rows(spec, cohort, split), images_of(cohort), labels_of(cohort)
    level, seed = spec.evaluate.level, spec.study.seed
    # As many training pictures as would narrow the interval to nothing are not needed.
    some = learns
    if learns.size > 2000:
        some = np.sort(np.random.default_rng((seed, 11)).choice(learns, 2000, replace=False))

    def macro(rows: NDArray[np.int64], chance: NDArray[np.float64]) -> Estimate:
        return multilabel_auroc(y[rows], chance, patient=cohort.patient[rows], level=level).macro

    try:
        unlike = mismatch_test(
            picture_descriptors(ImageRows(images, some)),
            picture_descriptors(ImageRows(images, tunes)),
            cohort.patient[some],
            cohort.patient[tunes],
            level=level,
            seed=seed,
        )
    except NotEstimableError as error:
        unlike = Estimate(float("nan"), name="auroc", note=error.got)
    found = diagnose_fit(
        macro(some, model.risk(images.take(some))),
        macro(tunes, model.risk(images.take(tunes))),
        target=spec.evaluate.human_level,
        target_name="what readers reach",
        test=macro(test, risk),
        mismatch=unlike,
    )
    return found.to_state()


def explain(
    spec: StudySpec, cohort: Cohort, split: Split, model: FindingsModel, progress: Progress = silent
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Say whether heat maps are to be believed, and choose the best, worst and least certain cases.

    Returns
    -------
    (dict, dict of str to array)
        The ``explanation`` block with its ``gallery``, and which row of the data each case of the gallery is.
    """
    test = test_rows(spec, cohort, split)
    images, y = images_of(cohort).take(test), labels_of(cohort)[test]
    risk, spread = model.uncertain(images)
    names, labels = list(spec.outcome.findings), finding_labels(spec)
    titles = [labels[name] for name in names]
    where = regions_of(spec, cohort)

    def prepare(frames: NDArray[Any]) -> Any:
        return model.classifier.prepared(frames, int(np.iinfo(frames.dtype).max))

    block = explain_pictures(
        model.classifier.networks_[0],
        prepare,
        images,
        risk,
        y,
        names=names,
        labels=titles,
        patient=cohort.patient[test],
        regions=None if where is None else where.take(test),
        networks=len(model.classifier.networks_),
        level=spec.evaluate.level,
        seed=spec.study.seed,
        progress=progress,
    )
    cases = gallery(
        risk,
        y,
        spread,
        row_ids(cohort, test),
        names,
        model.thresholds.tolist(),
        labels=titles,
        patient=cohort.patient[test],
    )
    shown = cases if spec.report.case_ids else without_ids(cases)
    if spec.report.thumbnails:

        def maps(rows: NDArray[np.int64], column: int) -> NDArray[Any]:
            found = heat_maps(model.classifier.networks_[0], prepare, images, rows, classes=[column])
            return np.asarray(found[:, 0])

        shown = {**shown, "thumbnails": thumbnails(cases, images, maps)}
    return {**block, "gallery": shown}, _case_table(cases)


def _case_table(cases: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return which row of the data each case is, as columns; it stays with the data."""
    rows = [
        (finding, group, case["case"], str(case["id"]))
        for finding, one in cases["findings"].items()
        for group, some in one["cases"].items()
        for case in some
    ]
    if not rows:
        return {}
    finding, group, number, ids = (list(column) for column in zip(*rows, strict=True))
    return {
        "finding": np.asarray(finding),
        "group": np.asarray(group),
        "case": np.asarray(number),
        "id": np.asarray(ids),
    }


def audit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: FindingsModel,
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Repeat the measures in each declared group of the test part: ranking, and how often findings are missed."""
    if not spec.subgroups.columns:
        return None
    test = test_rows(spec, cohort, split)
    y, patient, primary = labels_of(cohort)[test], cohort.patient[test], primary_of(spec)
    risk = model.risk(images_of(cohort).take(test))
    keys = [finding_key(name) for name in spec.outcome.findings]
    names = list(dict.fromkeys([primary, "macro_auroc", "macro_sensitivity", "macro_specificity"]))
    if len(keys) <= _MANY:
        names += [f"sensitivity@{key}" for key in keys]
    names = list(dict.fromkeys([*names, *asked_of_groups(spec)]))

    def measures(rows: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
        return measures_multilabel(
            y[rows],
            risk[rows],
            names=names,
            findings=keys,
            chosen=model.thresholds.tolist(),
            patient=patient[rows],
            draws=min(spec.evaluate.draws, 300),
            level=spec.evaluate.level,
            seed=spec.study.seed,
        )

    return audit_by_group(spec, cohort, test, measures, names, min_nonevents=0, progress=progress)


def facts(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: FindingsModel,
    fitted: Mapping[str, Any],
    performance: Mapping[str, Any],
) -> Facts:
    """Return what the record says of the model beside what fitting returned, and what its package takes."""
    train = split.parts["train"]
    views = sorted({str(v) for v in views_of(cohort)[train]} - {"unknown"})
    baselines = picture_recipes_of(spec)[1]
    simple = "acquisition" if "acquisition" in baselines else baselines[0]
    return Facts(
        model={},
        simple=beside_simple(
            fitted, performance, primary_of(spec), name=simple, title=BASELINES[simple].lower(), others=True
        ),
        inputs={
            "inputs": [
                {
                    "name": "image",
                    "label": "Chest radiograph (DICOM, PNG, JPEG or TIFF)",
                    "unit": None,
                    "kind": "picture",
                    "range": None,
                    "training_range": None,
                    "categories": views or None,
                    "required": True,
                }
            ],
            "refusals": [{"code": code, "reason": reason} for code, reason in PICTURE_CODES.items()],
        },
        schema=describe_pictures(
            model,
            images_of(cohort).take(train).infos,
            patient=cohort.patient[train],
            column=None if spec.images is None else spec.images.column,
        ),
        data={"images": picture_facts(cohort)},
    )
