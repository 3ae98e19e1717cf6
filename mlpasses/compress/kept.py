"""Codes beside masks: which of them a mask keeps, masks of vectors, and how many indices are of each entry of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ir.expansion import check_count
from ir.flows import SLAB, Computed, Flow, Room, of_tensor, ones_of, parts
from ir.slabs import kept_of, places_of, shape_of, slabs, split_of, under
from mlpasses.forms.form import Form, Indexed
from mlpasses.numerics.affine import Array

Emit = Callable[[int, npt.NDArray[Any]], None]

CHUNK: Final = 1 << 18
"""Indices that are counted at a time."""


class Kept:
    """An `emit` for the codes of all elements, in order, that hands on those whose flag is set: a vector without gaps."""

    def __init__(self, flags: Flow, emit: Emit) -> None:
        """`flags` has a 1 for each element that is kept, in C order."""
        self._read = flags.reader()
        self._emit = emit
        self._position = 0
        self.count = 0
        """How many it has handed on."""

    def __call__(self, position: int, codes: npt.NDArray[Any]) -> None:
        """Takes the next codes.

        Raises:
            ValueError: they are not the next.
        """
        if position != self._position:
            raise ValueError(f"codes come in order: {self._position} is next, and {position} came")
        flat = codes.reshape(-1)
        self._position += flat.size
        for start in range(0, flat.size, SLAB):
            part = flat[start : start + SLAB]
            kept = part.take(places_of(self._read(part.size)))
            if kept.size:
                self._emit(self.count, kept)
                self.count += kept.size


def flags_of_vectors(flags: Iterable[Array], shape: tuple[int, ...], axis: int, vector: int) -> Iterator[Array]:
    """The flags of vectors along an axis, in pieces, of those of their elements: a vector is kept if any of its elements is."""
    inner = math.prod(shape[axis + 1 :])
    unit = vector * inner
    held: list[Array] = []
    count = 0
    for part in flags:
        held.append(part.copy())
        count += part.size
        if count >= unit:
            joined = np.concatenate(held)
            end = count - count % unit
            yield joined[:end].reshape(-1, vector, inner).max(axis=1).reshape(-1)
            held, count = [joined[end:]], count - end


def mask_of_vectors(mask: Flow, axis: int, vector: int) -> Flow:
    """The mask of vectors along an axis, of one of elements."""

    def pieces(room: Room) -> Iterator[Array]:
        for part in flags_of_vectors(parts(mask), mask.shape, axis, vector):
            out = room(part.size)
            out[:] = part
            yield out

    shape = tuple(dim // vector if at == axis else dim for at, dim in enumerate(mask.shape))
    return Computed(shape, mask.dtype, pieces, 1 + mask.stages)


def share_used(form: Form) -> float | None:
    """The share of the entries of its tables that indices are of; None where it has no tables."""
    return share_of(uses(form)) if isinstance(form.values, Indexed) else None


def share_of(counts: npt.NDArray[np.intp]) -> float:
    """The share of the entries that anything uses, of how many indices are of each."""
    return float(np.count_nonzero(counts)) / counts.size


def uses(form: Form) -> npt.NDArray[np.intp]:
    """How many of its indices are of each entry of the tables of a palettized weight: `[*blocks, entries]`.

    Raises:
        EvaluationError: its mask does not keep as many elements as it has indices.
    """
    values, mask = form.values, form.mask
    assert isinstance(values, Indexed)  # or it would have no tables
    *blocks, entries, _ = values.tables
    split = split_of(values.indices.shape if mask is None else mask.shape, {"lut": tuple(blocks)})
    first = (np.arange(math.prod(blocks)) * entries).reshape(split.narrow["lut"])
    counts = np.zeros(first.size * entries, np.intp)
    indices, flags = of_tensor(values.indices), None if mask is None else of_tensor(mask)
    if flags is not None:
        check_count(indices, "indices_nonzero_data", ones_of(flags))
    read, read_mask = indices.reader(), None if flags is None else flags.reader()
    for at in slabs(split.shape, limit=CHUNK):
        shape, begins = shape_of(at), under(first, at)
        least = int(begins.min())  # tables of other slabs are not counted along
        begins = begins - least
        if read_mask is None:
            rows = np.add(read(math.prod(shape)).reshape(shape), begins, dtype=np.intp).reshape(-1)
        else:
            places = places_of(read_mask(math.prod(shape)))
            rows = np.add(read(places.size), kept_of(begins, places, shape), dtype=np.intp)
        found = np.bincount(rows)
        counts[least : least + found.size] += found
    return counts.reshape(*blocks, entries)
