"""What a study of effects finds out: the average effect, who benefits on the test part, and what a rule gains."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.schema import describe
from aimed.core import Cohort, DataError, NotEstimableError, Split
from aimed.explain.build import Inside
from aimed.explain.build import explain as build_explanation
from aimed.metrics.arrays import FloatArray
from aimed.metrics.effect_loss import dr_loss
from aimed.metrics.evaluate_effects import evaluate_effects
from aimed.metrics.targeting import rate
from aimed.study.arms import arm_labels
from aimed.study.effect_average import Whole, missing, record
from aimed.study.effect_data import EffectData, Rows, better_effect
from aimed.study.effect_models import TITLES as LEARNER_TITLES
from aimed.study.effect_models import effect_learners_of
from aimed.study.effect_patients import typical_patients
from aimed.study.effect_stages import benefit_of, fitted_learner, preferences_of
from aimed.study.spec import StudySpec
from aimed.study.stages import Facts, Progress, inputs_of, part_of, row_ids, silent
from aimed.treatment.effects_model import EffectsModel
from aimed.treatment.nuisances import Nuisances
from aimed.treatment.policy import evaluate_policy, targeted_fraction, treat_above, treat_top
from aimed.treatment.policy_tree import PolicyTree

__all__ = ["audit", "evaluate", "explain", "facts"]

_STATES = {
    "evidence of heterogeneity": "evidence",
    "no evidence of heterogeneity": "no evidence",
    "not enough evidence to tell": "not enough evidence",
}
_TESTS = {
    "best_linear_predictor": "Best linear predictor of the effect",
    "calibration_test": "Calibration test (residuals, as in grf)",
    "covariates": "Do covariates go with the effect?",
    "series": "Is the effect the same for everyone? (series test)",
    "group_effects": "Do quarters of predicted effect differ?",
    "autoc": "Gain of treating the top first (AUTOC)",
    "rate": "Gain of treating the top first (AUTOC)",
}
_FUNCTION_ROWS = 200
_EXPLAINED, _ASKED = 1000, 200_000
"""Test rows that importance, SHAP values and partial dependence are computed on, and how many rows importance may ask
for in all: forests of effects are slow to ask."""
_MATTERS = 0.1
"""Difference of risk differences between quarters of the patients that would matter: 10 of 100 patients."""


def evaluate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: EffectsModel,
    fitted: Mapping[str, Any],
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Estimate the average effect of all patients, and judge effects of single patients on the test part.

    Returns
    -------
    (dict, dict of str to array)
        ``performance`` and ``effect`` blocks, and the predictions as columns.
    """
    progress(0.0, "average effects")
    whole = Whole(spec, cohort, split)
    average, answer = whole.average()
    balance = whole.balance()
    judged = _Judged(spec, cohort, split, model)
    progress(0.3, "who benefits")
    block = judged.block()
    with warnings.catch_warnings():
        # Weak overlap is a block of its own.
        warnings.simplefilter("ignore", UserWarning)
        policy = _policy(spec, judged, calibrated)
    risk, title = _baseline_risk(spec, whole)
    quarters: dict[str, Any] | None
    try:
        quarters = whole.risk_quarters(risk, title)
    except (NotEstimableError, DataError):
        quarters = None
    progress(0.5, "placebos")
    effect = {
        "estimand": whole.estimand(),
        "flow": whole.flow(),
        "arms": whole.arms(),
        "crude": whole.unadjusted_measures(),
        "curves": whole.curves(),
        "balance": balance,
        "overlap": whole.overlap(),
        "average": average,
        "risk_quarters": quarters,
        "heterogeneity": _heterogeneity(spec, judged, block, fitted),
        "policy": policy,
        "sensitivity": whole.sensitivity(answer),
        "placebos": whole.placebos(part_of(progress, 0.5, 1.0)),
    }
    performance = _performance(spec, cohort, judged, block, effect)
    test = split.parts["test"]
    table: dict[str, NDArray[Any]] = {
        "id": row_ids(cohort, test),
        "patient": cohort.patient[test].astype(str),
        "treated": judged.rows.T.astype(np.int8),
        "outcome": judged.rows.Y,
        "effect": judged.effect,
        "score": judged.nuisances.scores(judged.rows.Y, judged.rows.T),
    }
    limits = model.effect_interval(judged.raw, spec.evaluate.level)
    if limits is not None:
        table |= {"lower": limits[0], "upper": limits[1]}
    return {"performance": performance, "effect": effect, "failures": None, "stability": None}, table


