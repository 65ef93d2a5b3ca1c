"""Pictures through a bundle: risks as the model gives them, every bad file its code, names kept off the screen."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest

pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("pydicom", reason="the imaging extra is not installed")
from PIL import Image

from aimed.bundle import members as members_module
from aimed.bundle import pictures as pictures_module
from aimed.bundle.golden_pictures import TOLERANCE, synthetic_pictures
from aimed.bundle.golden_pictures import check as check_golden
from aimed.bundle.golden_pictures import make as make_golden
from aimed.bundle.load import load
from aimed.bundle.members import checksum, dump, sha256
from aimed.bundle.pack import pack_pictures
from aimed.bundle.picture_schema import PICTURE_CODES, PictureSchema, describe_pictures
from aimed.bundle.pictures import PictureBundle
from aimed.bundle.store import load_model, save_model
from aimed.cli.app import app
from aimed.core import BundleError, DataError
from aimed.core.image import REFUSALS, ImageInfo
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import ImageFile, find_images
from aimed.study import predict_pictures as study_module
from aimed.study.predict_pictures import find_pictures, predict_pictures


def saved(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def film(seed=0, shape=(50, 44)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / 50
    grey = 120 + 60 * np.sin(5 * y + seed) * np.cos(4 * x) + rng.normal(0, 6, shape)
    return saved(Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)))


def huge_png():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def bad_files(dicom):
    """Return bytes that are refused, by the code that says why."""
    ramp = (np.arange(48 * 40).reshape(48, 40) * 2).astype(np.uint16)
    return {
        "EMPTY": [b""],
        "TRUNCATED": [dicom(ramp, bits=12)[:-100], film()[:-300], dicom(ramp, "lossless", bits=12)[:-300]],
        "NO_PIXELS": [dicom(ramp, bits=12, drop=["PixelData"])],
        "SIZE_LIES": [dicom(ramp, bits=12, Rows=480), dicom(ramp, bits=12, Columns=20), dicom(ramp, bits=12, Rows=0)],
        "NOT_AN_IMAGE": [b"patient,image\n1,a.png\n", b"<html></html>"],
        "POLYGLOT": [dicom(ramp, bits=12, preamble=b"MZ\x90\0"), dicom(ramp, bits=12, preamble=b"#!/bin/sh\n")],
        "TOO_LARGE": [huge_png(), dicom(ramp, bits=12, Rows=30_000, Columns=30_000)],
        "UNKNOWN_SYNTAX": [dicom(ramp, "1.2.840.113619.5.2.77", bits=12, stream=b"abcd")],
        "NOT_RADIOGRAPH": [
            dicom(ramp, bits=12, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
            saved(Image.new("RGB", (60, 60), (200, 120, 90)), "JPEG"),
        ],
        "BAD_NUMBER": [dicom(ramp, bits=12, WindowCenter=100, WindowWidth=0)],
    }


@pytest.fixture(scope="module")
def bundle(picture_bundle):
    return load(picture_bundle)


@pytest.fixture
def copy(picture_bundle, tmp_path):
    return shutil.copytree(picture_bundle, tmp_path / "copy")


@pytest.fixture
def folder(tmp_path, dicom):
    """A folder as it may come: good films, every kind of bad file, a bomb, a link that leaves it."""
    place = tmp_path / "films"
    place.mkdir()
    for number in range(5):
        (place / f"MRN-{number}.png").write_bytes(film(number))
    for code, files in bad_files(dicom).items():
        for number, data in enumerate(files):
            (place / f"x-{code}-{number}.dcm").write_bytes(data)
    bomb = place / "y-bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("b.png", "w") as member:
        for _ in range(80):
            member.write(bytes(2**20))
    (tmp_path / "outside.png").write_bytes(film(9))
    (place / "z-link.png").symlink_to(tmp_path / "outside.png")
    return place


def codes_of(dicom):
    found = {code: len(files) for code, files in bad_files(dicom).items()}
    return {**found, "ZIP_BOMB": 1, "OUTSIDE": 1}


# ---------------------------------------------------------------------------------------------------------- predicting


def test_risks_are_the_models_own_on_frames_of_training(bundle, findings_model, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(7)]
    for number, file in enumerate(files):
        file.write_bytes(film(number, (40 + 9 * number, 61)))
    frames = ImageCache.build([ImageFile(f) for f in files], tmp_path / "cache", size=32)
    risk, spread = findings_model.uncertain(frames)
    got = list(bundle.predict(files, ids=list("abcdefg"), n_jobs=2))
    assert bundle.keys == ["top__bright", "a_side"]
    np.testing.assert_allclose([[p.risk[k] for k in bundle.keys] for p in got], risk, atol=1e-6)
    np.testing.assert_allclose([[p.spread[k] for k in bundle.keys] for p in got], spread, atol=1e-5)
    assert [p.present["top__bright"] for p in got] == (risk[:, 0] >= 0.4).tolist()
    assert {p.present["a_side"] for p in got} == {None}
    assert [[p.sets[k] for k in bundle.keys] for p in got] == findings_model.conformal.transform(risk).tolist()
    assert [p.row for p in got] == [1, 2, 3, 4, 5, 6, 7]
    assert [p.id for p in got] == list("abcdefg")
    assert got[0].file == str(files[0])
    assert got[0].sha256 == sha256(files[0].read_bytes())


def test_paths_bytes_and_members_of_archives_give_the_same(bundle, tmp_path):
    (tmp_path / "a.png").write_bytes(film())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("s/a.png", film())
    sources = [tmp_path / "a.png", str(tmp_path / "a.png"), film(), *find_images(tmp_path / "a.zip")]
    got = list(bundle.predict(sources))
    assert len({(p.sha256, tuple(p.risk.values())) for p in got}) == 1
    assert got[2].file is None
    assert got[3].file == str(tmp_path / "a.zip" / "s" / "a.png")


def test_every_bad_file_gets_its_code_and_the_others_their_risk(bundle, folder, dicom):
    files = find_images(folder)
    got = list(bundle.predict([*files, folder / "gone.png"], n_jobs=2))
    assert len(got) == len(files) + 1
    assert sum(p.risk is not None for p in got) == 5
    for one in got:
        assert (one.risk is None) == (one.code is not None)
        assert (one.risk is None) == (one.present is None) == (one.sets is None)
        if one.code:
            assert one.code in REFUSALS
            assert one.reason.startswith(REFUSALS[one.code][0])
            assert "MRN" not in one.reason
            assert one.spread is None
        name = one.file.rsplit("/", 1)[1]
        if name.startswith("x-"):
            assert one.code == name.split("-")[1]
    counts = {}
    for one in got:
        counts[one.code] = counts.get(one.code, 0) + 1
    assert counts == {None: 5, "MISSING": 1, **codes_of(dicom)}
    # Every reason for which a file can be refused was tried.
    assert set(counts) - {None} == set(REFUSALS)


def test_the_batch_a_picture_comes_in_changes_nothing(bundle, monkeypatch):
    sources = [film(i) if i % 3 else b"" for i in range(20)]
    whole = list(bundle.predict(sources))
    monkeypatch.setattr(pictures_module, "together", lambda size: 4)
    parts = list(bundle.predict(sources, n_jobs=3))
    assert [p.code for p in parts] == [p.code for p in whole] == ["EMPTY" if i % 3 == 0 else None for i in range(20)]
    for one, other in zip(parts, whole, strict=True):
        if one.risk:
            np.testing.assert_allclose(list(one.risk.values()), list(other.risk.values()), atol=1e-6)


def test_rows_come_as_they_are_done_and_few_wait(bundle, monkeypatch):
    monkeypatch.setattr(pictures_module, "together", lambda size: 4)
    asked = []

    class Many:
        def __len__(self):
            return 10_000

        def __getitem__(self, row):
            asked.append(row)
            return b"" if row > 3 else film(row)

    told = []
    rows = bundle.predict(Many(), names=Many(), progress=lambda share, text: told.append(text), n_jobs=1)
    first = next(rows)
    assert first.risk
    # Four to a batch, four ahead, and the names.
    assert len(asked) < 20
    for _ in range(100):
        next(rows)
    assert max(asked) < 150
    assert sum(1 for _ in rows) == 10_000 - 101
    assert told[-1].startswith("10,000 of 10,000 pictures, 9,996 refused")
    assert all("s left" in text for text in told)


def test_an_unforeseen_error_costs_one_file(bundle, monkeypatch):
    real = pictures_module.read_radiograph

    def read(source, *args, **options):
        if source == b"bug":
            raise AttributeError("Quixote")
        return real(source, *args, **options)

    monkeypatch.setattr(pictures_module, "read_radiograph", read)
    got = list(bundle.predict([film(), b"bug", film(1)]))
    assert [p.code for p in got] == [None, "UNFORESEEN", None]
    assert "Quixote" not in got[1].reason
    assert "UNFORESEEN" in PICTURE_CODES


def test_no_number_is_said_and_not_passed_on(bundle, findings_model):
    broken = PictureBundle(
        findings_model, bundle.schema, bundle.manifest, runtime=lambda pixels: np.full((1, len(pixels), 2), np.nan)
    )
    (got,) = broken.predict([film()])
    assert (got.code, got.risk, got.sets, got.present) == ("NO_PREDICTION", None, None, None)


def test_another_runtime_takes_the_place_of_the_networks(bundle, findings_model):
    seen = []

    def runtime(pixels):
        seen.append((pixels.shape, pixels.dtype))
        return np.full((3, len(pixels), 2), [0.2, 0.9])

    other = PictureBundle(findings_model, bundle.schema, bundle.manifest, runtime=runtime)
    got = list(other.predict([film(), film(1)]))
    assert seen == [((2, 32, 32), np.uint8)]
    expected = findings_model.calibrated(np.array([[0.2, 0.9]]))[0]
    np.testing.assert_allclose(list(got[0].risk.values()), expected)
    assert set(got[0].spread.values()) == {0.0}


def test_a_model_of_other_pictures_is_refused(findings_model, bundle):
    with pytest.raises(BundleError, match="same pictures"):
        PictureBundle(findings_model, PictureSchema(size=64, bits=8), bundle.manifest)


# ------------------------------------------------------------------------------------------------------------ warnings


def codes(bundle, data):
    (got,) = bundle.predict([data])
    assert got.risk
    return [w["code"] for w in got.warnings]


def test_what_differs_from_training_pictures_is_said_beside_the_risk(bundle, dicom):
    ramp = (np.arange(48 * 40).reshape(48, 40) * 2).astype(np.uint16)
    assert codes(bundle, dicom(ramp, bits=12, ViewPosition="PA")) == []
    assert codes(bundle, dicom(ramp, bits=12)) == []
    assert codes(bundle, dicom(ramp, bits=12, ViewPosition="LL")) == ["OTHER_VIEW"]
    assert codes(bundle, dicom(ramp, bits=12, ViewPosition="PA", Modality="CR")) == ["OTHER_MODALITY"]
    assert codes(bundle, dicom(ramp, bits=12, ViewPosition="PA", LossyImageCompression="01")) == ["LOSSY"]
    assert codes(bundle, dicom(ramp[:30, :30], bits=12, ViewPosition="PA")) == ["SMALL_SOURCE"]
    assert codes(bundle, dicom(ramp[:36, :36], bits=12, ViewPosition="PA")) == ["SMALL_SOURCE"]


def info(**facts):
    made = {"digest": "a", "format": "dicom", "rows": 900, "columns": 800, "bits_stored": 12, "scaling": "window"}
    return ImageInfo(**{**made, **facts})


def test_the_schema_holds_aggregates_of_training_pictures_only(findings_model):
    infos = [info(view="PA", modality="DX", rows=1000 + i) for i in range(30)]
    infos += [info(view="LATERAL", modality="CR", rows=77 + i) for i in range(4)]
    schema = describe_pictures(findings_model, infos, column="path")
    assert schema.views == ("PA",)
    assert schema.modalities == ("DX",)
    assert (schema.view_named, schema.lossy, schema.size, schema.bits) == (True, False, 32, 8)
    # The smallest pictures of four patients are nobody's business; the fifth is the limit.
    assert schema.smallest == 1000
    few = describe_pictures(findings_model, infos, patient=np.arange(34) // 8)
    assert few.smallest is None
    assert few.views == ()
    assert PictureSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    named = [code for code, _ in schema.warnings(info(view=None, modality="DX", rows=1200))]
    assert named == ["NO_VIEW"]
    mixed = describe_pictures(findings_model, [*infos, info(lossy=True)])
    assert mixed.lossy
    assert [c for c, _ in mixed.warnings(info(modality="DX", rows=1200, lossy=True))] == []


# ------------------------------------------------------------------------------------------------------ the bundle


def test_the_round_trip_is_the_identity(bundle, findings_model, films, tmp_path):
    pictures = films()[0]
    np.testing.assert_array_equal(bundle.model.risk(pictures), findings_model.risk(pictures))
    again = load_model(save_model(findings_model, tmp_path / "model"))
    np.testing.assert_array_equal(again.risk(pictures), findings_model.risk(pictures))
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "calibration.json",
        "model.json",
        "weights.safetensors",
    ]
    assert bundle.card == "# Card"
    outcome = bundle.manifest["outcome"]
    assert outcome["kind"] == "multilabel"
    assert [(f["name"], f["label"], f["threshold"]) for f in outcome["findings"]] == [
        ("top, bright", "Bright top", 0.4),
        ("a side", "a side", None),
    ]


def test_the_same_model_gives_the_same_bytes(findings_model, lab, picture_bundle, bundle, tmp_path):
    again = pack_pictures(
        findings_model, tmp_path / "b", meta=lab.META, expects=bundle.schema, extra_members={"README.md": "# Card"}
    )
    for one in sorted(picture_bundle.iterdir()):
        assert (again / one.name).read_bytes() == one.read_bytes(), one.name


def test_golden_pictures_are_drawn_and_of_any_size(bundle):
    for size, bits in ((32, 8), (96, 16)):
        files = synthetic_pictures(size, bits)
        assert len(files) == 8
        opened = [Image.open(io.BytesIO(data)) for data in list(files.values())[:6]]
        assert len({picture.size for picture in opened}) >= 2
        assert {picture.mode for picture in opened} <= ({"L"} if bits == 8 else {"I;16", "I"})
    assert [c["code"] for c in json.loads(bundle.member("golden.json"))["cases"]][-2:] == ["TRUNCATED", "NOT_AN_IMAGE"]


def test_answers_that_depend_on_the_batch_in_their_last_bits_are_golden(findings_model, bundle):
    def runtime(pixels):
        return findings_model.members(pixels) + 1e-6 * len(pixels)

    other = PictureBundle(findings_model, bundle.schema, bundle.manifest, {}, runtime)
    files = synthetic_pictures(32, 8)
    golden = json.loads(dump(make_golden(other, files)))
    check_golden(PictureBundle(findings_model, bundle.schema, bundle.manifest, files), golden)


def test_sixteen_bits_are_packed_and_read_as_such(lab, films, tmp_path):
    from aimed.diagnosis.findings_model import FindingsModel
    from aimed.diagnosis.image_classifier import ImageClassifier

    pictures, y = films()
    network = ImageClassifier(architecture_options={"widths": [4, 8]}, max_epochs=1, early_stopping=False, n_jobs=1)
    model = FindingsModel("small_cnn", "Small", network.fit(pictures.astype(np.uint16) << 8, y), size=32, bits=16)
    path = pack_pictures(model, tmp_path / "b", meta=lab.META, expects=PictureSchema(size=32, bits=16))
    again = load(path)
    frame, _ = again.read(saved(Image.fromarray(np.full((40, 40), 51_234, dtype=np.uint16))))
    assert frame.dtype == np.uint16
    assert frame.max() == 51_234
    (got,) = again.predict([film()])
    assert got.spread is None
    assert got.sets is None


def refuse(folder, match=None):
    with pytest.raises(BundleError, match=match) as caught:
        load(folder)
    assert caught.value.exit_code == 4


def rehash(folder, **files):
    """Do what a careful attacker does: write members and put their hashes in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, data in files.items():
        member = name.replace("__", ".")
        (folder / member).write_bytes(data)
        manifest["members"][member] = {"sha256": sha256(data), "bytes": len(data)}
    manifest["checksum"] = checksum(manifest)
    (folder / "manifest.json").write_bytes(dump(manifest, pretty=True))


