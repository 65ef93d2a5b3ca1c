"""Tokens of a note, the features of each, and the chance of each tag, in passes over arrays of characters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "BITS",
    "SLOTS",
    "WORD_SLOTS",
    "describe",
    "flags_of",
    "hash_words",
    "marginals",
    "row_table",
    "scores",
    "settle_runs",
    "slot_features",
    "split_tokens",
]

BITS = 16
"""How many word lists a word can be on."""

SLOTS = 120
"""How many features a token has at most; a slot without a feature is 0."""

WORD_SLOTS = 40
"""The first slots are those that rest on the identity of words; training hides some of them."""


@compiled
def _mix(a: np.uint64, b: np.uint64) -> np.uint64:
    x = a ^ (b + np.uint64(0x9E3779B97F4A7C15) + (a << np.uint64(6)) + (a >> np.uint64(2)))
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _kind(code: Any, kind: NDArray[np.uint8]) -> Any:
    # Characters beyond the table are taken for its last: signs.
    return kind[code] if code < kind.size else kind[kind.size - 1]


@compiled
def split_tokens(
    codes: NDArray[np.uint32], kind: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> int:
    """Write where tokens start and stop; return how many.

    A run of letters and digits is a token, and so is each other character that is not a space.

    Parameters
    ----------
    codes : array, shape (n characters,)
        Code points.
    kind : array
        Of each code point: 0 space, 1 line end, 2 capital, 3 small letter, 4 other letter, 5 digit, 6 mark, 7 other.
    start, stop : arrays, at least n long
        Written.
    """
    n = codes.size
    count = 0
    i = 0
    while i < n:
        k = _kind(codes[i], kind)
        if k <= 1:
            i += 1
            continue
        start[count] = i
        i += 1
        if k <= 6:
            while i < n:
                k = _kind(codes[i], kind)
                if k < 2 or k > 6:
                    break
                i += 1
        stop[count] = i
        count += 1
    return count


@compiled
def hash_words(
    codes: NDArray[np.uint32], ends: NDArray[np.int64], fold: NDArray[np.uint32], out: NDArray[np.uint64]
) -> None:
    """Write the hash of each word, the words laid end to end; case and accents do not count."""
    last = fold.size - 1
    a = 0
    for w in range(ends.size):
        h = np.uint64(0xCBF29CE484222325)
        for i in range(a, ends[w]):
            c = codes[i]
            f = fold[c] if c <= last else c
            if f != 0:
                h = (h ^ np.uint64(f)) * np.uint64(0x100000001B3)
        out[w] = _mix(h, np.uint64(1))
        a = ends[w]


@compiled
def row_table(keys: NDArray[np.uint64], slots: NDArray[np.int32]) -> None:
    """Fill an open table (a power of two long, -1 where free) with the rows of `keys`."""
    mask = np.uint64(slots.size - 1)
    for row in range(keys.size):
        at = keys[row] & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = row


@compiled
def _row(key: np.uint64, keys: NDArray[np.uint64], slots: NDArray[np.int32]) -> Any:
    mask = np.uint64(slots.size - 1)
    at = key & mask
    while True:
        row = slots[at]
        if row < 0:
            return -1
        if keys[row] == key:
            return row
        at = (at + np.uint64(1)) & mask


@compiled
def flags_of(
    words: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    slots: NDArray[np.int32],
    flags: NDArray[np.uint16],
    out: NDArray[np.uint16],
) -> None:
    """Write on which word lists each word is."""
    for i in range(words.size):
        # The lists keep 40 bits of a hash: a chance word is on one of them once in ten million.
        row = _row(words[i] & np.uint64(0xFFFFFFFFFF), keys, slots)
        out[i] = flags[row] if row >= 0 else np.uint16(0)


@compiled
def describe(
    codes: NDArray[np.uint32],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    kind: NDArray[np.uint8],
    fold: NDArray[np.uint32],
    word: NDArray[np.uint64],
    affix: NDArray[np.uint64],
    shape: NDArray[np.uint64],
    case: NDArray[np.uint8],
    gap: NDArray[np.uint8],
) -> None:
    """Write of each token what can be said without its neighbours.

    Parameters
    ----------
    word : array, shape (n,)
        Hash without case and accents.
    affix : array, shape (n, 8)
        First and last one to four characters; 0 where the token is shorter.
    shape : array, shape (n, 2)
        Pattern of letters and digits with lengths, and with runs made short.
    case : array, shape (n,)
        0 sign, 1 small, 2 First, 3 CAPITALS, 4 miXed, 5 no case, 6 digits, 7 digits and letters, 8 one capital.
    gap : array, shape (n,)
        Before the token: 0 nothing, 1 space, 2 line end, 3 empty line, 4 start.
    """
    folds = fold.size - 1
    before = 0
    for t in range(start.size):
        a, b = start[t], stop[t]
        g = 1 if a > before else 0
        lines = 0
        for i in range(before, a):
            if _kind(codes[i], kind) == 1:
                lines += 1
        if lines > 0:
            g = 2 if lines == 1 else 3
        gap[t] = 4 if t == 0 else g
        before = b
        h = np.uint64(0xCBF29CE484222325)
        full = np.uint64(7)
        short = np.uint64(11)
        previous = 99
        capitals = 0
        small = 0
        digits = 0
        other = 0
        first = 0
        length = 0
        for i in range(a, b):
            c = codes[i]
            k = _kind(c, kind)
            if i == a:
                first = k
            if k == 2:
                capitals += 1
            elif k == 3:
                small += 1
            elif k == 5:
                digits += 1
            elif k == 4:
                other += 1
            f = fold[c] if c <= folds else c
            if f != 0:
                h = (h ^ np.uint64(f)) * np.uint64(0x100000001B3)
                length += 1
                if length <= 4:
                    affix[t, length - 1] = _mix(h, np.uint64(20 + length))
            symbol = np.uint64(c) if k == 7 else np.uint64(k)
            if i - a < 24:
                full = _mix(full, symbol)
            if k != previous:
                short = _mix(short, symbol)
            previous = k
        for j in range(length, 4):
            affix[t, j] = 0
        tail = np.uint64(0xCBF29CE484222325)
        length = 0
        i = b - 1
        while i >= a and length < 4:
            c = codes[i]
            f = fold[c] if c <= folds else c
            if f != 0:
                tail = (tail ^ np.uint64(f)) * np.uint64(0x100000001B3)
                length += 1
                affix[t, 3 + length] = _mix(tail, np.uint64(30 + length))
            i -= 1
        for j in range(length, 4):
            affix[t, 4 + j] = 0
        n = b - a
        if digits > 0:
            case[t] = 6 if digits == n else 7
        elif capitals + small + other == 0:
            case[t] = 0
        elif capitals + small == 0:
            case[t] = 5
        elif capitals == 0:
            case[t] = 1
        elif small == 0:
            case[t] = 3 if n > 1 else 8
        elif capitals == 1 and first == 2:
            case[t] = 2
        else:
            case[t] = 4
        # Long numbers are told apart by their length and first digit alone, or none would be met twice.
        word[t] = _mix(h, np.uint64(1))
        if digits > 2 or (digits > 0 and digits < n):
            word[t] = _mix(full, np.uint64(3))
        shape[t, 0] = full
        shape[t, 1] = short


@compiled
def slot_features(
    low: int,
    high: int,
    word: NDArray[np.uint64],
    affix: NDArray[np.uint64],
    shape: NDArray[np.uint64],
    case: NDArray[np.uint8],
    gap: NDArray[np.uint8],
    flags: NDArray[np.uint16],
    rule: NDArray[np.uint8],
    plain: int,
    out: NDArray[np.uint64],
) -> None:
    """Write the features of the tokens `low` to `high`.

    Parameters
    ----------
    rule : array, shape (n,)
        Class of the rule that covers the token; 0 none.
    plain : int
        Bit of `flags` that says a word is one of ordinary language.
    out : array, shape (high - low, SLOTS)
        Written: 0 where a slot has no feature.
    """
    n = word.size
    edge = np.uint64(0x5EED)
    one = np.uint64(1)
    W = np.zeros(7, np.uint64)
    S = np.zeros(7, np.uint64)
    G = np.zeros(7, np.uint64)
    C = np.zeros(7, np.uint64)
    R = np.zeros(7, np.uint64)
    for t in range(low, high):
        r = t - low
        for s in range(SLOTS):
            out[r, s] = 0
        for d in range(-3, 4):
            u = t + d
            if u < 0 or u >= n:
                W[d + 3] = edge
                S[d + 3] = edge
                G[d + 3] = edge
                C[d + 3] = edge
                R[d + 3] = edge
            else:
                W[d + 3] = word[u]
                S[d + 3] = shape[u, 1]
                C[d + 3] = np.uint64(case[u])
                g = _mix(np.uint64(flags[u]), np.uint64(case[u]) + np.uint64(100))
                if case[u] == 0:
                    g = word[u]
                G[d + 3] = g
                R[d + 3] = np.uint64(rule[u])
        # The nearest plain words on each side say what a run of names and numbers is about.
        left = edge
        second = edge
        found = 0
        u = t - 1
        while u >= 0 and t - u <= 16:
            if case[u] <= 2 and case[u] >= 1 and (flags[u] >> plain) & 1 and (case[u] == 1 or gap[u] >= 2):
                if found == 0:
                    left = word[u]
                    found = 1
                else:
                    second = word[u]
                    break
            u -= 1
        right = edge
        u = t + 1
        while u < n and u - t <= 16:
            if case[u] == 1 and (flags[u] >> plain) & 1:
                right = word[u]
                break
            u += 1
        # The first token of the line, as in "Phone: ...".
        head = edge
        u = t
        while u > 0 and gap[u] < 2 and t - u < 24:
            u -= 1
        head = word[u]
        place = min(t - u, 3)
        for d in range(7):
            out[r, d] = W[d]
        out[r, 7] = _mix(W[2], W[3])
        out[r, 8] = _mix(W[3], W[4])
        out[r, 9] = _mix(W[1], W[2])
        out[r, 10] = _mix(W[4], W[5])
        out[r, 11] = _mix(W[2], W[4])
        out[r, 12] = _mix(W[2], G[3])
        out[r, 13] = _mix(G[3], W[4])
        out[r, 14] = _mix(_mix(W[1], W[2]), C[3])
        out[r, 15] = left
        out[r, 16] = _mix(left, G[3])
        out[r, 17] = _mix(_mix(left, second), C[3])
        out[r, 18] = right
        out[r, 19] = _mix(right, C[3])
        out[r, 20] = _mix(head, C[3])
        out[r, 21] = _mix(W[2], C[3])
        out[r, 22] = _mix(C[3], W[4])
        out[r, 23] = _mix(_mix(W[4], W[5]), C[3])
        out[r, 24] = _mix(_mix(left, right), C[3])
        s = WORD_SLOTS
        for d in range(1, 6):
            out[r, s] = S[d]
            out[r, s + 1] = G[d]
            out[r, s + 2] = C[d] + one
            out[r, s + 3] = R[d]
            s += 4
        for j in range(8):
            out[r, s + j] = affix[t, j]
        s += 8
        out[r, s] = shape[t, 0]
        out[r, s + 1] = _mix(_mix(S[2], S[3]), S[4])
        out[r, s + 2] = _mix(_mix(C[2], C[3]), C[4])
        out[r, s + 3] = _mix(G[2], G[3])
        out[r, s + 4] = _mix(G[3], G[4])
        out[r, s + 5] = _mix(_mix(G[2], G[3]), G[4])
        out[r, s + 6] = _mix(_mix(C[1], C[2]), _mix(C[3], _mix(C[4], C[5])))
        out[r, s + 7] = np.uint64(gap[t]) + one
        out[r, s + 8] = np.uint64(gap[t + 1] if t + 1 < n else 4) + one
        out[r, s + 9] = _mix(np.uint64(gap[t]), G[3])
        out[r, s + 10] = _mix(np.uint64(gap[t + 1] if t + 1 < n else 4), C[3])
        out[r, s + 11] = _mix(np.uint64(place), C[3])
        out[r, s + 12] = _mix(_mix(np.uint64(gap[t]), np.uint64(flags[t])), C[3])
        out[r, s + 13] = _mix(_mix(R[2], R[3]), R[4])
        s += 14
        for j in range(BITS):
            if (flags[t] >> j) & 1:
                out[r, s + j] = _mix(np.uint64(j), C[3])
        s += BITS
        if t > 0:
            for j in range(BITS):
                if (flags[t - 1] >> j) & 1:
                    out[r, s + j] = _mix(np.uint64(j), C[2])
        s += BITS
        # What follows matters as much, but the common word flag is enough there: the rest is in the profile.
        if t + 1 < n and s + 6 <= SLOTS:
            f = np.uint64(flags[t + 1])
            out[r, s] = _mix(f, C[4])
        for j in range(SLOTS):
            if out[r, j] != 0:
                out[r, j] = _mix(out[r, j], np.uint64(j + 1000))


@compiled
def scores(
    features: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    slots: NDArray[np.int32],
    first: NDArray[np.int32],
    label: NDArray[np.uint8],
    weight: NDArray[np.float32],
    out: NDArray[np.float64],
) -> None:
    """Write the score of each label of each token: the sum of the weights of its features.

    Parameters
    ----------
    features : array, shape (n, SLOTS)
    keys, slots : arrays
        Features that have weights, and their open table.
    first : array, shape (keys + 1,)
        Where the weights of each feature start.
    label, weight : arrays
        Label and weight.
    out : array, shape (n, labels)
        Written.
    """
    for t in range(features.shape[0]):
        for j in range(out.shape[1]):
            out[t, j] = 0.0
        for s in range(features.shape[1]):
            key = features[t, s]
            if key != 0:
                row = _row(key, keys, slots)
                if row >= 0:
                    for i in range(first[row], first[row + 1]):
                        out[t, label[i]] += weight[i]


@compiled
def marginals(
    score: NDArray[np.float64], step: NDArray[np.float64], forward: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Write the chance of each label of each token of one sequence.

    Parameters
    ----------
    score : array, shape (n, labels)
        Scores of labels; overwritten.
    step : array, shape (labels, labels)
        Exponential of the score of going from a label to the next.
    forward, out : arrays, shape (n, labels)
        Written.
    """
    n, k = score.shape
    for t in range(n):
        top = score[t, 0]
        for j in range(1, k):
            top = max(top, score[t, j])
        for j in range(k):
            score[t, j] = np.exp(score[t, j] - top)
    for t in range(n):
        total = 0.0
        for j in range(k):
            x = 1.0
            if t > 0:
                x = 0.0
                for i in range(k):
                    x += forward[t - 1, i] * step[i, j]
            x *= score[t, j]
            forward[t, j] = x
            total += x
        for j in range(k):
            forward[t, j] /= total
    back = np.ones(k)
    fresh = np.empty(k)
    for t in range(n - 1, -1, -1):
        total = 0.0
        for j in range(k):
            out[t, j] = forward[t, j] * back[j]
            total += out[t, j]
        for j in range(k):
            out[t, j] /= total
        total = 0.0
        for i in range(k):
            x = 0.0
            for j in range(k):
                x += step[i, j] * score[t, j] * back[j]
            fresh[i] = x
            total += x
        for i in range(k):
            back[i] = fresh[i] / total


