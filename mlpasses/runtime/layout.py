"""Ops that give the same elements another shape or order: views wherever NumPy has one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ir.diagnostics import EvaluationError
from mlpasses.runtime.arrays import Array, Arrays, Flags, Ints, axes_of, axis_of, show_shape


def identity(x: Array) -> Array:
    return x


def reshape(x: Array, shape: Ints) -> Array:
    """A -1 is what the number of elements leaves, a 0 the dimension of x at the same place (below iOS17).

    Raises:
        EvaluationError: there is a 0 and not as many dimensions as x has, or the number of elements differs.
    """
    if 0 in shape and len(shape) != x.ndim:
        raise EvaluationError(f"a 0 in shape needs as many dimensions as x has: {show_shape(shape)} and {show_shape(x.shape)}")
    return _reshaped(x, [dim or x.shape[axis] for axis, dim in enumerate(shape)])


def reshape_from_right(x: Array, shape: Ints) -> Array:
    """A -1 is what the number of elements leaves, a 0 the dimension of x as far from the right, or 1 beyond its rank (from iOS17 on).

    Raises:
        EvaluationError: the number of elements differs.
    """
    start = x.ndim - len(shape)
    return _reshaped(x, [dim or (x.shape[start + axis] if start + axis >= 0 else 1) for axis, dim in enumerate(shape)])


def _reshaped(x: Array, shape: Sequence[int]) -> Array:
    rest = math.prod(dim for dim in shape if dim != -1)
    open_dims = shape.count(-1)
    fits = rest == x.size if not open_dims else rest > 0 and x.size % rest == 0
    if open_dims > 1 or min(shape, default=0) < -1 or not fits:
        raise EvaluationError(f"{show_shape(x.shape)} cannot be reshaped to {show_shape(shape)}")
    return x.reshape(shape)


def reshape_like(x: Array, ref_tensors: Arrays, begins: Ints, ends: Ints, end_masks: Flags) -> Array:
    """To the dimensions `begin` to `end` of each reference, one after the other.

    Raises:
        EvaluationError: the four are not as many, or the number of elements differs.
    """
    if not len(ref_tensors) == len(begins) == len(ends) == len(end_masks):
        raise EvaluationError("ref_tensors, begins, ends and end_masks have to be as many")
    shape: list[int] = []
    for reference, begin, end, open_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += reference.shape[begin : None if open_end else end]
    return _reshaped(x, shape)


def expand_dims(x: Array, axes: Ints) -> Array:
    """Dimensions of 1 at axes of the result."""
    return np.expand_dims(x, axes_of(axes, x.ndim + len(axes)))


def squeeze(x: Array, axes: Ints | None = None) -> Array:
    """Without its dimensions of 1; of the named axes, one that is not 1 stays, as in Core ML."""
    return np.squeeze(x, axis=tuple(axis for axis in axes_of(axes, x.ndim) if x.shape[axis] == 1))


def flatten2d(x: Array, axis: int = 1) -> Array:
    """To a matrix: the dimensions before an axis, and those from it on."""
    if not -x.ndim <= axis <= x.ndim:
        raise EvaluationError(f"axis {axis} is outside of a tensor of rank {x.ndim}")
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def transpose(x: Array, perm: Ints) -> Array:
    if len(perm) != x.ndim:
        raise EvaluationError(f"perm has {len(perm)} elements, and x is of rank {x.ndim}")
    return np.transpose(x, axes_of(perm, x.ndim))


def reverse(x: Array, axes: Ints | None = None) -> Array:
    return np.flip(x, axes_of(axes, x.ndim))


def reverse_sequence(x: Array, lengths: Ints, seq_axis: int = 0, batch_axis: int = 0) -> Array:
    """The first lengths[b] elements along `seq_axis` backwards, for each b of `batch_axis`.

    Raises:
        EvaluationError: the axes are one, or a length is not in the sequence.
    """
    sequence, batch = axis_of(seq_axis, x.ndim), axis_of(batch_axis, x.ndim)
    if sequence == batch:
        raise EvaluationError(f"seq_axis and batch_axis are both {sequence}")
    if len(lengths) != x.shape[batch] or any(not 0 <= length <= x.shape[sequence] for length in lengths):
        raise EvaluationError(f"lengths has to have {x.shape[batch]} elements, each in 0 … {x.shape[sequence]}")
    position = np.arange(x.shape[sequence])
    last = np.asarray(lengths, np.intp)[:, None] - 1
    backwards = np.where(position <= last, last - position, position)  # [batch, sequence]
    along = np.moveaxis(x, (batch, sequence), (0, 1))
    taken = along[np.arange(len(lengths))[:, None], backwards]
    return np.moveaxis(taken, (0, 1), (batch, sequence))


def depth_to_space(x: Array, block_size: int) -> Array:
    """[n, b·b·c, h, w] → [n, c, h·b, w·b]; the block's row and column are the outermost part of the channel, as in TensorFlow."""
    n, c, h, w = _image(x, block_size, block_size**2, 1, 1)
    split = x.reshape(n, block_size, block_size, c // block_size**2, h, w)
    return split.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // block_size**2, h * block_size, w * block_size)


def space_to_depth(x: Array, block_size: int) -> Array:
    """[n, c, h·b, w·b] → [n, b·b·c, h, w], the inverse of `depth_to_space`."""
    n, c, h, w = _image(x, block_size, 1, block_size, block_size)
    split = x.reshape(n, c, h // block_size, block_size, w // block_size, block_size)
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * block_size**2, h // block_size, w // block_size)


def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """[n, c·f·f, h, w] → [n, c, h·f, w·f]; the block's row and column are the innermost part of the channel, as in PyTorch."""
    n, c, h, w = _image(x, upscale_factor, upscale_factor**2, 1, 1)
    split = x.reshape(n, c // upscale_factor**2, upscale_factor, upscale_factor, h, w)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // upscale_factor**2, h * upscale_factor, w * upscale_factor)


def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    """[n, c, h·f, w·f] → [n, c·f·f, h, w], the inverse of `pixel_shuffle`."""
    n, c, h, w = _image(x, downscale_factor, 1, downscale_factor, downscale_factor)
    split = x.reshape(n, c, h // downscale_factor, downscale_factor, w // downscale_factor, downscale_factor)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * downscale_factor**2, h // downscale_factor, w // downscale_factor)


def _image(x: Array, factor: int, *divisors: int) -> tuple[int, int, int, int]:
    if x.ndim != 4 or factor < 1 or any(dim % divisor for dim, divisor in zip(x.shape[1:], divisors, strict=True)):
        raise EvaluationError(f"{show_shape(x.shape)} cannot be cut into blocks of {factor} by {factor}")
    n, c, h, w = x.shape
    return n, c, h, w


def space_to_batch(x: Array, block_shape: Ints, paddings: Array) -> Array:
    """[n, c, h, w] → [b₀·b₁·n, c, h/b₀, w/b₁], padded with zeros before."""
    rows, columns = _blocks(x, block_shape, paddings)
    padded = np.pad(x, [(0, 0), (0, 0), *((int(before), int(after)) for before, after in paddings)])
    n, c, h, w = padded.shape
    if h % rows or w % columns:
        raise EvaluationError(f"the padded {show_shape(padded.shape)} cannot be cut into blocks of {rows} by {columns}")
    split = padded.reshape(n, c, h // rows, rows, w // columns, columns)
    return split.transpose(3, 5, 0, 1, 2, 4).reshape(n * rows * columns, c, h // rows, w // columns)


def batch_to_space(x: Array, block_shape: Ints, crops: Array) -> Array:
    """[b₀·b₁·n, c, h, w] → [n, c, h·b₀, w·b₁], cropped after."""
    rows, columns = _blocks(x, block_shape, crops)
    n, c, h, w = x.shape
    if n % (rows * columns):
        raise EvaluationError(f"a batch of {n} cannot be divided into blocks of {rows} by {columns}")
    n //= rows * columns
    joined = x.reshape(rows, columns, n, c, h, w).transpose(2, 3, 4, 0, 5, 1).reshape(n, c, h * rows, w * columns)
    (top, bottom), (left, right) = ((int(before), int(after)) for before, after in crops)
    return joined[:, :, top : h * rows - bottom, left : w * columns - right]


def _blocks(x: Array, block_shape: Ints, amounts: Array) -> tuple[int, int]:
    if x.ndim != 4 or len(block_shape) != 2 or min(block_shape) < 1 or amounts.shape != (2, 2) or (amounts < 0).any():
        found = f"{show_shape(x.shape)}, {show_shape(block_shape)} and {show_shape(amounts.shape)}"
        raise EvaluationError(f"x of rank 4, two positive block sizes and two pairs of amounts ≥ 0 were expected, not {found}")
    return block_shape[0], block_shape[1]


EVALUATORS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        batch_to_space, depth_to_space, expand_dims, flatten2d, identity, pixel_shuffle, pixel_unshuffle, reshape, reshape_like, reverse,
        reverse_sequence, space_to_batch, space_to_depth, squeeze, transpose,
    )
}  # fmt: skip
FROM_IOS17: Final[Mapping[str, Callable[..., Any]]] = {"reshape": reshape_from_right}
