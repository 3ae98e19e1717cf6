"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def batch_to_space(args: Args) -> tuple[Type, ...]:
    raise InferError("batch_to_space: result types are not inferred yet")


def concat(args: Args) -> tuple[Type, ...]:
    raise InferError("concat: result types are not inferred yet")


def depth_to_space(args: Args) -> tuple[Type, ...]:
    raise InferError("depth_to_space: result types are not inferred yet")


def expand_dims(args: Args) -> tuple[Type, ...]:
    raise InferError("expand_dims: result types are not inferred yet")


def flatten2d(args: Args) -> tuple[Type, ...]:
    raise InferError("flatten2d: result types are not inferred yet")


def pad(args: Args) -> tuple[Type, ...]:
    raise InferError("pad: result types are not inferred yet")


def pixel_shuffle(args: Args) -> tuple[Type, ...]:
    raise InferError("pixel_shuffle: result types are not inferred yet")


def pixel_unshuffle(args: Args) -> tuple[Type, ...]:
    raise InferError("pixel_unshuffle: result types are not inferred yet")


def reshape(args: Args) -> tuple[Type, ...]:
    raise InferError("reshape: result types are not inferred yet")


def reshape_from_right(args: Args) -> tuple[Type, ...]:
    raise InferError("reshape_from_right: result types are not inferred yet")


def reshape_like(args: Args) -> tuple[Type, ...]:
    raise InferError("reshape_like: result types are not inferred yet")


def slice_by_index(args: Args) -> tuple[Type, ...]:
    raise InferError("slice_by_index: result types are not inferred yet")


def slice_by_size(args: Args) -> tuple[Type, ...]:
    raise InferError("slice_by_size: result types are not inferred yet")


def slice_update(args: Args) -> tuple[Type, ...]:
    raise InferError("slice_update: result types are not inferred yet")


def sliding_windows(args: Args) -> tuple[Type, ...]:
    raise InferError("sliding_windows: result types are not inferred yet")


def space_to_batch(args: Args) -> tuple[Type, ...]:
    raise InferError("space_to_batch: result types are not inferred yet")


def space_to_depth(args: Args) -> tuple[Type, ...]:
    raise InferError("space_to_depth: result types are not inferred yet")


def split(args: Args) -> tuple[Type, ...]:
    raise InferError("split: result types are not inferred yet")


def squeeze(args: Args) -> tuple[Type, ...]:
    raise InferError("squeeze: result types are not inferred yet")


def stack(args: Args) -> tuple[Type, ...]:
    raise InferError("stack: result types are not inferred yet")


def tile(args: Args) -> tuple[Type, ...]:
    raise InferError("tile: result types are not inferred yet")


def transpose(args: Args) -> tuple[Type, ...]:
    raise InferError("transpose: result types are not inferred yet")
