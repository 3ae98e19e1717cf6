"""Quantization of weights that are compressed already.

Of a sparse one, the elements that are kept:

    %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[D], mask=uint1[8, 4])
    →  %m: uint1[8, 4], %k: fp16[D] = constexpr_sparse_blockwise_shift_scale(data_mask=uint1[8, 4], nonzero_data=int8[D], scale=fp16[8, 1])
       %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=%k, mask=%m)

Of a palettized one, sparse or not, the entries of its tables; per channel means a scale for each table:

    %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=fp16[1, 1, 16, 1])
    →  %l: fp16[1, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=fp16[1, 1, 1, 1])
       %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%l)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from attrs import evolve

from ir.tensors import Tensor
from mlpasses.candidates import Candidate, compressed_already
from mlpasses.compress.joint import row_of
from mlpasses.compress.quantize_job import scaled_of
from mlpasses.compress.quantize_kept_job import QuantizeKeptJob
from mlpasses.compress.quantize_layout import blocks_of
from mlpasses.compress.quantize_proposal import abstract_integers, if_smaller
from mlpasses.compress.quantize_table_job import QuantizeTableJob
from mlpasses.compress.weight_pass import Proposal
from mlpasses.config.quantize import Quantize
from mlpasses.errors import ConfigError
from mlpasses.forms.form import Form, Indexed, codes_of


def quantized_joint(candidate: Candidate, form: Form, config: Quantize) -> Proposal | str:
    """What quantization would make of a compressed weight, or why it leaves it alone.

    Raises:
        ConfigError: no form can say it.
    """
    row = row_of(form, "quantize")
    if row.becomes is None:
        return compressed_already(candidate.op)
    if config.precision == "fp16" and form.dtype is not config.stored(form.dtype):
        raise ConfigError('it is compressed with fp32 numbers, and precision="fp16" makes others only where it comes first: leave it out')
    proposal = quantized_table(candidate, form, config) if isinstance(form.values, Indexed) else _kept(candidate, form, config)
    return proposal if isinstance(proposal, str) else evolve(proposal, since=row.since)


def _kept(candidate: Candidate, form: Form, config: Quantize) -> Proposal | str:
    division = blocks_of(candidate, config)
    if isinstance(division, str):
        return division
    counts = division.counts
    integers = abstract_integers(codes_of(form).shape, counts, config, form.dtype)
    joint = evolve(form, values=integers)
    job = QuantizeKeptJob(candidate.name, form, counts, config, candidate.nbytes)
    key = (form, counts, config)
    return if_smaller(Proposal(candidate, config, key, joint, job, partial(_finished_kept, form), remark=division.remark), integers)


def quantized_table(candidate: Candidate, form: Form, config: Quantize) -> Proposal | str:
    """What quantization would make of the tables of a palettized weight.

    Raises:
        ConfigError: the integers or the blocks are such as no table has.
    """
    values = form.values
    assert isinstance(values, Indexed)
    if config.integers.bits < 8:
        raise ConfigError(f"it is palettized, and the entries of its tables may be int8 or uint8, not {config.dtype}")
    if config.granularity == "per-block":
        raise ConfigError("it is palettized, and its tables may have a scale for all of them (per-tensor) or one each (per-channel)")
    tables = values.tables
    counts = (1,) * len(tables) if config.granularity == "per-tensor" else (*tables[:-2], 1, 1)
    entries = abstract_integers(tables, counts, config, values.dtype)
    joint = evolve(form, values=evolve(values, entries=entries))
    job = QuantizeTableJob(candidate.name, form, counts, config, candidate.nbytes)
    key = (form, counts, config)
    return if_smaller(Proposal(candidate, config, key, joint, job, partial(_finished_table, form)), entries)


def _finished_kept(form: Form, tensors: Mapping[str, Tensor]) -> Form:
    return evolve(form, values=scaled_of(tensors))


def _finished_table(form: Form, tensors: Mapping[str, Tensor]) -> Form:
    assert isinstance(form.values, Indexed)
    return evolve(form, values=evolve(form.values, entries=scaled_of(tensors)))
