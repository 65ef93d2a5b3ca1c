"""What the compiled loop decides, written again in plain Python from the rules in words: the oracle of the labeller.

Serves texts of lower-case words of two letters or more, parted by " ", ", ", "; " or ". ", and phrases without gaps.
"""

from __future__ import annotations

import re

EFFECTS = {"negative": "no", "uncertain": "doubt"}


class Sentence:
    """Words of one sentence, the mark before each, and what phrases are found in them."""

    def __init__(self, words, lexicon):
        self.words = words  # (text, start, end, mark before)
        self.n = len(words)
        self.lexicon = lexicon
        self.terminator, self.conjunction, self.alternative = set(), set(), set()
        self.opener, self.mention = set(), set()
        self.first_of_mention = set()

    def mark(self, i):
        return self.words[i][3] if i else ""

    def all_matches(self, phrases):
        """Every (start, end, phrase), whatever overlaps."""
        out = []
        for phrase in phrases:
            row = phrase.split()
            for i in range(self.n - len(row) + 1):
                fits = all(self._is(self.words[i + k][0], word) for k, word in enumerate(row))
                if fits and all(self.mark(i + k) == "" for k in range(1, len(row))):
                    out.append((i, i + len(row), phrase))
        return sorted(out)

    @staticmethod
    def _is(word, pattern):
        return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern

    def longest(self, phrases):
        """Matches from the left, the longest at each place, none that overlap."""
        out, free = [], 0
        for i in range(self.n):
            here = [m for m in self.all_matches(phrases) if m[0] == i]
            if here and i >= free:
                best = max(m[1] for m in here)
                out += [m for m in here if m[1] == best]
                free = best
        return out

    def alternative_follows(self, i):
        """Whether a word such as "or" comes after word i with nothing in between that ends a scope."""
        for j in range(i + 1, self.n):
            if j in self.terminator and j not in self.alternative:
                return False
            if j in self.alternative:
                # What ends a scope at the word itself stands before it.
                return self.mark(j) != ";"
            if self.mark(j) == ";":
                return False
        return False


def sentences(text):
    found, before = [[]], ""
    for piece in re.finditer(r"([a-z]+)|([,;.])", text):
        if piece.group(1):
            if before == "." and found[-1]:
                found.append([])
            found[-1].append((piece.group(1), piece.start(), piece.end(), "" if before == "." else before))
            before = ""
        else:
            before = piece.group(2)
    return [words for words in found if words]


def read(text, lexicon):
    """Rows (concept, start, end, assertion, context, rule), sorted."""
    rows = []
    for words in sentences(text):
        rows += _sentence(Sentence(words, lexicon))
    return sorted(rows)


def _sentence(s):
    language = s.lexicon.language
    spoken = []
    for name, one in language.assertions.items():
        kind = EFFECTS.get(one.value, one.context)
        for phrase in one.before:
            spoken.append(
                (
                    phrase,
                    "before",
                    "first" if phrase in one.first else kind,
                    one.reach,
                    f"{name} before: {phrase}",
                    False,
                )
            )
        for phrase in one.after:
            shy = phrase in one.before and not one.both_ways
            first = "first" if phrase in one.first else kind
            spoken.append((phrase, "after", first, one.reach_after, f"{name} after: {phrase}", shy))
    pseudo = [p for one in language.assertions.values() for p in one.pseudo]
    every = {p[0] for p in spoken} | {*pseudo, *language.scope.terminators, *language.scope.conjunctions}
    taken = s.longest(every)
    for a, b, phrase in taken:
        for i in range(a, b):
            if phrase in language.scope.terminators:
                s.terminator.add(i)
            if phrase in language.scope.conjunctions:
                s.conjunction.add(i)
                if phrase in language.scope.alternatives:
                    s.alternative.add(i)
    triggers = [(a, b, *p[1:]) for a, b, phrase in taken for p in spoken if p[0] == phrase]
    s.opener = {a for a, _, _ in s.all_matches(language.scope.openers or ())}
    candidates = []
    for name, concept in s.lexicon.concepts.items():
        said = {w for _, _, w in s.all_matches((*concept.needs, *concept.without))}
        if (concept.needs and not said & {*concept.needs}) or said & {*concept.without}:
            continue
        barred = s.all_matches(concept.not_)
        for which, phrases in (("mention", concept.phrases), ("anatomy", concept.anatomy)):
            for a, b, _ in s.longest(phrases):
                if any(x < b and y > a for x, y, _ in barred):
                    continue
                s.first_of_mention.add(a)
                s.mention.update(range(a, b))
                candidates.append((name, concept, which, a, b))
    rows = []
    for name, concept, which, a, b in candidates:
        judged = None
        left = a
        if which == "anatomy":
            judged = _judgement(s, concept, a, b)
            if judged is None:
                continue
            x, y = judged[:2]
            left, a, b = x, min(a, x), max(b, y)
        rows.append(_decide(s, triggers, name, a, b, left, judged))
    return rows


