"""`MergeCasts`: two casts in a row are one, where the first loses nothing.

    %a: fp32[4] = cast(x=%x, dtype="fp32")      # %x: fp16[4]
    %y: int32[4] = cast(x=%a, dtype="int32")          →     %y: int32[4] = cast(x=%x, dtype="int32")

The first cast goes only if it is a widening one, to a type that has every value of the type before: fp16 → fp32 is, and int32 → fp32 is
not, since fp32 has 24 bits of an integer. Where the second leads back to the type of x, both go.
"""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen

from ir.types import BF16, FP16, FP32, FP64, DType, TensorType
from mlpasses.cleanup.forwarding import forwarded, only_type
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.rewrite import Failure, Match, Replacement, RewritePass, Rewriter, p, rule

_FLOATS: Final = {FP16: (11, -24, 15), BF16: (8, -133, 127), FP32: (24, -149, 127), FP64: (53, -1074, 1023)}
"""Of a float type: the bits of its significand, the exponent of its least subnormal number, that of its greatest."""


def widens(source: DType, target: DType) -> bool:
    """Whether `target` has every value of `source`, so that a cast there and on is the cast from `source`."""
    if source is target:
        return True
    if source.kind == "bool":
        return target.is_integer or target.is_float
    if source.is_integer and target.is_integer:
        return target.minimum <= source.minimum and source.maximum <= target.maximum
    if target not in _FLOATS:
        return False
    bits, least, greatest = _FLOATS[target]
    if source.is_integer:  # the least of a signed type is a power of two, and as such exact
        return source.maximum.bit_length() <= bits
    if source not in _FLOATS:
        return False
    source_bits, source_least, source_greatest = _FLOATS[source]
    return source_bits <= bits and source_least >= least and source_greatest <= greatest


@rule(p.cast(..., x=p.cast(..., x="x").named("inner").shared()))
def merge_casts(m: Match, rw: Rewriter) -> Replacement | Failure:
    """cast(cast(x, T), U) → cast(x, U), where T has every value of the type of x; → x, where U is the type of x"""
    source, between, target = m.x.type, m.ops["inner"].output.type, only_type(m.root)
    if not (isinstance(source, TensorType) and isinstance(between, TensorType) and isinstance(target, TensorType)):
        return m.fail("{} casts what is no tensor", m.root)
    if not widens(source.dtype, between.dtype):
        return m.fail("the cast from {} to {} loses values", source.dtype, between.dtype)
    if target.dtype is source.dtype:
        return forwarded(m, m.x)
    return rw.op("cast", like=m.root, x=m.x)


@frozen
class MergeCasts(RewritePass):
    """cast(cast(x, T), U) → cast(x, U), where T has every value of the type of x"""

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    rules: ClassVar = (merge_casts,)
