"""The forms that a compressed weight is stored in, as data: what its numbers are, apart from the ops that say so (`emission`).

A form is made of at most four layers, the inner ones first:

    values      floats as they are (`Floats`), integers with scales (`Scaled`), or indices into a table (`Indexed`) of either
    scale       what the values are multiplied with behind a table, of integers too (less an offset)
    mask        where it is 0 the weight is 0, and no value is stored: the values are a vector of the others then
    cast        fp16 values of a fp32 weight

Tensors may be abstract: in a plan they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

from attrs import evolve, frozen

from ir.opset import IOS18, Opset
from ir.tensors import Tensor
from ir.types import DType


@frozen(eq=False)
class Floats:
    """Values as they are. Integers too, where they are the entries of a table that a scale is behind."""

    tensor: Tensor

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    def tensors(self) -> Iterator[Tensor]:
        yield self.tensor


@frozen(eq=False)
class Scaled:
    """`scale · (data - offset)`, with a scale and an offset for each block. Data are integers, or floats in tables that others wrote.

    `scale` and `offset` have the rank of the whole, whose dimensions theirs divide; no offset stands for 0 throughout.
    """

    data: Tensor
    scale: Tensor
    offset: Tensor | None = None

    @property
    def dtype(self) -> DType:
        return self.scale.dtype

    def tensors(self) -> Iterator[Tensor]:
        yield self.data
        yield self.scale
        if self.offset is not None:
            yield self.offset


@frozen(eq=False)
class Indexed:
    """`entries[block, index]`: tables `[*blocks, 2 ** nbits, vector]`, one for each block of the indices.

    Vectors longer than 1 lie along `vector_axis`, which is so many times shorter in the indices than in the weight.
    """

    indices: Tensor
    entries: Floats | Scaled
    vector_axis: int | None = None

    @property
    def dtype(self) -> DType:
        return self.entries.dtype

    @property
    def tables(self) -> tuple[int, ...]:
        """The shape of the tables: blocks on each axis, entries, length of the vectors."""
        entries = self.entries
        return entries.tensor.shape if isinstance(entries, Floats) else entries.data.shape

    def tensors(self) -> Iterator[Tensor]:
        yield self.indices
        yield from self.entries.tensors()


Values: TypeAlias = Floats | Scaled | Indexed


@frozen(eq=False)
class Form:
    """A weight in compressed form."""

    values: Values
    scale: Tensor | None = None
    """Of the rank of the weight, whose dimensions its own divide."""
    offset: Tensor | None = None
    """Of the shape of the scale: what is subtracted before."""
    mask: Tensor | None = None
    """uint1, of the shape of the weight; that of the indices where they stand for vectors."""

    @property
    def dtype(self) -> DType:
        """The type of the floats that it yields, before any cast."""
        return self.values.dtype if self.scale is None else self.scale.dtype

    @property
    def sparsity(self) -> float | None:
        """The share of elements that its mask leaves out, from types alone; None where it has no mask."""
        return None if self.mask is None else 1 - math.prod(codes_of(self).shape) / math.prod(self.mask.shape)

    def tensors(self) -> Iterator[Tensor]:
        """What it is stored in."""
        yield from self.values.tensors()
        for tensor in (self.scale, self.offset, self.mask):
            if tensor is not None:
                yield tensor

    def nbytes(self, opset: Opset) -> int:
        """The bytes of its numbers, as an opset holds them: below iOS18 there are always zero points."""
        total = sum([tensor.nbytes for tensor in self.tensors()])
        values = self.values
        if opset < IOS18 and isinstance(values, Scaled) and values.offset is None:
            total += values.scale.nbytes * values.data.dtype.bits // values.scale.dtype.bits
        return total


def codes_of(form: Form) -> Tensor:
    """The tensor with a code for each element, or for each that the mask keeps: floats, integers or indices."""
    values = form.values
    if isinstance(values, Floats):
        return values.tensor
    return values.data if isinstance(values, Scaled) else values.indices


def with_codes(form: Form, codes: Tensor, mask: Tensor | None) -> Form:
    """The form with other codes and another mask, all else as it is."""
    values = form.values
    changed: Values
    if isinstance(values, Floats):
        changed = Floats(codes)
    elif isinstance(values, Scaled):
        changed = evolve(values, data=codes)
    else:
        changed = evolve(values, indices=codes)
    return evolve(form, values=changed, mask=mask)