class _Judged:
    """The test part of a study of effects: outcomes of its own, nuisances of the training part, predicted effects."""

    def __init__(self, spec: StudySpec, cohort: Cohort, split: Split, model: EffectsModel) -> None:
        self.spec, self.model = spec, model
        self.data = EffectData(spec, cohort)
        train, self.test = split.parts["train"], split.parts["test"]
        self.preparations = self.data.preparations(train)
        self.learned: Rows = self.data.rows(train, self.preparations)
        self.rows: Rows = self.data.rows(self.test, self.preparations)
        self.of_train: Nuisances = self.learned.nuisances(spec)
        self.nuisances: Nuisances = self.rows.judged_by(self.of_train)
        self.raw = self.data.matrix(self.data.modifiers, self.test)
        self.effect: FloatArray = model.effect(self.raw)
        self.benefit = benefit_of(spec, self.effect)
        self.constant = float(model.average["value"])

    @cached_property
    def others(self) -> dict[str, FloatArray]:
        """The effects that the learners which were not chosen predict, fitted when first asked for."""
        found: dict[str, FloatArray] = {}
        for name in effect_learners_of(self.spec)[0]:
            if name == self.model.name:
                continue
            try:
                learner = fitted_learner(self.spec, name, self.learned, self.of_train)
            except NotEstimableError:
                # The leaderboard says which learner could not be fitted, and why.
                continue
            effect = np.asarray(learner.effect(self.rows.X), dtype=np.float64)
            found[name] = self.model.possible(self.rows.X, effect)
        return found

    def block(self) -> dict[str, Any]:
        """Return the whole evaluation of the chosen model."""
        return self._evaluated(self.effect, {"constant_effect": self.constant, "zero_effect": 0.0, **self.others})

    def _evaluated(self, effect: FloatArray, comparators: Mapping[str, Any]) -> dict[str, Any]:
        rows, n = self.rows, self.nuisances
        with warnings.catch_warnings():
            # Weak overlap is a block of its own.
            warnings.simplefilter("ignore", UserWarning)
            return evaluate_effects(
                rows.Y,
                rows.T.astype(np.int8),
                effect,
                better=better_effect(self.spec),
                propensity=n.propensity,
                mu0=n.mu0,
                mu1=n.mu1,
                patient=rows.patient,
                level=self.spec.evaluate.level,
                draws=min(self.spec.evaluate.draws, 200),
                seed=self.spec.study.seed,
                comparators=comparators,
                covariates=rows.X,
                margin=_MATTERS if self.model.of_risk else None,
            )

    def losses(self) -> list[dict[str, Any]]:
        """Return of every learner how it stands to the constant and to no effect, each fitted on the training part."""
        every = {self.model.name: self.effect, **self.others}
        flat = np.ones(self.effect.size)
        return [
            *(self._loss(name, effect, "candidate") for name, effect in every.items()),
            self._loss("zero_effect", 0.0 * flat, "comparator"),
            self._loss("constant_effect", self.constant * flat, "comparator"),
        ]

    def _loss(self, name: str, effect: FloatArray, kind: str) -> dict[str, Any]:
        """Return how one predictor of effects stands to the two comparators; none stands to itself."""
        against: dict[str, dict[str, Any] | None] = {}
        for other, value in (("constant_effect", self.constant), ("zero_effect", 0.0)):
            known = benefit_of(self.spec, np.full(effect.size, value))
            found = dr_loss(
                self._gains,
                benefit_of(self.spec, effect),
                against=known,
                patient=self.rows.patient,
                level=self.spec.evaluate.level,
            )
            against[other] = None if name == other else record(found, "dr_loss", against=other)
        return {
            "name": name,
            "title": LEARNER_TITLES[name],
            "kind": kind,
            "chosen": name == self.model.name,
            "difference": against["constant_effect"],
            "against_zero": against["zero_effect"],
        }

    @cached_property
    def _gains(self) -> FloatArray:
        """Doubly robust scores of the benefit, shape (n,)."""
        return benefit_of(self.spec, self.nuisances.scores(self.rows.Y, self.rows.T))


