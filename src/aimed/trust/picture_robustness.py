"""How much a picture classifier loses when pictures get worse: in noise, exposure, sharpness, framing, compression."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from aimed.core import DataError
from aimed.core.image import Grey, Placement
from aimed.metrics.arrays import labels, patient_codes
from aimed.metrics.intervals import adjust_p_values
from aimed.metrics.multilabel import MultilabelEstimate, multilabel_auroc
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate, checked_level, clustered, two_sided_p
from aimed.trust.words import number, plural

__all__ = ["DEFAULT", "Change", "Predict", "robustness", "rows_of_patients", "worsened"]

Predict: TypeAlias = Callable[[Grey], ArrayLike]
"""From pictures, uint8 or uint16, shape (b, y, x), to risks, shape (b, k)."""

_Field: TypeAlias = NDArray[np.float32]
_BATCH = 64
_SPAN = math.log(50.0)
"""Quantum noise takes black to have let 50 times as many photons through as white, as in a chest film."""


class Images(Protocol):
    """Pictures that are fetched by number."""

    def __len__(self) -> int:
        """Return the number of pictures."""
        ...

    def rows(self, rows: NDArray[np.int64]) -> Grey:
        """Return some pictures, shape (b, y, x)."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which a picture gets worse, at one strength.

    Parameters
    ----------
    kind : str
        A name of the table in `worsened`.
    amount : float
        In the unit of the kind.

    Examples
    --------
    >>> Change("blur", 0.01).label, Change("jpeg", 20).key
    ('Gaussian blur, SD 1 % of the width', 'jpeg_20')
    """

    kind: str
    amount: float

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise DataError(f"no change called '{self.kind}'", f"one of: {', '.join(_KINDS)}")
        low, high = _KINDS[self.kind].limits
        if not low <= self.amount <= high:
            raise DataError(f"{self.kind} of {self.amount:g}", f"from {low:g} to {high:g}")

    @property
    def key(self) -> str:
        """Kind and amount in one word."""
        return f"{self.kind}_{self.amount:g}"

    @property
    def label(self) -> str:
        """What is done, in words with units."""
        kind = _KINDS[self.kind]
        return kind.words.format(self.amount * kind.shown)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind of change is worded, between which amounts, and what it does to a picture of 0 to 1."""

    words: str
    shown: float
    limits: tuple[float, float]
    work: Callable[[_Field, float, np.random.Generator], _Field]


def _noise(x: _Field, sd: float, rng: np.random.Generator) -> _Field:
    return x + np.float32(sd) * rng.standard_normal(x.shape, dtype=np.float32)


def _quanta(x: _Field, photons: float, rng: np.random.Generator) -> _Field:
    # Brighter is denser: photons fall with the exponential of the grey level, and their logarithm is what is shown.
    counts = rng.poisson(photons * np.exp(-_SPAN * x.astype(np.float64)))
    return np.asarray(-np.log(np.maximum(counts, 0.5) / photons) / _SPAN, dtype=np.float32)


def _gamma(x: _Field, exponent: float, rng: np.random.Generator) -> _Field:
    return np.asarray(np.power(x, np.float32(exponent)))


def _brighter(x: _Field, share: float, rng: np.random.Generator) -> _Field:
    return x + np.float32(share)


def _flatter(x: _Field, share: float, rng: np.random.Generator) -> _Field:
    middle = x.mean(dtype=np.float64).astype(np.float32)
    return np.asarray(middle + np.float32(share) * (x - middle))


def _blurred(x: _Field, share: float, rng: np.random.Generator) -> _Field:
    return np.asarray(ndimage.gaussian_filter(x, share * x.shape[1], mode="nearest", truncate=3.0))


def _coarser(x: _Field, factor: float, rng: np.random.Generator) -> _Field:
    from PIL import Image

    height, width = (max(1, round(side / factor)) for side in x.shape)
    small = Image.fromarray(x).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize((x.shape[1], x.shape[0]), Image.Resampling.BILINEAR))


def _cropped(x: _Field, share: float, rng: np.random.Generator) -> _Field:
    from PIL import Image

    height, width = x.shape
    box = (share * width, share * height, (1 - share) * width, (1 - share) * height)
    return np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BILINEAR, box=box))


def _shifted(x: _Field, share: float, rng: np.random.Generator) -> _Field:
    angle = rng.uniform(0, 2 * math.pi)
    by = (share * x.shape[1] * math.sin(angle), share * x.shape[1] * math.cos(angle))
    return np.asarray(ndimage.shift(x, by, order=1, mode="constant", cval=0.0, prefilter=False))


