"""Child-Pugh, the severity of cirrhosis."""

from __future__ import annotations

from aimed.prognosis.scores.score import Array, Found, at_least, category, number, published_score, up_to

__all__ = ["child_pugh"]


@published_score(
    title="Child-Pugh",
    inputs=(
        number("bilirubin", "Total serum bilirubin", "bilirubin", "mg/dL", 0.1, 60),
        number("albumin", "Serum albumin", "albumin", "g/dL", 0.5, 7),
        number("inr", "International normalised ratio of prothrombin time", "ratio", "1", 0.5, 20),
        category("ascites", "Ascites", ("none", "mild", "moderate")),
        category("encephalopathy", "Hepatic encephalopathy, grade", ("none", "1-2", "3-4")),
    ),
    outcome="severity of cirrhosis",
    span=(5, 15),
    source="Pugh et al., Br J Surg 1973;60:646-9, doi:10.1002/bjs.1800600817, with INR in place of seconds of "
    "prothrombin time (below 1.7, 1.7 to 2.3, above 2.3).",
    population="patients with cirrhosis; 38 with bleeding varices in 1973",
    not_for=("primary biliary or sclerosing cholangitis, for which bilirubin has other cuts", "acute liver failure"),
    groups=((5, "A"), (7, "B"), (10, "C")),
)
def child_pugh(bilirubin: Array, albumin: Array, inr: Array, ascites: Array, encephalopathy: Array) -> Found:
    """Count the points of Child-Pugh; ``group`` has the class.

    Examples
    --------
    >>> found = child_pugh(bilirubin=2.5, albumin=3.0, inr=1.2, ascites="mild", encephalopathy="none")
    >>> float(found.value), str(found.group)
    (8.0, 'B')
    """
    points = at_least(bilirubin, [2], [1, 2]) + up_to(bilirubin, [3], [0, 1])
    points = points + at_least(albumin, [2.8], [3, 2]) - up_to(albumin, [3.5], [0, 1])
    points = points + at_least(inr, [1.7], [1, 2]) + up_to(inr, [2.3], [0, 1])
    return Found(points + (1 + ascites) + (1 + encephalopathy))
