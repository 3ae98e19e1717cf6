"""iOS15: ops with weights (convolution, products, recurrence, normalization), and pooling."""

from __future__ import annotations

from typing import Final

from ir.infer import convolution, linear, recurrent
from ir.infer.elementwise import as_x
from ir.opset import IOS15
from ir.opsets.schema import (
    ANYTHING,
    FLOAT,
    INT,
    NUMBER,
    TEXT,
    TRUTH,
    Channels,
    OpSpec,
    PerSpatialDim,
    constant,
    family,
    option,
    setting,
    tensor,
    tensors,
)
from ir.types import FP32, UINT8

OUT_IN: Final = Channels(out=0, in_=1)
ONES: Final = PerSpatialDim(1)
NO_PAD: Final = PerSpatialDim(0, times=2)

CONVOLUTION: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "conv",
        (
            tensor("x", FLOAT, "T"),
            tensor("weight", FLOAT, "T", weight=OUT_IN),
            constant("bias", FLOAT, "T", optional=True),
            option("strides", INT, ONES),
            option("pad_type", TEXT, "valid"),
            option("pad", INT, NO_PAD),
            option("dilations", INT, ONES),
            option("groups", INT, 1),
        ),
        outputs=1,
        since=IOS15,
        infer=convolution.conv,
    ),
    OpSpec(
        "conv_quantized",
        (
            tensor("x", FLOAT, "T"),
            tensor("weight", (UINT8,), "U", weight=OUT_IN),
            constant("bias", (UINT8,), "U", optional=True),
            setting("quantization_type", TEXT),
            option("nbits", INT, 8),
            setting("quant_scale", FLOAT, "T"),
            setting("quant_bias", FLOAT, "T"),
            option("strides", INT, ONES),
            option("pad_type", TEXT, "valid"),
            option("pad", INT, NO_PAD),
            option("dilations", INT, ONES),
            option("groups", INT, 1),
        ),
        outputs=1,
        since=IOS15,
        infer=convolution.conv,
    ),
    OpSpec(
        "conv_transpose",
        (
            tensor("x", FLOAT, "T"),
            constant("weight", FLOAT, "T", weight=Channels(out=1, in_=0)),
            option("bias", FLOAT, None, "T"),
            option("pad", INT, NO_PAD),
            option("output_shape", INT),
            option("pad_type", TEXT, "valid"),
            option("strides", INT, ONES),
            option("dilations", INT, ONES),
            option("groups", INT, 1),
        ),
        outputs=1,
        since=IOS15,
        infer=convolution.conv_transpose,
    ),
    *family(
        "l2_pool max_pool",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("kernel_sizes", INT),
        option("strides", INT, ONES),
        setting("pad_type", TEXT),
        option("pad", INT, NO_PAD),
        option("ceil_mode", TRUTH, False),
        infer=convolution.pool,
    ),
    *family(
        "avg_pool",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("kernel_sizes", INT),
        option("strides", INT, ONES),
        setting("pad_type", TEXT),
        option("pad", INT, NO_PAD),
        option("exclude_padding_from_average", TRUTH, False),
        option("ceil_mode", TRUTH, False),
        infer=convolution.pool,
    ),
)

PRODUCTS: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "linear",
        (
            tensor("x", NUMBER, "T"),
            constant("weight", NUMBER, "T", weight=OUT_IN),
            constant("bias", NUMBER, "T", optional=True),
        ),
        outputs=1,
        since=IOS15,
        infer=linear.linear,
    ),
    OpSpec(
        "matmul",
        (
            tensor("x", NUMBER, "T", weight=Channels(out=-2, in_=-1, swapped_by="transpose_x")),
            tensor("y", NUMBER, "T", weight=Channels(out=-1, in_=-2, swapped_by="transpose_y")),
            option("transpose_x", TRUTH, False),
            option("transpose_y", TRUTH, False),
        ),
        outputs=1,
        since=IOS15,
        infer=linear.matmul,
    ),
    OpSpec(
        "einsum",
        (
            tensors("values", ANYTHING, "T", weight=Channels(out=None, in_=None, by_equation=True)),
            setting("equation", TEXT),
        ),
        outputs=1,
        since=IOS15,
        infer=linear.einsum,
    ),
)

