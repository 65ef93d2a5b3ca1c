"""A survival study whose model is a network: curves and diagnosis in record and page, and a fit that goes on."""

from __future__ import annotations

import numpy as np
import pytest

import aimed
from aimed.bundle.store import load_model
from aimed.study import stages
from aimed.study.run import Reporter
from aimed.study.store import RunFolder

pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")
pytestmark = pytest.mark.filterwarnings("ignore:the network still improved")

MODEL = """[model]
candidates = ["deepsurv"]
parameters.deepsurv = { n_estimators = 2, max_epochs = 6, hidden_layer_sizes = 8 }
[tune]
"""


@pytest.fixture
def deep_study(survival_study):
    """A survival study with a network as its only candidate; returns the path of the study file."""
    text = survival_study.read_text().replace("[tune]\n", MODEL, 1)
    survival_study.write_text(text.replace("draws = 60", "draws = 60\nstability = 2\nhuman_level = 0.95"))
    return survival_study


def test_learning_curves_and_what_holds_a_network_back(deep_study):
    said = []

    class Listening(Reporter):
        def advanced(self, share, text=""):
            said.append(text)

    run = aimed.study(deep_study).run(deep_study.parent / "run", Listening())
    block = run.results["model"]
    rows = run.results["data"]["parts"]["train"]["n"]
    assert len(block["learning"]) == 2
    for one in block["learning"]:
        assert 1 <= one["best_epoch"] <= len(one["train_loss"]) == len(one["tune_loss"]) <= 6
        assert one["train_rows"] + one["tune_rows"] == rows
    found = block["fit_diagnosis"]
    assert "fit_diagnosis" not in run.results
    assert set(found["scores"]) == {"train", "tune", "test"}
    gaps = {gap["kind"]: gap["verdict"] for gap in found["gaps"]}
    assert set(gaps) == {"bias", "variance", "tune overfitted", "mismatch"}
    assert gaps["bias"] == "present"
    html = run.report.read_text()
    for words in ("Learning curves", "What holds the model back", "what people reach", "from the predictors alone"):
        assert words in html
    assert "Macro AUROC" not in html
    assert "DeepSurv: fold 1 of 3, network 1 of 2: epoch 1 of at most 6" in " ".join(said)
    assert any(text.startswith("DeepSurv: network 2 of 2") for text in said)
    assert load_model(run.folder / "model").estimator.history_ == block["learning"]


def test_a_killed_last_fit_goes_on_where_it_stopped(deep_study, tmp_path):
    spec = aimed.study(deep_study).spec
    cohort = aimed.study(deep_study).read()
    split = stages.draw_split(spec, cohort)
    cut, whole = RunFolder(tmp_path / "cut").open(), RunFolder(tmp_path / "whole").open()

    def killed(share, text=""):
        if text.startswith("DeepSurv: network 2 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.fit(spec, cohort, split, cut, "a" * 64, killed)
    said = []
    payload, model, _ = stages.fit(spec, cohort, split, cut, "a" * 64, lambda share, text="": said.append(text))
    assert "DeepSurv: network 1 of 2: trained" in said
    assert not any(text.startswith("DeepSurv: network 1 of 2: epoch") for text in said)
    again, same, _ = stages.fit(spec, cohort, split, whole, "a" * 64)
    assert payload["learning"] == again["learning"]
    np.testing.assert_array_equal(model.score(cohort.matrix()), same.score(cohort.matrix()))
