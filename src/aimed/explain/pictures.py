"""The explanation of a picture study: heat maps of every finding, checked before anyone is asked to believe them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from aimed.core import DataError, NotEstimableError, UnknownNameError
from aimed.core.image import Placement
from aimed.explain.draws import sample_rows
from aimed.explain.localisation import FEWEST, MapCheck, localisation, mean_by_patient, span
from aimed.metrics.arrays import patient_codes
from aimed.metrics.evaluate_multilabel import finding_keys
from aimed.metrics.result import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aimed.explain.class_activation import Maps, Method

__all__ = ["Pictures", "Prepare", "Regions", "explain_pictures", "heat_maps"]

Prepare: TypeAlias = Callable[[NDArray[Any]], Any]
"""``prepare(pictures)``: pictures as stored, shape (b, y, x), as the network takes them, shape (b, channels, y, x)."""


class Pictures(Protocol):
    """Pictures in frames of one size, such as `aimed.readers.image_set.ImageSet`."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def rows(self, rows: ArrayLike, /) -> NDArray[Any]:
        """Return some frames, shape (b, y, x)."""
        ...

    def placement(self, row: int, /) -> Placement:
        """Return where a picture lies in its frame."""
        ...


class Regions(Protocol):
    """Where findings are, such as `aimed.readers.regions.Regions`."""

    @property
    def refused(self) -> Mapping[str, int]:
        """How many regions could not be used so far, by code."""
        ...

    def rows(self, finding: str, /) -> NDArray[np.int64]:
        """Return the pictures with a region of a finding."""
        ...

    def mask(self, row: int, finding: str, /) -> NDArray[np.bool_] | None:
        """Return the region in the frame of the model, shape (y, x)."""
        ...


_WORDS: Mapping[str, tuple[str, str]] = {
    "grad_cam": (
        "Grad-CAM",
        "The maps weigh each of the network's last feature maps by its weight for the finding and add them up; what is "
        "below 0 is cut off. For a network with a linear head this is exact: before the cut, a map adds up to the "
        "score.",
    ),
    "grad_cam_pp": (
        "Grad-CAM++",
        "The maps add up the network's last feature maps, and give those more weight that mark few places.",
    ),
    "hires_cam": (
        "HiResCAM",
        "The maps multiply each place of the network's last feature maps by its gradient and add them up; what is "
        "below 0 is cut off.",
    ),
    "layer_cam": (
        "LayerCAM",
        "The maps add up the network's last feature maps with their positive gradients only: what speaks against a "
        "finding is not subtracted.",
    ),
    "occlusion": (
        "Occlusion",
        "The maps say how far the score falls when a window of the picture is covered.",
    ),
}

_PASSES = 6000
"""Pictures that the checks together put through the network, unless asked otherwise."""

_STEPS, _DRAWS = 3, 3
_DELETED, _SHIFTS = 8, 2
_DELETION = 2 * (_DELETED + 1) * (_SHIFTS + 1)
"""Forward passes of one picture in the deletion and insertion check."""

_TILES = 9
"""Strides of the covering window along a side, where occlusion is only compared with: 8 x 8 windows, not 15 x 15."""

_SAME = 0.9
"""Rank correlation below which the score that maps explain is not the reported risk."""

_STATE = {True: "pass", False: "fail", None: "not enough evidence"}

_NOTE = (
    "A heat map shows where in the picture the score of a finding came from, as coarsely as the network's last layer. "
    "It is no outline of the finding, no proof that the finding is there, and no cause."
)


