"""`PalettizeWeights`: weights as indices into tables of few values.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint8[16], lut=fp16[16], shape=[8, 4])             below iOS18
    →  %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=fp16[1, 1, 16, 1])                from iOS18
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from attrs import evolve, field, frozen

from ir.opset import IOS18, Opset
from ir.tensors import AbstractTensor, Tensor
from ir.types import UINT_BY_BITS
from mlpasses.candidates import Candidate
from mlpasses.compress.palettize_job import PalettizeJob, indexed_form
from mlpasses.compress.palettize_joint import palettized_joint
from mlpasses.compress.palettize_layout import Layout, layout_of, unsettled
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.palettize import Palettize
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
        found = layout_of(candidate, config)
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
        remarks = [each for each in (remark, _other_way(candidate, config, layout, needs)) if each]
        proposal = Proposal(candidate, config, key, smaller[-1], job, partial(indexed_form, layout), remark="; ".join(remarks))
        why = unsettled(len(widths), config)
        fewest = smaller[0].nbytes(needs) if len(widths) > 1 else None
        return evolve(proposal, least=fewest, why=why, may_stay=True) if why else proposal

    def propose_joint(self, candidate: Candidate, form: Form, config: Palettize) -> Proposal | str:
        return palettized_joint(candidate, form, config)


def _other_way(candidate: Candidate, config: Palettize, layout: Layout, opset: Opset) -> str:
    """What the other way to have a scale for each channel would take."""
    if config.per_channel_scale == "none" or layout.vector > 1:
        return ""
    other: Literal["folded", "chained"] = "chained" if config.per_channel_scale == "folded" else "folded"
    tables = layout.channels if other == "folded" else layout.groups
    form = _form(candidate.tensor, evolve(layout, tables=tables), layout.widths[-1], evolve(config, per_channel_scale=other))
    return f"{other}, it would take {form.nbytes(opset):,} bytes"


def _has_three_bits(candidate: Candidate, config: Palettize) -> bool:
    return max(candidate.opset, config.needs(candidate.dtype)) >= IOS18


def _form(tensor: Tensor, layout: Layout, width: int, config: Palettize) -> Form:
    dtype = layout.stored
    indices = AbstractTensor(UINT_BY_BITS[width], layout.indices(tensor.shape))
    lut = AbstractTensor(dtype, (*layout.tables, 1 << width, layout.vector))
    scale = AbstractTensor(dtype, layout.channels) if config.per_channel_scale == "chained" else None
    return Form(Indexed(indices, Floats(lut), layout.vector_axis), scale)
