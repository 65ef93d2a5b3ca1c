"""Section 5: what the model is, how it was prepared, tuned and recalibrated, and what it was compared with."""

from __future__ import annotations

from collections import Counter

from aimed.report import names, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Code, Facts, Heading, Note, Section, Table, num
from aimed.report.sections.uncertainty import optimism_facts

_MISSING = {
    "mean_indicators": "filled with the mean of the training part, with an indicator that says where",
    "mean": "filled with the mean of the training part",
    "complete_case": "rows with a missing value were left out",
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
        ("Decision threshold", _threshold(block.get("threshold") or {})),
    ]
    facts += [(f"Setting: {k}", numbers.number(v)) for k, v in (block.get("parameters") or {}).items()]
    blocks.append(Facts([f for f in facts if f[1] != numbers.ABSENT]))
    if block.get("preparation"):
        rows = [
            [num(str(i), i), str(s.get("name") or ""), str(s.get("detail") or "")]
            for i, s in enumerate(block["preparation"], 1)
        ]
        blocks.append(Table(["Step", "What", "How"], rows, "Preparation, fitted on the training part only", wide=False))
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
        blocks += _calibration(block["calibration"])
    if block.get("coefficients"):
        name = str(block.get("ratio_name") or "ratio")
        blocks += [
            Heading("Coefficients"),
            FIGURES["forest"]({"ratios": block["coefficients"], "ratio_name": name, "salt": "ratios"}, context),
        ]
    if block.get("optimism"):
        name, _ = view.primary(results)
        said = "; ".join(f"{k}: {v}" for k, v in optimism_facts(block["optimism"], name, context.unit))
        blocks += [Heading("Optimism"), Note(f"{said}. More under Uncertainty and stability.")]
    if block.get("sample_size"):
        blocks += _sample_size(block["sample_size"], context.unit)
    return Section("model", "Model", sentences.model(block, context.unit), blocks)


def _tuning(block: view.Results, unit: str) -> Facts:
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


def _calibration(block: view.Results) -> list[Block]:
    scores = block.get("scores") or {}
    out: list[Block] = [Heading("Recalibration")]
    method = str(block.get("method") or "")
    if scores:
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


def _threshold(block: view.Results) -> str:
    if not numbers.is_number(block.get("value")):
        return numbers.ABSENT
    value = 100 * float(block["value"])
    return f"risk of {value:.4g}%" + (f", {block['rule']}" if block.get("rule") else "")


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
