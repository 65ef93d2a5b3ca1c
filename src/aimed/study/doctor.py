"""The doctor: what is installed, what is missing for which data, and whether the machine suffices."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

__all__ = ["examine"]

NEEDED = ("numpy", "scipy", "scikit-learn", "polars", "pydantic", "optuna", "skops", "shap", "matplotlib", "jinja2")
OPTIONAL = {
    "scikit-survival": "builtin:whas500, flchain, aids, veterans_lung_cancer (pip install 'aimed[demo]')",
    "lifelines": "builtin:rossi, lymphoma, gbsg2, stanford_heart (pip install 'aimed[demo]')",
    "torch": "training and predicting with networks (pip install 'aimed[deep]')",
    "lightning-fabric": "training networks (pip install 'aimed[deep]')",
    "safetensors": "weights of networks (pip install 'aimed[deep]')",
    "pydicom": "reading DICOM files (pip install 'aimed[imaging]')",
    "imagecodecs": "decoding compressed DICOM files (pip install 'aimed[imaging]')",
    "highdicom": "writing DICOM reports and captures (pip install 'aimed[imaging]')",
    "openvino": "networks without torch, fastest on a processor (pip install 'aimed[serve]')",
    "onnxruntime": "networks without torch (pip install 'aimed[serve]')",
    "Faker": "planted notes of a recall certificate, training the tagger (pip install 'aimed[privacy]')",
    "python-crfsuite": "training the tagger; the shipped one runs without (pip install 'aimed[privacy]')",
    "pandas": "reading pandas frames (pip install pandas)",
}


def _license(package: str) -> str:
    found = metadata(package)
    named = found.get_all("License-Expression") or found.get_all("License") or []
    classifiers = [c.rsplit(" :: ", 1)[-1] for c in found.get_all("Classifier") or [] if c.startswith("License")]
    return ", ".join(classifiers) or str(named[0] if named else "unknown").split("\n")[0][:40]


def examine() -> list[dict[str, Any]]:
    """Return one record a thing examined: what, state (ok, missing, weak) and what to do.

    Examples
    --------
    >>> {row["state"] for row in examine() if row["what"] == "numpy"}
    {'ok'}
    """
    rows: list[dict[str, Any]] = []

    def add(what: str, state: str, detail: str, do: str = "") -> None:
        rows.append({"what": what, "state": state, "detail": detail, "do": do})

    good = sys.version_info >= (3, 11)
    add("Python", "ok" if good else "weak", platform.python_version(), "" if good else "use Python 3.11 or later")
    for package in NEEDED:
        try:
            add(package, "ok", f"{version(package)}, {_license(package)}")
        except PackageNotFoundError:
            add(package, "missing", "needed", "pip install aimed")
    for package, use in OPTIONAL.items():
        try:
            add(package, "ok", f"{version(package)}, {_license(package)} (optional)")
        except PackageNotFoundError:
            add(package, "missing", "optional", use)
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    add("free disk here", "ok" if free > 1 else "weak", f"{free:.1f} GB", "" if free > 1 else "free some space")
    add("processors", "ok", str(os.cpu_count()))
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        add("memory", "ok" if memory >= 4 else "weak", f"{memory:.1f} GB", "" if memory >= 4 else "4 GB are advised")
    except (ValueError, OSError, AttributeError):
        add("memory", "ok", "unknown")
    writable = os.access(Path.cwd(), os.W_OK)
    add(
        "this folder can be written",
        "ok" if writable else "weak",
        "yes" if writable else "no",
        "" if writable else "use --out",
    )
    return rows