RECURRENT: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "gru",
        (
            tensor("x", (FP32,), "T"),
            tensor("initial_h", (FP32,), "T"),
            constant("weight_ih", (FP32,), "T", weight=OUT_IN),
            constant("weight_hh", (FP32,), "T", weight=OUT_IN),
            constant("bias", (FP32,), "T", optional=True),
            option("direction", TEXT, "forward"),
            option("output_sequence", TRUTH, False),
            option("recurrent_activation", TEXT, "sigmoid"),
            option("activation", TEXT, "tanh"),
        ),
        outputs=2,
        since=IOS15,
        infer=recurrent.rnn,
    ),
    OpSpec(
        "lstm",
        (
            tensor("x", (FP32,), "T"),
            tensor("initial_h", (FP32,), "T"),
            tensor("initial_c", (FP32,), "T"),
            constant("weight_ih", (FP32,), "T", weight=OUT_IN),
            constant("weight_hh", (FP32,), "T", weight=OUT_IN),
            constant("bias", (FP32,), "T", optional=True),
            constant("peephole", (FP32,), "T", optional=True),
            constant("weight_ih_back", (FP32,), "T", optional=True, weight=OUT_IN),
            constant("weight_hh_back", (FP32,), "T", optional=True, weight=OUT_IN),
            constant("bias_back", (FP32,), "T", optional=True),
            constant("peephole_back", (FP32,), "T", optional=True),
            option("direction", TEXT, "forward"),
            option("output_sequence", TRUTH, False),
            option("recurrent_activation", TEXT, "sigmoid"),
            option("cell_activation", TEXT, "tanh"),
            option("activation", TEXT, "tanh"),
            option("clip", (FP32,), None, "T"),
        ),
        outputs=3,
        since=IOS15,
        infer=recurrent.lstm,
    ),
    OpSpec(
        "rnn",
        (
            tensor("x", (FP32,), "T"),
            tensor("initial_h", (FP32,), "T"),
            constant("weight_ih", (FP32,), "T", weight=OUT_IN),
            constant("weight_hh", (FP32,), "T", weight=OUT_IN),
            constant("bias", (FP32,), "T", optional=True),
            option("direction", TEXT, "forward"),
            option("output_sequence", TRUTH, False),
            option("activation", TEXT, "tanh"),
        ),
        outputs=2,
        since=IOS15,
        infer=recurrent.rnn,
    ),
)

NORMALIZATION: Final[tuple[OpSpec, ...]] = (
    *family(
        "batch_norm",
        IOS15,
        tensor("x", FLOAT, "T"),
        constant("mean", FLOAT, "T"),
        constant("variance", FLOAT, "T"),
        constant("gamma", FLOAT, "T", optional=True),
        constant("beta", FLOAT, "T", optional=True),
        option("epsilon", FLOAT, 1e-5, "T"),
        infer=as_x,
    ),
    *family(
        "instance_norm",
        IOS15,
        tensor("x", FLOAT, "T"),
        constant("gamma", FLOAT, "T", optional=True),
        constant("beta", FLOAT, "T", optional=True),
        option("epsilon", FLOAT, 1e-5, "T"),
        infer=as_x,
    ),
    *family(
        "layer_norm",
        IOS15,
        tensor("x", FLOAT, "T"),
        option("axes", INT),
        constant("gamma", FLOAT, "T", optional=True),
        constant("beta", FLOAT, "T", optional=True),
        option("epsilon", FLOAT, 1e-5, "T"),
        infer=as_x,
    ),
    *family("l2_norm", IOS15, tensor("x", FLOAT, "T"), option("epsilon", FLOAT, 1e-6, "T"), infer=as_x),
    *family(
        "local_response_norm",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("size", INT),
        option("alpha", FLOAT, 1e-4, "T"),
        option("beta", FLOAT, 0.75, "T"),
        option("k", FLOAT, 1.0, "T"),
        infer=as_x,
    ),
)

ROWS: Final = (*CONVOLUTION, *PRODUCTS, *RECURRENT, *NORMALIZATION)