@compiled
def settle_runs(
    codes: NDArray[np.uint32],
    start: NDArray[np.int64],
    word: NDArray[np.uint64],
    case: NDArray[np.uint8],
    gap: NDArray[np.uint8],
    named: NDArray[np.bool_],
    chance: NDArray[np.float64],
    sure: NDArray[np.bool_],
    threshold: float,
    out: NDArray[np.bool_],
) -> None:
    """Write which tokens are part of an identifier: close small gaps, drop signs at the ends, find names again.

    Parameters
    ----------
    codes, start, word, case, gap : arrays
        As `describe` has them.
    named : bool array, shape (n,)
        Words that are looked for in the whole note once one of them was found.
    chance : array, shape (n,)
        Chance that the token is part of an identifier; below 0 for one that never is.
    sure : bool array, shape (n,)
        Tokens that stay.
    threshold : float
    out : bool array, shape (n,)
        Written.
    """
    n = chance.size
    known = 0
    for t in range(n):
        hit = chance[t] >= threshold
        if sure[t]:
            hit = True
        out[t] = hit
        if hit and named[t] and (chance[t] >= 0.5 or sure[t]):
            known += 1
    if known > 0:
        size = 8
        while size < 2 * known:
            size *= 2
        mask = np.uint64(size - 1)
        seen = np.zeros(size, np.uint64)
        for t in range(n):
            if out[t] and named[t] and (chance[t] >= 0.5 or sure[t]):
                at = word[t] & mask
                while seen[at] != 0 and seen[at] != word[t]:
                    at = (at + np.uint64(1)) & mask
                seen[at] = word[t]
        for t in range(n):
            if not out[t] and named[t] and chance[t] >= 0.0:
                at = word[t] & mask
                while seen[at] != 0:
                    if seen[at] == word[t]:
                        out[t] = True
                        break
                    at = (at + np.uint64(1)) & mask
    # Gaps of one or two signs or small words inside a run, where the model was not against it.
    last = -10
    for t in range(n):
        if out[t]:
            if 2 <= t - last <= 3:
                fits = True
                for u in range(last + 1, t):
                    if chance[u] < 0.4 * threshold or case[u] > 1 or gap[u] >= 3:
                        fits = False
                if fits:
                    for u in range(last + 1, t):
                        out[u] = True
            last = t
    t = 0
    while t < n:
        if not out[t]:
            t += 1
            continue
        low = t
        while t < n and out[t]:
            t += 1
        high = t - 1
        # Signs before: only those that open something stay.
        while low <= high and case[low] == 0 and not sure[low]:
            c = codes[start[low]]
            if c == 43 or c == 40 or c == 35 or c == 91:
                break
            out[low] = False
            low += 1
        while high > low and case[high] == 0 and not sure[high]:
            c = codes[start[high]]
            if c == 46 or c == 47:
                break
            if c == 41 or c == 93:
                opened = False
                for u in range(low, high):
                    if codes[start[u]] == c - np.uint32(1) or codes[start[u]] == c - np.uint32(2):
                        opened = True
                if opened:
                    break
            out[high] = False
            high -= 1
