"""The picture cache: decoded once, resumable after a kill, checked, and free of names."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the imaging extra is not installed")
from PIL import Image

from aimed.core import DataError, MissingExtraError, RefusedError
from aimed.core.image import ImageRefused, Placement
from aimed.readers import image_cache
from aimed.readers.image_cache import ImageCache, RefusedImage
from aimed.readers.image_files import ImageFile, find_images
from aimed.readers.radiograph import read_radiograph

SIZE = 32


def draw(path, seed, height=60, width=44):
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (height, width)).astype(np.uint8)).save(path)
    return ImageFile(path)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "Quixote^Zebedee"
    folder.mkdir()
    return [draw(folder / f"MRN-{k}.png", k) for k in range(12)]


def build(files, tmp_path, **options):
    return ImageCache.build(files, tmp_path / "cache", size=SIZE, **options)


def count_decodes(monkeypatch):
    calls = []

    def counted(*args, **options):
        calls.append(1)
        return read_radiograph(*args, **options)

    monkeypatch.setattr(image_cache, "read_radiograph", counted)
    return calls


def pixel_file(tmp_path):
    return next((tmp_path / "cache").rglob("pixels.bin"))


def index_file(tmp_path):
    return next((tmp_path / "cache").rglob("index.jsonl"))


@pytest.mark.parametrize("bits", [8, 16])
def test_frames_hold_the_picture_between_zeros(files, tmp_path, bits):
    cache = build(files, tmp_path, bits=bits)
    assert len(cache) == 12
    assert not cache.refused
    place = cache.placement(3)
    assert place == Placement.fit(60, 44, SIZE)
    frame = cache[3]
    inner = frame[place.top : place.top + place.height, place.left : place.left + place.width]
    np.testing.assert_array_equal(inner, read_radiograph(files[3].path, SIZE, bits=bits).pixels)
    assert frame.sum() == inner.sum()
    assert frame.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(cache.rows([5, 3, 3]), np.stack([cache[5], frame, frame]))
    np.testing.assert_array_equal(cache[-1], cache[11])
    with pytest.raises(IndexError):
        cache[12]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_threads_do_not_change_the_bytes(files, tmp_path, n_jobs):
    one = build(files, tmp_path / "a", n_jobs=1)
    other = build(files, tmp_path / "b", n_jobs=n_jobs)
    np.testing.assert_array_equal(one.rows(range(12)), other.rows(range(12)))
    assert pixel_file(tmp_path / "a").read_bytes() == pixel_file(tmp_path / "b").read_bytes()


def test_a_second_build_decodes_nothing_and_reads_nothing(files, tmp_path, monkeypatch):
    first = build(files, tmp_path).rows(range(12))
    calls = count_decodes(monkeypatch)
    monkeypatch.setattr(ImageFile, "read", lambda self: pytest.fail("read again"))
    np.testing.assert_array_equal(build(files, tmp_path).rows(range(12)), first)
    assert not calls


def test_the_same_content_twice_is_decoded_once(files, tmp_path, monkeypatch):
    copies = []
    for k in range(6):
        copies.append(tmp_path / f"copy{k}.png")
        copies[-1].write_bytes(files[0].path.read_bytes())
    calls = count_decodes(monkeypatch)
    cache = build([files[0], *map(ImageFile, copies), files[1]], tmp_path, n_jobs=4)
    assert len(calls) == 2
    assert pixel_file(tmp_path).stat().st_size == 2 * SIZE * SIZE
    for row in range(7):
        np.testing.assert_array_equal(cache[row], cache[0])
    assert len(set(cache.digests)) == 2


def test_a_changed_file_is_decoded_again(files, tmp_path):
    before = build(files, tmp_path).rows([0])
    time.sleep(0.02)
    draw(files[0].path, 99)
    after = build(files, tmp_path)
    assert (after.rows([0]) != before).any()
    np.testing.assert_array_equal(after[0][:, 4:-5], build([files[0]], tmp_path / "fresh")[0][:, 4:-5])


def test_refused_files_are_listed_and_the_rest_goes_on(files, tmp_path):
    empty, text = tmp_path / "empty.png", tmp_path / "text.dcm"
    empty.touch()
    text.write_text("no picture")
    rows = [files[0], ImageFile(empty), ImageFile(text), ImageFile(tmp_path / "gone"), files[1],
            ImageFile(tmp_path, refusal="OUTSIDE")]  # fmt: skip
    codes = {1: "EMPTY", 2: "NOT_AN_IMAGE", 3: "MISSING", 5: "OUTSIDE"}
    expected = tuple(RefusedImage(row, code) for row, code in codes.items())
    for _ in range(2):
        cache = build(rows, tmp_path)
        assert cache.refused == expected
        assert cache.usable.tolist() == [0, 4]
        np.testing.assert_array_equal(cache[4], build([files[1]], tmp_path / "alone")[0])
        with pytest.raises(ImageRefused) as caught:
            cache.rows([0, 2])
        assert caught.value.code == "NOT_AN_IMAGE"


def test_nothing_but_refusals_is_still_a_cache(tmp_path):
    cache = build([ImageFile(tmp_path / "gone")], tmp_path)
    assert (len(cache), cache.usable.size) == (1, 0)


def test_no_name_is_in_the_cache(files, tmp_path):
    build(files, tmp_path)
    everything = b"".join(
        str(p.relative_to(tmp_path)).encode() + p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()
    )
    for word in (b"Quixote", b"Zebedee", b"MRN"):
        assert word not in everything


def test_a_flipped_byte_is_found_and_mended(files, tmp_path):
    good = build(files, tmp_path).rows(range(12))
    content = bytearray(pixel_file(tmp_path).read_bytes())
    content[4 * SIZE * SIZE + 500] ^= 1
    pixel_file(tmp_path).write_bytes(content)
    cache = build(files, tmp_path)
    np.testing.assert_array_equal(cache[3], good[3])
    with pytest.raises(DataError, match="row 4 has changed"):
        cache[4]
    with pytest.raises(DataError, match="verify"):
        cache.rows(range(12))
    np.testing.assert_array_equal(build(files, tmp_path, verify=True).rows(range(12)), good)
    assert pixel_file(tmp_path).stat().st_size == 12 * SIZE * SIZE


@pytest.mark.parametrize("damage", ["torn", "flipped", "gone", "pixels cut", "pixels gone"])
def test_a_damaged_index_costs_time_and_never_pixels(files, tmp_path, damage):
    good = build(files, tmp_path).rows(range(12))
    index = bytearray(index_file(tmp_path).read_bytes())
    match damage:
        case "torn":
            index_file(tmp_path).write_bytes(index[:-30])
        case "flipped":
            index[len(index) // 2] ^= 1
            index_file(tmp_path).write_bytes(index)
        case "gone":
            index_file(tmp_path).unlink()
        case "pixels cut":
            with pixel_file(tmp_path).open("r+b") as file:
                file.truncate(5 * SIZE * SIZE + 7)
        case "pixels gone":
            pixel_file(tmp_path).unlink()
    for _ in range(2):
        np.testing.assert_array_equal(build(files, tmp_path).rows(range(12)), good)


KILLED = """
import sys, time
from pathlib import Path
from aimed.readers import image_cache
from aimed.readers.image_files import find_images
image_cache._BATCH = 1
read = image_cache.read_radiograph
def slow(*args, **options):
    time.sleep(0.05)
    return read(*args, **options)
