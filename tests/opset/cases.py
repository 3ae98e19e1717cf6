"""A program for every op whose definition changed in more than the types that it takes: as an older opset has it, with inputs for it."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.opset import IOS15, IOS16, IOS17, Opset
from tests.opset.evaluate import Array

Inputs: TypeAlias = dict[str, Array]


@frozen
class Case:
    """A program of `opset`. `inputs` are None where there is no kernel for the op in `tests.opset.evaluate`."""

    name: str
    op_type: str
    opset: Opset
    text: str
    inputs: Inputs | None
    loads: bool = True
    """Whether coremltools can load it: its `crop_resize` of iOS17 fails where the number of boxes is not known, and that of iOS15 takes
    a region that names one of several images to be cut from all of them."""


def numbers(*shape: int) -> Array:
    """Different numbers, none of them special, in no order."""
    count = int(np.prod(shape))
    return ((np.arange(count) * 7919 % 1009).astype(np.float32).reshape(shape) - 500) / 64


def ints(values: object) -> Array:
    return np.array(values, np.int32)


X: Final = numbers(2, 3, 4)
FROM_BACK: Final = ints([[-1, 0], [2, -3]])
BOXES: Final = np.array([[[x, x / 2, 1 + x % 2, 1] for x in (0, 0.25, 1, 3, 3.125, 8)]], np.float32)
SCORES: Final = np.array([[[0.5, 0.25], [0.75, 0], [0.125, 0.25], [0.5, 0.625], [0.375, 0], [0.0625, 0.03125]]], np.float32)
CROP: Final = 'target_height=2, target_width=3, sampling_mode="ALIGN_CORNERS"'

GATHERS: Final = [
    Case(
        "gather at iOS15", "gather", IOS15,
        "inputs %x: fp32[2, 3, 4], %i: int32[2, 2]\n%y: fp32[2, 2, 2, 4] = gather(x=%x, indices=%i, axis=-2)",
        {"x": X, "i": FROM_BACK},
    ),
    Case(
        "gather along an axis of unknown size", "gather", IOS15,
        "inputs %x: fp32[2, ?, 4], %i: int32[2, 2]\n%y: fp32[2, 2, 2, 4] = gather(x=%x, indices=%i, axis=1)",
        {"x": X, "i": FROM_BACK},
    ),
    Case(
        "gather with constant indices", "gather", IOS15,
        "inputs %x: fp32[2, 3, 4]\n%i: int32[2] = const([-1, 0])\n%y: fp32[2, 2, 4] = gather(x=%x, indices=%i, axis=1)",
        {"x": X},
    ),
    Case(
        "gather with a constant index along an axis of unknown size", "gather", IOS15,
        "inputs %x: fp32[2, ?, 4]\n%i: int32 = const(-1)\n%y: fp32[2, 4] = gather(x=%x, indices=%i, axis=1)",
        {"x": X},
    ),
    Case(
        "gather in batches", "gather", IOS16,
        "inputs %x: fp32[2, 3, 4], %i: int32[2, 2]\n%y: fp32[2, 2, 4] = gather(x=%x, indices=%i, axis=1, batch_dims=1)",
        {"x": X, "i": FROM_BACK},
    ),
    Case(
        "gather at constant int16 along an axis of unknown size", "gather", IOS16,
        "inputs %x: fp32[2, ?, 4]\n%i: int16[2] = const([-1, 1])\n%y: fp32[2, 2, 4] = gather(x=%x, indices=%i, axis=1, batch_dims=0)",
        {"x": X},
    ),
    Case(
        "gather_along_axis", "gather_along_axis", IOS15,
        "inputs %x: fp32[2, 3, 4], %i: int32[2, 3, 2]\n%y: fp32[2, 3, 2] = gather_along_axis(x=%x, indices=%i, axis=2)",
        {"x": X, "i": ints([[[-1, 0], [-4, 3], [2, -2]]] * 2)},
    ),
    Case(
        "gather_nd", "gather_nd", IOS15,
        "inputs %x: fp32[2, 3, 4], %i: int32[2, 2]\n%y: fp32[2, 4] = gather_nd(x=%x, indices=%i)",
        {"x": X, "i": ints([[-1, -3], [0, 2]])},
    ),
    Case(
        "gather_nd of a tensor of unknown size", "gather_nd", IOS15,
        "inputs %x: fp32[?, 3, ?], %i: int32[2, 2]\n%y: fp32[2, ?] = gather_nd(x=%x, indices=%i)",
        {"x": X, "i": ints([[-1, -3], [0, 2]])},
    ),
    Case(
        "gather_nd in batches", "gather_nd", IOS16,
        "inputs %x: fp32[2, 3, 4], %i: int32[2, 2, 1]\n%y: fp32[2, 2, 4] = gather_nd(x=%x, indices=%i, batch_dims=1)",
        {"x": X, "i": ints([[[-1], [0]], [[2], [-3]]])},
    ),
    Case(
        "gather_nd with constant indices", "gather_nd", IOS15,
        "inputs %x: fp32[2, 3, 4]\n%i: int32[2, 2] = const([[-1, -1], [0, -3]])\n%y: fp32[2, 4] = gather_nd(x=%x, indices=%i)",
        {"x": X},
    ),
]  # fmt: skip

SCATTERS: Final = [
    Case(
        "scatter", "scatter", IOS15,
        "inputs %x: fp32[2, 3, 4], %i: int32[2], %u: fp32[2, 2, 4]\n"
        '%y: fp32[2, 3, 4] = scatter(data=%x, indices=%i, updates=%u, axis=1, mode="add")',
        {"x": X, "i": ints([-1, 0]), "u": numbers(2, 2, 4)},
    ),
    Case(
        "scatter_along_axis", "scatter_along_axis", IOS15,
        "inputs %x: fp32[2, ?, 4], %i: int32[2, 2, 4], %u: fp32[2, 2, 4]\n"
        '%y: fp32[2, ?, 4] = scatter_along_axis(data=%x, indices=%i, updates=%u, axis=1, mode="update")',
        {"x": X, "i": ints([[[-1, 0, 1, -3], [1, -2, 0, 2]]] * 2), "u": numbers(2, 2, 4)},
    ),
    Case(
        "scatter_nd", "scatter_nd", IOS15,
        "inputs %x: fp32[2, 3, 4], %i: int32[2, 2], %u: fp32[2, 4]\n%y: fp32[2, 3, 4] = scatter_nd(data=%x, indices=%i, updates=%u)",
        {"x": X, "i": ints([[-1, -3], [0, 2]]), "u": numbers(2, 4)},
    ),
]

ORDERS: Final = [
    Case("topk", "topk", IOS15, "inputs %x: fp32[2, 3, 4]\n%v: fp32[2, 3, 2], %i: int32[2, 3, 2] = topk(x=%x, k=2)", {"x": X}),
    Case(
        "topk without indices", "topk", IOS16,
        "inputs %x: fp32[2, 3, 4]\n%v: fp32[2, 2, 4] = topk(x=%x, k=2, axis=1, sort=true, return_indices=false)",
        {"x": X},
    ),
    Case("reduce_argmax", "reduce_argmax", IOS15, "inputs %x: fp32[2, 3, 4]\n%y: int32[2, 4] = reduce_argmax(x=%x, axis=1)", {"x": X}),
    Case(
        "reduce_argmin", "reduce_argmin", IOS15,
        "inputs %x: fp32[2, 3, 4]\n%y: int32[2, 3, 1] = reduce_argmin(x=%x, axis=-1, keep_dims=true)",
        {"x": X},
    ),
    Case(
        "non_maximum_suppression", "non_maximum_suppression", IOS15,
        "inputs %b: fp32[1, 6, 4], %s: fp32[1, 6, 2]\n"
        "%ob: fp32[1, 4, 4], %os: fp32[1, 4, 2], %oi: int32[1, 4], %on: int32[1] = non_maximum_suppression("
        "boxes=%b, scores=%s, iou_threshold=0.3, score_threshold=-3.4e38, max_boxes=4, per_class_suppression=false)\n"
        "return %ob, %os, %oi",
        {"b": BOXES, "s": SCORES},
    ),
    Case(
        "non_maximum_suppression of sigmoids", "non_maximum_suppression", IOS16,
        "inputs %b: fp32[1, 6, 4], %l: fp32[1, 6, 2]\n"
        "%s: fp32[1, 6, 2] = sigmoid(x=%l)\n"
        "%ob: fp32[1, 4, 4], %os: fp32[1, 4, 2], %oi: int32[1, 4], %on: int32[1] = non_maximum_suppression("
        "boxes=%b, scores=%s, iou_threshold=0.3, score_threshold=0.0, max_boxes=4)\n"
        "return %oi",
        {"b": BOXES, "l": SCORES},
    ),
]  # fmt: skip

IMAGES: Final = [
    Case(
        "crop_resize of regions that name their image", "crop_resize", IOS15,
        "inputs %x: fp32[2, 3, 8, 9], %r: fp32[3, 1, 5, 1, 1]\n%c: fp32[3, 1, 3, 2, 3] = crop_resize(x=%x, roi=%r, " + CROP + ")\n"
        "%y: fp32[3, 3, 2, 3] = squeeze(x=%c, axes=[1])",
        {"x": numbers(2, 3, 8, 9), "r": np.array([[1, 0, 1, 5, 6], [0, 1.5, 2, 4, 8], [1, 2, 2, 7, 3]], np.float32).reshape(3, 1, 5, 1, 1)},
        loads=False,
    ),
    Case(
        "crop_resize of regions of one image", "crop_resize", IOS15,
        "inputs %x: fp32[1, 3, 8, 9], %r: fp32[2, 1, 5, 1, 1]\n%y: fp32[2, 1, 3, 2, 3] = crop_resize(x=%x, roi=%r, " + CROP + ")",
        {"x": numbers(1, 3, 8, 9), "r": np.array([[0, 0, 1, 5, 6], [0, 1.5, 2, 4, 8]], np.float32).reshape(2, 1, 5, 1, 1)},
    ),
    Case(
        "crop_resize of every image", "crop_resize", IOS15,
        "inputs %x: fp32[2, 3, 8, 9], %r: fp32[3, 1, 4, 1, 1]\n%y: fp32[3, 2, 3, 2, 3] = crop_resize(x=%x, roi=%r, " + CROP + ")",
        {"x": numbers(2, 3, 8, 9), "r": np.array([[0, 1, 5, 6], [1.5, 2, 4, 8], [2, 2, 7, 3]], np.float32).reshape(3, 1, 4, 1, 1)},
    ),
    Case(
        "crop_resize of any number of regions", "crop_resize", IOS16,
        "inputs %x: fp32[2, 3, ?, ?], %r: fp32[?, 1, 4, 1, 1]\n"
        "%y: fp32[?, 2, 3, 2, 3] = crop_resize(x=%x, roi=%r, pad_value=0.0, " + CROP + ")",
        {"x": numbers(2, 3, 8, 9), "r": np.array([[0, 1, 5, 6], [1.5, 2, 4, 8]], np.float32).reshape(2, 1, 4, 1, 1)},
        loads=False,
    ),
    Case(
        "upsample_bilinear", "upsample_bilinear", IOS15,
        "inputs %x: fp32[1, 2, 4, 4]\n%y: fp32[1, 2, 8, 8] = upsample_bilinear(x=%x, scale_factor_height=2.0, scale_factor_width=2.0, "
        "align_corners=false)",
        None,
    ),
]  # fmt: skip

BOUNDS: Final = [
    Case("clip", "clip", IOS15, "inputs %x: fp32[2, 3, 4]\n%y: fp32[2, 3, 4] = clip(x=%x, alpha=-1.0, beta=2.0)", {"x": X}),
    Case("clip to one number", "clip", IOS15, "inputs %x: fp32[2, 3, 4]\n%y: fp32[2, 3, 4] = clip(x=%x, alpha=1.0, beta=1.0)", {"x": X}),
    Case("clip to nothing", "clip", IOS16, "inputs %x: fp32[2, 3, 4]\n%y: fp32[2, 3, 4] = clip(x=%x, alpha=2.0, beta=-1.0)", {"x": X}),
    Case(
        "reshape with as many dimensions", "reshape", IOS15,
        "inputs %x: fp32[2, 3, 4]\n%y: fp32[2, 12, 1] = reshape(x=%x, shape=[0, -1, 1])",
        {"x": X},
    ),
]  # fmt: skip

RECURRENT: Final = [
    Case(
        "gru", "gru", IOS17,
        "inputs %x: fp32[5, 2, 3], %h: fp32[2, 1]\n"
        "%wi: fp32[3, 3] = const([[1.0, 0.5, 0.25], [1.0, 0.5, 0.25], [1.0, 0.5, 0.25]])\n%wh: fp32[3, 1] = const([[1.0], [0.5], [0.25]])\n"
        "%y: fp32[1, 2, 1], %last: fp32[2, 1] = gru(x=%x, initial_h=%h, weight_ih=%wi, weight_hh=%wh)",
        None,
    ),
]

CASES: Final = [*GATHERS, *SCATTERS, *ORDERS, *IMAGES, *BOUNDS, *RECURRENT]
"""All but the constexpr ops, which `test_constexprs.py` has."""
