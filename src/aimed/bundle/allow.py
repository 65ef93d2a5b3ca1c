"""The fixed list of types a packaged estimator may be made of, and the checks before and after it is rebuilt."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray

from aimed.bundle.members import dump, parse
from aimed.core import BundleError

__all__ = [
    "ALLOWED_LOADERS",
    "ALLOWED_TYPES",
    "dump_estimator",
    "dump_estimators",
    "load_estimator",
    "load_estimators",
]

_BOOSTING = "sklearn.ensemble._hist_gradient_boosting"

ALLOWED_TYPES = frozenset(
    {
        "builtins.dict",
        "builtins.list",
        "builtins.str",
        "builtins.tuple",
        "numpy.float64",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.random._generator.Generator",
        "numpy.uint64",
        f"{_BOOSTING}.binning._BinMapper",
        f"{_BOOSTING}.gradient_boosting.HistGradientBoostingClassifier",
        f"{_BOOSTING}.gradient_boosting.HistGradientBoostingRegressor",
        f"{_BOOSTING}.predictor.TreePredictor",
        "aimed.treatment.gaussian_process.GaussianProcess",
        "aimed.treatment.quantile_codes.QuantileCodes",
        "aimed.treatment.ridge.RidgeByValidation",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.dummy.DummyRegressor",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.RidgeCV",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._tree.Tree",
    }
)
"""Every type our own estimators need, and no other; the list is never read from a bundle."""

ALLOWED_LOADERS = frozenset(
    {
        "DictNode",
        "JsonNode",
        "ListNode",
        "LossNode",
        "NdArrayNode",
        "ObjectNode",
        "RandomGeneratorNode",
        "TreeNode",
        "TupleNode",
        "TypeNode",
    }
)
"""Ways skops may rebuild a node; those that look up functions, methods or partials are not among them."""

_MAX_BYTES = 4 << 30
_MAX_ENTRIES = 200_000
_ARRAY = re.compile(r"\d{1,24}\.npy")
_AGAIN = "do not use this bundle unless you trust its source, and then pack it again"


def dump_estimator(estimator: Any) -> bytes:
    """Return an estimator in the skops format, the same bytes for the same estimator.

    Notes
    -----
    skops names arrays by memory addresses and stamps the time; both are replaced, so that hashes repeat.

    Raises
    ------
    BundleError
        If the estimator holds a type that is not on the list.
    """
    packed = skops.io.dumps(estimator)
    numbers: dict[int, int] = {}

    def renumber(node: Any) -> Any:
        if isinstance(node, dict):
            out = {key: renumber(value) for key, value in node.items()}
            if "__id__" in node:
                out["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if isinstance(node.get("file"), str) and _ARRAY.fullmatch(node["file"]):
                address = int(node["file"].removesuffix(".npy"))
                out["file"] = f"{numbers.setdefault(address, len(numbers) + 1)}.npy"
            return out
        return [renumber(value) for value in node] if isinstance(node, list) else node

    with zipfile.ZipFile(io.BytesIO(packed)) as source:
        schema = renumber(parse(source.read("schema.json"), "model.skops"))
        arrays = {name: source.read(name) for name in source.namelist() if name != "schema.json"}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(
            (f"{numbers[int(name.removesuffix('.npy'))]}.npy", data) for name, data in arrays.items()
        ):
            target.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        target.writestr(zipfile.ZipInfo("schema.json"), dump(schema), zipfile.ZIP_DEFLATED)
    data = out.getvalue()
    _inspect(data)
    return data


def dump_estimators(parts: Mapping[str, Any]) -> bytes:
    """Return several estimators by name in one archive; see `dump_estimator`."""
    return dump_estimator(dict(parts))


def load_estimators(data: bytes) -> dict[str, Any]:
    """Rebuild estimators by name from `dump_estimators`.

    Raises
    ------
    BundleError
        As for `load_estimator`, or if a part has no ``predict``.
    """
    parts: dict[str, Any] = _rebuilt(data, dict)
    for name, part in parts.items():
        if not isinstance(name, str) or not hasattr(part, "predict"):
            raise BundleError("model.skops holds a part that does not predict", "fitted estimators by name", _AGAIN)
        try:
            for one in _inner(part):
                if hasattr(one, "_predictors") or hasattr(one, "tree_") or hasattr(one, "estimators_"):
                    _check_trees(one)
        except (AttributeError, TypeError, ValueError, RecursionError):
            raise BundleError("model.skops holds a part that is not as aimed fits it", "fitted parts", _AGAIN) from None
    return parts


def _inner(part: Any) -> list[Any]:
    """Return every step of a pipeline, those of pipelines inside it included, or the part itself."""
    if not hasattr(part, "steps"):
        return [part]
    return [one for _, step in part.steps for one in _inner(step)]


def load_estimator(data: bytes, expected: type) -> Any:
    """Rebuild an estimator from the skops format if it is made of nothing but allowed types.

    Parameters
    ----------
    data : bytes
    expected : type
        What the model's recipe builds; anything else is refused.

    Raises
    ------
    BundleError
        If the archive is damaged or unsafe, holds another type, or its trees point outside themselves.
    """
    estimator = _rebuilt(data, expected)
    _check_trees(estimator)
    return estimator


def _rebuilt(data: bytes, expected: type) -> Any:
    """Return what an archive holds, if it is of the type expected and made of nothing but allowed types."""
    _inspect(data)
    try:
        untrusted = skops.io.get_untrusted_types(data=data)
        if not set(untrusted) <= ALLOWED_TYPES:
            raise BundleError(f"model.skops holds {len(untrusted)} types", "types on the fixed list", _AGAIN)
        estimator = skops.io.loads(data, trusted=untrusted)
    except BundleError:
        raise
    # A damaged archive can fail anywhere inside skops, zipfile, json or numpy; all of it means one thing here.
    except Exception as error:
        raise BundleError(
            f"model.skops cannot be rebuilt ({type(error).__name__})",
            "an estimator packed by aimed",
            "install the versions that the manifest lists, or pack the model again",
        ) from error
    if type(estimator) is not expected:
        raise BundleError("model.skops holds another kind of model", f"a {expected.__name__}", _AGAIN)
    return estimator


def _inspect(data: bytes) -> None:
    """Look at the archive without building anything: entries, sizes, and every type and loader it names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            strange = [n for n in names if n != "schema.json" and not _ARRAY.fullmatch(n)]
            if strange or len(set(names)) != len(names) or len(names) > _MAX_ENTRIES:
                raise BundleError("model.skops holds entries that are no arrays", "numbered arrays", _AGAIN)
            if sum(entry.file_size for entry in entries) > _MAX_BYTES:
                raise BundleError("model.skops unpacks to more than 4 GB", "a smaller model", _AGAIN)
            schema = parse(archive.read("schema.json"), "model.skops")
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise BundleError("model.skops is not a skops archive", "an archive written by aimed", _AGAIN) from None
    for node in _nodes(schema):
        kind = f"{node.get('__module__')}.{node.get('__class__')}"
        if kind not in ALLOWED_TYPES or node.get("__loader__") not in ALLOWED_LOADERS:
            raise BundleError(
                "model.skops names a type that is not on the fixed list", "the models of aimed only", _AGAIN
            )


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.keys() & {"__class__", "__module__", "__loader__"}:
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check_trees(estimator: Any) -> None:
    """Refuse trees whose nodes point outside the tree or back to themselves: compiled code follows them blindly."""
    width = int(estimator.n_features_in_)
    if hasattr(estimator, "_predictors"):
        parts = [predictor for round_ in estimator._predictors for predictor in round_]
        for part in parts:
            nodes = part.nodes
            inner = nodes["is_leaf"] == 0
            _check_nodes(nodes["left"], nodes["right"], nodes["feature_idx"], inner, width)
            if nodes["is_categorical"].any():
                raise BundleError("model.skops holds a tree that splits on sets", "numeric splits", _AGAIN)
        return
    for one in getattr(estimator, "estimators_", None) or [estimator]:
        tree = one.tree_
        # Read first: the node arrays are views over as many nodes as the tree says it has.
        if not 0 < tree.node_count <= tree.capacity:
            raise BundleError("model.skops holds a tree that counts its nodes wrongly", "a well-formed tree", _AGAIN)
        inner = tree.children_left != -1
        _check_nodes(tree.children_left, tree.children_right, tree.feature, inner, width)
        if tree.n_features != width:
            raise BundleError("model.skops holds a tree of another width", f"{width} inputs", _AGAIN)


def _check_nodes(
    left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], inner: NDArray[np.bool_], width: int
) -> None:
    # Children always come after their parent, so a rising index also rules out loops.
    size = inner.size
    own = np.flatnonzero(inner)
    good = size > 0
    for child in (left, right):
        to = child[own].astype(np.int64)
        good = good and bool(((to > own) & (to < size)).all())
    use = feature[own].astype(np.int64)
    if not (good and bool(((use >= 0) & (use < width)).all())):
        raise BundleError("model.skops holds a tree whose nodes point outside it", "a well-formed tree", _AGAIN)
