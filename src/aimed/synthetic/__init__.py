"""Synthetic: made-up patients whose images and labels are known by construction; never for clinical use."""

from aimed.synthetic.brain_contrast import BRAIN_CONTRASTS
from aimed.synthetic.brain_phantom import BRAIN_LABELS, BrainPhantom, PhantomScan, draw_brain
from aimed.synthetic.brain_study import PlannedScan, plan_brain_study, write_brain_study
from aimed.synthetic.chest_phantom import FINDINGS, ChestPhantom, PhantomImage, draw_chest
from aimed.synthetic.chest_study import PlannedImage, Shortcut, plan_study, write_study
from aimed.synthetic.reports import PlannedReport, plan_reports, write_reports

__all__ = [
    "BRAIN_CONTRASTS",
    "BRAIN_LABELS",
    "FINDINGS",
    "BrainPhantom",
    "ChestPhantom",
    "PhantomImage",
    "PhantomScan",
    "PlannedImage",
    "PlannedReport",
    "PlannedScan",
    "Shortcut",
    "draw_brain",
    "draw_chest",
    "plan_brain_study",
    "plan_reports",
    "plan_study",
    "write_brain_study",
    "write_reports",
    "write_study",
]
