"""What a model says of one picture, in plain values: findings with probabilities, the model's name, warnings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aimed import __version__
from aimed.core import DataError

__all__ = ["CODES", "RESEARCH", "FindingResult", "ModelIdentity", "PictureResult", "finding_code", "known", "printable"]

RESEARCH = "Research use only. Not a medical device."
"""Stands in every result, where a reader sees it."""

SCHEME = "99AIMED"
"""Designator of the codes that no standard has."""

_LUNG = ("39607008", "SCT", "Lung")

CODES: Mapping[str, tuple[tuple[str, str, str], tuple[str, str, str] | None]] = MappingProxyType(
    {
        "atelectasis": (("46621007", "SCT", "Atelectasis"), None),
        "cardiomegaly": (("8186001", "SCT", "Cardiomegaly"), None),
        "consolidation": (("95436008", "SCT", "Lung consolidation"), None),
        "covid_19": (("840539006", "SCT", "COVID-19"), None),
        "edema": (("19242006", "SCT", "Pulmonary edema"), None),
        "effusion": (("60046008", "SCT", "Pleural effusion"), None),
        "emphysema": (("87433001", "SCT", "Pulmonary emphysema"), None),
        "fibrosis": (("51615001", "SCT", "Fibrosis of lung"), None),
        "fracture": (("125605004", "SCT", "Fracture of bone"), None),
        "infiltration": (("112121", "DCM", "Infiltrate"), _LUNG),
        "lung_lesion": (("52988006", "SCT", "Lesion"), _LUNG),
        "lung_opacity": (("112001", "DCM", "Opacity"), _LUNG),
        "mass": (("4147007", "SCT", "Mass"), _LUNG),
        "nodule": (("27925004", "SCT", "Nodule"), _LUNG),
        "pneumomediastinum": (("16838000", "SCT", "Pneumomediastinum"), None),
        "pneumonia": (("233604007", "SCT", "Pneumonia"), None),
        "pneumothorax": (("36118008", "SCT", "Pneumothorax"), None),
        "tuberculosis": (("56717001", "SCT", "Tuberculosis"), None),
    }
)
"""Standard code of a finding on a chest X-ray, and of its site where the code does not imply it."""

_OTHER_NAMES = {
    "covid": "covid_19",
    "covid19": "covid_19",
    "infiltrate": "infiltration",
    "lung_consolidation": "consolidation",
    "lung_mass": "mass",
    "lung_nodule": "nodule",
    "oedema": "edema",
    "pleural_effusion": "effusion",
    "pulmonary_edema": "edema",
    "pulmonary_emphysema": "emphysema",
    "pulmonary_fibrosis": "fibrosis",
    "pulmonary_oedema": "edema",
}

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")


def printable(text: str, what: str, limit: int = 64) -> None:
    """Refuse a text that a DICOM element cannot hold.

    Parameters
    ----------
    text : str
    what : str
        Begins the sentence of the refusal, in which the text itself does not stand.
    limit : int
        Letters.

    Raises
    ------
    DataError

    Examples
    --------
    >>> printable("", "the name of a study")
    Traceback (most recent call last):
    aimed.core.errors.DataError: the name of a study of 0 letters; expected ...
    """
    if not text.strip() or len(text) > limit or _UNPRINTABLE.search(text):
        raise DataError(f"{what} of {len(text)} letters", f"1 to {limit} printable letters without a backslash")


def finding_code(key: str, label: str) -> tuple[tuple[str, str, str], tuple[str, str, str] | None]:
    """Return the code (value, scheme, meaning) of a finding and, where needed, of its site.

    Parameters
    ----------
    key : str
        Name of the column; the case and what stands between its words do not matter.
    label : str
        Meaning of the code when no standard has one: the key in the scheme 99AIMED.

    Examples
    --------
    >>> finding_code("Pleural Effusion", "Effusion")[0]
    ('60046008', 'SCT', 'Pleural effusion')
    >>> finding_code("support_devices", "Support devices")[0]
    ('support_devices', '99AIMED', 'Support devices')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
    return CODES.get(_OTHER_NAMES.get(plain, plain)) or ((key, SCHEME, label), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingResult:
    """What a model says of one finding in one picture.

    Parameters
    ----------
    key : str
        Name of the column it learned from.
    probability : float
        From 0 to 1.
    label : str, optional
        Words for people; the key when absent.
    threshold : float, optional
        At or above it the finding is called.
    lower, upper : float, optional
        Interval of the probability.
    level : float
        Of that interval.
    spread : float, optional
        Standard deviation of the probability over networks or augmented pictures.
    conformal : str, optional
        Code of the conformal set: "present", "absent" or "uncertain".
    warnings : tuple of str
        Sentences; never a value of the patient.

    Raises
    ------
    DataError
        If a number is not possible or a text cannot be printed.

    Examples
    --------
    >>> FindingResult(key="effusion", probability=0.8, threshold=0.5).called
    True
    """

    key: str
    probability: float
    label: str = ""
    threshold: float | None = None
    lower: float | None = None
    upper: float | None = None
    level: float = 0.95
    spread: float | None = None
    conformal: str | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.key)
        printable(self.key, "the key of a finding")
        printable(self.label, "the label of a finding")
        if self.conformal is not None:
            printable(self.conformal, "the code of a conformal set", 32)
        numbers = {
            "probability": self.probability,
            "threshold": self.threshold,
            "lower": self.lower,
            "upper": self.upper,
            "level": self.level,
            "spread": self.spread,
        }
        for name, value in numbers.items():
            if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
                raise DataError(f"the {name} of {self.label} is not from 0 to 1", "a share")
        if (self.lower is None) != (self.upper is None):
            raise DataError(f"one limit of the interval of {self.label}", "both or none")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise DataError(f"the interval of {self.label} is upside down", "lower at most upper")

    @property
    def called(self) -> bool | None:
        """Whether the probability reaches the threshold; None without one."""
        return None if self.threshold is None else bool(self.probability >= self.threshold)


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model spoke.

    Parameters
    ----------
    digest : str
        SHA-256 of the bundle in hexadecimal digits, or its first eight or more.
    study : str
        Name of the study that made it.
    version : str
        Of aimed.

    Examples
    --------
    >>> ModelIdentity("sha256:" + "ab" * 32, "chest-demo", "1.0").line
    'aimed 1.0, study chest-demo, model abababababab'
    """

    digest: str
    study: str
    version: str = __version__

    def __post_init__(self) -> None:
        digest = self.digest.removeprefix("sha256:").lower()
        if not re.fullmatch(r"[0-9a-f]{8,64}", digest):
            raise DataError("a digest that is no SHA-256", "8 to 64 hexadecimal digits")
        object.__setattr__(self, "digest", digest)
        printable(self.study, "the name of a study")
        printable(self.version, "the version", 32)

    @property
    def line(self) -> str:
        """Name, version, study and first digits of the digest."""
        return f"aimed {self.version}, study {self.study}, model {self.digest[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureResult:
    """What a model says of one picture.

    Parameters
    ----------
    model : ModelIdentity
    findings : tuple of FindingResult
        Empty only when the picture was refused.
    warnings : tuple of str
        Sentences about the whole picture; never a value of the patient.
    refused : str, optional
        Code of the reason why the model did not answer.
    sha256 : str, optional
        Of the file that was predicted: results go to no other file.

    Raises
    ------
    DataError
        If a finding stands twice, or there is neither a finding nor a refusal, or both.

    Examples
    --------
    >>> PictureResult(model=ModelIdentity("ab" * 32, "demo"), refused="NOT_RADIOGRAPH").findings
    ()
    """

    model: ModelIdentity
    findings: tuple[FindingResult, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    refused: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        keys = [f.key for f in self.findings]
        if len(set(keys)) < len(keys):
            raise DataError("a finding that stands twice", "each finding once")
        if bool(self.findings) == (self.refused is not None):
            raise DataError("a picture with neither findings nor a refusal, or with both", "one of them")

    @classmethod
    def of(
        cls,
        predicted: Mapping[str, Any],
        model: ModelIdentity,
        *,
        thresholds: Mapping[str, float | None],
        labels: Mapping[str, str] | None = None,
    ) -> PictureResult:
        """Return the result that stands in a predicted picture of a bundle.

        Parameters
        ----------
        predicted : mapping
            With ``risk``, and ``spread``, ``sets``, ``warnings`` (each with a ``reason``), ``code`` and ``sha256``
            where there are any: what `aimed.bundle.pictures.PredictedPicture.to_dict` returns.
        model : ModelIdentity
        thresholds : mapping of str to float or None
            By key of the finding; a NaN is none.
        labels : mapping of str to str, optional
            What a finding is called, by key.

        Examples
        --------
        >>> model = ModelIdentity("ab" * 32, "demo")
        >>> result = PictureResult.of({"risk": {"effusion": 0.7}, "code": None}, model, thresholds={"effusion": 0.5})
        >>> result.findings[0].called
        True
        """
        risk, code = predicted.get("risk"), predicted.get("code")
        if not risk or code is not None:
            return cls(model=model, refused=str(code or "NO_PREDICTION"), sha256=predicted.get("sha256"))
        spread, sets = predicted.get("spread") or {}, predicted.get("sets") or {}
        findings = tuple(
            FindingResult(
                key=key,
                label=(labels or {}).get(key, key)[:64],
                probability=float(value),
                threshold=known(thresholds.get(key)),
                spread=known(spread.get(key)),
                conformal=sets.get(key),
            )
            for key, value in risk.items()
        )
        told = tuple(str(w["reason"]) for w in predicted.get("warnings") or ())
        return cls(model=model, findings=findings, warnings=told, sha256=predicted.get("sha256"))


def known(value: float | None) -> float | None:
    """Return a number, or None where there is none or a NaN stands for it."""
    return None if value is None or math.isnan(value) else float(value)
