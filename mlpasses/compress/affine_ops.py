"""How a weight of integers and scales is written: the constexpr op of each opset.

The forms are those of coremltools. A per-channel scale of a weight `[8, 4]` with its channels on axis 0:

    below iOS18   constexpr_affine_dequantize(quantized_data=[8, 4], zero_point=[8], scale=[8], axis=0), all attributes
    from iOS18    constexpr_blockwise_shift_scale(data=[8, 4], scale=[8, 1], offset=[8, 1]), all inputs; no offset where it is 0 throughout
"""

from __future__ import annotations

from attrs import frozen

from ir.const import Const
from ir.core import Op
from ir.opset import IOS18, Opset
from ir.tensors import Tensor
from mlpasses.numerics.affine import Affine


@frozen(eq=False)
class AffineWeight:
    """A quantized weight: its integers, and the parameters of the entries of `axis` (None: of the whole)."""

    data: Tensor
    affine: Affine
    axis: int | None

    def op(self, weight: Op, opset: Opset) -> Op:
        """The detached constexpr op that takes the place of the const op `weight`: its name, type and attributes, besides the value."""
        kept = {name: value for name, value in weight.attributes.items() if name != "val"}
        outputs = [(weight.output.name, weight.output.type)]
        if opset < IOS18:
            return Op("constexpr_affine_dequantize", {}, outputs, {**kept, **self._attributes()})
        return Op("constexpr_blockwise_shift_scale", self._inputs(), outputs, kept)

    def nbytes(self, opset: Opset) -> int:
        """The bytes of the numbers that `op` holds for an opset: integers, scales, zero points."""
        zeros = self.affine.zero_point
        held = zeros.size if opset < IOS18 or zeros.any() else 0
        return self.data.nbytes + self.affine.scale.nbytes + held * self.data.dtype.bits // 8

    def _attributes(self) -> dict[str, Const]:
        shape = () if self.axis is None else self.affine.scale.shape
        return {
            "quantized_data": Const.of(self.data),
            "zero_point": Const.of(self.affine.zero_point.reshape(shape), self.data.dtype),
            "scale": Const.of(self.affine.scale.reshape(shape)),
            "axis": Const.of(self.axis or 0),
        }

    def _inputs(self) -> dict[str, Const]:
        rank = len(self.data.shape)
        shape = tuple(-1 if axis == (self.axis or 0) else 1 for axis in range(rank))
        inputs = {"data": Const.of(self.data), "scale": Const.of(self.affine.scale.reshape(shape))}
        if self.affine.zero_point.any():
            inputs["offset"] = Const.of(self.affine.zero_point.reshape(shape), self.data.dtype)
        return inputs
