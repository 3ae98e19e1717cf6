"""The parts of `kmeans` and `lagrange` that loop over values, compiled. Equal results bit for bit: the same operations in the same order.

`nnan` and `nsz` let the maxima be vectorized and change no value: there are no NaN, and no sign of zero matters.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from mlpasses.numerics import lagrange
from mlpasses.numerics.kmeans import BINS, CUBE_ROOT, STEPS, WINDOW, Floats, Integers, Solver

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"nnan", "nsz"})
_penalized = _compiled(lagrange.penalized)


def penalized(total: Floats, moment: Floats, price: float) -> Integers:
    n = len(total) - 1
    start = np.empty(n + 1, np.int64)
    clusters = _penalized(total, moment, price, np.empty(n + 1), start, np.empty(n + 1), np.empty(lagrange.stack_size(n), np.int64))
    return lagrange.path(start, clusters)


@_compiled
def _near(values: Any, weights: Any, starts: Any, places: int, found: Any) -> None:
    """`kmeans.near`, all of its functions in one: a row of `found` for every group."""
    longest = 0
    for group in range(len(starts) - 1):
        longest = max(longest, starts[group + 1] - starts[group])
    cuts = places - 1
    x, total, moment, reached = np.empty(longest), np.empty(longest + 1), np.empty(longest + 1), np.empty(longest + 1)
    cubes, roots = np.empty(longest), np.empty(longest)
    cube_bits, root_bits = cubes.view(np.int64), roots.view(np.int64)
    edges, gains = np.empty(BINS + 1, np.int64), np.full((BINS + 4, BINS + 4), -np.inf)
    bin_total, bin_moment = np.empty(BINS + 1), np.empty(BINS + 1)
    best = np.full((places, BINS + 4), -np.inf)
    where, spacing = np.empty(places, np.int64), np.empty(places, np.int64)
    windows = np.empty((places, WINDOW), np.int64)
    weight_from, moment_from = np.empty(WINDOW), np.empty(WINDOW)
    for group in range(len(starts) - 1):
        # Prefix sums of the values that count.
        first, end = starts[group], starts[group + 1]
        n = 0
        centre = values[(first + end) // 2] if end > first else 0.0
        total[0], moment[0] = 0.0, 0.0
        for index in range(first, end):
            after = total[n] + weights[index]
            if after > total[n]:
                x[n] = values[index]
                moment[n + 1] = moment[n] + weights[index] * (x[n] - centre)
                n += 1
                total[n] = after
        if n <= places:
            for place in range(places):
                found[group, place] = x[min(place, n - 1)] if n else 0.0
            continue
        # Bins.
        m = min(n, BINS)
        if n <= BINS:
            for index in range(n + 1):
                edges[index] = index
        else:
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
                roots[index] = (2 * roots[index] + cubes[index] / (roots[index] * roots[index])) / 3
            sum_ = 0.0
            for index in range(n - 1):
                sum_ += roots[index]
            most = sum_ * 2 / BINS
            reached[0] = 0.0
            for index in range(n - 1):
                reached[index + 1] = reached[index] + min(roots[index], most)
            edges[0] = 0
            edges[m] = n
            at = 0
            for index in range(1, m):
                mark = reached[n - 1] * index / BINS
                while reached[at] < mark:
                    at += 1
                edges[index] = min(max(at, edges[index - 1] + 1), n - m + index)
        # The best clustering of the bins.
        for t in range(m + 1):
            bin_total[t], bin_moment[t] = total[edges[t]], moment[edges[t]]
        for s in range(m):
            for t in range(s + 1, m + 1):
                difference = bin_moment[t] - bin_moment[s]
                gains[s, t] = difference * difference / (bin_total[t] - bin_total[s])
        for t in range(m + 1):
            best[0, t] = gains[0, t] if t else -np.inf
        for place in range(1, cuts):
            best[place, :] = -np.inf
            for s in range(0, m, 4):
                base_0, base_1, base_2, base_3 = best[place - 1, s], best[place - 1, s + 1], best[place - 1, s + 2], best[place - 1, s + 3]
                for t in range(s + 1, m + 1):
                    most = max(max(base_0 + gains[s, t], base_1 + gains[s + 1, t]), max(base_2 + gains[s + 2, t], base_3 + gains[s + 3, t]))
                    best[place, t] = max(best[place, t], most)
        to = m
        for place in range(cuts - 1, -1, -1):
            most, at = -np.inf, 0
            for s in range(to):
                if best[place, s] + gains[s, to] > most:
                    most, at = best[place, s] + gains[s, to], s
            spread = edges[min(at + 2, m)] - edges[max(at - 2, 0)]
            spacing[place] = (spread + WINDOW - 1) // WINDOW
            where[place] = edges[at]
            to = at
        # Windows.
        steps = STEPS if n > BINS and cuts else 0
        while steps:
            steps -= 1
            for place in range(cuts):
                for u in range(WINDOW):
                    at = where[place] + spacing[place] * (u - WINDOW // 2)
                    windows[place, u] = min(max(at, place + 1), n - cuts + place)
            for u in range(WINDOW):
                weight_from[u], moment_from[u] = total[windows[0, u]], moment[windows[0, u]]
                difference = moment_from[u] - moment[0]
                best[0, u] = difference * difference / (weight_from[u] - total[0])
            for place in range(1, cuts):
                for u in range(WINDOW):
                    weight, sum_ = total[windows[place, u]], moment[windows[place, u]]
                    most = -np.inf
                    for v in range(WINDOW):
                        between, difference = weight - weight_from[v], sum_ - moment_from[v]
                        gain = best[place - 1, v] + difference * difference / between if between > 0 else -np.inf
                        most = max(most, gain)
                    best[place, u] = most
                for u in range(WINDOW):
                    weight_from[u], moment_from[u] = total[windows[place, u]], moment[windows[place, u]]
            weight, sum_ = total[n], moment[n]
            done = True
            for place in range(cuts - 1, -1, -1):
                most, at = -np.inf, 0
                for v in range(WINDOW):
                    between, difference = weight - total[windows[place, v]], sum_ - moment[windows[place, v]]
                    gain = best[place, v] + difference * difference / between if between > 0 else -np.inf
                    if gain > most:
                        most, at = gain, v
                chosen = windows[place, at]
                low, high = windows[place, 0], windows[place, WINDOW - 1]
                if (chosen == low and chosen > place + 1) or (chosen == high and chosen < n - cuts + place):
                    done = False
                elif spacing[place] > 1:
                    spacing[place] = (spacing[place] + 7) // 8
                    done = False
                where[place] = chosen
                weight, sum_ = total[chosen], moment[chosen]
            if done:
                break
        # Means.
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


NUMBA = Solver(near, penalized)
