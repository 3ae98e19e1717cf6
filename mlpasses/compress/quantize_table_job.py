"""The work of quantization on the table of a palettized weight: its entries as integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import evolve, field, frozen

from ir.packing import pack_tensor, packed_size
from ir.tensors import ArrayTensor, PackedTensor
from mlpasses.compress.jobs import EngineName, Finished, Outcome, Part, Writer, measure_named
from mlpasses.compress.kept import uses
from mlpasses.compress.quantize_job import scale_parts
from mlpasses.config.quantize import Quantize
from mlpasses.forms.decoding import elements, table
from mlpasses.forms.form import Form, Indexed, Scaled
from mlpasses.numerics.affine import Array
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch

SECONDS_PER_BYTE: Final = 30e-9
"""In NumPy, of compressed weights of some four bits: to measure what is lost, they are decoded."""


@frozen(eq=False)
class QuantizeTableJob:
    """What has to be known to quantize the entries of one weight, which are floats."""

    name: str
    stored: Form
    counts: tuple[int, ...]
    """The number of blocks on each axis of the tables: the shape of the scale."""
    config: Quantize
    nbytes: int
    effort: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "effort", self.nbytes * SECONDS_PER_BYTE)

    def sizes(self) -> Mapping[str, int]:
        values = self.stored.values
        assert isinstance(values, Indexed)  # or it would have no table
        blocks, bits = math.prod(self.counts), self.config.integers.bits
        return {
            "entries": packed_size(math.prod(values.tables), bits),
            "scale": packed_size(blocks, values.dtype.bits),
            "offset": packed_size(blocks, bits),
        }

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        values = self.stored.values
        assert isinstance(values, Indexed)
        integers, entries = self.config.integers, table(values)
        found: list[Array] = []
        search, importance = (ScaleSearch(), self._importance()) if self.config.scales == "searched" else (None, None)
        affine, _ = quantize_blocks(
            entries, self.counts, self.config.levels, NUMPY, lambda position, codes: found.append(codes.copy()), search, importance
        )
        codes = pack_tensor(np.concatenate(found), integers)
        out.write("entries", 0, codes)
        parts = {"entries": Part(integers, entries.shape), **scale_parts(affine, self.counts, integers, values.dtype, out)}
        scale = ArrayTensor(affine.scale.reshape(self.counts), values.dtype)
        zeros = ArrayTensor(affine.zero_point.astype(integers.numpy).reshape(self.counts)) if "offset" in parts else None
        quantized = Scaled(PackedTensor(codes, integers, entries.shape), scale, zeros)
        after = elements(evolve(self.stored, values=evolve(values, entries=quantized)))
        return Finished(parts, measure_named(engine)(elements(self.stored), after))

    def _importance(self) -> Array:
        """How much the error of each entry counts: as often as it is used. `[*blocks, entries, 1]`"""
        return uses(self.stored).astype(np.float32)[..., None]
