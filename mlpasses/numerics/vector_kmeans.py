"""Vector palettization: w ≈ table[code], where an entry of the table is a vector of `size` elements that follow one another along an axis.

A weight is a view `[outer, channels, inner]` (`affine.channel_view`); vectors lie along its middle axis, so that there are codes
`[outer, channels / size, inner]`. Groups are equal runs of channels, each with a table of its own.

Entries are found by Lloyd's algorithm (1957), started by greedy k-means++ (Arthur and Vassilvitskii 2007) a few times over on a sample of
the group; the best start is carried on over larger samples and then over the whole group. Samples are drawn from a seed, and sums are
taken in one order, in float64, so the result is a function of the weight, its importance and the seed alone. Distances are in float32,
of a group scaled by a power of two to magnitudes below 2, so they neither overflow nor vanish. An importance weights the squared error
of each element.

This module is the NumPy reference; `vector_kernels` has the same engine compiled: equal entries and codes, bit for bit.

Measured against scikit-learn's KMeans as coremltools calls it (one start, tolerance 1e-2), over normal, Laplace, Student (3 degrees of
freedom) and low-rank weights, sizes 2 and 4, of 1024² with 4 to 256 entries and of 4096² with 4 to 64: the squared error is 0.96 to 1.007
of its, in a fifth to a hundredth of the time (`tests/bench/vectors.py`). Compiled, 4096² in fp16 takes 0.36 s of one core at size 2 with
16 entries, and 2 s with 256. Where samples are drawn evenly, Student weights at 256 entries have up to half as much error again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlpasses.numerics.affine import Array, Emit, Loss, NotFiniteError
from mlpasses.numerics.bits import keys_of, magnitudes
from mlpasses.numerics.pieces import strips

Chunks: TypeAlias = Iterator[tuple[Array, Array | None]]

CHUNK: Final = 1 << 16
"""Vectors worked on at a time, the same for every engine: sums are taken chunk by chunk."""
BLOCK: Final = 1 << 12
"""Vectors that the reference compares with a table at a time: its temporaries stay in cache."""
SPREAD: Final = 1 << 11
"""Vectors that are looked at to see that there are more distinct ones than entries; more than the most entries."""
STARTS: Final = 5
MOST_STARTS: Final = 32
COMPARED: Final = 1 << 19
"""How many times k-means++ is started: as often as takes so many comparisons of a vector with an entry, within these bounds. Few entries
need it most: five starts for 4 of them over heavy-tailed vectors may be 5 % off, one start 30 %."""
SAMPLE: Final = 1 << 13
SAMPLE_PER_ENTRY: Final = 64
"""Starts are compared on a sample of so many vectors for each entry, `SAMPLE` at least."""
FIRST_ROUNDS: Final = 10
"""Rounds of Lloyd's algorithm before starts are compared."""
LARGER_SAMPLE: Final = 1 << 18
"""The best start is carried on over so many vectors."""
ROUNDS: Final = 60
TOLERANCE: Final = 3e-4
"""It is carried on until a round gains less than this share of the cost. Ten times as much costs 0.5 to 1 % more error."""
LAST_ROUNDS: Final = 3
LAST_TOLERANCE: Final = 1e-3
"""Then over all vectors, if there are more."""


class Engine(NamedTuple):
    """Who does the work on vectors `x[size, count]` (float32), with importances of the same shape or None, and tables `[entries, size]`.

    - `load(part, factor, out)`: `part[outer, vectors, size, inner]` times a power of two, as vectors in C order.
    - `nearest(x, importance, table, codes, best)`: the nearest entry of each vector, the first of equally near ones, and how near it is.
    - `gather(x, importance, codes, best, sums, weights, costs)`: adds Σhx and Σh of each entry's vectors `[entries, size]`, and their
      cost (float64, one vector after the other).
    - `seed(x, importance, draws)`: a table by greedy k-means++, where `draws[entries, candidates]` are uniform in [0, 1).
    - `loss(x, table, codes)`: what is lost of vectors that are decoded by a table.
    """

    load: Callable[[Array, float, Array], None]
    nearest: Callable[[Array, Array | None, Array, Array, Array], None]
    gather: Callable[[Array, Array | None, Array, Array, Array, Array, Array], None]
    seed: Callable[[Array, Array | None, Array], Array]
    loss: Callable[[Array, Array, Array], Loss]


