"""Whether one picture is there twice, as it is, re-encoded, brightened or slightly cropped, and so links parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.image_rows import Images, Pictures, shrink, shrink_to
from aimed.checks.kernels.near_images import near_pairs
from aimed.checks.reporter import Reporter
from aimed.core.errors import DataError
from aimed.core.finding import Finding
from aimed.core.image import ImageInfo
from aimed.metrics.arrays import patient_codes

__all__ = ["ImageDuplicates", "check", "check_image_duplicates", "find_image_duplicates"]

_SAY = Reporter(
    "image_duplicates", "Roberts et al., Nat Mach Intell 2021;3:199; Kapoor and Narayanan, Patterns 2023;4:100804"
)
_BITS = 38
_GATE = 0.75
_SMALL, _LARGE = 32, 64
_SMOOTH = 3.0
_HELD = 1 << 16
_TOGETHER = 64
_STEPS = 8
_BLANK = 1e-3
_SAMPLE, _FEWEST = 400, 30
_ODDS = 0.01
_ALIKE, _OF_ALIKE = 0.01, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDuplicates:
    """Pairs of images that show the same picture.

    Parameters
    ----------
    n : int
        Images looked at.
    blank : int
        Images without any detail; they are not compared.
    pairs : int array, shape (m, 2)
        Row numbers, the smaller first. A set of k identical images gives k - 1 pairs with its first one.
    correlation : float array, shape (m,)
        Of the fine structure of the two pictures, laid on each other where they were not alike; 1 for identical ones.
    exact : bool array, shape (m,)
        Identical pixels.
    mirrored : bool array, shape (m,)
        Alike after one is mirrored left to right.
    candidates : int
        Pairs with similar hashes and small pictures.
    compared : int
        Those of them, the most similar first, that were compared in detail.
    limit : float
        Correlation from which a pair was called a duplicate.
    """

    n: int
    blank: int
    pairs: NDArray[np.int64]
    correlation: NDArray[np.float64]
    exact: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]
    candidates: int
    compared: int
    limit: float = 0.9

    def groups(self, *, exact: bool = False) -> NDArray[np.int64]:
        """Return the number of the group of each image, -1 for an image that is there once.

        Parameters
        ----------
        exact : bool
            Join identical images only.

        Examples
        --------
        >>> found = ImageDuplicates(n=4, blank=0, pairs=np.array([[0, 2]]), correlation=np.ones(1),
        ...     exact=np.ones(1, dtype=bool), mirrored=np.zeros(1, dtype=bool), candidates=0, compared=0)
        >>> found.groups().tolist()
        [0, -1, 0, -1]
        """
        chosen = self.pairs[self.exact] if exact else self.pairs
        root = np.arange(self.n)

        def top(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = int(root[i])
            return i

        for a, b in chosen.tolist():
            one, two = sorted((top(a), top(b)))
            root[two] = one
        heads = np.array([top(i) for i in range(self.n)], dtype=np.int64)
        several = np.bincount(heads, minlength=self.n)[heads] > 1
        out = np.full(self.n, -1, dtype=np.int64)
        out[several] = np.unique(heads[several], return_inverse=True)[1]
        return out


class _Sketches(NamedTuple):
    digest: NDArray[np.void]
    words: NDArray[np.uint64]
    mirror: NDArray[np.uint64]
    small: NDArray[np.int8]
    blank: NDArray[np.bool_]


def find_image_duplicates(
    images: Images,
    infos: Sequence[ImageInfo] | None = None,
    *,
    mirrored: bool = False,
    least: float = 0.9,
    at_most: int = 5_000,
    progress: Callable[[int, int], None] | None = None,
) -> ImageDuplicates:
    """Return which images are identical or nearly so.

    Three steps, each on what the one before it left. Identical pixels have one SHA-256. All other pairs are compared
    by a 256-bit difference hash (at most 38 bits apart) and the correlation of their fine structure at 32 x 32 (at
    least 0.75). The most similar pairs are fetched again, laid on each other by an affine motion and compared at
    64 x 64. What all chests share is coarse, so coarse structure is taken off before a correlation is taken.

    Parameters
    ----------
    images : uint8 or uint16 array, shape (n, y, x), or an object with ``rows(indices)`` and a length
    infos : sequence of ImageInfo, optional
        Sizes of the pictures in their frames, as for `aimed.checks.image_rows.Pictures`.
    mirrored : bool
        Also look for mirror images; it doubles the time of the search.
    least : float
        Correlation from which a pair is called a duplicate. Where the pictures of the set are much alike, such as drawn
        ones, the limit is raised to what fewer than one pair in a hundred such sets would reach by that likeness.
    at_most : int
        Pairs that are compared in detail. With more candidates the most similar are taken; 500 of them at most where
        over 1 % of all pairs are candidates, which then says little.
    progress : callable, optional
        Called with images read and their total.

    Raises
    ------
    DataError
        If the images are not grey pictures of one size, or `least` or `at_most` is out of range.

    Notes
    -----
    Every pair is looked at, so the time grows with the square of n: about 10 s of search for 100,000 images. About
    1.3 kB an image is held, and never more than a block of images.

    Among 1,000 real chests no two of different patients came above 0.84 (498,823 pairs: at most 6 in a million are
    called duplicates, with 95 % confidence). Same-patient films of two days are not called duplicates either.

    How much alike a set is, is seen in 400 random pairs of it, laid on each other: with the Fisher transforms' median m
    and upper quartile q, the limit lies at m + z (q - m) / 0.6745, z the normal quantile of 0.01 over the number of
    pairs. Sets of fewer than 30 pictures keep `least`.

    Misses: crops of more than 3 % of a side, rotations of more than 2 degrees, histogram equalisation; in large sets
    crops that rank behind `at_most` other pairs.

    References
    ----------
    Zauner, Implementation and benchmarking of perceptual image hash functions, 2010. Lucas and Kanade, IJCAI
    1981:674.

    Examples
    --------
    >>> a = np.random.default_rng(0).integers(0, 200, (5, 32, 32)).astype(np.uint8)
    >>> a[3] = a[1]
    >>> find_image_duplicates(a).pairs.tolist()
    [[1, 3]]
    """
    if not 0.5 <= least <= 1 or at_most < 0:
        raise DataError(f"least = {least}, at_most = {at_most}", "least from 0.5 to 1 and at_most not negative")
    pictures = Pictures(images, infos)
    n = len(pictures)
    sketches = _sketches(pictures, mirrored, progress)
    keys, first, inverse = np.unique(sketches.digest, return_index=True, return_inverse=True)
    heads = first[inverse]
    copies = np.flatnonzero((heads != np.arange(n)) & ~sketches.blank)
    unique = np.sort(first[~sketches.blank[first]]) if keys.size else np.array([], dtype=np.int64)
    ways = [(False, sketches.words), (True, sketches.mirror)] if mirrored else [(False, sketches.words)]
    near, candidates, compared = [], 0, 0
    for flipped, query in ways:
        held, seen = _candidates(sketches, query, unique, flipped, at_most)
        candidates, compared = candidates + seen, compared + len(held)
        near.append((flipped, held, _compared(pictures, held, flipped, least)))
    if any((alike >= least).any() for _, _, alike in near):
        least = max(least, _likeness(pictures, unique))
    pairs = [np.column_stack([heads[copies], copies])]
    correlation, flips = [np.ones(copies.size)], [np.zeros(copies.size, dtype=bool)]
    for flipped, held, alike in near:
        kept = alike >= least
        pairs.append(held[kept])
        correlation.append(alike[kept])
        flips.append(np.full(int(kept.sum()), flipped))
    joined = np.concatenate(pairs).astype(np.int64).reshape(-1, 2)
    order = np.lexsort((np.concatenate(flips), joined[:, 1], joined[:, 0]))
    return ImageDuplicates(
        n=n,
        blank=int(sketches.blank.sum()),
        pairs=joined[order],
        correlation=np.concatenate(correlation)[order],
        exact=(np.arange(joined.shape[0]) < copies.size)[order],
        mirrored=np.concatenate(flips)[order],
        candidates=candidates,
        compared=compared,
        limit=least,
    )


def _likeness(pictures: Pictures, unique: NDArray[np.int64]) -> float:
    """Return the correlation that no pair of different pictures of this set should reach; 0 for a small set."""
    if unique.size < _FEWEST:
        return 0.0
    drawn = np.random.default_rng(0).integers(0, unique.size, (_SAMPLE, 2))
    pairs = np.sort(unique[drawn[drawn[:, 0] != drawn[:, 1]]], axis=1)
    found = np.arctanh(np.clip(_compared(pictures, pairs, False, 1.0), -0.9999, 0.9999))
    middle, upper = np.quantile(found, (0.5, 0.75))
    far = NormalDist().inv_cdf(1 - _ODDS / (unique.size * (unique.size - 1) / 2))
    return float(np.tanh(middle + far * (upper - middle) / NormalDist().inv_cdf(0.75)))


def _sketches(pictures: Pictures, mirrored: bool, progress: Callable[[int, int], None] | None) -> _Sketches:
    n = len(pictures)
    digest = np.zeros(n, dtype="V32")
    words, mirror = np.zeros((4, n), dtype=np.uint64), np.zeros((4, n if mirrored else 0), dtype=np.uint64)
    small, blank = np.zeros((n, _SMALL * _SMALL), dtype=np.int8), np.zeros(n, dtype=bool)
    for start, block in pictures.blocks():
        full = float(np.iinfo(block.dtype).max)
        for i, frame in enumerate(block, start):
            digest[i] = np.void(hashlib.sha256(frame.tobytes()).digest())
            inner = pictures.cut(i, frame)
            coarse, cells = shrink_to(inner, (16, 17), (_SMALL, _SMALL))
            words[:, i] = _hash(coarse)
            if mirrored:
                mirror[:, i] = _hash(coarse[:, ::-1])
            fine = _fine(cells) / full
            largest = float(np.abs(fine).max())
            blank[i] = largest < _BLANK
            small[i] = np.rint(fine.ravel() * (127 / max(largest, _BLANK)))
        if progress is not None:
            progress(start + block.shape[0], n)
    return _Sketches(digest, words, mirror, small, blank)


def _hash(cells: NDArray[np.float32]) -> NDArray[np.uint64]:
    return np.packbits((np.diff(cells, axis=1) > 0).ravel()).view(np.uint64)


def _fine(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is left after a Gaussian blur is taken off."""
    blur = _blur(cells.shape[-1])
    return np.asarray(cells - blur @ cells @ blur.T)


