"""Diagnosis: networks that read several findings from a picture, how they learn, and what they know already."""

from aimed.core import Catalog

__all__ = ["LOSSES", "NETWORKS"]

NETWORKS = Catalog(
    "network",
    {
        "densenet121": (
            "aimed.diagnosis.densenet:DenseNet",
            "DenseNet-121 for one grey channel; takes weights of torchvision, MONAI and TorchXRayVision.",
        ),
        "small_cnn": (
            "aimed.diagnosis.small_cnn:SmallCnn",
            "Residual network of 0.6 million weights that trains on a processor in minutes.",
        ),
    },
    group="aimed.networks",
)
"""Architectures by name; each is built from plain parameters, so that a bundle can rebuild it."""

LOSSES = Catalog(
    "loss",
    {
        "weighted": (
            "aimed.diagnosis.losses:weighted_cross_entropy",
            "Cross-entropy in which the rare side of each finding weighs as much as the other.",
        ),
        "focal": (
            "aimed.diagnosis.losses:focal_loss",
            "Cross-entropy that turns away from what is easy.",
        ),
        "asymmetric": (
            "aimed.diagnosis.losses:asymmetric_loss",
            "Focal loss that turns away from easy negatives alone.",
        ),
        "plain": (
            "aimed.diagnosis.losses:cross_entropy",
            "Cross-entropy as it is; its probabilities are calibrated best.",
        ),
    },
    group="aimed.losses",
)
"""What an image classifier minimises, by name."""
