"""Scalar palettization: w ≈ entries[code], with a table of 2^bits entries for every group of a weight.

A weight is a view `[outer, groups, inner]` (`affine.channel_view`), whose middle axis has a table for each entry. Per group, its distinct
values are collected (`distinct`), a codebook chooses entries from them, these are rounded to the weight's own type, equal and unused ones
are dropped, and elements get the code of the nearest entry as it is stored, the lower one of two as near.

A codebook is a function from the distinct values of groups and the number of places to entries `[groups, places]` in float64, ascending,
some of which may be equal: `kmeans`, `uniform`, `unique`, or a `Custom` one.

This module is the NumPy reference for the work on elements; `palette_kernels` has it compiled: equal entries and codes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlpasses.numerics import kmeans as means
from mlpasses.numerics.affine import Array, Doubles, Emit, Loss
from mlpasses.numerics.distinct import NUMPY as COLLECTOR
from mlpasses.numerics.distinct import Collector, Distinct, collect, group_runs, half_keys
from mlpasses.numerics.kmeans import Integers, Solver
from mlpasses.numerics.pieces import strips


class TooManyValuesError(ValueError):
    """A group has more distinct values than a table has places."""

    def __init__(self, count: int, places: int) -> None:
        super().__init__(f"a group has {count} distinct values, and a table {places} places")
        self.count = count
        self.places = places


class CodebookError(ValueError):
    """A custom codebook returned what is no table."""


@frozen(eq=False)
class Palette:
    """The tables of a weight.

    `entries` is `[groups, places]`, of the weight's type, finite and ascending; places that nothing needs repeat the last entry in use,
    and are 0 in a group without elements. `used` says how many are in use: codes are below it. (Of a float32 group with more than
    `distinct.LIMIT` values, the entries in use are those of the merged values.)
    """

    entries: Array
    used: Integers


class Engine(NamedTuple):
    """Who does the work.

    - `collector`, on the elements of fp16 groups, and `solver`, on distinct values.
    - `measure(distinct, entries, limits)`: how many elements take each entry `[groups, places]`, and the loss. `limits[groups, places - 1]`
      are the greatest numbers that take each entry but the last.
    - `assign_halves(piece, limits, out)` and `assign_singles(piece, entries, limits, out)` write the codes of a piece
      `[outer, groups, inner]`, for limits in the weight's type; of float32, the loss is the result.
    """

    collector: Collector
    solver: Solver
    measure: Callable[[Distinct, Doubles, Doubles], tuple[Integers, Loss]]
    assign_halves: Callable[[Array, Array, Array], None]
    assign_singles: Callable[[Array, Array, Array, Array], Loss]


Codebook: TypeAlias = Callable[[Distinct, int, Engine], Doubles]


def kmeans(distinct: Distinct, places: int, engine: Engine) -> Doubles:
    """The means of the clusters of least squared error."""
    groups = len(distinct.starts) - 1
    elements = int(distinct.counts.sum()) // max(groups, 1)  # all groups have as many
    return means.means(distinct.values, distinct.weights, distinct.starts, places, elements, engine.solver)


def uniform(distinct: Distinct, places: int, engine: Engine) -> Doubles:
    """Equal steps from the least to the greatest value."""
    found = np.zeros((len(distinct.starts) - 1, places))
    for row, (values, _) in zip(found, distinct.groups(), strict=True):
        if len(values):
            row[:] = np.linspace(values[0], values[-1], places) if places > 1 else (values[0] + values[-1]) / 2
    return found


def unique(distinct: Distinct, places: int, engine: Engine) -> Doubles:
    """The values themselves.

    Raises:
        TooManyValuesError: a group has more of them than places.
    """
    most = int(np.diff(distinct.starts).max(initial=0))
    if most > places:
        raise TooManyValuesError(most, places)
    return np.array([means.padded(values, places) for values, _ in distinct.groups()]).reshape(-1, places)


@frozen
class Custom:
    """Entries from a function of a group's distinct values, ascending, and their weights; it may return any order, and fewer than places.

    Raises:
        CodebookError: it returned no entries, more of them than places, or other than finite numbers.
    """

    function: Callable[[Doubles, Doubles], npt.ArrayLike]

    def __call__(self, distinct: Distinct, places: int, engine: Engine) -> Doubles:
        found = np.zeros((len(distinct.starts) - 1, places))
        for row, (values, weights) in zip(found, distinct.groups(), strict=True):
            if len(values):
                row[:] = means.padded(self._entries(values, weights, places), places)
        return found

    def _entries(self, values: Doubles, weights: Doubles, places: int) -> Doubles:
        found = np.asarray(self.function(values.copy(), weights.copy()))  # which are read again behind it
        if found.dtype.kind not in "fiu":
            raise CodebookError(f"the codebook is of {found.dtype}, and entries are numbers")
        entries = np.unique(found.astype(np.float64))
        if not 0 < len(entries) <= places:
            raise CodebookError(f"the codebook has {len(entries)} entries, and a table has 1 to {places}")
        if not np.isfinite(entries).all():
            raise CodebookError("the codebook has entries that are not finite")
        return entries


def palettize_view(
    weight: Array, nbits: int, codebook: Codebook, engine: Engine, emit: Emit | None, importance: Array | None = None
) -> tuple[Palette, Loss]:
    """Palettizes a whole weight `[outer, groups, inner]`, fp16 or float32, which may be a mapped file, a piece at a time.

    `emit(position, codes)` is called for every piece in C order, with one byte an element in a buffer that is used again; `position`
    counts elements. Where it is None, only tables are asked for, and of float32 no loss is measured. `importance`, which can be broadcast
    to the weight's shape and is read as float32, weights squared errors in the choice of entries, not in the loss. Private memory is some
    50 bytes for each of `engine.collector.chunk` or `distinct.PIECE` elements.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values. Some pieces may have been emitted.
        ValueError: an importance is negative or not finite; or what the codebook raises.
    """
    places = 1 << nbits
    spread = None if importance is None else np.broadcast_to(importance, weight.shape)

    def choose(run: slice, distinct: Distinct) -> Doubles:
        return codebook(distinct, places, engine)

    return _assigned(weight, places, choose, engine, emit, spread)


def assign_view(weight: Array, entries: Array, engine: Engine, emit: Emit) -> tuple[Palette, Loss]:
    """The same for given entries `[groups, places]`, in any order, of which the result has those that are used, ascending.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        CodebookError: an entry is not finite.
    """
    if not np.isfinite(entries).all():
        raise CodebookError("the codebook has entries that are not finite")
    ascending = np.sort(entries.astype(np.float64), axis=1)

    def choose(run: slice, distinct: Distinct) -> Doubles:
        return ascending[run]

    return _assigned(weight, entries.shape[1], choose, engine, emit, None)


def _assigned(
    weight: Array,
    places: int,
    choose: Callable[[slice, Distinct], Doubles],
    engine: Engine,
    emit: Emit | None,
    importance: Array | None,
) -> tuple[Palette, Loss]:
    outer, groups, inner = weight.shape
    chunk = engine.collector.chunk
    palette = Palette(np.zeros((groups, places), weight.dtype), np.zeros(groups, np.int64))
    loss = Loss()
    buffer = np.empty(0, np.uint8)
    if not groups:
        return palette, loss
    # Groups that are interleaved are one run, since codes are emitted in the order of the weight.
    for run in group_runs(weight.shape, chunk) if outer == 1 else [slice(0, groups)]:
        for part in group_runs((outer, run.stop - run.start, inner), chunk):
            at = slice(run.start + part.start, run.start + part.stop)
            found = collect(weight[:, at], None if importance is None else importance[:, at], engine.collector)
            palette.entries[at], palette.used[at], lost = _settled(choose(at, found), found, weight.dtype, engine)
            if weight.dtype == np.float16:
                loss += lost
        if emit is None:
            continue
        position = run.start * inner
        view, entries = weight[:, run], palette.entries[run]
        limits = _stored_limits(entries, palette.used[run])
        for first, middle, last in strips((outer, run.stop - run.start, inner), 1, chunk):
            piece = view[first, middle, last]
            if buffer.size < piece.size:
                buffer = np.empty(piece.size, np.uint8)
            out = buffer[: piece.size].reshape(piece.shape)
            if weight.dtype == np.float16:
                engine.assign_halves(piece, limits[middle], out)
            else:
                loss += engine.assign_singles(piece, entries[middle], limits[middle], out)
            emit(position, buffer[: piece.size])
            position += piece.size
    return palette, loss


def _settled(chosen: Doubles, distinct: Distinct, dtype: np.dtype[Any], engine: Engine) -> tuple[Array, Integers, Loss]:
    """Entries as they are stored, how many of them are used, and the loss of the distinct values.

    Dropping an entry that nothing uses moves no element, so one round is enough.
    """
    most = np.finfo(dtype).max
    with np.errstate(under="ignore"):
        entries = np.clip(chosen, -most, most).astype(dtype) + dtype.type(0)
    different = np.ones(entries.shape, bool)
    different[:, 1:] = entries[:, 1:] != entries[:, :-1]
    entries, used = _compact(entries, different)
    elements, loss = engine.measure(distinct, entries.astype(np.float64), _limits(entries, used))
    entries, used = _compact(entries, elements > 0)
    return entries, used, loss


def _compact(entries: Array, kept: npt.NDArray[np.bool_]) -> tuple[Array, Integers]:
    """The entries to keep, in order, the last one repeated; and their number."""
    used = kept.sum(axis=1)
    if kept.all():  # most often, and what follows takes 80 µs
        return entries, used
    order = np.argsort(~kept, axis=1, kind="stable")
    ahead = np.minimum(np.arange(entries.shape[1]), np.maximum(used - 1, 0)[:, None])
    entries = np.take_along_axis(entries, np.take_along_axis(order, ahead, axis=1), axis=1)
    return np.where(used[:, None] > 0, entries, entries.dtype.type(0)), used


def _limits(entries: Array, used: Integers) -> Doubles:
    """The greatest number that takes each entry but the last: half way to the next one, if that is used."""
    exact = entries.astype(np.float64)
    return np.where(np.arange(1, entries.shape[1]) < used[:, None], (exact[:, 1:] + exact[:, :-1]) / 2, np.inf)


def _stored_limits(entries: Array, used: Integers) -> Array:
    """The same in the weight's type, rounded down."""
    exact = _limits(entries, used)
    limits = exact.astype(entries.dtype)
    return np.where(limits > exact, np.nextafter(limits, entries.dtype.type(-np.inf)), limits)


