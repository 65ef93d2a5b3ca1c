"""The brain of one made-up patient: its outline, folds, chambers and nuclei, in millimetres.

Synthetic and not for clinical use. Axes: x grows to the right of the patient, y to the front, z to the head, as in
NIfTI; the origin lies between the thalami. Outlines are rough on purpose: what matters is that tissues lie where they
do in people, in the right amounts, and no two patients are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aimed.synthetic.brain_fields import Axes, Floats, Place, RandomField, capsule, cover, ellipsoid, merge, ramp

__all__ = ["CSF", "DEEP_GREY", "GREY", "WHITE", "Anatomy", "Healthy"]

CSF, GREY, WHITE, DEEP_GREY = range(4)
"""Rows of `Healthy.shares`."""

_CORTEX = 2.8
_REACH = (80.0, 100.0, 90.0)
_MAP_STEP = 2.5
_FAR = 8.0
# Lateral chambers on the right: x, y, z and radius of the ends of each part.
_LATERAL = (
    ((12.0, 33.0, 3.0, 3.5), (8.5, 12.0, 14.0, 5.0)),
    ((8.5, 12.0, 14.0, 5.0), (13.0, -18.0, 19.0, 5.0)),
    ((13.0, -18.0, 19.0, 5.0), (24.0, -38.0, 8.0, 7.0)),
    ((24.0, -38.0, 8.0, 6.0), (20.0, -60.0, 4.0, 1.5)),
    ((24.0, -38.0, 8.0, 5.0), (32.0, -6.0, -19.0, 2.0)),
)


@dataclass(frozen=True, slots=True)
class Healthy:
    """What fills voxels before a tumour does.

    Parameters
    ----------
    shares : array of shape (4, n)
        Of CSF, cortex, white matter and deep grey matter; they add up to 1.
    cerebrum : array of shape (n,)
        Distance to the surface of the cerebrum in mm, positive inside.
    chambers : array of shape (n,)
        Distance to the surface of the ventricles in mm, positive inside.
    plexus : array of shape (n,)
        Share of choroid plexus, which takes up contrast agent; a part of CSF.
    sulcus : array of shape (n,)
        Share of the folds of the cortex that CSF and vessels fill; a part of CSF.
    """

    shares: Floats
    cerebrum: Floats
    chambers: Floats
    plexus: Floats
    sulcus: Floats


@dataclass(frozen=True)
class Anatomy:
    """The fixed measures of one patient.

    Parameters
    ----------
    seed : numpy.random.SeedSequence
        Source of all that varies between patients.
    female : bool
    age : int
        Years; the old have wider chambers and folds.
    """

    seed: np.random.SeedSequence
    female: bool
    age: int
    size: float = field(init=False)
    stretch: tuple[float, float, float] = field(init=False)
    chambers: float = field(init=False)
    sulci: float = field(init=False)
    outer: float = field(init=False)
    sylvian: tuple[float, float] = field(init=False)
    egg: float = field(init=False)
    _bends: tuple[RandomField, ...] = field(init=False, repr=False)
    _folds: Floats = field(init=False, repr=False)
    _depths: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        measures, bends, folds = (np.random.default_rng(s) for s in self.seed.spawn(3))
        old = float(np.clip((self.age - 55) / 25, -1.5, 1.6))
        values: dict[str, object] = {
            "size": float(np.clip((0.93 if self.female else 0.975) + measures.normal(0, 0.022), 0.86, 1.03)),
            "stretch": tuple(float(v) for v in np.clip(measures.normal(1, 0.02, 3), 0.96, 1.04)),
            "chambers": float(np.clip(np.exp(0.22 * old + measures.normal(0, 0.16)), 0.6, 1.6)),
            "sulci": float(np.clip(0.75 + 0.3 * old + measures.normal(0, 0.12), 0.3, 1.5)),
            "outer": float(np.clip(1.3 + 0.7 * old + measures.normal(0, 0.3), 0.4, 3.2)),
            "sylvian": (float(measures.normal(-8, 1.5)), float(measures.normal(0.33, 0.05))),
            "egg": float(np.clip(measures.normal(0.0011, 0.0004), 0.0, 0.002)),
            "_bends": tuple(RandomField.draw(bends, 42.0, _REACH) for _ in range(3)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        deep, map_ = _fold_map(folds)
        object.__setattr__(self, "_depths", deep)
        object.__setattr__(self, "_folds", map_)

    def places(self, axes: Axes) -> Place:
        """Return where the points of a grid (mm) lie in the plan that all patients share."""
        moved = []
        for k, bend in enumerate(self._bends):
            scale = np.float32(1 / (self.size * self.stretch[k]))
            shape = [1, 1, 1]
            shape[2 - k] = -1
            moved.append(axes[k].reshape(shape) * scale + np.float32(2.2) * bend.on(axes))
        x, y, z = moved
        return x * (1 + np.float32(self.egg) * y), y, z

    def hull(self, place: Place) -> Floats:
        """Return the distance to the surface of the brain with the CSF around it, positive inside."""
        cerebrum, cerebellum, stem = self.parts(place)
        return merge(merge(cerebrum, cerebellum, 5.0), stem, 4.0)

    def parts(self, place: Place) -> tuple[Floats, Floats, Floats]:
        """Return the distances to the surfaces of the cerebrum, the cerebellum and the stem, positive inside."""
        _, y, z = place
        dome = ellipsoid(place, (0.0, -3.0, 6.0), (68.0, 86.0, 68.0))
        # The base rises in front over the eyes, and behind over the cerebellum.
        base = z + 24 - 8 * np.clip((y - 20) / 40, 0, 1) - 14 * np.clip((-30 - y) / 25, 0, 1)
        upper = -merge(-dome, -base.astype(np.float32), 9.0)
        temporal = ellipsoid(place, (41.0, 1.0, -21.0), (24.0, 41.0, 22.0), mirrored=True)
        cerebrum = merge(upper, temporal, 6.0)
        cerebellum = ellipsoid(place, (0.0, -55.0, -36.0), (52.0, 33.0, 26.0))
        pons = ellipsoid(place, (0.0, -20.0, -37.0), (18.0, 15.0, 18.0))
        stem = merge(pons, capsule(place, (0.0, -12.0, -8.0, 15.0), (0.0, -33.0, -72.0, 9.5)), 5.0)
        return cerebrum, cerebellum, stem

    def lateral(self, place: Place) -> Floats:
        """Return the distance to the surface of the ventricles, positive inside."""
        x, y, z = place
        wide = np.abs(x)
        tubes = []
        for start, end in _LATERAL:
            first, last = ((*e[:3], e[3] * self.chambers) for e in (start, end))
            tubes.append(capsule((wide, y, z), first, last))
        found = tubes[0]
        for tube in tubes[1:]:
            found = merge(found, tube, 2.0)
        found = np.minimum(found, wide - np.float32(0.9))
        third = ellipsoid(place, (0.0, -5.0, -1.0), (2.0 * self.chambers, 14.0, 9.0))
        fourth = ellipsoid(place, (0.0, -38.0, -36.0), (6.0 * self.chambers, 5.0, 8.0))
        return np.asarray(np.maximum(found, np.maximum(third, fourth)), dtype=np.float32)

    def healthy(self, place: Place, hull: Floats, voxel: float) -> Healthy:
        """Return what fills voxels of side `voxel` mm at `place`, arrays of shape (n,), `hull` mm below the surface."""
        voxel /= self.size
        cerebrum, cerebellum, stem = self.parts(place)
        chambers = self.lateral(place)
        wide = np.abs(place[0])

        fluid, cortex = self._outer(hull, voxel)
        sulcus = np.zeros_like(fluid)
        at = np.flatnonzero((cerebrum > cerebellum) & (cerebrum > stem - 4))
        mine: Place = (place[0][at], place[1][at], place[2][at])
        own_fluid, own_cortex, folds = self._cerebral(mine, hull[at], voxel)
        fluid[at] = np.maximum(fluid[at], own_fluid)
        cortex[at] = np.maximum(cortex[at], own_cortex)
        sulcus[at] = folds
        at = np.flatnonzero((cerebellum > cerebrum) & (cerebellum > stem))
        own_fluid, own_cortex = _cerebellar((wide[at], place[1][at], place[2][at]), cerebellum[at], voxel)
        fluid[at] = np.maximum(fluid[at], own_fluid)
        cortex[at] = np.maximum(cortex[at], own_cortex)
        # The stem has no cortex, and a gap with a tent of dura parts cerebrum and cerebellum.
        cortex *= 1 - ramp(stem - np.maximum(cerebrum, cerebellum) + 2, 4.0)
        gap = cover(np.abs(cerebrum - cerebellum) / 2, 1.0, voxel) * ramp(-1 - stem, 2.0)
        fluid = np.maximum(fluid, gap * (np.minimum(cerebrum, cerebellum) > -6))

        cortex = np.clip(cortex - fluid, 0, 1)
        deep = ramp(self._nuclei(place), voxel) * (1 - fluid)
        cavity = ramp(chambers, voxel)
        white = np.clip(1 - fluid - cortex, 0, 1)
        tissue = [np.maximum(fluid, cavity), cortex, white, deep]
        tissue[GREY] = cortex * (1 - deep)
        tissue[WHITE] = white * (1 - deep)
        solid = tissue[GREY] + tissue[WHITE] + deep
        scale = (1 - tissue[CSF]) / np.maximum(solid, 1e-6)
        shares = np.stack([tissue[CSF] + (solid <= 1e-6) * (1 - tissue[CSF]), *(t * scale for t in tissue[1:])])
        plexus = ramp(ellipsoid(place, (22.0, -35.0, 9.0), (3.5, 7.0, 4.0), mirrored=True), voxel) * cavity
        return Healthy(shares.astype(np.float32), cerebrum, chambers, plexus, sulcus)

    def _outer(self, hull: Floats, voxel: float) -> tuple[Floats, Floats]:
        return ramp(self.outer - hull, voxel), ramp(self.outer + _CORTEX - hull, voxel)

    def _nuclei(self, place: Place) -> Floats:
        c = 1.5 * (self.chambers - 1)
        shapes = (
            ((15.5 + 2 * c, 14.0, 9.0), (4.5, 11.0, 9.0)),
            ((26.0 + c, 3.0, 2.0), (6.5, 17.0, 10.0)),
            ((11.5 + c, -14.0, 4.0), (9.0, 13.0, 9.0)),
        )
        one, *others = (ellipsoid(place, centre, half, mirrored=True) for centre, half in shapes)
        return np.asarray(np.maximum.reduce([one, *others]), dtype=np.float32)

    def _cerebral(self, place: Place, hull: Floats, voxel: float) -> tuple[Floats, Floats, Floats]:
        """Return shares of CSF, of CSF and cortex, and of CSF in the folds."""
        x, y, z = place
        wide = np.abs(x)
        # The fissure between the halves ends at the callosum.
        core = ellipsoid((np.zeros_like(x), y, z), (0.0, -4.0, 1.0), (1e3, 46.0, 27.0))
        fissure = np.hypot(wide, np.clip(core, 0, None))
        level, slope = self.sylvian
        flat = z - np.float32(level) + np.float32(slope) * (y - 10)
        end = np.maximum.reduce([np.float32(34) - wide, y - 34, -32 - y, np.zeros_like(y)])
        sylvian = np.hypot(flat * np.float32(0.95), end)
        end = np.maximum.reduce([np.abs(flat - 1) - 11, np.abs(y - 3) - 23, np.zeros_like(y)])
        insula = np.hypot(wide - 37 - np.float32(0.004) * (y - 3) ** 2, end)
        sylvian = np.minimum(sylvian, insula)

        fold, deep = self._fold(place)
        fold = np.hypot(fold, np.clip(hull - deep, 0, None))
        narrow = np.float32(self.sulci)
        pairs = ((fissure, 0.9 * self.sulci), (sylvian, 1.3 * self.sulci), (fold, float(narrow)))
        folds = cover(fold, float(narrow), voxel)
        fluid = np.maximum.reduce([cover(d, w, voxel) for d, w in pairs])
        cortex = np.maximum.reduce([cover(d, w + _CORTEX, voxel) for d, w in pairs])
        return fluid, cortex, folds

    def _fold(self, place: Place) -> tuple[Floats, Floats]:
        """Return the distance to the middle of the nearest fold, and how deep folds go there."""
        x, y, z = place
        square = (x / 68) ** 2 + ((y + 3) / 86) ** 2 + ((z - 4) / 66) ** 2
        # Folds run inwards: a point looks at the map of the surface above it.
        pull = np.maximum(square, np.float32(0.05)) ** np.float32(-0.42)
        at = np.stack([
            (v * pull + r) / _MAP_STEP for v, r in zip((z - 4, y + 3, x), _REACH[::-1], strict=True)
        ])  # fmt: skip
        fold = ndimage.map_coordinates(self._folds, at, order=1, mode="nearest")
        deep = ndimage.map_coordinates(self._depths, at / 4, order=1, mode="nearest")
        # The middle of the base has none.
        deep = deep * np.clip((np.sqrt(square) - 0.52) / 0.12, 0, 1) - 3 * (square < 0.27)
        return np.abs(fold) / np.maximum(pull, 1), deep


def _fold_map(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return maps of the surface: how deep folds go, and the signed distance to the middle of the nearest one in mm."""
    x, y, z = (np.arange(-r, r + _MAP_STEP, _MAP_STEP, dtype=np.float32) for r in _REACH)
    pattern = RandomField.draw(rng, 8.0, _REACH)
    value = pattern.on((x, y, z))
    steep = np.sqrt(sum(g**2 for g in np.gradient(value, _MAP_STEP)))
    distance = np.clip(value / np.maximum(steep, np.float32(0.03)), -_FAR, _FAR)
    deep = RandomField.draw(rng, 16.0, _REACH).on((x[::4], y[::4], z[::4]))
    return np.clip(15 + 5 * deep, 4, 24).astype(np.float32), distance.astype(np.float32)


def _cerebellar(place: Place, inside: Floats, voxel: float) -> tuple[Floats, Floats]:
    """Return shares of CSF and of CSF and cortex: leaves of cortex on a small tree of white matter."""
    wide, y, z = place
    down, back = z + 36, y + 34
    turn: npt.NDArray[np.floating] = np.arctan2(down, -back) * 13
    leaf = np.abs(np.sin(turn)) * np.hypot(down, back) / 13
    leaf = np.hypot(leaf, np.clip(inside - 13, 0, None)).astype(np.float32)
    fluid = np.maximum(ramp(1 - inside, voxel), cover(leaf, 0.45, voxel))
    cortex = np.maximum(ramp(4.5 - inside, voxel), cover(leaf, 2.6, voxel))
    worm = ramp(4 - wide, 4.0) * ramp(-inside + 16, 6.0)
    return fluid, np.maximum(cortex, 0.7 * worm)
