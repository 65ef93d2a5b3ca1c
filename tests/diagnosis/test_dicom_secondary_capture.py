from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest

from aimed.core import DataError, MissingExtraError
from aimed.diagnosis.dicom_secondary_capture import heat_map_capture
from aimed.diagnosis.dicom_statement import RESEARCH, FindingResult, ModelIdentity

MODEL = ModelIdentity("ab" * 32, "chest-demo", "9.8.7")
FINDING = FindingResult(key="effusion", label="Pleural effusion", probability=0.83, threshold=0.5)
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)


def hot(shape=(48, 40), value=0.7):
    heat = np.zeros(shape, dtype=np.float32)
    heat[shape[0] // 2 :, : shape[1] // 2] = value
    return heat


def pixels(capture):
    import pydicom

    out = BytesIO()
    capture.save_as(out, enforce_file_format=True)
    return pydicom.dcmread(BytesIO(out.getvalue())).pixel_array


def test_it_lies_in_the_study_of_the_source_and_says_from_what(radiograph_file):
    capture = heat_map_capture(radiograph_file(), hot(), FINDING, MODEL, created=NOON)
    assert (capture.PatientName, capture.PatientID, capture.StudyInstanceUID) == (
        "Quixote^Zebedee", "MRN-778899", "1.2.3.4",
    )  # fmt: skip
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert capture.SeriesInstanceUID.startswith("2.25.")
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert capture.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.1"
    assert capture.BurnedInAnnotation == "YES"
    assert RESEARCH in capture.SeriesDescription
    assert RESEARCH in capture.DerivationDescription
    assert capture.ImageComments == RESEARCH
    assert (capture.PatientOrientation, capture.BodyPartExamined) == (["L", "F"], "CHEST")
    assert "PixelSpacing" not in capture


def test_the_map_colours_its_place_and_leaves_the_rest(radiograph_file):
    picture = pixels(heat_map_capture(radiograph_file(), hot(), FINDING, MODEL))
    rows = 512
    assert picture.shape[0] > rows
    assert picture.shape[1] == 480
    left = (480 - 427) // 2
    shown = picture[:rows, left : left + 427].astype(int)
    coloured = np.ptp(shown, axis=2) > 5
    assert coloured[300:, :200].mean() > 0.99
    assert not coloured[:240].any()
    assert not coloured[:, 230:].any()
    # The greys are those of a viewer: brighter to the right and to the bottom.
    assert shown[10, 400, 0] > shown[10, 10, 0]


def test_the_caption_is_under_the_picture_and_changes_with_what_it_says(radiograph_file):
    source = radiograph_file()
    one = pixels(heat_map_capture(source, hot(), FINDING, MODEL))
    renamed = FindingResult(key="nodule", probability=0.83, threshold=0.5)
    two = pixels(heat_map_capture(source, hot(), renamed, MODEL))
    assert np.array_equal(one[:512], two[:512])
    assert one.shape != two.shape or not np.array_equal(one[512:], two[512:])
    assert (one[512:] == 255).all(axis=2).sum() > 300


def test_an_empty_map_marks_nothing(radiograph_file):
    picture = pixels(heat_map_capture(radiograph_file(), -hot(), FINDING, MODEL))
    assert not (np.ptp(picture.astype(int), axis=2) > 0).any()


def test_one_top_makes_maps_comparable(radiograph_file):
    source = radiograph_file()
    strong, weak = (pixels(heat_map_capture(source, hot(value=v), FINDING, MODEL, top=1.0)) for v in (1.0, 0.1))
    colour = [np.ptp(p[400, 100].astype(int)) for p in (strong, weak)]
    assert colour[0] > 2 * colour[1]


def test_a_finished_picture_in_colours_is_taken_as_it_is(radiograph_file):
    given = np.zeros((48, 40, 3), dtype=np.uint8)
    given[..., 2] = 200
    picture = pixels(heat_map_capture(radiograph_file(), given, FINDING, MODEL))
    assert (picture[100, 240] == (0, 0, 200)).all()


def test_large_pictures_are_reduced_and_long_ones_keep_their_aspect(radiograph_file):
    ramp = np.broadcast_to(np.arange(1500, dtype=np.uint16)[:, None], (1500, 300))
    picture = pixels(heat_map_capture(radiograph_file(ramp), hot((1500, 300)), FINDING, MODEL, longest=600))
    assert 600 < picture.shape[0] < 800
    assert picture.shape[1] == 480
    middle = picture[:600, 180:300]
    assert not picture[:600, :179].any()
    assert np.all(np.diff(middle[10:290, 60, 0].astype(int)) >= -1)


def test_long_labels_are_broken_and_foreign_letters_drawn(radiograph_file):
    long = FindingResult(key="x", label="W" * 64, probability=0.1)
    source = radiograph_file()
    assert pixels(heat_map_capture(source, hot(), long, MODEL)).shape[1] == 480
    # A font without them would draw the same boxes for both.
    alpha, gamma = (
        pixels(heat_map_capture(source, hot(), FindingResult(key="x", label=8 * a, probability=0.1), MODEL))
        for a in "\N{GREEK SMALL LETTER PI}\N{CYRILLIC SMALL LETTER ZHE}"
    )
    assert not np.array_equal(alpha, gamma)


def test_the_same_map_is_the_same_capture(radiograph_file):
    source = radiograph_file()

    def uid(heat, **settings):
        return heat_map_capture(source, heat, FINDING, MODEL, created=NOON, **settings).SOPInstanceUID

    assert uid(hot()) == uid(hot()) != uid(hot(value=0.3))
    assert uid(hot()) != uid(hot(), opacity=0.4)


def test_inverted_files_are_shown_upright(radiograph_file):
    y, x = np.mgrid[:48, :40]
    ramp = (40 * x + 30 * y).astype(np.uint16)
    plain = heat_map_capture(radiograph_file(ramp), hot(), FINDING, MODEL)
    inverted = heat_map_capture(
        radiograph_file(ramp.max() - ramp, PhotometricInterpretation="MONOCHROME1"), hot(), FINDING, MODEL
    )
    assert np.abs(pixels(plain)[:512].astype(int) - pixels(inverted)[:512]).max() <= 1


def test_loss_is_told_on(radiograph_file):
    source = radiograph_file(
        LossyImageCompression="01", LossyImageCompressionRatio="10.5", LossyImageCompressionMethod="ISO_10918_1"
    )
    capture = heat_map_capture(source, hot(), FINDING, MODEL)
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 10.5)