def _judgement(s, concept, a, b):
    best = None
    for normal, phrases in ((False, concept.abnormal), (True, concept.normal)):
        for x, y, phrase in s.all_matches(phrases):
            low, high = (b, x) if x >= b else (y, a)
            away = 0
            for i in range(low, high):
                away += 2 if i in s.terminator else int(i not in s.mention and i not in s.conjunction)
            marks = [s.mark(i) for i in range(low, min(high, s.n - 1) + 1)] if low <= high else []
            if ";" in marks:
                continue
            away += marks.count(",")
            if away > concept.reach:
                continue
            key = (away, -(y - x), x < b)
            if best is None or key < best[0]:
                best = (key, (x, y, f"{'normal' if normal else 'abnormal'}: {phrase}", normal))
    return best and best[1]


def _stops(s, i):
    """Whether word i opens a statement of its own."""
    joined = i > 0 and i - 1 in s.conjunction and i - 1 not in s.alternative
    return i in s.opener and not s.alternative_follows(i) and (s.mark(i) == "," or joined)


def _decide(s, triggers, name, a, b, left, judged):
    by = {}
    # Before: from the finding to the left.
    words = 0
    comma = loose = doubted = parted = False
    at = left
    while True:
        for x, y, side, effect, reach, rule, _ in triggers:
            if side != "before" or y != at:
                continue
            bars = {"no": parted, "first": loose, "doubt": loose, "resolved": comma, "history": comma}
            if effect not in by and words <= reach and not bars.get(effect, False):
                by[effect] = (x, y, rule)
            if effect in ("first", "doubt") and at - 1 not in s.conjunction:
                doubted = True
        if at == 0 or s.mark(at) == ";":
            break
        if s.mark(at) == ",":
            comma = True
            loose = loose or not s.alternative_follows(at - 1)
        if _stops(s, at) or at - 1 in s.terminator:
            break
        at -= 1
        if at in s.mention:
            parted = parted or doubted
        elif at not in s.conjunction:
            words += 1
    # After: from the finding to the right.
    words = 0
    crossed = joined = False
    for at in range(b, s.n):
        if s.mark(at) == ";" or _stops(s, at):
            break
        crossed = crossed or at in s.first_of_mention
        for x, y, side, effect, reach, rule, shy in triggers:
            if side != "after" or x != at or effect in by or words > reach or (crossed and not joined):
                continue
            if shy and _speaks_of_next(s, y):
                continue
            by[effect] = (x, y, rule)
        if at in s.terminator:
            break
        if at in s.conjunction:
            joined = True
        elif at not in s.mention:
            words += 1
    says, context, rule = "positive", "", judged[2] if judged else "stated"
    if judged and judged[3]:
        says = "negative"
        for _, y, side, effect, _, trigger, _ in triggers:
            if side == "before" and effect == "no" and y == left:
                says, rule = "positive", trigger
    else:
        for effect, value in (("doubt", "uncertain"), ("no", "negative"), ("first", "uncertain")):
            if effect in by:
                says, rule = value, by[effect][2]
        for effect in ("history", "resolved", "hypothetical", "family"):
            if effect in by and not (effect == "resolved" and "first" in by):
                context, rule = effect, by[effect][2]
        if context == "resolved":
            says = "negative"
    return name, s.words[a][1], s.words[b - 1][2], says, context, rule


def _speaks_of_next(s, at):
    for i in range(at, s.n):
        if s.mark(i) or i in s.conjunction or i in s.terminator:
            return False
        if i in s.mention:
            return True
    return False
