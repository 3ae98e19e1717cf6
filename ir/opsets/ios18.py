"""iOS18: compression with blocks, groups, vectors and chains; states; attention."""

from __future__ import annotations

from typing import Final

from ir.infer import compression, linear, movement, sources
from ir.opset import IOS18
from ir.opsets import ios15, ios16, ios17
from ir.opsets.schema import (
    ANYTHING,
    FLOAT,
    INT,
    LUT_ENTRY,
    LUT_INDEX,
    NARROW_OR_BOOL,
    QUANTIZED,
    SHAPE_INT,
    TEXT,
    TRUTH,
    Effect,
    Meaning,
    OpSpec,
    Param,
    constant,
    family,
    latest,
    option,
    setting,
    tensor,
)
from ir.types import BOOL, FP16, FP32, UINT1

BASE: Final = latest(ios15.ROWS, ios16.ROWS, ios17.ROWS)
STATE: Final = Param("input", "state", ANYTHING)

CONSTEXPR: Final[tuple[OpSpec, ...]] = (
    *family(
        "constexpr_blockwise_shift_scale",
        IOS18,
        constant("data", QUANTIZED, "SrcT", constexpr=IOS18),
        constant("scale", FLOAT, "DstT", constexpr=IOS18),
        constant("offset", QUANTIZED, "OffsetT", optional=True, constexpr=IOS18),
        infer=compression.blockwise_shift_scale,
    ),
    *family(
        "constexpr_cast",
        IOS18,
        constant("source_val", (FP16,), constexpr=IOS18),
        setting("output_dtype", TEXT),
        infer=compression.cast,
        meaning=Meaning.INPUTS,
    ),
    *family(
        "constexpr_lut_to_dense",
        IOS18,
        constant("indices", LUT_INDEX, "IndicesT", constexpr=IOS18),
        constant("lut", LUT_ENTRY, "T", constexpr=IOS18),
        option("vector_axis", INT),
        infer=compression.lut_to_dense,
        meaning=Meaning.UNPACKED_INDICES,
    ),
    OpSpec(
        "constexpr_lut_to_sparse",
        (
            constant("indices_mask", (UINT1,), constexpr=IOS18),
            constant("indices_nonzero_data", LUT_INDEX, "IndicesT", constexpr=IOS18),
            constant("lut", LUT_ENTRY, "T", constexpr=IOS18),
            option("vector_axis", INT),
        ),
        outputs=2,
        since=IOS18,
        infer=compression.lut_to_sparse,
    ),
    OpSpec(
        "constexpr_sparse_blockwise_shift_scale",
        (
            constant("data_mask", (UINT1,), constexpr=IOS18),
            constant("nonzero_data", QUANTIZED, "SrcT", constexpr=IOS18),
            constant("scale", FLOAT, "DstT", constexpr=IOS18),
            constant("offset", QUANTIZED, "OffsetT", optional=True, constexpr=IOS18),
        ),
        outputs=2,
        since=IOS18,
        infer=compression.sparse_blockwise_shift_scale,
    ),
    *family(
        "constexpr_sparse_to_dense",
        IOS18,
        constant("nonzero_data", QUANTIZED, "T", constexpr=IOS18),
        constant("mask", (UINT1,), constexpr=IOS18),
        infer=compression.sparse_to_dense,
        meaning=Meaning.UNPACKED_MASK,
    ),
)

STATES: Final[tuple[OpSpec, ...]] = (
    OpSpec("read_state", (STATE,), 1, IOS18, Effect.READS, infer=sources.read_state),
    OpSpec("write_state", (STATE, tensor("data", NARROW_OR_BOOL, "T")), 0, IOS18, Effect.WRITES, infer=sources.write_state),
)

NEW: Final[tuple[OpSpec, ...]] = (
    *family(
        "scaled_dot_product_attention",
        IOS18,
        tensor("query", FLOAT, "T"),
        tensor("key", FLOAT, "T"),
        tensor("value", FLOAT, "T"),
        tensor("attn_mask", (BOOL, FP16, FP32), "M", optional=True),
        infer=linear.attention,
    ),
    *family(
        "slice_update",
        IOS18,
        tensor("x", NARROW_OR_BOOL, "T"),
        tensor("update", NARROW_OR_BOOL, "T"),
        tensor("begin", SHAPE_INT, "U"),
        tensor("end", SHAPE_INT, "U"),
        option("stride", SHAPE_INT, None, "U"),
        option("begin_mask", TRUTH),
        option("end_mask", TRUTH),
        option("squeeze_mask", TRUTH),
        infer=movement.slice_update,
    ),
)

CHANGED: Final[tuple[OpSpec, ...]] = (
    BASE["gru"].revised(
        IOS18, option("reset_after", TRUTH, False), constant("input_bias", FLOAT, "T", optional=True)
    ),
)

ROWS: Final = (*CONSTEXPR, *STATES, *NEW, *CHANGED)
