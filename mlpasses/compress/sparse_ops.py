"""How a sparse weight is written: the constexpr op of each opset.

The forms are those of coremltools. A weight `[8, 4]` of which D elements are kept:

    below iOS18   constexpr_sparse_to_dense(nonzero_data=[D], mask=uint8[4], shape=[8, 4]), all attributes, the mask packed
    from iOS18    constexpr_sparse_to_dense(nonzero_data=[D], mask=uint1[8, 4])
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Op
from ir.opset import IOS18, Opset
from ir.tensors import Tensor
from ir.types import UINT32
from mlpasses.compress.chains import last_op, literals
from mlpasses.compress.packed import bytes_of


@frozen(eq=False)
class SparseWeight:
    """A sparse weight: a mask of the weight's shape, and the elements that it keeps. The tensors may be abstract."""

    mask: Tensor
    nonzero: Tensor

    def ops(self, weight: Op, opset: Opset) -> list[Op]:
        """The detached ops that take the place of the const op `weight`."""
        if opset < IOS18:
            return [last_op(weight, "constexpr_sparse_to_dense", attributes=self._attributes())]
        return [last_op(weight, "constexpr_sparse_to_dense", literals(nonzero_data=self.nonzero, mask=self.mask))]

    def nbytes(self, opset: Opset) -> int:
        """The bytes of the numbers that `ops` hold for an opset: mask and kept elements."""
        return self.mask.nbytes + self.nonzero.nbytes

    def _attributes(self) -> dict[str, Const]:
        return {
            "nonzero_data": Const.of(self.nonzero),
            "mask": Const.of(bytes_of(self.mask)),
            "shape": Const.of(np.array(self.mask.shape, UINT32.numpy)),
        }
