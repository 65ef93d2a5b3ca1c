"""Accuracy at many times at once: sums over pairs of cases and controls, squared errors, and what G adds to both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "auc_influence",
    "auc_replicates",
    "auc_sums",
    "brier_replicates",
    "brier_spread",
    "brier_sums",
    "censoring_replicates",
    "censoring_spread",
    "patient_squares",
]

# In all of these, `reach` is how many grid times lie before a row's own time: at times j < reach the row is still
# followed (weight w / G(t)), at times j >= reach it is gone (weight `gone` = w / G(T-); 0 where it was censored).
# `kind` is 0 for censored, 1 for an event of the cause, 2 for another event.


@compiled
def auc_sums(
    alone: NDArray[np.bool_],
    last_tied: NDArray[np.bool_],
    reach: NDArray[np.int64],
    kind: NDArray[np.uint8],
    gone: NDArray[np.float64],
    weights: NDArray[np.float64],
    level: NDArray[np.int64],
    inverse: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, at each time, the weight of pairs in the right order, of cases and of controls.

    Parameters
    ----------
    alone, last_tied : bool arrays, shape (n,)
        Rows in order of score: whether no other row has this score, and whether the next row has another one.
    reach, kind, gone, weights, level : arrays, shape (n,)
        In the same order. Other events are controls once they are gone when their `gone` is above 0.
    inverse : float array, shape (levels, t)
        1 / G(t) for each level of G.

    Returns
    -------
    right, cases, controls : float arrays, shape (t,)
    """
    size = inverse.shape[1]
    right = np.zeros(size)
    cases = np.zeros(size)
    below = np.zeros(size)
    tied = np.zeros(size)
    tied_cases = np.zeros(size)
    for i in range(reach.size):
        r = reach[i]
        w = weights[i]
        g = gone[i]
        # Slices start at 0, so that the compiler need not think of negative places and can do several at a time.
        at = inverse[level[i]]
        if alone[i]:
            for j in range(r):
                below[j] += w * at[j]
            if g > 0:
                lower, counted, found = below[r:], cases[r:], right[r:]
                if kind[i] == 1:
                    for j in range(size - r):
                        found[j] += g * lower[j]
                        counted[j] += g
                else:
                    for j in range(size - r):
                        lower[j] += g
            continue
        for j in range(r):
            tied[j] += w * at[j]
        if g > 0:
            counted = tied_cases[r:] if kind[i] == 1 else tied[r:]
            for j in range(size - r):
                counted[j] += g
        if last_tied[i]:
            for j in range(size):
                right[j] += tied_cases[j] * (below[j] + 0.5 * tied[j])
                cases[j] += tied_cases[j]
                below[j] += tied[j]
                tied[j] = 0.0
                tied_cases[j] = 0.0
    return right, cases, below


