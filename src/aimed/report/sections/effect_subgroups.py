"""Effects by subgroup: a forest plot with the tests of interaction, and how far to believe them."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, effect_sentences, numbers, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Heading, Items, Note, Section, Table, num


def build(results: view.Results) -> Section:
    """Return the section of subgroups of a study of effects.

    Examples
    --------
    >>> build({"effect": {"subgroups": {"rows": []}}}).assessed
    False
    """
    title = "Subgroups and fairness"
    block = view.block(results, "effect", "subgroups") or {}
    rows = [r for r in block.get("rows") or [] if r]
    if not rows:
        return Section("subgroups", title, "Effects by subgroup were not assessed in this run.", (), False)
    asked, context = contrast.question(results), view.context(results)
    tests = {str(t.get("column")): t for t in block.get("interactions") or [] if t}
    counted = [k for k in ("n", "events") if any(r.get(k) is not None for r in rows)]
    heads = [*counted, "active", "control"]
    drawn: list[dict[str, Any]] = []
    if block.get("overall"):
        drawn.append(
            {"label": "All patients", "measure": block["overall"], "strong": True, "columns": [""] * len(heads)}
        )
    last = ""
    for r in rows:
        column = str(r.get("column") or "")
        label = str(r.get("column_label") or column)
        if column != last:
            drawn.append({"heading": label, "beside": _test(tests.get(column))})
            last = column
        counts = [numbers.count(r.get(k)) for k in counted]
        levels = [asked.level(r.get(k), span=False) for k in ("active", "control")]
        drawn.append({
            "label": str(r.get("level")), "indent": True, "of": label, "measure": r.get("effect"),
            "columns": [*counts, *levels],
        })  # fmt: skip
    scale = asked.scale(_contrast(rows, asked.contrast))
    better = f"favours {asked.treated}", f"favours {asked.untreated}"
    planned = "named before the run" if block.get("prespecified") else "chosen after the data were seen"
    figure = FIGURES["effect_forest"](
        {
            "rows": drawn,
            "scale": scale,
            "columns": heads,
            "axis": scale.title,
            "head": "Group",
            "title": effect_sentences.subgroups(block),
            "caption": f"Effect of {asked.treated} in each group, {planned}; active and control are the outcome of the "
            f"arms. Lines are {context.band}s, not adjusted for the number of groups. Dashed: no effect.",
            "said": f"Forest plot of {scale.title} by subgroup.",
            "salt": "effect-subgroups",
            "favours": better if asked.good(scale.name) < 0 else better[::-1],
        },
        context,
    )
    blocks: list[Block] = [figure]
    if tests:
        blocks.append(_tests(list(tests.values())))
    if block.get("credibility"):
        blocks += [Heading("How far to believe them"), Items([str(t) for t in block["credibility"]])]
    if not block.get("prespecified"):
        blocks.append(
            Note("These groups were not named before the run: what differs is a question, not a finding.", "warn")
        )
    lead = str(block.get("sentence") or f"{effect_sentences.subgroups(block)}.")
    return Section("subgroups", title, lead, blocks)


def _contrast(rows: list[Any], main: str) -> str:
    # A group may be summarised by another contrast than the primary one; its name says which.
    named = {str((r.get("effect") or {}).get("name") or "").partition("@")[0] for r in rows}
    known = [n for n in named if n in ("risk_difference", "mean_difference", "rmst_difference", "hazard_ratio",
                                       "risk_ratio", "odds_ratio", "time_lost_difference", "rmst_ratio")]  # fmt: skip
    return known[0] if len(known) == 1 else main


def _test(test: Any) -> str:
    if not test:
        return ""
    p, adjusted = test.get("p"), test.get("p_adjusted")
    if not numbers.is_number(p):
        return ""
    more = f", adjusted {numbers.p_value(adjusted)}" if numbers.is_number(adjusted) else ""
    return f"interaction p {numbers.p_value(p)}{more}"


def _tests(tests: list[Any]) -> Table:
    rows = [
        [
            str(t.get("label") or t.get("column")),
            num(numbers.p_value(t.get("p")), t.get("p")),
            num(numbers.p_value(t.get("p_adjusted")), t.get("p_adjusted")),
            str(t.get("method") or ""),
        ]
        for t in tests
    ]
    head = ["Interaction with", "p", "Adjusted p", "Method"]
    return Table(head, rows, "Tests of interaction, adjusted for their number", wide=False)
