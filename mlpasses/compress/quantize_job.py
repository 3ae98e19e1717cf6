"""The work of `QuantizeWeights` on one weight: integers, and a scale and a zero point for each block."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from attrs import frozen

from ir.flows import Flow, Stored
from ir.packing import pack_tensor, packed_size
from ir.tensors import Tensor
from ir.types import DType, TensorType
from mlpasses.compress.bands import bands, taken, whole_of
from mlpasses.compress.engines import Engines
from mlpasses.compress.halves import loss_of, rounded, too_small
from mlpasses.compress.jobs import Declined, Finished, Outcome
from mlpasses.compress.writer import Part, Writer
from mlpasses.config.quantize import Quantize
from mlpasses.forms.form import Form, Scaled
from mlpasses.numerics.affine import Affine, Array, Emit, Engine, Grid, Loss
from mlpasses.numerics.bitstream import Packer
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch

SECONDS_PER_BYTE: Final = 6.5e-9
"""In NumPy, for scales from extremes; the kernels take a fifth."""
SEARCHING: Final = 40
"""How many times that a search for scales takes."""


@frozen(eq=False)
class QuantizeJob:
    """What has to be known to quantize one weight."""

    name: str
    weight: Tensor
    counts: tuple[int, ...]
    """The number of blocks on each axis: the shape of the scale."""
    config: Quantize

    @property
    def stored(self) -> DType:
        """The type of the scales."""
        return self.config.stored(self.weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes

    @property
    def effort(self) -> float:
        return effort_of(self.nbytes, self.config)

    def sizes(self) -> Mapping[str, int]:
        return part_sizes(math.prod(self.weight.shape), self.counts, self.config, self.stored)

    def run(self, engines: Engines, out: Writer) -> Outcome:
        reason = too_small(self.weight, self.stored)
        if reason is not None:
            return Declined(reason)
        integers = self.config.integers
        weight = rounded(self.weight, self.stored.numpy)
        packer = Packer(integers.bits, engines.pack, out.emit("data"))
        search = ScaleSearch() if self.config.scales == "searched" else None
        affine, loss = quantize_flow(weight, self.counts, self.config.levels, engines.affine, packer, search, out.array)
        packer.finish()
        parts = {"data": Part(integers, weight.shape), **scale_parts(affine, self.counts, integers, self.stored, out)}
        form = Form(scaled_of(out.tensors(parts)))
        return Finished(parts, loss_of(self.weight, form, loss, engines.measure))


@frozen(eq=False)
class QuantizeFormJob(ABC):
    """What has to be known to quantize floats of a compressed weight: all that its mask keeps, or the entries of its tables."""

    name: str
    stored: Form
    counts: tuple[int, ...]
    """The number of blocks on each axis of the weight, or of the tables: the shape of the scale."""
    config: Quantize
    nbytes: int

    @property
    @abstractmethod
    def effort(self) -> float:
        """As `Job.effort`."""

    @property
    @abstractmethod
    def floats(self) -> TensorType:
        """The type of what is quantized."""

    def sizes(self) -> Mapping[str, int]:
        return part_sizes(math.prod(self.floats.static_shape), self.counts, self.config, self.floats.dtype)

    @abstractmethod
    def run(self, engines: Engines, out: Writer) -> Outcome:
        """As `Job.run`."""


def effort_of(nbytes: int, config: Quantize) -> float:
    """Seconds that it takes in NumPy to quantize so many bytes of floats."""
    return nbytes * SECONDS_PER_BYTE * (SEARCHING if config.scales == "searched" else 1)


def part_sizes(elements: int, counts: tuple[int, ...], config: Quantize, stored: DType) -> dict[str, int]:
    """The bytes of so many integers, and for each block of a scale and, unless it is 0 for all of them, a zero point."""
    blocks, bits = math.prod(counts), config.integers.bits
    sizes = {"data": packed_size(elements, bits), "scale": packed_size(blocks, stored.bits)}
    return sizes if config.levels.zero == 0 else {**sizes, "offset": packed_size(blocks, bits)}


def quantize_flow(
    weight: Flow,
    counts: tuple[int, ...],
    levels: Grid,
    kernels: Engine,
    emit: Emit,
    search: ScaleSearch | None,
    whole: Callable[[Flow], Array],
) -> tuple[Affine, Loss]:
    """`quantize_blocks` of a flow: as it lies where it is stored, and band by band where it is computed."""
    cut = [whole_of(weight.shape, counts)] if isinstance(weight, Stored) else list(bands(weight.shape, counts, kernels.chunk))
    found, loss = [], Loss()
    for band, values in taken(weight, cut, whole):
        affine, lost = quantize_blocks(values, band.counts, levels, kernels, band.emit(emit), search)
        found.append(affine)
        loss += lost
    return Affine(np.concatenate([each.scale for each in found]), np.concatenate([each.zero_point for each in found])), loss


def scaled_of(tensors: Mapping[str, Tensor]) -> Scaled:
    """The parts that a job wrote as values."""
    return Scaled(tensors["data"], tensors["scale"], tensors.get("offset"))


def scale_parts(affine: Affine, counts: tuple[int, ...], integers: DType, stored: DType, out: Writer) -> dict[str, Part]:
    """Writes the scale of every block, and its zero point where not all of them are 0."""
    parts = {"scale": out.whole("scale", stored, affine.scale.reshape(counts))}
    if affine.zero_point.any():
        out.write("offset", 0, pack_tensor(affine.zero_point.astype(integers.numpy), integers))
        parts["offset"] = Part(integers, counts)
    return parts
