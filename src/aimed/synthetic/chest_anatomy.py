"""The chest of one made-up patient: its measures, bones and vessels, in centimetres.

Synthetic and not for clinical use. Axes: x grows to the right of the picture (the left of the patient), y grows
downwards from the tips of the lungs, z grows towards the front; x = z = 0 is the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Anatomy", "Points", "Vessels"]

Floats = npt.NDArray[np.float32]

# Attenuation of bone over that of the soft tissue it replaces, in 1/cm.
_CORTEX = 0.42
_STEP = 0.075


@dataclass(frozen=True, slots=True)
class Points:
    """Points in space that each carry some attenuation.

    Parameters
    ----------
    place : array of shape (m, 3)
        x, y, z in cm.
    mass : array of shape (m,)
        Attenuation times area, in cm2.
    """

    place: Floats
    mass: Floats

    @staticmethod
    def join(parts: list[Points]) -> Points:
        """Return all points of `parts` as one."""
        return Points(np.concatenate([p.place for p in parts]), np.concatenate([p.mass for p in parts]))


@dataclass(frozen=True, slots=True)
class Vessels:
    """The vessel tree of the lungs, as beads along its branches.

    Parameters
    ----------
    place : array of shape (m, 3)
        x, y, z in cm at full inspiration.
    radius : array of shape (m,)
        Radius in cm.
    length : array of shape (m,)
        Length of branch that the bead stands for, in cm.
    """

    place: Floats
    radius: Floats
    length: Floats


def _shell(line: npt.NDArray[np.float64], up: npt.NDArray[np.float64], high: float, deep: float, wall: float) -> Points:
    """Return the bone wall (`wall` cm) of an elliptic tube along `line`, `high` and `deep` being its half axes.

    The tube closes at its ends.
    """
    left = np.minimum(np.arange(len(line)), np.arange(len(line))[::-1]) * _STEP / high
    taper = np.sqrt(np.clip(1 - np.clip(1 - left, 0, 1) ** 2, 0.02, 1))[:, None]
    along = np.gradient(line, axis=0)
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = along / length
    up = up - (up * along).sum(1, keepdims=True) * along
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    out = np.cross(along, up)
    around = max(12, int(np.ceil(2 * np.pi * high / (1.3 * _STEP))))
    angle = np.arange(around) * (2 * np.pi / around)
    a, b = high * np.cos(angle), deep * np.sin(angle)
    arc = np.hypot(high * np.sin(angle), deep * np.cos(angle)) * (2 * np.pi / around)
    across = a[None, :, None] * up[:, None, :] + b[None, :, None] * out[:, None, :]
    place = line[:, None, :] + taper[:, :, None] * across
    mass = _CORTEX * wall * length * arc[None, :] * taper
    return Points(place.reshape(-1, 3).astype(np.float32), mass.reshape(-1).astype(np.float32))


def _sphere(points: int) -> npt.NDArray[np.float64]:
    """Return points spread evenly over the unit sphere, along a spiral."""
    k = np.arange(points) + 0.5
    z, turn = 1 - 2 * k / points, k * np.pi * (1 + np.sqrt(5))
    r = np.sqrt(1 - z**2)
    return np.column_stack([r * np.cos(turn), r * np.sin(turn), z])


def _resample(line: npt.NDArray[np.float64], gap: float = _STEP) -> npt.NDArray[np.float64]:
    """Return `line` with about `gap` cm between its points."""
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, run[-1], max(4, int(run[-1] / gap)))
    return np.stack([np.interp(at, run, line[:, k]) for k in range(line.shape[1])], axis=1)


@dataclass(frozen=True)
class Anatomy:
    """The fixed measures of one patient; every length is in cm.

    Parameters
    ----------
    seed : numpy.random.SeedSequence
        Source of all that varies between patients.
    female : bool
    age : int
        Years; the old have a wider aorta, a more bent spine and a little more heart.
    """

    seed: np.random.SeedSequence
    female: bool
    age: int
    half_width: float = field(init=False)
    half_depth: float = field(init=False)
    lung_height: float = field(init=False)
    fat: float = field(init=False)
    heart_ratio: float = field(init=False)
    heart_tilt: float = field(init=False)
    large_heart: float = field(init=False)
    dome_gap: float = field(init=False)
    dome_drop: float = field(init=False)
    knob: float = field(init=False)
    mediastinum: float = field(init=False)
    bend: tuple[float, float] = field(init=False)
    breast: float = field(init=False)
    bubble: float = field(init=False)
    texture: float = field(init=False)
    bones: Points = field(init=False, repr=False)
    scapulae: Points = field(init=False, repr=False)
    vessels: Vessels = field(init=False, repr=False)

    def __post_init__(self) -> None:
        measures, bones, vessels = (np.random.default_rng(s) for s in self.seed.spawn(3))
        size = float(np.clip(measures.normal(0, 1), -2.2, 2.2))
        old = (self.age - 55) / 20
        values: dict[str, object] = {
            "half_width": (12.3 if self.female else 13.5) + 0.55 * size + measures.normal(0, 0.3),
            "half_depth": (8.2 if self.female else 9.0) + 0.3 * size + 0.3 * old + measures.normal(0, 0.3),
            "lung_height": (23.2 if self.female else 25.2) + 0.7 * size + measures.normal(0, 0.6),
            "fat": float(np.clip(measures.gamma(3.0, 0.75), 0.6, 6.0)),
            "heart_ratio": float(np.clip(measures.normal(0.452 + 0.006 * old, 0.032), 0.36, 0.497)),
            "heart_tilt": float(measures.uniform(22, 48)),
            "large_heart": float(measures.beta(1.4, 2.2)),
            "dome_gap": float(measures.uniform(0.7, 2.0)),
            "dome_drop": float(measures.uniform(3.2, 5.2)),
            "knob": float(np.clip(1.55 + 0.22 * old + measures.normal(0, 0.15), 1.1, 2.5)),
            "mediastinum": float(np.clip(2.7 + 0.12 * size + 0.1 * old + measures.normal(0, 0.2), 2.2, 3.5)),
            "bend": (float(measures.normal(0, 0.25 + 0.1 * max(old, 0))), float(measures.uniform(0, np.pi))),
            "breast": float(np.clip(measures.normal(3.6, 1.4), 1.0, 7.0)) if self.female else 0.0,
            "bubble": float(measures.uniform(0, 1)),
            "texture": float(np.exp(measures.normal(0, 0.25))),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "bones", Points.join([*self._ribs(bones), *self._clavicles(bones)]))
        object.__setattr__(self, "scapulae", Points.join(self._scapulae(bones)))
        object.__setattr__(self, "vessels", self._vessels(vessels))

    def lateral(self, y: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the half width of the inner chest at height `y` (0 above the tips of the lungs)."""
        t = np.clip(y / (0.78 * self.lung_height), 0, 1)
        narrow = np.clip(y / self.lung_height - 0.85, 0, 1)
        return np.asarray(self.half_width * np.sqrt(1 - (1 - t) ** 3.1) * (1 - 0.6 * narrow**2))

    def depth(self, y: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the half depth of the inner chest at height `y`."""
        t = np.clip(y / (0.72 * self.lung_height), 0, 1)
        return np.asarray(self.half_depth * np.sqrt(1 - (1 - t) ** 2.2))

    def spine(self, y: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return x of the middle of the spine at height `y`."""
        amount, phase = self.bend
        return np.asarray(amount * np.sin(y / 7.0 + phase))

    def _ribs(self, rng: np.random.Generator) -> list[Points]:
        gap = 0.098 * self.lung_height * rng.uniform(0.96, 1.04)
        steep = rng.uniform(0.85, 1.2)
        thick = rng.uniform(0.9, 1.15) * (0.9 if self.female else 1.0)
        wall = 0.085 * rng.uniform(0.8, 1.1) * (1 - 0.004 * max(self.age - 50, 0))
        parts = []
        for i in range(11):
            drop = steep * float(np.interp(i, [0, 1, 4, 8, 10], [3.6, 5.0, 7.6, 9.4, 8.5]))
            for side in (-1, 1):
                level = -0.6 + gap * i + rng.normal(0, 0.12)
                wide = max(5.2, float(self.lateral(np.array(level + 0.5 * drop)))) + 0.35
                deep = max(4.0, float(self.depth(np.array(level + 0.5 * drop)))) + 0.35
                end = np.radians(rng.uniform(140, 152) if i < 7 else rng.uniform(112, 135))
                theta = np.linspace(np.radians(9), end, 240)
                line = np.stack(
                    [
                        side * wide * np.sin(theta),
                        level + drop * ((1 - np.cos(theta)) / 2 - 0.085 * np.sin(2 * theta)),
                        -deep * np.cos(theta),
                    ],
                    axis=1,
                )
                line = _resample(line)
                up = np.zeros_like(line)
                up[:, 1] = 1
                high = 0.62 * thick
                tube = _shell(line, up, high, 0.3, wall)
                # The front ends turn into cartilage, which does not show.
                place = np.linspace(0, 1, line.shape[0])
                fade = np.clip((1 - place) / 0.12, 0.0, 1.0)
                around = tube.mass.shape[0] // line.shape[0]
                parts.append(Points(tube.place, (tube.mass * np.repeat(fade, around)).astype(np.float32)))
        return parts

    def _clavicles(self, rng: np.random.Generator) -> list[Points]:
        rise, thick = rng.uniform(2.4, 4.2), rng.uniform(0.5, 0.62) * (0.9 if self.female else 1.0)
        parts = []
        for side in (-1, 1):
            s = np.linspace(0, 1, 160)
            line = np.stack(
                [
                    side * (1.9 + (self.half_width + 1.0) * s),
                    2.9 - rise * s + 0.55 * np.sin(2 * np.pi * s) + rng.normal(0, 0.15),
                    self.half_depth * (0.75 - 0.8 * s) + 1.0 * np.sin(2 * np.pi * s),
                ],
                axis=1,
            )
            line = _resample(line)
            up = np.zeros_like(line)
            up[:, 1] = 1
            parts.append(_shell(line, up, thick, thick * 0.8, 0.15))
        return parts

    def _scapulae(self, rng: np.random.Generator) -> list[Points]:
        parts = []
        w = self.half_width
        for side in (-1, 1):
            glenoid = np.array([w + 3.0, 1.6])
            top, low = np.array([w - 3.2, 0.6]), np.array([w - 1.8, 12.2 + rng.normal(0, 0.4)])

            def flat(
                points: npt.NDArray[np.float64], side: int = side, z: float = -self.half_depth - 0.5
            ) -> npt.NDArray[np.float64]:
                return np.column_stack([side * points[:, 0], points[:, 1], np.full(len(points), z)])

            # Blade: an even grid on the triangle.
            u, v = np.meshgrid(np.arange(0, 1, 0.012), np.arange(0, 1, 0.012))
            keep = u + v < 1
            u, v = u[keep][:, None], v[keep][:, None]
            blade = glenoid + u * (top - glenoid) + v * (low - glenoid)
            area = 0.5 * abs(float(np.linalg.det(np.stack([top - glenoid, low - glenoid]))))
            mass = np.full(len(blade), _CORTEX * 0.16 * area / len(blade), dtype=np.float32)
            parts.append(Points(flat(blade).astype(np.float32), mass))
            spine_end = top + 0.3 * (low - top)
            acromion = glenoid + np.array([1.3, -2.6])
            for a, b, bow, high, wall in (
                (glenoid, low, 0.7, 0.42, 0.14),
                (top, low, -0.2, 0.2, 0.08),
                (spine_end, acromion, -0.5, 0.35, 0.12),
                (top, glenoid + np.array([0.0, -1.0]), 0.2, 0.2, 0.08),
            ):
                s = np.linspace(0, 1, 80)[:, None]
                normal = np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a)
                line = flat(_resample(a + s * (b - a) + bow * np.sin(np.pi * s) * normal))
                up = np.tile([-side * normal[0], normal[1], 0.0], (len(line), 1))
                parts.append(_shell(line, up, high, high, wall))
            # Head and shaft of the humerus.
            arm = np.stack([np.linspace(0, 1, 120)] * 2, axis=1) * [3.4, 17.0] + [w + 5.2, 2.2]
            line = flat(_resample(arm))
            up = np.tile([1.0, 0.0, 0.0], (len(line), 1))
            parts.append(_shell(line, up, 1.1, 1.1, 0.22))
            ball = 2.3 * _sphere(9000)
            centre = np.array([side * (w + 4.8), 1.9, -self.half_depth])
            mass = np.full(len(ball), _CORTEX * 0.09 * 4 * np.pi * 2.3**2 / len(ball), dtype=np.float32)
            parts.append(Points((ball * [0.95, 1, 0.9] + centre).astype(np.float32), mass))
        return parts

    def _vessels(self, rng: np.random.Generator) -> Vessels:
        places, radii, lengths = [], [], []
        for side in (-1, 1):
            place, parent = self._grow(rng, side)
            leaves = np.zeros(len(place))
            child = np.bincount(parent[1:], minlength=len(place))
            leaves[child == 0] = 1
            for k in range(len(place) - 1, 0, -1):
                leaves[parent[k]] += leaves[k]
            radius = np.minimum(0.088 * leaves ** (1 / 3.0), 0.55)
            length = np.linalg.norm(place - place[parent], axis=1)
            places.append(place[1:])
            radii.append(radius[1:])
            lengths.append(length[1:])
        return Vessels(*(np.concatenate(p).astype(np.float32) for p in (places, radii, lengths)))

    def _grow(self, rng: np.random.Generator, side: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Grow a tree from the root of one lung to targets spread over it, each by the shortest way to the tree."""
        targets = 300
        y = self.lung_height * (0.03 + 0.93 * rng.beta(1.5, 1.15, targets))
        wide = self.lateral(y) * 0.975
        inner = np.minimum(self.mediastinum + 0.4, 0.8 * wide)
        x = inner + (wide - inner) * rng.beta(1.05, 0.9, targets)
        z = self.depth(y) * np.sqrt(np.maximum(1 - (x / (wide + 0.05)) ** 2, 0)) * rng.uniform(-0.9, 0.9, targets)
        goal = np.column_stack([x, y, z])
        root = np.array([self.mediastinum + 0.1, 0.43 * self.lung_height + (0.4 if side < 0 else -0.6), -0.5])
        goal = goal[np.argsort(np.linalg.norm(goal - root, axis=1))]
        place, parent, run = np.empty((12000, 3)), np.zeros(12000, dtype=np.int64), np.zeros(12000)
        place[0] = root
        n = 1
        for aim in goal:
            away = np.linalg.norm(place[:n] - aim, axis=1)
            start = int(np.argmin(away + 0.5 * run[:n]))
            gap = float(away[start])
            beads = max(1, int(gap / 0.16))
            beads = min(beads, 12000 - n)
            s = np.linspace(0, 1, beads + 1)[1:, None]
            bow = rng.normal(0, 0.07 * gap, 3)
            path = place[start] + s * (aim - place[start]) + np.sin(np.pi * s) * bow
            place[n : n + beads] = path
            parent[n : n + beads] = np.concatenate([[start], np.arange(n, n + beads - 1)])
            run[n : n + beads] = run[start] + gap * s[:, 0]
            n += beads
        placed = place[:n].copy()
        placed[:, 0] *= side
        return placed, parent[:n]
