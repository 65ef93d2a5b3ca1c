"""Phrases compiled to one automaton: thousands of them, with any endings, alternatives and gaps, found in one pass.

Two tables. A tree of letters takes each word of a note to its class: the set of words of the phrases that it matches,
exactly or by a trailing ``*``. A deterministic automaton over classes then takes rows of words to the phrases that end
there; a gap is an edge that may pass over some words first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import DataError

__all__ = ["APOSTROPHE", "FOLD", "LETTERS", "Automaton", "compile_phrases", "expand"]

LETTERS = 37
"""Classes of characters in the tree: 0 for none, 1 to 26 letters, 27 to 36 digits."""
APOSTROPHE = 37
"""The class of an apostrophe, which is passed over inside a word."""
_MOST_ROWS = 20_000
_MOST_STATES = 400_000


def _fold() -> NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for i in range(26):
        table[ord("a") + i] = table[ord("A") + i] = 1 + i
    for i in range(10):
        table[ord("0") + i] = 27 + i
    plain = {"a": "ÀÁÂÃÄÅàáâãäå", "c": "Çç", "e": "ÈÉÊËèéêë", "i": "ÌÍÎÏìíîï", "n": "Ññ", "o": "ÒÓÔÕÖØòóôõöø"}
    plain |= {"u": "ÙÚÛÜùúûü", "y": "ÝýÿŸ", "s": "Šš", "z": "Žž"}
    for letter, accented in plain.items():
        for character in accented:
            table[character.encode("cp1252")[0]] = table[ord(letter)]
    for character in "'’":
        table[character.encode("cp1252")[0]] = APOSTROPHE
    return table


FOLD = _fold()
"""Class of each character of code page 1252: case and accents are gone."""

_PIECE = re.compile(
    r"\.\.(\d+)|((?:[a-z][a-z0-9]*|[0-9]+)(?:\*(?![a-z0-9*]))?)|(\?)|([()|])|((?:[\s\-/,;:+&]|(?<!\.)\.(?!\.))+)"
)


def expand(phrase: str) -> list[tuple[str | int, ...]]:
    """Rows of words that a phrase stands for; a number is a gap of at most so many words.

    Raises
    ------
    DataError
        A character that no phrase may hold, brackets that do not match, a gap at an end, or no word.

    Examples
    --------
    >>> expand("(volume loss|collapse) ..3 lobe*")
    [('volume', 'loss', 3, 'lobe*'), ('collapse', 3, 'lobe*')]
    """
    text = "".join(_plain(c) for c in phrase)
    pieces: list[str | int] = []
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            raise DataError(f"the phrase '{phrase}' has a character that no phrase may hold", "words * ? ( | ) ..3", "")
        at = found.end()
        gap, word, question, mark, _ = found.groups()
        if gap is not None:
            pieces.append(int(gap))
        elif word or question or mark:
            pieces.append(word or question or mark)
    rows, rest = _alternatives(pieces, 0, phrase)
    if rest != len(pieces):
        raise DataError(f"brackets of the phrase '{phrase}' do not match", "one ) for each (", "")
    rows = list(dict.fromkeys(_joined_gaps(row) for row in rows))
    for row in rows:
        if not any(isinstance(w, str) for w in row):
            raise DataError(f"the phrase '{phrase}' has no word", "at least one word", "take it out")
        if isinstance(row[0], int) or isinstance(row[-1], int):
            raise DataError(
                f"the phrase '{phrase}' begins or ends with a gap", "words at both ends", "take the gap out"
            )
    return rows


def _joined_gaps(row: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Make one gap of neighbours, which an empty alternative between them leaves."""
    out: list[str | int] = []
    for piece in row:
        if isinstance(piece, int) and out and isinstance(out[-1], int):
            out[-1] += piece
        else:
            out.append(piece)
    return tuple(out)


def _plain(character: str) -> str:
    if character.isascii():
        return "" if character == "'" else character.lower()
    code = FOLD[character.encode("cp1252", "replace")[0]]
    if code == APOSTROPHE:
        return ""
    if 0 < code <= 26:
        return chr(96 + code)
    return " " if code == 0 and not character.isalnum() else character


