"""Chest radiographs drawn from numbers, each with its findings and the region that each finding covers.

The pictures are synthetic and not for clinical use: they serve to test and to show software, never to judge how well
a model reads real patients.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aimed.core import DataError, UnknownNameError
from aimed.synthetic import chest_findings as disease
from aimed.synthetic.chest_anatomy import Anatomy, Points
from aimed.synthetic.chest_scene import LUNG_DENSITY, Position, Scene
from aimed.synthetic.radiography import LEVELS, SOFT, Exposure, expose

__all__ = ["CUES", "FINDINGS", "VIEWS", "ChestPhantom", "PhantomImage", "draw_chest"]

Floats = npt.NDArray[np.float32]

#: Names of the findings, in the order of every label vector.
FINDINGS = ("effusion", "nodule", "pneumothorax", "cardiomegaly", "consolidation")

#: Views that can be drawn.
VIEWS = ("PA", "AP")

#: Marks that a shortcut can plant: a letter L, a bright border, a tube.
CUES = ("marker", "border", "tube")

_LETTER_L = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
_SMALLEST = 64


@dataclass(frozen=True, slots=True)
class PhantomImage:
    """One drawn radiograph and what is known about it.

    Parameters
    ----------
    pixels : array of uint16, shape (size, size)
        12 bits; larger is brighter. The left of the patient is on the right of the picture.
    masks : dict of str to array of bool, shape (size, size)
        One mask a finding, all False where the finding is absent. Cardiomegaly: the silhouette of the heart.
    labels : array of uint8, shape (5,)
        1 where the finding is present, in the order of `FINDINGS`.
    severity : dict of str to float
        Severity (0 subtle to 1 overt) of each finding that is present.
    view : {"PA", "AP"}
    spacing : float
        Side of a pixel in mm.
    cues : tuple of str
        The marks that were planted.
    """

    pixels: npt.NDArray[np.uint16]
    masks: dict[str, npt.NDArray[np.bool_]]
    labels: npt.NDArray[np.uint8]
    severity: dict[str, float]
    view: str
    spacing: float
    cues: tuple[str, ...]


def _asked(findings: Iterable[str] | Mapping[str, float | None]) -> dict[str, float | None]:
    asked = dict(findings) if isinstance(findings, Mapping) else dict.fromkeys(findings, None)
    for name, severity in asked.items():
        if name not in FINDINGS:
            raise UnknownNameError("finding", name, FINDINGS)
        if severity is not None and not 0 <= severity <= 1:
            raise DataError(f"severity {severity} for {name}", "a number from 0 to 1", "0 is subtle, 1 is overt")
    return asked


@dataclass(frozen=True)
class ChestPhantom:
    """One made-up patient, who can be imaged many times (synthetic, not for clinical use).

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same patient: bones, vessels, size of the chest.
    age : int, optional
        Years, 18 to 100; drawn when absent.
    sex : {"F", "M"}, optional
        Drawn when absent.

    Examples
    --------
    >>> patient = ChestPhantom(7, age=62, sex="F")
    >>> first = patient.draw(1, findings=["effusion"], size=64)
    >>> first.pixels.shape, first.pixels.dtype.name, int(first.pixels.max()) < 4096
    ((64, 64), 'uint16', True)
    >>> first.labels.tolist(), bool(first.masks["effusion"].any()), bool(first.masks["nodule"].any())
    ([1, 0, 0, 0, 0], True, False)
    """

    seed: int | tuple[int, ...]
    age: int = -1
    sex: str = ""
    anatomy: Anatomy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        root = np.random.SeedSequence(self.seed if isinstance(self.seed, int) else list(self.seed))
        person, body = root.spawn(2)
        rng = np.random.default_rng(person)
        drawn = (int(np.clip(rng.normal(55, 17), 18, 95)), str(rng.choice(["F", "M"])))
        age, sex = (self.age if self.age != -1 else drawn[0]), (self.sex or drawn[1])
        if not 18 <= age <= 100:
            raise DataError(f"age {age}", "18 to 100 years", "the phantom is a grown-up")
        if sex not in ("F", "M"):
            raise DataError(f"sex '{sex}'", "F or M", "choose one; the anatomy differs")
        object.__setattr__(self, "age", age)
        object.__setattr__(self, "sex", sex)
        object.__setattr__(self, "anatomy", Anatomy(body, sex == "F", age))

    def draw(
        self,
        seed: int | tuple[int, ...] | np.random.Generator,
        *,
        findings: Iterable[str] | Mapping[str, float | None] = (),
        view: str = "PA",
        size: int = 256,
        difficulty: float = 0.5,
        cues: Collection[str] = (),
    ) -> PhantomImage:
        """Take one picture.

        Parameters
        ----------
        seed : int, sequence of int or numpy.random.Generator
            Positioning, exposure, noise and place of the findings. Each has its own stream: with the same seed, a
            finding more or less leaves everything else as it is.
        findings : names, or mapping of name to severity
            Which findings are present, see `FINDINGS`; a severity of None is drawn.
        view : {"PA", "AP"}
            AP: larger heart, shoulder blades over the lungs, shallower breath, lower dose, more scatter.
        size : int
            Side of the picture in pixels, 64 or more; powers of two are fastest.
        difficulty : float
            0 draws overt findings and clean pictures, 1 subtle ones among many look-alikes.
        cues : names
            Marks to plant, see `CUES`.

        Returns
        -------
        PhantomImage

        Raises
        ------
        UnknownNameError
            A finding, view or cue is not known.
        DataError
            A size or difficulty out of range.
        """
        asked = _asked(findings)
        if view not in VIEWS:
            raise UnknownNameError("view", view, VIEWS)
        for cue in cues:
            if cue not in CUES:
                raise UnknownNameError("cue", cue, CUES)
        if size < _SMALLEST:
            raise DataError(f"size {size}", f"at least {_SMALLEST} pixels", "draw larger and shrink")
        if not 0 <= difficulty <= 1:
            raise DataError(f"difficulty {difficulty}", "a number from 0 to 1", "0.5 is the default")
        if isinstance(seed, np.random.Generator):
            seed = int(seed.integers(2**63))
        root = np.random.SeedSequence(seed if isinstance(seed, int) else list(seed))
        streams = [np.random.default_rng(s) for s in root.spawn(5 + len(FINDINGS))]
        placing, exposing, clutter, noise, marking = streams[:5]
        own = dict(zip(FINDINGS, streams[5:], strict=True))
        # Always drawn, used or not: the stream of a finding must not depend on how its severity came about.
        drawn = {f: float(own[f].beta(1.2 + 2.6 * (1 - difficulty), 1.2 + 2.6 * difficulty)) for f in FINDINGS}
        drawn["cardiomegaly"] = float(np.clip(self.anatomy.large_heart + 0.5 * (0.5 - difficulty), 0, 1))
        severity = {f: drawn[f] if asked[f] is None else float(asked[f] or 0.0) for f in FINDINGS if f in asked}

        anatomy = self.anatomy
        position = Position.draw(view, anatomy, placing)
        enlarged = severity.get("cardiomegaly")
        ratio = anatomy.heart_ratio if enlarged is None else disease.heart_ratio(enlarged)
        # The heart is caught at any moment of its beat, and fat beside it widens its shadow.
        beat = float(placing.uniform(0.97, 1.03)) + float(placing.uniform() < 0.3 * difficulty) * 0.04
        scene = Scene(anatomy, position, size, ratio * beat)
        lungs = _Lungs(scene, anatomy, clutter, difficulty)
        masks = {f: np.zeros((size, size), dtype=bool) for f in FINDINGS}
        if enlarged is not None:
            masks["cardiomegaly"] = scene.heart > 0
        side = 0
        if "consolidation" in severity:
            masks["consolidation"] = lungs.fill(*disease.filled(scene, severity["consolidation"], own["consolidation"]))
        if "nodule" in severity:
            masks["nodule"] = lungs.add(disease.ball(scene, severity["nodule"], own["nodule"]))
        if "pneumothorax" in severity:
            outside, line, side = disease.air_outside(scene, severity["pneumothorax"], own["pneumothorax"])
            masks["pneumothorax"] = lungs.detach(outside, line)
        if "effusion" in severity:
            masks["effusion"] = lungs.flood(disease.fluid(scene, severity["effusion"], own["effusion"], side))

        attenuation = SOFT * (scene.body() - scene.airways() - scene.bubble()) + lungs.attenuation
        attenuation += scene.spine() + scene.line_integral(self._bones(view))
        attenuation = np.maximum(attenuation, 0)
        attenuation += _hardware(scene, view, clutter, difficulty, "tube" in cues, marking)
        pixels = expose(attenuation.astype(np.float32), scene.spacing, _technique(anatomy, view, exposing), noise)
        _mark(pixels, cues, marking)
        labels = np.array([f in severity for f in FINDINGS], dtype=np.uint8)
        planted = tuple(c for c in CUES if c in cues)
        return PhantomImage(pixels, masks, labels, severity, view, position.field / size * 10, planted)

    def _bones(self, view: str) -> Points:
        """Return all bones; arms drawn forward for a PA picture take the shoulder blades off the lungs."""
        blades = self.anatomy.scapulae
        if view == "PA":
            moved = blades.place.copy()
            moved[:, 0] += np.sign(moved[:, 0]) * np.float32(3.4)
            blades = Points(moved, blades.mass)
        return Points.join([self.anatomy.bones, blades])


class _Lungs:
    """Attenuation of the two lungs, changed step by step by what is wrong with them (less than 0: air)."""

    def __init__(self, scene: Scene, anatomy: Anatomy, rng: np.random.Generator, difficulty: float) -> None:
        self.scene = scene
        size = scene.size
        swell = float(rng.uniform(0.92, 1.12)) * (1.06 if scene.position.view == "AP" else 1.0)
        blood = scene.vessel_path(anatomy.vessels, swell=swell)
        # A shallow breath leaves the same tissue in less room.
        density = LUNG_DENSITY * (1 + 1.1 * (1 - scene.position.breath))
        rough = disease.noise_field(size, (24, 48, 96), rng) * np.float32(0.026 * anatomy.texture)
        air = np.float32(1 - density) - rough
        lung = scene.lung * (1 - self._look_alikes(rng, difficulty))
        self.air = SOFT * np.clip(air, 0.3, 0.97) * lung
        self.empty = SOFT * scene.lung
        inside = np.clip(scene.chord / 2.0, 0, 1) * (1 - 0.5 * scene.middle)
        self.blood = np.float32(SOFT * (1 - LUNG_DENSITY)) * blood * inside
        self.extra = self._dots(rng, difficulty)

    @property
    def attenuation(self) -> Floats:
        return np.asarray(self.blood - self.air + self.extra, dtype=np.float32)

    def _look_alikes(self, rng: np.random.Generator, difficulty: float) -> Floats:
        """Return the share of lung taken by harmless things: bands of collapse, blunted angles, haze."""
        scene = self.scene
        share = np.zeros((scene.size, scene.size), dtype=np.float32)
        chance = rng.uniform(size=4)
        draws = rng.uniform(size=10)
        if chance[0] < 0.08 + 0.2 * difficulty:
            side = 1 if draws[0] < 0.5 else -1
            x0, y0 = side * (4 + 6 * draws[1]), scene.base - 6 + 3 * draws[2]
            tilt = (draws[3] - 0.5) * 0.6
            off = scene.y - y0 - tilt * (scene.x - x0)
            share += 0.12 * np.exp(-((off / 0.22) ** 2) - ((scene.x - x0) / 2.6) ** 4)
        if chance[1] < 0.08 + 0.3 * difficulty:
            side = 1 if draws[4] < 0.5 else -1
            dx, dy = side * scene.x - scene.lateral, scene.y - scene.base
            share += 0.8 * np.exp(-((dx / 1.4) ** 2) - (dy / (1.0 + 2.0 * draws[9])) ** 2)
        if chance[2] < 0.25 + 0.4 * difficulty:
            low = np.clip((scene.y - 0.5 * scene.base) / (0.5 * scene.base), 0, 1)
            share += (0.02 + 0.16 * draws[5] ** 2) * low**1.5
        if chance[3] < 0.15 + 0.25 * difficulty:
            side = 1 if draws[6] < 0.5 else -1
            dx, dy = scene.x - side * (4.5 + 3 * draws[7]), scene.y - (0.3 + 0.5 * draws[8]) * scene.base
            share += (0.04 + 0.09 * draws[9]) * np.exp(-(dx**2 + dy**2) / 5.0)
        return np.asarray(np.minimum(share, 0.9), dtype=np.float32)

    def _dots(self, rng: np.random.Generator, difficulty: float) -> Floats:
        """Return small dense spots that are no nodules: vessels seen end on, old scars, nipples."""
        scene = self.scene
        total = np.zeros((scene.size, scene.size), dtype=np.float32)
        for _ in range(int(rng.poisson(1.0 + 2.0 * difficulty))):
            side = rng.choice([-1, 1])
            x0, y0 = side * rng.uniform(3.2, 8.5), scene.base * rng.uniform(0.3, 0.7)
            radius, dense = rng.uniform(0.13, 0.3), rng.uniform(0.5, 1.0)
            total += _disc(scene, x0, y0, radius, 2 * radius * dense * SOFT * 1.6)
        if rng.uniform() < 0.05 + 0.14 * difficulty:
            x0, y0 = 0.58 * scene.anatomy.half_width + rng.normal(0, 0.6), 0.78 * scene.base + rng.normal(0, 0.6)
            for side in (-1, 1):
                if rng.uniform() < 0.75:
                    total += _disc(scene, side * x0, y0, rng.uniform(0.35, 0.55), 0.9 * SOFT)
        return np.asarray(total * (scene.chord > 0), dtype=np.float32)

    def _region(self, before: Floats) -> npt.NDArray[np.bool_]:
        """Return where the last change shows."""
        change = np.abs(self.attenuation - before)
        peak = float(change.max())
        return change > min(0.03, 0.25 * peak) if peak > 0 else np.zeros(change.shape, dtype=bool)

    def fill(self, share: Floats, tubes: bool) -> npt.NDArray[np.bool_]:
        before = self.attenuation
        if tubes:
            # Air tubes run beside the vessels and stand out once the lung around them is full.
            vessels = self.scene.anatomy.vessels
            thick = vessels.radius > 0.1
            moved = type(vessels)(vessels.place + np.float32(0.3), vessels.radius, vessels.length)
            air = self.scene.vessel_path(moved, keep=thick, swell=1.1)
            share = share * np.clip(1 - 0.5 * air / (0.3 + air), 0, 1)
        self.air = self.air * (1 - share)
        self.blood = self.blood * (1 - share)
        return self._region(before)

    def add(self, solid: Floats) -> npt.NDArray[np.bool_]:
        before = self.attenuation
        self.extra = self.extra + np.float32(SOFT * (1 - LUNG_DENSITY)) * solid
        return self._region(before)

    def detach(self, outside: Floats, line: Floats) -> npt.NDArray[np.bool_]:
        before = self.attenuation
        self.air = self.air * (1 - outside) + (0.3 * self.air + 0.7 * self.empty) * outside
        self.blood = self.blood * (1 - outside)
        self.extra = self.extra * (1 - outside)
        region = self._region(before) & (outside > 0.5)
        self.extra = self.extra + np.float32(0.9 * SOFT) * line
        return region

    def flood(self, share: Floats) -> npt.NDArray[np.bool_]:
        before = self.attenuation
        self.air = self.air * (1 - share)
        self.blood = self.blood * (1 - share)
        self.extra = self.extra * (1 - share)
        return self._region(before)


def _disc(scene: Scene, x: float, y: float, radius: float, height: float) -> Floats:
    """Return a small round spot of `height` at (x, y), all in cm but the height."""
    apart = ((scene.x - np.float32(x)) ** 2 + (scene.y - np.float32(y)) ** 2) / np.float32(radius**2)
    return np.asarray(np.float32(height) * np.exp(-(apart**2)), dtype=np.float32)


def _technique(anatomy: Anatomy, view: str, rng: np.random.Generator) -> Exposure:
    """Return how the picture is exposed; set by the size of the patient, as a technician would, not by the picture."""
    portable = view == "AP"
    thick = 2 * anatomy.half_depth + 2.6 + 0.75 * anatomy.fat
    air = (1 - LUNG_DENSITY) * 1.5 * anatomy.half_depth
    dose = float(np.exp(rng.normal(0, 0.35))) * (1.3e5 if portable else 5e5)
    return Exposure(
        dose=dose,
        scatter=float(rng.uniform(0.7, 1.3) if portable else rng.uniform(0.3, 0.5)),
        middle=float(SOFT * (thick - air) - 0.05 + rng.normal(0, 0.13) - (0.3 if portable else 0)),
        contrast=float(rng.uniform(1.3, 1.7) if portable else rng.uniform(1.6, 2.2)),
        sharpening=float(rng.uniform(0.3, 0.8)),
    )


def _wire(scene: Scene, knots: npt.NDArray[np.float64], thick: float) -> Floats:
    """Return the attenuation of a metal wire through `knots` (x, y in cm)."""
    s = np.linspace(0, 1, len(knots))
    fine = np.linspace(0, 1, 900)
    line = np.stack([np.interp(fine, s, knots[:, k]) for k in (0, 1)], axis=1)
    line = ndimage.gaussian_filter1d(line, 40, axis=0, mode="nearest")
    length = np.hypot(*np.gradient(line, axis=0).T)
    place = np.column_stack([line, np.full(len(line), scene.anatomy.half_depth)]).astype(np.float32)
    return scene.line_integral(Points(place, (thick * length).astype(np.float32)))


def _hardware(
    scene: Scene, view: str, rng: np.random.Generator, difficulty: float, tube: bool, marking: np.random.Generator
) -> Floats:
    """Return the attenuation of wires, electrodes, skin folds, and of the tube when it is asked for."""
    total = np.zeros((scene.size, scene.size), dtype=np.float32)
    w, base = scene.anatomy.half_width, scene.base
    wires = rng.uniform() < (0.35 if view == "AP" else 0.03)
    fold = rng.uniform() < (0.08 + 0.2 * difficulty if view == "AP" else 0.02)
    if wires:
        for _ in range(int(rng.integers(1, 4))):
            side = rng.choice([-1, 1])
            end = np.array([side * rng.uniform(0.4, 0.95) * w, base * rng.uniform(0.1, 0.9)])
            start = np.array([rng.normal(0, 0.6) * w, base * 1.4])
            middle = (start + end) / 2 + rng.normal(0, 3, 2)
            total += _wire(scene, np.stack([start, middle, end]), 0.035)
            total += _disc(scene, float(end[0]), float(end[1]), 0.33, 1.2)
    if fold:
        side = rng.choice([-1, 1])
        slope, x0 = rng.uniform(-0.25, 0.25), side * rng.uniform(0.5, 0.8) * w
        off = side * (scene.x - x0) - slope * (scene.y - 0.4 * base)
        reach = np.exp(-(((scene.y - 0.4 * base) / (0.3 * base)) ** 4))
        total += np.float32(0.09) * reach * np.where(off < 0, np.exp(off / 1.2), 0) * (scene.lung > 0)
    if tube:
        x = marking.normal(0, 0.25)
        knots = np.array([[x + marking.normal(0, 0.3), -9.0], [x, 2.0], [x + 0.2, 0.31 * base]])
        total += _wire(scene, knots, 0.1)
    return total.astype(np.float32)


def _mark(pixels: npt.NDArray[np.uint16], cues: Collection[str], rng: np.random.Generator) -> None:
    """Draw the letter and the border onto the finished picture."""
    size = pixels.shape[0]
    bright = LEVELS - 60
    left, top = rng.uniform(0.84, 0.89), rng.uniform(0.03, 0.09)
    wide = rng.uniform(0.015, 0.03)
    if "border" in cues:
        edge = max(1, round(wide * size))
        for part in (pixels[:edge], pixels[-edge:], pixels[:, :edge], pixels[:, -edge:]):
            part[...] = bright
    if "marker" in cues:
        scale = max(1, round(size / 100))
        letter = np.kron(_LETTER_L, np.ones((scale, scale), dtype=bool))
        row, column = int(top * size), int(left * size)
        pixels[row : row + letter.shape[0], column : column + letter.shape[1]][letter] = bright


def draw_chest(
    seed: int | tuple[int, ...] | np.random.Generator,
    *,
    findings: Iterable[str] | Mapping[str, float | None] = (),
    view: str = "PA",
    size: int = 256,
    difficulty: float = 0.5,
    age: int = -1,
    sex: str = "",
    cues: Collection[str] = (),
) -> PhantomImage:
    """Draw one radiograph of a new made-up patient (synthetic, not for clinical use).

    Parameters
    ----------
    seed : int, sequence of int or numpy.random.Generator
        Fixes the patient and the picture.
    findings, view, size, difficulty, cues
        As in `ChestPhantom.draw`.
    age, sex
        As in `ChestPhantom`.

    Returns
    -------
    PhantomImage

    Examples
    --------
    >>> image = draw_chest(3, findings={"nodule": 0.8}, size=64)
    >>> image.severity, image.view
    ({'nodule': 0.8}, 'PA')
    """
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    patient = ChestPhantom(seed, age=age, sex=sex)
    return patient.draw(seed, findings=findings, view=view, size=size, difficulty=difficulty, cues=cues)
