"""`QuantizeWeights`: weights as integers with a scale.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_affine_dequantize(quantized_data=int8[8, 4], zero_point=int8[8], scale=fp16[8], axis=0)      below iOS18
    →  %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=int8[8, 4], scale=fp16[8, 1])                                    from iOS18
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from ir.tensors import Tensor
from mlpasses.candidates import Candidate
from mlpasses.compress.quantize_job import QuantizeJob, scaled_of
from mlpasses.compress.quantize_joint import quantized_joint
from mlpasses.compress.quantize_layout import blocks_of
from mlpasses.compress.quantize_proposal import abstract_integers, if_smaller
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.quantize import Quantize
from mlpasses.forms.form import Form
from mlpasses.rules import Rules, as_rules

__all__ = ["Quantize", "QuantizeWeights"]


@frozen
class QuantizeWeights(WeightPass):
    """const → constexpr_affine_dequantize (below iOS18) or constexpr_blockwise_shift_scale: weights as integers of 8 or 4 bits with scales.

    Weights are the float consts that feed a parameter which the op tables mark as a weight, and others that a rule calls by their exact
    name. The new value keeps the weight's name and type, so that its consumers do not change. A weight that several ops, functions or
    models of a pipeline share stays shared. One that cannot be quantized is left as it is, to the bit, and the report says why.

    4-bit integers, blocks and fp32 weights with fp16 scales need iOS18.

    Raises:
        ConfigError: something is wrong with the rules; the opset of a function has no such constexpr op; a size does not divide an axis,
            or a weight holds NaN or infinite values, and the config asks for an error; or the scratch folder has too little space.
    """

    rules: Rules = field(default=Rules(Quantize()), converter=as_rules)
    """Which weights, and how each; a lone config is for all."""

    configs: ClassVar[tuple[type, ...]] = (Quantize,)

    def propose(self, candidate: Candidate, config: Quantize) -> Proposal | str:
        division = blocks_of(candidate, config)
        if isinstance(division, str):
            return division
        tensor, counts = candidate.tensor, division.counts
        integers = abstract_integers(tensor.shape, counts, config, config.stored(tensor.dtype))
        job = QuantizeJob(candidate.name, tensor, counts, config)
        key = (tensor, counts, config)
        return if_smaller(Proposal(candidate, config, key, Form(integers), job, _finished, remark=division.remark), integers)

    def propose_joint(self, candidate: Candidate, form: Form, config: Quantize) -> Proposal | str:
        return quantized_joint(candidate, form, config)


def _finished(tensors: Mapping[str, Tensor]) -> Form:
    return Form(scaled_of(tensors))
