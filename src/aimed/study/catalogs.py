"""Everything that has a name, for `aimed list` and the reference pages."""

from __future__ import annotations

import tomllib

from aimed.calibrate import CALIBRATORS
from aimed.checks import CHECKS
from aimed.core import Catalog
from aimed.diagnosis import LOSSES, NETWORKS, PICTURE_MODELS, SEGMENTATION_LOSSES, VOLUME_MODELS, VOLUME_NETWORKS
from aimed.explain import EXPLAINERS
from aimed.metrics import METRICS
from aimed.privacy.classes import CLASSES
from aimed.prognosis import MODELS
from aimed.prognosis.scores import SCORES
from aimed.readers import READERS
from aimed.readers.builtin import BUILTIN
from aimed.splits import SPLITS
from aimed.study.shipped import SHIPPED
from aimed.study.spec import SYNTHETIC, SYNTHETIC_BRAIN, SYNTHETIC_REPORTS
from aimed.study.tasks import TASKS
from aimed.text import TEXT_MODELS
from aimed.text.lexicon import lexicon_names, load_lexicon
from aimed.treatment import AVERAGE, LEARNERS
from aimed.treatment.base_learners import BASE_LEARNERS
from aimed.trust import CHECKLISTS

__all__ = ["CATALOGS", "catalogs"]

CATALOGS: dict[str, Catalog] = {
    "models": MODELS,
    "picture models": PICTURE_MODELS,
    "volume models": VOLUME_MODELS,
    "text models": TEXT_MODELS,
    "networks": NETWORKS,
    "losses": LOSSES,
    "volume networks": VOLUME_NETWORKS,
    "segmentation losses": SEGMENTATION_LOSSES,
    "learners": LEARNERS,
    "average effects": AVERAGE,
    "scores": SCORES,
    "metrics": METRICS,
    "checks": CHECKS,
    "splits": SPLITS,
    "calibrators": CALIBRATORS,
    "explainers": EXPLAINERS,
    "checklists": CHECKLISTS,
    "readers": READERS,
}
"""The catalogues of the rooms, by what they hold."""


def catalogs() -> dict[str, dict[str, str]]:
    """Return name → summary of every entry, by catalogue; nothing heavy is imported."""
    out = {"tasks": {name: task.title for name, task in TASKS.items()}}
    out |= {title: {e.name: e.summary for e in found.entries().values()} for title, found in CATALOGS.items()}
    out["base learners"] = dict(BASE_LEARNERS)
    out["builtin data"] = {f"builtin:{name}": f"{s.summary} ({s.package})" for name, s in BUILTIN.items()}
    out["builtin data"][SYNTHETIC] = "Drawn chest X-rays with five known findings and their masks (no patients)."
    out["builtin data"][SYNTHETIC_BRAIN] = "Drawn brain MRI with tumours whose masks are known (no patients)."
    out["builtin data"][SYNTHETIC_REPORTS] = "Made-up chest X-ray reports with fourteen known labels (no patients)."
    out["lexicons"] = {name: f"{load_lexicon(name).title}." for name in lexicon_names()}
    out["identifiers"] = {name: f"{one.title}: {one.replacement}." for name, one in CLASSES.items()}
    out["studies"] = {
        name: str(tomllib.loads(path.read_text(encoding="utf-8"))["study"]["title"]) for name, path in SHIPPED.items()
    }
    return out
