"""The bytes of a packed tensor as a tensor of their own: how iOS16 holds indices and masks."""

from __future__ import annotations

from ir.tensors import AbstractTensor, MappedTensor, PackedTensor, Tensor
from ir.types import UINT8


def bytes_of(tensor: Tensor) -> Tensor:
    """The payload of a tensor as `uint8[n]`, without a copy; an abstract tensor stays abstract."""
    shape = (tensor.nbytes,)
    if isinstance(tensor, AbstractTensor):
        return AbstractTensor(UINT8, shape)
    if isinstance(tensor, MappedTensor):
        return MappedTensor(tensor.file, tensor.offset, UINT8, shape)
    return PackedTensor(tensor.payload(), UINT8, shape)
