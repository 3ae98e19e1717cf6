"""iOS15: reductions, and ops that make, reshape, move and select whole tensors."""

from __future__ import annotations

from typing import Final

from ir.infer import indexing, movement, reduction, sources
from ir.infer.elementwise import as_x
from ir.opset import IOS15
from ir.opsets.schema import (
    ANYTHING,
    FLOAT,
    INT,
    NUMBER,
    PLAIN,
    TEXT,
    TRUTH,
    OpSpec,
    Param,
    family,
    option,
    setting,
    tensor,
    tensors,
)

REDUCTIONS: Final[tuple[OpSpec, ...]] = (
    *family(
        "reduce_l1_norm reduce_l2_norm reduce_log_sum reduce_log_sum_exp reduce_max reduce_mean reduce_min reduce_prod "
        "reduce_sum reduce_sum_square",
        IOS15,
        tensor("x", NUMBER, "T"),
        option("axes", INT),
        option("keep_dims", TRUTH, False),
        infer=reduction.reduce,
    ),
    *family(
        "reduce_argmax reduce_argmin",
        IOS15,
        tensor("x", NUMBER, "T"),
        option("axis", INT, -1),
        option("keep_dims", TRUTH, False),
        infer=reduction.arg_reduce,
    ),
)

SHAPES: Final[tuple[OpSpec, ...]] = (
    *family("reshape", IOS15, tensor("x", PLAIN, "T"), tensor("shape", INT), infer=movement.reshape),
    *family("transpose", IOS15, tensor("x", PLAIN, "T"), setting("perm", INT), infer=movement.transpose),
    *family("expand_dims", IOS15, tensor("x", PLAIN, "T"), setting("axes", INT), infer=movement.expand_dims),
    *family("squeeze", IOS15, tensor("x", PLAIN, "T"), option("axes", INT), infer=movement.squeeze),
    *family("flatten2d", IOS15, tensor("x", PLAIN, "T"), option("axis", INT, 1), infer=movement.flatten2d),
    *family("identity", IOS15, Param("x", "any", ANYTHING), infer=as_x),
    *family("reverse", IOS15, tensor("x", PLAIN, "T"), option("axes", INT), infer=as_x),
    *family(
        "reverse_sequence",
        IOS15,
        tensor("x", PLAIN, "T"),
        tensor("lengths", INT),
        option("seq_axis", INT, 0),
        option("batch_axis", INT, 0),
        infer=as_x,
    ),
    *family(
        "depth_to_space", IOS15, tensor("x", FLOAT, "T"), setting("block_size", INT), infer=movement.depth_to_space
    ),
    *family(
        "space_to_depth", IOS15, tensor("x", FLOAT, "T"), setting("block_size", INT), infer=movement.space_to_depth
    ),
    *family(
        "pixel_shuffle", IOS15, tensor("x", FLOAT, "T"), setting("upscale_factor", INT), infer=movement.pixel_shuffle
    ),
    *family(
        "batch_to_space",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("block_shape", INT),
        setting("crops", INT),
        infer=movement.batch_to_space,
    ),
    *family(
        "space_to_batch",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("block_shape", INT),
        setting("paddings", INT),
        infer=movement.space_to_batch,
    ),
)

SELECTION: Final[tuple[OpSpec, ...]] = (
    *family(
        "slice_by_index",
        IOS15,
        tensor("x", PLAIN, "T"),
        tensor("begin", INT),
        tensor("end", INT),
        option("stride", INT),
        option("begin_mask", TRUTH),
        option("end_mask", TRUTH),
        option("squeeze_mask", TRUTH),
        infer=movement.slice_by_index,
    ),
    *family(
        "slice_by_size",
        IOS15,
        tensor("x", PLAIN, "T"),
        tensor("begin", INT),
        tensor("size", INT),
        infer=movement.slice_by_size,
    ),
    *family(
        "sliding_windows",
        IOS15,
        tensor("x", NUMBER, "T"),
        setting("axis", INT),
        setting("size", INT),
        option("stride", INT, 1),
        infer=movement.sliding_windows,
    ),
    OpSpec(
        "split",
        (
            tensor("x", PLAIN, "T"),
            option("num_splits", INT),
            option("split_sizes", INT),
            setting("axis", INT),
        ),
        outputs=None,
        since=IOS15,
        infer=movement.split,
    ),
    *family(
        "concat",
        IOS15,
        tensors("values", ANYTHING, "T"),
        setting("axis", INT),
        option("interleave", TRUTH, False),
        infer=movement.concat,
    ),
    *family("stack", IOS15, tensors("values", ANYTHING, "T"), setting("axis", INT), infer=movement.stack),
    *family(
        "pad",
        IOS15,
        tensor("x", FLOAT, "T"),
        tensor("pad", INT),
        option("mode", TEXT, "constant"),
        option("constant_val", FLOAT, 0.0, "T"),
        infer=movement.pad,
    ),
    *family("tile", IOS15, tensor("x", PLAIN, "T"), tensor("reps", INT), infer=movement.tile),
    *family(
        "band_part",
        IOS15,
        tensor("x", PLAIN, "T"),
        option("lower", INT, -1),
        option("upper", INT, -1),
        infer=as_x,
    ),
    *family(
        "cumsum",
        IOS15,
        tensor("x", NUMBER, "T"),
        option("axis", INT, 0),
        option("exclusive", TRUTH, False),
        option("reverse", TRUTH, False),
        infer=as_x,
    ),
)

SOURCES: Final[tuple[OpSpec, ...]] = (
    *family("fill", IOS15, tensor("shape", INT), option("value", PLAIN, 0.0, "T"), infer=sources.fill),
    *family(
        "range_1d",
        IOS15,
        tensor("end", NUMBER, "T"),
        tensor("start", NUMBER, "T"),
        tensor("step", NUMBER, "T"),
        infer=sources.range_1d,
    ),
    *family("shape", IOS15, tensor("x", PLAIN, "T"), infer=sources.shape),
    *family("non_zero", IOS15, tensor("x", PLAIN, "T"), infer=indexing.non_zero),
    *family(
        "one_hot",
        IOS15,
        tensor("indices", INT),
        tensor("one_hot_vector_size", INT),
        option("axis", INT, -1),
        option("on_value", PLAIN, 1, "T"),
        option("off_value", PLAIN, 0, "T"),
        infer=indexing.one_hot,
    ),
)

ROWS: Final = (*REDUCTIONS, *SHAPES, *SELECTION, *SOURCES)
