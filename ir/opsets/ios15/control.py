"""iOS15: constants, control flow, lists, random numbers, and the classifier's last op."""

from __future__ import annotations

from typing import Final

from ir.infer import sources
from ir.opset import IOS15
from ir.opsets.schema import (
    ANYTHING,
    FLOAT,
    INT,
    PLAIN,
    TEXT,
    TRUTH,
    Effect,
    OpSpec,
    Param,
    option,
    tensor,
)
from ir.types import FP32

LIST: Final = Param("ls", "list", ANYTHING)

CONTROL: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "const",
        (Param("val", "any", ANYTHING, const=True),),
        outputs=1,
        since=IOS15,
        infer=sources.const,
        attributes=frozenset({"val"}),
    ),
    OpSpec("cond", (tensor("pred", TRUTH),), outputs=None, since=IOS15, blocks=2),
    OpSpec(
        "while_loop",
        (Param("loop_vars", "any", ANYTHING, variadic=True),),
        outputs=None,
        since=IOS15,
        blocks=2,
        infer=sources.while_loop,
    ),
    OpSpec(
        "classify",
        (tensor("probabilities", (FP32,)), Param("classes", "list", ANYTHING, const=True)),
        outputs=2,
        since=IOS15,
        infer=sources.classify,
    ),
)

LISTS: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "make_list",
        (
            tensor("init_length", INT, optional=True, default=1),
            option("dynamic_length", TRUTH, True),
            Param("elem_shape", "tensor", (*INT, *TEXT), variadic=True),
            option("dtype", TEXT, "fp32"),
        ),
        outputs=1,
        since=IOS15,
        effect=Effect.FRESH,
        infer=sources.make_list,
    ),
    OpSpec("list_length", (LIST,), 1, IOS15, Effect.FRESH, infer=sources.list_length),
    OpSpec("list_read", (LIST, tensor("index", INT)), 1, IOS15, Effect.FRESH, infer=sources.list_read),
    OpSpec("list_gather", (LIST, tensor("indices", INT)), 1, IOS15, Effect.FRESH, infer=sources.list_gather),
    OpSpec(
        "list_write", (LIST, tensor("index", INT), tensor("value", PLAIN, "T")), 1, IOS15, Effect.FRESH, infer=sources.as_list
    ),
    OpSpec(
        "list_scatter", (LIST, tensor("indices", INT), tensor("value", PLAIN, "T")), 1, IOS15, Effect.FRESH, infer=sources.as_list
    ),
)

RANDOM: Final[tuple[OpSpec, ...]] = (
    OpSpec(
        "random_bernoulli",
        (tensor("shape", INT), option("prob", FLOAT, 0.5, "T"), option("seed", INT, -1)),
        1, IOS15, Effect.FRESH, infer=sources.random_bernoulli,
    ),
    OpSpec(
        "random_categorical",
        (tensor("x", FLOAT, "T"), option("mode", TEXT, "logits"), option("size", INT, 1), option("seed", INT, -1)),
        1, IOS15, Effect.FRESH, infer=sources.random_categorical,
    ),
    OpSpec(
        "random_normal",
        (tensor("shape", INT), option("mean", FLOAT, 0.0, "T"), option("stddev", FLOAT, 1.0, "T"), option("seed", INT, -1)),
        1, IOS15, Effect.FRESH, infer=sources.random_normal,
    ),
    OpSpec(
        "random_uniform",
        (tensor("shape", INT), option("low", FLOAT, 0.0, "T"), option("high", FLOAT, 1.0, "T"), option("seed", INT, -1)),
        1, IOS15, Effect.FRESH, infer=sources.random_uniform,
    ),
)

ROWS: Final = (*CONTROL, *LISTS, *RANDOM)
