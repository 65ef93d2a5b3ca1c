"""Image duplicates: copies brightened, recompressed, resized, cropped or mirrored are found, other chests are not."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from aimed.checks import image_duplicates
from aimed.checks.image_duplicates import check_image_duplicates, find_image_duplicates
from aimed.checks.image_rows import shrink
from aimed.checks.kernels.near_images import near_pairs
from aimed.core.errors import DataError
from aimed.core.image import ImageInfo


def jpeg(frame, quality=40):
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(frame, share=0.6):
    size = frame.shape[::-1]
    small = Image.fromarray(frame).resize([round(share * s) for s in size])
    return np.asarray(small.resize(size))


def cropped(frame, share, seed=0):
    rng = np.random.default_rng(seed)
    height, width = frame.shape
    dy, dx = round(share * height), round(share * width)
    top, left = int(rng.integers(0, dy + 1)), int(rng.integers(0, dx + 1))
    box = (left, top, width - (dx - left), height - (dy - top))
    return np.asarray(Image.fromarray(frame).crop(box).resize((width, height), Image.BILINEAR))


CHANGES = {
    "gamma": lambda f: (255 * (f / 255) ** 0.7).astype(np.uint8),
    "brighter": lambda f: np.clip(1.1 * f.astype(float) + 10, 0, 255).astype(np.uint8),
    "darker": lambda f: (0.75 * f).astype(np.uint8),
    "jpeg": jpeg,
    "resized": resized,
    "noise": lambda f: np.clip(f + np.random.default_rng(0).normal(0, 5, f.shape), 0, 255).astype(np.uint8),
    "cropped": lambda f: cropped(f, 0.03),
}


def severities(findings):
    return [(f.severity.value, f.where) for f in findings]


@pytest.mark.parametrize(
    "change", [c if c in ("gamma", "jpeg") else pytest.param(c, marks=pytest.mark.slow) for c in CHANGES]
)
def test_a_changed_copy_is_found_and_nothing_else(chests, change):
    a = chests(0, 60)
    copies = np.stack([CHANGES[change](frame) for frame in a[:20]])
    found = find_image_duplicates(np.concatenate([a, copies]))
    assert found.pairs.tolist() == [[i, 60 + i] for i in range(20)]
    assert not found.exact.any()
    assert (found.correlation >= 0.9).all()


def test_pictures_that_are_all_alike_are_no_duplicates_but_a_copy_still_is(chests, monkeypatch):
    own, shared = chests(7, 100).astype(float), chests(8, 1).astype(float)
    alike = np.clip(0.3 * own + 0.7 * shared, 0, 255).astype(np.uint8)
    alike[60] = jpeg(alike[20], 80)
    found = find_image_duplicates(alike)
    assert found.pairs.tolist() == [[20, 60]]
    assert 0.9 < found.limit < 0.99
    assert found.compared == 500
    monkeypatch.setattr(image_duplicates, "_FEWEST", 10**9)
    assert len(find_image_duplicates(alike).pairs) > 100


def test_identical_images_are_exact_and_form_one_group(chests):
    a = chests(1, 12)
    a[[4, 9]] = a[2]
    found = find_image_duplicates(a)
    assert found.pairs.tolist() == [[2, 4], [2, 9]]
    assert found.exact.all()
    assert np.flatnonzero(found.groups(exact=True) == 0).tolist() == [2, 4, 9]


def test_mirror_images_are_found_on_request_only(chests):
    a = chests(2, 20)
    a[15] = jpeg(np.ascontiguousarray(a[3, :, ::-1]), 80)
    assert find_image_duplicates(a).pairs.size == 0
    found = find_image_duplicates(a, mirrored=True)
    assert found.pairs.tolist() == [[3, 15]]
    assert found.mirrored.tolist() == [True]


def test_blank_images_are_not_called_duplicates(chests):
    a = chests(3, 8)
    a[[1, 2]], a[5] = 0, 255
    found = find_image_duplicates(a)
    assert (found.blank, found.pairs.size) == (3, 0)
    assert severities(check_image_duplicates(found)) == [("NOTE", "images")]


def test_bars_around_the_picture_do_not_make_images_alike(chests):
    frames = np.zeros((30, 128, 128), dtype=np.uint8)
    frames[:, :, 32:96] = np.stack([resized(f)[:, ::2] for f in chests(4, 30)])
    info = ImageInfo(digest="", format="png", rows=256, columns=128, bits_stored=8, scaling="as_stored")
    frames[20, :, 32:96] = (0.8 * frames[7, :, 32:96]).astype(np.uint8)
    assert find_image_duplicates(frames, [info] * 30).pairs.tolist() == [[7, 20]]


def test_images_of_16_bits_and_a_source_by_rows_give_the_same(chests):
    a = chests(5, 30)
    a[20] = CHANGES["darker"](a[6])

    class Cache:
        def __len__(self):
            return 30

        def rows(self, indices):
            return a[indices].astype(np.uint16) * 257

    one, two = find_image_duplicates(a), find_image_duplicates(Cache())
    assert one.pairs.tolist() == two.pairs.tolist() == [[6, 20]]
    assert one.correlation == pytest.approx(two.correlation, abs=1e-4)


def test_the_search_equals_a_plain_one():
    rng = np.random.default_rng(0)
    n, p = 70, 24
    base = rng.integers(0, 2**63, (4, n)).astype(np.uint64)
    base[:, 40] = base[:, 3] ^ np.uint64(0b1011)
    base[:, 69] = ~base[:, 5]
    small = rng.integers(-127, 128, (n, p)).astype(np.int8)
    small[40] = small[3]
    bits, gate = 120, 0.1
    plain = []
    for i in range(n):
        for j in range(i + 1, n):
            apart = sum(int(a ^ b).bit_count() for a, b in zip(base[:, i], base[:, j], strict=True))
            x, y = small[i].astype(float), small[j].astype(float)
            alike = x @ y / np.sqrt((x @ x) * (y @ y))
            if apart <= bits and alike >= gate:
                plain.append((i, j, alike))
    first, second, strength = np.empty(4000, np.int64), np.empty(4000, np.int64), np.empty(4000)
    end, held, counted = near_pairs(*base, base, small, small, 0, bits, gate, gate, first, second, strength, 0)
    assert (end, held, counted) == (n, len(plain), len(plain))
    assert [(i, j) for i, j, _ in plain] == list(zip(first[:held].tolist(), second[:held].tolist(), strict=True))
    assert strength[:held] == pytest.approx([alike for _, _, alike in plain])
    assert len(plain) > 20


def test_the_search_goes_on_where_its_store_was_full(chests, monkeypatch):
    a = np.concatenate([chests(6, 40), chests(6, 40) // 2, chests(6, 40) // 3])
    whole = find_image_duplicates(a)
    monkeypatch.setattr("aimed.checks.image_duplicates._HELD", 1)
    parts = find_image_duplicates(a)
    assert whole.pairs.tolist() == parts.pairs.tolist()
    assert whole.pairs.shape == (120, 2)
    assert whole.candidates == parts.candidates


def test_only_the_most_similar_pairs_are_compared_and_the_rest_is_told(chests):
    a = np.concatenate([chests(7, 30), chests(7, 30) // 2])
    found = find_image_duplicates(a, at_most=10)
    assert (found.compared, len(found.pairs)) == (10, 10)
    assert found.candidates >= 30
    assert ("NOTE", "images") in severities(check_image_duplicates(found))


def test_a_picture_in_two_parts_stops(chests):
    a = chests(8, 12)
    a[8], a[9] = a[0], CHANGES["darker"](a[1])
    parts = {"train": np.arange(8), "tune": [8, 10], "test": [9, 11]}
    findings = check_image_duplicates(find_image_duplicates(a), parts=parts)
    assert severities(findings) == [("STOP", "train+tune"), ("STOP", "train+test")]
    assert [(f.evidence["exact"], f.evidence["near"]) for f in findings] == [(1, 0), (0, 1)]


def test_one_picture_under_two_ids_stops_and_a_near_one_warns(chests):
    a = chests(9, 10)
    a[5], a[6], a[7] = a[0], CHANGES["darker"](a[1]), CHANGES["darker"](a[2])
    patient = np.arange(10)
    patient[7] = 2
    findings = check_image_duplicates(find_image_duplicates(a), patient)
    assert severities(findings) == [("STOP", "patient"), ("WARN", "images"), ("WARN", "images"), ("NOTE", "images")]
    assert findings[0].evidence == {"pictures": 1, "images": 2, "n": 10}


@pytest.mark.parametrize("arguments", [{"least": 0.2}, {"at_most": -1}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(DataError):
        find_image_duplicates(np.zeros((2, 8, 8), dtype=np.uint8), **arguments)


def test_a_part_beyond_the_images_is_refused(chests):
    with pytest.raises(DataError):
        check_image_duplicates(find_image_duplicates(chests(0, 3)), parts={"train": [0, 3]})


@pytest.mark.parametrize("n", [0, 1])
def test_few_images_are_silent(chests, n):
    assert check_image_duplicates(find_image_duplicates(chests(0, 1)[:n]), np.arange(n)) == []


def test_memory_does_not_grow_with_the_size_of_the_images(chests):
    a = chests(10, 4, 512)

    class Many:
        def __len__(self):
            return 2000

        def rows(self, indices):
            return a[indices % 4]

    find_image_duplicates(a)
    tracemalloc.start()
    found = find_image_duplicates(Many())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.pairs) == 1996
    # The 2,000 images take 524 MB.
    assert peak < 150e6


def test_real_chests_of_different_patients_are_no_duplicates(cxr_320):
    images, rows = cxr_320
    patient = np.array([row["patient_id"] for row in rows])
    found = find_image_duplicates(images, mirrored=True)
    pairs = patient[found.pairs]
    assert (pairs[:, 0] == pairs[:, 1]).all()
    # One picture of NIH ChestX-ray14 stands under two numbers of one patient.
    assert found.exact.tolist() == [True]


@pytest.mark.parametrize(
    ("change", "least"),
    [
        *(pytest.param(name, 0.99, marks=pytest.mark.slow) for name in CHANGES),
        ("rotated", 0.8),
        ("cropped more", 0.65),
        ("equalised", 0.4),
    ],
)
def test_real_copies_are_found(cxr_320, change, least):
    images, rows = cxr_320
    more = {
        "rotated": lambda f: np.asarray(Image.fromarray(f).rotate(2, Image.BILINEAR)),
        "cropped more": lambda f: cropped(f, 0.05, seed=int(f[100, 100])),
        "equalised": lambda f: np.asarray(ImageOps.equalize(Image.fromarray(f))),
    }
    images, rows = images[::2], rows[::2]
    chosen = np.arange(0, 500, 5)
    copies = np.stack([(CHANGES | more)[change](images[i]) for i in chosen])
    found = find_image_duplicates(np.concatenate([images, copies]))
    got = {tuple(pair) for pair in found.pairs.tolist()}
    hits = sum((int(i), 500 + k) in got for k, i in enumerate(chosen))
    assert hits >= least * chosen.size
    patient = np.array([row["patient_id"] for row in rows])
    who = np.concatenate([patient, patient[chosen]])[found.pairs]
    assert (who[:, 0] == who[:, 1]).all()


@pytest.mark.slow
def test_fine_structure_tells_chests_apart_that_coarse_structure_does_not(cxr_320, monkeypatch):
    images, _ = cxr_320
    # The limit that follows from how alike real chests are lies below the one that is used.
    assert find_image_duplicates(images, least=0.5).limit < 0.9
    monkeypatch.setattr(image_duplicates, "_FEWEST", 10**9)
    found = find_image_duplicates(images, least=0.5)
    near = found.correlation[~found.exact]
    small = np.stack([shrink(f, 16, 16).ravel() for f in images[:200]])
    coarse = np.corrcoef(small)[np.triu_indices(200, 1)]
    assert coarse.max() > 0.93
    assert near.max() < 0.87
