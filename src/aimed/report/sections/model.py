"""Section 5: what the model is, how it was prepared, tuned and recalibrated, and what it was compared with."""

from __future__ import annotations

from collections import Counter

from aimed.report import names, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Code, Facts, Heading, Note, Section, Table, num


def build(results: view.Results) -> Section:
    """Return the section of the model."""
    block = view.block(results, "model")
    if not block:
        return Section("model", "Model", sentences.absent("The model", view.no_block("model")), (), False)
    context = view.context(results)
    blocks: list[Block] = []
    if block.get("description"):
        blocks.append(Note(str(block["description"])))
    facts = [
        ("Model", numbers.number(block.get("title") or block.get("name"))),
        ("Missing values", numbers.number(block.get("missing_method"))),
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
    if block.get("sample_size"):
        blocks += view.record(block["sample_size"], "Sample size")
    return Section("model", "Model", sentences.model(block, context.unit), blocks)


def _tuning(block: view.Results, unit: str) -> Facts:
    trials = block.get("trials") or []
    known = [float(t["value"]) for t in trials if numbers.is_number(t.get("value"))]
    states = Counter(str(t.get("state") or "unknown").lower() for t in trials)
    facts = [("Trials", "; ".join(f"{numbers.count(n)} {state}" for state, n in states.items()) or numbers.ABSENT)]
    if known:
        best = (min if str(block.get("direction")).startswith("min") else max)(known)
        facts.append((f"Best {names.title(str(block.get('metric') or 'score'), unit)}", numbers.fixed(best)))
    facts.append(("Time", numbers.seconds(block.get("seconds"))))
    if block.get("resumed"):
        facts.append(("Resumed", "yes, after an interruption"))
    return Facts(facts)


def _calibration(block: view.Results) -> list[Block]:
    scores = block.get("scores") or {}
    out: list[Block] = [Heading("Recalibration")]
    if scores:
        rows = [
            [
                Cell(str(m), strong=m == block.get("method")),
                num(numbers.fixed(v, 4), v),
                "chosen" if m == block.get("method") else "",
            ]
            for m, v in scores.items()
        ]
        out.append(Table(["Method", "Log loss in tuning", ""], rows, wide=False))
    else:
        out.append(Facts([("Method", numbers.number(block.get("method")))]))
    return out
