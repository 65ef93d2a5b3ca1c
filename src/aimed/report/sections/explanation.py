"""Section 11: which variables the model uses and how, with the sanity check that says whether to believe it."""

from __future__ import annotations

from aimed.report import names, numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Note, Section
from aimed.report.sections import contrasts, maps, notes
from aimed.report.sections.patients import patients


def build(results: view.Results) -> Section:
    """Return the section of explanation."""
    block = view.block(results, "explanation")
    stated = patients(results)
    if not block and stated:
        lead = sentences.absent("What the effect depends on", many=False)
        return Section("explanation", "Explanation", lead, stated)
    if not block:
        return Section("explanation", "Explanation", sentences.absent("The explanation"), (), False)
    if block.get("kind") == "volumes":
        return contrasts.build(results)
    if block.get("kind") == "maps":
        return maps.build(results)
    if view.notes(results):
        return Section("explanation", "Explanation", notes.weighing(results), notes.words(results))
    context = view.context(results)
    blocks: list[Block] = []
    sanity = block.get("sanity") or {}
    if sanity.get("sentence"):
        failed = sanity.get("passed") is False
        blocks.append(
            Note(
                f"Sanity check {'failed' if failed else 'passed'}: {sanity['sentence']}", "warn" if failed else "plain"
            )
        )
    permutation = [r for r in block.get("permutation") or [] if numbers.is_number(r.get("value"))]
    measure = names.title(str(block.get("measure") or "score"), context.unit)
    changes = f"Loss of {measure}"
    if view.effect(results) and names.describe(str(block.get("measure"))).better == "lower":
        changes = f"Rise of {titles.inside(measure)}"
    if permutation:
        repeats = permutation[0].get("repeats")
        often = f", {numbers.count(repeats)} times a variable" if numbers.is_number(repeats) else ""
        blocks.append(
            FIGURES["importance"](
                {
                    "rows": permutation,
                    "key": "value",
                    "axis": changes,
                    "salt": "permutation",
                    "caption": f"{changes} on the test part when the values of one variable "
                    f"are shuffled{often}; lines are "
                    f"{context.band}s. Variables that carry the same information share their importance.",
                },
                context,
            )
        )
    shap = [r for r in block.get("shap") or [] if numbers.is_number(r.get("mean_abs"))]
    if shap:
        scale = str(block.get("scale") or "prediction")
        blocks.append(
            FIGURES["importance"](
                {
                    "rows": shap,
                    "key": "mean_abs",
                    "axis": f"Mean |Shapley value| ({scale})",
                    "salt": "shap",
                    "caption": str(block.get("shap_note") or "Mean absolute Shapley value of each variable."),
                },
                context,
            )
        )
    elif block.get("shap_note"):
        blocks.append(Note(str(block["shap_note"]), "absent"))
    if block.get("effects"):
        first = next(iter(view.horizons(results)), None)
        blocks.append(FIGURES["effects"]({"effects": block["effects"]}, view.context(results, first)))
    about = "They do not show what causes the outcome."
    if view.effect(results):
        about = "They do not show what makes the treatment work."
    blocks.append(Note(f"These figures describe the model. {about}"))
    lead = sentences.explanation(block, context.unit)
    return Section("explanation", "Explanation", lead, [*blocks, *stated])
