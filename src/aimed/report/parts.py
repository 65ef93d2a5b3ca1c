"""The parts a report page is made of: figures with a table twin, tables, facts and notes, all plain text inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from aimed.report import numbers

__all__ = [
    "Block",
    "Cell",
    "Code",
    "Context",
    "Criterion",
    "Facts",
    "Figure",
    "Fold",
    "Heading",
    "Items",
    "Key",
    "Legend",
    "Note",
    "Pair",
    "Passage",
    "Piece",
    "Section",
    "Strip",
    "Table",
    "Thumbnails",
    "Verdict",
    "num",
]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: its text, and how it is aligned, sorted, marked or linked.

    Parameters
    ----------
    text : str
    kind : {"text", "num", "state"}
        Numbers are set to the right; a state is drawn as shape, word and colour.
    sort : float, optional
        Value to sort by when it is not the text.
    href : str
        Link inside the page or to a sibling file.
    strong : bool
        Marks the row's own case, such as the chosen model.
    indent : bool
        Sets the text in, below the heading of its group.
    detail : sequence of (str, str)
        Terms with their values, folded under the text.
    """

    text: str
    kind: Literal["text", "num", "state"] = "text"
    sort: float | None = None
    href: str = ""
    strong: bool = False
    indent: bool = False
    detail: Sequence[tuple[str, str]] = ()


def num(text: str, sort: object = None, *, strong: bool = False) -> Cell:
    """Return a number cell that sorts by its value.

    Examples
    --------
    >>> num("12.5%", 0.125).sort
    0.125
    """
    return Cell(
        text, "num", float(sort) if isinstance(sort, (int, float)) and numbers.is_number(sort) else None, strong=strong
    )