def _turned(x: _Field, degrees: float, rng: np.random.Generator) -> _Field:
    way = degrees if rng.random() < 0.5 else -degrees
    return np.asarray(ndimage.rotate(x, way, reshape=False, order=1, mode="constant", cval=0.0, prefilter=False))


def _compressed(x: _Field, quality: float, rng: np.random.Generator) -> _Field:
    from PIL import Image

    page = io.BytesIO()
    Image.fromarray(np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)).save(page, "JPEG", quality=int(quality))
    with Image.open(page) as back:
        return np.asarray(back, dtype=np.float32) / np.float32(255)


_KINDS: dict[str, _Kind] = {
    "noise": _Kind("Gaussian noise, SD {:g} % of the range", 100, (0, 1), _noise),
    "quantum_noise": _Kind("Quantum noise, {:,.0f} photons a pixel at black", 1, (50, 1e9), _quanta),
    "gamma": _Kind("Gamma {:g}", 1, (0.1, 10), _gamma),
    "exposure": _Kind("Grey levels moved by {:+g} % of the range", 100, (-1, 1), _brighter),
    "contrast": _Kind("Contrast lowered to {:g} %", 100, (0, 1), _flatter),
    "blur": _Kind("Gaussian blur, SD {:g} % of the width", 100, (0, 0.5), _blurred),
    "resolution": _Kind("Resolution lowered {:g} times and enlarged again", 1, (1, 64), _coarser),
    "crop": _Kind("Outer {:g} % cut off at each side and the rest enlarged", 100, (0, 0.45), _cropped),
    "shift": _Kind("Moved by {:g} % of the width in a random direction", 100, (0, 0.5), _shifted),
    "rotation": _Kind("Turned by {:g} degrees, left or right at random", 1, (0, 180), _turned),
    "jpeg": _Kind("JPEG compression, quality {:g} of 100, 8 bits", 1, (1, 95), _compressed),
}

DEFAULT: tuple[Change, ...] = tuple(
    Change(kind, amount)
    for kind, amounts in {
        "noise": (0.02, 0.05, 0.1),
        "quantum_noise": (5000, 1000, 200),
        "gamma": (0.7, 0.5, 1.4, 2.0),
        "exposure": (0.1, -0.1),
        "contrast": (0.7, 0.4),
        "blur": (0.005, 0.01, 0.02),
        "resolution": (2, 4),
        "crop": (0.05, 0.1),
        "shift": (0.05, 0.1),
        "rotation": (5, 15),
        "jpeg": (50, 20, 10),
    }.items()
    for amount in amounts
)
"""The changes that are tried when none are named, each kind from weak to strong."""


def worsened(
    pictures: Grey, change: Change, rows: ArrayLike, *, seed: int = 0, areas: Sequence[Placement] | None = None
) -> Grey:
    """Return pictures after a change, of the same shape and type.

    ============= ============================ ==========================================================
    kind          amount                       what it does
    ============= ============================ ==========================================================
    noise         SD, share of the range       adds independent Gaussian noise to each pixel
    quantum_noise photons a pixel at black     draws Poisson counts, grey being the logarithm of 1 / count
                                               and white 50 times as dense as black
    gamma         exponent                     below 1 lightens, above 1 darkens the middle greys
    exposure      share of the range           adds to each pixel, cut at black and white
    contrast      share that is left           of the differences from the mean of the picture
    blur          SD, share of the width       Gaussian
    resolution    factor                       averages over cells and enlarges again, linear
    crop          share of each side           cuts all four sides and enlarges, aspect kept
    shift         share of the width           in a random direction, black where nothing was
    rotation      degrees                      left or right at random, black where nothing was
    jpeg          quality, 1 to 95             compresses and decompresses, in 8 bits
    ============= ============================ ==========================================================

    Parameters
    ----------
    pictures : uint8 or uint16 array, shape (b, y, x)
        Larger is brighter, and denser.
    change : Change
    rows : int array, shape (b,)
        Number of each picture: what is random in it is drawn from this, the change and the seed, whatever the batch.
    seed : int
    areas : sequence of Placement, length b, optional
        The part of its frame that each picture fills; the bars around it are left alone.

    Raises
    ------
    DataError
        If the pictures are not grey ones of 8 or 16 bits, or the lengths differ.

    Examples
    --------
    >>> step = np.repeat(np.array([[0, 255]], dtype=np.uint8), 4, axis=1)[None].repeat(8, axis=1)
    >>> worsened(step, Change("exposure", -0.2), [0])[0, 0].tolist()
    [0, 0, 0, 0, 204, 204, 204, 204]
    """
    given, numbers = np.asarray(pictures), np.asarray(rows, dtype=np.int64)
    if given.ndim != 3 or given.dtype not in (np.uint8, np.uint16):
        raise DataError(f"pictures of shape {given.shape} and type {given.dtype}", "uint8 or uint16, (b, y, x)")
    if numbers.shape != given.shape[:1] or (areas is not None and len(areas) != len(given)):
        raise DataError(f"{len(given)} pictures and {numbers.size} row numbers", "one each")
    top = float(np.iinfo(given.dtype).max)
    out = given.copy()
    work, name = _KINDS[change.kind].work, zlib.crc32(change.key.encode())
    for place, picture in enumerate(given):
        part: tuple[slice, slice] = (slice(None), slice(None))
        if areas is not None:
            at = areas[place]
            part = (slice(at.top, at.top + at.height), slice(at.left, at.left + at.width))
        rng = np.random.default_rng((seed, name, int(numbers[place])))
        field = work(picture[part].astype(np.float32) / np.float32(top), change.amount, rng)
        out[place][part] = np.rint(np.clip(field, 0.0, 1.0) * top)
    return out


