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
from mlpasses.compress.chains import dense_op, last_op, literals


@frozen(eq=False)
class AffineWeight:
    """A quantized weight: its integers, and a scale and a zero point for each block of them.

    `scale` and `offset` have the rank of `data`, whose dimensions theirs divide; no offset stands for zero points that are 0 throughout.
    The tensors may be abstract.
    """

    data: Tensor
    scale: Tensor
    offset: Tensor | None

    def ops(self, weight: Op, opset: Opset) -> list[Op]:
        """The detached ops that take the place of the const op `weight`."""
        if opset < IOS18:
            return [last_op(weight, "constexpr_affine_dequantize", attributes=self._attributes())]
        operands = literals(data=self.data, scale=self.scale, offset=self.offset)
        return dense_op(weight, "quantized", "constexpr_blockwise_shift_scale", operands, self.scale.dtype)

    def nbytes(self, opset: Opset) -> int:
        """The bytes of the numbers that `ops` hold for an opset: integers, scales, zero points."""
        zeros = math.prod(self.scale.shape) if opset < IOS18 or self.offset is not None else 0
        return self.data.nbytes + self.scale.nbytes + (zeros * self.data.dtype.bits + 7) // 8

    def _attributes(self) -> dict[str, Const]:
        axis = next((axis for axis, count in enumerate(self.scale.shape) if count > 1), None)
        shape = () if axis is None else (self.scale.shape[axis],)
        dtype = self.data.dtype
        offset = self.offset or ArrayTensor(np.zeros(self.scale.shape, dtype.numpy), dtype)
        return {
            "quantized_data": Const.of(self.data),
            "zero_point": Const.of(reshaped(offset, shape)),
            "scale": Const.of(reshaped(self.scale, shape)),
            "axis": Const.of(axis or 0),
        }
