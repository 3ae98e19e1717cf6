"""Pruning: ŵ = w where a mask is 1, and 0 elsewhere; the mask and the kept values, streamed.

Which elements are pruned is a `Cut`, found by a `choose_…` function in a pass or two over the weight; `apply_cut` goes over it once more
and emits mask and values. Nothing is sorted and nothing is copied but pieces: elements and blocks are ranked by the bits of a magnitude,
which are ordered as the magnitudes are, so that a histogram of keys of 15 or 16 bits, or two, has the threshold in it.

Two rules hold for every cut. **Zeros are always pruned**, so nothing is stored that a mask expresses (-0.0 comes back as 0.0). And where
elements rank the same, the one with the lowest flat index is pruned first.

Weights are views `[outer, channels, inner]`, contiguous in C order (`affine.channel_view`); the middle axis is the one that blocks and
n:m groups lie along, and an importance broadcasts over the three.

This module is the NumPy reference; `sparsity_kernels` has the same engine compiled: equal masks and values, bit for bit.

Measured on one core, choice and application together, 75 % of 16.8 M normal fp16 elements: 0.23 GB/s of the weight, and 1.4
compiled (`tests/bench/sparsity.py`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from attrs import evolve, frozen

from mlpasses.numerics.affine import Array, Emit, Loss, NotFiniteError
from mlpasses.numerics.bits import keys_of, magnitudes
from mlpasses.numerics.pieces import strips

LARGEST: Final = np.uint32(0x7F7FFFFF)
"""The key of the largest finite float32."""
FINE_BITS: Final = 15
"""How many bits of a float32's 31-bit key the second histogram resolves; the first one has the 16 above."""


class Engine(NamedTuple):
    """Who does the work on elements. Keys are floats as unsigned integers (uint16 or uint32); their sign bit is ignored.

    - `survey(keys, bound)`: how many keys are below the bound, and the greatest one.
    - `histogram(keys, counts)`: `counts[key] += 1` for 16-bit keys, and for those of 32 bits `counts[key >> 15] += 1`.
    - `histogram_within(keys, prefix, counts)`: `counts[key mod 2¹⁵] += 1` for the keys with `key >> 15 == prefix`.
    - `mark(keys, bound, ties, keep)`: 1 where a key is above the bound, or is the bound and no tie is left; how many ties are left then.
    - `mark_groups(keys, n, m, keep)`: 0 for the n least of every m along the middle axis, and 1 for the others.
    - `scores(weight, importance)`: the keys of |w|·√importance.
    - `norms(weight, size)`: the keys of the L2 norms of the blocks of `size` along the middle axis.
    - `loss(values, keep)`: what pruning costs.
    - `compact(values, keep, out)`: writes the kept values to `out`, which has a place more than there are values; how many there are.

    `chunk` is how many elements they are best handed at a time, a multiple of 8.
    """

    survey: Callable[[Array, int], tuple[int, int]]
    histogram: Callable[[Array, Array], None]
    histogram_within: Callable[[Array, int, Array], None]
    mark: Callable[[Array, int, int, Array], int]
    mark_groups: Callable[[Array, int, int, Array], None]
    scores: Callable[[Array, Array], Array]
    norms: Callable[[Array, int], Array]
    loss: Callable[[Array, Array], Loss]
    compact: Callable[[Array, Array, Array], int]
    chunk: int


@frozen(eq=False)
class Cut(ABC):
    """What is pruned of a weight."""

    zeros: int
    """How many elements of the result are zero: all that are pruned."""

    @abstractmethod
    def pieces(self, weight: Array, engine: Engine) -> Iterator[tuple[Array, Array]]:
        """The weight in pieces, in C order: values and flags (uint8, 1 where a value is kept), both flat."""


@frozen(eq=False)
class ElementCut(Cut):
    """Elements whose key is below `bound`, and the first `ties` whose key it is."""

    bound: int
    ties: int
    importance: Array | None = None
    """Where there is one, keys are those of `Engine.scores`; else those of the elements."""

    def pieces(self, weight: Array, engine: Engine) -> Iterator[tuple[Array, Array]]:
        ties = self.ties
        for values, keys in _ranked(weight, self.importance, engine):
            keep = np.empty(values.size, np.uint8)
            ties = engine.mark(keys, self.bound, ties, keep)
            yield values, keep


