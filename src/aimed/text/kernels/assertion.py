"""The loop that decides what a note says of each finding: present, denied, doubted, past, or somebody else's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["judge"]

# Kinds of phrases, as `aimed.text.labeller` numbers them:
# 1 mention, 2 un-mention, 3 needed word, 4 excluding word, 5 anatomy, 6 abnormal, 7 normal, 8 trigger before,
# 9 trigger after, 10 pseudo trigger, 11 terminator, 12 conjunction, 13 conjunction of alternatives, 14 opener,
# 15 attribute, 16 unit.
# Effects of triggers: 0 first doubt, 1 negation, 2 doubt, 3 resolved, 4 history, 5 hypothetical, 6 family.
# Roles of words: 1 conjunction, 2 of alternatives, 4 terminator, 8 opener, 16 of a mention, 32 first of a mention,
# 64 attribute.


@compiled
def judge(
    start: NDArray[np.int32],
    stop: NDArray[np.int32],
    gap: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    value: NDArray[np.float32],
    section: NDArray[np.int32],
    first: NDArray[np.int64],
    found_start: NDArray[np.int32],
    found_stop: NDArray[np.int32],
    found: NDArray[np.int32],
    found_first: NDArray[np.int64],
    kind: NDArray[np.int32],
    owner: NDArray[np.int32],
    extra: NDArray[np.int32],
    reach: NDArray[np.int32],
    scale: NDArray[np.float32],
    concept_reach: NDArray[np.int32],
    concept_needs: NDArray[np.uint8],
    target_from: NDArray[np.int32],
    targets: NDArray[np.int32],
    weak: NDArray[np.uint8],
    counts: NDArray[np.uint8],
    seen: NDArray[np.uint8],
    rows: NDArray[np.int32],
    sizes: NDArray[np.float32],
) -> int:
    """Write a row for each mention and mark each report's labels; return how many rows there are.

    Parameters
    ----------
    seen : uint8 array, shape (n, k + 1)
        Out: 1 present, 2 uncertain, 4 absent, added up; in the last column 1 where anything at all was read.
    rows : int32 array, shape (matches, 17)
        Out: note, concept, start, end, start and end of the sentence, section, assertion (1, 0, -1), context (0 none,
        1 history, 2 resolved, 3 hypothetical, 4 family), start and end of what decided, its phrase (-1: none),
        location, laterality, severity, change (-1: none), whether the section counts.
    sizes : float32 array, shape (matches,)
        Out: millimetres; NaN where none are given.
    """
    n_words = first[len(first) - 1]
    n_found = found_first[len(found_first) - 1]
    n_concepts = len(concept_reach)
    role = np.zeros(n_words + 1, dtype=np.uint8)
    later = np.zeros(n_words + 1, dtype=np.uint8)
    ends = np.full(n_words + 1, -1, dtype=np.int32)
    begins = np.full(n_words + 1, -1, dtype=np.int32)
    following = np.full(n_found + 1, -1, dtype=np.int32)
    keep = np.zeros(n_found + 1, dtype=np.uint8)
    mention_end = np.zeros(n_concepts, dtype=np.int64)
    anatomy_end = np.zeros(n_concepts, dtype=np.int64)
    needed = np.full(n_concepts, -1, dtype=np.int64)
    barred = np.full(n_concepts, -1, dtype=np.int64)
    span = np.zeros((n_found + 1, 2), dtype=np.int32)
    nearest = np.zeros((n_found + 1, 5), dtype=np.int32)
    apart_of = np.zeros(n_found + 1, dtype=np.int32)
    last = np.zeros(5, dtype=np.int64)
    longest = np.zeros(5, dtype=np.int64)
    best = np.zeros(7, dtype=np.int64)
    n = 0
    for note in range(len(first) - 1):
        here = -1
        m = found_first[note]
        m_end = found_first[note + 1]
        note_end = first[note + 1]
        whole = False
        if counts[0] == 0:
            whole = True
            for t in range(first[note], note_end):
                if section[t] >= 0:
                    whole = False
                    break
        s = first[note]
        while s < note_end:
            e = s + 1
            while e < note_end and gap[e] != 3 and e - s < 200:
                e += 1
            if section[s] >= 0:
                here = section[s]
            elif whole or counts[here + 1] == 1:
                seen[note, seen.shape[1] - 1] = 1
            lo = m
            while m < m_end and found_start[m] < e:
                m += 1
            hi = m
            if hi == lo:
                s = e
                continue
            # Of triggers that overlap the longest holds; so too of attributes of one kind and mentions of one concept.
            any_mention = False
            for g in range(5):
                last[g] = s
            i = lo
            while i < hi:
                begin = found_start[i]
                j = i
                for g in range(5):
                    longest[g] = 0
                while j < hi and found_start[j] == begin:
                    k = kind[found[j]]
                    g = -1
                    if 8 <= k <= 13:
                        g = 0
                    elif k == 15:
                        g = 1 + owner[found[j]]
                    if g >= 0 and found_stop[j] <= e and found_stop[j] > longest[g]:
                        longest[g] = found_stop[j]
                    j += 1
                for q in range(i, j):
                    keep[q] = 0
                    if found_stop[q] > e:
                        continue
                    p = found[q]
                    k = kind[p]
                    if 8 <= k <= 13 or k == 15:
                        g = 0 if k != 15 else 1 + owner[p]
                        if begin >= last[g] and found_stop[q] == longest[g]:
                            keep[q] = 1
                    elif k == 1 or k == 5:
                        c = owner[p]
                        ended = mention_end[c] if k == 1 else anatomy_end[c]
                        if begin < ended:
                            continue
                        longer = False
                        for r in range(i, j):
                            if kind[found[r]] == k and owner[found[r]] == c and e >= found_stop[r] > found_stop[q]:
                                longer = True
                        if not longer:
                            keep[q] = 1
                            any_mention = True
                            if k == 1:
                                mention_end[c] = found_stop[q]
                            else:
                                anatomy_end[c] = found_stop[q]
                    else:
                        keep[q] = 1
                        if k == 3:
                            needed[owner[p]] = s
                        elif k == 4:
                            barred[owner[p]] = s
                for g in range(5):
                    if begin >= last[g] and longest[g] > 0:
                        last[g] = longest[g]
                i = j
            if not any_mention:
                s = e
                continue
            for t in range(s, e + 1):
                role[t] = 0
                ends[t] = -1
                begins[t] = -1
            any_mention = False
            for q in range(lo, hi):
                if keep[q] == 0:
                    continue
                p = found[q]
                k = kind[p]
                if k == 1 or k == 5:
                    c = owner[p]
                    if (concept_needs[c] == 1 and needed[c] != s) or barred[c] == s:
                        keep[q] = 0
                        continue
                    for r in range(lo, hi):
                        if found_start[r] >= found_stop[q]:
                            break
                        if kind[found[r]] == 2 and owner[found[r]] == c and found_stop[r] > found_start[q]:
                            keep[q] = 0
                            break
                    if keep[q] == 1:
                        any_mention = True
                        role[found_start[q]] |= 32
                        for t in range(found_start[q], found_stop[q]):
                            role[t] |= 16
                elif k == 8:
                    following[q] = ends[found_stop[q]]
                    ends[found_stop[q]] = q
                elif k == 9:
                    following[q] = begins[found_start[q]]
                    begins[found_start[q]] = q
                elif k == 11:
                    for t in range(found_start[q], found_stop[q]):
                        role[t] |= 4
                elif k == 12 or k == 13:
                    for t in range(found_start[q], found_stop[q]):
                        role[t] |= 1 if k == 12 else 3
                elif k == 14:
                    role[found_start[q]] |= 8
                elif k == 15:
                    for t in range(found_start[q], found_stop[q]):
                        role[t] |= 64
            if not any_mention:
                s = e
                continue
            alternative = 0
            for back in range(e - s):
                t = e - 1 - back
                later[t] = alternative
                if role[t] & 2:
                    alternative = 1
                if role[t] & 4 or gap[t] >= 2:
                    alternative = 0
            row_from = n
            # "Lines and tubes: None." denies what its heading names.
            denied = -1
            answer = e
            if section[s] >= 0 and e < note_end:
                answer = e + 1
                while answer < note_end and gap[answer] != 3:
                    answer += 1
                r = hi
                while r < m_end and found_start[r] == e:
                    if kind[found[r]] == 9 and owner[found[r]] == 1 and found_stop[r] == answer:
                        denied = r
                    r += 1
            for q in range(lo, hi):
                if keep[q] == 0:
                    continue
                p = found[q]
                k = kind[p]
                if k != 1 and k != 5:
                    continue
                c = owner[p]
                a = found_start[q]
                b = found_stop[q]
                left = a
                decided = -1
                normal = False
                if k == 5:
                    least = 1 << 30
                    for r in range(lo, hi):
                        if keep[r] == 0:
                            continue
                        kj = kind[found[r]]
                        if (kj != 6 and kj != 7) or owner[found[r]] != c:
                            continue
                        x = found_stop[r]
                        y = a
                        ahead = 1
                        if found_start[r] >= b:
                            x = b
                            y = found_start[r]
                            ahead = 0
                        if y - x > concept_reach[c] + 30:
                            continue
                        away = 0
                        for t in range(x, y):
                            if gap[t] >= 2 and t > s:
                                away = 1000
                            elif gap[t] == 1 and t > s:
                                away += 1
                            if role[t] & 4:
                                away += 2
                            elif role[t] & 17 == 0:
                                away += 1
                        if x <= y and y < e:
                            if gap[y] >= 2 and y > s:
                                away = 1000
                            elif gap[y] == 1 and y > s:
                                away += 1
                        if away > concept_reach[c]:
                            continue
                        # Nearest; then the longer one; then the one that follows.
                        cost = away * 1024 - min(found_stop[r] - found_start[r], 500) * 2 + ahead
                        if cost < least:
                            least = cost
                            decided = r
                    if decided < 0:
                        continue
                    normal = kind[found[decided]] == 7
                    left = found_start[decided]
                    a = min(a, left)
                    b = max(b, found_stop[decided])
                for f in range(7):
                    best[f] = -1
                # To the left: triggers that stand before.
                distance = 0
                comma = False
                loose = False
                doubted = False
                parted = False
                j = left
                while True:
                    t = ends[j]
                    while t >= 0:
                        p2 = found[t]
                        effect = owner[p2]
                        if best[effect] < 0 and distance <= reach[p2]:
                            fits = True
                            if effect == 1:
                                fits = not parted
                            elif effect == 0 or effect == 2:
                                fits = not loose
                            elif effect == 3 or effect == 4:
                                fits = not comma
                            if fits:
                                best[effect] = t
                        if (effect == 0 or effect == 2) and role[j - 1] & 1 == 0:
                            doubted = True
                        t = following[t]
                    if j == s or gap[j] >= 2:
                        break
                    if gap[j] == 1:
                        comma = True
                        if later[j - 1] == 0:
                            loose = True
                    if role[j] & 8 and later[j] == 0 and (gap[j] == 1 or role[j - 1] & 3 == 1):
                        break
                    if role[j - 1] & 4:
                        break
                    if role[j - 1] & 16:
                        if doubted:
                            parted = True
                    elif role[j - 1] & 1 == 0:
                        distance += 1
                    j -= 1
                # To the right: triggers that stand after.
                distance = 0
                crossed = False
                joined = False
                j = b
                while j < e and gap[j] < 2:
                    if role[j] & 8 and later[j] == 0 and (gap[j] == 1 or role[j - 1] & 3 == 1):
                        break
                    if role[j] & 32:
                        crossed = True
                    t = begins[j]
                    while t >= 0:
                        p2 = found[t]
                        effect = owner[p2]
                        if best[effect] < 0 and distance <= reach[p2] and (joined or not crossed):
                            fits = True
                            if extra[p2] == 1:
                                # The same words may stand before: where a finding follows at once they speak of it.
                                for u in range(found_stop[t], e):
                                    if gap[u] >= 1 or role[u] & 5:
                                        break
                                    if role[u] & 16:
                                        fits = False
                                        break
                            if fits:
                                best[effect] = t
                        t = following[t]
                    if role[j] & 4:
                        break
                    if role[j] & 1:
                        joined = True
                    elif role[j] & 16 == 0:
                        distance += 1
                    j += 1
                says = 1
                context = 0
                by = decided
                if normal:
                    says = 0
                    t = ends[left]
                    while t >= 0:
                        if owner[found[t]] == 1:
                            says = 1
                            by = t
                        t = following[t]
                else:
                    if best[0] >= 0:
                        says, by = -1, best[0]
                    elif best[1] >= 0:
                        says, by = 0, best[1]
                    elif best[2] >= 0:
                        says, by = -1, best[2]
                    if best[6] >= 0:
                        context, by = 4, best[6]
                    elif best[5] >= 0:
                        context, by = 3, best[5]
                    elif best[3] >= 0 and best[0] < 0:
                        context, by, says = 2, best[3], 0
                    elif best[4] >= 0:
                        context, by = 1, best[4]
                heading_denied = denied >= 0 and says == 1 and context == 0
                if heading_denied:
                    says, by = 0, denied
                rows[n, 0] = note
                rows[n, 1] = c
                rows[n, 2] = start[a]
                rows[n, 3] = stop[b - 1]
                rows[n, 4] = start[s]
                rows[n, 5] = stop[answer - 1] if heading_denied else stop[e - 1]
                rows[n, 6] = here
                rows[n, 7] = says
                rows[n, 8] = context
                rows[n, 9] = start[found_start[by]] if by >= 0 else -1
                rows[n, 10] = stop[found_stop[by] - 1] if by >= 0 else -1
                rows[n, 11] = found[by] if by >= 0 else -1
                for f in range(12, 16):
                    rows[n, f] = -1
                counted = whole or counts[here + 1] == 1
                rows[n, 16] = 1 if counted else 0
                sizes[n] = np.nan
                span[n, 0] = a
                span[n, 1] = b
                for f in range(5):
                    nearest[n, f] = 1 << 30
                n += 1
                if counted and (context == 0 or context == 2):
                    bit = 1 if says == 1 else (2 if says == -1 else 4)
                    for u in range(target_from[c], target_from[c + 1]):
                        if weak[u] == 0 or says != 0:
                            seen[note, targets[u]] |= bit
            # Attributes go to the nearest mention, of two as near to the one that follows.
            for q in range(lo, hi):
                if keep[q] == 0 or n == row_from:
                    continue
                p = found[q]
                k = kind[p]
                if k != 15 and k != 16:
                    continue
                x = found_start[q]
                y = found_stop[q]
                f = 4
                millimetres = np.float32(0.0)
                if k == 15:
                    f = owner[p]
                else:
                    longer = False
                    for r in range(lo, hi):
                        if kind[found[r]] == 16 and found_start[r] == x and e >= found_stop[r] > y:
                            longer = True
                    if longer:
                        continue
                    # "2.5 cm", "2 x 3 cm", "5 to 6 mm", "5-6 mm": the largest.
                    while x > s and y - x < 8:
                        if flags[x - 1] & 4:
                            millimetres = max(millimetres, value[x - 1] * scale[p])
                            x -= 1
                        elif x - 1 > s and stop[x - 1] - start[x - 1] <= 2 and flags[x - 2] & 4:
                            x -= 1
                        else:
                            break
                    if millimetres <= 0.0:
                        continue
                least = 49
                for r in range(row_from, n):
                    # Words between, in fourths, other attributes one; commas, conjunctions and terminators cost two
                    # words more, and of two mentions as near the one that follows is taken.
                    u, v, away = x, y, 0
                    if span[r, 0] >= y:
                        u, v = y, span[r, 0]
                    elif span[r, 1] <= x:
                        u, v, away = span[r, 1], x, 1
                    else:
                        v = u
                    apart = span[r, 0] >= y or span[r, 1] <= x
                    if v - u > 12:
                        away = 1000
                    else:
                        for t in range(u, v):
                            away += (1 if role[t] & 64 else 4) + (8 if role[t] & 5 else 0)
                            away += (8 if gap[t] == 1 else 0) + (1000 if gap[t] == 2 else 0)
                        if apart:
                            away += (8 if gap[v] == 1 else 0) + (1000 if gap[v] == 2 else 0)
                    apart_of[r] = away
                    least = min(least, away)
                for r in range(row_from, n):
                    if apart_of[r] == least and least < nearest[r, f] and least < 49:
                        nearest[r, f] = least
                        if f == 4:
                            sizes[r] = millimetres
                        else:
                            rows[r, 12 + f] = extra[p]
            s = e
    return n
