"""iOS17: activations can be quantized, most ops take more element types, and negative indices are out of bounds."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from ir.infer import elementwise, image, indexing, movement
from ir.opset import IOS17
from ir.opsets import ios15, ios16
from ir.opsets.schema import (
    BYTE,
    FLOAT,
    INDEX,
    INT,
    NARROW,
    NARROW_OR_BOOL,
    NUMBER,
    SHAPE_INT,
    TEXT,
    TRUTH,
    Channels,
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
from ir.types import FP16, FP32, INT8, INT16, INT32, UINT8, UINT16, UINT32

BASE: Final = latest(ios15.ROWS, ios16.ROWS)
OUT_IN: Final = Channels(out=0, in_=1)
VALIDATE: Final = option("validate_indices", TRUTH, False)

NEW: Final[tuple[OpSpec, ...]] = (
    *family(
        "dequantize",
        IOS17,
        tensor("input", BYTE, "SrcT"),
        option("zero_point", BYTE, None, "SrcT"),
        setting("scale", FLOAT, "DstT"),
        option("axis", INT),
        infer=elementwise.dequantize,
    ),
    *family(
        "quantize",
        IOS17,
        tensor("input", FLOAT, "SrcT"),
        option("zero_point", BYTE, None, "DstT"),
        setting("scale", FLOAT, "SrcT"),
        option("axis", INT),
        setting("output_dtype", TEXT),
        infer=elementwise.quantize,
    ),
    *family(
        "resize",
        IOS17,
        tensor("x", NUMBER, "T"),
        tensor("shape", (INT32, INT16, UINT16, UINT32), "U"),
        setting("resized_dims", (UINT32,)),
        option("interpolation_mode", TEXT, "LINEAR"),
        option("sampling_mode", TEXT, "DEFAULT"),
        infer=image.resize,
    ),
)

OTHER_FLOAT: Final[tuple[OpSpec, ...]] = (
    *(
        BASE[op_type].revised(IOS17, setting("alpha", FLOAT, "U"))
        for op_type in ("elu", "leaky_relu", "prelu", "thresholded_relu")
    ),
    *(
        BASE[op_type].revised(IOS17, setting("alpha", FLOAT, "U"), setting("beta", FLOAT, "U"))
        for op_type in ("clamped_relu", "linear_activation", "scaled_tanh", "sigmoid_hard", "softplus_parametric")
    ),
    BASE["inverse"].revised(IOS17, option("epsilon", FLOAT, 1e-4, "U")),
    BASE["log"].revised(IOS17, option("epsilon", FLOAT, 1e-45, "U")),
    BASE["rsqrt"].revised(IOS17, option("epsilon", FLOAT, 1e-12, "U")),
    BASE["l2_norm"].revised(IOS17, option("epsilon", FLOAT, 1e-6, "U")),
    BASE["local_response_norm"].revised(
        IOS17, option("alpha", FLOAT, 1e-4, "U"), option("beta", FLOAT, 0.75, "U"), option("k", FLOAT, 1.0, "U")
    ),
    BASE["batch_norm"].revised(
        IOS17,
        constant("mean", FLOAT, "U"),
        constant("variance", FLOAT, "U"),
        constant("gamma", FLOAT, "U", optional=True),
        constant("beta", FLOAT, "U", optional=True),
        option("epsilon", FLOAT, 1e-5, "U"),
    ),
    *(
        BASE[op_type].revised(
            IOS17,
            constant("gamma", FLOAT, "U", optional=True),
            constant("beta", FLOAT, "U", optional=True),
            option("epsilon", FLOAT, 1e-5, "U"),
        )
        for op_type in ("instance_norm", "layer_norm")
    ),
    BASE["conv"].revised(
        IOS17, tensor("weight", FLOAT, "U", weight=OUT_IN), tensor("bias", FLOAT, "U", optional=True)
    ),
    BASE["conv_transpose"].revised(
        IOS17,
        tensor("weight", FLOAT, "U", weight=Channels(out=1, in_=0)),
        Param("bias", "tensor", FLOAT, "U", optional=True, constexpr=None),  # coremltools reads its value
    ),
    BASE["linear"].revised(
        IOS17, constant("weight", NUMBER, "U", weight=OUT_IN), constant("bias", NUMBER, "U", optional=True)
    ),
    BASE["matmul"].revised(
        IOS17, tensor("y", NUMBER, "U", weight=Channels(out=-1, in_=-2, swapped_by="transpose_y"))
    ),
)
"""The constants of an op may be of another element type than its input."""

HALF_RECURRENT: Final[tuple[OpSpec, ...]] = (
    BASE["gru"].revised(
        IOS17,
        tensor("x", FLOAT, "T"),
        tensor("initial_h", FLOAT, "T"),
        constant("weight_ih", FLOAT, "T", weight=OUT_IN),
        constant("weight_hh", FLOAT, "T", weight=OUT_IN),
        constant("bias", FLOAT, "T", optional=True),
    ),
    BASE["lstm"].revised(
        IOS17,
        tensor("x", FLOAT, "T"),
        tensor("initial_h", FLOAT, "T"),
        tensor("initial_c", FLOAT, "T"),
        constant("weight_ih", FLOAT, "T", weight=OUT_IN),
        constant("weight_hh", FLOAT, "T", weight=OUT_IN),
        constant("bias", FLOAT, "T", optional=True),
        constant("peephole", FLOAT, "T", optional=True),
        constant("weight_ih_back", FLOAT, "T", optional=True, weight=OUT_IN),
        constant("weight_hh_back", FLOAT, "T", optional=True, weight=OUT_IN),
        constant("bias_back", FLOAT, "T", optional=True),
        constant("peephole_back", FLOAT, "T", optional=True),
        option("clip", FLOAT, None, "T"),
    ),
    BASE["rnn"].revised(
        IOS17,
        tensor("x", FLOAT, "T"),
        tensor("initial_h", FLOAT, "T"),
        constant("weight_ih", FLOAT, "T", weight=OUT_IN),
        constant("weight_hh", FLOAT, "T", weight=OUT_IN),
        constant("bias", FLOAT, "T", optional=True),
    ),
)
"""Recurrent ops take fp16 as well."""

MOVEMENT: Final[tuple[OpSpec, ...]] = (
    *(
        BASE[op_type].revised(IOS17, tensor("x", NARROW_OR_BOOL, "T"))
        for op_type in ("expand_dims", "reshape_like", "reverse", "sliding_windows", "squeeze", "transpose")
    ),
    BASE["cast"].revised(IOS17, tensor("x", NARROW_OR_BOOL, "T")),
    BASE["reshape"].revised(
        IOS17,
        tensor("x", NARROW_OR_BOOL, "T"),
        tensor("shape", SHAPE_INT, "U"),
        infer=movement.reshape_from_right,
        meaning=Meaning.ZERO_IN_SHAPE,
    ),
    BASE["reverse_sequence"].revised(IOS17, tensor("x", NARROW_OR_BOOL, "T"), tensor("lengths", SHAPE_INT, "U")),
    BASE["slice_by_index"].revised(
        IOS17,
        tensor("x", NARROW_OR_BOOL, "T"),
        tensor("begin", SHAPE_INT, "U"),
        tensor("end", SHAPE_INT, "U"),
        option("stride", SHAPE_INT, None, "U"),
    ),
    BASE["slice_by_size"].revised(
        IOS17, tensor("x", NARROW_OR_BOOL, "T"), tensor("begin", SHAPE_INT, "U"), tensor("size", SHAPE_INT, "U")
    ),
    BASE["resample"].revised(
        IOS17, tensor("coordinates", (INT8, UINT8, INT16, UINT16, INT32, FP16, FP32), "U")
    ),
)
"""Ops that only move data take the narrow integers."""

CHANGED: Final[tuple[OpSpec, ...]] = (
    BASE["clip"].revised(IOS17, meaning=Meaning.ORDERED_BOUNDS),
    *(
        BASE[op_type].revised(
            IOS17,
            tensor("x", NARROW, "T", weight=OUT_IN),
            tensor("indices", INDEX, "I"),
            VALIDATE,
            meaning=Meaning.NO_NEGATIVE_INDICES,
        )
        for op_type in ("gather", "gather_along_axis", "gather_nd")
    ),
    *(
        BASE[op_type].revised(IOS17, VALIDATE, meaning=Meaning.NO_NEGATIVE_INDICES)
        for op_type in ("scatter", "scatter_along_axis", "scatter_nd")
    ),
    *(
        BASE[op_type].revised(IOS17, option("output_dtype", TEXT, "int32"))
        for op_type in ("reduce_argmax", "reduce_argmin")
    ),
    BASE["topk"].revised(
        IOS17,
        tensor("x", NARROW, "T"),
        option("k", SHAPE_INT, 1, "K"),
        evolve(option("output_indices_dtype", TEXT, "int32"), only_with="return_indices"),
    ),
    *family(
        "crop_resize",
        IOS17,
        tensor("x", FLOAT, "T"),
        tensor("boxes", (FP16, FP32, UINT16), "BOX_T"),
        tensor("box_indices", (UINT16, INT32), "BOX_INDEX_T", optional=True),
        option("target_height", INT, 1),
        option("target_width", INT, 1),
        option("normalized_coordinates", TRUTH, False),
        option("spatial_scale", (FP32,), 1.0),
        option("box_coordinate_mode", TEXT, "CORNERS_HEIGHT_FIRST"),
        option("sampling_mode", TEXT, "DEFAULT"),
        option("pad_value", FLOAT, 0.0, "T"),
        infer=image.crop_resize_boxes,
        meaning=Meaning.BOXES,
    ),
    OpSpec(
        "non_maximum_suppression",
        (
            tensor("boxes", FLOAT, "T"),
            tensor("scores", FLOAT, "T"),
            setting("iou_threshold", FLOAT, "T"),
            setting("max_boxes", INT),
            option("per_class_suppression", TRUTH, False),
        ),
        outputs=3,
        since=IOS17,
        infer=indexing.non_maximum_suppression_transposed,
        meaning=Meaning.NMS,
    ),
)

ROWS: Final = (*NEW, *OTHER_FLOAT, *HALF_RECURRENT, *MOVEMENT, *CHANGED)
