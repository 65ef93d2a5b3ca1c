"""The floor: shares of known training labels, and nothing of the notes."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core.errors import BundleError
from aimed.text.prevalence import Prevalence


def test_every_note_has_the_share_of_known_training_labels():
    y = np.array([[1, 0], [0, np.nan], [1, 1], [0, 0], [1, 1]], dtype=float)
    tune = np.array([False, False, False, False, True])
    model = Prevalence().fit(["a", "b", "c", "d", "e"], y, names=["edema", "mass"], tune=tune)
    assert model.predict_proba(["x", ""]).tolist() == [[0.5, 1 / 3]] * 2
    assert model.decide(model.predict_proba(["x"])).tolist() == [[1, 0]]
    assert model.words_of("edema", "edema") == []


def test_a_share_out_of_range_is_refused():
    state = Prevalence().fit(["a", "b"], [[1], [0]], names=["edema"]).to_state()
    with pytest.raises(BundleError):
        Prevalence.from_state({**state, "share": [1.5]})
