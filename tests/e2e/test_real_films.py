"""A study of real chest films: pneumonia against no finding, with the shortcut that these films are known to hold."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")

from aimed.study.run import study
from aimed.study.spec import read_spec

STUDY = """
schema = 1
[study]
id = "films"
title = "Pneumonia in chest films"
task = "classify"
[data]
source = "nih_join.csv"
patient = "patient_id"
[images]
column = "file"
view = "view"
size = 64
shortcuts = ["age", "sex"]
cache = "{cache}"
[outcome]
column = "finding_labels"
findings = ["Pneumonia"]
[model.parameters.small_cnn]
max_epochs = 6
learning_rate = 5e-3
[evaluate]
draws = 100
[subgroups]
columns = ["sex", "image_view"]
"""


@pytest.mark.slow
def test_the_view_is_reported_and_adjusted_for(shared_data, tmp_path):
    folder = shared_data("cxr_320")
    text = STUDY.format(cache=(tmp_path / "cache").as_posix())
    run = study(read_spec(text, folder=folder)).run(tmp_path / "run")
    found = run.results
    assert found["data"]["rows"] == 1000
    assert found["data"]["images"]["refused"] == {}
    assert found["split"]["proof"]["shared_patients"] == {"train+test": 0}
    # The view, the borders and the tags of these films tell pneumonia; see the benchmark of real films.
    acquisition = found["performance"]["baselines"]["acquisition"]["macro_auroc"]
    assert acquisition["lower"] > 0.6
    view = next(s for s in found["shortcuts"]["sources"] if s["source"] == "view")
    assert view["auroc"]["lower"] > 0.5
    within = found["shortcuts"]["within"][0]
    assert within["by"] == "view"
    assert {s["stratum"] for s in within["strata"]} == {"AP", "PA"}
    assert within["within"]["lower"] < within["within"]["value"] < within["within"]["upper"]
    assert any(f["check"] == "shortcuts" and f["severity"] == "WARN" for f in found["checks"])
    page = run.report.read_text()
    assert "within levels of view" in page