def _heterogeneity(
    spec: StudySpec, judged: _Judged, block: Mapping[str, Any], fitted: Mapping[str, Any]
) -> dict[str, Any]:
    """Return whether effects differ between patients, in words and numbers."""
    told, curves = block["heterogeneity"], block["curves"]
    tests = [
        {
            "name": one["name"],
            "title": _TESTS.get(one["name"], one["name"].replace("_", " ")),
            "value": one["statistic"],
            "p": one["p"],
            "p_adjusted": one["p_adjusted"],
            "sentence": one["note"] or one["what"],
            "decides": one["decides"],
        }
        for one in told["tests"]
    ]
    groups = [
        {
            "label": f"Quarter {k + 1} of predicted effect",
            "n": one["n"],
            "predicted": one["predicted"],
            "observed": {
                **missing("effect", "", one["n"], spec.evaluate.level),
                "value": one["effect"],
                "lower": one["lower"],
                "upper": one["upper"],
                "method": "mean doubly robust score",
            },
        }
        for k, one in enumerate((curves["groups"] or {}).get("points", []))
    ]
    return {
        "state": _STATES[told["conclusion"]],
        "sentence": told["words"],
        "rule": told["rule"],
        "model": fitted["title"],
        "tests": tests,
        "measures": block["measures"],
        "losses": judged.losses(),
        "groups": groups,
        "toc": _columns(curves["toc"]),
        "qini": _columns(curves["qini"]),
        "calibration": curves["calibration"],
        "matching": block["caution"] or "",
        "detectable": told["detectable"],
        "margin": told["margin"],
    }


def _columns(points: Any) -> dict[str, Any] | None:
    """Return points of a curve as columns."""
    if not points:
        return None
    return {"share" if name == "x" else name: [p[name] for p in points] for name in points[0]}


def _baseline_risk(spec: StudySpec, whole: Whole) -> tuple[FloatArray, str]:
    """Return the outcome expected of all patients whatever their treatment, from models that did not see them.

    A risk learned from the control arm alone would share the errors of the effects that it is set against.
    """
    risk, title = whole.nuisances.blind_risk, "Outcome expected whatever the treatment, cross-fitted"
    return np.clip(risk, 0.0, 1.0) if whole.of_risk else risk, title


# -------------------------------------------------------------------------------------------------------------- policy


