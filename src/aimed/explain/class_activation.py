"""Heat maps of image networks: where in a picture the score of each finding comes from, never inverted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, MissingExtraError, UnknownNameError
from aimed.core.image import Placement

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "heat maps of a network", "pip install 'aimed[deep]'") from None

__all__ = ["METHODS", "Maps", "Method", "activation_maps", "scores_of", "to_source"]

Method: TypeAlias = Literal["grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "occlusion"]
METHODS: tuple[Method, ...] = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "occlusion")
Maps: TypeAlias = NDArray[np.float32]

_NAME_A_LAYER = "hand over the network that returns log odds, or name a convolutional layer with layer="


def activation_maps(
    module: Any,
    images: ArrayLike,
    *,
    method: Method = "grad_cam",
    layer: str | None = None,
    classes: Sequence[int] | None = None,
    batch: int = 32,
    window: int | None = None,
    stride: int | None = None,
    fill: float | None = None,
) -> Maps:
    """Return a heat map of each finding for each picture: larger speaks more for the finding.

    Without `layer` the maps are those whose mean the linear head takes: then all findings come from one forward pass,
    in closed form. With `layer`, gradients are taken from the scores back to that layer and no further.

    Parameters
    ----------
    module : torch module
        Returns scores, shape (n, c), such as log odds. It is run in evaluation mode and left as it was.
    images : float array, shape (n, channels, y, x)
        Standardised as in training.
    method : {"grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "occlusion"}
    layer : str, optional
        Name of a layer with output (n, k, y', x'), as in ``module.named_modules()``. Occlusion has none.
    classes : sequence of int, optional
        Columns of the scores; all when absent.
    batch : int
        Pictures in one forward pass.
    window, stride : int, optional
        Of occlusion, in pixels: an eighth of the shorter side, and half a window.
    fill : float, optional
        What occlusion puts into its window; the mean of each picture when absent.

    Returns
    -------
    float32 array, shape (n, classes, y, x)
        Linear between the centres of the cells of the layer. At least 0, but for occlusion: there it is the mean fall
        of the score over the windows that cover a pixel, below 0 where the pixel speaks against the finding.

    Raises
    ------
    UnknownNameError
        If there is no such method or layer.
    DataError
        If the pictures have another shape or are not finite, a class does not exist, the layer has no maps or is used
        more than once, or no layer is named and the network has no linear head on the mean of its last maps.

    Notes
    -----
    With maps f of N cells and gradient g of the score, Grad-CAM is relu(sum_k mean(g_k) f_k), HiResCAM
    relu(sum_k g_k f_k), LayerCAM relu(sum_k relu(g_k) f_k). Grad-CAM++ weighs by the sum of a relu(g) with
    a = 1 / (2 + g sum(f)), as for the exponential of the score, without that factor. For a linear head w on the means,
    g = w / N everywhere: Grad-CAM and HiResCAM agree, and the cells sum to the score less its bias before they are cut
    at 0.

    References
    ----------
    Selvaraju et al., ICCV 2017 (Grad-CAM). Chattopadhay et al., WACV 2018 (Grad-CAM++). Draelos and Carin, arXiv
    2011.08891 (HiResCAM). Jiang et al., IEEE TIP 2021;30:5875 (LayerCAM). Zeiler and Fergus, ECCV 2014 (occlusion).

    Examples
    --------
    >>> network = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> pictures = np.random.default_rng(0).normal(size=(3, 1, 16, 16))
    >>> activation_maps(network, pictures).shape
    (3, 2, 16, 16)
    >>> activation_maps(network, pictures, method="hires_cam", layer="0", classes=[1]).shape
    (3, 1, 16, 16)
    """
    if method not in METHODS:
        raise UnknownNameError("method of heat maps", method, METHODS)
    pictures = _pictures(images)
    if method == "occlusion":
        if layer is not None:
            raise DataError("occlusion with a layer", "no layer: it only looks at the scores")
        make: Callable[[Any, Any], Any] = _Occlusion(classes, batch, window, stride, fill)
    elif layer is None:
        make = _Pooled(method, classes)
    else:
        make = _Layer(method, classes, layer)
    found = []
    with _evaluating(module) as device:
        # Occlusion runs many copies of each picture and makes its own batches of them.
        for some in torch.split(pictures, 1 if method == "occlusion" else max(1, batch)):
            maps = make(module, some.to(device))
            maps = functional.interpolate(maps.float(), pictures.shape[2:], mode="bilinear", align_corners=False)
            found.append(maps.cpu().numpy())
    return np.concatenate(found)


def scores_of(module: Any, images: ArrayLike, *, batch: int = 32) -> NDArray[np.float64]:
    """Return the scores of pictures in evaluation mode, shape (n, c).

    Parameters
    ----------
    module, images, batch
        As for `activation_maps`.

    Raises
    ------
    DataError
        If the pictures have another shape or are not finite.

    Examples
    --------
    >>> scores_of(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), np.zeros((3, 1, 4, 4))).shape
    (3, 2)
    """
    pictures = _pictures(images)
    with _evaluating(module) as device, torch.no_grad():
        parts = [module(some.to(device)).double().cpu().numpy() for some in torch.split(pictures, max(1, batch))]
    return np.concatenate(parts)


def to_source(maps: ArrayLike, place: Placement) -> Maps:
    """Return maps of a square frame on the pixels of the picture that was put into it.

    Parameters
    ----------
    maps : float array, shape (k, size, size)
    place : Placement
        Where the picture lies in the frame: padding and scale.

    Returns
    -------
    float32 array, shape (k, rows, columns)

    Examples
    --------
    >>> to_source(np.ones((2, 8, 8)), Placement.fit(rows=40, columns=20, size=8)).shape
    (2, 40, 20)
    """
    return np.stack([place.to_source_map(one) for one in np.asarray(maps, dtype=np.float32)])


def _pictures(images: ArrayLike) -> Any:
    found = np.ascontiguousarray(images, dtype=np.float32)
    if found.ndim != 4 or 0 in found.shape:
        raise DataError(f"pictures of shape {found.shape}", "(n, channels, y, x) with at least one picture")
    if not np.isfinite(found).all():
        raise DataError("pictures with values that are not finite", "standardised pixels")
    # A copy: torch warns on arrays that may not be written to, such as those of a cache.
    return torch.tensor(found)


@contextmanager
def _evaluating(module: Any) -> Iterator[Any]:
    """Run in evaluation mode; give the device of the network, and set back what was changed."""
    before = {part: part.training for part in module.modules()}
    first = next(module.parameters(), None)
    module.eval()
    try:
        yield torch.device("cpu") if first is None else first.device
    finally:
        for part, training in before.items():
            part.training = training


def _columns(scores: Any, classes: Sequence[int] | None) -> list[int]:
    """Return the columns asked for, once the scores are seen to be what maps can be made of."""
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
        raise DataError("a network that does not return one row of scores a picture", "scores of shape (n, c)")
    count = scores.shape[1]
    if classes is None:
        return list(range(count))
    wanted = [int(c) for c in classes]
    if not wanted or min(wanted) < 0 or max(wanted) >= count:
        raise DataError(f"classes outside 0 to {count - 1}, or none", "columns of the scores")
    return wanted


class _Pooled:
    """The closed form: a linear head on the mean of the last maps, so that one forward pass gives all findings."""

    def __init__(self, method: Method, classes: Sequence[int] | None) -> None:
        self.method, self.classes = method, classes

    def __call__(self, module: Any, pictures: Any) -> Any:
        with torch.no_grad():
            maps, head, scores = self._seen(module, pictures)
            w = head.weight[_columns(scores, self.classes)].to(maps.dtype)
            g = w / maps[0, 0].numel()
            if self.method == "grad_cam_pp":
                # The gradient is the same in all N cells, and their sum takes the N out again.
                weights = _share(g, maps.sum((2, 3))[:, None]) * w.relu()
                return torch.einsum("nck,nkyx->ncyx", weights, maps).relu()
            return torch.einsum("ck,nkyx->ncyx", g.relu() if self.method == "layer_cam" else g, maps).relu()

    @staticmethod
    def _seen(module: Any, pictures: Any) -> tuple[Any, Any, Any]:
        """Return the maps whose mean is the input of the last linear layer, that layer and the scores."""
        last: dict[str, Any] = {}

        def look(part: Any, given: Any, out: Any) -> None:
            if isinstance(part, nn.Linear):
                last["head"] = (part, given[0], out)
            elif isinstance(out, torch.Tensor) and out.ndim == 4 and out.shape[2:].numel() > 1:
                last["maps"] = out

        hooks = [part.register_forward_hook(look) for part in module.modules() if part is not module]
        try:
            scores = module(pictures)
        finally:
            for hook in hooks:
                hook.remove()
        if {"head", "maps"} <= set(last):
            head, means, out = last["head"]
            if isinstance(scores, torch.Tensor) and scores.shape == out.shape and torch.equal(scores, out):
                # The rectifier may be a function, which no hook sees.
                for maps in (last["maps"], last["maps"].relu()):
                    pooled = maps.to(means.dtype).mean((2, 3))
                    if pooled.shape == means.shape and torch.allclose(pooled, means, rtol=1e-4, atol=1e-5):
                        return maps.to(means.dtype), head, scores
        raise DataError("no linear head on the mean of the last maps", "scores = w mean(maps) + b", _NAME_A_LAYER)


class _Layer:
    """Maps from gradients at a named layer; nothing is kept of what comes before it."""

    def __init__(self, method: Method, classes: Sequence[int] | None, layer: str) -> None:
        self.method, self.classes, self.layer = method, classes, layer

    def __call__(self, module: Any, pictures: Any) -> Any:
        names = dict(module.named_modules())
        if not self.layer or self.layer not in names:
            raise UnknownNameError("layer", self.layer, [name for name in names if name])
        seen: list[Any] = []

        def start_here(part: Any, given: Any, out: Any) -> Any:
            if not isinstance(out, torch.Tensor) or out.ndim != 4:
                raise DataError(f"layer '{self.layer}' has no maps", "a layer with output (n, k, y, x)")
            seen.append(out.detach().requires_grad_())
            torch.set_grad_enabled(True)
            # A copy goes on: what follows may change it in place, which a leaf does not allow.
            return seen[-1].clone()

        hook = names[self.layer].register_forward_hook(start_here)
        try:
            with torch.no_grad():
                scores = module(pictures)
        finally:
            hook.remove()
        if len(seen) != 1:
            raise DataError(f"layer '{self.layer}' is used {len(seen)} times", "once in a forward pass")
        wanted, f = _columns(scores, self.classes), seen[0]
        if not scores.requires_grad:
            raise DataError(f"scores that do not depend on layer '{self.layer}'", "a layer on the way to them")
        maps = []
        for c in wanted:
            with torch.enable_grad():
                (g,) = torch.autograd.grad(scores[:, c].sum(), f, retain_graph=True)
            maps.append(self._combined(f.detach(), g))
        return torch.stack(maps, dim=1)

    def _combined(self, f: Any, g: Any) -> Any:
        if self.method == "grad_cam":
            g = g.mean((2, 3), keepdim=True)
        elif self.method == "layer_cam":
            g = g.relu()
        elif self.method == "grad_cam_pp":
            g = (_share(g, f.sum((2, 3), keepdim=True)) * g.relu()).sum((2, 3), keepdim=True)
        return (g * f).sum(1).relu()


def _share(g: Any, total: Any) -> Any:
    """Return Grad-CAM++'s weight of a cell, g^2 / (2 g^2 + g^3 sum(f)); 0 where it has none."""
    below = 2 + g * total
    return torch.where(below > 0, 1 / below, 0.0)


