"""One-dimensional k-means over sorted values x₀ < x₁ < … with positive weights w: k runs of them, each decoded as its mean.

In one dimension clusters are runs, so a clustering is its k - 1 cuts, and the squared error that a run saves over decoding everything as
one point c is its *gain* (Σw(x-c))² / Σw, a difference of prefix sums. The gains of a clustering are maximized, in float64. c is a value
in the middle, so that little is lost to cancellation: errors are resolved to some 10⁻¹³ of Σw(x-c)², that is down to -130 dB.

Two ways, and a rule that depends on the group alone, so that every engine takes the same:

- `exact` (`lagrange.cuts`), for more than `FEW` clusters and for groups of `LARGE` elements or more;
- `near` for the many small groups of few clusters. The values are merged to `BINS` bins, whose k-means is solved by dynamic programming.
  Windows around every cut are then solved in the same way: of `WIDE` bins of a quarter of the width, and of `WINDOW` positions spaced ever
  closer, until the cuts are within windows of neighbouring positions. Where there are no more values than bins that is exact as well.

Of 12,796 near solutions, for groups of 600 to 131,072 elements of the 13 distributions of tests/bench/kmeans.py and 2 to 16 entries, 80
were not the best, and the worst had 1.00024 times the squared error of the best: within 1.0005. For a group of 12,288 normal values (7,070
distinct ones) and 16 entries, the near solution takes 0.25 ms and the exact one 0.5 ms on one core, compiled; 1.1 and 24 ms in NumPy. For
a tensor of millions (23,000 distinct ones), the exact one takes 1.3 ms with 16 entries and 2 to 5 ms with 256.

NumPy here, `kmeans_kernels` compiled; both take the same operations in the same order, so that results are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mlpasses.numerics import lagrange

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

FEW: Final = 16
"""Up to so many clusters, the near solution takes half of the time of the exact one, and in NumPy a twentieth."""
LARGE: Final = 1 << 21
"""From so many elements on, reading them takes longer than the exact solution (3 ms where 23,000 values differ)."""
BINS: Final = 320
"""With 256 and no fine windows, 5 solutions of 12,796 have more than 1.0005 times the error of the best (up to 1.0013)."""
FINE: Final = 4 * BINS
WIDE: Final = 48
"""With 64, as many solutions miss the optimum."""
WINDOW: Final = 16
"""With 32, 30 of the 12,796 solutions miss the optimum rather than 80, the worst by as much, and all take a tenth more time."""
STEPS: Final = 64
"""So many windows in a row are tried at most. Some five are usual."""
REACH: Final = 4
"""At first, clusters of bins are this many times as wide as the mean at most."""
FAR: Final = 16.0
"""Bins that a gap counts at most in the first measure of the whole."""
THIRD: Final = 1 / 3
CUBE_ROOT: Final = 0x2A9F8A7BE393B600
"""What a third of the bits of a float64 lacks to be those of its cube root."""


class Solver(NamedTuple):
    """Who does the work on values: `near(values, weights, starts, places)` finds the means of many groups, `penalized` is `lagrange`'s."""

    near: Callable[[Floats, Floats, Integers, int], Floats]
    penalized: lagrange.Penalized


def means(values: Floats, weights: Floats, starts: Integers, places: int, elements: int, solver: Solver) -> Floats:
    """The means of the `places` clusters of every group, ascending: `[groups, places]`.

    Group g has the values from `starts[g]` to `starts[g + 1]`, ascending, and `elements` elements. A group of no more values than places
    gets the values themselves, the last one repeated.
    """
    if places <= FEW and elements < LARGE:
        return solver.near(values, weights, starts, places)
    found = np.zeros((len(starts) - 1, places))
    for group, (first, end) in enumerate(pairwise(starts)):
        found[group] = exact(values[first:end], weights[first:end], places, solver)
    return found


class Sums(NamedTuple):
    """The values of a group that count, and the sums of w and of w·(x - centre) over the first i of them, for i = 0, 1, …, n."""

    values: Floats
    total: Floats
    moment: Floats
    centre: float


