"""What a study of effects says of all its patients: flow, arms, balance, overlap, average effects and placebos."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import (
    Binary,
    Cohort,
    CompetingRisks,
    Measure,
    NotEstimableError,
    Split,
    StudyFileError,
    Survival,
    Variable,
    is_missing,
)
from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray
from aimed.metrics.result import Estimate, notes
from aimed.study.arms import ARMS, arm_labels
from aimed.study.effect_data import EffectData, Rows, better_effect
from aimed.study.groups import subgroup_labels
from aimed.study.spec import StudySpec
from aimed.study.stages import Progress, silent
from aimed.study.tasks import outcome_label
from aimed.treatment import AVERAGE
from aimed.treatment.average import AverageEffect
from aimed.treatment.balance import balance
from aimed.treatment.hazard import hazard_ratio
from aimed.treatment.nuisances import Nuisances, is_binary
from aimed.treatment.overlap import overlap, trimming
from aimed.treatment.placebo import negative_controls, permuted_treatment
from aimed.treatment.risk_bins import risk_bins
from aimed.treatment.sensitivity import bounding_table, e_value, robustness
from aimed.treatment.subgroup_effects import subgroup_effects
from aimed.treatment.time_to_event import TimeToEvent, arm_curves, time_to_event

__all__ = ["TITLES", "Whole", "primary_estimator"]

TITLES = {
    "unadjusted": "Unadjusted",
    "standardisation": "Covariate-adjusted",
    "weighting": "Inverse probability weights",
    "doubly_robust": "Doubly robust (AIPW)",
    "matching": "Matched on propensity",
}
"""What estimators of the average effect are called."""

_OF_AVERAGE = {
    "risk_difference": "difference",
    "rmst_difference": "difference",
    "time_lost_difference": "difference",
    "mean_difference": "difference",
    "risk_ratio": "ratio",
    "odds_ratio": "odds_ratio",
}
_OF_TIMES = ("rmst_difference", "time_lost_difference")
_OF_HAZARDS = ("unadjusted", "standardisation")
"""Estimators beside which a hazard ratio stands: of Cox regressions without and with the covariates."""
_ASKED = {
    "rmst_difference": "difference of restricted mean time without",
    "time_lost_difference": "difference of mean time lost to",
}
_FEW_EVENTS = 5
_FOR_REGRESSION = 2
_BALANCED = 0.1
_PLACES = re.compile(r"\bcolumns? (\d+(?:, \d+)*)")
_STRENGTHS = (1.25, 1.5, 2.0, 3.0, 5.0)
_QUARTERS = ("Lowest risk", "Second quarter", "Third quarter", "Highest risk")


def primary_estimator(spec: StudySpec) -> str:
    """Return the estimator that answers the question: named in the study file, or by how patients were assigned."""
    if spec.treatment is None:
        raise TypeError("a study of effects is needed")
    hazards = spec.contrasts()[0] == "hazard_ratio"
    usual = "standardisation" if spec.treatment.assignment == "randomised" or hazards else "doubly_robust"
    if hazards and spec.estimand.estimator not in (None, *_OF_HAZARDS):
        raise StudyFileError(
            f"[estimand] estimator '{spec.estimand.estimator}' gives no hazard ratio",
            f"one of: {', '.join(_OF_HAZARDS)}",
            "leave the estimator out, or choose another contrast",
        )
    return spec.estimand.estimator or usual


class Whole:
    """All patients of a study of effects, both parts together.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
    split : Split

    Notes
    -----
    The average effect is estimated, not learned, so that it takes all patients; models of who benefits are judged on
    the test part alone.
    """

    def __init__(self, spec: StudySpec, cohort: Cohort, split: Split) -> None:
        if spec.treatment is None:
            raise TypeError("a study of effects is needed")
        self.spec, self.cohort, self.split = spec, cohort, split
        self.treatment, self.level, self.seed = spec.treatment, spec.evaluate.level, spec.study.seed
        self.data = EffectData(spec, cohort)
        every = np.arange(cohort.n)
        # Chance made the arms alike in what is missing too, and the few rows of an indicator often have one outcome,
        # which leaves the regression of an arm open.
        asked = "missing" in spec.predictors.model_fields_set or self.treatment.assignment != "randomised"
        self.preparations = self.data.preparations(every, None if asked else "mean")
        self.rows: Rows = self.data.rows(every, self.preparations)
        self.nuisances: Nuisances = self.rows.nuisances(spec)
        self.of_risk = spec.effect_scale() == "risk_difference"
        self.timed = isinstance(cohort.outcome, Survival | CompetingRisks)
        self.crude: TimeToEvent | None = self._time_to_event() if self.timed else None

    # ------------------------------------------------------------------------------------------------ the question

    def estimand(self) -> dict[str, Any]:
        """Return the question in the words of ICH E9(R1)."""
        spec, labels, told = self.spec, arm_labels(self.treatment), self.spec.estimand
        contrasts = spec.contrasts()
        horizon = spec.outcome.at()[0] if spec.outcome.at() else None
        by = "" if horizon is None else f" by {horizon:g} {spec.outcome.unit}s"
        how = "randomised to" if self.treatment.assignment == "randomised" else "who were given"
        sentence = (
            f"In {spec.study.population or told.population or 'the patients of the table'}, what is the "
            f"{_ASKED.get(contrasts[0]) or contrasts[0].replace('_', ' ') + ' of'} {outcome_label(spec)}{by} between "
            f"{labels['active']} and {labels['control']}, in patients {how} either?"
        )
        return {
            "population": told.population,
            "treatment": labels["active"],
            "control": labels["control"],
            "assignment": self.treatment.assignment,
            "outcome": outcome_label(spec),
            "better": told.better,
            "contrast": contrasts[0],
            "contrasts": list(contrasts),
            "scale": spec.effect_scale(),
            "horizon": horizon,
            "unit": spec.outcome.measured_in or spec.outcome.unit,
            "strata": list(self.treatment.strata),
            "estimator": primary_estimator(spec),
            "intercurrent": [{"event": k, "strategy": v} for k, v in told.intercurrent.items()],
            "sentence": sentence,
        }

    # --------------------------------------------------------------------------------------------- flow and the arms

    def flow(self) -> dict[str, Any]:
        """Return how many rows there were, why some are out, and what became of the arms."""
        cohort, labels = self.cohort, arm_labels(self.treatment)
        events, censored = self._events(), self._censored_early()
        arms = []
        for key in ARMS:
            mask = self._arm(key)
            parts = {p: int(mask[rows].sum()) for p, rows in self.split.parts.items()}
            arms.append(
                {
                    "key": key,
                    "label": labels[key],
                    "assigned": int(mask.sum()),
                    "analysed": int(mask.sum()),
                    "events": None if events is None else int(events[mask].sum()),
                    "censored_early": None if censored is None else int(censored[mask].sum()),
                    "missing_outcome": 0,
                    **parts,
                }
            )
        steps = list(cohort.flow)
        first = steps[0].remaining if steps else cohort.n
        return {
            "source_rows": first,
            "excluded": [{"reason": s.step, "n": s.removed} for s in steps if s.removed],
            "assigned": cohort.n,
            "arms": arms,
        }

    def _arm(self, key: str) -> NDArray[np.bool_]:
        return self.rows.T if key == "active" else ~self.rows.T

    def _events(self) -> NDArray[np.bool_] | None:
        outcome = self.cohort.outcome
        if isinstance(outcome, Binary):
            return np.asarray(outcome.values == 1)
        if isinstance(outcome, Survival | CompetingRisks):
            event = outcome.cause == 1 if isinstance(outcome, CompetingRisks) else outcome.event
            return np.asarray(event & (outcome.time <= self.spec.outcome.at()[0]))
        return None

    def _censored_early(self) -> NDArray[np.bool_] | None:
        outcome = self.cohort.outcome
        if not isinstance(outcome, Survival | CompetingRisks):
            return None
        ended = outcome.cause > 0 if isinstance(outcome, CompetingRisks) else outcome.event
        return np.asarray(~ended & (outcome.time < self.spec.outcome.at()[0]))

    def _time_to_event(self) -> TimeToEvent:
        event, time = self._times()
        return time_to_event(
            event,
            time,
            self.rows.T,
            horizon=self.spec.outcome.at()[0],
            patient=self.rows.patient,
            level=self.level,
        )

    def _times(self) -> tuple[NDArray[Any], FloatArray]:
        outcome = self.cohort.outcome
        if isinstance(outcome, CompetingRisks):
            return np.asarray(outcome.cause), np.asarray(outcome.time)
        if isinstance(outcome, Survival):
            return np.asarray(outcome.event).astype(np.int64), np.asarray(outcome.time)
        raise TypeError("a time to event is needed")

    def _crude(self) -> AverageEffect:
        """Return the effect with the arms taken as they are, censoring met by Kaplan-Meier or Aalen-Johansen."""
        if self.crude is None:
            return self._estimated("unadjusted", self.rows)
        return self._on_scale(self.crude, self.spec.effect_scale())

    @staticmethod
    def _on_scale(found: TimeToEvent, scale: str) -> AverageEffect:
        return {"rmst_difference": found.rmst, "time_lost_difference": found.time_lost}.get(scale, found.risk)

    def arms(self) -> list[dict[str, Any]]:
        """Return the outcome of either arm as it is."""
        found, labels, events = self._crude(), arm_labels(self.treatment), self._events()
        out = []
        for key in ARMS:
            mask, mean = self._arm(key), found.treated if key == "active" else found.control
            count = None if events is None else int(events[mask].sum())
            out.append(
                {
                    "key": key,
                    "label": labels[key],
                    "n": int(mask.sum()),
                    "events": count,
                    "rate": record(mean, "rate", events=count),
                }
            )
        return out

    def unadjusted_measures(self) -> dict[str, Any]:
        """Return every contrast of the arms as they are."""
        found = self._crude()
        out: dict[str, Any] = {}
        for name in self.spec.contrasts():
            if name == "hazard_ratio":
                out[name] = self._hazard(adjusted=False)
            elif name in _OF_TIMES and self.crude is not None:
                out[name] = record(self._on_scale(self.crude, name).difference, name)
            else:
                out[name] = record(getattr(found, _OF_AVERAGE[name]), name)
        if self.of_risk:
            out["relative_risk_reduction"] = record(found.relative_reduction, "relative_risk_reduction")
            out["number_needed_to_treat"] = self._number_needed(found)
        return out

    def _number_needed(self, found: AverageEffect) -> dict[str, Any] | None:
        try:
            made = self._as_risk(found).records(["number_needed"], better=self.spec.estimand.better)["number_needed"]
        except (NotEstimableError, DataError):
            return None
        return {**made, "name": "number_needed_to_treat"}

    def _as_risk(self, found: AverageEffect) -> AverageEffect:
        """Return an effect whose means are risks, though pseudo-outcomes are no zeros and ones."""
        return replace(found, binary=True) if self.of_risk and not found.binary else found

    def _hazard(self, *, adjusted: bool) -> dict[str, Any]:
        event, time = self._times()
        strata = self._strata()
        X = self._beside_strata() if adjusted else None
        try:
            found = hazard_ratio(
                (event == 1).astype(np.int8),
                time,
                self.rows.T.astype(np.int8),
                X,
                strata=strata,
                patient=self.rows.patient,
                level=self.level,
            )
        except (NotEstimableError, DataError) as error:
            return missing("hazard_ratio", error.got, self.cohort.n, self.level)
        return record(found.headline, "hazard_ratio")

    def _beside_strata(self) -> FloatArray:
        """Return the covariates that are no strata: within a stratum these are the same for everyone."""
        others = self.preparations["others"]
        if self.rows.W is None or others is None:
            return self.rows.X
        keep = [name not in self.treatment.strata for name in others.feature_origin_]
        return np.column_stack([self.rows.X, self.rows.W[:, keep]])

    def _strata(self) -> NDArray[np.int64] | None:
        if not self.treatment.strata:
            return None
        columns = []
        for name in self.treatment.strata:
            column = np.asarray(self.cohort.column(name), dtype=np.float64)
            columns.append(np.unique(np.nan_to_num(column, nan=-1.0), return_inverse=True)[1])
        return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].ravel().astype(np.int64)

    def curves(self) -> dict[str, Any] | None:
        """Return the chance of the event over time in either arm, with who is still followed."""
        if not self.timed:
            return None
        event, time = self._times()
        horizon = self.spec.outcome.at()[0]
        ticks = np.linspace(0.0, horizon, 6)
        pair = arm_curves(
            event,
            time,
            self.rows.T,
            horizon=horizon,
            patient=self.rows.patient,
            level=self.level,
            ticks=ticks,
        )
        labels, grid = arm_labels(self.treatment), np.linspace(0.0, horizon, 81)
        by_key = {"active" if one.treated else "control": one for one in pair}
        drawn = []
        for key in ARMS:
            one = by_key[key]
            at = np.maximum(np.searchsorted(one.times, grid, side="right") - 1, 0)
            drawn.append(
                {
                    "key": key,
                    "label": labels[key],
                    "risk": one.incidence[at],
                    "lower": one.lower[at],
                    "upper": one.upper[at],
                }
            )
        return {
            "times": grid,
            "unit": self.spec.outcome.unit,
            "arms": drawn,
            "at_risk": {
                "times": ticks,
                "counts": {key: [int(v) for v in by_key[key].at_risk] for key in ARMS},
            },
        }

    # ------------------------------------------------------------------------------------------ balance and overlap

    def balance(self) -> dict[str, Any]:
        """Return what the arms were like before treatment, and how far apart."""
        variables = [v for v in (*self.data.modifiers, *self.data.others) if v.kind in ("number", "category")]
        weights = None
        if not self.nuisances.known_propensity:
            e = self.nuisances.propensity
            weights = np.where(self.rows.T, 1.0 / e, 1.0 / (1.0 - e))
        return balance_block(self.cohort, variables, self.rows.T, weights)

    def overlap(self) -> dict[str, Any]:
        """Return who could have had either treatment."""
        e, T = self.nuisances.propensity, self.rows.T.astype(np.int8)
        if self.nuisances.known_propensity:
            share = float(np.mean(e))
            sizes = {"active": int(self.rows.T.sum()), "control": int((~self.rows.T).sum())}
            return {
                "known": True,
                "edges": [],
                "active": [],
                "control": [],
                "lowest": float(e.min()),
                "highest": float(e.max()),
                "outside": 0,
                "effective": {key: float(n) for key, n in sizes.items()},
                "n": sizes,
                "trimmed": None,
                "auc": None,
                "sentence": f"Chance gave {100 * share:.1f} % of the patients the active treatment, whatever they were "
                "like: everyone could have been in either arm.",
            }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = overlap(T, e, patient=self.rows.patient, level=self.level)
            cut = trimming(e, T)
        return {
            "known": False,
            "edges": found.edges,
            "active": found.treated,
            "control": found.control,
            "lowest": found.lowest,
            "highest": found.highest,
            "outside": found.outside,
            "effective": {"active": found.effective_treated, "control": found.effective_control},
            "n": {"active": found.n_treated, "control": found.n_control},
            "trimmed": self._trimmed(cut),
            "auc": record(found.auc, "auc"),
            "sentence": self._overlap_sentence(found),
        }

    def _overlap_sentence(self, found: Any) -> str:
        if found.good:
            return "The arms overlap."
        labels = arm_labels(self.treatment)
        return (
            f"The arms overlap poorly: weighted, {found.n_treated} patients with {labels['active']} count as "
            f"{found.effective_treated:.0f} and {found.n_control} with {labels['control']} as "
            f"{found.effective_control:.0f}, so that few patients decide; the trimmed estimate is the safer one."
        )

    def _trimmed(self, cut: Any) -> dict[str, Any] | None:
        if cut.n == self.cohort.n:
            return None
        try:
            found = self._estimated("doubly_robust", self.rows, trim="crump")
        except (NotEstimableError, DataError):
            return None
        return {
            "low": cut.lower,
            "high": cut.upper,
            "kept": cut.n,
            "n": self.cohort.n,
            "measure": record(found.difference, self.spec.effect_scale()),
        }

    # ---------------------------------------------------------------------------------------------- average effects

    def _estimated(self, name: str, rows: Rows, **more: Any) -> AverageEffect:
        T = rows.T.astype(np.int8)
        if name == "unadjusted":
            # A normal interval of rare events is too short, and of none it has no width.
            exact = self._fewest(rows) < _FEW_EVENTS and rows.patient is None
            interval = "newcombe" if exact else "normal"
            found = AVERAGE[name](rows.Y, T, patient=rows.patient, level=self.level, interval=interval)
        else:
            nuisances = self.nuisances if name == "doubly_robust" and rows.Y is self.rows.Y else None
            if name == "doubly_robust" and nuisances is None:
                nuisances = rows.nuisances(self.spec)
            found = AVERAGE[name](
                rows.Y,
                T,
                rows.X,
                W=rows.W,
                propensity=rows.propensity if name != "standardisation" else None,
                nuisances=nuisances,
                patient=rows.patient,
                level=self.level,
                **more,
            )
        return self._as_risk(found)

    @staticmethod
    def _fewest(rows: Rows) -> float:
        """Return the smallest number of events or of others in an arm; infinite where the outcome is not 0/1."""
        if not is_binary(rows.Y):
            return math.inf
        sides, arms = (rows.Y == 0, rows.Y == 1), (rows.T, ~rows.T)
        return float(min((side & arm).sum() for side in sides for arm in arms))

    def _stands_in(self, primary: str) -> bool:
        """Tell whether the arms as they are may answer for the primary estimator, which could not be fitted.

        Chance made the arms of a trial alike: where an arm has no event for a regression, or one, its difference as
        observed answers the same question.
        """
        alike = self.treatment.assignment == "randomised"
        return alike and primary != "unadjusted" and self._fewest(self.rows) < _FOR_REGRESSION

    def average(self) -> tuple[list[dict[str, Any]], AverageEffect]:
        """Return the average effect by every estimator, and the one that answers the question."""
        primary, table = primary_estimator(self.spec), list[dict[str, Any]]()
        found_by: dict[str, AverageEffect] = {}
        refused = ""
        for name in AVERAGE:
            measures: dict[str, Any] = {}
            note = ""
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    found = self._crude() if name == "unadjusted" else self._estimated(name, self.rows)
                note = self._named(found.note)
                measures = {c: self._contrast(name, found, c) for c in self.spec.contrasts()}
                found_by[name] = found
            except (NotEstimableError, DataError) as error:
                if name == primary and not self._stands_in(primary):
                    raise type(error)(
                        self._named(error.got),
                        error.expected,
                        "adjust for fewer columns in [predictors], or name another [estimand] estimator, such as "
                        f"'{'unadjusted' if name == 'doubly_robust' else 'doubly_robust'}'",
                    ) from None
                note = self._named(error.got)
                refused = note if name == primary else refused
                scale = self.spec.effect_scale()
                measures = {scale: missing(scale, note, self.cohort.n, self.level)}
            table.append(
                {
                    "name": name,
                    "title": TITLES[name],
                    "primary": name == primary,
                    "measures": {k: m for k, m in measures.items() if m is not None},
                    "note": note,
                }
            )
        if refused:
            for row in table:
                row["primary"] = row["name"] == "unadjusted"
                if row["primary"]:
                    said = f"stands in for '{primary}', set before the run, which cannot be estimated: {refused}"
                    row["note"] = notes(said, row["note"])
        return table, found_by["unadjusted" if refused else primary]

    def _named(self, text: str) -> str:
        """Return what an estimator says with the names of columns in place of their places in its table."""
        modifiers, others = self.preparations["modifiers"], self.preparations["others"]
        names = list(modifiers.feature_origin_) if modifiers is not None else []
        if self.rows.W is not None and others is not None:
            names += others.feature_origin_

        def spelt(found: re.Match[str]) -> str:
            told = list(dict.fromkeys(names[int(k)] for k in found[1].split(", ") if int(k) < len(names)))
            if not told:
                return found[0]
            return f"column{'s' if ',' in found[1] else ''} " + ", ".join(f"'{name}'" for name in told)

        return _PLACES.sub(spelt, text)

    def _contrast(self, name: str, found: AverageEffect, contrast: str) -> dict[str, Any] | None:
        """Return one contrast by one estimator; None where only others have it."""
        if contrast == "hazard_ratio":
            adjusted = name == "standardisation"
            return self._hazard(adjusted=adjusted) if name in _OF_HAZARDS else None
        if contrast in _OF_TIMES and contrast != self.spec.effect_scale():
            if name != "unadjusted" or self.crude is None:
                return None
            return record(self._on_scale(self.crude, contrast).difference, contrast)
        if contrast not in (self.spec.effect_scale(), "risk_ratio", "odds_ratio"):
            return None
        return record(getattr(found, _OF_AVERAGE[contrast]), contrast)

    def scores(self) -> FloatArray:
        """Return doubly robust scores of the effect, cross-fitted over all patients."""
        return self.nuisances.scores(self.rows.Y, self.rows.T)

    def _by_arm(self) -> tuple[FloatArray, FloatArray] | None:
        """Return scores of the outcome in either arm where chance did not make the arms alike; None in a trial."""
        if self.treatment.assignment == "randomised":
            return None
        return self.nuisances.scores_by_arm(self.rows.Y, self.rows.T)

    # ------------------------------------------------------------------------------------- who benefits, in groups

    def risk_quarters(self, risk: FloatArray, title: str) -> dict[str, Any]:
        """Return the effect in quarters of baseline risk: absolute differences first (PATH)."""
        found = risk_bins(
            self.rows.Y,
            self.rows.T.astype(np.int8),
            risk,
            scores=self.scores(),
            by_arm=self._by_arm(),
            patient=self.rows.patient,
            better=better_effect(self.spec),
            level=self.level,
        ).to_dict()
        rows = []
        for name, one in zip(_QUARTERS, found["bins"], strict=False):
            if one.get("difference") is None:
                continue
            rows.append(
                {
                    "label": name,
                    "n": one["n"],
                    "events": one.get("events"),
                    "mean_risk": one["mean_risk"],
                    "control": one["control"],
                    "active": one["treated"],
                    "difference": one["difference"],
                    "ratio": one.get("ratio"),
                }
            )
        return {
            "model": title,
            "rows": rows,
            "trend": {"p": found["trend"]["p"], "sentence": found["sentence"]},
            "overall": found["overall"]["difference"],
        }

    def subgroups(self) -> dict[str, Any] | None:
        """Return the effect in every declared group, with the tests that it is one."""
        if not self.spec.subgroups.columns:
            return None
        groups = subgroup_labels(self.spec, self.cohort, np.arange(self.cohort.n))
        events = self._events()
        found = subgroup_effects(
            self.rows.Y,
            self.rows.T.astype(np.int8),
            {name: (labels.astype(str), title, order) for name, (labels, title, order) in groups.items()},
            scores=self.scores(),
            by_arm=self._by_arm(),
            events=events,
            min_events=self.spec.subgroups.min_events,
            patient=self.rows.patient,
            better=better_effect(self.spec),
            level=self.level,
        )
        record_ = found.to_dict()
        rows = [
            {
                "column": column["column"],
                "column_label": column["title"],
                "level": one["group"],
                "n": one["n"],
                "events": None if events is None else int(events[groups[column["column"]][0] == one["group"]].sum()),
                "control": one["control"],
                "active": one["treated"],
                "effect": one["difference"],
            }
            for column in record_["columns"]
            for one in column["groups"]
        ]
        return {
            "prespecified": True,
            "rows": rows,
            "interactions": [
                {
                    "column": c["column"],
                    "label": c["title"],
                    "p": c["p"],
                    "p_adjusted": c["p_holm"],
                    "method": f"Wald test, {c['df']} df, Holm over columns",
                }
                for c in record_["columns"]
            ],
            "overall": record_["overall"]["difference"],
            "sentence": " ".join(c["sentence"] for c in record_["columns"]),
            "credibility": [f"{c['title']}: {c['credibility']}" for c in record_["columns"] if c["credibility"]],
        }

    # -------------------------------------------------------------------------------------------------- sensitivity

    def sensitivity(self, answer: AverageEffect) -> dict[str, Any]:
        """Return how strong something unmeasured would have to be to explain the effect away."""
        out: dict[str, Any] = {"e_value": None, "grid": None, "robustness": None, "missing": None, "sentence": ""}
        try:
            if self.of_risk or answer.binary:
                found = e_value(answer.ratio, measure="risk_ratio")
                grid = bounding_table(answer.ratio, strengths=_STRENGTHS)
            else:
                found = e_value(answer.difference, measure="difference", sd=self._outcome_sd())
                grid = None
        except (NotEstimableError, DataError) as error:
            out["sentence"] = f"No E-value: {error.got}."
            return out
        out["e_value"] = {
            "estimate": found.value,
            "limit": found.limit,
            "scale": "risk ratio",
            "sentence": found.sentence,
        }
        out["sentence"] = found.sentence
        if grid is not None:
            cells = {(one["treatment_ratio"], one["outcome_ratio"]): one["value"] for one in grid}
            out["grid"] = {
                "exposure": list(_STRENGTHS),
                "outcome": list(_STRENGTHS),
                "adjusted": [[cells[a, b] for a in _STRENGTHS] for b in _STRENGTHS],
            }
        out["robustness"] = self._robustness()
        if self.treatment.assignment == "randomised":
            out["sentence"] += " In a trial this speaks of what happened after randomisation, such as unequal drop-out."
        return out

    def _outcome_sd(self) -> float:
        """Return the standard deviation of the outcome itself: that of pseudo-outcomes holds the noise of censoring."""
        _, seen, weights = self.rows.fully_seen()
        middle = float(np.average(seen, weights=weights))
        return math.sqrt(float(np.average((seen - middle) ** 2, weights=weights)))

    def _robustness(self) -> dict[str, Any] | None:
        modifiers, others = self.preparations["modifiers"], self.preparations["others"]
        origins = [] if modifiers is None else list(modifiers.feature_origin_)
        X = self.rows.X
        if self.rows.W is not None and others is not None:
            X, origins = np.column_stack([X, self.rows.W]), [*origins, *others.feature_origin_]
        # A confounder is held against whole variables, not against single columns made from them.
        groups: dict[str, list[int]] = {}
        for place, origin in enumerate(origins):
            groups.setdefault(self.cohort.variable(origin).title, []).append(place)
        try:
            found = robustness(
                self.rows.Y,
                self.rows.T.astype(np.int8),
                X,
                benchmarks=groups,
                times=(1.0,),
                patient=self.rows.patient,
                level=self.level,
            )
        except (NotEstimableError, DataError):
            return None
        strongest = max(found.benchmarks, key=lambda one: one.r2_outcome, default=None)
        return {
            "value": found.value,
            "limit": found.limit,
            "partial_r2": found.partial_r2,
            "sentence": found.sentence,
            "benchmark": None
            if strongest is None
            else {
                "covariate": strongest.covariate,
                "times": strongest.times,
                "effect": strongest.effect,
                "lower": strongest.lower,
                "upper": strongest.upper,
            },
        }

    def placebos(self, progress: Progress = silent) -> list[dict[str, Any]]:
        """Return effects that ought to be none: of permuted treatments, and on outcomes treatment cannot change."""
        out: list[dict[str, Any]] = []
        draws, scale = self.spec.sensitivity.placebos, self.spec.effect_scale()
        X = self.rows.X if self.rows.W is None else np.column_stack([self.rows.X, self.rows.W])
        common: dict[str, Any] = {"alpha": 1.0 - self.level, "patient": self.rows.patient}
        if draws:
            try:
                found = permuted_treatment(
                    self._quick,
                    self.rows.Y,
                    self.rows.T.astype(np.int8),
                    X,
                    draws=draws,
                    strata=self._shuffled_within(),
                    seed=self.seed,
                    # Shuffles have better overlap than the arms had, and so smaller errors for weights.
                    studentised=self.nuisances.known_propensity,
                    progress=progress,
                    **common,
                )
                out.append(
                    {
                        "name": "permuted_treatment",
                        "title": "Treatment permuted",
                        "measure": self._of_draws(found, scale),
                        "draws": found.draws,
                        "rejected": None if found.rejected is None else float(found.rejected),
                        "p": found.p if math.isfinite(found.p) else None,
                        "sentence": found.sentence,
                    }
                )
            except (NotEstimableError, DataError) as error:
                why = self._named(error.got)
                out.append(_failed("permuted_treatment", "Treatment permuted", why, self.cohort.n, self.level))
        for name in self.spec.sensitivity.negative_outcomes:
            title = f"Outcome that treatment cannot change: {self.cohort.variable(name).title}"
            values = np.asarray(self.cohort.column(name), dtype=np.float64)
            known = (
                np.isfinite(values) & (values >= 0)
                if self.cohort.variable(name).kind == "category"
                else (np.isfinite(values))
            )
            try:
                one = negative_controls(
                    self._quick,
                    self.rows.Y[known],
                    self.rows.T[known].astype(np.int8),
                    X[known],
                    outcomes={name: values[known]},
                    alpha=1.0 - self.level,
                    patient=None if self.rows.patient is None else self.rows.patient[known],
                )[0]
                out.append(
                    {
                        "name": name,
                        "title": title,
                        "measure": record(one.estimate, name) if isinstance(one.estimate, Estimate) else None,
                        "draws": None,
                        "rejected": None,
                        "p": one.estimate.p if isinstance(one.estimate, Estimate) else None,
                        "sentence": one.sentence,
                    }
                )
            except (NotEstimableError, DataError) as error:
                out.append(_failed(name, title, self._named(error.got), int(known.sum()), self.level))
        return out

    def _of_draws(self, found: Any, scale: str) -> dict[str, Any]:
        """Return the mean estimate under permuted treatment, with the middle share of the draws."""
        known = found.estimates[np.isfinite(found.estimates)]
        low, high = np.quantile(known, [0.5 - self.level / 2, 0.5 + self.level / 2]) if known.size else (None, None)
        return {
            **missing(scale, "", self.cohort.n, self.level),
            "value": float(known.mean()) if known.size else None,
            "lower": None if low is None else float(low),
            "upper": None if high is None else float(high),
            "method": f"mean and middle {100 * self.level:g} % of {known.size} permutations",
        }

    def _shuffled_within(self) -> NDArray[np.int64] | None:
        """Return the strata that treatment is permuted within: of randomisation, or of the propensity."""
        if self.nuisances.known_propensity:
            return self._strata()
        cuts = np.quantile(self.nuisances.propensity, [0.2, 0.4, 0.6, 0.8])
        return np.asarray(np.searchsorted(cuts, self.nuisances.propensity), dtype=np.int64)

    def _quick(self, Y: Any, T: Any, X: Any, **options: Any) -> Estimate:
        """Estimate as placebos are tried: by the primary estimator, or where that is slow by one without folds."""
        name = self._quick_name
        if name == "unadjusted":
            X = None
        found: AverageEffect = AVERAGE[name](Y, T, X, level=self.level, patient=options.get("patient"))
        return found.difference

    @cached_property
    def _quick_name(self) -> str:
        """The estimator of placebos; in a trial too small for covariates the arms as they are."""
        name, trial = primary_estimator(self.spec), self.treatment.assignment == "randomised"
        if name == "doubly_robust":
            name = "standardisation" if trial else "weighting"
        if trial and name != "unadjusted":
            X = self.rows.X if self.rows.W is None else np.column_stack([self.rows.X, self.rows.W])
            try:
                AVERAGE[name](self.rows.Y, self.rows.T.astype(np.int8), X, patient=self.rows.patient)
            except (NotEstimableError, DataError):
                return "unadjusted"
        return name


# ---------------------------------------------------------------------------------------------------------- records


def record(found: Estimate, name: str, **more: Any) -> dict[str, Any]:
    """Return an estimate as a measure of the results, with its p where it has one."""
    out = {**found.measure().to_dict(), "name": name, **{k: v for k, v in more.items() if v is not None}}
    if found.p is not None and math.isfinite(found.p):
        out["p"] = float(found.p)
    return out


def missing(name: str, why: str, n: int, level: float) -> dict[str, Any]:
    """Return a measure that could not be estimated, with the reason."""
    return Measure(name=name, value=None, n=n, level=level, note=why).to_dict()


def _failed(name: str, title: str, why: str, n: int, level: float) -> dict[str, Any]:
    """Return a placebo that could not be tried."""
    return {
        "name": name,
        "title": title,
        "measure": missing(name, why, n, level),
        "draws": None,
        "rejected": None,
        "p": None,
        "sentence": f"Could not be tried: {why}.",
    }


def balance_block(
    cohort: Cohort, variables: list[Variable], treated: NDArray[np.bool_], weights: FloatArray | None
) -> dict[str, Any]:
    """Return the balance of the arms, a row a number or level."""
    table = balance(
        {v.name: _as_read(v, cohort.column(v.name)) for v in variables}, treated.astype(np.int8), weights=weights
    )
    titles = {v.name: v.title for v in variables}
    rows = []
    for row in table.to_dict()["rows"]:
        if row["kind"] == "missing":
            continue
        v = cohort.variable(row["name"])
        empty = is_missing(cohort.column(v.name), v.kind)
        number = row["kind"] == "continuous"
        rows.append(
            {
                "name": v.name,
                "label": titles[v.name],
                "level": row["level"] or None,
                "kind": "number" if number else "share",
                "active": {"mean": row["treated"], "sd": row["sd_treated"] if number else None},
                "control": {"mean": row["control"], "sd": row["sd_control"] if number else None},
                "smd": row["smd"],
                "smd_weighted": row["weighted_smd"],
                "missing": {"active": int(empty[treated].sum()), "control": int(empty[~treated].sum())},
            }
        )
    found = table.to_dict()
    return {
        "rows": rows,
        "max_smd": found["largest"],
        "max_smd_weighted": found["largest_weighted"],
        "limit": _BALANCED,
        "note": found["note"],
    }


def _as_read(v: Variable, column: NDArray[Any]) -> NDArray[Any]:
    """Return a column as words where it is a category, empty where missing."""
    if v.kind == "number":
        return column
    words: NDArray[Any] = np.asarray([*v.categories, ""], dtype=object)[column]
    return words
