"""`PruneWeights`: small elements as zeros, which are not stored.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[D], mask=uint8[4], shape=[8, 4])      below iOS18
    →  %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[D], mask=uint1[8, 4])                 from iOS18
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from ir.packing import packed_size
from ir.tensors import AbstractTensor, Tensor
from ir.types import UINT1
from mlpasses.candidates import Candidate, input_axis, output_axis
from mlpasses.compress.prune_job import PruneJob
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.prune import NM, Magnitude, PruneConfig, Threshold
from mlpasses.forms.form import Floats, Form
from mlpasses.numerics.affine import View, channel_view
from mlpasses.rules import Rules, as_rules

__all__ = ["NM", "Magnitude", "PruneWeights", "Threshold"]


@frozen
class PruneWeights(WeightPass):
    """const → constexpr_sparse_to_dense: weights whose smallest elements are zero, and are not stored.

    The new value keeps the weight's name and type, so that its consumers do not change. A weight that would take more bytes so (one with
    fewer zeros than one in sixteen, in fp16) is left as it is, to the bit, and the report says why. A weight that is shared stays shared.

    Raises:
        ConfigError: something is wrong with the rules; a function is written for iOS15, which has no constexpr ops; a weight holds NaN
            or infinite values, and the config asks for an error; or the scratch folder has too little space.
    """

    rules: Rules = field(default=Rules(Magnitude()), converter=as_rules)
    """Which weights, and how each; a lone config is for all."""

    configs: ClassVar[tuple[type, ...]] = (Magnitude, Threshold, NM)

    def propose(self, candidate: Candidate, config: PruneConfig) -> Proposal | str:
        axis = _axis(candidate, config)
        if isinstance(axis, str):
            return axis
        tensor, total = candidate.tensor, candidate.numel
        zeros = _fewest_zeros(channel_view(tensor.shape, axis), config)
        mask = packed_size(total, 1)
        dense = (tensor.nbytes - mask - 1) * 8 // tensor.dtype.bits
        if zeros is not None and total - zeros > dense:
            return f"it would not become smaller with {zeros / total:.1%} zeros: a mask takes a bit an element"
        most = dense if zeros is None else total - zeros  # more are kept dense
        why = "how many elements become zero" if zeros is None else "there may be more zeros than that in it"
        form = Form(Floats(AbstractTensor(tensor.dtype, (most,))), mask=AbstractTensor(UINT1, tensor.shape))
        key = (tensor, axis, config)
        return Proposal(candidate, config, key, form, mask, why, division=axis)

    def job(self, proposal: Proposal) -> PruneJob:
        tensor = proposal.candidate.tensor
        return PruneJob(proposal.candidate.name, tensor, channel_view(tensor.shape, proposal.division), proposal.config)

    def form(self, proposal: Proposal, tensors: Mapping[str, Tensor]) -> Form:
        return Form(Floats(tensors["nonzero"]), mask=tensors["mask"])


def _axis(candidate: Candidate, config: PruneConfig) -> int | str | None:
    """The axis that groups or blocks run along; None where there are none; the reason why it is not known."""
    if isinstance(config, NM):
        dim, size = config.dim, config.m
    elif isinstance(config, Magnitude) and config.block_size is not None:
        dim, size = config.dim, config.block_size
    else:
        return None
    axis = output_axis(candidate) if dim == "output" else input_axis(candidate)
    if isinstance(axis, int) and candidate.shape[axis] < size:
        return f"it has {candidate.shape[axis]} {dim} channels, fewer than {size}"
    return axis


def _fewest_zeros(view: View, config: PruneConfig) -> int | None:
    """How many elements become zero at least, whatever the numbers; None where nothing is known."""
    outer, channels, inner = view
    if isinstance(config, NM):
        return outer * inner * (channels // config.m * config.n + max(0, config.n - config.m + channels % config.m))
    if not isinstance(config, Magnitude) or (config.block_size is not None and channels % config.block_size):
        return None
    size = config.block_size or 1
    return math.floor(config.sparsity * (math.prod(view) // size)) * size
