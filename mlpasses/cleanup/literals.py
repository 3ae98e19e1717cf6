"""Which literals are equal, bit for bit."""

from __future__ import annotations

import hashlib

from ir.const import Const
from ir.tensors import AbstractTensor, MappedTensor, Tensor, fingerprint, same_tensor
from ir.types import STRING


class Literals:
    """Finds for each literal, and for each tensor, the first one asked about that equals it bit for bit: -0 is no 0, NaN equals its like.

    A tensor that was met before is known by its identity, or by where it lies in its file, and is not read. Of any other three samples are
    read (`ir.tensors.fingerprint`), and all of it only where a tensor has these samples in common with another. Linear in what is read.
    """

    __slots__ = ("_by_content", "_by_digest", "_by_mark", "_known", "_places")

    def __init__(self) -> None:
        self._known: dict[int, tuple[Const, Const]] = {}
        """Literals by identity, each with the first that equals it. The literal too, as its id is its own only while it lives."""
        self._by_content: dict[tuple[object, ...], Const] = {}
        self._places: dict[object, tuple[Tensor, Tensor]] = {}
        self._by_mark: dict[int, Tensor] = {}
        self._by_digest: dict[tuple[object, ...], Tensor] = {}

    def first(self, const: Const) -> Const:
        """The first literal that equals `const` in its type, its data and its docstring; `const` itself where it is the first."""
        known = self._known.get(id(const))
        if known is not None:
            return known[1]
        found = self._by_content.setdefault((const.type, self._content(const), const.doc), const)
        self._known[id(const)] = (const, found)
        return found

    def tensor(self, tensor: Tensor) -> Tensor:
        """The first tensor that equals `tensor` in its element type, its shape and its bytes; `tensor` itself where it is the first."""
        if isinstance(tensor, AbstractTensor):
            return tensor  # it equals itself only
        place = place_of(tensor)
        known = self._places.get(place)
        if known is None:
            known = self._places[place] = (tensor, self._first_of_content(tensor))
        return known[1]

    def _content(self, const: Const) -> object:
        data = const.data
        if not isinstance(data, tuple):
            return id(self.tensor(data))
        return tuple(
            (id(self.first(item[0])), id(self.first(item[1]))) if isinstance(item, tuple) else id(self.first(item)) for item in data
        )

    def _first_of_content(self, tensor: Tensor) -> Tensor:
        first = self._by_mark.setdefault(fingerprint(tensor), tensor)
        if first is tensor or same_tensor(first, tensor):
            return first
        # Many weights may have the samples of a fingerprint in common (mostly zeros, say): a digest keeps this linear.
        first = self._by_digest.setdefault((tensor.dtype, tensor.shape, _digest(tensor)), tensor)
        return first if same_tensor(first, tensor) else tensor


def place_of(tensor: Tensor) -> object:
    """What two tensors have in common that are the same numbers without a look at them: where they lie, or their identity."""
    return (tensor.file, tensor.offset, tensor.dtype, tensor.shape) if isinstance(tensor, MappedTensor) else id(tensor)


def _digest(tensor: Tensor) -> object:
    if tensor.dtype is STRING:
        return tuple(tensor.numpy().reshape(-1).tolist())
    return hashlib.blake2b(tensor.payload()).digest()
