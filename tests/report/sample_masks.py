"""A complete results dictionary of a study of masks, made from simulated scans, so that its numbers agree."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

_spec = importlib.util.spec_from_file_location("report_sample", Path(__file__).with_name("sample.py"))
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

REGIONS = {
    "whole_tumour": ("whole tumour", "whole tumour", [1, 2, 3]),
    "tumour_core": ("tumour core", "tumour core", [2, 3]),
    "enhancing_tumour": ("enhancing tumour", "enhancing tumour", [3]),
}
LABELS = {k: v[1] for k, v in REGIONS.items()}
MEASURES = (
    "dice",
    "iou",
    "mask_sensitivity",
    "mask_precision",
    "mask_specificity",
    "hd95",
    "surface_dice",
    "average_surface_distance",
    "volume_difference",
)
N, PATIENTS = 24, 22


def _mean(name: str, values: np.ndarray, note: str = "") -> dict[str, Any]:
    known = values[np.isfinite(values)]
    if not known.size:
        return sample.m(name, None, n=0, events=0, note="no scan has a value")
    se = float(known.std(ddof=1) / np.sqrt(known.size)) if known.size > 1 else None
    return sample.m(name, float(known.mean()), se, known.size, known.size, note=note)


def _median(name: str, values: np.ndarray) -> dict[str, Any]:
    known = np.sort(values[np.isfinite(values)])
    return {
        **sample.m(name, float(np.median(known)), None, known.size, 0),
        "lower": float(np.quantile(known, 0.3)),
        "upper": float(np.quantile(known, 0.7)),
    }


def _cases(seed: int, gain: float = 0.0) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    whole = rng.lognormal(3.6, 0.6, N)
    out = {}
    for k, key in enumerate(REGIONS):
        volume = whole * (1.0, 0.45, 0.2)[k] * rng.uniform(0.7, 1.3, N)
        dice = np.clip(0.90 - 0.07 * k + gain - 0.06 * rng.exponential(1.0, N), 0.0, 0.985)
        found = volume * np.clip(1 + 0.6 * (1 - dice) * rng.normal(0, 1, N), 0.05, None)
        empty = np.full(N, "", dtype=object)
        if k == 2:
            volume[:2], found[0], found[1] = 0.0, 0.0, 0.8
            dice[0], dice[1], empty[0], empty[1] = 1.0, 0.0, "both", "reference"
            dice[5] = 0.0
        distance = 2.0 + 30 * (1 - dice) ** 1.5 * rng.uniform(0.6, 1.4, N)
        distance[dice == 1.0] = 0.0
        out[key] = {
            "dice": dice,
            "iou": dice / (2 - dice),
            "mask_sensitivity": np.where(volume > 0, np.clip(dice + rng.normal(0, 0.03, N), 0, 1), np.nan),
            "mask_precision": np.where(found > 0, np.clip(dice + rng.normal(0, 0.03, N), 0, 1), np.nan),
            "mask_specificity": 1 - 0.004 * rng.random(N),
            "hd95": distance,
            "surface_dice": np.clip(dice + 0.03, 0, 1),
            "average_surface_distance": distance / 4,
            "volume_difference": found - volume,
            "reference_ml": volume,
            "prediction_ml": found,
            "empty": empty,
        }
    return out


def _means(cases: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    out = {f"{m}@{k}": _mean(f"{m}@{k}", c[m]) for k, c in cases.items() for m in MEASURES}
    for m in MEASURES:
        out[f"mean_{m}"] = _mean(f"mean_{m}", np.nanmean([c[m] for c in cases.values()], axis=0))
    return out


def _shares(key: str, n: int, less: float) -> dict[str, Any]:
    found = (("dice", 0.86 - less), ("sensitivity", 0.88 - less), ("specificity", 0.991))
    return {m: sample.m(f"{m}@{key}", v, 0.2 / np.sqrt(n), n, 0, hi=1) for m, v in found}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def performance() -> dict[str, Any]:
    """The performance of outlines: each region, the mean over regions, baselines and cases."""
    mine, simple, voxel = _cases(1), _cases(1, -0.45), _cases(1, -0.2)
    measures = _means(mine)
    baselines = {"threshold": _means(simple), "voxel_logistic": _means(voxel)}
    differences = {
        b: {
            k: sample.m(k, measures[k]["value"] - m["value"], 0.02, N, N, against=b)
            for k, m in found.items()
            if measures[k]["value"] is not None and m["value"] is not None
        }
        for b, found in baselines.items()
    }
    shown = ("dice", "hd95", "surface_dice", "average_surface_distance", "volume_difference")
    more = ("reference_ml", "prediction_ml", "empty")
    return {
        "kind": "masks",
        "n": N,
        "patients": PATIENTS,
        "events": N,
        "level": 0.95,
        "draws": 1000,
        "interval_method": "percentile bootstrap of patients with all their scans for means; order statistics for "
        "medians",
        "definition": "voxel",
        "definition_in_words": "centres of voxels that share a face with the outside; the larger of both directed "
        "percentiles",
        "tolerance": 2.0,
        "rule": "both masks empty: best value; one empty: worst value, for distances the image diagonal",
        "labels": dict(LABELS),
        "regions": {
            k: {
                "n": N,
                "both_empty": int((c["empty"] == "both").sum()),
                "reference_empty": int((c["empty"] == "reference").sum()),
                "prediction_empty": int((c["empty"] == "prediction").sum()),
                "missed": int(((c["dice"] == 0) & (c["empty"] == "")).sum()),
                "medians": {m: _median(m, c[m]) for m in MEASURES},
                "quartiles": {m: [float(q) for q in np.nanquantile(c[m], [0.25, 0.75])] for m in MEASURES},
            }
            for k, c in mine.items()
        },
        "measures": measures,
        "baselines": baselines,
        "differences": differences,
        "cases": [
            {
                "case": i + 1,
                "regions": {
                    k: {m: _plain(c[m][i] if m == "empty" else float(c[m][i])) for m in (*shown, *more)}
                    for k, c in mine.items()
                },
            }
            for i in range(N)
        ],
        "sub_volumes": {
            "size": [16, 64, 64],
            "n": 61,
            "scans": N,
            "patients": PATIENTS,
            "rule": "Scans are cut into sub-volumes that do not overlap; those without any region are left out.",
            "regions": {k: _shares(k, 61, 0.04 * i) for i, k in enumerate(REGIONS)},
            "whole": {k: _shares(k, N, 0.03 * i - 0.02) for i, k in enumerate(REGIONS)},
        },
        "conventions": "Where reference and prediction are both empty, the Dice is 1.",
    }


def lesions() -> dict[str, Any]:
    """Lesions one by one, with the FROC curve."""

    def one(key: str, i: int) -> dict[str, Any]:
        grid = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
        found = [0.97 - 0.06 * i - (0.25 + 0.05 * i) * np.exp(-1.4 * f) for f in grid]
        return {
            "label": LABELS[key],
            "n": N,
            "lesions": 31,
            "found": 28 - i,
            "missed": 3 + i,
            "predicted": 33,
            "right": 29 - i,
            "wrong": 4 + i,
            "sensitivity": sample.m(f"lesion_sensitivity@{key}", (28 - i) / 31, 0.05, 31, 28 - i, hi=1),
            "precision": sample.m(f"lesion_precision@{key}", (29 - i) / 33, 0.06, 33, 29 - i, hi=1),
            "f1": sample.m(f"lesion_f1@{key}", 0.89 - 0.03 * i, 0.04, 35, 28),
            "wrong_a_scan": sample.m(f"wrong_lesions@{key}", (4 + i) / N, 0.06, N, N, lo=0),
            "sizes": [
                {
                    "low": 0.0,
                    "high": 1.0,
                    "label": "under 1 ml",
                    "sensitivity": sample.m("lesion_sensitivity", 0.57, 0.15, 7, 4),
                },
                {
                    "low": 1.0,
                    "high": None,
                    "label": "1 ml or more",
                    "sensitivity": sample.m("lesion_sensitivity", 1.0, None, 24, 24, note="no interval: all found"),
                },
            ],
            "froc": {
                "axis": "false positives a case",
                "least": 0.1,
                "points": [
                    {
                        "false_positives": f,
                        "sensitivity": s,
                        "lower": s - 0.1,
                        "upper": min(s + 0.06, 1.0),
                        "threshold": 0.9 - 0.1 * k,
                    }
                    for k, (f, s) in enumerate(zip(grid, found, strict=True))
                ],
                "average": sample.m("average_sensitivity", float(np.mean(found)), 0.03, N, 31),
                "lesions": 31,
                "candidates": 60,
                "note": "",
            },
            "state": "estimated",
            "sentence": f"{LABELS[key]}: {28 - i} of 31 lesions were found.",
        }

    return {
        "n": N,
        "patients": PATIENTS,
        "level": 0.95,
        "draws": 1000,
        "min_ml": 0.05,
        "method": "Lesions are 26-connected pieces; one is found when any of its voxels is outlined.",
        "regions": {k: one(k, i) for i, k in enumerate(REGIONS)},
        "note": "Intervals resample patients.",
    }


def volumes(perf: dict[str, Any]) -> dict[str, Any]:
    """Agreement of volumes after Bland and Altman, and the intervals of volumes."""

    def one(key: str) -> dict[str, Any]:
        points = [
            {
                "case": c["case"],
                "reference_ml": c["regions"][key]["reference_ml"],
                "prediction_ml": (found := c["regions"][key]["prediction_ml"]),
                "lower": 0.8 * found,
                "upper": 1.25 * found,
            }
            for c in perf["cases"]
        ]
        true, said = (np.array([p[k] for p in points]) for k in ("reference_ml", "prediction_ml"))

        def limits(gap: np.ndarray, unit: str) -> dict[str, Any]:
            sd, se = float(gap.std(ddof=1)), float(gap.std(ddof=1) / np.sqrt(N))
            ends = (("bias", 0.0, 1.0), ("low", -1.96, 1.7), ("high", 1.96, 1.7))
            found = {k: sample.m(k, float(gap.mean()) + z * sd, f * se, N, N) for k, z, f in ends}
            return {"unit": unit, **found, "slope": -0.02, "note": ""}

        kept = true > 1
        quarters = {
            name: dict(zip(("q1", "median", "q3"), np.quantile(v, [0.25, 0.5, 0.75]).tolist(), strict=True))
            for name, v in (("reference_ml", true), ("prediction_ml", said))
        }
        return {
            "label": LABELS[key],
            "n": N,
            **quarters,
            "absolute": limits(said - true, "ml"),
            "percent": limits(100 * (said[kept] - true[kept]) / true[kept], "%"),
            "error": sample.m("volume_error", float(np.abs(said - true).mean()), 0.5, N, N, lo=0),
            "icc": sample.m("icc", 0.97, 0.01, N, N),
            "interval": {
                "promise": 0.9,
                "method": "t prediction interval of the log ratio",
                "cases": 14,
                "patients": 14,
                "floor_ml": 0.5,
                "factors": [0.8, 1.25],
                "coverage": {**sample.m("coverage", 0.875, 0.06, N, N, hi=1), "p": 0.6, "state": "held"},
                "width_percent": 45.0,
            },
            "points": points,
            "state": "held",
            "sentence": f"{LABELS[key]}: the volumes agree within the limits shown.",
        }

    return {
        "n": N,
        "patients": PATIENTS,
        "level": 0.95,
        "unit": "ml",
        "method": "Limits of agreement after Bland and Altman, with exact intervals.",
        "regions": {k: one(k) for k in REGIONS},
        "note": "Scans without the region have no percentage.",
    }


def quality(perf: dict[str, Any]) -> dict[str, Any]:
    """Expected against true Dice, of the mean and of each region."""
    rng = np.random.default_rng(8)
    dice = {k: np.array([c["regions"][k]["dice"] for c in perf["cases"]]) for k in REGIONS}
    dice = {"mean": np.mean(list(dice.values()), axis=0), **dice}

    def one(key: str, label: str) -> dict[str, Any]:
        true = dice[key]
        said = np.clip(0.1 + 0.88 * true + rng.normal(0, 0.05, N), 0, 0.99)
        ranked = true[np.argsort(said)]
        curve = []
        for share in (0.0, 0.1, 0.2, 0.3, 0.5):
            kept = ranked[round(share * N) :]
            se = float(kept.std(ddof=1) / np.sqrt(kept.size))
            gain = sample.m("difference", float(kept.mean() - true.mean()), 0.01, kept.size, 0) if share else None
            curve.append(
                {
                    "share": share,
                    "n": int(kept.size),
                    "dice": sample.m("mean_dice_kept", float(kept.mean()), se, kept.size, 0),
                    "failures": float((kept < 0.7).sum()),
                    "difference": gain,
                }
            )
        return {
            "label": label,
            "n": N,
            "patients": PATIENTS,
            "learned": {"how": "shift", "cases": 14, "patients": 14, "intercept": -0.03, "slope": 1.0},
            "error": sample.m("expected_dice_error", float(np.abs(said - true).mean()), 0.006, N, N),
            "bias": sample.m("expected_dice_bias", float((said - true).mean()), 0.01, N, N),
            "rank": sample.m("spearman", 0.81, 0.08, N, N),
            "below": 0.7,
            "below_why": "given",
            "failures": int((true < 0.7).sum()),
            "auroc": sample.m("auroc", 0.91, 0.04, N, 6),
            "curve": curve,
            "points": [
                {"case": i + 1, "expected": float(a), "dice": float(b)}
                for i, (a, b) in enumerate(zip(said, true, strict=True))
            ],
            "state": "knows",
            "sentence": f"{label}: expected Dice ranks scans as true Dice does.",
        }

    return {
        "n": N,
        "patients": PATIENTS,
        "level": 0.95,
        "formula": "2 sum(p m) / (sum(m) + sum(p))",
        "method": "Corrected by what it was off on the tune part.",
        "mean": one("mean", "mean of the regions"),
        "regions": {k: one(k, LABELS[k]) for k in REGIONS},
        "state": "knows",
        "sentence": "Expected Dice finds the poor outlines: without the lowest fifth mean Dice rises.",
        "note": "Referral is imitated on the test part; nobody read the scans.",
    }


def voxel_calibration() -> dict[str, Any]:
    """Calibration of voxels by region."""

    def one(key: str, i: int) -> dict[str, Any]:
        middles = (np.arange(15) + 0.5) / 15
        seen = np.clip(middles + 0.12 * i * (middles - middles**2), 0, 1)
        return {
            "label": LABELS[key],
            "n": N,
            "voxels": 81234,
            "left_out": sample.m("left_out", 0.006, 0.002, N, N),
            "ece": sample.m("ece", 0.02 + 0.02 * i, 0.005, N, N),
            "brier": sample.m("brier", 0.061, 0.005, N, N),
            "oe": sample.m("oe", 1.0 + 0.07 * i, 0.03, N, N),
            "bins": [
                {
                    "low": k / 15,
                    "high": (k + 1) / 15,
                    "predicted": float(p),
                    "observed": float(o),
                    "lower": max(0.0, float(o) - 0.07),
                    "upper": min(1.0, float(o) + 0.07),
                    "voxels": int(1500 + 9000 * abs(p - 0.5)),
                    "patients": PATIENTS,
                }
                for k, (p, o) in enumerate(zip(middles, seen, strict=True))
            ],
            "doubt": {"entropy": sample.m("auroc_of_entropy", 0.89, 0.02, N, N)},
            "wrong": sample.m("wrong_voxels", 0.09, 0.01, N, N),
            "state": "knows",
            "calibration": "too low on average" if i == 2 else "no error shown",
            "sentence": f"{LABELS[key]}: of voxels said to be inside with a chance of one half, so many are.",
        }

    return {
        "n": N,
        "patients": PATIENTS,
        "level": 0.95,
        "draws": 1000,
        "least": 0.01,
        "bins": 15,
        "where": "those with a probability of at least 0.01",
        "signal": "entropy",
        "regions": {k: one(k, i) for i, k in enumerate(REGIONS)},
        "sentence": "Voxels of the enhancing tumour are inside more often than predicted.",
        "note": "Voxels of one patient are taken together.",
    }


def readers() -> dict[str, Any]:
    """Return three readers of whom one did not outline two scans."""
    names = ["reader_1", "reader_2", "reader_3"]
    regions = {}
    for j, (key, label) in enumerate(LABELS.items()):
        mine = 0.89 - 0.05 * j

        def measure(base: str, value: float, se: float = 0.01, n: int = N, key: str = key) -> dict[str, Any]:
            return sample.m(f"{base}@{key}", value, se, n, n)

        regions[key] = {
            "label": label,
            "n": N,
            "kappa": measure("kappa", mine - 0.02),
            "measures": {
                base: {
                    "readers": measure(base, value),
                    "model": measure(base, value + step),
                    "reference": measure(base, value),
                    "difference": measure(base, step),
                }
                for base, value, step in (("dice", mine, -0.05), ("hd95", 4.0, 1.5), ("surface_dice", 0.9, -0.1))
            },
            "pairs": [
                {"first": a, "second": b, "dice": measure("dice", mine)}
                for a, b in zip(names, [*names[1:], names[0]], strict=True)
            ],
            "by_reader": [
                {
                    "reader": name,
                    "label": name.replace("_", " "),
                    "n": N - 2 * (name == "reader_3"),
                    **{k: measure("dice", mine + g) for k, g in
                       (("others", 0.0), ("model", -0.05), ("reference", 0.01), ("consensus", 0.03))},
                    "sensitivity": measure("sensitivity", 0.93),
                    "specificity": measure("specificity", 0.97),
                }
                for name in names
            ],
            "consensus": {"n": N - 2, "model": measure("dice", mine - 0.03), "reference": measure("dice", mine + 0.02)},
            "state": "farther" if j < 2 else "not shown",
            "sentence": f"{label}: the Dice of model and reader is {mine - 0.05:.2f}, that of two readers {mine:.2f}: "
            "the model differs more from readers than they do (difference -0.05, -0.07 to -0.03).",
        }  # fmt: skip
    return {
        "n": N, "scans": N, "patients": PATIENTS, "level": 0.95, "names": names,
        "labels": {name: name.replace("_", " ") for name in names},
        "read": {"reader_1": N, "reader_2": N, "reader_3": N - 2},
        "refused": {"reader_3": {"MISSING": 2}}, "by_number": {"2": 2, "3": N - 2}, "least_consensus": 3,
        "regions": regions, "method": "means over scans", "note": "Readers helped to make the consensus.",
    }  # fmt: skip


def robustness() -> dict[str, Any]:
    """Dice on changed scans less that on the same scans as they are."""

    def change(key: str, kind: str, amount: float, label: str, drop: float) -> dict[str, Any]:
        of = {"mean_dice": drop, **{f"dice@{k}": drop * (1 + 0.2 * i) for i, k in enumerate(REGIONS)}}
        moved = {"mean_volume_change": abs(drop), **{f"volume_change@{k}": abs(drop) for k in REGIONS}}
        return {
            "key": key,
            "kind": kind,
            "amount": amount,
            "label": label,
            "measures": {k: sample.m(k, 0.8 + v, 0.02, 8, N) for k, v in of.items()},
            "differences": {k: sample.m(k, v, 0.01, 8, N, against="unchanged") for k, v in of.items()},
            "volume_change": {k: sample.m(k, v, 0.015, 8, N) for k, v in moved.items()},
            "flipped": None,
            "p": 0.001 if drop < -0.03 else 0.4,
            "p_holm": 0.01 if drop < -0.03 else 1.0,
            "state": "loss shown" if drop < -0.03 else "no loss shown",
        }

    given = (
        ("noise_0.05", "noise", 0.05, "Rician noise, SD 5 % of the mean grey of the head", -0.01),
        ("noise_0.2", "noise", 0.2, "Rician noise, SD 20 % of the mean grey of the head", -0.12),
        ("bias_0.3", "bias", 0.3, "Bias field, up to 30 % brighter or darker", -0.02),
        ("slices_2", "slices", 2.0, "Slices 2 times as thick", -0.02),
        ("mirror_1", "mirror", 1.0, "Left and right exchanged", 0.0),
        ("missing_1", "missing", 1, "Without FLAIR (set to 0)", -0.31),
        ("swapped_2", "swapped", 2, "FLAIR and T1w exchanged", -0.5),
    )
    return {
        "n": 8,
        "of": N,
        "patients": 8,
        "level": 0.95,
        "method": "paired differences of Dice by case, t by patient",
        "seed": 7,
        "unchanged": {"mean_dice": sample.m("mean_dice", 0.8, 0.02, 8, N)},
        "changes": [change(*one) for one in given],
        "worst": "swapped_2",
        "flips_most": None,
        "moves_most": "swapped_2",
        "multiplicity": "holm",
        "sentence": "Of 7 changes this one costs most: FLAIR and T1w exchanged.",
        "note": "The changes imitate what goes wrong with scans; real ones from another scanner may differ.",
    }


def explanation() -> dict[str, Any]:
    """Which contrasts matter, and maps with their checks."""
    fills = {"mean": "set to its mean inside the head", "other": "taken from another patient"}

    def channel(name: str, place: int, fall: float) -> dict[str, Any]:
        keys = (*REGIONS, "mean")
        return {
            "channel": name,
            "place": place,
            "falls": {
                f: {k: sample.m(k, fall + 0.02 * j + 0.03 * i, 0.03, 16, 0) for i, k in enumerate(keys)}
                for j, f in enumerate(fills)
            },
            "states": dict.fromkeys(keys, "needed" if fall > 0.1 else "not enough evidence"),
            "sentence": f"{name}: without it, Dice falls.",
        }

    def check(name: str, sentence: str, estimates: dict[str, Any], chance: dict[str, Any]) -> dict[str, Any]:
        return {"check": name, "passed": True, "state": "pass", "sentence": sentence, "estimates": estimates,
                "chance": chance, "steps": []}  # fmt: skip

    def region(key: str) -> dict[str, Any]:
        return {
            "label": LABELS[key],
            "present": 16,
            "outlined": 16,
            "passed": True,
            "state": "pass",
            "sentence": f"{LABELS[key]}: the maps depend on the weights.",
            "stages": {
                stage: {
                    "label": stage,
                    "cell_mm": [24.0, 24.0, 24.0],
                    "checks": {
                        "parameter_randomisation": check(
                            "parameter_randomisation",
                            "With random weights the maps change.",
                            {"spearman": sample.m("spearman", 0.12, 0.05, 8, 0)},
                            {},
                        ),
                        "inside": check(
                            "inside",
                            "More of the map lies inside than by chance.",
                            {"inside": sample.m("inside", inside, 0.04, 16, 0)},
                            {"inside": 0.05},
                        ),
                    },
                }
                for stage, inside in (("bottleneck", 0.31), ("decoder", 0.78))
            },
        }

    return {
        "kind": "volumes",
        "regions": dict(LABELS),
        "contrasts": {
            "kind": "contrasts",
            "fills": fills,
            "sentence": "The model needs T1gd and FLAIR most.",
            "rule": "needed: the interval of the fall of Dice lies above 0",
            "note": "A fall says what this network uses, not what a reader needs.",
            "method": "difference of Dice with and without, by case",
            "n": 16,
            "patients": 16,
            "level": 0.95,
            "sampled": "16 test scans",
            "dice": {k: sample.m(k, 0.8, 0.02, 16, 0) for k in (*REGIONS, "mean")},
            "channels": [
                channel(*one) for one in (("T1gd", 3, 0.41), ("FLAIR", 1, 0.28), ("T2w", 4, 0.02), ("T1w", 2, 0.01))
            ],
        },
        "maps": {
            "kind": "volume_maps",
            "method": "grad_cam",
            "label": "Seg-Grad-CAM",
            "means": "The maps weigh the feature maps of a stage by the mean gradient of the scores of the region.",
            "note": "A map shows where the scores came from; it is no proof and no cause.",
            "sentence": "Maps passed their checks for every region.",
            "stages": {"bottleneck": "deepest stage", "decoder": "a stage on the way up"},
            "networks": 1,
            "network_note": "",
            "n": 16,
            "patients": 16,
            "level": 0.95,
            "sampled": {"most": {"inside": 16}, "sentence": "Places were looked at on at most 16 scans."},
            "regions": {k: region(k) for k in REGIONS},
        },
    }


PNG = "data:image/png;base64,"
PNG += "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def gallery(perf: dict[str, Any], pictures: bool) -> dict[str, Any]:
    """The worst, the median and the best scans, with one pixel for a picture."""
    more = ("dice", "hd95", "reference_ml", "prediction_ml", "empty")

    def case(one: dict[str, Any]) -> dict[str, Any]:
        found = {
            k: {m: r[m] for m in more}
            | {"expected_dice": 0.8, "lower": 0.8 * r["prediction_ml"], "upper": 1.25 * r["prediction_ml"]}
            for k, r in one["regions"].items()
        }
        mean = float(np.mean([r["dice"] for r in found.values()]))
        return {"case": one["case"], "dice": mean, "expected_dice": 0.8, "regions": found}

    every = sorted((case(c) for c in perf["cases"]), key=lambda c: c["dice"])
    groups = {"worst": every[:2], "median": every[N // 2 : N // 2 + 1], "best": every[-1:], "uncertain": every[:1]}

    def scope(label: str) -> dict[str, Any]:
        return {
            "label": label,
            "median": 0.8,
            "uncertain_by": "expected_dice",
            "cases": groups,
            "of": dict.fromkeys(groups, N),
            "sentence": f"{label[:1].upper()}{label[1:]}: Dice runs from 0.50 to 0.95 over {N} cases.",
        }

    kinds = {"planes": "Three planes through the slice with the largest area", "surface": "Surface of both"}

    def of(cases: list[dict[str, Any]], *some: str) -> dict[str, Any]:
        return {
            str(c["case"]): {
                k: {"png": PNG, "alt": f"Scan {c['case']}: {kinds[k]}.", "width": 720, "height": 300} for k in some
            }
            for c in cases
        }

    drawn = {
        "scopes": {"overall": of([every[0], every[-1]], *kinds), "tumour_core": of(every[:1], "surface")},
        "kinds": kinds,
        "caption": "Radiological convention: the patient's right is on the left. Reference solid, outline dashed.",
        "weight": 12000,
        "scale": 1.0,
    }
    return {
        "kind": "volume_gallery",
        "per": 2,
        "n": N,
        "ids": False,
        "groups": {
            "worst": "Lowest Dice",
            "median": "Nearest to the median Dice",
            "best": "Highest Dice",
            "uncertain": "Lowest expected Dice",
        },
        "scopes": {"overall": scope("mean of the regions"), **{k: scope(LABELS[k]) for k in REGIONS}},
        "pictures": drawn if pictures else None,
    }


def _learning() -> list[dict[str, Any]]:
    t = np.arange(1, 25)
    dice = 0.84 - 0.7 * np.exp(-t / 5) - 0.004 * np.maximum(t - 19, 0)
    return [
        {
            "train_loss": (0.25 + 1.1 * np.exp(-t / 6)).tolist(),
            "tune": {"dice": dice.tolist(), "loss": (0.4 + 0.9 * np.exp(-t / 5)).tolist()},
            "best_epoch": int(np.argmax(dice)) + 1,
            "stopped_early": True,
            "steps": 960,
            "train_scans": 58,
            "tune_scans": 14,
            "half_precision": True,
        }
    ]


def _score(value: float, n: int) -> dict[str, Any]:
    return {"name": "mean_dice", "value": value, "lower": value - 0.03, "upper": value + 0.03, "n": n, "note": ""}


def _model() -> dict[str, Any]:
    board = (
        ("small_unet3d", "Small 3D U-Net", "candidate", 0.83),
        ("segresnet3d", "3D SegResNet", "candidate", 0.82),
        ("threshold", "Threshold on one contrast", "baseline", 0.41),
        ("voxel_logistic", "Voxel logistic regression", "baseline", 0.63),
    )
    return {
        "name": "small_unet3d",
        "title": "Small 3D U-Net",
        "description": "A 3D U-Net of 0.4 million weights, trained on sub-volumes.",
        "family": "network",
        "parameters": {"max_epochs": 24},
        "n_fitted": 58,
        "n_tune": 14,
        "leaderboard": [
            {
                "name": name,
                "title": title,
                "kind": kind,
                "metric": "mean_dice",
                "mean": v,
                "lower": v - 0.04,
                "upper": v + 0.04,
                "folds": [v],
                "trials": 1,
                "seconds": 180.0 if kind == "candidate" else 2.0,
                "parameters": {},
                "note": "",
                "chosen": name == "small_unet3d",
            }
            for name, title, kind, v in board
        ],
        "choice": "Small 3D U-Net had the highest mean_dice on the tune part.",
        "plan": {
            "spacing": [3.0, 3.0, 3.0],
            "patch_size": [48, 48, 48],
            "batch_size": 2,
            "patches_per_scan": 4,
            "widths": [16, 32, 64, 128],
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
            "kernels": [[3, 3, 3]] * 4,
            "scaling": {"kind": "nonzero", "low": -160.0, "high": 240.0},
            "reasons": {
                "spacing": "The median spacing of the training scans is 3 x 3 x 3 mm.",
                "patch_size": "48 x 48 x 48 voxels are the largest that fit 1,500 MB with two in a batch.",
                "batch_size": "Two is the least that training needs.",
                "widths": "Four levels bring 48 voxels down to 6.",
            },
        },
        "network": {
            "architecture": "unet3d",
            "options": {"widths": [16, 32, 64, 128]},
            "parameters": 412345,
            "estimators": 1,
            "initial_weights": None,
            "preprocessing": {
                "channels": ["FLAIR", "T1w", "T1gd", "T2w"],
                "spacing": [3.0, 3.0, 3.0],
                "orientation": "RAS",
                "crop": True,
                "modality": "MR",
            },
            "augmentation": {"rotation": 15.0, "scale": 0.15, "gamma": 0.2, "noise": 0.05, "mirror": [2]},
            "loss": "dice_cross_entropy",
            "optimizer": "adamw",
            "learning_rate": 0.003,
            "batch_size": 2,
            "max_epochs": 24,
            "overlap": 0.5,
            "mirror": [],
            "test_time_augmentation": 0,
            "rules": [{"key": "enhancing_tumour", "largest": False, "minimum": 30}],
            "tune_dice": {
                "scans": 14,
                "raw": {"whole tumour": 0.89, "tumour core": 0.83, "enhancing tumour": 0.74},
                "cleaned": {"whole tumour": 0.89, "tumour core": 0.83, "enhancing tumour": 0.76},
            },
        },
        "learning": _learning(),
        "precision": {"used": "bf16-mixed", "dice_change": -0.0004, "limit": 0.001},
        "tuning": {"metric": "mean_dice", "direction": "maximize", "trials": 2},
        "fit_diagnosis": {
            "scores": {"train": _score(0.90, 58), "tune": _score(0.83, 14), "test": _score(0.82, N)},
            "gaps": [
                {
                    "kind": "variance",
                    "size": {"value": 0.07, "lower": 0.04, "upper": 0.1, "n": 14, "note": ""},
                    "verdict": "present",
                    "sentence": "0.07 Dice are lost from the part it learned from to the tune part.",
                    "advice": "more training patients",
                }
            ],
            "summary": "Work on variance first: more training patients.",
        },
        "calibration": {
            "method": "none",
            "scores": {},
            "parameters": {},
            "sentence": "A voxel belongs to a region where its probability is one half or more.",
        },
        "threshold": {"value": None, "rule": "a probability of one half, the same for all regions"},
        "optimism": None,
        "sample_size": None,
        "coefficients": None,
        "ratio_name": None,
    }


def _subgroups(perf: dict[str, Any]) -> dict[str, Any]:
    def group(name, n, value, state, why=""):
        measures = {
            "mean_dice": sample.m("mean_dice", value, 0.1 / np.sqrt(n), n, n, group=name),
            "dice@whole_tumour": sample.m("dice@whole_tumour", value + 0.06, 0.08 / np.sqrt(n), n, 0, group=name),
            "hd95@whole_tumour": sample.m("hd95@whole_tumour", 4 + 20 * (0.85 - value), 0.7, n, 0, group=name),
        }
        return {
            "group": name,
            "n": n,
            "events": n,
            "patients": n,
            "judged": n >= 8,
            "measures": measures,
            "state": state,
            "why": why,
        }

    gap = {"mean_dice": sample.m("mean_dice", 0.05, 0.03)}
    return {
        "measures": ["mean_dice", "dice@whole_tumour", "hd95@whole_tumour"],
        "primary": "mean_dice",
        "min_events": 8,
        "min_nonevents": 0,
        "columns": [
            {
                "column": "sex",
                "label": "Sex",
                "groups": [group("F", 11, 0.80, "met"), group("M", 13, 0.84, "met")],
                "gap": gap,
            },
            {
                "column": "scanner",
                "label": "Scanner",
                "groups": [
                    group("A", 18, 0.84, "met"),
                    group("B", 6, 0.71, "not enough evidence", "6 scans, fewer than 8"),
                ],
                "gap": gap,
            },
        ],
        "multiplicity": "holm",
        "note": "Groups were named before the test part was opened.",
    }


def masks(pictures: bool = False) -> dict[str, Any]:
    """A network that outlines a tumour in four contrasts of MRI, with or without pictures of patients."""
    r = sample._common("binary")
    perf = performance()
    mean = perf["measures"]["mean_dice"]
    whole = perf["measures"]["dice@whole_tumour"]
    r["task"] = "segment"
    r["study"] |= {
        "id": "brain-tumour",
        "title": "Outlining brain tumours on MRI",
        "outcome_label": "3 regions",
        "primary": "mean_dice",
        "design": "diagnostic",
        "intended_use": "Propose outlines that a radiologist corrects.",
        "intended_users": ["neuroradiologists"],
        "not_for": ["planning of treatment without correction", "children"],
        "text": 'schema = 1\ntask = "segment"\n[study]\nid = "brain-tumour"\n',
    }
    r["data"] |= {
        "source": "synthetic:brain",
        "rows": 96,
        "patients": 90,
        "flow": [
            {"step": "Scans in the table", "removed": 0, "remaining": 99},
            {"step": "Scans and masks that can be read", "removed": 3, "remaining": 96},
        ],
        "parts": {
            "train": {"n": 72, "patients": 68, "events": 70},
            "test": {"n": N, "patients": PATIENTS, "events": N},
        },
        "missing": [],
        "dates": None,
        "sites": None,
        "volumes": {
            "files": 99,
            "refused": {"GEOMETRY": 2, "TRUNCATED": 1},
            "modalities": {"MR": 96},
            "channels": ["FLAIR", "T1w", "T1gd", "T2w"],
            "spacing": {"min": [1.0, 0.9, 0.9], "median": [3.0, 3.0, 3.0], "max": [5.0, 3.0, 3.0]},
            "shape": {"min": [48, 60, 60], "median": [64, 64, 64], "max": [155, 240, 240]},
            "orientations": {"RAS": 90, "LPS": 6},
        },
    }
    r["data"]["table1"]["rows"] = [row for row in r["data"]["table1"]["rows"] if row["variable"] in ("age", "sex")]
    r["outcome"] = {
        "kind": "masks",
        "label": "3 regions",
        "unit": "day",
        "reference_standard": "Outlines of the phantom, known exactly.",
        "prevalence": {},
        "followup": None,
        "curve": None,
        "regions": [
            {
                "name": name,
                "key": key,
                "label": label,
                "labels": labels,
                "present": {"train": 70 - 6 * i, "test": N - 2 * (i == 2)},
                "volume_ml": {
                    "train": {"median": 36.0 / (i + 1) ** 1.2, "q1": 20.0 / (i + 1), "q3": 60.0 / (i + 1), "n": 72},
                    "test": {"median": 34.0 / (i + 1) ** 1.2, "q1": 19.0 / (i + 1), "q3": 55.0 / (i + 1), "n": N},
                },
            }
            for i, (key, (name, label, labels)) in enumerate(REGIONS.items())
        ],
    }
    r["model"], r["performance"] = _model(), perf
    r["verdict"] = {
        "state": "met",
        "openings": 1,
        "changed_after_opening": False,
        "criteria": [
            {
                "text": f"{name}.lower >= {edge}",
                "measure": name,
                "value": m["value"],
                "lower": m["lower"],
                "upper": m["upper"],
                "state": "met",
                "why": f"The lower end, {m['lower']:.3f}, is at least {edge}.",
            }
            for name, m, edge in (("mean_dice", mean, 0.6), ("dice@whole_tumour", whole, 0.7))
        ],
        "simple_model": {
            "beaten": True,
            "sentence": "The network beats voxel logistic regression in mean_dice by 0.2.",
        },
    }
    r["subgroups"] = _subgroups(perf)
    r["failures"] = r["stability"] = None
    r |= {
        "lesions": lesions(),
        "volumes": volumes(perf),
        "quality": quality(perf),
        "voxel_calibration": voxel_calibration(),
        "robustness": robustness(),
        "readers": readers(),
        "explanation": explanation(),
        "gallery": gallery(perf, pictures),
    }
    r["limits"] = {
        "inputs": [
            {
                "name": c,
                "label": f"{c} of the same visit",
                "unit": None,
                "kind": "volume",
                "range": None,
                "categories": None,
                "required": True,
            }
            for c in ("FLAIR", "T1w", "T1gd", "T2w")
        ],
        "refusals": [
            {"code": "GEOMETRY", "reason": "The channels do not share a grid."},
            {"code": "TRUNCATED", "reason": "The file ends too early."},
        ],
        "limitations": [
            "The test part was drawn from the same source as the training part; there is no external test."
        ],
    }
    return r
