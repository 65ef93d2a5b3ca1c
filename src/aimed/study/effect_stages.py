"""The stages of a study of effects: learners compared on held-out patients, and a rule made from the chosen one."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.pack import pack_effects
from aimed.bundle.schema import Schema
from aimed.checks.run import run_checks
from aimed.checks.treatment import Compared
from aimed.core import Cohort, Finding, NotEstimableError, Split, StudyFileError
from aimed.metrics.arrays import FloatArray
from aimed.metrics.result import Estimate
from aimed.study.arms import arm_labels
from aimed.study.effect_average import primary_estimator
from aimed.study.effect_data import EffectData, Rows, better_effect
from aimed.study.effect_models import COMPARATORS, TITLES, effect_learners_of, learner_named
from aimed.study.leaderboard import board_row
from aimed.study.spec import StudySpec
from aimed.study.stages import Progress, each_check, silent
from aimed.study.store import RunFolder
from aimed.study.tasks import outcome_label
from aimed.treatment import LEARNERS
from aimed.treatment.base_learners import fit_model, outcome_model
from aimed.treatment.effects_model import EffectsModel
from aimed.treatment.nuisances import Nuisances
from aimed.treatment.policy import Preferences
from aimed.treatment.policy_tree import PolicyTree
from aimed.trust.card import model_card

__all__ = ["benefit_of", "calibrate", "check", "fit", "package", "preferences_of", "rank_of"]


def check(spec: StudySpec, cohort: Cohort, split: Split, progress: Progress = silent) -> list[Finding]:
    """Run every check on the cohort, its arms and its split."""
    compared = spec.treatment
    if compared is None:
        raise TypeError("a study of effects is needed")

    data = EffectData(spec, cohort)
    require_adjusted(spec, data)
    primary_estimator(spec)
    measured = {name: v.measured for name, v in spec.variables.items() if v.measured is not None}
    if spec.outcome.known is not None:
        measured["outcome"] = spec.outcome.known
    return run_checks(
        cohort,
        split,
        subgroups=spec.subgroups.columns,
        parameters=0,
        allow=spec.predictors.allow,
        horizons=spec.outcome.at(),
        compared=Compared(
            assignment=compared.assignment,
            share=data.propensity,
            strata=compared.strata,
            started=compared.started,
            measured=measured,
            strategies=dict(spec.estimand.intercurrent),
        ),
        progress=each_check(progress),
    )


def require_adjusted(spec: StudySpec, data: EffectData) -> None:
    """Refuse learners that would leave covariates out where treatment was not randomised.

    Raises
    ------
    StudyFileError
        If there are covariates that are no modifiers and a learner has no place for them.
    """
    if not data.others or data.treatment.assignment == "randomised":
        return
    for name in effect_learners_of(spec)[0]:
        if not getattr(LEARNERS[name], "accepts_w", True):
            raise StudyFileError(
                f"'{name}' adjusts for modifiers only, and {len(data.others)} columns of [predictors] adjust are none",
                "a learner with a place for them, such as 'r_learner', 'dr_learner' or 'causal_forest'",
                "choose one of these, or name the columns in [predictors] modifiers too",
            )


# ------------------------------------------------------------------------------------------------------------- fitting


@dataclass(slots=True)
class _Tried:
    """One learner on the tuning folds."""

    name: str
    effect: FloatArray
    loss: FloatArray
    folds: list[float]
    seconds: float = 0.0
    note: str = ""
    failed: NotEstimableError | None = None

    def against_constant(self, constant: FloatArray, patient: Any, level: float) -> Estimate:
        """Return the mean loss less that of the constant effect."""
        gap = self.loss - constant
        known = np.isfinite(gap)
        n = int(known.sum())
        if not n:
            return Estimate(math.nan, name="dr_loss", note=self.note)
        value = float(gap[known].mean())
        who = None if patient is None else patient[known]
        return Estimate.from_influence(value, (gap[known] - value) / n, who, level=level, name="dr_loss")


def rank_of(name: str) -> int:
    """Return how simple a learner is, simplest first: its place in the catalogue."""
    return list(LEARNERS).index(name)


def fit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    home: RunFolder | None = None,
    key: str = "",
    progress: Progress = silent,
) -> tuple[dict[str, Any], EffectsModel, NDArray[np.float64]]:
    """Compare the learners on the tuning folds and fit the chosen one on the training part.

    Returns
    -------
    (dict, EffectsModel, array of shape (n,))
        The ``model`` block so far, the fitted model, and its effects on rows it did not see (NaN outside train).
    """
    data = EffectData(spec, cohort)
    train = split.parts["train"]
    candidates, comparators = effect_learners_of(spec)
    names = [*comparators, *candidates]
    place = np.full(cohort.n, -1, dtype=np.int64)
    place[train] = np.arange(train.size)
    preparations = data.preparations(train)
    whole = data.rows(train, preparations)
    tried = {name: _Tried(name, np.full(train.size, np.nan), np.full(train.size, np.nan), []) for name in names}
    for k, fold in enumerate(split.folds):
        # Outcome, covariates and effects of a fold are learned from the other folds alone.
        own = data.preparations(fold.fit)
        learns, held = data.rows(fold.fit, own), data.rows(fold.tune, own)
        nuisances = learns.nuisances(spec)
        scores = held.judged_by(nuisances).scores(held.Y, held.T)
        rows = place[fold.tune]
        for j, name in enumerate(names):
            progress((k + j / len(names)) / (len(split.folds) + 1), f"fold {k + 1}: {TITLES[name]}")
            began = time.monotonic()
            one = tried[name]
            told: list[str] = []
            try:
                effect = np.asarray(
                    fitted_learner(spec, name, learns, nuisances, told).effect(held.X), dtype=np.float64
                )
            except NotEstimableError as error:
                one.failed = one.failed or error
                continue
            one.note = "; ".join(dict.fromkeys([*([one.note] * bool(one.note)), *told]))
            one.seconds += time.monotonic() - began
            one.effect[rows], one.loss[rows] = effect, (scores - effect) ** 2
            one.folds.append(float(one.loss[rows].mean()))
    progress(len(split.folds) / (len(split.folds) + 1), "the chosen learner on the whole training part")
    ready = [tried[name] for name in candidates if tried[name].failed is None]
    if not ready:
        failed = tried[candidates[0]].failed
        raise NotEstimableError(
            f"no learner can be fitted: {failed.got if failed else ''}",
            failed.expected if failed else "",
            "name fewer [predictors] modifiers, fewer [split] tune.folds, or other [model] candidates",
        )
    chosen, why = _choose(ready, tried["constant_effect"], whole, spec.evaluate.level)
    why += "".join(
        f" {TITLES[name]} could not be fitted on every tuning fold: {why_not.got}."
        for name in candidates
        if (why_not := tried[name].failed) is not None
    )
    nuisances = whole.nuisances(spec)
    model = _model(spec, data, chosen.name, whole, nuisances, preparations)
    out_of_fold = np.full(cohort.n, np.nan)
    out_of_fold[train] = chosen.effect
    payload = {
        "name": chosen.name,
        "title": TITLES[chosen.name],
        "description": LEARNERS.entry(chosen.name).summary,
        "family": "effect",
        "parameters": model.parameters,
        "n_fitted": int(train.size),
        "missing_method": model.preparation.missing,
        "imputation": None,
        "leaderboard": [_board_row(spec, one, tried, whole, chosen) for one in tried.values()],
        "choice": why,
        "tuning": {"metric": "dr_loss", "direction": "minimize", "trials": len(candidates)},
        "nuisances": {
            "outcome": spec.model.outcome_model,
            "propensity": None if nuisances.known_propensity else spec.model.propensity_model,
            "folds": spec.split.tune.folds,
        },
    }
    return payload, model, out_of_fold


def fitted_learner(spec: StudySpec, name: str, rows: Rows, nuisances: Nuisances, told: list[str] | None = None) -> Any:
    """Return a learner fitted on some rows.

    In a trial a learner without a place for further covariates goes without them: the arms are comparable as they are.
    What it warns of is added to ``told``.
    """
    learner = learner_named(spec, name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = learner.fit(
            rows.Y,
            rows.T.astype(np.int8),
            X=rows.X,
            W=rows.W if getattr(learner, "accepts_w", True) else None,
            patient=rows.patient,
            propensity=rows.propensity,
            nuisances=nuisances,
        )
    if told is not None:
        # People read a report, not what a library says beside it.
        told += [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    return fitted


def _choose(candidates: Sequence[_Tried], constant: _Tried, whole: Rows, level: float) -> tuple[_Tried, str]:
    """Return the simplest learner whose loss is within one standard error of the best."""
    best = min(candidates, key=lambda one: float(one.loss.mean()))
    chosen, why = best, f"{TITLES[best.name]} had the lowest DR-loss on the tuning folds."
    for one in sorted(candidates, key=lambda c: rank_of(c.name)):
        if one is best:
            break
        gap = one.against_constant(best.loss, whole.patient, level)
        if float(gap) <= gap.se:
            chosen = one
            why = (
                f"{TITLES[one.name]} was chosen: {TITLES[best.name]} had a lower DR-loss by {float(gap):.3g}, no more "
                f"than one standard error ({gap.se:.3g}), and is less simple."
            )
            break
    beside = chosen.against_constant(constant.loss, whole.patient, level)
    if not beside.upper < 0:
        why += (
            " On the tuning folds it is not shown to be better than the same effect for everyone "
            f"(difference {float(beside):.3g}, {beside.lower:.3g} to {beside.upper:.3g})."
        )
    return chosen, why


def _board_row(
    spec: StudySpec, one: _Tried, tried: Mapping[str, _Tried], whole: Rows, chosen: _Tried
) -> dict[str, Any]:
    constant = tried["constant_effect"]
    gap = one.against_constant(constant.loss, whole.patient, spec.evaluate.level)
    alone, ready = one is constant, one.failed is None
    return board_row(
        one.name,
        TITLES[one.name],
        "baseline" if one.name in COMPARATORS else "candidate",
        "dr_loss",
        mean=float(gap) if ready else None,
        lower=None if alone or not ready else float(gap.lower),
        upper=None if alone or not ready else float(gap.upper),
        folds=[a - b for a, b in zip(one.folds, constant.folds, strict=True)] if ready else [],
        seconds=round(one.seconds, 2),
        parameters=spec.model.parameters.get(one.name, {}),
        note="what the others are compared with" if alone else one.failed.got if one.failed else one.note,
        chosen=one is chosen,
    )


def _model(
    spec: StudySpec,
    data: EffectData,
    name: str,
    whole: Rows,
    nuisances: Nuisances,
    preparations: Mapping[str, Any],
) -> EffectsModel:
    of_risk = spec.effect_scale() == "risk_difference"
    seen, Y, weights = whole.fully_seen()
    # Weights that make the arms equal, so that the model is of the mean outcome with and without treatment.
    chance = np.where(whole.T, nuisances.propensity, 1.0 - nuisances.propensity)[seen]
    baseline = fit_model(outcome_model("linear", of_risk, spec.study.seed), whole.X[seen], Y, weights / chance)
    scores = nuisances.scores(whole.Y, whole.T)
    average = Estimate.from_influence(
        float(scores.mean()),
        (scores - scores.mean()) / scores.size,
        whole.patient,
        level=spec.evaluate.level,
        name="average_effect",
    )
    learner = fitted_learner(spec, name, whole, nuisances)
    return EffectsModel(
        name,
        TITLES[name],
        preparations["modifiers"],
        learner,
        baseline,
        scale=spec.effect_scale(),
        better=better_effect(spec),
        horizon=spec.outcome.at()[0] if spec.outcome.at() else None,
        unit=spec.outcome.measured_in or spec.outcome.unit,
        average={
            "value": float(average),
            "lower": average.lower,
            "upper": average.upper,
            "n": whole.Y.size,
            "level": spec.evaluate.level,
        },
        policy={**preferences_of(spec).to_dict(), "budget": spec.policy.budget},
        parameters=dict(spec.model.parameters.get(name, {})),
        seed=spec.study.seed,
        n_fitted=int(whole.Y.size),
    )


# --------------------------------------------------------------------------------------------------------- calibration


def preferences_of(spec: StudySpec) -> Preferences:
    """Return what a benefit is worth and what treatment takes."""
    said = spec.policy
    return Preferences(
        benefit_weight=said.benefit_weight, burden=said.burden, cost=said.cost, minimal_benefit=said.minimal_benefit
    )


def benefit_of(spec: StudySpec, effect: FloatArray) -> FloatArray:
    """Return effects turned so that larger is better."""
    return -effect if better_effect(spec) == "lower" else effect


def calibrate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: EffectsModel,
    out_of_fold: NDArray[np.float64],
    progress: Progress = silent,
) -> tuple[dict[str, Any], EffectsModel]:
    """Make rules of treatment on the training part: a cut of the predicted benefit, and a tree of few questions."""
    data = EffectData(spec, cohort)
    train = split.parts["train"]
    whole = data.rows(train, data.preparations(train))
    preferences, benefit = preferences_of(spec), benefit_of(spec, out_of_fold[train])
    limit, rule = preferences.threshold, "the least benefit worth a treatment, from [policy]"
    if spec.policy.budget is not None:
        cut = float(np.quantile(benefit, 1.0 - spec.policy.budget))
        if cut > limit:
            limit, rule = cut, "the benefit from which the budget of [policy] reaches, learned on the training part"
    model.policy["limit"] = limit
    tree = None
    if spec.policy.tree_depth:
        progress(0.5, "the policy tree")
        readable = data.readable(train)
        scores = benefit_of(spec, whole.nuisances(spec).scores(whole.Y, whole.T)) - preferences.threshold
        tree = PolicyTree(max_depth=spec.policy.tree_depth).fit(
            scores, readable.transform(data.matrix(data.modifiers, train)), names=data.titles(readable)
        )
    return {
        "calibration": {
            "method": "none",
            "scores": {},
            "sentence": "Predicted effects are judged as they were fitted; no recalibration was applied.",
            "parameters": {},
        },
        "threshold": {"value": limit, "rule": rule},
        "tree": None if tree is None else {"state": tree.to_state(), "rules": tree.rules()},
        "optimism": None,
    }, model


# ----------------------------------------------------------------------------------------------------------- packaging


def package(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: EffectsModel,
    schema: Schema,
    calibrated: Mapping[str, Any],
    results: Mapping[str, Any],
    home: RunFolder,
) -> None:
    """Write the bundle, with what was found of heterogeneity beside the model."""
    found, data = results.get("effect") or {}, EffectData(spec, cohort)
    model.evidence = str((found.get("heterogeneity") or {}).get("state") or "")
    measures: Mapping[str, Any] = next((row["measures"] for row in found.get("average") or [] if row["primary"]), {})
    answer = measures.get(model.scale)
    if answer is not None and answer["lower"] is not None:
        # What stands for everyone is the answer of the report, from all patients; learning had the training part only.
        model.average = {name: answer[name] for name in ("value", "lower", "upper", "n", "level")}
    pack_effects(
        model,
        home.file("bundle"),
        meta={
            "study": {"id": spec.study.id, "title": spec.study.title},
            "intended_use": spec.study.intended_use,
            "intended_users": list(spec.study.intended_users),
            "not_for": list(spec.study.not_for),
            "outcome": {"label": outcome_label(spec), "unit": spec.outcome.unit},
            "arms": dict(arm_labels(data.treatment)),
            "description": LEARNERS.entry(model.name).summary,
            "thresholds": [calibrated["threshold"]["value"]],
            "created": results["created"],
        },
        schema=schema,
        extra_members={"README.md": model_card(dict(results))},
    )
