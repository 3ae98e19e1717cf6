"""Parameters that came with an opset, written out with their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from ir.const import Const
from ir.core import Op
from ir.specs import Change, Param, PerSpatialDim, spec_of
from ir.tensors import ArrayTensor
from ir.types import TensorType
from mlpasses.raising.function import Raising, parameter


def write_defaults(raising: Raising, op: Op, change: Change) -> None:
    """Gives an op the parameters that `change` added, with the values that their absence stands for.

    A parameter without a default of its own (`upsample_bilinear.half_pixel_centers`) stays absent, and one that is there stays.
    """
    written = False
    hint = op.outputs[0].name if op.outputs else op.op_type
    for param in change.added:
        if not param.optional or param.name in op or _is_unwanted(op, param):
            continue
        value = DEFAULTS.get((op.op_type, param.name), _table_default)(raising, op, param)
        if value is not None:
            op.set(param.name, raising.const(op, value, f"{hint}_{param.name}"))
            written = True
    if written:
        raising.changes(op)


def _table_default(raising: Raising, op: Op, param: Param) -> Const | None:
    if param.default is None or isinstance(param.default, PerSpatialDim):
        return None
    dtype, spec = param.dtypes[0], spec_of(op.op_type, raising.new)
    assert spec is not None
    for other in spec.params:
        operand = op.get(other.name)
        if param.domain is not None and other.domain == param.domain and operand is not None and isinstance(operand.type, TensorType):
            dtype = operand.type.dtype
            break
    return Const.of(param.default, dtype)


def _is_unwanted(op: Op, param: Param) -> bool:
    """Whether a parameter may not be there: the truth value that it goes with is false."""
    beside = parameter(op, param.only_with) if param.only_with is not None else None
    return beside is not None and beside.scalar() is False


def _zero_bias(raising: Raising, op: Op, param: Param) -> Const | None:
    """`input_bias` is documented to be all zeros where absent: [3 * H], H the hidden size."""
    weight = op.get("weight_hh")
    if weight is None or not isinstance(weight.type, TensorType) or not weight.type.is_static:
        return None
    return Const.of(ArrayTensor(np.zeros(weight.type.static_shape[:1], weight.type.dtype.numpy), weight.type.dtype))


DEFAULTS: Final[Mapping[tuple[str, str], Callable[[Raising, Op, Param], Const | None]]] = {
    ("gru", "input_bias"): _zero_bias,
}
"""The defaults that a table row cannot say."""
