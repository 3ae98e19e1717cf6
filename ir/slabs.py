"""Shapes in which parameters stand for blocks of elements, and their cutting into slabs: runs of C order that stay in cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.diagnostics import EvaluationError
from ir.tensors import Array

MAX_RANK: Final = 32
"""What an array can have in every supported NumPy, once each blocked axis is split in two."""

Slices: TypeAlias = tuple[slice, ...]


@frozen
class Split:
    """A shape in which every axis that some parameter divides into blocks is two axes, (blocks, elements of a block).

    So blocks are plain broadcasting: `narrow` holds, by name, the shape that lets a parameter broadcast over `shape`. `axes` says where
    each original axis went, the inner one of a pair.
    """

    shape: tuple[int, ...]
    narrow: Mapping[str, tuple[int, ...]]
    axes: tuple[int, ...]


def split_of(shape: tuple[int, ...], parts: Mapping[str, tuple[int, ...]]) -> Split:
    """The shape, split by the blocks of parameters: `parts` says how many each has on every axis.

    Raises:
        EvaluationError: a parameter has another rank, blocks that do not divide an axis, or others than another parameter has.
    """
    for name, counts in parts.items():
        if len(counts) != len(shape):
            raise EvaluationError(f"{name} has to have the rank of the data {show_shape(shape)}, and is {show_shape(counts)}")
        for axis, (dim, count) in enumerate(zip(shape, counts, strict=True)):
            if count < 1 or dim % count:
                raise EvaluationError(f"{name} has {count} blocks on axis {axis}, which do not divide its {dim} elements")
    wide: list[int] = []
    axes: list[int] = []
    narrow: dict[str, list[int]] = {name: [] for name in parts}
    for axis, dim in enumerate(shape):
        blocks = max(counts[axis] for counts in parts.values())
        paired = 1 < blocks < dim
        wide += (blocks, dim // blocks) if paired else (dim,)
        axes.append(len(wide) - 1)
        for name, counts in parts.items():
            if counts[axis] not in (1, blocks):
                raise EvaluationError(f"{' and '.join(parts)} have different blocks on axis {axis}: {counts[axis]} and {blocks}")
            narrow[name] += (counts[axis], 1) if paired else (counts[axis],)
    if len(wide) > MAX_RANK:
        raise EvaluationError(f"blocks on the axes of a tensor of rank {len(shape)} are too many dimensions")
    return Split(tuple(wide), {name: tuple(dims) for name, dims in narrow.items()}, tuple(axes))


def slabs(shape: tuple[int, ...], last: int | None = None, *, limit: int) -> Iterator[Slices]:
    """Cuts a shape into runs of C order of at most `limit` elements; of more where it takes that to cut none behind axis `last`."""
    if 0 in shape:
        return
    axis, inner = len(shape), 1
    while axis > 0 and inner * shape[axis - 1] <= limit:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield tuple(slice(0, dim) for dim in shape)
        return
    axis -= 1
    if last is not None and last < axis:
        axis, inner = last, math.prod(shape[last + 1 :])
    step = max(1, limit // inner)
    rest = tuple(slice(0, dim) for dim in shape[axis + 1 :])
    for outer in product(*map(range, shape[:axis])):
        before = tuple(slice(i, i + 1) for i in outer)
        for start in range(0, shape[axis], step):
            yield (*before, slice(start, min(shape[axis], start + step)), *rest)


def shape_of(at: Slices) -> tuple[int, ...]:
    """The shape of a slab."""
    return tuple(cut.stop - cut.start for cut in at)


def under(part: Array, at: Slices) -> Array:
    """What of a parameter broadcasts over a slab."""
    return part[tuple(slice(None) if dim == 1 else cut for dim, cut in zip(part.shape, at, strict=True))]


def places_of(mask: Array) -> Array:
    """Where the elements of a mask are set, in C order. NumPy is several times faster at it with truth values."""
    return np.flatnonzero(mask != 0)


def kept_of(narrow: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """What a parameter that broadcasts over a slab has at some places of it, in C order; one value where it has but one.

    Measured: to take places that were looked for first is four to six times faster than to index with a mask.
    """
    if narrow.size == 1:
        return narrow.reshape(1)
    taken: Array = np.broadcast_to(narrow, shape).reshape(-1).take(places)
    return taken


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        EvaluationError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise EvaluationError(f"axis {axis} is outside of a tensor of rank {rank}")
    return axis % rank


def along(values: Array, name: str, shape: tuple[int, ...], axis: int) -> Array:
    """A scalar, or a vector along `axis`, in the rank of `shape`.

    Raises:
        EvaluationError: it is neither.
    """
    if values.ndim > 1 or (values.ndim == 1 and values.size != shape[axis]):
        found = show_shape(values.shape)
        raise EvaluationError(f"{name} has to be a scalar, or have the {shape[axis]} elements of axis {axis}, and is {found}")
    return values.reshape([values.size if i == axis else 1 for i in range(len(shape))])


def show_shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
