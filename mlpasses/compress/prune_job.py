"""The work of `PruneWeights` on one weight: which elements are kept, and those elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import frozen

from ir.packing import packed_size
from ir.tensors import Tensor
from ir.types import UINT1
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import Declined, Finished, Outcome
from mlpasses.compress.writer import Part, Writer
from mlpasses.config.prune import NM, Magnitude, PruneConfig, Threshold
from mlpasses.numerics.affine import Array, View
from mlpasses.numerics.sparsity import (
    Cut,
    Engine,
    apply_cut,
    choose_blocks,
    choose_magnitude,
    choose_n_of_m,
    choose_threshold,
)

SECONDS_PER_BYTE: Final = 5e-9
"""In NumPy; the kernels take a tenth."""


@frozen(eq=False)
class PruneJob:
    """What has to be known to prune one weight."""

    name: str
    weight: Tensor
    view: View
    """The weight's shape as `[outer, channels, inner]`, with the channels that groups and blocks run along."""
    config: PruneConfig
    most: int
    """How many elements are kept at most, or the weight stays as it is."""

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes

    @property
    def effort(self) -> float:
        return self.nbytes * SECONDS_PER_BYTE

    def sizes(self) -> Mapping[str, int]:
        return {"mask": packed_size(math.prod(self.view), 1), "nonzero": packed_size(self.most, self.weight.dtype.bits)}

    def run(self, engines: Engines, out: Writer) -> Outcome:
        weight, kernels = self.weight.numpy().reshape(self.view), engines.sparsity
        cut = chosen_cut(weight, self.config, kernels)
        total = weight.size
        sparsity = cut.zeros / total
        if isinstance(self.config, Threshold) and sparsity < self.config.minimum_sparsity:
            return Declined(f"{sparsity:.1%} of it would be zero, less than minimum_sparsity={self.config.minimum_sparsity}")
        kept = total - cut.zeros
        size = packed_size(total, 1) + max(1, kept) * weight.itemsize
        if size >= self.weight.nbytes:
            return Declined(f"it would not become smaller: {sparsity:.1%} of it would be zero, and a mask takes a bit an element")
        loss = apply_cut(weight, cut, kernels, out.emit("mask"), out.emit("nonzero", weight.itemsize))
        if not kept:  # a tensor without elements is none that can be relied on, so that one zero is stored as a value
            kept = 1
            out.write("mask", 0, np.ones(1, np.uint8))
            out.write("nonzero", 0, np.zeros(1, weight.dtype))
        parts = {"mask": Part(UINT1, self.weight.shape), "nonzero": Part(self.weight.dtype, (kept,))}
        return Finished(parts, loss)


def chosen_cut(weight: Array, config: PruneConfig, engine: Engine) -> Cut:
    """What a config prunes of a weight `[outer, channels, inner]`. Raises NotFiniteError where the weight holds NaN or infinite values."""
    if isinstance(config, Threshold):
        return choose_threshold(weight, config.threshold, engine)
    if isinstance(config, NM):
        return choose_n_of_m(weight, config.n, config.m, engine)
    assert isinstance(config, Magnitude)  # there is nothing else
    if config.block_size is None:
        return choose_magnitude(weight, config.sparsity, engine)
    return choose_blocks(weight, config.block_size, config.sparsity, engine)