@frozen(eq=False)
class Tables:
    """The tables of the groups of one weight."""

    entries: Array
    """`[groups, entries, size]`, of the weight's type, in lexicographic order; places that are not needed repeat the last one."""
    used: npt.NDArray[np.int64]
    """`[groups]`: how many entries some vector uses."""


@frozen(eq=False)
class _Group:
    """The vectors of a group: `part[outer, vectors, size, inner]` of a weight, and of its importance, scaled by powers of two."""

    part: Array
    factor: float
    importance: Array | None
    importance_factor: float
    engine: Engine

    @property
    def size(self) -> int:
        return int(self.part.shape[2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of its codes."""
        outer, vectors, _, inner = self.part.shape
        return outer, vectors, inner

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def chunks(self) -> Chunks:
        """All vectors, a chunk at a time, with their importances."""
        for outer, vectors, inner in strips(self.shape, 1, CHUNK):
            yield self.load((outer, vectors, slice(None), inner))

    def load(self, at: tuple[slice, slice, slice, slice]) -> tuple[Array, Array | None]:
        part = self.part[at]
        x = np.empty((self.size, part.size // self.size), np.float32)
        self.engine.load(part, self.factor, x)
        return x, None if self.importance is None else self._weights(np.moveaxis(self.importance[at], 2, 0))

    def spread(self, count: int) -> tuple[Array, Array | None]:
        """Some vectors, as far apart as vectors can be in C order, with their importances."""
        outer, vectors, inner = np.unravel_index(np.linspace(0, self.count - 1, min(count, self.count)).astype(np.int64), self.shape)
        x = np.ascontiguousarray(self.part[outer, vectors, :, inner].T, np.float32)
        x *= np.float32(self.factor)
        return x, None if self.importance is None else self._weights(self.importance[outer, vectors, :, inner].T)

    def _weights(self, importance: Array) -> Array:
        """Importances `[size, …]` as those of vectors."""
        found = np.ascontiguousarray(importance, np.float32).reshape(self.size, -1)
        return found * np.float32(self.importance_factor)


def palettize_vectors(
    weight: Array,
    size: int,
    entries: int,
    engine: Engine,
    emit: Emit,
    *,
    groups: int = 1,
    importance: Array | None = None,
    seed: int = 0,
) -> tuple[Tables, Loss]:
    """Finds a table of `entries` vectors of `size` elements for each group of channels, and emits the codes.

    `emit(position, codes)` gets them as uint8, in C order of `[outer, channels / size, inner]`, a piece after the other; position counts
    codes. Codes are those of the entries as they are stored, rounded to the weight's type. Where a group has no more distinct vectors
    of any importance than entries, nothing of them is lost. An importance broadcasts over the weight. Private memory is bounded by samples
    (`LARGER_SAMPLE` vectors at most) and pieces.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: groups of vectors do not divide the channels, there are more than 256 entries, or an importance is negative or not
            finite.
    """
    outer, channels, inner = weight.shape
    if channels % (groups * size):
        raise ValueError(f"{groups} groups of vectors of {size} do not divide {channels} channels")
    if not 1 <= entries <= 256:
        raise ValueError(f"a table of bytes has 1 to 256 entries, not {entries}")
    run = channels // size // groups
    members = _groups(weight, size, groups, importance, engine)
    stored = [_stored(_fit(member, entries, seed), entries, member.factor, weight.dtype) for member in members]
    tables = [(table.astype(np.float64) * member.factor).astype(np.float32) for table, member in zip(stored, members, strict=True)]
    counts = np.zeros((groups, entries), np.int64)
    loss = Loss()
    position = 0
    for outer_at, parts, inner_at in _code_pieces((outer, run, inner), groups):
        found: list[Array] = []
        for group, at in parts:
            member = members[group]
            x, weights = member.load((outer_at, at, slice(None), inner_at))
            codes = np.empty(x.shape[1], np.uint8)
            engine.nearest(x, weights, tables[group], codes, np.empty(codes.size, np.float32))
            counts[group] += np.bincount(codes, minlength=entries)
            loss += _unscaled(engine.loss(x, tables[group], codes), member.factor)
            found.append(codes.reshape(outer_at.stop - outer_at.start, -1, inner_at.stop - inner_at.start))
        piece = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
        emit(position, piece.reshape(-1))
        position += piece.size
    return Tables(np.stack(stored), np.count_nonzero(counts, axis=1)), loss


def most_distinct(weight: Array, size: int, groups: int = 1, flags: Array | None = None, limit: int = 256) -> int:
    """The most distinct vectors that a group of a view has; more than `limit` are as good as `limit` + 1. Vectors are looked at in pieces.

    Of vectors whose `flags`, of the weight's shape, are 0, nothing is counted.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
    """
    outer, channels, inner = weight.shape
    if not all(np.isfinite(weight[at]).all() for at in strips(weight.shape, 1, CHUNK)):
        raise NotFiniteError
    run = channels // groups
    most = 0
    for group in range(groups):
        which = slice(group * run, (group + 1) * run)
        found = np.empty((0, size), np.float32)
        for at in strips((outer, run, inner), size, CHUNK):
            vectors = _rows(weight[:, which][at], size)
            if flags is not None:
                vectors = vectors[_rows(flags[:, which][at], size).any(axis=1)]
            found = _unique(np.concatenate([found, vectors]))
            if len(found) > limit:
                return limit + 1
        most = max(most, len(found))
    return most


def _rows(piece: Array, size: int) -> Array:
    """The vectors of a piece `[outer, channels, inner]`, one in each row."""
    outer, _, inner = piece.shape
    return np.moveaxis(piece.reshape(outer, -1, size, inner), 2, -1).reshape(-1, size)


def _groups(weight: Array, size: int, groups: int, importance: Array | None, engine: Engine) -> list[_Group]:
    outer, channels, inner = weight.shape
    shape = (outer, groups, channels // size // groups, size, inner)
    parts = weight.reshape(shape)
    weights, scale = None, 1.0
    if importance is not None and importance.size:
        most = float(importance.max())
        if not (importance.min() >= 0 and most <= np.finfo(np.float32).max):
            raise ValueError("an importance has to be finite and not negative")
        if most:
            weights, scale = np.broadcast_to(importance, weight.shape).reshape(shape), _power_below(most)
    return [
        _Group(parts[:, at], _power_below(_magnitude(parts[:, at])), None if weights is None else weights[:, at], scale, engine)
        for at in range(groups)
    ]


def _magnitude(part: Array) -> float:
    """The largest one of a group.

    Raises:
        NotFiniteError: the group holds NaN or infinite values.
    """
    outer, vectors, size, inner = part.shape
    most = 0.0
    for at in strips((outer, vectors, size * inner), 1, CHUNK):
        piece = part.reshape(outer, vectors, size * inner)[at]
        found = float(magnitudes(keys_of(piece)).max().view(part.dtype))
        if not math.isfinite(found):
            raise NotFiniteError
        most = max(most, found)
    return most


def _power_below(most: float) -> float:
    """A power of two that takes magnitudes up to `most` below 2; one that a float32 is multiplied by without loss."""
    return 2.0 ** min(100, -math.frexp(most)[1] + 1) if most else 1.0


def _unscaled(loss: Loss, factor: float) -> Loss:
    return Loss(loss.signal / factor**2, loss.noise / factor**2, loss.worst / factor)


def _code_pieces(shape: tuple[int, int, int], groups: int) -> Iterator[tuple[slice, list[tuple[int, slice]], slice]]:
    """Cuts codes `[outer, groups · run, inner]` into contiguous pieces, in C order, and these into parts of one group, given its run."""
    outer, run, inner = shape
    if groups * run * inner <= CHUNK:
        for rows, _, places in strips((outer, groups * run, inner), 1, CHUNK):
            yield _bounded(rows, outer), [(group, slice(0, run)) for group in range(groups)], _bounded(places, inner)
        return
    for row in range(outer):
        for group in range(groups):
            for _, at, places in strips((1, run, inner), 1, CHUNK):
                yield slice(row, row + 1), [(group, at)], _bounded(places, inner)


def _bounded(at: slice, length: int) -> slice:
    return slice(*at.indices(length))


def _stored(table: Array, entries: int, factor: float, dtype: np.dtype[Any]) -> Array:
    """A scaled table as it is stored: rounded, in lexicographic order, and as long as asked for."""
    rounded = (table.astype(np.float64) / factor).astype(dtype)
    ordered = rounded[np.lexsort(rounded.T[::-1])]
    return np.concatenate([ordered, np.repeat(ordered[-1:], entries - len(ordered), axis=0)])


def _fit(group: _Group, entries: int, seed: int) -> Array:
    """A scaled table of up to `entries` vectors."""
    if not group.count:
        return np.zeros((1, group.size), np.float32)
    spread, weights = group.spread(SPREAD)
    distinct = _distinct(group, _counted(spread, weights), entries)
    if distinct is not None:
        return distinct
    random = np.random.Generator(np.random.PCG64(seed))
    center = spread.mean(axis=1, dtype=np.float64).astype(np.float32)
    if group.count <= LARGER_SAMPLE:
        x, weights = _joined(group.chunks())
    else:
        x, weights = _sample(group.chunks, group.count, center, LARGER_SAMPLE, random)
    few = max(SAMPLE, SAMPLE_PER_ENTRY * entries)
    if few < x.shape[1]:
        starts = _starts(*_sample(lambda: iter([(x, weights)]), x.shape[1], center, few, random), entries, random, group.engine)
    else:
        starts = _starts(x, weights, entries, random, group.engine)
    table, _ = _lloyd(x, weights, min(starts, key=lambda start: start[1])[0], ROUNDS, TOLERANCE, group.engine)
    return _lloyd_streamed(group, table) if x.shape[1] < group.count else table


def _joined(chunks: Chunks) -> tuple[Array, Array | None]:
    x, weights = zip(*chunks, strict=True)
    return np.concatenate(x, axis=1), None if weights[0] is None else np.concatenate(weights, axis=1)


def _sample(
    chunks: Callable[[], Chunks], count: int, center: Array, wanted: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """A weighted sample that costs about as much as all vectors do, whatever the table: (vectors, weights), both `[size, wanted]`.

    Half of it is drawn evenly, half with chances as squared distances from the center, so that the few vectors far out that most of the
    cost may lie in are there; weights are one by the chances. These are the lightweight coresets of Bachem, Lucic and Krause (2018).
    One vector is drawn of each run of equal chances.
    """
    total = sum(float(_distances(x, weights, center).sum(dtype=np.float64)) for x, weights in chunks())
    share = count / total if total else 0.0
    marks = (np.arange(wanted) + random.random(wanted)) * ((2 * count if total else count) / wanted)
    found: list[tuple[Array, Array]] = []
    reached, taken = 0.0, 0
    for x, weights in chunks():
        chances = 1 + _distances(x, weights, center).astype(np.float64) * share
        sums = reached + np.cumsum(chances)
        reached = float(sums[-1])
        until = int(np.searchsorted(marks, reached))
        at = np.searchsorted(sums, marks[taken:until], side="right")
        taken = until
        drawn = (1 / chances[at]).astype(np.float32)
        found.append((x[:, at], np.broadcast_to(drawn, (len(x), at.size)) if weights is None else weights[:, at] * drawn))
    return np.concatenate([x for x, _ in found], axis=1), np.concatenate([scales for _, scales in found], axis=1)


def _distinct(group: _Group, spread: Array, entries: int) -> Array | None:
    """The distinct vectors of a group that count, if there are no more than entries; a vector of zeros where none does."""
    known = _unique(spread.T)
    if len(known) > entries:
        return None
    for x, weights in group.chunks():
        counted = _counted(x, weights)
        others = counted[:, ~_is_known(counted, known, group.engine)] if len(known) else counted
        if others.size:
            known = _unique(np.concatenate([known, others.T]))
        if len(known) > entries:
            return None
    return known if len(known) else np.zeros((1, group.size), np.float32)


def _counted(x: Array, weights: Array | None) -> Array:
    """The vectors of which some element is of importance."""
    return x if weights is None else x[:, weights.any(axis=0)]


def _is_known(x: Array, known: Array, engine: Engine) -> npt.NDArray[np.bool_]:
    codes = np.empty(x.shape[1], np.uint8)
    engine.nearest(x, None, known, codes, np.empty(codes.size, np.float32))
    found: npt.NDArray[np.bool_] = (x == known[codes].T).all(axis=0)
    return found


def _unique(rows: Array) -> Array:
    """Distinct rows in lexicographic order. NumPy's own way compares rows as bytes, one by one, and takes ten times as long."""
    if not len(rows):
        return rows
    ordered = rows[np.lexsort(rows.T[::-1])]
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.ascontiguousarray(ordered[np.concatenate([[True], differs])])


def _starts(
    x: Array, weights: Array | None, entries: int, random: np.random.Generator, engine: Engine
) -> Iterator[tuple[Array, float]]:
    """Tables by k-means++ and some rounds of Lloyd's algorithm, with their costs."""
    for _ in range(min(MOST_STARTS, max(STARTS, COMPARED // (x.shape[1] * entries)))):
        draws = random.random((entries, 2 + int(math.log(entries))))
        yield _lloyd(x, weights, engine.seed(x, weights, draws), FIRST_ROUNDS, TOLERANCE, engine)


def _lloyd(x: Array, weights: Array | None, table: Array, rounds: int, tolerance: float, engine: Engine) -> tuple[Array, float]:
    """Lloyd's algorithm until a round gains less than a share of the cost: the table, and the cost of the one before it.

    Entries that no vector is nearest to are moved to the vectors that are farthest from theirs.
    """
    codes, best = np.empty(x.shape[1], np.uint8), np.empty(x.shape[1], np.float32)
    before = math.inf
    for _ in range(rounds):
        engine.nearest(x, weights, table, codes, best)
        sums = _Sums.of(table)
        engine.gather(x, weights, codes, best, sums.values, sums.weights, sums.costs)
        table, cost = sums.means(table), float(sums.costs.sum())
        empty = np.flatnonzero(~sums.weights.any(axis=1))
        if empty.size:
            farthest = np.argsort(-best, kind="stable")[: empty.size]
            table[empty[: farthest.size]] = x[:, farthest].T
        elif before - cost <= tolerance * cost:
            return table, cost
        before = cost
    return table, before


def _lloyd_streamed(group: _Group, table: Array) -> Array:
    """Some rounds over the whole group, a chunk at a time."""
    before = math.inf
    for _ in range(LAST_ROUNDS):
        sums = _Sums.of(table)
        for x, weights in group.chunks():
            codes, best = np.empty(x.shape[1], np.uint8), np.empty(x.shape[1], np.float32)
            group.engine.nearest(x, weights, table, codes, best)
            part = _Sums.of(table)
            group.engine.gather(x, weights, codes, best, part.values, part.weights, part.costs)
            sums.add(part)
        table, cost = sums.means(table), float(sums.costs.sum())
        if before - cost <= LAST_TOLERANCE * cost:
            break
        before = cost
    return table


@frozen(eq=False)
class _Sums:
    """Σhx and Σh of each entry's vectors, `[entries, size]`, and their cost."""

    values: Array
    weights: Array
    costs: Array

    @staticmethod
    def of(table: Array) -> _Sums:
        return _Sums(np.zeros(table.shape), np.zeros(table.shape), np.zeros(len(table)))

    def add(self, other: _Sums) -> None:
        np.add(self.values, other.values, out=self.values)
        np.add(self.weights, other.weights, out=self.weights)
        np.add(self.costs, other.costs, out=self.costs)

    def means(self, table: Array) -> Array:
        """The table that is best for these vectors; what has no weight stays as it is in `table`."""
        found = np.where(self.weights > 0, self.values / np.where(self.weights > 0, self.weights, 1), table)
        return found.astype(np.float32)


def _load(part: Array, factor: float, out: Array) -> None:
    outer, vectors, size, inner = part.shape
    out.reshape(size, outer, vectors, inner)[...] = np.moveaxis(part, 2, 0)
    out *= np.float32(factor)


def _distances(x: Array, weights: Array | None, entry: Array) -> Array:
    """Σ h·(x - entry)², one element of the vectors after the other."""
    found = np.zeros(x.shape[1], np.float32)
    for at in range(len(x)):
        off = x[at] - entry[at]
        off *= off
        found += off if weights is None else weights[at] * off
    return found


def _nearest(x: Array, weights: Array | None, table: Array, codes: Array, best: Array) -> None:
    for start in range(0, x.shape[1], BLOCK):
        at = slice(start, start + BLOCK)
        near, code = best[at], codes[at]
        near[:] = np.inf
        code[:] = 0
        for index, entry in enumerate(table):
            distance = _distances(x[:, at], None if weights is None else weights[:, at], entry)
            less = distance < near
            np.copyto(near, distance, where=less)
            code[less] = index


def _gather(x: Array, weights: Array | None, codes: Array, best: Array, values: Array, totals: Array, costs: Array) -> None:
    entries = len(costs)
    costs += np.bincount(codes, best, entries)
    if weights is None:
        totals += np.bincount(codes, minlength=entries)[:, None]
    for at in range(len(x)):
        if weights is None:
            values[:, at] += np.bincount(codes, x[at], entries)
        else:
            totals[:, at] += np.bincount(codes, weights[at], entries)
            values[:, at] += np.bincount(codes, weights[at].astype(np.float64) * x[at], entries)


def _seed(x: Array, weights: Array | None, draws: Array) -> Array:
    """Each entry is the best of some vectors that are drawn with chances as their costs so far."""
    count = x.shape[1]
    table = np.empty((len(draws), len(x)), np.float32)
    table[0] = x[:, int(draws[0, 0] * count)]
    nearest = _distances(x, weights, table[0])
    for at in range(1, len(draws)):
        sums = np.cumsum(nearest, dtype=np.float64)
        drawn = np.minimum(np.searchsorted(sums, draws[at] * sums[-1], side="right"), count - 1)
        nears = [np.minimum(nearest, _distances(x, weights, x[:, candidate])) for candidate in drawn]
        costs = [float(np.cumsum(near, dtype=np.float64)[-1]) for near in nears]
        least = costs.index(min(costs))
        table[at], nearest = x[:, drawn[least]], nears[least]
    return table


def _loss(x: Array, table: Array, codes: Array) -> Loss:
    off = (x - table[codes].T).astype(np.float64)
    return Loss(float(np.square(x, dtype=np.float64).sum()), float(np.square(off).sum()), float(np.abs(off).max(initial=0.0)))


NUMPY: Final = Engine(_load, _nearest, _gather, _seed, _loss)
"""The reference."""
