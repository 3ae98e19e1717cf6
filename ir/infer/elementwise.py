"""Ops that work element by element."""

from __future__ import annotations

from ir.infer import dims
from ir.infer.args import Args
from ir.types import BOOL, INT8, UINT8, TensorType, Type


def as_x(args: Args) -> tuple[Type, ...]:
    """The type of `x`."""
    found = args.any_type("x")
    return (TensorType(found.dtype, found.shape, found.rank) if isinstance(found, TensorType) else found,)


def cast(args: Args) -> tuple[Type, ...]:
    x = args.type("x")
    return (TensorType(dims.named(args, "dtype"), x.shape, x.rank),)


def binary(args: Args) -> tuple[Type, ...]:
    x, y = args.dtype("x"), args.dtype("y")
    if x is not y:
        raise args.error(f"'x' and 'y' have to have one element type, and have {x} and {y}")
    return dims.of(x, dims.broadcast(args, args.shape("x"), args.shape("y")))


def comparison(args: Args) -> tuple[Type, ...]:
    binary(args)
    return dims.of(BOOL, dims.broadcast(args, args.shape("x"), args.shape("y")))


def select(args: Args) -> tuple[Type, ...]:
    a, b = args.dtype("a"), args.dtype("b")
    if a is not b:
        raise args.error(f"'a' and 'b' have to have one element type, and have {a} and {b}")
    return dims.of(a, dims.broadcast(args, args.shape("cond"), args.shape("a"), args.shape("b")))


def quantize(args: Args) -> tuple[Type, ...]:
    _check_scale(args)
    dtype = dims.named(args, "output_dtype")
    if dtype not in (INT8, UINT8):
        raise args.error(f"'output_dtype' has to be int8 or uint8, not {dtype}")
    if args.has("zero_point") and args.dtype("zero_point") is not dtype:
        raise args.error(f"'zero_point' has to be of 'output_dtype' {dtype}, not {args.dtype('zero_point')}")
    return (args.type("input").with_dtype(dtype),)


def dequantize(args: Args) -> tuple[Type, ...]:
    _check_scale(args)
    return (args.type("input").with_dtype(args.dtype("scale")),)


def _check_scale(args: Args) -> None:
    """A scalar scale goes without an axis, a vector with the axis that it is as long as."""
    scale = dims.ranked(args, "scale", 0, 1)
    if args.has("zero_point"):
        dims.unify_shapes(args, "'scale' and 'zero_point'", scale, args.shape("zero_point"))
    if not scale:
        if args.has("axis"):
            raise args.error("a scalar 'scale' takes no 'axis'")
        return
    shape = args.shape("input")
    dims.unify(args, "the length of 'scale'", scale[0], shape[dims.axis(args, args.integer("axis"), len(shape))])