@cache
def _blur(size: int) -> NDArray[np.float32]:
    at = np.arange(size)
    weight = np.exp(-0.5 * ((at[:, None] - at) / _SMOOTH) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)


def _candidates(
    sketches: _Sketches, query: NDArray[np.uint64], unique: NDArray[np.int64], flipped: bool, at_most: int
) -> tuple[NDArray[np.int64], int]:
    """Return the most similar pairs of different digests, shape (m, 2), and how many passed the gate."""
    if unique.size < 2:
        return np.empty((0, 2), dtype=np.int64), 0
    one, two, three, four = (np.ascontiguousarray(word[unique]) for word in sketches.words)
    small = np.ascontiguousarray(sketches.small[unique])
    turned = small
    if flipped:
        turned = np.ascontiguousarray(small.reshape(-1, _SMALL, _SMALL)[:, :, ::-1]).reshape(small.shape)
    asked = np.ascontiguousarray(query[:, unique])
    capacity = _HELD + at_most + unique.size
    first, second = np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.int64)
    strength = np.empty(capacity)
    at, held, seen, least = 0, 0, 0, _GATE
    while at < unique.size:
        at, held, counted = near_pairs(
            one, two, three, four, asked, small, turned, at, _BITS, _GATE, least, first, second, strength, held
        )
        seen += counted
        if held > at_most:
            kept = np.sort(np.lexsort((second[:held], first[:held], -strength[:held]))[:at_most])
            held = kept.size
            for values in (first, second, strength):
                values[:held] = values[kept]
            # Weaker pairs cannot be among the most similar any more.
            least = float(strength[:held].min()) if held else 2.0
    if held > _OF_ALIKE and seen > _ALIKE * unique.size * (unique.size - 1) / 2:
        kept = np.sort(np.lexsort((second[:held], first[:held], -strength[:held]))[:_OF_ALIKE])
        held, first, second = kept.size, first[kept], second[kept]
    return unique[np.column_stack([first[:held], second[:held]])], seen


