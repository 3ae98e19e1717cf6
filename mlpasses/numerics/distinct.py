"""The distinct values of the groups of a weight, with how many elements have each: all that choosing entries of a table needs.

A weight is a view `[outer, groups, inner]`. -0 and 0 are one value.

Groups of fp16 are sorted, or counted where they are large (there are 63,487 values in all), by an engine; importances of large ones are
summed. Everything else is done here, a piece at a time, each sorted and merged with the values before. Where a float32 group has more
than `LIMIT` values, neighbours are merged into `MERGED` bins as values come, each standing as its mean. Entries found from them have
1.00001 times the squared error of the best for all values (256 entries; 1.00000004 times for 16; 4 M normal values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlpasses.numerics.affine import Array, Doubles, NotFiniteError
from mlpasses.numerics.kmeans import Integers, Sums, bins
from mlpasses.numerics.pieces import strips

LIMIT: Final = 1 << 16
MERGED: Final = 1 << 15
PIECE: Final = 1 << 18
"""Elements sorted at a time. The same for every engine, so that sums are taken in the same order."""
WEIGHED: Final = 1 << 16
"""Elements of an fp16 group from which its importances are summed by bit patterns: 16.8 M elements take 0.52 s where they are sorted, 0.22
so, and 0.03 with the sums compiled."""
VALUES: Final = 1 << 16
"""As many as fp16 has bit patterns."""
INFINITE: Final = 0x7C00
"""The bits of the infinite fp16 number: finite ones have less besides the sign."""


@frozen(eq=False)
class Distinct:
    """The distinct values of groups, ascending; those of group g are from `starts[g]` to `starts[g + 1]`.

    `counts` says how many elements have each value, `weights` what these count in a fit: as many, or the sum of their importances. Where
    no element of a group is of any importance, all count alike.
    """

    values: Doubles
    counts: Doubles
    weights: Doubles
    starts: Integers

    def without_zeros(self) -> Distinct:
        """All values but 0."""
        return self._where(self.values != 0)

    def without_idle(self) -> Distinct:
        """The values that count in a fit."""
        return self._where(self.weights != 0)

    def _where(self, kept: npt.NDArray[np.bool_]) -> Distinct:
        starts = np.concatenate(([0], np.cumsum(kept)))[self.starts]
        return Distinct(self.values[kept], self.counts[kept], self.weights[kept], starts)

    def groups(self) -> Iterator[tuple[Doubles, Doubles]]:
        """The values and weights of each group."""
        for first, end in pairwise(self.starts):
            yield self.values[first:end], self.weights[first:end]


class Collector(NamedTuple):
    """Who collects the values of fp16 groups.

    `sort(rows)` those of groups `[groups, elements]`, `tally(piece, counts)` adds to `counts[65536]` how many elements of a piece have
    each of the bit patterns, and `weigh(piece, importance)` sums the float32 importances of those that have each, one after the other.
    Groups of more than `chunk` elements are counted.
    """

    sort: Callable[[Array], Distinct]
    tally: Callable[[Array, Integers], None]
    weigh: Callable[[Array, Array], Doubles]
    chunk: int


def collect(weight: Array, importance: Array | None, collector: Collector) -> Distinct:
    """The distinct values of the groups of a view. `importance` is of the view's shape.

    Private memory is that of `collector.chunk` or `PIECE` elements, or of all of `weight` where its groups are smaller.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: an importance is negative, or not finite as float32.
    """
    outer, groups, inner = weight.shape
    if weight.dtype == np.float16 and importance is None:
        if outer * inner <= collector.chunk:
            return collector.sort(weight.transpose(1, 0, 2).reshape(groups, outer * inner))
        return _joined([_counted(weight[:, group : group + 1], collector) for group in range(groups)])
    large = weight.dtype == np.float16 and outer * inner >= WEIGHED
    found = []
    for at in (slice(group, group + 1) for group in range(groups)):
        group = weight[:, at]
        if importance is not None and large:
            found.append(_weighed(group, importance[:, at], collector))
        else:
            found.append(_merged(group, None if importance is None else importance[:, at]))
    return _joined(found)


def _joined(parts: list[tuple[Doubles, Doubles, Doubles]]) -> Distinct:
    starts = np.concatenate(([0], np.cumsum([len(values) for values, _, _ in parts], dtype=np.int64)))
    if not parts:
        return Distinct(np.empty(0), np.empty(0), np.empty(0), starts)
    values, counts, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Distinct(values, counts, weights, starts)


def _counted(group: Array, collector: Collector) -> tuple[Doubles, Doubles, Doubles]:
    """A large fp16 group: how many elements have each bit pattern says it all."""
    by_bits = np.zeros(VALUES, np.int64)
    for at in strips(group.shape, 1, collector.chunk):
        collector.tally(group[at].reshape(-1), by_bits)
    ascending = _ascending(by_bits)
    which = np.flatnonzero(ascending)
    counts = ascending[which].astype(np.float64)
    return half_values(which - (INFINITE - 1)), counts, counts


def _weighed(group: Array, importance: Array, collector: Collector) -> tuple[Doubles, Doubles, Doubles]:
    """The same, with importances."""
    by_bits, sums = np.zeros(VALUES, np.int64), np.zeros(VALUES)
    for at in strips(group.shape, 1, PIECE):
        piece = group[at].reshape(-1)
        collector.tally(piece, by_bits)
        sums += collector.weigh(piece, _checked(importance[at].reshape(-1)))
    ascending, weights = _ascending(by_bits), _ascending(sums)
    which = np.flatnonzero(ascending)
    counts = ascending[which].astype(np.float64)
    return half_values(which - (INFINITE - 1)), counts, weights[which] if weights.any() else counts


def _ascending(by_bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What there is of each bit pattern, in the order of the finite numbers, with that of -0 at 0.

    Raises:
        NotFiniteError: there is something of NaN or infinite ones.
    """
    sign = VALUES // 2
    if by_bits[INFINITE:sign].any() or by_bits[sign + INFINITE :].any():
        raise NotFiniteError
    by_bits[0] += by_bits[sign]
    return np.concatenate((by_bits[sign + INFINITE - 1 : sign : -1], by_bits[:INFINITE]))


