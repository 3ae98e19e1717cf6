"""One call or more of nearly every op, with concrete operands: what coremltools' builder and our tables are asked about alike."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from attrs import frozen

from ir.opset import IOS15, IOS16, IOS17, IOS18, Opset
from ir.tensors import Array


@frozen
class X:
    """An operand that is known at run time only."""

    shape: tuple[int, ...]
    dtype: str = "fp32"


@frozen
class Sample:
    """A call that is legal in the opset `since` and, unless `until` is given, in all later ones.

    Values are `X`, Python or NumPy literals; tuples hold the operands of a variadic parameter.
    """

    op_type: str
    operands: dict[str, Any]
    since: Opset = IOS15
    until: Opset = IOS18


def f32(*shape: int) -> Array:
    """Numbers that are neither all equal nor special."""
    return np.asarray(np.arange(int(np.prod(shape))).reshape(shape) % 7 / 8 + 0.25, np.float32)


def i32(*values: int) -> Array:
    return np.array(values, np.int32)


def flags(*values: bool) -> Array:
    return np.array(values, np.bool_)


def _s(op_type: str, since: Opset = IOS15, until: Opset = IOS18, /, **operands: Any) -> Sample:
    return Sample(op_type, operands, since, until)


IMAGE: Final = X((1, 8, 12, 10))

UNARY: Final = (
    "abs acos asin atan atanh ceil cos cosh erf exp exp2 floor inverse log round rsqrt sign sin sinh sqrt square tan tanh "
    "relu relu6 sigmoid silu softplus softsign gelu softmax identity"
)
BINARY: Final = "add equal floor_div greater greater_equal less less_equal maximum minimum mod mul not_equal pow real_div sub"
REDUCTIONS: Final = "l1_norm l2_norm log_sum log_sum_exp max mean min prod sum sum_square"

ELEMENTWISE: Final = [
    *(
        _s(op_type, x=X((2, 3)))
        for op_type in UNARY.split()
    ),
    *(
        _s(op_type, x=X(x), y=X(y))
        for op_type in BINARY.split()
        for x, y in (((2, 3), (2, 3)), ((2, 1, 4), (3, 1)), ((), (5,)))
    ),
    _s("add", x=X((2, 3)), y=np.float32(1)),
    *(_s(op_type, x=X((2, 3), "bool"), y=X((3,), "bool")) for op_type in ("logical_and", "logical_or", "logical_xor")),
    _s("logical_not", x=X((2, 3), "bool")),
    *(_s("cast", x=X((2, 3)), dtype=dtype) for dtype in ("fp16", "int32", "bool")),
    _s("cast", IOS17, x=X((2, 3)), dtype="int8"),
    _s("clip", x=X((2, 3)), alpha=np.float32(0), beta=np.float32(6)),
    _s("threshold", x=X((2, 3)), alpha=np.float32(0)),
    *(_s(op_type, x=X((2, 3)), alpha=np.float32(0.5)) for op_type in ("elu", "leaky_relu", "thresholded_relu")),
    _s("prelu", x=IMAGE, alpha=f32(8)),
    *(
        _s(op_type, x=X((2, 3)), alpha=np.float32(0.5), beta=np.float32(0.75))
        for op_type in ("clamped_relu", "linear_activation", "scaled_tanh", "sigmoid_hard")
    ),
    _s("softplus_parametric", x=IMAGE, alpha=f32(8), beta=f32(8)),
    _s("select", cond=X((2, 3), "bool"), a=X((2, 3)), b=X((2, 3))),
    _s("quantize", IOS17, input=X((2, 3)), scale=np.float32(0.5), output_dtype="int8"),
    _s("quantize", IOS17, input=X((2, 3)), scale=f32(3), zero_point=np.zeros(3, np.uint8), axis=1, output_dtype="uint8"),
    _s("dequantize", IOS17, input=X((2, 3), "int8"), scale=np.float32(0.5)),
    _s("dequantize", IOS17, input=X((2, 3), "uint8"), scale=f32(2), zero_point=np.zeros(2, np.uint8), axis=-2),
]

LAYERS: Final = [
    _s("conv", x=IMAGE, weight=f32(4, 8, 3, 3)),
    _s("conv", x=IMAGE, weight=f32(4, 8, 3, 2), bias=f32(4), strides=i32(2, 3), pad_type="same"),
    _s("conv", IOS16, x=IMAGE, weight=f32(4, 8, 3, 2), strides=i32(2, 3), pad_type="same_lower"),
    _s("conv", x=IMAGE, weight=f32(8, 1, 3, 3), groups=8, pad_type="custom", pad=i32(1, 2, 0, 1), dilations=i32(2, 1)),
    _s("conv", x=X((2, 4, 9)), weight=f32(6, 4, 3), strides=i32(2)),
    _s("conv", x=X((1, 2, 5, 6, 7)), weight=f32(3, 2, 2, 3, 1)),
    _s("conv_transpose", x=IMAGE, weight=f32(8, 4, 3, 3)),
    _s("conv_transpose", x=IMAGE, weight=f32(8, 2, 3, 3), groups=2, bias=f32(4), strides=i32(2, 2), pad_type="same"),
    _s("conv_transpose", x=IMAGE, weight=f32(8, 4, 3, 3), strides=i32(2, 3), pad_type="custom", pad=i32(1, 0, 2, 1)),
    _s("conv_transpose", x=IMAGE, weight=f32(8, 4, 3, 3), strides=i32(2, 2), output_shape=i32(1, 4, 25, 21)),
    *(
        _s(op_type, x=IMAGE, kernel_sizes=i32(3, 2), pad_type=pad_type, strides=i32(2, 3))
        for op_type in ("avg_pool", "l2_pool", "max_pool")
        for pad_type in ("valid", "same")
    ),
    _s("max_pool", x=IMAGE, kernel_sizes=i32(3, 3), pad_type="custom", pad=i32(1, 1, 1, 1), strides=i32(2, 2), ceil_mode=True),
    _s("max_pool", x=IMAGE, kernel_sizes=i32(3, 3), pad_type="valid", strides=i32(2, 2), ceil_mode=True),
    _s("max_pool", x=IMAGE, kernel_sizes=i32(2, 2), pad_type="valid"),
    _s("linear", x=X((2, 3)), weight=f32(5, 3)),
    _s("linear", x=X((4, 2, 3)), weight=f32(5, 3), bias=f32(5)),
    _s("matmul", x=X((2, 3)), y=X((3, 4))),
    _s("matmul", x=X((5, 1, 3, 2)), y=f32(7, 4, 3), transpose_x=True, transpose_y=True),
    _s("matmul", x=X((3,)), y=X((3, 4))),
    _s("einsum", values=(X((2, 3, 4, 5)), X((2, 5, 4, 6))), equation="nchw,nwhu->nchu"),
    _s("einsum", values=(X((3, 1, 5)), X((5, 4, 6))), equation="chw,whr->chr"),
    _s("scaled_dot_product_attention", IOS18, query=X((2, 4, 3, 8)), key=X((2, 4, 6, 8)), value=X((2, 4, 6, 5))),
    _s(
        "scaled_dot_product_attention", IOS18,
        query=X((2, 3, 8)), key=X((2, 6, 8)), value=X((2, 6, 5)), attn_mask=X((1, 3, 6), "bool"),
    ),
    _s("batch_norm", x=IMAGE, mean=f32(8), variance=f32(8), gamma=f32(8), beta=f32(8)),
    _s("instance_norm", x=IMAGE, gamma=f32(8), beta=f32(8)),
    _s("layer_norm", x=X((2, 3, 8)), axes=i32(-1), gamma=f32(8), beta=f32(8)),
    _s("l2_norm", x=IMAGE),
    _s("local_response_norm", x=IMAGE, size=3),
    *(
        _s(op_type, x=X((7, 2, 3)), initial_h=X((2, 4)), weight_ih=f32(n * 4, 3), weight_hh=f32(n * 4, 4), bias=f32(n * 4), **more)
        for op_type, n in (("gru", 3), ("rnn", 1))
        for more in ({}, {"output_sequence": True, "direction": "reverse"})
    ),
    _s("gru", IOS18, x=X((7, 2, 3)), initial_h=X((2, 4)), weight_ih=f32(12, 3), weight_hh=f32(12, 4), input_bias=f32(12)),
    _s("lstm", x=X((7, 2, 3)), initial_h=X((2, 4)), initial_c=X((2, 4)), weight_ih=f32(16, 3), weight_hh=f32(16, 4)),
    _s(
        "lstm",
        x=X((7, 2, 3)), initial_h=X((2, 8)), initial_c=X((2, 8)), weight_ih=f32(16, 3), weight_hh=f32(16, 4), bias=f32(16),
        weight_ih_back=f32(16, 3), weight_hh_back=f32(16, 4), bias_back=f32(16), peephole=f32(12), peephole_back=f32(12),
        direction="bidirectional", output_sequence=True,
    ),
]  # fmt: skip

MOVEMENT: Final = [
    *(
        _s(f"reduce_{name}", x=X((2, 3, 4)), **more)
        for name in REDUCTIONS.split()
        for more in ({}, {"axes": i32(-1, 0)}, {"axes": i32(1), "keep_dims": True})
    ),
    *(_s(f"reduce_{name}", x=X((2, 3, 4)), **more) for name in ("argmax", "argmin") for more in ({}, {"axis": 1, "keep_dims": True})),
    _s("reduce_argmax", IOS17, x=X((2, 3, 4)), axis=0, output_dtype="uint16"),
    _s("reshape", x=X((2, 3, 4)), shape=i32(4, -1)),
    _s("reshape", x=X((2, 3, 4)), shape=i32(0, 12, 1)),
    _s("reshape", IOS15, IOS16, x=X((2, 3, 4)), shape=i32(0, -1, 0)),
    _s("reshape", IOS17, x=X((2, 50)), shape=i32(1, 0, -1, 0)),
    _s("reshape", x=X((2, 3, 4)), shape=X((2,), "int32")),
    _s(
        "reshape_like", IOS16,
        x=X((2, 3, 4)), ref_tensors=(X((6, 5)), X((7, 4))), begins=(0, 1), ends=(1, 0), end_masks=(False, True),
    ),
    _s("transpose", x=X((2, 3, 4)), perm=i32(-1, 0, 1)),
    _s("expand_dims", x=X((2, 3)), axes=i32(-1, 0)),
    _s("squeeze", x=X((1, 3, 1))),
    _s("squeeze", x=X((1, 3, 1)), axes=i32(-1)),
    _s("flatten2d", x=X((2, 3, 4)), axis=-1),
    _s("flatten2d", x=X((2, 3, 4))),
    _s("reverse", x=X((2, 3)), axes=i32(0)),
    _s("reverse_sequence", x=X((2, 3)), lengths=i32(1, 2), seq_axis=1),
    _s("depth_to_space", x=IMAGE, block_size=2),
    _s("space_to_depth", x=IMAGE, block_size=2),
    _s("pixel_shuffle", x=IMAGE, upscale_factor=2),
    _s("pixel_unshuffle", IOS16, x=IMAGE, downscale_factor=np.uint32(2)),
    _s("batch_to_space", x=X((4, 1, 3, 2)), block_shape=i32(2, 2), crops=np.array([[1, 0], [0, 1]], np.int32)),
    _s("space_to_batch", x=X((1, 1, 5, 3)), block_shape=i32(2, 2), paddings=np.array([[1, 0], [0, 1]], np.int32)),
    _s("slice_by_index", x=X((8, 9, 10)), begin=i32(1, -5, 0), end=i32(7, -1, 3), stride=i32(2, 1, 2)),
    _s(
        "slice_by_index",
        x=X((8, 9, 10)), begin=i32(7, 1, 0), end=i32(0, 0, 4), stride=i32(-2, 1, 1),
        begin_mask=flags(True, False, False), end_mask=flags(True, True, False), squeeze_mask=flags(False, False, True),
    ),
    _s("slice_by_index", x=X((8, 9)), begin=X((2,), "int32"), end=X((2,), "int32")),
    _s("slice_by_size", x=X((8, 9)), begin=i32(1, 2), size=i32(3, -1)),
    _s("slice_update", IOS18, x=X((8, 9)), update=X((3, 9)), begin=i32(1, 0), end=i32(4, 9)),
    _s("sliding_windows", x=X((2, 10, 3)), axis=1, size=4, stride=3),
    _s("split", x=X((2, 9)), num_splits=3, axis=-1),
    _s("split", x=X((2, 9)), split_sizes=i32(2, 3, 4), axis=1),
    _s("concat", values=(X((2, 3)), X((2, 4))), axis=-1),
    _s("concat", values=(X((2, 3)), X((2, 3))), axis=0, interleave=True),
    _s("stack", values=(X((2, 3)), X((2, 3)), X((2, 3))), axis=-1),
    _s("pad", x=X((1, 2, 3)), pad=i32(1, 2, 3, 4), mode="reflect"),
    _s("pad", x=X((2, 3)), pad=i32(1, 0, 0, 0)),
    _s("tile", x=X((2, 3)), reps=i32(1, 4)),
    _s("band_part", x=X((3, 3)), lower=1),
    _s("cumsum", x=X((3, 3)), axis=-1),
    _s("fill", shape=i32(2, 3), value=np.int32(1)),
    _s("fill", shape=i32(2, 3)),
    _s("fill", shape=X((2,), "int32")),
    _s("fill_like", IOS16, ref_tensor=X((2, 3)), value=np.int32(1)),
    _s("range_1d", end=10, start=1, step=4),
    _s("range_1d", end=np.float32(1), start=np.float32(0), step=np.float32(0.3)),
    _s("range_1d", end=X((), "int32"), start=0, step=1),
    _s("shape", x=X((2, 3))),
    _s("non_zero", x=X((2, 3))),
    _s("one_hot", indices=X((2, 3), "int32"), one_hot_vector_size=5),
    _s("one_hot", indices=X((2, 3), "int32"), one_hot_vector_size=5, axis=1, on_value=np.float32(1), off_value=np.float32(0)),
]  # fmt: skip

INDEXING: Final = [
    _s("gather", x=X((5, 4, 3)), indices=X((2, 6), "int32"), axis=1),
    _s("gather", x=f32(5, 4), indices=X((), "int32")),
    _s("gather", IOS16, x=X((2, 4, 3)), indices=X((2, 6), "int32"), axis=2, batch_dims=1),
    _s("gather_along_axis", x=X((5, 4)), indices=X((5, 2), "int32"), axis=-1),
    _s("gather_nd", x=X((5, 4, 3)), indices=X((6, 2), "int32")),
    _s("gather_nd", IOS16, x=X((2, 4, 3)), indices=X((2, 6, 1), "int32"), batch_dims=1),
    _s("scatter", data=X((5, 4)), indices=X((2,), "int32"), updates=X((2, 4))),
    _s("scatter_along_axis", data=X((5, 4)), indices=X((2, 4), "int32"), updates=X((2, 4))),
    _s("scatter_nd", data=X((5, 4)), indices=X((2, 1), "int32"), updates=X((2, 4)), mode="update"),
    _s("argsort", x=X((2, 3))),
    _s("topk", x=X((2, 9)), k=3),
    _s("topk", IOS16, x=X((2, 9)), k=3, axis=0 - 1, return_indices=False),
    _s("topk", IOS17, x=X((2, 9)), k=3, output_indices_dtype="uint16"),
    _s(
        "non_maximum_suppression", IOS15, IOS16,
        boxes=X((1, 9, 4)), scores=X((1, 9, 3)), iou_threshold=np.float32(0.5), score_threshold=np.float32(0.1), max_boxes=5,
    ),
    _s(
        "non_maximum_suppression", IOS17,
        boxes=X((1, 4, 9)), scores=X((1, 3, 9)), iou_threshold=np.float32(0.5), max_boxes=5,
    ),
    _s(
        "affine", x=IMAGE, transform_matrix=X((1, 6)), output_height=5, output_width=6, sampling_mode="bilinear",
        padding_mode="constant", padding_value=np.float32(0), coordinates_mode="normalized_minus_one_to_one", align_corners=True,
    ),
    _s("crop", x=IMAGE, crop_height=i32(1, 2), crop_width=i32(0, 3)),
    _s("crop_resize", IOS15, IOS16, x=IMAGE, roi=X((3, 1, 5, 1, 1)), target_height=4, target_width=6),
    _s("crop_resize", IOS17, x=IMAGE, boxes=X((3, 4)), box_indices=i32(0, 0, 0), target_height=4),
    _s(
        "resample", x=IMAGE, coordinates=X((1, 5, 6, 2)), sampling_mode="bilinear", padding_mode="constant",
        padding_value=np.float32(0), coordinates_mode="unnormalized", align_corners=True,
    ),
    _s("resize_bilinear", x=IMAGE, target_size_height=20, target_size_width=7),
    _s("resize_nearest_neighbor", x=IMAGE, target_size_height=20, target_size_width=7),
    _s("resize", IOS17, x=IMAGE, shape=i32(1, 20, 0), resized_dims=np.uint32(2)),
    _s("upsample_bilinear", x=IMAGE, scale_factor_height=2, scale_factor_width=3),
    _s("upsample_bilinear", IOS16, x=IMAGE, scale_factor_height=1.5, scale_factor_width=2.5, half_pixel_centers=True),
    _s("upsample_nearest_neighbor", x=IMAGE, scale_factor_height=2),
]  # fmt: skip

SOURCES: Final = [
    *(_s(op_type, shape=i32(2, 3)) for op_type in ("random_bernoulli", "random_normal", "random_uniform")),
    _s("random_normal", shape=X((2,), "int32")),
    _s("random_categorical", x=X((2, 3)), size=4),
]

SAMPLES: Final = [*ELEMENTWISE, *LAYERS, *MOVEMENT, *INDEXING, *SOURCES]
