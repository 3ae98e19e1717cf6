"""`non_maximum_suppression`, whose operands and results iOS17 transposed."""

from __future__ import annotations

from typing import Final

import numpy as np

from ir.core import Op
from ir.types import FP16
from mlpasses.raising.function import (
    InexpressibleError,
    Raising,
    erase_unused_consts,
    numbers,
    other_attributes,
    parameter,
    required,
    tensor_type,
)

SWAPPED: Final = (0, 2, 1)
NO_THRESHOLD: Final = float(np.float32(-3.4e38))
"""What coremltools' TensorFlow frontend writes for no threshold, as fp32 has it; its PyTorch frontend writes the lowest number."""
LOWEST_HALF: Final = -65504.0


def transpose_boxes(raising: Raising, op: Op) -> Op:
    """%b, %s, %i, %n = non_maximum_suppression(boxes: [n, B, 4], scores: [n, B, K], score_threshold=-inf, …)
    → %bt, %st, %i = non_maximum_suppression(boxes=transpose(boxes), scores=transpose(scores), …)
      %b = transpose(%bt);  %s = transpose(%st)

    Raises:
        InexpressibleError: the number of boxes, the fourth output up to iOS16, is used; or the score threshold, which is gone, may
            reject a box.
    """
    if op.outputs[3].is_used:
        raise InexpressibleError(
            f"its fourth output {op.outputs[3].name}, the number of boxes, is used, and from iOS17 on there is none: "
            "count the indices that are not negative instead"
        )
    if _may_reject(raising, op):
        raise InexpressibleError(
            "its score_threshold may reject boxes, and from iOS17 on there is none: "
            "compare the scores with it behind the suppression instead"
        )
    boxes, scores, indices, _ = op.outputs
    given = {name: held for name, held in op.operands.items() if name != "score_threshold"}
    for name, value in (("boxes", boxes), ("scores", scores)):
        given[name] = (raising.emit(op, "transpose", f"{value.name}_{name}", x=required(op, name), perm=SWAPPED).output,)
    suppression = raising.emit(op, op.op_type, f"{boxes.name}_suppression", attributes=other_attributes(op), **given)
    for old, new in zip((boxes, scores), suppression.outputs, strict=False):
        if old.is_used:
            raising.succeed(op, old, "transpose", x=new, perm=SWAPPED)
    raising.inherit(indices, suppression.outputs[2])
    thresholds = op.operands["score_threshold"]
    op.erase()
    erase_unused_consts(thresholds)
    return raising.changes(suppression)


def _may_reject(raising: Raising, op: Op) -> bool:
    """Whether some score can be below the threshold: not if it is what stands for none, nor if it is ≤ 0 and no score is negative."""
    threshold = parameter(op, "score_threshold")
    if threshold is None:
        raise InexpressibleError("its score_threshold is not known at compile time")
    scores = required(op, "scores")
    least = float(numbers(threshold, "score_threshold").max(initial=-np.inf))
    if least <= (LOWEST_HALF if tensor_type(scores, "scores").dtype is FP16 else NO_THRESHOLD):
        return False
    return least > 0 or not raising.nonnegative(scores)
