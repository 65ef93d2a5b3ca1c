"""What a run on pictures can say for each CLAIM item: the same sentences as for TRIPOD+AI, and those of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.trust import scan_words as scans
from aimed.trust import tripod
from aimed.trust.tripod import NotApplicable, Results, Writer, join, said_of
from aimed.trust.words import at, listed, number, plural, title

__all__ = ["WRITERS"]


def title_(r: Results) -> str | None:
    """Item 1."""
    text, model = at(r, "study.title"), at(r, "model.title")
    if not text:
        return None
    kind = "deep learning" if at(r, "model.network") else "a prediction model"
    return join(f"{text}: {kind}{f' ({model})' if model else ''} for {tripod.outcome_of(r)}")


def direction(r: Results) -> str | None:
    """Item 5."""
    source = at(r, "data.source")
    if not source:
        return None
    if str(source).startswith("synthetic:"):
        what = "scans" if scans.of_scans(r) else "pictures"
        return join(f"No patients: the {what} were drawn by a program ({source})")
    return join("The study was run on data that were there before: it looks back, unless the author says otherwise")


def goal(r: Results) -> str | None:
    """Item 6."""
    return join(f"To make a model and to test it: {tripod.setup(r)}") if at(r, "split.by") else None


def selection(r: Results) -> str | None:
    """Item 10."""
    if scans.of_scans(r):
        return join(scans.selection(r))
    views = at(r, "data.images.views") or {}
    shown = [f"{view} {number(n)}" for view, n in views.items()]
    return join(
        "Whole pictures were used, and no region was cut out",
        f"Views: {listed(shown)}" if shown else None,
    )


def identity(r: Results) -> str | None:
    """Item 11."""
    named = bool(at(r, "gallery.ids"))
    return join(
        "The report holds the study's own ids of single cases"
        if named
        else "The report holds no ids; patients are told apart by ids that stay with the data",
        "Groups of fewer than 11 patients are not described",
        "How the source was de-identified is for the author to say",
    )


def acquisition(r: Results) -> str | None:
    """Item 13."""
    rows = at(r, "data.table1.rows") or []
    described = list(dict.fromkeys(str(row.get("label") or row.get("variable")) for row in rows))
    views = [f"{view} {number(n)}" for view, n in (at(r, "data.images.views") or {}).items()]
    return join(
        scans.files(r),
        f"Views: {listed(views)}" if views else None,
        f"Table 1 describes by part: {listed(described, 20)}" if described else None,
    )


def standard(r: Results) -> str | None:
    """Item 14."""
    text = at(r, "outcome.reference_standard")
    return join(f"Reference standard: {text}") if text else None


def readers(r: Results) -> str | None:
    """Item 18."""
    said = []
    for one in (at(r, "readers.regions") or {}).values():
        parts = [("Dice", at(one, "measures.dice.readers")), ("Fleiss' kappa", at(one, "kappa"))]
        told = [f"{name} {_with_interval(m)}" for name, m in parts if m and m.get("value") is not None]
        if told:
            said.append(f"{one.get('label')} {', '.join(told)}")
    if not said:
        return None
    return join(
        f"{plural(len(at(r, 'readers.names') or []), 'reader')} among each other: {'; '.join(said)}",
        "How they differed from themselves, and how differences were resolved, is for the author to say",
    )


def _with_interval(measure: Mapping[str, Any]) -> str:
    known = measure.get("lower") is not None and measure.get("upper") is not None
    return f"{measure['value']:.2f}" + (f" ({measure['lower']:.2f} to {measure['upper']:.2f})" if known else "")


def level(r: Results) -> str | None:
    """Item 20."""
    proof = at(r, "split.proof") or {}
    shared = sum(int(n) for n in (proof.get("shared_patients") or {}).values())
    patients = ", ".join(f"{part} {number(n)}" for part, n in (proof.get("patients") or {}).items())
    said = f"{plural(shared, 'patient')} in more than one part" if shared else "no patient is in more than one part"
    return join(f"The level is the patient: {said}{f' ({patients})' if patients else ''}")


def size(r: Results) -> str | None:
    """Item 21."""
    test, share = at(r, "data.parts.test"), at(r, "split.fraction")
    if not test:
        return None
    positive = [
        f"{one.get('label')} {number((one.get('positive') or {}).get('test'))}"
        for one in at(r, "outcome.findings") or []
    ]
    return join(
        tripod.part_of(r, "test"),
        f"Positive in the test part: {listed(positive, 40)}" if positive else None,
        f"In the reference: {scans.regions(r)}" if scans.regions(r) else None,
        f"{float(share):.0%} of the patients were set aside; no calculation settled the number" if share else None,
    )


def model(r: Results) -> str | None:
    """Item 22."""
    if scans.of_scans(r):
        return join(tripod.full_model(r), scans.inputs(r))
    shape = at(r, "model.network.preprocessing.shape") or []
    each = list(tripod.labels(r).values())
    return join(
        tripod.full_model(r),
        f"Input: one grey picture of {' x '.join(str(s) for s in shape)} pixels" if shape else None,
        f"Output: a probability of each of {plural(len(each), 'finding')} ({listed(each, 40)})" if each else None,
    )


def software(r: Results) -> str | None:
    """Item 23."""
    version = at(r, "aimed_version")
    others = at(r, "reproduce.versions") or {}
    named = [f"{name} {v}" for name, v in others.items() if v and name != "aimed"]
    python = at(r, "reproduce.python")
    return join(
        f"aimed {version}{f', Python {python}' if python else ''}" if version else None,
        f"Libraries: {listed(named, 40)}" if named else None,
    )


def start(r: Results) -> str | None:
    """Item 24."""
    weights = at(r, "model.network.initial_weights")
    if not weights:
        return join(f"Weights were drawn at random (seed {at(r, 'study.seed')})")
    return join(f"Weights of a file with SHA-256 {weights.get('sha256')}: {weights.get('sentence')}")


def training(r: Results) -> str | None:
    """Item 25."""
    built, runs = at(r, "model.network") or {}, at(r, "model.learning") or []
    known = {
        "loss": built.get("loss"),
        "optimizer": built.get("optimizer"),
        "learning rate": built.get("learning_rate"),
        "batch": built.get("batch_size"),
        "most epochs": built.get("max_epochs"),
    }
    kept = [f"{one['best_epoch']} of {len(one.get('train_loss') or [])}" for one in runs if one.get("best_epoch")]
    one = "scan" if scans.of_scans(r) else "picture"
    tune = runs[0].get("tune_scans" if one == "scan" else "tune_rows") if runs else None
    return join(
        scans.selection(r) if one == "scan" else None,
        tripod.augmentation(r),
        ", ".join(f"{k} {v}" for k, v in known.items() if v is not None) or None,
        f"Training was stopped on a tune part of {plural(tune, one)}; kept was epoch {listed(kept)}"
        if tune and kept
        else None,
    )


def ensemble(r: Results) -> str | NotApplicable | None:
    """Item 27."""
    n = at(r, "model.network.estimators")
    if not n:
        return None
    if n == 1:
        return NotApplicable("One network gives the prediction.")
    return join(f"The probabilities of {n} networks, each from a seed of its own, are averaged")


def uncertainty(r: Results) -> str | None:
    """Item 29."""
    method, share = at(r, "performance.interval_method"), at(r, "performance.level")
    if not method:
        return None
    return join(
        f"Intervals{f' of {float(share):.0%}' if share else ''}: {method}",
        "Differences to baselines are paired, on the same resamples" if at(r, "performance.differences") else None,
        f"Between groups p values are adjusted by {str(at(r, 'subgroups.multiplicity')).capitalize()}'s method"
        if at(r, "subgroups.multiplicity")
        else None,
    )


def robust(r: Results) -> str | None:
    """Item 30."""
    told = ("robustness", "shortcuts", "conformal", "case_uncertainty", "quality", "voxel_calibration")
    return join(*(at(r, f"{block}.sentence") for block in told))


def explained(r: Results) -> str | None:
    """Item 31."""
    if at(r, "explanation.kind") == "volumes":
        return join(*scans.contrasts(r))
    if at(r, "explanation.kind") == "maps":
        return join(f"Heat maps by {at(r, 'explanation.label')}", at(r, "explanation.sentence"))
    measure = at(r, "explanation.measure")
    return join(
        f"Permutation importance for {title(str(measure))}" if measure else None, at(r, "explanation.sanity.sentence")
    )


def internal(r: Results) -> str | None:
    """Item 32."""
    return join(f"{tripod.setup(r)[:1].upper()}{tripod.setup(r)[1:]}", tripod.part_of(r, "test"))


def external(r: Results) -> str | None:
    """Item 33."""
    by = at(r, "split.by")
    said = {
        "site": "Whole sites were held out of the same collection; no data of another collection were tested",
        "time": "The test part is of a later period of the same source; no data of another source were tested",
    }
    return join(said.get(str(by), "There was no test on data from elsewhere")) if by else None


def accuracy(r: Results) -> str | None:
    """Item 38."""
    if scans.of_scans(r):
        voxels = scans.overlap(r)
        return join(f"Of voxels: {voxels}" if voxels else None, *_lesions(r))
    said = []
    for key, label in tripod.labels(r).items():
        rows = at(r, f"performance.findings.{key}.thresholds") or []
        chosen = next((row for row in rows if row.get("chosen")), None)
        if chosen is not None:
            said.append(f"{label} at a risk of {number(float(chosen['threshold']))}: {_rates(r, chosen)}")
    if not said and isinstance(at(r, "performance.thresholds"), list):
        chosen = next((row for row in at(r, "performance.thresholds") if row.get("chosen")), None)
        said = [f"At a risk of {number(float(chosen['threshold']))}: {_rates(r, chosen)}"] if chosen else []
    return join("; ".join(said)) if said else None


def _lesions(r: Results) -> list[str]:
    found = (at(r, "lesions.regions") or {}).values()
    said = [str(one["sentence"]) for one in found if (one or {}).get("sentence")]
    return [s[:1].upper() + s[1:] for s in said]


def _rates(r: Results, row: Mapping[str, object]) -> str:
    found = [m for name in ("sensitivity", "specificity") if isinstance(m := row.get(name), Mapping)]
    return ", ".join(said_of(r, m) for m in found)


def failures(r: Results) -> str | None:
    """Item 39."""
    cases = [str(one["sentence"]) for one in (at(r, "gallery.findings") or {}).values() if (one or {}).get("sentence")]
    groups = [f"{g.get('rule')} ({number(g.get('n'))})" for g in at(r, "failures.groups") or []]
    poor = scans.worst(r)
    return join(
        *cases,
        "The best, worst and least certain cases of each finding are listed" if cases else None,
        *poor,
        "The worst, median and best scans of each region are listed" if poor else None,
        f"Errors gather where: {'; '.join(groups)}" if groups else None,
    )


def availability(r: Results) -> str | None:
    """Item 43."""
    terms = at(r, "study.license")
    return join(
        tripod.code(r),
        "The model is packaged with its preprocessing, hashes and golden cases",
        f"Terms of use of the model: {terms}" if terms else "Terms of use of model and data are for the author to say",
    )


WRITERS: Mapping[str, Writer] = {
    "1": title_,
    "2": tripod.abstract,
    "4": tripod.objectives,
    "5": direction,
    "6": goal,
    "7": tripod.sources,
    "8": tripod.eligibility,
    "9": tripod.preparation,
    "10": selection,
    "11": identity,
    "12": tripod.missing,
    "13": acquisition,
    "14": standard,
    "18": readers,
    "19": tripod.partition,
    "20": level,
    "21": size,
    "22": model,
    "23": software,
    "24": start,
    "25": training,
    "26": tripod.building,
    "27": ensemble,
    "28": tripod.measures,
    "29": uncertainty,
    "30": robust,
    "31": explained,
    "32": internal,
    "33": external,
    "35": tripod.flow,
    "36": tripod.characteristics,
    "37": tripod.performance,
    "38": accuracy,
    "39": failures,
    "40": tripod.limitations,
    "42": tripod.protocol,
    "43": availability,
}
"""Item → its writer, for every item of class A or D."""
