"""Section 5: what the model is, how it was prepared, tuned and recalibrated, and what it was compared with."""

from __future__ import annotations

from collections import Counter

from aimed.report import names, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Code, Context, Facts, Heading, Note, Section, Table, num
from aimed.report.sections import scans
from aimed.report.sections.networks import network
from aimed.report.sections.uncertainty import optimism_facts

_MISSING = {
    "mean_indicators": "filled with the mean of the training part, with an indicator that says where",
    "mean": "filled with the mean of the training part",
    "complete_case": "rows with a missing value were left out",
    "multiple_imputation": "multiple imputation, pooled by Rubin's rules",
    "iterative": "filled by regression on the other variables of the training part",
    "native": "left as they are; the model itself takes missing values",
}
_SIZES = {
    "n": "Rows in the training part",
    "patients": "Patients in the training part",
    "events": "Events in the training part",
    "parameters": "Candidate parameters",
    "events_per_parameter": "Events per parameter",
    "horizon": "Horizon of the calculation",
    "r2_assumed": "Assumed Cox-Snell R²",
    "required.max_r2_cs": "Largest possible Cox-Snell R²",
    "required.required": "Rows needed in all",
    "required.shrinkage": "Rows needed for a shrinkage of 0.9",
    "required.optimism": "Rows needed for an R² optimism of 0.05",
    "required.mean_risk": "Rows needed for a precise mean risk",
    "required.dominant": "What asks for most",
    "required.events": "Events needed",
    "required.events_per_parameter": "Events per parameter needed",
    "needed_events": "Events needed",
}
_LARGEST = {"shrinkage": "the shrinkage", "optimism": "the R² optimism", "mean_risk": "the precise mean risk"}


def build(results: view.Results) -> Section:
    """Return the section of the model."""
    block = view.block(results, "model")
    if not block:
        return Section("model", "Model", sentences.absent("The model"), (), False)
    context = view.context(results)
    blocks: list[Block] = []
    if block.get("description"):
        blocks.append(Note(str(block["description"])))
    missing = block.get("missing_method")
    facts = [
        ("Model", numbers.number(block.get("title") or block.get("name"))),
        ("Missing values", _MISSING.get(str(missing)) or numbers.number(missing)),
        ("Decision threshold", _threshold(block.get("threshold") or {}, view.masks(results), view.effect(results))),
    ]
    facts += [(f"Setting: {k}", numbers.number(v)) for k, v in (block.get("parameters") or {}).items()]
    blocks.append(Facts([f for f in facts if f[1] != numbers.ABSENT]))
    if block.get("preparation"):
        rows = [
            [num(str(i), i), str(s.get("name") or ""), str(s.get("detail") or "")]
            for i, s in enumerate(block["preparation"], 1)
        ]
        blocks.append(Table(["Step", "What", "How"], rows, "Preparation, fitted on the training part only", wide=False))
    blocks += scans.plan(block)
    blocks += network(block, context, "sub-volumes" if view.masks(results) else "pictures")
    if block.get("formula"):
        blocks.append(Code(str(block["formula"]), "The model as a formula"))
    if block.get("leaderboard"):
        blocks += [
            Heading("Tuning and baselines"),
            FIGURES["leaderboard"]({"leaderboard": block["leaderboard"]}, context),
        ]
    if block.get("tuning"):
        blocks.append(_tuning(block["tuning"], context.unit))
    if block.get("calibration"):
        blocks += _calibration(block["calibration"], view.labels(results), view.notes(results))
    if block.get("coefficients"):
        name = str(block.get("ratio_name") or "ratio")
        blocks += [
            Heading("Coefficients"),
            FIGURES["forest"]({"ratios": block["coefficients"], "ratio_name": name, "salt": "ratios"}, context),
        ]
    if block.get("imputation"):
        blocks += _imputation(block["imputation"], block.get("coefficients") or [])
    if block.get("proportional_hazards"):
        blocks += _proportional_hazards(block["proportional_hazards"], context)
    if block.get("nomogram"):
        blocks += _nomogram(block["nomogram"], context)
    if block.get("optimism"):
        name, _ = view.primary(results)
        said = "; ".join(f"{k}: {v}" for k, v in optimism_facts(block["optimism"], name, context.unit))
        blocks += [Heading("Optimism"), Note(f"{said}. More under Uncertainty and stability.")]
    if block.get("sample_size"):
        blocks += _sample_size(block["sample_size"], context.unit)
    return Section("model", "Model", sentences.model(block, context.unit), blocks)


