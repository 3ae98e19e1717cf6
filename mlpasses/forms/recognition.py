"""Chains of constexpr ops as forms: what `emission` writes, and what coremltools writes, read back.

Read are the ops of iOS18, whose operands are inputs, and those of iOS16, whose operands are attributes.
"""

from __future__ import annotations

from attrs import evolve

from ir.const import Const
from ir.constexprs import check, operand_of
from ir.core import Op, Operand, Value, constant_of
from ir.diagnostics import EvaluationError
from ir.tensors import AbstractTensor, Tensor, reshaped, same_tensor, viewed
from ir.types import UINT1, UINT_BY_BITS, TensorType
from mlpasses.forms.form import Floats, Form, Indexed, Scaled


class UnreadableError(Exception):
    """A chain that is none of the forms; the text says why, and never leaves this module."""


def form_of(op: Op) -> Form | str:
    """The form of the weight that the last op of a chain yields, or the reason in words why it is none."""
    try:
        return _form(op)
    except (UnreadableError, EvaluationError) as error:
        return str(error)


def _form(op: Op) -> Form:
    if op.op_type == "constexpr_cast":
        op = _source(op, "source_val")
    if op.op_type == "constexpr_sparse_to_dense":
        return _sparse(op)
    if op.op_type == "constexpr_lut_to_dense":
        return Form(_indexed(op, "indices"))
    if op.op_type == "constexpr_blockwise_shift_scale":
        data = _operand(op, "data")
        if constant_of(data) is not None:
            return Form(_integers(op, "data"))
        source = _source(op, "data")
        if source.op_type == "constexpr_lut_to_dense":
            return _behind(Form(_indexed(source, "indices")), op)
    if op.op_type == "constexpr_affine_dequantize":
        return Form(_affine(op))
    raise UnreadableError(f"{op.op_type} {op.name} ends a chain of a kind that is not known")


def _sparse(op: Op) -> Form:
    if "shape" in op.attributes:
        check(op)  # so that the bytes are those of the shape
        return Form(Floats(_tensor(_operand(op, "nonzero_data"))), mask=viewed(_tensor(_operand(op, "mask")), UINT1, _shape(op)))
    kept, mask = _operand(op, "nonzero_data"), _operand(op, "mask")
    if constant_of(kept) is not None:
        return Form(Floats(_tensor(kept)), mask=_tensor(mask))
    source = _source(op, "nonzero_data")
    form = _masked(source)
    of_one = isinstance(mask, Value) and mask.op is source and mask.index == 0
    if not (of_one or _is_mask_of(form, mask)) or not isinstance(kept, Value) or kept.index != 1:
        raise UnreadableError(f"mask and elements of {op.op_type} {op.name} are not of one op")
    return form


def _is_mask_of(form: Form, mask: Operand) -> bool:
    """Whether a mask is a constant that is equal to a form's, as coremltools writes it; no mask of vectors is one of elements."""
    literal, own = constant_of(mask), form.mask
    return literal is not None and literal.is_tensor and own is not None and same_tensor(literal.tensor, own)


def _masked(op: Op) -> Form:
    """The form whose mask and kept elements an op yields."""
    if op.op_type == "constexpr_lut_to_sparse":
        return Form(_indexed(op, "indices_nonzero_data"), mask=_tensor(_operand(op, "indices_mask")))
    if op.op_type != "constexpr_sparse_blockwise_shift_scale":
        raise UnreadableError(f"{op.op_type} {op.name} yields no mask that is known")
    kept = _operand(op, "nonzero_data")
    if constant_of(kept) is not None:
        return Form(_integers(op, "nonzero_data"), mask=_tensor(_operand(op, "data_mask")))
    source = _source(op, "nonzero_data")
    if source.op_type == op.op_type:
        raise UnreadableError(f"{op.op_type} {op.name} scales what has a scale")
    return _behind(_masked(source), op)


def _behind(form: Form, op: Op) -> Form:
    """A form with the scale of an op behind it."""
    if form.scale is not None or not isinstance(form.values, Indexed):
        raise UnreadableError(f"{op.op_type} {op.name} scales what has a scale")
    return evolve(form, scale=_tensor(_operand(op, "scale")), offset=_optional(op, "offset"))


