"""Tumours of the brain phantom: a core of dead, living and enhancing parts, oedema around it, and what they displace.

Synthetic and not for clinical use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aimed.synthetic.brain_anatomy import Anatomy
from aimed.synthetic.brain_fields import Axes, Floats, Place, RandomField, ramp

__all__ = ["KINDS", "Tumour", "TumourShares"]

#: How a tumour looks: an enhancing ring about dead tissue, enhancing throughout, several small rings, hardly enhancing.
KINDS = ("ring", "solid", "nodular", "non-enhancing")

_KIND_RATES = (0.5, 0.15, 0.2, 0.15)
_REACH = 2.6


@dataclass(frozen=True, slots=True)
class TumourShares:
    """What a tumour takes of the voxels of a grid.

    Parameters
    ----------
    core : array of shape (z, y, x)
        Share of the core: dead, living and enhancing parts.
    enhancing : array of shape (z, y, x)
        Share of its enhancing part, not above `core`.
    dead : array of shape (z, y, x)
        Share of dead tissue, with `enhancing` not above `core`.
    edge : array of shape (z, y, x)
        Distance to the surface of the core in mm, positive inside.
    spread : array of shape (z, y, x)
        How far oedema reaches from the core in white matter, in mm.
    """

    core: Floats
    enhancing: Floats
    dead: Floats
    edge: Floats
    spread: Floats


@dataclass(frozen=True)
class Tumour:
    """One tumour of a patient, the same in every scan but for its growth.

    Parameters
    ----------
    seed : numpy.random.SeedSequence
        Source of its place and shape.
    anatomy : Anatomy
        Of the patient; the middle of a tumour lies in white matter.
    small : bool
        A satellite: about half as wide.
    """

    seed: np.random.SeedSequence
    anatomy: Anatomy
    small: bool = False
    kind: str = field(init=False)
    centre: tuple[float, float, float] = field(init=False)
    radius: float = field(init=False)
    shape: Floats = field(init=False, repr=False)
    rough: float = field(init=False)
    rim: float = field(init=False)
    gaps: float = field(init=False)
    islands: float = field(init=False)
    oedema: float = field(init=False)
    pressure: float = field(init=False)
    _fields: tuple[RandomField, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        placing, form, noise = (np.random.default_rng(s) for s in self.seed.spawn(3))
        kind = str(form.choice(KINDS, p=_KIND_RATES))
        radius = float(np.clip(np.exp(form.normal(np.log(19.5), 0.24)), 12, 28)) * (0.55 if self.small else 1.0)
        turn = np.linalg.qr(form.standard_normal((3, 3)))[0]
        axes = np.exp(form.normal(0, 0.2, 3))
        draws = form.uniform(size=5)
        quiet = kind == "non-enhancing"
        rim = {"ring": 2.8 + 3.2 * draws[0], "solid": 0.9 * radius, "nodular": 1.8 + 1.7 * draws[0]}.get(kind, 0.0)
        values: dict[str, object] = {
            "kind": kind,
            "centre": self._place(placing),
            "radius": radius,
            "shape": ((turn / (axes / axes.prod() ** (1 / 3))) @ turn.T).astype(np.float32),
            "rough": float(0.12 + 0.14 * draws[1]),
            "rim": float(rim),
            # Thresholds on noise of spread 1: where the rim is broken, and where living parts stand inside the core.
            "gaps": float(1.2 + 1.2 * draws[2]),
            "islands": float({"nodular": 0.2 + 0.6 * draws[3], "solid": 1.0}.get(kind, 1.6 + draws[3])) + 0.6 * quiet,
            "oedema": float((0.35 + 0.75 * draws[4]) * radius * (0.5 if quiet else 1.0) + 2.5),
            "pressure": float(form.uniform(0.1, 0.38)),
            "_fields": tuple(
                RandomField.draw(noise, gap, (_REACH * 28,) * 3)
                for gap in (0.75 * radius, 0.36 * radius, 0.3 * radius + 2.0, 9.0)
            ),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _place(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Return a place in the white matter of one half, away from surface, midline and chambers."""
        some = rng.uniform((-58, -66, -14), (58, 64, 50), (3000, 3)).astype(np.float32)
        plan: Place = (some[:, 0], some[:, 1], some[:, 2])
        inside = self.anatomy.parts(plan)[0]
        fits = (inside > 15) & (inside < 34) & (np.abs(plan[0]) > 15) & (self.anatomy.lateral(plan) < -7)
        x, y, z = some[np.flatnonzero(fits)[0]].tolist()
        return x, y, z

    def grown(self, growth: float) -> float:
        """Return the radius in mm after the volume has become `growth` times as large."""
        return float(self.radius * np.cbrt(growth))

    def push(self, place: Place, hull: Floats, growth: float) -> Place:
        """Return where the tissue at `place` was before the tumour displaced it."""
        radius = self.grown(growth)
        away = [v - np.float32(c) for v, c in zip(place, self.centre, strict=True)]
        far = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2) + np.float32(1e-3)
        beyond = np.clip(far - radius, 0, None) / np.float32(1.5 * radius)
        moved = np.float32(self.pressure * radius) * np.exp(-(beyond**2)) * np.minimum(far / np.float32(radius), 1)
        # The skull does not give way.
        moved *= np.clip(hull / 22, 0, 1)
        share = moved / far
        x, y, z = (v - a * share for v, a in zip(place, away, strict=True))
        return x, y, z

    def shares(self, axes: Axes, place: Place, voxel: float, growth: float, sharp: float) -> TumourShares:
        """Return what the tumour takes of a grid whose points lie at `place`; `sharp` is 1 for a clear rim."""
        radius = self.grown(growth)
        size = self.anatomy.size
        away = [v - np.float32(c) for v, c in zip(place, self.centre, strict=True)]
        turned = [sum(np.float32(self.shape[k, j]) * away[j] for j in range(3)) for k in range(3)]
        far = np.sqrt(sum(np.square(t) for t in turned))
        # The noise grows with the tumour, so that its shape stays.
        scale = np.float32(1 / (size * np.cbrt(growth)))
        x, y, z = (
            (a * scale - np.float32(c / np.cbrt(growth))).astype(np.float32)
            for a, c in zip(axes, self.centre, strict=True)
        )
        coarse, fine, inner, wide = (f.on((x, y, z)) for f in self._fields)
        bumps = np.float32(self.rough * radius) * (coarse + np.float32(0.45) * fine)
        edge: Floats = np.asarray(radius - far + bumps, dtype=np.float32)
        core = ramp(edge, voxel)
        rim = np.float32(self.rim * (0.75 + 0.25 * sharp)) * (1 + np.float32(0.3) * fine) - edge
        rim = np.minimum(np.minimum(rim, edge + 2), np.float32(2.2) * (np.float32(self.gaps) - coarse - inner / 2))
        islands = (inner + np.float32(0.4) * fine - np.float32(self.islands)) * np.float32(0.16 * radius)
        islands = np.minimum(islands, edge - np.float32(0.5)).astype(np.float32)
        dead = np.zeros_like(core)
        if self.rim:
            enhancing = ramp(np.maximum(rim, islands), voxel) * core
            dead = ramp(edge - np.float32(self.rim + 1.5), 3.0) * (core - enhancing)
        else:
            enhancing = ramp(islands, voxel) * core
        spread = np.float32(self.oedema) * (1 + np.float32(0.45) * wide + np.float32(0.2) * coarse)
        return TumourShares(core, enhancing, dead, edge, np.clip(spread, 1.5, np.float32(1.3 * radius)))

    def box(self, axes: Axes, growth: float) -> tuple[slice, slice, slice]:
        """Return the part of a grid, as (z, y, x), that the tumour and its oedema can reach."""
        reach = (_REACH * self.grown(growth) + 12) * self.anatomy.size
        found = []
        for axis, middle in zip(axes, self.centre, strict=True):
            low, high = np.searchsorted(axis, [middle * self.anatomy.size - reach, middle * self.anatomy.size + reach])
            found.append(slice(int(low), int(high)))
        x, y, z = found
        return z, y, x
