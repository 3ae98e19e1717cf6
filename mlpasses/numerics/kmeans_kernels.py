"""The parts of `kmeans` and `lagrange` that loop over values, compiled. Equal results bit for bit: the same operations in the same order.

Numba keeps what it compiled until this file changes; it does not notice that a constant of `kmeans` has, so touch this file then.

`nnan` and `nsz` let the maxima be vectorized and change no value: there are no NaN, and no sign of zero matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np

from mlpasses.numerics import lagrange
from mlpasses.numerics.kmeans import BINS, CUBE_ROOT, FAR, FINE, REACH, STEPS, THIRD, WIDE, WINDOW, Floats, Integers, Solver

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"nnan", "nsz"})(function))


_penalized = _compiled(lagrange.penalized)


def penalized(total: Floats, moment: Floats, price: float) -> Integers:
    n = len(total) - 1
    start = np.empty(n + 1, np.int64)
    clusters = _penalized(total, moment, price, np.empty(n + 1), start, np.empty(n + 1), np.empty(lagrange.stack_size(n), np.int64))
    return lagrange.path(start, clusters)


@_compiled
def _prefix_sums(values: Floats, weights: Floats, centre: float, x: Floats, total: Floats, moment: Floats) -> int:
    """As `kmeans.prefix_sums`; the number of values that count."""
    n, weight, sum_ = 0, 0.0, 0.0
    total[0], moment[0] = 0.0, 0.0
    for index in range(len(values)):
        after = weight + weights[index]
        if after > weight:
            weight = after
            sum_ += weights[index] * (values[index] - centre)
            x[n] = values[index]
            n += 1
            total[n], moment[n] = weight, sum_
    return n


@_compiled
def _measured(n: int, x: Floats, total: Floats, cubes: Floats, roots: Floats, reached: Floats) -> None:
    """As `kmeans._measured`, for `BINS` bins."""
    cube_bits, root_bits = cubes.view(np.int64), roots.view(np.int64)
    for index in range(n - 1):
        gap = x[index + 1] - x[index]
        cubes[index] = (total[index + 2] - total[index]) * gap * gap
    for index in range(n - 1):
        third = cube_bits[index] >> 2
        third += third >> 2
        third += third >> 4
        third += third >> 8
        root_bits[index] = third + CUBE_ROOT
    for index in range(n - 1):
        roots[index] = (2 * roots[index] + cubes[index] / (roots[index] * roots[index])) * THIRD
    sum_ = 0.0
    for index in range(n - 1):
        sum_ += np.sqrt(roots[index])
    bound = sum_ * sum_ / (n - 1) * FAR / BINS
    sum_ = 0.0
    for index in range(n - 1):
        sum_ += min(roots[index], bound)
    bound = min(sum_ * 2 / BINS, bound)
    sum_ = 0.0
    reached[0] = 0.0
    for index in range(n - 1):
        sum_ += min(roots[index], bound)
        reached[index + 1] = sum_


@_compiled
def _cut(n: int, reached: Floats, count: int, edges: Integers) -> int:
    """As `kmeans._cut`; how many bins there are."""
    if n <= count:
        for index in range(n + 1):
            edges[index] = index
        return n
    edges[0], edges[count] = 0, n
    at = 0
    for index in range(1, count):
        mark = reached[n - 1] * index / count
        while reached[at] < mark:
            at += 1
        edges[index] = min(max(at, edges[index - 1] + 1), n - count + index)
    return count


@_compiled
def _best_of_bins(total: Floats, moment: Floats, m: int, places: int, gains: Floats, best: Floats, chosen: Integers) -> None:
    """As `kmeans._best_of_bins`. Four rows at a time, so that the best so far is read and written a fourth as often."""
    band = -(-REACH * m // places)
    while True:
        for s in range(m):
            end = min(s + band, m) + 1
            gains[s, max(s - 3, 0) : s + 1] = -np.inf
            gains[s, end : min(end + 3, m + 1)] = -np.inf
            for t in range(s + 1, end):
                difference = moment[t] - moment[s]
                gains[s, t] = difference * difference / (total[t] - total[s])
        gains[m : m + 3, max(m - 3, 0) : m + 1] = -np.inf
        best[:places, : m + 4] = -np.inf
        end = min(band, m) + 1
        best[0, 1:end] = gains[0, 1:end]
        for place in range(1, places - 1):
            for s in range(0, m, 4):
                base_0, base_1, base_2, base_3 = best[place - 1, s], best[place - 1, s + 1], best[place - 1, s + 2], best[place - 1, s + 3]
                for t in range(s + 1, min(s + 3 + band, m) + 1):
                    most = max(max(base_0 + gains[s, t], base_1 + gains[s + 1, t]), max(base_2 + gains[s + 2, t], base_3 + gains[s + 3, t]))
                    best[place, t] = max(best[place, t], most)
        widest = 0
        after, to = m, m
        for place in range(places - 2, -1, -1):
            most, at = -np.inf, 0
            for s in range(max(to - band, 0), to):
                if best[place, s] + gains[s, to] > most:
                    most, at = best[place, s] + gains[s, to], s
            chosen[place] = at
            if place < places - 2:
                widest = max(widest, after - at)
            after, to = to, at
        if max(widest, after) < band or band >= m:
            return
        band = 2 * band


@_compiled
def _best_of_windows(total: Floats, moment: Floats, n: int, windows: Integers, best: Floats, found: Integers) -> None:
    """As `kmeans._best_of_windows`."""
    cuts, width = windows.shape
    weight_from, moment_from = np.empty(width), np.empty(width)
    for u in range(width):
        weight_from[u], moment_from[u] = total[windows[0, u]], moment[windows[0, u]]
        difference = moment_from[u] - moment[0]
        best[0, u] = difference * difference / (weight_from[u] - total[0])
    for place in range(1, cuts):
        for u in range(width):
            weight, sum_ = total[windows[place, u]], moment[windows[place, u]]
            most = -np.inf
            for v in range(width):
                between, difference = weight - weight_from[v], sum_ - moment_from[v]
                gain = best[place - 1, v] + difference * difference / between if between > 0 else -np.inf
                most = max(most, gain)
            best[place, u] = most
        for u in range(width):
            weight_from[u], moment_from[u] = total[windows[place, u]], moment[windows[place, u]]
    weight, sum_ = total[n], moment[n]
    for place in range(cuts - 1, -1, -1):
        most, at = -np.inf, 0
        for v in range(width):
            between, difference = weight - total[windows[place, v]], sum_ - moment[windows[place, v]]
            gain = best[place, v] + difference * difference / between if between > 0 else -np.inf
            if gain > most:
                most, at = gain, v
        found[place] = windows[place, at]
        weight, sum_ = total[found[place]], moment[found[place]]


@_compiled
def _refined(total: Floats, moment: Floats, n: int, edges: Integers, best: Floats, where: Integers) -> None:
    """As `kmeans._refined`, in place."""
    cuts, last = len(where), len(edges) - 1
    windows = np.empty((cuts, WIDE), np.int64)
    for place in range(cuts):
        near = np.searchsorted(edges, where[place]) - WIDE // 2
        for u in range(WIDE):
            at = edges[min(max(near + u, 0), last)]
            windows[place, u] = min(max(at, place + 1), n - cuts + place)
        windows[place, WIDE // 2] = where[place]
    _best_of_windows(total, moment, n, windows, best, where)
    spacing = np.empty(cuts, np.int64)
    for place in range(cuts):
        at = np.searchsorted(edges, where[place])
        spacing[place] = (edges[min(at + 2, last)] - edges[max(at - 2, 0)] + WINDOW - 1) // WINDOW
    windows = np.empty((cuts, WINDOW), np.int64)
    for _ in range(STEPS):
        for place in range(cuts):
            for u in range(WINDOW):
                at = where[place] + spacing[place] * (u - WINDOW // 2)
                windows[place, u] = min(max(at, place + 1), n - cuts + place)
        _best_of_windows(total, moment, n, windows, best, where)
        done = True
        for place in range(cuts):
            at = where[place]
            if (at == windows[place, 0] and at > place + 1) or (at == windows[place, WINDOW - 1] and at < n - cuts + place):
                done = False
            elif spacing[place] > 1:
                spacing[place] = (spacing[place] + 7) // 8
                done = False
        if done:
            return


@_compiled
def _near(values: Floats, weights: Floats, starts: Integers, places: int, found: Floats) -> None:
    """As `kmeans.near`: a row of `found` for every group."""
    longest = 1
    for group in range(len(starts) - 1):
        longest = max(longest, starts[group + 1] - starts[group])
    cuts = places - 1
    x, total, moment = np.empty(longest), np.empty(longest + 1), np.empty(longest + 1)
    cubes, roots, reached = np.empty(longest), np.empty(longest), np.empty(longest)
    edges, bin_total, bin_moment = np.empty(FINE + 1, np.int64), np.empty(BINS + 1), np.empty(BINS + 1)
    gains, best = np.empty((BINS + 4, BINS + 4)), np.empty((places, BINS + 4))
    where = np.empty(cuts, np.int64)
    for group in range(len(starts) - 1):
        first, end = starts[group], starts[group + 1]
        centre = values[(first + end) // 2] if end > first else 0.0
        n = _prefix_sums(values[first:end], weights[first:end], centre, x, total, moment)
        if n <= places:
            for place in range(places):
                found[group, place] = x[min(place, n - 1)] if n else 0.0
            continue
        if n > BINS:
            _measured(n, x, total, cubes, roots, reached)
        m = _cut(n, reached, BINS, edges)
        for index in range(m + 1):
            bin_total[index], bin_moment[index] = total[edges[index]], moment[edges[index]]
        _best_of_bins(bin_total, bin_moment, m, places, gains, best, where)
        for place in range(cuts):
            where[place] = edges[where[place]]
        if n > BINS and cuts:
            m = _cut(n, reached, FINE, edges)
            _refined(total, moment, n, edges[: m + 1], best, where)
        left = 0
        for place in range(places):
            right = where[place] if place < cuts else n
            mean = centre + (moment[right] - moment[left]) / (total[right] - total[left])
            found[group, place] = min(max(mean, x[left]), x[right - 1])
            left = right


def near(values: Floats, weights: Floats, starts: Integers, places: int) -> Floats:
    """As `kmeans.near`."""
    found = np.zeros((len(starts) - 1, places))
    _near(values, weights, starts, places, found)
    return found


NUMBA: Final = Solver(near, penalized)
