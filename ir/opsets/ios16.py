"""iOS16: the first constexpr ops, batched gathers, and a few parameters more."""

from __future__ import annotations

from typing import Final

from ir.infer import compression, indexing, movement, sources
from ir.opset import IOS16
from ir.opsets import ios15
from ir.opsets.schema import (
    BYTE,
    FLOAT,
    INDEX_16,
    INT,
    LUT_ENTRY,
    PLAIN,
    SHAPE_U32,
    TEXT,
    TRUTH,
    OpSpec,
    family,
    latest,
    option,
    setting,
    tensor,
    tensors,
)
from ir.types import FP16, FP32, INT8, INT32, UINT8

BASE: Final = latest(ios15.ROWS)

CONSTEXPR: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "constexpr_affine_dequantize",
        (
            setting("quantized_data", BYTE, "SrcT"),
            setting("zero_point", (INT8, UINT8, FP32), "ZeroPointT"),
            setting("scale", FLOAT, "DstT"),
            setting("axis", INT),
        ),
        outputs=1,
        since=IOS16,
        infer=compression.affine_dequantize,
        attributes=frozenset({"quantized_data", "zero_point", "scale", "axis"}),
    ),
    OpSpec(
        "constexpr_cast",
        (setting("source_val", (FP16,)), setting("output_dtype", TEXT)),
        outputs=1,
        since=IOS16,
        infer=compression.cast,
        attributes=frozenset({"source_val", "output_dtype"}),
    ),
    OpSpec(
        "constexpr_lut_to_dense",
        (setting("indices", (UINT8,)), setting("lut", LUT_ENTRY, "T"), setting("shape", SHAPE_U32)),
        outputs=1,
        since=IOS16,
        infer=compression.packed_lut_to_dense,
        attributes=frozenset({"indices", "lut", "shape"}),
    ),
    OpSpec(
        "constexpr_sparse_to_dense",
        (setting("nonzero_data", LUT_ENTRY, "T"), setting("mask", (UINT8,)), setting("shape", SHAPE_U32)),
        outputs=1,
        since=IOS16,
        infer=compression.packed_sparse_to_dense,
        attributes=frozenset({"nonzero_data", "mask", "shape"}),
    ),
)

NEW: Final[tuple[OpSpec, ...]] = (
    *family(
        "fill_like", IOS16, tensor("ref_tensor", PLAIN, "T"), option("value", PLAIN, 0.0, "U"), infer=sources.fill_like
    ),
    *family(
        "pixel_unshuffle",
        IOS16,
        tensor("x", FLOAT, "T"),
        setting("downscale_factor", SHAPE_U32),
        infer=movement.pixel_unshuffle,
    ),
    *family(
        "reshape_like",
        IOS16,
        tensor("x", PLAIN, "T"),
        tensors("ref_tensors", PLAIN),
        tensors("begins", INT),
        tensors("ends", INT),
        tensors("end_masks", TRUTH),
        infer=movement.reshape_like,
    ),
)

CHANGED: Final[tuple[OpSpec, ...]] = (
    BASE["crop_resize"].revised(IOS16, option("pad_value", FLOAT, 0.0, "T")),
    BASE["gather"].revised(IOS16, tensor("indices", INDEX_16, "I"), option("batch_dims", INT, 0)),
    BASE["gather_along_axis"].revised(IOS16, tensor("indices", INDEX_16, "I")),
    BASE["gather_nd"].revised(IOS16, tensor("indices", INDEX_16, "I"), option("batch_dims", INT, 0)),
    BASE["resample"].revised(IOS16, tensor("coordinates", (INT32, FP16, FP32), "U")),
    OpSpec(
        "topk",
        (
            *BASE["topk"].params,
            option("sort", TRUTH, True),
            option("return_indices", TRUTH, True),
        ),
        outputs=None,
        since=IOS16,
        infer=indexing.topk,
    ),
    # Leaving half_pixel_centers out is not the same as either of its values: it keeps iOS15's meaning.
    BASE["upsample_bilinear"].revised(IOS16, option("half_pixel_centers", TRUTH)),
)

ROWS: Final = (*CONSTEXPR, *NEW, *CHANGED)
