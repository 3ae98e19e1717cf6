"""Ops over images `[.., height, width]`."""

from __future__ import annotations

import math

from ir.infer import dims
from ir.infer.args import Args
from ir.types import UNKNOWN, Dim, Type


def affine(args: Args) -> tuple[Type, ...]:
    n, c, *_ = dims.ranked(args, "x", 4)
    return dims.of(args.dtype("x"), (n, c, _extent(args, "output_height"), _extent(args, "output_width")))


def crop(args: Args) -> tuple[Type, ...]:
    """`crop_height` and `crop_width` hold what goes before and after."""
    x = dims.at_least(args, "x", 3)
    height, width = (sum(dims.known_vector(args, name, 2)) for name in ("crop_height", "crop_width"))
    rows = dims.extent(args, "crop_height", x[-2] - height) if isinstance(x[-2], int) else UNKNOWN
    columns = dims.extent(args, "crop_width", x[-1] - width) if isinstance(x[-1], int) else UNKNOWN
    return dims.of(args.dtype("x"), (*x[:-2], rows, columns))


def crop_resize_roi(args: Args) -> tuple[Type, ...]:
    """Below iOS17: `[n, b, c, target_height, target_width]` for `n` regions of four numbers, each cut from every image.

    A region of five names its one image: there b is 1 by the op's documentation, and the batch of x for coremltools, so nothing is said.
    """
    roi = dims.at_least(args, "roi", 1)
    b, c, *_ = dims.ranked(args, "x", 4)
    images = b if b == 1 or (len(roi) == 5 and roi[2] == 4) else UNKNOWN
    return dims.of(args.dtype("x"), (roi[0], images, c, _extent(args, "target_height"), _extent(args, "target_width")))


def crop_resize_boxes(args: Args) -> tuple[Type, ...]:
    """From iOS17 on: `[n, c, target_height, target_width]` for `n` boxes."""
    count = dims.at_least(args, "boxes", 1)[0]
    channels = dims.ranked(args, "x", 4)[1]
    return dims.of(args.dtype("x"), (count, channels, _extent(args, "target_height"), _extent(args, "target_width")))


def resample(args: Args) -> tuple[Type, ...]:
    """At the `coordinates` `[n, h, w, 2]`."""
    n, c, *_ = dims.ranked(args, "x", 4)
    batch, height, width, pair = dims.ranked(args, "coordinates", 4)
    dims.unify(args, "the last dimension of 'coordinates'", pair, 2)
    return dims.of(args.dtype("x"), (dims.unify(args, "the batch of 'x' and 'coordinates'", n, batch), c, height, width))


def resize_to_target(args: Args) -> tuple[Type, ...]:
    x = dims.at_least(args, "x", 3)
    return dims.of(args.dtype("x"), (*x[:-2], _extent(args, "target_size_height"), _extent(args, "target_size_width")))


def resize(args: Args) -> tuple[Type, ...]:
    """The last `resized_dims` dimensions are the last elements of `shape`, where 0 leaves one as it is."""
    x, count = args.shape("x"), args.integer("resized_dims")
    (length,) = dims.ranked(args, "shape", 1)
    if not 0 <= count <= len(x) or (isinstance(length, int) and count > length):
        raise args.error(f"'resized_dims' {count} is more than 'x' or 'shape' has")
    wanted = args.integers("shape")
    kept, old = x[: len(x) - count], x[len(x) - count :]
    if wanted is None:
        return dims.of(args.dtype("x"), (*kept, *dims.unknown(count)))
    new = [dims.extent(args, "shape", w) or d for d, w in zip(old, wanted[len(wanted) - count :], strict=True)]
    return dims.of(args.dtype("x"), (*kept, *new))


def upsample(args: Args) -> tuple[Type, ...]:
    """Height and width times their scale factors, rounded down."""
    x = dims.at_least(args, "x", 3)
    return dims.of(
        args.dtype("x"),
        (*x[:-2], _scaled(args, "scale_factor_height", x[-2]), _scaled(args, "scale_factor_width", x[-1])),
    )


def _scaled(args: Args, name: str, dim: Dim) -> Dim:
    factor = args.value(name)
    if not isinstance(factor, int | float) or not math.isfinite(factor):
        raise args.error(f"{name!r} has to be a number that is known at compile time")
    return dims.extent(args, name, math.floor(factor * dim)) if isinstance(dim, int) else UNKNOWN


def _extent(args: Args, name: str) -> int:
    return dims.extent(args, name, args.integer(name))
