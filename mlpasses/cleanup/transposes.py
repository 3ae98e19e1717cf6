"""`MergeTransposes`: two transposes in a row are one, or none.

    %a: fp16[3, 1, 2] = transpose(x=%x, perm=[2, 0, 1])       # %x: fp16[1, 2, 3]
    %y: fp16[1, 3, 2] = transpose(x=%a, perm=[1, 0, 2])   →   %y: fp16[1, 3, 2] = transpose(x=%x, perm=[0, 2, 1])

Axis i of the result is axis q[i] of what is between, and that is axis p[q[i]] of x.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from attrs import frozen

from ir.const import Const
from mlpasses.cleanup.forwarding import forwarded
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.rewrite import Failure, Match, Replacement, RewritePass, Rewriter, const, p, rule


def permutation(const: Const | None) -> list[int] | None:
    """A permutation with its axes counted from the front; None where it is none."""
    if const is None or not const.is_tensor or len(const.tensor.shape) != 1 or not const.tensor.dtype.is_integer:
        return None
    rank = const.tensor.shape[0]
    axes = [int(axis) + rank if axis < 0 else int(axis) for axis in const.numpy().tolist()]
    return axes if sorted(axes) == list(range(rank)) else None


@rule(p.transpose(x=p.transpose(x="x", perm=const("inner")).shared(), perm=const("outer")))
def merge_transposes(m: Match, rw: Rewriter) -> Replacement | Failure:
    """transpose(transpose(x, p), q) → transpose(x, p[q]); → x, where p[q] is the identity"""
    inner, outer = permutation(m.inner.const), permutation(m.outer.const)
    if inner is None or outer is None or len(inner) != len(outer):
        return m.fail("{} and {} are no permutations of the same axes", m.inner, m.outer)
    composed = [inner[axis] for axis in outer]
    if composed == list(range(len(composed))):
        return forwarded(m, m.x)
    return rw.op("transpose", x=m.x, perm=np.array(composed, np.int32))


@frozen
class MergeTransposes(RewritePass):
    """transpose(transpose(x, p), q) → transpose(x, p[q])"""

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    rules: ClassVar = (merge_transposes,)
