"""One look for every figure: sizes in pixels, quiet axes, colours that are CSS variables once drawn."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

__all__ = [
    "ACCENT",
    "BASE",
    "COLOURS",
    "FAINT",
    "GROUPS",
    "INK",
    "LINE",
    "MUTED",
    "PAPER",
    "WARN",
    "band",
    "canvas",
    "clip_text",
    "css_variables",
    "drawing",
    "floats",
    "nice_limit",
    "percent_axis",
    "place",
    "ratio_ticks",
    "spread",
    "to_svg",
]

INK: Final = "#1b2528"
MUTED: Final = "#566469"
FAINT: Final = "#8b989c"
LINE: Final = "#cfd8da"
PAPER: Final = "#fffffe"
ACCENT: Final = "#0b5f67"
BASE: Final = "#6b7780"
WARN: Final = "#b0410a"
GROUPS: Final = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9")
"""Okabe-Ito, ordered so that risk groups run from blue (low) to vermilion (high)."""

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    INK: ("ink", "#e5ebec"),
    MUTED: ("muted", "#a5b2b6"),
    FAINT: ("faint", "#77868b"),
    LINE: ("line", "#37454a"),
    PAPER: ("paper", "#12191b"),
    ACCENT: ("accent", "#62c6c9"),
    BASE: ("base", "#98a5ab"),
    WARN: ("warn", "#f2965c"),
    GROUPS[0]: ("g1", "#58aee6"),
    GROUPS[1]: ("g2", "#3cc79b"),
    GROUPS[2]: ("g3", "#f0b83a"),
    GROUPS[3]: ("g4", "#f58549"),
    GROUPS[4]: ("g5", "#dd9cc0"),
    GROUPS[5]: ("g6", "#8fd0f5"),
}
"""Colour drawn by matplotlib → name of its CSS variable and its value in the dark scheme."""

_RC: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11.5,
    "axes.labelsize": 11.5,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 4,
    "ytick.major.size": 4,
    "xtick.major.width": 1.0,
    "ytick.major.width": 1.0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "path.simplify": False,
}


@contextmanager
def drawing(salt: str) -> Iterator[None]:
    """Draw inside the style; `salt` makes the ids of one drawing differ from those of another.

    Examples
    --------
    >>> with drawing("demo"):
    ...     svg = to_svg(canvas(100, 80)[0], "demo")
    >>> svg.startswith("<svg")
    True
    """
    settings: Any = {**_RC, "svg.hashsalt": salt}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A label in a script that DejaVu lacks is still text for the browser, which has the glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        warnings.filterwarnings("ignore", message="All-NaN", category=RuntimeWarning)
        yield


def canvas(width: float, height: float) -> tuple[Drawing, Any]:
    """Return an empty drawing of a size in pixels, and a function that adds axes at pixels from the top left."""
    fig = Drawing(figsize=(width / 72, height / 72))

    def add(left: float, top: float, w: float, h: float, **kwargs: Any) -> Axes:
        ax = fig.add_axes((left / width, 1 - (top + h) / height, w / width, h / height), **kwargs)
        ax.patch.set_visible(False)
        return ax

    return fig, add


def place(fig: Drawing, x: float, y: float, text: str, **kwargs: Any) -> None:
    """Write text at pixels from the top left of the drawing."""
    width, height = fig.get_size_inches() * 72
    fig.text(x / width, 1 - y / height, text, **{"va": "center", **kwargs})


def floats(values: Sequence[float | None] | None) -> NDArray[np.float64]:
    """Return a list as floats, None as NaN.

    Examples
    --------
    >>> floats([0.1, None])
    array([0.1, nan])
    """
    return np.array([np.nan if v is None else float(v) for v in (values or [])], dtype=np.float64)


def band(ax: Axes, x: Any, lower: Any, upper: Any, colour: str, *, step: bool = False, alpha: float = 0.18) -> None:
    """Draw an interval as a band, as steps where the estimate is one; nothing when a bound is not known."""
    if not np.size(x) == np.size(lower) == np.size(upper):
        return
    ax.fill_between(x, lower, upper, color=colour, alpha=alpha, linewidth=0, step="post" if step else None)


def percent_axis(axis: Any) -> None:
    """Write a probability axis in per cent."""
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g}%"))


def nice_limit(value: float) -> float:
    """Return the next round upper limit for a probability axis.

    Examples
    --------
    >>> nice_limit(0.43), nice_limit(0.97), nice_limit(0.031)
    (0.5, 1.0, 0.04)
    """
    for limit in (0.01, 0.02, 0.03, 0.04, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        if value <= limit:
            return limit
    return 1.0


def ratio_ticks(low: float, high: float) -> list[float]:
    """Return round ticks for a log axis of ratios.

    Examples
    --------
    >>> ratio_ticks(0.4, 3)
    [0.5, 0.75, 1.0, 1.5, 2.0]
    """
    wanted = (1.0, 2.0, 0.5, 5.0, 0.2, 10.0, 0.1, 20.0, 0.05, 50.0, 0.02, 100.0, 1.5, 0.75, 1.25, 0.9, 1.1, 0.6, 0.8)
    span = np.log(high / low)
    kept: list[float] = []
    for tick in wanted:
        if low <= tick <= high and all(abs(np.log(tick / k)) > 0.11 * span for k in kept):
            kept.append(tick)
    return sorted(kept) or [float(f"{np.sqrt(low * high):.2g}")]


def spread(positions: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf) -> list[float]:
    """Move positions apart until neighbours keep a gap, each as near its own place as can be.

    Examples
    --------
    >>> [round(p, 2) for p in spread([0.5, 0.52, 0.9], 0.1)]
    [0.46, 0.56, 0.9]
    """
    order = np.argsort(positions, kind="stable")
    clusters: list[tuple[float, list[int]]] = []
    for i in order:
        clusters.append((float(positions[i]), [int(i)]))
        while len(clusters) > 1:
            (centre_a, a), (centre_b, b) = clusters[-2:]
            if centre_a + (len(a) - 1) * gap / 2 + gap <= centre_b - (len(b) - 1) * gap / 2 + 1e-12:
                break
            both = a + b
            centre = (centre_a * len(a) + centre_b * len(b)) / len(both)
            clusters[-2:] = [(centre, both)]
    out = [0.0] * len(positions)
    for centre, members in clusters:
        half = (len(members) - 1) * gap / 2
        centre = min(max(centre, low + half), high - half) if high - low >= 2 * half else centre
        for k, i in enumerate(members):
            out[i] = centre - half + k * gap
    return out


def clip_text(text: str, limit: int) -> str:
    """Return text cut to a length, with an ellipsis where it was cut.

    Examples
    --------
    >>> clip_text("Systolic blood pressure", 12)
    'Systolic bl…'
    """
    text = " ".join(str(text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


_HEX = re.compile("|".join(COLOURS), re.IGNORECASE)


def to_svg(fig: Drawing, salt: str) -> str:
    """Return a drawing as inline SVG whose colours and fonts follow the page, with ids of its own.

    Parameters
    ----------
    fig : matplotlib Figure
    salt : str
        Prefix of the ids; letters, digits and hyphens.

    Returns
    -------
    str
        An ``<svg>`` element without prolog, metadata, date or fixed size.
    """
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, count=1, flags=re.S)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r"\sid=\"([^\"]+)\"", rf' id="{salt}-\1"', text)
    text = re.sub(r'xlink:href="#', f'href="#{salt}-', text).replace("url(#", f"url(#{salt}-")
    text = re.sub(r"font-family:[^;\"]*(;\s*)?", "", text)
    text = re.sub(r'style="[^"]*"', _variables, text)
    # Inside tags only: the text between them may hold numbers that must stay as they were written.
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(-?\d+\.\d{2})\d+", r"\1", tag.group(0)), text)
    text = re.sub(r'\bd="([^"]*)"', lambda m: f'd="{_path(m.group(1))}"', text)
    text = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", text)
    text = _ungrouped(re.sub(r">\s+<", "><", text))
    width, height = (float(v) for v in fig.get_size_inches() * 72)
    return re.sub(
        r"<svg[^>]*>",
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'style="--w:{width:g}px" aria-hidden="true" focusable="false">',
        text,
        count=1,
    ).strip()


def _ungrouped(text: str) -> str:
    """Return a drawing without the groups that say nothing."""
    kept: list[bool] = []

    def tag(match: re.Match[str]) -> str:
        if match.group(0).endswith("/>"):
            return ""
        if match.group(0) == "</g>":
            return match.group(0) if kept.pop() else ""
        kept.append(match.group(0) != "<g>")
        return match.group(0) if kept[-1] else ""

    return re.sub(r"<g(?: [^>]*)?/?>|</g>", tag, text)


def _path(given: str) -> str:
    """Return the same path in fewer letters: lines to a tenth of a pixel, a command said once for its whole run."""
    curved = "C" in given or "Q" in given
    out: list[str] = []
    last = ""
    for word in given.split():
        if word.isalpha():
            # After a move, and within a run of lines, a bare pair of numbers is a line already.
            if word != "L" or last not in ("L", "M"):
                out.append(word)
            last = word
        elif curved:
            out.append(word)
        else:
            short = f"{float(word):.1f}".removesuffix(".0")
            out.append("0" if short == "-0" else short)
    return " ".join(out)


def _variables(match: re.Match[str]) -> str:
    style = _HEX.sub(lambda m: f"var(--f-{COLOURS[m.group(0).lower()][0]})", match.group(0))
    return re.sub(r"([:;])\s+", r"\1", style)


def css_variables() -> tuple[str, str]:
    """Return the declarations of the figure colours for the light and the dark scheme.

    Examples
    --------
    >>> "--f-accent:#0b5f67" in css_variables()[0]
    True
    """
    light = ";".join(f"--f-{name}:{colour}" for colour, (name, _) in COLOURS.items())
    dark = ";".join(f"--f-{name}:{value}" for name, value in COLOURS.values())
    return light, dark
