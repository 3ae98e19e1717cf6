"""The one way in which each opset writes a form that has several: as coremltools does (`canonicalize_quantized_lut_pattern`).

What several ways there are for is a table of integers and their scale:

    blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=[1, 1, 1, 1]) → lut_to_dense(lut=%)        before iOS26, and for a scale a table
    lut_to_dense(lut=int8[1, 1, 16, 1]) → blockwise_shift_scale(data=%, scale=[1, 1])              from iOS26, for one scale

Both yield the same weight, bit for bit: each element is one entry less the offset times the scale, in float32, rounded once. Where one
table has several scales, the first way needs a copy of it for each; from iOS26 on they stay behind it.

Tables of floats with scales before the look-up, which coremltools makes of `enable_per_channel_scale`, are multiplied out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import evolve

from ir.opset import IOS26, Opset
from ir.tensors import AbstractTensor, Array, ArrayTensor, Tensor, reshaped
from mlpasses.forms.decoding import table
from mlpasses.forms.form import Floats, Form, Indexed, Scaled


def canonical(form: Form, opset: Opset) -> Form:
    """The form as an opset writes it; as it is where there is one way only, or no other is possible."""
    values = form.values
    if not isinstance(values, Indexed):
        return form
    entries = values.entries
    if isinstance(entries, Floats):
        behind = form.scale
        if behind is None or entries.dtype.is_float or (opset >= IOS26 and _is_for_several(behind, entries.tensor)):
            return form
        return _in_front(form, values, entries.tensor, behind)
    if entries.data.dtype.is_float:
        return evolve(form, values=evolve(values, entries=Floats(_multiplied(values, entries))))
    if opset < IOS26 or form.scale is not None or math.prod(entries.scale.shape) != 1:
        return form
    one = (1,) * (len(entries.scale.shape) - 2)
    offset = None if entries.offset is None else reshaped(entries.offset, one)
    return evolve(form, values=evolve(values, entries=Floats(entries.data)), scale=reshaped(entries.scale, one), offset=offset)


def _is_for_several(scale: Tensor, entries: Tensor) -> bool:
    """Whether a scale is one for all, or several are for one table."""
    return math.prod(scale.shape) == 1 or any(count > group for count, group in zip(scale.shape, entries.shape, strict=False))


def _in_front(form: Form, values: Indexed, entries: Tensor, scale: Tensor) -> Form:
    """A scale that is behind a table of integers, before it: with a table for each of its blocks. As it is where blocks do not nest."""
    groups = entries.shape[:-2]
    if len(scale.shape) != len(groups) or (values.vector_axis is not None and scale.shape[values.vector_axis] > groups[values.vector_axis]):
        return form  # elements of one vector have several scales
    blocks = tuple(max(group, count) for group, count in zip(groups, scale.shape, strict=True))
    if any(block % group or block % count for block, group, count in zip(blocks, groups, scale.shape, strict=True)):
        return form
    tables = repeated(entries, (*blocks, *entries.shape[-2:]))
    offset = None if form.offset is None else _of_tables(form.offset)
    return evolve(form, values=evolve(values, entries=Scaled(tables, _of_tables(scale), offset)), scale=None, offset=None)


def _multiplied(values: Indexed, entries: Scaled) -> Tensor:
    """The entries of tables of scaled floats."""
    if any(isinstance(each, AbstractTensor) for each in entries.tensors()):
        return AbstractTensor(entries.dtype, values.tables)
    return ArrayTensor(table(values), entries.dtype)


def _of_tables(tensor: Tensor) -> Tensor:
    return reshaped(tensor, (*tensor.shape, 1, 1))


def repeated(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor with each of its elements as often along each axis as the shape needs; itself where it has the shape."""
    if tensor.shape == tuple(shape):
        return tensor
    if isinstance(tensor, AbstractTensor):
        return AbstractTensor(tensor.dtype, tuple(shape))
    return ArrayTensor(repeated_array(tensor.numpy(), shape), tensor.dtype)


def repeated_array(array: Array, shape: Sequence[int]) -> Array:
    """The same of an array."""
    for axis, (dim, wanted) in enumerate(zip(array.shape, shape, strict=True)):
        array = np.repeat(array, wanted // dim, axis=axis) if wanted > dim else array
    return array
