from __future__ import annotations

import logging
import struct
import warnings

import pytest

from aimed.core import DataError
from aimed.core.image import ImageRefused
from aimed.diagnosis.dicom_source import derived_uid, dicom_source

RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.1.1"


def test_patient_study_and_picture_are_read(radiograph_file):
    found = dicom_source(radiograph_file())
    assert (found.sop_instance, found.series, found.study, found.number) == ("1.2.3.4.5", "1.2.3.4.1", "1.2.3.4", 3)
    assert found.values["PatientName"] == "Quixote^Zebedee"
    assert found.values["PatientBirthDate"] == "19330217"
    assert found.values["ReferringPhysicianName"] == "Panza^Sancho"
    assert found.orientation == ("L", "F")
    assert found.image == {"BodyPartExamined": "CHEST"}
    assert found.made == ()


def test_path_bytes_and_data_set_are_the_same_source(radiograph_file, tmp_path):
    import pydicom

    path = tmp_path / "a.dcm"
    path.write_bytes(radiograph_file())
    assert dicom_source(path) == dicom_source(path.read_bytes()) == dicom_source(pydicom.dcmread(path))


def test_nothing_of_the_patient_is_printed(radiograph_file, patient_words):
    text = repr(dicom_source(radiograph_file()))
    assert not any(word in text for word in patient_words)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^José"),
        ("ISO_IR 144", "Люкceмбypг^Иван"),
        ("ISO_IR 126", "Διονυσιος"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_survive_their_character_set(radiograph_file, charset, name):
    assert dicom_source(radiograph_file(charset=charset, PatientName=name)).values["PatientName"] == name


@pytest.mark.parametrize(
    ("keyword", "bad"),
    [
        ("PatientBirthDate", "19331332"),
        ("PatientBirthDate", "about 1933"),
        ("PatientBirthDate", "193302"),
        ("StudyTime", "2561"),
        ("PatientSex", "FEMALE"),
        ("StudyDate", "2026-01-10"),
    ],
)
def test_values_that_are_not_valid_are_left_empty(radiograph_file, keyword, bad):
    assert dicom_source(radiograph_file(**{keyword: bad})).values[keyword] == ""


def test_old_dates_are_written_anew(radiograph_file):
    assert dicom_source(radiograph_file(StudyDate="2026.01.10")).values["StudyDate"] == "20260110"


def test_empty_and_absent_patient_are_handled(radiograph_file):
    for source in (
        radiograph_file(PatientID="", PatientName="", PatientBirthDate=""),
        radiograph_file(drop=("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID")),
    ):
        assert dicom_source(source).values["PatientID"] == ""
        assert dicom_source(source).values["PatientName"] == ""


def test_long_patient_id_stays_as_it_is(radiograph_file):
    assert dicom_source(radiograph_file(PatientID="X" * 90)).values["PatientID"] == "X" * 90


def test_missing_study_and_series_get_uids_that_do_not_change(radiograph_file):
    source = radiograph_file(drop=("StudyInstanceUID",), SeriesInstanceUID="")
    found = dicom_source(source)
    assert found.made == ("SeriesInstanceUID", "StudyInstanceUID")
    assert found.study.startswith("2.25.")
    assert found.study == dicom_source(source).study != found.series


@pytest.mark.parametrize("bad", ["not.a.uid", "1.02.3", "1" * 70, "1..2"])
def test_a_study_uid_that_is_none_is_replaced(radiograph_file, bad):
    assert dicom_source(radiograph_file(StudyInstanceUID=bad)).made == ("StudyInstanceUID",)


def test_instance_uid_is_taken_from_the_file_head_when_absent(radiograph_file):
    assert dicom_source(radiograph_file(drop=("SOPInstanceUID",))).sop_instance == "1.2.3.4.5"


def test_nothing_can_refer_to_a_file_without_instance_uid(radiograph_file, patient_words):
    source = radiograph_file(drop=("SOPInstanceUID", "MediaStorageSOPInstanceUID"))
    with pytest.raises(DataError, match="SOPInstanceUID") as caught:
        dicom_source(source)
    assert not any(word in str(caught.value) for word in patient_words)


@pytest.mark.parametrize(
    "other", ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.1.2", "1.2.3"]
)
def test_other_objects_are_refused(radiograph_file, other):
    with pytest.raises(ImageRefused) as caught:
        dicom_source(radiograph_file(SOPClassUID=other))
    assert caught.value.code == "NOT_RADIOGRAPH"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + bytes(200), b"plain text", b"\xff\xd8\xff\xe0" + bytes(64)])
def test_other_pictures_are_no_source(data):
    with pytest.raises(DataError, match="no DICOM file"):
        dicom_source(data)


def test_missing_and_empty_files_have_their_codes(tmp_path):
    with pytest.raises(ImageRefused, match="MISSING"):
        dicom_source(tmp_path / "gone.dcm")
    with pytest.raises(ImageRefused, match="EMPTY"):
        dicom_source(b"")


def test_every_cut_is_refused_or_read_without_a_word(radiograph_file, patient_words, caplog):
    whole = radiograph_file()
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for end in range(132, len(whole) - 1, 61):
            with pytest.raises((ImageRefused, DataError)) as caught:
                dicom_source(whole[:end])
            assert not any(word in str(caught.value) for word in patient_words)
    assert not said
    assert not any(word in caplog.text for word in patient_words)


def test_hostile_lengths_are_refused_without_a_word(radiograph_file, patient_words, caplog):
    whole = radiograph_file()
    caplog.set_level(logging.DEBUG)
    refusals = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for tag in (b"\x10\x00\x10\x00PN", b"\x10\x00\x20\x00LO", b"\x08\x00\x05\x00CS", b"\x20\x00\x0d\x00UI"):
            at = whole.index(tag) + 6
            for length in (0xFFFF, 0x7FFF, 1, 3, 0):
                try:
                    dicom_source(whole[:at] + struct.pack("<H", length) + whole[at + 2 :])
                except (ImageRefused, DataError) as refused:
                    refusals.append(str(refused))
    assert len(refusals) >= 8
    assert not any(word in text for word in patient_words for text in refusals)
    assert not said
    assert not any(word in caplog.text for word in patient_words)


def test_derived_uids_are_valid_and_differ():
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    from pydicom.uid import UID

    found = [derived_uid("a", str(i)) for i in range(50)]
    assert all(UID(uid).is_valid for uid in found)
    assert len(set(found)) == 50