def _imputation(block: view.Results, coefficients: list[view.Results]) -> list[Block]:
    columns = block.get("columns") or {}
    most = sorted(columns.items(), key=lambda item: -int(item[1]))[:5]
    listed = ", ".join(f"{name} {numbers.count(n)}" for name, n in most) + (", ..." if len(columns) > 5 else "")
    largest = block.get("largest_fmi")
    facts = [
        ("Imputed data sets", f"m = {block.get('sets')}, pooled by Rubin's rules"),
        ("Incomplete training rows", f"{numbers.count(block.get('rows'))} of {numbers.count(block.get('n'))}"),
        ("Incomplete predictors", f"{len(columns)}{f' ({listed})' if listed else ''}"),
    ]
    if numbers.is_number(largest):
        facts.append(("Largest fraction of missing information", f"{numbers.fixed(largest)} ({block.get('term')})"))
    out: list[Block] = [Heading("Multiple imputation"), Facts(facts)]
    pooled = [c for c in coefficients if numbers.is_number(c.get("fmi"))]
    if pooled:
        rows = [
            [
                str(c.get("label") or c.get("term")),
                *(num(numbers.fixed(c.get(k), 3), c.get(k)) for k in ("estimate", "standard_error")),
                num(numbers.fixed(c.get("df"), 0), c.get("df")),
                num(numbers.fixed(c.get("fmi")), c.get("fmi")),
            ]
            for c in pooled
        ]
        head = ["Term", "Coefficient", "Standard error", "Degrees of freedom", "Fraction of missing information"]
        out.append(Table(head, rows, "Pooled coefficients", wide=False))
    return out


def _proportional_hazards(block: view.Results, context: Context) -> list[Block]:
    said = sentences.proportional_hazards(block)
    cause = (
        " Hazards are those of the outcome; patients with another event count as censored."
        if block.get("cause")
        else ""
    )
    out: list[Block] = [
        Heading("Proportional hazards"),
        Note(said + cause, "absent" if block.get("reason") else "warn" if sentences.changing(block) else "plain"),
    ]
    if any(c.get("times") for c in block.get("curves") or []):
        out.append(FIGURES["ratios_over_time"](block, context))
    tests = [t for t in block.get("terms") or [] if numbers.is_number(t.get("p"))]
    if tests:
        whole = block.get("global") or {}
        rows = [[str(t.get("term")), *_test(t), num(numbers.p_value(t.get("p_holm")), t.get("p_holm"))] for t in tests]
        rows.append([Cell("All terms together", strong=True), *_test(whole), ""])
        n = numbers.count(block.get("events"))
        out.append(
            Table(
                ["Term", "rho", "Chi-squared", "df", "p", "Adjusted p"],
                rows,
                f"Score test of proportional hazards on {n} events of the training part, time scaled by the "
                "Kaplan-Meier curve; rho above 0: the coefficient grows. Adjusted for the number of terms by Holm",
                sortable=True,
                wide=False,
            )
        )
    return out


def _test(row: view.Results) -> list[Cell]:
    return [
        num(numbers.fixed(row.get("rho"), 2), row.get("rho")),
        num(numbers.fixed(row.get("chi2"), 2), row.get("chi2")),
        num(numbers.count(row.get("df")), row.get("df")),
        num(numbers.p_value(row.get("p")), row.get("p")),
    ]


def _nomogram(block: view.Results, context: Context) -> list[Block]:
    heading = Heading("Nomogram")
    if block.get("reason") or not block.get("predictors") or not block.get("risks"):
        return [heading, Note(sentences.nomogram(block, context.unit), "absent")] if block.get("reason") else []
    return [heading, FIGURES["nomogram"](block, context)]


