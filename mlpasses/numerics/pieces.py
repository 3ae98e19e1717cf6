"""Views `[outer, channels, inner]` of weights, cut into pieces that are worked on one at a time, in C order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Protocol, cast

import numpy as np


def strips(shape: tuple[int, ...], unit: int, chunk: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cuts a view into contiguous pieces of about `chunk` elements, in C order, none of them cut inside `unit` channels."""
    outer, channels, inner = shape
    whole = slice(None)
    if 0 in shape:
        return
    unit = min(unit, channels)
    if channels * inner <= chunk or 1 < channels <= unit:
        step = max(1, chunk // (channels * inner))
        for first in range(0, outer, step):
            yield slice(first, first + step), whole, whole
        return
    width = chunk if unit == 1 and inner > chunk else inner
    step = max(1, chunk // (width * unit)) * unit
    for at, first, start in product(range(outer), range(0, channels, step), range(0, inner, width)):
        yield slice(at, at + 1), slice(first, first + step), slice(start, start + width)


class Readable(Protocol):
    """A weight that is read in contiguous pieces, in C order, as often as it takes: an array, or what computes its elements then.

    A piece is valid until the next is read.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def size(self) -> int: ...

    @property
    def itemsize(self) -> int: ...

    def reshape(self, shape: tuple[int, ...], /) -> Any: ...

    def __getitem__(self, at: Any, /) -> Any: ...


def of_groups(weight: Readable, at: slice) -> Readable:
    """Some groups of a view `[outer, groups, inner]`; the view itself where they are all, which need not be an array then."""
    return weight if at == slice(0, weight.shape[1]) else cast(Readable, weight[:, at])
