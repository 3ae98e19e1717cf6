"""The elements of a weight from its form: what the ops of `emission` compute (`ir.expansion` has the arithmetic)."""

from __future__ import annotations

import numpy as np

from ir import expansion
from ir.tensors import Array, Tensor
from mlpasses.forms.form import Floats, Form, Indexed, Scaled


def decoded(form: Form) -> Array:
    """The dense elements, in the form's own float type. Private memory is that of the result, and of the unpacked codes.

    Raises:
        EvaluationError: the tensors do not fit together.
    """
    if form.mask is None:
        return _scaled_behind(form, _dense(form))
    mask, kept = _kept(form, form.mask.numpy())
    return expansion.sparse_to_dense(kept, mask)


def elements(form: Form) -> Array:
    """The elements that it stores: all, in their shape, or the vector of those that the mask keeps. Raises as `decoded`."""
    if form.mask is None:
        return _scaled_behind(form, _dense(form))
    return _kept(form, form.mask.numpy())[1]


def _dense(form: Form) -> Array:
    values = form.values
    if isinstance(values, Floats):
        return values.tensor.numpy()
    if isinstance(values, Scaled):
        return _shift_scaled(values)
    return expansion.lut_to_dense(values.indices.numpy(), table(values), values.vector_axis)


def _kept(form: Form, mask: Array) -> tuple[Array, Array]:
    """The mask of elements, and the elements that it keeps."""
    mask, kept = _values_kept(form, mask)
    if form.scale is not None:
        _, kept = expansion.sparse_shift_scale(mask, kept, form.scale.numpy(), _optional(form.offset))
    return mask, kept


def _values_kept(form: Form, mask: Array) -> tuple[Array, Array]:
    values = form.values
    if isinstance(values, Floats):
        return mask, values.tensor.numpy()
    if isinstance(values, Scaled):
        return expansion.sparse_shift_scale(mask, values.data.numpy(), values.scale.numpy(), _optional(values.offset))
    return expansion.lut_to_sparse(mask, values.indices.numpy(), table(values), values.vector_axis)


def _scaled_behind(form: Form, dense: Array) -> Array:
    return dense if form.scale is None else expansion.shift_scale(dense, form.scale.numpy(), _optional(form.offset))


def table(values: Indexed) -> Array:
    """The entries of the tables that indices are into, integers where they are scaled behind: `[*blocks, entries, vector]`.

    Raises:
        EvaluationError: the tensors do not fit together.
    """
    entries = values.entries
    return _shift_scaled(entries) if isinstance(entries, Scaled) else entries.tensor.numpy()


def _shift_scaled(values: Scaled) -> Array:
    return expansion.shift_scale(values.data.numpy(), values.scale.numpy(), _optional(values.offset))


def _optional(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else np.asarray(tensor.numpy())