def half_keys(halves: Array) -> npt.NDArray[np.int16]:
    """Integers in the order of fp16 numbers: their bits, from the most negative -0x7BFF to the greatest 0x7BFF; 0 for both zeros."""
    bits = halves.view(np.int16)
    magnitudes = bits & np.int16(0x7FFF)
    return np.where(bits < 0, -magnitudes, magnitudes)


def half_values(keys: Any) -> Doubles:
    """The numbers of `half_keys`."""
    keys = np.asarray(keys)
    magnitudes: Doubles = np.abs(keys).astype(np.uint16).view(np.float16).astype(np.float64)
    return np.where(keys < 0, -magnitudes, magnitudes)


def _merged(group: Array, importance: Array | None) -> tuple[Doubles, Doubles, Doubles]:
    """Any group, a piece at a time."""
    found = np.empty(0), np.empty(0), np.empty(0)
    for at in strips(group.shape, 1, PIECE):
        piece = group[at].reshape(-1)
        if not np.isfinite(piece).all():
            raise NotFiniteError
        found = _united(found, _sorted(piece, None if importance is None else _checked(importance[at].reshape(-1))))
        if len(found[0]) > LIMIT:
            found = _fewer(*found)
    values, counts, weights = found
    return values, counts, weights if weights.any() else counts


def _checked(importance: Array) -> Array:
    """As float32, so that no sum of squares overflows."""
    with np.errstate(over="ignore", under="ignore"):
        read = importance.astype(np.float32)
    if not (np.isfinite(read).all() and (read >= 0).all()):
        raise ValueError("an importance is negative or not finite")
    return read


def _sorted(piece: Array, importance: Array | None) -> tuple[Doubles, Doubles, Doubles]:
    half = piece.dtype == np.float16
    keys = half_keys(piece) if half else piece + piece.dtype.type(0)
    if importance is None:
        keys = np.sort(keys, kind="stable" if half else None)
    else:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    heads = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    values = half_values(keys[heads]) if half else keys[heads].astype(np.float64)
    counts = np.diff(heads, append=len(keys)).astype(np.float64)
    return values, counts, counts if importance is None else np.add.reduceat(importance[order].astype(np.float64), heads)


