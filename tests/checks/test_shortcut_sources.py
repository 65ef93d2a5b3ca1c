"""Sources of shortcuts: tags, declared columns, borders and brightness, each under its name, of the rows asked for."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.image_rows import ImageList
from aimed.checks.shortcut_sources import TOGETHER, border_features, cohort_columns, shortcut_sources, tone_features
from aimed.core import Cohort, DataError, Variable
from aimed.core.image import ImageInfo

INFO = ImageInfo(digest="", format="dicom", rows=64, columns=64, bits_stored=12, scaling="window", view="PA", kvp=110.0)


def pictures(chests, n=12, **tags):
    infos = [replace(INFO, **{k: v[i % len(v)] for k, v in tags.items()}) for i in range(n)]
    return ImageList(chests(0, n, 64), infos)


def test_every_source_that_varies_has_its_name(chests):
    images = pictures(chests, view=["PA", "AP"], kvp=[110.0, None], manufacturer=["A", "B", "C"], rows=[64, 60])
    age = np.arange(12.0)
    found = shortcut_sources(images, {"age": age, "ward": ["a"] * 12})
    assert list(found) == ["view", "device", "exposure", "file", "age", "borders", "brightness", TOGETHER]
    assert found["view"]["view"][:2] == ["PA", "AP"]
    assert np.array_equal(found["age"]["age"], age)
    together = set(found[TOGETHER])
    assert {"view", "age", "exposure: kvp", "borders: top mean"} <= together
    assert not any(name.startswith("brightness") for name in together)


def test_a_column_of_the_name_of_a_tag_is_kept_apart(chests):
    declared = {"view": ["PA", "AP"] * 6}
    assert "view" in shortcut_sources(pictures(chests), declared)
    found = shortcut_sources(pictures(chests, view=["AP", "PA"]), declared)
    assert {"view", "view (table)"} <= set(found)
    assert found["view"]["view"][0] == "AP"


def test_rows_are_those_asked_for_and_progress_is_told(chests):
    images, told = pictures(chests, view=["PA", "AP", "AP"]), []
    rows = np.array([7, 2, 5])
    found = shortcut_sources(images, {"age": np.arange(12.0)}, rows, progress=lambda done, n: told.append((done, n)))
    assert found["age"]["age"].tolist() == [7, 2, 5]
    assert found["view"]["view"] == ["AP", "AP", "AP"] if "view" in found else True
    every = border_features(images, images.infos)
    assert np.array_equal(found["borders"]["left mean"], every["left mean"][rows])
    assert np.array_equal(found["brightness"]["mean"], tone_features(images, images.infos)["mean"][rows])
    assert told == [(3, 3)]


def test_a_column_of_another_length_is_refused(chests):
    with pytest.raises(DataError):
        shortcut_sources(pictures(chests), {"age": [1.0]})


def test_columns_of_a_cohort_become_words_numbers_and_dates():
    variables = [
        Variable(name="sex", kind="category", categories=("F", "M")),
        Variable(name="age"),
        Variable(name="ward", kind="text"),
        Variable(name="day", kind="date"),
    ]
    columns = {"sex": [1, -1], "age": [60.0, np.nan], "ward": np.array(["a", None], dtype=object)}
    cohort = Cohort(patient=[1, 2], variables=variables, columns=columns | {"day": ["2020-01-01", "NaT"]})
    found = cohort_columns(cohort, ["sex", "ward", "age", "day"])
    assert found["sex"].tolist() == ["M", ""]
    assert found["ward"].tolist() == ["a", ""]
    assert found["age"][0] == 60
    assert found["day"].dtype.kind == "M"
