"""Ops that reshape, cut, join and rearrange tensors without computing with their elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ir.infer import dims
from ir.infer.args import Args
from ir.types import UNKNOWN, Dim, Shape, TensorType, Type


def reshape(args: Args) -> tuple[Type, ...]:
    """A -1 is what the number of elements leaves, a 0 the dimension of `x` at the same place (below iOS17)."""
    wanted = args.integers("shape")
    if wanted is not None and 0 in wanted:
        x = args.shape("x")
        if len(x) != len(wanted):
            raise args.error(f"a 0 in 'shape' needs as many dimensions as 'x' has: {wanted} and {args.type('x')!r}")
        return _reshaped(args, [x[i] if d == 0 else d for i, d in enumerate(wanted)])
    return _reshaped(args, wanted)


def reshape_from_right(args: Args) -> tuple[Type, ...]:
    """A -1 is what the number of elements leaves, a 0 the dimension of `x` as far from the right, or 1 beyond its rank (iOS17)."""
    wanted = args.integers("shape")
    if wanted is not None and 0 in wanted:
        x = args.shape("x")
        start = len(x) - len(wanted)
        return _reshaped(args, [d or (x[start + i] if start + i >= 0 else 1) for i, d in enumerate(wanted)])
    return _reshaped(args, wanted)


def _reshaped(args: Args, wanted: Sequence[Dim] | None) -> tuple[Type, ...]:
    dtype = args.dtype("x")
    if wanted is None:
        return (dims.shape_from(args, "shape", dtype),)
    shape = [d if not isinstance(d, int) or d == -1 else dims.extent(args, "shape", d) for d in wanted]
    if shape.count(-1) > 1:
        raise args.error(f"'shape' leaves more than one dimension open: {tuple(shape)}")
    total = dims.product(args.shape("x"))
    rest = dims.product(d for d in shape if d != -1)
    if -1 in shape:
        open_dim = dims.divided(args, "the number of elements", total, rest) if isinstance(rest, int) and rest else UNKNOWN
        shape[shape.index(-1)] = open_dim
    elif isinstance(total, int) and isinstance(rest, int) and total != rest:
        raise args.error(f"{args.type('x')!r} has {total} elements, and the shape {tuple(shape)} has {rest}")
    return dims.of(dtype, shape)


def reshape_like(args: Args) -> tuple[Type, ...]:
    """The dimensions `begin` to `end` of each reference tensor, one after the other."""
    references = args.types("ref_tensors")
    parts = [args.values(name) for name in ("begins", "ends", "end_masks")]
    if any(len(part) != len(references) for part in parts):
        raise args.error("'ref_tensors', 'begins', 'ends' and 'end_masks' have to be as many")
    shape: list[Dim] = []
    for reference, begin, end, open_end in zip(references, *parts, strict=True):
        if begin is None or end is None or open_end is None or reference.rank < 0:
            raise args.error("'begins', 'ends', 'end_masks' and the ranks of 'ref_tensors' have to be known")
        if isinstance(begin, str) or isinstance(end, str):
            raise args.error("'begins' and 'ends' have to be numbers")
        shape.extend(reference.shape[int(begin) : None if open_end else int(end)])
    return dims.of(args.dtype("x"), shape)


def transpose(args: Args) -> tuple[Type, ...]:
    x = args.shape("x")
    perm = dims.axes(args, dims.known_vector(args, "perm", len(x)), len(x))
    return dims.of(args.dtype("x"), (x[axis] for axis in perm))


def expand_dims(args: Args) -> tuple[Type, ...]:
    """`axes` count in the result."""
    x, axes = args.shape("x"), args.integers("axes")
    if axes is None:
        raise args.error("'axes' has to be known at compile time")
    rank = len(x) + len(axes)
    added = set(dims.axes(args, axes, rank))
    kept = iter(x)
    return dims.of(args.dtype("x"), (1 if axis in added else next(kept) for axis in range(rank)))


def squeeze(args: Args) -> tuple[Type, ...]:
    """Without `axes`, all dimensions that are known to be 1 go; an axis that is not 1 stays, as in Core ML."""
    x, axes = args.shape("x"), args.integers("axes")
    if axes is None and args.has("axes"):
        raise args.error("'axes' has to be known at compile time")
    named = set(range(len(x)) if axes is None else dims.axes(args, axes, len(x)))
    if any(not isinstance(x[axis], int) for axis in named):
        if axes is None:
            return (dims.any_rank(args.dtype("x")),)
        return dims.of(args.dtype("x"), (d for axis, d in enumerate(x) if axis not in named))
    return dims.of(args.dtype("x"), (d for axis, d in enumerate(x) if axis not in named or d != 1))


def flatten2d(args: Args) -> tuple[Type, ...]:
    x, axis = args.shape("x"), args.integer("axis")
    if not -len(x) <= axis <= len(x):
        raise args.error(f"axis {axis} is outside of a tensor of rank {len(x)}")
    return dims.of(args.dtype("x"), (dims.product(x[:axis]), dims.product(x[axis:])))


def depth_to_space(args: Args) -> tuple[Type, ...]:
    """`[n, c * b * b, h, w]` gives `[n, c, h * b, w * b]`."""
    return _shuffle(args, args.integer("block_size"))


def pixel_shuffle(args: Args) -> tuple[Type, ...]:
    """`[n, c * f * f, h, w]` gives `[n, c, h * f, w * f]`."""
    return _shuffle(args, args.integer("upscale_factor"))


def space_to_depth(args: Args) -> tuple[Type, ...]:
    """`[n, c, h * b, w * b]` gives `[n, c * b * b, h, w]`."""
    return _unshuffle(args, args.integer("block_size"))


def pixel_unshuffle(args: Args) -> tuple[Type, ...]:
    """`[n, c, h * f, w * f]` gives `[n, c * f * f, h, w]`."""
    return _unshuffle(args, args.integer("downscale_factor"))


def _shuffle(args: Args, factor: int) -> tuple[Type, ...]:
    n, c, h, w = dims.ranked(args, "x", 4)
    channels = dims.divided(args, "the number of channels", c, factor * factor)
    return dims.of(args.dtype("x"), (n, channels, dims.times(h, factor), dims.times(w, factor)))


def _unshuffle(args: Args, factor: int) -> tuple[Type, ...]:
    n, c, h, w = dims.ranked(args, "x", 4)
    rows, columns = dims.divided(args, "the height", h, factor), dims.divided(args, "the width", w, factor)
    return dims.of(args.dtype("x"), (n, dims.times(c, factor * factor), rows, columns))


def batch_to_space(args: Args) -> tuple[Type, ...]:
    """`[n * b0 * b1, c, h, w]` gives `[n, c, h * b0 - crops, w * b1 - crops]`."""
    n, c, *spatial = dims.ranked(args, "x", 4)
    blocks, crops = dims.known_vector(args, "block_shape", 2), _pairs(args, "crops")
    grown = [
        dims.extent(args, "crops", d * b - before - after) if isinstance(d, int) else UNKNOWN
        for d, b, (before, after) in zip(spatial, blocks, crops, strict=True)
    ]
    return dims.of(args.dtype("x"), (dims.divided(args, "the batch", n, math.prod(blocks)), c, *grown))


def space_to_batch(args: Args) -> tuple[Type, ...]:
    """`[n, c, h, w]` gives `[n * b0 * b1, c, (h + paddings) / b0, (w + paddings) / b1]`."""
    n, c, *spatial = dims.ranked(args, "x", 4)
    blocks, paddings = dims.known_vector(args, "block_shape", 2), _pairs(args, "paddings")
    shrunk = [
        dims.divided(args, "a padded dimension", dims.add(d, before + after), b)
        for d, b, (before, after) in zip(spatial, blocks, paddings, strict=True)
    ]
    return dims.of(args.dtype("x"), (dims.times(n, math.prod(blocks)), c, *shrunk))


def _pairs(args: Args, name: str) -> list[tuple[int, int]]:
    """Amounts before and after each of two spatial dimensions."""
    value: Any = args.value(name)
    if getattr(value, "shape", None) != (2, 2) or value.dtype.kind not in "iu":
        raise args.error(f"{name!r} has to be an int32[2, 2] that is known at compile time")
    return [(int(before), int(after)) for before, after in value]


def slice_by_index(args: Args) -> tuple[Type, ...]:
    """`x[begin:end:stride]`; an index from the back is negative, a masked one stands for the end of the axis."""
    return dims.of(args.dtype("x"), _sliced(args))


def slice_update(args: Args) -> tuple[Type, ...]:
    """`x`, with `x[begin:end:stride]` replaced by `update`."""
    dims.unify_shapes(args, "'update' and the slice", args.shape("update"), _sliced(args))
    if args.dtype("update") is not args.dtype("x"):
        raise args.error(f"'update' has to be of the type of 'x' {args.dtype('x')}, not {args.dtype('update')}")
    return dims.of(args.dtype("x"), args.shape("x"))


def _sliced(args: Args) -> tuple[Dim, ...]:
    x = args.shape("x")
    rank = len(x)
    begins, ends = _indices(args, "begin", rank), _indices(args, "end", rank)
    strides = _optional(args, "stride", rank, 1)
    begin_masks, end_masks, squeezed = (_optional(args, f"{name}_mask", rank, 0) for name in ("begin", "end", "squeeze"))
    result: list[Dim] = []
    for axis in range(rank):
        if squeezed[axis]:
            continue
        begin = begins[axis] if begins is not None else UNKNOWN
        end = ends[axis] if ends is not None else UNKNOWN
        result.append(
            _slice_length(
                args, x[axis], None if begin_masks[axis] else begin, None if end_masks[axis] else end, strides[axis]
            )
        )
    return tuple(result)


def _indices(args: Args, name: str, rank: int) -> tuple[int, ...] | None:
    values = args.integers(name)
    if values is None:
        (length,) = dims.ranked(args, name, 1)
        dims.unify(args, f"the length of {name!r} and the rank of 'x'", length, rank)
        return None
    return dims.vector(args, name, values, rank)


def _optional(args: Args, name: str, rank: int, default: int) -> tuple[int, ...]:
    values = args.integers(name)
    if values is None and args.has(name):
        raise args.error(f"{name!r} has to be known at compile time")
    return (default,) * rank if values is None else dims.vector(args, name, values, rank)


def _slice_length(args: Args, dim: Dim, begin: Dim | None, end: Dim | None, stride: int) -> Dim:
    """How many elements `[begin:end:stride]` takes of a dimension; None is the end of the axis."""
    if stride == 0:
        raise args.error("'stride' has a 0")
    if begin is None and end is None and stride in (1, -1):
        return dim
    if not isinstance(begin, int | None) or not isinstance(end, int | None):
        return UNKNOWN
    if isinstance(dim, int):
        return len(range(*slice(begin, end, stride).indices(dim)))
    if begin == -1 and end is None and stride > 0:
        return 1
    if isinstance(begin, int) and isinstance(end, int) and begin == end:
        return 0
    return UNKNOWN


def slice_by_size(args: Args) -> tuple[Type, ...]:
    """`size` elements from `begin`; a size of -1 is all that is left."""
    x = args.shape("x")
    begins, sizes = _indices(args, "begin", len(x)), _indices(args, "size", len(x))
    if sizes is None:
        return dims.of(args.dtype("x"), dims.unknown(len(x)))
    result: list[Dim] = []
    for axis, (dim, size) in enumerate(zip(x, sizes, strict=True)):
        if size != -1:
            if isinstance(dim, int) and size > dim:
                raise args.error(f"'size' {size} is more than the {dim} elements of axis {axis}")
            result.append(dims.extent(args, "size", size))
            continue
        begin = begins[axis] if begins is not None else None
        if isinstance(dim, int) and begin is not None:
            result.append(dims.extent(args, "begin", dim - (begin if begin >= 0 else begin + dim)))
        else:
            result.append(UNKNOWN)
    return dims.of(args.dtype("x"), result)


def sliding_windows(args: Args) -> tuple[Type, ...]:
    """`[.., d, ..]` gives `[.., (d - size) / stride + 1, size, ..]`."""
    x = args.shape("x")
    axis, size, stride = dims.axis(args, args.integer("axis"), len(x)), args.integer("size"), args.integer("stride")
    if stride < 1 or size < 1:
        raise args.error(f"'size' and 'stride' have to be positive, and are {size} and {stride}")
    dim = x[axis]
    windows: Dim = dims.extent(args, "size", (dim - size) // stride + 1) if isinstance(dim, int) else UNKNOWN
    return dims.of(args.dtype("x"), (*x[:axis], windows, size, *x[axis + 1 :]))


def split(args: Args) -> tuple[Type, ...]:
    """Into `num_splits` equal parts, or parts of `split_sizes`."""
    x = args.shape("x")
    axis = dims.axis(args, args.integer("axis"), len(x))
    sizes = _split_sizes(args, x[axis])
    return tuple(TensorType(args.dtype("x"), (*x[:axis], size, *x[axis + 1 :])) for size in sizes)


def _split_sizes(args: Args, dim: Dim) -> Shape:
    count, sizes = args.maybe_integer("num_splits"), args.integers("split_sizes")
    if sizes is None:
        if count is None:
            raise args.error("'num_splits' or 'split_sizes' has to be given")
        dims.count(args, "num_splits", count)
        if args.has("split_sizes"):
            return dims.unknown(count)
        return (dims.divided(args, "the split dimension", dim, count),) * count
    if count is not None and count != len(sizes):
        raise args.error(f"'num_splits' is {count}, and 'split_sizes' has {len(sizes)}")
    parts = tuple(dims.extent(args, "split_sizes", size) for size in sizes)
    dims.unify(args, "the sum of 'split_sizes' and the split dimension", sum(parts), dim)
    return parts


def concat(args: Args) -> tuple[Type, ...]:
    """One after the other along `axis`, where alone their dimensions may differ; interleaved, nowhere. Scalars make a vector."""
    first, shapes, dtype = _alike(args)
    if not any(shapes):
        return dims.of(dtype, (len(shapes),))
    if any(len(shape) != len(first) for shape in shapes):
        raise args.error(f"'values' have to be of one rank, and are of {', '.join(str(len(shape)) for shape in shapes)}")
    axis = dims.axis(args, args.integer("axis"), len(first))
    total: Dim = 0
    for shape in shapes:
        total = dims.add(shape[axis], total) if isinstance(total, int) else UNKNOWN
    merged = first
    for shape in shapes:
        rest = shape if args.truth("interleave") else (*shape[:axis], merged[axis], *shape[axis + 1 :])
        merged = dims.unify_shapes(args, "the shapes of 'values'", merged, rest)
    return dims.of(dtype, (*merged[:axis], total, *merged[axis + 1 :]))


def stack(args: Args) -> tuple[Type, ...]:
    """As many tensors of one shape along a new axis."""
    merged, shapes, dtype = _alike(args)
    for shape in shapes:
        merged = dims.unify_shapes(args, "the shapes of 'values'", merged, shape)
    axis = dims.axis(args, args.integer("axis"), len(merged) + 1)
    return dims.of(dtype, (*merged[:axis], len(shapes), *merged[axis:]))


def _alike(args: Args) -> tuple[Shape, list[Shape], Any]:
    """The first shape, all shapes, and the one element type of `values`."""
    values = args.types("values")
    if any(v.rank < 0 for v in values):
        raise args.error("the ranks of 'values' have to be known")
    if len({v.dtype for v in values}) > 1:
        raise args.error(f"'values' have to have one element type, and have {', '.join(repr(v.dtype) for v in values)}")
    return values[0].shape, [v.shape for v in values], values[0].dtype


def pad(args: Args) -> tuple[Type, ...]:
    """`pad` holds the amounts before and after each of the last dimensions."""
    x, amounts = args.shape("x"), args.integers("pad")
    if amounts is None:
        (length,) = dims.ranked(args, "pad", 1)
        count = length if isinstance(length, int) else 2 * len(x)
        amounts_or_unknown: Sequence[int] | None = None
    else:
        count, amounts_or_unknown = len(amounts), amounts
    if count % 2 or count > 2 * len(x):
        raise args.error(f"'pad' has to have two elements for each of the last dimensions of 'x', not {count}")
    padded = count // 2
    kept = x[: len(x) - padded]
    if amounts_or_unknown is None:
        return dims.of(args.dtype("x"), (*kept, *dims.unknown(padded)))
    if min(amounts_or_unknown, default=0) < 0:
        raise args.error(f"'pad' has a negative element: {tuple(amounts_or_unknown)}")
    added = [a + b for a, b in zip(amounts_or_unknown[::2], amounts_or_unknown[1::2], strict=True)]
    grown = [dims.add(d, n) for d, n in zip(x[len(x) - padded :], added, strict=True)]
    return dims.of(args.dtype("x"), (*kept, *grown))


def tile(args: Args) -> tuple[Type, ...]:
    """Each dimension `reps` times over."""
    x, reps = args.shape("x"), args.integers("reps")
    if reps is None:
        return dims.of(args.dtype("x"), dims.unknown(len(x)))
    if min(dims.vector(args, "reps", reps, len(x)), default=1) < 1:
        raise args.error(f"'reps' has to be positive, and is {reps}")
    return dims.of(args.dtype("x"), (d if r == 1 else dims.times(d, r) for d, r in zip(x, reps, strict=True)))
