"""The table of PS3.15 is compiled to a step for each attribute, and what it does not name is not kept by chance."""

from __future__ import annotations

import pytest

from aimed.core.errors import UnknownNameError
from aimed.privacy.dicom_profile import DicomProfile, kind_of, table_of_actions

pytest.importorskip("pydicom")

STRICT = DicomProfile(dates="remove")
CHANGES = {"remove", "empty", "uid", "person", "identifier", "date", "time", "text", "dummy", "items"}


def test_no_attribute_of_the_table_is_kept_unread() -> None:
    assert len(table_of_actions()) > 640
    for tag in table_of_actions():
        kind = kind_of(tag)
        if kind:
            assert STRICT.step(tag, kind) in CHANGES - {"date", "time"}, f"{tag:08X}"
            assert DicomProfile().step(tag, kind) in CHANGES, f"{tag:08X}"


def test_actions_agree_with_another_reading_of_the_standard() -> None:
    other = pytest.importorskip("dicomanonymizer.dicom_anonymization_databases.dicomfields_2024b")
    same = total = 0
    for action, tags in (("X", other.X_TAGS), ("Z", other.Z_TAGS), ("U", other.U_TAGS), ("D", other.D_TAGS)):
        for tag in tags:
            if len(tag) != 2:
                continue
            total += 1
            number = tag[0] << 16 | tag[1]
            same += table_of_actions().get(number, "")[:1] == action or table_of_actions().get(number) == action
    assert total > 500
    assert same / total > 0.98


@pytest.mark.parametrize(
    ("tag", "kind", "step"),
    [
        (0x00100010, "PN", "person"),
        (0x00100020, "LO", "identifier"),
        (0x00080050, "SH", "identifier"),
        (0x00100030, "DA", "empty"),
        (0x00080020, "DA", "date"),
        (0x00080030, "TM", "time"),
        (0x00104000, "LT", "remove"),
        (0x00080018, "UI", "uid"),
        (0x00080016, "UI", "check"),
        (0x7FE00010, "OW", "keep"),
        (0x0040A730, "SQ", "items"),
        (0x00091001, "LO", "remove"),
        (0x60003000, "OW", "remove"),
        (0x60020010, "US", "remove"),
        (0x50003000, "OW", "remove"),
        (0x00280010, "US", "keep"),
        (0x00080060, "CS", "check"),
        (0x00180060, "DS", "check"),
        (0x00080000, "UL", "remove"),
        (0x00420011, "OB", "remove"),
        (0x00081115, "SQ", "items"),
        (0x00200052, "UI", "uid"),
        (0x00080070, "LO", "word"),
        (0x00100010, "OW", "remove"),
        (0x00080070, "OW", "remove"),
        (0x00280010, "UT", "remove"),
        (0x0010FFFE, "LO", "remove"),
    ],
)
def test_steps(tag: int, kind: str, step: str) -> None:
    assert DicomProfile().step(tag, kind) == step


def test_options_keep_what_they_name_and_say_so_in_codes() -> None:
    kept = DicomProfile(keep=("patient", "device", "uids", "descriptors", "institution"))
    assert kept.step(0x00101010, "AS") == "check"
    assert DicomProfile().step(0x00101010, "AS") == "remove"
    assert kept.step(0x00181000, "LO") == "word"
    assert kept.step(0x00080018, "UI") == "check"
    assert kept.step(0x0008103E, "LO") == "text"
    assert DicomProfile().step(0x0008103E, "LO") == "remove"
    assert {code for code, _ in kept.codes()} == {
        "113100",
        "113104",
        "113105",
        "113107",
        "113108",
        "113109",
        "113110",
        "113112",
    }
    assert "113107" not in {code for code, _ in STRICT.codes()}
    assert all(len(meaning) <= 64 for _, meaning in kept.codes())
    with pytest.raises(UnknownNameError, match="uids"):
        DicomProfile(keep=("uid",))