def _united(one: tuple[Doubles, Doubles, Doubles], other: tuple[Doubles, Doubles, Doubles]) -> tuple[Doubles, Doubles, Doubles]:
    if not len(one[0]):
        return other
    values, counts, weights = (np.concatenate(columns) for columns in zip(one, other, strict=True))
    order = np.argsort(values, kind="stable")
    values = values[order]
    heads = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[heads], np.add.reduceat(counts[order], heads), np.add.reduceat(weights[order], heads)


def _fewer(values: Doubles, counts: Doubles, weights: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Neighbours merged into bins, which stand as their means: of what counts in the fit, or of all elements where none of them does."""
    edges = bins(Sums(values, np.concatenate(([0.0], np.cumsum(counts))), np.empty(0), 0.0), MERGED)[:-1]
    sums = [np.add.reduceat(column, edges) for column in (counts, weights, counts * values, weights * values)]
    with np.errstate(invalid="ignore"):
        means = np.where(sums[1] > 0, sums[3] / sums[1], sums[2] / sums[0])
    last = np.concatenate((edges[1:], [len(values)])) - 1
    return np.minimum(np.maximum(means, values[edges]), values[last]), sums[0], sums[1]


def sort_halves(rows: Array) -> Distinct:
    """The reference for `Collector.sort`: all rows at once, sorted by their 16 bits."""
    groups, elements = rows.shape
    if not rows.size:
        return _joined([(np.empty(0), np.empty(0), np.empty(0))] * groups)
    keys = np.sort(half_keys(rows), axis=1, kind="stable")
    if keys[:, 0].min() < -0x7BFF or keys[:, -1].max() > 0x7BFF:
        raise NotFiniteError
    first = np.ones(keys.shape, bool)
    np.not_equal(keys[:, 1:], keys[:, :-1], out=first[:, 1:])
    heads = np.flatnonzero(first)
    counts = np.diff(heads, append=keys.size).astype(np.float64)
    starts = np.searchsorted(heads, np.arange(groups + 1) * elements)
    return Distinct(half_values(keys.reshape(-1)[heads]), counts, counts, starts)


def tally_halves(piece: Array, counts: Integers) -> None:
    """The reference for `Collector.tally`."""
    counts += np.bincount(piece.view(np.uint16), minlength=VALUES)


def weigh_halves(piece: Array, importance: Array) -> Doubles:
    """The reference for `Collector.weigh`."""
    sums: Doubles = np.bincount(piece.view(np.uint16), weights=importance, minlength=VALUES).astype(np.float64, copy=False)
    return sums


NUMPY: Final = Collector(sort_halves, tally_halves, weigh_halves, 1 << 16)


def distinct_counts(weight: Array, collector: Collector, flags: Array | None = None, limit: int = 256) -> Integers:
    """How many distinct values each group of a view has; `limit` + 1 where there are more.

    Elements whose `flags`, of the weight's shape, are 0 are left out.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
    """
    found = np.zeros(weight.shape[1], np.int64)
    for run in group_runs(weight.shape, collector.chunk):
        if weight.dtype == np.float16 and flags is None:
            found[run] = np.diff(collect(weight[:, run], None, collector).starts)
        else:
            groups = (slice(group, group + 1) for group in range(run.start, run.stop))
            found[run] = [_count_values(weight[:, at], None if flags is None else flags[:, at], limit) for at in groups]
    return np.minimum(found, limit + 1)


def _count_values(group: Array, flags: Array | None, limit: int) -> int:
    found = np.empty(0, group.dtype)
    for at in strips(group.shape, 1, PIECE):
        piece = group[at]
        if not np.isfinite(piece).all():
            raise NotFiniteError
        if len(found) <= limit:
            found = np.union1d(found, piece if flags is None else piece[flags[at] != 0])
    return len(found)


def group_runs(shape: tuple[int, ...], chunk: int) -> Iterator[slice]:
    """Runs of groups of `chunk` elements together, or single larger ones."""
    outer, groups, inner = shape
    step = max(1, chunk // max(outer * inner, 1))
    for first in range(0, groups, step):
        yield slice(first, min(first + step, groups))
