"""What a rule made from the effects is worth: its value beside treating everyone, nobody and as is done now."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, effect_sentences, numbers, view
from aimed.report.contrast import Question, Scale, bounds
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Code, Facts, Heading, Note, Table, num

_AGAINST = (
    ("against_all", "Gain over treating everyone"),
    ("against_none", "Gain over treating nobody"),
    ("against_current", "Gain over what was done"),
)


def policy(results: view.Results) -> list[Block]:
    """Return the value of each rule, the rules in words and the targeted-fraction curve; empty where there are none.

    Examples
    --------
    >>> policy({"effect": {"policy": None}})
    []
    """
    block = view.block(results, "effect", "policy")
    if not block:
        return []
    asked, context = contrast.question(results), view.context(results)
    out: list[Block] = [Heading("What a rule to treat is worth")]
    rows = [r for r in block.get("rows") or [] if r]
    if rows:
        out += [_values(rows, asked, context), _differences(rows, asked, context.band)]
    if (block.get("tree") or {}).get("rules"):
        depth = block["tree"].get("depth")
        out += [
            Heading("The policy tree"),
            Note(f"Learnt on the training part{f', at most {depth} questions deep' if depth else ''}:"),
            Code("\n".join(str(r) for r in block["tree"]["rules"])),
        ]
    liked: dict[str, Any] = block.get("preferences") or {}
    curve = block.get("fractions") or {}
    if curve.get("share") and curve.get("value"):
        data = {**curve, "question": asked, "budget": liked.get("budget")}
        out.append(FIGURES["targeted_fraction"](data, context))
    facts = [
        ("Weight of the benefit", numbers.number(liked.get("benefit_weight"))),
        ("Burden of treatment", _amount(liked.get("burden"), asked)),
        ("Treat if the benefit exceeds", _amount(liked.get("threshold"), asked)),
        ("Budget", f"{numbers.percent(liked['budget'], 0)} of patients" if numbers.is_number(liked.get("budget"))
         else numbers.ABSENT),
    ]  # fmt: skip
    facts = [f for f in facts if f[1] != numbers.ABSENT]
    return [*out, Heading("Preferences that the rules use"), Facts(facts)] if facts else out


def _amount(value: object, asked: Question) -> str:
    if not numbers.is_number(value):
        return numbers.ABSENT
    unit = {"points": " percentage points", "time": f" {asked.unit}s"}.get(asked.additive.kind, "")
    return f"{asked.additive.plain(value)[0]}{unit}"


def _values(rows: list[Any], asked: Question, context: Any) -> Any:
    # Outcomes under a policy are risks, times or means, drawn on their own scale without a sign.
    scale = Scale("policy_value", "share" if asked.kind == "risk" else "number", asked.unit)
    everyone: dict[str, Any] = next((r for r in rows if str(r.get("name")) in ("all", "treat_all")), {})
    reference = bounds(everyone.get("value"))[0]
    lower = asked.good("rmst_difference" if asked.kind == "time" else "mean_difference") < 0
    unit = f" ({asked.unit}s)" if asked.kind == "time" else " (%)" if asked.kind == "risk" else ""
    way = ["better", "worse"] if lower else ["worse", "better"]
    return FIGURES["effect_forest"](
        {
            "rows": [
                {
                    "label": str(r.get("title") or r.get("name")),
                    "measure": r.get("value"),
                    "columns": [numbers.percent(r.get("treated_share"), 0)],
                    "muted": str(r.get("name")) in ("all", "none", "current", "treat_all", "treat_none"),
                }
                for r in rows
            ],
            "scale": scale,
            "spelt": asked.level,
            "columns": ["treated"],
            "axis": f"Expected outcome{unit}",
            "head": "Rule",
            "title": effect_sentences.policies(rows, "lower" if lower else "higher"),
            "caption": "Expected outcome if the whole test part was treated by the rule, doubly robust; grey: "
            f"rules without a model. Lines are {context.band}s; dashed: treating everyone.",
            "said": "Forest plot of the expected outcome by rule.",
            "salt": "policies",
            "reference": reference,
            "favours": way,
        },
        context,
    )


def _differences(rows: list[Any], asked: Question, band: str) -> Table:
    shown = [(k, t) for k, t in _AGAINST if any(r.get(k) for r in rows)]
    body = [
        [
            str(r.get("title") or r.get("name")),
            num(numbers.percent(r.get("treated_share"), 0), r.get("treated_share")),
            num(asked.level(r.get("value")), (r.get("value") or {}).get("value")),
            *(num(asked.additive.interval(r.get(k)), (r.get(k) or {}).get("value")) for k, _ in shown),
        ]
        for r in rows
    ]
    measured = {"points": ", percentage points", "time": f", {asked.unit}s"}.get(asked.additive.kind, "")
    head = ["Rule", "Treated", "Expected outcome", *(f"{t}{measured}" for _, t in shown)]
    return Table(
        head, body, f"Gains are paired, on the same patients, net of burden and cost; above 0 is better ({band}s)"
    )
