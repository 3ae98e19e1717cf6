"""Palettization of weights that are compressed already.

Of a sparse one, the elements that are kept:

    %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[D], mask=uint1[8, 4])
    →  %m: uint1[8, 4], %k: fp16[D] = constexpr_lut_to_sparse(indices_mask=uint1[8, 4], indices_nonzero_data=uint4[D], lut=…)
       %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=%k, mask=%m)

Of a quantized one, sparse or not, the integers, whose scale stays as it is (see `mlpasses.forms.canonical` for where it stands):

    %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=int8[8, 4], scale=fp16[8, 1])
    →  %l: fp16[8, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[8, 1, 16, 1], scale=fp16[8, 1, 1, 1])
       %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%l)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from attrs import evolve

from ir.tensors import AbstractTensor, Tensor
from ir.types import UINT1, UINT_BY_BITS
from mlpasses.candidates import Candidate, compressed_already
from mlpasses.compress.joint import row_of
from mlpasses.compress.palettize_codes_job import PalettizeCodesJob, entry_type, joint_form
from mlpasses.compress.palettize_layout import Layout, layout_of, unsettled
from mlpasses.compress.weight_pass import Proposal
from mlpasses.config.palettize import Palettize
from mlpasses.errors import ConfigError
from mlpasses.forms.canonical import canonical
from mlpasses.forms.form import Form, Scaled, codes_of


def palettized_joint(candidate: Candidate, form: Form, config: Palettize) -> Proposal | str:
    """What palettization would make of a compressed weight, or why it leaves it alone.

    Raises:
        ConfigError: no form can say it.
    """
    row = row_of(form, "palettize")
    if row.becomes is None:
        return compressed_already(candidate.op)
    if config.per_channel_scale != "none":
        raise ConfigError("it is compressed already, and a scale for each channel is for dense weights: put PalettizeWeights first")
    if config.precision == "fp16" and form.dtype is not config.stored(form.dtype):
        raise ConfigError('it is compressed with fp32 numbers, and precision="fp16" makes others only where it comes first: leave it out')
    found = layout_of(candidate, config)
    if isinstance(found, str):
        return found
    layout, remark = found
    layout = evolve(layout, stored=form.dtype)  # a cast behind fp16 numbers stays behind
    opset = max(candidate.opset, row.since)
    forms = [_abstract(form, candidate.shape, layout, width) for width in config.widths]
    fitting = [each for each in forms if canonical(each, opset).nbytes(opset) < candidate.nbytes]
    if not fitting:
        least = canonical(forms[0], opset).nbytes(opset)
        return f"it would not become smaller: it takes {candidate.nbytes:,} bytes, and would take {least:,}"
    layout = evolve(layout, widths=config.widths[: len(fitting)])
    job = PalettizeCodesJob(candidate.name, form, candidate.shape, layout, config, candidate.nbytes)
    key = (form, layout, config)
    finish, least = partial(_finished, form, layout), canonical(fitting[0], opset).nbytes(opset) - _uncertain(form, fitting[0])
    proposal = Proposal(candidate, config, key, fitting[-1], job, finish, least, remark=remark, since=row.since)
    vectors = "a mask that keeps parts of vectors leaves it as it is" if layout.vector > 1 and form.mask is not None else ""
    why = "; ".join(each for each in (vectors, unsettled(len(fitting), config)) if each)
    return evolve(proposal, why=why, may_stay=bool(why))


def _uncertain(form: Form, joint: Form) -> int:
    """The bytes by which zero points grow that, in a plan, may turn out to be none: those of 4 bits, since entries have 8."""
    offset = form.values.offset if isinstance(form.values, Scaled) else None
    return joint.offset.nbytes - offset.nbytes if isinstance(offset, AbstractTensor) and joint.offset is not None else 0


def _abstract(form: Form, shape: tuple[int, ...], layout: Layout, width: int) -> Form:
    values, mask = form.values, form.mask
    dtype = entry_type(values.data.dtype) if isinstance(values, Scaled) else layout.stored
    indices = layout.indices(shape)
    if mask is not None:
        (kept,) = codes_of(form).shape
        mask = AbstractTensor(UINT1, indices) if layout.vector > 1 else mask
        indices = (kept // layout.vector,)
    codes = AbstractTensor(UINT_BY_BITS[width], indices)
    return joint_form(form, codes, AbstractTensor(dtype, (*layout.tables, 1 << width, layout.vector)), layout, mask)


def _finished(form: Form, layout: Layout, tensors: Mapping[str, Tensor]) -> Form:
    return joint_form(form, tensors["indices"], tensors["lut"], layout, tensors.get("mask", form.mask))
