"""The work of `QuantizeWeights` on a sparse weight: integers for the elements that its mask keeps, with scales that are theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from attrs import field, frozen

from ir.packing import packed_size
from ir.types import DType
from mlpasses.compress.jobs import EngineName, Finished, Outcome, Part, Writer
from mlpasses.compress.kept import Kept
from mlpasses.compress.quantize_job import SEARCHING, SECONDS_PER_BYTE, engine_named, scale_parts
from mlpasses.config.quantize import Quantize
from mlpasses.forms.decoding import decoded
from mlpasses.forms.form import Form, codes_of
from mlpasses.numerics.bitstream import Packer
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.numerics.scale_search import ScaleSearch


@frozen(eq=False)
class QuantizeKeptJob:
    """What has to be known to quantize one sparse weight, whose values are floats."""

    name: str
    stored: Form
    counts: tuple[int, ...]
    """The number of blocks on each axis: the shape of the scale."""
    config: Quantize
    nbytes: int
    effort: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        times = SEARCHING if self.config.scales == "searched" else 1
        object.__setattr__(self, "effort", self.nbytes * 2 * SECONDS_PER_BYTE * times)

    @property
    def scale_dtype(self) -> DType:
        return self.stored.dtype

    def sizes(self) -> Mapping[str, int]:
        blocks, bits = math.prod(self.counts), self.config.integers.bits
        (kept,) = codes_of(self.stored).shape
        return {"data": packed_size(kept, bits), "scale": packed_size(blocks, self.scale_dtype.bits), "offset": packed_size(blocks, bits)}

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        kernels, packing = engine_named(engine)
        integers, mask = self.config.integers, self.stored.mask
        assert mask is not None  # or it would be no sparse weight
        flags = mask.numpy()
        weight = decoded(self.stored)
        packer = Packer(integers.bits, packing, out.emit("data"))
        # Zeros are in every range, and exact with every scale and zero point, so that what is chosen is for the elements that are kept.
        search = ScaleSearch() if self.config.scales == "searched" else None
        affine, loss = quantize_blocks(weight, self.counts, self.config.levels, kernels, Kept(flags, packer), search)
        packer.finish()
        kept = int(np.count_nonzero(flags))
        parts = {"data": Part(integers, (kept,)), **scale_parts(affine, self.counts, integers, self.scale_dtype, out)}
        return Finished(parts, loss, sparsity=1 - kept / flags.size)
