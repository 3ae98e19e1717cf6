"""iOS15: ops that work element by element, and activations."""

from __future__ import annotations

from typing import Final

from ir.infer import elementwise as infer
from ir.opset import IOS15
from ir.opsets.schema import FLOAT, INT, NUMBER, PLAIN, TEXT, TRUTH, OpSpec, family, option, setting, tensor

UNARY: Final[tuple[OpSpec, ...]] = (
    *family("abs exp2 sign square", IOS15, tensor("x", NUMBER, "T"), infer=infer.as_x),
    *family(
        "acos asin atan atanh ceil cos cosh erf exp floor round sin sinh sqrt tan tanh",
        IOS15,
        tensor("x", FLOAT, "T"),
        infer=infer.as_x,
    ),
    *family(
        "inverse", IOS15, tensor("x", FLOAT, "T"), option("epsilon", FLOAT, 1e-4, "T"), infer=infer.as_x
    ),
    *family("log", IOS15, tensor("x", FLOAT, "T"), option("epsilon", FLOAT, 1e-45, "T"), infer=infer.as_x),
    *family("rsqrt", IOS15, tensor("x", FLOAT, "T"), option("epsilon", FLOAT, 1e-12, "T"), infer=infer.as_x),
    *family("threshold", IOS15, tensor("x", NUMBER, "T"), setting("alpha", NUMBER, "T"), infer=infer.as_x),
    *family(
        "clip",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("alpha", FLOAT, "T"),
        setting("beta", FLOAT, "T"),
        infer=infer.as_x,
    ),
    *family("logical_not", IOS15, tensor("x", TRUTH), infer=infer.as_x),
    *family("cast", IOS15, tensor("x", PLAIN, "T"), setting("dtype", TEXT), infer=infer.cast),
)

BINARY: Final[tuple[OpSpec, ...]] = (
    *family(
        "add floor_div maximum minimum mod mul pow real_div sub",
        IOS15,
        tensor("x", NUMBER, "T"),
        tensor("y", NUMBER, "T"),
        infer=infer.binary,
    ),
    *family(
        "equal greater greater_equal less less_equal not_equal",
        IOS15,
        tensor("x", NUMBER, "T"),
        tensor("y", NUMBER, "T"),
        infer=infer.comparison,
    ),
    *family(
        "logical_and logical_or logical_xor",
        IOS15,
        tensor("x", TRUTH, "T"),
        tensor("y", TRUTH, "T"),
        infer=infer.comparison,
    ),
    *family(
        "select",
        IOS15,
        tensor("cond", TRUTH),
        tensor("a", PLAIN, "T"),
        tensor("b", PLAIN, "T"),
        infer=infer.select,
    ),
)

ACTIVATIONS: Final[tuple[OpSpec, ...]] = (
    *family("relu relu6 sigmoid silu softplus softsign", IOS15, tensor("x", FLOAT, "T"), infer=infer.as_x),
    *family(
        "elu leaky_relu prelu thresholded_relu",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("alpha", FLOAT, "T"),
        infer=infer.as_x,
    ),
    *family(
        "clamped_relu linear_activation scaled_tanh sigmoid_hard softplus_parametric",
        IOS15,
        tensor("x", FLOAT, "T"),
        setting("alpha", FLOAT, "T"),
        setting("beta", FLOAT, "T"),
        infer=infer.as_x,
    ),
    *family("gelu", IOS15, tensor("x", FLOAT, "T"), option("mode", TEXT, "EXACT"), infer=infer.as_x),
    *family("softmax", IOS15, tensor("x", FLOAT, "T"), option("axis", INT, -1), infer=infer.as_x),
)

ROWS: Final = (*UNARY, *BINARY, *ACTIVATIONS)
