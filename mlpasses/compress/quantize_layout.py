"""The blocks of a weight that have a scale each, from its shape and its consumers."""

from __future__ import annotations

from mlpasses.candidates import Candidate, input_axis, output_axis
from mlpasses.compress.blocks import Division, divided, whole
from mlpasses.config.quantize import Quantize


def blocks_of(candidate: Candidate, config: Quantize) -> Division | str:
    """The blocks that have a scale each, or why there are none."""
    shape = candidate.shape
    one = whole(len(shape))
    if config.granularity == "per-tensor":
        return one
    if config.granularity == "per-block" and isinstance(config.block, tuple):
        return _by_axis(shape, config.block, config)
    out = output_axis(candidate, config.axis)
    if isinstance(out, str):
        return out
    channels = divided(one, shape, out, 1, config.indivisible, "block_size")
    if config.granularity == "per-channel" or isinstance(channels, str):
        return channels
    assert isinstance(config.block, int)  # the other case is above
    in_ = input_axis(candidate) if config.axis is None else _other_axis(candidate, out)
    if isinstance(in_, str):
        return in_
    return divided(channels, shape, in_, config.block, config.indivisible, "block_size")


def _by_axis(shape: tuple[int, ...], sizes: tuple[int, ...], config: Quantize) -> Division | str:
    if len(sizes) != len(shape):
        return f"block_size has {len(sizes)} sizes, and it is of rank {len(shape)}"
    division: Division | str = whole(len(shape))
    for axis, size in enumerate(sizes):
        if isinstance(division, str):
            return division
        division = divided(division, shape, axis, size, config.indivisible, f"block_size[{axis}]")
    return division


def _other_axis(candidate: Candidate, out: int) -> int | str:
    """The input channels' axis where the output channels' was given: the op tables' if it is another, else the first other one."""
    known = input_axis(candidate)
    if isinstance(known, int) and known != out:
        return known
    rank = len(candidate.shape)
    return next((axis for axis in range(rank) if axis != out), "it has no other axis than that of its output channels")
