"""Loops that take notes apart into words and sentences, and find phrases in them in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["find_phrases", "read_words"]

# What stands before a word: 0 nothing or a hyphen, 1 a comma or bracket, 2 a semicolon, 3 a new sentence.
# Flags of a word: 1 all capitals, 2 first letter is one, 4 a number, 8 first of its line, 16 a colon follows,
# 32 alone in the rest of its line.


@compiled
def read_words(
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    fold: NDArray[np.uint8],
    tree: NDArray[np.int32],
    class_at_end: NDArray[np.int32],
    class_beyond: NDArray[np.int32],
    short: NDArray[np.uint8],
    question: int,
    start: NDArray[np.int32],
    stop: NDArray[np.int32],
    word: NDArray[np.int32],
    gap: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    value: NDArray[np.float32],
    first: NDArray[np.int64],
) -> int:
    """Write the words of notes ``text[bounds[i]:bounds[i + 1] - 1]``; return how many there are.

    Parameters
    ----------
    short : uint8 array
        1 for classes of words that a full stop abbreviates.
    start, stop, word, gap, flags, value : arrays as long as the text
        Out: characters, class, what stands before, flags and the value of a number.
    first : int64 array, shape (n + 1,)
        Out: first word of each note.
    """
    n = 0
    for note in range(len(bounds) - 1):
        begin, end = bounds[note], bounds[note + 1] - 1
        first[note] = n
        small = 0
        large = 0
        for i in range(begin, min(end, begin + 400)):
            c = text[i]
            if 97 <= c <= 122:
                small += 1
            elif 65 <= c <= 90:
                large += 1
        capitals = small * 10 < large
        before = 3
        lines = 0
        bullet = False
        line_start = begin
        previous_line = 0
        i = begin
        while i < end:
            c = text[i]
            f = fold[c]
            if f == 0 or f == 37:
                if c == 32:
                    i += 1
                    continue
                if c == 46 or c == 33:
                    if c == 46 and n > first[note] and stop[n - 1] == i:
                        p = n - 1
                        after = text[i + 1] if i + 1 < end else 32
                        single = stop[p] - start[p] == 1 and fold[text[start[p]]] <= 26
                        if short[word[p]] == 1 or (single and 0 < fold[after] <= 26):
                            pass
                        elif single and start[p] > begin and text[start[p] - 1] == 46:
                            j = i + 1
                            while j < end and text[j] == 32:
                                j += 1
                            small_letter = 97 <= text[start[p]] <= 122
                            if j >= end or (small_letter and 65 <= text[j] <= 90):
                                before = 3
                        else:
                            before = 3
                    elif c == 46 and i + 1 < end and 27 <= fold[text[i + 1]] <= 36:
                        pass
                    else:
                        before = 3
                elif c == 63:
                    j = i + 1
                    while j < end and text[j] == 32:
                        j += 1
                    near = j < end and 0 < fold[text[j]] <= 26
                    led = i == begin or text[i - 1] == 32 or text[i - 1] == 10 or text[i - 1] == 40
                    ahead = near and (j == i + 1 or (led and 97 <= text[j] <= 122))
                    if question > 0 and (ahead or (n > first[note] and stop[n - 1] == i)):
                        start[n], stop[n], word[n], gap[n], flags[n] = i, i + 1, question, before, 0
                        value[n] = 0.0
                        if lines > 1:
                            gap[n] = 3
                        before, lines, bullet = 0 if ahead else 3, 0, False
                        n += 1
                    else:
                        before = 3
                elif c == 59:
                    before = max(before, 2)
                elif c == 10 or c == 12 or c == 11 or (c == 13 and not (i + 1 < end and text[i + 1] == 10)):
                    if lines == 0:
                        previous_line = i - line_start
                        if n > first[note]:
                            flags[n - 1] |= 32
                    lines += 1
                    line_start = i + 1
                elif c == 42 or c == 149 or c == 183:
                    if lines > 0 or i == line_start:
                        bullet = True
                    before = max(before, 1)
                elif c == 45:
                    if lines > 0:
                        bullet = True
                    elif i + 1 < end and (text[i + 1] == 45 or (text[i + 1] == 32 and text[i - 1] == 32)):
                        before = max(before, 1)
                elif c == 58:
                    before = max(before, 1)
                    if n > first[note] and lines == 0:
                        flags[n - 1] |= 16
                elif c != 9 and c != 13 and c != 47 and c != 95 and f == 0:
                    # Commas, brackets, quotes and the rest; a tab, slash or underscore parts no words of a phrase.
                    before = max(before, 1)
                i += 1
                continue
            # A word begins here.
            j = i
            number = f >= 27
            amount = 0.0
            flag = 0
            node = 0
            alive = True
            if number:
                scale = 0.0
                while j < end:
                    g = fold[text[j]]
                    if 27 <= g <= 36:
                        if scale == 0.0:
                            amount = amount * 10.0 + (g - 27)
                        else:
                            amount += (g - 27) * scale
                            scale *= 0.1
                        if alive:
                            following = tree[node, g]
                            if following == 0:
                                alive = False
                            else:
                                node = following
                        j += 1
                    elif text[j] == 46 and scale == 0.0 and j + 1 < end and 27 <= fold[text[j + 1]] <= 36:
                        scale = 0.1
                        alive = False
                        j += 1
                    else:
                        break
                flag = 4
                if i > begin and text[i - 1] == 46 and scale == 0.0 and (i < begin + 2 or fold[text[i - 2]] == 0):
                    while amount >= 1.0:
                        amount *= 0.1
            else:
                large_letters = 0
                letters = 0
                while j < end:
                    c = text[j]
                    g = fold[c]
                    if g == 0:
                        break
                    if g == 37:
                        if j + 1 < end and 0 < fold[text[j + 1]] <= 26:
                            j += 1
                            continue
                        break
                    if g <= 26:
                        letters += 1
                        if 65 <= c <= 90:
                            large_letters += 1
                    if alive:
                        following = tree[node, g]
                        if following == 0:
                            alive = False
                        else:
                            node = following
                    j += 1
                if letters > 1 and letters == large_letters:
                    flag = 1
                if 65 <= text[i] <= 90:
                    flag |= 2
            known = class_at_end[node] if alive else class_beyond[node]
            marker = False
            if number and j - i <= 2 and j < end:
                listed = text[j] == 41 or (text[j] == 46 and (j + 1 >= end or text[j + 1] == 32 or text[j + 1] == 10))
                if listed and text[j] == 41:
                    marker = not (i > begin and text[i - 1] == 40)
                elif listed:
                    k = j + 1
                    while k < end and text[k] == 32:
                        k += 1
                    marker = lines > 0 or (k < end and 65 <= text[k] <= 90)
            if marker:
                before = 3
            if lines > 0:
                flag |= 8
                if lines > 1 or bullet or before >= 2:
                    before = 3
                elif capitals:
                    if previous_line < 60:
                        before = 3
                elif flag & 2:
                    before = 3
            if n == first[note]:
                before = 3
                flag |= 8
            start[n], stop[n], word[n], gap[n], flags[n], value[n] = i, j, known, before, flag, amount
            n += 1
            i = j
            before = 3 if marker else 0
            lines = 0
            bullet = False
        if n > first[note]:
            flags[n - 1] |= 32
    first[len(bounds) - 1] = n
    return n


@compiled
def find_phrases(
    first: NDArray[np.int64],
    word: NDArray[np.int32],
    gap: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    root: NDArray[np.int32],
    edge_from: NDArray[np.int32],
    edge_class: NDArray[np.int32],
    edge_to: NDArray[np.int32],
    gap_from: NDArray[np.int32],
    gap_words: NDArray[np.int32],
    gap_to: NDArray[np.int32],
    accept_from: NDArray[np.int32],
    accept: NDArray[np.int32],
    heading: NDArray[np.int32],
    section: NDArray[np.int32],
    found_start: NDArray[np.int32],
    found_stop: NDArray[np.int32],
    found: NDArray[np.int32],
    found_first: NDArray[np.int64],
) -> int:
    """Write every phrase of the notes' words; return how many there are, or -1 when they do not fit.

    Parameters
    ----------
    heading : int32 array
        Section of each phrase that is a heading, else -1. A heading opens a sentence and is followed by another.
    section : int32 array, shape (words,)
        Out: section that a heading opens, at its first word; -1 elsewhere.
    found_start, found_stop, found : int32 arrays
        Out: words of each match, and its phrase; in order of the first word.
    found_first : int64 array, shape (n + 1,)
        Out: first match of each note.
    """
    n = 0
    room = len(found)
    state_stack = np.empty(512, dtype=np.int64)
    word_stack = np.empty(512, dtype=np.int64)
    for note in range(len(first) - 1):
        found_first[note] = n
        end = first[note + 1]
        for begin in range(first[note], end):
            state = root[word[begin]]
            if state < 0:
                continue
            depth = 0
            at = begin + 1
            while True:
                # A state is entered with `at` one past its last word.
                for a in range(accept_from[state], accept_from[state + 1]):
                    phrase = accept[a]
                    if heading[phrase] >= 0:
                        last = flags[at - 1]
                        opens = gap[begin] == 3
                        shown = (last & 16) > 0 or (opens and (last & 32) > 0 and (flags[begin] & 8) > 0)
                        if not shown and opens and (last & 1) > 0 and at < end:
                            shown = (flags[at] & 1) == 0 and at - begin <= 3
                        if not shown and not opens and (last & 1) > 0 and at < end and gap[begin] == 0:
                            # Reports that lost their line breaks: capitals among words that have none.
                            shown = (flags[begin] & flags[at - 1] & 1) > 0 and (flags[at] & 1) == 0
                            shown = shown and at - begin <= 3 and begin > first[note] and (flags[begin - 1] & 1) == 0
                        if shown:
                            gap[begin] = 3
                            if at < end:
                                gap[at] = 3
                            section[begin] = heading[phrase]
                    else:
                        if n == room:
                            return -1
                        found_start[n], found_stop[n], found[n] = begin, at, phrase
                        n += 1
                for g in range(gap_from[state], gap_from[state + 1]):
                    skip = at
                    for _ in range(gap_words[g] + 1):
                        if skip >= end or gap[skip] >= 2:
                            break
                        following = -1
                        known = word[skip]
                        for e in range(edge_from[gap_to[g]], edge_from[gap_to[g] + 1]):
                            if edge_class[e] == known:
                                following = edge_to[e]
                                break
                        if following >= 0 and depth < 512:
                            state_stack[depth], word_stack[depth] = following, skip + 1
                            depth += 1
                        skip += 1
                following = -1
                if at < end and gap[at] == 0:
                    known = word[at]
                    if known > 0:
                        for e in range(edge_from[state], edge_from[state + 1]):
                            if edge_class[e] == known:
                                following = edge_to[e]
                                break
                if following >= 0:
                    state = following
                    at += 1
                elif depth > 0:
                    depth -= 1
                    state, at = state_stack[depth], word_stack[depth]
                else:
                    break
    found_first[len(first) - 1] = n
    return n
