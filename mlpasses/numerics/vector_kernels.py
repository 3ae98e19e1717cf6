"""The engine of `vector_kmeans`, compiled: equal tables and codes bit for bit, ten times as fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from mlpasses.numerics.affine import Array, Loss
from mlpasses.numerics.half_kernels import compiled, from_half, summing
from mlpasses.numerics.vector_kmeans import Engine

LANES: Final = 128
"""Vectors that are compared with a table side by side."""


@compiled
def _load_half(part: Array, factor: Any, out: Array) -> None:
    outer, vectors, size, inner = part.shape
    for at in range(outer):
        for vector in range(vectors):
            first = (at * vectors + vector) * inner
            for element in range(size):
                for place in range(inner):
                    out[element, first + place] = from_half(part[at, vector, element, place]) * factor


@compiled
def _load_half_rows(part: Array, factor: Any, out: Array) -> None:
    """The same where the inner axis has one place."""
    outer, vectors, size = part.shape
    for at in range(outer):
        for element in range(size):
            for vector in range(vectors):
                out[element, at * vectors + vector] = from_half(part[at, vector, element]) * factor


@cache
def _nearest_of(size: int) -> Callable[..., None]:
    """The kernel for vectors of so many elements: known to the compiler, the loop over them is unrolled and that over lanes vectorized.

    Without importances (None) there is another specialization, in which the branches for them are none.
    """

    def kernel(x: Array, weights: Any, table: Array, codes: Array, best: Array) -> None:
        lanes = np.empty((size, LANES), np.float32)
        scales = None if weights is None else np.empty((size, LANES), np.float32)
        near = np.empty(LANES, np.float32)
        code = np.empty(LANES, np.int32)
        for first in range(0, x.shape[1], LANES):
            count = min(LANES, x.shape[1] - first)
            for element in range(size):
                for lane in range(count):
                    lanes[element, lane] = x[element, first + lane]
                    if weights is not None:
                        scales[element, lane] = weights[element, first + lane]  # type: ignore[index]
            near[:] = np.inf
            code[:] = 0
            for entry in range(table.shape[0]):
                index = np.int32(entry)
                for lane in range(LANES):
                    distance = np.float32(0)
                    for element in range(size):
                        off = lanes[element, lane] - table[entry, element]
                        distance += off * off if weights is None else scales[element, lane] * (off * off)  # type: ignore[index]
                    less = distance < near[lane]
                    near[lane] = distance if less else near[lane]
                    code[lane] = index if less else code[lane]
            for lane in range(count):
                codes[first + lane] = code[lane]
                best[first + lane] = near[lane]

    return compiled(kernel)


@compiled
def _gathered(x: Array, codes: Array, best: Array, values: Array, counts: Array, costs: Array) -> None:
    for at in range(codes.size):
        code = codes[at]
        counts[code] += 1
        costs[code] += best[at]
        for element in range(x.shape[0]):
            values[code, element] += x[element, at]


@compiled
def _weighted_gathered(x: Array, weights: Array, codes: Array, best: Array, values: Array, totals: Array, costs: Array) -> None:
    for at in range(codes.size):
        code = codes[at]
        costs[code] += best[at]
        for element in range(x.shape[0]):
            weight = np.float64(weights[element, at])
            totals[code, element] += weight
            values[code, element] += weight * np.float64(x[element, at])


@compiled
def _squares(x: Array, weights: Array, entry: Array, out: Array) -> None:
    """Σ h·(x - entry)²; `weights` has a row for each element, or none."""
    for at in range(out.size):
        out[at] = 0
    for element in range(x.shape[0]):
        center = entry[element]
        if weights.shape[0]:
            for at in range(out.size):
                off = x[element, at] - center
                out[at] += weights[element, at] * (off * off)
        else:
            for at in range(out.size):
                off = x[element, at] - center
                out[at] += off * off


@compiled
def _seeded(x: Array, weights: Array, draws: Array, table: Array) -> None:
    count = x.shape[1]
    sums = np.empty(count, np.float64)
    nearest, near, least = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    table[0] = x[:, int(draws[0, 0] * count)]
    _squares(x, weights, table[0], nearest)
    for entry in range(1, draws.shape[0]):
        total = 0.0
        for at in range(count):
            total += nearest[at]
            sums[at] = total
        lowest = np.inf
        for draw in draws[entry]:
            drawn = min(np.searchsorted(sums, draw * total, side="right"), count - 1)
            _squares(x, weights, x[:, drawn], near)
            cost = 0.0
            for at in range(count):
                near[at] = min(near[at], nearest[at])
                cost += near[at]
            if cost < lowest:
                lowest = cost
                near, least = least, near
                table[entry] = x[:, drawn]
        nearest, least = least, nearest


@summing
def _losses(x: Array, table: Array, codes: Array, sums: Array) -> None:
    signal, noise, worst = 0.0, 0.0, np.float32(0)
    for element in range(x.shape[0]):
        for at in range(codes.size):
            value = x[element, at]
            off = value - table[codes[at], element]
            signal += np.float64(value) * np.float64(value)
            noise += np.float64(off) * np.float64(off)
            worst = max(worst, abs(off))
    sums[0], sums[1], sums[2] = signal, noise, worst


def load(part: Array, factor: float, out: Array) -> None:
    """As `vector_kmeans.Engine` says."""
    if part.dtype == np.float16:
        bits = part.view(np.int16)
        if part.shape[3] == 1:
            _load_half_rows(bits[..., 0], np.float32(factor), out)
        else:
            _load_half(bits, np.float32(factor), out)
        return
    outer, vectors, size, inner = part.shape
    np.multiply(np.moveaxis(part, 2, 0), np.float32(factor), out=out.reshape(size, outer, vectors, inner))


def nearest(x: Array, weights: Array | None, table: Array, codes: Array, best: Array) -> None:
    """As `vector_kmeans.Engine` says."""
    _nearest_of(len(x))(x, weights, table, codes, best)


def gather(x: Array, weights: Array | None, codes: Array, best: Array, values: Array, totals: Array, costs: Array) -> None:
    """As `vector_kmeans.Engine` says."""
    if weights is None:
        counts = np.zeros(len(costs))
        _gathered(x, codes, best, values, counts, costs)
        totals += counts[:, None]
    else:
        _weighted_gathered(x, weights, codes, best, values, totals, costs)


def seed(x: Array, weights: Array | None, draws: Array) -> Array:
    """As `vector_kmeans.Engine` says."""
    table = np.empty((len(draws), len(x)), np.float32)
    _seeded(x, np.empty((0, 0), np.float32) if weights is None else weights, draws, table)
    return table


def loss(x: Array, table: Array, codes: Array) -> Loss:
    """As `vector_kmeans.Engine` says; the sums may differ from the reference's in their last bits."""
    sums = np.zeros(3)
    _losses(x, table, codes, sums)
    return Loss(float(sums[0]), float(sums[1]), float(sums[2]))


NUMBA: Final = Engine(load, nearest, gather, seed, loss)
"""The compiled engine."""
