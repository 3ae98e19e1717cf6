"""The work of `PalettizeWeights` on one weight: indices, tables, and a scale for each channel where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from ir.flows import SLAB, Buffer, Computed, Flow, Room, Stored, of_tensor
from ir.packing import packed_size
from ir.slabs import shape_of, slabs, split_of, under
from ir.tensors import Tensor
from ir.types import UINT_BY_BITS
from mlpasses.compress.bands import Band, bands, taken, whole_of
from mlpasses.compress.engines import Engines
from mlpasses.compress.halves import loss_of, rounded, too_small
from mlpasses.compress.jobs import Declined, Finished, Outcome
from mlpasses.compress.losses import loss_between
from mlpasses.compress.palettize_layout import Layout
from mlpasses.compress.writer import Part, Writer
from mlpasses.config.palettize import Palettize
from mlpasses.forms.canonical import repeated_array
from mlpasses.forms.decoding import dense_flow
from mlpasses.forms.form import Floats, Form, Indexed
from mlpasses.numerics import palette, vector_kmeans
from mlpasses.numerics.affine import Array, Emit, Loss, NotFiniteError, channel_view
from mlpasses.numerics.bits import keys_of, magnitudes
from mlpasses.numerics.bitstream import Packer
from mlpasses.numerics.distinct import distinct_counts

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

    def run(self, engines: Engines, out: Writer) -> Outcome:
        reason = too_small(self.weight, self.layout.stored)
        if reason is not None:
            return Declined(reason)
        weight, config = rounded(self.weight, self.layout.stored.numpy), self.config
        desk = Desk(engines, out.array)
        scale = None if config.per_channel_scale == "none" else _scales(weight, self.layout.axis)
        relative = weight if scale is None else _divided(weight, scale)
        chosen = fewest_bits(relative, None, self.layout, config, desk)
        if isinstance(chosen, Declined):
            return chosen
        packer = Packer(chosen, engines.pack, out.emit("indices"))
        layout = evolve(self.layout, widths=(chosen,))
        importance = None if scale is None else repeated_flow(_squared(scale), weight.shape)
        emit = None if config.per_channel_scale == "folded" else packer
        try:
            found = banded_tables(relative, importance, layout, config, desk, emit, codebook_of(config))
        except palette.TooManyValuesError as error:
            return Declined(too_many(error.count, 1 << chosen))
        if scale is not None and config.per_channel_scale == "folded":
            found = folded_tables(weight, scale, found, layout, desk, packer)
        packer.finish()
        dtype = layout.stored
        parts = {"indices": Part(UINT_BY_BITS[chosen], layout.indices(weight.shape)), "lut": out.whole("lut", dtype, found.entries)}
        if scale is not None and config.per_channel_scale == "chained":
            parts["scale"] = out.whole("scale", dtype, scale)
        form = indexed_form(layout, out.tensors(parts))
        if "scale" in parts:
            loss = loss_between(of_tensor(self.weight), dense_flow(form), engines.measure)
        else:
            loss = loss_of(self.weight, form, found.loss, engines.measure)
        return Finished(parts, loss, lut_used=found.used)


def indexed_form(layout: Layout, tensors: Mapping[str, Tensor]) -> Form:
    """The parts that a job wrote as a form."""
    return Form(Indexed(tensors["indices"], Floats(tensors["lut"]), layout.vector_axis), tensors.get("scale"))


@frozen(eq=False)
class Desk:
    """Who works on a weight, and who makes an array of a flow."""

    engines: Engines
    whole: Callable[[Flow], Array]


@frozen(eq=False)
class Tables:
    """The tables of a weight."""

    entries: Array
    """`[*blocks, entries, vector]`"""
    used: float
    """The share of entries that some element uses."""
    loss: Loss


def effort_of(nbytes: int, layout: Layout) -> float:
    """Seconds that tables for so many bytes take in NumPy."""
    group = SECONDS_PER_GROUP if layout.widths[-1] <= 4 else SECONDS_PER_LARGE_GROUP
    return nbytes * SECONDS_PER_BYTE * (VECTORS if layout.vector > 1 else 1) + math.prod(layout.groups) * group


def tables_of(
    weight: Array,
    layout: Layout,
    config: Palettize,
    desk: Desk,
    emit: Emit | None,
    choose: palette.Codebook,
    importance: Array | None = None,
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
            weight.reshape(view), layout.vector, 1 << width, desk.engines.vectors, _nowhere if emit is None else emit,
            groups=math.prod(layout.groups), importance=None if importance is None else importance.reshape(view), seed=config.seed,
        )  # fmt: skip
        return Tables(vectors.entries.reshape(shape), float(vectors.used.mean()) / (1 << width), loss)
    view = layout.view(weight.shape)
    spread = None if importance is None else importance.reshape(view)
    found, loss = palette.palettize_view(weight.reshape(view), width, choose, desk.engines.palette, emit, spread)
    return Tables(found.entries.reshape(shape), float(found.used.mean()) / (1 << width), loss)


def codebook_of(config: Palettize) -> palette.Codebook:
    """Who chooses the entries."""
    if config.lut_function is not None:
        return palette.Custom(config.lut_function)
    return {"kmeans": palette.kmeans, "uniform": palette.uniform, "unique": palette.unique}[config.mode]


def fewest_bits(weight: Flow, flags: Flow | None, layout: Layout, config: Palettize, desk: Desk) -> int | Declined:
    """The bits of an index: the fewest that do, where the numbers decide; or why none do. Elements whose flags are 0 do not count.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
    """
    widths = layout.widths
    if len(widths) == 1 and (config.mode != "unique" or layout.vector == 1):  # `palette.unique` counts by itself
        return widths[0]
    cut = cut_of(weight, layout, desk)
    marks = repeat(None) if flags is None else (each for _, each in taken(flags, cut, desk.whole))
    most = 0
    for (band, values), marked in zip(taken(weight, cut, desk.whole), marks, strict=False):
        most = max(most, _most_distinct(values, marked, layout_of_band(band, layout), desk))
    fitting = next((width for width in widths if most <= 1 << width), None)
    larger = "" if widths[-1] == config.widths[-1] else ", and with a larger one it would not become smaller"
    return fitting or Declined(too_many(most, 1 << widths[-1]) + larger)


def _most_distinct(weight: Array, flags: Array | None, layout: Layout, desk: Desk) -> int:
    """The most distinct values, or vectors, that a group of a weight has; more than 256 are as good as 257. Raises as `fewest_bits`."""
    view = layout.view(weight.shape) if layout.vector == 1 else channel_view(weight.shape, layout.axis)
    values, marked = weight.reshape(view), None if flags is None else flags.reshape(view)
    if layout.vector == 1:
        return int(distinct_counts(values, desk.engines.palette.collector, marked).max(initial=0))
    return vector_kmeans.most_distinct(values, layout.vector, math.prod(layout.groups), marked)


def banded_tables(
    weight: Flow,
    importance: Flow | None,
    layout: Layout,
    config: Palettize,
    desk: Desk,
    emit: Emit | None,
    choose: palette.Codebook,
) -> Tables:
    """`tables_of` a flow, band by band. Raises as that."""
    cut = cut_of(weight, layout, desk)
    weights = repeat(None) if importance is None else (each for _, each in taken(importance, cut, desk.whole))
    found = [
        tables_of(
            values, layout_of_band(band, layout), config, desk, None if emit is None else band.emit(emit), choose, counted
        )
        for (band, values), counted in zip(taken(weight, cut, desk.whole), weights, strict=False)
    ]  # fmt: skip
    if len(found) == 1:
        return found[0]
    shares = [band.counts[band.axis] for band in cut]
    used = sum(each.used * share for each, share in zip(found, shares, strict=True)) / sum(shares)
    return Tables(np.concatenate([each.entries for each in found], axis=cut[0].axis), used, sum([each.loss for each in found], Loss()))


def cut_of(weight: Flow, layout: Layout, desk: Desk) -> list[Band]:
    """The bands of a weight whose tables are chosen together: all of it where it lies somewhere, and where there are vectors."""
    if isinstance(weight, Stored) or layout.vector > 1:
        return [whole_of(weight.shape, layout.groups)]
    return list(bands(weight.shape, layout.groups, desk.engines.palette.collector.chunk))


def layout_of_band(band: Band, layout: Layout) -> Layout:
    """A layout, for a band of what it is for."""
    return layout if band.alone else evolve(layout, groups=band.counts)


def folded_tables(weight: Flow, scale: Array, base: Tables, layout: Layout, desk: Desk, emit: Emit) -> Tables:
    """A table for each channel: that of its group, chosen for what is left when each channel is divided by its scale, times that. Indices
    are of the nearest entries as they are stored.

    Raises as `tables_of`.
    """
    lut = repeated_array(base.entries[..., 0], (*layout.channels, base.entries.shape[-2]))
    products = (lut.astype(np.float32) * scale.astype(np.float32)[..., None]).astype(weight.dtype)
    rows, places = products.reshape(-1, products.shape[-1]), products.shape[-1]
    cut = cut_of(weight, evolve(layout, groups=layout.channels), desk)
    entries, used, loss = np.empty_like(rows), np.empty(len(rows), np.int64), Loss()
    for band, values in taken(weight, cut, desk.whole):
        view = channel_view(band.shape, layout.axis)
        at = slice(band.start, band.start + view[1]) if not band.alone else slice(0, len(rows))
        found, lost = palette.assign_view(values.reshape(view), rows[at], desk.engines.palette, band.emit(emit))
        entries[at], used[at] = found.entries, found.used
        loss += lost
    return Tables(entries.reshape((*products.shape, 1)), float(used.mean()) / places, loss)


def _squared(scale: Array) -> Array:
    """What the squared errors of channels count by that were divided by their scales."""
    relative: Array = scale.astype(np.float32) / np.float32(scale.max(initial=0))
    return relative * relative


def _scales(weight: Flow, axis: int) -> Array:
    """The greatest magnitude of each channel.

    A channel of zeros has the least of the others', so that it costs least that the table may have no 0; where there are no others, 1.

    Raises:
        NotFiniteError: the weight holds NaN or infinite values.
    """
    greatest = np.zeros([dim if at == axis else 1 for at, dim in enumerate(weight.shape)], keys_of(np.empty(0, weight.dtype)).dtype)
    others, read = tuple(at for at in range(greatest.ndim) if at != axis), weight.reader()
    for at in slabs(weight.shape, limit=SLAB):
        shape = shape_of(at)
        here = under(greatest, at)
        np.maximum(here, magnitudes(keys_of(read(math.prod(shape)))).reshape(shape).max(axis=others, keepdims=True), out=here)
    scale = greatest.view(weight.dtype)
    if not np.isfinite(scale).all():
        raise NotFiniteError
    least = scale[scale > 0].min(initial=scale.max(initial=0)) or 1
    return np.where(scale == 0, least, scale).astype(weight.dtype)


def _divided(weight: Flow, scale: Array) -> Flow:
    """A weight with each channel divided by its scale."""

    def pieces(room: Room) -> Iterator[Array]:
        read, work = weight.reader(), Buffer(np.float32)
        for at in slabs(weight.shape, limit=SLAB):
            shape = shape_of(at)
            out = room(math.prod(shape))
            part = work(out.size)
            part[:] = read(out.size)
            part.reshape(shape)[...] /= under(scale, at)
            out[:] = part
            yield out

    return Computed(weight.shape, weight.dtype, pieces, 1 + weight.stages)


def repeated_flow(blocks: Array, shape: tuple[int, ...], mask: Flow | None = None) -> Flow:
    """What holds for blocks, for each element; 0 where a mask is."""
    split = split_of(shape, {"blocks": blocks.shape})
    narrow = blocks.reshape(split.narrow["blocks"])

    def pieces(room: Room) -> Iterator[Array]:
        read = None if mask is None else mask.reader()
        for at in slabs(split.shape, limit=SLAB):
            here = shape_of(at)
            out = room(math.prod(here))
            out.reshape(here)[...] = under(narrow, at)
            if read is not None:
                out *= read(out.size)
            yield out

    return Computed(shape, blocks.dtype, pieces, 1 if mask is None else 1 + mask.stages)


def too_many(count: int, places: int) -> str:
    """Why a weight cannot have all of its values in tables."""
    return f"it has {'more than 256' if count > 256 else count} distinct values in a group, and a table has {places} places"


def _nowhere(position: int, codes: npt.NDArray[Any]) -> None:
    """Emits nothing."""
