"""Turn clinical data into evidence: one study file in, an evaluated, explained and packaged model out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

VERBS = {"fit": "aimed.study.quick:fit", "study": "aimed.study.run:study"}
"""Public functions whose names are rooms too; see `aimed.core.room`."""

if TYPE_CHECKING:
    from aimed import study
    from aimed.bundle.load import load as load_bundle
    from aimed.checks.run import run_checks
    from aimed.core import AimedError, Cohort, Measure, Split, Survival
    from aimed.prognosis.cox import CoxPH
    from aimed.readers.table import read_table
    from aimed.study.run import Run, Study

_WHERE = {
    "AimedError": "aimed.core",
    "Cohort": "aimed.core",
    "CoxPH": "aimed.prognosis.cox",
    "Measure": "aimed.core",
    "Run": "aimed.study.run",
    "Split": "aimed.core",
    "Study": "aimed.study.run",
    "Survival": "aimed.core",
    "load_bundle": "aimed.bundle.load:load",
    "read_table": "aimed.readers.table",
    "run_checks": "aimed.checks.run",
}

__all__ = [
    "AimedError",
    "Cohort",
    "CoxPH",
    "Measure",
    "Run",
    "Split",
    "Study",
    "Survival",
    "__version__",
    "fit",
    "load_bundle",
    "read_table",
    "run_checks",
    "study",
]


def __getattr__(name: str) -> Any:
    # Public names are imported when first used, so that `aimed --help` starts at once.
    if name in VERBS:
        return importlib.import_module(f"aimed.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'aimed' has no attribute '{name}'")
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