def _indexed(op: Op, indices: str) -> Indexed:
    if "shape" in op.attributes:
        return _packed_indices(op)
    lut, axis = _operand(op, "lut"), op.get("vector_axis")
    entries: Floats | Scaled
    if constant_of(lut) is not None:
        entries = Floats(_tensor(lut))
    else:
        source = _source(op, "lut")
        if source.op_type != "constexpr_blockwise_shift_scale":
            raise UnreadableError(f"{source.op_type} {source.name} yields the table of {op.op_type} {op.name}")
        entries = _scaled(source, "data")
    codes = _tensor(_operand(op, indices))
    table = entries.tensor if isinstance(entries, Floats) else entries.data
    vector_axis = None
    if axis is not None and table.shape[-1] > 1:
        rank = len(table.shape) - 2
        vector_axis = int(_tensor(axis).numpy().item()) % rank
    return Indexed(codes, entries, vector_axis)


def _packed_indices(op: Op) -> Indexed:
    """iOS16's table, a vector, and indices, packed in bytes."""
    check(op)  # so that the bytes are those of the shape, and the entries as many as there are indices
    shape, lut = _shape(op), _tensor(_operand(op, "lut"))
    indices = viewed(_tensor(_operand(op, "indices")), UINT_BY_BITS[lut.shape[0].bit_length() - 1], shape)
    return Indexed(indices, Floats(reshaped(lut, (*(1 for _ in shape), lut.shape[0], 1))))


def _shape(op: Op) -> tuple[int, ...]:
    return tuple(int(dim) for dim in _tensor(_operand(op, "shape")).numpy().reshape(-1))


def _integers(op: Op, data: str) -> Scaled:
    values = _scaled(op, data)
    if not values.data.dtype.is_integer:
        raise UnreadableError(f"{op.op_type} {op.name} scales {values.data.dtype}")
    return values


def _scaled(op: Op, data: str) -> Scaled:
    return Scaled(_tensor(_operand(op, data)), _tensor(_operand(op, "scale")), _optional(op, "offset"))


def _affine(op: Op) -> Scaled:
    """iOS16's integers, whose scale and zero point are scalars, or vectors along an axis."""
    data, scale, zero, axis = (operand_of(op, name) for name in ("quantized_data", "scale", "zero_point", "axis"))
    integers, factors = _tensor(data), _tensor(scale)
    shape, along = integers.shape, int(_tensor(axis).numpy().item()) % max(len(integers.shape), 1)
    zeros = _tensor(zero)
    if zeros.dtype is not integers.dtype or zeros.shape != factors.shape:
        raise UnreadableError(f"scale and zero point of {op.op_type} {op.name} differ in type or shape: put RaiseOpset before")
    wide = tuple(dim if at == along and factors.shape else 1 for at, dim in enumerate(shape))
    offset = reshaped(zeros, wide) if isinstance(zeros, AbstractTensor) or zeros.numpy().any() else None
    return Scaled(integers, reshaped(factors, wide), offset)


def _operand(op: Op, parameter: str) -> Operand:
    operand = operand_of(op, parameter)
    if operand is None:
        raise UnreadableError(f"{op.op_type} {op.name} has no {parameter}")
    return operand


def _source(op: Op, parameter: str) -> Op:
    """The op that yields an operand."""
    operand = _operand(op, parameter)
    source = operand.op if isinstance(operand, Value) else None
    if source is None:
        raise UnreadableError(f"{parameter} of {op.op_type} {op.name} is no output of an op")
    return source


def _optional(op: Op, parameter: str) -> Tensor | None:
    operand = op.get(parameter)
    return None if operand is None else _tensor(operand)


def _tensor(operand: Operand | None) -> Tensor:
    literal: Const | None = None if operand is None else constant_of(operand)
    if literal is None or not isinstance(literal.type, TensorType) or not literal.is_tensor:
        raise UnreadableError("an operand of its chain is no constant")
    return literal.tensor
