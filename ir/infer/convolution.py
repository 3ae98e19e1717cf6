"""Convolution and pooling: windows that slide over spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from ir.infer import dims
from ir.infer.args import Args
from ir.types import UNKNOWN, Dim, Shape, Type


def conv(args: Args) -> tuple[Type, ...]:
    """`[n, in, *d]` and a weight `[out, in / groups, *k]` give `[n, out, *d']`."""
    x = dims.at_least(args, "x", 3)
    weight = dims.ranked(args, "weight", len(x))
    groups = args.integer("groups")
    in_ = dims.divided(args, "the number of input channels", x[1], groups)
    dims.unify(args, "the number of input channels of 'x' and 'weight'", in_, weight[1])
    dims.divided(args, "the number of output channels", weight[0], groups)
    if args.has("bias"):
        (length,) = dims.ranked(args, "bias", 1)
        dims.unify(args, "the length of 'bias' and the output channels", length, weight[0])
    dilations = _positive(args, "dilations", len(x) - 2)
    windows = [dims.add(dims.times(dims.add(k, -1), d), 1) for k, d in zip(weight[2:], dilations, strict=True)]
    return dims.of(args.dtype("x"), (x[0], weight[0], *_slide(args, x[2:], windows)))


def pool(args: Args) -> tuple[Type, ...]:
    """`[n, c, *d]` gives `[n, c, *d']`."""
    x = dims.at_least(args, "x", 3)
    windows = _positive(args, "kernel_sizes", len(x) - 2)
    slide = _slide_up if args.truth("ceil_mode") else _slide
    return dims.of(args.dtype("x"), (*x[:2], *slide(args, x[2:], windows)))


def conv_transpose(args: Args) -> tuple[Type, ...]:
    """`[n, in, *d]` and a weight `[in, out / groups, *k]` give `[n, out, *d']`."""
    x = dims.at_least(args, "x", 3)
    weight = dims.ranked(args, "weight", len(x))
    dims.unify(args, "the number of input channels of 'x' and 'weight'", x[1], weight[0])
    out = dims.times(weight[1], args.integer("groups"))
    if args.has("output_shape"):
        stated = dims.known_vector(args, "output_shape", len(x))
        dims.unify(args, "the batch of 'x' and 'output_shape'", x[0], stated[0])
        dims.unify(args, "the number of output channels", out, stated[1])
        return dims.of(args.dtype("x"), (dims.extent(args, "output_shape", d) for d in stated))
    count = len(x) - 2
    strides, dilations = _positive(args, "strides", count), _positive(args, "dilations", count)
    spatial = tuple(dims.times(d, s) for d, s in zip(x[2:], strides, strict=True))
    if _pad_type(args) not in ("same", "same_lower"):
        windows = [dims.add(dims.times(dims.add(k, -1), d), 1) for k, d in zip(weight[2:], dilations, strict=True)]
        pads = _pads(args, count)
        spatial = tuple(
            dims.extent(args, "pad", d - s + w - p) if isinstance(d, int) and isinstance(w, int) else UNKNOWN
            for d, s, w, p in zip(spatial, strides, windows, pads, strict=True)
        )
    return dims.of(args.dtype("x"), (x[0], out, *spatial))


def _positive(args: Args, name: str, count: int) -> tuple[int, ...]:
    values = dims.known_vector(args, name, count)
    if min(values, default=1) < 1:
        raise args.error(f"{name!r} has to be positive, and is {values}")
    return values


def _pad_type(args: Args) -> str:
    kind = args.text("pad_type").lower()
    if kind not in ("valid", "same", "same_lower", "custom"):
        raise args.error(f"'pad_type' has to be valid, same, same_lower or custom, not {kind!r}")
    return kind


def _pads(args: Args, count: int) -> tuple[int, ...]:
    """What is added to each spatial dimension, before and after together."""
    if _pad_type(args) != "custom":
        return (0,) * count
    pad = dims.known_vector(args, "pad", 2 * count)
    return tuple(before + after for before, after in zip(pad[::2], pad[1::2], strict=True))


def _slide(args: Args, spatial: Shape, windows: Sequence[Dim]) -> list[Dim]:
    """`floor((d + pad - window) / stride) + 1`; with padding "same", `ceil(d / stride)` or more."""
    strides = _positive(args, "strides", len(spatial))
    if _pad_type(args) in ("same", "same_lower"):
        return [
            dims.extent(args, "strides", (d + max(0, -(-d // s) * s - d + w - s) - w) // s + 1)
            if isinstance(d, int) and isinstance(w, int)
            else UNKNOWN
            for d, w, s in zip(spatial, windows, strides, strict=True)
        ]
    pads = _pads(args, len(spatial))
    return [
        _positions(args, d + p - w, s) if isinstance(d, int) and isinstance(w, int) else UNKNOWN
        for d, w, s, p in zip(spatial, windows, strides, pads, strict=True)
    ]


def _slide_up(args: Args, spatial: Shape, windows: Sequence[Dim]) -> list[Dim]:
    """`ceil((d + pad - window) / stride) + 1`, less a last window that would begin in the padding after."""
    if _pad_type(args) in ("same", "same_lower"):
        raise args.error("'ceil_mode' does not go with 'pad_type' same")
    strides, pads = _positive(args, "strides", len(spatial)), _pads(args, len(spatial))
    result: list[Dim] = []
    for d, w, s, p in zip(spatial, windows, strides, pads, strict=True):
        if not isinstance(d, int) or not isinstance(w, int):
            result.append(UNKNOWN)
            continue
        count = _positions(args, d + p - w + s - 1, s)
        result.append(count - 1 if p > 0 and (count - 1) * s >= d + p / 2 else count)
    return result


def _positions(args: Args, room: int, stride: int) -> int:
    if room < 0:
        raise args.error("the window is larger than the padded input")
    return room // stride + 1
