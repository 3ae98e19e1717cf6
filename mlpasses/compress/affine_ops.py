"""How a weight of integers and scales is written: the constexpr op of each opset.

The forms are those of coremltools. A per-channel scale of a weight `[8, 4]` with its channels on axis 0:

    below iOS18   constexpr_affine_dequantize(quantized_data=[8, 4], zero_point=[8], scale=[8], axis=0), all attributes
    from iOS18    constexpr_blockwise_shift_scale(data=[8, 4], scale=[8, 1], offset=[8, 1]), all inputs; no offset where it is 0 throughout
"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Op
from ir.opset import IOS18, Opset
from ir.tensors import ArrayTensor, Tensor, reshaped
from mlpasses.numerics.affine import Affine


@frozen(eq=False)
class AffineWeight:
    """A quantized weight: its integers, and the scales and zero points of the entries of `axis` (None: one of each for the whole).

    `scale` and `offset` are vectors, of one element where there is no axis; no offset stands for zero points that are 0 throughout. The
    tensors may be abstract.
    """

    data: Tensor
    scale: Tensor
    offset: Tensor | None
    axis: int | None

    @classmethod
    def of(cls, data: Tensor, affine: Affine, axis: int | None) -> AffineWeight:
        """The weight with the parameters that were computed."""
        zeros = affine.zero_point
        offset = ArrayTensor(zeros.astype(data.dtype.numpy), data.dtype) if zeros.any() else None
        return cls(data, ArrayTensor(affine.scale), offset, axis)

    def op(self, weight: Op, opset: Opset) -> Op:
        """The detached constexpr op that takes the place of the const op `weight`: its name, type and attributes, besides the value."""
        kept = {name: value for name, value in weight.attributes.items() if name != "val"}
        outputs = [(weight.output.name, weight.output.type)]
        if opset < IOS18:
            return Op("constexpr_affine_dequantize", {}, outputs, {**kept, **self._attributes()})
        return Op("constexpr_blockwise_shift_scale", self._inputs(), outputs, kept)

    def nbytes(self, opset: Opset) -> int:
        """The bytes of the numbers that `op` holds for an opset: integers, scales, zero points."""
        zeros = math.prod(self.scale.shape) if opset < IOS18 or self.offset is not None else 0
        return self.data.nbytes + self.scale.nbytes + zeros * self.data.dtype.bits // 8

    def _attributes(self) -> dict[str, Const]:
        shape = () if self.axis is None else self.scale.shape
        dtype = self.data.dtype
        offset = self.offset or ArrayTensor(np.zeros(self.scale.shape, dtype.numpy), dtype)
        return {
            "quantized_data": Const.of(self.data),
            "zero_point": Const.of(reshaped(offset, shape)),
            "scale": Const.of(reshaped(self.scale, shape)),
            "axis": Const.of(self.axis or 0),
        }

    def _inputs(self) -> dict[str, Const]:
        rank = len(self.data.shape)
        shape = tuple(self.scale.shape[0] if axis == (self.axis or 0) else 1 for axis in range(rank))
        inputs = {"data": Const.of(self.data), "scale": Const.of(reshaped(self.scale, shape))}
        if self.offset is not None:
            inputs["offset"] = Const.of(reshaped(self.offset, shape))
        return inputs
