"""`QuantizeWeights`: weights as integers with a scale.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_affine_dequantize(quantized_data=int8[8, 4], zero_point=int8[8], scale=fp16[8], axis=0)      below iOS18
    →  %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=int8[8, 4], scale=fp16[8, 1])                                    from iOS18
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from attrs import evolve, field, frozen

from ir.opset import IOS18
from ir.tensors import AbstractTensor, Tensor
from mlpasses.candidates import Candidate, input_axis, output_axis
from mlpasses.compress.blocks import Division, divided, whole
from mlpasses.compress.quantize_job import QuantizeJob
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.quantize import Quantize
from mlpasses.forms.form import Form, Scaled
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
        division = _division(candidate, config)
        if isinstance(division, str):
            return division
        tensor, counts = candidate.tensor, division.counts
        integers, scale = config.integers, config.stored(tensor.dtype)
        offset = None if config.levels.zero == 0 else AbstractTensor(integers, counts)
        form = Form(Scaled(AbstractTensor(integers, tensor.shape), AbstractTensor(scale, counts), offset))
        key = (tensor, counts, config)
        proposal = Proposal(candidate, config, key, form, remark=division.remark, division=counts)
        if form.nbytes(proposal.opset) >= tensor.nbytes:
            elements = candidate.numel // math.prod(counts)
            return f"it would not become smaller: there would be a scale for every {elements} of its elements"
        if config.levels.zero is not None or proposal.opset < IOS18:
            return proposal
        least = form.nbytes(proposal.opset) - (0 if offset is None else offset.nbytes)
        return evolve(proposal, least=least, why="zero points that are all 0 are left out")

    def job(self, proposal: Proposal) -> QuantizeJob:
        candidate = proposal.candidate
        return QuantizeJob(candidate.name, candidate.tensor, proposal.division, proposal.config)

    def form(self, proposal: Proposal, tensors: Mapping[str, Tensor]) -> Form:
        return Form(Scaled(tensors["data"], tensors["scale"], tensors.get("offset")))


def _division(candidate: Candidate, config: Quantize) -> Division | str:
    """The blocks that have a scale each, or why there are none."""
    shape = candidate.shape
    one = whole(len(shape))
    if config.granularity == "per-tensor":
        return one
    if config.granularity == "per-block" and isinstance(config.block, tuple):
        return _by_axis(shape, config.block, config)
    out = output_axis(candidate, config.axis)
    if isinstance(out, str):
        return out
    channels = divided(one, shape, out, 1, config.indivisible, "block_size")
    if config.granularity == "per-channel" or isinstance(channels, str):
        return channels
    assert isinstance(config.block, int)  # the other case is above
    in_ = input_axis(candidate) if config.axis is None else _other_axis(candidate, out)
    if isinstance(in_, str):
        return in_
    return divided(channels, shape, in_, config.block, config.indivisible, "block_size")


def _by_axis(shape: tuple[int, ...], sizes: tuple[int, ...], config: Quantize) -> Division | str:
    if len(sizes) != len(shape):
        return f"block_size has {len(sizes)} sizes, and it is of rank {len(shape)}"
    division: Division | str = whole(len(shape))
    for axis, size in enumerate(sizes):
        if isinstance(division, str):
            return division
        division = divided(division, shape, axis, size, config.indivisible, f"block_size[{axis}]")
    return division


def _other_axis(candidate: Candidate, out: int) -> int | str:
    """The input channels' axis where the output channels' was given: the op tables' if it is another, else the first other one."""
    known = input_axis(candidate)
    if isinstance(known, int) and known != out:
        return known
    rank = len(candidate.shape)
    return next((axis for axis in range(rank) if axis != out), "it has no other axis than that of its output channels")
