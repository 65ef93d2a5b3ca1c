"""The fitted model of a study of volumes as one piece: preparation, networks, rules, and how sure volumes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import BundleError, DataError
from aimed.core.volume import Volume
from aimed.diagnosis.several_networks import without_nan
from aimed.diagnosis.volume_preparation import VolumePreparation, was_resampled
from aimed.diagnosis.volume_segmenter import Runtime, VolumeSegmenter
from aimed.metrics.evaluate_multilabel import finding_keys

if TYPE_CHECKING:
    from aimed.trust.expected_dice import DiceExpectation
    from aimed.trust.volume_agreement import VolumeInterval

__all__ = ["Outlined", "OutlinesModel"]

Progress: TypeAlias = Callable[[float, str], None]

_SCHEMA = 1
_COPIES = 64


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outlined:
    """What a model says of one scan.

    Parameters
    ----------
    prepared : Volume
        The scan as the networks saw it, with the way back.
    probability : float32 array, shape (k, z, y, x)
        Of each region, on the grid of `prepared`; nothing is cleared away.
    spread : float32 array, shape (k, z, y, x), or None
        Its standard deviation over networks and changed copies; None where there is one of both.
    outlines : bool array, shape (k, z, y, x)
        What is decided there, pieces cleared away.
    masks : bool array, shape (k, z, y, x)
        The same on the grid of the scan as it was read.
    labels : Volume
        The same as a map of labels, uint8.
    soft_dice : dict of str to float
        By key of the region, the Dice that the probabilities foretell as they are.
    expected_dice : dict of str to float or None
        The same as it was on scans that nothing had learned from; None where that was not looked at.
    volumes : dict of str to dict
        By key of the region, ``ml``, and ``lower`` and ``upper`` of its prediction interval, None where none is known.
    """

    prepared: Volume
    probability: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    outlines: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    labels: Volume
    soft_dice: dict[str, float]
    expected_dice: dict[str, float | None]
    volumes: dict[str, dict[str, float | None]]


class OutlinesModel:
    """What a study of volumes fits, evaluates and packages.

    Parameters
    ----------
    recipe, title : str
        Name of the model in the catalogue, and the one shown to people.
    segmenter : VolumeSegmenter, fitted
        On prepared scans.
    preparation : VolumePreparation
    labels : mapping of str to str
        What a region is called; its name where absent.
    parameters : mapping
        Of the recipe, in JSON types.
    seed : int

    Attributes
    ----------
    regions, keys : list of str
    quality : list of DiceExpectation or None
        One a region: what the Dice is expected to be.
    volume_errors : list of VolumeInterval or None
        One a region: how far volumes are off.

    Raises
    ------
    DataError
        If the segmenter takes other channels, or two regions have the same key.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> masks = [np.pad(np.ones((4, 4, 4), dtype=np.uint8), 2) for _ in range(3)]
    >>> scans = [Volume(array=rng.normal(20, 2, (1, 8, 8, 8)) + 20 * m, affine=np.diag([-1, 1, 1, 1])) for m in masks]
    >>> preparation = VolumePreparation(channels=("T1w",))
    >>> ready = [preparation.prepared(scan) for scan in scans]
    >>> network = VolumeSegmenter(
    ...     {"blob": 1}, architecture_options={"widths": [4, 8]}, patch_size=(8, 8, 8), max_epochs=1,
    ...     early_stopping=False, n_jobs=1,
    ... ).fit([one.array for one in ready], masks)
    >>> model = OutlinesModel("small_unet3d", "Small 3D U-Net", network, preparation)
    >>> again = OutlinesModel.from_state(model.to_state(), model.weights())
    >>> one, other = model.outline(scans[0]), again.outline(scans[0])
    >>> one.masks.shape, bool((one.probability == other.probability).all())
    ((1, 8, 8, 8), True)
    """

    def __init__(
        self,
        recipe: str,
        title: str,
        segmenter: VolumeSegmenter,
        preparation: VolumePreparation,
        *,
        labels: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.recipe, self.title, self.segmenter, self.preparation = recipe, title, segmenter, preparation
        self.parameters, self.seed = dict(parameters or {}), int(seed)
        self.regions = [str(name) for name in segmenter.head_.names]
        self.keys = list(finding_keys(self.regions))
        self.labels = {name: str((labels or {}).get(name, name)) for name in self.regions}
        if segmenter.channels_ != len(preparation.channels):
            raise DataError(
                f"networks for {segmenter.channels_} channels", f"{len(preparation.channels)}, as scans are prepared"
            )
        if preparation.keeps_units != (segmenter.scaling_.kind == "window"):
            raise DataError(
                f"scans of the modality {preparation.modality} and networks that scale greys by "
                f"'{segmenter.scaling_.kind}'",
                "'window' for CT, whose units are kept, and 'nonzero' for all else",
                "make scaling and modality fit each other",
            )
        self.quality: list[DiceExpectation | None] = [None] * len(self.regions)
        self.volume_errors: list[VolumeInterval | None] = [None] * len(self.regions)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of a scan, in the order the networks take."""
        return self.preparation.channels

    # ---------------------------------------------------------------------------------------------------- outlining

    def outline(
        self, scan: Volume, *, runtime: Runtime | None = None, progress: Progress | None = None
    ) -> Outlined:  # fmt: skip
        """Outline the regions of one scan.

        Parameters
        ----------
        scan : Volume
            As it was read, or as a cache holds it.
        runtime : callable, optional
            Runs the networks in place of torch; see `VolumeSegmenter.uncertain`.
        progress : callable, optional
            ``progress(share, text)``.

        Raises
        ------
        DataError
            If the scan has other channels, an empty one, or voxels that are not finite.
        """
        return self.outlined(self.preparation.prepared(scan), runtime=runtime, progress=progress)

    def outlined(
        self, prepared: Volume, *, runtime: Runtime | None = None, progress: Progress | None = None
    ) -> Outlined:  # fmt: skip
        """Outline the regions of a scan that is prepared already; see `outline`."""
        from aimed.trust.expected_dice import expected_dice

        probability, spread = self.segmenter.uncertain(prepared.array, runtime=runtime, progress=progress)
        found = self.segmenter.cleaned(self.segmenter.head_.decided(probability))
        masks = self.masks_back(probability, found, prepared)
        soft = [expected_dice(*pair) for pair in zip(probability, found, strict=True)]
        home = prepared.origin
        painted = self.segmenter.head_.painted(masks)
        return Outlined(
            prepared=prepared,
            probability=probability,
            spread=spread if self.members > 1 else None,
            outlines=found,
            masks=masks,
            labels=Volume(array=painted, affine=home.affine, labels=True, modality=prepared.modality),
            soft_dice=dict(zip(self.keys, soft, strict=True)),
            expected_dice={
                key: None if fitted is None else fitted.predict(value)
                for key, fitted, value in zip(self.keys, self.quality, soft, strict=True)
            },
            volumes=self.volumes_of(masks, home.voxel_ml),
        )

    @property
    def members(self) -> int:
        """How many opinions there are on a voxel: networks, and copies of the scan with changed greys."""
        return self.segmenter.n_networks_ * (1 + int(self.segmenter.test_time_augmentation))

    def masks_back(
        self, probability: NDArray[np.float32], masks: NDArray[np.bool_], prepared: Volume
    ) -> NDArray[np.bool_]:
        """Return masks of a prepared scan on the grid of the scan as it was read.

        Parameters
        ----------
        probability : float32 array, shape (k, z, y, x)
        masks : bool array, shape (k, z, y, x)
            What is left of it after the rules.
        prepared : Volume

        Notes
        -----
        Where no spacing was changed, voxels only go back to their places. Otherwise probabilities go back along lines
        and are decided again: outlines of masks would be stairs. What the rules cleared away stays away.
        """
        head = self.segmenter.head_
        if not was_resampled(prepared):
            return np.asarray(self.preparation.back(masks, prepared, "nearest"), dtype=bool)
        # Decided, and yet not in the masks: cleared away.
        away = head.decided(probability) & ~masks
        if head.exclusive:
            left = np.where(away, np.float32(0.0), probability)
            return head.decided(self.preparation.back(left, prepared, "linear"))
        # Region by region, so that memory holds one scan of floats.
        found = [
            self.preparation.back(np.where(gone, np.float32(0.0), chance), prepared, "linear") >= 0.5
            for gone, chance in zip(away, probability, strict=True)
        ]
        return np.stack(found)

    def volumes_of(self, masks: NDArray[np.bool_], voxel_ml: float) -> dict[str, dict[str, float | None]]:
        """Return volumes in ml with their prediction intervals, by key of the region.

        Parameters
        ----------
        masks : bool array, shape (k, z, y, x)
        voxel_ml : float
            Volume of a voxel.
        """
        found: dict[str, dict[str, float | None]] = {}
        for key, mask, known in zip(self.keys, masks, self.volume_errors, strict=True):
            ml = int(np.count_nonzero(mask)) * voxel_ml
            lower, upper = (None, None) if known is None else known.interval(ml)
            found[key] = {
                "ml": ml,
                "lower": None if lower is None else float(lower),
                "upper": None if upper is None else float(upper),
            }
        return found

    # ------------------------------------------------------------------------------------------------------ storing

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types, all but its weights."""
        network = self.segmenter.to_state()
        return {
            "schema": _SCHEMA,
            "recipe": self.recipe,
            "title": self.title,
            "labels": self.labels,
            "parameters": self.parameters,
            "seed": self.seed,
            "preprocessing": self.preparation.to_state(),
            # Threads are of the machine, not of the model; measures of an epoch may not exist, and JSON has no NaN.
            "network": without_nan({**network, "parameters": {**network["parameters"], "n_jobs": None}}),
            "quality": [None if one is None else without_nan(one.to_state()) for one in self.quality],
            "volume_errors": [None if one is None else without_nan(one.to_state()) for one in self.volume_errors],
        }

    def weights(self) -> bytes:
        """Return the weights of all networks as one safetensors file."""
        return self.segmenter.weights()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], weights: bytes | None) -> OutlinesModel:
        """Rebuild a fitted model from `to_state` and `weights`; None for a model whose networks something else runs.

        Raises
        ------
        BundleError
            If the weights are not those of the state, or scans would be prepared otherwise than in training.
        """
        if state["schema"] != _SCHEMA:
            raise BundleError(
                "the model was written by another version", f"version {_SCHEMA}", "install the version of aimed that "
                "the manifest names, or train again",
            )  # fmt: skip
        model = cls(
            str(state["recipe"]), str(state["title"]), VolumeSegmenter.from_state(state["network"], weights),
            VolumePreparation.from_state(state["preprocessing"]), labels=state["labels"],
            parameters=state["parameters"], seed=int(state["seed"]),
        )  # fmt: skip
        if model.members > _COPIES:
            raise BundleError("a model that reads too many changed copies", f"at most {_COPIES}")
        from aimed.trust.expected_dice import DiceExpectation
        from aimed.trust.volume_agreement import VolumeInterval

        quality: Sequence[Any] = state["quality"]
        errors: Sequence[Any] = state["volume_errors"]
        if {len(quality), len(errors)} != {len(model.regions)}:
            raise BundleError(
                f"{len(quality)} expectations and {len(errors)} errors of volumes", f"{len(model.regions)} of each"
            )
        model.quality = [None if one is None else DiceExpectation.from_state(one) for one in quality]
        model.volume_errors = [None if one is None else VolumeInterval.from_state(one) for one in errors]
        return model
