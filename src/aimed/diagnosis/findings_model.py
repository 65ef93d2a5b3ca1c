"""The fitted model of a picture study as one piece: networks, calibration, thresholds, sets and framing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aimed.calibrate.several import SeveralFindings
from aimed.core import BundleError, DataError
from aimed.core.image import Grey
from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.diagnosis.image_rows import ImageRows, in_batches
from aimed.diagnosis.several_networks import without_nan
from aimed.readers.image_cache import VERSION

__all__ = ["FindingsModel", "together"]

Progress = Callable[[float, str], object]

_SCHEMA = 1
_PIXELS = 64 * 224 * 224
_COPIES = 256


def together(size: int) -> int:
    """Return how many pictures of a size go through a network at a time, so that memory does not depend on the size.

    Examples
    --------
    >>> together(224), together(64), together(1024)
    (64, 64, 3)
    """
    return max(1, min(64, _PIXELS // (size * size)))


class FindingsModel(SeveralFindings):
    """What a picture study fits, evaluates and packages.

    Parameters
    ----------
    recipe, title : str
        Name of the model in the catalogue, and the one shown to people.
    classifier : ImageClassifier, fitted
        Of a linear probe its ``classifier_``.
    size : int
        Side of the frames.
    bits : {8, 16}
    labels : mapping of str to str
        What a finding is called; its name where absent.
    parameters : mapping
        Of the recipe, in JSON types.
    seed : int
    approximate : bool
        How training pictures were decoded, see `aimed.readers.radiograph.read_radiograph`.

    Attributes
    ----------
    findings, keys : list of str
    calibrators : list of calibrator or None
        One a finding; None leaves its probability as it is.
    thresholds : float array, shape (k,)
        Risks from which a finding is called present; NaN where none was chosen.
    conformal : ConformalSets or None

    Raises
    ------
    DataError
        If the classifier takes other pictures, or two findings have the same key.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, (40, 1)).astype(float)
    >>> pictures = rng.integers(0, 60, (40, 16, 16)).astype(np.uint8)
    >>> pictures[y[:, 0] == 1, :8] += 120
    >>> network = ImageClassifier(architecture_options={"widths": [4, 8]}, max_epochs=2, early_stopping=False, n_jobs=1)
    >>> network = network.fit(pictures, y, names=["bright top"])
    >>> model = FindingsModel("small_cnn", "Small network", network, size=16, bits=8)
    >>> again = FindingsModel.from_state(model.to_state(), model.weights())
    >>> model.keys, bool((again.risk(pictures) == model.risk(pictures)).all())
    (['bright_top'], True)
    """

    def __init__(
        self,
        recipe: str,
        title: str,
        classifier: ImageClassifier,
        *,
        size: int,
        bits: Literal[8, 16],
        labels: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        approximate: bool = False,
    ) -> None:
        self.recipe, self.title, self.classifier = recipe, title, classifier
        self.size, self.bits, self.approximate = int(size), bits, bool(approximate)
        self.parameters, self.seed = dict(parameters or {}), int(seed)
        super().__init__(classifier.findings_, labels)
        if classifier.shape_ != (self.size, self.size) or not 8 <= self.size <= 4096 or bits not in (8, 16):
            raise DataError(
                f"a network for pictures of {classifier.shape_} pixels", f"frames of {size}, of 8 or 16 bits"
            )

    # ----------------------------------------------------------------------------------------------------- predicting

    def members(self, pictures: Grey) -> NDArray[np.float64]:
        """Return uncalibrated probabilities of each network and each changed copy of some pictures, shape (m, b, k).

        Parameters
        ----------
        pictures : uint8 or uint16 array, shape (b, size, size)
            Framed as in training. All go through the network at once or nearly so; `raw` and its like take any number.
        """
        return self.classifier.predict_members(pictures)

    def settled(self, members: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the calibrated mean of what the networks say, and its standard deviation between them, each (b, k).

        The deviation is that of the calibrated probabilities; NaN where there is only one network and no changed copy.
        """
        risk = self.calibrated(members.mean(axis=0))
        if len(members) < 2:
            return risk, np.full_like(risk, np.nan)
        return risk, np.std([self.calibrated(one) for one in members], axis=0, ddof=1)

    def raw(self, images: Any, progress: Progress | None = None) -> NDArray[np.float64]:
        """Return uncalibrated probabilities, shape (n, k).

        Parameters
        ----------
        images : array-like, shape (n, size, size)
            An array, a memory map, an `ImageSet`, an image cache or `ImageRows`; read some at a time.
        progress : callable, optional
            ``progress(share, text)``.
        """
        return np.concatenate([members.mean(axis=0) for members in self._each(images, progress)])

    def risk(self, images: Any, progress: Progress | None = None) -> NDArray[np.float64]:
        """Return calibrated probabilities, shape (n, k); see `raw`."""
        return self.calibrated(self.raw(images, progress))

    def uncertain(
        self, images: Any, progress: Progress | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return risk and its spread, each (n, k); see `raw` and `settled`."""
        risk, spread = zip(*(self.settled(members) for members in self._each(images, progress)), strict=True)
        return np.concatenate(risk), np.concatenate(spread)

    def _each(self, images: Any, progress: Progress | None) -> Iterator[NDArray[np.float64]]:
        part = ImageRows(images)
        expected = np.iinfo(np.uint8 if self.bits == 8 else np.uint16).max
        if part.shape != (self.size, self.size) or part.top != expected:
            raise DataError(
                f"pictures of {part.shape} pixels up to {part.top}",
                f"frames of {self.size} pixels and {self.bits} bits, as in training",
                "read them with the settings of the model",
            )
        for rows in in_batches(len(part), together(self.size)):
            yield self.members(part.take(np.arange(rows.start, rows.stop)))
            if progress is not None:
                progress(rows.stop / len(part), f"{rows.stop:,} of {len(part):,} pictures")

    # -------------------------------------------------------------------------------------------------------- storing

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types, all but its weights."""
        network = self.classifier.to_state()
        return {
            "schema": _SCHEMA,
            "recipe": self.recipe,
            "title": self.title,
            "labels": self.labels,
            "parameters": self.parameters,
            "seed": self.seed,
            "preprocessing": {
                "size": self.size,
                "bits": self.bits,
                "approximate": self.approximate,
                "reader": VERSION,
            },
            "network": {
                **network,
                # Of the machine, not of the model.
                "parameters": {**network["parameters"], "n_jobs": None},
                # Measures of an epoch may not exist; JSON has no word for NaN.
                "history": without_nan(network["history"]),
                "precision": without_nan(network["precision"]),
            },
            **self.calibration_state(),
        }

    def weights(self) -> bytes:
        """Return the weights of all networks as one safetensors file."""
        return self.classifier.weights()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], weights: bytes | None) -> FindingsModel:
        """Rebuild a fitted model from `to_state` and `weights`; None for a model whose networks something else runs.

        Raises
        ------
        BundleError
            If the weights are not those of the state, or pictures would be read otherwise than in training.
        """
        frames = state["preprocessing"]
        if state["schema"] != _SCHEMA or frames["reader"] != VERSION:
            raise BundleError(
                "the model was trained on pictures that another version read",
                f"version {VERSION} of the reader",
                "install the version of aimed that the manifest names, or train again",
            )
        model = cls(
            str(state["recipe"]), str(state["title"]), ImageClassifier.from_state(state["network"], weights),
            size=int(frames["size"]), bits=8 if frames["bits"] == 8 else 16, labels=state["labels"],
            parameters=state["parameters"], seed=int(state["seed"]), approximate=frames["approximate"],
        )  # fmt: skip
        if int(model.classifier.test_time_augmentation) > _COPIES:
            raise BundleError("a model that reads too many changed copies", f"at most {_COPIES}")
        model.restore_calibration(state)
        return model
