"""Codes beside masks: which of them a mask keeps, and masks of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.affine import Array

Emit = Callable[[int, npt.NDArray[Any]], None]


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
