"""Every radiograph is read as a viewer shows it, and every bad file is refused with its code."""

from __future__ import annotations

import io
import math
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pydicom", reason="the imaging extra is not installed")
from PIL import Image
from pydicom import Dataset, Sequence

from aimed.core.image import REFUSALS, ImageRefused, Placement
from aimed.readers.dicom_image import codestream_shape
from aimed.readers.radiograph import read_radiograph


def area(pixels, height, width):
    """Exact area averages: each target pixel is the mean over the source area it covers, parts weighted."""

    def weights(n, k):
        w = np.zeros((k, n))
        for i in range(k):
            low, high = i * n / k, (i + 1) * n / k
            for j in range(int(low), min(n, math.ceil(high))):
                w[i, j] = min(high, j + 1) - max(low, j)
        return w * k / n

    return weights(pixels.shape[0], height) @ pixels.astype(float) @ weights(pixels.shape[1], width).T


def code_of(source, **options):
    with pytest.raises(ImageRefused) as caught:
        read_radiograph(source, **options)
    return caught.value.code


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def texture(height, width, seed=0):
    """Smooth structure with noise, like a film."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    base = 120 + 60 * np.sin(9 * y) * np.cos(7 * x) + 30 * np.sin(60 * x)
    return np.clip(base + rng.normal(0, 6, (height, width)), 0, 255).astype(np.uint8)


# -------------------------------------------------------------------------------------------- decoding and grey levels


@pytest.mark.parametrize(
    "syntax",
    ["plain", "implicit", "big", "deflated", "rle", "lossless", "lossless-sv1", "jpeg-ls", "jpeg2000", "htj2k"],
)
@pytest.mark.parametrize("bits", [8, 12])
def test_every_lossless_syntax_gives_the_same_picture(dicom, ramp, syntax, bits):
    pixels = (ramp >> 4).astype(np.uint8) if bits == 8 else ramp
    found = read_radiograph(dicom(pixels, syntax, bits=bits))
    expected = pixels if bits == 8 else np.floor(pixels / 4095 * 65535 + 0.5).astype(np.uint16)
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.bits == (8 if bits == 8 else 16)
    assert found.info.bits_stored == bits


@pytest.mark.parametrize(
    ("syntax", "bits", "worst"), [("jpeg", 8, 4), ("jpeg12", 12, 4), ("jpeg-ls-near", 12, 1), ("jpeg2000-lossy", 12, 8)]
)
def test_lossy_syntaxes_stay_near(dicom, ramp, syntax, bits, worst):
    pixels = (ramp >> 4).astype(np.uint8) if bits == 8 else ramp
    window = {"WindowCenter": 2048, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"} if bits == 12 else {}
    found = read_radiograph(dicom(pixels, syntax, bits=bits, **window)).pixels / (1 if bits == 8 else 65535 / 4095)
    assert np.abs(found - pixels).mean() < worst
    if syntax in ("jpeg", "jpeg12"):
        assert read_radiograph(dicom(pixels, syntax, bits=bits)).info.lossy


@pytest.mark.parametrize("size", [None, 16])
@pytest.mark.parametrize("syntax", ["plain", "rle", "lossless", "jpeg"])
def test_both_photometric_interpretations_show_the_same_picture(dicom, ramp, syntax, size):
    pixels = (ramp >> 4).astype(np.uint8)
    light = read_radiograph(dicom(pixels, syntax), size)
    dark = read_radiograph(dicom(255 - pixels, syntax, PhotometricInterpretation="MONOCHROME1"), size)
    assert np.abs(light.pixels.astype(int) - dark.pixels).max() <= (2 if syntax == "jpeg" else 1)
    assert np.corrcoef(light.pixels.ravel(), dark.pixels.ravel())[0, 1] > 0.999
    assert dark.info.photometric == "MONOCHROME1"


def test_an_inverse_presentation_turns_once(dicom, ramp):
    picture = (ramp >> 4).astype(np.uint8)
    inverse = read_radiograph(dicom(picture, PresentationLUTShape="INVERSE")).pixels
    both = read_radiograph(
        dicom(picture, PresentationLUTShape="INVERSE", PhotometricInterpretation="MONOCHROME1")
    ).pixels
    np.testing.assert_array_equal(inverse, 255 - picture)
    np.testing.assert_array_equal(both, 255 - picture)


def reference_pixel(raw, *, bits, signed, slope, intercept, window, function, inverted, padding, out, extremes):
    """The standard, one pixel at a time in plain Python."""
    code = raw & (2**bits - 1)
    if signed and code >= 2 ** (bits - 1):
        code -= 2**bits
    if padding is not None and code == padding:
        return 0
    x = code * slope + intercept
    if window is not None:
        c, w = window
        if function == "LINEAR":
            if x <= c - 0.5 - (w - 1) / 2:
                share = 0.0
            elif x > c - 0.5 + (w - 1) / 2:
                share = 1.0
            else:
                share = (x - (c - 0.5)) / (w - 1) + 0.5
        elif function == "LINEAR_EXACT":
            share = 0.0 if x <= c - w / 2 else 1.0 if x > c + w / 2 else (x - c) / w + 0.5
        else:
            share = 1 / (1 + math.exp(min(700.0, max(-700.0, -4 * (x - c) / w))))
    else:
        low, high = extremes
        share = min(1.0, max(0.0, (x - low) / (high - low)))
    return math.floor((1 - share if inverted else share) * (2**out - 1) + 0.5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_grey_levels_follow_the_standard(dicom, data):
    bits = data.draw(st.integers(8, 16), label="bits")
    signed = data.draw(st.booleans(), label="signed")
    wide = bits > 8 or data.draw(st.booleans(), label="two bytes for 8 bits")
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    raw = rng.integers(0, 2**bits, (rows, columns))
    # Overlays of old files sit in the unused high bits.
    above = rng.integers(0, 2 ** (16 - bits), (rows, columns)) << bits if wide else 0
    slope = data.draw(st.sampled_from([1.0, 0.5, 2.0, -1.0, 0.244140625]))
    intercept = data.draw(st.sampled_from([0.0, -1024.0, 37.5]))
    window = data.draw(st.none() | st.tuples(st.integers(-2000, 40000), st.integers(1, 40000)))
    function = data.draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    inverted = data.draw(st.booleans())
    values = np.where(raw >= 2 ** (bits - 1), raw - 2**bits, raw) if signed else raw
    padding = int(values[0, 0]) if data.draw(st.booleans(), label="padding") else None
    syntax = data.draw(st.sampled_from(["plain", "implicit", "big", "rle"]))
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    if window:
        tags |= {"WindowCenter": [window[0], 1], "WindowWidth": [window[1], 1], "VOILUTFunction": function}
    if padding is not None:
        tags["PixelPaddingValue"] = padding
    if inverted:
        tags["PhotometricInterpretation"] = "MONOCHROME1"
    stored = (raw + above).astype(np.uint16 if wide else np.uint8)
    if signed:
        stored = stored.view(np.int16 if wide else np.int8)
    out = 8 if bits == 8 else 16
    everything = np.arange(2**bits)
    span = (np.where(everything >= 2 ** (bits - 1), everything - 2**bits, everything) if signed else everything) * slope
    extremes = span.min() + intercept, span.max() + intercept
    used = (values * slope + intercept)[values != padding] if padding is not None else values * slope + intercept
    if bits > 8 and used.size and np.ptp(used) >= np.ptp(span) / 16:
        extremes = used.min(), used.max()
    found = read_radiograph(dicom(stored, syntax, bits=bits, **tags))
    expected = [
        [
            reference_pixel(
                int(v), bits=bits, signed=signed, slope=slope, intercept=intercept, window=window, function=function,
                inverted=inverted, padding=padding, out=out, extremes=extremes,
            )
            for v in row
        ]
        for row in raw
    ]  # fmt: skip
    # The last digit of a float may fall on the other side of a half.
    assert np.abs(found.pixels.astype(int) - np.asarray(expected)).max() <= (1 if window else 0)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(dicom, ramp, function):
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    content = dicom(
        ramp,
        bits=12,
        WindowCenter=1800,
        WindowWidth=1500,
        VOILUTFunction=function,
        RescaleSlope=2,
        RescaleIntercept=-500,
    )
    ds = pydicom.dcmread(io.BytesIO(content))
    peer = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    low, high = -500, 2 * 4095 - 500
    ours = read_radiograph(content).pixels / 65535
    assert np.abs(ours - (peer - low) / (high - low)).max() < 2e-5


def lut(entries, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.asarray(entries, dtype="<u2").tobytes()
    item["LUTData"].VR = "OW"
    return Sequence([item])


def test_tables_come_before_windows(dicom, ramp):
    rng = np.random.default_rng(3)
    table = np.sort(rng.integers(0, 1024, 3000))
    found = read_radiograph(dicom(ramp, bits=12, VOILUTSequence=lut(table, 500, 10), WindowCenter=1, WindowWidth=1))
    expected = table[np.clip(ramp.astype(int) - 500, 0, 2999)]
    np.testing.assert_array_equal(found.pixels, np.floor(expected / 1023 * 65535 + 0.5))
    assert found.info.scaling == "voi_lut"


def test_a_modality_table_need_not_rise(dicom, ramp):
    table = 4095 - np.arange(4096)
    table[:100] = 0
    item = lut(table, 0, 12)
    item[0].ModalityLUTType = "US"
    found = read_radiograph(dicom(ramp, bits=12, ModalityLUTSequence=item))
    expected = table[ramp].astype(float)
    np.testing.assert_array_equal(found.pixels, np.floor((expected - expected.min()) / np.ptp(expected) * 65535 + 0.5))


def test_an_empty_frame_stays_dark(dicom):
    noise = np.random.default_rng(0).integers(0, 4, (20, 20)).astype(np.uint16)
    found = read_radiograph(dicom(noise, bits=12))
    assert found.pixels.max() < 65535 / 1000
    assert found.info.scaling == "stored_range"


def test_twelve_bits_in_a_file_that_says_sixteen_use_all_grey_levels(dicom, ramp):
    top = np.rint(ramp / 4095 * 4014).astype(np.uint16)
    found = read_radiograph(dicom(top, bits=16), bits=16)
    assert (int(found.pixels.min()), int(found.pixels.max()), found.info.scaling) == (0, 65535, "extremes")
    assert np.unique(read_radiograph(dicom(top, bits=16), bits=8).pixels).size > 200
    noise = np.random.default_rng(0).integers(0, 200, (20, 20)).astype(np.uint16)
    assert read_radiograph(dicom(noise, bits=16)).info.scaling == "stored_range"


def test_a_shifted_sample_and_a_grey_colour_file(dicom, ramp):
    shifted = read_radiograph(dicom(ramp << 4, bits=12, HighBit=15)).pixels
    np.testing.assert_array_equal(shifted, read_radiograph(dicom(ramp, bits=12)).pixels)
    grey = np.repeat((ramp >> 4).astype(np.uint8)[..., None], 3, axis=2)
    for syntax in ("plain", "rle"):
        np.testing.assert_array_equal(read_radiograph(dicom(grey, syntax)).pixels, grey[..., 0])
    planar = dicom(grey.transpose(2, 0, 1).reshape(grey.shape), PlanarConfiguration=1)
    np.testing.assert_array_equal(read_radiograph(planar).pixels, grey[..., 0])
    ybr = grey.copy()
    ybr[..., 1:] = 128
    np.testing.assert_array_equal(
        read_radiograph(dicom(ybr, PhotometricInterpretation="YBR_FULL")).pixels, grey[..., 0]
    )
    ybr[0, 0, 1] = 160
    assert code_of(dicom(ybr, PhotometricInterpretation="YBR_FULL")) == "NOT_RADIOGRAPH"


def test_acquisition_is_read_and_patients_are_not(dicom, ramp, secrets):
    content = dicom(
        ramp, bits=12, ViewPosition="AP", ImageLaterality="U", BodyPartExamined="CHEST", PixelSpacing=[0.15, 0.14],
        BurnedInAnnotation="YES", Manufacturer="Acme", ManufacturerModelName="X-1", KVP="125", Exposure="3",
        ExposureTime="8765", PatientOrientation=["L", "F"],
    ).replace(b"8765", b"N/A ")  # fmt: skip
    info = read_radiograph(content).info
    assert (info.view, info.laterality, info.body_part, info.modality) == ("AP", "U", "CHEST", "DX")
    assert info.spacing == (0.15, 0.14)
    assert info.burned_in is True
    assert (info.manufacturer, info.model, info.kvp, info.exposure) == ("Acme", "X-1", 125.0, 3.0)
    assert info.exposure_time is None
    assert info.unreadable == ("ExposureTime",)
    assert info.orientation == "L/F"
    assert not any(secret in repr(info) for secret in secrets)
    item = Dataset()
    item.CodeMeaning = "left lateral"
    assert read_radiograph(dicom(ramp, bits=12, ViewCodeSequence=Sequence([item]))).info.view == "LATERAL"
    assert read_radiograph(dicom(ramp, bits=12, ViewPosition="LLO")).info.view is None


def test_a_file_without_preamble_is_read(dicom, ramp):
    whole = dicom(ramp, bits=12, syntax="implicit")
    np.testing.assert_array_equal(read_radiograph(whole[132:]).pixels, read_radiograph(whole).pixels)


# ----------------------------------------------------------------------------------------------------- PNG, JPEG, TIFF


def test_sixteen_bits_are_kept(ramp):
    wide = ramp << 4
    for kind in ("PNG", "TIFF"):
        found = read_radiograph(saved(Image.fromarray(wide), kind))
        np.testing.assert_array_equal(found.pixels, wide)
        assert (found.bits, found.pixels.dtype) == (16, np.uint16)
    narrow = read_radiograph(saved(Image.fromarray(ramp), "PNG"))
    assert narrow.bits == 12
    assert narrow.to_uint8().max() == 255


def tiff(pixels, photometric):
    """A plain 16-bit TIFF whose photometric interpretation is ours to choose."""
    data = pixels.astype("<u2").tobytes()
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: 16, 259: 1, 262: photometric, 273: 8, 277: 1,
            278: pixels.shape[0], 279: len(data)}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_a_tiff_whose_zero_is_white_is_inverted(ramp):
    np.testing.assert_array_equal(read_radiograph(tiff(ramp, 1)).pixels, ramp)
    # Mirrored within the bits in use, as a picture whose zero is black is taken to have them.
    np.testing.assert_array_equal(read_radiograph(tiff(ramp, 0)).pixels, 4095 - ramp)
    np.testing.assert_array_equal(read_radiograph(tiff(ramp << 4, 0)).pixels, 65535 - (ramp << 4))


def test_grey_pictures_of_other_modes():
    grey = texture(30, 20)
    image = Image.fromarray(grey)
    for other in (image.convert("RGB"), image.convert("RGBA"), image.convert("LA"), image.convert("P")):
        np.testing.assert_array_equal(read_radiograph(saved(other, "PNG")).pixels, grey)
    jpeg = read_radiograph(saved(image.convert("RGB"), "JPEG", quality=95))
    assert np.abs(jpeg.pixels.astype(int) - grey).mean() < 3
    clear = image.convert("RGBA")
    clear.putalpha(100)
    assert code_of(saved(clear, "PNG")) == "NOT_RADIOGRAPH"
    assert code_of(saved(image.convert("1"), "PNG")) == "NOT_RADIOGRAPH"
    assert code_of(saved(image.convert("CMYK"), "JPEG")) == "NOT_RADIOGRAPH"


@pytest.mark.parametrize("turned", range(1, 9))
def test_exif_orientation_is_followed(turned):
    exif = Image.Exif()
    exif[0x0112] = turned
    content = saved(Image.fromarray(texture(64, 40)), "JPEG", quality=100, exif=exif)
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    found = read_radiograph(content)
    np.testing.assert_array_equal(found.pixels, expected)
    assert (found.info.rows, found.info.columns) == expected.shape
    assert max(read_radiograph(content, 32).pixels.shape) == 32


@pytest.mark.parametrize("shape", [(1024, 1024), (3056, 2544), (1023, 777), (300, 301)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PNG16"])
def test_scaled_decoding_is_area_averaging(shape, kind):
    grey = texture(*shape)
    if kind == "PNG16":
        content = saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    else:
        content = (
            saved(Image.fromarray(grey), kind, quality=90) if kind == "JPEG" else saved(Image.fromarray(grey), kind)
        )
    whole = read_radiograph(content)
    small = read_radiograph(content, 224)
    place = Placement.fit(*shape, 224)
    assert small.pixels.shape == (place.height, place.width)
    exact = area(whole.pixels, place.height, place.width)
    assert np.abs(small.pixels - exact).mean() / (257 if kind == "PNG16" else 1) < 1.0


def test_jpeg_dicom_is_shrunk_only_where_that_commutes(dicom):
    grey = texture(900, 700)
    straight = dicom(grey, "jpeg")
    narrow = dicom(grey, "jpeg", WindowCenter=120, WindowWidth=20)
    for content in (straight, narrow):
        whole = read_radiograph(content).pixels
        exact = area(whole, 112, 87)
        assert np.abs(read_radiograph(content, 112).pixels - exact).mean() < 2.0
    np.testing.assert_array_equal(
        read_radiograph(dicom(grey, "jpeg", PhotometricInterpretation="MONOCHROME1"), 112).pixels,
        255 - read_radiograph(straight, 112).pixels,
    )


def test_wavelets_at_lower_resolution_are_opt_in_and_near(dicom):
    grey = texture(900, 700).astype(np.uint16) * 16
    content = dicom(grey, "jpeg2000", bits=12, WindowCenter=2048, WindowWidth=4096)
    exact = area(read_radiograph(content).pixels, 112, 87)
    plain = np.abs(read_radiograph(content, 112).pixels - exact).mean() / 65535
    approximate = np.abs(read_radiograph(content, 112, approximate=True).pixels - exact).mean() / 65535
    assert plain < 1 / 255
    assert plain != approximate
    assert approximate < 0.01
    np.testing.assert_array_equal(
        read_radiograph(content, 600, approximate=True).pixels, read_radiograph(content, 600).pixels
    )


def test_small_pictures_are_enlarged():
    assert read_radiograph(saved(Image.fromarray(texture(30, 20)), "PNG"), 60).pixels.shape == (60, 40)


# ------------------------------------------------------------------------------------------------------------ refusals


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


REFUSED = {
    "0 bytes": ("EMPTY", lambda d, r: b""),
    "text": ("NOT_AN_IMAGE", lambda d, r: b"patient,image\n1,a.png\n"),
    "html": ("NOT_AN_IMAGE", lambda d, r: b"<html><script>1</script></html>"),
    "gif": ("NOT_AN_IMAGE", lambda d, r: saved(Image.new("L", (4, 4)), "GIF")),
    "cut dicom": ("TRUNCATED", lambda d, r: d(r, bits=12)[:-100]),
    "cut jpeg dicom": ("TRUNCATED", lambda d, r: d(r, "lossless", bits=12)[:-300]),
    "cut png": ("TRUNCATED", lambda d, r: saved(Image.fromarray(texture(60, 60)), "PNG")[:-400]),
    "cut jpeg": ("TRUNCATED", lambda d, r: saved(Image.fromarray(texture(60, 60)), "JPEG")[:-400]),
    "no pixels": ("NO_PIXELS", lambda d, r: d(r, bits=12, drop=["PixelData"])),
    "rows lie up": ("SIZE_LIES", lambda d, r: d(r, bits=12, Rows=480)),
    "rows lie down": ("SIZE_LIES", lambda d, r: d(r, bits=12, Rows=20)),
    "columns lie in jpeg-ls": ("SIZE_LIES", lambda d, r: d(r, "jpeg-ls", bits=12, Columns=41)),
    "columns lie in rle": ("SIZE_LIES", lambda d, r: d(r, "rle", bits=12, Columns=400)),
    "rows 0": ("SIZE_LIES", lambda d, r: d(r, bits=12, Rows=0)),
    "bits lie": ("SIZE_LIES", lambda d, r: d(r, bits=12, BitsStored=20)),
    "bits lie in jpeg": ("SIZE_LIES", lambda d, r: d(r, "lossless", bits=12, BitsStored=10, HighBit=9)),
    "a program": ("POLYGLOT", lambda d, r: d(r, bits=12, preamble=b"MZ\x90\0")),
    "a page": ("POLYGLOT", lambda d, r: d(r, bits=12, preamble=b"<!-- --><HTML><body>")),
    "an elf": ("POLYGLOT", lambda d, r: d(r, bits=12, preamble=b"\x7fELF")),
    "30,000 px png": ("TOO_LARGE", lambda d, r: png_header(30_000, 30_000)),
    "30,000 px dicom": ("TOO_LARGE", lambda d, r: d(r, bits=12, Rows=30_000, Columns=30_000)),
    "unknown syntax": ("UNKNOWN_SYNTAX", lambda d, r: d(r, "1.2.840.113619.5.2.77", bits=12, stream=b"abcd")),
    "mpeg": ("UNKNOWN_SYNTAX", lambda d, r: d(r, "1.2.840.10008.1.2.4.100", bits=12, stream=b"abcd")),
    "ct slice": ("NOT_RADIOGRAPH", lambda d, r: d(r, bits=12, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")),
    "ct class": ("NOT_RADIOGRAPH", lambda d, r: d(r, bits=12, SOPClassUID="1.2.840.10008.5.1.4.1.1.2")),
    "mammogram": ("NOT_RADIOGRAPH", lambda d, r: d(r, bits=12, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2")),
    "film": ("NOT_RADIOGRAPH", lambda d, r: d(r, bits=12, NumberOfFrames=2)),
    "palette": ("NOT_RADIOGRAPH", lambda d, r: d(r, bits=12, PhotometricInterpretation="PALETTE COLOR")),
    "photo": ("NOT_RADIOGRAPH", lambda d, r: saved(Image.new("RGB", (40, 40), (200, 120, 90)), "JPEG")),
    "colour dicom": ("NOT_RADIOGRAPH", lambda d, r: d(np.full((8, 8, 3), (200, 120, 90), dtype=np.uint8))),
    "gif-like png": ("NOT_RADIOGRAPH", lambda d, r: animated()),
    "no width": ("BAD_NUMBER", lambda d, r: d(r, bits=12, WindowCenter=100)),
    "width 0": ("BAD_NUMBER", lambda d, r: d(r, bits=12, WindowCenter=100, WindowWidth=0)),
    "slope 0": ("BAD_NUMBER", lambda d, r: d(r, bits=12, RescaleSlope=0, RescaleIntercept=0)),
    "table too short": ("SIZE_LIES", lambda d, r: d(r, bits=12, VOILUTSequence=short_lut())),
}  # fmt: skip


def animated():
    return saved(Image.new("L", (8, 8)), "PNG", save_all=True, append_images=[Image.new("L", (8, 8), 9)])


def short_lut():
    table = lut([1, 2, 3, 4], 0, 12)
    table[0].LUTDescriptor = [4096, 0, 12]
    return table


@pytest.mark.parametrize("case", REFUSED)
def test_bad_files_are_refused_with_their_code(dicom, ramp, secrets, case):
    code, make = REFUSED[case]
    content = make(dicom, ramp)
    for options in ({}, {"size": 16}):
        with pytest.raises(ImageRefused) as caught:
            read_radiograph(content, **options)
        assert caught.value.code == code
        chain = f"{caught.value} {caught.value.__context__ if not caught.value.__suppress_context__ else ''}"
        assert not any(secret in chain for secret in secrets)


@pytest.mark.parametrize("text", [b"NaN ", b"inf ", b"1e99", b"0x10", b"1_00", b"12,5", b"a\\b ", b"1\\  "])
@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing"])
def test_numbers_are_checked_before_use(dicom, ramp, name, text):
    tags = {"RescaleSlope": "1.0 ", "RescaleIntercept": "0.0 ", "WindowCenter": "99.5", "WindowWidth": "77.5"}
    tags = {key: value.strip() for key, value in tags.items()} | {"PixelSpacing": [0.1, 0.1]}
    tags[name] = "8765" if name != "PixelSpacing" else ["8.76", "5.11"]
    content = dicom(ramp, bits=12, **tags)
    old = b"8765" if name != "PixelSpacing" else b"8.76\\5.11 "
    assert content.count(old) == 1
    assert code_of(content.replace(old, text.ljust(len(old)))) == "BAD_NUMBER"


def test_frames_of_text_are_no_number(dicom, ramp):
    content = dicom(ramp, bits=12, NumberOfFrames="87")
    assert code_of(content.replace(b"87", b"-1")) == "BAD_NUMBER"


def test_a_deflated_bomb_is_stopped(dicom, ramp):
    whole = dicom(ramp, "deflated", bits=12)
    start = whole.index(b"1.2.840.10008.1.2.1.99") + 22
    meta_end = 132 + 12 + struct.unpack_from("<I", whole, 140)[0]
    assert start <= meta_end
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = bytes(2**22)
    bomb = b"".join(packer.compress(block) for _ in range(40)) + packer.flush()
    assert code_of(whole[:meta_end] + bomb) == "ZIP_BOMB"


@pytest.mark.parametrize("syntax", ["plain", "lossless", "rle", "jpeg2000"])
def test_a_cut_anywhere_is_a_refusal(dicom, ramp, syntax):
    content = dicom(ramp[:12, :10], syntax, bits=12, WindowCenter=1, WindowWidth=1)
    read_radiograph(content)
    for end in range(1, len(content) - 16, 3):
        assert code_of(content[:end]) in ("TRUNCATED", "NO_PIXELS", "NOT_AN_IMAGE", "SIZE_LIES")


@pytest.mark.parametrize("syntax", ["plain", "jpeg", "lossless", "jpeg-ls", "rle", "jpeg2000"])
def test_damaged_bytes_never_escape_as_other_errors(dicom, ramp, syntax, caplog):
    content = dicom(
        (ramp[:12, :10] >> 4).astype(np.uint8), syntax, ViewPosition="PA", VOILUTSequence=lut(range(256), 0, 8)
    )
    rng = np.random.default_rng(0)
    codes = set()
    # A general reader warns of damaged values and quotes them: a wrong length makes that the patient's name.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(400):
            damaged = bytearray(content)
            for at in rng.integers(128, len(content), 3):
                damaged[at] = rng.integers(256)
            try:
                found = read_radiograph(bytes(damaged), 8)
            except ImageRefused as refusal:
                codes.add(refusal.code)
            else:
                assert max(found.pixels.shape) == 8
    assert not caplog.records
    assert codes <= set(REFUSALS)
    assert "TRUNCATED" in codes


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", bytes(128) + b"DICM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0"]),
)
def test_random_bytes_are_refused(content, start):
    with pytest.raises(ImageRefused):
        read_radiograph(start + content)


def test_a_missing_file_is_refused(tmp_path):
    assert code_of(tmp_path / "gone.png") == "MISSING"
    assert code_of(str(tmp_path)) == "MISSING"


def test_a_refusal_travels_between_processes():
    found = pickle.loads(pickle.dumps(ImageRefused("BAD_NUMBER", "WindowWidth")))
    assert (found.code, "WindowWidth" in str(found)) == ("BAD_NUMBER", True)


def test_frame_headers_are_read_before_decoding(dicom, ramp):
    import imagecodecs as ic

    for stream in (
        ic.jpegls_encode(ramp), ic.jpeg_encode(ramp, lossless=True, bitspersample=12),
        ic.jpeg2k_encode(ramp, codecformat="j2k", bitspersample=12, reversible=True),
    ):  # fmt: skip
        rows, columns, samples, bits = codestream_shape(bytes(stream))
        assert (rows, columns, samples) == (48, 40, 1)
        assert bits in (12, 16)


@pytest.mark.parametrize("syntax", ["jpeg", "jpeg2000"])
def test_without_imagecodecs_pillow_decodes(dicom, ramp, syntax, monkeypatch):
    bits = 8 if syntax == "jpeg" else 12
    content = dicom((ramp >> 4).astype(np.uint8) if bits == 8 else ramp, syntax, bits=bits)
    expected = read_radiograph(content).pixels
    monkeypatch.setattr("aimed.readers.dicom_image._codecs", lambda: None)
    assert np.abs(read_radiograph(content).pixels.astype(int) - expected).max() <= (1 if syntax == "jpeg" else 0)


def test_without_imagecodecs_other_syntaxes_name_the_extra(dicom, ramp, monkeypatch):
    from aimed.core import MissingExtraError

    content = dicom(ramp, "jpeg-ls", bits=12)
    monkeypatch.setattr("aimed.readers.dicom_image._codecs", lambda: None)
    with pytest.raises(MissingExtraError, match="imaging"):
        read_radiograph(content)


# ----------------------------------------------------------------------------------------------------------- real data


def test_real_dicom_of_both_interpretations(shared_data, dicom):
    import pydicom

    light = shared_data("cxr_dicom", "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm")
    dark = shared_data("cxr_dicom", "Fake_MONOHR1.dcm")
    one, other = read_radiograph(light), read_radiograph(dark)
    assert (one.info.photometric, other.info.photometric) == ("MONOCHROME2", "MONOCHROME1")
    assert one.info.view == "PA"
    assert one.info.spacing == (0.168, 0.168)
    # Both files hold the same stored pixels, so that an honest reader shows one as the negative of the other.
    np.testing.assert_array_equal(other.pixels, 255 - one.pixels)
    # The same anatomy stored with either interpretation is the same picture.
    stored = pydicom.dcmread(light).pixel_array
    for size in (None, 224):
        np.testing.assert_array_equal(
            read_radiograph(dicom(255 - stored, "lossless", PhotometricInterpretation="MONOCHROME1"), size).pixels,
            read_radiograph(dicom(stored, "lossless"), size).pixels,
        )


def test_real_pictures_are_all_read(shared_data):
    folder = shared_data("cxr_dicom")
    for path in sorted(folder.rglob("*.*g")):
        picture = read_radiograph(path, 224)
        assert max(picture.pixels.shape) == 224
        assert 20 < picture.pixels.mean() < 235
    for path in sorted(shared_data("cxr_nih", "images").glob("*.png"))[:5]:
        assert read_radiograph(path, 224).pixels.shape == (224, 224)
