"""The work of `QuantizeWeights` on a sparse weight: integers for the elements that its mask keeps, with scales that are theirs."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from ir.flows import of_tensor
from ir.types import TensorType
from mlpasses.compress.bands import bands, taken
from mlpasses.compress.jobs import EngineName, Finished, Outcome, Part, Writer
from mlpasses.compress.kept import Kept
from mlpasses.compress.quantize_job import QuantizeFormJob, effort_of, engine_named, scale_parts
from mlpasses.forms.decoding import dense_flow
from mlpasses.forms.form import codes_of
from mlpasses.numerics.affine import Affine, Loss
from mlpasses.numerics.bitstream import Packer
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch


@frozen(eq=False)
class QuantizeKeptJob(QuantizeFormJob):
    """What has to be known to quantize one sparse weight, whose values are floats."""

    @property
    def effort(self) -> float:
        return effort_of(2 * self.nbytes, self.config)

    @property
    def floats(self) -> TensorType:
        return TensorType(self.stored.dtype, codes_of(self.stored).shape)

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        kernels, packing = engine_named(engine)
        integers, mask = self.config.integers, self.stored.mask
        assert mask is not None  # or it would be no sparse weight
        packer = Packer(integers.bits, packing, out.emit("data"))
        keep = Kept(of_tensor(mask), packer)
        # Zeros are in every range, and exact with every scale and zero point, so that what is chosen is for the elements that are kept.
        search = ScaleSearch() if self.config.scales == "searched" else None
        found, loss = [], Loss()
        for band, weight in taken(dense_flow(self.stored), list(bands(mask.shape, self.counts, kernels.chunk))):
            affine, lost = quantize_blocks(weight, band.counts, self.config.levels, kernels, keep, search)
            found.append(affine)
            loss += lost
        packer.finish()
        whole = Affine(np.concatenate([each.scale for each in found]), np.concatenate([each.zero_point for each in found]))
        parts = {"data": Part(integers, (keep.count,)), **scale_parts(whole, self.counts, integers, self.stored.dtype, out)}
        return Finished(parts, loss)