def _policy(spec: StudySpec, judged: _Judged, calibrated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what rules of treatment are worth on the test part, against treating all, nobody and as was done."""
    rows, n, preferences = judged.rows, judged.nuisances, preferences_of(spec)
    common: dict[str, Any] = {
        "better": better_effect(spec),
        "preferences": preferences,
        "propensity": n.propensity,
        "mu0": n.mu0,
        "mu1": n.mu1,
        "patient": rows.patient,
        "level": spec.evaluate.level,
    }
    limit = float(calibrated["threshold"]["value"])
    rules: dict[str, tuple[str, FloatArray]] = {
        "treat_all": ("Treat everyone", np.ones(rows.Y.size)),
        "treat_none": ("Treat nobody", np.zeros(rows.Y.size)),
        "by_benefit": (
            f"Treat where the predicted benefit is above {limit:.3g}",
            (judged.benefit > limit).astype(np.float64)
            if spec.policy.budget is not None
            else treat_above(judged.benefit, preferences),
        ),
    }
    if spec.policy.budget is not None:
        rules["by_budget"] = (
            f"Treat the {100 * spec.policy.budget:g} % with the largest predicted benefit",
            treat_top(judged.benefit, spec.policy.budget, preferences),
        )
    tree = calibrated.get("tree")
    if tree is not None:
        rebuilt = PolicyTree.from_state(tree["state"])
        readable = judged.data.readable(judged.learned.rows)
        named = "Policy tree" if spec.policy.budget is None else "Policy tree, whatever the budget"
        rules["policy_tree"] = (named, np.asarray(rebuilt.predict(readable.transform(judged.raw)), dtype=float))
    table, T = [], rows.T.astype(np.int8)
    for name, (title, rule) in rules.items():
        try:
            found = evaluate_policy(rows.Y, T, rule, **common).to_dict()
        except (NotEstimableError, DataError) as error:
            table.append({"name": name, "title": title, "treated_share": float(np.mean(rule)), "note": error.got})
            continue
        table.append(
            {
                "name": name,
                "title": title,
                "treated_share": found["share_treated"]["value"],
                "value": found["value"],
                "against_all": None if name == "treat_all" else found["net_gain"]["all"],
                "against_none": None if name == "treat_none" else found["net_gain"]["none"],
                "against_current": found["net_gain"]["current"],
            }
        )
    fractions = targeted_fraction(rows.Y, T, judged.benefit, **common).to_dict()
    points = fractions["points"]
    best = next((row for row in table if row["name"] == "by_benefit"), None)
    return {
        "rows": table,
        "tree": None if tree is None else {"rules": tree["rules"], "depth": spec.policy.tree_depth},
        "fractions": {
            "share": [p["share"] for p in points],
            "value": [p["gain"] for p in points],
            "lower": [p["gain_lower"] for p in points],
            "upper": [p["gain_upper"] for p in points],
            "random": [p["random"] for p in points],
        },
        "preferences": {**preferences.to_dict(), "budget": spec.policy.budget},
        "limit": limit,
        "rule": calibrated["threshold"]["rule"],
        "sentence": _policy_sentence(best),
    }


def _policy_sentence(row: Mapping[str, Any] | None) -> str:
    gain, share = (row or {}).get("against_all"), (row or {}).get("treated_share")
    if share == 1.0:
        return "Predicted benefit is above the limit for everyone of the test part: the rule would treat everyone."
    if gain is None or gain["value"] is None or gain["lower"] is None:
        return "Whether treating by predicted benefit gains over treating everyone could not be estimated."
    if gain["lower"] > 0:
        return "Treating by predicted benefit gains over treating everyone."
    if gain["upper"] < 0:
        return "Treating by predicted benefit loses against treating everyone."
    return "Treating by predicted benefit is not shown to differ from treating everyone."


# --------------------------------------------------------------------------------------------------------- performance


def _performance(
    spec: StudySpec, cohort: Cohort, judged: _Judged, block: Mapping[str, Any], effect: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the block that criteria and tables read: contrasts of all patients, measures of the test part."""
    primary = next(row for row in effect["average"] if row["primary"])["measures"]
    # Some contrasts have one adjusted estimator only, as hazards have, and some none: then the arms as they are.
    by_name: dict[str, Mapping[str, Any]] = {row["name"]: row["measures"] for row in effect["average"]}
    adjusted, crude = by_name.get("standardisation", {}), by_name.get("unadjusted", {})
    measures: dict[str, Any] = {}
    for name in spec.contrasts():
        measures[name] = (
            primary.get(name)
            or adjusted.get(name)
            or _as_observed(crude.get(name))
            or missing(name, "no estimator gave it", cohort.n, spec.evaluate.level)
        )
    measures |= block["measures"]
    weighted = effect["balance"]["max_smd_weighted"]
    largest = weighted if weighted is not None else effect["balance"]["max_smd"]
    # It describes these arms and is no estimate of anything else, so its interval is itself.
    measures["max_smd"] = {
        **missing("max_smd", "after weighting" if weighted is not None else "", cohort.n, spec.evaluate.level),
        "value": largest,
        "lower": largest,
        "upper": largest,
        "method": "largest standardised difference of the arms; a description, not an estimate",
    }
    rule: Mapping[str, Any] = next((row for row in effect["policy"]["rows"] if row["name"] == "by_benefit"), {})
    gain = rule.get("against_all")
    measures["policy_gain"] = (
        {**gain, "name": "policy_gain"}
        if gain
        else missing("policy_gain", "no value of the rule", judged.rows.Y.size, spec.evaluate.level)
    )
    return {
        "kind": "effect",
        "n": block["n"],
        "events": block["events"] or 0,
        "patients": block["patients"],
        "treated": block["treated"],
        "unit": spec.outcome.unit,
        "draws": block["draws"],
        "level": block["level"],
        "interval_method": "influence functions by patient",
        "measures": measures,
        "baselines": {name: {} for name in block["differences"]},
        "differences": block["differences"],
        "without_prediction": int((~np.isfinite(judged.effect)).sum()),
    }


def _as_observed(measure: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a measure with the note that nothing was adjusted for."""
    if measure is None:
        return None
    notes = [str(measure.get("note") or ""), "the arms as they are: nothing was adjusted for"]
    return {**measure, "note": "; ".join(note for note in notes if note)}


# --------------------------------------------------------------------------------------------------------- explanation


def explain(
    spec: StudySpec, cohort: Cohort, split: Split, model: EffectsModel, progress: Progress = silent
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Say what predicted effects depend on, and what they mean for typical patients in absolute numbers."""
    judged = _Judged(spec, cohort, split, model)
    scores = benefit_of(spec, judged.nuisances.scores(judged.rows.Y, judged.rows.T))

    def metric(benefit: FloatArray, rows: NDArray[np.int64]) -> float:
        try:
            return float(rate(scores[rows], benefit, target="AUTOC"))
        except NotEstimableError:
            return 0.0

    def effect(X: FloatArray) -> FloatArray:
        return model.effect(X)

    raw_train = judged.data.matrix(judged.data.modifiers, judged.learned.rows)
    inside = None
    if spec.explain.shap:
        inside = Inside(
            estimator=_Function(model),
            background=raw_train[:_FUNCTION_ROWS],
            rows=judged.raw,
            origin=[v.name for v in model.variables],
            family="function",
        )
    block = build_explanation(
        lambda X: benefit_of(spec, model.effect(X)),
        effect,
        judged.raw,
        model.variables,
        metric,
        "autoc",
        patient=judged.rows.patient,
        inside=inside,
        repeats=spec.explain.repeats,
        n_effects=spec.explain.effects,
        level=spec.evaluate.level,
        seed=spec.study.seed,
        most_rows=_EXPLAINED,
        importance_rows=max(200, min(_EXPLAINED, _ASKED // (spec.explain.repeats * len(model.variables)))),
        progress=progress,
    )
    labels = arm_labels(judged.data.treatment)
    return {**block, "kind": "effect", "patients": typical_patients(spec, model, raw_train, labels)}, {}


class _Function:
    """A model of effects as something that predicts, for explanations that look at it from outside."""

    shap_scale = "effect"

    def __init__(self, model: EffectsModel) -> None:
        self._model = model

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the effect of raw modifiers."""
        return self._model.effect(X)


def audit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: EffectsModel,
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Repeat the average effect in each declared group of all patients, and test whether it is one."""
    return Whole(spec, cohort, split).subgroups() if spec.subgroups.columns else None


def facts(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: EffectsModel,
    fitted: Mapping[str, Any],
    performance: Mapping[str, Any],
) -> Facts:
    """Return what the record says of the fitted model: its preparation, its inputs, and the constant effect beside."""
    train = split.parts["train"]
    data = EffectData(spec, cohort)
    schema = describe(
        model,
        data.matrix(model.variables, train),
        patient=cohort.patient[train],
        missing_codes={name: v.missing_codes for name, v in spec.variables.items() if v.missing_codes},
    )
    return Facts(
        model={"preparation": [dict(step) for step in model.preparation.steps_], "ratio_name": None},
        simple=_beside_constant(fitted, performance),
        inputs=inputs_of(schema),
        schema=schema,
    )


def _beside_constant(fitted: Mapping[str, Any], performance: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether predicted effects are better than the same effect for everyone."""
    gap = performance["differences"]["constant_effect"]["dr_loss"]
    if gap["value"] is None or gap["lower"] is None:
        return {"beaten": None, "sentence": "The difference to the same effect for everyone could not be estimated."}
    text = f"{gap['value']:+.3g} ({gap['lower']:+.3g} to {gap['upper']:+.3g})"
    if gap["upper"] < 0:
        return {
            "beaten": True,
            "sentence": f"{fitted['title']} predicts effects better than the same effect for everyone: DR-loss {text} "
            "on the test part.",
        }
    worse = gap["lower"] > 0
    told = "is worse than" if worse else "is not shown to beat"
    return {
        "beaten": False if worse else None,
        "sentence": f"{fitted['title']} {told} the same effect for everyone: DR-loss {text} on the test part. "
        "The average effect should be preferred.",
    }
