"""What a study of effects works on: arms, modifiers, covariates and an outcome on the scale of the effect."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aimed.core import (
    Binary,
    Cohort,
    CompetingRisks,
    Continuous,
    DataError,
    NotEstimableError,
    StudyFileError,
    Survival,
    Variable,
)
from aimed.fit.prepare import Preparation
from aimed.metrics.arrays import FloatArray
from aimed.study.arms import treated_of
from aimed.study.spec import StudySpec
from aimed.treatment.censored import Contrast, PseudoOutcome, pseudo_outcome
from aimed.treatment.nuisances import Nuisances, fit_nuisances

__all__ = ["EffectData", "Rows", "better_effect"]

_PSEUDO: dict[str, Contrast] = {
    "risk_difference": "risk",
    "rmst_difference": "rmst",
    "time_lost_difference": "time_lost",
}
"""What is made of a time to event for each scale of effects."""

_FOLDS = 5


def better_effect(spec: StudySpec) -> Literal["lower", "higher"]:
    """Return which effects are good: [estimand] better is of the outcome, and time without an event turns it round."""
    better = spec.estimand.better
    if spec.effect_scale() != "rmst_difference":
        return better
    return "higher" if better == "lower" else "lower"


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a study of effects, prepared.

    Parameters
    ----------
    rows : int array
        Their places in the cohort.
    Y : float array, shape (r,)
        Outcome on the scale of the effect: 0/1, a measurement, or a pseudo-outcome of the time to event.
    T : bool array, shape (r,)
    X : float array, shape (r, f)
        Prepared modifiers.
    W : float array, shape (r, q), or None
        Prepared further covariates.
    patient : int array, shape (r,), or None
        None where every row is a patient of its own.
    propensity : float array, shape (r,), or None
        Known chance of treatment, of a trial.
    pseudo : PseudoOutcome, optional
        How a time to event became Y.
    """

    rows: NDArray[np.int64]
    Y: FloatArray
    T: NDArray[np.bool_]
    X: FloatArray
    W: FloatArray | None
    patient: NDArray[np.int64] | None
    propensity: FloatArray | None
    pseudo: PseudoOutcome | None = None

    def take(self, places: NDArray[Any]) -> Rows:
        """Return some of them; the outcome stays as it was made for all."""
        return Rows(
            self.rows[places],
            self.Y[places],
            self.T[places],
            self.X[places],
            None if self.W is None else self.W[places],
            None if self.patient is None else self.patient[places],
            None if self.propensity is None else self.propensity[places],
            self.pseudo,
        )

    def fully_seen(self) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Return the rows whose outcome was seen, that outcome, and what each stands for where others were censored."""
        if self.pseudo is None:
            return np.arange(self.Y.size), self.Y, np.ones(self.Y.size)
        seen = np.flatnonzero(self.pseudo.known & (self.pseudo.weights > 0))
        return seen, self.pseudo.seen[seen], self.pseudo.weights[seen]

    def nuisances(self, spec: StudySpec) -> Nuisances:
        """Fit what the estimators share on these rows."""
        try:
            with warnings.catch_warnings():
                # Weak overlap is a block of its own in the record.
                warnings.simplefilter("ignore", UserWarning)
                found = fit_nuisances(
                    self.Y,
                    self.T,
                    self.X,
                    self.W,
                    outcome_model=spec.model.outcome_model,
                    propensity_model=spec.model.propensity_model,
                    propensity=self.propensity,
                    folds=spec.split.tune.folds,
                    patient=self.patient,
                    random_state=spec.study.seed,
                )
        except NotEstimableError as error:
            raise NotEstimableError(
                f"{error.got}, in {self.Y.size} rows of the study",
                error.expected,
                "lower [split] tune.folds, or take a study with more patients in either arm",
            ) from None
        return replace(found, mu0=self._possible(found.mu0), mu1=self._possible(found.mu1))

    def _possible(self, mean: FloatArray) -> FloatArray:
        """Return expected outcomes moved into what there can be: stand-ins of times are learned without bounds.

        One patient far from the others would else decide an average, by an expected risk of many hundred per cent.
        """
        if self.pseudo is None:
            return mean
        return np.clip(mean, 0.0, 1.0 if self.pseudo.contrast == "risk" else self.pseudo.horizon)

    def judged_by(self, nuisances: Nuisances) -> Nuisances:
        """Return what models fitted on other rows say of these."""
        mu0, mu1, chance = nuisances.predict(self.X, self.W)
        known = self.propensity if chance is None else chance
        if known is None:
            raise TypeError("nuisances without a model of treatment need a known chance of it")
        return Nuisances(
            mu0=self._possible(mu0),
            mu1=self._possible(mu1),
            propensity=known,
            fold=np.zeros(self.Y.size, dtype=np.int64),
            known_propensity=nuisances.known_propensity,
            patient=self.patient,
            binary=nuisances.binary,
        )


class EffectData:
    """The cohort of a study of effects as arrays.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
    """

    def __init__(self, spec: StudySpec, cohort: Cohort) -> None:
        if spec.treatment is None:
            raise TypeError("a study of effects is needed")
        self.spec, self.cohort, self.treatment = spec, cohort, spec.treatment
        self.treated = treated_of(cohort)
        codes = np.unique(cohort.patient, return_inverse=True)[1].astype(np.int64)
        self.patient = None if int(codes.max()) + 1 == codes.size else codes

    @cached_property
    def modifiers(self) -> tuple[Variable, ...]:
        """What effects may depend on."""
        said = self.spec.predictors
        named = said.modifiers if said.modifiers is not None else said.adjust
        return self._variables(named)

    @cached_property
    def others(self) -> tuple[Variable, ...]:
        """What outcomes and treatment may depend on beside the modifiers: covariates to adjust for, and strata."""
        inside = {v.name for v in self.modifiers}
        adjust = [v for v in self._variables(self.spec.predictors.adjust) if v.name not in inside]
        known = inside | {v.name for v in adjust}
        strata = [self.cohort.variable(name) for name in self.treatment.strata if name not in known]
        for v in strata:
            if v.kind not in ("number", "category"):
                raise StudyFileError(
                    f"[treatment] strata names '{v.name}', a {v.kind} column", "a number or a category"
                )
        return (*adjust, *strata)

    def _variables(self, named: tuple[str, ...] | None) -> tuple[Variable, ...]:
        if named is None:
            return self.cohort.predictors
        return tuple(self.cohort.variable(name) for name in named)

    def matrix(self, variables: tuple[Variable, ...], rows: NDArray[np.int64]) -> FloatArray:
        """Return raw columns of some rows, NaN where missing."""
        return self.cohort.matrix([v.name for v in variables])[rows]

    def preparation(
        self, variables: tuple[Variable, ...], rows: NDArray[np.int64], missing: str | None = None
    ) -> Preparation:
        """Return a preparation fitted on some rows, without their outcomes."""
        said, inside = self.spec.predictors, {v.name for v in variables}
        nonlinear = {k: v for k, v in said.nonlinear.items() if k in inside}
        found = Preparation(variables, missing=missing or said.missing, nonlinear=nonlinear)
        return found.fit(self.matrix(variables, rows))

    def readable(self, rows: NDArray[np.int64]) -> Preparation:
        """Return a preparation of the modifiers in their own units, for rules that people read."""
        found = Preparation(self.modifiers, missing="mean", standardise=False, encode="one_hot_full")
        return found.fit(self.matrix(self.modifiers, rows))

    def titles(self, preparation: Preparation) -> list[str]:
        """Return what prepared columns are called by people."""
        pairs = zip(preparation.feature_names_out_, preparation.feature_origin_, strict=True)
        return [name.replace(origin, self.cohort.variable(origin).title, 1) for name, origin in pairs]

    @property
    def propensity(self) -> float | None:
        """The known chance of the active treatment in a trial; None in other data, and in a trial of unknown ratio."""
        ratio = self.treatment.ratio
        return None if ratio is None else ratio[0] / (ratio[0] + ratio[1])

    def chance(self, rows: NDArray[np.int64]) -> FloatArray | None:
        """Return the chance of treatment that randomisation gave; the observed share where no ratio is named."""
        if self.treatment.assignment != "randomised":
            return None
        known = self.propensity
        return np.full(rows.size, float(self.treated.mean()) if known is None else known)

    def outcome(
        self, rows: NDArray[np.int64], covariates: FloatArray | None
    ) -> tuple[FloatArray, PseudoOutcome | None]:
        """Return the outcome of some rows on the scale of the effect, learned from these rows alone.

        Parameters
        ----------
        rows : int array
        covariates : float array, shape (r, f)
            On which censoring and event may depend.
        """
        outcome = self.cohort.outcome
        if isinstance(outcome, Binary | Continuous):
            return np.asarray(outcome.values, dtype=np.float64)[rows], None
        if not isinstance(outcome, Survival | CompetingRisks):
            raise TypeError("an outcome of effects is needed")
        code = outcome.cause if isinstance(outcome, CompetingRisks) else outcome.event
        who, treated = np.unique(self.cohort.patient[rows], return_index=True)[1], self.treated[rows]
        smallest = min(int(treated[who].sum()), int((~treated[who]).sum()))
        found = pseudo_outcome(
            np.asarray(code)[rows],
            np.asarray(outcome.time)[rows],
            treated,
            covariates,
            horizon=self.spec.outcome.at()[0],
            contrast=_PSEUDO[self.spec.effect_scale()],
            method="aipw",
            # Few rows are held out of a small study; each fold has two patients of either arm at the least.
            folds=max(1, min(_FOLDS, smallest // 2)),
            patient=None if self.patient is None else self.patient[rows],
            random_state=self.spec.study.seed,
        )
        return found.values, found

    def rows(self, rows: NDArray[np.int64], preparations: Mapping[str, Preparation | None]) -> Rows:
        """Return some rows with preparations fitted before, on these rows or on others."""
        modifiers, others = preparations["modifiers"], preparations["others"]
        if modifiers is None:
            raise TypeError("modifiers are prepared")
        X = np.asarray(modifiers.transform(self.matrix(self.modifiers, rows)), dtype=np.float64)
        W = None
        if others is not None and others.feature_names_out_:
            W = np.asarray(others.transform(self.matrix(self.others, rows)), dtype=np.float64)
        Y, pseudo = self.outcome(rows, X if W is None else np.column_stack([X, W]))
        return Rows(
            rows,
            Y,
            self.treated[rows],
            X,
            W,
            None if self.patient is None else self.patient[rows],
            self.chance(rows),
            pseudo,
        )

    def preparations(self, rows: NDArray[np.int64], missing: str | None = None) -> dict[str, Preparation | None]:
        """Fit the preparations of modifiers and of further covariates on some rows.

        Parameters
        ----------
        rows : int array
        missing : str, optional
            In place of what the study file says of missing values.

        Raises
        ------
        DataError
            If no modifier differs between the patients.
        """
        if not self.modifiers:
            raise StudyFileError(
                "no column of [predictors] may modify the effect",
                "at least one",
                "name columns measured before treatment in [predictors] modifiers",
            )
        modifiers = self.preparation(self.modifiers, rows, missing)
        if not modifiers.feature_names_out_:
            raise DataError(
                f"none of the {len(self.modifiers)} columns of [predictors] modifiers differs in {rows.size} rows",
                "at least one number or category with two values",
                "name other columns in [predictors] modifiers",
            )
        return {
            "modifiers": modifiers,
            "others": self.preparation(self.others, rows, missing) if self.others else None,
        }
