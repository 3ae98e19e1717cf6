"""Views `[outer, channels, inner]` of weights, cut into pieces that are worked on one at a time, in C order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product


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
