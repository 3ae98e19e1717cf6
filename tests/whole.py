"""The functions of `ir.expansion` and `ir.statistics` over whole arrays, for tests that compare arrays."""

from __future__ import annotations

from collections.abc import Sequence

from ir import expansion
from ir.flows import SLAB, gathered, of_array
from ir.statistics import Difference, Statistics, difference_of, statistics_of
from ir.tensors import Array


def lut_to_dense(indices: Array, lut: Array, vector_axis: int | None = None, slab: int = SLAB) -> Array:
    """`looked_up` of a whole array."""
    return gathered(expansion.looked_up(of_array(indices), lut, vector_axis, slab))


def packed_lut_to_dense(indices: Array, lut: Array, shape: Sequence[int], slab: int = SLAB) -> Array:
    """`packed_looked_up` of a whole array."""
    return gathered(expansion.packed_looked_up(of_array(indices), lut, shape, slab))


def sparse_to_dense(nonzero: Array, mask: Array, slab: int = SLAB) -> Array:
    """`spread` of whole arrays."""
    return gathered(expansion.spread(of_array(nonzero), of_array(mask), slab))


def packed_sparse_to_dense(nonzero: Array, mask: Array, shape: Sequence[int], slab: int = SLAB) -> Array:
    """`packed_spread` of whole arrays."""
    return gathered(expansion.packed_spread(of_array(nonzero), of_array(mask), shape, slab))


def lut_to_sparse(mask: Array, indices: Array, lut: Array, vector_axis: int | None = None, slab: int = SLAB) -> tuple[Array, Array]:
    """`kept_looked_up` of whole arrays; the mask itself where nothing widens it."""
    before = of_array(mask)
    widened, values = expansion.kept_looked_up(before, of_array(indices), lut, vector_axis, slab)
    return mask if widened is before else gathered(widened), gathered(values)


def sparse_shift_scale(mask: Array, nonzero: Array, scale: Array, offset: Array | None = None, slab: int = SLAB) -> tuple[Array, Array]:
    """The mask, and `kept_shift_scaled` of whole arrays."""
    return mask, gathered(expansion.kept_shift_scaled(of_array(mask), of_array(nonzero), scale, offset, slab))


def difference(array: Array, original: Array) -> Difference:
    """`difference_of` two whole arrays."""
    return difference_of(of_array(array), of_array(original))


def statistics(array: Array) -> Statistics:
    """`statistics_of` a whole array."""
    return statistics_of(of_array(array))
