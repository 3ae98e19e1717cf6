"""Codes beside masks: which of them a mask keeps, masks of vectors, and how many indices are of each entry of a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlpasses.forms.canonical import repeated_array
from mlpasses.forms.form import Form, Indexed
from mlpasses.numerics.affine import Array

Emit = Callable[[int, npt.NDArray[Any]], None]

CHUNK: Final = 1 << 18
"""Indices that are counted at a time."""


class Kept:
    """An `emit` for the codes of all elements that hands on those whose flag is set: in order, so that they are a vector without gaps."""

    def __init__(self, flags: Array, emit: Emit) -> None:
        """`flags` has a 1 for each element that is kept, in C order."""
        self._flags = flags.reshape(-1).view(np.bool_)
        self._emit = emit
        self._count = 0

    def __call__(self, position: int, codes: npt.NDArray[Any]) -> None:
        flat = codes.reshape(-1)
        kept = flat.take(np.flatnonzero(self._flags[position : position + flat.size]))
        if kept.size:
            self._emit(self._count, kept)
            self._count += kept.size


def of_vectors(flags: Array, shape: tuple[int, ...], axis: int, vector: int) -> Array:
    """The flags of vectors along an axis, of those of their elements: one is kept if any of its elements is."""
    split = (*shape[:axis], shape[axis] // vector, vector, *shape[axis + 1 :])
    flagged: Array = flags.reshape(split).max(axis=axis + 1)
    return flagged


def taken(codes: Array, flags: Array) -> Array:
    """The codes whose flag is set, in C order. (To index with a mask takes four times as long.)"""
    found: Array = codes.reshape(-1).take(np.flatnonzero(flags.reshape(-1)))
    return found


def share_used(form: Form) -> float | None:
    """The share of the entries of its tables that indices are of; None where it has no tables."""
    if not isinstance(form.values, Indexed):
        return None
    counts = uses(form)
    return float(np.count_nonzero(counts)) / counts.size


def uses(form: Form) -> npt.NDArray[np.intp]:
    """How many of its indices are of each entry of the tables of a palettized weight: `[*blocks, entries]`."""
    values, mask = form.values, form.mask
    assert isinstance(values, Indexed)  # or it would have no tables
    *blocks, entries, _ = values.tables
    indices = values.indices.numpy()
    flags = None if mask is None else mask.numpy().view(np.bool_)
    rows, *others = indices.shape if flags is None else flags.shape
    tables, counts = np.arange(math.prod(blocks)).reshape(blocks), np.zeros(math.prod(blocks) * entries, np.intp)
    step, counted = max(1, CHUNK // math.prod(others)), 0
    for start in range(0, rows, step):
        at = np.arange(start, min(start + step, rows))
        used = repeated_array(tables[at * blocks[0] // rows], (at.size, *others))
        used = used.reshape(-1) if flags is None else used[flags[start : start + step]]
        codes = indices.reshape(-1)[counted : counted + used.size]
        counted += used.size
        counts += np.bincount(used * entries + codes, minlength=counts.size)
    return counts.reshape(*blocks, entries)