def robustness(
    predict: Predict,
    images: Any,
    y: ArrayLike,
    *,
    names: Sequence[str],
    patient: ArrayLike | None = None,
    changes: Sequence[Change] = DEFAULT,
    thresholds: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
    max_rows: int | None = 500,
    batch_size: int = _BATCH,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Predict pictures before and after each change, and say what is lost.

    Parameters
    ----------
    predict : callable
        See `Predict`.
    images : array, shape (n, y, x), or an object with a length and ``rows(indices)``
        uint8 or uint16, larger is brighter. Some are fetched at a time, each once. With ``placement(row)`` the bars
        around a picture are left alone.
    y : 0/1 array, shape (n, k)
        NaN where a finding is not known.
    names : k strings
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    changes : sequence of Change
    thresholds : float array, shape (k,), optional
        With them the share of decisions that change is given.
    level : float
        Coverage of the intervals.
    seed : int
        Of the changes, and of the patients that are drawn.
    max_rows : int, optional
        With more pictures, patients are drawn at random, with all their pictures, until the next would be too many;
        None takes all.
    batch_size : int
    progress : callable, optional
        Hears the share done and what is being done.

    Returns
    -------
    dict
        JSON types: ``n``, ``of`` (pictures there were), ``patients``, ``level``, ``method``, ``seed``, ``unchanged``
        (``macro_auroc``, ``auroc@name`` → measure), ``changes`` (``key``, ``kind``, ``amount``, ``label``,
        ``measures``, ``differences`` changed less unchanged, ``risk_change`` (mean absolute change), ``flipped`` or
        None, ``p``, ``p_holm``, ``state``), ``worst`` and ``flips_most`` (key of the change that
        costs most, and of that which turns most decisions, or None), ``multiplicity``, ``sentence``, ``note``.

    Raises
    ------
    DataError
        If shapes differ, there is no change, or a change is named twice.

    Notes
    -----
    AUROCs of a picture before and after share most of their error, so differences are paired: the influence of each
    row on one AUROC less that on the other, added by patient (DeLong; Obuchowski). The macro AUROC is over the findings
    with both answers. The quantile is that of t with one less than the patients of the rarer answer. A state is "loss
    shown" when the interval of the macro difference lies below 0, "gain shown" above, "no loss shown" when it holds 0,
    which a small sample does for any model, and "not estimable". p values are of the macro difference; Holm's
    adjustment is over all changes. The largest loss is chosen for being extreme, and so is too large on average.

    References
    ----------
    Hendrycks and Dietterich, ICLR 2019. DeLong et al., Biometrics 1988;44:837. Obuchowski, Biometrics 1997;53:567.
    Holm, Scand J Stat 1979;6:65.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = (np.arange(80) % 2)[:, None]
    >>> pictures = rng.integers(0, 120, (80, 16, 16)).astype(np.uint8)
    >>> pictures[:, 4:8, 4:8] += (15 * y + rng.integers(0, 30, y.shape))[:, :, None].astype(np.uint8)
    >>> found = robustness(lambda x: x[:, 4:8, 4:8].mean(axis=(1, 2))[:, None] / 255, pictures, y, names=["effusion"],
    ...                    changes=[Change("exposure", 0.1), Change("noise", 1.0)])
    >>> [c["state"] for c in found["changes"]], found["worst"]
    (['no loss shown', 'loss shown'], 'noise_1')
    """
    checked_level(level)
    outcome = np.asarray(y, dtype=np.float64)
    keys = [change.key for change in changes]
    if not keys or len(set(keys)) != len(keys):
        raise DataError(f"{len(keys)} changes, {len(set(keys))} different ones", "at least one, each once")
    titles = [str(name) for name in names]
    if outcome.ndim != 2 or outcome.shape != (len(images), len(titles)) or len(set(titles)) != len(titles):
        raise DataError(
            f"y of shape {outcome.shape} for {len(images)} pictures and {len(set(titles))} different names",
            "a row a picture and a column a finding",
        )
    cuts = None if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if cuts is not None and cuts.shape != (len(titles),):
        raise DataError(f"{cuts.size} thresholds for {len(titles)} findings", "one a finding")
    who = None if patient is None else labels("patient", patient, len(images))
    rows = rows_of_patients(who, len(images), max_rows, seed)
    risks = _risks(predict, images, rows, len(titles), changes, seed, batch_size, progress)
    sample = _Sample(outcome[rows], None if who is None else patient_codes(who[rows], rows.size), titles, level)
    before = sample.auroc(risks[0])
    block = [
        sample.compared(change, before, risks[0], after, cuts) for change, after in zip(changes, risks[1:], strict=True)
    ]
    adjusted = adjust_p_values([math.nan if one["p"] is None else one["p"] for one in block], "holm")
    for one, p in zip(block, adjusted, strict=True):
        one["p_holm"] = float(p) if math.isfinite(p) else None
    worst, flips = _worst(block), _flips_most(block)
    return {
        "n": int(rows.size),
        "of": len(images),
        "patients": sample.patients,
        "level": level,
        "method": clustered("paired differences of AUROCs from influence values", sample.codes),
        "seed": seed,
        "unchanged": sample.measures(before),
        "changes": block,
        "worst": None if worst is None else worst["key"],
        "flips_most": None if flips is None else flips["key"],
        "multiplicity": "holm",
        "sentence": _sentence(block, worst, sample.measures(before)["macro_auroc"], int(rows.size), level),
        "note": _note(int(rows.size), len(images), bool(hasattr(images, "placement"))),
    }


def rows_of_patients(patient: NDArray[Any] | None, n: int, most: int | None, seed: int) -> NDArray[np.int64]:
    """Return the rows to look at: all, or those of patients drawn at random while they fit.

    Examples
    --------
    >>> rows_of_patients(np.array(["a", "a", "b", "b"]), 4, 3, 0).size, rows_of_patients(None, 2, None, 0).tolist()
    (2, [0, 1])
    """
    if most is None or n <= most:
        return np.arange(n)
    codes = patient_codes(patient, n)
    order = np.random.default_rng((seed, 0)).permutation(int(codes.max()) + 1)
    taken = np.cumsum(np.bincount(codes)[order]) <= most
    # One patient may have more pictures than all that are wanted.
    taken[0] = True
    return np.flatnonzero(np.isin(codes, order[taken]))


def _batches(images: Any, rows: NDArray[np.int64], size: int) -> Iterator[tuple[slice, Grey, list[Placement] | None]]:
    for start in range(0, rows.size, size):
        part = slice(start, min(start + size, rows.size))
        pictures = np.asarray(images.rows(rows[part]) if hasattr(images, "rows") else images[rows[part]])
        areas = [images.placement(int(row)) for row in rows[part]] if hasattr(images, "placement") else None
        yield part, pictures, areas


def _risks(
    predict: Predict,
    images: Any,
    rows: NDArray[np.int64],
    findings: int,
    changes: Sequence[Change],
    seed: int,
    batch_size: int,
    progress: Callable[[float, str], None] | None,
) -> NDArray[np.float64]:
    """Return risks before, and after each change, shape (1 + changes, n, k)."""
    out = np.empty((1 + len(changes), rows.size, findings))
    for part, pictures, areas in _batches(images, rows, batch_size):
        for place, change in enumerate((None, *changes)):
            if progress is not None:
                share = (part.start + (part.stop - part.start) * place / len(out)) / rows.size
                progress(share, "pictures as they are" if change is None else change.label)
            seen = pictures
            if change is not None:
                seen = worsened(pictures, change, rows[part], seed=seed, areas=areas)
            found = np.asarray(predict(seen), dtype=np.float64)
            if found.shape != (len(pictures), findings) or not np.isfinite(found).all():
                raise DataError(
                    f"predictions of shape {found.shape}, or not all finite, for {len(pictures)} pictures",
                    f"numbers of shape ({len(pictures)}, {findings})",
                )
            out[place, part] = found
    return out


class _Sample:
    """The pictures that are looked at, with what is known of them."""

    def __init__(
        self, outcome: NDArray[np.float64], codes: NDArray[np.int64] | None, names: Sequence[str], level: float
    ) -> None:
        self.outcome, self.codes, self.names, self.level = outcome, codes, names, level
        who = np.arange(len(outcome)) if codes is None else codes
        self.patients = int(np.unique(who).size)
        self._units = [self._rarer(who, outcome[:, [j]]) for j in range(len(names))]
        self._all_units = self._rarer(who, outcome)

    @staticmethod
    def _rarer(who: NDArray[np.int64], outcome: NDArray[np.float64]) -> int:
        """Return the patients with the finding, or without it, whichever are fewer."""
        return min(int(np.unique(who[(outcome == value).any(axis=1)]).size) for value in (0, 1))

    def auroc(self, risk: NDArray[np.float64]) -> MultilabelEstimate:
        return multilabel_auroc(self.outcome, risk, patient=self.codes, level=self.level, names=self.names)

    def measures(self, found: MultilabelEstimate) -> dict[str, dict[str, Any]]:
        each = {f"auroc@{name}": one for name, one in zip(self.names, found.targets, strict=True)}
        return {name: _record(name, one) for name, one in {"macro_auroc": found.macro, **each}.items()}

    def compared(
        self,
        change: Change,
        before: MultilabelEstimate,
        risk_before: NDArray[np.float64],
        risk_after: NDArray[np.float64],
        cuts: NDArray[np.float64] | None,
    ) -> dict[str, Any]:
        """Return the record of one change."""
        after = self.auroc(risk_after)
        gaps = {"macro_auroc": self._gap(after.macro, before.macro, self._all_units)}
        for name, one, other, units in zip(self.names, after.targets, before.targets, self._units, strict=True):
            gaps[f"auroc@{name}"] = self._gap(one, other, units)
        moved = np.abs(risk_after - risk_before)
        macro = gaps["macro_auroc"]
        p = macro.p
        return {
            "key": change.key,
            "kind": change.kind,
            "amount": change.amount,
            "label": change.label,
            "measures": self.measures(after),
            "differences": {name: _record(name, gap, against="unchanged") for name, gap in gaps.items()},
            "risk_change": self._each("risk_change", moved, self._mean),
            "flipped": None
            if cuts is None
            else self._each("flipped", ((risk_after >= cuts) != (risk_before >= cuts)).astype(np.float64), self._share),
            "p": p if p is not None and math.isfinite(p) else None,
            "state": _state(macro),
        }

    def _gap(self, after: Estimate, before: Estimate, units: int) -> Estimate:
        """Return one AUROC less another on the same pictures."""
        if math.isnan(after) or math.isnan(before) or after.influence is None or before.influence is None:
            return Estimate(
                math.nan, name="difference", n=after.n, events=after.events, level=self.level, note=after.note
            )
        found = Estimate.from_influence(
            float(after) - float(before),
            after.influence - before.influence,
            self.codes,
            name="difference",
            n=after.n,
            events=after.events,
            units=units,
            level=self.level,
            bounds=(-1.0, 1.0),
            why="no ranking of two pictures changed",
            method=clustered("infinitesimal jackknife, paired", self.codes),
        )
        found.p = two_sided_p(float(found), found.se, units)
        return found

    def _each(
        self, title: str, values: NDArray[np.float64], work: Callable[[NDArray[np.float64]], Estimate]
    ) -> dict[str, dict[str, Any]]:
        """Return what is made of each column, and of their mean a picture."""
        columns = {f"macro_{title}": values.mean(axis=1)}
        columns |= {f"{title}@{name}": column for name, column in zip(self.names, values.T, strict=True)}
        return {name: _record(name, work(column)) for name, column in columns.items()}

    def _mean(self, values: NDArray[np.float64]) -> Estimate:
        return Estimate.from_influence(
            float(values.mean()),
            (values - values.mean()) / values.size,
            self.codes,
            name="",
            level=self.level,
            units=self.patients,
            bounds=(0.0, math.inf),
            why="risks changed alike in all pictures",
            method=clustered("infinitesimal jackknife", self.codes),
        )

    def _share(self, values: NDArray[np.float64]) -> Estimate:
        return mean_share(values, patient=self.codes, level=self.level)


def _record(name: str, found: Estimate, against: str | None = None) -> dict[str, Any]:
    return found.measure().to_dict() | {"name": name, "against": against}


def _state(gap: Estimate) -> str:
    if gap.upper < 0:
        return "loss shown"
    if gap.lower > 0:
        return "gain shown"
    return "no loss shown" if math.isfinite(gap.lower) or float(gap) == 0.0 else "not estimable"


def _worst(block: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the change that costs most; None where none costs anything."""
    lost = [one for one in block if (one["differences"]["macro_auroc"]["value"] or 0.0) < 0]
    return min(lost, key=lambda one: float(one["differences"]["macro_auroc"]["value"]), default=None)


def _flips_most(block: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the change that turns most decisions; None without thresholds, or where none is turned."""
    known = [one for one in block if one["flipped"] is not None and one["flipped"]["macro_flipped"]["value"] > 0]
    return max(known, key=lambda one: float(one["flipped"]["macro_flipped"]["value"]), default=None)


def _sentence(
    block: Sequence[Mapping[str, Any]], worst: Mapping[str, Any] | None, before: Mapping[str, Any], n: int, level: float
) -> str:
    if before["value"] is None:
        return "Nothing could be compared: no finding has both answers among the pictures that were looked at."
    changes = plural(len(block), "change")
    if worst is None:
        text = f"None of {changes} lowered the macro AUROC of {before['value']:.3f} (n = {number(n)})."
    else:
        gap = worst["differences"]["macro_auroc"]
        text = (
            f"Of {changes} this one costs most: {worst['label']}. Macro AUROC "
            f"{worst['measures']['macro_auroc']['value']:.3f} instead of {before['value']:.3f}, a difference of "
            f"{gap['value']:.3f} ({_interval(gap, 1)}; n = {number(n)})."
        )
    text += f" {_shown(block, level)}"
    most = _flips_most(block)
    if most is not None:
        share = most["flipped"]["macro_flipped"]
        text += (
            f" Most decisions at the thresholds are turned by this one: {most['label']}; {100 * share['value']:.0f} % "
            f"({_interval(share, 100)})."
        )
    return text


def _interval(measure: Mapping[str, Any], by: int) -> str:
    if measure["lower"] is None or measure["upper"] is None:
        return "no interval"
    lower, upper = (f"{by * measure[end]:.{3 if by == 1 else 0}f}" for end in ("lower", "upper"))
    return f"{100 * measure['level']:g} % interval {lower} to {upper}{' %' if by == 100 else ''}"


def _shown(block: Sequence[Mapping[str, Any]], level: float) -> str:
    """Return for how many changes a loss is shown, or that none is, which is not robustness."""
    shown = [one for one in block if one["state"] == "loss shown"]
    if not shown:
        lows = [one["differences"]["macro_auroc"]["lower"] for one in block]
        least = min((low for low in lows if low is not None), default=None)
        fits = "" if least is None or least >= 0 else f"; the data would fit losses of up to {-least:.3f}"
        return f"No interval lies below 0: a loss is not shown, and neither is robustness{fits}."
    firm = sum(1 for one in shown if one["p_holm"] is not None and one["p_holm"] < 1 - level)
    rest = len(block) - len(shown)
    looks = plural(len(block), "time")
    return (
        f"A loss is shown for {number(len(shown))} of {number(len(block))} ({number(firm)} after Holm's adjustment for "
        f"looking {looks})"
        + (f"; for the other {number(rest)} none is shown, which is not to say that there is none." if rest else ".")
    )


def _note(n: int, of: int, inside: bool) -> str:
    parts = [
        "The changes imitate what goes wrong with pictures; real ones from another machine or hospital differ in more "
        "than one way, and only such pictures show what the model loses there."
    ]
    if n < of:
        parts.append(f"Looked at were {number(n)} of {number(of)} pictures, of patients drawn at random.")
    if inside:
        parts.append("The bars around a picture in its frame were left as they are.")
    return " ".join(parts)
