"""The work on elements of `palette` and `distinct`, compiled: equal results bit for bit, the sums of a loss up to their last bits.

fp16 is read as bits. A group is counted by its bit patterns, in a table that is swept from its least to its greatest value; codes are
looked up in a table of the code of every bit pattern. Such tables are worth it for many elements: of small groups, NumPy sorts them, and
limits are counted.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mlpasses.numerics.affine import Array, Doubles, Loss, NotFiniteError
from mlpasses.numerics.distinct import INFINITE, VALUES, Collector, Distinct, half_keys, sort_halves
from mlpasses.numerics.half_kernels import compiled, from_half, summing
from mlpasses.numerics.kmeans import Integers
from mlpasses.numerics.kmeans_kernels import NUMBA as SOLVER
from mlpasses.numerics.palette import Engine

SWEPT: Final = 1 << 12
"""Elements of a group from which a table of counts is swept. Nanoseconds an element, swept and sorted: 846 and 23 for groups of 32, 112 and
13 for 256, 30 and 13 for 1,024, 7.7 and 10 for 4,096."""
TABLED: Final = 1 << 16
"""Elements of a group in a piece, times entries, from which a table of all codes is made, where groups are interleaved. Nanoseconds an
element of 128 rows, by table and by counting: 11 and 0.7 for 16 entries, 21 and 12 for 256; of 1,024 rows and 256 entries, 3 and 10."""


@compiled
def _tally(bits: Array, counts: Array) -> None:
    for index in range(len(bits)):
        counts[bits[index]] += 1


@compiled
def _weigh(bits: Array, importance: Array, sums: Array) -> None:
    for index in range(len(bits)):
        sums[bits[index]] += np.float64(importance[index])


@compiled
def _sort(rows: Array, values: Array, counts: Array, starts: Array) -> bool:
    """Writes the values of every row, and how many elements have each; false where one is not finite."""
    table = np.zeros(VALUES, np.int32)
    found = 0
    for group in range(rows.shape[0]):
        below, above = np.uint16(0), np.uint16(0)  # the greatest magnitudes
        for index in range(rows.shape[1]):
            bits = rows[group, index]
            magnitude = bits & np.uint16(0x7FFF)
            negative = bits > np.uint16(0x7FFF)
            below = max(below, magnitude if negative else np.uint16(0))
            above = max(above, np.uint16(0) if negative else magnitude)
        if max(below, above) >= INFINITE:
            return False
        for index in range(rows.shape[1]):
            table[rows[group, index]] += 1
        table[0] += table[0x8000]
        table[0x8000] = 0
        # Every place is written and only steps on where there is something: a branch would be mispredicted half of the time.
        for magnitude in range(below, 0, -1):
            bits = 0x8000 + magnitude
            count = table[bits]
            values[found] = from_half(np.int16(bits - 0x10000))
            counts[found] = count
            found += count > 0
            table[bits] = 0
        for magnitude in range(above + 1):
            count = table[magnitude]
            values[found] = from_half(np.int16(magnitude))
            counts[found] = count
            found += count > 0
            table[magnitude] = 0
        starts[group + 1] = found
    return True


def sort(rows: Array) -> Distinct:
    """As `distinct.sort_halves`."""
    groups, elements = rows.shape
    if elements < SWEPT:
        return sort_halves(rows)
    most = groups * min(elements, VALUES)
    values, counts, starts = np.empty(most + 1), np.empty(most + 1), np.zeros(groups + 1, np.int64)
    if not _sort(rows.view(np.uint16), values, counts, starts):
        raise NotFiniteError
    found = starts[-1]
    return Distinct(values[:found], counts[:found], counts[:found], starts)


def tally(piece: Array, counts: Integers) -> None:
    """As `distinct.tally_halves`."""
    _tally(piece.view(np.uint16), counts)


def weigh(piece: Array, importance: Array) -> Doubles:
    """As `distinct.weigh_halves`."""
    sums = np.zeros(VALUES)
    _weigh(piece.view(np.uint16), importance, sums)
    return sums


@summing
def _measure(values: Array, counts: Array, starts: Array, entries: Array, limits: Array, elements: Array, sums: Array) -> None:
    signal, noise, worst = 0.0, 0.0, 0.0
    for group in range(len(starts) - 1):
        first = starts[group]
        for place in range(entries.shape[1]):
            end = starts[group + 1]
            if place < limits.shape[1]:
                end = first + np.searchsorted(values[first:end], limits[group, place], side="right")
            entry, taken = entries[group, place], 0.0
            for index in range(first, end):
                value, number = values[index], counts[index]
                error = abs(value - entry)
                taken += number
                signal += number * (value * value)
                noise += number * (error * error)
                worst = max(worst, error)
            elements[group, place] = np.int64(taken)
            first = end
    sums[0], sums[1], sums[2] = signal, noise, worst


def measure(distinct: Distinct, entries: Doubles, limits: Doubles) -> tuple[Integers, Loss]:
    """As `palette.measure`."""
    elements, sums = np.zeros(entries.shape, np.int64), np.zeros(3)
    _measure(distinct.values, distinct.counts, distinct.starts, entries, limits, elements, sums)
    return elements, Loss(float(sums[0]), float(sums[1]), float(sums[2]))


@compiled
def _assign_halves(piece: Array, limits: Array, out: Array) -> None:
    """`limits` as bits, infinite ones too."""
    table = np.empty(VALUES, np.uint8)
    for group in range(piece.shape[1]):
        after = 1 - INFINITE  # the ordered key from which on numbers take a place
        for place in range(limits.shape[1] + 1):
            last = INFINITE - 1
            if place < limits.shape[1]:
                bits = int(limits[group, place])
                last = 0x8000 - bits if bits > 0x7FFF else min(bits, INFINITE - 1)
            table[0x8000 + max(-last, 1) : 0x8000 + max(1 - after, 1)] = place
            table[max(after, 0) : max(last + 1, 0)] = place
            after = last + 1
        table[0x8000] = table[0]
        for outer in range(piece.shape[0]):
            for inner in range(piece.shape[2]):
                out[outer, group, inner] = table[piece[outer, group, inner]]


@compiled
def _count_halves(rows: Array, limits: Array, out: Array) -> None:
    """How many limits `[places - 1, groups]` are below the elements of each row `[groups]`: of many groups at a time."""
    keys, counts = np.empty(rows.shape[1], np.int16), np.empty(rows.shape[1], np.int16)
    for row in range(rows.shape[0]):
        for group in range(rows.shape[1]):
            bits = rows[row, group]
            keys[group] = bits if bits >= 0 else -(bits & np.int16(0x7FFF))
        counts[:] = 0
        for place in range(limits.shape[0]):
            for group in range(rows.shape[1]):
                counts[group] += np.int16(limits[place, group] < keys[group])
        for group in range(rows.shape[1]):
            out[row, group] = counts[group]


def assign_halves(piece: Array, limits: Array, out: Array) -> None:
    """As `palette.assign_halves`."""
    outer, _, inner = piece.shape
    if inner == 1 and outer * (limits.shape[1] + 1) < TABLED:
        _count_halves(piece.view(np.int16)[:, :, 0], np.ascontiguousarray(half_keys(limits).T), out[:, :, 0])
    else:
        _assign_halves(piece.view(np.uint16), limits.view(np.uint16), out)


@summing
def _assign_singles(piece: Array, entries: Array, limits: Array, out: Array, sums: Array) -> None:
    """By halving, without branches: how many limits are below an element."""
    signal, noise, worst = 0.0, 0.0, 0.0
    half = (limits.shape[1] + 1) // 2
    for outer in range(piece.shape[0]):
        for group in range(piece.shape[1]):
            for inner in range(piece.shape[2]):
                value = piece[outer, group, inner]
                code, step = 0, half
                while step > 0:
                    code += step if limits[group, code + step - 1] < value else 0
                    step >>= 1
                out[outer, group, inner] = code
                error = abs(np.float64(value) - np.float64(entries[group, code]))
                signal += np.float64(value) * np.float64(value)
                noise += error * error
                worst = max(worst, error)
    sums[0], sums[1], sums[2] = signal, noise, worst


def assign_singles(piece: Array, entries: Array, limits: Array, out: Array) -> Loss:
    """As `palette.assign_singles`."""
    sums = np.zeros(3)
    _assign_singles(piece, entries, limits, out, sums)
    return Loss(float(sums[0]), float(sums[1]), float(sums[2]))


NUMBA: Final = Engine(Collector(sort, tally, weigh, 1 << 19), SOLVER, measure, assign_halves, assign_singles)
