"""`PalettizeWeights`: weights as indices into tables of few values.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint8[16], lut=fp16[16], shape=[8, 4])             below iOS18
    →  %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=fp16[1, 1, 16, 1])                from iOS18
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from attrs import evolve, field, frozen

from ir.core import Op, constant_of
from ir.opset import IOS18
from ir.tensors import AbstractTensor, Tensor
from ir.types import UINT_BY_BITS
from mlpasses.candidates import Candidate, output_axis
from mlpasses.compress.blocks import Division, divided, largest_divisor, whole
from mlpasses.compress.palettize_job import PalettizeJob
from mlpasses.compress.palettize_layout import Layout
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.palettize import Palettize
from mlpasses.errors import ConfigError
from mlpasses.forms.form import Floats, Form, Indexed
from mlpasses.rules import Rules, as_rules

__all__ = ["Palettize", "PalettizeWeights"]


@frozen
class PalettizeWeights(WeightPass):
    """const → constexpr_lut_to_dense: weights as indices of 1 to 8 bits into look-up tables.

    A table may be for the whole weight, or for each group of its output channels; it may hold values, or vectors that lie along the output
    channels. Weights are the float consts that feed a parameter which the op tables mark as a weight, and others that a rule calls by
    their exact name. The new value keeps the weight's name and type, so that its consumers do not change. A weight that is shared stays
    shared. One that cannot be palettized is left as it is, to the bit, and the report says why.

    Groups, vectors, 3-bit indices, scales per channel and fp32 weights with fp16 tables need iOS18.

    Raises:
        ConfigError: something is wrong with the rules; the opset of a function has no such constexpr op; a size does not divide an axis,
            or a weight holds NaN or infinite values, and the config asks for an error; or the scratch folder has too little space.
    """

    rules: Rules = field(default=Rules(Palettize()), converter=as_rules)
    """Which weights, and how each; a lone config is for all."""

    configs: ClassVar[tuple[type, ...]] = (Palettize,)

    def propose(self, candidate: Candidate, config: Palettize) -> Proposal | str:
        found = _layout(candidate, config)
        if isinstance(found, str):
            return found
        layout, remark = found
        tensor = candidate.tensor
        bits = [width for width in config.widths if width != 3 or _has_three_bits(candidate, config)]
        forms = [_form(tensor, layout, width, config) for width in bits]
        needs = max(candidate.opset, config.needs(tensor.dtype))
        smaller = [form for form in forms if form.nbytes(needs) < tensor.nbytes]
        if not smaller:
            least = forms[0].nbytes(needs)
            return f"it would not become smaller: indices and tables would take {least:,} bytes, and it takes {tensor.nbytes:,}"
        widths = tuple(bits[: len(smaller)])
        layout = evolve(layout, widths=widths)
        job = PalettizeJob(candidate.name, tensor, layout, config)
        key = (tensor, layout, config)
        proposal = Proposal(candidate, config, key, smaller[-1], job, partial(_finished, layout), remark=remark)
        if len(widths) == 1:
            return proposal
        return evolve(proposal, least=smaller[0].nbytes(needs), why="it depends on the number of distinct values how many bits do")


def _finished(layout: Layout, tensors: Mapping[str, Tensor]) -> Form:
    return Form(Indexed(tensors["indices"], Floats(tensors["lut"]), layout.vector_axis), tensors.get("scale"))


def _has_three_bits(candidate: Candidate, config: Palettize) -> bool:
    return max(candidate.opset, config.needs(candidate.dtype)) >= IOS18


def _form(tensor: Tensor, layout: Layout, width: int, config: Palettize) -> Form:
    dtype = layout.stored
    indices = AbstractTensor(UINT_BY_BITS[width], layout.indices(tensor.shape))
    lut = AbstractTensor(dtype, (*layout.tables, 1 << width, layout.vector))
    scale = AbstractTensor(dtype, layout.channels) if config.per_channel_scale == "chained" else None
    return Form(Indexed(indices, Floats(lut), layout.vector_axis), scale)


def _layout(candidate: Candidate, config: Palettize) -> tuple[Layout, str] | str:
    """How the weight is divided, and what of it is not as asked for; or why it cannot be."""
    shape = candidate.shape
    stored = config.stored(candidate.dtype)
    if config.group_size is None and config.cluster_dim == 1 and config.per_channel_scale == "none":
        one = (1,) * len(shape)
        return Layout(0, 1, one, one, one, stored, config.widths), ""
    axis = output_axis(candidate, config.axis)
    if isinstance(axis, str):
        return axis
    vector = _vector(candidate, axis, config)
    if isinstance(vector, str):
        return vector
    groups = _groups(shape, axis, vector, config)
    if isinstance(groups, str):
        return groups
    channels = tuple(dim if at == axis else 1 for at, dim in enumerate(shape))
    tables = channels if config.per_channel_scale == "folded" else groups.counts
    if vector > 1 and config.per_channel_scale == "folded":
        return 'per_channel_scale="folded" would need a table for each channel, and vectors lie along the channels: chain the scale'
    remarks = [groups.remark] if groups.remark else []
    if vector != config.cluster_dim:
        remarks.append(f"cluster_dim is {vector}, the largest divisor of what is there")
    return Layout(axis, vector, groups.counts, tables, channels, stored, config.widths), "; ".join(remarks)


def _groups(shape: tuple[int, ...], axis: int, vector: int, config: Palettize) -> Division | str:
    one = whole(len(shape))
    if config.group_size is None:
        return one
    size = min(config.group_size, shape[axis])
    if size % vector:
        return f"group_size={size} is not divided by cluster_dim={vector}"
    groups = divided(one, shape, axis, size, config.indivisible, "group_size")
    if isinstance(groups, Division) and (shape[axis] // groups.counts[axis]) % vector:
        return f"{groups.remark}, and is not divided by cluster_dim={vector}"
    return groups


def _vector(candidate: Candidate, axis: int, config: Palettize) -> int | str:
    """The length of the vectors along an axis, in each group of channels that a convolution treats by itself."""
    dim = candidate.shape[axis]
    for use in candidate.uses:
        user = use.user
        operand = user.get("groups") if isinstance(user, Op) and axis == 0 and user.op_type in ("conv", "conv_transpose") else None
        groups = None if operand is None else constant_of(operand)
        if groups is not None:
            dim = math.gcd(dim, candidate.shape[axis] // max(1, int(groups.item())))
    if dim % config.cluster_dim == 0:
        return config.cluster_dim
    found = f"the {dim} channels of its axis {axis} are not divided by cluster_dim={config.cluster_dim}"
    if config.indivisible == "error":
        raise ConfigError(f'{found}: choose another, or leave it alone with indivisible="skip"')
    if config.indivisible == "skip":
        return found
    return largest_divisor(dim, config.cluster_dim)