def heat_maps(
    module: Any,
    prepare: Prepare,
    images: Pictures,
    rows: ArrayLike,
    *,
    method: Method = "grad_cam",
    classes: Sequence[int] | None = None,
    batch: int = 32,
    **options: Any,
) -> Maps:
    """Return heat maps of some pictures in the frame of the model.

    Parameters
    ----------
    module : torch module
    prepare : callable
        See `Prepare`.
    images : Pictures
    rows : int array, shape (m,)
    method, classes
        As in `aimed.explain.class_activation.activation_maps`.
    batch : int
        Pictures read and prepared at a time.
    **options
        More of that function, such as ``window``.

    Returns
    -------
    float32 array, shape (m, classes, y, x)
    """
    from aimed.explain.class_activation import activation_maps

    wanted = np.asarray(rows, dtype=np.int64)
    if not wanted.size:
        raise DataError("no pictures", "at least one row")
    return np.concatenate(
        [
            activation_maps(module, _ready(prepare, images, some), method=method, classes=classes, **options)
            for some in np.array_split(wanted, -(-wanted.size // max(1, batch)))
        ]
    )


def explain_pictures(
    module: Any,
    prepare: Prepare,
    images: Pictures,
    risk: ArrayLike,
    y: ArrayLike,
    *,
    names: Sequence[str],
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    regions: Regions | None = None,
    method: Method = "grad_cam",
    networks: int = 1,
    max_cases: int = 200,
    passes: int = _PASSES,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Make heat maps on test pictures and say of each finding whether they are to be believed.

    Parameters
    ----------
    module : torch module
        Returns log odds, shape (n, k): linear in the mean of its last maps, unless `method` is ``"occlusion"``.
    prepare : callable
        See `Prepare`.
    images : Pictures, length n
    risk : float array, shape (n, k)
        As reported; the score of `module` should rank pictures alike.
    y : float array, shape (n, k)
        1 present, 0 absent, NaN unknown.
    names : sequence of str, length k
        Of the findings, as `regions` knows them.
    labels : sequence of str, length k, optional
        As shown to people; the names when absent.
    patient : array, shape (n,), optional
        Each picture its own patient when absent.
    regions : Regions, optional
        Where findings are; without them nothing is said of places.
    method : {"grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "occlusion"}
    networks : int
        How many networks the reported risk averages; maps are those of `module` alone.
    max_cases : int
        Most pictures of a finding whose maps are compared with regions.
    passes : int
        About how many pictures the other checks together may put through the network; each check keeps a few pictures
        for every finding, whatever this says.
    level : float
    seed : int
        Of samples, random networks and shifts.
    progress : callable, optional
        Hears the share done and what is done now.

    Returns
    -------
    dict
        ``kind`` is ``"maps"``; ``findings`` holds for each the ``state`` (pass, fail, not enough evidence), a
        ``sentence`` and its ``checks``. A finding passes when its maps change with the weights, its score depends on
        what they mark and, where regions are known, they point at them more often than chance. It fails when one of
        these is refuted.

    Raises
    ------
    DataError
        If shapes do not fit together.
    UnknownNameError
        If there is no such method.

    Notes
    -----
    Maps are judged on pictures with the finding. With a linear head Grad-CAM and HiResCAM are the same; agreement is
    therefore that with LayerCAM and with occlusion, which takes no gradient.

    References
    ----------
    Adebayo et al., NeurIPS 2018. Petsiuk et al., BMVC 2018. Zhang et al., IJCV 2018;126:1084. Saporta et al., Nat Mach
    Intell 2022;4:867.
    """
    if method not in _WORDS:
        raise UnknownNameError("method of heat maps", method, tuple(_WORDS))
    chances, truth = (np.asarray(values, dtype=np.float64) for values in (risk, y))
    n, k = len(images), len(names)
    if n == 0 or k == 0 or chances.shape != (n, k) or truth.shape != (n, k):
        raise DataError(f"risk of shape {chances.shape} and labels of shape {truth.shape}", f"({n}, {k}), both")
    shown = list(names if labels is None else labels)
    if len(shown) != k:
        raise DataError(f"{len(shown)} labels for {k} findings", "one each")
    work = _Work(
        module, prepare, images, patient_codes(patient, n), tuple(names), method, int(max_cases), int(passes), level,
        int(seed), progress or _quiet, k,
    )  # fmt: skip
    with _counted(module) as count:
        work.tell(0.0, "heat maps: random weights")
        overall, each = work.randomised(truth)
        alike = work.same_ranking(chances)
        findings: dict[str, Any] = {}
        agreements: list[dict[str, _Pairs]] = []
        for column, (key, name, label) in enumerate(zip(finding_keys(names), names, shown, strict=True)):
            start = 0.15 + 0.85 * column / k
            present = np.flatnonzero(truth[:, column] == 1)
            work.tell(start, f"heat maps of {label}: deletion")
            checks = {
                "parameter_randomisation": each[column] if overall is None or overall.passed is not False else overall,
                "deletion_insertion": work.deletion(column, present),
            }
            work.tell(start + 0.4 / k, f"heat maps of {label}: places")
            where = work.places(column, name, present, regions)
            work.tell(start + 0.55 / k, f"heat maps of {label}: other methods")
            pairs = work.agreement(column, present)
            agreements.append(pairs)
            findings[key] = _finding(
                name, label, int(present.size), int(np.isfinite(truth[:, column]).sum()), checks, where, alike[column],
                _measures({other: work.mean(pair) for other, pair in pairs.items()}),
            )  # fmt: skip
    work.tell(1.0, "")
    together = {
        other: work.mean(tuple(np.concatenate(part) for part in zip(*(one[other] for one in agreements), strict=True)))
        for other in agreements[0]
    }
    return {
        "kind": "maps",
        "method": method,
        "label": _WORDS[method][0],
        "means": _WORDS[method][1],
        "note": _NOTE,
        "sentence": _summary(findings),
        "findings": findings,
        "sanity": {"parameter_randomisation": None if overall is None else _record(overall)},
        "agreement": {
            "methods": {other: _WORDS[other][0] for other in together},
            "estimates": _measures(together),
            "sentence": _agreement_sentence(_WORDS[method][0], together),
        },
        "networks": int(networks),
        "network_note": ""
        if networks == 1
        else f"The reported risk is the mean of {networks} networks; the maps are those of the first.",
        "regions": None if regions is None else _regions(regions, names, findings, truth),
        "n": n,
        "patients": int(work.codes.max()) + 1,
        "sampled": work.sampled(regions is not None),
        "cost": {"pictures_through_network": count[0], "seed": int(seed)},
    }


_Pairs: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Similarities and the patient of each."""


@dataclass(frozen=True, slots=True)
class _Work:
    """The checks with what they share, each on a sample of whole patients that the seed fixes."""

    module: Any
    prepare: Prepare
    images: Pictures
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    method: Method
    max_cases: int
    passes: int
    level: float
    seed: int
    tell: Callable[[float, str], None]
    k: int

    def _sample(self, rows: NDArray[np.int64], most: int, *salt: int) -> NDArray[np.int64]:
        if rows.size <= most:
            return rows
        dense = np.unique(self.codes[rows], return_inverse=True)[1]
        return rows[sample_rows(dense, most, [self.seed, 17, *salt])]

    def _maps(self, rows: NDArray[np.int64], column: int, method: Method | None = None, **options: Any) -> Maps:
        return heat_maps(
            self.module, self.prepare, self.images, rows, method=method or self.method, classes=[column], **options
        )[:, 0]

    def _slow(self) -> bool:
        return self.method == "occlusion"

    @property
    def randomised_cases(self) -> int:
        # Occlusion reads each picture some two hundred times.
        return 2 * FEWEST if self._slow() else int(np.clip(0.1 * self.passes // (1 + _STEPS * _DRAWS), 2 * FEWEST, 40))

    @property
    def deleted_cases(self) -> int:
        return int(np.clip(0.5 * self.passes // (_DELETION * self.k), FEWEST + 1, 40))

    @property
    def compared_cases(self) -> int:
        return int(np.clip(0.4 * self.passes // (_TILES**2 * self.k), 3, 10))

    def randomised(self, truth: NDArray[np.float64]) -> tuple[MapCheck | None, list[MapCheck | None]]:
        from aimed.explain.class_activation import activation_maps
        from aimed.explain.map_sanity import randomised_findings

        some = np.flatnonzero((truth == 1).any(axis=1))
        if np.unique(self.codes[some]).size < FEWEST:
            some = np.arange(len(self.images))
        rows = self._sample(some, self.randomised_cases, 1)
        try:
            return randomised_findings(
                self.module,
                _ready(self.prepare, self.images, rows),
                lambda module, pictures: activation_maps(module, pictures, method=self.method),
                patient=self.codes[rows],
                steps=1 if self._slow() else _STEPS,
                draws=1 if self._slow() else _DRAWS,
                level=self.level,
                seed=self.seed,
            )
        except NotEstimableError:
            return None, [None] * self.k

    def same_ranking(self, risk: NDArray[np.float64]) -> list[float | None]:
        """Return the rank correlation of the score that is explained with the reported risk, for each finding."""
        from aimed.explain.class_activation import scores_of

        rows = self._sample(np.arange(len(self.images)), self.max_cases, 2)
        score = np.concatenate(
            [scores_of(self.module, _ready(self.prepare, self.images, some)) for some in _parts(rows)]
        )
        if score.shape[1] != self.k:
            raise DataError(f"a network of {score.shape[1]} findings and {self.k} names", "as many of both")
        return [_rank_correlation(score[:, c], risk[rows, c]) for c in range(self.k)]

    def deletion(self, column: int, present: NDArray[np.int64]) -> MapCheck | None:
        from aimed.explain.map_sanity import deletion_insertion

        if not present.size:
            return None
        rows = self._sample(present, self.deleted_cases, 3, column)
        return deletion_insertion(
            self.module,
            _ready(self.prepare, self.images, rows),
            self._maps(rows, column),
            column,
            patient=self.codes[rows],
            steps=_DELETED,
            shifts=_SHIFTS,
            level=self.level,
            seed=self.seed + column,
        )

    def places(
        self, column: int, name: str, present: NDArray[np.int64], regions: Regions | None
    ) -> tuple[MapCheck, MapCheck | None] | None:
        """Return the comparison with regions, and the same with maps of other patients' pictures."""
        if regions is None:
            return None
        rows = self._sample(np.intersect1d(present, regions.rows(name)), self.max_cases, 4, column)
        if self._slow():
            rows = self._sample(rows, self.compared_cases, 4, column)
        seen, masks = [], []
        for row in rows.tolist():
            mask = regions.mask(row, name)
            visible = _visible(self.images, row)
            if mask is not None and (mask & visible).any():
                seen.append((row, visible))
                masks.append(mask & visible)
        if not seen:
            return None
        rows = np.asarray([row for row, _ in seen])
        heat, inside = self._maps(rows, column), np.stack(masks)
        options: dict[str, Any] = {
            "patient": self.codes[rows], "visible": np.stack([v for _, v in seen]), "level": self.level,
        }  # fmt: skip
        other = _other_patient(self.codes[rows])
        swapped = None if other is None else localisation(heat[other], inside, **options)
        return localisation(heat, inside, **options), swapped

    def agreement(self, column: int, present: NDArray[np.int64]) -> dict[str, _Pairs]:
        from aimed.explain.map_sanity import similarity

        # Of a linear head HiResCAM is Grad-CAM: there is nothing to agree on.
        others: list[Method] = ["grad_cam", "layer_cam", "occlusion"]
        others = [other for other in others if other != self.method]
        if self.method == "hires_cam":
            others.remove("grad_cam")
        rows = self._sample(present, self.compared_cases, 5, column)
        none = np.zeros(0), np.zeros(0, dtype=np.int64)
        found: dict[str, _Pairs] = dict.fromkeys(others, none)
        if not rows.size:
            return found
        own = np.maximum(self._maps(rows, column), 0)[:, None]
        side = min(own.shape[2:])
        coarse = {"window": max(1, side // 6), "stride": max(1, side // _TILES)}
        for other in others:
            try:
                heat = self._maps(rows, column, other, **(coarse if other == "occlusion" else {}))
            except DataError:
                # A network without a linear head has no map but that of occlusion.
                continue
            alike = similarity(own, np.maximum(heat, 0)[:, None])[0]
            told = np.isfinite(alike)
            found[other] = alike[told], self.codes[rows][told]
        return found

    def mean(self, pair: tuple[NDArray[Any], ...]) -> Estimate | None:
        """Return the mean similarity; None of no pictures."""
        values, codes = pair
        return mean_by_patient(values, codes, level=self.level, name="spearman") if values.size else None

    def sampled(self, placed: bool) -> dict[str, Any]:
        numbers = {
            "parameter_randomisation": self.randomised_cases,
            "deletion_insertion": self.deleted_cases,
            "agreement": self.compared_cases,
        }
        text = (
            f"Checks look at samples of pictures, whole patients where they fit: random weights at most "
            f"{numbers['parameter_randomisation']}, deletion and insertion at most {numbers['deletion_insertion']} "
            f"with each finding, agreement between methods at most {numbers['agreement']} with each finding"
        )
        if placed:
            numbers["localisation"] = self.compared_cases if self._slow() else self.max_cases
            text += f", localisation at most {numbers['localisation']} with each finding and a region"
        return {"most": numbers, "sentence": text + "."}


def _ready(prepare: Prepare, images: Pictures, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(prepare(images.rows(rows)), dtype=np.float32)


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(rows, -(-rows.size // 32))


def _visible(images: Pictures, row: int) -> NDArray[np.bool_]:
    place = images.placement(row)
    seen = np.zeros((place.size, place.size), dtype=bool)
    seen[place.top : place.top + place.height, place.left : place.left + place.width] = True
    return seen


def _other_patient(codes: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return for each picture one of another patient; None where one patient has more than half of them."""
    order = np.argsort(codes, kind="stable")
    most = int(np.unique(codes, return_counts=True)[1].max())
    if 2 * most > codes.size:
        return None
    other = np.empty_like(order)
    # In the order of patients, a step as long as the largest run leaves every patient.
    other[order] = np.roll(order, -most)
    return other


def _rank_correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float | None:
    a, b = (rankdata(values) - (values.size + 1) / 2 for values in (one, two))
    below = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / below) if below > 0 else None


@contextmanager
def _counted(module: Any) -> Iterator[list[int]]:
    """Count the pictures that go through the network and its copies."""
    count = [0]

    def add(part: Any, given: Any, out: Any) -> None:
        count[0] += len(given[0])

    hook = module.register_forward_hook(add)
    try:
        yield count
    finally:
        hook.remove()


def _record(check: MapCheck) -> dict[str, Any]:
    return check.to_dict() | {"state": _STATE[check.passed]}


def _finding(
    name: str, label: str, present: int, known: int, checks: Mapping[str, MapCheck | None],
    where: tuple[MapCheck, MapCheck | None] | None, alike: float | None, agreement: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    place, swapped = where or (None, None)
    records: dict[str, Any] = {kind: None if one is None else _record(one) for kind, one in checks.items()}
    records["localisation"] = None
    if place is not None:
        records["localisation"] = _record(place) | {
            "swapped": None if swapped is None else swapped.estimates["pointing"].measure().to_dict()
        }
    passed, sentence = _judged(label, present, checks, place, swapped, alike)
    return {
        "name": name,
        "label": label,
        "present": present,
        "known": known,
        "passed": passed,
        "state": _STATE[passed],
        "sentence": sentence,
        "checks": records,
        "agreement": agreement,
        "same_ranking": alike,
    }


def _judged(
    label: str, present: int, checks: Mapping[str, MapCheck | None], place: MapCheck | None,
    swapped: MapCheck | None, alike: float | None,
) -> tuple[bool | None, str]:  # fmt: skip
    """Return the verdict on a finding's maps and the sentence that says it."""
    weights, deletion = checks["parameter_randomisation"], checks["deletion_insertion"]
    label = label[:1].upper() + label[1:]
    said = "" if place is None else f" {place.sentence}"
    if swapped is not None:
        said += f" With maps of other patients it would be {100 * float(swapped.estimates['pointing']):.0f} %."
    if alike is not None and alike < _SAME:
        said += (
            f" The score they explain ranks pictures only in part as the reported risk does (rank correlation "
            f"{alike:.2f})."
        )
    for check in (weights, deletion):
        if check is not None and check.passed is False:
            return False, f"{label}: the maps are not to be believed. {check.sentence}{said}"
    if place is not None and place.passed is False:
        return False, (
            f"{label}: the maps are not to be believed as the place of the finding; they or the network look "
            f"elsewhere.{said}"
        )
    if not present:
        return None, f"{label}: no test picture has it, so nothing is known of its maps; do not rely on them."
    missing = [
        text
        for check, text in (
            (weights, "whether the maps depend on the weights"),
            (deletion, "whether the score depends on what they mark"),
        )
        if check is None or check.passed is None
    ]
    if place is not None and place.passed is None:
        missing.append("whether they point at the finding")
    if missing:
        return None, f"{label}: not enough evidence to say {' and '.join(missing)}; do not rely on the maps.{said}"
    start = f"{label}: the maps depend on what the network has learned, and the score on what they mark."
    if place is None:
        return True, f"{start} Whether that is the finding itself is not known: there are no reference regions.{said}"
    return True, start + said


def _regions(
    regions: Regions, names: Sequence[str], findings: Mapping[str, Any], truth: NDArray[np.float64]
) -> dict[str, Any]:
    """Return how many regions there were, and what became of those that were not used."""
    known = {key: regions.rows(name) for key, name in zip(findings, names, strict=True)}
    against = {key: int((truth[rows, j] == 0).sum()) for j, (key, rows) in enumerate(known.items())}
    refused = {code: int(count) for code, count in sorted(regions.refused.items())}
    parts = []
    if sum(against.values()):
        parts.append(f"{sum(against.values()):,} of pictures whose label says that the finding is absent")
    if refused:
        parts.append(f"{sum(refused.values()):,} that could not be read ({', '.join(refused)})")
    return {
        "pictures": {key: int(rows.size) for key, rows in known.items()},
        "against_label": against,
        "refused": refused,
        "sentence": f"Regions that were not used: {'; '.join(parts)}." if parts else "",
    }


def _summary(findings: Mapping[str, Mapping[str, Any]]) -> str:
    by_state = {s: [one["label"] for one in findings.values() if one["state"] == s] for s in _STATE.values()}
    parts = []
    if by_state["fail"]:
        parts.append(f"are not to be believed for {_listed(by_state['fail'])}")
    if by_state["not enough evidence"]:
        parts.append(f"could not be judged for {_listed(by_state['not enough evidence'])}")
    if by_state["pass"]:
        parts.append(f"passed their checks for {_listed(by_state['pass'])}")
    return f"Heat maps {'; they '.join(parts)}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _agreement_sentence(own: str, together: Mapping[str, Estimate | None]) -> str:
    told = [f"{_WORDS[other][0]} {span(one)}" for other, one in together.items() if one is not None]
    if not told:
        return "Methods could not be compared: no picture has a finding, or the network has no maps of another kind."
    return f"Places are ranked by {own} and by another method with a correlation of: {'; '.join(told)}."


def _measures(estimates: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: None if one is None else one.measure().to_dict() for name, one in estimates.items()}


def _quiet(share: float, text: str) -> None:
    """Say nothing."""
