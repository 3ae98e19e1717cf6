"""Exact one-dimensional k-means by a price on clusters.

The gain of a run of values, (Σwx)²/Σw, makes clusterings the paths of a graph whose edges obey the quadrangle inequality. Two things
follow. The most that k clusters gain is concave in k, so that for (nearly) every k there is a price λ such that the best clustering where
each cluster costs λ has k clusters, and it is then the best with k (Aggarwal, Schieber, Tokuyama, "Finding a minimum-weight k-link path
in graphs with the concave Monge property", 1994; for k-means: Grønlund and others, "Fast exact k-means, k-medians and Bregman divergence
clustering in 1D", 2017). And the best clustering at one price takes O(n log n), whatever k is.

Where no price gives k, several numbers of clusters are equally good at one price, and parts of the clusterings with fewer and with more
make one with k, as good as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Penalized: TypeAlias = Callable[[Floats, Floats, float], Integers]
"""`(total, moment, price)` to the cuts of the best clustering at that price."""

GUESSES: Final = 2
"""So many prices are scaled by the power law before one is taken that narrows the range for certain."""


def cuts(total: Floats, moment: Floats, places: int, price: float, penalized: Penalized) -> tuple[Integers, float]:
    """The ascending cuts of the best clustering of n values into `places`, and the price that led there, beginning with a guess.

    `total` and `moment` are the sums of w and w·x over the first i values, for i = 0 … n; n is greater than `places`. The error of k
    clusters is about proportional to 1/k², so the price goes with 1/k³, which usually leads there in a step or two. Every third price is
    the slope between the nearest numbers of clusters known on both sides: at that price either another number between them is better than
    both, or both are as good as any, and the search ends.
    """
    n = len(total) - 1
    fewer, more = np.empty(0, np.int64), np.arange(1, n)
    if places == 1:
        return fewer, price
    if places >= n:
        return more, price
    guesses = 0
    while True:
        certain = guesses == GUESSES or not price > 0
        if certain:
            price = (_gain(total, moment, more) - _gain(total, moment, fewer)) / (len(more) - len(fewer))
        found = penalized(total, moment, price)
        clusters = len(found) + 1
        if clusters == places:
            return found, price
        if len(fewer) < len(found) < places - 1:
            fewer = found
        elif places - 1 < len(found) < len(more):
            more = found
        elif certain:
            return _spliced(fewer, more, places, n), price
        guesses = 0 if certain else guesses + 1
        price *= (clusters / places) ** 3


def _gain(total: Floats, moment: Floats, where: Integers) -> float:
    edges = np.concatenate(([0], where, [len(total) - 1]))
    return float((np.square(np.diff(moment[edges])) / np.diff(total[edges])).sum())


def _spliced(fewer: Integers, more: Integers, places: int, n: int) -> Integers:
    """A clustering into `places` that begins as `more` and ends as `fewer`.

    They are joined where a cluster of `fewer` holds one of `more` that comes `shift` later in its row: by the quadrangle inequality, what
    begins as one and ends as the other is then no worse than both. There is such a place, since `more` begins behind and ends before.
    """
    few = np.concatenate(([0], fewer, [n]))
    many = np.concatenate(([0], more, [n]))
    shift = places - len(fewer) - 1
    length = len(fewer) + 1
    inside = (few[:length] <= many[shift : shift + length]) & (many[shift + 1 : shift + 1 + length] <= few[1:])
    at = int(np.flatnonzero(inside)[0])
    return np.concatenate((many[1 : at + shift + 1], few[at + 1 : -1]))


def penalized(total: Any, moment: Any, price: float, best: Any, start: Any, tried: Any, stack: Any) -> int:
    """Fills `best` and `start`: the most that the first i values gain at a price per cluster, and where their last cluster starts.

    best(i) = max over j < i of best(j) + (moment(i) - moment(j))² / (total(i) - total(j)) - price

    The best j grows with i. So a range (l, r] whose r knows the best j up to l is done by halves: its middle searches between the best j
    of l and r; then the left half is done, its j are offered to r, and the right half is done. That is the simplification of LARSCH
    (Larmore, Schieber, 1991) that noshi91 published, with a stack of its own. The result is the number of clusters.

    Everything that is filled is scratch: as long as `total` (n + 1 entries), `stack` 3·(2·log₂ n + 4). Lists and arrays both do: this
    very function is the reference and what `kmeans_kernels` compiles.
    """
    n = len(total) - 1
    for i in range(1, n + 1):
        best[i] = -np.inf
    best[0] = 0.0
    start[0] = 0
    whole = moment[n] - moment[0]
    best[n] = whole * whole / (total[n] - total[0]) - price
    start[n] = 0
    stack[0], stack[1], stack[2] = 0, n, 0
    top = 3
    while top > 0:
        top -= 3
        left, right, halves = stack[top], stack[top + 1], stack[top + 2]
        if right - left < 2:
            continue
        middle = (left + right) // 2
        if halves == 0:
            first, end, target = start[left], start[right] + 1, middle
            stack[top + 2] = 1
            stack[top + 3], stack[top + 4], stack[top + 5] = left, middle, 0
            top += 6
        else:
            first, end, target = left + 1, middle + 1, right
            stack[top], stack[top + 1], stack[top + 2] = middle, right, 0
            top += 3
        weight, sum_ = total[target], moment[target]
        most = -np.inf
        for j in range(first, end):
            difference = sum_ - moment[j]
            value = best[j] + difference * difference / (weight - total[j])
            tried[j - first] = value
            if value > most:
                most = value
        if most - price > best[target]:
            best[target] = most - price
            j = 0
            while tried[j] != most:
                j += 1
            start[target] = first + j
    clusters = 0
    i = n
    while i > 0:
        i = start[i]
        clusters += 1
    return clusters


def interpreted(total: Floats, moment: Floats, price: float) -> Integers:
    """`penalized` without a compiler. Lists, whose numbers come out faster than those of arrays: some 4 µs a value and halving."""
    n = len(total) - 1
    best, start, tried, stack = [0.0] * (n + 1), [0] * (n + 1), [0.0] * (n + 1), [0] * stack_size(n)
    clusters = penalized(total.tolist(), moment.tolist(), price, best, start, tried, stack)
    return path(start, clusters)


def stack_size(n: int) -> int:
    return 3 * (2 * n.bit_length() + 4)


def path(start: Any, clusters: int) -> Integers:
    """The cuts on the way back from the end."""
    where = np.empty(clusters - 1, np.int64)
    i = len(start) - 1
    for index in range(clusters - 2, -1, -1):
        i = start[i]
        where[index] = i
    return where
