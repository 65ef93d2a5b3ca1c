"""What a study needs to know of a model of pictures: its name, how simple it is, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import StudyFileError, UnknownNameError
from aimed.diagnosis.image_classifier import ImageClassifier

if TYPE_CHECKING:
    from aimed.diagnosis.initial_weights import InitialWeights
    from aimed.diagnosis.silver_labels import SilverLabels

__all__ = ["DENSENET121", "LINEAR_PROBE", "SMALL_CNN", "PictureRecipe"]

Progress = Callable[[float, str], None]
_FIXED = ("random_state", "n_jobs", "early_stopping", "initial_weights", "uncertain", "cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRecipe:
    """One line of the catalogue of picture models, as the study flow sees it.

    Parameters
    ----------
    name, title, description : str
    architecture : str
        A name of `aimed.diagnosis.NETWORKS`.
    rank : int
        Place by simplicity, the simplest first.
    probe : bool
        Whether only heads are fitted, on features that stay as they are.
    least : int
        Smallest side of a picture, in pixels, of which the last maps have more than one pixel: heat maps need them.
    defaults : mapping
        Parameters of the classifier or the probe.
    """

    name: str
    title: str
    description: str
    architecture: str
    rank: int
    probe: bool = False
    least: int = 16
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
        known = [n for n in self._kind()._get_param_names() if n not in _FIXED and n != "architecture"]
        for name in given:
            if name in _FIXED or name == "architecture":
                raise StudyFileError(
                    f"[model] parameters.{self.name}.{name} is set by the study", f"one of: {', '.join(known)}"
                )
            if name not in known:
                raise UnknownNameError(f"parameter of {self.name}", name, known)
        return {**self.defaults, **given}

    def check(self, given: Mapping[str, Any], outputs: int) -> None:
        """Build the model without fitting it, so that what cannot be is said before any picture is read.

        Parameters
        ----------
        given : mapping
            Parameters of a study file.
        outputs : int
            Findings.

        Raises
        ------
        UnknownNameError
            If a parameter, or what it names, does not exist.
        StudyFileError
            If a value is out of range, or the architecture does not take an option.
        MissingExtraError
            If a package of the extra "deep" is missing.
        """
        from aimed.diagnosis.pooled_network import build_network

        chosen = self.parameters(given)
        if not self.probe:
            ImageClassifier(self.architecture, **chosen)._check()
        build_network(self.architecture, outputs, chosen.get("architecture_options"))

    def _kind(self) -> Any:
        from aimed.diagnosis.linear_probe import LinearProbe

        return LinearProbe if self.probe else ImageClassifier

    def fit(
        self,
        images: Any,
        labels: NDArray[np.float64],
        groups: NDArray[Any],
        *,
        names: Sequence[str],
        tune: NDArray[np.bool_],
        parameters: Mapping[str, Any],
        seed: int,
        silver: SilverLabels | None = None,
        weights: InitialWeights | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> ImageClassifier:
        """Fit on pictures of the training part; those that tune only say when to stop.

        Parameters
        ----------
        images : array-like, shape (n, y, x)
        labels : float array, shape (n, k)
            0, 1, NaN.
        groups : array, shape (n,)
        names : k strings
        tune : bool array, shape (n,)
        parameters : mapping
        seed : int
        silver : SilverLabels, optional
            For training alone.
        weights : InitialWeights, optional
        folder : path, optional
            For checkpoints and features; a training that was stopped goes on from there.
        progress : callable, optional
        """
        chosen = self.parameters(parameters)
        common: dict[str, Any] = {"initial_weights": weights, "random_state": seed}
        if self.probe:
            from aimed.diagnosis.image_rows import ImageRows

            probe = self._kind()(self.architecture, cache=folder, **common, **chosen)
            learns = np.flatnonzero(~tune)
            taught = None if silver is None else silver.take(learns)
            probe.fit(ImageRows(images, learns), labels[learns], groups[learns], names=names, silver=taught)
            classifier: ImageClassifier = probe.classifier_
            return classifier
        return ImageClassifier(self.architecture, **common, **chosen).fit(
            images,
            labels,
            groups,
            names=names,
            tune=tune,
            silver=silver,
            checkpoint=None if folder is None else folder,
            progress=progress,
        )


LINEAR_PROBE = PictureRecipe(
    name="linear_probe",
    title="Linear probe on DenseNet-121",
    description=(
        "A logistic regression for each finding on the features of a DenseNet-121 that stays as it is. Without weights "
        "of a user, or some that were pretrained without labels, its features are those of a random network."
    ),
    architecture="densenet121",
    rank=0,
    probe=True,
    least=64,
)
SMALL_CNN = PictureRecipe(
    name="small_cnn",
    title="Small residual network",
    description="A small residual network, trained on the pictures of the training part.",
    architecture="small_cnn",
    rank=1,
)
DENSENET121 = PictureRecipe(
    name="densenet121",
    title="DenseNet-121",
    description="A densely connected network of 121 layers, trained on the pictures of the training part.",
    architecture="densenet121",
    rank=2,
    least=64,
)
