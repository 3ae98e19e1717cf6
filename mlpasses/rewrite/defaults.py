"""What an absent parameter stands for: the op tables say."""

from __future__ import annotations

from ir.const import Const
from ir.core import Op, Operand, constant_of
from ir.opsets.schema import OpSpec, Param, PerSpatialDim
from ir.types import FP32, DType, TensorType
from mlpasses.rewrite.patterns import Plain
from mlpasses.rewrite.values import equals


def stand_in(op: Op, name: str, spec: OpSpec | None) -> Const | None:
    """What an absent operand stands for: the attribute that the parameter is in older forms, its default, or nothing (None)."""
    param = spec.param(name) if spec is not None else None
    if spec is None or param is None:
        return None
    if name in spec.attributes and name in op.attributes:
        return op.attributes[name]
    default = _default(op, param)
    return None if default is None else Const.of(default, _dtype_of(default, op, spec, param))


def is_default(op: Op, name: str, held: tuple[Operand, ...], spec: OpSpec | None) -> bool:
    """Whether a parameter that holds `held` says no more than one that is absent."""
    if not held and spec is not None and name in spec.attributes and name in op.attributes:
        held = (op.attributes[name],)
    if not held:
        return True
    param = spec.param(name) if spec is not None else None
    default = None if param is None else _default(op, param)
    const = constant_of(held[0])
    return default is not None and const is not None and len(held) == 1 and equals(const, default)


def _default(op: Op, param: Param) -> Plain | None:
    default = param.default if param.optional else None
    if not isinstance(default, PerSpatialDim):
        return default
    x = op.get("x")
    rank = x.type.rank if x is not None and isinstance(x.type, TensorType) else -1
    return default.at(rank) if rank >= 2 else None


def _dtype_of(default: Plain, op: Op, spec: OpSpec, param: Param) -> DType:
    """The element type of a default; of a float, that of the operand that it has to agree with, or else of the first float operand."""
    own = Const.of(default).tensor.dtype
    if own is not FP32:
        return own if own in param.dtypes else param.dtypes[0]
    operands = [(other, op.get(other.name)) for other in spec.params if other.name != param.name]
    operands.sort(key=lambda pair: param.domain is None or pair[0].domain != param.domain)
    for _, operand in operands:
        if operand is not None and isinstance(operand.type, TensorType) and operand.type.dtype.is_float:
            return operand.type.dtype if operand.type.dtype in param.dtypes else own
    return own