@frozen(eq=False)
class GroupCut(Cut):
    """n of every m along the channels, those of least magnitude."""

    n: int
    m: int

    def pieces(self, weight: Array, engine: Engine) -> Iterator[tuple[Array, Array]]:
        for at in strips(weight.shape, self.m, engine.chunk):
            part = weight[at]
            keep = np.empty(part.shape, np.uint8)
            engine.mark_groups(keys_of(part), self.n, self.m, keep)
            yield _without_zeros(part, keep)


@frozen(eq=False)
class BlockCut(Cut):
    """Blocks of `size` along the channels, those whose norm's key is below `bound`, and the first `ties` whose key it is."""

    size: int
    bound: int
    ties: int

    def pieces(self, weight: Array, engine: Engine) -> Iterator[tuple[Array, Array]]:
        ties = self.ties
        for at in strips(weight.shape, self.size, engine.chunk):
            part = weight[at]
            keys = engine.norms(part, self.size)
            keep = np.empty(keys.shape, np.uint8)
            ties = engine.mark(keys.reshape(-1), self.bound, ties, keep.reshape(-1))
            yield _without_zeros(part, np.repeat(keep, self.size, axis=1)[:, : part.shape[1]])


def choose_magnitude(weight: Array, sparsity: float, engine: Engine, importance: Array | None = None) -> Cut:
    """Prunes floor(sparsity · elements) elements, those of least magnitude; all zeros and nothing else where there are more of them.

    An importance is the weight of an element's squared error: what ranks is importance · w², compared as |w|·√importance in float32,
    which does not vanish where w² would. A zero ranks below everything else, whatever its importance.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: the sparsity is not in [0, 1], or an importance is negative or not finite.
    """
    if importance is not None and importance.size and not (importance.min() >= 0 and importance.max() <= np.finfo(np.float32).max):
        raise ValueError("an importance has to be finite and not negative")
    wanted = max(_wanted(sparsity, weight.size), _count_below(weight, 1, engine))
    bits = 15 if importance is None and weight.itemsize == 2 else 31
    bound, ties = _least(lambda: (keys for _, keys in _ranked(weight, importance, engine)), bits, wanted, engine)
    return ElementCut(wanted, bound, ties, importance)


def choose_threshold(weight: Array, threshold: float, engine: Engine) -> Cut:
    """Prunes the elements with |w| ≤ threshold, compared as the real numbers that they are; with 0, the zeros that there are.

    coremltools rounds the threshold to the weight's type first, and so prunes one value more where that rounds up. Whether a weight
    has become sparse enough to be stored so is for the caller to say, by `zeros`.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: the threshold is negative or NaN.
    """
    if not threshold >= 0:
        raise ValueError(f"a threshold has to be 0 or more, and is {threshold}")
    bound = _floor_key(threshold, weight.dtype) + 1
    return ElementCut(_count_below(weight, bound, engine), bound, 0)


