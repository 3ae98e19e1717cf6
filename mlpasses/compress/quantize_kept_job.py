"""The work of `QuantizeWeights` on a sparse weight: integers for the elements that its mask keeps, with scales that are theirs."""

from __future__ import annotations

import math
from typing import cast

from attrs import frozen

from ir.expansion import check_count
from ir.flows import of_tensor, ones_of
from ir.types import TensorType
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import Finished, Outcome
from mlpasses.compress.kept import Kept
from mlpasses.compress.quantize_job import QuantizeFormJob, effort_of, quantize_flow, scale_parts
from mlpasses.compress.writer import Part, Writer
from mlpasses.forms.decoding import dense_flow, stored_flow
from mlpasses.forms.form import codes_of
from mlpasses.numerics.affine import Emit
from mlpasses.numerics.bitstream import Packer
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

    def run(self, engines: Engines, out: Writer) -> Outcome:
        integers, mask = self.config.integers, self.stored.mask
        assert mask is not None  # or it would be no sparse weight
        search = ScaleSearch() if self.config.scales == "searched" else None
        packer = Packer(integers.bits, engines.pack, out.emit("data"))
        counts, emit = self.counts, cast(Emit, packer)
        # Zeros are in every range, and exact with every scale and zero point, so that what is chosen is for the elements that are kept;
        # of one block nothing else has to be looked at (a search would add the same terms in another order).
        if math.prod(self.counts) == 1 and search is None:
            weight, counts = stored_flow(self.stored), (1,)
            check_count(weight, "nonzero_data", ones_of(of_tensor(mask)))
        else:
            weight, emit = dense_flow(self.stored), Kept(of_tensor(mask), packer)
        affine, loss = quantize_flow(weight, counts, self.config.levels, engines.affine, emit, search, out.array)
        packer.finish()
        parts = {"data": Part(integers, self.floats.static_shape), **scale_parts(affine, self.counts, integers, self.stored.dtype, out)}
        return Finished(parts, loss)
