"""What a run can say for each TRIPOD+AI item: sentences made from the numbers of the results and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aimed.trust import scan_words as scans
from aimed.trust.words import at, estimate, listed, number, plural, title

__all__ = [
    "WRITERS",
    "NotApplicable",
    "Results",
    "Writer",
    "followup",
    "identifiers",
    "join",
    "labels",
    "note_source",
    "of_findings",
    "of_notes",
    "of_pictures",
    "refused_notes",
    "said_of",
    "unfit",
]

Results: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """An item that this study does not have, and why."""

    reason: str


Writer: TypeAlias = Callable[[Results], str | NotApplicable | None]
"""Results → the text of an item; None when the results hold nothing to say."""


def join(*parts: str | None) -> str | None:
    """Join the sentences that exist; None where none does.

    Examples
    --------
    >>> join("One", None, "Two."), join(None)
    ('One. Two.', None)
    """
    said = [part.strip() for part in parts if part and part.strip()]
    return " ".join(part if part[-1] in ".!?" else f"{part}." for part in said) or None


def unfit(r: Results) -> NotApplicable | None:
    """Return why guidelines for models that predict do not apply; None where they do."""
    if at(r, "task") != "effect":
        return None
    return NotApplicable(
        "This study estimates what a treatment does and predicts no outcome: CONSORT 2025 or TARGET 2025, and ICH "
        "E9(R1), apply."
    )


def _unit(r: Results) -> str:
    return str(at(r, "performance.unit") or at(r, "outcome.unit") or "day")


def outcome_of(r: Results) -> str:
    """Return what is predicted, in words."""
    if scans.labels(r):
        return f"outlines of {listed(scans.labels(r), 40)}"
    return str(at(r, "study.outcome_label") or at(r, "outcome.label") or "the outcome")


def _horizons(r: Results) -> str:
    horizons = at(r, "outcome.horizons") or []
    return f" by {listed([f'{h:g}' for h in horizons])} {_unit(r)}s" if horizons else ""


def of_notes(r: Results) -> bool:
    """Return whether the rows are notes whose findings are read.

    Examples
    --------
    >>> of_notes({"task": "report_labels"}), of_notes({"outcome": {"kind": "multilabel"}})
    (True, False)
    """
    return at(r, "task") == "report_labels" or at(r, "data.notes") is not None


def of_pictures(r: Results) -> bool:
    """Return whether the rows are pictures in which several findings are looked for."""
    return not of_notes(r) and (at(r, "data.images") is not None or at(r, "outcome.kind") == "multilabel")


def of_findings(r: Results) -> bool:
    """Return whether a row may have several findings: a picture or a note."""
    return of_pictures(r) or of_notes(r)


def note_source(r: Results) -> str | None:
    """Return where the labels of notes come from; None where it is not said.

    Examples
    --------
    >>> note_source({"data": {"notes": {"coding": "certain", "lexicon": {"name": "chest-xray", "version": "1.0.0"}}}})
    'Labels of the reference standard are 1 or 0 by the note; the lexicon chest-xray 1.0.0 reads beside it'
    """
    block = at(r, "data.notes")
    if block is None:
        return None
    coding = {"certain": "1 or 0 by the note", "chexpert": "present, absent, uncertain or not mentioned by the note"}
    said = f"Labels of the reference standard are {coding.get(str(block.get('coding')), str(block.get('coding')))}"
    lexicon = block.get("lexicon") or {}
    called = " ".join(str(lexicon[k]) for k in ("name", "version") if lexicon.get(k))
    return f"{said}; the lexicon {called} reads beside it" if called else said


def identifiers(r: Results) -> str | None:
    """Return the state of de-identification of the notes and who may see them; None where it is not said.

    Examples
    --------
    >>> identifiers({"data": {"notes": {"identifiers": "possible"}}})[:52]
    'The notes may name people: only those who may see pa'
    """
    state = at(r, "data.notes.identifiers")
    if state is None:
        return None
    if state == "none":
        return (
            "The notes were de-identified before the study, by the word of whoever made the data; they are still text "
            "of patients, for those whom the data agreement names"
        )
    return (
        "The notes may name people: only those who may see patient records may see them; no text and no word of them "
        "is in the report or in the package, except those of the lexicon"
    )


def refused_notes(r: Results) -> str | None:
    """Return how many notes could not be read, by code; None where none was refused."""
    found = at(r, "data.notes.refused")
    if not found:
        return None
    total = sum(int(n) for n in found.values())
    codes = ", ".join(f"{code} {number(n)}" for code, n in found.items())
    verbs = ("was", "is") if total == 1 else ("were", "are")
    return f"{plural(total, 'note')} {verbs[0]} refused and {verbs[1]} in no part ({codes})"


def labels(r: Results) -> dict[str, str]:
    """Return the label of each finding by its key; empty without findings."""
    return {str(k): str(v) for k, v in (at(r, "performance.labels") or {}).items()}


def _title(r: Results, name: str) -> str:
    return title(name, _unit(r), labels(r))


def said_of(r: Results, measure: Mapping[str, Any]) -> str:
    """Return a measure with its interval and n, called by its name for people."""
    words = ("with the region", "with the region") if scans.of_scans(r) else ("event", "")
    return estimate(measure, _unit(r), labels=labels(r), event=words[0], events=words[1])


def _rows(r: Results, n: Any) -> str:
    return plural(n, _row(r))


def _row(r: Results) -> str:
    return "note" if of_notes(r) else "picture" if of_pictures(r) else "scan" if scans.of_scans(r) else "row"


def _events(r: Results, n: Any) -> str:
    if scans.of_scans(r):
        return f"{number(n)} with a region"
    return f"{number(n)} with a finding" if of_findings(r) else plural(n, "event")


def _with_events(r: Results, n: Any, events: Any) -> str:
    if of_findings(r):
        return f"{_rows(r, n)}, {number(events)} of them with a finding"
    if scans.of_scans(r):
        return _rows(r, n)
    return f"{_rows(r, n)} with {plural(events, 'event')}"


def part_of(r: Results, part: str) -> str | None:
    """Return the size of a part; None where there is no such part."""
    block = at(r, f"data.parts.{part}")
    if block is None:
        return None
    return (
        f"{part}: {_rows(r, block.get('n'))} of {plural(block.get('patients'), 'patient')}, "
        f"{_events(r, block.get('events'))}"
    )


def _parts(r: Results) -> str:
    return "; ".join(text for part in at(r, "data.parts") or {} if (text := part_of(r, part)))


def _main(r: Results) -> Mapping[str, Any] | None:
    found = at(r, f"performance.measures.{at(r, 'study.primary')}") if at(r, "study.primary") else None
    # A horizon such as auc@182.5 has a dot, which a path cannot hold.
    return found or (at(r, "performance.measures") or {}).get(at(r, "study.primary"))


def setup(r: Results) -> str:
    """Return what kind of evaluation this is."""
    by = at(r, "split.by")
    words = {
        "patient": "internal evaluation on a random test part of patients",
        "time": "evaluation on patients of a later period",
        "site": "evaluation on patients of sites held out",
        "column": "evaluation on a part named in the data",
    }
    return words.get(str(by), "evaluation on a test part")


def title_(r: Results) -> str | None:
    """Item 1."""
    text = at(r, "study.title")
    kind = {"diagnostic": "diagnostic", "prognostic": "prognostic"}.get(str(at(r, "study.design")), "clinical")
    population = at(r, "study.population")
    where = f" in {population}" if population else ""
    does = "segmentation" if scans.of_scans(r) else "prediction"
    if of_notes(r):
        kind, does = "report", "labelling"
    return (
        join(f"{text}: development and {setup(r)} of a {kind} {does} model for {outcome_of(r)}{where}")
        if text
        else None
    )


def abstract(r: Results) -> str | None:
    """Item 2."""
    measures = at(r, "performance.measures")
    if not measures or not at(r, "data.parts"):
        return None
    model = at(r, "model.title")
    state = at(r, "verdict.state")
    main = _main(r)
    return join(
        f"Objective: to develop and evaluate a model for {outcome_of(r)}{_horizons(r)}",
        f"Data: {at(r, 'data.source')}; {_parts(r)}" if at(r, "data.source") else f"Data: {_parts(r)}",
        f"Methods: {model} with {setup(r)}" if model else None,
        f"Results: {said_of(r, main)}" if main else None,
        f"Acceptance criteria declared before the run: {state}" if state else None,
    )


def purpose(r: Results) -> str | None:
    """Item 3b."""
    use, users, not_for = (at(r, f"study.{key}") for key in ("intended_use", "intended_users", "not_for"))
    population = at(r, "study.population")
    if not use:
        return None
    return join(
        f"Target population: {population}" if population else None,
        f"Intended use: {use}",
        f"Intended users: {listed(users)}" if users else None,
        f"Not for: {listed(not_for)}" if not_for else None,
    )


def objectives(r: Results) -> str | None:
    """Item 4."""
    if not at(r, "study.title"):
        return None
    criteria = at(r, "verdict.criteria") or []
    return join(
        f"To develop a model for {outcome_of(r)}{_horizons(r)} and to evaluate it by {setup(r)}",
        f"Acceptance criteria set beforehand: {listed([str(c.get('text')) for c in criteria])}" if criteria else None,
    )


def sources(r: Results) -> str | None:
    """Item 5a."""
    source = at(r, "data.source")
    if not source:
        return None
    digest = str(at(r, "data.digest") or "")
    return join(
        f"Source: {source}{f' (SHA-256 {digest[:12]}…)' if digest else ''}, "
        f"{_rows(r, at(r, 'data.rows'))} of {plural(at(r, 'data.patients'), 'patient')}",
        _parts(r),
        identifiers(r),
    )


def dates(r: Results) -> str | None:
    """Item 5b."""
    block = at(r, "data.dates")
    if not block:
        return None
    span = followup(r, at(r, "outcome.followup") or {})
    return join(f"Index dates from {block.get('first')} to {block.get('last')}", span)


def followup(r: Results, block: Mapping[str, Any]) -> str | None:
    """Return how long patients were followed; None where that is not recorded."""
    if block.get("median") is None:
        return None
    lower, upper = number(block.get("lower"), 1), number(block.get("upper"), 1)
    return (
        f"Median follow-up (reverse Kaplan-Meier) {number(float(block['median']), 1)} {_unit(r)}s "
        f"(interval {lower} to {upper})"
    )


def setting(r: Results) -> str | None:
    """Item 6a."""
    sites, said = at(r, "data.sites"), at(r, "study.setting")
    return join(str(said) if said else None, f"Data of {plural(len(sites), 'site')}" if sites else None)


def eligibility(r: Results) -> str | None:
    """Item 6b."""
    flow = at(r, "data.flow")
    if not flow:
        return None
    steps = [f"{step['step']} (removed {number(step['removed'])}, {number(step['remaining'])} left)" for step in flow]
    return join(f"Applied in order: {'; '.join(steps)}")


def _steps(r: Results) -> str | None:
    steps = at(r, "model.preparation")
    if not steps and of_notes(r):
        return _cleaned(r)
    if not steps and at(r, "model.network"):
        return _frame(r)
    return "; ".join(f"{s.get('name')}: {str(s.get('detail')).rstrip('.')}" for s in steps) if steps else None


def _cleaned(r: Results) -> str | None:
    if at(r, "data.notes") is None:
        return None
    odd = ", ".join(f"{str(k).replace('_', ' ')} {number(n)}" for k, n in (at(r, "data.notes.flags") or {}).items())
    text = "Notes were decoded and cleaned of markup and control characters, by the same rules in every part"
    return f"{text} (unusual: {odd})" if odd else text


_LIMITS = {
    "rotation": "turned by up to {:g} degrees",
    "translation": "moved by up to {:.0%} of the width",
    "scale": "scaled by up to {:.0%}",
    "brightness": "brightness by up to {:.0%} of the range",
    "contrast": "contrast by up to {:.0%}",
    "gamma": "log gamma by up to {:g}",
    "noise": "noise with SD up to {:.0%} of the range",
}


def augmentation(r: Results) -> str | None:
    """Return how training pictures were changed at random; None where that is not recorded."""
    if scans.of_scans(r):
        return scans.augmentation(r)
    if not at(r, "model.network") or at(r, "model.network.probe") or of_notes(r):
        return None
    limits = at(r, "model.network.augmentation")
    if not limits:
        return "Training pictures were not changed at random"
    each = [words.format(float(limits[key])) for key, words in _LIMITS.items() if limits.get(key)]
    return (
        f"Training pictures were changed at random ({', '.join(each)}) and never mirrored, because the heart has a side"
    )


def _frame(r: Results) -> str:
    if scans.of_scans(r):
        return scans.frame(r)
    size, bits = at(r, "data.images.size"), at(r, "data.images.bits")
    scale = at(r, "model.network.preprocessing") or {}
    steps = []
    if size:
        steps.append(f"pictures were framed to {size} x {size} pixels with their aspect kept, in {bits} bits")
    if scale.get("mean") is not None and scale.get("sd") is not None:
        steps.append(
            f"grey levels, as shares of full scale, less {number(float(scale['mean']))} and divided by "
            f"{number(float(scale['sd']))} ({scale.get('source')})"
        )
    said = "; ".join(steps)
    return said[:1].upper() + said[1:]


def preparation(r: Results) -> str | None:
    """Item 7."""
    steps = _steps(r)
    if not steps:
        return None
    checks = at(r, "checks") or []
    counts = {level: sum(f.get("severity") == level for f in checks) for level in ("STOP", "WARN", "NOTE")}
    return join(
        steps if at(r, "model.network") or of_notes(r) else f"Learned on the training part alone: {steps}",
        augmentation(r),
        f"Data checks gave {plural(counts['STOP'], 'stop')}, {plural(counts['WARN'], 'warning')} and "
        f"{plural(counts['NOTE'], 'note')}",
        "The same preparation was applied to every patient, whatever the group",
    )


def outcome(r: Results) -> str | None:
    """Item 8a."""
    if not at(r, "outcome.label"):
        return None
    kinds = {
        "binary": "yes/no",
        "survival": "time to event with right censoring",
        "competing": "time to the first of several events, with right censoring",
        "multilabel": "several findings, each present or not",
        "masks": "regions outlined in each scan",
    }
    standard = at(r, "outcome.reference_standard")
    shares = [
        f"{part} {said_of(r, m)}"
        for part, m in (at(r, "outcome.prevalence") or {}).items()
        if m.get("value") is not None
    ]
    shares += [
        f"{one.get('label')}, test: {said_of(r, m)}"
        for one in at(r, "outcome.findings") or []
        if (m := (one.get("prevalence") or {}).get("test")) and m.get("value") is not None
    ]
    return join(
        f"Outcome: {outcome_of(r)}{_horizons(r)} ({kinds.get(str(at(r, 'outcome.kind')), 'outcome')})",
        f"Reference standard: {standard}" if standard else None,
        note_source(r),
        "A label says what the note states, not what the patient has" if of_notes(r) else None,
        f"Frequency: {'; '.join(shares)}" if shares else None,
        f"In the reference: {scans.regions(r)}" if scans.regions(r) else None,
    )


def initial_predictors(r: Results) -> str | None:
    """Item 9a."""
    inputs = at(r, "limits.inputs")
    if not inputs:
        return None
    names = listed([str(i.get("label") or i["name"]) for i in inputs], 40)
    return join(
        f"{plural(len(inputs), 'candidate predictor')}: {names}",
        "The model sees the text of the note alone; columns of the table are used for the split and for groups only"
        if of_notes(r)
        else "The model sees the picture alone; view, tags and columns of the table are used to look for shortcuts only"
        if of_pictures(r)
        else "The model sees these channels alone; columns of the table are used for the split and for groups only"
        if scans.of_scans(r)
        else "None was dropped for its relation with the outcome before model building",
    )


def predictors(r: Results) -> str | None:
    """Item 9b."""
    inputs = at(r, "limits.inputs")
    if not inputs:
        return None
    said = []
    for i in inputs:
        unit = f" ({i['unit']})" if i.get("unit") else ""
        levels = f" ({listed([str(c) for c in i['categories']])})" if i.get("categories") else ""
        said.append(f"{i.get('label') or i['name']}{unit}{levels}")
    return join("; ".join(said))


def sample_size(r: Results) -> str | None:
    """Item 10."""
    found = [str(f["message"]) for f in at(r, "checks") or [] if f.get("check") == "sample_size" and f.get("message")]
    test = at(r, "data.parts.test")
    if not found or not test:
        return None
    if scans.of_scans(r):
        return join(
            f"Development: {' '.join(found)}",
            f"Evaluation: {part_of(r, 'test')}; precision is shown by the intervals",
        )
    rule = "" if of_findings(r) else " (criteria of Riley et al., BMJ 2020;368:m441)"
    return join(
        f"Development{rule}: {' '.join(found)}",
        f"Evaluation: {_with_events(r, test.get('n'), test.get('events'))}; precision is "
        "shown by the intervals; at least 100 events and as many non-events are advised (Collins et al., Stat Med "
        "2016;35:214)",
    )


def missing(r: Results) -> str | None:
    """Item 11."""
    method = at(r, "model.missing_method")
    if not method:
        return _unknown(r)
    words = {
        "mean_indicators": "the training mean with an indicator of missingness",
        "mean": "the training mean",
        "complete_case": "leaving out incomplete rows",
        "multiple_imputation": "multiple imputation by chained equations learned on the training part with its "
        "outcome; coefficients pooled by Rubin's rules, predictions averaged over the imputed data sets",
        "iterative": "chained equations learned on the training part",
        "native": "the model itself, which takes missing values",
    }
    gaps = at(r, "data.missing") or []
    worst = [f"{g.get('label') or g.get('variable')} {float(g['fraction']):.1%}" for g in gaps[:5]]
    return join(
        f"Missing values were handled by {words.get(str(method), str(method))}",
        f"{plural(len(gaps), 'variable')} had missing values, most often {listed(worst)}"
        if gaps
        else "None was missing",
    )


def _unknown(r: Results) -> str | None:
    found = at(r, "outcome.findings")
    if not found:
        return join(scans.refused(r)) if scans.of_scans(r) else None
    unsure, lost = (sum(int(one.get(key) or 0) for one in found) for key in ("uncertain", "unknown"))
    refused = sum(int(n) for n in (at(r, "data.images.refused") or {}).values())
    if of_notes(r):
        known = at(r, "data.notes.coding") != "certain"
        return join(
            f"Labels of findings: {number(unsure)} uncertain, {number(lost)} not mentioned"
            if known
            else "Every note has a label for every finding",
            refused_notes(r),
        )
    return join(
        f"Labels of findings: {number(unsure)} uncertain, {number(lost)} unknown",
        "A finding is learned and judged on the pictures where it is known, so that a picture with one unknown label "
        "is kept for the others",
        f"{plural(refused, 'file')} could not be used and {'is' if refused == 1 else 'are'} in no part",
    )


def partition(r: Results) -> str | None:
    """Item 12a."""
    proof = at(r, "split.proof")
    if not proof:
        return None
    shared = sum(int(n) for n in (proof.get("shared_patients") or {}).values())
    openings = at(r, "verdict.openings")
    seed = at(r, "split.seed")
    return join(
        f"The test part was drawn by {at(r, 'split.by')}{f' (seed {seed})' if seed is not None else ''} before any "
        f"modelling; {_parts(r)}",
        f"{plural(shared, 'patient')} in more than one part" if shared else "No patient is in more than one part",
        f"One tune part of {_rows(r, tuned)}, by patient from the training part, stopped training and chose the model"
        f"{' and what is cleared away from outlines' if scans.of_scans(r) else ', calibration and thresholds'}; "
        f"{_rows(r, at(r, 'model.n_fitted'))} were learned from"
        if (tuned := at(r, "model.n_tune"))
        else f"Tuning used {plural(proof['folds'], 'patient-grouped fold')} of the training part"
        if proof.get("folds")
        else None,
        f"The test part was opened {plural(openings, 'time')}" if openings else None,
    )


def handling(r: Results) -> str | None:
    """Item 12b."""
    return join(_steps(r))


def building(r: Results) -> str | None:
    """Item 12c."""
    board = at(r, "model.leaderboard")
    name = at(r, "model.title")
    if not board or not name:
        return None
    rows = [
        f"{row.get('title')} ({row.get('kind')}) {number(float(row['mean']))}{_between(row, 'lower', 'upper', 3)}"
        for row in board
        if row.get("mean") is not None
    ]
    metric = next((row.get("metric") for row in board if row.get("metric")), None)
    parameters = at(r, "model.parameters") or {}
    optimism = at(r, "model.optimism.corrected")
    return join(
        f"Model: {name}",
        str(at(r, "model.description") or "") or None,
        f"Compared on {'the tune part by' if at(r, 'model.n_tune') else 'tuning folds by mean'} "
        f"{_title(r, str(metric)) if metric else 'metric'}: {'; '.join(rows)}"
        if rows
        else None,
        str(at(r, "model.choice") or "") or None,
        f"Hyperparameters: {', '.join(f'{k} = {v}' for k, v in parameters.items())}" if parameters else None,
        f"Optimism-corrected by bootstrap: {said_of(r, optimism)}" if optimism else None,
    )


def _between(row: Mapping[str, Any], lower: str, upper: str, digits: int) -> str:
    """Interval in brackets, or nothing."""
    ends = row.get(lower), row.get(upper)
    if ends[0] is None or ends[1] is None:
        return ""
    return f" ({number(float(ends[0]), digits)} to {number(float(ends[1]), digits)})"


def clusters(r: Results) -> str | NotApplicable | None:
    """Item 12d."""
    sites = at(r, "data.sites")
    if not sites or len(sites) == 1:
        return _one_site(sites)
    by_site = at(r, "split.by") == "site"
    return join(
        f"Data come from {plural(len(sites), 'site')}",
        "Whole sites were held out as the test part" if by_site else "The test part was not drawn by site",
        "Clusters were not modelled; intervals resample patients, not sites",
    )


def _one_site(sites: Any) -> NotApplicable:
    if not sites:
        return NotApplicable("No site is recorded in these data; name [data] site if there are several.")
    return NotApplicable("The data come from one site.")


def measures(r: Results) -> str | None:
    """Item 12e."""
    found = at(r, "performance.measures")
    method = at(r, "performance.interval_method")
    if not found or not method:
        return None
    draws, level = at(r, "performance.draws"), at(r, "performance.level")
    base = list(at(r, "performance.differences") or {})
    several = bool(labels(r))
    curves = list(at(r, "performance.curves") or {})
    return join(
        f"Measures: {listed([_title(r, name) for name in found if not (several and '@' in name)], 40)}",
        f"Of each {'region' if scans.of_scans(r) else 'finding'}: "
        f"{listed(list(dict.fromkeys(title(n.partition('@')[0]) for n in found if '@' in n)), 40)}"
        if several
        else None,
        f"Primary measure: {_title(r, str(at(r, 'study.primary')))}" if at(r, "study.primary") else None,
        f"Intervals: {method}{f', {float(level):.0%}' if level else ''}{f', {number(draws)} draws' if draws else ''}",
        f"Compared with {listed([str(b).replace('_', ' ') for b in base])} on the same resamples" if base else None,
        f"Plots: {listed([c.replace('_', ' ') for c in curves])}" if curves else None,
        f"Boundary: {at(r, 'performance.definition_in_words')}" if at(r, "performance.definition_in_words") else None,
        str(at(r, "performance.conventions") or "") or None,
    )


def updating(r: Results) -> str | NotApplicable | None:
    """Items 12f and 24."""
    if at(r, "model.calibration") is None and not (scans.of_scans(r) and at(r, "model.plan")):
        return None
    if at(r, "verdict.changed_after_opening"):
        times = plural(at(r, "verdict.openings"), "time")
        return join(
            f"The study file changed after the test part was opened, which happened {times}, so the results may be "
            "optimistic"
        )
    return NotApplicable("The model was not updated after evaluation; any calibration was chosen on the training part.")


def calculated(r: Results) -> str | None:
    """Item 12g."""
    version = at(r, "aimed_version")
    if not version:
        return None
    return join(
        f"Predictions were calculated by aimed {version} from the packaged model, not from a rounded formula",
        f"Study file SHA-256 {str(at(r, 'study.file_sha256'))[:12]}…" if at(r, "study.file_sha256") else None,
    )


_LOSSES = {
    "weighted": "The loss weighs each side of a finding by how frequent the other is; pictures were not resampled",
    "focal": "The focal loss turns away from pictures that are easy; pictures were neither resampled nor weighted",
    "asymmetric": "The asymmetric loss turns away from easy negatives; pictures were neither resampled nor weighted",
    "plain": "The loss was cross-entropy as it is; pictures were neither resampled nor weighted",
    "logistic": "Pictures were neither resampled nor weighted",
}


def imbalance(r: Results) -> str | None:
    """Item 13."""
    if scans.of_scans(r):
        return join(scans.imbalance(r))
    block = at(r, "model.calibration")
    if not block:
        return None
    method = str(block.get("method") or "none")
    weight = at(r, "model.parameters.class_weight")
    loss = at(r, "model.network.loss")
    how = f"Risks were recalibrated by the {method} method"
    if method == "by finding":
        each = at(r, "model.calibration.findings") or {}
        named = [f"{labels(r).get(k, k)} {one.get('method')}" for k, one in each.items()]
        how = f"Risks were recalibrated finding by finding: {listed(named, 40)}"
    return join(
        _LOSSES.get(str(loss), f"The loss was {loss}")
        if loss
        else f"Rows were weighted by class ({weight})"
        if weight
        else f"{_row(r).capitalize()}s were neither resampled nor weighted by class",
        "The risks were not recalibrated" if method == "none" else how,
        str(block.get("sentence") or "") or None,
    )


def fairness(r: Results) -> str | None:
    """Item 14."""
    columns = at(r, "subgroups.columns")
    if not columns:
        return None
    names = listed([str(c.get("label") or c["column"]) for c in columns])
    repeated = [_title(r, str(name)) for name in at(r, "subgroups.measures") or []]
    some = repeated and (of_findings(r) or scans.of_scans(r))
    what = f"Repeated were {listed(repeated, 40)}" if some else "Every measure was repeated"
    few = "scans with a region" if scans.of_scans(r) else "events"
    return join(
        f"{what} in groups of {names}, with intervals and three states; a group with fewer than "
        f"{number(at(r, 'subgroups.min_events'))} {few} is not judged",
        "No group-specific threshold or reweighting was used",
    )


def output(r: Results) -> str | None:
    """Item 15."""
    block = at(r, "model.threshold")
    if not block:
        return None
    if scans.of_scans(r):
        least = block.get("value")
        cut = f"A voxel belongs to a region from a probability of {number(float(least), 2)}" if least else None
        return join(scans.inputs(r), cut, f"Threshold: {block['rule']}" if block.get("rule") else None)
    each = list(labels(r).values())
    of = f"each of {plural(len(each), 'finding')} ({listed(each, 40)})" if each else f"{outcome_of(r)}{_horizons(r)}"
    return join(
        f"Output: the probability of {of}",
        f"Thresholds: {block.get('rule')}" if block.get("value") is None and block.get("findings") else None,
        f"Threshold {number(float(block['value']), 2)}, {block.get('rule')}"
        if block.get("value") is not None
        else None,
    )


def differences(r: Results) -> str | None:
    """Items 16 and 20c."""
    rows = at(r, "data.table1.rows")
    if not rows or not at(r, "split.by"):
        return None
    known = sorted((row for row in rows if row.get("smd") is not None), key=lambda row: -abs(float(row["smd"])))
    said = [f"{_row_name(row)} {float(row['smd']):+.2f}" for row in known[:5]]
    large = sum(abs(float(row["smd"])) > 0.1 for row in known)
    source = at(r, "data.source") or "the same source"
    return join(
        f"Both parts come from {source} under the same rules; the test part was drawn by {at(r, 'split.by')}",
        f"{large} of {len(known)} characteristics differ by more than 0.1 standard deviations; largest standardised "
        f"differences (test less train): {listed(said)}"
        if known
        else None,
        _parts(r),
    )


def _row_name(row: Mapping[str, Any]) -> str:
    label = str(row.get("label") or row.get("variable"))
    return f"{label} = {row['level']}" if row.get("level") else label


def protocol(r: Results) -> str | None:
    """Item 18c."""
    digest = at(r, "study.file_sha256")
    if not digest:
        return None
    return join(
        f"The study file (SHA-256 {str(digest)[:12]}…) was written before the run and holds the analysis plan; "
        "the report prints it in full",
        "It was changed after the test part was opened" if at(r, "verdict.changed_after_opening") else None,
    )


def code(r: Results) -> str | None:
    """Item 18f."""
    version = at(r, "aimed_version")
    if not version:
        return None
    command = at(r, "reproduce.command")
    return join(
        f"The analysis was made by aimed {version} (Apache-2.0) from the study file",
        f"Command: {command}" if command else None,
    )


def flow(r: Results) -> str | None:
    """Item 20a."""
    steps = at(r, "data.flow")
    if not steps or not at(r, "data.parts"):
        return None
    removed = sum(int(s["removed"]) for s in steps)
    return join(
        f"{_rows(r, int(steps[-1]['remaining']))} stayed after {number(removed)} were removed",
        _parts(r),
        followup(r, at(r, "outcome.followup") or {}),
    )


def characteristics(r: Results) -> str | None:
    """Item 20b."""
    rows = at(r, "data.table1.rows")
    if not rows:
        return None
    seen = list(dict.fromkeys(str(row.get("label") or row.get("variable")) for row in rows))
    gaps = at(r, "data.missing") or []
    parts = listed(list(at(r, "data.table1.parts") or []))
    return join(
        f"Table 1 gives {plural(len(seen), 'characteristic')} by part ({parts}): {listed(seen)}",
        f"Missing values in {plural(len(gaps), 'variable')}" if gaps else None,
    )


def numbers(r: Results) -> str | None:
    """Item 21."""
    n, events = at(r, "performance.n"), at(r, "performance.events")
    if not at(r, "data.parts"):
        return None
    fitted = at(r, "model.n_fitted")
    return join(
        _parts(r),
        f"The final model was fitted on {_rows(r, fitted)}" if fitted else None,
        f"Performance rests on {_with_events(r, n, events)}" if n is not None else None,
    )


def network(r: Results) -> str | None:
    """Return the architecture, its size and what it started from; None where the model is no network of pictures."""
    built = at(r, "model.network")
    if not built:
        return None
    start = built.get("initial_weights")
    parts = [f"{built.get('architecture')} with {number(built.get('parameters'))} weights"]
    if (built.get("estimators") or 1) > 1:
        parts.append(f"{built['estimators']} networks whose probabilities are averaged")
    parts.append(
        f"initial weights with SHA-256 {str(start.get('sha256'))[:12]}…: {start.get('sentence')}"
        if start
        else "random initial weights"
    )
    return f"Network: {'; '.join(parts)}"


def _lexicon(r: Results) -> str | None:
    found = at(r, "data.notes.lexicon")
    if not found:
        return None
    return (
        f"Lexicon {found.get('name')} {found.get('version')}, set of labels {found.get('targets')}, SHA-256 "
        f"{str(found.get('digest'))[:12]}…"
    )


def full_model(r: Results) -> str | None:
    """Item 22."""
    name = at(r, "model.title")
    if not name:
        return None
    rows = at(r, "model.coefficients") or []
    ratio = at(r, "model.ratio_name") or "ratio"
    said = [
        f"{row.get('label') or row.get('term')} {number(float(row['ratio']), 2)}"
        f"{_between(row, 'ratio_lower', 'ratio_upper', 2)}"
        for row in rows
        if row.get("ratio") is not None
    ]
    terms = at(r, "study.license")
    return join(
        f"{name}; the packaged model gives predictions for new patients",
        f"Formula: {at(r, 'model.formula')}" if at(r, "model.formula") else None,
        network(r),
        _lexicon(r),
        f"{str(ratio).capitalize()}s: {listed(said, 40)}" if said else None,
        f"Terms of use: {terms}" if terms else None,
    )


_SHOWN = ("auroc", "dice", "hd95", "surface_dice")
_OF_NOTES = ("f1", "precision", "recall")
"""Measures of a single finding or region that the text of an item holds."""


def performance(r: Results) -> str | None:
    """Item 23a."""
    found = at(r, "performance.measures")
    if not found:
        return None
    several = bool(labels(r))
    shown = _OF_NOTES if of_notes(r) else _SHOWN
    known = [
        said_of(r, m)
        for name, m in found.items()
        if m.get("value") is not None and not (several and "@" in name and name.partition("@")[0] not in shown)
    ]
    states: dict[str, int] = {}
    for column in at(r, "subgroups.columns") or []:
        for group in column["groups"]:
            states[group["state"]] = states.get(group["state"], 0) + 1
    groups = ", ".join(f"{number(n)} {state}" for state, n in states.items())
    return join(f"{'; '.join(known)}" if known else None, f"Subgroups: {groups}" if groups else None)


def heterogeneity(r: Results) -> str | NotApplicable | None:
    """Item 23b."""
    sites = at(r, "data.sites")
    return _one_site(sites) if not sites or len(sites) == 1 else None


def limitations(r: Results) -> str | None:
    """Item 26."""
    said = at(r, "limits.limitations")
    return join(*(str(s) for s in said)) if said else None


_WARNS = "Warning: "


def poor_input(r: Results) -> str | None:
    """Item 27a."""
    rules = at(r, "limits.refusals")
    if not rules:
        return None
    said = [(str(rule["code"]), str(rule["reason"]).rstrip(".")) for rule in rules]
    stops, warns = (
        [f"{code}: {why.removeprefix(_WARNS)}" for code, why in said if why.startswith(_WARNS) is kind]
        for kind in (False, True)
    )
    return join(
        f"The packaged model refuses instead of guessing in these cases: {'; '.join(stops)}" if stops else "",
        f"It answers with a warning in these: {'; '.join(warns)}" if warns else "",
    )


def interaction(r: Results) -> str | None:
    """Item 27b."""
    users, inputs = at(r, "study.intended_users"), at(r, "limits.inputs")
    if not users or not inputs:
        return None
    need = sum(bool(i.get("required")) for i in inputs)
    return join(
        f"Users: {listed([str(u) for u in users])}",
        f"They enter or connect {plural(len(inputs), 'input')}, of which {number(need)} cannot be missing, and read "
        f"{'outlines and volumes' if scans.of_scans(r) else 'labels' if of_notes(r) else 'a probability'}",
    )


WRITERS: Mapping[str, Writer] = {
    "1": title_,
    "2": abstract,
    "3b": purpose,
    "4": objectives,
    "5a": sources,
    "5b": dates,
    "6a": setting,
    "6b": eligibility,
    "7": preparation,
    "8a": outcome,
    "9a": initial_predictors,
    "9b": predictors,
    "10": sample_size,
    "11": missing,
    "12a": partition,
    "12b": handling,
    "12c": building,
    "12d": clusters,
    "12e": measures,
    "12f": updating,
    "12g": calculated,
    "13": imbalance,
    "14": fairness,
    "15": output,
    "16": differences,
    "18c": protocol,
    "18f": code,
    "20a": flow,
    "20b": characteristics,
    "20c": differences,
    "21": numbers,
    "22": full_model,
    "23a": performance,
    "23b": heterogeneity,
    "24": updating,
    "26": limitations,
    "27a": poor_input,
    "27b": interaction,
}
"""Item → its writer, for every item of class A or D."""