image_cache.read_radiograph = slow
image_cache.ImageCache.build(find_images(sys.argv[1]), sys.argv[2], size=32, n_jobs=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_build_goes_on_where_it_was(tmp_path, monkeypatch):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in range(60):
        draw(pictures / f"{k:02d}.png", k)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(pictures), str(tmp_path / "cache")])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = list((tmp_path / "cache").rglob("index.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= 6:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = index_file(tmp_path).read_bytes().count(b"\n")
    assert 6 <= kept < 60
    calls = count_decodes(monkeypatch)
    files = find_images(pictures)
    cache = build(files, tmp_path)
    assert len(calls) <= 60 - kept
    expected = build(files, tmp_path / "fresh")
    np.testing.assert_array_equal(cache.rows(range(60)), expected.rows(range(60)))


def test_a_stopped_build_keeps_what_it_has(files, tmp_path, monkeypatch):
    def stop(share, text):
        if share > 0.5:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", iter(range(10**6)).__next__)
    with pytest.raises(KeyboardInterrupt):
        build(files, tmp_path, progress=stop, n_jobs=1)
    calls = count_decodes(monkeypatch)
    assert len(build(files, tmp_path).usable) == 12
    assert 0 < len(calls) <= 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
def test_a_full_disk_is_named(files, tmp_path):
    place = tmp_path / "cache" / "32px-8bit-v2"
    place.mkdir(parents=True)
    (place / "pixels.bin").symlink_to("/dev/full")
    with pytest.raises(DataError, match="disk of the picture cache is full"):
        build(files, tmp_path)
    (place / "pixels.bin").unlink()
    assert len(build(files, tmp_path).usable) == 12


def test_a_folder_that_cannot_be_made_is_named(files, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        build(files, tmp_path)


def test_two_at_a_time_are_refused(files, tmp_path):
    pytest.importorskip("fcntl")
    place = tmp_path / "cache" / "32px-8bit-v2"
    place.mkdir(parents=True)
    with image_cache._alone(place), pytest.raises(RefusedError, match="another process"):
        build(files, tmp_path)


def test_a_missing_package_stops_the_build(files, tmp_path, monkeypatch):
    def missing(*args, **options):
        raise MissingExtraError("imagecodecs", "x", "pip install 'aimed[imaging]'")

    monkeypatch.setattr(image_cache, "read_radiograph", missing)
    with pytest.raises(MissingExtraError):
        build(files, tmp_path)


def test_progress_reaches_one(files, tmp_path):
    told = []
    build([*files, ImageFile(tmp_path / "gone")], tmp_path, progress=lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "13 of 13 pictures, 1 refused" in told[-1][1]


def test_a_cache_travels_to_another_process_without_its_pixels(files, tmp_path):
    cache = build(files, tmp_path)
    packed = pickle.dumps(cache)
    assert len(packed) < 12 * SIZE * SIZE
    np.testing.assert_array_equal(pickle.loads(packed).rows(range(12)), cache.rows(range(12)))


@pytest.mark.parametrize("size", [4, 100_000])
def test_strange_sizes_are_refused(files, tmp_path, size):
    with pytest.raises(DataError):
        ImageCache.build(files, tmp_path / "cache", size=size)


MEMORY = """
import resource, sys
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import find_images
ImageCache.build(find_images(sys.argv[1])[: int(sys.argv[3])], sys.argv[2], size=256, n_jobs=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in range(1200):
        draw(pictures / f"{k:04d}.png", k, 96, 96)
    peaks = []
    for n in (50, 1200):
        command = [sys.executable, "-c", MEMORY, str(pictures), str(tmp_path / f"cache{n}"), str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        peaks.append(int(done.stdout) / 1024)
    # 1,150 more frames are 72 MB.
    assert peaks[1] - peaks[0] < 15


def test_real_pictures(shared_data, tmp_path):
    files = find_images(shared_data("cxr_320", "Covid-19"))[:20] + find_images(shared_data("cxr_nih", "images"))[:10]
    cache = ImageCache.build(files, tmp_path / "cache", size=128)
    assert not cache.refused
    assert all(20 < cache[row].mean() < 220 for row in range(len(cache)))
