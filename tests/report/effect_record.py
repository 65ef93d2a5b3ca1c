"""Complete results dictionaries of studies of effects, made up: a trial with survival, one with yes/no, and care."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from aimed.report.contrast import question

_spec = importlib.util.spec_from_file_location("report_sample_for_effects", Path(__file__).with_name("sample.py"))
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

Z = 1.96


def m(name, value, se=None, n=619, events=264, *, group=None, against=None, note="", lower=None, upper=None):
    if value is not None and se is not None:
        lower, upper = value - Z * se, value + Z * se
    return {
        "name": name,
        "value": value,
        "lower": lower,
        "upper": upper,
        "n": n,
        "events": events,
        "level": 0.95,
        "method": "influence function",
        "group": group,
        "against": against,
        "note": note,
    }


def ratio(name, value, se, **more):
    low, high = (float(np.exp(np.log(value) + s * Z * se)) for s in (-1, 1))
    return m(name, value, lower=low, upper=high, **more)


def trial() -> dict[str, Any]:
    """Return a randomised trial with survival, summarised by a risk difference at five years."""
    results = _common("Effect of levamisole and fluorouracil on death within 5 years after colon cancer", "survival")
    results["effect"] = {
        "estimand": {
            "population": "Adults with resected stage III colon cancer",
            "treatment": "Levamisole + 5-FU",
            "control": "Observation",
            "assignment": "randomised",
            "outcome": "Death",
            "better": "lower",
            "contrast": "risk_difference",
            "contrasts": ["risk_difference", "risk_ratio", "rmst_difference", "hazard_ratio"],
            "horizon": 1825,
            "unit": "day",
            "intercurrent": [
                {"event": "Stopping the drug", "strategy": "treatment_policy"},
                {"event": "Recurrence", "strategy": "treatment_policy"},
            ],
            "sentence": "Difference in the risk of death by 1,825 days between levamisole with 5-FU and observation in "
            "adults with resected stage III colon cancer, whatever happens after randomisation.",
        },
        "flow": {
            "source_rows": 929,
            "excluded": [{"reason": "Assigned to levamisole alone", "n": 310}],
            "assigned": 619,
            "arms": [
                _arm("active", "Levamisole + 5-FU", 304, 304, 119, 22, 0, 213, 91),
                _arm("control", "Observation", 315, 315, 161, 19, 0, 220, 95),
            ],
        },
        "arms": [
            {
                "key": "active",
                "label": "Levamisole + 5-FU",
                "n": 304,
                "events": 119,
                "rate": m("risk@1825", 0.398, 0.0285, 304, 119),
            },
            {
                "key": "control",
                "label": "Observation",
                "n": 315,
                "events": 161,
                "rate": m("risk@1825", 0.514, 0.0285, 315, 161),
            },
        ],
        "crude": {
            "risk_difference": m("risk_difference", -0.116, 0.0402),
            "risk_ratio": ratio("risk_ratio", 0.774, 0.091),
            "odds_ratio": ratio("odds_ratio", 0.625, 0.165),
            "relative_risk_reduction": m("relative_risk_reduction", 0.226, 0.071),
            "number_needed_to_treat": m("number_needed_to_treat", 8.6, lower=5.1, upper=26.9, note=""),
            "hazard_ratio": ratio("hazard_ratio", 0.690, 0.122),
            "rmst_difference": m("rmst_difference", 131.4, 47.1),
            "time_lost_difference": m("time_lost_difference", -131.4, 47.1),
        },
        "curves": _curves(1825, (0.00028, 0.000395)),
        "balance": _balance(False),
        "overlap": {
            "known": True,
            "edges": np.linspace(0, 1, 21).tolist(),
            "control": [0] * 9 + [315] + [0] * 10,
            "active": [0] * 9 + [304] + [0] * 10,
            "lowest": 0.491,
            "highest": 0.491,
            "outside": 0,
            "effective": {"control": 315.0, "active": 304.0},
            "n": {"control": 315, "active": 304},
            "trimmed": None,
            "auc": m("auroc", 0.521, 0.023),
            "sentence": "The trial set the chance of treatment, so the arms overlap by design.",
        },
        "average": _average("risk_difference", -0.116, 0.040),
        "subgroups": _subgroups("risk_difference", -0.11, 0.055),
        "risk_quarters": _quarters(),
        "heterogeneity": _heterogeneity(),
        "policy": _policy(),
        "sensitivity": _sensitivity(),
        "placebos": _placebos("risk_difference"),
        "patients": _patients(),
    }
    return results


def binary() -> dict[str, Any]:
    """Return a randomised trial with a yes/no outcome, no effect shown and evidence of heterogeneity."""
    results = copy.deepcopy(trial())
    effect = results["effect"]
    results["outcome"] = {"kind": "binary", "label": "Response", "reference_standard": "RECIST"}
    effect["estimand"].update(outcome="Response", better="higher", horizon=None, contrast="risk_difference")
    effect["crude"] = {
        "risk_difference": m("risk_difference", 0.013, 0.031),
        "risk_ratio": ratio("risk_ratio", 1.03, 0.08),
        "number_needed_to_treat": m(
            "number_needed_to_treat", None, note="the interval of the risk difference holds zero"
        ),
    }
    effect["curves"] = None
    effect["average"] = _average("risk_difference", 0.013, 0.031)
    for row in effect["average"]:
        row["measures"]["number_needed_to_treat"] = effect["crude"]["number_needed_to_treat"]
    effect["sensitivity"] = None
    effect["heterogeneity"]["state"] = "evidence"
    effect["heterogeneity"]["sentence"] = None
    effect["flow"]["arms"] = [{**a, "censored_early": None} for a in effect["flow"]["arms"]]
    return results


def care() -> dict[str, Any]:
    """Return an observational study of a continuous outcome, with weights and hidden confounding in question."""
    results = _common("Effect of early dialysis on creatinine after 30 days", "continuous")
    base = trial()["effect"]
    base["estimand"].update(
        population="Adults in intensive care with kidney injury",
        treatment="Early dialysis",
        control="Usual care",
        assignment="observational",
        outcome="Creatinine after 30 days",
        contrast="mean_difference",
        contrasts=["mean_difference"],
        horizon=None,
        scale="mean_difference",
        unit="mg/dl",
        intercurrent=[],
        sentence="Difference in mean creatinine after 30 days between early dialysis and usual care.",
    )
    rng = np.random.default_rng(7)
    edges = np.linspace(0, 1, 21)
    for arm, label, mean in zip(base["arms"], ("Early dialysis", "Usual care"), (1.82, 2.05), strict=True):
        arm.update(label=label, events=None, rate=m("mean", mean, 0.06, arm["n"], None))
    for arm, label in zip(base["flow"]["arms"], ("Early dialysis", "Usual care"), strict=True):
        arm.update(label=label, events=None, censored_early=None, missing_outcome=12)
    base.update(
        crude={"mean_difference": m("mean_difference", -0.231, 0.084)},
        curves=None,
        balance=_balance(True),
        overlap={
            "known": False,
            "edges": edges.tolist(),
            "control": np.histogram(rng.beta(2, 3.4, 315), edges)[0].tolist(),
            "active": np.histogram(rng.beta(3.2, 2, 304), edges)[0].tolist(),
            "lowest": 0.03,
            "highest": 0.96,
            "outside": 9,
            "effective": {"control": 231.4, "active": 219.8},
            "n": {"control": 315, "active": 304},
            "trimmed": {
                "low": 0.1,
                "high": 0.9,
                "kept": 571,
                "n": 619,
                "measure": m("mean_difference", -0.141, 0.088),
            },
            "auc": m("auroc", 0.721, 0.02),
            "sentence": "Nine patients have a chance of treatment that nobody in the other arm has.",
        },
        average=_average("mean_difference", -0.153, 0.071),
        subgroups=_subgroups("mean_difference", -0.15, 0.11, prespecified=False),
        risk_quarters=None,
        heterogeneity=None,
        policy=None,
        placebos=_placebos("mean_difference", 0.02),
        patients=[
            {
                "title": "A woman of 71",
                "profile": [{"label": "Age", "value": 71}],
                "control_of_100": None,
                "active_of_100": None,
                "fewer": None,
                "lower": None,
                "upper": None,
                "sentence": "For patients like this one, early dialysis goes with a mean creatinine 0.21 mg/dl lower; "
                "95% interval 0.02 to 0.40 lower.",
            }
        ],
    )
    base["sensitivity"]["grid"]["name"] = "mean_difference"
    base["sensitivity"]["grid"]["adjusted"] = [[-0.15 + 0.03 * i * j for j in range(5)] for i in range(5)]
    results["effect"] = base
    results["explanation"] = None
    return results


def plain() -> dict[str, Any]:
    """Return a trial of which only the average effect was estimated."""
    results = trial()
    keep = ("estimand", "flow", "arms", "crude", "average")
    results["effect"] = {k: v if k in keep else None for k, v in results["effect"].items()}
    return results


KINDS = {"trial": trial, "binary": binary, "care": care, "plain": plain}


def _common(title: str, kind: str) -> dict[str, Any]:
    results = sample.survival()
    results["task"] = "effect"
    results["study"].update(
        title=title,
        primary=None,
        outcome_label="Death",
        intended_use="Research on whether the treatment helps, on average and in whom.",
        design="Randomised trial" if kind == "survival" else "Cohort from care",
    )
    results["outcome"] = {"kind": kind, "label": "Death", "reference_standard": "Death register"}
    for key in ("performance", "subgroups", "stability", "failures"):
        results[key] = None
    results["data"].update(rows=619, patients=619, dates=None, sites=None)
    results["data"]["parts"] = {
        "train": {"n": 433, "patients": 433, "events": 196},
        "test": {"n": 186, "patients": 186, "events": 84},
    }
    board = [
        ("constant_effect", "Constant effect", "baseline", 0.0, 0.0),
        ("zero_effect", "No effect", "baseline", 0.0034, 0.0021),
        ("risk_based", "Risk-based model", "candidate", -0.0011, 0.0016),
        ("dr_learner", "DR-learner (ridge)", "candidate", 0.0008, 0.0023),
        ("causal_forest", "Causal forest", "candidate", 0.0019, 0.0024),
        ("t_learner", "T-learner (boosting)", "candidate", 0.0142, 0.0047),
    ]
    results["model"] = {
        "name": "risk_based",
        "title": "Risk-based model",
        "description": "The effect as a function of baseline risk alone.",
        "parameters": {"folds": 5},
        "missing_method": "mean",
        "leaderboard": [
            {
                "name": name,
                "title": label,
                "kind": what,
                "metric": "dr_loss",
                "mean": mean,
                "lower": mean - Z * se,
                "upper": mean + Z * se,
                "folds": [mean + se * s for s in (-1.2, -0.4, 0.1, 0.6, 0.9)] if se else [0.0] * 5,
                "trials": 1,
                "seconds": 1.2,
                "chosen": name == "risk_based",
            }
            for name, label, what, mean, se in board
        ],
    }
    results["verdict"] = {
        "state": "met",
        "openings": 1,
        "changed_after_opening": False,
        "simple_model": None,
        "criteria": [
            {
                "text": "risk_difference.upper < 0",
                "measure": "risk_difference",
                "value": -0.116,
                "lower": -0.194,
                "upper": -0.038,
                "state": "met",
                "why": "the whole interval lies below 0",
            }
        ],
    }
    results["explanation"]["measure"] = "dr_loss"
    results["explanation"]["scale"] = "predicted effect"
    return results


def _arm(key, label, assigned, analysed, events, censored, missing, train, test):
    return {
        "key": key,
        "label": label,
        "assigned": assigned,
        "analysed": analysed,
        "events": events,
        "censored_early": censored,
        "missing_outcome": missing,
        "train": train,
        "test": test,
    }


def _curves(end, rates):
    t = np.linspace(0, end, 60)
    arms = []
    for key, label, rate, n in (
        ("active", "Levamisole + 5-FU", rates[0], 304),
        ("control", "Observation", rates[1], 315),
    ):
        risk = 1 - np.exp(-rate * t)
        se = np.sqrt(risk * (1 - risk) / n)
        arms.append(
            {
                "key": key,
                "label": label,
                "risk": risk.tolist(),
                "lower": np.maximum(0, risk - Z * se).tolist(),
                "upper": (risk + Z * se).tolist(),
            }
        )
    ticks = [0, 365, 730, 1095, 1460, 1825]
    counts = {
        a["key"]: [int(n * np.exp(-r * s)) for s in ticks] for a, r, n in zip(arms, rates, (304, 315), strict=True)
    }
    return {"times": t.tolist(), "unit": "day", "arms": arms, "at_risk": {"times": ticks, "counts": counts}}


def _balance(weighted):
    rng = np.random.default_rng(3)
    rows = []
    for name, label, mean, sd, smd in (
        ("age", "Age (years)", 59.5, 12.0, 0.04),
        ("nodes", "Positive lymph nodes", 3.7, 3.6, -0.08),
        ("time", "Days since surgery", 21.0, 8.0, 0.02),
        ("cea", "Carcinoembryonic antigen", 4.4, 2.1, 0.12 if not weighted else 0.43),
    ):
        rows.append(
            {
                "name": name,
                "label": label,
                "level": None,
                "kind": "number",
                "control": {"mean": mean, "sd": sd},
                "active": {"mean": mean + smd * sd, "sd": sd},
                "smd": smd,
                "smd_weighted": round(float(rng.normal(0, 0.02)), 3) if weighted else None,
                "missing": {"control": 4, "active": 6} if name == "nodes" else {"control": 0, "active": 0},
            }
        )
    for name, label, level, share, smd in (
        ("sex", "Sex", "male", 0.53, -0.09 if not weighted else -0.21),
        ("obstruction", "Obstruction of the colon", None, 0.19, -0.03),
        ("differentiation", "Differentiation", "poor", 0.17, -0.06),
        ("differentiation", "Differentiation", "well", 0.10, 0.05),
    ):
        rows.append(
            {
                "name": name,
                "label": label,
                "level": level,
                "kind": "share",
                "control": {"mean": share, "sd": None},
                "active": {"mean": share + 0.4 * smd, "sd": None},
                "smd": smd,
                "smd_weighted": round(float(rng.normal(0, 0.02)), 3) if weighted else None,
                "missing": {"control": 0, "active": 0},
            }
        )
    sizes = [abs(r["smd"]) for r in rows]
    return {"rows": rows, "max_smd": max(sizes), "max_smd_weighted": 0.04 if weighted else None, "limit": 0.1}


def _average(name, value, se):
    def row(key, title, shift, wider, primary=False, note=""):
        found = {name: m(name, value + shift, se * wider)}
        if name == "risk_difference":
            found["risk_ratio"] = ratio("risk_ratio", float(np.exp(2.2 * (value + shift))), 0.09 * wider)
            found["number_needed_to_treat"] = m("number_needed_to_treat", 1 / abs(value + shift), lower=5.0, upper=27.0)
        return {"name": key, "title": title, "primary": primary, "measures": found, "note": note}

    return [
        row("unadjusted", "Unadjusted", 0.0, 1.0),
        row("standardisation", "Standardisation", 0.1 * se, 0.93),
        row("weighting", "Inverse weighting", 0.2 * se, 1.02),
        row("doubly_robust", "Doubly robust, cross-fitted", 0.15 * se, 0.94, True),
        row("matching", "Matching", -0.4 * se, 1.4, note="6 treated patients had no match."),
    ]


def _subgroups(name, value, se, *, prespecified=True):
    rows = []
    for column, label, groups in (
        ("sex", "Sex", (("female", 298, 122, 0.02), ("male", 321, 158, -0.02))),
        ("age_group", "Age (years)", (("<60", 270, 118, -0.04), ("60-69", 210, 97, 0.01), ("70+", 139, 65, 0.05))),
        ("nodes", "Positive nodes", (("1-4", 451, 173, 0.01), ("5+", 168, 107, -0.05))),
    ):
        for level, n, events, shift in groups:
            effect = value + shift
            rows.append(
                {
                    "column": column,
                    "column_label": label,
                    "level": level,
                    "n": n,
                    "events": events if name == "risk_difference" else None,
                    "control": m("risk", 0.5, 0.04, n // 2) if name == "risk_difference" else m("mean", 2.0, 0.1, n),
                    "active": m("risk", 0.5 + effect, 0.04) if name == "risk_difference" else m("mean", 1.9, 0.1, n),
                    "effect": m(name, effect, se * np.sqrt(300 / n), n, events),
                }
            )
    return {
        "prespecified": prespecified,
        "rows": rows,
        "interactions": [
            {"column": "sex", "label": "Sex", "p": 0.63, "p_adjusted": 1.0, "method": "Wald, robust variance"},
            {"column": "age_group", "label": "Age", "p": 0.21, "p_adjusted": 0.63, "method": "Wald, robust variance"},
            {"column": "nodes", "label": "Positive nodes", "p": 0.48, "p_adjusted": 0.96, "method": "Wald"},
        ],
        "overall": m(name, value, 0.04),
        "sentence": "No subgroup is shown to respond differently (3 tests of interaction, smallest adjusted p 0.63).",
        "credibility": [
            "The groups were named before the run.",
            "Three tests were made and adjusted by Holm's method.",
        ],
    }


def _quarters():
    rows = []
    for k, (risk, active, control, n) in enumerate(
        ((0.31, 0.27, 0.31, 155), (0.41, 0.33, 0.43, 155), (0.50, 0.41, 0.56, 155), (0.66, 0.57, 0.74, 154))
    ):
        rows.append(
            {
                "label": f"Quarter {k + 1}",
                "n": n,
                "events": int(n * (active + control) / 2),
                "mean_risk": risk,
                "control": m("risk", control, 0.056, n // 2),
                "active": m("risk", active, 0.056, n // 2),
                "difference": m("risk_difference", active - control, 0.079, n),
                "ratio": ratio("risk_ratio", active / control, 0.2, n=n),
            }
        )
    return {
        "model": "a Cox model fitted without the treatment",
        "rows": rows,
        "trend": {"p": 0.22, "sentence": "The absolute difference is not shown to change with baseline risk."},
        "overall": m("risk_difference", -0.116, 0.04),
    }


def _heterogeneity():
    share = np.linspace(0.05, 1, 20)
    toc = 0.04 * (1 - share)
    qini = 0.116 * share + 0.02 * np.sqrt(share * (1 - share))
    return {
        "state": "no evidence",
        "sentence": "There is no evidence that the effect differs between patients: no test rejects after adjustment "
        "and no learner beats one effect for everyone.",
        "rule": "Evidence: the omnibus test rejects at 5% after Holm and the loss of the chosen learner is below that "
        "of one effect for everyone.",
        "model": "Risk-based model",
        "tests": [
            {
                "name": "omnibus",
                "title": "Omnibus test",
                "value": 7.31,
                "p": 0.19,
                "p_adjusted": 0.38,
                "sentence": "All interactions together.",
            },
            {
                "name": "blp",
                "title": "Best linear predictor",
                "value": 0.81,
                "p": 0.21,
                "p_adjusted": 0.38,
                "sentence": "The predicted effects are not shown to carry information.",
            },
        ],
        "measures": {
            "autoc": m("autoc", 0.0213, 0.0221),
            "qini": m("qini", 0.0094, 0.0085),
            "best_linear_predictor": m("best_linear_predictor", 0.62, 0.71),
            "average_effect": m("average_effect", -0.11, 0.06),
            "benefit_slope": m("benefit_slope", 0.58, 0.55),
            "c_for_benefit": m("c_for_benefit", 0.534, 0.024),
        },
        "losses": [
            {
                "name": name,
                "title": title,
                "kind": kind,
                "chosen": name == "risk_based",
                "difference": m("dr_loss", value, se) if se else m("dr_loss", 0.0, note="the reference"),
                "against_zero": m("dr_loss", value - 0.0034, 0.003),
            }
            for name, title, kind, value, se in (
                ("constant_effect", "Constant effect", "comparator", 0.0, None),
                ("zero_effect", "No effect", "comparator", 0.0036, 0.0024),
                ("risk_based", "Risk-based model", "candidate", -0.0009, 0.0017),
                ("dr_learner", "DR-learner (ridge)", "candidate", 0.0011, 0.0025),
                ("causal_forest", "Causal forest", "candidate", 0.0023, 0.0027),
                ("t_learner", "T-learner (boosting)", "candidate", 0.0151, 0.0051),
            )
        ],
        "groups": [
            {"label": f"{k + 1}", "n": 37, "predicted": p, "observed": m("risk_difference", o, 0.09, 37)}
            for k, (p, o) in enumerate(((-0.19, -0.16), (-0.15, -0.18), (-0.12, -0.06), (-0.09, -0.12), (-0.05, -0.07)))
        ],
        "toc": {
            "share": share.tolist(),
            "value": toc.tolist(),
            "lower": (toc - 0.09 * (1.1 - share)).tolist(),
            "upper": (toc + 0.09 * (1.1 - share)).tolist(),
        },
        "qini": {
            "share": share.tolist(),
            "value": qini.tolist(),
            "lower": (qini - 0.07 * share).tolist(),
            "upper": (qini + 0.07 * share).tolist(),
            "random": (0.116 * share).tolist(),
        },
        "matching": "pairs across the arms by predicted effect, nearest first, without replacement",
    }


def _policy():
    def row(name, title, share, value, gap):
        return {
            "name": name,
            "title": title,
            "treated_share": share,
            "value": m("policy_value", value, 0.029, 186, 84),
            "against_all": m("net_gain", -gap, 0.016 if gap else 0.0, 186),
            "against_none": m("net_gain", 0.514 - value, 0.04, 186),
            "against_current": m("net_gain", 0.457 - value, 0.021, 186),
        }

    share = np.linspace(0, 1, 21)
    value = 0.116 * share + 0.025 * np.sqrt(share * (1 - share))
    return {
        "rows": [
            row("all", "Treat everyone", 1.0, 0.398, 0.0),
            row("none", "Treat nobody", 0.0, 0.514, 0.116),
            row("current", "As in the trial", 0.491, 0.457, 0.059),
            row("threshold", "If benefit exceeds 5 points", 0.83, 0.402, 0.004),
            row("tree", "Policy tree", 0.77, 0.409, 0.011),
        ],
        "tree": {
            "rules": ["If positive nodes <= 1 and age > 74: do not treat", "Otherwise: treat"],
            "depth": 2,
        },
        "fractions": {
            "share": share.tolist(),
            "value": value.tolist(),
            "lower": (value - 0.055).tolist(),
            "upper": (value + 0.055).tolist(),
            "random": (0.116 * share).tolist(),
        },
        "preferences": {"benefit_weight": 1.0, "burden": 0.02, "threshold": 0.05, "budget": 0.6},
        "sentence": "No rule is shown to do better than treating everyone.",
    }


def _sensitivity():
    strengths = [1.0, 1.5, 2.0, 3.0, 4.0]

    def left(a, b):
        return min(1.6, 0.774 * (a * b / (a + b - 1)))

    return {
        "e_value": {
            "estimate": 1.91,
            "limit": 1.37,
            "scale": "risk_ratio",
            "sentence": "A hidden confounder would need risk ratios of 1.91 with both treatment and outcome to explain "
            "the estimate away, 1.37 to move its interval to no effect.",
        },
        "grid": {
            "exposure": strengths,
            "outcome": strengths,
            "adjusted": [[left(a, b) for b in strengths] for a in strengths],
        },
        "robustness": {
            "value": 0.09,
            "limit": 0.04,
            "partial_r2": 0.01,
            "benchmark": {"covariate": "Age", "times": 1.0, "effect": -0.1, "lower": -0.17, "upper": -0.03},
            "sentence": "A confounder that explains 9% of both would take the effect away.",
        },
        "missing": None,
        "sentence": "Hidden confounding as strong as risk ratios of 1.91 would take the effect away.",
    }


def _placebos(name, value=0.004):
    return [
        {
            "name": "permuted_treatment",
            "title": "Permuted treatment",
            "measure": m(name, value, 0.04),
            "draws": 200,
            "rejected": 0.055,
            "p": 0.48,
            "sentence": "With shuffled arms the effect is about zero, as it should be.",
        },
        {
            "name": "negative_control",
            "title": "Hospital transfer (negative control)",
            "measure": m("transfer", -0.011, 0.021),
            "draws": None,
            "rejected": None,
            "p": 0.60,
            "sentence": "No effect on an outcome that the treatment cannot change.",
        },
    ]


def _patients():
    return [
        {
            "title": "A man of 60 with 2 positive nodes",
            "profile": [{"label": "Age", "value": 60}, {"label": "Sex", "value": "male"}],
            "control_of_100": 43.0,
            "active_of_100": 34.1,
            "fewer": 8.9,
            "lower": 2.1,
            "upper": 16.2,
            "sentence": "Of 100 patients like this one, levamisole with 5-FU means about 9 fewer deaths by 1,825 days; "
            "95% interval 2 to 16 fewer.",
        },
        {
            "title": "A woman of 76 with 1 positive node",
            "profile": [{"label": "Age", "value": 76}, {"label": "Sex", "value": "female"}],
            "control_of_100": 31.0,
            "active_of_100": 32.0,
            "fewer": -1.0,
            "lower": -9.0,
            "upper": 7.0,
            "sentence": None,
        },
    ]


def drawings() -> dict[str, Any]:
    """Return what each figure of a study of effects is drawn from, by the name of the figure."""
    effect, seen = trial()["effect"], care()["effect"]
    asked = question(trial())
    found = effect["heterogeneity"]
    rows = [{"label": r["title"], "measure": r["measures"]["risk_difference"]} for r in effect["average"]]
    return {
        "trial_flow": {"flow": effect["flow"], "question": asked},
        "love_plot": {**seen["balance"], "arms": {"active": "Early", "control": "Late"}},
        "overlap": {**seen["overlap"], "arms": {"active": "Early", "control": "Late"}},
        "arm_curves": {**effect["curves"], "question": asked},
        "effect_forest": {
            "rows": [{"heading": "Estimators", "beside": "p 0.20"}, *rows],
            "scale": asked.scale(),
            "columns": [],
            "axis": asked.scale().title,
            "head": "Estimator",
            "title": "All agree",
            "caption": "How.",
            "said": "Forest plot.",
            "salt": "effects-forest",
            "favours": ["favours this", "favours that"],
        },
        "risk_quarters": {**effect["risk_quarters"], "question": asked},
        "targeting": {**{k: found[k] for k in ("toc", "qini", "measures")}, "question": asked},
        "benefit_calibration": {"groups": found["groups"], "overall": m("risk_difference", -0.1), "question": asked},
        "targeted_fraction": {**effect["policy"]["fractions"], "question": asked, "budget": 0.6},
        "bias_grid": {**effect["sensitivity"]["grid"], "scale": asked.scale("risk_ratio"), "estimate": 0.77},
        "icon_array": {**effect["patients"][0], "question": asked},
    }
