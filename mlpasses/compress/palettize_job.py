"""The work of `PalettizeWeights` on one weight: indices, tables, and a scale for each channel where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from ir.packing import packed_size
from ir.tensors import ArrayTensor, Tensor
from ir.types import UINT_BY_BITS
from mlpasses.compress.halves import loss_of, rounded
from mlpasses.compress.jobs import Declined, EngineName, Finished, Outcome, Part, Writer, measure_named
from mlpasses.compress.palettize_layout import Layout
from mlpasses.config.palettize import Palettize
from mlpasses.forms.canonical import repeated_array
from mlpasses.forms.decoding import decoded
from mlpasses.forms.form import Floats, Form, Indexed
from mlpasses.numerics import bitstream, palette, vector_kmeans
from mlpasses.numerics.affine import Array, Emit, Loss, NotFiniteError, View, channel_view
from mlpasses.numerics.bitstream import Pack, Packer
from mlpasses.numerics.distinct import distinct_counts
from mlpasses.numerics.loss import Between
from mlpasses.numerics.pieces import Readable

SECONDS_PER_BYTE: Final = 10e-9
"""In NumPy, for tables of the whole weight."""
VECTORS: Final = 200
"""How many times that vectors take."""
SECONDS_PER_GROUP: Final = 2e-3
"""In NumPy, to choose up to 16 entries of a table, and to assign elements to them."""
SECONDS_PER_LARGE_GROUP: Final = 0.25
"""In NumPy, to choose more of them: 14 to 850 ms, 270 on average, for 64 and 256 of groups of 1,000 to 4 million elements."""


@frozen(eq=False)
class PalettizeJob:
    """What has to be known to palettize one weight."""

    name: str
    weight: Tensor
    layout: Layout
    config: Palettize

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes

    @property
    def effort(self) -> float:
        return effort_of(self.nbytes, self.layout)

    def sizes(self) -> Mapping[str, int]:
        layout, most = self.layout, self.layout.widths[-1]
        bits = layout.stored.bits
        return {
            "indices": packed_size(math.prod(layout.indices(self.weight.shape)), most),
            "lut": packed_size((math.prod(layout.tables) * layout.vector) << most, bits),
            "scale": packed_size(math.prod(layout.channels), bits),
        }

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        weight = rounded(self.weight.numpy(), self.layout.stored.numpy)
        engines = engines_named(engine)
        chosen = self._width(weight, engines)
        if isinstance(chosen, Declined):
            return chosen
        packer = Packer(chosen, engines.pack, out.emit("indices"))
        layout = evolve(self.layout, widths=(chosen,))
        try:
            scale, found = self._tables(weight, layout, engines, packer)
        except palette.TooManyValuesError as error:
            return Declined(too_many(error.count, 1 << chosen))
        packer.finish()
        dtype = layout.stored
        parts = {"indices": Part(UINT_BY_BITS[chosen], layout.indices(weight.shape)), "lut": out.whole("lut", dtype, found.entries)}
        if scale is not None:
            parts["scale"] = out.whole("scale", dtype, scale)
        form = indexed_form(layout, out.tensors(parts))
        return Finished(parts, loss_of(self.weight, form, found.loss, engines.measure), lut_used=found.used)

    def _tables(self, weight: Array, layout: Layout, engines: Engines, emit: Emit) -> tuple[Array | None, Tables]:
        if self.config.per_channel_scale == "none":
            return None, tables_of(weight, layout, self.config, engines, emit, codebook_of(self.config))
        if self.config.per_channel_scale == "folded":
            return None, folded_tables(weight, layout, self.config, engines, emit)
        tables, scale = chained_tables(weight, layout, self.config, engines, emit)
        return scale, tables

    def _width(self, weight: Array, engines: Engines) -> int | Declined:
        """The bits of an index: the fewest that do, where there are several; or why none do."""
        widths = self.layout.widths
        if len(widths) == 1:
            return widths[0]
        most = most_distinct(weight, self.layout, engines)
        return next((width for width in widths if most <= 1 << width), None) or Declined(too_many(most, 1 << widths[-1]))


def indexed_form(layout: Layout, tensors: Mapping[str, Tensor]) -> Form:
    """The parts that a job wrote as a form."""
    return Form(Indexed(tensors["indices"], Floats(tensors["lut"]), layout.vector_axis), tensors.get("scale"))


@frozen(eq=False)
class Engines:
    """Who does the work."""

    scalars: palette.Engine
    vectors: vector_kmeans.Engine
    pack: Pack
    measure: Between


@frozen(eq=False)
class Tables:
    """The tables of a weight."""

    entries: Array
    """`[*blocks, entries, vector]`"""
    used: float
    """The share of entries that some element uses."""
    loss: Loss


def engines_named(name: EngineName) -> Engines:
    """The engines by name; the compiled ones are loaded when they are asked for."""
    if name == "numpy":
        return Engines(palette.NUMPY, vector_kmeans.NUMPY, bitstream.pack, measure_named(name))
    # Numba takes longer to import than a small model to palettize.
    from mlpasses.numerics import bitstream_kernels, palette_kernels, vector_kernels

    return Engines(palette_kernels.NUMBA, vector_kernels.NUMBA, bitstream_kernels.pack, measure_named(name))


def effort_of(nbytes: int, layout: Layout) -> float:
    """Seconds that tables for so many bytes take in NumPy."""
    group = SECONDS_PER_GROUP if layout.widths[-1] <= 4 else SECONDS_PER_LARGE_GROUP
    return nbytes * SECONDS_PER_BYTE * (VECTORS if layout.vector > 1 else 1) + math.prod(layout.groups) * group


def tables_of(
    weight: Readable,
    layout: Layout,
    config: Palettize,
    engines: Engines,
    emit: Emit | None,
    choose: palette.Codebook,
    importance: Readable | None = None,
) -> Tables:
    """Chooses tables of one width for a weight, and emits the index of each element, or vector, unless only tables are asked
    for. `choose` chooses the entries of scalars.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
        TooManyValuesError: every distinct value is to be an entry, and there are more.
    """
    (width,) = layout.widths
    shape = (*layout.groups, 1 << width, layout.vector)
    if layout.vector > 1:
        view = channel_view(weight.shape, layout.axis)
        vectors, loss = vector_kmeans.palettize_vectors(
            weight[...].reshape(view), layout.vector, 1 << width, engines.vectors, _nowhere if emit is None else emit,
            groups=math.prod(layout.groups), importance=None if importance is None else importance[...].reshape(view), seed=config.seed,
        )  # fmt: skip
        if config.mode == "unique" and loss.noise:
            raise palette.TooManyValuesError((1 << width) + 1, 1 << width)
        return Tables(vectors.entries.reshape(shape), float(vectors.used.mean()) / (1 << width), loss)
    view = layout.view(weight.shape)
    spread = None if importance is None else viewed(importance, view)
    found, loss = palette.palettize_view(viewed(weight, view), width, choose, engines.scalars, emit, spread)
    return Tables(found.entries.reshape(shape), float(found.used.mean()) / (1 << width), loss)


def codebook_of(config: Palettize) -> palette.Codebook:
    """Who chooses the entries."""
    if config.lut_function is not None:
        return palette.Custom(config.lut_function)
    return {"kmeans": palette.kmeans, "uniform": palette.uniform, "unique": palette.unique}[config.mode]


def most_distinct(weight: Readable, layout: Layout, engines: Engines) -> int:
    """The most distinct values, or vectors, that a group of a weight has; more than 256 are as good as 257.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
    """
    if layout.vector == 1:
        return int(distinct_counts(viewed(weight, layout.view(weight.shape)), engines.scalars.collector).max(initial=0))
    whole = weight[...]
    if not np.isfinite(whole).all():
        raise NotFiniteError
    moved = np.moveaxis(whole, layout.axis, -1)
    groups = math.prod(layout.groups)
    most = 0
    for part in np.split(moved, groups, axis=-1):
        most = max(most, len(np.unique(part.reshape(-1, layout.vector), axis=0)))
    return most


def folded_tables(weight: Array, layout: Layout, config: Palettize, engines: Engines, emit: Emit) -> Tables:
    """A table for each channel: that of its group, chosen for what is left when each channel is divided by its greatest magnitude, times
    that. Indices are of the nearest entries as they are stored.

    Raises as `tables_of`.
    """
    divided, scale = _divided(weight, layout.axis)
    base = tables_of(divided, layout, config, engines, None, codebook_of(config), _squares(scale, weight.shape))
    lut = repeated_array(base.entries[..., 0], (*layout.channels, base.entries.shape[-2]))
    products = (lut.astype(np.float32) * scale.astype(np.float32)[..., None]).astype(weight.dtype)
    view = channel_view(weight.shape, layout.axis)
    found, loss = palette.assign_view(weight.reshape(view), products.reshape(view[1], -1), engines.scalars, emit)
    return Tables(found.entries.reshape((*products.shape, 1)), float(found.used.mean()) / products.shape[-1], loss)


def chained_tables(weight: Array, layout: Layout, config: Palettize, engines: Engines, emit: Emit) -> tuple[Tables, Array]:
    """Tables for what is left when each channel is divided by its greatest magnitude, and these magnitudes: w ≈ scale[c] · lut[i].

    Raises as `tables_of`.
    """
    divided, scale = _divided(weight, layout.axis)
    pieces: list[Array] = []

    def keep(position: int, codes: npt.NDArray[Any]) -> None:
        pieces.append(codes.copy())

    base = tables_of(divided, layout, config, engines, keep, codebook_of(config), _squares(scale, weight.shape))
    codes = np.concatenate(pieces).reshape(layout.indices(weight.shape))
    emit(0, codes)
    (width,) = layout.widths
    indices = ArrayTensor(codes, UINT_BY_BITS[width])
    form = Form(Indexed(indices, Floats(ArrayTensor(base.entries)), layout.vector_axis), ArrayTensor(scale))
    return evolve(base, loss=engines.measure(weight, decoded(form))), scale


def _divided(weight: Array, axis: int) -> tuple[Array, Array]:
    """A weight with each channel divided by its greatest magnitude, and these.

    A channel of zeros has the least of the others', so that it costs least that the table may have no 0; where there are no others, 1.
    """
    others = tuple(each for each in range(weight.ndim) if each != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True)
    if not np.isfinite(scale).all():
        raise NotFiniteError
    least = scale[scale > 0].min(initial=scale.max(initial=0)) or 1
    scale = np.where(scale == 0, least, scale).astype(weight.dtype)
    return (weight.astype(np.float32) / scale.astype(np.float32)).astype(weight.dtype), scale


def _squares(scale: Array, shape: tuple[int, ...]) -> Array:
    """How much the squared error of an element counts, which its channel's scale multiplies when it is decoded."""
    relative = scale.astype(np.float32) / np.float32(scale.max(initial=0))
    return np.broadcast_to(np.square(relative), shape)


def viewed(weight: Readable, view: View) -> Readable:
    """A weight as `[outer, groups, inner]`; as an array where there are several groups, which are read one by one."""
    return cast(Readable, (weight if view[1] == 1 else weight[...]).reshape(view))


def too_many(count: int, places: int) -> str:
    """Why a weight cannot have all of its values in tables."""
    return f"it has {'more than 256' if count > 256 else count} distinct values in a group, and a table has {places} places"


def _nowhere(position: int, codes: npt.NDArray[Any]) -> None:
    """Emits nothing."""
