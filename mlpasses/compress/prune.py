"""`PruneWeights`: small elements as zeros, which are not stored.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[D], mask=uint8[4], shape=[8, 4])      below iOS18
    →  %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[D], mask=uint1[8, 4])                 from iOS18
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from ir.packing import packed_size
from ir.tensors import AbstractTensor, Tensor
from ir.types import UINT1
from mlpasses.candidates import Candidate
from mlpasses.compress.prune_codes import pruned_codes
from mlpasses.compress.prune_job import PruneJob
from mlpasses.compress.prune_layout import channels_axis, kept_bounds, left_over
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.prune import NM, Magnitude, PruneConfig, Threshold
from mlpasses.forms.form import Floats, Form
from mlpasses.numerics.affine import channel_view
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
        axis = channels_axis(candidate, config)
        if isinstance(axis, str):
            return axis
        tensor, view = candidate.tensor, channel_view(candidate.shape, axis)
        bounds = kept_bounds(view, tensor.dtype.bits, config)
        if isinstance(bounds, str):
            return bounds
        form = Form(Floats(AbstractTensor(tensor.dtype, (bounds.most,))), mask=AbstractTensor(UINT1, tensor.shape))
        job = PruneJob(candidate.name, tensor, view, config, bounds.most)
        least = packed_size(candidate.numel, 1) + packed_size(1, tensor.dtype.bits)
        key = (tensor, axis, config)
        return Proposal(candidate, config, key, form, job, _finished, least, bounds.why, bounds.may_stay, left_over(view, config))

    def propose_joint(self, candidate: Candidate, form: Form, config: PruneConfig) -> Proposal | str:
        return pruned_codes(candidate, form, config)


def _finished(tensors: Mapping[str, Tensor]) -> Form:
    return Form(Floats(tensors["nonzero"]), mask=tensors["mask"])
