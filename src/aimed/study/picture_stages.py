"""The stages of a picture study: the same flow, with a network in place of a table model and several findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.pack import pack_pictures
from aimed.bundle.picture_schema import PictureSchema
from aimed.bundle.serving import network_file
from aimed.checks.feature_coding import as_column
from aimed.checks.run import run_checks
from aimed.checks.shortcut_sources import cohort_columns, join_sources, shortcut_sources
from aimed.core import Cohort, Finding, Severity, Split
from aimed.core.outcome import Multilabel
from aimed.diagnosis.acquisition import AcquisitionBaseline
from aimed.diagnosis.findings_model import FindingsModel
from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.diagnosis.picture_recipes import PictureRecipe
from aimed.metrics.multilabel import MultilabelEstimate, multilabel_auroc
from aimed.metrics.result import Estimate
from aimed.study.findings import calibrate_findings
from aimed.study.leaderboard import board_row, nearly_best
from aimed.study.picture_models import BASELINES, picture_recipes_of
from aimed.study.picture_pretraining import pretrain_candidates, pretrained_networks
from aimed.study.pictures import finding_labels, images_of, raw_labels, refused_by_code, shortcut_columns
from aimed.study.silver import check_silver, judged_rows, silver_labels
from aimed.study.spec import StudySpec
from aimed.study.stages import Progress, each_check, silent
from aimed.study.store import RunFolder
from aimed.study.tasks import outcome_label
from aimed.trust.card import model_card

__all__ = ["calibrate", "check", "fit", "package"]


def labels_of(cohort: Cohort) -> NDArray[np.float64]:
    """Return the outcome, shape (n, k): 1, 0, NaN for unknown."""
    if not isinstance(cohort.outcome, Multilabel):
        raise TypeError("a cohort of findings is needed")
    return np.asarray(cohort.outcome.values)


def tune_part(split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the training part that networks learn from, and those that tune them: one fold of several."""
    first = split.folds[0]
    return np.sort(first.fit), np.sort(first.tune)


def check(spec: StudySpec, cohort: Cohort, split: Split, progress: Progress = silent) -> list[Finding]:
    """Run every check on the cohort, its pictures and its split."""
    images = spec.images
    study = None if images is None or images.study is None else _examinations(spec, cohort, images.study)
    found = run_checks(
        cohort,
        split,
        subgroups=spec.subgroups.columns,
        parameters=0,
        allow=spec.predictors.allow,
        raw_labels=raw_labels(cohort),
        imaging_study=study,
        shortcut_columns=shortcut_columns(spec),
        progress=each_check(progress),
    )
    grave = [one for one in found if one.severity is not Severity.NOTE]
    told = check_silver(spec, cohort, split)
    first = [one for one in told if one.severity is not Severity.NOTE]
    return [*first, *grave, *_refused(cohort), *told[len(first) :], *found[len(grave) :]]


def _refused(cohort: Cohort) -> list[Finding]:
    """Say how many files could not be used; they are in no cohort, so no check of one sees them."""
    cache = images_of(cohort).cache
    codes = refused_by_code(cache)
    total, lost = len(cache), sum(codes.values())
    named = ", ".join(f"{code} {n}" for code, n in codes.items())
    if not lost:
        return []
    return [
        Finding(
            check="image_frames",
            severity=Severity.WARN,
            where="images",
            message=f"{lost:,} of {total:,} files were refused: {named}.",
            evidence={"files": total, "refused": codes},
            advice="They are in no part; a run names them in refused.csv.",
        )
    ]


def _examinations(spec: StudySpec, cohort: Cohort, name: str) -> NDArray[Any]:
    """Return the examination of each picture; its column may have another role too."""
    roles = {spec.data.patient: cohort.patient, spec.data.unit: cohort.ids}
    own = roles.get(name)
    return _words(cohort, name) if own is None else np.asarray(own)


def _words(cohort: Cohort, name: str) -> NDArray[Any]:
    variable, column = cohort.variable(name), cohort.column(name)
    if variable.kind == "category":
        found: NDArray[Any] = np.asarray([*variable.categories, ""], dtype=str)[column]
        return found
    return np.asarray(["" if v is None else str(v) for v in column.tolist()], dtype=str)


def test_rows(spec: StudySpec, cohort: Cohort, split: Split) -> NDArray[np.int64]:
    """Return the rows of the test part; of a study with silver labels those that have a gold label."""
    return judged_rows(spec, cohort, split.parts["test"])


# ------------------------------------------------------------------------------------------------------------- fitting


@dataclass(frozen=True, slots=True)
class _Fitted:
    """One candidate on the tune part."""

    recipe: PictureRecipe
    classifier: ImageClassifier
    parameters: dict[str, Any]
    risk: NDArray[np.float64]
    score: MultilabelEstimate