@compiled
def auc_influence(
    alone: NDArray[np.bool_],
    last_tied: NDArray[np.bool_],
    reach: NDArray[np.int64],
    kind: NDArray[np.uint8],
    gone: NDArray[np.float64],
    weights: NDArray[np.float64],
    level: NDArray[np.int64],
    inverse: NDArray[np.float64],
    area: NDArray[np.float64],
    cases: NDArray[np.float64],
    controls: NDArray[np.float64],
    target: NDArray[np.int64],
    grown: NDArray[np.float64],
    out: NDArray[np.float64],
    through_left: NDArray[np.float64],
    through_at: NDArray[np.float64],
) -> None:
    """Fill what each row adds to the AUC by its own weight, row `target[i]` of `out`.

    Parameters
    ----------
    alone, last_tied, reach, kind, gone, weights, level, inverse
        As for `auc_sums`.
    area, cases, controls : float arrays, shape (t,)
        AUC, and weight of cases and controls.
    target : int array, shape (n,)
    grown : float array, shape (n,)
        Sum of the steps of the logarithm's derivative of G before the row's own time.
    out : float array, shape (n, t)
        Written.
    through_left, through_at : float arrays, shape (t,)
        Added to: sums of the entries of gone rows times `grown`, and of the entries of rows still followed. Entries of
        all controls add up to 0, so the latter is what gone controls lack.
    """
    size = area.size
    n = reach.size
    # Share of cases above, and of controls below, the rows at hand, less the AUC.
    above = np.zeros(size)
    below = np.zeros(size)
    tied = np.zeros(size)
    tied_cases = np.zeros(size)
    per_case = np.zeros(size)
    per_control = np.zeros(size)
    for j in range(size):
        if cases[j] > 0 and controls[j] > 0:
            per_case[j] = 1.0 / cases[j]
            per_control[j] = 1.0 / controls[j]
            above[j] = 1.0 - area[j]
            below[j] = -area[j]
    first = 0
    while first < n:
        stop = first + 1
        if alone[first]:
            r = reach[first]
            w = weights[first]
            g = gone[first]
            at = inverse[level[first]]
            entry = out[target[first]]
            for j in range(r):
                x = w * at[j] * per_control[j]
                entry[j] = x * above[j]
                below[j] += x
            later = entry[r:]
            if g > 0:
                c = grown[first]
                left = through_left[r:]
                cut_above, cut_below = above[r:], below[r:]
                if kind[first] == 1:
                    share = per_case[r:]
                    for j in range(size - r):
                        x = g * share[j]
                        cut_above[j] -= x
                        later[j] = x * cut_below[j]
                        left[j] += c * later[j]
                else:
                    share = per_control[r:]
                    beyond = through_at[r:]
                    for j in range(size - r):
                        x = g * share[j]
                        later[j] = x * cut_above[j]
                        cut_below[j] += x
                        left[j] += c * later[j]
                        beyond[j] -= later[j]
            else:
                for j in range(size - r):
                    later[j] = 0.0
            first = stop
            continue
        while not last_tied[stop - 1]:
            stop += 1
        for i in range(first, stop):
            r = reach[i]
            w = weights[i]
            at = inverse[level[i]]
            for j in range(r):
                tied[j] += w * at[j] * per_control[j]
            if gone[i] > 0:
                counted = tied_cases[r:] if kind[i] == 1 else tied[r:]
                share = per_case[r:] if kind[i] == 1 else per_control[r:]
                for j in range(size - r):
                    counted[j] += gone[i] * share[j]
        for j in range(size):
            above[j] -= 0.5 * tied_cases[j]
            below[j] += 0.5 * tied[j]
        for i in range(first, stop):
            r = reach[i]
            w = weights[i]
            g = gone[i]
            at = inverse[level[i]]
            entry = out[target[i]]
            for j in range(r):
                entry[j] = w * at[j] * per_control[j] * above[j]
            later = entry[r:]
            share = per_case[r:] if kind[i] == 1 else per_control[r:]
            against = below[r:] if kind[i] == 1 else above[r:]
            left = through_left[r:]
            for j in range(size - r):
                later[j] = g * share[j] * against[j]
                left[j] += grown[i] * later[j]
            if kind[i] == 2:
                beyond = through_at[r:]
                for j in range(size - r):
                    beyond[j] -= later[j]
        for j in range(size):
            above[j] -= 0.5 * tied_cases[j]
            below[j] += 0.5 * tied[j]
            tied[j] = 0.0
            tied_cases[j] = 0.0
        first = stop


@compiled
def censoring_spread(
    terms: NDArray[np.float64],
    reach: NDArray[np.int64],
    weights: NDArray[np.float64],
    censored: NDArray[np.bool_],
    group: NDArray[np.int64],
    rise: NDArray[np.float64],
    per_risk: NDArray[np.float64],
    grown_at: NDArray[np.float64],
    through_left: NDArray[np.float64],
    through_at: NDArray[np.float64],
) -> None:
    """Add to own terms of rows what their weight does through the Kaplan-Meier curve G of censoring.

    An own term x of a gone row moves by -x with log G(T-), one of a followed row by -x with log G(t). Going back in
    time, `held` is the sum of the terms that a censoring at this time bears on, and `past` the sum over all earlier
    censorings of their step times what they bear on.

    Parameters
    ----------
    terms : float array, shape (n, t)
        Rows in order of time; own terms, turned into influence.
    reach, weights, censored, group : arrays, shape (n,)
        In the same order; `group` numbers the distinct times.
    rise, per_risk : float arrays, shape (u,)
        Of the censoring curve: c / (y (y - c)) and 1 / y, y the rows at risk less the events at that time.
    grown_at : float array, shape (t,)
        Sum of `rise` up to and including each time.
    through_left, through_at : float arrays, shape (t,)
        Sums of terms of gone rows times the sum of `rise` before their time, and of terms of followed rows.
    """
    size = terms.shape[1]
    held = np.zeros(size)
    more = np.zeros(size)
    past = through_left + through_at * grown_at
    i = reach.size - 1
    done = size
    while i >= 0:
        u = group[i]
        r = reach[i]
        for j in range(r, done):
            held[j] += through_at[j]
        done = min(done, r)
        c = rise[u]
        if c > 0:
            for j in range(size):
                past[j] -= c * held[j]
        while i >= 0 and group[i] == u:
            w = weights[i]
            entry = terms[i]
            if censored[i]:
                own = w * per_risk[u]
                for j in range(size):
                    entry[j] += own * held[j] - w * past[j]
            else:
                later, sums = entry[r:], more[r:]
                for j in range(size - r):
                    sums[j] += later[j]
                for j in range(size):
                    entry[j] -= w * past[j]
            i -= 1
        for j in range(size):
            held[j] += more[j]
            more[j] = 0.0


