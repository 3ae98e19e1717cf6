"""Tensors over the bytes of other tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ir.tensors import AbstractTensor, ArrayTensor, MappedTensor, Tensor, viewed
from ir.types import DType


class Reheaded:
    """Tensors of another type or shape over the bytes of tensors that a program has.

    A tensor that is used in several places (a `BlobTensor` and its like count as one wherever they name the same bytes) gives one result,
    so that what was shared stays shared.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    def view(self, tensor: Tensor, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        """The same bytes as `dtype` in `shape`, unread: `uint8[M]` indices of n bits as `uintN[*shape]`.

        Both payloads have one size. The unused bits of the last byte stay what they are: they have no meaning in either form.
        """
        if tensor.dtype is dtype and tensor.shape == shape:
            return tensor
        return self._once(tensor, dtype, shape, lambda: viewed(tensor, dtype, shape))

    def broadcast(self, tensor: Tensor, dtype: DType, shape: tuple[int, ...], aligned: tuple[int, ...]) -> Tensor:
        """The elements as `dtype`, in the shape `aligned`, repeated to `shape`. Bytes that need not change are not read."""
        if tensor.dtype is dtype and aligned == shape:
            return self.view(tensor, dtype, shape)
        return self._once(tensor, dtype, shape, lambda: _repeated(tensor, dtype, shape, aligned))

    def _once(self, tensor: Tensor, dtype: DType, shape: tuple[int, ...], make: Callable[[], Tensor]) -> Tensor:
        source: tuple[object, ...] = (tensor.file, tensor.offset) if isinstance(tensor, MappedTensor) else (id(tensor),)
        key = (*source, tensor.dtype, tensor.shape, dtype, shape)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = (make(), tensor)  # the tensor too, as its id is its own only while it lives
        return found[0]


def _repeated(tensor: Tensor, dtype: DType, shape: tuple[int, ...], aligned: tuple[int, ...]) -> Tensor:
    if isinstance(tensor, AbstractTensor):
        return AbstractTensor(dtype, shape)
    wide = np.broadcast_to(tensor.numpy().reshape(aligned), shape)
    return ArrayTensor(np.ascontiguousarray(wide.astype(dtype.numpy)), dtype)
