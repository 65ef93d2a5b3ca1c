"""What a study needs to know of a model of volumes: its name, how simple it is, and how a plan becomes a network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import StudyFileError, UnknownNameError
from aimed.diagnosis.volume_plan import VolumePlan
from aimed.diagnosis.volume_segmenter import VolumeSegmenter

if TYPE_CHECKING:
    from aimed.diagnosis.initial_weights import InitialWeights

__all__ = ["SEGRESNET3D", "SMALL_UNET3D", "UNET3D", "VolumeRecipe"]

Progress = Callable[[float, str], None]
_STUDY = (
    "architecture", "regions", "exclusive", "paint", "scaling", "random_state", "n_jobs", "early_stopping",
    "validation_fraction", "initial_weights", "crop",
)  # fmt: skip
_MOST_DEEP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecipe:
    """One line of the catalogue of volume models, as the study flow sees it.

    Parameters
    ----------
    name, title, description : str
    architecture : str
        A name of `aimed.diagnosis.VOLUME_NETWORKS`.
    rank : int
        Place by simplicity, the simplest first.
    small : bool
        Whether the plan is made smaller, for a processor.
    defaults : mapping
        Parameters of the segmenter.
    """

    name: str
    title: str
    description: str
    architecture: str
    rank: int
    small: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults with what a study file says, checked.

        Raises
        ------
        UnknownNameError
            If a parameter does not exist.
        StudyFileError
            If a parameter is the study's own to set.
        """
        known = [name for name in VolumeSegmenter._get_param_names() if name not in _STUDY]
        for name in given:
            if name in _STUDY:
                raise StudyFileError(
                    f"[model] parameters.{self.name}.{name} is set by the study", f"one of: {', '.join(known)}"
                )
            if name not in known:
                raise UnknownNameError(f"parameter of {self.name}", name, known)
        return {**self.defaults, **given}

    def settings(self, plan: VolumePlan, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of the segmenter: those of the plan, and over them those of a study file.

        Parameters
        ----------
        plan : VolumePlan
        given : mapping
            Parameters of a study file.

        Raises
        ------
        StudyFileError
            If a parameter is unknown or out of its range.

        Examples
        --------
        >>> plan = VolumePlan(
        ...     spacing=(3.0, 3.0, 3.0), patch_size=(48, 48, 48), batch_size=2, patches_per_scan=2, widths=(8, 16),
        ...     strides=((1, 1, 1), (2, 2, 2)), kernels=((3, 3, 3), (3, 3, 3)), small=True,
        ... )
        >>> SMALL_UNET3D.settings(plan, {"batch_size": 4})["batch_size"]
        4
        """
        chosen, own = self.parameters(given), self.plan(plan)
        built = {**_BUILT[self.architecture](own), **dict(chosen.pop("architecture_options", None) or {})}
        found = {
            "architecture_options": built,
            "patch_size": own.patch_size,
            "batch_size": own.batch_size,
            "patches_per_scan": own.patches_per_scan,
            **chosen,
        }
        for name in ("patch_size", "mirror"):
            if isinstance(found.get(name), list):
                found[name] = tuple(found[name])
        found["augmentation"] = _augmentation(found.get("augmentation", True), own.spacing)
        # Where 0 is a grey as any other, nothing around the body says so.
        return {**found, "scaling": own.scaling, "crop": own.scaling.kind == "nonzero"}

    def plan(self, plan: VolumePlan) -> VolumePlan:
        """Return the plan as this model uses it: smaller, or with sides that its strides halve."""
        own = plan.reduced() if self.small else plan
        if self.architecture != "segresnet3d":
            return own
        scales = _scales(own)
        z, y, x = (-(-side // 2 ** (scales - 1)) * 2 ** (scales - 1) for side in own.patch_size)
        reasons = dict(own.reasons)
        if reasons:
            reasons["widths"] = f"{scales} scales of a residual encoder, each with twice the channels of the last."
            reasons["strides"] = reasons["kernels"] = "A residual encoder halves all axes alike; kernels are cubes."
        return dataclasses.replace(
            own, patch_size=(z, y, x), widths=tuple(own.widths[0] * 2**k for k in range(scales)),
            strides=((1, 1, 1), *((2, 2, 2),) * (scales - 1)), kernels=((3, 3, 3),) * scales, reasons=reasons,
        )  # fmt: skip

    def check(self, given: Mapping[str, Any], channels: int, outputs: int, plan: VolumePlan | None = None) -> None:
        """Build the model without fitting it, so that what cannot be is said before any scan is read.

        Parameters
        ----------
        given : mapping
            Parameters of a study file.
        channels : int
            Of a scan.
        outputs : int
            Of the network: regions, and one for the background where they exclude each other.
        plan : VolumePlan, optional
            An edited one; until there is one, a plan of cubes stands in.

        Raises
        ------
        UnknownNameError
            If a parameter, or what it names, does not exist.
        StudyFileError
            If a value is out of range, or the architecture does not take an option.
        MissingExtraError
            If a package of the extra "deep" is missing.
        """
        from aimed.diagnosis.volume_network import build_volume_network
        from aimed.diagnosis.volume_training import outline_loss

        chosen = self.settings(plan or _STAND_IN, given)
        model = VolumeSegmenter({"region": 1}, architecture=self.architecture, **chosen)
        model._check()
        network = build_volume_network(self.architecture, channels, outputs, model.architecture_options)
        if any(side % by for side, by in zip(model.patch_size, network.divisor, strict=True)):
            raise StudyFileError(
                f"patch_size = {list(model.patch_size)}", f"multiples of {list(network.divisor)}, which strides halve",
                "make the patch fit, or take a scale away",
            )  # fmt: skip
        outline_loss(model.loss, model.loss_options, exclusive=False)

    def fit(
        self,
        scans: Sequence[Any],
        masks: Sequence[Any],
        groups: NDArray[Any],
        *,
        regions: Mapping[str, int | Sequence[int]],
        exclusive: bool,
        paint: Mapping[str, int] | None = None,
        plan: VolumePlan,
        tune: NDArray[np.bool_],
        parameters: Mapping[str, Any],
        seed: int,
        weights: InitialWeights | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> VolumeSegmenter:
        """Fit on scans of the training part; those that tune say when to stop, and what is cleared away.

        Parameters
        ----------
        scans : sequence of n arrays, each of shape (c, z, y, x)
            Prepared; in memory or mapped.
        masks : sequence of n uint8 arrays, each of shape (z, y, x)
        groups : array, shape (n,)
        regions : mapping of str to int or ints
        exclusive : bool
        paint : mapping of str to int, optional
            See `VolumeSegmenter`.
        plan : VolumePlan
        tune : bool array, shape (n,)
        parameters : mapping
        seed : int
        weights : InitialWeights, optional
        folder : path, optional
            For checkpoints; a training that was stopped goes on from there.
        progress : callable, optional
        """
        model = VolumeSegmenter(
            regions, exclusive=exclusive, paint=paint, architecture=self.architecture, initial_weights=weights,
            random_state=seed, **self.settings(plan, parameters),
        )  # fmt: skip
        return model.fit(scans, masks, groups, tune=tune, checkpoint=folder, progress=progress)


def _scales(plan: VolumePlan) -> int:
    """Return how many scales a residual encoder has: four, or fewer where the plan has."""
    return min(4, len(plan.widths))


def _unet(plan: VolumePlan) -> dict[str, Any]:
    found: dict[str, Any] = {
        "widths": list(plan.widths),
        "strides": [list(one) for one in plan.strides[1:]],
        "kernels": [list(one) for one in plan.kernels],
        "deep": 0 if plan.small else min(_MOST_DEEP, len(plan.widths) - 2),
    }
    if plan.strides[0] != (1, 1, 1):
        found["stem"] = list(plan.strides[0])
    return found


def _segresnet(plan: VolumePlan) -> dict[str, Any]:
    scales = _scales(plan)
    return {
        "first": plan.widths[0],
        "groups": math.gcd(8, plan.widths[0]),
        "blocks_down": [1, 2, 2, 4][:scales],
        "blocks_up": [1] * (scales - 1),
        "deep": 0 if plan.small else min(1, scales - 2),
    }


_BUILT: Mapping[str, Callable[[VolumePlan], dict[str, Any]]] = {"unet3d": _unet, "segresnet3d": _segresnet}

_STAND_IN = VolumePlan(
    spacing=(1.0, 1.0, 1.0), patch_size=(64, 64, 64), batch_size=2, patches_per_scan=2, widths=(32, 64, 128, 256),
    strides=((1, 1, 1), *((2, 2, 2),) * 3), kernels=((3, 3, 3),) * 4,
)  # fmt: skip


def _augmentation(given: Any, spacing: tuple[float, float, float]) -> Any:
    """Return the changes of training volumes, told how large voxels are."""
    from aimed.diagnosis.volume_augmentation import VolumeAugmentation

    if given is False:
        return False
    if isinstance(given, VolumeAugmentation):
        return given
    known = [one.name for one in dataclasses.fields(VolumeAugmentation)]
    chosen: Any = {} if given is True else given
    if not isinstance(chosen, Mapping):
        raise StudyFileError(f"augmentation = {given!r}", f"true, false, or a table of: {', '.join(known)}")
    for name in chosen:
        if name not in known:
            raise UnknownNameError("change of training volumes", str(name), known)
    listed: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in chosen.items()}
    return VolumeAugmentation(**{"spacing": spacing, **listed})


SMALL_UNET3D = VolumeRecipe(
    name="small_unet3d",
    title="Small 3D U-Net",
    description="A narrow 3D U-Net that trains on a processor in minutes.",
    architecture="unet3d",
    rank=0,
    small=True,
    defaults={"max_epochs": 30, "learning_rate": 3e-3, "n_iter_no_change": 10},
)
UNET3D = VolumeRecipe(
    name="unet3d",
    title="3D U-Net",
    description="A 3D U-Net whose depth, strides and sub-volumes follow from the training scans, as in nnU-Net.",
    architecture="unet3d",
    rank=1,
    defaults={"max_epochs": 150, "n_iter_no_change": 30},
)
SEGRESNET3D = VolumeRecipe(
    name="segresnet3d",
    title="3D SegResNet",
    description="The residual encoder and decoder that won BraTS 2018; best where voxels are about as long as wide.",
    architecture="segresnet3d",
    rank=2,
    defaults={"max_epochs": 150, "n_iter_no_change": 30, "learning_rate": 1e-3},
)
