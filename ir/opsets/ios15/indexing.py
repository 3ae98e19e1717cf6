"""iOS15: gather and scatter, sorting, suppression, and resampling of images."""

from __future__ import annotations

from typing import Final

from ir.infer import image, indexing
from ir.opset import IOS15
from ir.opsets.schema import FLOAT, INT, NUMBER, TEXT, TRUTH, Channels, OpSpec, family, option, setting, tensor
from ir.types import FP32, INT32

TABLE: Final = Channels(out=0, in_=1)
"""A table of embeddings: coremltools counts its rows as output channels."""
FACTOR: Final = (INT32, FP32)

GATHER: Final[tuple[OpSpec, ...]] = (
    *family(
        "gather",
        IOS15,
        tensor("x", NUMBER, "T", weight=TABLE),
        tensor("indices", INT),
        option("axis", INT, 0),
        infer=indexing.gather,
    ),
    *family(
        "gather_along_axis",
        IOS15,
        tensor("x", NUMBER, "T", weight=TABLE),
        tensor("indices", INT),
        option("axis", INT, 0),
        infer=indexing.gather_along_axis,
    ),
    *family(
        "gather_nd",
        IOS15,
        tensor("x", NUMBER, "T", weight=TABLE),
        tensor("indices", INT),
        infer=indexing.gather_nd,
    ),
    *family(
        "scatter scatter_along_axis",
        IOS15,
        tensor("data", NUMBER, "T"),
        tensor("indices", INT),
        tensor("updates", NUMBER, "T"),
        option("axis", INT, 0),
        option("mode", TEXT, "add"),
        infer=indexing.as_data,
    ),
    *family(
        "scatter_nd",
        IOS15,
        tensor("data", NUMBER, "T"),
        tensor("indices", INT),
        tensor("updates", NUMBER, "T"),
        option("mode", TEXT, "add"),
        infer=indexing.as_data,
    ),
)

ORDER: Final[tuple[OpSpec, ...]] = (
    *family(
        "argsort",
        IOS15,
        tensor("x", NUMBER, "T"),
        option("axis", INT, -1),
        option("ascending", TRUTH, False),
        infer=indexing.argsort,
    ),
    OpSpec(
        "topk",
        (
            tensor("x", NUMBER, "T"),
            option("k", INT, 1),
            option("axis", INT, -1),
            option("ascending", TRUTH, False),
        ),
        outputs=2,
        since=IOS15,
        infer=indexing.topk,
    ),
    OpSpec(
        "non_maximum_suppression",
        (
            tensor("boxes", FLOAT, "T"),
            tensor("scores", FLOAT, "T"),
            setting("iou_threshold", FLOAT, "T"),
            setting("score_threshold", FLOAT, "T"),
            setting("max_boxes", INT),
            option("per_class_suppression", TRUTH, False),
        ),
        outputs=4,
        since=IOS15,
        infer=indexing.non_maximum_suppression,
    ),
)

IMAGES: Final[tuple[OpSpec, ...]] = (
    *family(
        "affine",
        IOS15,
        tensor("x", FLOAT, "T"),
        tensor("transform_matrix", FLOAT, "T"),
        setting("output_height", INT),
        setting("output_width", INT),
        setting("sampling_mode", TEXT),
        setting("padding_mode", TEXT),
        setting("padding_value", FLOAT, "T"),
        setting("coordinates_mode", TEXT),
        setting("align_corners", TRUTH),
        infer=image.affine,
    ),
    *family(
        "crop",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("crop_height", INT),
        setting("crop_width", INT),
        infer=image.crop,
    ),
    *family(
        "crop_resize",
        IOS15,
        tensor("x", FLOAT, "T"),
        tensor("roi", FLOAT, "T"),
        option("target_height", INT, 1),
        option("target_width", INT, 1),
        option("normalized_coordinates", TRUTH, False),
        option("spatial_scale", (FP32,), 1.0),
        option("box_coordinate_mode", TEXT, "CORNERS_HEIGHT_FIRST"),
        option("sampling_mode", TEXT, "DEFAULT"),
        infer=image.crop_resize_roi,
    ),
    *family(
        "resample",
        IOS15,
        tensor("x", FLOAT, "T"),
        tensor("coordinates", FACTOR, "U"),
        setting("sampling_mode", TEXT),
        setting("padding_mode", TEXT),
        setting("padding_value", FLOAT, "T"),
        setting("coordinates_mode", TEXT),
        setting("align_corners", TRUTH),
        infer=image.resample,
    ),
    *family(
        "resize_bilinear",
        IOS15,
        tensor("x", FLOAT, "T"),
        option("target_size_height", INT, 1),
        option("target_size_width", INT, 1),
        option("sampling_mode", TEXT, "DEFAULT"),
        infer=image.resize_to_target,
    ),
    *family(
        "resize_nearest_neighbor",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("target_size_height", INT),
        setting("target_size_width", INT),
        infer=image.resize_to_target,
    ),
    *family(
        "upsample_bilinear",
        IOS15,
        tensor("x", FLOAT, "T"),
        option("scale_factor_height", FACTOR, 1, "U"),
        option("scale_factor_width", FACTOR, 1, "U"),
        option("align_corners", TRUTH, True),
        infer=image.upsample,
    ),
    *family(
        "upsample_nearest_neighbor",
        IOS15,
        tensor("x", FLOAT, "T"),
        option("scale_factor_height", FACTOR, 1, "U"),
        option("scale_factor_width", FACTOR, 1, "U"),
        infer=image.upsample,
    ),
)

ROWS: Final = (*GATHER, *ORDER, *IMAGES)