@dataclass(frozen=True, slots=True)
class Table:
    """A table: columns, rows of cells or strings, and a caption.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequences
        Cells; anything else is shown as its text.
    caption : str
    sortable : bool
        Whether the reader may sort it by a column.
    groups : mapping of int to str
        Row number → heading printed above that row.
    wide : bool
        Whether the table may run wider than the text.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    sortable: bool = False
    groups: dict[int, str] = field(default_factory=dict)
    wide: bool = True
    type: str = "table"

    def cells(self) -> list[list[Cell]]:
        """Return the rows with every string made a cell.

        Examples
        --------
        >>> Table(["a"], [["x"]]).cells()[0][0].text
        'x'
        """
        return [[c if isinstance(c, Cell) else Cell(str(c)) for c in row] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Return for each column whether its cells are numbers, so that the head is aligned with them."""
        rows = self.cells()
        return [
            bool(rows) and all(row[j].kind == "num" for row in rows if j < len(row)) for j in range(len(self.columns))
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: drawing, finding, how it was made, the numbers in words, and the same numbers as a table.

    Parameters
    ----------
    svg : str
        Inline SVG; its colours are CSS variables, so that it follows the colour scheme of the page.
    title : str
        The finding, as a sentence.
    caption : str
        How the figure was made.
    alt : str
        What it shows, with the numbers.
    table : Table
        The numbers that were drawn.
    width : int
        Natural width in pixels.
    """

    svg: str
    title: str
    caption: str
    alt: str
    table: Table
    width: int = 640
    type: str = "figure"

    def __post_init__(self) -> None:
        object.__setattr__(self, "caption", self.caption.strip())


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph: plain text, something absent, or a warning."""

    text: str
    kind: Literal["plain", "absent", "warn"] = "plain"
    type: str = "note"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section, or inside a fold of it."""

    text: str
    level: int = 3
    type: str = "heading"


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks that are folded under a summary, such as what is said of one finding of many.

    Parameters
    ----------
    summary : str
    blocks : sequence of Block
        Headings among them are one level deeper.
    beside : str
        What the summary says in passing, such as a key number.
    """

    summary: str
    blocks: Sequence[Any]
    beside: str = ""
    type: str = "fold"

    def __post_init__(self) -> None:
        deeper = [replace(b, level=b.level + 1) if isinstance(b, Heading) else b for b in self.blocks]
        object.__setattr__(self, "blocks", deeper)


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Small pictures with what stands below them; each is (data address, caption, description)."""

    pictures: Sequence[tuple[str, str, str]]
    type: str = "thumbnails"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a note, marked where it says something of a finding.

    Parameters
    ----------
    runs : sequence of (str, bool)
        Its text in order, and whether that part is what decided how the mention is read.
    kind : str
        ``positive``, ``negative`` or ``uncertain``; empty where nothing is said.
    word : str
        What stands beside the mark.
    number : int
        Under which the mark is explained.
    aside : bool
        Whether the mention is of the past, of the family or of what may come, and so decides nothing.
    """

    runs: Sequence[tuple[str, bool]]
    kind: str = ""
    word: str = ""
    number: int = 0
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """One note with its marks: what it is, what was read in it, its text, and why each mark is read as it is."""

    title: str
    beside: str
    pieces: Sequence[Piece] = field(repr=False)
    marks: Sequence[str] = ()
    cut: str = ""
    type: str = "passage"


@dataclass(frozen=True, slots=True)
class Legend:
    """What the marks of notes mean."""

    marks: Sequence[tuple[str, str]]
    type: str = "legend"


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms with their values."""

    pairs: Sequence[tuple[str, str]]
    type: str = "facts"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    texts: Sequence[str]
    type: str = "items"


@dataclass(frozen=True, slots=True)
class Code:
    """Preformatted text, folded under a summary when it is long."""

    text: str
    summary: str = ""
    type: str = "code"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two figures that stand side by side where there is room."""

    figures: Sequence[Figure]
    type: str = "pair"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One acceptance criterion as it stands in the verdict box."""

    text: str
    measure: str
    estimate: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict box: state, criteria, openings of the test part and what else must be said at once."""

    state: str
    criteria: Sequence[Criterion]
    openings: str
    warning: str = ""
    simple: str = ""
    type: str = "verdict"


@dataclass(frozen=True, slots=True)
class Key:
    """One number of the key strip beside its baseline."""

    label: str
    value: str
    span: str
    beside: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The key strip: four to six numbers, each beside what it must be compared with."""

    keys: Sequence[Key]
    type: str = "strip"


Block: TypeAlias = (
    Table
    | Figure
    | Note
    | Heading
    | Facts
    | Items
    | Code
    | Pair
    | Verdict
    | Strip
    | Fold
    | Thumbnails
    | Passage
    | Legend
)


@dataclass(frozen=True, slots=True)
class Section:
    """One of the sixteen sections: its anchor, title, opening sentence and blocks."""

    id: str
    title: str
    lead: str
    blocks: Sequence[Block] = ()
    assessed: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """What a figure needs to know besides its data.

    Parameters
    ----------
    outcome : str
        Name of the outcome, for axes.
    unit : str
        Unit of time, singular.
    horizon : str, optional
        Horizon the figure is for.
    level : float
        Coverage of the intervals.
    how : str
        What kind of intervals these are, one sentence; empty when not known.
    measures : dict
        Measures of the model by name.
    competing : bool
        Whether other events can come first, so that risks are cumulative incidences.
    salt : str
        What the ids of a drawing start with, where one page draws it for several findings.
    predicts : str
        What the model predicts, such as a risk or an effect.
    measured : str
        Unit of what is predicted.
    """

    outcome: str = "outcome"
    unit: str = "day"
    horizon: str | None = None
    level: float = 0.95
    how: str = ""
    measures: dict[str, Any] = field(default_factory=dict)
    competing: bool = False
    salt: str = ""
    predicts: str = "risk"
    measured: str = "percentage points"

    @property
    def observed(self) -> str:
        """Name of the estimator that gives the observed risk of censored rows.

        Examples
        --------
        >>> Context().observed, Context(competing=True).observed
        ('Kaplan-Meier', 'Aalen-Johansen')
        """
        return "Aalen-Johansen" if self.competing else "Kaplan-Meier"

    def measure(self, base: str) -> dict[str, Any] | None:
        """Return a measure at the horizon of the figure, or None.

        Examples
        --------
        >>> Context(horizon="365", measures={"oe@365": {"value": 1.1}}).measure("oe")
        {'value': 1.1}
        """
        found: dict[str, Any] | None = self.measures.get(f"{base}@{self.horizon}" if self.horizon else base)
        return found

    @property
    def band(self) -> str:
        """Name of the interval, such as ``"95% interval"``."""
        return f"{100 * self.level:g}% interval"

    @property
    def bands(self) -> str:
        """What a caption says of its bands: the kind of intervals where it is known."""
        return self.how.rstrip(".") or f"{self.band}s"

    @property
    def when(self) -> str:
        """The horizon in words with a leading space, or nothing."""
        return f" by {numbers.horizon(self.horizon, self.unit)}" if self.horizon else ""
