"""Forms as ops: the constexpr ops that take a const's place, as each opset has them.

From iOS18 on every layer of a form is an op, and operands are inputs; the forms are those of coremltools. A weight `[8, 4]`:

    floats, masked      constexpr_sparse_to_dense(nonzero_data=[D], mask=uint1[8, 4])
    integers            constexpr_blockwise_shift_scale(data=[8, 4], scale=[8, 1], offset=[8, 1])
    integers, masked    constexpr_sparse_blockwise_shift_scale(data_mask=uint1[8, 4], nonzero_data=[D], scale=[8, 1], offset=[8, 1])
                        → constexpr_sparse_to_dense(nonzero_data=%1, mask=%0)
    indices             constexpr_lut_to_dense(indices=uint4[8, 4], lut=[2, 1, 16, 1])
    indices of vectors  constexpr_lut_to_dense(indices=uint4[4, 4], lut=[1, 1, 16, 2], vector_axis=0)
    indices, masked     constexpr_lut_to_sparse(indices_mask=uint1[8, 4], indices_nonzero_data=uint4[D], lut=[1, 1, 16, 1])
                        → constexpr_sparse_to_dense(nonzero_data=%1, mask=%0)
    integer entries     constexpr_blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=[1, 1, 1, 1]) → lut=%
    a scale behind      → constexpr_blockwise_shift_scale(data=%, scale=[8, 1]), or its sparse form
    a cast              → constexpr_cast(source_val=%, output_dtype="fp32")

Below iOS18 there is one op with attributes, no chains, and less that it can say: see `old_ops`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from attrs import define, field

from ir.const import Const
from ir.core import Op, Operand, Value
from ir.opset import IOS18, Opset
from ir.tensors import ArrayTensor, Tensor, reshaped, viewed
from ir.types import UINT1, UINT8, UINT32, TensorType, Type
from mlpasses.forms.form import Floats, Form, Indexed, Scaled


def ops_of(form: Form, weight: Op, opset: Opset) -> list[Op]:
    """The detached ops that take the place of the op `weight`; the last has its name, its type, and its attributes besides the value.

    Names of the others are made of the weight's name, and may be taken where they go.
    """
    if opset < IOS18:
        return [_last(weight, *old_op(form))]
    return _Chain(weight, form).ops


def old_op(form: Form) -> tuple[str, dict[str, Const]]:
    """The op below iOS18, by type and attributes:

        integers          constexpr_affine_dequantize(quantized_data=[8, 4], zero_point=[8], scale=[8], axis=0)
        indices           constexpr_lut_to_dense(indices=uint8[16], lut=[16], shape=[8, 4]), the indices packed
        floats, masked    constexpr_sparse_to_dense(nonzero_data=[D], mask=uint8[4], shape=[8, 4]), the mask packed
    """
    values = form.values
    if isinstance(values, Scaled):
        return "constexpr_affine_dequantize", _affine_attributes(values)
    if isinstance(values, Indexed):
        assert isinstance(values.entries, Floats)  # integer entries need a chain
        lut = reshaped(values.entries.tensor, (math.prod(values.tables),))
        return "constexpr_lut_to_dense", {
            "indices": _packed(values.indices),
            "lut": Const.of(lut),
            "shape": _shape(values.indices),
        }
    assert form.mask is not None  # or it would be no compressed form
    return "constexpr_sparse_to_dense", {
        "nonzero_data": Const.of(values.tensor),
        "mask": _packed(form.mask),
        "shape": _shape(form.mask),
    }


def _affine_attributes(values: Scaled) -> dict[str, Const]:
    scale, dtype = values.scale, values.data.dtype
    axis = next((axis for axis, count in enumerate(scale.shape) if count > 1), None)
    shape = () if axis is None else (scale.shape[axis],)
    offset = values.offset or ArrayTensor(np.zeros(scale.shape, dtype.numpy), dtype)
    return {
        "quantized_data": Const.of(values.data),
        "zero_point": Const.of(reshaped(offset, shape)),
        "scale": Const.of(reshaped(scale, shape)),
        "axis": Const.of(axis or 0),
    }


def _packed(tensor: Tensor) -> Const:
    """Packed elements as the bytes that they are in."""
    return Const.of(viewed(tensor, UINT8, (tensor.nbytes,)))


def _shape(tensor: Tensor) -> Const:
    return Const.of(np.array(tensor.shape, UINT32.numpy))


@define(eq=False)
class _Chain:
    """The ops of one form, made from the inside out."""

    weight: Op
    form: Form
    ops: list[Op] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        if self.form.mask is None:
            self._dense()
        else:
            self._sparse(self.form.mask)

    def _dense(self) -> None:
        values, scale = self.form.values, self.form.scale
        kind = TensorType(values.dtype, self._kind.shape)
        if isinstance(values, Indexed):
            operands = {"indices": Const.of(values.indices), "lut": self._lut(values), **_vector_axis(values)}
            result = self._add("palettized", "constexpr_lut_to_dense", operands, [kind], last=scale is None)
        else:
            assert isinstance(values, Scaled)  # floats without a mask are not compressed
            operands = {"data": Const.of(values.data), **_scales(values)}
            result = self._add("quantized", "constexpr_blockwise_shift_scale", operands, [kind], last=True)
        if scale is not None:
            operands = {"data": result[0], **self._behind(scale)}
            self._add("scaled", "constexpr_blockwise_shift_scale", operands, [TensorType(scale.dtype, self._kind.shape)], last=True)

    def _sparse(self, mask: Tensor) -> None:
        values, scale = self.form.values, self.form.scale
        kept: Operand
        at: Operand = Const.of(mask)
        if isinstance(values, Floats):
            kept = Const.of(values.tensor)
        elif isinstance(values, Scaled):
            operands = {"data_mask": at, "nonzero_data": Const.of(values.data), **_scales(values)}
            kinds = [TensorType(UINT1, mask.shape), TensorType(values.dtype, values.data.shape)]
            at, kept = self._add("quantized", "constexpr_sparse_blockwise_shift_scale", operands, kinds)
        else:
            operands = {"indices_mask": at, "indices_nonzero_data": Const.of(values.indices), "lut": self._lut(values)}
            kinds = [TensorType(UINT1, self._kind.shape), TensorType(values.dtype, (values.indices.shape[0] * values.tables[-1],))]
            at, kept = self._add("palettized", "constexpr_lut_to_sparse", {**operands, **_vector_axis(values)}, kinds)
        if scale is not None:
            count = kept.type
            assert isinstance(count, TensorType)
            kinds = [TensorType(UINT1, self._kind.shape), TensorType(scale.dtype, count.shape)]
            operands = {"data_mask": at, "nonzero_data": kept, **self._behind(scale)}
            at, kept = self._add("scaled", "constexpr_sparse_blockwise_shift_scale", operands, kinds)
        operands = {"nonzero_data": kept, "mask": at}
        self._add("sparse", "constexpr_sparse_to_dense", operands, [TensorType(self.form.dtype, self._kind.shape)], last=True)

    def _behind(self, scale: Tensor) -> dict[str, Operand]:
        offset = {} if self.form.offset is None else {"offset": Const.of(self.form.offset)}
        return {"scale": Const.of(scale), **offset}

    def _lut(self, values: Indexed) -> Operand:
        entries = values.entries
        if isinstance(entries, Floats):
            return Const.of(entries.tensor)
        operands = {"data": Const.of(entries.data), **_scales(entries)}
        return self._add("lut", "constexpr_blockwise_shift_scale", operands, [TensorType(entries.dtype, values.tables)])[0]

    @property
    def _kind(self) -> TensorType:
        kind = self.weight.output.type
        assert isinstance(kind, TensorType)  # only tensors are compressed
        return kind

    def _add(self, suffix: str, op_type: str, operands: Mapping[str, Operand], kinds: list[TensorType], last: bool = False) -> list[Value]:
        """Adds an op; the last one yields the weight itself, by way of a cast where its floats are of another type."""
        if last and kinds[0].dtype is self._kind.dtype:
            self.ops.append(_last(self.weight, op_type, operands=operands))
            return list(self.ops[-1].outputs)
        op = _inner(self.weight, suffix, op_type, operands, kinds)
        self.ops.append(op)
        if last:
            cast: dict[str, Operand] = {"source_val": op.output, "output_dtype": Const.of("fp32")}
            self.ops.append(_last(self.weight, "constexpr_cast", operands=cast))
        return list(op.outputs)


def _scales(values: Scaled) -> dict[str, Operand]:
    offset = {} if values.offset is None else {"offset": Const.of(values.offset)}
    return {"scale": Const.of(values.scale), **offset}


def _vector_axis(values: Indexed) -> dict[str, Operand]:
    return {} if values.vector_axis is None else {"vector_axis": Const.of(values.vector_axis)}


def _inner(weight: Op, suffix: str, op_type: str, operands: Mapping[str, Operand], kinds: list[TensorType]) -> Op:
    name = f"{weight.output.name}_{suffix}"
    outputs: list[tuple[str, Type]] = [(name, kinds[0])] if len(kinds) == 1 else [(f"{name}_{i}", kind) for i, kind in enumerate(kinds)]
    return Op(op_type, dict(operands), outputs, {"name": Const.of(name)})


def _last(
    weight: Op, op_type: str, attributes: Mapping[str, Const] | None = None, operands: Mapping[str, Operand] | None = None
) -> Op:
    """The op that yields the weight. Of a const's attributes all but the value stay; of a constexpr op's, its name."""
    kept, output = dict(weight.attributes), weight.output
    if weight.op_type == "const":
        del kept["val"]
    else:
        kept = {name: value for name, value in kept.items() if name == "name"}
    return Op(op_type, operands or {}, [(output.name, output.type)], {**kept, **attributes} if attributes else kept)
