"""The work of `PalettizeWeights` on a weight that is compressed already: tables for its floats that a mask keeps, or for its integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from ir import flows
from ir.expansion import cast, spread
from ir.flows import Computed, Flow, Room, of_tensor, ones_of
from ir.packing import packed_size
from ir.tensors import AbstractTensor, ArrayTensor, Tensor
from ir.types import INT8, UINT1, UINT8, UINT_BY_BITS, DType
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import OVERFLOWING, Declined, Finished, Outcome
from mlpasses.compress.kept import Kept, mask_of_vectors, share_used
from mlpasses.compress.losses import loss_if_finite
from mlpasses.compress.palettize_job import (
    Desk,
    banded_tables,
    codebook_of,
    effort_of,
    fewest_bits,
    repeated_flow,
    too_many,
)
from mlpasses.compress.palettize_layout import Layout
from mlpasses.compress.writer import Part, Writer
from mlpasses.config.palettize import Palettize
from mlpasses.forms.decoding import dense_flow, stored_flow
from mlpasses.forms.form import Floats, Form, Indexed, Scaled, codes_of
from mlpasses.numerics import palette
from mlpasses.numerics.affine import Array, Emit, NotFiniteError
from mlpasses.numerics.bitstream import Packer
from mlpasses.numerics.distinct import Distinct


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
        sizes = {
            "indices": packed_size(math.prod(codes_of(self.stored).shape) // layout.vector, most),
            "lut": packed_size((math.prod(layout.tables) * layout.vector) << most, layout.stored.bits),
        }
        if self.stored.mask is not None and layout.vector > 1:
            sizes["mask"] = packed_size(math.prod(layout.indices(self.shape)), 1)
        return sizes

    def run(self, engines: Engines, out: Writer) -> Outcome:
        desk, layout, mask = Desk(engines, out.array), self.layout, self.stored.mask
        flags: Flow | None = None if mask is None else of_tensor(mask)
        if flags is not None and layout.vector > 1:
            of_elements, flags = flags, mask_of_vectors(flags, layout.axis, layout.vector)
            if ones_of(flags) * layout.vector != ones_of(of_elements):
                return Declined(
                    f"its mask keeps parts of vectors of {layout.vector}, and an index stands for a whole one: prune it with "
                    f'Magnitude(block_size={layout.vector}, dim="output"), and before QuantizeWeights, which makes zeros'
                )
        values = self._values()
        width = fewest_bits(values, None if mask is None else of_tensor(mask), layout, self.config, desk)
        if isinstance(width, Declined):
            return width
        packer = Packer(width, engines.pack, out.emit("indices"))
        kept = None if flags is None else Kept(flags, packer)
        try:
            entries = self._entries(values, evolve(layout, widths=(width,)), desk, packer if kept is None else kept)
        except palette.TooManyValuesError as error:
            return Declined(too_many(error.count, 1 << width))
        packer.finish()
        dtype = entry_type(self.stored.values.data.dtype) if isinstance(self.stored.values, Scaled) else layout.stored
        shape = layout.indices(self.shape) if kept is None else (kept.count,)
        parts = {"indices": Part(UINT_BY_BITS[width], shape), "lut": out.whole("lut", dtype, entries)}
        if flags is not None and layout.vector > 1:
            out.stream("mask", flows.payload(flags, UINT1))
            parts["mask"] = Part(UINT1, flags.shape)
        tensors = out.tensors(parts)
        joint = joint_form(self.stored, tensors["indices"], tensors["lut"], layout, tensors.get("mask", mask))
        loss = loss_if_finite(stored_flow(self.stored), stored_flow(joint), engines.measure)
        # Which entries are used is counted anew: what the mask leaves out was assigned too, and integers again after rounding.
        return OVERFLOWING if loss is None else Finished(parts, loss, lut_used=share_used(joint))

    def _values(self) -> Flow:
        """What tables are chosen for, in the weight's shape: floats, 0 where the mask is; or integers, as floats."""
        values, mask = self.stored.values, self.stored.mask
        if isinstance(values, Floats):
            return dense_flow(self.stored)
        assert isinstance(values, Scaled)  # indices are not palettized again
        integers: Flow = of_tensor(values.data)
        return _halves(integers if mask is None else spread(integers, of_tensor(mask)))

    def _importance(self) -> Flow | None:
        """How much the squared error of each element counts: as the square of its scale, where there are several; none where the mask is 0.
        None where all count alike.

        Raises:
            NotFiniteError: a scale is NaN or infinite.
        """
        values, mask = self.stored.values, self.stored.mask
        counted = None if mask is None else of_tensor(mask)
        if isinstance(values, Scaled) and math.prod(values.scale.shape) != 1:
            scale = np.abs(values.scale.numpy().astype(np.float32))
            if not np.isfinite(scale).all():
                raise NotFiniteError
            return repeated_flow(np.square(scale / (scale.max() or 1)), self.shape, counted)
        if counted is None or (isinstance(values, Floats) and self.layout.vector == 1 and not _has_zeros(values)):
            return None
        return cast(counted, np.float32)

    def _entries(self, values: Flow, layout: Layout, desk: Desk, emit: Emit) -> Array:
        """The tables; the index of every element or vector is emitted."""
        stored, importance, choose = self.stored.values, self._importance(), codebook_of(self.config)
        if self.stored.mask is not None:
            # Without an importance, all zeros are of the mask: to leave them out is as good, and sooner.
            choose = _OfSome(choose, Distinct.without_zeros if importance is None else Distinct.without_idle)
        if not isinstance(stored, Scaled):
            return banded_tables(values, importance, layout, self.config, desk, emit, choose).entries
        found = banded_tables(values, importance, layout, self.config, desk, emit, _Rounded(choose)).entries
        return np.rint(found.astype(np.float32)).astype(entry_type(stored.data.dtype).numpy)  # of vectors, they are as they were found


def _has_zeros(values: Floats) -> bool:
    """Whether a mask keeps zeros."""
    return ones_of(of_tensor(values.tensor)) < math.prod(values.tensor.shape)


@frozen
class _OfSome:
    """A codebook for some of the distinct values: those that a mask leaves out have no entry."""

    inner: palette.Codebook
    some: Callable[[Distinct], Distinct]

    def __call__(self, distinct: Distinct, places: int, engine: palette.Engine) -> npt.NDArray[np.float64]:
        return self.inner(self.some(distinct), places, engine)


@frozen
class _Rounded:
    """A codebook whose entries are integers."""

    inner: palette.Codebook

    def __call__(self, distinct: Distinct, places: int, engine: palette.Engine) -> npt.NDArray[np.float64]:
        return np.rint(self.inner(distinct, places, engine))


def _halves(integers: Flow) -> Flow:
    """Integers of 8 bits at most as fp16 numbers, looked up: NumPy converts them in seven times the time."""
    numbers = np.arange(256, dtype=np.uint8).view(integers.dtype).astype(np.float16)

    def pieces(room: Room) -> Iterator[Array]:
        for part in flows.parts(integers):
            yield numbers.take(part.view(np.uint8), out=room(part.size), mode="clip")

    return Computed(integers.shape, numbers.dtype, pieces, 1 + integers.stages)


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