def initial_weights_of(spec: StudySpec, recipe: PictureRecipe) -> Any:
    """Return the weights that a candidate starts from; None for random ones."""
    asked = None if spec.images is None else spec.images.weights
    if asked is None or asked.architecture != recipe.architecture:
        return None
    from aimed.diagnosis.initial_weights import InitialWeights

    return InitialWeights(path=spec.folder / asked.file, sha256=asked.sha256, normalisation=asked.normalisation)


def fit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    home: RunFolder | None = None,
    key: str = "",
    progress: Progress = silent,
) -> tuple[dict[str, Any], FindingsModel, NDArray[np.float64]]:
    """Train the candidates, compare them on the tune part and keep the simplest that is as good as the best.

    Returns
    -------
    (dict, FindingsModel, array of shape (n, k))
        The ``model`` block so far, the fitted model, and its probabilities on the tune part (NaN elsewhere).
    """
    candidates, baselines = picture_recipes_of(spec)
    learns, tunes = tune_part(split)
    rows = np.sort(np.r_[learns, tunes])
    pictures, y = images_of(cohort).take(rows), labels_of(cohort)
    held = np.isin(rows, tunes)
    silver = silver_labels(spec, cohort, split, rows)
    fitted: list[_Fitted] = []
    before = len(pretrained_networks(spec, candidates))
    parts = before + len(candidates)
    starts = pretrain_candidates(
        spec, cohort, learns, candidates, home, lambda share, text: progress(share * before / parts, text)
    )
    for place, recipe in enumerate(candidates):
        folder = None if home is None else Path(home.file("fit", f"network-{key[:16]}", recipe.name))

        def tell(share: float, text: str = "", place: int = place, title: str = recipe.title) -> None:
            progress((before + place + share) / parts, f"{title}: {text}")

        parameters = recipe.parameters(spec.model.parameters.get(recipe.name, {}))
        classifier = recipe.fit(
            pictures,
            y[rows],
            cohort.patient[rows],
            names=spec.outcome.findings,
            tune=held,
            parameters=parameters,
            seed=spec.study.seed,
            silver=silver,
            weights=starts[recipe.name].weights if recipe.name in starts else initial_weights_of(spec, recipe),
            folder=folder,
            progress=tell,
        )
        risk = classifier.predict_proba(pictures.take(held))
        score = multilabel_auroc(y[tunes], risk, patient=cohort.patient[tunes], level=spec.evaluate.level)
        fitted.append(_Fitted(recipe, classifier, parameters, risk, score))
    chosen, why = _choose(fitted, y[tunes], cohort.patient[tunes])
    images = images_of(cohort)
    model = FindingsModel(
        chosen.recipe.name,
        chosen.recipe.title,
        chosen.classifier,
        size=images.size,
        bits=8 if images.bits == 8 else 16,
        labels=finding_labels(spec),
        parameters=plain(chosen.parameters),
        seed=spec.study.seed,
    )
    out_of_fold = np.full(y.shape, np.nan)
    out_of_fold[tunes] = chosen.risk
    known = np.asarray(~np.isnan(y).all(axis=1))
    taught = known.copy()
    if silver is not None:
        taught[rows] |= ~np.isnan(silver.values).all(axis=1)
    payload = _fit_payload(spec, fitted, chosen, why, int(taught[learns].sum()), int(known[tunes].sum()))
    payload["network"]["pretraining"] = starts[chosen.recipe.name].facts if chosen.recipe.name in starts else None
    payload["leaderboard"] += _baseline_rows(spec, cohort, learns, tunes, baselines)
    return payload, model, out_of_fold


def _choose(fitted: Sequence[_Fitted], y: NDArray[np.float64], patient: NDArray[Any]) -> tuple[_Fitted, str]:
    best = max(fitted, key=lambda f: float(f.score.macro))
    found = nearly_best(fitted, best, score=lambda f: f.score.macro, rank=lambda f: f.recipe.rank, patient=patient)
    if found is None:
        return best, f"{best.recipe.title} had the highest macro AUROC on the tune part."
    return found.one, (
        f"{found.one.recipe.title} was chosen: {best.recipe.title} ranked better on the tune part by "
        f"{found.gap:.4f} in macro AUROC, no more than one standard error ({found.error:.4f}), and is less simple."
    )


