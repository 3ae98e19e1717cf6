"""The constexpr ops of iOS16, which hold everything in attributes, as those of iOS18, which take inputs.

Indices and masks keep their bytes: packed into `uint8[M]` before, they are a tensor of n-bit elements in the weight's own shape now, over
the same payload. The decompressed values are the same, bit for bit.
"""

from __future__ import annotations

import numpy as np

from ir.const import Const
from ir.core import Op
from ir.infer.args import Args, InferError
from ir.opset import IOS16
from ir.specs import spec_of
from ir.tensors import Tensor
from ir.types import FP32, UINT1, UINT_BY_BITS, DType, TensorType
from mlpasses.raising.function import InexpressibleError, Raising, parameter


def unpack_indices(raising: Raising, op: Op) -> Op:
    """constexpr_lut_to_dense(){indices: uint8[M], lut: T[2**n], shape: uint32[K]}
    → constexpr_lut_to_dense(indices: uintn[*shape], lut: T[1, .., 1, 2**n, 1])
    """
    held = _literals(raising, op, "indices", "lut", "shape")
    shape = _shape(held["shape"])
    entries = held["lut"].tensor.shape[0]
    indices = raising.reheaded.view(held["indices"].tensor, UINT_BY_BITS[entries.bit_length() - 1], shape)
    lut = held["lut"].tensor
    table = raising.reheaded.view(lut, lut.dtype, (*(1 for _ in shape), entries, 1))
    return _as(raising, op, op.op_type, indices=_like(held["indices"], indices), lut=_like(held["lut"], table))


def unpack_mask(raising: Raising, op: Op) -> Op:
    """constexpr_sparse_to_dense(){nonzero_data: T[D], mask: uint8[M], shape: uint32[K]}
    → constexpr_sparse_to_dense(nonzero_data: T[D], mask: uint1[*shape])
    """
    held = _literals(raising, op, "nonzero_data", "mask", "shape")
    mask = raising.reheaded.view(held["mask"].tensor, UINT1, _shape(held["shape"]))
    return _as(raising, op, op.op_type, nonzero_data=held["nonzero_data"], mask=_like(held["mask"], mask))


def as_inputs(raising: Raising, op: Op) -> Op:
    """constexpr_cast(){source_val, output_dtype} → constexpr_cast(source_val, output_dtype)"""
    return _as(raising, op, op.op_type, **_literals(raising, op, "source_val", "output_dtype"))


def shift_scale(raising: Raising, op: Op) -> Op:
    """constexpr_affine_dequantize(){quantized_data: T[2, C, 4], scale: S[C], zero_point: Z[], axis=1}
    → constexpr_blockwise_shift_scale(data: T[2, C, 4], scale: S[1, C, 1], offset: O[1, C, 1])

    Scale and zero point get the data's rank and one shape: a vector's along `axis`, a scalar being repeated if the other is a vector. The
    offset has to be of the data's type or a float: it is of the first of the data's type, the scale's, and fp32 that holds all zero points
    exactly.
    """
    held = _literals(raising, op, "quantized_data", "scale", "zero_point", "axis")
    data, scale, zero = (held[name].tensor for name in ("quantized_data", "scale", "zero_point"))
    rank, axis = len(data.shape), held["axis"].item() % len(data.shape)
    along = tuple(data.shape[i] if i == axis else 1 for i in range(rank))
    shape = along if scale.shape or zero.shape else (1,) * rank

    def aligned(tensor: Tensor, dtype: DType) -> Tensor:
        return raising.reheaded.broadcast(tensor, dtype, shape, along if tensor.shape else (1,) * rank)

    return _as(
        raising, op, "constexpr_blockwise_shift_scale",
        data=held["quantized_data"],
        scale=_like(held["scale"], aligned(scale, scale.dtype)),
        offset=_like(held["zero_point"], aligned(zero, _offset_type(zero, data.dtype, scale.dtype))),
    )  # fmt: skip


def _offset_type(zero: Tensor, data: DType, scale: DType) -> DType:
    if zero.dtype is data:
        return data
    values = zero.numpy()
    return next((dtype for dtype in (data, scale) if _holds(dtype, values)), FP32)


def _holds(dtype: DType, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bool:
    """Whether `dtype` has every one of `values`."""
    wide = values.astype(np.float64)
    if dtype.is_float:
        with np.errstate(over="ignore"):
            return bool(np.array_equal(values.astype(dtype.numpy).astype(np.float64), wide))
    return bool(np.all((wide >= dtype.minimum) & (wide <= dtype.maximum) & (wide == np.rint(wide))))


def _literals(raising: Raising, op: Op, *names: str) -> dict[str, Const]:
    """The literals of an op that has them all, and whose shapes agree as its older definition demands."""
    spec = spec_of(op.op_type, raising.old) or spec_of(op.op_type, raising.new)
    assert spec is not None
    assert spec.infer is not None
    held = {name: literal for name in names if (literal := parameter(op, name)) is not None}
    for name in names:
        if name not in held:
            raise InexpressibleError(f"it has no {name}")
    try:
        spec.infer(Args(spec, {name: (literal,) for name, literal in held.items()}))
    except InferError as error:
        raise InexpressibleError(f"it is malformed: {error}") from error
    return held


def _shape(literal: Const) -> tuple[int, ...]:
    return tuple(int(d) for d in literal.numpy())


def _like(original: Const, tensor: Tensor) -> Const:
    """A literal of another tensor with the docstring of `original`; `original` itself where the tensor is its own."""
    return original if tensor is original.tensor else Const(TensorType(tensor.dtype, tensor.shape), tensor, original.doc)


def _as(raising: Raising, op: Op, op_type: str, **operands: Const) -> Op:
    """Puts the iOS18 form in the place of `op`, whose name and type it has."""
    assert op.block is not None
    spec = spec_of(op.op_type, IOS16)
    assert spec is not None
    attributes = {name: value for name, value in op.attributes.items() if name not in spec.attributes}
    form = Op(op_type, operands, [(value.name, value.type) for value in op.outputs], attributes)
    raising.made(op, form)
    op.block.replace(op, form)
    return raising.changes(form)
