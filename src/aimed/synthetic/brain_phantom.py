"""Brains with tumours drawn from numbers: four MR contrasts on one grid, and what every voxel really is.

The scans are synthetic and not for clinical use: they serve to test and to show software, never to judge how well a
model reads real patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aimed.core import DataError
from aimed.core.volume import Volume
from aimed.synthetic.brain_anatomy import CSF, WHITE, Anatomy, Healthy
from aimed.synthetic.brain_contrast import BRAIN_CONTRASTS, Scanner
from aimed.synthetic.brain_fields import Axes, Floats, Place, RandomField, ramp
from aimed.synthetic.brain_head import head_tissues
from aimed.synthetic.brain_tumour import Tumour

__all__ = ["BRAIN_LABELS", "TISSUES", "BrainPhantom", "PhantomScan", "draw_brain"]

#: Labels of a voxel, as in the brain tumour task of the Medical Segmentation Decathlon; the value is the place.
BRAIN_LABELS = ("background", "oedema", "non-enhancing core", "enhancing tumour")

#: What fills most of a voxel, tumour left out; the value in `PhantomScan.tissue` is the place.
TISSUES = ("outside", "csf", "grey", "white", "deep grey")

_FIELD, _FIELD_WITH_HEAD = 192.0, 240.0
_SMALLEST, _LARGEST = 16, 320


@dataclass(frozen=True, slots=True, eq=False)
class PhantomScan:
    """One scan of a phantom and what is known about it.

    Parameters
    ----------
    image : Volume
        int16, shape (4, z, y, x), in the order of `BRAIN_CONTRASTS`; axes point right, front and head (RAS). Stripped
        of the head, it is 0 outside the brain and at least 1 inside.
    labels : Volume
        uint8, shape (z, y, x), 0 to 3 as in `BRAIN_LABELS`: 0 background, 1 oedema, 2 non-enhancing core (dead
        tissue with it), 3 enhancing.
    tissue : Volume
        uint8, shape (z, y, x), 0 to 4 as in `TISSUES`; what was there before the tumour, displaced by it.
    kinds : tuple of str
        Of the tumours, see `aimed.synthetic.brain_tumour.KINDS`.
    """

    image: Volume
    labels: Volume
    tissue: Volume
    kinds: tuple[str, ...]

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of the whole tumour, its core and its enhancing part in ml."""
        counts = np.bincount(self.labels.array.ravel(), minlength=len(BRAIN_LABELS)) * self.labels.grid.voxel_ml
        return {"whole": float(counts[1:].sum()), "core": float(counts[2:].sum()), "enhancing": float(counts[3])}


