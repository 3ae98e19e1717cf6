"""The constexpr ops: constants in a compressed form."""

from __future__ import annotations

import math

from ir.infer import dims
from ir.infer.args import Args
from ir.types import FP32, Dim, Shape, TensorType, Type


def affine_dequantize(args: Args) -> tuple[Type, ...]:
    """`scale * (quantized_data - zero_point)`, each of the two a scalar or as long as `axis`."""
    shape = args.shape("quantized_data")
    axis = dims.axis(args, args.integer("axis"), len(shape))
    for name in ("scale", "zero_point"):
        vector = dims.ranked(args, name, 0, 1)
        if vector:
            dims.unify(args, f"the length of {name!r} and the dimension of axis {axis}", vector[0], shape[axis])
    return dims.of(args.dtype("scale"), shape)


def cast(args: Args) -> tuple[Type, ...]:
    """fp16 as fp32."""
    dtype = dims.named(args, "output_dtype")
    if dtype is not FP32:
        raise args.error(f"'output_dtype' has to be fp32, not {dtype}")
    return dims.of(dtype, args.shape("source_val"))


def packed_lut_to_dense(args: Args) -> tuple[Type, ...]:
    """iOS16: indices in `ceil(nbits * numel / 8)` bytes, and a LUT of `2 ** nbits` entries."""
    (entries,) = dims.ranked(args, "lut", 1)
    if entries not in (2, 4, 16, 64, 256):
        raise args.error(f"'lut' has to have 2, 4, 16, 64 or 256 entries, not {entries!r}")
    shape = _stated_shape(args)
    _check_bytes(args, "indices", (int(entries).bit_length() - 1) * math.prod(shape))
    return dims.of(args.dtype("lut"), shape)


def packed_sparse_to_dense(args: Args) -> tuple[Type, ...]:
    """iOS16: a mask of a bit an element, and the elements whose bit is set."""
    dims.ranked(args, "nonzero_data", 1)
    shape = _stated_shape(args)
    _check_bytes(args, "mask", math.prod(shape))
    return dims.of(args.dtype("nonzero_data"), shape)


def _stated_shape(args: Args) -> tuple[int, ...]:
    stated = args.integers("shape")
    if stated is None:
        raise args.error("'shape' has to be known at compile time")
    return tuple(dims.extent(args, "shape", d) for d in stated)


def _check_bytes(args: Args, name: str, bits: int) -> None:
    (length,) = dims.ranked(args, name, 1)
    dims.unify(args, f"the number of bytes in {name!r}", length, -(-bits // 8))


def blockwise_shift_scale(args: Args) -> tuple[Type, ...]:
    """`scale * (data - offset)`, where each element of scale and offset stands for a block of `data`."""
    shape = dims.at_least(args, "data", 1)
    _check_blocks(args, shape, args.type("data"))
    return dims.of(args.dtype("scale"), shape)


def sparse_blockwise_shift_scale(args: Args) -> tuple[Type, ...]:
    """The same over the elements that a mask keeps: the mask, and the elements."""
    mask = dims.at_least(args, "data_mask", 1)
    (length,) = dims.ranked(args, "nonzero_data", 1)
    _check_blocks(args, mask, args.type("nonzero_data"))
    return args.type("data_mask"), TensorType(args.dtype("scale"), (length,))


def _check_blocks(args: Args, shape: Shape, data: TensorType) -> None:
    scale = dims.ranked(args, "scale", len(shape))
    _check_divides(args, "scale", scale, shape)
    if not args.has("offset"):
        return
    dims.unify_shapes(args, "'scale' and 'offset'", scale, args.shape("offset"))
    offset = args.dtype("offset")
    if not offset.is_float and offset is not data.dtype:
        raise args.error(f"'offset' has to be a float or of the data's type {data.dtype}, not {offset}")


def _check_divides(args: Args, name: str, parts: Shape, shape: Shape) -> None:
    for axis, (part, dim) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, int):
            dims.divided(args, f"dimension {axis}, which {name!r} has in {part} blocks,", dim, part)


def lut_to_dense(args: Args) -> tuple[Type, ...]:
    """Indices `[*d]` and a LUT `[*groups, 2 ** nbits, vector]` give `[*d]`, times `vector` along `vector_axis`."""
    shape = args.shape("indices")
    vector, axis = _check_lut(args, shape, args.type("indices"))
    return dims.of(args.dtype("lut"), _widened(shape, axis, vector))


def lut_to_sparse(args: Args) -> tuple[Type, ...]:
    """The same over the indices that a mask keeps: the mask and the elements, both widened by `vector`."""
    mask = args.shape("indices_mask")
    (length,) = dims.ranked(args, "indices_nonzero_data", 1)
    vector, axis = _check_lut(args, mask, args.type("indices_nonzero_data"))
    return (
        TensorType(args.dtype("indices_mask"), _widened(mask, axis, vector)),
        TensorType(args.dtype("lut"), (dims.times(length, vector),)),
    )


def _check_lut(args: Args, shape: Shape, indices: TensorType) -> tuple[int, int]:
    """The vector's length and the axis that it lies on."""
    lut = dims.ranked(args, "lut", len(shape) + 2)
    entries, vector = lut[-2], lut[-1]
    if not isinstance(entries, int) or not isinstance(vector, int):
        raise args.error(f"the entries and the vector of 'lut' have to be known, and it is {args.type('lut')!r}")
    if indices.dtype.kind != "uint" or entries != 1 << indices.dtype.bits:
        raise args.error(f"a 'lut' for indices of {indices.dtype} has not {entries} entries")
    axis = 0
    if args.has("vector_axis"):
        axis = dims.axis(args, args.integer("vector_axis"), len(shape))
    elif vector != 1:
        raise args.error(f"a 'lut' of vectors of {vector} needs a 'vector_axis'")
    _check_divides(args, "lut", lut[:-2], shape)
    return vector, axis


def _widened(shape: Shape, axis: int, factor: int) -> tuple[Dim, ...]:
    return tuple(dims.times(d, factor) if i == axis else d for i, d in enumerate(shape))


def sparse_to_dense(args: Args) -> tuple[Type, ...]:
    """A mask of the shape of the result, and the elements that it keeps."""
    dims.ranked(args, "nonzero_data", 1)
    return dims.of(args.dtype("nonzero_data"), args.shape("mask"))
