"""The work of `PalettizeWeights` on a weight that is compressed already: tables for its floats that a mask keeps, or for its integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from ir.packing import pack_tensor, packed_size
from ir.tensors import AbstractTensor, ArrayTensor, Tensor
from ir.types import INT8, UINT1, UINT8, UINT_BY_BITS, DType
from mlpasses.compress.jobs import OVERFLOWING, Declined, EngineName, Finished, Outcome, Part, Writer, measure_named
from mlpasses.compress.kept import of_vectors, share_used, taken
from mlpasses.compress.palettize_job import Engines, Tables, codebook_of, effort_of, engines_named, most_distinct, tables_of, too_many
from mlpasses.compress.palettize_layout import Layout
from mlpasses.config.palettize import Palettize
from mlpasses.forms.canonical import repeated_array
from mlpasses.forms.decoding import decoded, elements
from mlpasses.forms.form import Floats, Form, Indexed, Scaled
from mlpasses.numerics import palette
from mlpasses.numerics.affine import Array
from mlpasses.numerics.distinct import Distinct
from mlpasses.numerics.loss import Between


@frozen(eq=False)
class PalettizeCodesJob:
    """What has to be known to palettize one compressed weight, whose values are floats under a mask, or integers."""

    name: str
    stored: Form
    shape: tuple[int, ...]
    layout: Layout
    config: Palettize
    nbytes: int

    @property
    def effort(self) -> float:
        return effort_of(math.prod(self.shape) * 2, self.layout)

    def sizes(self) -> Mapping[str, int]:
        layout, most = self.layout, self.layout.widths[-1]
        return {
            "indices": packed_size(math.prod(layout.indices(self.shape)), most),
            "lut": packed_size((math.prod(layout.tables) * layout.vector) << most, layout.stored.bits),
            "mask": packed_size(math.prod(layout.indices(self.shape)), 1),
        }

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        engines = engines_named(engine)
        flags, vector = None if self.stored.mask is None else self.stored.mask.numpy(), self.layout.vector
        of_codes = flags
        if flags is not None and vector > 1:
            of_codes = of_vectors(flags, self.shape, self.layout.axis, vector)
            if int(np.count_nonzero(of_codes)) * vector != int(np.count_nonzero(flags)):
                return Declined(
                    f"its mask keeps parts of vectors of {vector}, and an index stands for a whole one: prune it with "
                    f'Magnitude(block_size={vector}, dim="output"), and before QuantizeWeights, which makes zeros'
                )
        values = self._values(flags)
        width = self._width(values, engines)
        if isinstance(width, Declined):
            return width
        try:
            tables, codes = self._tables(values, flags, evolve(self.layout, widths=(width,)), engines)
        except palette.TooManyValuesError as error:
            return Declined(too_many(error.count, 1 << width))
        return self._written(tables, codes, of_codes, width, measure_named(engine), out)

    def _values(self, flags: Array | None) -> Array:
        """What tables are chosen for, in the weight's shape: floats, 0 where the mask is; or integers, as floats."""
        values = self.stored.values
        if isinstance(values, Floats):
            return decoded(self.stored)
        assert isinstance(values, Scaled)  # indices are not palettized again
        integers = values.data.numpy()
        if flags is None:
            return integers.astype(np.float16)
        dense = np.zeros(self.shape, np.float16)
        dense.reshape(-1)[np.flatnonzero(flags)] = integers
        return dense

    def _width(self, values: Array, engines: Engines) -> int | Declined:
        widths = self.layout.widths
        if len(widths) == 1:
            return widths[0]
        most = most_distinct(values, self.layout, engines)
        return next((each for each in widths if most <= 1 << each), None) or Declined(too_many(most, 1 << widths[-1]))

    def _tables(self, values: Array, flags: Array | None, layout: Layout, engines: Engines) -> tuple[Tables, Array]:
        """The tables, and the index of every element or vector. Errors of integers count by the squares of their scales."""
        pieces: list[Array] = []

        def emit(position: int, codes: npt.NDArray[Any]) -> None:
            pieces.append(codes.copy())

        stored, importance, choose = self.stored.values, None, codebook_of(self.config)
        if isinstance(stored, Scaled):
            importance = self._spread(np.square(stored.scale.numpy().astype(np.float32)))
        if flags is not None and (layout.vector > 1 or importance is not None or isinstance(stored, Scaled)):
            importance = flags.astype(np.float32) if importance is None else importance * flags
        elif flags is not None:
            choose = _OfNonzeros(choose)  # as good, and sooner: 0 is what the mask leaves out
        found = tables_of(values, layout, self.config, engines, emit, choose, importance)
        if isinstance(stored, Scaled):
            found = evolve(found, entries=np.rint(found.entries.astype(np.float32)))
            if layout.vector == 1:
                pieces.clear()
                view = layout.view(self.shape)
                entries = found.entries.reshape(view[1], -1).astype(np.float16)
                nearest, _ = palette.assign_view(values.reshape(view), entries, engines.scalars, emit)
                found = evolve(found, entries=nearest.entries.reshape(found.entries.shape))
        return found, np.concatenate(pieces).reshape(layout.indices(self.shape))

    def _spread(self, blocks: Array) -> Array | None:
        """What holds for blocks, in the weight's shape; None where one block is all."""
        return None if blocks.size == 1 else repeated_array(blocks, self.shape)

    def _written(self, tables: Tables, codes: Array, flags: Array | None, width: int, measure: Between, out: Writer) -> Outcome:
        layout, values = self.layout, self.stored.values
        dtype = entry_type(values.data.dtype) if isinstance(values, Scaled) else layout.stored
        entries = tables.entries.astype(dtype.numpy)
        kept = codes.reshape(-1) if flags is None else taken(codes, flags)
        index, shape = UINT_BY_BITS[width], codes.shape if flags is None else kept.shape
        mask = self.stored.mask
        parts = {"indices": Part(index, shape), "lut": out.whole("lut", dtype, entries)}
        out.write("indices", 0, pack_tensor(kept, index))
        if flags is not None and layout.vector > 1:
            mask = ArrayTensor(flags, UINT1)
            out.write("mask", 0, np.packbits(flags.reshape(-1), bitorder="little"))
            parts["mask"] = Part(UINT1, flags.shape)
        joint = joint_form(self.stored, ArrayTensor(kept.reshape(shape), index), ArrayTensor(entries, dtype), layout, mask)
        after = elements(joint)
        if not np.isfinite(after).all():
            return OVERFLOWING
        # Which entries are used is counted anew: what the mask leaves out was assigned too, and integers again after rounding.
        return Finished(parts, measure(elements(self.stored), after), lut_used=share_used(joint))


