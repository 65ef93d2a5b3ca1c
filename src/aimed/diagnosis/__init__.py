"""Diagnosis: networks that read several findings from a picture, how they learn, and what they know already."""

from aimed.core import Catalog

__all__ = ["LOSSES", "NETWORKS", "PICTURE_MODELS", "SEGMENTATION_LOSSES", "VOLUME_MODELS", "VOLUME_NETWORKS"]

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
        "forward": (
            "aimed.diagnosis.losses:forward_cross_entropy",
            "Cross-entropy against labels that are wrong at known rates.",
        ),
    },
    group="aimed.losses",
)
"""What an image classifier minimises, by name."""

PICTURE_MODELS = Catalog(
    "picture model",
    {
        "linear_probe": (
            "aimed.diagnosis.picture_recipes:LINEAR_PROBE",
            "Logistic regressions on the features of a DenseNet-121 that stays as it is; wants weights of a user.",
        ),
        "small_cnn": (
            "aimed.diagnosis.picture_recipes:SMALL_CNN",
            "Small residual network that trains on a processor.",
        ),
        "densenet121": (
            "aimed.diagnosis.picture_recipes:DENSENET121",
            "DenseNet-121, from random weights or from those of a user.",
        ),
    },
    group="aimed.picture_models",
)
"""Candidates of a picture study, the simplest first."""

VOLUME_NETWORKS = Catalog(
    "volume network",
    {
        "unet3d": (
            "aimed.diagnosis.unet3d:UNet3d",
            "3D U-Net, plain or residual, with scores at several scales while it learns.",
        ),
        "segresnet3d": (
            "aimed.diagnosis.segresnet3d:SegResNet3d",
            "Residual encoder and decoder of the BraTS 2018 winner; takes weights of MONAI's SegResNet.",
        ),
    },
    group="aimed.volume_networks",
)
"""Architectures that score every voxel, by name; each is built from plain parameters."""

VOLUME_MODELS = Catalog(
    "volume model",
    {
        "small_unet3d": (
            "aimed.diagnosis.volume_recipes:SMALL_UNET3D",
            "Narrow 3D U-Net that trains on a processor.",
        ),
        "unet3d": (
            "aimed.diagnosis.volume_recipes:UNET3D",
            "3D U-Net planned from the training scans, as in nnU-Net.",
        ),
        "segresnet3d": (
            "aimed.diagnosis.volume_recipes:SEGRESNET3D",
            "Residual encoder and decoder of the BraTS 2018 winner.",
        ),
    },
    group="aimed.volume_models",
)
"""Candidates of a study of volumes, the simplest first."""

SEGMENTATION_LOSSES = Catalog(
    "segmentation loss",
    {
        "dice_cross_entropy": (
            "aimed.diagnosis.segmentation_losses:dice_cross_entropy",
            "Soft Dice plus cross-entropy, as in nnU-Net.",
        ),
        "dice": (
            "aimed.diagnosis.segmentation_losses:dice_loss",
            "Soft Dice with squares in the denominator.",
        ),
        "tversky": (
            "aimed.diagnosis.segmentation_losses:tversky_loss",
            "Overlap in which voxels missed weigh more than voxels too many.",
        ),
        "focal": (
            "aimed.diagnosis.segmentation_losses:focal_loss",
            "Cross-entropy that turns away from voxels that are easy.",
        ),
    },
    group="aimed.segmentation_losses",
)
"""What a network that outlines things minimises, by name."""
