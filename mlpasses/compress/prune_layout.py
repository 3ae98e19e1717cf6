"""What is known of pruning from a weight's shape alone: the axis that groups and blocks run along, and what is kept at most."""

from __future__ import annotations

import math

from attrs import frozen

from ir.packing import packed_size
from mlpasses.candidates import Candidate, input_axis, output_axis
from mlpasses.config.prune import NM, Magnitude, PruneConfig
from mlpasses.numerics.affine import View


def channels_axis(candidate: Candidate, config: PruneConfig) -> int | str | None:
    """The axis that groups or blocks run along; None where there are none; the reason why it is not known."""
    if isinstance(config, NM):
        dim, size = config.dim, config.m
    elif isinstance(config, Magnitude) and config.block_size is not None:
        dim, size = config.dim, config.block_size
    else:
        return None
    axis = output_axis(candidate) if dim == "output" else input_axis(candidate)
    if isinstance(axis, int) and candidate.shape[axis] < size:
        return f"it has {candidate.shape[axis]} {dim} channels, fewer than {size}"
    return axis


@frozen
class Bounds:
    """How many elements are stored at most, and what that depends on."""

    most: int
    why: str
    may_stay: bool
    """Whether there may be so few zeros that the weight stays as it is."""


def kept_bounds(view: View, bits: int, config: PruneConfig) -> Bounds | str:
    """How many elements of so many bits are stored, or why it would not become smaller anyhow. One is stored at least, be it a zero."""
    total = math.prod(view)
    zeros = fewest_zeros(view, config)
    dense = (packed_size(total, bits) - packed_size(total, 1) - 1) * 8 // bits
    if dense < 1:
        return "it would not become smaller: a mask takes a bit an element"
    if zeros is None:
        return Bounds(dense, "how many elements become zero", may_stay=True)
    if total - zeros > dense:
        return Bounds(dense, f"it stays as it is unless {1 - dense / total:.1%} of it are zeros by themselves", may_stay=True)
    return Bounds(max(1, total - zeros), "there may be more zeros than that in it", may_stay=False)


def fewest_zeros(view: View, config: PruneConfig) -> int | None:
    """How many elements become zero at least, whatever the numbers; None where nothing is known."""
    outer, channels, inner = view
    if isinstance(config, NM):
        return outer * inner * (channels // config.m * config.n + max(0, config.n - config.m + channels % config.m))
    if not isinstance(config, Magnitude):
        return None
    size = config.block_size or 1
    rest, places = channels % size, outer * inner
    wanted = math.floor(config.sparsity * (-(-channels // size) * places))
    short = min(wanted, places) if rest else 0  # blocks of what is left over, of which all may go
    return short * rest + (wanted - short) * size


def left_over(view: View, config: PruneConfig) -> str:
    """What has to be said where blocks do not divide the channels; nothing where they do."""
    size = config.block_size if isinstance(config, Magnitude) else None
    rest = 0 if size is None else view[1] % size
    if not rest:
        return ""
    return f"blocks of {size} leave {rest} of its {view[1]} channels over, which count as a block: fewer elements become zero than asked"
