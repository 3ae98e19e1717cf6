"""The work of quantization on the table of a palettized weight: its entries as integers."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from ir.packing import pack_tensor
from ir.types import TensorType
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import OVERFLOWING, Finished, Outcome
from mlpasses.compress.kept import share_of, uses
from mlpasses.compress.losses import loss_if_finite, loss_of_entries
from mlpasses.compress.quantize_job import QuantizeFormJob, scale_parts, scaled_of
from mlpasses.compress.writer import Part, Writer
from mlpasses.forms.decoding import stored_flow, table
from mlpasses.forms.form import Indexed
from mlpasses.numerics.affine import Array, Loss
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch

SECONDS_PER_BYTE: Final = 30e-9
"""In NumPy, of compressed weights of some four bits: how many indices are of each entry is counted."""


@frozen(eq=False)
class QuantizeTableJob(QuantizeFormJob):
    """What has to be known to quantize the entries of one weight's tables, which are floats."""

    @property
    def effort(self) -> float:
        return self.nbytes * SECONDS_PER_BYTE

    @property
    def floats(self) -> TensorType:
        return TensorType(self._values.dtype, self._values.tables)

    @property
    def _values(self) -> Indexed:
        values = self.stored.values
        assert isinstance(values, Indexed)  # or it would have no table
        return values

    def run(self, engines: Engines, out: Writer) -> Outcome:
        integers, entries, counts = self.config.integers, table(self._values), uses(self.stored)
        codes = np.empty(entries.size, np.int8)

        def emit(position: int, part: Array) -> None:
            codes[position : position + part.size] = part.reshape(-1)

        search, importance = None, None
        if self.config.scales == "searched":
            search, importance = ScaleSearch(), _importance(counts)
        affine, _ = quantize_blocks(entries, self.counts, self.config.levels, NUMPY, emit, search, importance)
        out.write("data", 0, pack_tensor(codes, integers))
        parts = {"data": Part(integers, entries.shape), **scale_parts(affine, self.counts, integers, self._values.dtype, out)}
        values = evolve(self._values, entries=scaled_of(out.tensors(parts)))
        loss: Loss | None
        if self.stored.scale is None:
            loss = loss_of_entries(entries, table(values), counts)
        else:
            after = evolve(self.stored, values=values)
            loss = loss_if_finite(stored_flow(self.stored), stored_flow(after), engines.measure)
        return OVERFLOWING if loss is None else Finished(parts, loss, lut_used=share_of(counts))


def _importance(counts: npt.NDArray[np.intp]) -> Array:
    """How much the error of each entry counts: as often as it is used. `[*blocks, entries, 1]`"""
    return counts.astype(np.float32)[..., None]
