"""Further readers of the test scans: how far they agree with each other, with the reference standard and the model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import Cohort, DataError
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume, VolumeRefused
from aimed.metrics.case_mean import case_mean
from aimed.metrics.evaluate_segmentation import segmentation_table
from aimed.metrics.segmentation_readers import consensus, reader_agreement
from aimed.readers.image_files import ImageFile, find_images
from aimed.readers.volume_table import VolumeCase
from aimed.study.regions import region_labels, region_table
from aimed.study.spec import StudySpec
from aimed.study.volumes import UNKNOWN, reference_of, volumes_of, volumes_part

__all__ = ["LEAST_CONSENSUS", "ReaderStudy", "reader_study", "readers_digest"]

LEAST_CONSENSUS = 3
"""Of fewer masks of a scan no consensus is made: of two, nothing says which one is right where they differ."""

MODEL, REFERENCE = "model", "reference"
MEASURES = ("dice", "hd95", "surface_dice")

_Bool: TypeAlias = NDArray[np.bool_]
_Scan: TypeAlias = dict[tuple[str, ...], float]
"""What was measured in a region of a scan, by name and parties: ("dice", "a", "model")."""
_Of: TypeAlias = Callable[[_Scan], float]


def reader_study(spec: StudySpec) -> ReaderStudy | None:
    """Return what gathers the masks of further readers; None where the study file names none."""
    return ReaderStudy(spec) if volumes_part(spec).readers else None


def readers_digest(spec: StudySpec, cohort: Cohort) -> str | None:
    """Return a hash that changes with the masks of further readers; None where the study file names none."""
    if spec.volumes is None or not spec.volumes.readers:
        return None
    content = hashlib.sha256()
    for case in volumes_of(cohort).cases:
        for name in spec.volumes.readers:
            path, refusal = case.readers[name]
            content.update(f"{name}\0{refusal[0] if refusal else ''}\0".encode())
            if refusal is None:
                try:
                    files = find_images(path) if path.is_dir() else [ImageFile(path)]
                    content.update("".join(sorted(hashlib.sha256(one.read()).hexdigest() for one in files)).encode())
                except (ImageRefused, DataError) as error:
                    content.update(type(error).__name__.encode())
    return content.hexdigest()


class ReaderStudy:
    """Masks of further readers beside the reference standard and the model, gathered one scan at a time.

    Parameters
    ----------
    spec : StudySpec
        With ``[volumes] readers``.

    Notes
    -----
    Scans with the masks of two readers or more take part. Two readers are compared as the model is with each of them,
    by the same definitions: the model differs from readers as much as readers from each other where the mean over
    readers and the mean over pairs of readers, of the same scans, are alike. Voxels that the reference standard or a
    reader left open count as background for all.

    References
    ----------
    Warfield, Zou and Wells, IEEE TMI 2004;23:903 (STAPLE). Fleiss, Psychol Bull 1971;76:378.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.names = list(volumes_part(spec).readers)
        declared = {name: v.label for name, v in spec.variables.items() if v.label}
        self.labels = {name: declared.get(name, name.replace("_", " ")) for name in self.names}
        self.refused: dict[str, Counter[str]] = {name: Counter() for name in self.names}
        self.read: list[tuple[str, ...]] = []
        self._scans: list[list[_Scan]] = []

    def add(self, case: VolumeCase, reference: Volume, found: _Bool) -> None:
        """Take in one scan.

        Parameters
        ----------
        case : VolumeCase
        reference : Volume
            The mask of the study, on the grid of the source.
        found : bool array, shape (k, z, y, x)
            What the model outlines, on the same grid.
        """
        masks = self._masks(case, reference)
        self.read.append(tuple(masks))
        regions = region_labels(self.spec)
        if len(masks) < 2:
            self._scans.append([{} for _ in regions])
            return
        truth = np.asarray(reference.array)
        known = truth != UNKNOWN
        for mask in masks.values():
            known &= mask != UNKNOWN
        self._scans.append(
            [
                self._region(
                    {name: np.isin(mask, labels) & known for name, mask in masks.items()},
                    {MODEL: found[place] & known, REFERENCE: np.isin(truth, labels) & known},
                    reference.spacing,
                )
                for place, labels in enumerate(regions.values())
            ]
        )

    def _masks(self, case: VolumeCase, reference: Volume) -> dict[str, NDArray[np.uint8]]:
        """Return the masks that can be read; others are counted by code."""
        out = {}
        for name in self.names:
            try:
                mask = case.of_reader(name).read_mask(reference)
                if mask.array.ndim != 3 or int(mask.array.max()) > 255:
                    raise VolumeRefused("BAD_LABELS")
                out[name] = reference_of(self.spec, mask.array)
            except ImageRefused as refused:
                self.refused[name][refused.code] += 1
            except OSError:
                self.refused[name]["MISSING"] += 1
        return out

    def _pair(self, a: _Bool, b: _Bool, spacing: Sequence[float]) -> dict[str, Any]:
        evaluate = self.spec.evaluate
        return segmentation_table(
            a.astype(np.uint8), b.astype(np.uint8), {"region": 1}, spacing, measures=MEASURES,
            tolerance=evaluate.tolerance, definition=evaluate.surface, empty=evaluate.empty,
        )[0]  # fmt: skip

    def _region(self, masks: dict[str, _Bool], others: dict[str, _Bool], spacing: Sequence[float]) -> _Scan:
        """Return what is measured in a region of one scan."""
        out: _Scan = {}
        evaluate = self.spec.evaluate

        def note(parties: tuple[str, str], row: dict[str, Any]) -> None:
            for name in MEASURES:
                out[(name, *parties)] = np.nan if row[name] is None else float(row[name])

        agreed = reader_agreement(
            list(masks.values()), spacing, names=list(masks), tolerance=evaluate.tolerance,
            definition=evaluate.surface, empty=evaluate.empty,
        )  # fmt: skip
        out[("kappa",)] = np.nan if agreed["kappa"] is None else agreed["kappa"]
        for pair in agreed["pairs"]:
            note((pair["first"], pair["second"]), pair)
        for party, other in others.items():
            for name, mask in masks.items():
                note((name, party), self._pair(mask, other, spacing))
        if len(masks) < LEAST_CONSENSUS:
            return out
        agreement = consensus(list(masks.values()))
        # Without one all masks are alike: empty, or the whole of one box.
        shared = next(iter(masks.values())) if agreement is None else agreement.mask
        for name, mask in (masks | others).items():
            row = self._pair(shared, mask, spacing)
            out[("consensus", name)] = np.nan if row["dice"] is None else float(row["dice"])
        if agreement is not None:
            for k, name in enumerate(masks):
                out[("sensitivity", name)] = float(agreement.sensitivity[k])
                out[("specificity", name)] = float(agreement.specificity[k])
        return out

    # ---------------------------------------------------------------------------------------------------- the block

    def block(self, patient: ArrayLike) -> dict[str, Any]:
        """Return how far readers agree.

        Parameters
        ----------
        patient : array, shape (scans,)
            In the order of `add`.

        Returns
        -------
        dict
            The ``readers`` block: ``n`` (test scans), ``scans`` and ``patients`` (with two masks or more), ``level``,
            ``names`` (of the readers), ``labels`` by name, ``read`` (scans by reader), ``refused`` (by reader and
            code), ``by_number`` (scans by how many masks they have), ``regions`` by key, ``method`` and ``note``.
            Of a region ``label``, ``n``, ``kappa``; ``measures``: by name ``readers`` (mean over the pairs of readers
            of a scan), ``model`` and ``reference`` (mean over the readers of a scan) and ``difference`` (model less
            readers, of the same scans); ``pairs``: ``first``, ``second``, ``dice``; ``by_reader``: ``reader``,
            ``label``, ``n``, Dice with ``others``, ``model``, ``reference`` and ``consensus``, ``sensitivity`` and
            ``specificity`` against the consensus; ``consensus``: ``n``, Dice of ``model`` and ``reference`` with it,
            or None; ``state`` ("closer", "farther", "not shown") and ``sentence``. Every number is a
            measure with its interval over patients.
        """
        who = np.asarray(patient)
        several = np.array([len(names) >= 2 for names in self.read], dtype=bool)
        level = self.spec.evaluate.level
        return {
            "n": len(self.read),
            "scans": int(several.sum()),
            "patients": int(np.unique(who[several]).size),
            "level": level,
            "names": self.names,
            "labels": self.labels,
            "read": {name: sum(name in names for names in self.read) for name in self.names},
            "refused": {name: dict(sorted(codes.items())) for name, codes in self.refused.items() if codes},
            "by_number": {str(k): n for k, n in sorted(Counter(map(len, self.read)).items())},
            "least_consensus": LEAST_CONSENSUS,
            "regions": {
                one["key"]: self._told(one["key"], one["label"], [scan[place] for scan in self._scans], who)
                for place, one in enumerate(region_table(self.spec))
            },
            "method": "means over the scans that two readers or more outlined, intervals over patients (t); kappa "
            "(Fleiss) of all voxels of a scan, which grows with the empty space around; consensus by STAPLE in the box "
            f"around the masks of {LEAST_CONSENSUS} readers or more",
            "note": "Readers helped to make the consensus, and the model did not: their agreement with it flatters "
            "them. A reader whose mask is the reference standard, or a part of it, is what the model learned to copy.",
        }

    def _told(self, key: str, label: str, scans: list[_Scan], who: NDArray[Any]) -> dict[str, Any]:
        level = self.spec.evaluate.level

        def mean(name: str, of: _Of, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
            values = np.array([of(scan) if scan else np.nan for scan in scans], dtype=np.float64)
            found = case_mean(values, who, level=level, name=f"{name}@{key}", bounds=(low, high))
            return found.measure().to_dict()

        def value(*place: str) -> _Of:
            return lambda scan: scan.get(place, np.nan)

        measures = {}
        for name in MEASURES:
            top = np.inf if name == "hd95" else 1.0
            between, beside = self._among(name), self._among(name, MODEL)
            measures[name] = {
                "readers": mean(name, between, high=top),
                MODEL: mean(name, beside, high=top),
                REFERENCE: mean(name, self._among(name, REFERENCE), high=top),
                "difference": mean(name, _less(beside, between), -top, top),
            }
        shared = sum(("consensus", MODEL) in scan for scan in scans)
        return {
            "label": label,
            "n": sum(bool(scan) for scan in scans),
            "kappa": mean("kappa", value("kappa"), -1.0),
            "measures": measures,
            "pairs": [
                {"first": a, "second": b, "dice": mean("dice", value("dice", a, b))}
                for a, b in combinations(self.names, 2)
            ],
            "by_reader": [
                {
                    "reader": name,
                    "label": self.labels[name],
                    "n": sum(("dice", name, MODEL) in scan for scan in scans),
                    "others": mean("dice", self._others(name)),
                    **{party: mean("dice", value("dice", name, party)) for party in (MODEL, REFERENCE)},
                    "consensus": mean("dice", value("consensus", name)),
                    "sensitivity": mean("sensitivity", value("sensitivity", name)),
                    "specificity": mean("specificity", value("specificity", name)),
                }
                for name in self.names
            ],
            "consensus": {
                "n": shared,
                **{party: mean("dice", value("consensus", party)) for party in (MODEL, REFERENCE)},
            }
            if shared
            else None,
            **_sentence(label, measures["dice"]),
        }

    def _among(self, name: str, party: str | None = None) -> _Of:
        """Return what gives the mean over pairs of readers, or over readers beside another party, in one scan."""
        pairs = list(combinations(self.names, 2)) if party is None else [(reader, party) for reader in self.names]
        return lambda scan: _mean([scan.get((name, a, b), np.nan) for a, b in pairs])

    def _others(self, reader: str) -> _Of:
        """Return what gives the mean Dice of a reader with the others in one scan."""
        pairs = [pair for pair in combinations(self.names, 2) if reader in pair]
        return lambda scan: _mean([scan.get(("dice", a, b), np.nan) for a, b in pairs])


def _less(one: _Of, other: _Of) -> _Of:
    return lambda scan: one(scan) - other(scan)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _sentence(label: str, dice: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Say whether the model differs from readers as readers do from each other, as far as the interval tells."""
    gap, model, readers = dice["difference"], dice[MODEL], dice["readers"]
    if gap["value"] is None:
        return {"state": "not shown", "sentence": f"{label}: no scan with the masks of two readers could be compared."}
    begin = f"{label}: the Dice of model and reader is {model['value']:.2f}, that of two readers {readers['value']:.2f}"
    if gap["lower"] is None or gap["upper"] is None:
        return {"state": "not shown", "sentence": f"{begin}; there are too few patients to tell them apart."}
    told = f"(difference {gap['value']:+.2f}, {gap['lower']:+.2f} to {gap['upper']:+.2f})".replace(
        "-", "\N{MINUS SIGN}"
    )
    if gap["upper"] < 0:
        return {"state": "farther", "sentence": f"{begin}: the model differs more from readers than they do {told}."}
    if gap["lower"] > 0:
        return {"state": "closer", "sentence": f"{begin}: the model differs less from readers than they do {told}."}
    why = "that the model differs more, or less, from readers than they do from each other was not shown"
    return {"state": "not shown", "sentence": f"{begin}: {why} {told}."}
