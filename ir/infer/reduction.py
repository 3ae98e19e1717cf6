"""Reductions over axes."""

from __future__ import annotations

from ir.infer import dims
from ir.infer.args import Args
from ir.types import INT32, UINT16, Dim, Shape, Type


def reduce(args: Args) -> tuple[Type, ...]:
    """Over `axes`, or over all where there are none."""
    x = args.shape("x")
    named = args.integers("axes")
    if named is None and args.has("axes"):
        raise args.error("'axes' has to be known at compile time")
    axes = range(len(x)) if named is None else dims.axes(args, named, len(x))
    return dims.of(args.dtype("x"), _without(x, set(axes), args.truth("keep_dims")))


def arg_reduce(args: Args) -> tuple[Type, ...]:
    """The position along one axis: int32, from iOS17 on what `output_dtype` says."""
    x = args.shape("x")
    axis = dims.axis(args, args.integer("axis"), len(x))
    dtype = dims.named(args, "output_dtype") if args.spec.param("output_dtype") else INT32
    if dtype not in (INT32, UINT16):
        raise args.error(f"'output_dtype' has to be int32 or uint16, not {dtype}")
    return dims.of(dtype, _without(x, {axis}, args.truth("keep_dims")))


def _without(shape: Shape, axes: set[int], keep: bool) -> tuple[Dim, ...]:
    if keep:
        return tuple(1 if axis in axes else d for axis, d in enumerate(shape))
    return tuple(d for axis, d in enumerate(shape) if axis not in axes)
