"""Real data sets that ship with other packages, under one spelling: ``builtin:name``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aimed.core import MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BUILTIN", "BuiltinSet", "load"]


@dataclass(frozen=True, slots=True)
class BuiltinSet:
    """One data set of another package: which package, what it is, and how to get it."""

    package: str
    install: str
    summary: str
    fetch: Callable[[], dict[str, Any]]


def _sklearn(name: str) -> Callable[[], dict[str, Any]]:
    def fetch() -> dict[str, Any]:
        data = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
        names = [str(f).replace(" ", "_") for f in data.feature_names]
        columns = {n: data.data[:, j] for j, n in enumerate(names)}
        # scikit-learn codes 0 = malignant; a clinical reader expects the disease to be the positive class.
        return {**columns, "diagnosis": [str(data.target_names[t]) for t in data.target]}

    return fetch


def _lifelines(name: str) -> Callable[[], dict[str, Any]]:
    def fetch() -> dict[str, Any]:
        frame = getattr(importlib.import_module("lifelines.datasets"), f"load_{name}")()
        return {str(c): frame[c].tolist() for c in frame.columns}

    return fetch


def _sksurv(name: str) -> Callable[[], dict[str, Any]]:
    def fetch() -> dict[str, Any]:
        X, y = getattr(importlib.import_module("sksurv.datasets"), f"load_{name}")()
        columns: dict[str, Any] = {}
        for c in X.columns:
            if X[c].dtype.kind == "f":
                columns[str(c)] = X[c].to_numpy()
            else:
                columns[str(c)] = [None if v != v else str(v) for v in X[c].astype(object)]
        for field in y.dtype.names:
            columns[field] = y[field].astype(int) if y[field].dtype == bool else y[field]
        return columns

    return fetch


_DEMO = "pip install 'aimed[demo]'"

BUILTIN: dict[str, BuiltinSet] = {
    "breast_cancer": BuiltinSet(
        "scikit-learn",
        "pip install scikit-learn",
        "569 fine-needle aspirates of breast masses, 30 measurements of cell nuclei (Wisconsin).",
        _sklearn("breast_cancer"),
    ),
    "rossi": BuiltinSet("lifelines", _DEMO, "432 released prisoners, weeks to re-arrest.", _lifelines("rossi")),
    "lymphoma": BuiltinSet(
        "lifelines", _DEMO, "80 patients with lymphoma, stage III or IV, days to death.", _lifelines("lymphoma")
    ),
    "gbsg2": BuiltinSet("lifelines", _DEMO, "686 women with node-positive breast cancer.", _lifelines("gbsg2")),
    "stanford_heart": BuiltinSet(
        "lifelines",
        _DEMO,
        "103 candidates for a heart transplant, start-stop intervals.",
        _lifelines("stanford_heart_transplants"),
    ),
    "whas500": BuiltinSet(
        "scikit-survival", _DEMO, "500 patients after acute myocardial infarction (Worcester).", _sksurv("whas500")
    ),
    "flchain": BuiltinSet(
        "scikit-survival", _DEMO, "7,874 adults, serum free light chains and death.", _sksurv("flchain")
    ),
    "aids": BuiltinSet(
        "scikit-survival", _DEMO, "1,151 patients of the ACTG 320 trial, AIDS or death.", _sksurv("aids")
    ),
    "veterans_lung_cancer": BuiltinSet(
        "scikit-survival", _DEMO, "137 veterans with lung cancer, days to death.", _sksurv("veterans_lung_cancer")
    ),
}


def load(name: str) -> pl.DataFrame:
    """Return a built-in set as a frame, with a column ``id`` of row numbers when it has none.

    Parameters
    ----------
    name : str
        With or without the prefix ``builtin:``.

    Raises
    ------
    UnknownNameError
        If there is no such set.
    MissingExtraError
        If the package that holds it is not installed.

    Examples
    --------
    >>> load("breast_cancer").shape
    (569, 32)
    """
    import polars as pl

    name = name.removeprefix("builtin:")
    if name not in BUILTIN:
        raise UnknownNameError("builtin set", name, BUILTIN)
    source = BUILTIN[name]
    try:
        columns = source.fetch()
    except ImportError:
        raise MissingExtraError(source.package, f"builtin:{name}", source.install) from None
    frame = pl.DataFrame(columns, strict=False)
    if "id" not in frame.columns:
        frame = frame.with_row_index("id", offset=1)
    return frame
