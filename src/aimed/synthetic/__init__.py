"""Synthetic: made-up patients whose images and labels are known by construction; never for clinical use."""

from aimed.synthetic.chest_phantom import FINDINGS, ChestPhantom, PhantomImage, draw_chest
from aimed.synthetic.chest_study import PlannedImage, Shortcut, plan_study, write_study

__all__ = [
    "FINDINGS",
    "ChestPhantom",
    "PhantomImage",
    "PlannedImage",
    "Shortcut",
    "draw_chest",
    "plan_study",
    "write_study",
]
