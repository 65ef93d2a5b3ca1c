"""DICOM files lose their patient, whatever encoding, depth or damage, and keep their pixels."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimed.privacy.cleaner import FileRefused, TextCleaner
from aimed.privacy.dicom import Blanking, deidentify_dicom
from aimed.privacy.dicom_profile import DicomProfile
from aimed.privacy.surrogates import Surrogates

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian  # noqa: E402

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
GIVEN = Surrogates(bytes(range(32)))
LOOKED_AT = Blanking(checked=True)
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


@pytest.fixture(scope="module")
def cleaner() -> TextCleaner:
    return TextCleaner(GIVEN)


def picture(syntax: str = ExplicitVRLittleEndian, modality: str = "CT", **more: Any) -> Any:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.77"
    meta.TransferSyntaxUID = syntax
    made = FileDataset(
        "x.dcm",
        {},
        file_meta=meta,
        preamble=b"II*\0" + b"SECRETPREAMBLE" * 8 + bytes(12),
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.826.0.1.5", "1.2.826.0.1.6"
    made.PatientName, made.PatientID, made.Modality = "Quillfeather^Zebulon", "MRN-884412", modality
    made.StudyDate, made.StudyTime, made.PatientBirthDate = "20200131", "101112", "19440506"
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = 8, 6, 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = np.arange(48, dtype=">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    for name, value in more.items():
        setattr(made, name, value)
    return made


def written(made: Any) -> bytes:
    out = io.BytesIO()
    with pydicom.config.disable_value_validation():
        made.save_as(out, enforce_file_format=True)
    data = out.getvalue()
    for number, mark in SWAPPED.items():
        data = data.replace(number, mark)
    return data


def read(data: bytes) -> Any:
    return pydicom.dcmread(io.BytesIO(data))


SWAPPED: dict[bytes, bytes] = {}
MARKS = itertools.count(100)
TEXT_KINDS = {
    "AE",
    "CS",
    "LO",
    "LT",
    "PN",
    "SH",
    "ST",
    "UC",
    "UR",
    "UT",
    "AS",
    "DA",
    "DT",
    "TM",
    "DS",
    "IS",
    "UI",
    "UN",
    "OB",
}


def _mark(kind: str) -> str:
    return f"ZQX{next(MARKS)}W" if kind in ("CS", "AE", "SH") else f"Zqxmark{next(MARKS)}w"


def _plant(into: Any, tag: int, kind: str, marks: list[str]) -> None:
    from pydicom.dataelem import DataElement

    mark = _mark(kind)
    value: Any = f"{mark}^Given" if kind == "PN" else f"http://x.org/{mark}" if kind == "UR" else mark
    if kind in ("DS", "IS"):  # the library writes numbers only: the marker is put in afterwards
        value = mark[7:-1].rjust(len(mark), "7")
        SWAPPED[value.encode()] = mark.encode()
    if kind in ("UN", "OB"):
        value = mark.encode() + b" " * (len(mark) % 2)
    marks.append(mark)
    with pydicom.config.disable_value_validation():
        into.add(DataElement(tag, kind, value))


def planted(syntax: str = ExplicitVRLittleEndian) -> tuple[Any, list[str]]:
    """Return a picture with a marker in some three hundred attributes: standard, private and nested."""
    from pydicom._dicom_dict import DicomDictionary

    from aimed.privacy.dicom_profile import table_of_actions

    marks: list[str] = []
    made = picture(syntax)
    skip = set(made.keys()) | {0x00080005, 0x00420011, 0x00041220}
    wanted = [
        t for t in table_of_actions() if DicomDictionary.get(t, ("",))[0] in TEXT_KINDS - {"UI", "DS", "IS", "TM", "DA"}
    ]
    identifying = [0x00080090, 0x00100010, 0x00100020, 0x00101000, 0x00101001, 0x00080080, 0x00080081, 0x00081048]
    for tag in dict.fromkeys([*identifying, *wanted]):
        if (tag in skip and tag not in identifying) or tag >> 16 in (0x0000, 0x0002):
            continue
        kind = DicomDictionary[tag][0]
        _plant(made, tag, kind, marks)
    # Dates, times, numbers and UIDs that hold text: malformed on purpose.
    for tag in (
        0x00080022,
        0x0008002A,
        0x00080031,
        0x00101010,
        0x00180050,
        0x00200013,
        0x00080014,
        0x00180015,
        0x00185100,
    ):
        if tag not in made:
            _plant(made, tag, DicomDictionary[tag][0], marks)
    block = made.private_block(0x0009, "Zqxcreator Acme", create=True)
    for i, kind in enumerate(["LO", "SH", "UT", "PN", "UN", "OB", "LT", "ST", "AE", "CS", "UC"]):
        _plant(made, 0x00091001 + i, kind, marks)
    del block
    marks.append("Zqxcreator")
    inner, deeper = Dataset(), Dataset()
    for tag in (0x00080090, 0x00100010, 0x00102160, 0x00081030, 0x00080081, 0x00321060, 0x00400254, 0x0040A123):
        _plant(inner, tag, DicomDictionary[tag][0], marks)
        _plant(deeper, tag, DicomDictionary[tag][0], marks)
    inner.private_block(0x0011, "Acme", create=True)
    _plant(inner, 0x00111002, "LO", marks)
    inner.add_new(0x00081140, "SQ", Sequence([deeper]))
    made.add_new(0x00081115, "SQ", Sequence([inner]))
    other = Dataset()
    _plant(other, 0x00100010, "PN", marks)
    made.add_new(0x00091050, "SQ", Sequence([other]))
    return made, marks


def forms(mark: str) -> list[bytes]:
    texts = {mark, mark.upper(), mark.lower()}
    return [t.encode(e) for t in texts for e in ("ascii", "utf-16-le", "utf-16-be")]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "profile",
    [DicomProfile(), DicomProfile(dates="remove"), DicomProfile(keep=("uids",))],
    ids=["basic", "strict", "kept"],
)
def test_no_planted_marker_is_left(cleaner: TextCleaner, syntax: str, profile: DicomProfile) -> None:
    made, marks = planted(syntax)
    assert len(marks) >= 200
    data = written(made)
    assert all(mark.encode() in data for mark in marks)
    found = deidentify_dicom(data, cleaner, profile, blank=LOOKED_AT)
    left = [mark for mark in [*marks, "SECRETPREAMBLE", "Zqxcreator"] for form in forms(mark) if form in found.data]
    assert left == []
    back = read(found.data)
    assert back.PixelData == made.PixelData
    assert back.PatientIdentityRemoved == "YES"


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the library, about damaged files
@pytest.mark.parametrize("name", sorted(p.name for p in FILES.glob("*.dcm")))
def test_files_of_pydicom_are_read_again_or_refused_with_a_code(cleaner: TextCleaner, name: str) -> None:
    data = (FILES / name).read_bytes()
    try:
        found = deidentify_dicom(data, cleaner, blank=LOOKED_AT)
    except FileRefused as error:
        if error.code not in ("TRUNCATED", "DICOMDIR", "NOT_DICOM"):
            pytest.fail(error.code)
        return
    before, after = pydicom.dcmread(io.BytesIO(data), force=True), read(found.data)
    assert found.data[:132] == bytes(128) + b"DICM"
    assert before.get("PixelData") == after.get("PixelData")
    assert [e.tag for e in after.iterall() if e.tag.is_private or e.tag.group in (0x6000, 0x5000)] == []
    for word in ("PatientName", "PatientID", "InstitutionName", "PatientAddress", "AccessionNumber"):
        value = str(before.get(word, "")).strip()
        if len(value) > 4:
            assert value.encode("latin-1", "replace") not in found.data
    for word in ("Rows", "Columns", "Modality", "SOPClassUID", "PixelSpacing", "RescaleSlope"):
        assert before.get(word) == after.get(word)
    if "SOPInstanceUID" in after:
        assert (
            after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID == GIVEN.uid(str(before.SOPInstanceUID))
        )
    dates = [(e.tag, e.value) for e in before if e.VR == "DA" and e.value and e.tag.group == 8]
    patient = str(before.get("PatientID", "")).strip()
    for tag, value in dates:
        if tag in after and patient and "\\" not in value:
            assert after[tag].value == GIVEN.shift_date(str(value).replace(".", ""), patient) or "." in value


def test_uids_agree_between_files_and_the_standard_stays(cleaner: TextCleaner) -> None:
    one = read(deidentify_dicom(written(picture()), cleaner).data)
    referring = picture(SOPInstanceUID="1.2.826.0.1.78")
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.826.0.1.77"
    referring.ReferencedImageSequence = Sequence([item])
    two = read(deidentify_dicom(written(referring), cleaner).data)
    assert two.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert one.StudyInstanceUID == two.StudyInstanceUID != "1.2.826.0.1.5"


def test_the_method_is_said(cleaner: TextCleaner) -> None:
    made = read(deidentify_dicom(written(picture()), cleaner).data)
    assert made.PatientIdentityRemoved == "YES"
    assert made.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "113100" in {c.CodeValue for c in made.DeidentificationMethodCodeSequence}
    assert [e.tag for e in made] == sorted(e.tag for e in made)
    assert made.PatientName == "Quillfeather^Zebulon" or str(made.PatientName) == GIVEN.person("Quillfeather^Zebulon")
    assert made.StudyDate == GIVEN.shift_date("20200131", "MRN-884412")
    assert made.StudyTime == "101112"
    assert not made.PatientBirthDate


def test_content_of_reports_is_cleaned(cleaner: TextCleaner) -> None:
    def item(kind: str, **values: Any) -> Any:
        made = Dataset()
        made.ValueType, made.RelationshipType = kind, "CONTAINS"
        for name, value in values.items():
            setattr(made, name, value)
        return made

    report = picture(modality="SR")
    del report.PixelData
    report.ContentSequence = Sequence(
        [
            item("TEXT", TextValue="Quillfeather was seen on 01/31/2020. Small effusion."),
            item("PNAME", PersonName="Quillfeather^Zebulon"),
            item("DATE", Date="20200131"),
            item("CONTAINER", ContentSequence=Sequence([item("TEXT", TextValue="MRN-884412: no nodule of 5 mm.")])),
        ]
    )
    made = deidentify_dicom(written(report), cleaner).data
    back = read(made)
    assert b"uillfeather" not in made
    assert b"884412" not in made
    assert b"01/31/2020" not in made
    assert "Small effusion" in back.ContentSequence[0].TextValue
    assert "no nodule of 5 mm" in back.ContentSequence[3].ContentSequence[0].TextValue
    assert back.ContentSequence[1].PersonName == GIVEN.person("Quillfeather^Zebulon")
    assert back.ContentSequence[2].Date == GIVEN.shift_date("20200131", "MRN-884412")


def test_texts_that_stay_are_searched_for_the_patient(cleaner: TextCleaner) -> None:
    made = deidentify_dicom(
        written(
            picture(Manufacturer="Quillfeather Imaging", BodyPartExamined="QUILLFEATHER", ConvolutionKernel="B30f")
        ),
        cleaner,
    ).data
    assert b"uillfeather" not in made
    assert b"UILLFEATHER" not in made
    assert b"B30f" in made


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_names_agree_over_character_sets(cleaner: TextCleaner, charset: str) -> None:
    made = picture(SpecificCharacterSet=charset, PatientName="Jos\u00e9^Zo\u00eb")
    assert read(deidentify_dicom(written(made), cleaner).data).PatientName == GIVEN.person("Jose^Zoe")


def test_one_bad_word_does_not_empty_the_others(cleaner: TextCleaner) -> None:
    made = picture(ImageType=["ORIGINAL", "PRIMARY", "QUILLFEATHER", "ACC884412"])
    back = read(deidentify_dicom(written(made), cleaner).data)
    assert list(back.ImageType) == ["ORIGINAL", "PRIMARY", "", ""]


def test_ages_above_89_go(cleaner: TextCleaner) -> None:
    kept = DicomProfile(keep=("patient",))
    assert read(deidentify_dicom(written(picture(PatientAge="064Y")), cleaner, kept).data).PatientAge == "064Y"
    assert not read(deidentify_dicom(written(picture(PatientAge="093Y")), cleaner, kept).data).PatientAge


def test_deflated_files_stay_deflated(cleaner: TextCleaner) -> None:
    plain = written(picture())
    length = 132 + 12 + struct.unpack_from("<I", plain, 140)[0]
    squeezed = zlib.compressobj(wbits=-15)
    body = squeezed.compress(plain[length:]) + squeezed.flush()
    head = plain[:length].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    meta = bytearray(head)
    at = meta.index(b"1.2.840.10008.1.2.1.99")
    meta[at - 2 : at] = struct.pack("<H", 22)
    struct.pack_into("<I", meta, 140, struct.unpack_from("<I", meta, 140)[0] + 2)
    made = deidentify_dicom(bytes(meta) + body, cleaner).data
    back = read(made)
    assert back.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99"
    assert back.PixelData == picture().PixelData


def test_a_deflated_bomb_is_refused(cleaner: TextCleaner) -> None:
    squeezed = zlib.compressobj(9, wbits=-15)
    body = squeezed.compress(bytes(100 * 2**20)) + squeezed.flush()
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", 22) + b"1.2.840.10008.1.2.1.99"
    with pytest.raises(FileRefused, match="ZIP_BOMB"):
        deidentify_dicom(bytes(128) + b"DICM" + meta + body, cleaner)


def test_what_cannot_be_cleaned_is_refused(cleaner: TextCleaner) -> None:
    with pytest.raises(FileRefused, match="DICOMDIR"):
        deidentify_dicom((FILES / "dicomdirtests" / "DICOMDIR").read_bytes(), cleaner)
    document = picture(EncapsulatedDocument=b"%PDF-1.4")
    document.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    with pytest.raises(FileRefused, match="DOCUMENT"):
        deidentify_dicom(written(document), cleaner)
    with pytest.raises(FileRefused, match="NOT_DICOM"):
        deidentify_dicom(b"a text", cleaner)
    bad = bytearray(written(picture()))
    bad[bad.index(b"PN")] = ord("?")
    with pytest.raises(FileRefused, match="UNKNOWN_VR"):
        deidentify_dicom(bytes(bad), cleaner)


def test_damage_gives_a_code_and_never_another_error(cleaner: TextCleaner) -> None:
    data = written(planted()[0])
    chance = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(data)
        for at in chance.integers(128, len(bad), 3):
            bad[at] = int(chance.integers(256))
        if chance.random() < 0.5:
            del bad[int(chance.integers(200, len(bad))) :]
        try:
            deidentify_dicom(bytes(bad), cleaner, blank=LOOKED_AT)
        except FileRefused as error:
            if "Zqx" in str(error):
                pytest.fail("an error quotes the file")


@pytest.mark.parametrize(
    "more",
    [{"BurnedInAnnotation": "YES"}, {"Modality": "US"}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
     {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}],
)  # fmt: skip
def test_pictures_with_text_are_refused_until_somebody_looked(cleaner: TextCleaner, more: dict[str, Any]) -> None:
    data = written(picture(**more))
    with pytest.raises(FileRefused, match="BURNED_IN"):
        deidentify_dicom(data, cleaner)
    assert read(deidentify_dicom(data, cleaner, blank=LOOKED_AT).data).PixelData == picture().PixelData
    made = picture(**more)
    del made.PixelData
    assert deidentify_dicom(written(made), cleaner).data


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_box_is_blanked_and_the_rest_stays(cleaner: TextCleaner, syntax: str, photometric: str) -> None:
    data = written(picture(syntax, "US", PhotometricInterpretation=photometric))
    back = read(deidentify_dicom(data, cleaner, blank=Blanking(((1, 2, 3, 4),))).data)
    kind = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    expected = np.arange(48).reshape(8, 6)
    expected[2:6, 1:4] = 65535 if photometric == "MONOCHROME1" else 0
    assert (np.frombuffer(back.PixelData, kind).reshape(8, 6) == expected).all()
    assert "113101" in {c.CodeValue for c in back.DeidentificationMethodCodeSequence}


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_films_are_blanked_in_every_frame(cleaner: TextCleaner, planar: int) -> None:
    pixels = np.full((2, 8, 6, 3), 7, np.uint8)
    stored = np.moveaxis(pixels, 3, 1) if planar else pixels
    made = picture(
        modality="US", SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=planar, NumberOfFrames=2
    )
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelData = 7, stored.tobytes()
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0, region.RegionLocationMaxX1, region.RegionLocationMaxY1 = (
        1,
        2,
        3,
        5,
    )
    made.SequenceOfUltrasoundRegions = Sequence([region])
    back = read(deidentify_dicom(written(made), cleaner, blank=Blanking(outside_ultrasound=True)).data)
    out = np.frombuffer(back.PixelData, np.uint8).reshape(stored.shape)
    out = np.moveaxis(out, 1, 3) if planar else out
    assert (out[:, 2:6, 1:4] == 7).all()
    assert out.sum() == 2 * 4 * 3 * 3 * 7


def test_compressed_pictures_are_blanked_without_loss(cleaner: TextCleaner) -> None:
    codecs = pytest.importorskip("imagecodecs")
    from pydicom.encaps import encapsulate

    pixels = np.random.default_rng(0).integers(0, 4096, (32, 40)).astype(np.uint16)
    for syntax, encode in (
        ("1.2.840.10008.1.2.4.90", lambda a: codecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="j2k")),
        ("1.2.840.10008.1.2.4.80", codecs.jpegls_encode),
        ("1.2.840.10008.1.2.4.70", lambda a: codecs.ljpeg_encode(a)),
    ):
        made = picture(syntax, "US", Rows=32, Columns=40, BitsStored=12, HighBit=11)
        made.PixelData = encapsulate([bytes(encode(pixels))])
        made["PixelData"].is_undefined_length = True
        back = read(deidentify_dicom(written(made), cleaner, blank=Blanking(((0, 0, 40, 4),))).data)
        expected = pixels.copy()
        expected[:4] = 0
        assert (np.frombuffer(back.PixelData, "<u2").reshape(32, 40) == expected).all(), syntax
        assert back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_a_box_outside_is_refused(cleaner: TextCleaner) -> None:
    with pytest.raises(FileRefused, match="BLANK"):
        deidentify_dicom(written(picture(modality="US")), cleaner, blank=Blanking(((100, 100, 5, 5),)))
    by = Blanking(by_modality={"US": Blanking(((0, 0, 6, 1),))})
    assert deidentify_dicom(written(picture(modality="US")), cleaner, blank=by).steps