class _Occlusion:
    """How far the scores fall when a window of the picture is covered; takes one picture at a time."""

    def __init__(
        self, classes: Sequence[int] | None, batch: int, window: int | None, stride: int | None, fill: float | None
    ) -> None:
        for name, value in (("window", window), ("stride", stride)):
            if value is not None and value < 1:
                raise DataError(f"a {name} of {value} pixels", "at least 1")
        self.classes, self.batch, self.window, self.stride, self.fill = classes, max(1, batch), window, stride, fill

    def __call__(self, module: Any, pictures: Any) -> Any:
        rows, columns = pictures.shape[2:]
        size = min(self.window or max(1, min(rows, columns) // 8), rows, columns)
        stride = min(self.stride or max(1, size // 2), size)
        corners = [(y, x) for y in _starts(rows, size, stride) for x in _starts(columns, size, stride)]
        fill = float(pictures.mean()) if self.fill is None else self.fill
        with torch.no_grad():
            whole = module(pictures)
            wanted = _columns(whole, self.classes)
            falls = torch.zeros(len(wanted), rows, columns, dtype=torch.float64, device=pictures.device)
            times = torch.zeros(rows, columns, dtype=torch.float64, device=pictures.device)
            for start in range(0, len(corners), self.batch):
                some = corners[start : start + self.batch]
                covered = pictures.repeat(len(some), 1, 1, 1)
                for one, (y, x) in zip(covered, some, strict=True):
                    one[:, y : y + size, x : x + size] = fill
                fall = (whole - module(covered))[:, wanted].double()
                for one, (y, x) in zip(fall, some, strict=True):
                    falls[:, y : y + size, x : x + size] += one[:, None, None]
                    times[y : y + size, x : x + size] += 1
        return (falls / times)[None]


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Return where windows begin so that they cover a side to its end."""
    return sorted({*range(0, length - size + 1, stride), length - size})
