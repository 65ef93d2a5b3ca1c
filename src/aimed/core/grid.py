"""Where voxels lie in the body, and changes of a grid that can be undone: turns, boxes and other spacings."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.core.resampling import How, resample

__all__ = ["Crop", "Grid", "Resampling", "Step", "Triple", "Turn", "orientation_of"]

Array: TypeAlias = NDArray[Any]

Triple: TypeAlias = tuple[int, int, int]
"""Voxels along z, y and x."""

_LETTERS = ("LR", "PA", "IS")


def orientation_of(affine: ArrayLike) -> str:
    """Return where the voxel axes x, y, z point, such as ``"RAS"``: to the right, the front and the head.

    Examples
    --------
    >>> orientation_of(np.diag([-1, -1, 2, 1]))
    'LPS'
    """
    turn = np.asarray(affine, dtype=np.float64)[:3, :3]
    cosines = turn / np.sqrt((turn**2).sum(axis=0))
    best = max(itertools.permutations(range(3)), key=lambda p: float(sum(abs(cosines[p[v], v]) for v in range(3))))
    return "".join(_LETTERS[best[v]][int(cosines[best[v], v] > 0)] for v in range(3))


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie.

    Parameters
    ----------
    shape : (int, int, int)
        Voxels along z, y and x.
    affine : float array, shape (4, 4)
        From voxel (x, y, z) to mm in RAS+: x grows to the right, y to the front, z to the head (as in NIfTI).

    Raises
    ------
    DataError
        If the shape is empty or the affine cannot be inverted.

    Examples
    --------
    >>> grid = Grid((10, 20, 30), np.diag([1.0, 2.0, 3.0, 1.0]))
    >>> grid.spacing, grid.orientation, grid.voxel_ml
    ((3.0, 2.0, 1.0), 'RAS', 0.006)
    """

    shape: Triple
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise DataError(f"a grid of {shape} voxels", "at least one voxel along z, y and x")
        usable = affine.shape == (4, 4) and bool(np.isfinite(affine).all())
        if not usable or affine[3].tolist() != [0.0, 0.0, 0.0, 1.0] or not _inverts(affine):
            raise DataError("an affine that places no voxels", "4 x 4 finite numbers that can be inverted")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along (z, y, x)."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(z), float(y), float(x)

    @cached_property
    def orientation(self) -> str:
        """Where the voxel axes x, y, z point; see `orientation_of`."""
        return orientation_of(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def corners(self) -> NDArray[np.float64]:
        """Return the centres of the eight corner voxels in mm, shape (8, 3)."""
        z, y, x = self.shape
        index = np.array(list(itertools.product((0, x - 1), (0, y - 1), (0, z - 1))), dtype=np.float64)
        placed: NDArray[np.float64] = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return placed

    def same_as(self, other: Grid, tolerance: float = 0.01) -> bool:
        """Say whether two grids have the same shape and no corner lies farther apart than a share of the spacing."""
        if self.shape != other.shape:
            return False
        apart = float(np.sqrt(((self.corners() - other.corners()) ** 2).sum(axis=1)).max())
        return apart <= tolerance * min(self.spacing)


def _inverts(affine: NDArray[np.float64]) -> bool:
    # Relative to the lengths of the axes, so that small voxels are no fault.
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return bool((lengths > 0).all() and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-3)


# ---------------------------------------------------------------------------------------------- changes with a way back


class Step(Protocol):
    """One change of a grid that can be undone; `before` and `after` are the grids on its two sides."""

    @property
    def before(self) -> Grid:
        """The grid before the change."""

    @property
    def after(self) -> Grid:
        """The grid after the change."""

    def there(self, values: Array, how: How, fill: float) -> Array:
        """Return values of the grid before on the grid after; `values` is (..., z, y, x)."""

    def back(self, values: Array, how: How, fill: float) -> Array:
        """Return values of the grid after on the grid before."""


def _moved(grid: Grid, shape: Triple, matrix: NDArray[np.float64]) -> Grid:
    """Return the grid whose voxel v lies where voxel matrix @ v of another lies."""
    return Grid(shape, grid.affine @ matrix)


@dataclass(frozen=True, eq=False)
class Turn:
    """Axes put in another order and reversed: exact in both directions.

    Parameters
    ----------
    before : Grid
    axes : (int, int, int)
        For each new axis (z, y, x), which axis it was.
    flips : (bool, bool, bool)
        For each new axis, whether it runs the other way.
    """

    before: Grid
    axes: Triple
    flips: tuple[bool, bool, bool]

    @classmethod
    def to(cls, grid: Grid, code: str) -> Turn:
        """Return the turn of a grid to an orientation code.

        Raises
        ------
        DataError
            If the code does not name right or left, front or back, head or feet once each.
        """
        code = code.upper()
        if len(code) != 3 or sorted(_axis_of(letter) for letter in code) != [0, 1, 2]:
            raise DataError(f"an orientation '{code}'", "three letters such as RAS, LPS or PIR")
        now = grid.orientation
        from_axis = [next(v for v in range(3) if _axis_of(now[v]) == _axis_of(letter)) for letter in code]
        flips = [now[v] != letter for v, letter in zip(from_axis, code, strict=True)]
        z, y, x = (2 - v for v in reversed(from_axis))
        return cls(grid, (z, y, x), (flips[2], flips[1], flips[0]))

    @cached_property
    def after(self) -> Grid:
        """The grid after the turn."""
        shape = tuple(self.before.shape[a] for a in self.axes)
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[2 - old, 2 - new] = -1.0 if flip else 1.0
            if flip:
                matrix[2 - old, 3] = shape[new] - 1
        return _moved(self.before, (shape[0], shape[1], shape[2]), matrix)

    def there(self, values: Array, how: How, fill: float) -> Array:
        """Return turned values."""
        lead = values.ndim - 3
        turned = values.transpose(*range(lead), *(lead + a for a in self.axes))
        return np.ascontiguousarray(np.flip(turned, tuple(lead + k for k in range(3) if self.flips[k])))

    def back(self, values: Array, how: How, fill: float) -> Array:
        """Return values turned back."""
        lead = values.ndim - 3
        straight = np.flip(values, tuple(lead + k for k in range(3) if self.flips[k]))
        inverse = [self.axes.index(k) for k in range(3)]
        return np.ascontiguousarray(straight.transpose(*range(lead), *(lead + a for a in inverse)))


def _axis_of(letter: str) -> int:
    return next((k for k, pair in enumerate(_LETTERS) if letter in pair), -1)


@dataclass(frozen=True, eq=False)
class Crop:
    """A box cut out of a grid, or a border put around it: exact inside the box.

    Parameters
    ----------
    before : Grid
    start : (int, int, int)
        First voxel of the box along (z, y, x); negative where a border is added.
    shape : (int, int, int)
        Of the box.
    """

    before: Grid
    start: Triple
    shape: Triple

    @cached_property
    def after(self) -> Grid:
        """The grid of the box."""
        matrix = np.eye(4)
        matrix[:3, 3] = self.start[::-1]
        return _moved(self.before, self.shape, matrix)

    def there(self, values: Array, how: How, fill: float) -> Array:
        """Return the box; what lies outside the grid is filled."""
        return _boxed(values, self.start, self.shape, fill)

    def back(self, values: Array, how: How, fill: float) -> Array:
        """Return the box put back; what lay outside it is filled."""
        z, y, x = (-s for s in self.start)
        return _boxed(values, (z, y, x), self.before.shape, fill)


def _boxed(values: Array, start: Triple, shape: Triple, fill: float) -> Array:
    size = values.shape[-3:]
    low = [max(s, 0) for s in start]
    high = [min(s + n, m) for s, n, m in zip(start, shape, size, strict=True)]
    taken: Any = (..., *(slice(a, max(a, b)) for a, b in zip(low, high, strict=True)))
    if tuple(b - a for a, b in zip(low, high, strict=True)) == tuple(shape):
        return np.ascontiguousarray(values[taken])
    found = np.full((*values.shape[:-3], *shape), fill, dtype=values.dtype)
    put: Any = (..., *(slice(a - s, max(a, b) - s) for a, b, s in zip(low, high, start, strict=True)))
    found[put] = values[taken]
    return found


@dataclass(frozen=True, eq=False)
class Resampling:
    """Another spacing along the same axes, about the same centre.

    Parameters
    ----------
    before : Grid
    spacing : (float, float, float)
        Wanted millimetres along (z, y, x), kept exactly; the number of voxels is rounded.
    """

    before: Grid
    spacing: tuple[float, float, float]

    @cached_property
    def _ratio(self) -> tuple[float, ...]:
        return tuple(new / old for new, old in zip(self.spacing, self.before.spacing, strict=True))

    @cached_property
    def after(self) -> Grid:
        """The grid with the wanted spacing."""
        z, y, x = (max(1, int(np.floor(n / r + 0.5))) for n, r in zip(self.before.shape, self._ratio, strict=True))
        matrix = np.diag([*self._ratio[::-1], 1.0])
        matrix[:3, 3] = [at[0] for at in self._positions((z, y, x))[::-1]]
        return _moved(self.before, (z, y, x), matrix)

    def _positions(self, shape: Triple) -> list[NDArray[np.float64]]:
        return [_centred(new, old, r) for new, old, r in zip(shape, self.before.shape, self._ratio, strict=True)]

    def there(self, values: Array, how: How, fill: float) -> Array:
        """Return values at the new voxels."""
        return resample(values, self._positions(self.after.shape), how)

    def back(self, values: Array, how: How, fill: float) -> Array:
        """Return values at the old voxels."""
        sides = zip(self.before.shape, self.after.shape, self._ratio, strict=True)
        return resample(values, [_centred(old, new, 1 / r) for old, new, r in sides], how)


def _centred(n: int, other: int, ratio: float) -> NDArray[np.float64]:
    """Return where n voxels, `ratio` apart, lie among `other` voxels about the same centre."""
    return np.asarray((np.arange(n) - (n - 1) / 2) * ratio + (other - 1) / 2, dtype=np.float64)