def _tuning(block: view.Results, unit: str) -> Facts:
    if numbers.is_number(block.get("trials")):
        return Facts([("Candidates trained", numbers.count(block["trials"]))])
    trials = block.get("trials") or []
    known = [float(t["value"]) for t in trials if numbers.is_number(t.get("value"))]
    states = Counter(str(t.get("state") or "unknown").lower() for t in trials)
    facts = [("Trials", "; ".join(f"{numbers.count(n)} {state}" for state, n in states.items()) or numbers.ABSENT)]
    if known:
        best = (min if str(block.get("direction")).startswith("min") else max)(known)
        facts.append((f"Best {names.lower(str(block.get('metric') or 'score'), unit)}", numbers.fixed(best)))
    facts.append(("Time", numbers.seconds(block.get("seconds"))))
    if block.get("resumed"):
        facts.append(("Resumed", "yes, after an interruption"))
    return Facts(facts)


def _calibration(block: view.Results, labels: dict[str, str], folds: bool = False) -> list[Block]:
    scores = block.get("scores") or {}
    out: list[Block] = [Heading("Recalibration")]
    method = str(block.get("method") or "")
    if block.get("findings"):
        out.append(_calibrations(block["findings"], labels, folds))
    elif scores:
        rows = [
            [
                Cell(str(m), strong=m == method),
                num(numbers.fixed(v, 4), v),
                "chosen" if m == method else "",
            ]
            for m, v in scores.items()
        ]
        out.append(Table(["Method", "Log loss in tuning", ""], rows, wide=False))
    else:
        out.append(Facts([("Method", method or numbers.ABSENT)]))
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    return out


def _calibrations(findings: view.Results, labels: dict[str, str], folds: bool = False) -> Table:
    found = {str(k): f for k, f in findings.items() if isinstance(f, dict)}
    methods = list(dict.fromkeys(m for f in found.values() for m in f.get("scores") or {}))
    rows: list[list[Cell | str]] = []
    for key, one in found.items():
        scores, method = one.get("scores") or {}, str(one.get("method") or "")
        cells = [num(numbers.fixed(scores.get(m), 4), scores.get(m), strong=m == method) for m in methods]
        why = Cell("In words", detail=[("Choice", str(one["sentence"]))]) if one.get("sentence") else Cell("")
        rows.append([labels.get(key, key), method, *cells, why])
    head = ["Finding", "Method", *(f"Log loss, {m}" for m in methods), ""]
    on = "over the tuning folds" if folds else "on the tune part"
    return Table(head, rows, f"Recalibration of each finding {on}, the chosen method in bold", sortable=True)


def _threshold(block: view.Results, outlines: bool = False, effect: bool = False) -> str:
    if not numbers.is_number(block.get("value")):
        return str(block.get("rule") or "") if block.get("findings") or outlines else numbers.ABSENT
    if effect:
        said = f"predicted benefit above {float(block['value']):.3g}"
        return f"{said}, {block['rule']}" if block.get("rule") else said
    value = 100 * float(block["value"])
    return f"{'probability' if outlines else 'risk'} of {value:.4g}%" + (
        f", {block['rule']}" if block.get("rule") else ""
    )


def _sample_size(block: view.Results, unit: str) -> list[Block]:
    required = block.get("required")
    flat = {**block, **({f"required.{k}": v for k, v in required.items()} if isinstance(required, dict) else {})}
    flat.pop("required", None)
    assumed = numbers.fixed(flat.pop("required.r2_cs", None))
    if flat.get("r2_assumed"):
        flat["r2_assumed"] = f"{assumed} ({flat['r2_assumed']})" if assumed != numbers.ABSENT else flat["r2_assumed"]
    largest = str(flat.get("required.dominant") or "")
    flat["required.dominant"] = _LARGEST.get(largest, largest) or None
    if numbers.is_number(flat.get("horizon")):
        flat["horizon"] = numbers.horizon(flat["horizon"], unit)
    for key in ("required.parameters", "patients" if flat.get("patients") == flat.get("n") else ""):
        flat.pop(key, None)
    facts = [(label, _size(flat.pop(key))) for key, label in _SIZES.items() if flat.get(key) is not None]
    rest = {k.removeprefix("required."): v for k, v in flat.items() if v is not None and k not in _SIZES}
    out: list[Block] = [Heading("Sample size")]
    if facts:
        out.append(Facts(facts))
    return out + view.record(rest)


def _size(value: object) -> str:
    # Counts of rows and events are whole; a ratio keeps one decimal, a small R2 three.
    if isinstance(value, float) and value != round(value):
        return numbers.fixed(value, 0 if value >= 100 else 1 if value >= 2 else 3)
    return numbers.number(value)