def _compared(pictures: Pictures, pairs: NDArray[np.int64], flipped: bool, least: float) -> NDArray[np.float64]:
    """Return the correlation of each pair; pictures that are not alike as they lie are laid on each other first."""
    out = np.empty(pairs.shape[0])
    for start in range(0, pairs.shape[0], _TOGETHER):
        some = pairs[start : start + _TOGETHER]
        rows, back = np.unique(some, return_inverse=True)
        frames = pictures.rows(rows)
        fine = np.stack(
            [_fine(shrink(pictures.cut(int(i), frame), _LARGE, _LARGE)) for i, frame in zip(rows, frames, strict=True)]
        )
        one, two = (fine[back.reshape(some.shape)[:, side]] for side in (0, 1))
        one = one[:, :, ::-1] if flipped else one
        alike = _correlation(one, two)
        apart = np.flatnonzero(alike < least)
        if apart.size:
            alike[apart] = np.maximum(alike[apart], _aligned(one[apart], two[apart]))
        out[start : start + _TOGETHER] = alike
    return out


def _correlation(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    first, second = (v.reshape(v.shape[0], -1).astype(np.float64) for v in (one, two))
    first, second = (v - v.mean(axis=1, keepdims=True) for v in (first, second))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / np.maximum(lengths, 1e-12))


