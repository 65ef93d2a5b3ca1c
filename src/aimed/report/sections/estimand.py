"""What the study asks of the treatment: the five attributes of its estimand, as ICH E9(R1) names them."""

from __future__ import annotations

from aimed.report import contrast, names, numbers, sentences, view
from aimed.report.parts import Block, Facts, Heading, Note, Table


def estimand(results: view.Results) -> list[Block]:
    """Return the box that says the question.

    Examples
    --------
    >>> asked = {"population": "adults", "treatment": "drug", "control": "none", "assignment": "randomised"}
    >>> [part.type for part in estimand({"effect": {"estimand": asked}})]
    ['heading', 'facts']
    """
    block = view.block(results, "effect", "estimand")
    if not block:
        return []
    asked = contrast.question(results)
    others = [names.describe(str(c)).title for c in block.get("contrasts") or [] if c != block.get("contrast")]
    main = names.describe(asked.contrast).title if block.get("contrast") else ""
    more = f"; beside it: {sentences.join([o[:1].lower() + o[1:] for o in others])}" if main and others else ""
    way = {"lower": "less of it is better", "higher": "more of it is better"}.get(str(block.get("better")), "")
    measured = "; ".join(t for t in (str(block.get("outcome") or ""), way) if t)
    assigned = {"randomised": "at random", "observational": "not at random: as it happened in care"}
    facts = [
        ("Population", str(block.get("population") or "")),
        ("Treatment", str(block.get("treatment") or "")),
        ("Compared with", str(block.get("control") or "")),
        ("Assigned", assigned.get(str(block.get("assignment")), "")),
        ("Outcome", measured),
        ("Horizon", "" if asked.horizon is None else numbers.horizon(asked.horizon, asked.unit)),
        ("Summary", f"{main}{more}"),
    ]
    out: list[Block] = [Heading("The question (estimand)")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    if any(v for _, v in facts):
        out.append(Facts([f for f in facts if f[1]]))
    events = block.get("intercurrent") or []
    if events:
        rows = [[str(e.get("event") or ""), str(e.get("strategy") or "").replace("_", " ")] for e in events]
        out.append(Table(["Intercurrent event", "Strategy"], rows, "What may happen in between", wide=False))
    return out
