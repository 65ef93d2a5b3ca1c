"""What the effect means for patients: statements in absolute numbers, with icon arrays."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, numbers, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Facts, Figure, Fold, Heading, Note, Pair


def patients(results: view.Results) -> list[Block]:
    """Return a statement and an icon array a patient; empty where there are none.

    Examples
    --------
    >>> one = {"title": "A man of 60", "fewer": 9.0, "lower": 2.0, "upper": 16.0}
    >>> [part.type for part in patients({"effect": {"patients": [one]}})]
    ['heading', 'note', 'note', 'note']
    """
    found = [p for p in view.block(results, "effect", "patients") or [] if p]
    if not found:
        return []
    context = view.context(results)
    asked = contrast.question(results)
    out: list[Block] = [
        Heading("For patients like these"),
        Note(
            "Made-up or typical patients, to show what the model says in absolute numbers. An interval is of the mean "
            "effect in such patients; what one patient would have had without treatment is never known."
        ),
    ]
    if view.block(results, "effect", "heterogeneity", "state") != "evidence":
        out.append(
            Note(
                "This study did not show that effects differ between patients. Until another one does, the average "
                "effect stands for all of these, and the differences between them may be chance.",
                "warn",
            )
        )
    figures: list[Figure] = []
    rest: list[Block] = []
    for k, p in enumerate(found):
        title = str(p.get("title") or f"Patient {k + 1}")
        said = statement(p, asked)
        facts = [(str(f.get("label")), numbers.number(f.get("value"))) for f in p.get("profile") or [] if f]
        drawn = all(numbers.is_number(p.get(key)) for key in ("control_of_100", "active_of_100"))
        if drawn:
            data = {**p, "title": f"{title}: {_short(p)}", "sentence": said, "question": asked, "salt": str(k)}
            figures.append(FIGURES["icon_array"](data, context))
        else:
            rest.append(Note(f"{title}. {said}"))
        if facts:
            rest.append(Fold(f"Who this is: {title}", [Facts(facts)]))
    out += [Pair(figures[i : i + 2]) if len(figures) > 1 else figures[i] for i in range(0, len(figures), 2)]
    return [*out, *rest]


def statement(patient: Any, asked: contrast.Question) -> str:
    """Return the statement of one patient in absolute numbers.

    Examples
    --------
    >>> statement({"fewer": 9.2, "lower": 2.0, "upper": 16.1}, contrast.Question("drug", "none", "death"))
    'Of 100 patients like this one, drug instead of none means about 9 fewer with death; 95% interval 2 to 16 fewer.'
    """
    if patient.get("sentence"):
        return str(patient["sentence"])
    return (
        f"Of 100 patients like this one, {asked.treated} instead of {asked.untreated} means {_short(patient)} with "
        f"{asked.outcome}{asked.when}{_span(patient)}."
    )


def _short(patient: Any) -> str:
    fewer = _fewer(patient)
    if fewer is None:
        return "effect not estimable"
    return "about as many" if fewer == 0 else f"about {abs(fewer)} {'fewer' if fewer > 0 else 'more'}"


def _fewer(patient: Any) -> int | None:
    """Return how many fewer have the outcome: the difference of the rounded counts where these are shown."""
    both = [patient.get(key) for key in ("control_of_100", "active_of_100")]
    if all(numbers.is_number(n) for n in both):
        control, active = (min(100, max(0, round(float(n)))) for n in both)
        return control - active
    fewer = patient.get("fewer")
    return round(fewer) if numbers.is_number(fewer) else None


def _span(patient: Any) -> str:
    low, high = patient.get("lower"), patient.get("upper")
    if not numbers.is_number(low) or not numbers.is_number(high):
        return ""
    shown = _fewer(patient)
    low, high = sorted((float(low), float(high)))
    if shown is not None:
        low, high = min(low, shown), max(high, shown)
    if low >= 0:
        return f"; 95% interval {round(low)} to {round(high)} fewer"
    if high <= 0:
        return f"; 95% interval {round(-high)} to {round(-low)} more"
    return f"; 95% interval {round(-low)} more to {round(high)} fewer"
