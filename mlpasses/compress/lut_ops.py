"""How a palettized weight is written: the constexpr op of each opset.

The forms are those of coremltools. A weight `[8, 4]` with 16 entries, for the whole of it and for groups of 4 channels:

    below iOS18   constexpr_lut_to_dense(indices=uint8[16], lut=[16], shape=[8, 4]), all attributes, indices packed
    from iOS18    constexpr_lut_to_dense(indices=uint4[8, 4], lut=[1, 1, 16, 1])
                  constexpr_lut_to_dense(indices=uint4[8, 4], lut=[2, 1, 16, 1])
    vectors of 2  constexpr_lut_to_dense(indices=uint4[4, 4], lut=[1, 1, 16, 2], vector_axis=0)
    scaled        constexpr_blockwise_shift_scale(data=%w_palettized, scale=[8, 1]) behind it
"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Op
from ir.opset import IOS18, Opset
from ir.tensors import Tensor, reshaped
from ir.types import UINT32, TensorType
from mlpasses.compress.chains import dense_op, inner_op, last_op, literals
from mlpasses.compress.packed import bytes_of


@frozen(eq=False)
class PalettizedWeight:
    """A palettized weight: indices, and a table of vectors for each block of them. The tensors may be abstract.

    `lut` is `[*blocks, entries, vector]`. `vector_axis` is the axis that vectors longer than 1 lie along, which is so many times shorter in
    `indices` than in the weight. `scale`, where there is one, has the rank of the weight, and is multiplied in behind the table.
    """

    indices: Tensor
    lut: Tensor
    vector_axis: int | None = None
    scale: Tensor | None = None

    def ops(self, weight: Op, opset: Opset) -> list[Op]:
        """The detached ops that take the place of the const op `weight`."""
        if opset < IOS18:
            return [last_op(weight, "constexpr_lut_to_dense", attributes=self._attributes())]
        operands = literals(indices=self.indices, lut=self.lut)
        if self.vector_axis is not None:
            operands["vector_axis"] = Const.of(np.int32(self.vector_axis))
        if self.scale is None:
            return dense_op(weight, "palettized", "constexpr_lut_to_dense", operands, self.lut.dtype)
        kind = weight.output.type
        assert isinstance(kind, TensorType)  # only weights are compressed
        table = inner_op(weight, "palettized", "constexpr_lut_to_dense", operands, TensorType(self.lut.dtype, kind.shape))
        scaled = {"data": table.output, **literals(scale=self.scale)}
        return [table, *dense_op(weight, "scaled", "constexpr_blockwise_shift_scale", scaled, self.scale.dtype)]

    def nbytes(self, opset: Opset) -> int:
        """The bytes of the numbers that `ops` hold for an opset: indices, tables, scales."""
        return self.indices.nbytes + self.lut.nbytes + (0 if self.scale is None else self.scale.nbytes)

    def _attributes(self) -> dict[str, Const]:
        return {
            "indices": Const.of(bytes_of(self.indices)),
            "lut": Const.of(reshaped(self.lut, (math.prod(self.lut.shape),))),
            "shape": Const.of(np.array(self.indices.shape, UINT32.numpy)),
        }