def prefix_sums(values: Floats, weights: Floats) -> Sums:
    """A value that is so light that it does not change the sum of the weights is left out, so that this sum strictly increases."""
    if not len(values):
        return Sums(values, np.zeros(1), np.zeros(1), 0.0)
    centre = float(values[len(values) // 2])
    total = np.zeros(len(values) + 1)
    np.cumsum(weights, out=total[1:])
    counts = total[1:] > total[:-1]
    if not counts.all():
        values, weights = values[counts], weights[counts]
        total = np.concatenate(([0.0], total[1:][counts]))
    terms = values - centre
    terms *= weights
    moment = np.zeros(len(values) + 1)
    np.cumsum(terms, out=moment[1:])
    return Sums(values, total, moment, centre)


def exact(values: Floats, weights: Floats, places: int, solver: Solver) -> Floats:
    """The means of the best `places` clusters."""
    sums = prefix_sums(values, weights)
    if len(sums.values) <= places:
        return padded(sums.values, places)
    edges = bins(sums, max(BINS, 8 * places))
    spread = float((weights * np.square(values - sums.centre)).sum()) - float(sums.moment[-1] ** 2 / sums.total[-1])
    where, price = lagrange.cuts(sums.total[edges], sums.moment[edges], places, spread / places**3, solver.penalized)
    if len(edges) <= len(sums.values):
        where, _ = lagrange.cuts(sums.total, sums.moment, places, price, solver.penalized)
    return centroids(sums, where)


def bins(sums: Sums, count: int) -> Integers:
    """The edges `[count + 1]`, ascending from 0 to n, of bins that are narrow where means of clusters are dense.

    Those of many clusters have the density f^(1/3) (Panter and Dite, 1951): the measure between neighbours is ∛((wᵢ + wᵢ₊₁)(xᵢ₊₁ - xᵢ)²).
    A single gap counts two bins of the whole at most, or a few far values would leave few bins to the rest. So that they do not raise that
    bound either, the whole is first taken of gaps of up to sixteen bins of (mean √measure)², which they hardly touch. Where there are no
    more values than bins, each has its own.
    """
    return _cut(_measured(sums, count), count)


def _measured(sums: Sums, count: int) -> Floats:
    """What there is between the first value and each, by the measure of `bins`; zeros where each has a bin of its own."""
    if len(sums.values) <= count:
        return np.zeros(len(sums.values))
    gaps = sums.values[1:] - sums.values[:-1]
    between = sums.total[2:] - sums.total[:-2]
    between *= gaps
    between *= gaps
    measure = _cube_root(between)
    bound = float(np.square(np.cumsum(np.sqrt(measure))[-1])) / len(measure) * FAR / count
    bound = min(float(np.cumsum(np.minimum(measure, bound))[-1]) * 2 / count, bound)
    reached = np.zeros(len(sums.values))
    np.cumsum(np.minimum(measure, bound), out=reached[1:])
    return reached


def _cut(reached: Floats, count: int) -> Integers:
    """The edges of bins of equal measure, as near as values allow that leave none empty."""
    n = len(reached)
    if n <= count:
        return np.arange(n + 1)
    inner = np.arange(1, count)
    found = np.searchsorted(reached, reached[-1] * inner / count)
    found = np.maximum(np.maximum.accumulate(found - inner), 0) + inner
    return np.concatenate(([0], np.minimum(found, n - count + inner), [n]))


def _cube_root(values: Floats) -> Floats:
    """To 0.1 %, by operations that round the same everywhere: a third of the bits (good to 3 %), and a step of Newton's."""
    third = values.view(np.int64) >> 2
    for shift in (2, 4, 8):
        third += third >> shift
    third += CUBE_ROOT
    near = third.view(np.float64)
    step = near * near
    np.divide(values, step, out=step)
    near *= 2
    near += step
    near *= THIRD
    return near


def centroids(sums: Sums, where: Integers) -> Floats:
    """The means of the clusters between cuts."""
    edges = np.concatenate(([0], where, [len(sums.values)]))
    found = sums.centre + np.diff(sums.moment[edges]) / np.diff(sums.total[edges])
    # By rounding, a mean may be beyond the last of its values.
    return np.asarray(np.minimum(np.maximum(found, sums.values[edges[:-1]]), sums.values[edges[1:] - 1]))


def padded(values: Floats, places: int) -> Floats:
    """Entries of a group with no more values than places."""
    found = np.zeros(places)
    found[: len(values)] = values
    found[len(values) :] = values[-1] if len(values) else 0.0
    return found


def near(values: Floats, weights: Floats, starts: Integers, places: int) -> Floats:
    """The near solution of many groups."""
    found = np.zeros((len(starts) - 1, places))
    with np.errstate(divide="ignore", invalid="ignore"):  # where clusters are empty; once, as it takes 2 µs
        for group, (first, end) in enumerate(pairwise(starts)):
            sums = prefix_sums(values[first:end], weights[first:end])
            found[group] = padded(sums.values, places) if len(sums.values) <= places else centroids(sums, _near_cuts(sums, places))
    return found


def _near_cuts(sums: Sums, places: int) -> Integers:
    reached = _measured(sums, BINS)
    edges = _cut(reached, BINS)
    where = edges[_best_of_bins(sums.total[edges], sums.moment[edges], places)]
    if len(sums.values) > BINS and places > 1:
        where = _refined(sums.total, sums.moment, where, _cut(reached, FINE))
    return where


def _best_of_bins(total: Floats, moment: Floats, places: int) -> Integers:
    """The cuts of the best clustering of m bins: D₁(t) = gain(0, t), Dⱼ(t) = max over s < t of Dⱼ₋₁(s) + gain(s, t).

    Clusters are as wide as a band only. Where two neighbours together are wider, they might have been one, so the band is doubled.
    """
    m = len(total) - 1
    band = -(-REACH * m // places)
    while True:
        where = _best_in_band(total, moment, places, min(band, m))
        edges = np.concatenate(([0], where, [m]))
        if band >= m or (edges[2:] - edges[:-2]).max() < band:
            return where
        band = 2 * band


def _best_in_band(total: Floats, moment: Floats, places: int, band: int) -> Integers:
    """Column t of row u is the cluster from bin t - band + u to t: bins before the first weigh so much that none reaches from there.

    Maxima are taken over rows, which NumPy does with whole registers: in half of the time that they take along rows.
    """
    m = len(total) - 1
    totals, moments = np.concatenate((np.full(band, np.inf), total)), np.concatenate((np.zeros(band), moment))
    gains = _gains(_shifted(totals, band), _shifted(moments, band), total, moment)
    best = np.full((max(places - 1, 1), band + m + 1), -np.inf)
    reached = np.arange(1, band + 1)
    best[0, band + reached] = gains[band - reached, reached]
    sums = np.empty_like(gains)
    for place in range(1, places - 1):
        np.add(_shifted(best[place - 1], band), gains, out=sums)
        np.maximum.reduce(sums, axis=0, out=best[place, band:])
    where = np.empty(places - 1, np.int64)
    at = m
    for place in range(places - 2, -1, -1):
        at += int((best[place, at : at + band] + gains[:, at]).argmax()) - band
        where[place] = at
    return where


def _shifted(row: Floats, band: int) -> Floats:
    """All of a row but `band` values, from each of its first `band` positions on. A view: 1 µs, and 28 µs by `sliding_window_view`."""
    return np.ndarray((band, len(row) - band), row.dtype, row, strides=(row.itemsize, row.itemsize))


def _gains(total_from: Floats, moment_from: Floats, total_to: Floats, moment_to: Floats) -> Floats:
    """What clusters from here to there gain; -∞ where there is nothing between."""
    weight = total_to - total_from
    gain = moment_to - moment_from
    gain *= gain
    gain /= weight
    np.putmask(gain, weight <= 0, -np.inf)
    return gain


def _refined(total: Floats, moment: Floats, where: Integers, edges: Integers) -> Integers:
    """Solves windows around cuts: of fine bins, then from two of them on either side down to neighbouring positions, until no cut is at
    the end of its window."""
    n, cuts, last = len(total) - 1, len(where), len(edges) - 1
    least = np.arange(1, cuts + 1)
    greatest = n - cuts + least - 1
    near = np.searchsorted(edges, where)[:, None] + np.arange(WIDE) - WIDE // 2
    windows = np.clip(edges[np.clip(near, 0, last)], least[:, None], greatest[:, None])
    windows[:, WIDE // 2] = where
    where = _best_of_windows(total, moment, windows)
    at = np.searchsorted(edges, where)
    spacing = (edges[np.minimum(at + 2, last)] - edges[np.maximum(at - 2, 0)] + WINDOW - 1) // WINDOW
    offsets = np.arange(WINDOW) - WINDOW // 2
    for _ in range(STEPS):
        windows = np.clip(where[:, None] + spacing[:, None] * offsets, least[:, None], greatest[:, None])
        where = _best_of_windows(total, moment, windows)
        ends = ((where == windows[:, 0]) & (where > least)) | ((where == windows[:, -1]) & (where < greatest))
        if not ends.any() and (spacing == 1).all():
            break
        spacing = np.where(ends, spacing, (spacing + 7) // 8)
    return where


def _best_of_windows(total: Floats, moment: Floats, windows: Integers) -> Integers:
    """The best cuts where cut j is one of the positions `windows[j]`."""
    weights, moments = total[windows], moment[windows]
    first = _gains(total[:1], moment[:1], weights[0], moments[0])
    last = _gains(weights[-1], moments[-1], total[-1:], moment[-1:])
    gains = _gains(weights[:-1, :, None], moments[:-1, :, None], weights[1:, None, :], moments[1:, None, :])
    best = [first]
    for gain in gains:
        best.append(np.maximum.reduce(best[-1][:, None] + gain, axis=0))
    found = np.empty(len(windows), np.int64)
    tail = last
    for place in range(len(windows) - 1, -1, -1):
        at = int((best[place] + tail).argmax())
        found[place] = windows[place, at]
        tail = gains[place - 1, :, at] if place else tail
    return found


NUMPY: Final = Solver(near, lagrange.interpreted)
