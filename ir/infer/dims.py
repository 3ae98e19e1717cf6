"""Arithmetic of dimensions, some of which are unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ir.infer.args import Args
from ir.types import DTYPE_BY_NAME, UNKNOWN, VARIADIC, Dim, DType, Shape, TensorType

MAX_DIM: Final = 2**31 - 1
"""The greatest extent of a dimension that a size parameter (an int32) can ask for."""

MAX_COUNT: Final = 1 << 16
"""The greatest number of results of an op, or dimensions of a tensor, that a parameter can ask for."""


def of(dtype: DType, shape: Iterable[Dim]) -> tuple[TensorType]:
    """The one result of most ops."""
    return (TensorType(dtype, shape),)


def any_rank(dtype: DType) -> TensorType:
    """A tensor of which not even the rank is known."""
    return TensorType(dtype, (VARIADIC,), rank=-1)


def unknown(count: int) -> Shape:
    return (UNKNOWN,) * count


def broadcast(args: Args, *shapes: Shape) -> Shape:
    """The shape that tensors of these shapes have together, matched from the right; an unknown dimension may turn out to be a 1.

    Raises:
        InferError: two known dimensions differ, and neither is 1.
    """
    rank = max(map(len, shapes))
    result: list[Dim] = []
    for axis in range(-rank, 0):
        dims = {shape[axis] for shape in shapes if -axis <= len(shape)}
        known = {d for d in dims if isinstance(d, int) and d != 1}
        if len(known) > 1:
            raise args.error(f"the shapes {', '.join(map(_show, shapes))} cannot be broadcast together")
        if known:
            result.extend(known)
        else:
            result.append(1 if dims == {1} else UNKNOWN)
    return tuple(result)


def unify(args: Args, what: str, one: Dim, other: Dim) -> Dim:
    """A dimension that two operands have in common.

    Raises:
        InferError: both are known and differ.
    """
    if not isinstance(one, int):
        return other
    if isinstance(other, int) and one != other:
        raise args.error(f"{what} has to agree, and is {one} and {other}")
    return one


def unify_shapes(args: Args, what: str, one: Shape, other: Shape) -> Shape:
    if len(one) != len(other):
        raise args.error(f"the ranks of {what} have to agree, and are {len(one)} and {len(other)}")
    return tuple(unify(args, what, a, b) for a, b in zip(one, other, strict=True))


def axis(args: Args, value: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        InferError: there is no such axis.
    """
    if not -rank <= value < rank:
        raise args.error(f"axis {value} is outside of a tensor of rank {rank}")
    return value % rank


def axes(args: Args, values: Iterable[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, no two of them equal.

    Raises:
        InferError: there is no such axis, or one is named twice.
    """
    found = tuple(axis(args, value, rank) for value in values)
    if len(set(found)) != len(found):
        raise args.error(f"an axis is named twice: {found}")
    return found


def extent(args: Args, name: str, value: int) -> int:
    """A dimension that is computed from parameters.

    Raises:
        InferError: it is negative, or greater than any dimension can be.
    """
    if not 0 <= value <= MAX_DIM:
        raise args.error(f"a result dimension, from {name!r}, would be {value}")
    return value


def count(args: Args, name: str, value: int) -> int:
    """A number of results or of dimensions that a parameter asks for.

    Raises:
        InferError: it is negative, or greater than any program's: nothing is allocated because a number in a file says so.
    """
    if not 0 <= value <= MAX_COUNT:
        raise args.error(f"{name!r} asks for {value} of them, and at most {MAX_COUNT} are sensible")
    return value


def add(dim: Dim, number: int) -> Dim:
    return dim + number if isinstance(dim, int) else UNKNOWN


def times(dim: Dim, number: int) -> Dim:
    return dim * number if isinstance(dim, int) else UNKNOWN


def divided(args: Args, what: str, dim: Dim, number: int) -> Dim:
    """A dimension divided without a rest.

    Raises:
        InferError: there is a rest, or `number` is not positive.
    """
    if number <= 0:
        raise args.error(f"{what} is divided by {number}")
    if not isinstance(dim, int):
        return UNKNOWN
    if dim % number:
        raise args.error(f"{what} is {dim}, which {number} does not divide")
    return dim // number


def product(shape: Iterable[Dim]) -> Dim:
    """The number of elements; unknown if a dimension is, unless another is 0."""
    dims = tuple(shape)
    if 0 in dims:
        return 0
    known = [d for d in dims if isinstance(d, int)]
    return math.prod(known) if len(known) == len(dims) else UNKNOWN


def vector(args: Args, name: str, values: Sequence[int], length: int) -> tuple[int, ...]:
    """A vector parameter of a given length.

    Raises:
        InferError: its length is another.
    """
    if len(values) != length:
        raise args.error(f"{name!r} has to have {length} elements, not {len(values)}")
    return tuple(values)


def known_vector(args: Args, name: str, length: int) -> tuple[int, ...]:
    """A vector parameter of a given length that has to be known.

    Raises:
        InferError: it is not known, or its length is another.
    """
    values = args.integers(name)
    if values is None:
        raise args.error(f"{name!r} has to be known at compile time")
    return vector(args, name, values, length)


def ranked(args: Args, name: str, *ranks: int) -> Shape:
    """The shape of a tensor parameter of one of the given ranks.

    Raises:
        InferError: its rank is another.
    """
    shape = args.shape(name)
    if len(shape) not in ranks:
        raise args.error(f"{name!r} has to be of rank {' or '.join(map(str, ranks))}, and is {args.type(name)!r}")
    return shape


def at_least(args: Args, name: str, rank: int) -> Shape:
    """The shape of a tensor parameter of at least a given rank.

    Raises:
        InferError: its rank is less.
    """
    shape = args.shape(name)
    if len(shape) < rank:
        raise args.error(f"{name!r} has to be of rank {rank} or more, and is {args.type(name)!r}")
    return shape


def named(args: Args, name: str) -> DType:
    """The element type that a string parameter names.

    Raises:
        InferError: there is none of that name.
    """
    text = args.text(name)
    found = DTYPE_BY_NAME.get({"str": "string"}.get(text, text))
    if found is None:
        raise args.error(f"{name!r} names no element type: {text!r}")
    return found


def shape_from(args: Args, name: str, dtype: DType) -> TensorType:
    """The type of a tensor whose shape is the value of a parameter, as far as that is known."""
    values = args.integers(name)
    if values is not None:
        return TensorType(dtype, (extent(args, name, v) for v in values))
    (length,) = ranked(args, name, 1)
    return TensorType(dtype, unknown(count(args, name, length))) if isinstance(length, int) else any_rank(dtype)


def _show(shape: Shape) -> str:
    return f"[{', '.join(map(repr, shape))}]"
