"""What a model says of one scan, in plain values: regions with volume, interval, expected Dice and standard code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from aimed.core import DataError
from aimed.diagnosis.dicom_statement import ModelIdentity, known, printable

__all__ = ["REGION_CODES", "SITES", "Code", "RegionResult", "ScanResult", "region_code"]

Code: TypeAlias = tuple[str, str, str]
"""Value, designator of the scheme and meaning."""

ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY: Code = ("91723000", "SCT", "Anatomical Structure")
TISSUE: Code = ("85756007", "SCT", "Tissue")
_CATEGORIES = (ABNORMAL, ANATOMY, TISSUE)

_TUMOUR: Code = ("108369006", "SCT", "Neoplasm")
_EDEMA: Code = ("79654002", "SCT", "Edema")
_NECROSIS: Code = ("6574001", "SCT", "Necrosis")
_ENHANCING: Code = ("C113842", "NCIt", "Enhancing Lesion")
_NOT_ENHANCING: Code = ("C81175", "NCIt", "Non-Enhancing Lesion")

REGION_CODES: Mapping[str, tuple[Code, Code]] = MappingProxyType(
    {
        "tumour": (ABNORMAL, _TUMOUR),
        "whole_tumour": (ABNORMAL, _TUMOUR),
        "tumour_core": (ABNORMAL, _TUMOUR),
        "brain_tumour": (ABNORMAL, _TUMOUR),
        "enhancing_tumour": (ABNORMAL, _ENHANCING),
        "non_enhancing_tumour": (ABNORMAL, _NOT_ENHANCING),
        "non_enhancing_tumour_core": (ABNORMAL, _NOT_ENHANCING),
        "non_enhancing_core": (ABNORMAL, _NOT_ENHANCING),
        "oedema": (ABNORMAL, _EDEMA),
        "peritumoural_oedema": (ABNORMAL, _EDEMA),
        "necrosis": (ABNORMAL, _NECROSIS),
        "necrotic_core": (ABNORMAL, _NECROSIS),
        "lesion": (ABNORMAL, ("52988006", "SCT", "Lesion")),
        "nodule": (ABNORMAL, ("27925004", "SCT", "Nodule")),
        "mass": (ABNORMAL, ("4147007", "SCT", "Mass")),
        "cyst": (ABNORMAL, ("367643001", "SCT", "Cyst")),
        "haemorrhage": (ABNORMAL, ("50960005", "SCT", "Hemorrhage")),
        "brain": (ANATOMY, ("12738006", "SCT", "Brain")),
        "hippocampus": (ANATOMY, ("5366008", "SCT", "Hippocampus")),
        "white_matter": (ANATOMY, ("389080008", "SCT", "White Matter")),
        "grey_matter": (ANATOMY, ("389081007", "SCT", "Gray Matter")),
        "heart": (ANATOMY, ("80891009", "SCT", "Heart")),
        "lung": (ANATOMY, ("39607008", "SCT", "Lung")),
        "liver": (ANATOMY, ("10200004", "SCT", "Liver")),
        "spleen": (ANATOMY, ("78961009", "SCT", "Spleen")),
        "pancreas": (ANATOMY, ("15776009", "SCT", "Pancreas")),
        "kidney": (ANATOMY, ("64033007", "SCT", "Kidney")),
        "prostate": (ANATOMY, ("41216001", "SCT", "Prostate")),
    }
)
"""Category and type of a region by its key; see DICOM PS3.16, CID 7150 and CID 7151."""

SITES: Mapping[str, Code] = MappingProxyType(
    {
        "BRAIN": ("12738006", "SCT", "Brain"),
        "HEAD": ("69536005", "SCT", "Head"),
        "CHEST": ("816094009", "SCT", "Chest"),
        "ABDOMEN": ("818981001", "SCT", "Abdomen"),
        "LIVER": ("10200004", "SCT", "Liver"),
        "KIDNEY": ("64033007", "SCT", "Kidney"),
        "PROSTATE": ("41216001", "SCT", "Prostate"),
        "PANCREAS": ("15776009", "SCT", "Pancreas"),
        "HEART": ("80891009", "SCT", "Heart"),
    }
)
"""Code of a region of the body by the word of the header (BodyPartExamined)."""

_SPELLED = (("tumor", "tumour"), ("(?<!o)edema", "oedema"), ("hemorr", "haemorr"), ("gray", "grey"))
_SHORT = {"wt": "whole_tumour", "tc": "tumour_core", "et": "enhancing_tumour", "necrotic": "necrosis"}


def region_code(key: str, declared: Code | None = None) -> tuple[Code, Code]:
    """Return the category and the type of a region: as declared, as the standard has it, or generic (tissue).

    Parameters
    ----------
    key : str
        Of the region; spelling as in Britain or America.
    declared : (str, str, str), optional
        Type as a user names it; its category is that of the key.

    Examples
    --------
    >>> region_code("Enhancing tumor")[1]
    ('C113842', 'NCIt', 'Enhancing Lesion')
    >>> region_code("something_else")
    (('85756007', 'SCT', 'Tissue'), ('85756007', 'SCT', 'Tissue'))
    """
    plain = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
    for theirs, ours in _SPELLED:
        plain = re.sub(theirs, ours, plain)
    category, kind = REGION_CODES.get(_SHORT.get(plain, plain), (TISSUE, TISSUE))
    if declared is None:
        return category, kind
    if declared in _CATEGORIES:
        return declared, declared
    return (ABNORMAL if category == TISSUE else category), declared


def _number(value: Any, name: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    found = float(value)
    if not (math.isfinite(found) and low <= found <= high):
        raise DataError(f"{name} is no number from {low:g} to {high:g}", "a finite number in its range")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionResult:
    """What a model says of one region of a scan.

    Parameters
    ----------
    key : str
    ml : float
        Volume.
    label : str, optional
        Words for people; the key when absent.
    lower, upper : float, optional
        Interval of the volume in ml; both or none.
    level : float
        Of that interval.
    expected_dice : float, optional
        Overlap with a reader's outline that is to be expected, 0 to 1.
    code : (str, str, str), optional
        Type of the region: value, scheme and meaning; see `region_code`.
    warnings : tuple of str
        Sentences; never a value of the patient.

    Raises
    ------
    DataError
        If a number is not possible or a text cannot be printed.

    Examples
    --------
    >>> RegionResult(key="oedema", ml=12.5).kind
    ('79654002', 'SCT', 'Edema')
    """

    key: str
    ml: float
    label: str = ""
    lower: float | None = None
    upper: float | None = None
    level: float = 0.95
    expected_dice: float | None = None
    code: Code | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.key)
        printable(self.key, "the key of a region")
        printable(self.label, "the label of a region")
        if self.code is not None:
            if len(self.code) != 3:
                raise DataError(f"the code of {self.label} has {len(self.code)} parts", "value, scheme and meaning")
            for part, limit in zip(self.code, (16, 16, 64), strict=True):
                printable(part, f"a part of the code of {self.label}", limit)
        for name, high in {"ml": 1e6, "lower": 1e6, "upper": 1e6, "level": 1.0, "expected_dice": 1.0}.items():
            value = _number(getattr(self, name), f"the {name} of {self.label}", 0.0, high)
            object.__setattr__(self, name, value)
        if (self.lower is None) != (self.upper is None):
            raise DataError(f"one limit of the interval of {self.label}", "both or none")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise DataError(f"the interval of {self.label} is upside down", "lower at most upper")

    @property
    def category(self) -> Code:
        """Kind of property, such as a morphologically abnormal structure."""
        return region_code(self.key, self.code)[0]

    @property
    def kind(self) -> Code:
        """What the region is of."""
        return region_code(self.key, self.code)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What a model says of one scan.

    Parameters
    ----------
    model : ModelIdentity
    regions : tuple of RegionResult
        In the order of the masks.
    warnings : tuple of str
        Sentences about the whole scan; never a value of the patient.

    Raises
    ------
    DataError
        If a region stands twice or there is none.
    """

    model: ModelIdentity
    regions: tuple[RegionResult, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keys = [region.key for region in self.regions]
        if not keys or len(set(keys)) < len(keys):
            raise DataError("a scan without regions, or a region that stands twice", "each region once")

    @classmethod
    def of(
        cls,
        model: ModelIdentity,
        volumes: Mapping[str, Mapping[str, Any]],
        *,
        expected_dice: Mapping[str, float | None] | None = None,
        labels: Mapping[str, str] | None = None,
        codes: Mapping[str, Code] | None = None,
        level: float = 0.95,
        warnings: tuple[str, ...] = (),
    ) -> ScanResult:
        """Return the result that stands in the outlines of a scan.

        Parameters
        ----------
        model : ModelIdentity
        volumes : mapping of str to mapping
            ``ml``, ``lower`` and ``upper`` by key of the region, in the order of the masks; a NaN is none.
        expected_dice : mapping of str to float or None, optional
        labels : mapping of str to str, optional
            What a region is called, by key.
        codes : mapping of str to (str, str, str), optional
            Types that a user declared, by key.
        level : float
            Of the intervals.
        warnings : tuple of str

        Examples
        --------
        >>> model = ModelIdentity("ab" * 32, "demo")
        >>> ScanResult.of(model, {"lesion": {"ml": 3.0, "lower": 2.0, "upper": 4.5}}).regions[0].upper
        4.5
        """
        dice = expected_dice or {}
        regions = tuple(
            RegionResult(
                key=key,
                label=(labels or {}).get(key, key)[:64],
                ml=float(one["ml"]),
                lower=known(one.get("lower")),
                upper=known(one.get("upper")),
                level=level,
                expected_dice=known(dice.get(key)),
                code=(codes or {}).get(key),
            )
            for key, one in volumes.items()
        )
        return cls(model=model, regions=regions, warnings=warnings)
