"""The elements of a weight from its form: what the ops of `emission` compute (`ir.expansion` has the arithmetic).

As flows (`ir.flows`), a piece at a time, so that a weight of any size takes a few pieces of memory; and gathered, for whoever wants arrays.
"""

from __future__ import annotations

import numpy as np

from ir import expansion
from ir.flows import Flow, gathered, of_tensor
from ir.tensors import Array, Tensor
from mlpasses.forms.form import Floats, Form, Indexed, Scaled


def decoded(form: Form) -> Array:
    """The dense elements, in the form's own float type. Private memory is that of the result. Raises as `dense_flow`."""
    return gathered(dense_flow(form))


def dense_flow(form: Form) -> Flow:
    """The dense elements, in the form's own float type, as they are asked for.

    Raises:
        EvaluationError: the tensors do not fit together.
    """
    if form.mask is None:
        return stored_flow(form)
    mask, kept = _kept(form, of_tensor(form.mask))
    return expansion.spread(kept, mask)


def stored_flow(form: Form) -> Flow:
    """The elements that it stores: all, in their shape, or the vector of those that the mask keeps. Raises as `dense_flow`."""
    if form.mask is not None:
        return _kept(form, of_tensor(form.mask))[1]
    dense = _dense(form)
    return dense if form.scale is None else expansion.shift_scaled(dense, form.scale.numpy(), _optional(form.offset))


def _dense(form: Form) -> Flow:
    values = form.values
    if isinstance(values, Floats):
        return of_tensor(values.tensor)
    if isinstance(values, Scaled):
        return expansion.shift_scaled(of_tensor(values.data), values.scale.numpy(), _optional(values.offset))
    return expansion.looked_up(of_tensor(values.indices), table(values), values.vector_axis)


def _kept(form: Form, mask: Flow) -> tuple[Flow, Flow]:
    """The mask of elements, and the elements that it keeps."""
    mask, kept = _values_kept(form, mask)
    if form.scale is not None:
        kept = expansion.kept_shift_scaled(mask, kept, form.scale.numpy(), _optional(form.offset))
    return mask, kept


def _values_kept(form: Form, mask: Flow) -> tuple[Flow, Flow]:
    values = form.values
    if isinstance(values, Floats):
        return mask, of_tensor(values.tensor)
    if isinstance(values, Scaled):
        return mask, expansion.kept_shift_scaled(mask, of_tensor(values.data), values.scale.numpy(), _optional(values.offset))
    return expansion.kept_looked_up(mask, of_tensor(values.indices), table(values), values.vector_axis)


def table(values: Indexed) -> Array:
    """The entries of the tables that indices are into, integers where they are scaled behind: `[*blocks, entries, vector]`.

    Raises:
        EvaluationError: the tensors do not fit together.
    """
    entries = values.entries
    if isinstance(entries, Floats):
        return entries.tensor.numpy()
    return expansion.shift_scale(entries.data.numpy(), entries.scale.numpy(), _optional(entries.offset))


def _optional(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else np.asarray(tensor.numpy())
