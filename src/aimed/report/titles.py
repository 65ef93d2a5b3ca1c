"""The rules that turn the numbers of a figure into its title, which says the finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimed.report import names, numbers, sentences

__all__ = [
    "calibration",
    "calibration_grid",
    "capital",
    "case_dice",
    "changes",
    "decision_curve",
    "effects",
    "expected_dice",
    "flow",
    "frequencies",
    "froc",
    "importance",
    "incidence_stack",
    "inside",
    "leaderboard",
    "learning",
    "macro",
    "missingness",
    "nomogram",
    "outcome_curve",
    "over_time",
    "precision_recall",
    "ratios",
    "ratios_over_time",
    "risk_coverage",
    "roc",
    "stop",
    "subgroups",
    "survival_groups",
    "volume_agreement",
    "voxel_calibration",
]

Record = Mapping[str, Any]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def capital(text: str) -> str:
    """Return a text with a capital first letter.

    Examples
    --------
    >>> capital("mean of the regions")
    'Mean of the regions'
    """
    return _sentence(text)


def stop(text: str) -> str:
    """Return a text as a sentence: a capital first letter and a full stop.

    Examples
    --------
    >>> stop("pieces of at least 3 voxels"), stop("It is.")
    ('Pieces of at least 3 voxels.', 'It is.')
    """
    text = text.strip()
    return _sentence(text if text.endswith((".", "!", "?")) or not text else f"{text}.")


def inside(label: str) -> str:
    """Return a label as it stands inside a sentence: small first letter, unless it is a short form or a name.

    Examples
    --------
    >>> inside("Death in hospital"), inside("ICU death")
    ('death in hospital', 'ICU death')
    """
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def flow(steps: Sequence[Record], row: str = "row") -> str:
    """Return the title of the participant flow.

    Examples
    --------
    >>> flow([{"removed": 0, "remaining": 100}, {"removed": 20, "remaining": 80}])
    '80 of 100 rows were kept'
    """
    if not steps:
        return "No inclusion step was recorded"
    start = int(steps[0]["remaining"]) + int(steps[0].get("removed") or 0)
    end = int(steps[-1]["remaining"])
    if start == end:
        return f"All {sentences.plural(end, row)} were kept"
    return f"{numbers.count(end)} of {sentences.plural(start, row)} were kept"


def missingness(rows: Sequence[Record]) -> str:
    """Return the title of the missing-value figure, with whether missingness follows the outcome.

    Examples
    --------
    >>> missingness([{"label": "BMI", "fraction": 0.2, "by_outcome": {"event": 0.4, "no_event": 0.1}}])
    'BMI is missing most often (20.0%), and more so in patients with the outcome'
    """
    known = [r for r in rows if numbers.is_number(r.get("fraction"))]
    if not known or not any(r["fraction"] for r in known):
        return "No value is missing"
    top = max(known, key=lambda r: float(r["fraction"]))
    by = top.get("by_outcome") or {}
    event, none = by.get("event"), by.get("no_event")
    text = f"{top.get('label') or top.get('variable')} is missing most often ({numbers.percent(top['fraction'])})"
    if numbers.is_number(event) and numbers.is_number(none) and abs(event - none) >= 0.05:
        text += f", and {'more' if event > none else 'less'} so in patients with the outcome"
    return text


def leaderboard(rows: Sequence[Record], unit: str = "day") -> str:
    """Return the title of the tuning figure: what was chosen, and whether its interval clears the best baseline.

    Examples
    --------
    >>> cox = {"title": "Cox", "kind": "candidate", "metric": "uno_c", "mean": 0.7, "lower": 0.66, "chosen": True}
    >>> leaderboard([cox, {"title": "KM", "kind": "baseline", "metric": "uno_c", "mean": 0.5}])
    "Cox was chosen; its Uno's C lies clear of the best baseline (KM)"
    """
    chosen = next((r for r in rows if r.get("chosen")), None)
    if chosen is None:
        return "No model was chosen in tuning"
    metric = str(chosen["metric"])
    low = names.describe(metric).better == "lower"
    base = [r for r in rows if r.get("kind") == "baseline" and numbers.is_number(r.get("mean"))]
    if not base:
        return f"{chosen['title']} was chosen; no baseline was tuned beside it"
    best = (min if low else max)(base, key=lambda r: float(r["mean"]))
    bound = chosen.get("upper" if low else "lower")
    title = names.lower(metric, unit)
    if numbers.is_number(bound) and ((bound < best["mean"]) if low else (bound > best["mean"])):
        return f"{chosen['title']} was chosen; its {title} lies clear of the best baseline ({best['title']})"
    mean = chosen.get("mean")
    if numbers.is_number(mean) and ((mean > best["mean"]) if low else (mean < best["mean"])):
        return f"{chosen['title']} was chosen; its {title} is worse than that of the best baseline ({best['title']})"
    return f"{chosen['title']} was chosen; its {title} is not clear of the best baseline ({best['title']})"


def roc(measure: Record | None) -> str:
    """Return the title of the ROC curve.

    Examples
    --------
    >>> roc({"value": 0.55, "lower": 0.48, "upper": 0.62})
    'The model has not been shown to rank patients better than chance (AUROC 0.55, 0.48 to 0.62)'
    """
    return f"The model {sentences.discrimination('auroc', measure)[1]}"


def precision_recall(measure: Record | None, prevalence: float | None) -> str:
    """Return the title of the precision-recall curve: how many times better than chance.

    Examples
    --------
    >>> precision_recall({"value": 0.6, "lower": 0.5, "upper": 0.7}, 0.2)
    'Average precision is 0.60, 3.0 times the prevalence of 0.20'
    """
    value = (measure or {}).get("value")
    if not numbers.is_number(value) or not prevalence:
        return "Precision against recall"
    lower = (measure or {}).get("lower")
    if numbers.is_number(lower) and lower <= prevalence:
        return (
            f"Average precision ({numbers.short(value)}) is not shown to exceed the prevalence "
            f"({numbers.short(prevalence)})"
        )
    times = numbers.fixed(value / prevalence, 1)
    return f"Average precision is {numbers.short(value)}, {times} times the prevalence of {numbers.short(prevalence)}"


def calibration(slope: Record | None, oe: Record | None, bins: Sequence[Record] | None, when: str = "") -> str:
    """Return the title of the calibration figure.

    Examples
    --------
    >>> sure = {"value": 1.0, "lower": 0.9, "upper": 1.1}
    >>> calibration(sure, sure, [], " by 365 days")
    'No miscalibration was seen by 365 days'
    """
    text = sentences.calibration(slope, oe, bins)[1]
    if text.startswith(("over-", "under-")):
        text = "the model " + text
    head, bracket, tail = text.replace("its ", "the ", 1).partition(" (")
    return _sentence(f"{head}{when}{bracket}{tail}")


def calibration_grid(panels: Sequence[Record]) -> str:
    """Return the title of the small calibration curves: which findings are off, and how many could not be judged.

    Examples
    --------
    >>> sure, high = {"value": 1.0, "lower": 0.9, "upper": 1.1}, {"value": 1.4, "lower": 1.2, "upper": 1.6}
    >>> calibration_grid([{"label": "Mass", "slope": sure, "oe": high}, {"label": "Edema", "slope": sure, "oe": sure}])
    '1 of 2 findings is miscalibrated: mass (under-predicts on average)'
    """
    judged = [
        (str(p["label"]), *sentences.calibration(p.get("slope"), p.get("oe"), (p.get("curve") or {}).get("bins")))
        for p in panels
    ]
    bad = [f"{inside(label)} ({text.partition(' (')[0]})" for label, sign, text in judged if sign == "bad"]
    unsure = sum(sign == "open" for _, sign, _ in judged)
    n = sentences.plural(len(panels), "finding")
    rest = f"; for {unsure} there is not enough evidence" if unsure else ""
    if bad:
        shown = sentences.join(bad[:3] + ([f"{len(bad) - 3} more"] if len(bad) > 3 else []))
        return f"{len(bad)} of {n} {'is' if len(bad) == 1 else 'are'} miscalibrated: {shown}{rest}"
    if unsure:
        return f"No finding is shown to be miscalibrated{f'; for {unsure} of {n} there is not enough evidence'}"
    return f"No miscalibration was seen in {'any of ' if len(panels) > 1 else ''}{n}"


def case_dice(regions: Sequence[Record], poor: float = 0.5) -> str:
    """Return the title of the Dice of every scan: how many lie below one half, and in which region most.

    Examples
    --------
    >>> case_dice([{"label": "Core", "dice": [0.3, 0.8, 0.9]}, {"label": "Whole", "dice": [0.8, 0.9]}])
    'A Dice below 0.5 is most frequent for core: 1 of 3 scans'
    >>> case_dice([{"label": "Core", "dice": [0.7, 0.9]}])
    'No scan has a Dice below 0.5; the lowest is 0.70 (core)'
    """
    known = [(inside(str(r["label"])), [float(d) for d in r.get("dice") or []]) for r in regions]
    known = [(label, dice) for label, dice in known if dice]
    if not known:
        return "The Dice of no scan could be computed"
    counts = [(sum(d < poor for d in dice), label, len(dice)) for label, dice in known]
    if not any(n for n, _, _ in counts):
        low, label = min((min(dice), label) for label, dice in known)
        return f"No scan has a Dice below {poor:g}; the lowest is {numbers.short(low)} ({label})"
    few, label, of = max(counts, key=lambda c: c[0] / c[2])
    where = "is most frequent for" if len(known) > 1 else "is seen for"
    return f"A Dice below {poor:g} {where} {label}: {numbers.count(few)} of {sentences.plural(of, 'scan')}"


def froc(regions: Sequence[Record]) -> str:
    """Return the title of the FROC curve: what is found at one false lesion a scan, in the worst and the best region.

    Examples
    --------
    >>> points = [{"false_positives": 0.5, "sensitivity": 0.7}, {"false_positives": 1, "sensitivity": 0.8}]
    >>> froc([{"label": "Core", "froc": {"points": points}}])
    'At 1 false lesion a scan 80% of the lesions are found (core)'
    """
    found = []
    for one in regions:
        points = [p for p in (one.get("froc") or {}).get("points") or [] if numbers.is_number(p.get("sensitivity"))]
        near = [p for p in points if numbers.is_number(p.get("false_positives"))]
        if near:
            best = min(near, key=lambda p: abs(float(p["false_positives"]) - 1.0))
            found.append((float(best["sensitivity"]), inside(str(one["label"])), float(best["false_positives"])))
    if not found:
        return "How many lesions are found could not be estimated"
    low, high = min(found), max(found)
    shares = [numbers.percent(f[0], 0) for f in (low, high)]
    at = f"At {low[2]:g} false lesion{'s' if low[2] > 1 else ''} a scan"
    if len(found) == 1:
        return f"{at} {shares[0]} of the lesions are found ({low[1]})"
    if shares[0] == shares[1]:
        return f"{at} {shares[0]} of the lesions are found in every region"
    return f"{at} {shares[0]} ({low[1]}) to {shares[1]} ({high[1]}) of the lesions are found"


def _few(parts: Sequence[str], most: int = 3) -> str:
    return sentences.join([*parts[:most], *([f"{len(parts) - most} more"] if len(parts) > most else [])])


def volume_agreement(regions: Sequence[Record]) -> str:
    """Return the title of the agreement of volumes: the regions whose volume is shown to be off on average.

    Examples
    --------
    >>> low, none = {"value": -2.0, "lower": -3.0, "upper": -1.0}, {"value": 0.5, "lower": -1.0, "upper": 2.0}
    >>> volume_agreement([{"label": "Whole", "absolute": {"bias": low}}, {"label": "Core", "absolute": {"bias": none}}])
    'Outlines of whole are smaller than the reference on average (−2.0 ml)'
    >>> volume_agreement([{"label": "Core", "absolute": {"bias": none}}])
    'No mean difference of volume is shown (core 0.5 ml, −1.0 to 2.0)'
    """
    known = [
        (inside(str(one["label"])), bias)
        for one in regions
        if numbers.is_number((bias := (one.get("absolute") or {}).get("bias") or {}).get("value"))
    ]
    if not known:
        return "The agreement of volumes could not be estimated"
    shown = [
        (label, b)
        for label, b in known
        if all(numbers.is_number(b.get(k)) for k in ("lower", "upper")) and (b["lower"] > 0 or b["upper"] < 0)
    ]
    if shown:
        clauses = []
        for word, some in (
            ("smaller", [s for s in shown if s[1]["value"] < 0]),
            ("larger", [s for s in shown if s[1]["value"] > 0]),
        ):
            if some:
                values = _few([f"{numbers.fixed(b['value'], 1)} ml" for _, b in some])
                where = _few([label for label, _ in some])
                clauses.append(f"of {where} are {word} than the reference on average ({values})")
        return f"Outlines {sentences.join(clauses, 'but those')}"
    label, b = max(known, key=lambda k: abs(float(k[1]["value"])))
    ends = [b.get(k) for k in ("lower", "upper")]
    span = f", {numbers.fixed(ends[0], 1)} to {numbers.fixed(ends[1], 1)}" if all(map(numbers.is_number, ends)) else ""
    most = "at most " if len(known) > 1 else ""
    return f"No mean difference of volume is shown ({most}{label} {numbers.fixed(b['value'], 1)} ml{span})"


def voxel_calibration(regions: Sequence[Record]) -> str:
    """Return the title of the calibration of voxels: the regions whose O/E excludes 1.

    Examples
    --------
    >>> high, sure = {"value": 1.2, "lower": 1.1, "upper": 1.3}, {"value": 1.0, "lower": 0.9, "upper": 1.1}
    >>> voxel_calibration([{"label": "Core", "oe": high}, {"label": "Whole", "oe": sure}])
    'Voxels of core are inside more often than predicted (O/E 1.20)'
    >>> voxel_calibration([{"label": "Whole", "oe": sure}])
    'Observed over expected voxels: no interval excludes 1 (1 region)'
    """
    known = [
        (inside(str(one["label"])), oe)
        for one in regions
        if all(numbers.is_number((oe := one.get("oe") or {}).get(k)) for k in ("value", "lower", "upper"))
    ]
    if not known:
        return "The calibration of voxels could not be judged"
    off = [(label, oe) for label, oe in known if oe["lower"] > 1 or oe["upper"] < 1]
    if not off:
        return f"Observed over expected voxels: no interval excludes 1 ({sentences.plural(len(known), 'region')})"
    clauses = []
    for word, some in (
        ("more", [s for s in off if s[1]["value"] > 1]),
        ("less", [s for s in off if s[1]["value"] < 1]),
    ):
        if some:
            values = _few([numbers.ratio(oe["value"]) for _, oe in some])
            where = _few([label for label, _ in some])
            clauses.append(f"of {where} are inside {word} often than predicted (O/E {values})")
    return f"Voxels {sentences.join(clauses, 'but those')}"


def expected_dice(block: Record) -> str:
    """Return the title of expected against true Dice: how they rank together, and what referring a fifth gains.

    Examples
    --------
    >>> rank = {"value": 0.7, "lower": 0.5, "upper": 0.8}
    >>> curve = [{"share": 0.0, "dice": {"value": 0.8}},
    ...          {"share": 0.2, "dice": {"value": 0.85}, "difference": {"value": 0.05, "lower": 0.02, "upper": 0.08}}]
    >>> expected_dice({"rank": rank, "curve": curve})  # doctest: +NORMALIZE_WHITESPACE
    'Expected and true Dice rank scans alike (rank correlation 0.70); without the lowest 20% mean Dice rises from
    0.80 to 0.85'
    """
    rank = block.get("rank") or {}
    value, lower = rank.get("value"), rank.get("lower")
    if not numbers.is_number(value):
        text = "Whether expected Dice ranks scans could not be judged"
    elif numbers.is_number(lower) and lower > 0:
        text = f"Expected and true Dice rank scans alike (rank correlation {numbers.short(value)})"
    else:
        text = f"Expected Dice is not shown to rank scans as true Dice does (rank correlation {numbers.short(value)})"
    known = [p for p in block.get("curve") or [] if numbers.is_number((p.get("dice") or {}).get("value"))]
    if len(known) < 2:
        return text
    first, last = known[0], min(known[1:], key=lambda p: abs(float(p.get("share") or 0.0) - 0.2))
    gain = (last.get("difference") or {}).get("lower")
    share = numbers.percent(last.get("share"), 0)
    a, b = (numbers.short(p["dice"]["value"]) for p in (first, last))
    if numbers.is_number(gain) and gain > 0:
        return f"{text}; without the lowest {share} mean Dice rises from {a} to {b}"
    return f"{text}; leaving out the lowest {share} is not shown to raise mean Dice ({a} to {b})"


def changes(rows: Sequence[Record], measure: str = "macro_auroc", of: str = "pictures", cost: str = "ranking") -> str:
    """Return the title of what is lost when inputs get worse: how many changes cost ranking, and which most.

    A loss counts when it is still there after the adjustment for the number of changes, where there is one.
    ``measure`` is what is lost, ``of`` what is changed and ``cost`` the word for what is lost.

    Examples
    --------
    >>> blur = {"label": "Blur, SD 2 %", "state": "loss shown", "p_holm": 0.01,
    ...         "differences": {"macro_auroc": {"value": -0.11}}}
    >>> changes([blur, {"label": "Gamma 2", "state": "no loss shown"}])
    '1 of 2 changes is shown to cost ranking, most of all: blur, SD 2 % (−0.11)'
    >>> changes([{**blur, "p_holm": 0.2}])
    'One by one 1 of 1 change seems to cost ranking, but none after adjustment for their number'
    """
    seen = [r for r in rows if r.get("state") == "loss shown"]
    sure = sentences.lost(rows)
    n = sentences.plural(len(rows), "change")
    if not seen:
        return f"No change of the {of} is shown to cost {cost}"
    if not sure:
        verb = "seems" if len(seen) == 1 else "seem"
        return f"One by one {len(seen)} of {n} {verb} to cost {cost}, but none after adjustment for their number"
    text = f"{len(sure)} of {n} {'is' if len(sure) == 1 else 'are'} shown to cost {cost}"

    def loss(row: Record) -> float:
        value = ((row.get("differences") or {}).get(measure) or {}).get("value")
        return float(value) if numbers.is_number(value) else 0.0

    worst = min(sure, key=loss)
    return f"{text}, most of all: {inside(str(worst.get('label') or worst.get('key')))} ({numbers.short(loss(worst))})"


def frequencies(findings: Sequence[Record]) -> str:
    """Return the title of the frequencies of findings: those whose parts differ, where any do.

    Examples
    --------
    >>> low, high = {"value": 0.1, "lower": 0.08, "upper": 0.12}, {"value": 0.2, "lower": 0.17, "upper": 0.23}
    >>> frequencies([{"label": "Mass", "prevalence": {"train": low, "test": high}}])
    'Mass is more frequent in the test part than in the training part'
    """
    apart = []
    for f in findings:
        train, test = ((f.get("prevalence") or {}).get(p) or {} for p in ("train", "test"))
        if _apart(train, test, None):
            apart.append((str(f.get("label") or f.get("name")), test["value"] > train["value"]))
    if not apart:
        return "No finding is shown to differ in frequency between the parts"
    if len(apart) == 1:
        label, more = apart[0]
        than = "more" if more else "less"
        return f"{_sentence(label)} is {than} frequent in the test part than in the training part"
    names_of = sentences.join(
        [inside(label) for label, _ in apart[:3]] + ([f"{len(apart) - 3} more"] if len(apart) > 3 else [])
    )
    return f"{len(apart)} of {len(findings)} findings differ in frequency between the parts: {names_of}"


def macro(name: str, whole: Record | None, findings: Sequence[tuple[str, Record]], unit: str = "day") -> str:
    """Return the title of a measure by finding: the mean, then the best and the worst finding.

    Examples
    --------
    >>> macro("macro_auroc", {"value": 0.8}, [("Mass", {"value": 0.9}), ("Edema", {"value": 0.7})])
    'Macro AUROC is 0.80, from 0.70 (edema) to 0.90 (mass)'
    """
    text = names.title(name, unit)
    value = (whole or {}).get("value")
    known = sorted((float(m["value"]), label) for label, m in findings if numbers.is_number(m.get("value")))
    text += f" is {numbers.short(value)}" if numbers.is_number(value) else " is not estimable"
    if len(known) < 2:
        return text
    (low, worst), (high, best) = known[0], known[-1]
    return f"{text}, from {numbers.short(low)} ({inside(worst)}) to {numbers.short(high)} ({inside(best)})"


_TUNED = ("tune_loss", "tune_auroc", "tune_dice")


def learning(runs: Sequence[Record]) -> str:
    """Return the title of the learning curves: how training ended, and what the tune part did after the kept epoch.

    Examples
    --------
    >>> learning([{"train_loss": [0.9, 0.5, 0.3], "tune_loss": [0.8, 0.6, 0.7], "best_epoch": 2}])
    'After epoch 2 of 3, which was kept, the tune loss rises while the train loss falls'
    >>> learning([{"train_loss": [0.9, 0.5], "tune_loss": [0.8, 0.6], "best_epoch": 2}])
    'The last of 2 epochs was kept: longer training may gain more'
    """
    known = [r for r in runs if numbers.is_number(r.get("best_epoch")) and any(r.get(k) for k in _TUNED)]
    if not known:
        epochs = max((len(r.get("train_loss") or []) for r in runs), default=0)
        return f"Training ran {sentences.plural(epochs, 'epoch')}; no patients were set aside to stop it"
    if len(known) > 1:
        kept = sorted(int(r["best_epoch"]) for r in known)
        last = sum(r["best_epoch"] == len(r["train_loss"]) for r in known)
        span = f"epoch {kept[0]}" if kept[0] == kept[-1] else f"epochs {kept[0]} to {kept[-1]}"
        text = f"The {len(known)} networks were kept at {span}"
        return f"{text}; {last} of them at the last, so that longer training may gain more" if last else text
    run = known[0]
    best, epochs = int(run["best_epoch"]), len(run["train_loss"])
    if best == epochs:
        return f"The last of {sentences.plural(epochs, 'epoch')} was kept: longer training may gain more"
    tune, train = run.get("tune_loss") or [], run["train_loss"]
    if len(tune) == epochs and tune[-1] > tune[best - 1] and train[-1] < train[best - 1]:
        return f"After epoch {best} of {epochs}, which was kept, the tune loss rises while the train loss falls"
    return f"Epoch {best} of {epochs} was kept; later ones gained nothing on the tune part"


def risk_coverage(curve: Sequence[Record]) -> str:
    """Return the title of the risk-coverage curve: does the error fall when doubtful cases are left to a reader?

    Examples
    --------
    >>> low = {"value": -0.03, "lower": -0.05, "upper": -0.01}
    >>> risk_coverage([{"share": 0.0, "error": {"value": 0.18}},
    ...                {"share": 0.2, "error": {"value": 0.15}, "difference": low}])
    'Without the 20% least sure the error falls from 18.0% to 15.0%'
    """
    known = [p for p in curve if numbers.is_number((p.get("error") or {}).get("value"))]
    if len(known) < 2:
        return "Whether the model knows when it is unsure could not be judged"
    first = known[0]
    last = min(known[1:], key=lambda p: abs(float(p.get("share") or 0.0) - 0.2))
    a, b = (numbers.percent(p["error"]["value"]) for p in (first, last))
    share, upper = numbers.percent(last["share"], 0), (last.get("difference") or {}).get("upper")
    if numbers.is_number(upper) and upper < 0:
        return f"Without the {share} least sure the error falls from {a} to {b}"
    return f"Leaving out the {share} least sure is not shown to lower the error ({a} to {b})"


def decision_curve(curve: Record) -> str:
    """Return the title of the decision curve: where the model beats treating all and treating none.

    Examples
    --------
    >>> decision_curve({"threshold": [0.1, 0.2, 0.3], "model": [0.2, 0.15, -0.01], "lower": [0.1, 0.1, -0.1],
    ...                 "all": [0.2, 0.1, 0.0], "none": [0, 0, 0]})
    'The model has the highest net benefit, and is clear of treating none, at thresholds near 20%'
    """
    thresholds, model = list(curve.get("threshold") or []), list(curve.get("model") or [])
    rivals = [list(curve.get("all") or []), list(curve.get("none") or [])]
    rivals += [list(v) for v in (curve.get("baselines") or {}).values()]
    wins = []
    for i, value in enumerate(model):
        others = [r[i] for r in rivals if i < len(r) and numbers.is_number(r[i])]
        wins.append(numbers.is_number(value) and bool(others) and value > max(others) + 1e-9)
    low_ends = list(curve.get("lower") or [])
    # A lead over treating none that the interval does not show is no finding.
    sure = [
        win and i < len(low_ends) and numbers.is_number(low_ends[i]) and low_ends[i] > 0 for i, win in enumerate(wins)
    ]
    if any(wins) and not any(sure):
        return "No net benefit over treating none is shown: every interval holds 0"
    wins = sure
    best, run = (0, 0), 0
    for i, win in enumerate(wins):
        run = run + 1 if win else 0
        if run > best[1] - best[0]:
            best = (i - run + 1, i + 1)
    if best[1] == best[0]:
        return "At no threshold does the model beat every simple strategy"
    low, high = thresholds[best[0]], thresholds[best[1] - 1]
    if low == high:
        where = f"near {numbers.percent(low, 0)}"
    else:
        where = f"from {numbers.percent(low, 0)} to {numbers.percent(high, 0)}"
    return f"The model has the highest net benefit, and is clear of treating none, at thresholds {where}"


def survival_groups(groups: Sequence[Record], unit: str, end: float | None, outcome: str = "the event") -> str:
    """Return the title of the risk-group curves: how far apart the extremes end.

    Groups with a cumulative incidence, because other events compete, are told apart by it.

    Examples
    --------
    >>> survival_groups([{"label": "low", "survival": [1, 0.9], "lower": [1, 0.8], "upper": [1, 0.95]},
    ...                  {"label": "high", "survival": [1, 0.4], "lower": [1, 0.3], "upper": [1, 0.5]}], "day", 365)
    'At 365 days 90% (low) and 40% (high) of patients are free of the event'
    >>> survival_groups([{"label": "low", "incidence": [0, 0.1]}, {"label": "high", "incidence": [0, 0.6]}], "day", 365,
    ...                 "relapse")
    'By 365 days the incidence of relapse is 10% (low) and 60% (high)'
    """
    rising = any(g.get("incidence") for g in groups)
    curve, plain = ("incidence", "Incidence") if rising else ("survival", "Survival")
    if len(groups) < 2:
        return f"{plain} by predicted risk"

    def last(group: Record, key: str) -> float | None:
        known = [v for v in group.get(key) or [] if numbers.is_number(v)]
        return float(known[-1]) if known else None

    a, b = groups[0], groups[-1]
    first, second = last(a, curve), last(b, curve)
    if first is None or second is None:
        return f"{plain} by predicted risk"
    bounds = [last(a, "lower"), last(a, "upper"), last(b, "lower"), last(b, "upper")]
    at = "By" if rising else "At"
    when = f"{at} {numbers.horizon(end, unit)}" if end is not None else f"{at} the end"
    if None not in bounds and bounds[0] <= bounds[3] and bounds[2] <= bounds[1]:  # type: ignore[operator]
        return f"{when} the lowest and the highest risk group cannot be told apart"
    both = f"{numbers.percent(first, 0)} ({a['label']}) and {numbers.percent(second, 0)} ({b['label']})"
    return (
        f"{when} the incidence of {outcome} is {both}" if rising else f"{when} {both} of patients are free of the event"
    )


def incidence_stack(data: Record, unit: str) -> str:
    """Return the title of the stacked incidences: what has happened by the end, the outcome of interest first.

    Examples
    --------
    >>> incidence_stack({"times": [0, 365], "causes": [{"label": "relapse", "incidence": [0, 0.3]},
    ...                  {"label": "death", "incidence": [0, 0.1]}], "event_free": [1, 0.6]}, "day")
    'By 365 days the incidence of relapse is 30% and that of death 10%; 60% have had neither'
    """

    def last(values: Sequence[Any] | None) -> float | None:
        known = [v for v in values or [] if numbers.is_number(v)]
        return float(known[-1]) if known else None

    causes = [(str(c.get("label")), last(c.get("incidence"))) for c in data.get("causes") or []]
    shares = [(label, share) for label, share in causes if share is not None]
    if not shares or not data.get("times"):
        return "The incidence of the events could not be estimated"
    (label, share), rest = shares[0], shares[1:]
    end = float(data["times"][-1])
    when = numbers.horizon(round(end) if end >= 10 else round(end, 1), unit)
    text = f"By {when} the incidence of {inside(label)} is {numbers.percent(share, 0)}"
    if len(rest) == 1:
        text += f" and that of {inside(rest[0][0])} {numbers.percent(rest[0][1], 0)}"
    elif rest:
        text += f" and that of the other events {numbers.percent(sum(s for _, s in rest), 0)}"
    free = last(data.get("event_free"))
    none = "neither" if len(rest) == 1 else "none of them"
    return text + (f"; {numbers.percent(free, 0)} have had {none}" if free is not None and rest else "")


def ratios_over_time(block: Record) -> str:
    """Return the title of the curves of hazard ratios: which term changes, and from what to what.

    Examples
    --------
    >>> curve = {"term": "Shock", "scale": "ratio", "value": [6.0, 2.1]}
    >>> ratios_over_time({"terms": [{"term": "Shock", "p_holm": 0.01}], "curves": [curve]})
    'The hazard ratio of Shock falls from 6.00 to 2.10 over follow-up'
    >>> ratios_over_time({"terms": [{"term": "Shock", "p_holm": 0.4}], "curves": [curve]})
    'No hazard ratio is shown to change over follow-up; Shock comes nearest'
    """
    curves = list(block.get("curves") or [])
    changed = {str(t.get("term")) for t in sentences.changing(block)}
    first = next((c for c in curves if str(c.get("term")) in changed), None)
    if first is None:
        near = f"; {curves[0].get('term')} comes nearest" if curves else ""
        return f"No hazard ratio is shown to change over follow-up{near}"
    known = [float(v) for v in first.get("value") or [] if numbers.is_number(v)]
    if first.get("scale") != "ratio" or len(known) < 2:
        return f"The effect of {first.get('term')} changes over follow-up"
    verb = sentences.course(block, first)
    if verb not in ("rises", "falls"):
        return f"The hazard ratio of {first.get('term')} {verb} over follow-up"
    return (
        f"The hazard ratio of {first.get('term')} {verb} from {numbers.ratio(known[0])} to {numbers.ratio(known[-1])} "
        "over follow-up"
    )


def nomogram(block: Record, unit: str) -> str:
    """Return the title of the nomogram: who carries the points, and what a typical patient's risk is.

    Examples
    --------
    >>> nomogram({"predictors": [{"label": "Age"}, {"label": "Sex"}], "risks": [{"horizon": 365}],
    ...           "typical": {"total": 120, "risk": [0.184]}}, "day")
    'Age moves the risk most, then Sex; 120 points, those of a typical patient, mean a risk of 18% by 365 days'
    """
    labels = [str(p.get("label")) for p in block.get("predictors") or []]
    text = f"{labels[0]} moves the risk most" + (f", then {labels[1]}" if len(labels) > 1 else "")
    typical, risks = block.get("typical") or {}, block.get("risks") or []
    if not typical.get("risk") or not risks:
        return text
    horizon = risks[0].get("horizon")
    when = f" by {numbers.horizon(horizon, unit)}" if numbers.is_number(horizon) else ""
    return (
        f"{text}; {numbers.count(typical.get('total'))} points, those of a typical patient, mean a risk of "
        f"{numbers.percent(typical['risk'][0], 0)}{when}"
    )


def outcome_curve(curve: Record, unit: str) -> str:
    """Return the title of the cohort's Kaplan-Meier curve: median time, or what is left at the end.

    Examples
    --------
    >>> outcome_curve({"times": [0, 100, 200], "survival": [1, 0.7, 0.45]}, "day")
    'Half of the patients have the event by about 200 days'
    """
    pairs = [(t, s) for t, s in zip(curve["times"], curve["survival"], strict=True) if numbers.is_number(s)]
    if not pairs:
        return "Event-free survival could not be estimated"
    below = next((t for t, s in pairs if s <= 0.5), None)
    if below is not None:
        when = round(below) if below >= 10 else round(below, 1)
        return f"Half of the patients have the event by about {numbers.horizon(when, unit)}"
    return (
        f"{numbers.percent(pairs[-1][1], 0)} of the patients are free of the event at "
        f"{numbers.horizon(pairs[-1][0], unit)}"
    )


def over_time(curve: Record) -> str:
    """Return the title of accuracy over follow-up: does ranking hold, and is the null model beaten.

    Examples
    --------
    >>> over_time({"auc": [0.8, 0.7], "brier": [0.1, 0.2], "brier_null": [0.12, 0.22]})
    'Ranking falls from 0.80 to 0.70 over follow-up; the Brier score stays below that of the null model'
    """
    auc = [v for v in curve.get("auc") or [] if numbers.is_number(v)]
    pairs = [
        (a, b)
        for a, b in zip(curve.get("brier") or [], curve.get("brier_null") or [], strict=False)
        if numbers.is_number(a) and numbers.is_number(b)
    ]
    if not auc:
        ranking = "Ranking over time could not be estimated"
    elif abs(auc[-1] - auc[0]) < 0.03:
        ranking = f"Ranking holds over follow-up (AUC {numbers.short(min(auc))} to {numbers.short(max(auc))})"
    elif _overlap(curve):
        ranking = (
            f"Ranking shows no clear change over follow-up (AUC {numbers.short(auc[0])} to {numbers.short(auc[-1])})"
        )
    else:
        verb = "rises" if auc[-1] > auc[0] else "falls"
        ranking = f"Ranking {verb} from {numbers.short(auc[0])} to {numbers.short(auc[-1])} over follow-up"
    if not pairs:
        return ranking
    worse = sum(a >= b for a, b in pairs)
    if not worse:
        return f"{ranking}; the Brier score stays below that of the null model"
    if worse == len(pairs):
        return f"{ranking}; the Brier score is nowhere below that of the null model"
    return f"{ranking}; the Brier score is below that of the null model at {len(pairs) - worse} of {len(pairs)} times"


def _overlap(curve: Record) -> bool:
    low, high = ([v for v in curve.get(k) or [] if numbers.is_number(v)] for k in ("auc_lower", "auc_upper"))
    return bool(low and high) and low[0] <= high[-1] and low[-1] <= high[0]


def subgroups(block: Record, unit: str = "day") -> str:
    """Return the title of the subgroup forest: the worst group that is judged, against the best of its column.

    Groups with too few events are not compared. Whether a gap is clear follows from the interval of the gap of
    that column where there is one, else from the intervals of the two groups.

    Examples
    --------
    >>> g = lambda name, v: {"group": name, "measures": {"auroc": {"value": v, "lower": v - 0.05, "upper": v + 0.05}}}
    >>> subgroups({"primary": "auroc", "columns": [{"label": "Sex", "groups": [g("male", 0.8), g("female", 0.6)]}]})
    'AUROC is worst for Sex: female (0.60), clear of the best group (male, 0.80)'
    >>> few = {**g("female", 0.6), "judged": False}
    >>> subgroups({"primary": "auroc", "columns": [{"label": "Sex", "groups": [g("male", 0.8), few]}]})
    'AUROC could be judged in one group only, Sex: male (0.80)'
    """
    primary = str(block.get("primary") or "")
    title, words = names.title(primary, unit), names.describe(primary)
    columns: list[tuple[Record, list[tuple[str, Record]]]] = []
    for column in block.get("columns") or []:
        found = [
            (str(g.get("group")), measure)
            for g in column.get("groups") or []
            if sentences.judged(g, block.get("min_events"))
            and numbers.is_number((measure := (g.get("measures") or {}).get(primary) or {}).get("value"))
        ]
        columns.append((column, found))
    if not any(c.get("groups") for c, _ in columns):
        return f"{title} by subgroup"
    if not any(found for _, found in columns):
        return f"{title} could not be judged: no group has enough evidence"
    if words.better == "target" and words.reference is not None:
        ideal = words.reference
        column, name, worst = max(
            ((c, n, m) for c, found in columns for n, m in found), key=lambda r: abs(float(r[2]["value"]) - ideal)
        )
        text = f"{title} is farthest from {ideal:g} for {sentences.column(column)}: {name} ({_value(worst)})"
        low, high = worst.get("lower"), worst.get("upper")
        if not numbers.is_number(low) or not numbers.is_number(high):
            return text
        return f"{text}, whose interval {'holds' if low <= ideal <= high else 'excludes'} {ideal:g}"
    if sum(len(found) for _, found in columns) == 1:
        column, ((name, only),) = next(c for c in columns if c[1])
        return f"{title} could be judged in one group only, {sentences.column(column)}: {name} ({_value(only)})"
    sign = 1.0 if words.better == "lower" else -1.0

    def badness(row: tuple[str, Record]) -> float:
        return sign * float(row[1]["value"])

    column, found = max((c for c in columns if c[1]), key=lambda c: max(badness(r) for r in c[1]))
    (worst_name, a), (best_name, b) = max(found, key=badness), min(found, key=badness)
    text = f"{title} is worst for {sentences.column(column)}: {worst_name} ({_value(a)})"
    if len(found) == 1:
        return f"{text}, the only group of its column that is judged"
    link = "clear of" if _apart(a, b, (column.get("gap") or {}).get(primary)) else "within the uncertainty of"
    return f"{text}, {link} the best group ({best_name}, {_value(b)})"


def _value(measure: Record) -> str:
    return numbers.short(measure["value"])


def _apart(a: Record, b: Record, gap: Record | None) -> bool:
    edge = (gap or {}).get("lower")
    if numbers.is_number(edge):
        return edge > 0
    ends = [m.get(k) for m in (a, b) for k in ("lower", "upper")]
    if not all(numbers.is_number(e) for e in ends):
        return False
    low_a, high_a, low_b, high_b = (float(e) for e in ends)  # type: ignore[arg-type]
    return high_a < low_b or low_a > high_b


def ratios(rows: Sequence[Record], ratio_name: str) -> str:
    """Return the title of the forest of odds or hazard ratios.

    Examples
    --------
    >>> ratios([{"label": "Age", "ratio": 2.0, "ratio_lower": 1.5, "ratio_upper": 2.7}], "odds ratio")
    'The odds ratio of Age (2.00) is farthest from 1; 1 of 1 intervals excludes 1'
    """

    def size(row: Record) -> float:
        ratio = row.get("ratio")
        return max(ratio, 1 / ratio) if numbers.is_number(ratio) and ratio and ratio > 0 else 0.0

    known = [r for r in rows if size(r)]
    if not known:
        return f"No {ratio_name} could be estimated"
    bounded = [r for r in known if numbers.is_number(r.get("ratio_lower")) and numbers.is_number(r.get("ratio_upper"))]
    sure = [r for r in bounded if r["ratio_lower"] > 1 or r["ratio_upper"] < 1]
    top = max(known, key=size)
    text = (
        f"The {ratio_name} of {top.get('label') or top.get('term')} ({numbers.short(top['ratio'])}) is farthest from 1"
    )
    if not bounded:
        return text
    return f"{text}; {len(sure)} of {len(bounded)} intervals {'excludes' if len(sure) == 1 else 'exclude'} 1"


def importance(rows: Sequence[Record], key: str) -> str:
    """Return the title of an importance figure: the leader, and whether it is clear of the second.

    Examples
    --------
    >>> importance([{"label": "Age", "mean_abs": 0.1}], "mean_abs")
    'Age is the only variable'
    >>> importance([{"label": "Age", "value": 0.1, "lower": 0.08, "upper": 0.12},
    ...             {"label": "BMI", "value": 0.01, "lower": 0.0, "upper": 0.02}], "value")
    'Age matters most, clearly more than BMI'
    """
    known = sorted((r for r in rows if numbers.is_number(r.get(key))), key=lambda r: -float(r[key]))
    if not known or float(known[0][key]) <= 0:
        return "No variable is shown to matter"
    first = known[0].get("label") or known[0].get("variable")
    if len(known) < 2:
        return f"{first} is the only variable"
    second = known[1].get("label") or known[1].get("variable")
    low, high = known[0].get("lower"), known[1].get("upper")
    clear = numbers.is_number(low) and numbers.is_number(high) and low > high
    if key == "mean_abs":
        rest = f", clearly more than {second}" if clear else f", closely followed by {second}"
        return f"{first} moves single predictions most{rest}"
    return f"{first} matters most, clearly more than {second}" if clear else f"{first} and {second} matter most"


def effects(rows: Sequence[Record], predicts: str = "risk", measured: str = "percentage points") -> str:
    """Return the title of the effect curves: which variable changes what is predicted over the widest range.

    A category has no order, hence no local effect: its partial dependence is used.

    Examples
    --------
    >>> effects([{"label": "Age", "ale": [-0.1, 0.1]}, {"label": "BMI", "ale": [0.0, 0.01]}])
    'The predicted risk changes most with Age, rising by up to 20 percentage points over its range'
    >>> effects([{"label": "Ward", "kind": "category", "ale": [], "partial_dependence": [0.3, 0.25]}])
    'The predicted risk changes most with Ward, by 5 percentage points between its levels'
    """

    def values(row: Record) -> list[float]:
        found = row.get("ale") or row.get("partial_dependence") or []
        return [float(v) for v in found if numbers.is_number(v)]

    def span(row: Record) -> float:
        return max(values(row)) - min(values(row)) if values(row) else 0.0

    top = max(rows, key=span, default=None)
    if top is None or not any(values(r) for r in rows):
        return "No effect could be drawn"
    if span(top) < 0.0005 and measured == "percentage points":
        return f"The predicted {predicts} does not change with any variable shown"
    shares = measured == "percentage points"
    size = numbers.fixed(100 * span(top), 0 if span(top) >= 0.02 else 1) if shares else numbers.number(span(top))
    text = f"The predicted {predicts} changes most with {top.get('label') or top.get('variable')}"
    if top.get("kind") == "category":
        return f"{text}, by {size} {measured} between its levels"
    net = values(top)[-1] - values(top)[0]
    if abs(net) < 0.5 * span(top):
        return f"{text}, by {size} {measured} and not in one direction"
    return f"{text}, {'rising' if net > 0 else 'falling'} by up to {size} {measured} over its range"