def test_unknown_orientation_stays_unknown(radiograph_file):
    assert not heat_map_capture(radiograph_file(PatientOrientation=""), hot(), FINDING, MODEL).PatientOrientation


@pytest.mark.parametrize(
    ("heat", "settings"),
    [
        (np.zeros((40, 48)), {}),
        (np.zeros((48, 40, 3)), {}),
        (np.zeros(()), {}),
        (np.zeros((0, 0)), {}),
        (np.full((48, 40), np.nan), {}),
        (np.full((48, 40), np.inf), {}),
        (np.zeros((48, 40)), {"opacity": 0.0}),
        (np.zeros((48, 40)), {"opacity": np.nan}),
        (np.zeros((48, 40)), {"top": -1.0}),
        (np.zeros((48, 40)), {"longest": 10}),
        (np.zeros((48, 40)), {"number": 0}),
    ],
)
def test_maps_that_do_not_fit_are_refused(radiograph_file, heat, settings):
    with pytest.raises(DataError):
        heat_map_capture(radiograph_file(), heat, FINDING, MODEL, **settings)


def test_without_the_library_the_message_says_what_to_type(radiograph_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[imaging\]"):
        heat_map_capture(radiograph_file(), hot(), FINDING, MODEL)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
@pytest.mark.parametrize(
    "changes", [{}, {"PatientOrientation": ""}, {"drop": ("StudyInstanceUID", "PatientID"), "charset": "GB18030"}]
)
def test_the_validator_finds_no_error(radiograph_file, tmp_path, changes):
    path = tmp_path / "capture.dcm"
    heat_map_capture(radiograph_file(**changes), hot(), FINDING, MODEL).save_as(path, enforce_file_format=True)
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert "SCImage" in lines
    assert [line for line in lines if line.startswith("Error")] == []