def _alternatives(pieces: list[str | int], at: int, phrase: str) -> tuple[list[tuple[str | int, ...]], int]:
    rows: list[tuple[str | int, ...]] = []
    current: list[tuple[str | int, ...]] = [()]
    while at < len(pieces):
        piece = pieces[at]
        if piece == ")":
            break
        if piece == "|":
            rows, current, at = rows + current, [()], at + 1
            continue
        if piece == "(":
            inner, at = _alternatives(pieces, at + 1, phrase)
            if at >= len(pieces):
                raise DataError(f"brackets of the phrase '{phrase}' do not match", "one ) for each (", "")
        else:
            inner = [(piece,)]
        current = [row + more for row in current for more in inner]
        if len(current) > _MOST_ROWS:
            raise DataError(f"the phrase '{phrase[:60]}' stands for too many rows", f"at most {_MOST_ROWS}", "split it")
        at += 1
    return rows + current, at


@dataclass(frozen=True, repr=False)
class Automaton:
    """Tables of a compiled set of phrases.

    Attributes
    ----------
    tree : int32 array, shape (nodes, LETTERS)
        Next node by letter; 0 is none.
    class_at_end, class_beyond : int32 array, shape (nodes,)
        Class of a word that ends at a node, and of one that goes on where the tree has no more.
    root : int32 array, shape (classes,)
        First state by class; -1 is none.
    edge_from, edge_class, edge_to : int32 arrays
        Edges of a state are those from ``edge_from[s]`` to ``edge_from[s + 1]``, in order of class.
    gap_from, gap_words, gap_to : int32 arrays
        Gaps of a state, likewise.
    accept_from, accept : int32 arrays
        Phrases that end in a state, likewise, by the number they were given.
    question : int
        Class of a question mark before a word; 0 where no phrase has one.
    words : dict of str to int
        Class of each word of the phrases that has no ``*``.
    """

    tree: NDArray[np.int32]
    class_at_end: NDArray[np.int32]
    class_beyond: NDArray[np.int32]
    root: NDArray[np.int32]
    edge_from: NDArray[np.int32]
    edge_class: NDArray[np.int32]
    edge_to: NDArray[np.int32]
    gap_from: NDArray[np.int32]
    gap_words: NDArray[np.int32]
    gap_to: NDArray[np.int32]
    accept_from: NDArray[np.int32]
    accept: NDArray[np.int32]
    question: int
    words: dict[str, int]

    @property
    def n_classes(self) -> int:
        """Number of classes of words, the class of unknown words among them."""
        return len(self.root)


def compile_phrases(phrases: Iterable[tuple[Sequence[tuple[str | int, ...]], int]]) -> Automaton:
    """Compile rows of words, each with the number that a match reports.

    Parameters
    ----------
    phrases : iterable of (rows, number)
        Rows as `expand` gives them.

    Raises
    ------
    DataError
        The phrases need more states than fit; gaps between very common words do that.

    Examples
    --------
    >>> automaton = compile_phrases([(expand("pleural effusion*"), 0), (expand("effusion"), 1)])
    >>> automaton.n_classes, automaton.accept.tolist()
    (4, [1, 0])
    """
    words, nodes, gaps, accepts = _trie(phrases)
    tree, at_end, beyond, classes, of_exact = _letters(words)
    of_word: dict[str, list[int]] = {}
    for spellings, number in classes.items():
        for word in spellings:
            of_word.setdefault(word, []).append(number)
    states: dict[frozenset[int], int] = {}
    order: list[frozenset[int]] = []

    def state(of_nodes: frozenset[int]) -> int:
        if of_nodes not in states:
            if len(order) >= _MOST_STATES:
                raise DataError("the phrases need too many states", f"at most {_MOST_STATES}", "take gaps out")
            states[of_nodes] = len(order)
            order.append(of_nodes)
        return states[of_nodes]

    state(frozenset([0]))
    edges: list[list[tuple[int, int]]] = []
    jumps: list[list[tuple[int, int]]] = []
    done = 0
    while done < len(order):
        members = order[done]
        done += 1
        by_class: dict[int, set[int]] = {}
        for node in members:
            for word, child in nodes[node].items():
                for number in of_word[word]:
                    by_class.setdefault(number, set()).add(child)
        edges.append([(number, state(frozenset(by_class[number]))) for number in sorted(by_class)])
        jumps.append(
            [(most, state(frozenset([child]))) for node in sorted(members) for most, child in gaps[node].items()]
        )
    root = np.full(len(classes) + 1, -1, dtype=np.int32)
    for number, target in edges[0]:
        root[number] = target
    ends = [sorted({a for node in members for a in accepts[node]}) for members in order]
    # The start is left by `root` alone, which is as long as there are classes.
    edges[0] = []
    return Automaton(
        tree=tree,
        class_at_end=at_end,
        class_beyond=beyond,
        root=root,
        edge_from=_starts(edges),
        edge_class=_flat([e[0] for row in edges for e in row]),
        edge_to=_flat([e[1] for row in edges for e in row]),
        gap_from=_starts(jumps),
        gap_words=_flat([e[0] for row in jumps for e in row]),
        gap_to=_flat([e[1] for row in jumps for e in row]),
        accept_from=_starts(ends),
        accept=_flat([a for row in ends for a in row]),
        question=classes.get(frozenset(["?"]), 0),
        words=of_exact,
    )


