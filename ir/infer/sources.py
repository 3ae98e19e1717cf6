"""Ops that make tensors and lists, and those that read and write lists and states."""

from __future__ import annotations

import math

from ir.infer import dims
from ir.infer.args import Args
from ir.types import (
    FP32,
    FP64,
    INT32,
    INT64,
    STRING,
    UNKNOWN,
    DictionaryType,
    Dim,
    DType,
    ListType,
    TensorType,
    Type,
)


def const(args: Args) -> tuple[Type, ...]:
    return (args.any_type("val"),)


def fill(args: Args) -> tuple[Type, ...]:
    return (dims.shape_from(args, "shape", _dtype_or_fp32(args, "value")),)


def fill_like(args: Args) -> tuple[Type, ...]:
    ref = args.type("ref_tensor")
    return (TensorType(_dtype_or_fp32(args, "value"), ref.shape, ref.rank),)


def _dtype_or_fp32(args: Args, name: str) -> DType:
    return args.dtype(name) if args.has(name) else FP32


def shape(args: Args) -> tuple[Type, ...]:
    return dims.of(INT32, (len(args.shape("x")),))


def range_1d(args: Args) -> tuple[Type, ...]:
    """`start`, `start + step`, …, below `end`."""
    dtypes = {args.dtype(name) for name in ("start", "end", "step")}
    if len(dtypes) > 1:
        raise args.error("'start', 'end' and 'step' have to have one element type")
    start, end, step = (args.value(name) for name in ("start", "end", "step"))
    length: Dim = UNKNOWN
    if all(isinstance(v, int | float) for v in (start, end, step)):
        steps = (end - start) / step if step else math.nan
        if not math.isfinite(steps):
            raise args.error(f"a range from {start} to {end} has no steps of {step}")
        length = dims.extent(args, "end", max(0, math.ceil(steps)))
    return dims.of(args.dtype("start"), (length,))


def random_normal(args: Args) -> tuple[Type, ...]:
    return (dims.shape_from(args, "shape", FP32),)


random_uniform = random_normal


def random_bernoulli(args: Args) -> tuple[Type, ...]:
    return (dims.shape_from(args, "shape", _dtype_or_fp32(args, "prob")),)


def random_categorical(args: Args) -> tuple[Type, ...]:
    x = dims.at_least(args, "x", 1)
    return dims.of(args.dtype("x"), (*x[:-1], dims.extent(args, "size", args.integer("size"))))


def while_loop(args: Args) -> tuple[Type, ...]:
    """The types of the loop variables."""
    return tuple(operand.type for operand in args.given("loop_vars"))


def classify(args: Args) -> tuple[Type, ...]:
    """The label, and the probability of each."""
    label = args.list_type("classes").element
    if not isinstance(label, TensorType) or label.dtype not in (STRING, INT64):
        raise args.error(f"'classes' has to be a list of strings or int64, not of {label!r}")
    return label, DictionaryType(label, TensorType(FP64))


def make_list(args: Args) -> tuple[Type, ...]:
    """A list of tensors of `elem_shape`. Its type states the initial length, even where it may grow, as files do."""
    shape: list[Dim] = []
    for part in args.values("elem_shape"):
        if isinstance(part, str) or part is None:
            shape.append(UNKNOWN)
        elif isinstance(part, int):
            shape.append(dims.extent(args, "elem_shape", part))
        else:
            raise args.error("'elem_shape' has to hold scalars")
    length = args.maybe_integer("init_length")
    extent: Dim = UNKNOWN if length is None else dims.extent(args, "init_length", length)
    return (ListType(TensorType(dims.named(args, "dtype"), shape), extent),)


def as_list(args: Args) -> tuple[Type, ...]:
    """The type of `ls`, some elements of which are replaced."""
    return (args.list_type("ls"),)


def list_length(args: Args) -> tuple[Type, ...]:
    args.list_type("ls")
    return dims.of(INT32, ())


def list_read(args: Args) -> tuple[Type, ...]:
    return (args.list_type("ls").element,)


def list_gather(args: Args) -> tuple[Type, ...]:
    """As many elements as there are `indices`, stacked."""
    element = args.list_type("ls").element
    if not isinstance(element, TensorType) or element.rank < 0:
        raise args.error(f"the elements of 'ls' have to be tensors of known rank, not {element!r}")
    return dims.of(element.dtype, (dims.ranked(args, "indices", 1)[0], *element.shape))


def read_state(args: Args) -> tuple[Type, ...]:
    return (args.state_type("input").wrapped,)


def write_state(args: Args) -> tuple[Type, ...]:
    """Nothing; `data` has to be of the state's type."""
    wrapped, data = args.state_type("input").wrapped, args.type("data")
    if not isinstance(wrapped, TensorType) or wrapped.dtype is not data.dtype:
        raise args.error(f"a state of {wrapped!r} cannot hold {data!r}")
    dims.unify_shapes(args, "'data' and the state", data.shape, wrapped.shape)
    return ()
