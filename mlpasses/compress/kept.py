"""Codes beside masks: which of them a mask keeps, masks of vectors, and how many indices are of each entry of a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ir.flows import SLAB, Flow, of_tensor
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
        self.count = 0
        """How many it has handed on."""

    def __call__(self, position: int, codes: npt.NDArray[Any]) -> None:
        flat = codes.reshape(-1)
        for start in range(0, flat.size, SLAB):
            part = flat[start : start + SLAB]
            kept = part.take(places_of(self._read(part.size)))
            if kept.size:
                self._emit(self.count, kept)
                self.count += kept.size


def of_vectors(flags: Array, shape: tuple[int, ...], axis: int, vector: int) -> Array:
    """The flags of vectors along an axis, of those of their elements: one is kept if any of its elements is."""
    split = (*shape[:axis], shape[axis] // vector, vector, *shape[axis + 1 :])
    flagged: Array = flags.reshape(split).max(axis=axis + 1)
    return flagged


def share_used(form: Form) -> float | None:
    """The share of the entries of its tables that indices are of; None where it has no tables."""
    return share_of(uses(form)) if isinstance(form.values, Indexed) else None


def share_of(counts: npt.NDArray[np.intp]) -> float:
    """The share of the entries that anything uses, of how many indices are of each."""
    return float(np.count_nonzero(counts)) / counts.size


def uses(form: Form) -> npt.NDArray[np.intp]:
    """How many of its indices are of each entry of the tables of a palettized weight: `[*blocks, entries]`."""
    values, mask = form.values, form.mask
    assert isinstance(values, Indexed)  # or it would have no tables
    *blocks, entries, _ = values.tables
    split = split_of(values.indices.shape if mask is None else mask.shape, {"lut": tuple(blocks)})
    first = (np.arange(math.prod(blocks)) * entries).reshape(split.narrow["lut"])
    counts = np.zeros(first.size * entries, np.intp)
    read, read_mask = of_tensor(values.indices).reader(), None if mask is None else of_tensor(mask).reader()
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