def choose_n_of_m(weight: Array, n: int, m: int, engine: Engine) -> Cut:
    """Prunes the n elements of least magnitude of every m that follow one another along the channels.

    As in coremltools, channels that m does not divide are thought to go on with zeros, which count: of the last r = channels mod m, only
    n - (m - r) are pruned, if that is positive. And further zeros of a group are pruned too.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: not 0 ≤ n ≤ m, or m is not positive.
    """
    if not 0 <= n <= m or m < 1:
        raise ValueError(f"n:m has to be 0 ≤ n ≤ m with m ≥ 1, and is {n}:{m}")
    outer, channels, inner = weight.shape
    cut = GroupCut(outer * inner * (channels // m * n + max(0, n - m + channels % m)), n, m)
    return evolve(cut, zeros=_count_pruned(cut, weight, engine)) if _count_below(weight, 1, engine) else cut


def choose_blocks(weight: Array, size: int, sparsity: float, engine: Engine) -> Cut:
    """Prunes floor(sparsity · blocks) blocks of `size` elements along the channels, those of least L2 norm, and any other zeros.

    Norms are sums of squares in float64, in order, and are compared as float32 numbers. What channels leave over is a block of fewer
    elements, at each place of the other axes: as in coremltools, which fills it with zeros. There a percentile over all elements decides,
    and prunes every block that ties with it; here the number of blocks is exact.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        ValueError: the sparsity is not in [0, 1], or the size is not positive.
    """
    if size < 1:
        raise ValueError(f"a block has to have an element or more, and has {size}")
    outer, channels, inner = weight.shape
    wanted = _wanted(sparsity, outer * -(-channels // size) * inner)
    zeros = _count_below(weight, 1, engine)
    parts = list(strips(weight.shape, size, engine.chunk))
    bound, ties = _least(lambda: (engine.norms(weight[at], size).reshape(-1) for at in parts), 31, wanted, engine)
    cut = BlockCut(wanted * size, size, bound, ties)
    return evolve(cut, zeros=_count_pruned(cut, weight, engine)) if zeros or channels % size else cut


def apply_cut(weight: Array, cut: Cut, engine: Engine, emit_mask: Emit, emit_kept: Emit) -> Loss:
    """Emits the mask of a weight and the values that it keeps, in C order, and says what was lost.

    `emit_mask(position, bytes)` gets the mask a bit an element, the least significant one first, bits behind the last element 0; its
    position counts bytes. `emit_kept(position, values)` gets the values, from a buffer that is used again; its position counts values.
    Pieces follow one another without a gap. Private memory is that of a few pieces: of `engine.chunk` elements, or of a group or block
    at every place of the inner axis, where that is more.
    """
    loss = Loss()
    written = kept = 0
    open_flags = np.empty(0, np.uint8)
    buffer = np.empty(0, weight.dtype)
    for values, keep in cut.pieces(weight, engine):
        loss += engine.loss(values, keep)
        if buffer.size <= values.size:
            buffer = np.empty(values.size + 1, weight.dtype)
        count = engine.compact(values, keep, buffer)
        if count:
            emit_kept(kept, buffer[:count])
            kept += count
        flags = np.concatenate([open_flags, keep]) if open_flags.size else keep
        whole = flags.size // 8 * 8
        open_flags = flags[whole:]
        if whole:
            emit_mask(written, np.packbits(flags[:whole], bitorder="little"))
            written += whole // 8
    if open_flags.size:
        emit_mask(written, np.packbits(open_flags, bitorder="little"))
    return loss


def _wanted(sparsity: float, count: int) -> int:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"a sparsity has to be from 0 to 1, and is {sparsity}")
    return math.floor(sparsity * count)


def _floor_key(value: float, dtype: np.dtype[np.floating]) -> int:
    """The key of the largest finite number of a type that is not above `value`."""
    info = np.finfo(dtype)
    nearest = dtype.type(min(value, float(info.max)))
    if float(nearest) > value:
        nearest = np.nextafter(nearest, dtype.type(0))
    return int(nearest.view(f"u{dtype.itemsize}"))


def _least(keys: Callable[[], Iterator[Array]], bits: int, wanted: int, engine: Engine) -> tuple[int, int]:
    """(bound, ties): `wanted` keys, of 15 or 31 bits without their sign, are below the bound or among its ties, the least ones."""
    counts = np.zeros(1 << (bits if bits <= 16 else bits - FINE_BITS), np.int64)
    for part in keys():
        engine.histogram(part, counts)
    prefix, below = _split(counts, wanted)
    if bits <= 16:
        return prefix, wanted - below
    if prefix == counts.size:
        return 1 << bits, 0
    fine = np.zeros(1 << FINE_BITS, np.int64)
    for part in keys():
        engine.histogram_within(part, prefix, fine)
    rest, before = _split(fine, wanted - below)
    return (prefix << FINE_BITS) + rest, wanted - below - before


def _split(counts: Array, wanted: int) -> tuple[int, int]:
    """The last key that has no more than `wanted` keys below it, and how many these are."""
    sums = np.cumsum(counts)
    key = int(np.searchsorted(sums, wanted, side="right"))
    return key, int(sums[key - 1]) if key else 0


def _count_below(weight: Array, bound: int, engine: Engine) -> int:
    """How many elements have a key below `bound`.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
    """
    infinite = int(np.array(np.inf, weight.dtype).view(f"u{weight.dtype.itemsize}"))
    found = 0
    flat = weight.reshape(-1)
    for start in range(0, flat.size, engine.chunk):
        below, greatest = engine.survey(keys_of(flat[start : start + engine.chunk]), bound)
        if greatest >= infinite:
            raise NotFiniteError
        found += below
    return found


def _count_pruned(cut: Cut, weight: Array, engine: Engine) -> int:
    return sum(keep.size - int(np.count_nonzero(keep)) for _, keep in cut.pieces(weight, engine))


def _ranked(weight: Array, importance: Array | None, engine: Engine) -> Iterator[tuple[Array, Array]]:
    """Values and keys of the pieces of a weight, both flat; pieces are of a multiple of 8 elements where the layout lets them."""
    if importance is None:
        flat = weight.reshape(-1)
        for start in range(0, flat.size, engine.chunk):
            part = flat[start : start + engine.chunk]
            yield part, keys_of(part)
        return
    wide = np.broadcast_to(importance, weight.shape)
    for at in strips(weight.shape, 1, engine.chunk):
        part = weight[at].reshape(-1)
        yield part, engine.scores(part, wide[at].reshape(-1))


def _without_zeros(part: Array, keep: Array) -> tuple[Array, Array]:
    """Values and flags of a piece, flat, with zeros not kept."""
    return part.reshape(-1), (keep & (magnitudes(keys_of(part)) != 0)).reshape(-1)


def _survey(keys: Array, bound: int) -> tuple[int, int]:
    plain = magnitudes(keys)
    return int(np.count_nonzero(plain < bound)), int(plain.max())


def _histogram(keys: Array, counts: Array) -> None:
    counts += np.bincount(magnitudes(keys) >> (0 if keys.itemsize == 2 else FINE_BITS), minlength=counts.size)


def _histogram_within(keys: Array, prefix: int, counts: Array) -> None:
    plain = magnitudes(keys)
    within = plain[plain >> FINE_BITS == prefix] & ((1 << FINE_BITS) - 1)
    counts += np.bincount(within, minlength=counts.size)


def _mark(keys: Array, bound: int, ties: int, keep: Array) -> int:
    plain = magnitudes(keys)
    np.greater_equal(plain, bound, out=keep.view(np.bool_))
    if not ties:
        return 0
    tied = np.flatnonzero(plain == bound)[:ties]
    keep[tied] = 0
    return ties - tied.size


def _mark_groups(keys: Array, n: int, m: int, keep: Array) -> None:
    outer, channels, inner = keys.shape
    whole = channels // m * m
    _mark_least(keys[:, :whole].reshape(outer, -1, m, inner), n, keep[:, :whole].reshape(outer, -1, m, inner))
    rest = channels - whole
    _mark_least(keys[:, None, whole:], max(0, n - m + rest), keep[:, None, whole:])


def _mark_least(keys: Array, n: int, keep: Array) -> None:
    """For keys `[outer, groups, size, inner]`.

    Ranks by comparing pairs: 2 to 4 ns an element at a size of 4, where sorting such short runs takes 13 to 300.
    """
    size = keys.shape[2]
    plain = magnitudes(keys)
    before = np.zeros(keys.shape, np.uint8 if size < 256 else np.uint32)
    for later in range(size):
        for earlier in range(later):
            first = plain[:, :, earlier] <= plain[:, :, later]
            before[:, :, later] += first
            before[:, :, earlier] += ~first
    np.greater_equal(before, n, out=keep.view(np.bool_))


def _scores(weight: Array, importance: Array) -> Array:
    with np.errstate(over="ignore"):
        found = (np.abs(weight.astype(np.float64)) * np.sqrt(importance.astype(np.float32).astype(np.float64))).astype(np.float32)
    keys: Array = np.clip(found.view(np.uint32), 1, LARGEST)
    keys[weight == 0] = 0
    return keys


def _norms(weight: Array, size: int) -> Array:
    outer, channels, inner = weight.shape
    sums = np.zeros((outer, -(-channels // size), inner))
    for at in range(size):
        values = weight[:, at::size].astype(np.float64)
        sums[:, : values.shape[1]] += values * values
    with np.errstate(over="ignore"):
        return np.sqrt(sums).astype(np.float32).view(np.uint32)


def _loss(values: Array, keep: Array) -> Loss:
    squares = np.square(values, dtype=np.float64)
    signal = float(squares.sum())  # no dot product: the threads of BLAS wait for one another where all processors are busy
    pruned = keep ^ 1  # to multiply takes a tenth of the time of picking
    squares *= pruned
    worst = (magnitudes(keys_of(values)) * pruned).max(initial=0)
    return Loss(signal, float(squares.sum()), float(worst.view(values.dtype)))


def _compact(values: Array, keep: Array, out: Array) -> int:
    kept = values[keep.view(np.bool_)]
    out[: kept.size] = kept
    return kept.size


NUMPY: Final = Engine(_survey, _histogram, _histogram_within, _mark, _mark_groups, _scores, _norms, _loss, _compact, 1 << 16)
"""The reference."""