def plain(value: Any) -> Any:
    """Return a value in JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def _board_row(
    name: str, title: str, kind: str, macro: Estimate, *, parameters: Any = None, chosen: bool = False
) -> dict[str, Any]:
    """Return a line of the leaderboard: macro AUROC on the one tune part."""
    return board_row(
        name,
        title,
        kind,
        "macro_auroc",
        mean=float(macro),
        lower=float(macro.lower),
        upper=float(macro.upper),
        folds=[float(macro)],
        parameters=parameters,
        note=macro.note,
        chosen=chosen,
    )


def _fit_payload(
    spec: StudySpec, fitted: Sequence[_Fitted], chosen: _Fitted, why: str, learned: int, tuned: int
) -> dict[str, Any]:
    network = chosen.classifier
    board = [
        _board_row(
            one.recipe.name,
            one.recipe.title,
            "candidate",
            one.score.macro,
            parameters=plain(one.parameters),
            chosen=one is chosen,
        )
        for one in fitted
    ]
    return {
        "name": chosen.recipe.name,
        "title": chosen.recipe.title,
        "description": chosen.recipe.description,
        "family": "network",
        "parameters": plain(chosen.parameters),
        "n_fitted": learned,
        "n_tune": tuned,
        "leaderboard": board,
        "choice": why,
        "network": _network_facts(network, chosen.recipe),
        "learning": plain(network.history_),
        "precision": plain(network.precision_),
        "tuning": {"metric": "macro_auroc", "direction": "maximize", "trials": len(fitted)},
    }


def _network_facts(network: ImageClassifier, recipe: PictureRecipe) -> dict[str, Any]:
    from aimed.diagnosis.augmentation import Augmentation

    report = network.weights_report_
    change = network.augmentation
    if change is True:
        change = Augmentation()
    return {
        "architecture": network.architecture,
        "options": plain(network.architecture_options or {}),
        "parameters": int(sum(p.numel() for p in network.networks_[0].parameters())),
        "estimators": len(network.networks_),
        "probe": recipe.probe,
        "initial_weights": None
        if report is None
        else {
            "sha256": report.sha256,
            "loaded": len(report.loaded),
            "skipped": len(report.skipped),
            "missing": len(report.missing),
            "share": report.share,
            "sentence": str(report),
        },
        "preprocessing": {"shape": list(network.shape_), **network.standardise_.to_state()},
        "augmentation": None if recipe.probe or not change else plain(change),
        "loss": "logistic" if recipe.probe else network.loss,
        "optimizer": None if recipe.probe else network.optimizer,
        "learning_rate": None if recipe.probe else plain(network.learning_rate),
        "batch_size": None if recipe.probe else int(network.batch_size),
        "max_epochs": None if recipe.probe else int(network.max_epochs),
        "test_time_augmentation": int(network.test_time_augmentation),
    }


# ----------------------------------------------------------------------------------------------------------- baselines


def acquisition_sources(spec: StudySpec, cohort: Cohort) -> dict[str, dict[str, Any]]:
    """Return what is known of how each picture was taken, by source: tags, borders and declared columns."""
    return shortcut_sources(images_of(cohort), cohort_columns(cohort, shortcut_columns(spec)))


def baseline_risk(
    spec: StudySpec,
    cohort: Cohort,
    sources: Mapping[str, Mapping[str, Any]],
    name: str,
    learns: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the probabilities of a baseline, shape (len(rows), k), fitted on the rows that networks learn from."""
    y = labels_of(cohort)[learns]
    if name == "prevalence":
        return np.broadcast_to(np.nanmean(y, axis=0), (rows.size, y.shape[1])).copy()
    features = join_sources(sources)
    model = AcquisitionBaseline().fit(_some(features, learns), y, names=list(spec.outcome.findings))
    return np.asarray(model.predict_proba(_some(features, rows)))


def _some(features: Mapping[str, Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    return {name: as_column(values)[rows] for name, values in features.items()}


def _baseline_rows(
    spec: StudySpec, cohort: Cohort, learns: NDArray[np.int64], tunes: NDArray[np.int64], names: Sequence[str]
) -> list[dict[str, Any]]:
    out = []
    sources = acquisition_sources(spec, cohort) if "acquisition" in names else {}
    for name in names:
        risk = baseline_risk(spec, cohort, sources, name, learns, tunes)
        macro = multilabel_auroc(
            labels_of(cohort)[tunes], risk, patient=cohort.patient[tunes], level=spec.evaluate.level
        ).macro
        out.append(_board_row(name, BASELINES[name], "baseline", macro))
    return out


# --------------------------------------------------------------------------------------------------------- calibration


def calibrate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: FindingsModel,
    out_of_fold: NDArray[np.float64],
    progress: Progress = silent,
) -> tuple[dict[str, Any], FindingsModel]:
    """Choose calibration, threshold and conformal sets of each finding on the tune part."""
    tunes = tune_part(split)[1]
    return calibrate_findings(
        spec, model, out_of_fold[tunes], labels_of(cohort)[tunes], cohort.patient[tunes], progress=progress
    )


# ----------------------------------------------------------------------------------------------------------- packaging


def package(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: FindingsModel,
    schema: PictureSchema,
    calibrated: Mapping[str, Any],
    results: Mapping[str, Any],
    home: RunFolder,
) -> None:
    """Write the bundle, with a network that needs no torch where it says the same on the tune part."""
    tunes = tune_part(split)[1]
    members, serving = network_file(model, images_of(cohort).take(tunes), labels_of(cohort)[tunes])
    pack_pictures(
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
            "serving": serving,
        },
        expects=schema,
        extra_members={"README.md": model_card(dict(results)), **members},
    )
