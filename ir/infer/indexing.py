"""Ops that pick, sort and find elements by index."""

from __future__ import annotations

from ir.infer import dims
from ir.infer.args import Args
from ir.opset import IOS17
from ir.types import INT16, INT32, UINT16, UNKNOWN, Dim, TensorType, Type


def gather(args: Args) -> tuple[Type, ...]:
    """`x[.., indices, ..]` at `axis`; the first `batch_dims` dimensions are common to both."""
    x, indices = args.shape("x"), args.shape("indices")
    axis, batch = dims.axis(args, args.integer("axis"), len(x)), _batch_dims(args)
    if batch > min(axis, len(indices)):
        raise args.error(f"'batch_dims' {batch} goes beyond axis {axis} or the rank of 'indices'")
    common = dims.unify_shapes(args, "the batch of 'x' and 'indices'", x[:batch], indices[:batch])
    return dims.of(args.dtype("x"), (*common, *x[batch:axis], *indices[batch:], *x[axis + 1 :]))


def gather_along_axis(args: Args) -> tuple[Type, ...]:
    """One element of `x` for each of `indices`, which has the shape of `x` but along `axis`."""
    x, indices = args.shape("x"), args.shape("indices")
    axis = dims.axis(args, args.integer("axis"), len(x))
    if len(indices) != len(x):
        raise args.error(f"'x' and 'indices' have to have one rank, and have {len(x)} and {len(indices)}")
    along = (*x[:axis], indices[axis], *x[axis + 1 :])
    return dims.of(args.dtype("x"), dims.unify_shapes(args, "the shapes of 'x' and 'indices'", indices, along))


def gather_nd(args: Args) -> tuple[Type, ...]:
    """`indices` `[*d, k]` hold positions in the first `k` dimensions of `x` behind the `batch_dims` common ones."""
    x, indices = args.shape("x"), dims.at_least(args, "indices", 1)
    batch, depth = _batch_dims(args), indices[-1]
    if not isinstance(depth, int):
        return (dims.any_rank(args.dtype("x")),)
    if batch >= len(indices) or batch + depth > len(x):
        raise args.error(f"'indices' {args.type('indices')!r} go beyond the rank of 'x' {args.type('x')!r}")
    common = dims.unify_shapes(args, "the batch of 'x' and 'indices'", x[:batch], indices[:batch])
    return dims.of(args.dtype("x"), (*common, *indices[batch:-1], *x[batch + depth :]))


def _batch_dims(args: Args) -> int:
    if args.spec.param("batch_dims") is None:
        return 0
    batch = args.integer("batch_dims")
    if batch < 0:
        raise args.error(f"'batch_dims' is negative: {batch}")
    return batch


def as_data(args: Args) -> tuple[Type, ...]:
    """The type of `data`, some elements of which are updated."""
    return dims.of(args.dtype("data"), args.shape("data"))


def argsort(args: Args) -> tuple[Type, ...]:
    x = args.shape("x")
    dims.axis(args, args.integer("axis"), len(x))
    return dims.of(INT32, x)


def topk(args: Args) -> tuple[Type, ...]:
    """The `k` greatest elements along `axis`, and their indices unless `return_indices` is false."""
    x = args.shape("x")
    axis, k = dims.axis(args, args.integer("axis"), len(x)), args.maybe_integer("k")
    dim = x[axis]
    if k is not None and isinstance(dim, int) and k > dim:
        raise args.error(f"'k' {k} is more than the {dim} elements of axis {axis}")
    taken: Dim = dims.extent(args, "k", k) if k is not None else UNKNOWN
    shape = (*x[:axis], taken, *x[axis + 1 :])
    values = TensorType(args.dtype("x"), shape)
    if args.spec.param("return_indices") and not args.truth("return_indices"):
        return (values,)
    dtype = dims.named(args, "output_indices_dtype") if args.spec.since >= IOS17 else INT32
    if dtype not in (INT32, INT16, UINT16):
        raise args.error(f"'output_indices_dtype' has to be int32, int16 or uint16, not {dtype}")
    return values, TensorType(dtype, shape)


def one_hot(args: Args) -> tuple[Type, ...]:
    """A new dimension of `one_hot_vector_size` at `axis` of the result."""
    indices, size = args.shape("indices"), args.maybe_integer("one_hot_vector_size")
    axis = dims.axis(args, args.integer("axis"), len(indices) + 1)
    depth: Dim = UNKNOWN if size is None else dims.extent(args, "one_hot_vector_size", size)
    given = next((name for name in ("on_value", "off_value") if args.has(name)), None)
    dtype = INT32 if given is None else args.dtype(given)
    return dims.of(dtype, (*indices[:axis], depth, *indices[axis:]))


def non_zero(args: Args) -> tuple[Type, ...]:
    """The positions of the elements that are not 0: as many rows, as many columns as `x` has dimensions."""
    return dims.of(INT32, (UNKNOWN, len(args.shape("x"))))


def non_maximum_suppression(args: Args) -> tuple[Type, ...]:
    """Boxes `[b, max, 4]`, scores `[b, max, c]`, indices `[b, max]` and the number of boxes `[b]`."""
    dims.ranked(args, "boxes", 3)
    batch, _, classes = dims.ranked(args, "scores", 3)
    most = dims.extent(args, "max_boxes", args.integer("max_boxes"))
    return (
        TensorType(args.dtype("boxes"), (batch, most, 4)),
        TensorType(args.dtype("scores"), (batch, most, classes)),
        TensorType(INT32, (batch, most)),
        TensorType(INT32, (batch,)),
    )


def non_maximum_suppression_transposed(args: Args) -> tuple[Type, ...]:
    """From iOS17 on: boxes `[b, 4, max]`, scores `[b, c, max]` and indices `[b, max]`."""
    dims.ranked(args, "boxes", 3)
    batch, classes, _ = dims.ranked(args, "scores", 3)
    most = dims.extent(args, "max_boxes", args.integer("max_boxes"))
    return (
        TensorType(args.dtype("boxes"), (batch, 4, most)),
        TensorType(args.dtype("scores"), (batch, classes, most)),
        TensorType(INT32, (batch, most)),
    )
