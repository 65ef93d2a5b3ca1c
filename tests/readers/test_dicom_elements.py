"""The reader of elements finds what pydicom finds, in every file that pydicom tests itself with."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

pytest.importorskip("pydicom", reason="the imaging extra is not installed")
import pydicom

from aimed.core.image import ImageRefused
from aimed.readers.dicom_elements import TAGS, is_dicom, parse_dicom
from aimed.readers.radiograph import read_radiograph

FILES = sorted(Path(pydicom.__file__).parent.glob("data/test_files/**/*.dcm"))

CUT = ("MR_truncated", "rtplan_truncated")
"""Files that end too early, which pydicom reads as far as they go."""


def raw(dataset, tag):
    """Return the bytes of an element as pydicom met them."""
    element = dataset.get_item(tag)
    return element.value if isinstance(element.value, bytes) else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_elements_are_those_of_pydicom(path):
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = pydicom.dcmread(path)
        except Exception:
            pytest.skip("pydicom does not read this file")
        if not is_dicom(content):
            pytest.skip("no DICOM mark")
        if path.stem in CUT:
            with pytest.raises(ImageRefused):
                parse_dicom(content)
            return
        ours, syntax = parse_dicom(content)
        assert syntax == theirs.file_meta.get("TransferSyntaxUID", syntax)
        compared = 0
        for name, tag in TAGS.items():
            if name == "TransferSyntaxUID" or name.endswith("Sequence") or tag not in theirs:
                continue
            expected = raw(theirs, tag)
            if expected is not None:
                found = bytes(ours[tag].value) if tag in ours else None
                # The end mark of compressed frames is no part of them.
                assert found == expected or (found is not None and expected.startswith(found)), name
                compared += 1
        assert compared or "PixelData" not in theirs


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_file_is_a_radiograph_or_refused(path):
    try:
        picture = read_radiograph(path)
    except ImageRefused:
        return
    assert picture.pixels.ndim == 2
