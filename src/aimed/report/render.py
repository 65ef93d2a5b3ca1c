"""Templates, style sheet and script put together: escaping is on, and only drawings made here pass as they are."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from aimed import __version__
from aimed.report.style import css_variables

__all__ = ["html", "tone"]

_TONES = {
    "met": "good",
    "filled": "good",
    "passed": "good",
    "pass": "good",
    "held": "good",
    "small": "good",
    "not met": "bad",
    "fail": "bad",
    "not held": "bad",
    "present": "bad",
    "loss shown": "bad",
    "stop": "bad",
    "missing": "bad",
    "warn": "bad",
    "drafted": "care",
    "not enough evidence": "care",
}


def tone(state: str) -> str:
    """Return the colour class of a state; the word and the shape say the same.

    Examples
    --------
    >>> tone("met"), tone("STOP"), tone("no criterion")
    ('good', 'bad', 'plain')
    """
    return _TONES.get(state.lower(), "plain")


def _asset(name: str) -> str:
    return resources.files("aimed.report").joinpath("templates", name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    templates = {f"{n}.html.j2": _asset(f"{n}.html.j2") for n in ("base", "parts", "page", "index", "compare")}
    env = Environment(
        loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters["tone"] = tone
    # Drawings come from matplotlib, which escapes the text it is given; nothing else is marked as safe.
    env.filters["svg"] = Markup
    light, dark = css_variables()
    css = _asset("style.css") + (
        f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}@media print{{:root{{{light}}}}}"
    )
    script = _asset("page.js").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    env.globals.update(css=Markup(css), script=Markup(script), script_hash=f"sha256-{digest}", version=__version__)  # noqa: S704
    return env


def html(template: str, **values: Any) -> str:
    """Return a page from one of the templates.

    Parameters
    ----------
    template : {"page", "index", "compare"}
    **values
        What the template shows; every text is escaped.

    Returns
    -------
    str
        A complete HTML document that asks for nothing from outside.
    """
    return _environment().get_template(f"{template}.html.j2").render(**values)