def _aligned(moving: NDArray[np.float32], fixed: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the best correlation while affine motions lay each picture on its fellow (Gauss-Newton)."""
    m, size = moving.shape[0], _LARGE
    y, x = (v.ravel().astype(np.float32) for v in np.mgrid[0:size, 0:size])
    centre = (size - 1) / 2
    basis = np.stack([np.ones_like(x), (x - centre) / (size / 2), (y - centre) / (size / 2)])
    picture, partner = (
        v / np.maximum(np.sqrt((v**2).mean(axis=(1, 2), keepdims=True)), 1e-12) for v in (moving, fixed)
    )
    slope_y, slope_x = np.gradient(picture, axis=(1, 2))
    target = partner.reshape(m, -1)
    motion = np.zeros((m, 6), dtype=np.float32)
    best = np.full(m, -1.0)
    steady = np.float32(0.4) * np.eye(6, dtype=np.float32)
    for step in range(_STEPS + 1):
        at_x, at_y = x + motion[:, :3] @ basis, y + motion[:, 3:] @ basis
        inside = ((at_x >= 0) & (at_x <= size - 1) & (at_y >= 0) & (at_y <= size - 1)).astype(np.float32)
        here = _between(at_x, at_y)
        one, two = _centred(here(picture), inside), _centred(target, inside)
        length_one, length_two = (np.sqrt((v * v).sum(axis=1)) for v in (one, two))
        alike = (one * two).sum(axis=1) / np.maximum(length_one * length_two, 1e-9)
        # A motion that leaves little in common could fit anything.
        best = np.where(inside.mean(axis=1) >= 0.8, np.maximum(best, alike), best)
        if step == _STEPS:
            break
        gain = (alike * length_two / np.maximum(length_one, 1e-9))[:, None]
        wanted = two - gain * one
        jacobian = np.concatenate([(here(s) * inside)[:, None, :] * basis for s in (slope_x, slope_y)], axis=1)
        jacobian *= gain[:, :, None]
        normal = jacobian @ jacobian.transpose(0, 2, 1) + steady
        move = np.linalg.solve(normal, jacobian @ wanted[:, :, None])[:, :, 0]
        motion = np.clip(motion + np.clip(move, -2, 2), -6, 6).astype(np.float32)
    return best


def _centred(values: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = (values * inside).sum(axis=1, keepdims=True) / np.maximum(inside.sum(axis=1, keepdims=True), 1)
    return np.asarray((values - mean) * inside)


def _between(x: NDArray[np.float32], y: NDArray[np.float32]) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Return a function that reads pictures at fractional places, shape (m, places)."""
    top = np.float32(_LARGE - 1.001)
    x, y = np.clip(x, 0, top), np.clip(y, 0, top)
    left, upper = x.astype(np.int64), y.astype(np.int64)
    right, lower = x - left, y - upper
    at = upper * _LARGE + left + np.arange(x.shape[0])[:, None] * _LARGE**2

    def read(pictures: NDArray[Any]) -> NDArray[np.float32]:
        flat = pictures.ravel()
        a, b, c, d = (flat[at + more] for more in (0, 1, _LARGE, _LARGE + 1))
        above, below = a + (b - a) * right, c + (d - c) * right
        return np.asarray(above + (below - above) * lower, dtype=np.float32)

    return read


def check(context: Context) -> list[Finding]:
    """Return findings on pictures of a study that are there more than once; nothing for a table without any.

    * STOP, WARN, NOTE: as for `check_image_duplicates`. Pixels are compared over all parts, outcomes are not looked at.

    Examples
    --------
    >>> from aimed.core.cohort import Cohort
    >>> check(Context(Cohort(patient=[1, 2], variables=[], columns={})))
    []
    """
    if context.images is None:
        return []
    return check_image_duplicates(context.image_duplicates, context.patient_codes, context.parts)


def check_image_duplicates(
    found: ImageDuplicates,
    patient: ArrayLike | None = None,
    parts: Mapping[str, ArrayLike] | None = None,
) -> list[Finding]:
    """Return findings on pictures that are there more than once.

    * STOP: the same picture, exact or nearly, in two parts; identical pictures under two patient ids.
    * WARN: identical pictures, or nearly identical ones of two patients, inside one part.
    * NOTE: nearly identical pictures of one patient inside one part; blank images; pairs not compared in detail.

    Parameters
    ----------
    found : ImageDuplicates
    patient : array, shape (n,), optional
        Patient of each image; without it all images may be of different patients.
    parts : mapping of str to int arrays, optional
        Rows of each part.

    Examples
    --------
    >>> a = np.random.default_rng(0).integers(0, 200, (6, 32, 32)).astype(np.uint8)
    >>> a[4] = a[1]
    >>> f = check_image_duplicates(find_image_duplicates(a), parts={"train": [0, 1, 2], "test": [3, 4, 5]})
    >>> f[0].severity.value, f[0].message
    ('STOP', '1 of 3 images (33.3 %) of the smaller part shows a picture of the other part of train and test.')
    """
    who = np.arange(found.n) if patient is None or not found.n else patient_codes(patient, found.n)
    rows = {name: np.asarray(members, dtype=np.int64) for name, members in (parts or {}).items()}
    if any(r.size and (int(r.min()) < 0 or int(r.max()) >= found.n) for r in rows.values()):
        raise DataError("a part with rows beyond the images", f"rows from 0 to {found.n - 1}", "draw the split again")
    every, exact = found.groups(), found.groups(exact=True)
    out = _across_parts(every, exact, rows)
    if patient is not None:
        out += _across_patients(exact, who)
    out += _inside(found, who, rows, patient is not None)
    if found.blank:
        message = f"{of(found.blank, found.n, 'image')} without any detail were not compared."
        out.append(_SAY.note("images", message, "See the check of image frames.", blank=found.blank, n=found.n))
    left = found.candidates - found.compared
    if left:
        message = f"Of {plural(found.candidates, 'similar pair')} the {found.compared:,} most similar were compared."
        advice = "Raise at_most to look for cropped copies among the others."
        out.append(_SAY.note("images", message, advice, candidates=found.candidates, compared=found.compared))
    return out


def _across_parts(
    every: NDArray[np.int64], exact: NDArray[np.int64], rows: Mapping[str, NDArray[np.int64]]
) -> list[Finding]:
    out = []
    for a, b in combinations(rows, 2):
        small, large = sorted((a, b), key=lambda name: rows[name].size)

        def shared(groups: NDArray[np.int64], small: str = small, large: str = large) -> int:
            there = np.unique(groups[rows[large]])
            return int(np.isin(groups[rows[small]], there[there >= 0]).sum())

        both, same = shared(every), shared(exact)
        if both:
            total = int(rows[small].size)
            out.append(
                _SAY.stop(
                    f"{a}+{b}",
                    f"{of(both, total, 'image')} of the smaller part {'shows' if both == 1 else 'show'} a picture of "
                    f"the other part of {a} and {b}.",
                    "Drop the copies or give one person one id, and draw the split again.",
                    images=both,
                    exact=same,
                    near=both - same,
                    smaller=small,
                    n=total,
                )
            )
    return out


def _across_patients(exact: NDArray[np.int64], who: NDArray[np.int64]) -> list[Finding]:
    member = np.flatnonzero(exact >= 0)
    pairs = np.unique(np.column_stack([exact[member], who[member]]), axis=0)
    groups, ids = np.unique(pairs[:, 0], return_counts=True)
    several = groups[ids > 1]
    if not several.size:
        return []
    images = int(np.isin(exact, several).sum())
    return [
        _SAY.stop(
            "patient",
            f"{plural(int(several.size), 'picture')} {'stands' if several.size == 1 else 'stand'} under more than one "
            "patient id.",
            "Find out whose picture it is; give one person one id, and drop the copies.",
            pictures=several.size,
            images=images,
            n=who.size,
        )
    ]


def _inside(
    found: ImageDuplicates, who: NDArray[np.int64], rows: Mapping[str, NDArray[np.int64]], known: bool
) -> list[Finding]:
    where = rows or {"images": np.arange(found.n)}
    out = []
    for name, members in where.items():
        here = np.zeros(found.n, dtype=bool)
        here[members] = True
        groups = np.where(here, found.groups(exact=True), -1)
        sizes = np.bincount(groups[groups >= 0], minlength=1)
        copies = int(np.maximum(sizes - 1, 0).sum())
        if copies:
            message = f"{of(copies, int(members.size), 'image')} of {name} repeat another one pixel by pixel."
            out.append(_SAY.warn(name, message, "Keep one of each.", copies=copies, n=members.size))
        near = ~found.exact & here[found.pairs].all(axis=1)
        alone = who[found.pairs[:, 0]] == who[found.pairs[:, 1]]
        for kind, chosen in (("two patients", near & ~alone), ("one patient", near & alone)):
            pairs = int(chosen.sum())
            if not pairs:
                continue
            whose = f" of {kind}" if known else ""
            say = _SAY.note if kind == "one patient" else _SAY.warn
            out.append(
                say(
                    name,
                    f"{plural(pairs, 'pair')} of images{whose} in {name} {'is' if pairs == 1 else 'are'} nearly "
                    "identical.",
                    "Look at them: a copy that was re-encoded or cropped, or an exposure that was processed twice.",
                    pairs=pairs,
                    n=members.size,
                    lowest=float(found.correlation[chosen].min()),
                    limit=found.limit,
                    mirrored=int(found.mirrored[chosen].sum()),
                )
            )
    return out
