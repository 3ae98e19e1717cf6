"""Products of matrices."""

from __future__ import annotations

from ir.infer import dims
from ir.infer.args import Args
from ir.types import UNKNOWN, Dim, Type


def linear(args: Args) -> tuple[Type, ...]:
    """`[*d, in]` and a weight `[out, in]` give `[*d, out]`."""
    x = dims.at_least(args, "x", 1)
    out, in_ = dims.ranked(args, "weight", 2)
    dims.unify(args, "the last dimension of 'x' and 'weight'", x[-1], in_)
    if args.has("bias"):
        (length,) = dims.ranked(args, "bias", 1)
        dims.unify(args, "the length of 'bias' and the rows of 'weight'", length, out)
    return dims.of(args.dtype("x"), (*x[:-1], out))


def matmul(args: Args) -> tuple[Type, ...]:
    """`[*b, m, k]` and `[*b, k, n]` give `[*b, m, n]`; a vector `x` is a row whose dimension the result loses."""
    x, y = dims.at_least(args, "x", 1), dims.at_least(args, "y", 1)
    transpose_x, transpose_y = args.truth("transpose_x"), args.truth("transpose_y")
    if (len(x) == 1 and transpose_x) or (len(y) == 1 and transpose_y):
        raise args.error("a vector cannot be transposed")
    if len(x) == 1:
        rows: tuple[Dim, ...] = ()
        inner = x[0]
    else:
        rows, inner = ((x[-1],), x[-2]) if transpose_x else ((x[-2],), x[-1])
    if len(y) == 1:
        columns: tuple[Dim, ...] = ()
        other = y[0]
    else:
        columns, other = ((y[-2],), y[-1]) if transpose_y else ((y[-1],), y[-2])
    dims.unify(args, "the contracted dimension of 'x' and 'y'", inner, other)
    return dims.of(args.dtype("x"), (*dims.broadcast(args, x[:-2], y[:-2]), *rows, *columns))


def einsum(args: Args) -> tuple[Type, ...]:
    """Each label of the result has the dimension that it has in the operands; one of 1 is broadcast."""
    values = args.types("values")
    equation = args.text("equation").replace(" ", "")
    sources, arrow, result = equation.partition("->")
    labels = sources.split(",")
    if not arrow or len(labels) != len(values) or not values:
        raise args.error(f"the equation {equation!r} does not fit {len(values)} operands")
    sizes: dict[str, Dim] = {}
    for index, (own, value) in enumerate(zip(labels, values, strict=True)):
        if len(own) != len(value.shape) or value.rank < 0:
            raise args.error(f"operand {index} is {value!r}, where the equation has {own!r}")
        for label, dim in zip(own, value.shape, strict=True):
            sizes[label] = dims.broadcast(args, (sizes[label],), (dim,))[0] if label in sizes else dim
    missing = [label for label in result if label not in sizes]
    if missing:
        raise args.error(f"the result of {equation!r} has {missing[0]!r}, which no operand has")
    return dims.of(values[0].dtype, (sizes[label] for label in result))


def attention(args: Args) -> tuple[Type, ...]:
    """Query `[*b, l, e]`, key `[*b, s, e]` and value `[*b, s, v]` give `[*b, l, v]`."""
    query, key, value = (dims.at_least(args, name, 3) for name in ("query", "key", "value"))
    if not len(query) == len(key) == len(value):
        raise args.error(f"query, key and value have to have one rank, and have {len(query)}, {len(key)} and {len(value)}")
    batch = dims.unify_shapes(args, "the batch of query and key", query[:-2], key[:-2])
    batch = dims.unify_shapes(args, "the batch of key and value", batch, value[:-2])
    dims.unify(args, "the embedding of query and key", query[-1], key[-1])
    length = dims.unify(args, "the sequence of key and value", key[-2], value[-2])
    if args.has("attn_mask"):
        mask = dims.at_least(args, "attn_mask", 1)
        dims.broadcast(args, (*batch, query[-2], length if isinstance(length, int) else UNKNOWN), mask)
    return dims.of(args.dtype("query"), (*batch, query[-2], value[-1]))
