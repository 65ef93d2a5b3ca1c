"""Every metric gives the same bits whatever the number of threads of the linear algebra library under numpy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = 20_000
MANY = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {here!r})
import numpy as np
import test_metrics
from aimed.metrics import METRICS

known, found = test_metrics.data(n={rows}), {{}}
patient = np.arange({rows}) // 2
for name in METRICS:
    for how, more in (("rows", {{}}), ("patients", {{"patient": patient}})):
        if how == "patients" and "patient" not in test_metrics.inspect.signature(METRICS[name]).parameters:
            continue
        out = test_metrics.call(name, known, **more)
        numbers = [np.asarray(getattr(out, k), dtype=np.float64) for k in ("value", "lower", "upper", "se")]
        found[name + " by " + how] = b"".join(v.tobytes() for v in numbers).hex()
json.dump(found, sys.stdout)
"""


def answers(threads: int) -> subprocess.Popen[str]:
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    code = MANY.format(here=str(HERE), rows=ROWS)
    env = os.environ | dict.fromkeys(variables, str(threads))
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor runs one thread whatever is asked")
def test_a_metric_has_the_same_bits_with_one_thread_and_with_two():
    running = [answers(1), answers(2)]
    one, two = (json.loads(process.communicate(timeout=300)[0]) for process in running)
    assert len(one) > 60
    assert [name for name in one if one[name] != two[name]] == []
