"""What is done about each change of meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from attrs import frozen

from ir.core import Op
from ir.opset import IOS18, Opset
from ir.specs import Meaning
from mlpasses.raising import bounds, constexprs, crop_resize, indices, suppression
from mlpasses.raising.function import Raising

Rewrite: TypeAlias = Callable[[Raising, Op], Op]
"""Changes an op, or replaces it; answers with the op that stands for it now."""

REWRITES: Final[Mapping[Meaning, Rewrite]] = {
    Meaning.NO_NEGATIVE_INDICES: indices.keep_from_front,
    Meaning.BOXES: crop_resize.split_roi,
    Meaning.NMS: suppression.transpose_boxes,
    Meaning.ORDERED_BOUNDS: bounds.order_bounds,
    Meaning.ZERO_IN_SHAPE: bounds.state_zeros,
    Meaning.UNPACKED_INDICES: constexprs.unpack_indices,
    Meaning.UNPACKED_MASK: constexprs.unpack_mask,
    Meaning.INPUTS: constexprs.as_inputs,
}


@frozen
class Replaced:
    """An op that stays legal from the opset `since` on, but that no program of it has: another one took its place."""

    since: Opset
    rewrite: Rewrite


REPLACED: Final[Mapping[str, Replaced]] = {"constexpr_affine_dequantize": Replaced(IOS18, constexprs.shift_scale)}