def _flat(values: list[int]) -> NDArray[np.int32]:
    # An empty array has no type of its own for a compiled loop to read; one value is never reached.
    return np.array(values or [0], dtype=np.int32)


def _starts(rows: Sequence[Sequence[object]]) -> NDArray[np.int32]:
    out = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=out[1:])
    return out


def _trie(
    phrases: Iterable[tuple[Sequence[tuple[str | int, ...]], int]],
) -> tuple[set[str], list[dict[str, int]], list[dict[int, int]], list[list[int]]]:
    """Phrases as a tree of words, its gaps, and what ends at each node."""
    words: set[str] = set()
    nodes: list[dict[str, int]] = [{}]
    gaps: list[dict[int, int]] = [{}]
    accepts: list[list[int]] = [[]]
    for rows, number in phrases:
        for row in rows:
            at = 0
            for piece in row:
                if isinstance(piece, int):
                    following = gaps[at].setdefault(piece, len(nodes))
                else:
                    words.add(piece)
                    following = nodes[at].setdefault(piece, len(nodes))
                if following == len(nodes):
                    nodes.append({})
                    gaps.append({})
                    accepts.append([])
                at = following
            accepts[at].append(number)
    return words, nodes, gaps, accepts


def _letters(
    words: set[str],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], dict[frozenset[str], int], dict[str, int]]:
    """Tree of letters of all words, the class at each node, and the classes."""
    children: list[dict[int, int]] = [{}]
    exact: list[str | None] = [None]
    starred: list[str | None] = [None]
    for spelling in sorted(words - {"?"}):
        at = 0
        for letter in spelling.rstrip("*"):
            code = int(FOLD[ord(letter)])
            if code not in children[at]:
                children[at][code] = len(children)
                children.append({})
                exact.append(None)
                starred.append(None)
            at = children[at][code]
        if spelling.endswith("*"):
            starred[at] = spelling
        else:
            exact[at] = spelling
    classes: dict[frozenset[str], int] = {}

    def number(members: frozenset[str]) -> int:
        return classes.setdefault(members, len(classes) + 1) if members else 0

    tree = np.zeros((len(children), LETTERS), dtype=np.int32)
    at_end = np.zeros(len(children), dtype=np.int32)
    beyond = np.zeros(len(children), dtype=np.int32)
    of_exact: dict[str, int] = {}
    stack: list[tuple[int, frozenset[str]]] = [(0, frozenset())]
    while stack:
        node, passed = stack.pop()
        star, word = starred[node], exact[node]
        if star is not None:
            passed = passed | {star}
        beyond[node] = number(passed)
        at_end[node] = number(passed | {word}) if word is not None else beyond[node]
        if word is not None:
            of_exact[word] = int(at_end[node])
        for code, child in children[node].items():
            tree[node, code] = child
            stack.append((child, passed))
    if "?" in words:
        number(frozenset(["?"]))
    return tree, at_end, beyond, classes, of_exact
