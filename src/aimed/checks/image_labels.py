"""Whether the findings of images are spelt, filled and coded as they should be, and do not contradict each other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.feature_coding import texts
from aimed.checks.patients import shared_patients
from aimed.checks.reporter import Reporter
from aimed.core.errors import DataError
from aimed.core.finding import Finding
from aimed.core.outcome import Multilabel
from aimed.metrics.arrays import patient_codes

__all__ = [
    "KNOWN_FINDINGS",
    "LabelCount",
    "check",
    "check_image_labels",
    "check_label_names",
    "label_table",
    "overlapping_parts",
]

_SAY = Reporter(
    "image_labels",
    "Wang et al., CVPR 2017:2097; Irvin et al., AAAI 2019;33:590; Oakden-Rayner, Acad Radiol 2020;27:106",
)
_NIH = (
    "Atelectasis, Cardiomegaly, Effusion, Infiltration, Mass, Nodule, Pneumonia, Pneumothorax, Consolidation, Edema, "
    "Emphysema, Fibrosis, Pleural Thickening, Hernia, No Finding"
)
_CHEXPERT = (
    "Enlarged Cardiomediastinum, Lung Opacity, Airspace Opacity, Lung Lesion, Pleural Effusion, Pleural Other, "
    "Fracture, Support Devices"
)
_OTHER = (
    "Tuberculosis, COVID-19, Lung Cancer, Hilar Enlargement, Calcification, Scoliosis, Interstitial Lung Disease, "
    "Aortic Enlargement, Rib Fracture, Clavicle Fracture, Pulmonary Fibrosis, Pneumoperitoneum, Pneumomediastinum, "
    "Subcutaneous Emphysema, Tortuous Aorta, Granuloma, Bronchiectasis, Abnormal, Normal"
)
KNOWN_FINDINGS: tuple[str, ...] = tuple(name.strip() for name in ", ".join((_NIH, _CHEXPERT, _OTHER)).split(","))
"""Names of findings in NIH ChestX-ray14, CheXpert and other public sets of chest radiographs."""

_NORMAL = frozenset({"nofinding", "nofindings", "normal"})
_HARMLESS = frozenset({"supportdevices"})
_LEAST = 20
_UNCERTAIN_SHARE = 0.20


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCount:
    """How often one finding has each answer in one part.

    Parameters
    ----------
    finding, part : str
    n : int
        Images of the part.
    positive, negative, uncertain, missing : int
        Images with 1, 0, -1 and no value.
    patients : int, optional
        Patients with a positive image.
    """

    finding: str
    part: str
    n: int
    positive: int
    negative: int
    uncertain: int
    missing: int
    patients: int | None = None

    @property
    def share(self) -> float:
        """Positives among the images with a certain answer; NaN without any.

        Examples
        --------
        >>> LabelCount(finding="Mass", part="train", n=4, positive=1, negative=2, uncertain=1, missing=0).share
        0.3333333333333333
        """
        known = self.positive + self.negative
        return self.positive / known if known else math.nan


def label_table(
    labels: ArrayLike,
    names: Sequence[str],
    *,
    parts: Mapping[str, ArrayLike] | None = None,
    patient: ArrayLike | None = None,
) -> list[LabelCount]:
    """Return the answers of each finding in each part.

    Parameters
    ----------
    labels : array, shape (n, k)
        1 positive, 0 negative, -1 uncertain, NaN unknown.
    names : sequence of str
        The k findings.
    parts : mapping of str to int arrays, optional
    patient : array, shape (n,), optional

    Raises
    ------
    DataError
        If the shapes do not fit or a label has another value.

    Examples
    --------
    >>> label_table([[1], [0], [-1], [1]], ["Mass"], patient=[7, 7, 8, 7])[0].patients
    1
    """
    table = _labels(labels, names)
    n = table.shape[0]
    who = None if patient is None or not n else patient_codes(patient, n)
    out = []
    for part, rows in _parts(parts, n).items():
        for j, name in enumerate(names):
            answer = table[rows, j]
            positive = answer == 1
            out.append(
                LabelCount(
                    finding=name,
                    part=part,
                    n=int(rows.size),
                    positive=int(positive.sum()),
                    negative=int((answer == 0).sum()),
                    uncertain=int((answer == -1).sum()),
                    missing=int(np.isnan(answer).sum()),
                    patients=None if who is None else int(np.unique(who[rows][positive]).size),
                )
            )
    return out


def overlapping_parts(patients: Mapping[str, ArrayLike]) -> dict[tuple[str, str], int]:
    """Return how many patients each two lists of patient ids share, where they share any.

    For lists that come as separate files; `aimed.checks.patients` does the same for the split of one table.

    Parameters
    ----------
    patients : mapping of str to arrays
        Part → patient id of each of its images.

    Examples
    --------
    >>> overlapping_parts({"train": [1, 2, 2], "valid": ["2"], "test": [3]})
    {('train', 'valid'): 1}
    """
    shared = {(a, b): shared_patients(patients[a], patients[b]) for a, b in combinations(patients, 2)}
    return {pair: count for pair, count in shared.items() if count}


def check_label_names(names: Sequence[str], known: Sequence[str] = KNOWN_FINDINGS) -> list[Finding]:
    """Return findings on names that look like a known finding but are not spelt so, or that name one finding twice.

    * STOP: two columns whose names differ only in case, blanks and punctuation.
    * WARN: a name one or two letters from a known one (an edit distance of 1 for names up to 6 letters, 2 beyond).
    * NOTE: names that are known but for case, blanks and punctuation; names unlike any known one.

    Examples
    --------
    >>> for f in check_label_names(["Nodulle", "Pleural_Thickening"]):
    ...     print(f.severity.value, f.message)
    WARN 'Nodulle' is not a known finding but looks like 'Nodule'.
    NOTE 1 name is that of a known finding but for case, blanks or punctuation.
    """
    plain = [_plain(name) for name in names]
    spelt = {_plain(name): name for name in known}
    out = []
    for key in dict.fromkeys(p for p in plain if plain.count(p) > 1):
        twice = [name for name, p in zip(names, plain, strict=True) if p == key]
        message = f"{plural(len(twice), 'column')} are named '{twice[0]}' but for case, blanks or punctuation."
        out.append(_SAY.stop(twice[0], message, "Join them, or rename one.", columns=twice))
    styled, unknown = {}, []
    for name, key in zip(names, plain, strict=True):
        if key in spelt:
            if name != spelt[key]:
                styled[name] = spelt[key]
            continue
        match = _match(key, spelt)
        if match is None:
            unknown.append(name)
            continue
        near, distance = match
        out.append(
            _SAY.warn(
                name,
                f"'{name}' is not a known finding but looks like '{near}'.",
                "Correct the name, or keep it if it is meant.",
                nearest=near,
                edits=distance,
            )
        )
    if styled:
        said = "is that of a known finding" if len(styled) == 1 else "are those of known findings"
        message = f"{plural(len(styled), 'name')} {said} but for case, blanks or punctuation."
        out.append(_SAY.note("labels", message, "Write them one way when sets are joined.", names=styled))
    if unknown:
        message = f"{plural(len(unknown), 'name')} {'is' if len(unknown) == 1 else 'are'} not among the known findings."
        out.append(_SAY.note("labels", message, "Check the spelling.", names=unknown))
    return out


def check(context: Context) -> list[Finding]:
    """Return findings on the labels of pictures, and of a table whose findings are, half of them or more, known ones.

    Labels count as they stand in the table, with uncertain ones, where the study gives them. Copies of one picture are
    held against their labels in ``train`` only.

    * STOP, WARN, NOTE: as for `check_image_labels`.
    * STOP: an examination whose pictures stand under two patients in two parts; WARN inside one part. Numbers of
      examinations that start anew with each patient (over half of them shared) are told apart by patient.

    Examples
    --------
    >>> from aimed.core import Cohort, Multilabel
    >>> outcome = Multilabel(values=[[1, 0], [0, 0], [1, 0]], targets=("Mass", "Edema"))
    >>> [f.message for f in check(Context(Cohort(patient=[1, 2, 3], variables=[], columns={}, outcome=outcome)))][0]
    "'Edema' is never present."
    """
    outcome = context.cohort.outcome
    if not isinstance(outcome, Multilabel):
        return []
    table = outcome.values if context.raw_labels is None else context.raw_labels
    identical = alike = None
    if context.images is not None:
        train = np.isin(np.arange(context.cohort.n), context.rows)
        found = context.image_duplicates
        identical, alike = (np.where(train, found.groups(exact=exact), -1) for exact in (True, False))
    else:
        spelt = {_plain(name): name for name in KNOWN_FINDINGS}
        if 2 * sum(_match(_plain(name), spelt) is not None for name in outcome.targets) < len(outcome.targets):
            return []
    study, told = _examinations(context)
    told += check_image_labels(
        table,
        outcome.targets,
        patient=context.patient_codes,
        parts=context.parts,
        identical=identical,
        alike=alike,
        study=study,
    )
    if "notes" in context.cohort.assets:
        told = [replace(f, message=_OF_IMAGES.sub(r"note\1", f.message)) for f in told]
    return sorted(told, key=lambda f: ("STOP", "WARN", "NOTE").index(f.severity.value))


_OF_IMAGES = re.compile(r"\bimage(s?)\b(?!')")


def _examinations(context: Context) -> tuple[NDArray[np.int64] | None, list[Finding]]:
    """Return the examination of each picture, -1 for none, and what is wrong with them."""
    if context.imaging_study is None or not context.cohort.n:
        return None, []
    n, who = context.cohort.n, context.patient_codes
    code = _named(context.imaging_study, n)
    known = np.flatnonzero(code >= 0)
    group = np.full(n, -1)
    if not known.size:
        return group, []
    pairs, group[known] = np.unique(np.column_stack([code, who])[known], axis=0, return_inverse=True)
    shared = np.bincount(pairs[:, 0]) > 1
    hit, names = int(shared.sum()), int(shared.size)
    if not hit or 2 * hit > names:
        return group, []
    part = np.full(n, -1)
    for k, rows in enumerate(context.parts.values()):
        part[rows] = k
    held = np.unique(np.column_stack([code, part])[(code >= 0) & (part >= 0)], axis=0)
    across = int((shared & (np.bincount(held[:, 0], minlength=names) > 1)).sum())
    said = "holds" if hit == 1 else "hold"
    message = f"{of(hit, names, 'examination')} {said} pictures of more than one patient"
    message += f", {across:,} of them in two parts." if across else "."
    advice = "Find out whether one person has two ids; give one person one id, and draw the split again."
    say = _SAY.stop if across else _SAY.warn
    return group, [say("patient", message, advice, examinations=hit, across_parts=across, n=names)]


def check_image_labels(
    labels: ArrayLike,
    names: Sequence[str],
    *,
    patient: ArrayLike | None = None,
    parts: Mapping[str, ArrayLike] | None = None,
    identical: ArrayLike | None = None,
    alike: ArrayLike | None = None,
    study: ArrayLike | None = None,
    least: int = _LEAST,
    known: Sequence[str] = KNOWN_FINDINGS,
) -> list[Finding]:
    """Return findings on the labels of images.

    * STOP: identical images with opposite labels; a part without any known label of a finding that others have;
      what `check_label_names` stops on.
    * WARN: nearly identical images, or images of one study, with opposite labels; "No Finding" together with a
      finding; a finding that is constant in ``train`` or overall; fewer than `least` positives in ``test`` or ``tune``;
      over 20 % of the answers uncertain; misspelt names.
    * NOTE: uncertain and missing answers; patients whose labels change between images; the table of counts.

    Parameters
    ----------
    labels : array, shape (n, k)
        1 positive, 0 negative, -1 uncertain, NaN unknown.
    names : sequence of str
        The k findings.
    patient : array, shape (n,), optional
    parts : mapping of str to int arrays, optional
        Rows of each part.
    identical, alike : int arrays, shape (n,), optional
        Group of each image, -1 for none, as `ImageDuplicates.groups` returns them, exact and all.
    study : array, shape (n,), optional
        Examination of each image; a missing one, "" or -1, is none.
    least : int
        Positives that a part needs for an estimate worth reading.
    known : sequence of str
        Names that labels are compared with.

    Raises
    ------
    DataError
        If the shapes do not fit or a label has another value.

    Examples
    --------
    >>> found = check_image_labels([[1, 1], [0, 1], [1, 0]], ["No Finding", "Mass"])
    >>> found[0].message
    "1 of 3 images (33.3 %) has 'No Finding' together with a finding."
    """
    table = _labels(labels, names)
    n = table.shape[0]
    where = _parts(parts, n)
    counts = label_table(table, names, parts=where, patient=patient)
    out = check_label_names(names, known)
    out += _conflicts(table, names, identical, alike, study)
    out += _contradictions(table, names)
    out += _filled(counts, where, table, names, least)
    if patient is not None and n:
        out += _changes(table, names, patient_codes(patient, n))
    rows = [{**asdict(count), "share": count.share} for count in counts]
    message = f"{plural(len(names), 'finding')} of {plural(n, 'image')}."
    out.append(_SAY.note("labels", message, table=rows))
    return sorted(out, key=lambda f: ("STOP", "WARN", "NOTE").index(f.severity.value))


def _labels(labels: ArrayLike, names: Sequence[str]) -> NDArray[np.float64]:
    try:
        table = np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("labels that are not numbers", "1, 0, -1 or nothing", "check the columns") from error
    if table.ndim != 2 or table.shape[1] != len(names):
        raise DataError(f"labels of shape {table.shape} for {len(names)} names", "a column a name", "check the columns")
    odd = [n for n, c in zip(names, table.T, strict=True) if not (np.isnan(c) | np.isin(c, (-1.0, 0.0, 1.0))).all()]
    if odd:
        raise DataError(f"labels other than 1, 0 and -1 in {', '.join(odd)}", "1, 0, -1 or nothing", "recode them")
    return table


def _parts(parts: Mapping[str, ArrayLike] | None, n: int) -> dict[str, NDArray[np.int64]]:
    where = {name: np.asarray(rows, dtype=np.int64) for name, rows in (parts or {"all": np.arange(n)}).items()}
    if any(r.size and (int(r.min()) < 0 or int(r.max()) >= n) for r in where.values()):
        raise DataError("a part with rows beyond the labels", f"rows from 0 to {n - 1}", "draw the split again")
    return where


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _match(key: str, spelt: Mapping[str, str]) -> tuple[str, int] | None:
    """Return the known name that is spelt nearly so, and the edit distance; None when there is none."""
    near = min(spelt, key=lambda other: (_edits(key, other), other), default="")
    distance = _edits(key, near)
    return (spelt[near], distance) if near and distance <= (1 if len(key) <= 6 else 2) else None


def _edits(a: str, b: str) -> int:
    """Return how many letters are added, left out, changed or swapped with their neighbour between two words."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, before2 = row, before
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before2[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]