MEMBERS = [
    "README.md", "calibration.json", "golden.json", "golden_1.png", "golden_7.png", "manifest.json", "model.json",
    "schema.json", "weights.safetensors",
]  # fmt: skip


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_byte(copy, name, place):
    data = bytearray((copy / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (copy / name).write_bytes(data)
    refuse(copy, name)


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_or_cut(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    refuse(copy)
    (copy / name).unlink()
    refuse(copy, name)


def test_a_polyglot_behind_the_weights(copy):
    data = (copy / "weights.safetensors").read_bytes() + b"PK\x03\x04 a program"
    rehash(copy, weights__safetensors=data)
    refuse(copy)
    state = json.loads((copy / "model.json").read_bytes())
    state["network"]["weights_sha256"] = sha256(data)
    rehash(copy, model__json=dump(state))
    refuse(copy, "damaged")


def test_weights_that_are_too_large_are_not_read(copy, monkeypatch):
    monkeypatch.setitem(members_module._LIMITS, "weights.safetensors", 100)
    refuse(copy, "larger than")


def test_options_that_ask_for_terabytes(copy):
    state = json.loads((copy / "model.json").read_bytes())
    state["network"]["parameters"]["architecture_options"] = {"widths": [8000, 100]}
    rehash(copy, model__json=dump(state))
    refuse(copy, "do not fit the architecture")
    state["network"]["parameters"]["architecture"] = "os.system"
    rehash(copy, model__json=dump(state))
    refuse(copy, "no network")


@pytest.mark.parametrize("size", [10**6, 64, -1, "32"])
def test_frames_of_another_size(copy, size):
    schema = json.loads((copy / "schema.json").read_bytes())
    schema["size"] = size
    rehash(copy, schema__json=dump(schema, pretty=True))
    if size == "32":
        load(copy)
        return
    refuse(copy)
    state = json.loads((copy / "model.json").read_bytes())
    state["preprocessing"]["size"] = size
    state["network"]["shape"] = [size, size]
    rehash(copy, model__json=dump(state))
    refuse(copy)


def test_other_calibration_threshold_or_answers(copy, picture_bundle):
    def original(name):
        return json.loads((picture_bundle / name).read_bytes())

    calibration = original("calibration.json")
    calibration[0]["state"]["slope"] += 1e-4
    rehash(copy, calibration__json=dump(calibration))
    refuse(copy, "6 of 8 golden cases")
    state = original("model.json")
    state["thresholds"][0] = 0.999999
    rehash(copy, calibration__json=dump(original("calibration.json")), model__json=dump(state))
    refuse(copy, "golden cases have another answer")
    golden = original("golden.json")
    golden["cases"][2]["raw"][0] += 2 * TOLERANCE
    rehash(copy, model__json=dump(original("model.json")), golden__json=dump(golden))
    refuse(copy, "of 8 golden cases")
    golden = original("golden.json")
    golden["cases"] = golden["cases"][:3]
    rehash(copy, golden__json=dump(golden))
    refuse(copy, "3 golden cases")
    golden = original("golden.json")
    golden["cases"][7]["code"] = "EMPTY"
    rehash(copy, golden__json=dump(golden))
    refuse(copy, "1 of 8 golden cases")
    for strange in ({}, [], {"cases": None}, {"cases": [{}] * 8}, {"cases": [{"file": "../model.json"}] * 8}):
        rehash(copy, golden__json=dump(strange))
        refuse(copy)


def test_a_model_of_rows_in_a_bundle_of_pictures(copy, lab, tmp_path):
    rows = lab.packed("logistic", tmp_path / "rows")[0]
    rehash(copy, model__json=(rows / "model.json").read_bytes())
    refuse(copy)
    manifest = json.loads((rows / "manifest.json").read_bytes())
    manifest["kind"] = "aimed.picture_bundle"
    (rows / "manifest.json").write_bytes(dump(manifest, pretty=True))
    rehash(rows)
    refuse(rows)


@pytest.mark.parametrize("name", ["golden_1.png", "weights.safetensors", "../x", "manifest.json"])
def test_unsafe_or_taken_extra_members(findings_model, lab, bundle, tmp_path, name):
    with pytest.raises(BundleError, match="unsafe or taken"):
        pack_pictures(findings_model, tmp_path / "b", meta=lab.META, expects=bundle.schema, extra_members={name: b"x"})
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------- files and command line


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_json_and_lines_hold_the_same(bundle, folder, tmp_path, dicom):
    found = find_pictures(folder)
    done = predict_pictures(bundle, found, tmp_path / "p.csv")
    assert (done.pictures, done.predicted, done.resumed) == (len(found.files), 5, 0)
    assert dict(done.refused) == codes_of(dicom)
    rows = table_of(tmp_path / "p.csv")
    predict_pictures(bundle, found, tmp_path / "p.json", head={"notice": "n"})
    record = json.loads((tmp_path / "p.json").read_bytes())
    predict_pictures(bundle, found, tmp_path / "p.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert record["rows"] == lines
    assert record["refused"] == dict(sorted(codes_of(dicom).items()))
    assert record["notice"] == "n"
    assert [r["file"] for r in rows] == [one["file"] for one in lines] == list(found.names)
    for row, line in zip(rows, lines, strict=True):
        assert row["code"] == (line["code"] or "")
        if line["risk"]:
            assert float(row["risk@top__bright"]) == line["risk"]["top__bright"]
            assert row["set@a_side"] == line["sets"]["a_side"]
            assert row["present@top__bright"] == str(int(line["present"]["top__bright"]))
            assert row["present@a_side"] == ""
        else:
            assert row["risk@top__bright"] == row["spread@a_side"] == row["set@a_side"] == ""
    assert {p.name for p in tmp_path.iterdir()} >= {"p.csv", "p.json", "p.jsonl"}
    assert not [p for p in tmp_path.iterdir() if "part" in p.name or p.name.endswith(".new")]


def test_a_stopped_run_is_taken_up_where_it_stopped(bundle, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures_module, "together", lambda size: 2)
    found = find_pictures(folder)
    whole = tmp_path / "whole.jsonl"
    predict_pictures(bundle, found, whole)
    out = tmp_path / "p.jsonl"
    part = tmp_path / "p.jsonl.part"

    def stop(share, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_pictures(bundle, found, out, progress=lambda share, text: stop(share, text) if share > 0.4 else None)
    assert not out.exists()
    kept = len(part.read_bytes().splitlines()) - 1
    assert kept > 0
    # A kill in the middle of a line.
    part.write_bytes(part.read_bytes() + b'{"row": 99, "fi')
    done = predict_pictures(bundle, found, out)
    assert done.resumed == kept
    assert out.read_bytes() == whole.read_bytes()
    assert not part.exists()


@pytest.mark.parametrize("change", ["model", "pictures", "damage", "order"])
def test_what_does_not_fit_any_more_is_predicted_again(bundle, folder, tmp_path, change):
    found = find_pictures(folder)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "p.jsonl"
    predict_pictures(bundle, found, whole)
    study_module._predicted(bundle, found, tmp_path / "p.jsonl.part", None, 1)
    part = tmp_path / "p.jsonl.part"
    lines = part.read_bytes().splitlines(keepends=True)
    kept = 0
    if change == "model":
        lines[0] = lines[0].replace(bundle.digest.encode(), b"0" * 64)
    elif change == "pictures":
        (folder / "MRN-0.png").write_bytes(film(77))
        found = find_pictures(folder)
        predict_pictures(bundle, found, whole)
    elif change == "damage":
        lines[3] = b"\xff\xfe\n"
        kept = 2
    else:
        lines[2], lines[3] = lines[3], lines[2]
        kept = 1
    part.write_bytes(b"".join(lines))
    assert predict_pictures(bundle, found, out).resumed == kept
    assert [json.loads(x)["code"] for x in out.read_text().splitlines()] == [
        json.loads(x)["code"] for x in whole.read_text().splitlines()
    ]


def test_a_full_disk_says_so_and_keeps_what_is_done(bundle, folder, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study_module, "_render", full)
    with pytest.raises(DataError, match="No space left"):
        predict_pictures(bundle, find_pictures(folder), tmp_path / "p.csv")
    assert (tmp_path / "p.csv.part").exists()
    assert not (tmp_path / "p.csv").exists()


def test_tables_name_pictures_and_ids(bundle, folder, tmp_path):
    (folder / "series").mkdir()
    (folder / "series" / "1.png").write_bytes(film(1))
    (folder / "series" / "2.png").write_bytes(film(2))
    table = tmp_path / "t.csv"
    table.write_text("id,path\n=cmd|x,films/MRN-0.png\nb,films/series\nc,films/gone.png\nd,../../etc/passwd\ne,\n")
    found = find_pictures(table, image="path", unit="id")
    predict_pictures(bundle, found, tmp_path / "p.csv")
    rows = table_of(tmp_path / "p.csv")
    assert [(r["id"], r["file"], r["code"]) for r in rows] == [
        ("'=cmd|x", "films/MRN-0.png", ""),
        ("b", "films/series/1.png", ""),
        ("b", "films/series/2.png", ""),
        ("c", "films/gone.png", "MISSING"),
        ("d", "../../etc/passwd", "OUTSIDE"),
        ("e", "", "MISSING"),
    ]
    assert find_pictures(table, usual="path").ids is None
    with pytest.raises(DataError, match="no column 'image'"):
        find_pictures(table)
    with pytest.raises(DataError, match="no column 'patient'"):
        find_pictures(table, image="path", unit="patient")
    with pytest.raises(DataError, match="no table"):
        find_pictures(folder, image="path")


@pytest.fixture
def cli(capfd, monkeypatch):
    def call(*args):
        from aimed.cli.app import main

        monkeypatch.setattr(sys, "argv", ["aimed", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return stopped.value.code, out, err

    assert app is not None
    return call


def test_the_verb_counts_and_names_nobody(cli, picture_bundle, folder, tmp_path, dicom):
    out_file = tmp_path / "p.csv"
    code, out, err = cli("predict", picture_bundle, folder, "--out", out_file)
    assert code == 0
    assert out == ""
    refused = sum(codes_of(dicom).values())
    detail = ", ".join(f"{name} {n}" for name, n in sorted(codes_of(dicom).items()))
    assert f"5 predicted, {refused} refused ({detail}). Research software. Not a medical device." in err
    assert "MRN" not in err
    assert len(table_of(out_file)) == 5 + refused

    code, out, err = cli("predict", picture_bundle, folder)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 5 + refused
    assert "file" not in rows[0]
    assert "MRN" not in out + err

    code, out, err = cli("predict", picture_bundle, folder, "--json")
    record = json.loads(out)
    assert record["predicted"] == 5
    assert "MRN" not in out + err

    code, out, _ = cli("predict", picture_bundle, folder, "--json", "--out", tmp_path / "p.json")
    assert json.loads(out)["predicted"] == 5
    assert json.loads((tmp_path / "p.json").read_bytes())["rows"][0]["file"] == "MRN-0.png"


def test_exit_codes_of_the_verb(cli, picture_bundle, copy, folder, lab, tmp_path):
    assert cli("predict", picture_bundle, folder / "MRN-0.png")[0] == 0
    code, _, err = cli("predict", picture_bundle, folder / "x-EMPTY-0.dcm")
    assert code == 4
    assert "0 predicted, 1 refused (EMPTY 1)" in err
    assert cli("predict", picture_bundle, tmp_path / "nothing")[0] == 3
    assert cli("predict", picture_bundle, folder, "--image", "path")[0] == 3
    (copy / "weights.safetensors").write_bytes(b"")
    assert cli("predict", copy, folder)[0] == 4
    rows = lab.packed("logistic", tmp_path / "rows")[0]
    (tmp_path / "t.csv").write_text("age,bili,stage\n60,1,2\n")
    assert cli("predict", rows, tmp_path / "t.csv")[0] == 0
    assert cli("predict", rows, tmp_path / "t.csv", "--image", "path")[0] == 3
    assert os.listdir(tmp_path / "films")