@compiled
def patient_squares(
    terms: NDArray[np.float64],
    codes: NDArray[np.int64],
    patients: int,
    mix: NDArray[np.float64],
    mixed: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return, for each column, the sum over patients of their squared sums, shape (t,).

    Parameters
    ----------
    terms : float array, shape (n, t)
    codes : int array, shape (n,), or (0,) where each row is its own patient
    patients : int
    mix : float array, shape (t,)
    mixed : float array, shape (n,)
        Added to: sums of mix times the terms of each row.
    """
    size = terms.shape[1]
    out = np.zeros(size)
    sums = np.zeros((patients if codes.size > 0 else 0, size))
    for i in range(terms.shape[0]):
        entry = terms[i]
        total = 0.0
        for j in range(size):
            total += mix[j] * entry[j]
        mixed[i] += total
        if codes.size == 0:
            for j in range(size):
                out[j] += entry[j] * entry[j]
        else:
            own = sums[codes[i]]
            for j in range(size):
                own[j] += entry[j]
    for g in range(sums.shape[0]):
        for j in range(size):
            out[j] += sums[g, j] * sums[g, j]
    return out


@compiled
def brier_sums(
    predicted: NDArray[np.float64],
    start: int,
    size: int,
    case_target: float,
    reach: NDArray[np.int64],
    kind: NDArray[np.uint8],
    gone: NDArray[np.float64],
    weights: NDArray[np.float64],
    grown: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    """Return, at each time, sums of weighted squared errors, and how many predictions are probabilities.

    Parameters
    ----------
    predicted : float array, shape (n, columns)
        Columns start to start + size - 1 are read.
    start, size : int
    case_target : float
        What is right for a row with the event: 0 for survival, 1 for incidence.
    reach, kind, gone, weights, grown : arrays, shape (n,)

    Returns
    -------
    gone_sum, followed_sum, grown_sum : float arrays, shape (size,)
        Of rows that are gone, of rows still followed (not yet over G), and of rows that are gone times `grown`.
    good : int
    """
    gone_sum = np.zeros(size)
    followed_sum = np.zeros(size)
    grown_sum = np.zeros(size)
    good = 0
    other = 1.0 - case_target
    for i in range(reach.size):
        r = reach[i]
        w = weights[i]
        g = gone[i]
        row = predicted[i, start : start + size]
        for j in range(size):
            good += (row[j] >= 0.0) & (row[j] <= 1.0)
        for j in range(r):
            e = row[j] - other
            followed_sum[j] += w * e * e
        if g > 0:
            right = case_target if kind[i] == 1 else other
            c = grown[i]
            later, sums, sums_grown = row[r:], gone_sum[r:], grown_sum[r:]
            for j in range(size - r):
                e = later[j] - right
                x = g * e * e
                sums[j] += x
                sums_grown[j] += c * x
    return gone_sum, followed_sum, grown_sum, good


@compiled
def brier_spread(
    predicted: NDArray[np.float64],
    start: int,
    case_target: float,
    null_case: NDArray[np.float64],
    null_other: NDArray[np.float64],
    mean: NDArray[np.float64],
    order: NDArray[np.int64],
    reach: NDArray[np.int64],
    kind: NDArray[np.uint8],
    gone: NDArray[np.float64],
    weights: NDArray[np.float64],
    group: NDArray[np.int64],
    inverse: NDArray[np.float64],
    rise: NDArray[np.float64],
    per_risk: NDArray[np.float64],
    grown_at: NDArray[np.float64],
    through_left: NDArray[np.float64],
    through_at: NDArray[np.float64],
    codes: NDArray[np.int64],
    patients: int,
    mix: NDArray[np.float64],
    mixed: NDArray[np.float64],
    keep: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return, at each time, the sum over patients of squared influence on the mean squared error.

    The error of a row is that of the prediction less what is given for the null prediction of the time. Rows are
    taken back in time and their errors made where they are needed, so that nothing of the size of the predictions is
    stored; see `censoring_spread` for `held` and `past`.

    Parameters
    ----------
    predicted, start, case_target
        As for `brier_sums`.
    null_case, null_other, mean : float arrays, shape (t,)
        What is taken off the error of a case and of another row, and the mean that the errors have.
    order : int array, shape (n,)
        Rows in order of time.
    reach, kind, gone, weights, group : arrays, shape (n,)
        By row; weights add up to 1.
    inverse : float array, shape (t,)
        1 / G(t).
    rise, per_risk, grown_at, through_left, through_at
        As for `censoring_spread`; sums are of the errors above.
    codes : int array, shape (n,), or (0,) where each row is its own patient
    patients : int
    mix : float array, shape (t,), or (0,)
        Adds the influence on sum over times of mix times the mean to `mixed`, shape (n,).
    mixed : float array
    keep : float array, shape (n, t), or (0, 0)
        Filled with the influence.

    Returns
    -------
    float array, shape (t,)
    """
    size = mean.size
    held = np.zeros(size)
    more = np.zeros(size)
    influence = np.zeros(size)
    squares = np.zeros(size)
    sums = np.zeros((patients if codes.size > 0 else 0, size))
    past = mean + through_left + through_at * grown_at
    other = 1.0 - case_target
    alone = codes.size == 0 and mix.size == 0 and keep.size == 0
    i = order.size - 1
    done = size
    while i >= 0:
        u = group[order[i]]
        r = reach[order[i]]
        for j in range(r, done):
            held[j] += through_at[j]
        done = min(done, r)
        c = rise[u]
        if c > 0:
            for j in range(size):
                past[j] -= c * held[j]
        events = False
        while i >= 0 and group[order[i]] == u:
            k = order[i]
            w = weights[k]
            row = predicted[k, start : start + size]
            for j in range(r):
                e = row[j] - other
                influence[j] = w * (inverse[j] * (e * e - null_other[j]) - past[j])
            later, beyond = influence[r:], past[r:]
            if kind[k] == 0:
                own = w * per_risk[u]
                for j in range(size - r):
                    later[j] = -w * beyond[j]
                for j in range(size):
                    influence[j] += own * held[j]
            else:
                events = True
                g = gone[k]
                right = case_target if kind[k] == 1 else other
                against = null_case[r:] if kind[k] == 1 else null_other[r:]
                added, read = more[r:], row[r:]
                for j in range(size - r):
                    e = read[j] - right
                    x = g * (e * e - against[j])
                    added[j] += x
                    later[j] = x - w * beyond[j]
            i -= 1
            if alone:
                for j in range(size):
                    squares[j] += influence[j] * influence[j]
                continue
            if codes.size > 0:
                own_sums = sums[codes[k]]
                for j in range(size):
                    own_sums[j] += influence[j]
            else:
                for j in range(size):
                    squares[j] += influence[j] * influence[j]
            if mix.size > 0:
                # Four sums at a time: one alone would wait for each addition to end.
                a = b = c0 = d = 0.0
                four = size - size % 4
                for j in range(0, four, 4):
                    a += mix[j] * influence[j]
                    b += mix[j + 1] * influence[j + 1]
                    c0 += mix[j + 2] * influence[j + 2]
                    d += mix[j + 3] * influence[j + 3]
                for j in range(four, size):
                    a += mix[j] * influence[j]
                mixed[k] += (a + b) + (c0 + d)
            if keep.size > 0:
                for j in range(size):
                    keep[k, j] = influence[j]
        if events:
            for j in range(size):
                held[j] += more[j]
                more[j] = 0.0
    for k in range(sums.shape[0]):
        for j in range(size):
            squares[j] += sums[k, j] * sums[k, j]
    return squares


@compiled
def censoring_replicates(
    order: NDArray[np.int64],
    group: NDArray[np.int64],
    censored: NDArray[np.bool_],
    codes: NDArray[np.int64],
    counts: NDArray[np.uint8],
    groups: int,
) -> NDArray[np.float64]:
    """Return G before each distinct time under the weights of each replicate.

    Parameters
    ----------
    order : int array, shape (n,)
        Rows in order of time.
    group, codes : int arrays, shape (n,)
        By row: number of its distinct time, all later ones taken together as `groups`; its patient.
    censored : bool array, shape (n,)
    counts : uint8 array, shape (patients, b)
    groups : int

    Returns
    -------
    float array, shape (groups + 1, b)
    """
    b = counts.shape[1]
    out = np.ones((groups + 1, b))
    after = np.zeros(b)
    lost = np.zeros(b)
    events = np.zeros(b)
    i = order.size - 1
    while i >= 0 and group[order[i]] == groups:
        k = codes[order[i]]
        for m in range(b):
            after[m] += counts[k, m]
        i -= 1
    while i >= 0:
        u = group[order[i]]
        lost[:] = 0.0
        events[:] = 0.0
        while i >= 0 and group[order[i]] == u:
            k = codes[order[i]]
            if censored[order[i]]:
                for m in range(b):
                    lost[m] += counts[k, m]
            else:
                for m in range(b):
                    events[m] += counts[k, m]
            i -= 1
        for m in range(b):
            at_risk = after[m] + lost[m]
            out[u + 1, m] = after[m] / at_risk if at_risk > 0 else 1.0
            after[m] = at_risk + events[m]
    for u in range(1, groups + 1):
        for m in range(b):
            out[u, m] *= out[u - 1, m]
    return out


@compiled
def auc_replicates(
    alone: NDArray[np.bool_],
    last_tied: NDArray[np.bool_],
    reach: NDArray[np.int64],
    kind: NDArray[np.uint8],
    ends: NDArray[np.bool_],
    group: NDArray[np.int64],
    codes: NDArray[np.int64],
    counts: NDArray[np.uint8],
    left: NDArray[np.float64],
    at: NDArray[np.float64],
    ended: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the AUC at each time in each replicate; NaN without cases or without controls.

    A control is added at its reach only, in one step; a case sums the controls over the grid as it goes along it, all
    replicates side by side. Tied cases go twice with half their weight: before and after their tied controls.

    Parameters
    ----------
    alone, last_tied, reach, kind, ends, group, codes : arrays, shape (n,)
        Rows in order of score; kind 1 is a case, and 2 a control, once it is gone. `ends` marks rows that are censored
        at the grid time of their reach.
    counts : uint8 array, shape (patients, b)
    left : float array, shape (groups + 1, b)
        G before each distinct time.
    at : float array, shape (t, b)
        G at each time.
    ended : bool array, shape (t, b)
        Where G is 0 at a time, so that `at` is its left limit: rows that end there are followed beyond it.

    Returns
    -------
    float array, shape (b, t)
    """
    n = reach.size
    size, b = at.shape
    followed = np.zeros((size + 1, b))
    others = np.zeros((size + 1, b))
    every_other = np.zeros(b)
    right = np.zeros((size, b))
    cases = np.zeros((size, b))
    inverse = np.zeros((size, b))
    weight = np.zeros(b)
    alive = np.zeros(b)
    dead = np.zeros(b)
    for j in range(size):
        for m in range(b):
            inverse[j, m] = 1.0 / at[j, m] if at[j, m] > 0 else 0.0
    first = 0
    while first < n:
        stop = first
        while not last_tied[stop]:
            stop += 1
        stop += 1
        turns = 1 if alone[first] else 2
        for turn in range(turns):
            if turn == turns - 1:
                for i in range(first, stop):
                    r = reach[i]
                    k = codes[i]
                    if ends[i] and r < size:
                        for m in range(b):
                            followed[r + ended[r, m], m] += counts[k, m]
                    elif r > 0:
                        for m in range(b):
                            followed[r, m] += counts[k, m]
                    if kind[i] == 2 and r < size:
                        u = group[i]
                        for m in range(b):
                            if counts[k, m] > 0:
                                others[r, m] += counts[k, m] / left[u, m]
                                every_other[m] += counts[k, m] / left[u, m]
            for i in range(first, stop):
                r = reach[i]
                if kind[i] != 1 or r >= size:
                    continue
                k = codes[i]
                u = group[i]
                for m in range(b):
                    weight[m] = counts[k, m] / (turns * left[u, m]) if counts[k, m] > 0 else 0.0
                    cases[r, m] += weight[m]
                    alive[m] = 0.0
                    dead[m] = every_other[m]
                for j in range(size - 1, r - 1, -1):
                    for m in range(b):
                        alive[m] += followed[j + 1, m]
                        right[j, m] += weight[m] * (alive[m] * inverse[j, m] + dead[m])
                        dead[m] -= others[j, m]
        first = stop
    for j in range(1, size):
        for m in range(b):
            cases[j, m] += cases[j - 1, m]
    out = np.full((b, size), np.nan)
    for m in range(b):
        alive[m] = 0.0
        dead[m] = every_other[m]
    for j in range(size - 1, -1, -1):
        for m in range(b):
            alive[m] += followed[j + 1, m]
            controls = alive[m] * inverse[j, m] + dead[m]
            if cases[j, m] > 0 and controls > 1e-12 * every_other[m]:
                out[m, j] = right[j, m] / (cases[j, m] * controls)
            dead[m] -= others[j, m]
    return out


@compiled
def brier_replicates(
    predicted: NDArray[np.float64],
    start: int,
    case_target: float,
    reach: NDArray[np.int64],
    followed_to: NDArray[np.int64],
    kind: NDArray[np.uint8],
    ends: NDArray[np.bool_],
    group: NDArray[np.int64],
    codes: NDArray[np.int64],
    counts: NDArray[np.uint8],
    left: NDArray[np.float64],
    at: NDArray[np.float64],
    ended: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the Brier score at each time in each replicate; NaN beyond the last row where that was censored.

    Parameters
    ----------
    predicted, start, case_target
        As for `brier_sums`.
    reach, followed_to, kind, ends, group, codes : arrays, shape (n,)
        `followed_to` is how many grid times do not lie beyond a row's own time.
    counts, left, at, ended
        As for `auc_replicates`.

    Returns
    -------
    float array, shape (b, t)
    """
    size, b = at.shape
    gone = np.zeros((size, b))
    followed = np.zeros((size, b))
    to = np.zeros((size + 1, b))
    rows = np.zeros(b)
    weight = np.zeros(b)
    count = np.zeros(b)
    other = 1.0 - case_target
    for i in range(reach.size):
        r = reach[i]
        k = codes[i]
        t = followed_to[i]
        for m in range(b):
            count[m] = counts[k, m]
            rows[m] += count[m]
            to[t, m] += count[m]
        for j in range(r):
            e = predicted[i, start + j] - other
            square = e * e
            for m in range(b):
                followed[j, m] += count[m] * square
        if ends[i] and r < size:
            e = predicted[i, start + r] - other
            for m in range(b):
                followed[r, m] += ended[r, m] * count[m] * e * e
        if kind[i] > 0 and r < size:
            right = case_target if kind[i] == 1 else other
            u = group[i]
            for m in range(b):
                weight[m] = count[m] / left[u, m] if count[m] > 0 else 0.0
            for j in range(r, size):
                e = predicted[i, start + j] - right
                square = e * e
                for m in range(b):
                    gone[j, m] += weight[m] * square
    out = np.full((b, size), np.nan)
    for m in range(b):
        here = 0.0
        for j in range(size - 1, -1, -1):
            here += to[j + 1, m]
            # G is 0 from the last row on if that was censored; else the status of all is known.
            if rows[m] > 0 and (here > 0 or at[j, m] > 0):
                beyond = followed[j, m] / at[j, m] if at[j, m] > 0 else 0.0
                out[m, j] = (gone[j, m] + beyond) / rows[m]
    return out
