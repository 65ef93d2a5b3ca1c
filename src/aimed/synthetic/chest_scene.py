"""One exposure of one patient: where the anatomy falls on the picture, and how long the beam runs in each part.

Synthetic and not for clinical use. All maps have shape (size, size) and hold cm of beam path.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aimed.synthetic.chest_anatomy import Anatomy, Points, Vessels
from aimed.synthetic.radiography import splat, step

__all__ = ["LUNG_DENSITY", "Position", "Scene"]

Floats = npt.NDArray[np.float32]

#: Density of a well-aired lung; the rest of it is air.
LUNG_DENSITY = 0.27


@dataclass(frozen=True, slots=True)
class Position:
    """How the patient stood or lay in the beam.

    Parameters
    ----------
    view : {"PA", "AP"}
    field : float
        Side of the picture in cm.
    centre : tuple of float
        Body place (x, y) in the middle of the picture, in cm.
    turn : float
        Turn about the long axis in radians.
    lean : float
        Sideways lean: x moves by this much for each cm of y.
    breath : float
        Lung height relative to a full breath in.
    """

    view: str
    field: float
    centre: tuple[float, float]
    turn: float
    lean: float
    breath: float

    @classmethod
    def draw(cls, view: str, anatomy: Anatomy, rng: np.random.Generator) -> Position:
        """Draw a position at random; AP pictures are taken of people who breathe less deep and lie less straight."""
        loose = 1.7 if view == "AP" else 1.0
        breath = rng.normal(0.985, 0.025) if view == "PA" else rng.normal(0.915, 0.05)
        size = anatomy.half_width / 13.0
        return cls(
            view=view,
            field=float(rng.uniform(36.0, 39.5) * (0.5 + 0.5 * size) + 0.35 * anatomy.fat),
            centre=(
                float(rng.normal(0, 0.5 * loose)),
                float(0.46 * anatomy.lung_height + rng.normal(0.6, 0.7 * loose)),
            ),
            turn=float(np.radians(rng.normal(0, 2.0 * loose))),
            lean=float(rng.normal(0, 0.018 * loose)),
            breath=float(np.clip(breath, 0.78, 1.04)),
        )


class Scene:
    """The geometry of one exposure.

    Parameters
    ----------
    anatomy : Anatomy
    position : Position
    size : int
        Side of the picture in pixels.
    heart_ratio : float
        Heart width over inner chest width, before the magnification of the view.

    Attributes
    ----------
    x, y : arrays of shape (size, size) and (size, 1)
        Body coordinates of the pixels in cm.
    spacing : float
        Side of a pixel in cm.
    lung : array of shape (size, size)
        Path in the lungs, heart and domes of the diaphragm taken off.
    chord : array of shape (size, size)
        Path in the chest cavity above and behind the diaphragm, heart and mediastinum left in.
    lateral : array of shape (size, 1)
        Half width of the cavity.
    across : array of shape (size, size)
        0 at the mediastinum, 1 at the chest wall.
    base : float
        y of the lowest point of the lungs.
    """

    def __init__(self, anatomy: Anatomy, position: Position, size: int, heart_ratio: float) -> None:
        self.anatomy, self.position, self.size = anatomy, position, size
        self.spacing = position.field / size
        at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(self.spacing) - position.field / 2
        self.y = (at[:, None] + position.centre[1]).astype(np.float32)
        self.x = (at[None, :] + position.centre[0] + position.lean * (self.y - position.centre[1])).astype(np.float32)
        self.base = anatomy.lung_height * position.breath
        y = self.y / position.breath
        self.lateral = np.asarray(anatomy.lateral(y), dtype=np.float32) + np.float32(1e-3)
        self.half_depth = np.asarray(anatomy.depth(y), dtype=np.float32)
        self.wide = np.abs(self.x)
        self.left = self.x > 0
        self.whole = 2 * self.half_depth * np.sqrt(np.clip(1 - (self.x / self.lateral) ** 2, 0, None))
        self.whole *= self.y > 0
        self.dome = self._dome()
        below = np.clip((self.y - self.dome) / 3.2, 0, 1)
        behind = step(self.base - self.y, 0.5) * (1 - 0.93 * np.sqrt(below))
        self.chord = (self.whole * behind).astype(np.float32)
        self.middle = self._mediastinum()
        self.heart = self._heart(heart_ratio)
        self.lung = np.clip(self.chord * (1 - self.middle) - self.heart * behind, 0, None).astype(np.float32)
        inner = np.float32(anatomy.mediastinum)
        self.across = np.clip((self.wide - inner) / np.maximum(self.lateral - inner, 0.5), 0, 1).astype(np.float32)

    def shift(self, z: float) -> float:
        """Return how far the turn of the patient moves a part at depth `z` to the right of the picture."""
        return float(z * np.sin(self.position.turn))

    def magnify(self, z: npt.NDArray[np.floating] | float) -> npt.NDArray[np.floating]:
        """Return the size of a part at depth `z` relative to one in the middle of the chest."""
        middle = self.anatomy.half_depth + 3.0
        far, front = (180.0, -1.0) if self.position.view == "PA" else (105.0, 1.0)
        return np.asarray((far - middle) / (far - (middle + front * np.asarray(z))))

    def project(
        self, place: npt.NDArray[np.floating], breathing: bool = False
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """Return column and row of points in the body; `breathing` points move with the depth of the breath."""
        x, y, z = place[:, 0], place[:, 1], place[:, 2]
        if breathing:
            y = y * np.float32(self.position.breath)
        c, s = np.cos(self.position.turn), np.sin(self.position.turn)
        flat, deep = x * np.float32(c) + z * np.float32(s), z * np.float32(c) - x * np.float32(s)
        scale = self.magnify(deep).astype(np.float32)
        cx, cy = self.position.centre
        dy = (y - np.float32(cy)) * scale
        dx = flat * scale - np.float32(cx) - np.float32(self.position.lean) * dy
        to_pixels, half = np.float32(1 / self.spacing), np.float32(self.size / 2 - 0.5)
        return dx * to_pixels + half, dy * to_pixels + half

    def line_integral(self, points: Points) -> Floats:
        """Return the attenuation of `points` on the picture."""
        column, row = self.project(points.place)
        drawn = splat(column, row, points.mass, self.size) / np.float32(self.spacing**2)
        return np.asarray(ndimage.gaussian_filter(drawn, max(0.6, 0.06 / self.spacing), truncate=2.5), dtype=np.float32)

    def vessel_path(self, vessels: Vessels, keep: npt.NDArray[np.bool_] | None = None, swell: float = 1.0) -> Floats:
        """Return cm of blood in the beam; thick vessels get soft round sides, thin ones sharp ones."""
        column, row = self.project(vessels.place, breathing=True)
        radius = vessels.radius * np.float32(swell)
        mass = np.pi * radius**2 * vessels.length / np.float32(self.spacing**2)
        total = np.zeros((self.size, self.size), dtype=np.float32)
        edges = (0.0, 0.085, 0.16, 0.28, 9.0)
        for low, high in pairwise(edges):
            chosen = (vessels.radius >= low) & (vessels.radius < high)
            if keep is not None:
                chosen &= keep
            if not chosen.any():
                continue
            drawn = splat(column[chosen], row[chosen], mass[chosen], self.size)
            sigma = max(0.55, 0.5 * float(radius[chosen].mean()) / self.spacing)
            total += ndimage.gaussian_filter(drawn, sigma, truncate=2.5)
        return total

    def body(self) -> Floats:
        """Return cm of body in the beam, air in the lungs not yet taken off."""
        a, y = self.anatomy, self.y[:, 0]
        w = a.half_width
        out = w + 1.6 + 0.55 * a.fat
        knots = [-30, -8.5, -6.5, -5.0, -3.6, -2.0, 0.5, 4, 8.5, 13, 24, 40]
        neck = 5.6 + 0.15 * a.fat
        widths = [
            neck,
            neck,
            neck + 1.5,
            0.62 * w + 3,
            w + 1.0,
            w + 4.5,
            w + 6.4,
            w + 5.2,
            out + 0.6,
            out,
            out,
            out + 0.6,
        ]
        wide = np.interp(y, knots, widths)[:, None].astype(np.float32)
        wide = np.asarray(ndimage.gaussian_filter1d(wide, 1.0 / self.spacing, axis=0, mode="nearest"))
        full = 2 * a.half_depth + 2.6 + 0.75 * a.fat
        deep = np.interp(y, [-8, -4, 0, 5, 10, 40], [0.52 * full, 0.52 * full, 0.66 * full, 0.86 * full, full, full])
        torso = deep[:, None] * np.clip(1 - (self.wide / wide) ** 2, 0, None) ** 0.42
        # Arms hang or are held a little away from the body.
        away = self.wide - (w + 5.4 + 0.2 * np.clip(self.y - 2, 0, None))
        arm = 2 * np.sqrt(np.clip((4.3 + 0.2 * a.fat) ** 2 - away**2, 0, None)) * step(self.y - 0.5, 2.5)
        path = np.maximum(torso, arm)
        if a.breast:
            for side in (-1, 1):
                dx = (self.x - side * 0.6 * w - self.shift(a.half_depth)) / (0.5 * w)
                dy = (self.y - 0.66 * a.lung_height) / 5.8
                ball = np.clip(1 - dx**2 - dy**2, 0, None)
                path = path + np.float32(0.85 * a.breast) * ball**0.7 * (0.6 + 0.4 * np.clip(dy, -1, 1))
        else:
            dx, dy = (self.wide - 0.62 * w) / 6.5, (self.y - 7.0) / 6.0
            path = path + 1.3 * np.sqrt(np.clip(1 - dx**2 - dy**2, 0, None))
        return np.asarray(path, dtype=np.float32)

    def spine(self) -> Floats:
        """Return the attenuation of the spine over that of soft tissue."""
        a, y = self.anatomy, self.y
        z = -a.half_depth * 0.8
        middle = np.asarray(a.spine(y), dtype=np.float32) + np.float32(self.shift(z))
        tall = 1.95 + 0.028 * np.clip(y + 5, 0, 40)
        # Where in its vertebra a row is: 0 and 1 at the end plates.
        number = np.cumsum(self.spacing / tall, axis=0) + 0.4
        part = np.abs((number % 1) - 0.5) * 2
        plate = np.exp(-(((part - 0.82) / 0.1) ** 2))
        disc = step((part - 0.9).astype(np.float32), 0.06)
        half = 1.35 + 0.02 * np.clip(y, 0, 40) + 0.16 * part**4
        off = (self.x - middle) / half
        bone = np.sqrt(np.clip(1 - off**6, 0, None)) * (0.24 + 0.09 * plate) * (1 - 0.5 * disc)
        rim = 0.09 * np.exp(-(((np.abs(off) - 0.93) / 0.07) ** 2)) * (1 - disc)
        oval = ((np.abs(off) - 0.62) / 0.26) ** 2 + ((part - 0.35) / 0.42) ** 2
        ring = 0.11 * np.exp(-(((oval - 1) / 0.5) ** 2))
        back = 0.1 * np.exp(-((off / 0.16) ** 2)) * (part > 0.25)
        process = 0.08 * np.exp(-(((part - 0.3) / 0.3) ** 2)) * np.exp(-(((np.abs(off) - 1.5) / 0.45) ** 4))
        return np.asarray(bone + rim + ring + back + process, dtype=np.float32)

    def airways(self) -> Floats:
        """Return cm of air in the windpipe and the two main bronchi."""
        y, split = self.y, 0.36 * self.base
        middle = np.float32(self.shift(-1.0) - 0.1) - 0.06 * np.clip(y - 2, 0, 8)
        pipe = 2 * np.sqrt(np.clip(0.85**2 - (self.x - middle) ** 2, 0, None)) * step(split - y, 0.5)
        down = np.clip(y - split, 0, None)
        for side, slope in ((-1, 0.75), (1, 1.15)):
            off = (self.x - middle - side * slope * down) / np.float32(np.hypot(1, slope))
            tube = 2 * np.sqrt(np.clip(0.58**2 - off**2, 0, None))
            pipe = pipe + tube * (y > split) * step(3.6 - down, 1.2)
        return np.asarray(0.85 * pipe, dtype=np.float32)

    def bubble(self) -> Floats:
        """Return cm of gas in the stomach, below the left dome."""
        amount = self.anatomy.bubble
        if amount < 0.5:
            return np.zeros((self.size, self.size), dtype=np.float32)
        x0, y0 = 0.45 * self.anatomy.half_width, float(self._top(1) + 2.7)
        wide, high = 1.5 + 2.3 * amount, 0.7 + 1.1 * amount
        gas = np.sqrt(np.clip(1 - ((self.x - x0) / wide) ** 2 - ((self.y - y0) / high) ** 2, 0, None))
        if self.position.view == "PA":
            gas = gas * step(y0 + 0.35 * high - self.y, 0.1)
        return np.asarray(3.6 * amount * gas, dtype=np.float32)

    def _top(self, side: int) -> float:
        """Return y of the top of one dome of the diaphragm; the right one stands higher."""
        gap = self.anatomy.dome_gap
        return self.base - self.anatomy.dome_drop - (gap if side < 0 else 0.0)

    def _dome(self) -> Floats:
        w = self.anatomy.half_width
        parts = []
        for side in (-1, 1):
            top, peak = self._top(side), 0.47 * w
            off = side * self.x - peak
            lateral = (self.base - top + 0.4) * np.clip(off / (w - peak), 0, 1.3) ** 2.3
            medial = 1.8 * np.clip(-off / peak, 0, 2) ** 2
            parts.append(top + lateral + medial)
        return np.asarray(np.where(self.left, parts[1], parts[0]), dtype=np.float32)

    def _mediastinum(self) -> Floats:
        """Return the share of the cavity that the mediastinum (heart left out) fills."""
        a = self.anatomy
        t = self.y / self.base
        move = np.float32(self.shift(2.0))
        right = a.mediastinum * np.interp(t[:, 0], [-0.2, 0.0, 0.2, 0.45, 0.6, 1.1], [1.0, 1.0, 0.95, 1.0, 0.75, 0.75])
        left = a.mediastinum * np.interp(t[:, 0], [-0.2, 0.0, 0.15, 0.5, 0.7, 1.1], [1.05, 1.0, 0.8, 0.85, 0.75, 0.75])
        # Aortic knob and trunk of the pulmonary artery bulge to the left, the right atrium and the great vein right.
        left = left + (0.35 + 0.5 * a.knob) * np.exp(-(np.abs((t[:, 0] - 0.285) * self.base / (0.95 * a.knob)) ** 2.5))
        left = left + (0.45 + 0.4 * a.knob) * np.exp(-(((t[:, 0] - 0.45) * self.base / 2.6) ** 2))
        x = self.x - move
        to_left = step(left[:, None].astype(np.float32) - x, 0.35)
        to_right = step(right[:, None].astype(np.float32) + x, 0.5)
        share = 0.9 * np.where(self.left, to_left, to_right)
        aorta = np.clip(1 - ((x - 1.2 - 0.25 * a.knob) / (0.75 * a.knob)) ** 2, 0, None)
        share = np.maximum(share, 0.5 * np.sqrt(aorta * step(self.y - 0.27 * self.base, 1.0)))
        # The roots of the lungs: fuzzy, lower on the right.
        for side, level in ((-1, 0.455), (1, 0.415)):
            dx, dy = (x - side * (a.mediastinum + 0.55)) / 1.15, (self.y - level * self.base) / 1.9
            share = np.maximum(share, 0.36 * np.exp(-(dx**2 + dy**2)))
        share = ndimage.gaussian_filter(share.astype(np.float32), 0.12 / self.spacing, truncate=2.5)
        return np.asarray(share, dtype=np.float32)

    def _heart(self, ratio: float) -> Floats:
        a = self.anatomy
        grow = float(self.magnify(3.5)) * (1.06 if self.position.view == "AP" else 1.0)
        # A shallow breath lifts the diaphragm and lays the heart down.
        lying = 1.0 + 0.45 * max(0.0, 0.97 - self.position.breath)
        width = ratio * 2 * a.half_width * grow * lying
        tilt = np.radians(a.heart_tilt - 60 * max(0.0, ratio - 0.5))
        long, short = 1.12, 0.86
        extent = np.hypot(long * np.cos(tilt), short * np.sin(tilt))
        long, short = long / extent * width / 2, short / extent * width / 2
        cx = 0.14 * width + self.shift(3.5)
        low = np.hypot(long * np.sin(tilt), short * np.cos(tilt))
        cy = self._top(1) + 1.5 - low
        dx, dy = self.x - cx, self.y - cy
        u = (dx * np.cos(tilt) + dy * np.sin(tilt)) / long
        v = (dy * np.cos(tilt) - dx * np.sin(tilt)) / short
        inside = np.clip(1 - u**2 - v**2, 0, None)
        # Right atrium: its border is the right border of the heart.
        r = 0.33 * width
        ax, ay = cx - width / 2 + r * 0.98, cy + 0.12 * low
        atrium = np.clip(1 - ((self.x - ax) / r) ** 2 - ((self.y - ay) / (1.2 * r)) ** 2, 0, None)
        thick = 1.02 * width
        return np.asarray(thick * np.maximum(np.sqrt(inside), 0.75 * np.sqrt(atrium)), dtype=np.float32)