@dataclass(frozen=True)
class BrainPhantom:
    """One made-up patient, who can be scanned many times (synthetic, not for clinical use).

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same patient: brain, folds, tumours.
    age : int, optional
        Years, 18 to 100; drawn when absent.
    sex : {"F", "M"}, optional
        Drawn when absent.
    n_tumours : int, optional
        0 to 4; one, and now and then two, when absent. All but the first are small.

    Examples
    --------
    >>> patient = BrainPhantom(7, age=62, sex="F")
    >>> scan = patient.draw(1, size=32)
    >>> scan.image.shape, scan.image.channels, scan.image.spacing
    ((4, 32, 32, 32), ('FLAIR', 'T1w', 'T1gd', 'T2w'), (6.0, 6.0, 6.0))
    >>> later = patient.draw(2, size=32, growth=2.0)
    >>> later.volumes_ml["core"] > scan.volumes_ml["core"] > 0
    True
    """

    seed: int | tuple[int, ...]
    age: int = -1
    sex: str = ""
    n_tumours: int = -1
    anatomy: Anatomy = field(init=False, repr=False, compare=False)
    tumours: tuple[Tumour, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        person, body, *lumps = _seeds(self.seed).spawn(6)
        rng = np.random.default_rng(person)
        drawn = (int(np.clip(rng.normal(58, 14), 18, 92)), str(rng.choice(["F", "M"])))
        age, sex = (self.age if self.age != -1 else drawn[0]), (self.sex or drawn[1])
        count = self.n_tumours if self.n_tumours != -1 else 1 + int(rng.uniform() < 0.15)
        if not 18 <= age <= 100:
            raise DataError(f"age {age}", "18 to 100 years", "the phantom is a grown-up")
        if sex not in ("F", "M"):
            raise DataError(f"sex '{sex}'", "F or M", "choose one; the size of the brain differs")
        if not 0 <= count <= len(lumps):
            raise DataError(f"{count} tumours", f"0 to {len(lumps)}", "0 draws a healthy brain")
        anatomy = Anatomy(body, sex == "F", age)
        tumours = tuple(Tumour(lumps[k], anatomy, small=k > 0) for k in range(count))
        for name, value in (("age", age), ("sex", sex), ("n_tumours", count), ("anatomy", anatomy)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "tumours", tumours)

    def draw(
        self,
        seed: int | tuple[int, ...] | np.random.Generator,
        *,
        size: int | tuple[int, int, int] = 64,
        spacing: float | tuple[float, float, float] | None = None,
        difficulty: float = 0.5,
        growth: float = 1.0,
        stripped: bool = True,
        tilt: float = 0.0,
    ) -> PhantomScan:
        """Take one scan.

        Parameters
        ----------
        seed : int, sequence of int or numpy.random.Generator
            Position of the head, brightness of tissues, field of the coil and noise.
        size : int or (int, int, int)
            Voxels along (z, y, x), 16 to 320.
        spacing : float or (float, float, float), optional
            Millimetres along (z, y, x). When absent, the grid spans 192 mm, which holds every brain, or 240 mm with
            the head.
        difficulty : float
            0 draws clear tumours in clean scans, 1 small and faint ones among look-alikes, noise and bias.
        growth : float
            Volume of the tumours relative to that of the first scan, 0.1 to 4.
        stripped : bool
            Leave the head away, as data sets of brain tumours do.
        tilt : float
            Up to how many degrees the slices are turned against the axes of the scanner; 0 to 45.

        Returns
        -------
        PhantomScan

        Raises
        ------
        DataError
            A setting out of range.
        """
        shape, steps = _grid(size, spacing, _FIELD if stripped else _FIELD_WITH_HEAD)
        for name, value, low, high in (
            ("difficulty", difficulty, 0.0, 1.0), ("growth", growth, 0.1, 4.0), ("tilt", tilt, 0.0, 45.0),
        ):  # fmt: skip
            if not low <= value <= high:
                raise DataError(f"{name} {value}", f"a number from {low:g} to {high:g}")
        if isinstance(seed, np.random.Generator):
            seed = int(seed.integers(2**63))
        placing, looking, look_alike, *noise = (np.random.default_rng(s) for s in _seeds(seed).spawn(7))
        shift = placing.normal(0, 2.0, 3)
        x, y, z = (
            ((np.arange(n) - (n - 1) / 2) * step + s).astype(np.float32)
            for n, step, s in zip(shape[::-1], steps[::-1], shift, strict=True)
        )
        axes: Axes = (x, y, z)
        affine = _affine(shape, steps, placing, tilt)
        # Small tumours are hard to find.
        growth *= float((1.15 - 0.35 * difficulty) ** 3)
        voxel = float(np.prod(steps) ** (1 / 3))
        scene = _Scene(self, axes, voxel, growth, 1 - difficulty)
        scanner = Scanner(looking, difficulty)
        drawn = scene.tissues(look_alike, difficulty, stripped)
        mask = scene.mask if stripped else None
        image = np.empty((len(BRAIN_CONTRASTS), *shape), dtype=np.int16)
        for k in range(len(BRAIN_CONTRASTS)):
            image[k] = scanner.expose(scene.picture(drawn, scanner, k), axes, k, noise[k], mask)
        volume = Volume(array=image, affine=affine, modality="MR", channels=BRAIN_CONTRASTS)
        return PhantomScan(
            volume,
            volume.with_array(scene.labels(), labels=True),
            volume.with_array(scene.kinds(), labels=True),
            tuple(tumour.kind for tumour in self.tumours),
        )


class _Scene:
    """What fills the voxels of one scan; all but the head is kept for the voxels of the brain only."""

    def __init__(self, patient: BrainPhantom, axes: Axes, voxel: float, growth: float, sharp: float) -> None:
        anatomy = patient.anatomy
        self.patient, self.axes, self.voxel = patient, axes, voxel
        self.place = anatomy.places(axes)
        self.hull = anatomy.hull(self.place)
        self.shape = self.hull.shape
        self.mask = self.hull > 0
        self.at = np.flatnonzero(self.mask)
        depth = self.hull.ravel()[self.at]
        points: Place = tuple(np.broadcast_to(v, self.shape).ravel()[self.at] for v in self.place)  # type: ignore[assignment]
        for tumour in patient.tumours:
            points = tumour.push(points, depth, growth)
        self.healthy: Healthy = anatomy.healthy(points, depth, voxel)
        self.tumour = self._tumours(depth, growth, sharp)

    def _tumours(self, depth: Floats, growth: float, sharp: float) -> dict[str, Floats]:
        """Return the share of every part of the tumours, for the voxels of the brain."""
        white, fluid = self.healthy.shares[WHITE], self.healthy.shares[CSF]
        found = {name: np.zeros(self.at.size, dtype=np.float32) for name in ("oedema", "core", "dead", "enhancing")}
        lookup = np.full(self.mask.size, -1, dtype=np.int64)
        lookup[self.at] = np.arange(self.at.size)
        for tumour in self.patient.tumours:
            box = tumour.box(self.axes, growth)
            z, y, x = box
            near: Place = tuple(np.broadcast_to(v, self.shape)[box] for v in self.place)  # type: ignore[assignment]
            if not near[0].size:
                continue
            own = tumour.shares((self.axes[0][x], self.axes[1][y], self.axes[2][z]), near, self.voxel, growth, sharp)
            index = lookup.reshape(self.shape)[box].ravel()
            here = np.flatnonzero(index >= 0)
            to = index[here]
            side = np.sign(tumour.centre[0])
            across = np.clip(-side * near[0].ravel()[here], 0, None)
            # It stays below the surface, in its half but for the callosum, and above the tent.
            room = ramp(depth[to] - 1, self.voxel) * ramp(4 - across, 3.0) * ramp(self.healthy.cerebrum[to] - 1, 3.0)
            core = own.core.ravel()[here] * room
            # Fingers of oedema follow the white matter and spare the cortex.
            far = own.spread.ravel()[here] * (0.12 + 0.88 * white[to]) - 1.5 * across * (across > 3)
            oedema = ramp(own.edge.ravel()[here] + far, 2.5 + self.voxel) * room * (1 - fluid[to]) * (1 - core)
            enhancing, dead = own.enhancing.ravel()[here] * room, own.dead.ravel()[here] * room
            live = np.clip(core - enhancing - dead, 0, None)
            free = 1 - core
            for name, share in (("oedema", oedema), ("core", live), ("dead", dead), ("enhancing", enhancing)):
                # Where tumours meet, the later one displaces the parts of the earlier.
                found[name][to] = (
                    np.maximum(found[name][to] * free, share) if name == "oedema" else (found[name][to] * free + share)
                )
        total = found["core"] + found["dead"] + found["enhancing"]
        found["oedema"] = np.minimum(found["oedema"], np.clip(1 - total, 0, 1))
        return found

    def tissues(self, rng: np.random.Generator, difficulty: float, stripped: bool) -> _Drawn:
        """Return all tissues, and things that look like tumour and are none."""
        healthy = self.healthy
        kept = np.clip(1 - sum(self.tumour.values()), 0, 1)
        csf, grey, white, deep = healthy.shares * kept
        spots, dots = (self._noise(rng, gap) for gap in (6.0, 4.5))
        vein = healthy.sulcus * kept * ramp(dots - 0.8, 1.0)
        plexus = healthy.plexus * kept
        vessel = np.minimum(np.maximum(np.float32(0.75) * vein, np.float32(0.7) * plexus), csf)
        # White matter turns bright around the chambers and in spots, with age.
        old = float(np.clip((self.patient.age - 45) / 40, 0, 1.2)) * float(rng.uniform(0.2, 1.0)) * (0.3 + difficulty)
        caps = ramp(healthy.chambers + np.float32(1.0 + 4.0 * old) + spots, 2.0) * (healthy.chambers < 0)
        patch = ramp((spots - np.float32(3.0 - 1.1 * old)) * 4, 2.0) * (healthy.chambers < -4)
        lesion = np.maximum(np.float32(0.75 * min(old, 1.0)) * caps, patch * min(1.0, 2 * old)) * white
        brain = {
            "csf": csf - vessel, "grey": grey, "white": white - lesion, "deep grey": deep, "vessel": vessel,
            "lesion": lesion, **self.tumour,
        }  # fmt: skip
        # Dead and swollen tissue is uneven; so is healthy tissue, a little.
        grain = (dots, np.asarray(0.8 * self._noise(rng, 8.0) + 0.5 * spots, dtype=np.float32))
        if stripped:
            return _Drawn(brain, grain, None, None)
        texture = RandomField.draw(rng, 6.0, (125.0, 125.0, 125.0)).on(self.axes)
        return _Drawn(
            brain, grain, head_tissues(self.place, self.hull, texture, self.voxel), ramp(self.hull, self.voxel)
        )

    def _noise(self, rng: np.random.Generator, gap: float) -> Floats:
        return RandomField.draw(rng, gap, (90.0, 110.0, 100.0)).on(self.axes).ravel()[self.at]

    def picture(self, drawn: _Drawn, scanner: Scanner, k: int) -> Floats:
        """Return contrast `k` before the scanner has spoilt it."""
        values = np.zeros(self.at.size, dtype=np.float32)
        for name, share in drawn.brain.items():
            values += share * scanner.table[name][k]
        ill = np.clip(sum(self.tumour.values()), 0, 1)
        values *= 1 + np.float32(0.018) * drawn.texture[0] + np.float32(0.09) * ill * drawn.texture[1]
        whole = np.zeros(self.shape, dtype=np.float32)
        whole.ravel()[self.at] = values
        if drawn.head is not None and drawn.inside is not None:
            whole *= drawn.inside
            for name, share in drawn.head.items():
                whole += share * scanner.table[name][k]
        return whole

    def _full(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        whole = np.zeros(self.mask.size, dtype=np.uint8)
        whole[self.at] = values
        return whole.reshape(self.shape)

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return the label of every voxel: the largest share of background, oedema, core and enhancing."""
        parts = self.tumour
        core = parts["core"] + parts["dead"]
        background = 1 - parts["oedema"] - core - parts["enhancing"]
        return self._full(np.argmax([background, parts["oedema"], core, parts["enhancing"]], axis=0).astype(np.uint8))

    def kinds(self) -> npt.NDArray[np.uint8]:
        """Return the tissue of every voxel."""
        return self._full((1 + np.argmax(self.healthy.shares, axis=0)).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Shares of tissues and their grain in the voxels of the brain, shares outside of it, and what is brain."""

    brain: dict[str, Floats]
    texture: tuple[Floats, Floats]
    head: Mapping[str, Floats] | None
    inside: Floats | None


def _seeds(seed: int | Sequence[int]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed if isinstance(seed, int) else list(seed))


def _grid(
    size: int | tuple[int, int, int], spacing: float | tuple[float, float, float] | None, reach: float
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    z, y, x = (size,) * 3 if isinstance(size, int) else size
    if not all(_SMALLEST <= n <= _LARGEST for n in (z, y, x)):
        raise DataError(f"a size of {size}", f"{_SMALLEST} to {_LARGEST} voxels a side")
    if spacing is None:
        return (z, y, x), (reach / z, reach / y, reach / x)
    dz, dy, dx = (float(spacing),) * 3 if isinstance(spacing, (int, float)) else spacing
    if not all(0.3 <= d <= 20 for d in (dz, dy, dx)):
        raise DataError(f"a spacing of {spacing}", "0.3 to 20 mm a side")
    return (z, y, x), (float(dz), float(dy), float(dx))


def _affine(
    shape: tuple[int, int, int], steps: tuple[float, float, float], rng: np.random.Generator, tilt: float
) -> npt.NDArray[np.float64]:
    """Return the affine from voxels (x, y, z) to mm in RAS+, for slices turned by up to `tilt` degrees."""
    a, b, c = np.radians(rng.uniform(-tilt, tilt, 3))
    turn = np.eye(3)
    for angle, (i, j) in zip((a, b, c), ((1, 2), (0, 2), (0, 1)), strict=True):
        one = np.eye(3)
        one[[i, j], [i, j]] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(steps[::-1])
    middle = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = np.round(rng.normal(0, 6, 3), 1) - affine[:3, :3] @ middle
    return affine


def draw_brain(
    seed: int | tuple[int, ...],
    *,
    age: int = -1,
    sex: str = "",
    n_tumours: int = -1,
    size: int | tuple[int, int, int] = 64,
    spacing: float | tuple[float, float, float] | None = None,
    difficulty: float = 0.5,
    growth: float = 1.0,
    stripped: bool = True,
    tilt: float = 0.0,
) -> PhantomScan:
    """Draw one scan of a patient of its own (synthetic, not for clinical use).

    Parameters
    ----------
    seed : int or sequence of int
    age, sex, n_tumours
        As in `BrainPhantom`.
    size, spacing, difficulty, growth, stripped, tilt
        As in `BrainPhantom.draw`.

    Returns
    -------
    PhantomScan

    Raises
    ------
    DataError
        A setting out of range.

    Examples
    --------
    >>> scan = draw_brain(1, size=32)
    >>> sorted(set(scan.labels.array.ravel().tolist())) == [0, 1, 2, 3]
    True
    """
    root = (seed,) if isinstance(seed, int) else tuple(seed)
    patient = BrainPhantom((*root, 0), age=age, sex=sex, n_tumours=n_tumours)
    return patient.draw(
        (*root, 1), size=size, spacing=spacing, difficulty=difficulty, growth=growth, stripped=stripped, tilt=tilt
    )