def measure(distinct: Distinct, entries: Doubles, limits: Doubles) -> tuple[Integers, Loss]:
    """The reference for `Engine.measure`."""
    elements = np.zeros(entries.shape, np.int64)
    loss = Loss()
    for group, (first, end) in enumerate(pairwise(distinct.starts)):
        if first == end:
            continue
        values, counts = distinct.values[first:end], distinct.counts[first:end]
        codes = np.searchsorted(limits[group], values)
        elements[group] = np.bincount(codes, weights=counts, minlength=entries.shape[1])
        errors = np.abs(values - entries[group, codes])
        loss += Loss(float((counts * np.square(values)).sum()), float((counts * np.square(errors)).sum()), float(errors.max()))
    return elements, loss


def assign_halves(piece: Array, limits: Array, out: Array) -> None:
    """The reference for `Engine.assign_halves`: limits below an element are counted; of many, by a table of the code of every number."""
    keys, ends = half_keys(piece), half_keys(limits)
    if limits.shape[1] < 16:
        out[...] = 0
        for limit in ends.T:
            out += keys > limit[:, None]
        return
    for group, last in enumerate(ends):
        edges = np.concatenate(([-0x8000], np.minimum(last, 0x7BFF).astype(np.int64) + 1, [0x8000]))
        table = np.repeat(np.arange(len(last) + 1, dtype=np.uint8), np.diff(edges))
        np.take(table, keys[:, group].astype(np.int64) + 0x8000, out=out[:, group], mode="clip")


def assign_singles(piece: Array, entries: Array, limits: Array, out: Array) -> Loss:
    """The reference for `Engine.assign_singles`."""
    loss = Loss()
    for group, last in enumerate(limits):
        values = piece[:, group]
        codes = np.searchsorted(last, values)
        out[:, group] = codes
        exact = values.astype(np.float64)
        errors = np.abs(exact - entries[group].astype(np.float64)[codes])
        loss += Loss(float(np.square(exact).sum()), float(np.square(errors).sum()), float(errors.max(initial=0.0)))
    return loss


NUMPY: Final = Engine(COLLECTOR, means.NUMPY, measure, assign_halves, assign_singles)