@frozen
class _OfNonzeros:
    """A codebook for the values of a sparse weight: zeros have no entry, since the mask leaves them out."""

    inner: palette.Codebook

    def __call__(self, distinct: Distinct, places: int, engine: palette.Engine) -> npt.NDArray[np.float64]:
        return self.inner(distinct.without_zeros(), places, engine)


def entry_type(data: DType) -> DType:
    """The type of the entries of tables for integers of a type: the one of 8 bits."""
    return INT8 if data.kind == "int" else UINT8


def joint_form(form: Form, indices: Tensor, lut: Tensor, layout: Layout, mask: Tensor | None) -> Form:
    """A form with a table in place of its values; the scale of integers goes behind it, with an offset of the entries' type."""
    values = form.values
    table = Indexed(indices, Floats(lut), layout.vector_axis)
    if not isinstance(values, Scaled):
        return evolve(form, values=table, mask=mask)
    offset = values.offset
    if offset is not None and offset.dtype is not lut.dtype and not offset.dtype.is_float:
        offset = _widened(offset, lut.dtype)
    return Form(table, values.scale, offset, mask)


def _widened(tensor: Tensor, dtype: DType) -> Tensor:
    if isinstance(tensor, AbstractTensor):
        return AbstractTensor(dtype, tensor.shape)
    return ArrayTensor(tensor.numpy().astype(dtype.numpy), dtype)
