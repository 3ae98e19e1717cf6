"""`MergeReshapes`: of ops in a row that give the elements another shape and keep their order, the last is enough.

    %a: fp16[6] = reshape(x=%x, shape=[6])                    # %x: fp16[2, 3]
    %b: fp16[1, 6] = expand_dims(x=%a, axes=[0])          →   %y: fp16[3, 2] = reshape(x=%x, shape=[3, 2])
    %y: fp16[3, 2] = reshape(x=%b, shape=[3, 2])

The last may be a reshape to a constant shape, or have a result of which all dimensions are known. A 0 in `shape` is matched with a
dimension of x, from the left up to iOS16 and from the right from iOS17 on, so none is kept and none is written; a -1 is what the number
of elements leaves, whatever x is.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from attrs import frozen

from ir.core import Op
from ir.types import TensorType
from mlpasses.cleanup.forwarding import forwarded, integers, only_type, same_order
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.rewrite import Failure, Match, Replacement, RewritePass, Rewriter, p, rule

RESHAPES: Final = ("reshape", "expand_dims", "squeeze", "flatten2d")
"""The ops of one operand that keep the elements in their order, and their number."""


def _is_known(op: Op) -> bool:
    """Whether the shape of an op's result follows from that of its operand and from constants."""
    return op.op_type != "reshape" or integers(op, "shape") is not None


@rule(p.any_of(*RESHAPES)(..., x=p.any_of(*RESHAPES)(..., x="x").named("inner").shared()))
def merge_reshapes(m: Match, rw: Rewriter) -> Replacement | Failure:
    """reshape(reshape(x, s), t) → reshape(x, t), likewise of expand_dims, squeeze and flatten2d; → x, where t is the shape of x"""
    root, result = m.root, only_type(m.root)
    if not _is_known(root) or not _is_known(m.ops["inner"]):
        return m.fail("the shape of {} or {} is computed", root, m.ops["inner"])
    if same_order(m.x.type, result):
        return forwarded(m, m.x)
    shape = integers(root, "shape") if root.op_type == "reshape" else None
    if shape is not None and 0 not in shape:
        return rw.op("reshape", like=root, x=m.x)
    if not isinstance(result, TensorType) or not result.is_static or 0 in result.static_shape:
        return m.fail("the shape of {} is not known, or has a 0, which shape would not mean", root)
    return rw.op("reshape", x=m.x, shape=np.array(result.static_shape, np.int32))


@frozen
class MergeReshapes(RewritePass):
    """reshape(reshape(x, s), t) → reshape(x, t), likewise of expand_dims, squeeze and flatten2d"""

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    rules: ClassVar = (merge_reshapes,)