def _opposite(table: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which groups hold a positive and a negative answer of a finding, shape (groups, k)."""
    size = int(group.max()) + 1
    member = group >= 0
    sides = []
    for value in (1.0, 0.0):
        has = np.zeros((size, table.shape[1]), dtype=bool)
        np.logical_or.at(has, group[member], table[member] == value)
        sides.append(has)
    return np.asarray(sides[0] & sides[1])


def _conflicts(
    table: NDArray[np.float64],
    names: Sequence[str],
    identical: ArrayLike | None,
    alike: ArrayLike | None,
    study: ArrayLike | None,
) -> list[Finding]:
    n, out = table.shape[0], []
    groups: list[tuple[str, NDArray[np.int64], Any]] = []
    if identical is not None:
        groups.append(("identical images", _groups(identical, n), _SAY.stop))
    if alike is not None:
        same = groups[0][1] if groups else np.full(n, -1)
        near = _groups(alike, n)
        # A group of identical images only is told already.
        told = near[same >= 0]
        fresh = np.setdiff1d(near[near >= 0], told) if told.size else np.unique(near[near >= 0])
        mixed = [g for g in np.unique(told) if np.unique(same[near == g]).size > 1]
        groups.append(("nearly identical images", np.where(np.isin(near, [*fresh, *mixed]), near, -1), _SAY.warn))
    if study is not None:
        groups.append(("the images of one study", _named(study, n), _SAY.warn))
    for kind, group, say in groups:
        if not (group >= 0).any():
            continue
        against = _opposite(table, group)
        hit = int(against.any(axis=1).sum())
        if hit:
            total = int(np.count_nonzero(np.bincount(group[group >= 0]) > 1))
            by = {name: int(k) for name, k in zip(names, against.sum(axis=0), strict=True) if k}
            message = f"In {of(hit, total, 'group')} of {kind} a finding is both present and absent."
            out.append(say("labels", message, "Read them again, or leave them out.", groups=hit, n=total, findings=by))
    return out


def _named(values: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return a number from 0 for each name, -1 for a missing one."""
    words = np.asarray(texts(values), dtype=str)
    if words.shape != (n,):
        raise DataError(f"{words.size} examinations for {n} images", "one an image")
    group = np.full(n, -1)
    known = ~np.isin(words, ("", "-1"))
    group[known] = np.unique(words[known], return_inverse=True)[1]
    return group


def _groups(values: ArrayLike, n: int) -> NDArray[np.int64]:
    group = np.asarray(values, dtype=np.int64)
    if group.shape != (n,):
        raise DataError(f"groups of shape {group.shape} for {n} images", "one number an image")
    return group


def _contradictions(table: NDArray[np.float64], names: Sequence[str]) -> list[Finding]:
    plain = [_plain(name) for name in names]
    findings = [j for j, key in enumerate(plain) if key not in _NORMAL | _HARMLESS]
    n, out = table.shape[0], []
    for j, key in enumerate(plain):
        if key not in _NORMAL or not findings:
            continue
        both = (table[:, j] == 1) & (table[:, findings] == 1).any(axis=1)
        count = int(both.sum())
        if count:
            by = {names[k]: int((both & (table[:, k] == 1)).sum()) for k in findings}
            message = f"{of(count, n, 'image')} {'has' if count == 1 else 'have'} '{names[j]}' together with a finding."
            out.append(
                _SAY.warn(
                    names[j],
                    message,
                    "Find out which is right.",
                    images=count,
                    n=n,
                    findings={k: v for k, v in by.items() if v},
                )
            )
    return out


def _filled(
    counts: Sequence[LabelCount],
    where: Mapping[str, NDArray[np.int64]],
    table: NDArray[np.float64],
    names: Sequence[str],
    least: int,
) -> list[Finding]:
    out = []
    rows = np.unique(np.concatenate(list(where.values())))
    whole = {count.finding: count for count in label_table(table[rows], names)}
    known_in: dict[str, list[str]] = {}
    for count in counts:
        if count.positive + count.negative:
            known_in.setdefault(count.finding, []).append(count.part)
    for name, count in whole.items():
        known = count.positive + count.negative
        if not known or not count.positive or not count.negative:
            said = "is never known" if not known else f"is {'never' if not count.positive else 'always'} present"
            advice = "Leave it out: nothing can be learnt or measured."
            out.append(_SAY.warn(name, f"'{name}' {said}.", advice, **_numbers(count)))
    constant = {f.where for f in out}
    few: dict[str, dict[str, int]] = {}
    for count in counts:
        if count.finding in constant or not count.n:
            continue
        if count.finding in known_in and count.part not in known_in[count.finding]:
            message = f"No image of {count.part} has a known answer for '{count.finding}', those of other parts have."
            advice = "Check how the part was labelled, or leave the finding out."
            out.append(_SAY.stop(count.finding, message, advice, part=count.part, **_numbers(count)))
        elif count.part == "train" and not (count.positive and count.negative):
            said = "never" if not count.positive else "always"
            message = f"'{count.finding}' is {said} present in train."
            out.append(_SAY.warn(count.finding, message, "Leave it out, or split anew.", **_numbers(count)))
        elif count.part in ("test", "tune") and min(count.positive, count.negative) < least:
            few.setdefault(count.part, {})[count.finding] = min(count.positive, count.negative)
    for part, by in few.items():
        message = f"{plural(len(by), 'finding')} {'has' if len(by) == 1 else 'have'} fewer than {least} images of "
        message += f"either answer in {part}."
        advice = "Report them with their intervals only, join findings, or get more images."
        out.append(_SAY.warn(part, message, advice, least=least, images=by))
    doubtful = {c.finding: c.uncertain / c.n for c in whole.values() if c.n and c.uncertain}
    lost = {c.finding: c.missing / c.n for c in whole.values() if c.n and c.missing}
    for kind, shares in (("uncertain", doubtful), ("missing", lost)):
        if not shares:
            continue
        high = max(shares.values())
        say = _SAY.warn if kind == "uncertain" and high > _UNCERTAIN_SHARE else _SAY.note
        message = f"{plural(len(shares), 'finding')} {'has' if len(shares) == 1 else 'have'} {kind} answers, up to "
        message += f"{100 * high:.1f} % of the images."
        advice = "Masked in the loss and left out of the measures; state it in the report."
        out.append(say("labels", message, advice, share=shares))
    return out


def _numbers(count: LabelCount) -> dict[str, int]:
    return {k: getattr(count, k) for k in ("n", "positive", "negative", "uncertain", "missing")}


def _changes(table: NDArray[np.float64], names: Sequence[str], who: NDArray[np.int64]) -> list[Finding]:
    against = _opposite(table, who)
    hit = int(against.any(axis=1).sum())
    several = int(np.count_nonzero(np.bincount(who) > 1))
    if not hit:
        return []
    by = {name: int(k) for name, k in zip(names, against.sum(axis=0), strict=True) if k}
    message = f"In {of(hit, several, 'patient')} with several images a finding is present in one and absent in another."
    advice = "Findings come and go; check a sample for labels that were carried over or mixed up."
    return [_SAY.note("patient", message, advice, patients=hit, several=several, findings=by)]
